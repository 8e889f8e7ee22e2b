"""A clock that jumps to the next event: nothing waits, so a day passes as fast as its events can be carried out.

Always: time never goes back, events at the same time run in the order they were set, and the same calls give the same
run. Times are in ticks of 100 ns.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable

__all__ = ["SimClock", "Timer"]


class Timer:
    """One event to come; :meth:`cancel` takes it back."""

    __slots__ = ("act", "at_hns", "is_quiet")

    def __init__(self, at_hns: int, act: Callable[[], None], is_quiet: bool) -> None:
        self.at_hns = at_hns
        self.act: Callable[[], None] | None = act
        self.is_quiet = is_quiet

    @property
    def is_pending(self) -> bool:
        """Whether it has neither run nor been cancelled."""
        return self.act is not None

    def cancel(self) -> None:
        """Take the event back; harmless when it has run."""
        self.act = None


class SimClock:
    """Simulated time and the events to come."""

    def __init__(self, now_hns: int) -> None:
        self.now_hns = now_hns
        self._events: list[tuple[int, int, Timer]] = []
        self._count = 0
        self.was_quiet = False  # the event that has run last

    def call_at(self, at_hns: int, act: Callable[[], None], is_quiet: bool = False) -> Timer:
        """Run ``act`` at ``at_hns``, or next if that has passed; ``is_quiet`` says that no check is needed after it."""
        timer = Timer(max(at_hns, self.now_hns), act, is_quiet)
        self._count += 1
        heapq.heappush(self._events, (timer.at_hns, self._count, timer))
        return timer

    def call_later(self, after_hns: int, act: Callable[[], None]) -> Timer:
        """Run ``act`` after ``after_hns``."""
        return self.call_at(self.now_hns + after_hns, act)

    def next_hns(self) -> int | None:
        """When the next event is due; None when there is none."""
        while self._events and self._events[0][2].act is None:
            heapq.heappop(self._events)
        return self._events[0][0] if self._events else None

    def step(self) -> bool:
        """Jump to the next event and run it; False when there is none."""
        if self.next_hns() is None:
            return False
        at_hns, _, timer = heapq.heappop(self._events)
        self.now_hns, self.was_quiet = at_hns, timer.is_quiet
        act, timer.act = timer.act, None
        if act is not None:
            act()
        return True
