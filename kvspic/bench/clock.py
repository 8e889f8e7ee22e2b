"""How far an agent's wall clock is from the controller's clock, from round trips. Pure.

A PING leaves at ``sent``, the agent reads its wall clock at ``received``, the answer is here at ``returned``. The agent
read its clock somewhere between, so the offset is ``received - (sent + returned) / 2``, wrong by half the round trip
at most. The shortest round trip of the last eight is the best one. The controller's clock here is its monotonic one: a
step of its wall clock changes nothing.
"""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

__all__ = ["ROUND_TRIPS", "ClockEstimate", "Moment", "RoundTrip"]

ROUND_TRIPS = 8


class Moment(NamedTuple):
    """Now, by both clocks of a process, nanoseconds."""

    mono_ns: int
    wall_ns: int


class RoundTrip(NamedTuple):
    """One PING and its answer, all in nanoseconds: the offset, the bound of its error, how long it took."""

    offset_ns: int
    bound_ns: int
    rtt_ns: int


class ClockEstimate:
    """The best of the last round trips to one agent."""

    def __init__(self) -> None:
        self._samples: deque[RoundTrip] = deque(maxlen=ROUND_TRIPS)

    @property
    def count(self) -> int:
        """How many round trips the estimate rests on, eight at most."""
        return len(self._samples)

    @property
    def best(self) -> RoundTrip:
        """The shortest round trip; all zero when there is none yet."""
        return min(self._samples, key=lambda sample: sample.rtt_ns, default=RoundTrip(0, 0, 0))

    def add(self, sent_ns: int, received_ns: int, returned_ns: int) -> None:
        """Take a round trip. One that contradicts the best one shows that a clock was set: those before it are void."""
        rtt_ns = max(0, returned_ns - sent_ns)
        sample = RoundTrip(received_ns - (sent_ns + returned_ns) // 2, (rtt_ns + 1) // 2, rtt_ns)
        if self._samples:
            best = self.best
            if abs(sample.offset_ns - best.offset_ns) > sample.bound_ns + best.bound_ns:
                self._samples.clear()
        self._samples.append(sample)
