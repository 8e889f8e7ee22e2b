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
from kvspic._lib import check
from kvspic.actions import Action
from kvspic.core import Stream, UploadReader
from kvspic.provider.endpoints import EndpointCache
from kvspic.provider.results import is_throttling
from kvspic.provider.upload import EndedBy, PutMediaOutcome
from kvspic.retry import (
    CallBudget,
    CallRates,
    Decision,
    GiveUp,
    ResetConnection,
    RetryBudget,
    RetryPolicy,
    RetryStream,
    Situation,
    Trouble,
    check_decision,
)
from kvspic.types import DropReason, StreamState
from kvspic.units import HNS_PER_HOUR, HNS_PER_S

__all__ = ["PUT_MEDIA", "CallEnd", "Later", "OrderRules", "Recovery", "UploadHandle", "described"]

logger = logging.getLogger("kvspic.rules")

RETRY_AFTER_MAX_S = 30.0  # of what the service asks for; the core's own pauses come on top
RETENTION_HOURS_MAX = 1_000_000  # the service allows a tenth of that
STATUS_NUMBERS = {"CREATING": 0, "ACTIVE": 1, "UPDATING": 2, "DELETING": 3}
PUT_MEDIA = "PutMedia"
READ_AWAITING_ACK, READ_END = 2, 3
TRY_HNS = HNS_PER_S // 2
ELDER_HNS = 5 * HNS_PER_S  # so long after its last byte an upload's answer is awaited by the next one
ELDER_MAX_HNS = 30 * HNS_PER_S  # and so long altogether, if its last byte does not come

Later = Callable[[int, Callable[[int], None]], None]
"""Run a step after so many ticks of 100 ns, giving it the time of then; not at all if the stream is gone by then."""


def described(status: str, retention_hours: int) -> dict[str, int]:
    """The answer to DescribeStream in the core's fields; ValueError where it cannot be one."""
    if not 0 <= retention_hours <= RETENTION_HOURS_MAX:
        raise ValueError(f"a retention of {retention_hours} hours")
    return {"status": STATUS_NUMBERS[status], "retention_hns": retention_hours * HNS_PER_HOUR}


@dataclass(frozen=True)
class CallEnd:
    """How a call of the service ended; ``http_status`` is 0 when no answer came. Times by a clock of the process."""

    began_hns: int
    http_status: int = 0
    error_name: str = ""
    retry_after_s: float | None = None
    operation: str = ""


