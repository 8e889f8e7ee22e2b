"""One PutMedia session from connect to the end of the answer, with the body going up while ACKs come down.

A writing task pulls the body and sends it, a reading task passes ACK bytes on as they arrive; a reader that meets the
end, a refusal, a timer or :meth:`PutMediaSession.stop` ends both. While the writing task waits for body bytes,
:meth:`PutMediaSession.more` sends new ones itself: no task has to be woken for what the kernel takes at once. Every
wait has a limit, except the two that belong to the caller: for body bytes, and for ACKs while the body is open (the
core watches those).

Expired, unknown or skewed credentials are dealt with here: the keys are refreshed, the clock is corrected, and the
upload is sent once more from its first byte, as long as no more than ``REPEAT_MAX`` bytes had gone out.
"""

from __future__ import annotations

import asyncio
import dataclasses
import enum
import functools
import mmap
import ssl
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from kvspic.provider import signing
from kvspic.provider.clock import SERVICE_CLOCK, ServiceClock, server_time
from kvspic.provider.credentials import CredentialSource, NoCredentialsError
from kvspic.provider.putmedia import AckBytes, End, Head, PutMediaConnection, PutMediaHead, put_media_url
from kvspic.provider.results import (
    ServiceResult,
    classify,
    classify_transport,
    is_credential_problem,
    safe_text,
    safe_url,
)
from kvspic.provider.transport import Transport, UnsupportedProtocol, open_put_media

__all__ = [
    "LINGER_S",
    "REPEAT_MAX",
    "EndedBy",
    "PutMediaOutcome",
    "PutMediaSession",
    "PutMediaTarget",
    "SessionTimeouts",
    "result_of",
]

REPEAT_MAX = 256 * 1024  # body bytes kept until the answer's head is here; a 403 comes within a round trip
LINGER_S = 30.0  # the service itself gives up after 30 s without a byte

PIECES_MAX = 16  # sent in one go; then others have their turn

NextBody = Callable[[], "memoryview | bytes | None"]
OpenTransport = Callable[[], Awaitable[Transport]]


class EndedBy(enum.Enum):
    """Who or what ended a session."""

    BODY = "body"  # the body was complete and so was the answer
    SERVICE = "service"  # the answer ended in good order before the body did: idle, too old, after an error ACK
    REFUSED = "refused"  # the answer's status is not 200
    NETWORK = "network"  # the connection broke or never came about
    TIMEOUT = "timeout"  # the service was silent when it owed an answer
    STOPPED = "stopped"  # PutMediaSession.stop


@dataclass(frozen=True)
class PutMediaOutcome:
    """How a session ended. ``result`` is what the core is told; ``message`` is for people, without secrets.

    ``bytes_sent`` counts body bytes that the kernel took, without chunked coding. ``http_status`` is 0 when no answer
    came. After NETWORK, TIMEOUT or SERVICE everything without its ACK has to be sent again.
    """

    result: ServiceResult
    error_name: str = ""
    message: str = ""
    bytes_sent: int = 0
    http_status: int = 0
    ended_by: EndedBy = EndedBy.NETWORK
    request_id: str = ""
    retry_after_s: float | None = None

    @property
    def endpoint_is_doubtful(self) -> bool:
        """Whether a cached endpoint should be dropped: the stream may have moved or gone."""
        if self.ended_by is EndedBy.REFUSED:
            return self.http_status in (403, 404) or self.result is ServiceResult.NETWORK_CONNECTION_TIMEOUT
        return self.ended_by in (EndedBy.NETWORK, EndedBy.TIMEOUT) and self.http_status == 0


@dataclass(frozen=True)
class SessionTimeouts:
    """Limits in seconds.

    ``connect_s`` is for lookup, connection and TLS; ``open_s`` for these and for the credentials. ``head_s`` runs from
    the first body byte (the service answers when it has read some) to the status line. ``refusal_s`` is for reading a
    refusal to its end, and for what is left to read after a write failed. ``write_s`` is how long the peer may take no
    byte of a piece: without acknowledgements nothing else would tell a peer that stopped reading from a slow one.
    """

    connect_s: float = 5.0
    open_s: float = 30.0
    head_s: float = 15.0
    refusal_s: float = 2.0
    write_s: float = 120.0


@dataclass(frozen=True)
class PutMediaTarget:
    """Where an upload goes and as whom. ``open_transport`` replaces the socket (tests, proxies)."""

    endpoint_url: str
    region: str
    credentials: CredentialSource
    ssl_context: ssl.SSLContext | None = None
    clock: ServiceClock = SERVICE_CLOCK
    timeouts: SessionTimeouts = SessionTimeouts()
    open_transport: OpenTransport | None = None

    async def connect(self) -> Transport:
        if self.open_transport is not None:
            return await self.open_transport()
        return await open_put_media(
            self.endpoint_url, ssl_context=self.ssl_context, connect_timeout_s=self.timeouts.connect_s
        )


