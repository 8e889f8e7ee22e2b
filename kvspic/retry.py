"""What to do when a stream has failed or stalled: a small policy that the user can replace. Pure; it performs nothing.

The core repeats each call itself, five times without progress, and then reports FAILED; the stream keeps its frames and
takes more. The policy says what then: try again after a while (for ever, by default, because a camera cannot be asked),
open a new connection, wait, or give up. Pauses have full jitter, so that a fleet does not come back all at once. Two
budgets bound what any policy can do: of a stream's tries, and of the process's calls to each API of the service.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from kvspic import errors
from kvspic.errors import RefusalClass, StatusClass, refusal_of
from kvspic.units import HNS_PER_S

__all__ = [
    "CallBudget",
    "CallRates",
    "Decision",
    "DefaultRetryPolicy",
    "GiveUp",
    "Keep",
    "ResetConnection",
    "RetryBudget",
    "RetryPolicy",
    "RetryStream",
    "Situation",
    "Trouble",
    "check_decision",
    "check_policy",
]

PAUSE_MAX_HNS = 366 * 24 * 3600 * HNS_PER_S


class Trouble:
    """What kind of trouble a situation is."""

    FAILED = "failed"  # the core gave up: status, result and state say why
    STALE = "stale"  # bytes went out and no ACK came
    LATENCY = "latency"  # what is sent is older than the stream's limit
    DROPPED = "dropped"  # frames left the buffer without being done: reason says why


@dataclass(frozen=True)
class Situation:
    """What a policy knows when it decides.

    Attributes:
        trouble: one of :class:`Trouble`.
        status, status_name, status_class: the cause; 0, "" and NONE for a stall.
        result: the last result of the service.
        http_status, error_name: of the last call, as the service answered it; 0 and "" when no answer came: the link
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
    """End the open sessions and open a new one; nothing is dropped. A stream that has failed has none left: it begins
    again at DescribeStream, as after :class:`RetryStream` without a pause."""


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
    """Decides for all streams of a producer; called on the driver's thread, so it must not wait. One that raises, or
    answers something else than a decision, stops the stream that it was asked about."""

    def decide(self, situation: Situation) -> Decision:
        """Say what to do about ``situation``."""


def check_policy(policy: object) -> None:
    """Raise InvalidArgError where ``policy`` cannot be asked: no method ``decide``, or one that has to be awaited."""
    decide = getattr(policy, "decide", None)
    if isinstance(policy, type) or not callable(decide) or inspect.iscoroutinefunction(decide):
        text = f"retry_policy is {policy!r:.80}: give an object with a method decide(situation) that is no coroutine"
        raise errors.named("INVALID_ARG", text)


