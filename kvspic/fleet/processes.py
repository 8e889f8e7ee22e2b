"""Several worker processes on one machine: each is a handler of its own, ``NAME-1`` to ``NAME-N``. One that dies, or
that is refused while others are not, is started again; SIGTERM or Ctrl-C lets all of them hand their jobs back."""

from __future__ import annotations

import logging
import math
import multiprocessing
import multiprocessing.connection
import os
import signal
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from multiprocessing.process import BaseProcess
from types import FrameType

from kvspic.fleet.identity import default_name
from kvspic.fleet.link import check_urls
from kvspic.fleet.worker import EXIT_DENIED, EXIT_OK, EXIT_SUPERSEDED, WorkerSettings, check_labels, run_worker

__all__ = ["run_workers", "worker_names"]

logger = logging.getLogger("kvspic.fleet")

PAUSE_MIN_S, PAUSE_MAX_S = 0.5, 30.0
CALM_S = 60.0  # a process that lived for longer is started again without a pause
REFUSALS = (EXIT_SUPERSEDED, EXIT_DENIED)


def run_workers(
    urls: str | Sequence[str],
    *,
    processes: int = 1,
    slots: int = 50,
    labels: Sequence[str] = (),
    name: str = "",
    settings: WorkerSettings | None = None,
) -> int:
    """Run ``processes`` workers, each with so many ``slots``, until SIGTERM or Ctrl-C; with one, run it right here.

    The other arguments and the result are those of :func:`kvspic.fleet.worker.run_worker`. One that ends with 0 ends
    all; one that ends with 4 or 5 is started again, until all have ended so: the last one's code is returned.
    """
    if processes == 1:
        return run_worker(urls, slots=slots, labels=labels, name=name, settings=settings)
    check_urls(urls)
    check_labels(labels)
    given = settings or WorkerSettings()
    tasks = [_Task(urls, slots, labels, one, _own(given, one)) for one in worker_names(name, processes)]
    return _Crew(tasks).run()


def worker_names(name: str, processes: int) -> list[str]:
    """Return the names of the handlers that so many processes are."""
    base = name or default_name()
    return [base] if processes == 1 else [f"{base}-{number}" for number in range(1, processes + 1)]


def _own(settings: WorkerSettings, name: str) -> WorkerSettings:
    """Each process has a spool of its own."""
    return settings if settings.spool is None else replace(settings, spool=settings.spool / name)


@dataclass(frozen=True)
class _Task:
    """What one process does."""

    urls: str | Sequence[str]
    slots: int
    labels: Sequence[str]
    name: str
    settings: WorkerSettings

    def run(self, level: int) -> None:
        """The child's whole life. Ctrl-C reaches all processes of a terminal; only the first one acts on it."""
        logging.basicConfig(level=level)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        threading.Thread(target=_end_with_parent, daemon=True).start()
        code = run_worker(self.urls, slots=self.slots, labels=self.labels, name=self.name, settings=self.settings)
        sys.exit(code)


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        multiprocessing.connection.wait([parent.sentinel])
        os.kill(os.getpid(), signal.SIGTERM)


@dataclass
class _Place:
    """One process and its successors. ``code``: how the last one ended, None for the first."""

    task: _Task
    code: int | None = None
    process: BaseProcess | None = None
    began_s: float = 0.0
    pause_s: float = PAUSE_MIN_S
    due_s: float = 0.0

    def is_refused(self, now_s: float) -> bool:
        """Whether the last process ended with a refusal, and its successor has not worked for long."""
        return self.code in REFUSALS and (self.process is None or now_s - self.began_s <= CALM_S)


class _Crew:
    def __init__(self, tasks: Sequence[_Task]) -> None:
        self._context = multiprocessing.get_context("spawn")
        self._places = [_Place(task) for task in tasks]
        self._is_ending = False
        self._code = EXIT_OK

    def run(self) -> int:
        """Start all, keep them, and return when all have ended."""
        before = {number: signal.signal(number, self._on_signal) for number in (signal.SIGTERM, signal.SIGINT)}
        try:
            while not self._is_ending or any(place.process is not None for place in self._places):
                self._look()
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
        return self._code

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        self._end()

    def _end(self) -> None:
        self._is_ending = True
        for place in self._places:
            if place.process is not None and place.process.pid is not None and place.process.is_alive():
                os.kill(place.process.pid, signal.SIGTERM)

    def _look(self) -> None:
        now_s = time.monotonic()
        for place in self._places:
            if place.process is None and not self._is_ending and now_s >= place.due_s:
                self._start(place, now_s)
        sentinels = [place.process.sentinel for place in self._places if place.process is not None]
        due_s = min((place.due_s for place in self._places if place.process is None), default=math.inf)
        multiprocessing.connection.wait(sentinels, min(1.0, max(0.05, due_s - now_s)))
        for place in self._places:
            if place.process is not None and not place.process.is_alive():
                self._ended(place, place.process)

    def _start(self, place: _Place, now_s: float) -> None:
        level = logging.getLogger().getEffectiveLevel()
        process = self._context.Process(target=place.task.run, args=(level,), name=place.task.name)
        process.start()
        place.process, place.began_s = process, now_s

    def _ended(self, place: _Place, process: BaseProcess) -> None:
        process.join(0)  # it has ended
        place.process, now_s = None, time.monotonic()
        place.code = code = process.exitcode
        if self._is_ending:
            return
        if code == EXIT_OK or all(one.is_refused(now_s) for one in self._places):
            self._code = code or EXIT_OK
            self._end()
            return
        place.pause_s = PAUSE_MIN_S if now_s - place.began_s > CALM_S else min(PAUSE_MAX_S, place.pause_s * 2)
        place.due_s = now_s + (0.0 if now_s - place.began_s > CALM_S else place.pause_s / 2)
        logger.error("The worker %s ended (exit code %s); it is started again.", place.task.name, code)
