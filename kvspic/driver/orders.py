"""The orders of one stream: each is one awaited call of the provider, and its answer goes back to the core.

An order is answered once, whatever happened; what the provider could not do is a result, never an exception. Uploads
run side by side: the old one drains while the new one starts. Everything here runs on the loop's thread.
"""

from __future__ import annotations

import asyncio
import functools
import logging
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, TypeVar

from kvspic.actions import Action, ActionKind
from kvspic.core import TIME_NONE, Stream, host_now_hns
from kvspic.driver.aio import Clock
from kvspic.driver.rules import PUT_MEDIA, CallEnd, OrderRules, UploadHandle, described
from kvspic.driver.watch import Waiters
from kvspic.provider.credentials import CredentialFetchError, Credentials, NoCredentialsError
from kvspic.provider.endpoints import EndpointCache
from kvspic.provider.putmedia import PutMediaHead
from kvspic.provider.results import ServiceError, ServiceResult
from kvspic.provider.session import PutMediaSession
from kvspic.provider.transport import MaySend
from kvspic.provider.upload import EndedBy, PutMediaOutcome
from kvspic.retry import CallBudget, CallRates
from kvspic.units import HNS_PER_HOUR, HNS_PER_S

if TYPE_CHECKING:
    from kvspic.provider.control import ControlPlane

__all__ = ["OrderSettings", "StreamOrders"]

logger = logging.getLogger("kvspic.orders")

ELDER_LOOK_S = 0.5  # so often a waiting upload looks whether the one before it has been read to its end

T = TypeVar("T")
Spawn = Callable[[Coroutine[Any, Any, Any], str], "asyncio.Task[Any]"]

BUDGET = CallBudget()
"""The one of this process: what a service limits is the calls of an account, whichever producer makes them."""


@dataclass(frozen=True)
class OrderSettings:
    """What the calls say about the stream."""

    name: str
    retention_hns: int
    media_type: str
    tags: Mapping[str, str]
    kms_key_id: str | None
    is_absolute: bool
    wants_acks: bool
    call_rates: CallRates = field(default_factory=CallRates)
    may_send: MaySend | None = None


