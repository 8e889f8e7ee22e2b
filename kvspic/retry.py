"""What to do when a stream has failed or stalled: a small policy that the user can replace. Pure; it performs nothing.

The core repeats each call itself, five times without progress, and then reports FAILED; the stream keeps its frames and
takes more. The policy says what then: try again after a while (for ever, by default, because a camera cannot be asked),
open a new connection, wait, or give up. Pauses have full jitter, so that a fleet does not come back all at once. Two
budgets bound what any policy can do: of a stream's tries, and of the process's calls to a service that throttles it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from kvspic.errors import StatusClass

__all__ = [
    "Decision",
    "DefaultRetryPolicy",
    "GiveUp",
    "Keep",
    "ResetConnection",
    "RetryBudget",
    "RetryPolicy",
    "RetryStream",
    "Situation",
    "ThrottleBudget",
    "Trouble",
]

HNS_PER_S = 10_000_000


class Trouble:
    """What kind of trouble a situation is."""

    FAILED = "failed"  # the core gave up: status, result and state say why
    STALE = "stale"  # bytes went out and no ACK came
    LATENCY = "latency"  # what is sent is older than the stream's limit
    DROPPED = "dropped"  # frames left the buffer without being done: reason says why


@dataclass(frozen=True)
class Situation:
    """What a policy is told.

    Attributes:
        trouble: one of :class:`Trouble`.
        status, status_name, status_class: the cause; 0, "" and NONE for a stall.
        result: the last result of the service.
        http_status, error_name: of the last call, as the service answered it; 0 and "" when nobody answered: the link
            is down, the certificate is not trusted, the source of credentials has none.
        reason: why frames were dropped, a name of :class:`kvspic.DropReason`.
        attempt: how often this policy had the stream tried again since a fragment was last done; 0 the first time.
        was_streaming: whether the stream ever had a fragment acknowledged, so its settings are known to be good.
        credentials_were_refreshed: whether the keys that were refused are fresh ones.
    """

    trouble: str
    status: int = 0
    status_name: str = ""
    status_class: StatusClass = StatusClass.NONE
    result: int = 0
    http_status: int = 0
    error_name: str = ""
    reason: str = ""
    attempt: int = 0
    was_streaming: bool = False
    credentials_were_refreshed: bool = False


@dataclass(frozen=True)
class Keep:
    """Do nothing: the core goes on by itself."""


@dataclass(frozen=True)
class ResetConnection:
    """End the open sessions and open a new one; nothing is dropped."""


@dataclass(frozen=True)
class RetryStream:
    """Begin again at DescribeStream after a pause, which counts from the begin of the call that failed: one that took
    long to fail was a pause itself. Nothing is dropped."""

    after_hns: int
    refresh_credentials: bool = False


@dataclass(frozen=True)
class GiveUp:
    """Leave the stream FAILED and say why; it still takes frames under its drop policy."""

    cause: str


Decision = Keep | ResetConnection | RetryStream | GiveUp


class RetryPolicy(Protocol):
    """Decides for all streams of a producer; called on the driver's thread, so it must not wait."""

    def decide(self, situation: Situation) -> Decision:
        """Say what to do about ``situation``."""


# What trying again cannot cure until somebody changes a setting, a permission or a quota.
SETTLED = frozenset({"BAD_REQUEST", "NOT_AUTHORIZED", "AUTH_FAILED", "NOT_FOUND", "STREAM_DELETING", "SERVICE_LIMIT"})
AUTHORIZATION = frozenset({"NOT_AUTHORIZED", "AUTH_FAILED"})


