"""The arithmetic of leases: when a handler stops, when the server may declare it lost, when it must wait. Pure.

A handler counts from a moment of its own monotonic clock before the request that renewed the lease; the server counts
from the moment when it processed that request. Neither compares its clock with the other's. Between the handler's fence
and the server's loss lies 0.15 of a lease, for clock rates and for the stop itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

__all__ = [
    "FENCE",
    "KEPT_MS",
    "SOFT_END",
    "Deadlines",
    "SweepWatch",
    "deadlines",
    "feedback_s",
    "promised_ms",
    "request_limit_s",
    "silence_notice",
]

SOFT_END = 0.75
"""Part of a lease after which a handler without a renewal takes no more frames and ends its fragment."""
FENCE = 0.85
"""Part of a lease after which a handler without a renewal sends not one byte more."""
KEPT_MS = 60_000
"""When a server renews all leases, one that ends later by no more than this is a renewal that came meanwhile, which is
kept. One that ends later still is of a clock that was wrong."""
FEEDBACK = 0.25
REQUEST_MAX_S = 5.0
SWEEP_S = 1.0
SWEEP_LATE_S = 3 + 3 * SWEEP_S
STEP_MIN_MS = 2000
STEP_PART = 0.05


@dataclass(frozen=True)
class Deadlines:
    """Moments of the handler's own monotonic clock, seconds."""

    soft_end: float
    fence: float


def deadlines(t_sent: float, lease_s: float) -> Deadlines:
    """Return the deadlines that a renewal gives whose request was begun at ``t_sent``."""
    return Deadlines(t_sent + SOFT_END * lease_s, t_sent + FENCE * lease_s)


def feedback_s(lease_s: float) -> float:
    """Return the period of feedback, seconds: three renewals fit before the fence."""
    return FEEDBACK * lease_s


def request_limit_s(lease_s: float) -> float:
    """Return how long a handler waits for an answer, seconds, before the call counts as failed."""
    return min(feedback_s(lease_s), REQUEST_MAX_S)


def promised_ms(lease_s: float, promise_ms: int) -> int:
    """Return the longest lease that a handler may rely on: after the setting was lowered, the one before it."""
    return max(round(lease_s * 1000), promise_ms)


SILENT_HANDLERS_MIN = 5
SILENT_PART = 0.8


def silence_notice(ends: Mapping[str, int], now: int, lease_s: float) -> str:
    """Say why no handler is declared lost, when so many handlers fell silent at once; empty: that is not so.

    A handler is silent when its newest lease was renewed more than half a lease ago. More than 80 % of at least five
    handlers do not die within one lease: what is between them and the servers does.

    Args:
        ends: the latest end of the leases of each handler that has any, milliseconds of the store's clock.
    """
    silent = sum(end - now <= lease_s * 1000 / 2 for end in ends.values())
    if len(ends) < SILENT_HANDLERS_MIN or silent <= SILENT_PART * len(ends):
        return ""
    return (
        f"{silent} of {len(ends)} handlers fell silent at once, so none of them is declared lost: check what is "
        "between them and this server (load balancer, certificate, name service)."
    )


class SweepWatch:
    """Says before each sweep whether all leases must be treated as renewed now. One for each server.

    That is so at the server's start, when its last good sweep was too long ago (it, or the store, was away), and when
    the store's clock made a step that the server's monotonic clock did not.
    """

    def __init__(self) -> None:
        self._last: tuple[float, int] | None = None

    def must_renew(self, mono_s: float, store_ms: int, lease_s: float) -> bool:
        """Return whether the sweep at these moments must renew all leases.

        Args:
            mono_s: the server's monotonic clock, seconds.
            store_ms: the store's clock, milliseconds.
            lease_s: the lease in force.
        """
        if self._last is None:
            return True
        passed_ms = (mono_s - self._last[0]) * 1000
        step_ms = abs(store_ms - self._last[1] - passed_ms)
        return passed_ms > SWEEP_LATE_S * 1000 or step_ms > max(STEP_MIN_MS, STEP_PART * lease_s * 1000)

    def swept(self, mono_s: float, store_ms: int) -> None:
        """Take note of a sweep that was committed."""
        self._last = (mono_s, store_ms)

    def stopped(self) -> None:
        """Take note that this server does not sweep any more; its next sweep renews all leases."""
        self._last = None
