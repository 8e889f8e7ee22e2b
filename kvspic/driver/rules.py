"""The rules of a stream's driver without its tasks: answers to orders, bytes of uploads, what the policy is asked.

The driver keeps them over real connections and the simulation over simulated ones: both call what is here, so what a
seed has proven is what runs. Nothing here waits or knows the time: the caller says what time it is, and gives the
function that runs a step later.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass

from kvspic import errors
from kvspic.actions import Action
from kvspic.core import Stream, UploadReader
from kvspic.provider.endpoints import EndpointCache
from kvspic.provider.results import is_throttling
from kvspic.retry import (
    Decision,
    GiveUp,
    ResetConnection,
    RetryBudget,
    RetryPolicy,
    RetryStream,
    Situation,
    ThrottleBudget,
    Trouble,
)
from kvspic.types import DropReason, StreamState

__all__ = ["CallEnd", "Later", "OrderRules", "Recovery", "UploadBody", "described"]

logger = logging.getLogger("kvspic.rules")

HNS_PER_S = 10_000_000
RETRY_AFTER_MAX_S = 30.0  # of what the service asks for; the core's own pauses come on top
HNS_PER_HOUR = 36_000_000_000
STATUS_NUMBERS = {"CREATING": 0, "ACTIVE": 1, "UPDATING": 2, "DELETING": 3}
READ_END = 3

Later = Callable[[int, Callable[[int], None]], None]
"""Run a step after so many ticks of 100 ns, giving it the time of then; not at all if the stream is gone by then."""


def described(status: str, retention_hours: int) -> dict[str, int]:
    """The answer to DescribeStream in the core's fields."""
    return {"status": STATUS_NUMBERS[status], "retention_hns": retention_hours * HNS_PER_HOUR}


@dataclass(frozen=True)
class CallEnd:
    """How a call of the service ended; ``http_status`` is 0 when nobody answered. Times by a clock of the process."""

    began_hns: int
    http_status: int = 0
    error_name: str = ""
    retry_after_s: float | None = None


class OrderRules:
    """What the orders of one stream share: its endpoint, the wish for other keys, and the way back to the core.

    ``throttle`` is shared by all streams of the process.
    """

    def __init__(self, name: str, core: Stream, endpoints: EndpointCache, throttle: ThrottleBudget) -> None:
        self.name = name
        self.last_call = CallEnd(0)
        self.lasted_hns = 0  # the last call
        self._throttle = throttle
        self.endpoint_url = ""  # where uploads go
        self.refresh_next = False  # the next GetToken asks for other keys than the last ones
        self._core = core
        self._endpoints = endpoints

    def has_endpoint(self, action: Action, now_hns: int) -> bool:
        """Whether GetDataEndpoint needs no call; a repeated order does not trust what was known."""
        if action.attempt:
            self._endpoints.drop(self.name)
        self.endpoint_url = self._endpoints.get(self.name, now_hns) or ""
        return bool(self.endpoint_url)

    def learn_endpoint(self, url: str, asked_hns: int) -> None:
        """Upload to ``url`` from now on."""
        self._endpoints.put(self.name, url, asked_hns)
        self.endpoint_url = url

    def doubt_endpoint(self) -> None:
        """The endpoint may be a wrong one: the next order asks the service."""
        self._endpoints.drop(self.name)

    def takes_refresh(self, action: Action) -> bool:
        """Whether GetToken has to ask the source for other keys than the last ones; asked once per order."""
        wanted, self.refresh_next = self.refresh_next or action.attempt > 0, False
        return wanted

    def wait_hns(self, now_hns: int) -> int:
        """How long to wait before the next call."""
        return self._throttle.take_hns(now_hns)

    def called(self, end: CallEnd, now_hns: int) -> int:
        """Note how a call ended; return how long its answer to the core waits because the service asked for it."""
        self.last_call, self.lasted_hns = end, now_hns - end.began_hns
        pause_hns = int(min(end.retry_after_s or 0.0, RETRY_AFTER_MAX_S) * HNS_PER_S)
        if is_throttling(end.http_status, end.error_name):
            self._throttle.throttled(end.began_hns, now_hns, pause_hns)
        elif end.http_status == 200:
            self._throttle.accepted(end.began_hns)
        return pause_hns

    def answer(self, action: Action, now_hns: int, fields: dict[str, int]) -> None:
        """Give the core its answer; it may not want it any more, or be FAILED by it, which it reports by an action."""
        try:
            self._core.answer(action.request, now_hns, **fields)
        except (errors.StaleAnswerError, errors.NullArgError, errors.ServiceError) as error:
            logger.debug("%s: answer to order %d: %s", self.name, action.kind, error)

    def upload_ended(self, action: Action, is_connected: bool, result: int, now_hns: int) -> None:
        """Tell the core that an upload is over; one that never stood is an order that failed."""
        if not is_connected:
            self.answer(action, now_hns, {"result": int(result)})
            return
        try:
            self._core.upload_ended(action.upload, int(result), now_hns)
        except (errors.UnknownUploadError, errors.NullArgError, errors.ServiceError) as error:
            logger.debug("%s: end of upload %d: %s", self.name, action.upload, error)


