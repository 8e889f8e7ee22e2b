"""The local endpoint as a thing to start and stop: ``LocalEndpoint``.

Three ways: ``async with LocalEndpoint(data_dir=...) as ep`` in a running loop; ``with LocalEndpoint.run_in_thread(...)
as ep`` for blocking programs, in one background thread with its own loop; ``serve_forever`` for the command line.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import signal
import socket
import ssl
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aiohttp import web

from kvspic.local.acks import Ack
from kvspic.local.app import make_app
from kvspic.local.documents import SEGMENT_HEAD
from kvspic.local.errors import DataDirLockedError, LocalEndpointError, PortInUseError
from kvspic.local.fault_socket import ScriptedFaults, reset
from kvspic.local.hub import Hub
from kvspic.local.mkv_events import Block, Header, Tags, ends_fragment
from kvspic.local.mkv_reader import read_all
from kvspic.local.model import Service
from kvspic.local.records import StoredFragment
from kvspic.local.settings import Settings
from kvspic.local.store import Durability, Store
from kvspic.local.store_index import FragmentRow

__all__ = ["DataDirLockedError", "LocalEndpoint", "LocalEndpointError", "PortInUseError"]

_READ_BUFFER_SIZE = 256 * 1024
_FRAGMENTS_MAX = 1_000_000


def _wall_clock() -> Callable[[], int]:
    """Wall time in 100 ns ticks that a step of the system's clock does not move."""
    base = time.time_ns() - time.monotonic_ns()
    return lambda: (base + time.monotonic_ns()) // 100


