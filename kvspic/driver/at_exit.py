"""What becomes of a producer that the program does not close: it is ended, and a line on standard error says so.

A script that just ends, and a function whose producer goes out of scope, have put frames that are still buffered. They
go out all the same, within a time. Python calls the hook after the program's own threads have ended, daemons excepted.
In the hook no thread can start, and the executors of the standard library refuse calls, so what the upload needs was
started before. ``os._exit``, a signal without a handler and forked children of multiprocessing end without the hook.
"""

from __future__ import annotations

import asyncio
import atexit
import concurrent.futures
import contextlib
import os
import sys
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from kvspic.threads import in_pieces, shared_executor

if TYPE_CHECKING:
    from kvspic.driver.stream import StreamWork
    from kvspic.driver.work import ProducerWork

__all__ = ["end_later", "watch"]

CLOSE_S = 30.0  # for a producer that was collected while the program goes on
SLACK_S = 1.0  # a close returns by its own time limit, unless a callback of the user blocks the loop
THREADS_READY = 4  # for calls of the service in the hook; one of them may hang


@dataclass(frozen=True)
class _Counts:
    """Frames of producers that were not closed."""

    streams: int = 0
    done: int = 0
    missing: int = 0  # put, and not done
    spooled: int = 0  # of the missing ones

    def __add__(self, other: _Counts) -> _Counts:
        return _Counts(
            self.streams + other.streams,
            self.done + other.done,
            self.missing + other.missing,
            self.spooled + other.spooled,
        )

    def line(self) -> str:
        """What the user reads at the end of the program."""
        streams = "a stream" if self.streams == 1 else f"{self.streams} streams"
        spooled = f" ({self.spooled} of them wait in the spool)" if self.spooled else ""
        return (
            f"kvspic: the program ended without closing {streams}: {self.done} frames are done, "
            f"{self.missing} are not{spooled}. Use `with`, or call close()."
        )


class _Ending:
    """One producer on its way out; keeps it and its streams alive until then."""

    def __init__(self, producer: ProducerWork, timeout_s: float) -> None:
        self.producer = producer
        self._streams: list[StreamWork] = list(producer.streams.values())
        self.future: concurrent.futures.Future[Any] | None = None  # None: the loop is gone, and nothing can be sent
        loop = producer.running_loop
        if loop is not None:
            self.future = asyncio.run_coroutine_threadsafe(producer.close(timeout_s), loop)

    def counts(self) -> _Counts:
        reports = [stream.report() for stream in self._streams]
        offered = sum(report.frames_offered for report in reports)
        done = sum(report.frames_done for report in reports)
        spooled = sum(report.frames_spooled for report in reports)
        return _Counts(sum(report.frames_offered > 0 for report in reports), done, offered - done, spooled)


class _Unclosed:
    """The producers of this process."""

    def __init__(self) -> None:
        self._producers: weakref.WeakSet[ProducerWork] = weakref.WeakSet()
        self._endings: set[_Ending] = set()
        self._ended = _Counts()
        self._is_hooked = False

    def watch(self, producer: ProducerWork) -> None:
        self._producers.add(producer)
        if not self._is_hooked:
            self._is_hooked = True
            atexit.register(self.end_all)
        shared_executor().start_threads(THREADS_READY)

    def end_later(self, producer: ProducerWork, after: Callable[[], None]) -> None:
        self._producers.discard(producer)
        ending = _Ending(producer, CLOSE_S)
        if ending.future is None:
            self._ended += ending.counts()
            return
        self._endings.add(ending)

        def ended(_: object) -> None:
            if self._take(ending):
                self._ended += ending.counts()
            after()

        ending.future.add_done_callback(ended)

    def end_all(self) -> None:
        """Called once, when the process ends."""
        endings = [ending for ending in list(self._endings) if self._take(ending)]
        still_open = [producer for producer in self._producers if not (producer.is_closed or producer.is_forked)]
        endings += [_Ending(producer, producer.exit_timeout_s) for producer in still_open]
        limit_s = max((ending.producer.exit_timeout_s for ending in endings), default=0.0)
        futures = [ending.future for ending in endings if ending.future is not None]
        with contextlib.suppress(KeyboardInterrupt):
            in_pieces(lambda seconds: not concurrent.futures.wait(futures, seconds).not_done, limit_s + SLACK_S)
        counts = sum((ending.counts() for ending in endings), self._ended)
        if counts.streams and sys.stderr is not None:
            print(counts.line(), file=sys.stderr)

    def forget_in_child(self) -> None:
        """A forked child: what is open belongs to the parent, whose threads are not here."""
        for producer in [*self._producers, *(ending.producer for ending in self._endings)]:
            producer.forget_in_child()
        self._producers.clear()
        self._endings.clear()
        self._ended = _Counts()

    def _take(self, ending: _Ending) -> bool:
        """Take an ending out; True for the first caller only. The end of the process meets the end of a producer."""
        try:
            self._endings.remove(ending)
        except KeyError:
            return False
        return True


_unclosed = _Unclosed()

if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_unclosed.forget_in_child)


def watch(producer: ProducerWork) -> None:
    """Have ``producer`` ended by the end of the process, if it is still open then."""
    _unclosed.watch(producer)


def end_later(producer: ProducerWork, after: Callable[[], None]) -> None:
    """End a producer that is out of scope, in the background; then call ``after``, on its loop's thread."""
    _unclosed.end_later(producer, after)