def check_decision(decision: object) -> None:
    """Raise what is wrong with a policy's answer."""
    if isinstance(decision, (Keep, ResetConnection, GiveUp)):
        return
    if not isinstance(decision, RetryStream):
        known = "Keep, ResetConnection, RetryStream or GiveUp"
        raise TypeError(f"the retry policy answered {decision!r:.80}: it has to answer a {known}")
    after_hns = decision.after_hns
    if not isinstance(after_hns, (int, float)) or not 0 <= after_hns <= PAUSE_MAX_HNS:
        text = f"the retry policy answered a pause of {after_hns!r:.40} ticks: give 0 to {PAUSE_MAX_HNS}, a year"
        raise ValueError(text)


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
            back, and there is no one else to ask.
        held_base_s, held_cap_s: the shortest and the longest pause after an ERROR ACK that is about the stream (its KMS
            key, its state, the service's storage): everything is kept, and what helps takes longer than a reconnect.
    """

    random: Callable[[], float]
    base_s: float = 0.2
    cap_s: float = 5.0
    settled_s: float = 30.0
    held_base_s: float = 5.0
    held_cap_s: float = 60.0

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
        if situation.status_name == "ERROR_ACK" and refusal_of(situation.result).about == RefusalClass.STREAM:
            return RetryStream(self._held_hns(situation.attempt))
        return RetryStream(self._pause_hns(situation.attempt))

    def _refused(self, situation: Situation) -> Decision:
        if situation.status_name in AUTHORIZATION and not situation.credentials_were_refreshed:
            return RetryStream(self._pause_hns(0), refresh_credentials=True)
        if situation.was_streaming:
            pause_s = self.settled_s * (1 + self.random()) / 2
            return RetryStream(int(pause_s * HNS_PER_S), refresh_credentials=True)
        return GiveUp(situation.status_name)

    def _held_hns(self, attempt: int) -> int:
        limit_s = min(self.held_cap_s, self.held_base_s * 2 ** min(attempt + 1, 30))
        return int((self.held_base_s + (limit_s - self.held_base_s) * self.random()) * HNS_PER_S)

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


@dataclass(frozen=True)
class CallRates:
    """How many calls a second a process makes to each API that a stream needs before it can upload.

    The defaults are 80 % of what an account may do (AWS developer guide, "Kinesis Video Streams service quotas"), so
    that other programs of the account find room. Processes that share an account share its quotas too: give each its
    part. 0 is no limit.
    """

    create_stream: float = 40
    describe_stream: float = 240
    get_data_endpoint: float = 240
    tag_stream: float = 40

    def __post_init__(self) -> None:
        for name, rate in vars(self).items():
            if rate < 0:
                raise errors.named("INVALID_ARG", f"{name} of the call rates is {rate}; give 0 or more calls a second")

    def interval_hns(self, operation: str) -> int:
        """Return the distance between two calls of an operation, such as ``DescribeStream``; 0 for no limit."""
        names = {
            "CreateStream": self.create_stream,
            "DescribeStream": self.describe_stream,
            "GetDataEndpoint": self.get_data_endpoint,
            "TagStream": self.tag_stream,
        }
        rate = names.get(operation, 0)
        return int(HNS_PER_S / rate) if rate else 0


@dataclass
class _Bucket:
    """One API: when its next call is due at an even pace, and the distance that throttling has put between calls."""

    next_hns: int = 0
    distance_hns: int = 0
    raised_hns: int = 0


class CallBudget:
    """How fast a process calls each API of a service: one for all streams, so that they share what an account may do.

    Each API has a token bucket: calls at the API's rate, and a tenth of a second's worth of them at once. A call that
    is throttled empties its bucket and doubles the distance between calls, from 50 ms to 1 s; each accepted one takes a
    tenth off it, so the bucket fills at its rate again. Producers in several threads may share one: at worst two calls
    leave together.
    """

    FIRST_HNS = HNS_PER_S // 20
    MAX_HNS = HNS_PER_S
    BURST_HNS = HNS_PER_S // 10

    def __init__(self) -> None:
        self._buckets: dict[str, _Bucket] = {}

    def take_hns(self, operation: str, interval_hns: int, now_hns: int) -> int:
        """Take the next place of an API whose calls are ``interval_hns`` apart; return how long to wait before it."""
        bucket = self._buckets.setdefault(operation, _Bucket())
        burst_hns = 0 if bucket.distance_hns else self.BURST_HNS
        wait_hns = max(0, bucket.next_hns - burst_hns - now_hns)
        bucket.next_hns = max(bucket.next_hns, now_hns) + max(interval_hns, bucket.distance_hns)
        return wait_hns

    def throttled(self, operation: str, began_hns: int, now_hns: int, asked_hns: int) -> None:
        """A call that began at ``began_hns`` was throttled; ``asked_hns`` is the wait that the service asked for."""
        bucket = self._buckets.setdefault(operation, _Bucket())
        if began_hns >= bucket.raised_hns:  # else it had left before the last one reported
            bucket.distance_hns = min(max(2 * bucket.distance_hns, self.FIRST_HNS), self.MAX_HNS)
            bucket.raised_hns = now_hns
        bucket.next_hns = max(bucket.next_hns, now_hns + max(asked_hns, bucket.distance_hns))

    def accepted(self, operation: str, began_hns: int) -> None:
        """A call was not throttled."""
        bucket = self._buckets.get(operation)
        if bucket is not None and began_hns >= bucket.raised_hns:
            left_hns = bucket.distance_hns * 9 // 10
            bucket.distance_hns = left_hns if left_hns > self.FIRST_HNS // 4 else 0