@dataclass
class LocalEndpoint:
    """A service that speaks the Kinesis Video Streams API on a loopback socket.

    Args:
        data_dir: where streams and fragments are kept; locked while the endpoint runs.
        host, port: address to listen on; port 0 takes a free one, see :attr:`url`.
        durability: "process" survives SIGKILL, "disk" also a power cut; both hold before a PERSISTED ACK.
        access_keys: secret by access key; given, every request must be signed by one of them.
        ssl_context: given, the endpoint speaks TLS.
        settings: limits and delays of the service.
        lingering_seconds: how long a refused upload is still read, so that its answer is not lost to a reset.
        live_wait_seconds: GetMedia ends after this long without a new fragment.
        faults: what goes wrong, see :mod:`kvspic.local.faults`; ``add`` and ``clear`` change them while it runs.
        on_ack: called in the endpoint's loop with the stream's name and each ACK; it must not block.

    Raises (when started):
        PortInUseError, DataDirLockedError, LocalEndpointError: one sentence with the remedy; nothing stays open.
    """

    data_dir: str | Path
    host: str = "127.0.0.1"
    port: int = 0
    durability: Durability = "process"
    access_keys: Mapping[str, str] | None = None
    ssl_context: ssl.SSLContext | None = None
    settings: Settings = field(default_factory=Settings)
    lingering_seconds: float = 0.5
    live_wait_seconds: float = 3.0
    on_ack: Callable[[str, Ack], None] | None = None
    faults: ScriptedFaults = field(default_factory=ScriptedFaults)
    _hub: Hub | None = field(default=None, init=False, repr=False)
    _runner: web.AppRunner | None = field(default=None, init=False, repr=False)
    _bound_port: int = field(default=0, init=False, repr=False)

    @property
    def url(self) -> str:
        """The address that clients use, without a trailing slash."""
        scheme = "http" if self.ssl_context is None else "https"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{scheme}://{host}:{self._bound_port}"

    async def start(self) -> None:
        """Open the store and listen."""
        if self._hub is not None:
            raise LocalEndpointError("The endpoint is running already; make another object for a second one.")
        await self._begin(self.port)
        self.faults.begin(self._restart)

    async def _begin(self, port: int) -> None:
        listener = self._listen(port)
        try:
            self._hub = await asyncio.get_running_loop().run_in_executor(None, self._open_hub, _Post())
            app = make_app(self._hub, self.access_keys, self.live_wait_seconds, self.faults)
            self._runner = web.AppRunner(
                app,
                access_log=None,
                lingering_time=self.lingering_seconds,
                read_bufsize=_READ_BUFFER_SIZE,
                shutdown_timeout=0.2,
            )
            await self._runner.setup()
            await web.SockSite(self._runner, listener, ssl_context=self.ssl_context).start()
        except BaseException:
            listener.close()
            await self._end()
            raise
        self._bound_port = listener.getsockname()[1]

    def _listen(self, port: int) -> socket.socket:
        family = socket.AF_INET6 if ":" in self.host else socket.AF_INET
        listener = socket.socket(family, socket.SOCK_STREAM)
        try:
            if sys.platform != "win32":  # there it would let two programs share the port
                listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind((self.host, port))
            listener.listen(512)
        except OSError as error:
            listener.close()
            if error.errno == errno.EADDRINUSE:
                text = f"The port {port} on {self.host} is in use; choose another, or 0 for a free one."
                raise PortInUseError(text) from error
            text = f"The endpoint cannot listen on {self.host} port {port} ({error.strerror}); choose another."
            raise LocalEndpointError(text) from error
        return listener

    def _open_hub(self, post: _Post) -> Hub:
        now_hns = _wall_clock()
        store = Store(Path(self.data_dir), self.durability, post)
        service = Service(self.settings)
        service.streams.restore(store.streams(), store.stream_id_max() + 1)
        hub = Hub(service, store, now_hns, time.time, self.on_ack)
        for stream in service.streams.all():
            hub.expire(stream)
        return hub

    async def stop(self) -> None:
        """Close all connections and the store. A second call does nothing."""
        await self.faults.end()
        await self._end()

    async def _restart(self, delay_s: float) -> None:
        """End all connections as a dying process does, refuse new ones for a while, and come back on the same port."""
        if self._runner is None:
            return
        if self._runner.server is not None:
            for connection in self._runner.server.connections:
                reset(connection.transport)
        await self._end()
        await asyncio.sleep(delay_s)
        await self._begin(self._bound_port)

    async def _end(self) -> None:
        runner, self._runner = self._runner, None
        if runner is not None:
            await runner.cleanup()
        hub, self._hub = self._hub, None
        if hub is not None:
            await asyncio.get_running_loop().run_in_executor(None, hub.close)

    async def __aenter__(self) -> LocalEndpoint:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def serve_forever(self, on_ready: Callable[[str], None] | None = None) -> None:
        """Run until cancelled or told to end by SIGTERM; ``on_ready`` gets the URL once clients may come."""
        ended = asyncio.Event()
        loop = asyncio.get_running_loop()
        with contextlib.suppress(NotImplementedError, RuntimeError, ValueError):
            loop.add_signal_handler(signal.SIGTERM, ended.set)
        async with self:
            if on_ready is not None:
                on_ready(self.url)
            await ended.wait()

    @classmethod
    @contextlib.contextmanager
    def run_in_thread(cls, *args: Any, **options: Any) -> Iterator[LocalEndpoint]:
        """Run an endpoint in a background thread for the length of a ``with``; arguments as for the class."""
        endpoint = cls(*args, **options)
        loop = asyncio.new_event_loop()
        thread = threading.Thread(target=loop.run_forever, name="kvspic-local", daemon=True)
        thread.start()
        try:
            asyncio.run_coroutine_threadsafe(endpoint.start(), loop).result()
            try:
                yield endpoint
            finally:
                asyncio.run_coroutine_threadsafe(endpoint.stop(), loop).result()
        finally:
            asyncio.run_coroutine_threadsafe(_end_tasks(), loop).result()
            loop.call_soon_threadsafe(loop.stop)
            thread.join()
            loop.close()

    # What is stored, for tests and tools.

    def fragments(self, stream_name: str) -> list[StoredFragment]:
        """Return the stream's durable fragments in the order in which they became so, with payloads."""
        if self._hub is None:
            raise LocalEndpointError("The endpoint is not running; start it before asking for fragments.")
        hub, stream = self._hub, self._hub.service.streams.find({"StreamName": stream_name})
        oldest_hns = hub.oldest_hns(stream)
        rows: list[FragmentRow] = hub.store.query(
            lambda index: index.after(stream.stream_id, oldest_hns, 0, _FRAGMENTS_MAX)
        )
        return [_stored_fragment(hub.store, row) for row in rows]


class _Post:
    """Carries the store's completions to the loop that made this object."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()

    def __call__(self, call: Callable[[], None]) -> None:
        self._loop.call_soon_threadsafe(call)


async def _end_tasks() -> None:
    """Leave nothing pending in a loop that is about to be closed."""
    loop = asyncio.get_running_loop()
    tasks = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    await loop.shutdown_asyncgens()
    await loop.shutdown_default_executor()


def _stored_fragment(store: Store, row: FragmentRow) -> StoredFragment:
    fragment = row.fragment
    header, tags = row.header, [store.read(row, offset, size) for offset, size in fragment.tags]
    head = store.read(row, header.segment_offset, header.end_offset - header.segment_offset)
    cluster = store.read(row, fragment.offset, fragment.size)
    events = read_all(store.read(row, 0, header.ebml_size) + SEGMENT_HEAD + head + b"".join(tags) + cluster)
    pairs = [event.tags for event in events if isinstance(event, Tags) and not ends_fragment(event)]
    return StoredFragment(
        number=fragment.number,
        producer_hns=fragment.producer_hns,
        server_hns=fragment.server_hns,
        duration_hns=fragment.duration_hns,
        timecode=fragment.timecode,
        tracks=next(event.tracks for event in events if isinstance(event, Header)),
        blocks=tuple(event for event in events if isinstance(event, Block)),
        tags=tuple((tag.name, tag.value) for found in pairs for tag in found),
    )