class OrderRules:
    """What the orders of one stream share: where uploads go, which ones there are, the wish for other keys, and the way
    back to the core.

    The cache of endpoints is the only place that knows where uploads go. ``budget`` is shared by all streams of the
    process. The service takes one connection of a stream, so a new upload waits for the ones before it.
    """

    def __init__(
        self,
        name: str,
        core: Stream,
        endpoints: EndpointCache,
        budget: CallBudget,
        rates: CallRates | None = None,
    ) -> None:
        self.name = name
        self.last_call = CallEnd(0)
        self.lasted_hns = 0  # the last call
        self._budget = budget
        self._rates = rates or CallRates()
        self.core = core
        self.refresh_next = False  # the next GetToken asks for other keys than the last ones
        self.uploads: dict[int, UploadHandle] = {}  # the ones that have not ended, oldest first
        self._next_try_hns = 0  # of an upload
        self.is_careful = False  # the upload that ended last was not accepted
        self._endpoints = endpoints

    # ---- where uploads go

    def has_endpoint(self, action: Action, now_hns: int) -> bool:
        """Whether GetDataEndpoint needs no call; a repeated order does not trust what was known."""
        if action.attempt:
            self._endpoints.doubt(self.name)
        return self.endpoint(now_hns) is not None

    def endpoint(self, now_hns: int) -> str | None:
        """Where uploads go; None: the service has to be asked first."""
        return self._endpoints.get(self.name, now_hns)

    def last_endpoint(self) -> str | None:
        """Where uploads went, for when the service does not say."""
        return self._endpoints.last(self.name)

    def learn_endpoint(self, url: str, asked_hns: int) -> None:
        """Upload to ``url`` from now on."""
        self._endpoints.put(self.name, url, asked_hns)

    # ---- which uploads there are

    @property
    def is_uploading(self) -> bool:
        """Whether the service has accepted an upload that has not ended."""
        return any(upload.is_accepted and not upload.is_over for upload in self.uploads.values())

    @property
    def is_newest_accepted(self) -> bool:
        """Whether the service has accepted the upload that was opened last."""
        return bool(self.uploads) and next(reversed(self.uploads.values())).is_accepted

    def wait_for_elders_hns(self, upload: UploadHandle, now_hns: int) -> int:
        """Return how long a new upload waits for the ones before it at the most: until their answers have ended, or
        for ``ELDER_HNS`` after their last bytes. Ask again when one has ended."""
        waits = [0]
        for elder in self.uploads.values():
            if elder is upload:
                break
            if not elder.is_over:
                read_over_hns = elder.read_over_hns
                until_hns = upload.ordered_hns + ELDER_MAX_HNS if read_over_hns is None else read_over_hns + ELDER_HNS
                waits.append(until_hns - now_hns)
        return max(waits)

    def began(self, upload: UploadHandle) -> None:
        """An upload was ordered."""
        self.uploads[upload.action.upload] = upload

    # ---- calls

    def takes_refresh(self, action: Action) -> bool:
        """Whether GetToken has to ask the source for other keys than the last ones; asked once per order."""
        wanted, self.refresh_next = self.refresh_next or action.attempt > 0, False
        return wanted

    def wait_hns(self, operation: str, now_hns: int) -> int:
        """How long to wait before the next call of an operation. Uploads of a stream are tried one after the
        other, ``TRY_HNS`` apart, however many wait."""
        wait_hns = self._budget.take_hns(operation, self._rates.interval_hns(operation), now_hns)
        if operation == PUT_MEDIA:
            wait_hns = max(wait_hns, self._next_try_hns - now_hns)
            self._next_try_hns = now_hns + wait_hns + TRY_HNS
        return wait_hns

    def called(self, end: CallEnd, now_hns: int) -> int:
        """Note how a call ended; return how long its answer to the core waits because the service asked for it."""
        self.last_call, self.lasted_hns = end, now_hns - end.began_hns
        pause_hns = int(min(end.retry_after_s or 0.0, RETRY_AFTER_MAX_S) * HNS_PER_S)
        if is_throttling(end.http_status, end.error_name):
            self._budget.throttled(end.operation, end.began_hns, now_hns, pause_hns)
        elif end.http_status == 200:
            self._budget.accepted(end.operation, end.began_hns)
        return pause_hns

    def answer(self, action: Action, now_hns: int, fields: dict[str, int]) -> None:
        """Give the core its answer; it may not want it any more, or be FAILED by it, which it reports by an action."""
        try:
            self.core.answer(action.request, now_hns, **fields)
        except (errors.StaleAnswerError, errors.NullArgError, errors.ServiceError) as error:
            logger.debug("%s: answer to order %d: %s", self.name, action.kind, error)

    def ended(self, upload: UploadHandle, outcome: PutMediaOutcome, began_hns: int, now_hns: int) -> int:
        """Note how an upload ended; return how long the core's answer waits because the service asked for it."""
        self.uploads.pop(upload.action.upload, None)
        if outcome.ended_by is not EndedBy.STOPPED:
            self.is_careful = not upload.is_accepted
        if outcome.endpoint_is_doubtful:
            self._endpoints.doubt(self.name)
        end = CallEnd(began_hns, outcome.http_status, outcome.error_name, outcome.retry_after_s, PUT_MEDIA)
        return self.called(end, now_hns)

    def upload_ended(self, upload: UploadHandle, result: int, now_hns: int) -> None:
        """Report the end of an upload to the core; one that never stood is an order that failed."""
        action = upload.action
        if not upload.is_connected:
            self.answer(action, now_hns, {"result": int(result)})
            return
        try:
            self.core.upload_ended(action.upload, int(result), now_hns)
        except (errors.UnknownUploadError, errors.NullArgError, errors.ServiceError) as error:
            logger.debug("%s: end of upload %d: %s", self.name, action.upload, error)


