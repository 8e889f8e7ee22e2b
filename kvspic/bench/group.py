"""The load processes of one agent, taken together: they are started, get their commands, and their figures are added.

Each process gets its share of the streams. The figures come once a second from each; what is asked for here is always
there at once.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from kvspic.bench.cameras import Outcome
from kvspic.bench.children import Child
from kvspic.bench.histogram import HistogramError, Histograms
from kvspic.bench.pace import Lane
from kvspic.bench.plan import Plan
from kvspic.bench.workload import WorkloadError

__all__ = ["ENDED", "Group", "Place"]

ENDED = "The load was ended."
MEMORY_SHARE = 4
GRACE_S = 5.0  # beyond a limit that a process was given, until it is killed


@dataclass(frozen=True)
class Place:
    """Where the load goes: ``url`` "" is AWS, "sink" nowhere. ``call_share``: of an account's quotas, 0 unlimited."""

    url: str
    region: str
    call_share: float


@dataclass
class _Member:
    """One process: what it has, and what it said last."""

    child: Child
    names: list[str] = field(default_factory=list)
    ready: int = 0
    outcome: Outcome = field(default_factory=Outcome)
    begun_ns: int = 0
    unsent: int = 0
    lag_s: float = 0.0
    failures: list[str] = field(default_factory=list)
    closed: int = 0  # answers to "close"
    is_done: bool = False
    is_gone: bool = False
    error: str = ""


