"""One full-duplex byte connection to a data endpoint: a non-blocking socket, plain or TLS.

TLS runs in memory (ssl.MemoryBIO) beside the socket, because an asyncio Transport would keep the caller's view after
``write`` returned and drops what the server sent once a write failed. Here ``send_now`` gives the kernel what it takes
at once and keeps a copy of the rest, so the caller may reuse its buffer; ``receive`` goes on after a failed ``send``.
Waiting is left to ``loop.sock_*``, which every event loop has. One sending and one receiving task may run side by side.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import os
import socket
import ssl
import threading
from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import Any
from urllib.parse import urlsplit

__all__ = [
    "Address",
    "ConnectTimeout",
    "Resolver",
    "Transport",
    "UnsupportedProtocol",
    "default_ssl_context",
    "open_put_media",
]

RECEIVE_SIZE = 16 * 1024  # an answer is a few hundred bytes per fragment; also the largest TLS record
ENCRYPT_SIZE = 16 * 1024  # of plain bytes at a time, one TLS record: OpenSSL's buffers never shrink again
# A dead idle peer shows in 30 s. One that acknowledges no segment shows in 10 s: left alone, TCP repeats a segment
# after 0.2, 0.6, 1.4, 3, 6, 13, 25 ... s, so a link that was down for 20 s would be found again 5 s after its return.
DEAD_PEER = (("TCP_KEEPIDLE", 15), ("TCP_KEEPINTVL", 5), ("TCP_KEEPCNT", 3), ("TCP_USER_TIMEOUT", 10_000))

Address = tuple[socket.AddressFamily, Any]
Resolver = Callable[[str, int], Awaitable[Sequence[Address]]]


class ConnectTimeout(TimeoutError):
    """No connection within the time allowed, name lookup and TLS handshake included."""


class UnsupportedProtocol(ValueError):
    """Not the URL of a data endpoint."""


class Transport:
    """A connected endpoint. :meth:`close` may be called at any time, from the loop's thread, and never waits."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._loop = asyncio.get_running_loop()
        self._rest = b""  # what the kernel has not taken yet
        self._busy_count = 0
        self._is_closed = False

    def send_now(self, view: memoryview | bytes) -> bool:
        """Send what the kernel takes at once and keep a copy of the rest for :meth:`send_rest`; the view is the
        caller's again. Return whether there is no rest. Not while there is one.

        Raises:
            OSError: the connection is broken. :meth:`receive` still delivers what the server had sent.
        """
        self._check_open()
        try:
            count = self._sock.send(view)
        except (BlockingIOError, InterruptedError):
            count = 0
        self._rest = b"" if count == len(view) else bytes(view[count:])
        return not self._rest

    async def send_rest(self) -> None:
        """Return once the kernel has every byte; OSError as in :meth:`send_now`."""
        rest, self._rest = self._rest, b""
        if rest:
            with self._in_use():
                await self._loop.sock_sendall(self._sock, rest)

    async def send(self, view: memoryview | bytes) -> None:
        """Both."""
        if not self.send_now(view):
            await self.send_rest()

    async def receive(self) -> bytes:
        """The next bytes, b"" once the server sends no more. May be cancelled; nothing is lost by that.

        Raises:
            OSError: the connection is broken and everything received before was delivered.
        """
        with self._in_use():
            return await self._loop.sock_recv(self._sock, RECEIVE_SIZE)

    def close(self) -> None:
        """Close both directions. Tasks inside send or receive wake up with an error or b""."""
        if self._is_closed:
            return
        self._is_closed = True
        self._say_goodbye()
        # A descriptor that a task waits on must not be closed under it: its number may be reused at once.
        with contextlib.suppress(OSError):
            self._sock.shutdown(socket.SHUT_RDWR)
        self._close_if_idle()

    def _close_if_idle(self) -> None:
        if self._is_closed and self._busy_count == 0:
            self._sock.close()

    def _say_goodbye(self) -> None:
        """TLS says that it ends; plain TCP has nothing to say."""

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


class TlsTransport(Transport):
    """The same over TLS. Ciphertext leaves in the order in which it was made: only one task at a time sends it."""

    def __init__(self, sock: socket.socket, context: ssl.SSLContext, server_name: str) -> None:
        super().__init__(sock)
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_hostname=server_name)

    async def handshake(self) -> None:
        """Agree on keys and check the server's certificate (ssl.SSLError if it is not to be trusted)."""
        while True:
            try:
                self._tls.do_handshake()
            except ssl.SSLWantReadError:
                await self._flush()
                await self._fetch()
            except ssl.SSLError:
                with contextlib.suppress(OSError):
                    await self._flush()  # the alert tells the server why
                raise
            else:
                await self._flush()
                return

    def send_now(self, view: memoryview | bytes) -> bool:
        self._check_open()
        sealed = []
        with memoryview(view) as whole:
            for start in range(0, len(whole), ENCRYPT_SIZE):
                self._tls.write(whole[start : start + ENCRYPT_SIZE])
                sealed.append(self._outgoing.read())
        return super().send_now(sealed[0] if len(sealed) == 1 else b"".join(sealed))

    async def receive(self) -> bytes:
        # Answers to a peer's key update are left in `outgoing`: they go out in front of the next bytes sent, which
        # is when TLS wants them, so reading never waits for the sending direction.
        while True:
            try:
                return self._tls.read(RECEIVE_SIZE)
            except ssl.SSLWantReadError:
                await self._fetch()
            except (ssl.SSLZeroReturnError, ssl.SSLEOFError):
                return b""  # a cut is noticed by HTTP: the answer's last chunk is missing

    async def _fetch(self) -> None:
        data = await super().receive()
        if data:
            self._incoming.write(data)
        else:
            self._incoming.write_eof()

    async def _flush(self) -> None:
        if self._outgoing.pending and not super().send_now(self._outgoing.read()):
            await self.send_rest()

    def _say_goodbye(self) -> None:
        with contextlib.suppress(OSError, ValueError):  # ssl.SSLError is an OSError
            self._tls.unwrap()
        with contextlib.suppress(OSError):
            if self._outgoing.pending:
                self._sock.send(self._outgoing.read())


