"""One instant for all agents, and what became of it. Pure; nanoseconds.

The controller chooses an instant of its own clock, far enough ahead that the message is there before it. Each agent is
given the instant by its own wall clock, and converts it once to its monotonic clock: from then on no clock that is set
moves the start.
"""

from __future__ import annotations

from collections.abc import Iterable

from kvspic.bench.clock import Moment

__all__ = ["AHEAD_MAX_S", "REFUSED", "StartRefused", "instant", "local_start", "spread_us"]

LEAST_NS = 2_000_000_000
EACH_NS = 10_000_000  # for each agent, to which the instant is sent one after the other
TRIPS = 4
AHEAD_MAX_S = 60
REFUSED = "The start cannot be kept"
"""How the text of a refused start begins; the controller measures the clock again and tries once more."""


class StartRefused(Exception):
    """The start cannot be kept; the text says why."""


def instant(now_ns: int, rtts_ns: Iterable[int], delay_s: float = 0.0) -> int:
    """Return the instant for all: 2 s, four of the longest round trip or ``delay_s`` ahead, and 10 ms an agent."""
    rtts = list(rtts_ns)
    return now_ns + EACH_NS * len(rtts) + max(LEAST_NS, TRIPS * max(rtts, default=0), int(delay_s * 1e9))


def local_start(now: Moment, start_wall_ns: int) -> int:
    """Return the monotonic nanoseconds of a start that was given by this machine's wall clock.

    Raises:
        StartRefused: it is past, or more than 60 s ahead.
    """
    ahead_ns = start_wall_ns - now.wall_ns
    if ahead_ns < 0:
        raise StartRefused(
            f"{REFUSED}: it had passed for {-ahead_ns / 1e9:.3f} s when it arrived. The network is slow, or a clock "
            "was set."
        )
    if ahead_ns > AHEAD_MAX_S * 1_000_000_000:
        raise StartRefused(
            f"{REFUSED}: it is {ahead_ns / 1e9:.0f} s ahead, {AHEAD_MAX_S} s at most. A clock was set meanwhile."
        )
    return now.mono_ns + ahead_ns


def spread_us(starts_ns: Iterable[int]) -> float | None:
    """Return latest less earliest of the starts that were reported (not 0); None with less than two."""
    known = [start for start in starts_ns if start]
    return (max(known) - min(known)) / 1000 if len(known) > 1 else None