class Group:
    """Some load processes. Methods may be called by any thread; those that wait say so."""

    def __init__(self) -> None:
        self._members: list[_Member] = []
        self._condition = threading.Condition()
        self._new, self._all = Histograms(), Histograms()
        self._clamped = 0
        self._is_ending = self._is_killed = False

    @property
    def process_ids(self) -> list[int]:
        """Of all processes."""
        return [member.child.process_id for member in self._members]

    @property
    def ready_count(self) -> int:
        """Streams that can upload."""
        return sum(member.ready for member in self._members)

    @property
    def stream_count(self) -> int:
        """Streams that were opened and not closed."""
        return sum(len(member.names) for member in self._members)

    @property
    def begun_ns(self) -> int:
        """When the last process really began to measure; 0: not all have."""
        found = [member.begun_ns for member in self._members if member.names]
        return max(found) if found and all(found) else 0

    @property
    def unsent(self) -> int:
        """Bytes that the producers hold and have not sent."""
        return sum(member.unsent for member in self._members)

    @property
    def lag_s(self) -> float:
        """How old the oldest frame is of which nothing is known."""
        return max((member.lag_s for member in self._members), default=0.0)

    @property
    def clamped(self) -> int:
        """Values beyond the histograms' bounds."""
        return self._clamped

    @property
    def error(self) -> str:
        """Why the load cannot go on; empty while it can."""
        return next((member.error for member in self._members if member.error), "")

    @property
    def failures(self) -> list[str]:
        """Streams that failed for good, and why."""
        return [text for member in self._members for text in member.failures]

    def start(self, processes: int, plan: Plan, place: Place, pictures: Path, streams: int) -> None:
        """Start the processes for up to ``streams`` streams in all. They may hold a quarter of the memory together."""
        store_max = psutil.virtual_memory().total // MEMORY_SHARE // processes
        for _ in range(processes):
            member = _Member(None)  # type: ignore[arg-type]  # in the next line
            with self._condition:
                self._check_alive()
                member.child = Child("kvspic.bench.generator", self._listener(member))
                self._members.append(member)
            member.child.send(
                pictures=str(pictures), fps=str(plan.fps), endpoint=place.url, region=place.region,
                call_share=place.call_share / processes, streams=-(-streams // processes),
                store_max=store_max,
            )  # fmt: skip

    def open(self, names: Sequence[str], lanes: Sequence[Lane]) -> None:
        """Open more streams, each in the process that has fewest."""
        shares: dict[int, tuple[list[str], list[tuple[int, int]]]] = {}
        for name, lane in zip(names, lanes, strict=True):
            index = min(range(len(self._members)), key=lambda one: len(self._members[one].names))
            self._members[index].names.append(name)
            share = shares.setdefault(index, ([], []))
            share[0].append(name)
            share[1].append((lane.phase_ns, lane.first))
        for index, (chosen, places) in shares.items():
            self._members[index].child.send(do="open", names=chosen, lanes=places)

    def wait_ready(self, limit_s: float) -> None:
        """Wait until all streams can upload.

        Raises:
            WorkloadError: one failed, a process ended, or ``limit_s`` is over.
        """
        self._wait(lambda: bool(self.failures) or self.ready_count >= self.stream_count, limit_s)
        if self.failures:
            raise WorkloadError(f"A stream cannot be opened: {self.failures[0]}.")
        if self.ready_count < self.stream_count:
            text = f"{self.ready_count} of {self.stream_count} streams were open after {limit_s:.0f} s"
            raise WorkloadError(f"{text}: the endpoint is slow or cannot be reached.")

    def close_last(self, count: int, limit_s: float) -> None:
        """Close the newest ``count`` streams, evenly over the processes; waits."""
        shares = dict.fromkeys(range(len(self._members)), 0)
        for _ in range(count):
            index = max(shares, key=lambda one: len(self._members[one].names))
            self._members[index].names.pop()
            shares[index] += 1
        asked = {index: share for index, share in shares.items() if share}
        before = {index: self._members[index].closed for index in asked}
        for index, share in asked.items():
            self._members[index].child.send(do="close", count=share, limit_s=limit_s)
        is_closed = lambda: all(self._members[index].closed > before[index] for index in asked)  # noqa: E731
        if not self._wait(is_closed, limit_s + GRACE_S):
            raise WorkloadError(f"{count} streams could not be closed within {limit_s:.0f} s.")
        with self._condition:  # the processes say so too, with their next figures
            for index in asked:
                member = self._members[index]
                member.ready = min(member.ready, len(member.names))

    def warm_up(self) -> None:
        """Begin to put frames, not measured."""
        for member in self._members:
            member.child.send(do="warm_up")

    def measure(self, at_ns: int, duration_s: float, *, then_end: bool) -> None:
        """Measure the frames that are due in the window from ``at_ns`` on; with ``then_end`` put none after it."""
        for member in self._members:
            member.begun_ns = 0
            member.child.send(do="measure", at_ns=at_ns, duration_s=duration_s, then_end=then_end)

    def stop(self, limit_s: float) -> None:
        """Put no more frames, close all streams within ``limit_s``, end the processes; waits.

        Raises:
            WorkloadError: a process did not end in order.
        """
        for member in self._members:
            member.child.send(do="stop", limit_s=limit_s)
        try:
            is_done = self._wait(lambda: all(member.is_done for member in self._members), limit_s + GRACE_S)
        finally:
            self._end(GRACE_S)
        if not is_done:
            raise WorkloadError(f"The load did not end within {limit_s:.0f} s.")

    def kill(self) -> None:
        """End all processes at once; a call that waits raises WorkloadError then."""
        with self._condition:
            self._is_ending = self._is_killed = True
            self._condition.notify_all()
        for member in self._members:
            member.child.kill()

    def outcome(self) -> Outcome:
        """Return what became of the measured frames, of all processes."""
        total = Outcome()
        for member in self._members:
            for name, value in vars(member.outcome).items():
                setattr(total, name, getattr(total, name) + value)
        return total

    def take(self) -> Histograms:
        """Return what was measured since the last call."""
        with self._condition:
            taken, self._new = self._new, Histograms()
            return taken

    def everything(self) -> Histograms:
        """Return what was measured since the start."""
        total = Histograms()
        with self._condition:
            total.add(self._all)
        return total

    def _end(self, limit_s: float) -> None:
        self._is_ending = True
        until = time.monotonic() + limit_s
        for member in self._members:
            member.child.end(max(0.1, until - time.monotonic()))

    def _wait(self, is_so: Callable[[], bool], limit_s: float) -> bool:
        """Wait until ``is_so``, or a process failed; False after ``limit_s``.

        Raises:
            WorkloadError: a process failed.
        """
        with self._condition:
            is_met = self._condition.wait_for(lambda: self._is_killed or bool(self.error) or is_so(), limit_s)
            self._check_alive()
        if self.error:
            raise WorkloadError(self.error)
        return is_met

    def _check_alive(self) -> None:
        if self._is_killed:
            raise WorkloadError(ENDED)

    def _listener(self, member: _Member) -> Callable[[dict[str, Any] | None], None]:
        def listen(line: dict[str, Any] | None) -> None:
            with self._condition:
                self._hear(member, line)
                self._condition.notify_all()

        return listen

    def _hear(self, member: _Member, line: dict[str, Any] | None) -> None:
        what = None if line is None else line.get("say")
        if line is None:
            member.is_gone = True
            if not (self._is_ending or member.error):
                member.error = f"A load process ended unexpectedly ({member.child.last_words or 'it said nothing'})."
        elif what == "ready":
            member.ready, member.failures = line["count"], line["failures"]
        elif what == "measured":
            self._measured(member, line)
        elif what == "closed":
            member.closed += 1
        elif what == "done":
            member.outcome, member.is_done = Outcome(**line["outcome"]), True
        else:
            member.error = member.error or f"A load process failed: {line.get('text')}."

    def _measured(self, member: _Member, line: dict[str, Any]) -> None:
        member.outcome = Outcome(**line["outcome"])
        member.begun_ns, member.unsent, member.lag_s = line["begun_ns"], line["unsent"], line["lag_s"]
        self._clamped += line["clamped"]
        try:
            found = Histograms.from_json(line["hist"])
        except HistogramError as error:
            member.error = str(error)
            return
        self._new.add(found)
        self._all.add(found)