async def open_put_media(
    endpoint_url: str,
    *,
    ssl_context: ssl.SSLContext | None = None,
    connect_timeout_s: float = 5.0,
    resolver: Resolver | None = None,
) -> Transport:
    """Connect to a data endpoint, trying each of its addresses in turn.

    Args:
        endpoint_url: http or https; only scheme, host and port count.
        ssl_context: for https, default :func:`default_ssl_context`.
        connect_timeout_s: for everything: lookup, all addresses, TLS handshake.
        resolver: ``await resolver(host, port)`` gives addresses; default the system's.

    Raises:
        ConnectTimeout: no connection in time. OSError: lookup, connection or TLS failed.
        UnsupportedProtocol: not a URL of an endpoint.
    """
    scheme, host, port = _parts(endpoint_url)
    context = (ssl_context or default_ssl_context()) if scheme == "https" else None
    connecting = asyncio.ensure_future(_connect(host, port, context, resolver or _resolve))
    try:
        # Not wait_for: before Python 3.12 it may swallow a cancellation that comes together with the result.
        await asyncio.wait({connecting}, timeout=connect_timeout_s)
        if connecting.done():
            return connecting.result()
        raise ConnectTimeout(f"no connection to {host}:{port} within {connect_timeout_s:g} s")
    except BaseException:
        connecting.add_done_callback(_discard)
        connecting.cancel()
        raise


@functools.lru_cache(maxsize=1)
def default_ssl_context() -> ssl.SSLContext:
    """Verifying context shared by all uploads: the file or directory of AWS_CA_BUNDLE if set, else the system's store
    together with the bundle that botocore brings (slim containers have no store).

    Raises:
        OSError: AWS_CA_BUNDLE names nothing that can be read.
    """
    bundle = os.environ.get("AWS_CA_BUNDLE") or None
    try:
        if bundle is not None and os.path.isdir(bundle):
            context = ssl.create_default_context(capath=bundle)
        else:
            context = ssl.create_default_context(cafile=bundle)
    except OSError as error:
        raise OSError(f"the CA bundle {bundle} cannot be read; correct AWS_CA_BUNDLE") from error
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if bundle is None:
        import botocore.httpsession

        context.load_verify_locations(cafile=botocore.httpsession.where())
    return context


def _parts(endpoint_url: str) -> tuple[str, str, int]:
    parts = urlsplit(endpoint_url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise UnsupportedProtocol("a data endpoint is an http or https URL with a host; check endpoint_url")
    return parts.scheme, parts.hostname, parts.port or (443 if parts.scheme == "https" else 80)


def _discard(connecting: asyncio.Future[Transport]) -> None:
    if not connecting.cancelled() and connecting.exception() is None:
        connecting.result().close()


async def _resolve(host: str, port: int) -> Sequence[Address]:
    """Look a name up in a daemon thread of its own: a dead name server holds a lookup for half a minute, and neither
    the end of the loop nor that of the process may wait for it, as both do for an executor's threads."""
    loop = asyncio.get_running_loop()
    found: asyncio.Future[Sequence[Address]] = loop.create_future()

    def settle(addresses: Sequence[Address], failure: OSError | None) -> None:
        if found.done():
            return
        if failure is not None:
            found.set_exception(failure)
        else:
            found.set_result(addresses)

    def look_up() -> None:
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

    threading.Thread(target=look_up, name="kvspic-lookup", daemon=True).start()
    return await found


async def _connect(host: str, port: int, context: ssl.SSLContext | None, resolver: Resolver) -> Transport:
    sock = await _first_connected(await resolver(host, port), host)
    try:
        if context is None:
            return Transport(sock)
        transport = TlsTransport(sock, context, host)
        await transport.handshake()
        return transport
    except BaseException:  # cancelled included: nobody else knows the socket
        sock.close()
        raise


async def _first_connected(addresses: Sequence[Address], host: str) -> socket.socket:
    failure: OSError = OSError(f"{host} has no address")
    for family, address in addresses:
        try:
            return await _connected(family, address)
        except OSError as error:
            failure = error
    raise failure


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
    for name, value in DEAD_PEER:  # not every platform has each of them
        option = getattr(socket, name, None)
        if option is not None:
            with contextlib.suppress(OSError):
                sock.setsockopt(socket.IPPROTO_TCP, option, value)
