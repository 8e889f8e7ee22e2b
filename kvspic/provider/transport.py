"""One full-duplex byte connection to a data endpoint: a non-blocking socket with none, one or two layers of TLS.

TLS runs in memory (ssl.MemoryBIO) beside the socket, because an asyncio Transport would keep the caller's view after
``write`` returned and drops what the server sent once a write failed. Here ``send_now`` gives the kernel what it takes
at once and keeps the rest, so the caller may reuse its buffer; reading goes on after a failed ``send``. A
second layer of TLS is for a proxy that is reached by https itself (``proxy.py``). A gate, where there is one, is asked
before each single send to the kernel.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import ssl
import struct
import sys
import threading
from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import Any
from urllib.parse import urlsplit

from kvspic.threads import shared_executor

__all__ = [
    "Address",
    "ConnectTimeout",
    "MaySend",
    "Resolver",
    "SendingForbidden",
    "Transport",
    "UnsupportedProtocol",
    "connect_socket",
    "endpoint_parts",
    "look_up",
]

logger = logging.getLogger("kvspic.transport")

RECEIVE_SIZE = 16 * 1024  # an answer is a few hundred bytes per fragment; also the largest TLS record
ENCRYPT_SIZE = 16 * 1024  # of plain bytes at a time, one TLS record: OpenSSL's buffers never shrink again
GATHER_MAX = 64  # pieces given to the system in one call; Linux takes 1024
GATED_BUFFER = (
    128 * 1024
)  # SO_SNDBUF where a gate is set: Linux doubles it, so 256 KB at most leave after the gate shut
# l_onoff and l_linger: two ints, on Windows two shorts.
LINGER_NOT = struct.pack("hh" if sys.platform == "win32" else "ii", 1, 0)
POLL_S = 0.005  # where a loop cannot say that a socket takes bytes again (Windows)
# A dead idle peer shows in 30 s. One that acknowledges no segment shows in 10 s: left alone, TCP repeats a segment
# after 0.2, 0.6, 1.4, 3, 6, 13, 25 ... s, so a link that was down for 20 s would be found again 5 s after its return.
DEAD_PEER = {"TCP_KEEPIDLE": 15, "TCP_KEEPINTVL": 5, "TCP_KEEPCNT": 3, "TCP_USER_TIMEOUT": 10_000}
# Other systems' words for the same, with their numbers where Python has no name for them. macOS: TCP_KEEPALIVE is the
# idle time, TCP_RXT_CONNDROPTIME the time without an acknowledgement. Windows: TCP_MAXRT, in seconds too.
DEAD_PEER_OTHERWISE: dict[str, tuple[tuple[int, int], ...]] = {"darwin": ((0x10, 15), (0x80, 10)), "win32": ((5, 10),)}

NEXT_ADDRESS_S = 0.25  # of a name: how long one address has before the next one is tried beside it

Address = tuple[socket.AddressFamily, Any]
Resolver = Callable[[str, int], Awaitable[Sequence[Address]]]
MaySend = Callable[[], bool]
"""A gate: asked before each send to the kernel; not one byte leaves once it has said False."""


class ConnectTimeout(TimeoutError):
    """No connection within the time allowed, name lookup and TLS handshake included."""


class SendingForbidden(ConnectionAbortedError):
    """The gate is shut. The connection was aborted, and what the kernel still held was thrown away."""


class UnsupportedProtocol(ValueError):
    """Not the URL of a data endpoint."""


class TlsLayer:
    """TLS over bytes that somebody else carries. Ciphertext leaves in the order in which it was made."""

    def __init__(self, context: ssl.SSLContext, server_name: str) -> None:
        self.incoming = ssl.MemoryBIO()
        self.outgoing = ssl.MemoryBIO()
        self.tls = context.wrap_bio(self.incoming, self.outgoing, server_hostname=server_name)
        self.is_over = False

    def agree(self) -> bool:
        """Go on with the handshake; True when it is done, ssl.SSLError if the server is not to be trusted."""
        try:
            self.tls.do_handshake()
        except ssl.SSLWantReadError:
            return False
        return True

    def seal(self, data: memoryview | bytes) -> list[memoryview | bytes]:
        """Return ciphertext in pieces, with what an earlier read left to say in front of it."""
        if len(data) <= ENCRYPT_SIZE:  # nearly every frame
            self.tls.write(data)
            return [self.outgoing.read()]
        sealed: list[memoryview | bytes] = []
        with memoryview(data) as whole:
            for start in range(0, len(whole), ENCRYPT_SIZE):
                self.tls.write(whole[start : start + ENCRYPT_SIZE])
                sealed.append(self.outgoing.read())
        return sealed

    def unseal(self, data: bytes | None) -> bytes:
        """Return the plain bytes that ``data`` completes; ``is_over`` says that the server sends no more. b"" is the
        end of the bytes below (a cut is noticed by HTTP, because the answer's last chunk is missing), None that
        nothing came."""
        if data:
            self.incoming.write(data)
        elif data is not None:
            self.incoming.write_eof()
        pieces: list[bytes] = []
        while not self.is_over:
            try:
                piece = self.tls.read(RECEIVE_SIZE)
            except ssl.SSLWantReadError:
                break
            except (ssl.SSLZeroReturnError, ssl.SSLEOFError):
                piece = b""
            self.is_over = not piece
            pieces.append(piece)
            if not (self.incoming.pending or self.tls.pending()):
                break  # else a read would say so by an exception, which costs more than the read of an ACK
        return b"".join(pieces)

    def goodbye(self) -> bytes:
        """Return the words that end the connection in good order."""
        with contextlib.suppress(OSError):
            self.tls.unwrap()
        return self.outgoing.read()


class Transport:
    """A connected endpoint. :meth:`close` and :meth:`abort` may be called at any time, from the loop's thread, and
    never wait."""

    def __init__(self, sock: socket.socket, may_send: MaySend | None = None) -> None:
        self._sock = sock
        self._loop = asyncio.get_running_loop()
        self._may_send = may_send
        self._layers: list[TlsLayer] = []  # the outermost first: it is the socket's neighbour
        self._is_plain_way = False  # one layer and no gate
        self._rest: list[memoryview | bytes] = []  # what the kernel has not taken yet
        self._busy_count = 0
        self._is_closed = False
        self._is_at_end = False
        self._early = b""  # came together with the end of a handshake, or behind a proxy's answer
        self._on_sent: Callable[[OSError | None], None] | None = None
        self._is_writing = False  # by add_writer
        self._on_bytes: Callable[[bytes, OSError | None], None] = lambda data, error: None
        self._is_reading = False  # by add_reader
        self._reading: asyncio.Task[None] | None = None  # where the loop has none
        self._receiving: asyncio.Task[tuple[bytes, OSError | None]] | None = None
        self._can_gather = hasattr(sock, "sendmsg")  # Windows has none
        try:
            self._loop.remove_reader(sock)
            self._can_watch = True
        except NotImplementedError:
            self._can_watch = False
        if may_send is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, GATED_BUFFER)

    async def start_tls(self, context: ssl.SSLContext, server_name: str) -> None:
        """Speak TLS from now on, over what is spoken already (ssl.SSLError if the server is not to be trusted)."""
        layer = TlsLayer(context, server_name)
        while True:
            try:
                is_agreed = layer.agree()
            except ssl.SSLError:
                with contextlib.suppress(OSError):
                    await self._send_below(layer.outgoing.read())  # the alert tells the server why
                raise
            await self._send_below(layer.outgoing.read())
            if is_agreed:
                self._layers.append(layer)
                self._is_plain_way = len(self._layers) == 1 and self._may_send is None
                self._early = layer.unseal(None)
                return
            data = await self.receive()
            if data:
                layer.incoming.write(data)
            else:
                layer.incoming.write_eof()

    # ---- out

    def send_now(self, view: memoryview | bytes) -> bool:
        """Send what the kernel takes at once and keep the rest for :meth:`when_sent`; the view is the caller's again.
        Return whether there is no rest. Not while there is one.

        Raises:
            SendingForbidden: the gate is shut. OSError: the connection is broken; what the server had sent still comes.
        """
        if self._is_closed:
            raise ConnectionAbortedError("the connection was closed on this side")
        if self._is_plain_way and len(view) <= ENCRYPT_SIZE:  # nearly every frame
            layer = self._layers[0]
            layer.tls.write(view)
            record = layer.outgoing.read()
            try:
                count = self._sock.send(record)
            except (BlockingIOError, InterruptedError):
                count = 0
            self._rest = [] if count == len(record) else [memoryview(record)[count:]]
            return not self._rest
        pieces = [view]
        for layer in reversed(self._layers):
            sealed = []
            for piece in pieces:
                sealed += layer.seal(piece)
            pieces = sealed
        self._rest = self._sent_of(pieces)
        if self._rest and not self._layers:
            self._rest = [bytes(self._rest[0])]
        return not self._rest

    def _sent_of(self, pieces: list[memoryview | bytes]) -> list[memoryview | bytes]:
        """Send; return what the kernel does not take now."""
        if self._may_send is not None:
            self._ask_gate(self._may_send)
        try:
            if len(pieces) == 1:
                count = self._sock.send(pieces[0])
            elif self._can_gather:
                count = self._sock.sendmsg(pieces[:GATHER_MAX])
            else:
                count = self._sock.send(b"".join(pieces))
        except (BlockingIOError, InterruptedError):
            return pieces
        for number, piece in enumerate(pieces):
            if count < len(piece):
                return [memoryview(piece)[count:], *pieces[number + 1 :]]
            count -= len(piece)
        return []

    def when_sent(self, call: Callable[[OSError | None], None]) -> None:
        """Call once, from the loop, when the kernel has the rest, or with the error that :meth:`send_now` would raise;
        the next piece may be sent in that call."""
        self._on_sent = call
        if self._is_writing:
            return
        try:
            self._loop.add_writer(self._sock, self._send_rest)
            self._is_writing = True
        except NotImplementedError:
            self._loop.call_later(POLL_S, self._send_rest)

    def _send_rest(self) -> None:
        if self._on_sent is None:
            return
        failure = None
        try:
            self._check_open()
            self._rest = self._sent_of(self._rest)
        except OSError as error:
            self._rest, failure = [], error
        if not self._rest:
            call, self._on_sent = self._on_sent, None
            call(failure)
            if self._on_sent is None:
                self._stop_writing()
        elif not self._is_writing:
            self._loop.call_later(POLL_S, self._send_rest)

    def _stop_writing(self) -> None:
        if self._is_writing:
            self._is_writing = False
            self._loop.remove_writer(self._sock)

    async def send(self, view: memoryview | bytes) -> None:
        """Return once the kernel has every byte; raises as :meth:`send_now`."""
        if self.send_now(view):
            return
        sent: asyncio.Future[OSError | None] = self._loop.create_future()
        self.when_sent(lambda error: None if sent.done() else sent.set_result(error))
        error = await sent
        if error is not None:
            raise error

    async def _send_below(self, data: bytes) -> None:
        """Send what a layer that is not in use yet has to say."""
        if data:
            await self.send(data)

    def _ask_gate(self, may_send: MaySend) -> None:
        try:
            is_open = may_send()
        except Exception:
            logger.exception("the gate %r raised: it counts as shut", may_send)
            is_open = False
        if not is_open:
            self.abort()
            raise SendingForbidden("sending is forbidden by may_send, so the connection was aborted")

    # ---- in

    async def receive(self) -> bytes:
        """The next bytes, b"" once the server sends no more. May be cancelled; nothing is lost by that. Not together
        with :meth:`listen`.

        Raises:
            OSError: the connection is broken and everything received before was delivered.
        """
        early, self._early = self._early, b""
        if early:
            return early
        while not self._is_at_end:
            with self._in_use():
                data = self._unsealed(await self._received())
            if data:
                return data
            if not self._is_at_end:
                await asyncio.sleep(0)  # a flood of records without content leaves others their turns
        return b""

    async def _received(self) -> bytes:
        """What the socket has. A loop that cannot watch sockets (Proactor) hands a receive to the system, and bytes
        that come while it is cancelled are lost: there it goes on, for the next caller."""
        if self._can_watch:
            return await self._loop.sock_recv(self._sock, RECEIVE_SIZE)
        if self._receiving is None:
            self._receiving = self._loop.create_task(self._receive_once())
        await asyncio.wait({self._receiving})
        done, self._receiving = self._receiving, None
        data, error = done.result()
        if error is not None:
            raise error
        return data

    async def _receive_once(self) -> tuple[bytes, OSError | None]:
        try:
            with self._in_use():
                return await self._loop.sock_recv(self._sock, RECEIVE_SIZE), None
        except OSError as error:
            return b"", error

    def listen(self, on_bytes: Callable[[bytes, OSError | None], None]) -> None:
        """Call ``on_bytes(data, None)`` for what arrives, from the loop, at most 16 KB in each of its rounds; at the
        end once ``on_bytes(b"", error)``, with the error that broke the connection or None."""
        self._on_bytes = on_bytes
        early, self._early = self._early, b""
        if early:
            self._loop.call_soon(lambda: None if self._is_closed else on_bytes(early, None))
        if any(layer.is_over for layer in self._layers):  # its goodbye came together with the end of a handshake
            self._loop.call_soon(self._give, b"", None)
            return
        try:
            self._loop.add_reader(self._sock, self._readable)
            self._is_reading = True
        except NotImplementedError:
            self._reading = self._loop.create_task(self._read_on())

    def _readable(self) -> None:
        try:
            data = self._sock.recv(RECEIVE_SIZE)
        except (BlockingIOError, InterruptedError):
            return
        except OSError as error:
            self._give(b"", error)
            return
        if data and not self._layers:
            self._on_bytes(data, None)
        else:
            self._arrived(data)

    async def _read_on(self) -> None:
        while not self._is_at_end:
            try:
                with self._in_use():
                    data = await self._received()
            except OSError as error:
                self._give(b"", error)
                return
            self._arrived(data)
            await asyncio.sleep(0)

    def _arrived(self, data: bytes) -> None:
        try:
            plain = self._unsealed(data) if self._layers else data
        except OSError as error:
            self._give(b"", error)
            return
        if plain:
            self._on_bytes(plain, None)
        if not data or self._is_at_end:
            self._give(b"", None)

    def _give(self, data: bytes, error: OSError | None) -> None:
        """The end."""
        self._is_at_end = True
        self._stop_listening()
        if not self._is_closed:
            self._on_bytes(data, error)

    def give_back(self, data: bytes) -> None:
        """Let ``data``, which was received but not meant for its reader, come first."""
        self._early = data + self._early

    def _unsealed(self, data: bytes) -> bytes:
        is_end = not data
        for layer in self._layers:
            if not (data or is_end):
                return b""
            data, is_end = layer.unseal(data), layer.is_over
        self._is_at_end = is_end
        return data

    def _stop_listening(self) -> None:
        if self._reading is not None:
            self._reading.cancel()
        elif self._is_reading:
            self._is_reading = False
            self._loop.remove_reader(self._sock)

    # ---- the end

    def close(self) -> None:
        """Close both directions; TLS says that it ends. Tasks inside send or receive wake up with an error or b""."""
        if self._is_closed:
            return
        if self._layers and not self._rest and self._is_gate_open():
            self._say_goodbye()
        self._leave()

    def abort(self) -> None:
        """Close at once: the kernel throws away what it still holds and resets the connection. Not one byte more."""
        if self._is_closed:
            return
        with contextlib.suppress(OSError):
            self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_NOT)
        self._leave(is_abort=True)

    def _leave(self, *, is_abort: bool = False) -> None:
        self._is_closed, self._rest = True, []
        self._stop_listening()
        self._stop_writing()
        if self._on_sent is not None:
            self._loop.call_soon(self._send_rest)  # which finds it closed
        if not is_abort or self._busy_count:
            # A descriptor that a task waits on must not be closed under it: its number may be reused at once.
            with contextlib.suppress(OSError):
                self._sock.shutdown(socket.SHUT_RD if is_abort else socket.SHUT_RDWR)
        self._close_if_idle()

    def _say_goodbye(self) -> None:
        for number in range(len(self._layers) - 1, -1, -1):
            words = self._layers[number].goodbye()
            for layer in reversed(self._layers[:number]):
                words = b"".join(layer.seal(words))
            with contextlib.suppress(OSError):
                self._sock.send(words)

    def _is_gate_open(self) -> bool:
        try:
            return self._may_send is None or self._may_send()
        except Exception:
            return False

    def _close_if_idle(self) -> None:
        if self._is_closed and self._busy_count == 0:
            self._sock.close()

    def _check_open(self) -> None:
        if self._is_closed:
            raise ConnectionAbortedError("the connection was closed on this side")

    @contextlib.contextmanager
    def _in_use(self) -> Iterator[None]:
        self._check_open()
        self._busy_count += 1
        try:
            yield
        finally:
            self._busy_count -= 1
            self._close_if_idle()


def endpoint_parts(url: str) -> tuple[str, str, int]:
    """Return scheme, host and port of an http or https URL; UnsupportedProtocol if it is none."""
    try:
        parts = urlsplit(url)
        scheme, host, port = parts.scheme, parts.hostname, parts.port
    except ValueError:
        scheme, host, port = "", None, None
    if scheme not in ("http", "https") or not host:
        raise UnsupportedProtocol("a data endpoint is an http or https URL with a host; check endpoint_url")
    return scheme, host, port or (443 if scheme == "https" else 80)


async def look_up(host: str, port: int) -> Sequence[Address]:
    """Return the addresses of a name; OSError if it has none.

    The lookup has a daemon thread of its own: a dead name server holds it for half a minute, and neither the end of the
    loop nor that of the process may wait for it, as both do for an executor's threads.
    """
    loop = asyncio.get_running_loop()
    found: asyncio.Future[Sequence[Address]] = loop.create_future()

    def settle(addresses: Sequence[Address], failure: OSError | None) -> None:
        if found.done():
            return
        if failure is not None:
            found.set_exception(failure)
        else:
            found.set_result(addresses)

    def ask_system() -> None:
        addresses: Sequence[Address] = []
        failure: OSError | None = None
        try:
            answers = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
            addresses = [(family, address) for family, _, _, _, address in answers]
        except OSError as error:
            failure = error
        except UnicodeError:
            failure = OSError(f"{host[:80]!r} is not a host name")
        with contextlib.suppress(RuntimeError):  # the loop may be closed by now
            loop.call_soon_threadsafe(settle, addresses, failure)

    try:
        threading.Thread(target=ask_system, name="kvspic-lookup", daemon=True).start()
    except RuntimeError:  # the process ends, and no thread can start any more
        shared_executor().submit(ask_system)
    return await found


async def connect_socket(host: str, port: int, resolver: Resolver | None = None) -> socket.socket:
    """Connect to the address of a host that answers first; OSError when none does.

    Args:
        resolver: ``await resolver(host, port)`` gives addresses; default the system's.
    """
    return await _first_connected(await (resolver or look_up)(host, port), host)


async def _first_connected(addresses: Sequence[Address], host: str) -> socket.socket:
    """Connect to the first address that answers. Each one has ``NEXT_ADDRESS_S`` for itself, then the next one is tried
    beside it (RFC 8305, section 5): an address that swallows everything holds up no other."""
    if len(addresses) == 1:
        return await _connected(*addresses[0])
    left, trying = list(addresses), set[asyncio.Task[socket.socket]]()
    failure: BaseException = OSError(f"{host} has no address")
    try:
        while left or trying:
            if left:
                trying.add(asyncio.ensure_future(_connected(*left.pop(0))))
            wait_s = NEXT_ADDRESS_S if left else None
            done, _ = await asyncio.wait(trying, timeout=wait_s, return_when=asyncio.FIRST_COMPLETED)
            winner = next((attempt for attempt in done if attempt.exception() is None), None)
            if winner is not None:
                trying.discard(winner)
                return winner.result()
            trying -= done
            failure = next((error for attempt in done if (error := attempt.exception())), failure)
        raise failure
    finally:
        for attempt in trying:  # another one may have answered in the same moment
            if not attempt.cancel():
                _close_late(attempt)


def _close_late(attempt: asyncio.Future[socket.socket]) -> None:
    if not attempt.cancelled() and attempt.exception() is None:
        attempt.result().close()


async def _connected(family: socket.AddressFamily, address: Any) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        await asyncio.get_running_loop().sock_connect(sock, address)
        _tune(sock)
    except BaseException:
        sock.close()
        raise
    return sock


def _tune(sock: socket.socket) -> None:
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in dead_peer_options(sys.platform):
        with contextlib.suppress(OSError):  # an older version of the system
            sock.setsockopt(socket.IPPROTO_TCP, option, value)


def dead_peer_options(platform: str) -> list[tuple[int, int]]:
    """TCP's options and values by which the system finds out that a peer is gone."""
    known = [(getattr(socket, name), value) for name, value in DEAD_PEER.items() if hasattr(socket, name)]
    return known + list(DEAD_PEER_OTHERWISE.get(platform, ()))
