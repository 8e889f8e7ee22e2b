"""What to do when a stream has failed or stalled: a small policy that the user can replace. Pure; it performs nothing.

The core repeats each call itself, five times without progress, and then reports FAILED; the stream keeps its frames and
takes more. The policy says what then: try again after a while (for ever, by default, because a camera cannot be asked),
open a new connection, wait, or give up. Pauses have full jitter, so that a fleet does not come back all at once.
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
    "RetryPolicy",
    "RetryStream",
    "Situation",
    "Trouble",
]

HNS_PER_S = 10_000_000


class Trouble:
    """What kind of trouble a situation is."""

    FAILED = "failed"  # the core gave up: status, result and state say why
    STALE = "stale"  # bytes went out and no ACK came
    LATENCY = "latency"  # what is sent is older than the stream's limit


@dataclass(frozen=True)
class Situation:
    """What a policy is told.

    Attributes:
        trouble: one of :class:`Trouble`.
        status, status_name, status_class: the cause; 0, "" and NONE for a stall.
        result: the last result of the service.
        attempt: how often this policy has decided for the stream since a fragment was last done; 0 the first time.
        was_streaming: whether the stream ever had a fragment acknowledged, so its settings are known to be good.
        credentials_were_refreshed: whether the keys that were refused are fresh ones.
    """

    trouble: str
    status: int = 0
    status_name: str = ""
    status_class: StatusClass = StatusClass.NONE
    result: int = 0
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
    """Begin again at DescribeStream after a pause; nothing is dropped."""

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

    Attributes:
        random: a number in [0, 1) for the jitter.
        base_s, cap_s: the pause before try n is a random part of min(cap, base x 2^n).
        settled_s: the same, fixed, for a stream that worked and is now refused: permissions come back.
    """

    random: Callable[[], float]
    base_s: float = 0.2
    cap_s: float = 5.0
    settled_s: float = 30.0

    def decide(self, situation: Situation) -> Decision:
        """Say what to do about ``situation``."""
        if situation.trouble == Trouble.STALE:
            return ResetConnection()
        if situation.trouble == Trouble.LATENCY:
            return Keep()  # a reset of a slow connection sends twice what was already late
        if situation.status_name in SETTLED or situation.status_class == StatusClass.USAGE:
            return self._refused(situation)
        return RetryStream(self._pause_hns(situation.attempt))

    def _refused(self, situation: Situation) -> Decision:
        if situation.status_name in AUTHORIZATION and not situation.credentials_were_refreshed:
            return RetryStream(self._pause_hns(0), refresh_credentials=True)
        if situation.was_streaming:
            return RetryStream(int(self.settled_s * HNS_PER_S), refresh_credentials=True)
        return GiveUp(situation.status_name)

    def _pause_hns(self, attempt: int) -> int:
        limit_s = min(self.cap_s, self.base_s * 2 ** min(attempt, 30))
        return int(limit_s * self.random() * HNS_PER_S)