@dataclass(frozen=True)
class DefaultRetryPolicy:
    """Never gives up on what may pass; gives up on a refusal before the stream ever worked, after fresh credentials.

    Only the service refuses. A source of credentials that has none yet, or a certificate that is not valid yet, is
    tried again like a link that is down: a camera may boot before its credential helper or its clock.

    Attributes:
        random: a number in [0, 1) for the jitter.
        base_s, cap_s: the pause before try n is a random part of min(cap, base x 2^n).
        settled_s: the longest pause for a stream that worked and is now refused, half of it the least: permissions come
            back, and nobody else can be asked.
    """

    random: Callable[[], float]
    base_s: float = 0.2
    cap_s: float = 5.0
    settled_s: float = 30.0

    def decide(self, situation: Situation) -> Decision:
        """Say what to do about ``situation``."""
        if situation.trouble == Trouble.STALE:
            return ResetConnection()
        if situation.trouble in (Trouble.LATENCY, Trouble.DROPPED):
            return Keep()  # a reset of a slow connection sends twice what was already late, and drops more
        if situation.status_name in AUTHORIZATION and not situation.http_status:
            return RetryStream(self._pause_hns(situation.attempt), refresh_credentials=True)
        if situation.status_name in SETTLED or situation.status_class == StatusClass.USAGE:
            return self._refused(situation)
        return RetryStream(self._pause_hns(situation.attempt))

    def _refused(self, situation: Situation) -> Decision:
        if situation.status_name in AUTHORIZATION and not situation.credentials_were_refreshed:
            return RetryStream(self._pause_hns(0), refresh_credentials=True)
        if situation.was_streaming:
            pause_s = self.settled_s * (1 + self.random()) / 2
            return RetryStream(int(pause_s * HNS_PER_S), refresh_credentials=True)
        return GiveUp(situation.status_name)

    def _pause_hns(self, attempt: int) -> int:
        limit_s = min(self.cap_s, self.base_s * 2 ** min(attempt, 30))
        return int(limit_s * self.random() * HNS_PER_S)


class RetryBudget:
    """How often one stream may be tried again: ``size`` times at once, then once per ``refill_s``.

    A policy that never pauses costs a service no more than that; one with full jitter up to 5 s hardly notices.
    """

    def __init__(self, size: int = 10, refill_s: float = 2.5) -> None:
        self._size = size
        self._refill_hns = int(refill_s * HNS_PER_S)
        self._full_hns = 0  # when the budget is whole again

    def take_hns(self, now_hns: int) -> int:
        """Take a try; return how long to wait before it."""
        self._full_hns = max(self._full_hns, now_hns) + self._refill_hns
        return max(0, self._full_hns - self._size * self._refill_hns - now_hns)


class ThrottleBudget:
    """How fast a process calls a service that throttles it: one for all streams, so that they back off together.

    While nothing is throttled it limits nothing. Each throttled call doubles the distance between calls, from 50 ms to
    1 s; each accepted one takes a tenth off it. Producers in several threads may share one: at worst two calls leave
    together.
    """

    FIRST_HNS = HNS_PER_S // 20
    MAX_HNS = HNS_PER_S

    def __init__(self) -> None:
        self._distance_hns = 0
        self._next_hns = 0
        self._raised_hns = 0

    def take_hns(self, now_hns: int) -> int:
        """Take the next place; return how long to wait before the call."""
        at_hns = max(now_hns, self._next_hns)
        self._next_hns = at_hns + self._distance_hns
        return at_hns - now_hns

    def throttled(self, began_hns: int, now_hns: int, asked_hns: int) -> None:
        """A call that began at ``began_hns`` was throttled; ``asked_hns`` is the wait that the service asked for."""
        if began_hns >= self._raised_hns:  # else it had left before the last one told us
            self._distance_hns = min(max(2 * self._distance_hns, self.FIRST_HNS), self.MAX_HNS)
            self._raised_hns = now_hns
        self._next_hns = max(self._next_hns, now_hns + max(asked_hns, self._distance_hns))

    def accepted(self, began_hns: int) -> None:
        """A call was not throttled."""
        if began_hns >= self._raised_hns:
            left_hns = self._distance_hns * 9 // 10
            self._distance_hns = left_hns if left_hns > self.FIRST_HNS // 4 else 0