class UploadBody:
    """One upload handle: body bytes out of the core, ACK bytes into it. Any number of uploads may share a reader."""

    def __init__(self, core: Stream, number: int, reader: UploadReader) -> None:
        self._core = core
        self._number = number
        self._reader = reader
        self._is_read = False  # READ_END was seen: the body ends after what was given out
        self.is_over = False  # the core is done with the handle, or we are closing

    def read(self, now_hns: int) -> memoryview | None:
        """The next bytes, valid until anybody uses the reader; empty when more may come later, None at the end."""
        if self._is_read or self.is_over:
            return None
        try:
            count, state = self._core.upload_read(self._number, self._reader, now_hns)
        except (errors.UnknownUploadError, errors.NullArgError):
            self.is_over = True
            return None
        self._is_read = state == READ_END
        return self._reader.view[:count] if count or not self._is_read else None

    def take_acks(self, data: bytes, now_hns: int) -> None:
        """Bytes of the answer. What they free, or end, may let the body go on."""
        try:
            self._core.ack_bytes(self._number, data, now_hns)
        except errors.MediaError as error:
            logger.warning("upload %d: %s", self._number, error)  # counted in the metrics; the rest goes on
        except (errors.UnknownUploadError, errors.NullArgError):
            self.is_over = True


class Recovery:
    """What a stream remembers from trouble to trouble: it asks the policy and does what that decides."""

    def __init__(self, policy: RetryPolicy, core: Stream, orders: OrderRules, later: Later) -> None:
        self._policy = policy
        self._core = core
        self._orders = orders
        self._later = later
        self._budget = RetryBudget()
        self._attempt = 0
        self._was_streaming = False
        self._was_refreshed = False

    def fragment_done(self) -> None:
        """The service has a fragment: the trouble is over."""
        self._attempt = 0
        self._was_streaming = True
        self._was_refreshed = False

    def stale(self, now_hns: int) -> Decision:
        """Bytes went out and no ACK came."""
        return self._ask(self._situation(Trouble.STALE), now_hns)

    def late(self, now_hns: int) -> Decision:
        """What is sent is older than the stream's limit."""
        return self._ask(self._situation(Trouble.LATENCY), now_hns)

    def dropped(self, reason: DropReason, now_hns: int) -> Decision:
        """Frames left the buffer without being done."""
        return self._ask(self._situation(Trouble.DROPPED, reason.name), now_hns)

    def failed(self, action: Action, failure: errors.KvsError, now_hns: int) -> Decision:
        """The core gave up; ``failure`` is what its status means."""
        return self._ask(
            Situation(
                trouble=Trouble.FAILED,
                status=action.status,
                status_name=failure.name,
                status_class=failure.status_class,
                result=action.result,
                http_status=self._orders.last_call.http_status,
                error_name=self._orders.last_call.error_name,
                attempt=self._attempt,
                was_streaming=self._was_streaming,
                credentials_were_refreshed=self._was_refreshed,
            ),
            now_hns,
        )

    def _situation(self, trouble: str, reason: str = "") -> Situation:
        return Situation(trouble, reason=reason, attempt=self._attempt, was_streaming=self._was_streaming)

    def _ask(self, situation: Situation, now_hns: int) -> Decision:
        decision = self._policy.decide(situation)
        if isinstance(decision, ResetConnection):
            self._attempt += 1
            self._soon(self._budget.take_hns(now_hns), self._core.reset_connection)
        elif isinstance(decision, RetryStream):
            self._attempt += 1
            self._orders.refresh_next = decision.refresh_credentials
            self._was_refreshed = self._was_refreshed or decision.refresh_credentials
            pause_hns = decision.after_hns - self._orders.lasted_hns  # from the begin of the call that failed
            self._soon(max(pause_hns, self._budget.take_hns(now_hns)), self._try_again)
        elif isinstance(decision, GiveUp):
            logger.info("%s: the retry policy gives up: %s", self._orders.name, decision.cause)
        return decision

    def _soon(self, after_hns: int, act: Callable[[int], None]) -> None:
        def step(now_hns: int) -> None:
            try:
                act(now_hns)
            except errors.StateError as error:
                logger.debug("%s: %s", self._orders.name, error)  # the stream went on or was stopped meanwhile

        self._later(after_hns, step)

    def _try_again(self, now_hns: int) -> None:
        if self._core.metrics().state == StreamState.FAILED:
            self._core.retry(now_hns)
