"""The orders of one stream: each is one awaited call of the provider, and its answer goes back to the core.

An order is answered once, whatever happened; what the provider could not do is a result, never an exception. Uploads
run side by side: the old one drains while the new one starts. Everything here runs on the loop's thread.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from kvspic.actions import Action, ActionKind
from kvspic.core import TIME_NONE, Stream, host_now_hns
from kvspic.driver.aio import Clock
from kvspic.driver.rules import CallEnd, OrderRules, UploadBody, described
from kvspic.provider.credentials import CredentialFetchError, Credentials, NoCredentialsError
from kvspic.provider.endpoints import EndpointCache
from kvspic.provider.putmedia import PutMediaHead
from kvspic.provider.results import ServiceError, ServiceResult
from kvspic.provider.session import PutMediaOutcome, PutMediaSession
from kvspic.retry import ThrottleBudget

if TYPE_CHECKING:
    from kvspic.provider.control import ControlPlane

__all__ = ["OrderSettings", "StreamOrders"]

logger = logging.getLogger("kvspic.orders")

HNS_PER_S = 10_000_000
HNS_PER_HOUR = 3600 * HNS_PER_S

T = TypeVar("T")
Spawn = Callable[[Coroutine[Any, Any, Any], str], "asyncio.Task[Any]"]

THROTTLE = ThrottleBudget()
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


class StreamOrders:
    """Carries out the orders of one stream."""

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
        self.rules = OrderRules(settings.name, core, endpoints, THROTTLE)
        self._uploads: dict[int, _Upload] = {}
        self._tasks: set[asyncio.Task[Any]] = set()
        self.last_error = ""  # of the last call that failed, in words
        self.table: dict[int, Callable[[Action], None]] = {
            ActionKind.DESCRIBE_STREAM: self._ordered(self._describe),
            ActionKind.CREATE_STREAM: self._ordered(self._create),
            ActionKind.TAG_STREAM: self._ordered(self._tag),
            ActionKind.GET_DATA_ENDPOINT: self._ordered(self._get_endpoint),
            ActionKind.GET_TOKEN: self._ordered(self._get_token),
            ActionKind.PUT_MEDIA: self._put_media,
            ActionKind.DATA: self._data,
            ActionKind.UPLOAD_END: self._upload_end,
        }

    def stop(self) -> None:
        """Give up all calls and connections; nothing is answered any more."""
        for upload in self._uploads.values():
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
                self.last_error = str(error)
                logger.debug("%s: %s", self._settings.name, error)
                fields = {"result": int(error.result)}
            self.rules.answer(action, self._clock.now_hns(), fields)

        def handle(action: Action) -> None:
            self._start(carry_out(action), ActionKind(action.kind).name)

        return handle

    async def _paced(self, call: Callable[[], Awaitable[T]]) -> T:
        """Make a call of the service when it is this stream's turn; one that fails ends after the wait it asked for."""
        await _sleep(self.rules.wait_hns(host_now_hns()))
        began_hns = host_now_hns()
        try:
            answer = await call()
        except ServiceError as error:
            end = CallEnd(began_hns, error.http_status, error.error_name, error.retry_after_s)
            await _sleep(self.rules.called(end, host_now_hns()))
            raise
        self.rules.called(CallEnd(began_hns, 200), host_now_hns())
        return answer

    async def _describe(self, action: Action) -> dict[str, int]:
        found = await self._paced(lambda: self._plane.describe_stream(self._settings.name))
        return described(found.status, found.retention_hours)

    async def _create(self, action: Action) -> dict[str, int]:
        settings = self._settings
        hours = -(-settings.retention_hns // HNS_PER_HOUR)
        await self._paced(
            lambda: self._plane.create_stream(
                settings.name, retention_hours=hours, media_type=settings.media_type, kms_key_id=settings.kms_key_id
            )
        )
        return {}

    async def _tag(self, action: Action) -> dict[str, int]:
        await self._paced(lambda: self._plane.tag_stream(self._settings.name, self._settings.tags))
        return {}

    async def _get_endpoint(self, action: Action) -> dict[str, int]:
        now_hns = self._clock.now_hns()
        if not self.rules.has_endpoint(action, now_hns):
            url = await self._paced(lambda: self._plane.get_data_endpoint(self._settings.name))
            self.rules.learn_endpoint(url, now_hns)
        return {}

    async def _get_token(self, action: Action) -> dict[str, int]:
        began_hns = host_now_hns()
        try:
            keys = await self._plane.credentials.get(refresh=self.rules.takes_refresh(action))
        except Exception as error:  # a source of the user's may raise anything; its text may quote keys
            has_none = isinstance(error, NoCredentialsError)
            result = ServiceResult.NOT_AUTHORIZED if has_none else ServiceResult.UNKNOWN  # what fails now may work soon
            is_told = isinstance(error, CredentialFetchError)  # its text is a sentence without secrets
            detail = str(error) if is_told else f"the source raised {type(error).__name__}"
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
        upload = self._uploads[action.upload] = _Upload(self._core, action.upload, self._clock)
        self._start(self._run_upload(action, upload), f"PUT_MEDIA {action.upload}")

    async def _run_upload(self, action: Action, upload: _Upload) -> None:
        try:
            await _sleep(self.rules.wait_hns(host_now_hns()))
            began_hns = host_now_hns()
            outcome = await self._upload(action, upload)
        finally:
            self._uploads.pop(action.upload, None)
            upload.let_go()
        end = CallEnd(began_hns, outcome.http_status, outcome.error_name, outcome.retry_after_s)
        pause_hns = self.rules.called(end, host_now_hns())
        if outcome.result != ServiceResult.OK:
            self.last_error = outcome.message
            logger.info("%s: upload %d ended: %s", self._settings.name, action.upload, outcome.message)
        if outcome.endpoint_is_doubtful:
            self.rules.doubt_endpoint()
        if upload.body.is_over:
            return
        await _sleep(pause_hns)
        self.rules.upload_ended(action, upload.is_connected, outcome.result, self._clock.now_hns())

    async def _upload(self, action: Action, upload: _Upload) -> PutMediaOutcome:
        settings = self._settings
        try:
            target = await self._plane.put_media_target(self.rules.endpoint_url)
        except ServiceError as error:
            return PutMediaOutcome(error.result, message=str(error))

        def on_connected() -> None:
            upload.is_connected = True
            self.rules.answer(action, self._clock.now_hns(), {})

        upload.session = PutMediaSession(
            target=target,
            head=PutMediaHead(
                stream_name=settings.name,
                start_timestamp_ms=action.a,
                absolute=settings.is_absolute,
                want_acks=settings.wants_acks,
                user_agent=self._plane.user_agent,
            ),
            next_body=upload.next_body,
            on_ack_bytes=upload.take_acks,
            on_connected=on_connected,
        )
        if upload.body.is_over:
            upload.session.stop()
        return await upload.session.run()

    def _data(self, action: Action) -> None:
        upload = self._uploads.get(action.upload)
        if upload is not None:
            upload.more()

    def _upload_end(self, action: Action) -> None:
        upload = self._uploads.get(action.upload)
        if upload is not None:
            upload.end()

    def _start(self, work: Coroutine[Any, Any, None], what: str) -> None:
        task = self._spawn(work, f"kvspic {self._settings.name} {what}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


class _Upload:
    """One upload handle: its bytes, and the session that carries them."""

    def __init__(self, core: Stream, number: int, clock: Clock) -> None:
        self._clock = clock
        self.body = UploadBody(core, number, core.reader)
        self.session: PutMediaSession | None = None
        self.is_connected = False

    def end(self) -> None:
        """Close the connection; the core does not want to hear of it."""
        self.body.is_over = True
        if self.session is not None:
            self.session.stop()

    def let_go(self) -> None:
        """The session has ended: it goes now, not when the collector finds the circle of session and upload."""
        self.session = None

    def next_body(self) -> memoryview | None:
        """The next bytes of the body, valid until any upload of the producer reads; empty for now, None at its end."""
        piece = self.body.read(self._clock.now_hns())
        if piece is None:
            self._end_if_over()
        return piece

    def more(self) -> None:
        """There may be something to read."""
        if self.session is not None:
            self.session.more()

    def take_acks(self, data: bytes) -> None:
        """Bytes of the answer. What they free, or end, may let the body go on."""
        self.body.take_acks(data, self._clock.now_hns())
        self._end_if_over()
        self.more()

    def _end_if_over(self) -> None:
        if self.body.is_over:
            self.end()


async def _sleep(duration_hns: int) -> None:
    if duration_hns:
        await asyncio.sleep(duration_hns / HNS_PER_S)
