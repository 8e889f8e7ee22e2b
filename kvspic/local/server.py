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
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from aiohttp import web

from kvspic.local.access import Access
from kvspic.local.acks import Ack
from kvspic.local.app import make_app
from kvspic.local.data_dir import DataDir
from kvspic.local.documents import SEGMENT_HEAD
from kvspic.local.errors import DataDirLockedError, LocalEndpointError, PortInUseError
from kvspic.local.fault_socket import ScriptedFaults, reset
from kvspic.local.gate import Gate, GateLimits
from kvspic.local.hub import Hub
from kvspic.local.image_writer import ImageWriter
from kvspic.local.mkv_events import Block, Header, Tags, ends_fragment
from kvspic.local.mkv_reader import read_all
from kvspic.local.model import Service
from kvspic.local.records import StoredFragment
from kvspic.local.settings import Settings
from kvspic.local.store import Durability, Store
from kvspic.local.store_index import FragmentRow
from kvspic.local.watch import Watch
from kvspic.loopback import is_loopback
from kvspic.serving import open_listener, running_in_thread

__all__ = ["DataDirLockedError", "LocalEndpoint", "LocalEndpointError", "PortInUseError"]

_READ_BUFFER_SIZE = 256 * 1024
_FRAGMENTS_MAX = 1_000_000
_STOP_POLL_S = 0.05
_KEEPALIVE_S = 75.0  # of a connection between two requests


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
        public_url: the address that GetDataEndpoint gives; default: the one that the caller used.
        region: the only one that signatures may name; default: any. ARNs follow the signature's region.
        allow_origins: sites whose pages may call the endpoint from a browser.
        is_insecure: listen beyond loopback without keys: everyone who reaches the port may do everything.
        ssl_context: given, the endpoint speaks TLS.
        page_token: what the page at / must send where there are access keys; without it the page shows nothing then.
        settings: limits and delays of the service.
        gate_limits: how many connections there may be, and how long one may be idle.
        lingering_seconds: how long a refused upload is still read, so that its answer is not lost to a reset.
        expire_seconds: how often media is deleted that the retention of its stream no longer covers.
        stop_seconds: how long :meth:`serve_forever` lets open uploads end when a signal stops it.
        live_wait_seconds: GetMedia ends after this long without a new fragment.
        images_dir: where pictures go of streams whose image generation is enabled, in place of a bucket.
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
    public_url: str | None = None
    region: str | None = None
    allow_origins: tuple[str, ...] = ()
    is_insecure: bool = False
    ssl_context: ssl.SSLContext | None = None
    page_token: str | None = None
    settings: Settings = field(default_factory=Settings)
    gate_limits: GateLimits = field(default_factory=GateLimits)
    lingering_seconds: float = 0.5
    live_wait_seconds: float = 3.0
    expire_seconds: float = 60.0
    stop_seconds: float = 10.0
    on_ack: Callable[[str, Ack], None] | None = None
    images_dir: str | Path | None = None
    faults: ScriptedFaults = field(default_factory=ScriptedFaults)
    _images: asyncio.Task[None] | None = field(default=None, init=False, repr=False)
    _watch: Watch = field(default_factory=Watch, init=False, repr=False)
    _hub: Hub | None = field(default=None, init=False, repr=False)
    _runner: web.AppRunner | None = field(default=None, init=False, repr=False)
    _expiring: asyncio.Task[None] | None = field(default=None, init=False, repr=False)
    _gate: Gate | None = field(default=None, init=False, repr=False)
    _bound_port: int = field(default=0, init=False, repr=False)
    _lasts: bool = field(default=False, init=False, repr=False)  # it serves until it is stopped by hand

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
        if not (self.access_keys or self.is_insecure or is_loopback(self.host)):
            text = (
                f"On {self.host} the endpoint would serve every machine: give it access keys (--access-key), or "
                "allow that by is_insecure (--insecure)."
            )
            raise LocalEndpointError(text)
        await self._begin(self.port)
        self.faults.begin(self._restart)

    async def _begin(self, port: int) -> None:
        listener = self._listen_or_say_who(port)
        try:
            self._hub = await asyncio.get_running_loop().run_in_executor(None, self._open_hub, _Post())
            self._hub.watch = self._watch
            access = Access(self.access_keys, self.public_url, self.region, self.allow_origins, self.is_insecure)
            app = make_app(self._hub, access, self.live_wait_seconds, self.faults, self.page_token)
            self._runner = web.AppRunner(
                app,
                access_log=None,
                lingering_time=self.lingering_seconds,
                read_bufsize=_READ_BUFFER_SIZE,
                shutdown_timeout=0.2,
                keepalive_timeout=_KEEPALIVE_S,
            )
            await self._runner.setup()
            self._gate = Gate(self.gate_limits, _handlers(self._runner), self.ssl_context)
            self._gate.open(listener)
            if self.images_dir is not None:
                writer = ImageWriter(self._hub, Path(self.images_dir))
                self._images = asyncio.get_running_loop().create_task(writer.run())
            self._expiring = asyncio.get_running_loop().create_task(self._expire(self._hub))
        except BaseException:
            listener.close()
            await self._end()
            raise
        self._bound_port = listener.getsockname()[1]
        self._hub.store.name_endpoint(self.url, lasts=self._lasts)

    def _listen_or_say_who(self, port: int) -> socket.socket:
        """Where the data directory is served already, that is why the port is in use: the server of it is named."""
        try:
            return self._listen(port)
        except PortInUseError:
            if (Path(self.data_dir) / "lock").exists():
                DataDir(Path(self.data_dir)).close()
            raise

    def _listen(self, port: int) -> socket.socket:
        try:
            return open_listener(self.host, port)
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                text = f"The port {port} on {self.host} is in use; choose another, or 0 for a free one."
                raise PortInUseError(text) from error
            text = f"The endpoint cannot listen on {self.host} port {port} ({error.strerror}); choose another."
            raise LocalEndpointError(text) from error

    def _open_hub(self, post: _Post) -> Hub:
        now_hns = _wall_clock()
        region = self.region or self.settings.region
        service = Service(replace(self.settings, region=region))
        service.key_trouble = self.faults.key_trouble
        store = Store(Path(self.data_dir), self.durability, post)
        try:
            service.streams.restore(store.streams(), store.stream_id_max() + 1)
        except BaseException:
            store.close()
            raise
        hub = Hub(service, store, now_hns, time.time, self.on_ack)
        hub.expire(*service.streams.all())
        return hub

    async def _expire(self, hub: Hub) -> None:
        """Delete what retention no longer covers, for as long as the endpoint runs."""
        while True:
            await asyncio.sleep(self.expire_seconds)
            hub.expire(*hub.service.streams.all())

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
        images, self._images = self._images, None
        if images is not None:
            images.cancel()
            await asyncio.wait([images])
        expiring, self._expiring = self._expiring, None
        if expiring is not None:
            expiring.cancel()
        gate, self._gate = self._gate, None
        if gate is not None:
            await gate.close()
        runner, self._runner = self._runner, None
        if runner is not None:
            server = runner.server
            transports = [] if server is None else [connection.transport for connection in server.connections]
            await runner.cleanup()
            for transport in transports:
                if transport is not None:
                    transport.abort()  # TLS would wait for the farewell of a client that only keeps its connection
            await asyncio.sleep(0)
        hub, self._hub = self._hub, None
        if hub is not None:
            await asyncio.get_running_loop().run_in_executor(None, hub.close)

    async def __aenter__(self) -> LocalEndpoint:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def serve_forever(self, on_ready: Callable[[str], None] | None = None) -> None:
        """Run until cancelled or ended by SIGTERM; ``on_ready`` gets the URL once clients may come."""
        ended = asyncio.Event()
        self._lasts = True
        loop = asyncio.get_running_loop()
        with contextlib.suppress(NotImplementedError, RuntimeError, ValueError):
            loop.add_signal_handler(signal.SIGTERM, ended.set)
        async with self:
            if on_ready is not None:
                on_ready(self.url)
            await ended.wait()
            await self._let_uploads_end()

    async def _let_uploads_end(self) -> None:
        """Take no new connections, and wait a while for the uploads that are open."""
        hub, gate = self._hub, self._gate
        if hub is None or gate is None:
            return
        await gate.close()
        loop = asyncio.get_running_loop()
        until = loop.time() + self.stop_seconds
        while any(hub.live.values()) and loop.time() < until:
            await asyncio.sleep(_STOP_POLL_S)

    @classmethod
    @contextlib.contextmanager
    def run_in_thread(cls, *args: Any, **options: Any) -> Iterator[LocalEndpoint]:
        """Run an endpoint in a background thread for the length of a ``with``; arguments as for the class."""
        endpoint = cls(*args, **options)
        with running_in_thread(endpoint, "kvspic-local"):
            yield endpoint

    # What is stored, for tests and tools.

    def fragments(self, stream_name: str) -> list[StoredFragment]:
        """Return the stream's durable fragments in the order in which they became so, with payloads."""
        if self._hub is None:
            raise LocalEndpointError("The endpoint is not running; start it before asking for fragments.")
        hub, stream = self._hub, self._hub.service.streams.find({"StreamName": stream_name}, self._hub.now_hns())
        oldest_hns = hub.oldest_hns(stream)
        rows: list[FragmentRow] = hub.store.query(
            lambda index: index.after(stream.stream_id, oldest_hns, 0, _FRAGMENTS_MAX)
        )
        return [_stored_fragment(hub.store, row) for row in rows]


def _handlers(runner: web.AppRunner) -> Callable[[], asyncio.Protocol]:
    server = runner.server
    if server is None:
        raise AssertionError("the runner was not set up")
    return server


class _Post:
    """Carries the store's completions to the loop that made this object."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()

    def __call__(self, call: Callable[[], None]) -> None:
        self._loop.call_soon_threadsafe(call)


def _stored_fragment(store: Store, row: FragmentRow) -> StoredFragment:
    store.verify(row)
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