class PutMediaSession:
    """One upload. Make it, await :meth:`run` once; :meth:`stop` ends it early, cancelling closes its connection too.

    Args:
        next_body: called for each piece of the body: a view, which is copied before anything else runs, b"" when there
            is nothing until :meth:`more` is called, or None at the end.
        on_ack_bytes: called with each piece of the ACK stream as it arrives.
        on_connected: called once, when the connection stands and the request head is on its way. The service answers
            only after it has read some of the body, so this is not yet an acceptance.
        linger_s: after the end of the body, how long the service may be silent before its answer counts as lost.
    """

    def __init__(
        self,
        *,
        target: PutMediaTarget,
        head: PutMediaHead,
        next_body: NextBody,
        on_ack_bytes: Callable[[bytes], None],
        on_connected: Callable[[], None] = lambda: None,
        linger_s: float = LINGER_S,
    ) -> None:
        self.target = target
        self.head = head
        self.next_body = next_body
        self.on_ack_bytes = on_ack_bytes
        self.on_connected = on_connected
        self.linger_s = linger_s
        # The body so far, while it may have to be sent again. Pages of its own, which the system gets back: a hundred
        # of these buffers among what lives as long as the session would leave the allocator with holes that it keeps.
        self.kept: mmap.mmap | None = mmap.mmap(-1, REPEAT_MAX)
        self.body_is_over = False
        self.bytes_sent = 0
        self._is_stopped = False
        self._attempt: _Attempt | None = None

    def stop(self) -> None:
        """End the session now, from the loop's thread; :meth:`run` returns with STOPPED. Never blocks."""
        self._is_stopped = True
        if self._attempt is not None:
            self._attempt.finish(EndedBy.STOPPED)

    def more(self) -> None:
        """There may be more of the body, or its end; from the loop's thread. What the kernel takes is sent at once."""
        if self._attempt is not None:
            self._attempt.more()

    async def run(self) -> PutMediaOutcome:
        """The whole session; errors of the network and the service are in the outcome, never raised.

        Raises:
            Whatever ``next_body``, ``on_ack_bytes`` or ``on_connected`` raised, after the connection was closed.
        """
        outcome = await self._try(refresh=False)
        if outcome.ended_by is not EndedBy.REFUSED:
            return outcome
        if not is_credential_problem(outcome.http_status, outcome.error_name):
            return outcome
        if self.kept is None:  # too much has gone out: the next session will find the new keys
            await self._refresh_quietly()
            return _retryable(outcome)
        return await self._try(refresh=True)

    async def _try(self, *, refresh: bool) -> PutMediaOutcome:
        self.bytes_sent = 0
        attempt = self._attempt = _Attempt(self)
        try:
            if self._is_stopped:
                attempt.finish(EndedBy.STOPPED)
            return await attempt.run(refresh=refresh)
        finally:
            self._attempt = None
            attempt.let_go()

    async def _refresh_quietly(self) -> None:
        try:
            await self.target.credentials.get(refresh=True)
        except Exception:  # of any source; it shows when the next session asks
            return


