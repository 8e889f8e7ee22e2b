"""The shell of an upload: a connection, its keys and a timer around the rules of :mod:`kvspic.provider.upload`.

What arrives is given to the upload by the transport, in the loop's own callback; :meth:`PutMediaSession.more` sends
what there is at once, so no task is woken for what the kernel takes. Everything runs on the loop's thread.
"""

from __future__ import annotations

import asyncio
import functools
import ssl
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from kvspic.provider import signing
from kvspic.provider.clock import SERVICE_CLOCK, ServiceClock
from kvspic.provider.credentials import CredentialSource
from kvspic.provider.putmedia import PutMediaHead, put_media_url
from kvspic.provider.results import safe_url
from kvspic.provider.route import DIRECT, Route, open_put_media
from kvspic.provider.transport import MaySend, SendingForbidden, Transport
from kvspic.provider.upload import (
    LINGER_S,
    NEVER_HNS,
    PutMediaOutcome,
    PutMediaUpload,
    SessionTimeouts,
    Step,
    UploadOwner,
)
from kvspic.units import HNS_PER_S

__all__ = ["PutMediaSession", "PutMediaTarget"]

PIECES_MAX = 8  # sent in one go; then others have their turn

DEFAULT_TIMEOUTS = SessionTimeouts()

OpenTransport = Callable[[], Awaitable[Transport]]


@dataclass(frozen=True)
class PutMediaTarget:
    """Where an upload goes, as whom and by which way. ``open_transport`` replaces the socket (tests)."""

    endpoint_url: str
    region: str
    credentials: CredentialSource
    ssl_context: ssl.SSLContext | None = None
    clock: ServiceClock = SERVICE_CLOCK
    timeouts: SessionTimeouts = DEFAULT_TIMEOUTS
    route: Route = DIRECT
    may_send: MaySend | None = None
    open_transport: OpenTransport | None = None

    async def connect(self) -> Transport:
        if self.open_transport is not None:
            return await self.open_transport()
        return await open_put_media(
            self.endpoint_url,
            ssl_context=self.ssl_context,
            connect_timeout_s=self.timeouts.connect_s,
            route=self.route,
            may_send=self.may_send,
        )