class StreamOrders:
    """Carries out the orders of one stream.

    Attributes:
        on_fault: called with an unexpected exception. on_accepted: the service has accepted an upload.
        on_busy: it refuses one because it counts another connection of the stream; once for each upload.
        on_forbidden: the gate has ended an upload. after_change: called when the core was given something.
    """

    def __init__(
        self,
        settings: OrderSettings,
        core: Stream,
        plane: ControlPlane,
        endpoints: EndpointCache,
        spawn: Spawn,
        clock: Clock,
    ) -> None:
        self._settings = settings
        self._core = core
        self._plane = plane
        self._spawn = spawn
        self._clock = clock
        self.rules = OrderRules(settings.name, core, endpoints, BUDGET, settings.call_rates)
        self._sessions: dict[int, PutMediaSession] = {}
        self._waiters = Waiters()  # uploads that wait for another one's end
        self._is_suspended = False
        self._held: Action | None = None  # PUT_MEDIA, ordered while uploads are suspended
        self.on_accepted: Callable[[], None] = lambda: None
        self.on_busy: Callable[[str], None] = lambda message: None
        self.on_forbidden: Callable[[], None] = lambda: None
        self.after_change: Callable[[], None] = lambda: None
        self._tasks: set[asyncio.Task[Any]] = set()
        self.last_error = ""  # of the last call that failed, in words
        self.on_fault: Callable[[Exception], None] = _raise
        self.table: dict[int, Callable[[Action], None]] = {
            ActionKind.DESCRIBE_STREAM: self._ordered(self._describe),
            ActionKind.CREATE_STREAM: self._ordered(self._create),
            ActionKind.TAG_STREAM: self._ordered(self._tag),
            ActionKind.GET_DATA_ENDPOINT: self._ordered(self._get_endpoint),
            ActionKind.GET_TOKEN: self._ordered(self._get_token),
            ActionKind.PUT_MEDIA: self._put_media,
            ActionKind.UPLOAD_END: self._upload_end,
        }

    def stop(self) -> None:
        """Give up all calls and connections; nothing is answered any more."""
        for upload in tuple(self.rules.uploads.values()):
            upload.end()
        for task in self._tasks:
            task.cancel()

    # ---- calls of the control plane

    def _ordered(self, call: Callable[[Action], Awaitable[dict[str, int]]]) -> Callable[[Action], None]:
        """Make a handler that runs ``call`` and answers with the fields it returns, or with the result it raises."""

        async def carry_out(action: Action) -> None:
            try:
                fields = await call(action)
            except ServiceError as error:
                self.last_error = str(error).rstrip(".")
                logger.debug("%s: %s", self._settings.name, error)
                fields = {"result": int(error.result)}
            except Exception as error:  # an answer of the service that no code here foresaw
                what = ActionKind(action.kind).name
                self.last_error = f"{what} got an answer that makes no sense ({type(error).__name__}); report it"
                logger.warning("%s: %s", self._settings.name, self.last_error, exc_info=error)
                fields = {"result": int(ServiceResult.UNKNOWN)}
            self.rules.answer(action, self._clock.now_hns(), fields)
            self.after_change()

        def handle(action: Action) -> None:
            self._start(functools.partial(carry_out, action), ActionKind(action.kind).name)

        return handle

    async def _paced(self, operation: str, call: Callable[[], Awaitable[T]]) -> T:
        """Make a call of the service when it is this stream's turn; one that fails ends after the wait it asked for."""
        await _sleep(self.rules.wait_hns(operation, host_now_hns()))
        began_hns = host_now_hns()
        try:
            answer = await call()
        except ServiceError as error:
            end = CallEnd(began_hns, error.http_status, error.error_name, error.retry_after_s, operation)
            await _sleep(self.rules.called(end, host_now_hns()))
            raise
        self.rules.called(CallEnd(began_hns, 200, operation=operation), host_now_hns())
        return answer

    async def _describe(self, action: Action) -> dict[str, int]:
        found = await self._paced("DescribeStream", lambda: self._plane.describe_stream(self._settings.name))
        return described(found.status, found.retention_hours)

    async def _create(self, action: Action) -> dict[str, int]:
        settings = self._settings
        hours = -(-settings.retention_hns // HNS_PER_HOUR)
        await self._paced(
            "CreateStream",
            lambda: self._plane.create_stream(
                settings.name, retention_hours=hours, media_type=settings.media_type, kms_key_id=settings.kms_key_id
            ),
        )
        return {}

    async def _tag(self, action: Action) -> dict[str, int]:
        await self._paced("TagStream", lambda: self._plane.tag_stream(self._settings.name, self._settings.tags))
        return {}

    async def _get_endpoint(self, action: Action) -> dict[str, int]:
        now_hns = self._clock.now_hns()
        if not self.rules.has_endpoint(action, now_hns):
            url = await self._paced("GetDataEndpoint", lambda: self._plane.get_data_endpoint(self._settings.name))
            self.rules.learn_endpoint(url, now_hns)
        return {}

    async def _get_token(self, action: Action) -> dict[str, int]:
        began_hns = host_now_hns()
        try:
            keys = await self._plane.credentials.get(refresh=self.rules.takes_refresh(action))
        except Exception as error:  # a source of the user's may raise anything; its text may quote keys
            has_none = isinstance(error, NoCredentialsError)
            result = ServiceResult.NOT_AUTHORIZED if has_none else ServiceResult.UNKNOWN  # what fails now may work soon
            is_safe = isinstance(error, CredentialFetchError)  # its text is a sentence without secrets
            detail = str(error) if is_safe else f"the source raised {type(error).__name__}"
            self.rules.called(CallEnd(began_hns), host_now_hns())
            raise ServiceError("Getting credentials", result, detail=detail) from None
        return {"expires_hns": self._expiry_hns(keys)}

    def _expiry_hns(self, keys: Credentials) -> int:
        """A token's expiry is a wall-clock time of the service; the core's time may have gone apart from it."""
        if keys.expiry_s is None:
            return TIME_NONE
        left_s = max(0.0, keys.expiry_s - self._plane.clock.now())
        return self._clock.now_hns() + int(left_s * HNS_PER_S)

    # ---- uploads

    def _put_media(self, action: Action) -> None:
        if self._is_suspended:
            self._held = action
            return
        upload = UploadHandle(self.rules, action, self._core.reader, self._clock.now_hns, host_now_hns)
        upload.on_over = functools.partial(self._stop_upload, action.upload)
        upload.on_accepted, upload.on_busy = self.on_accepted, self.on_busy
        self.rules.began(upload)
        self._start(functools.partial(self._run_upload, upload), f"PUT_MEDIA {action.upload}")

    async def _run_upload(self, upload: UploadHandle) -> None:
        number, began_hns = upload.action.upload, host_now_hns()
        outcome = PutMediaOutcome(ServiceResult.OK, ended_by=EndedBy.STOPPED)
        try:
            await self._wait_for_elders(upload)
            await _sleep(self.rules.wait_hns(PUT_MEDIA, host_now_hns()))
            began_hns = host_now_hns()
            outcome = await self._upload(upload)
        finally:
            self._sessions.pop(number, None)  # now, not when the collector finds the circle of session and upload
            pause_hns = self.rules.ended(upload, outcome, began_hns, host_now_hns())
            self._one_ended()
        if outcome.message:
            self.last_error = outcome.message.rstrip(".")
            logger.info("%s: upload %d ended: %s", self._settings.name, number, outcome.message)
        if upload.is_over:
            return
        await _sleep(pause_hns)
        self.rules.upload_ended(upload, outcome.result, self._clock.now_hns())

    async def _wait_for_elders(self, upload: UploadHandle) -> None:
        def may_begin() -> bool:
            return upload.is_over or self.rules.wait_for_elders_hns(upload, self._clock.now_hns()) <= 0

        while not await self._waiters.until(may_begin, ELDER_LOOK_S):
            """Look again, because time alone may end the wait."""

    def _one_ended(self) -> None:
        """Let the uploads that wait for another one look again."""
        self._waiters.pulse()
        for number, session in tuple(self._sessions.items()):
            upload = self.rules.uploads[number]
            if self.rules.wait_for_elders_hns(upload, self._clock.now_hns()) <= 0:
                session.hurry()

    async def _upload(self, upload: UploadHandle) -> PutMediaOutcome:
        settings, action = self._settings, upload.action
        try:
            target = await self._plane.put_media_target(await self._endpoint())
        except ServiceError as error:
            return PutMediaOutcome(error.result, error.error_name, str(error), http_status=error.http_status)
        if upload.is_over:
            return PutMediaOutcome(ServiceResult.OK, ended_by=EndedBy.STOPPED)
        session = self._sessions[action.upload] = PutMediaSession(
            target=replace(target, may_send=settings.may_send),
            head=PutMediaHead(
                stream_name=settings.name,
                start_timestamp_ms=action.a,
                absolute=settings.is_absolute,
                want_acks=settings.wants_acks,
                user_agent=self._plane.user_agent,
            ),
            owner=upload,
        )
        session.after_bytes = self.after_change
        outcome = await session.run()
        if session.is_forbidden:
            self.on_forbidden()
        return outcome

    async def _endpoint(self) -> str:
        """Where the upload goes. Where that is in doubt the service is asked; the old address is only for when it does
        not say, because a control plane that is away is no reason not to upload."""
        now_hns = self._clock.now_hns()
        url = self.rules.endpoint(now_hns)
        if url is not None:
            return url
        try:
            url = await self._paced("GetDataEndpoint", lambda: self._plane.get_data_endpoint(self._settings.name))
        except ServiceError:
            url = self.rules.last_endpoint()
            if url is None:
                raise
            return url
        self.rules.learn_endpoint(url, now_hns)
        return url

    def data(self, number: int) -> None:
        """There is something to read for an upload."""
        session = self._sessions.get(number)
        if session is not None:
            try:
                session.more()
            except Exception as error:
                self.on_fault(error)

    def _upload_end(self, action: Action) -> None:
        if self._held is not None and self._held.upload == action.upload:
            self._held = None
        upload = self.rules.uploads.get(action.upload)
        if upload is not None:
            upload.end()

    def _stop_upload(self, number: int) -> None:
        session = self._sessions.get(number)
        if session is not None:
            session.stop(is_abort=self._is_suspended)

    def suspend(self) -> None:
        """Abort all connections of uploads at once, and begin none; what the core orders meanwhile is kept."""
        self._is_suspended = True
        for upload in tuple(self.rules.uploads.values()):
            if not (upload.is_over or upload.is_connected):
                self._held = upload.action  # the core still waits for its answer
            upload.end()

    def resume(self) -> None:
        """Begin what was kept."""
        self._is_suspended = False
        held, self._held = self._held, None
        if held is not None:
            self._put_media(held)

    def _start(self, work: Callable[[], Coroutine[Any, Any, None]], what: str) -> None:
        task = self._spawn(self._guarded(work), f"kvspic {self._settings.name} {what}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _guarded(self, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        try:
            await work()
        except Exception as error:
            self.on_fault(error)


async def _sleep(duration_hns: int) -> None:
    if duration_hns:
        await asyncio.sleep(duration_hns / HNS_PER_S)


def _raise(error: Exception) -> None:
    raise error
