"""PutMedia on a socket: the body comes in, ACKs go out meanwhile. It decides nothing; ``put_session`` does.

One task reads the body and feeds the model; the handler itself writes ACKs; a timer calls the model's deadline; the
store's completions come from its writer thread by the loop. Bounded: bytes not yet written and ACKs not yet sent both
stop the reading task, so a slow disk or a client that reads nothing slows the upload down instead of filling memory.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging

from aiohttp import ClientError, web
from aiohttp.http_exceptions import HttpProcessingError

from kvspic.local.acks import Ack
from kvspic.local.fault_socket import UploadFaults
from kvspic.local.hub import Hub
from kvspic.local.put_session import PutSession
from kvspic.local.records import CloseSession, Effect, FragmentRecord, KeepFragment, KeepHeader, SendAck
from kvspic.units import HNS_PER_S

__all__ = ["PutConnection"]

_log = logging.getLogger(__name__)

_FLUSH_SIZE = 256 * 1024  # bytes collected before they go to the writer thread: fewer, larger writes
_UNWRITTEN_MAX = 1024 * 1024
_UNSENT_ACKS_MAX = 4096
_SLICE_ELEMENTS = 250  # of Matroska that are looked at in a row: 5 ms at most, then others have their turn

# What a body that breaks off raises: a reset, a connection closed in mid-body. Of chunk coding that is none aiohttp
# tells only after the handler ended, so such an upload ends at the idle limit.
_BROKEN = (OSError, EOFError, ClientError, HttpProcessingError, web.RequestPayloadError)


class PutConnection:
    """One PutMedia request whose head was accepted."""

    def __init__(self, hub: Hub, request: web.Request, session: PutSession, faults: UploadFaults) -> None:
        self._hub = hub
        self._faults = faults
        self._request = request
        self._session = session
        session.read_in_slices(_SLICE_ELEMENTS)
        self._loop = asyncio.get_running_loop()
        self._file = hub.store.open_session(session.stream.stream_id)
        client = request.headers.get("User-Agent", "")
        self._watched = hub.watch.open(session.stream.stream_id, client, hub.now_hns())
        self._collected: list[bytes] = []
        self._collected_size = 0
        self._unwritten_size = 0
        self._unsent: list[bytes] = []
        self._is_closed = False
        self._is_polite = True  # the body ended as it should: the connection may be used again
        self._reported: set[str] = set()
        self._wake = asyncio.Event()  # for the ACK writer: something to send, or closed
        self._room = asyncio.Event()  # for the reader: bytes were written, or ACKs were sent
        self._timer: asyncio.TimerHandle | None = None

    async def run(self, response: web.StreamResponse) -> web.StreamResponse:
        """Serve the request to its end. The head is sent when the first body bytes are there, as the service does."""
        pokes = self._hub.live.setdefault(self._session.stream.stream_id, set())
        pokes.add(self._tick)
        reader: asyncio.Task[None] | None = None
        try:
            first = await self._first_bytes()
            await response.prepare(self._request)
            reader = self._loop.create_task(self._read(first))
            reader.add_done_callback(self._reader_ended)
            await self._write_acks(response)
            if not self._is_polite:
                response.force_close()
            with contextlib.suppress(OSError):
                await response.write_eof()
        except OSError:
            _log.debug("the producer of %s is gone", self._session.stream.name)
        finally:
            pokes.discard(self._tick)
            await self._stop(reader)
            self._hub.upload_over()
        return response

    async def _stop(self, reader: asyncio.Task[None] | None) -> None:
        self._session.cut()
        self._watched.end(self._hub.now_hns())
        if self._timer is not None:
            self._timer.cancel()
        self._hub.store.close_session(self._file)
        self._hub.expire(self._session.stream)
        if reader is not None:
            reader.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await reader

    def _reader_ended(self, reader: asyncio.Task[None]) -> None:
        """A bug in the reading task must end the answer too; :meth:`_stop` raises it."""
        if not reader.cancelled() and reader.exception() is not None:
            self._session.cut()
            self._close()

    async def _first_bytes(self) -> bytes:
        """Wait for the body to begin; a body that does not within the idle limit counts as empty."""
        limit = self._hub.service.settings.idle_max_hns / HNS_PER_S
        try:
            return await asyncio.wait_for(self._faults.read(), limit)
        except asyncio.TimeoutError:
            return b""
        except _BROKEN as error:
            raise ConnectionResetError("the body broke off before it began") from error

    async def _read(self, data: bytes) -> None:
        """Feed the body to the model until it ends, breaks, or the session closes."""
        try:
            while data and not self._is_closed:
                self._collected.append(data)
                self._collected_size += len(data)
                self._hub.counts.bytes_received += len(data)
                self._watched.bytes += len(data)
                effects = self._session.feed(data, self._hub.now_hns())
                if effects or self._timer is None:  # bytes alone move deadlines to later times only
                    self._apply(effects)
                while self._session.has_more and not self._is_closed:
                    await asyncio.sleep(0)
                    self._apply(self._session.feed(b"", self._hub.now_hns()))
                if self._collected_size >= _FLUSH_SIZE:
                    self._flush()
                await self._wait_for_room()
                await self._until_resumed()
                data = await self._faults.read()
        except _BROKEN:
            self._session.cut()
            self._close()
            return
        if not self._is_closed:
            self._apply(self._session.end_of_body(self._hub.now_hns()))

    async def _wait_for_room(self) -> None:
        while not self._is_closed and (self._unwritten_size > _UNWRITTEN_MAX or len(self._unsent) > _UNSENT_ACKS_MAX):
            self._room.clear()
            await self._room.wait()

    async def _until_resumed(self) -> None:
        """Read no faster than the quotas allow."""
        self._report_breaches()
        while not self._is_closed and (left_hns := self._session.resume_hns - self._hub.now_hns()) > 0:
            await asyncio.sleep(left_hns / HNS_PER_S)

    def _report_breaches(self) -> None:
        """Log the first time that the producer goes beyond a quota."""
        for quota in self._session.breaches.keys() - self._reported:
            self._reported.add(quota)
            text = "the producer of %s goes beyond the quota of %s: its fragments are treated by %s"
            _log.warning(text, self._session.stream.name, quota, self._hub.service.settings.quotas.beyond.value)

    async def _write_acks(self, response: web.StreamResponse) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            lines, self._unsent = self._unsent, []
            self._room.set()
            if lines:
                await self._faults.until_moving()
                for line in lines:  # each in a chunk of its own: clients in the field read one ACK of a chunk
                    await response.write(line)
            elif self._is_closed:
                return
            if self._is_closed:
                self._wake.set()

    def _apply(self, effects: list[Effect]) -> None:
        for effect in effects:
            if isinstance(effect, SendAck):
                self._send(effect.ack)
            elif isinstance(effect, KeepFragment):
                self._watched.fragment(effect, self._hub.now_hns())
                self._keep(effect.fragment)
            elif isinstance(effect, KeepHeader):
                self._flush()
                self._hub.store.keep_header(self._file, effect.header)
            elif isinstance(effect, CloseSession):
                self._end(is_error=effect.is_error)
        self._arm()

    def _send(self, ack: Ack) -> None:
        """Send an ACK, or what a fault makes of it."""
        for one in self._faults.acks(ack):
            self._hub.counts.acks[one.event if one.error is None else one.error.name] += 1
            self._watched.ack(one, self._hub.now_hns())
            if self._hub.on_ack is not None:
                self._hub.on_ack(self._session.stream.name, one)
            if self._faults.ack_delay_s:
                self._loop.call_later(self._faults.ack_delay_s, self._put_out, one.line())
            else:
                self._put_out(one.line())
            if one.event == "ERROR" and ack.event != "ERROR":  # the model knows nothing of it
                self._session.cut()
                self._end(is_error=True)

    def _put_out(self, line: bytes) -> None:
        self._unsent.append(line)
        self._wake.set()

    def _end(self, *, is_error: bool) -> None:
        """The session is over; delayed ACKs go first."""
        if self._faults.is_silent:
            return
        self._is_polite = not is_error and self._request.content.is_eof()
        if self._faults.ack_delay_s:
            self._loop.call_later(self._faults.ack_delay_s, self._close)
        else:
            self._close()

    def _close(self) -> None:
        self._is_closed = True
        self._wake.set()
        self._room.set()

    def _flush(self) -> None:
        pieces, size = self._collected, self._collected_size
        if not pieces:
            return
        self._collected, self._collected_size = [], 0
        self._unwritten_size += size

        def written(_: Exception | None) -> None:
            self._unwritten_size -= size
            self._room.set()

        self._hub.store.append(self._file, pieces, written)

    def _keep(self, fragment: FragmentRecord) -> None:
        self._flush()

        def kept(error: Exception | None) -> None:
            now_hns = self._hub.now_hns()
            if error is None:
                self._hub.fragment_stored(fragment.stream_id)
                self._apply(self._session.stored(fragment.number, now_hns))
            else:
                _log.error("a fragment of %s was not stored: %s", self._session.stream.name, error)
                self._apply(self._session.store_failed(fragment.number, now_hns))

        self._hub.store.keep_fragment(self._file, fragment, kept)

    # Time.

    def _arm(self) -> None:
        """Make the timer ring at the model's deadline or before; one that rings early only sets itself again."""
        deadline_hns = self._session.deadline_hns
        if deadline_hns is None:
            return
        delay = max(deadline_hns - self._hub.now_hns(), 0) / HNS_PER_S
        at = self._loop.time() + delay
        if self._timer is not None and self._timer.when() <= at:
            return
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_at(at, self._ring)

    def _ring(self) -> None:
        self._timer = None
        self._tick()

    def _tick(self) -> None:
        self._apply(self._session.tick(self._hub.now_hns()))