class PutMediaSession:
    """One upload over real connections. Make it, await :meth:`run` once; cancelling it closes its connection.

    ``is_forbidden`` says afterwards that the target's gate ended it. ``after_bytes`` is called when bytes of the answer
    were taken: what they mean for the owner may be looked at then, at once.
    """

    def __init__(
        self, *, target: PutMediaTarget, head: PutMediaHead, owner: UploadOwner, linger_s: float = LINGER_S
    ) -> None:
        self.target = target
        self.head = head
        self.upload = PutMediaUpload(owner, _now_hns(), clock=target.clock, timeouts=target.timeouts, linger_s=linger_s)
        self.upload.place = safe_url(target.endpoint_url)
        self.is_forbidden = False
        self.after_bytes: Callable[[], None] = lambda: None
        self._step = Step.OPEN  # the one that is being carried out
        self._transport: Transport | None = None
        self._is_blocked = False  # the kernel has not taken a piece whole
        self._moved: asyncio.Future[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._timer_hns = NEVER_HNS
        self._fault: Exception | None = None

    def stop(self, *, is_abort: bool = False) -> None:
        """End the upload now; :meth:`run` returns with STOPPED. Never waits. ``is_abort``: not a byte more leaves, and
        what the kernel still holds is thrown away."""
        if is_abort and self._transport is not None:
            self._transport.abort()
        self.upload.stop()
        self._look()

    def hurry(self) -> None:
        """Another connection of the same stream has ended."""
        self.upload.hurry(_now_hns())
        self._look()

    def more(self) -> None:
        """There may be more of the body. What the kernel takes is sent at once."""
        transport, upload = self._transport, self.upload
        if transport is None or self._is_blocked:
            return
        try:
            for _ in range(PIECES_MAX):
                data = upload.next_bytes(time.monotonic_ns() // 100)
                if not data:
                    break
                if not transport.send_now(data):
                    self._wait_for_kernel(transport)
                    break
                if not upload.has_more:
                    break
            else:
                asyncio.get_running_loop().call_soon(self.more)
        except OSError as error:
            self._write_failed(error)
        except Exception as error:
            self._break(error)
        if upload.step is not self._step or upload.deadline_hns < self._timer_hns:
            self._look()

    async def run(self) -> PutMediaOutcome:
        """The whole upload; errors of the network and the service are in the outcome, never raised.

        Raises:
            Whatever the owner's functions raised, after the connection was closed.
        """
        upload = self.upload
        try:
            while True:
                self._step = upload.step
                if upload.outcome is not None and upload.step is Step.OVER:
                    return self._result(upload.outcome)
                self._look()
                if upload.step is Step.OPEN:
                    await self._open()
                if self._step is upload.step and self._fault is None:
                    await self._until_moved()
                self._shut()
                if self._fault is not None:
                    upload.stop()
        finally:
            self._shut()
            self._disarm()

    def _result(self, outcome: PutMediaOutcome) -> PutMediaOutcome:
        fault, self._fault = self._fault, None
        if fault is not None:
            raise fault
        return outcome

    # ---- connections

    async def _open(self) -> None:
        """Get keys and connect, until the upload's deadline or a stop."""
        upload = self.upload
        opening = asyncio.ensure_future(self._connect())
        moved = self._moved = asyncio.get_running_loop().create_future()
        try:
            await asyncio.wait({opening, moved}, return_when=asyncio.FIRST_COMPLETED)
        except BaseException:
            _abandon(opening)
            raise
        if not opening.done():
            _abandon(opening)
            return
        try:
            transport, request = opening.result()
        except Exception as error:  # a credential source may raise anything
            self._open_failed(error)
            return
        if upload.step is not Step.OPEN:  # stopped in the same moment
            transport.close()
            return
        self._transport = transport
        self._begin(transport, request)

    def _open_failed(self, error: Exception) -> None:
        if isinstance(error, SendingForbidden):
            self._forbidden()
        else:
            self.upload.failed(error, _now_hns())

    def _begin(self, transport: Transport, request: bytes) -> None:
        self._step = Step.EXCHANGE
        transport.listen(self._arrived)
        try:
            self.upload.opened(_now_hns())
            if not transport.send_now(request):
                self._wait_for_kernel(transport)
        except OSError as error:
            self._write_failed(error)
        except Exception as error:
            self._break(error)
        self.more()

    async def _connect(self) -> tuple[Transport, bytes]:
        """Connect, then sign: a signature's time starts to run out when it is made."""
        target = self.target
        credentials = await target.credentials.get(refresh=self.upload.needs_refresh)
        transport = await target.connect()
        try:
            url, now = target.endpoint_url, target.clock.now()
            headers = self.head.headers(url)
            signed = signing.sign_put_media(put_media_url(url), headers, credentials, target.region, now)
            return transport, self.upload.request(signed)
        except BaseException:
            transport.close()
            raise

    def _shut(self) -> None:
        transport, self._transport = self._transport, None
        self._is_blocked = False
        if transport is not None:
            transport.close()

    # ---- while bytes go both ways

    def _arrived(self, data: bytes, error: OSError | None) -> None:
        upload = self.upload
        try:
            upload.received(data, time.monotonic_ns() // 100, error)
        except Exception as fault:
            self._break(fault)
            return
        if upload.step is not Step.EXCHANGE or upload.deadline_hns < self._timer_hns:
            self._look()
        self.after_bytes()
        if upload.has_more:
            self.more()

    def _wait_for_kernel(self, transport: Transport) -> None:
        self._is_blocked = True
        self.upload.blocked(_now_hns())
        transport.when_sent(functools.partial(self._taken, transport))

    def _taken(self, transport: Transport, error: OSError | None) -> None:
        """The kernel has the rest of a piece, or will not take it."""
        if self._transport is not transport:
            return
        self._is_blocked = False
        if error is not None:
            self._write_failed(error)
            self._look()
        else:
            self.upload.unblocked()
            self.more()

    def _write_failed(self, error: OSError) -> None:
        if isinstance(error, SendingForbidden):
            self._forbidden()
        else:
            self.upload.failed(error, _now_hns())

    def _forbidden(self) -> None:
        self.is_forbidden = True
        self.upload.stop()

    def _break(self, error: Exception) -> None:
        """An error of the owner's functions ends the upload and is the owner's to see."""
        self._fault = self._fault or error
        self.upload.stop()
        self._look()

    # ---- time

    async def _until_moved(self) -> None:
        self._moved = asyncio.get_running_loop().create_future()
        await self._moved

    def _look(self) -> None:
        """See whether the upload has another step, or an earlier deadline."""
        upload, moved = self.upload, self._moved
        if upload.step is not self._step and moved is not None and not moved.done():
            moved.set_result(None)
        due_hns = upload.deadline_hns
        if due_hns < self._timer_hns:
            self._disarm()
            self._timer_hns = due_hns
            after_s = max(0, due_hns - _now_hns()) / HNS_PER_S
            self._timer = asyncio.get_running_loop().call_later(after_s, self._ring)

    def _ring(self) -> None:
        self._timer, self._timer_hns = None, NEVER_HNS
        try:
            self.upload.tick(_now_hns())
        except Exception as error:
            self._break(error)
        self._look()
        if self.upload.step is Step.EXCHANGE:
            self.more()

    def _disarm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer, self._timer_hns = None, NEVER_HNS


def _now_hns() -> int:
    return time.monotonic_ns() // 100


def _abandon(opening: asyncio.Future[tuple[Transport, bytes]]) -> None:
    def close(done: asyncio.Future[tuple[Transport, bytes]]) -> None:
        if not done.cancelled() and done.exception() is None:
            done.result()[0].close()

    opening.add_done_callback(close)
    opening.cancel()