class _Attempt:
    """One connection of a session."""

    def __init__(self, session: PutMediaSession) -> None:
        self._session = session
        self._target = session.target
        self._http = PutMediaConnection()
        self._loop = asyncio.get_running_loop()
        self._over: asyncio.Future[EndedBy] = self._loop.create_future()
        self._timer: asyncio.TimerHandle | None = None
        self._tasks: list[asyncio.Task[None]] = []  # reading, writing
        self._answer: Head | None = None
        self._end: End | None = None
        self._failure: Exception | None = None
        self._transport: Transport | None = None
        self._idle: asyncio.Future[None] | None = None  # the writing task waits for body bytes
        self._unsent_size = 0  # of body bytes in the transport's rest

    def finish(self, ended_by: EndedBy) -> None:
        """End the attempt for the first reason that comes; later ones do not count."""
        if not self._over.done():
            self._over.set_result(ended_by)

    def let_go(self) -> None:
        """Break the circle attempt -> error -> its traceback's frames -> attempt: it would keep the upload's buffers,
        130 KB, until the collector looks at old objects, which it does hours later."""
        self._failure = None
        self._tasks.clear()

    async def run(self, *, refresh: bool) -> PutMediaOutcome:
        opening = asyncio.ensure_future(self._open(refresh=refresh))
        waits: set[asyncio.Future[Any]] = {opening, self._over}
        self._arm(self._target.timeouts.open_s, EndedBy.TIMEOUT)
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        except BaseException:
            _abandon(opening)
            raise
        finally:
            self._disarm()
        if not opening.done():
            _abandon(opening)
            return self._outcome(self._over.result())
        try:
            transport, request = opening.result()
        except Exception as error:  # a credential source may raise anything
            self._failure = error
            return self._outcome(EndedBy.NETWORK)
        try:
            return self._outcome(await self._exchange(transport, request))
        finally:
            await self._shut(transport)

    async def _open(self, *, refresh: bool) -> tuple[Transport, bytes]:
        """Connect, then sign: a signature's time starts to run out when it is made."""
        credentials = await self._target.credentials.get(refresh=refresh)
        transport = await self._target.connect()
        try:
            url, now = self._target.endpoint_url, self._target.clock.now()
            headers = self._session.head.headers(url)
            signed = signing.sign_put_media(put_media_url(url), headers, credentials, self._target.region, now)
            return transport, self._http.request(signed)
        except BaseException:
            transport.close()
            raise

    async def _exchange(self, transport: Transport, request: bytes) -> EndedBy:
        self._transport = transport
        for work in (self._read(transport), self._write(transport, request)):
            task = self._loop.create_task(work)
            task.add_done_callback(self._task_ended)
            self._tasks.append(task)
        return await self._over

    async def _shut(self, transport: Transport) -> None:
        self._disarm()
        for task in self._tasks:
            task.cancel()
        transport.close()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _task_ended(self, task: asyncio.Task[None]) -> None:
        """An error of the caller's functions ends the session and is the caller's to see."""
        if task.cancelled() or task.exception() is None or self._over.done():
            return
        self._over.set_exception(task.exception() or RuntimeError("a task failed without a cause"))

    # ---- the writing half

    async def _write(self, transport: Transport, request: bytes) -> None:
        try:
            await transport.send(request)
        except OSError as error:
            self._write_failed(error)
            return
        on_connected, self._session.on_connected = self._session.on_connected, lambda: None
        on_connected()
        try:
            await self._send_body(transport)
            await transport.send(self._http.end_of_body())
        except OSError as error:
            self._write_failed(error)
        else:
            self._arm(self._session.linger_s, EndedBy.TIMEOUT)

    async def _send_body(self, transport: Transport) -> None:
        session = self._session
        if session.kept is not None and session.kept.tell():
            self._send_piece(transport, session.kept[: session.kept.tell()])
        while True:
            await self._send_rest(transport)
            if session.body_is_over:
                return
            if self._send_some(transport):
                await asyncio.sleep(0)
            elif not (self._unsent_size or session.body_is_over):
                self._idle = self._loop.create_future()
                await self._idle

    def more(self) -> None:
        """Send what there is now, if the writing task waits for it; wake the task only for what it has to wait for."""
        idle, transport = self._idle, self._transport
        if idle is None or transport is None or idle.done() or self._over.done():
            return
        self._idle = None  # while next_body runs
        try:
            if not self._send_some(transport) and not self._unsent_size and not self._session.body_is_over:
                self._idle = idle
                return
        except Exception as error:  # the writing task's, as if it had called
            idle.set_exception(error)
        else:
            idle.set_result(None)

    def _send_some(self, transport: Transport) -> bool:
        """Send pieces while there are any and the kernel takes them; return True if there may be more of both."""
        session = self._session
        for _ in range(PIECES_MAX):
            piece = session.next_body()
            if piece is None:
                session.body_is_over = True
                return False
            if not len(piece):
                return False
            self._keep(piece)
            self._send_piece(transport, piece)
            if self._unsent_size:
                return False
        return True

    def _send_piece(self, transport: Transport, piece: memoryview | bytes) -> None:
        if self._answer is None and self._timer is None:
            self._arm(self._target.timeouts.head_s, EndedBy.TIMEOUT)
        if transport.send_now(self._http.body(piece)):
            self._session.bytes_sent += len(piece)
        else:
            self._unsent_size = len(piece)

    async def _send_rest(self, transport: Transport) -> None:
        if not self._unsent_size:
            return
        limit = self._loop.call_later(self._target.timeouts.write_s, self.finish, EndedBy.TIMEOUT)
        try:
            await transport.send_rest()
        finally:
            limit.cancel()
        self._session.bytes_sent += self._unsent_size
        self._unsent_size = 0

    def _keep(self, piece: memoryview | bytes) -> None:
        """Remember the body while a refusal of the credentials may still come."""
        kept = self._session.kept
        if kept is None:
            return
        if self._answer is not None or kept.tell() + len(piece) > REPEAT_MAX:
            self._session.kept = None
        else:
            kept.write(piece)

    def _write_failed(self, error: OSError) -> None:
        """The reason may be waiting in the receive buffer: read on for a moment."""
        self._failure = error
        self._arm(self._target.timeouts.refusal_s, EndedBy.NETWORK)

    # ---- the reading half

    async def _read(self, transport: Transport) -> None:
        while self._end is None:
            try:
                data = await transport.receive()
            except OSError as error:
                self._failure = self._failure or error
                data = b""
            if data:
                self._give_more_time()
            for event in self._http.receive(data):
                self._take(event)
        self.finish(self._reason(self._end))

    def _give_more_time(self) -> None:
        """After the body each byte of an accepted answer is a sign of life."""
        is_refused = self._answer is not None and self._answer.status != 200
        if self._session.body_is_over and self._failure is None and not is_refused:
            self._arm(self._session.linger_s, EndedBy.TIMEOUT)

    def _take(self, event: Head | AckBytes | End) -> None:
        if isinstance(event, AckBytes):
            self._session.on_ack_bytes(event.data)
        elif isinstance(event, End):
            self._end = event
        else:
            self._take_head(event)

    def _take_head(self, head: Head) -> None:
        self._answer = head
        if head.status != 200:
            _, writing = self._tasks
            writing.cancel()  # no byte more goes to a service that has refused
            self._arm(self._target.timeouts.refusal_s, EndedBy.REFUSED)
            return
        self._session.kept = None
        if not self._session.body_is_over and self._failure is None:
            self._disarm()

    def _reason(self, end: End) -> EndedBy:
        if self._answer is not None and self._answer.status != 200:
            return EndedBy.REFUSED
        if not end.complete:
            return EndedBy.NETWORK
        return EndedBy.BODY if self._session.body_is_over else EndedBy.SERVICE

    # ---- timers and the outcome

    def _arm(self, seconds: float, ended_by: EndedBy) -> None:
        self._disarm()
        self._timer = self._loop.call_later(seconds, functools.partial(self.finish, ended_by))

    def _disarm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _outcome(self, ended_by: EndedBy) -> PutMediaOutcome:
        answer = self._answer or Head(0)
        end = self._end or End(False)
        error_name = answer.error_name or end.error_name
        message = safe_text(end.message)
        if ended_by is EndedBy.REFUSED:
            self._learn_time(answer, error_name, end.message)
        return PutMediaOutcome(
            result=result_of(ended_by, answer.status, error_name, self._failure),
            error_name=error_name,
            message=message or self._explain(ended_by, answer.status),
            bytes_sent=self._session.bytes_sent,
            http_status=answer.status,
            ended_by=ended_by,
            request_id=answer.request_id,
            retry_after_s=answer.retry_after_s,
        )

    def _learn_time(self, answer: Head, error_name: str, message: str) -> None:
        if is_credential_problem(answer.status, error_name):
            self._target.clock.learn(server_time(answer.date, message))

    def _explain(self, ended_by: EndedBy, status: int) -> str:
        if ended_by is EndedBy.REFUSED:
            return f"the service refused the upload with HTTP status {status}"
        if ended_by is EndedBy.TIMEOUT:
            return "the service did not answer in time"
        if ended_by is EndedBy.NETWORK:
            cause = _cause(self._failure)
            return f"the upload to {safe_url(self._target.endpoint_url)} failed: {cause}"
        return ""