class UploadHandle:
    """One upload handle of the core, as the owner of the upload that carries it: body bytes out of the core, ACK bytes
    into it, and what the service says about it. Any number of handles may share a reader.

    Attributes:
        is_over: the core is done with the handle, or the stream is closing: ``on_over`` was called.
        is_connected: the core has its answer to the order. is_accepted: the service has answered 200.
        read_over_hns: when the last byte was read; None before that.
    """

    def __init__(
        self,
        rules: OrderRules,
        action: Action,
        reader: UploadReader,
        now_hns: Callable[[], int],
        budget_hns: Callable[[], int] | None = None,
    ) -> None:
        self.action = action
        self.is_over = self.is_connected = self.is_accepted = False
        self.read_over_hns: int | None = None
        self.on_over: Callable[[], None] = lambda: None
        self.on_accepted: Callable[[], None] = lambda: None
        self.on_busy: Callable[[str], None] = lambda message: None
        self._rules = rules
        self._core = rules.core
        self._number = action.upload
        self._reader = reader
        self._now_hns = now_hns
        self._budget_hns = budget_hns or now_hns  # the clock that calls are counted by
        self._was_busy = False
        self.ordered_hns = now_hns()

    def read(self, size_max: int) -> tuple[memoryview | bytes, int, int]:
        """The next bytes as a chunk, valid until the reader is used again; how many they are without its coding; what
        comes after them."""
        reader, now_hns = self._reader, self._now_hns()
        chunk, size = reader.c_chunk, reader.size if reader.size < size_max else size_max
        count = self._core.read_chunk(self._number, reader.c_memory, size, chunk, now_hns)
        if count < 0:
            return self._not_read(count)
        begin, end, state = chunk
        if state >= READ_AWAITING_ACK and self.read_over_hns is None:
            self.read_over_hns = now_hns
        return reader.memory[begin:end] if count else b"", count, state

    def _not_read(self, status: int) -> tuple[bytes, int, int]:
        try:
            check(status)
        except (errors.UnknownUploadError, errors.NullArgError):
            self.end()
        return b"", 0, READ_END

    def take(self, acks: bytes) -> None:
        """Bytes of the answer. What they free, or end, may let the body go on."""
        try:
            self._core.ack_bytes(self._number, acks, self._now_hns())
        except errors.MediaError as error:
            logger.warning("upload %d: %s", self._number, error)  # counted in the metrics; the rest goes on
        except (errors.UnknownUploadError, errors.NullArgError):
            self.end()

    @property
    def is_careful(self) -> bool:
        """Whether the stream's upload that ended last was not accepted."""
        return self._rules.is_careful

    def connected(self) -> None:
        """The body may leave."""
        self.is_connected = True
        self._rules.answer(self.action, self._now_hns(), {})

    def accepted(self) -> None:
        """The service takes it."""
        self.is_accepted = True
        self.on_accepted()

    def busy(self, message: str) -> float:
        """The service counts another connection of the stream."""
        if not self._was_busy:
            self._was_busy = True
            self.on_busy(message)
        return self._rules.wait_for_elders_hns(self, self._now_hns()) / HNS_PER_S

    def pace(self) -> float:
        """How many seconds to wait before another try, by the rates of calls."""
        return self._rules.wait_hns(PUT_MEDIA, self._budget_hns()) / HNS_PER_S

    def end(self) -> None:
        """The core is done with the handle, or the stream closes: the core does not want to hear of it."""
        if not self.is_over:
            self.is_over = True
            self.on_over()


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
        """The core gave up; ``failure`` is what its status means. No connection is left that could be reset: a policy
        that asks for that has the stream tried again at once."""
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
        check_decision(decision)
        if isinstance(decision, ResetConnection):
            self._attempt += 1
            act = self._try_again if situation.trouble == Trouble.FAILED else self._core.reset_connection
            self._soon(self._budget.take_hns(now_hns), act)
        elif isinstance(decision, RetryStream):
            self._attempt += 1
            self._orders.refresh_next = decision.refresh_credentials
            self._was_refreshed = self._was_refreshed or decision.refresh_credentials
            pause_hns = int(decision.after_hns) - self._orders.lasted_hns  # from the begin of the call that failed
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
