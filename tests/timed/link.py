"""A link that can be broken: a TCP proxy on loopback in front of an endpoint, and names that stop to resolve.

silent  no byte moves in either direction, new connections are taken and stay silent; then all of it goes on
deaf    the same for the service's bytes only: data arrives, ACKs do not
refused connections are reset, new ones refused
reset   connections are reset once
half    open connections are silent for ever, new ones work
names   connections are reset, the name does not resolve
"""

import asyncio
import contextlib
import socket
import struct
import threading
import time

__all__ = ["DOMAIN", "Link", "Links"]

DOMAIN = ".kvspic.test"


class Links:
    """The loop of all links, in a thread, and the resolver that knows their names."""

    def __init__(self):
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever, name="links", daemon=True)
        self.links = {}
        self._look_up = socket.getaddrinfo

    def __enter__(self):
        self.thread.start()
        socket.getaddrinfo = self._resolve
        return self

    def __exit__(self, *_):
        socket.getaddrinfo = self._look_up
        self.close()
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join(10)
        self.loop.close()

    def close(self):
        """End all connections of all links."""
        asyncio.run_coroutine_threadsafe(self._end(), self.loop).result(10)

    def new(self, name, port):
        """A link to the endpoint at ``port``, reached as ``https://NAME.kvspic.test:PORT``."""
        link = Link(name, port)
        asyncio.run_coroutine_threadsafe(link.listen(), self.loop).result(10)
        self.links[name + DOMAIN] = link
        return link

    def arm(self, link, kind, seconds, after_bytes=None):
        """Break ``link`` now, or when a connection made from now on has sent ``after_bytes``."""

        async def arm():
            link.arm(kind, seconds, after_bytes)

        asyncio.run_coroutine_threadsafe(arm(), self.loop).result(10)

    def _resolve(self, host, *args, **options):
        name = host.decode() if isinstance(host, bytes) else host
        if name not in self.links:
            return self._look_up(host, *args, **options)
        if self.links[name].is_nameless:
            raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")
        return self._look_up("127.0.0.1", *args, **options)

    async def _end(self):
        for link in self.links.values():
            await link.close()


class _Connection:
    def __init__(self, number, writers):
        self.number = number
        self.writers = writers
        self.sent = 0
        self.is_dead = False


class Link:
    """One link. ``fault_at`` and ``up_at`` are when it broke and came back, ``byte_at`` when the client's first byte
    after that went through, on the monotonic clock; 0 before."""

    def __init__(self, name, target_port):
        self.name = name
        self.fault_at = self.up_at = self.byte_at = 0.0
        self.struck = threading.Event()
        self._target_port = target_port
        self._server = None
        self._port = 0
        self._kind = ""
        self._armed = None
        self._count = 0
        self._connections = set()
        self._is_closing = False

    @property
    def url(self):
        return f"https://{self.name}{DOMAIN}:{self._port}"

    @property
    def is_down(self):
        return self.fault_at <= time.monotonic() < self.up_at

    @property
    def is_nameless(self):
        return self._kind == "names" and self.is_down

    async def listen(self):
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self._port)
        self._port = self._server.sockets[0].getsockname()[1]

    async def close(self):
        """End all connections and wait until they have."""
        self._is_closing = True
        self._server.close()
        self._reset()
        while self._connections:
            await asyncio.sleep(0.01)

    def arm(self, kind, seconds, after_bytes):
        self._armed = (kind, seconds, after_bytes, self._count)
        if after_bytes is None:
            self._strike()

    def _strike(self):
        self._kind, seconds, _, _ = self._armed
        self._armed = None
        self.fault_at = time.monotonic()
        self.up_at = self.fault_at + seconds
        if self._kind in ("refused", "reset", "names"):
            self._reset()
        if self._kind == "refused":
            self._server.close()
            asyncio.get_running_loop().call_later(seconds, lambda: asyncio.ensure_future(self.listen()))
        if self._kind == "half":
            for connection in self._connections:
                connection.is_dead = True
        self.struck.set()

    def _reset(self):
        for connection in self._connections:
            for writer in connection.writers:
                _reset(writer)

    async def _serve(self, reader, writer):
        try:
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._target_port)
        except OSError:
            _reset(writer)
            return
        self._count += 1
        connection = _Connection(self._count, (writer, far_writer))
        self._connections.add(connection)
        try:
            await asyncio.gather(
                self._pump(connection, reader, far_writer, ("silent",)),
                self._pump(connection, far_reader, writer, ("silent", "deaf")),
            )
        finally:
            for one in connection.writers:
                one.transport.abort()
            await asyncio.sleep(0)  # so that the transports are closed when the loop ends
            self._connections.discard(connection)

    async def _pump(self, connection, reader, writer, stopped_by):
        with contextlib.suppress(OSError):
            while data := await reader.read(65536):
                if "deaf" not in stopped_by:
                    self._count_sent(connection, len(data))
                while not self._is_closing and (connection.is_dead or (self._kind in stopped_by and self.is_down)):
                    await asyncio.sleep(0.02)
                if "deaf" not in stopped_by and not self.byte_at and 0 < self.up_at <= time.monotonic():
                    self.byte_at = time.monotonic()
                writer.write(data)
                await writer.drain()
        writer.close()

    def _count_sent(self, connection, size):
        connection.sent += size
        if self._armed is None:
            return
        _, _, after_bytes, count = self._armed
        if connection.number > count and connection.sent >= after_bytes:
            self._strike()


def _reset(writer):
    sock = writer.get_extra_info("socket")
    with contextlib.suppress(OSError):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
