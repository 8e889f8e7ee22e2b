"""The orders of one stream: each is one awaited call of the provider, and its answer goes back to the core.

An order is answered once, whatever happened; what the provider could not do is a result, never an exception. Uploads
run side by side: the old one drains while the new one starts. Everything here runs on the loop's thread.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from kvspic import errors
from kvspic.actions import Action, ActionKind
from kvspic.core import TIME_NONE, Stream, UploadReader
from kvspic.driver.aio import Clock
from kvspic.provider.credentials import CredentialFetchError, Credentials, NoCredentialsError
from kvspic.provider.endpoints import EndpointCache
from kvspic.provider.putmedia import PutMediaHead
from kvspic.provider.results import ServiceError, ServiceResult
from kvspic.provider.session import PutMediaOutcome, PutMediaSession

if TYPE_CHECKING:
    from kvspic.provider.control import ControlPlane

__all__ = ["OrderSettings", "StreamOrders"]

logger = logging.getLogger("kvspic.orders")

HNS_PER_S = 10_000_000
HNS_PER_HOUR = 3600 * HNS_PER_S
RETRY_AFTER_MAX_S = 30.0  # of what the service asks for; the core's own pauses come on top
STATUS_NUMBERS = {"CREATING": 0, "ACTIVE": 1, "UPDATING": 2, "DELETING": 3}
READ_AWAITING_ACK, READ_END = 2, 3

Spawn = Callable[[Coroutine[Any, Any, Any], str], "asyncio.Task[Any]"]


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
        self._endpoints = endpoints
        self._spawn = spawn
        self._clock = clock
        self._endpoint_url = ""
        self._uploads: dict[int, _Upload] = {}
        self._tasks: set[asyncio.Task[Any]] = set()
        self.refresh_next = False  # the next GetToken asks for other keys than the last ones
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
                await _pause(error.retry_after_s)
                fields = {"result": int(error.result)}
            self._answer(action, fields)

        def handle(action: Action) -> None:
            self._start(carry_out(action), ActionKind(action.kind).name)

        return handle

    async def _describe(self, action: Action) -> dict[str, int]:
        found = await self._plane.describe_stream(self._settings.name)
        return {"status": STATUS_NUMBERS[found.status], "retention_hns": found.retention_hns}

    async def _create(self, action: Action) -> dict[str, int]:
        settings = self._settings
        hours = -(-settings.retention_hns // HNS_PER_HOUR)
        await self._plane.create_stream(
            settings.name, retention_hours=hours, media_type=settings.media_type, kms_key_id=settings.kms_key_id
        )
        return {}

    async def _tag(self, action: Action) -> dict[str, int]:
        await self._plane.tag_stream(self._settings.name, self._settings.tags)
        return {}

    async def _get_endpoint(self, action: Action) -> dict[str, int]:
        name, now_hns = self._settings.name, self._clock.now_hns()
        if action.attempt:
            self._endpoints.drop(name)
        url = self._endpoints.get(name, now_hns)
        if url is None:
            url = await self._plane.get_data_endpoint(name)
            self._endpoints.put(name, url, now_hns)
        self._endpoint_url = url
        return {}

    async def _get_token(self, action: Action) -> dict[str, int]:
        refresh, self.refresh_next = self.refresh_next or action.attempt > 0, False
        try:
            keys = await self._plane.credentials.get(refresh=refresh)
        except Exception as error:  # a source of the user's may raise anything; its text may quote keys
            has_none = isinstance(error, NoCredentialsError)
            result = ServiceResult.NOT_AUTHORIZED if has_none else ServiceResult.UNKNOWN  # what fails now may work soon
            is_told = isinstance(error, CredentialFetchError)  # its text is a sentence without secrets
            detail = str(error) if is_told else f"the source raised {type(error).__name__}"
            raise ServiceError("Getting credentials", result, detail=detail) from None
        return {"expires_hns": self._expiry_hns(keys)}

    def _expiry_hns(self, keys: Credentials) -> int:
        """A token's expiry is a wall-clock time of the service; the core's time may have gone apart from it."""
        if keys.expiry_s is None:
            return TIME_NONE
        left_s = max(0.0, keys.expiry_s - self._plane.clock.now())
        return self._clock.now_hns() + int(left_s * HNS_PER_S)

    def _answer(self, action: Action, fields: Mapping[str, int]) -> None:
        try:
            self._core.answer(action.request, self._clock.now_hns(), **fields)
        except (errors.StaleAnswerError, errors.NullArgError) as error:
            logger.debug("%s: answer not wanted any more: %s", self._settings.name, error)
        except errors.ServiceError as error:  # the stream is FAILED now, which the core reports by an action
            logger.debug("%s: %s", self._settings.name, error)

    # ---- uploads

    def _put_media(self, action: Action) -> None:
        upload = self._uploads[action.upload] = _Upload(self._core, action.upload, self._clock)
        self._start(self._run_upload(action, upload), f"PUT_MEDIA {action.upload}")

    async def _run_upload(self, action: Action, upload: _Upload) -> None:
        try:
            outcome = await self._upload(action, upload)
        finally:
            self._uploads.pop(action.upload, None)
            upload.let_go()
        if outcome.result != ServiceResult.OK:
            self.last_error = outcome.message
            logger.info("%s: upload %d ended: %s", self._settings.name, action.upload, outcome.message)
        if outcome.endpoint_is_doubtful:
            self._endpoints.drop(self._settings.name)
        if upload.is_over:
            return
        await _pause(outcome.retry_after_s)
        if upload.is_connected:
            self._tell_end(action.upload, outcome.result)
        else:
            self._answer(action, {"result": int(outcome.result)})

    async def _upload(self, action: Action, upload: _Upload) -> PutMediaOutcome:
        settings = self._settings
        try:
            target = await self._plane.put_media_target(self._endpoint_url)
        except ServiceError as error:
            return PutMediaOutcome(error.result, message=str(error))

        def on_connected() -> None:
            upload.is_connected = True
            self._answer(action, {})

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
        if upload.is_over:
            upload.session.stop()
        return await upload.session.run()

    def _tell_end(self, upload: int, result: int) -> None:
        try:
            self._core.upload_ended(upload, int(result), self._clock.now_hns())
        except (errors.UnknownUploadError, errors.NullArgError, errors.ServiceError) as error:
            logger.debug("%s: %s", self._settings.name, error)

    def _data(self, action: Action) -> None:
        upload = self._uploads.get(action.upload)
        if upload is not None:
            upload.more.set()

    def _upload_end(self, action: Action) -> None:
        upload = self._uploads.get(action.upload)
        if upload is not None:
            upload.end()

    def _start(self, work: Coroutine[Any, Any, None], what: str) -> None:
        task = self._spawn(work, f"kvspic {self._settings.name} {what}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


class _Upload:
    """One upload handle: bytes out of the core, ACK bytes into it."""

    def __init__(self, core: Stream, number: int, clock: Clock) -> None:
        self._core = core
        self._number = number
        self._clock = clock
        self._reader: UploadReader | None = None
        self._is_read = False  # READ_END was seen: the body ends after what was given out
        self.more = asyncio.Event()
        self.session: PutMediaSession | None = None
        self.is_connected = False
        self.is_over = False  # the core is done with the handle, or we are closing

    def end(self) -> None:
        """Close the connection; the core does not want to hear of it."""
        self.is_over = True
        self.more.set()
        if self.session is not None:
            self.session.stop()

    def let_go(self) -> None:
        """The session has ended: its buffers go now, not when the collector finds the circle of session and upload."""
        self.session = self._reader = None

    async def next_body(self) -> memoryview | None:
        """The next bytes of the body, valid until the next call; None at its end."""
        while not (self._is_read or self.is_over):
            self.more.clear()
            piece = self._read()
            if piece:
                return piece
            if not self._is_read:
                await self.more.wait()
        self._reader = None
        return None

    def take_acks(self, data: bytes) -> None:
        """Bytes of the answer. What they free, or end, may let the body go on."""
        try:
            self._core.ack_bytes(self._number, data, self._clock.now_hns())
        except errors.MediaError as error:
            logger.warning("upload %d: %s", self._number, error)  # counted in the metrics; the rest goes on
        except (errors.UnknownUploadError, errors.NullArgError):
            self.end()
        self.more.set()

    def _read(self) -> memoryview | None:
        if self._reader is None:
            self._reader = UploadReader()
        try:
            count, state = self._core.upload_read(self._number, self._reader, self._clock.now_hns())
        except (errors.UnknownUploadError, errors.NullArgError):
            self.end()
            return None
        self._is_read = state == READ_END
        return self._reader.view[:count]


async def _pause(retry_after_s: float | None) -> None:
    """Wait as long as the service asked for."""
    if retry_after_s:
        await asyncio.sleep(min(retry_after_s, RETRY_AFTER_MAX_S))