def result_of(ended_by: EndedBy, status: int, error_name: str, failure: Exception | None) -> ServiceResult:
    """What the core is told of a session that ended so."""
    if ended_by is EndedBy.REFUSED:
        return classify(status, error_name)
    if ended_by is EndedBy.NETWORK:
        return classify_transport(failure) if failure is not None else ServiceResult.UNKNOWN
    return ServiceResult.NETWORK_READ_TIMEOUT if ended_by is EndedBy.TIMEOUT else ServiceResult.OK


def _cause(failure: Exception | None) -> str:
    """What may be shown of an error. One of a user's credential source may quote keys: only its kind is told."""
    if failure is None:
        return "the connection ended in the middle of the answer"
    if isinstance(failure, (OSError, NoCredentialsError, UnsupportedProtocol)):
        return safe_text(str(failure)) or type(failure).__name__
    return type(failure).__name__


def _abandon(opening: asyncio.Future[tuple[Transport, bytes]]) -> None:
    def close(done: asyncio.Future[tuple[Transport, bytes]]) -> None:
        if not done.cancelled() and done.exception() is None:
            done.result()[0].close()

    opening.add_done_callback(close)
    opening.cancel()


def _retryable(refused: PutMediaOutcome) -> PutMediaOutcome:
    """The refusal with a result that lets the core open another session."""
    return dataclasses.replace(refused, result=ServiceResult.UNKNOWN)
