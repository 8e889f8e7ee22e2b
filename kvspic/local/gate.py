"""Connections of the endpoint: how many there may be, and how long one may keep its place without using it.

The gate accepts by itself, so that it can stop accepting. A connection that has not sent the head of a request gives
its place to the next one when all are taken; when no such is left, new ones wait in the system's queue. Writing that
does not move for a minute ends a connection. What the gate refuses is at most a line of log a minute.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import ssl
import sys
from collections.abc import Callable
from dataclasses import dataclass

__all__ = ["Gate", "GateLimits", "Guarded", "allow_descriptors", "connections_that_fit"]

_log = logging.getLogger(__name__)

_DESCRIPTORS = 65_536
_OTHER_FILES = 64  # the index, libraries, standard streams
_FILES_PER_CONNECTION = 2  # the socket, and an upload's media file
_LOG_INTERVAL_S = 60.0
_ACCEPT_PAUSE_S = 0.1  # after an error of the system, such as no descriptor left


def connections_that_fit() -> int:
    """Return how many connections the process has descriptors for."""
    if sys.platform == "win32":
        return 4096
    import resource

    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return 65_536
    return max(8, (min(soft, 131_072) - _OTHER_FILES) // _FILES_PER_CONNECTION)


def allow_descriptors() -> None:
    """Let this process have as many descriptors as its user may, so that a fleet of cameras finds room."""
    if sys.platform == "win32":
        return
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _DESCRIPTORS if hard == resource.RLIM_INFINITY else min(hard, _DESCRIPTORS)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


@dataclass(frozen=True)
class GateLimits:
    """Limits of connections; 0 connections are as many as there are descriptors for.

    Attributes:
        connections_max: in all.
        address_max: from one address.
        head_timeout_s: until the head of the first request is there.
        stall_timeout_s: for which a client may read nothing of an answer that is waiting for it.
    """

    connections_max: int = 0
    address_max: int = 10_000
    head_timeout_s: float = 10.0
    stall_timeout_s: float = 60.0


class Guarded(asyncio.Protocol):
    """One connection: everything goes to the HTTP handler, and the timers watch."""

    def __init__(self, gate: Gate, handler: asyncio.Protocol, address: str) -> None:
        self.address = address
        self._gate = gate
        self._handler = handler
        self._transport: asyncio.BaseTransport | None = None
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin; the first head must come in time."""
        self._transport = transport
        self._gate.entered(self)
        self._watch(self._gate.limits.head_timeout_s)
        self._handler.connection_made(transport)

    def data_received(self, data: bytes) -> None:
        """Pass on."""
        self._handler.data_received(data)

    def eof_received(self) -> bool | None:
        """Pass on."""
        return self._handler.eof_received()

    def connection_lost(self, exc: Exception | None) -> None:
        """End; the place is free."""
        self._rest()
        self._gate.left(self)
        self._handler.connection_lost(exc)

    def pause_writing(self) -> None:
        """The client does not read."""
        self._watch(self._gate.limits.stall_timeout_s)
        self._handler.pause_writing()

    def resume_writing(self) -> None:
        """It reads again."""
        self._rest()
        self._handler.resume_writing()

    def head_is_here(self) -> None:
        """The head of a request was read: the connection keeps its place."""
        self._rest()
        self._gate.idle.pop(self, None)

    def abort(self) -> None:
        """End the connection at once."""
        abort = getattr(self._transport, "abort", None)
        if abort is not None:
            abort()

    def _watch(self, seconds: float) -> None:
        self._rest()
        self._timer = asyncio.get_running_loop().call_later(seconds, self.abort)

    def _rest(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


class Gate:
    """Accepts connections for one listening socket and hands each to a handler of its own."""

    def __init__(
        self, limits: GateLimits, make_handler: Callable[[], asyncio.Protocol], tls: ssl.SSLContext | None
    ) -> None:
        self.limits = limits
        self.connections_max = limits.connections_max or connections_that_fit()
        self.idle: dict[Guarded, None] = {}
        """Connections that have sent no head yet, oldest first."""
        self._make_handler = make_handler
        self._tls = tls
        self._inside: dict[Guarded, bool] = {}  # those that have a place
        self._places: dict[str, int] = {}  # how many, by address
        self._room = asyncio.Event()
        self._listener: socket.socket | None = None
        self._accepting: asyncio.Task[None] | None = None
        self._entering: set[asyncio.Task[None]] = set()
        self._logged_at = -_LOG_INTERVAL_S

    def open(self, listener: socket.socket) -> None:
        """Begin to accept; the socket is the gate's from now on."""
        listener.setblocking(False)
        self._listener = listener
        self._accepting = asyncio.get_running_loop().create_task(self._accept(listener))

    async def close(self) -> None:
        """Accept no more; connections that stand are left alone."""
        tasks = [*self._entering, *([self._accepting] if self._accepting else [])]
        for task in tasks:
            task.cancel()
        if self._listener is not None:
            self._listener.close()  # at once: no connection may come in while the tasks end
        await asyncio.gather(*tasks, return_exceptions=True)

    def entered(self, guarded: Guarded) -> None:
        """A connection stands, and may give its place away until it sends a head."""
        self.idle[guarded] = None
        self._room.set()

    def left(self, guarded: Guarded) -> None:
        """A connection has ended."""
        self.idle.pop(guarded, None)
        if self._inside.pop(guarded, False):
            self._places[guarded.address] -= 1
            if not self._places[guarded.address]:
                del self._places[guarded.address]
            self._room.set()

    async def _accept(self, listener: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                sock, peer = await loop.sock_accept(listener)
            except OSError as error:
                self._report(f"connections cannot be accepted ({error})")
                await asyncio.sleep(_ACCEPT_PAUSE_S)
                continue
            try:
                await self._make_room()
                self._let_in(sock, str(peer[0]) if peer else "")
            except asyncio.CancelledError:
                sock.close()
                raise

    async def _make_room(self) -> None:
        """Wait for a place for the connection that was accepted last."""
        while len(self._inside) >= self.connections_max:
            self._report(f"all {self.connections_max} connections are taken")
            if self.idle:
                guarded = next(iter(self.idle))
                del self.idle[guarded]
                guarded.abort()
            self._room.clear()
            await self._room.wait()

    def _let_in(self, sock: socket.socket, address: str) -> None:
        if self._places.get(address, 0) >= self.limits.address_max:
            self._report(f"{address} has {self.limits.address_max} connections already")
            sock.close()
            return
        guarded = Guarded(self, self._make_handler(), address)
        self._inside[guarded] = True
        self._places[address] = self._places.get(address, 0) + 1
        task = asyncio.get_running_loop().create_task(self._enter(sock, guarded))
        self._entering.add(task)
        task.add_done_callback(lambda done: self._entered(done, sock, guarded))

    async def _enter(self, sock: socket.socket, guarded: Guarded) -> None:
        handshake_s = self.limits.head_timeout_s if self._tls is not None else None
        await asyncio.get_running_loop().connect_accepted_socket(
            lambda: guarded, sock, ssl=self._tls, ssl_handshake_timeout=handshake_s
        )

    def _entered(self, task: asyncio.Task[None], sock: socket.socket, guarded: Guarded) -> None:
        """A connection stands, or will never do: its handshake failed, or the gate was closed before it began."""
        self._entering.discard(task)
        error = None if task.cancelled() else task.exception()
        if error is not None:
            _log.debug("a connection of %s has not begun: %s", guarded.address, error)
        if error is not None or task.cancelled():
            guarded.abort()
            with contextlib.suppress(OSError):
                sock.close()
            self.left(guarded)

    def _report(self, what: str) -> None:
        now = asyncio.get_running_loop().time()
        if now - self._logged_at >= _LOG_INTERVAL_S:
            self._logged_at = now
            _log.warning("%s; others wait", what)
