"""A fleet server as a thing to start and stop: it listens, looks after the store, and keeps no state of its own.

Any number of servers may run over one shared store; over SQLite there is one. ``async with FleetServer(store)`` in a
running loop, ``with FleetServer.run_in_thread(store)`` for blocking programs, ``serve_forever`` for the command line.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import socket
import ssl
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from kvspic.fleet.app import Parts, make_app
from kvspic.fleet.auth import NO_TOKENS, Tokens
from kvspic.fleet.errors import FleetError, FleetServerError
from kvspic.fleet.page import MediaPlace
from kvspic.fleet.records import Store
from kvspic.fleet.tasks import TestClock, Upkeep
from kvspic.fleet.wake import Wake
from kvspic.loopback import is_loopback
from kvspic.serving import open_listener, running_in_thread

__all__ = ["FleetServer"]

_log = logging.getLogger(__name__)
THREADS = 8
TICK_S = 1.0
COMPLAIN_S = 60.0
KEEPALIVE_S = 75.0
STOP_S = 1.0


@dataclass
class FleetServer:
    """The REST interface of the fleet over one store.

    Args:
        store: made by :func:`kvspic.fleet.store.open_store`; the caller closes it.
        host, port: address to listen on; port 0 takes a free one, see :attr:`url`.
        tokens: who may call; without any the server listens on loopback only.
        ssl_context: given, the server speaks TLS.
        test_clock: the clock that the store was opened with; time then stands until it is moved.
        place: where the page finds video of jobs that do not say it.

    Raises (when started):
        FleetServerError: one sentence with the remedy; nothing stays open.
    """

    store: Store
    host: str = "127.0.0.1"
    port: int = 0
    tokens: Tokens = NO_TOKENS
    ssl_context: ssl.SSLContext | None = None
    test_clock: TestClock | None = None
    place: MediaPlace = field(default_factory=MediaPlace)
    _parts: Parts | None = field(default=None, init=False, repr=False)
    _runner: web.AppRunner | None = field(default=None, init=False, repr=False)
    _ticking: asyncio.Task[None] | None = field(default=None, init=False, repr=False)
    _bound_port: int = field(default=0, init=False, repr=False)

    @property
    def url(self) -> str:
        """The address that clients use, without a trailing slash."""
        scheme = "http" if self.ssl_context is None else "https"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{scheme}://{host}:{self._bound_port}"

    async def start(self) -> None:
        """Listen, and begin to look after the store."""
        if self._parts is not None:
            raise FleetServerError("The server is running already; make another object for a second one.")
        if not (self.tokens or is_loopback(self.host)):
            text = (
                f"On {self.host} everybody who reaches this machine could command the fleet: give the server a file of "
                "tokens (--tokens), or let it listen on 127.0.0.1."
            )
            raise FleetServerError(text, is_usage=True)
        listener = _listen(self.host, self.port)
        try:
            await self._begin(listener)
        except BaseException:
            await self.stop()
            listener.close()
            raise
        self._bound_port = listener.getsockname()[1]

    async def _begin(self, listener: socket.socket) -> None:
        executor = ThreadPoolExecutor(THREADS, thread_name_prefix="kvspic-fleet")
        clock = self.test_clock
        now_s = time.monotonic if clock is None else lambda: clock.seconds
        upkeep = Upkeep(self.store, f"{socket.gethostname()}-{uuid.uuid4().hex}", now_s)
        self._parts = Parts(
            self.store, executor, upkeep, Wake(self.store), asyncio.Event(), tokens=self.tokens, clock=clock
        )
        await self._parts.run(self._parts.wake.begin)
        self._runner = web.AppRunner(
            make_app(self._parts, self.place), access_log=None, keepalive_timeout=KEEPALIVE_S, shutdown_timeout=STOP_S
        )
        await self._runner.setup()
        await web.SockSite(self._runner, listener, ssl_context=self.ssl_context, backlog=512).start()
        if clock is None:
            self._ticking = asyncio.get_running_loop().create_task(self._tick(self._parts))
        else:
            await self._parts.run(upkeep.tick)

    async def _tick(self, parts: Parts) -> None:
        """Look after the store once a second, for as long as the server runs."""
        complained_at = -COMPLAIN_S
        loop = asyncio.get_running_loop()
        while True:
            try:
                await parts.run(parts.upkeep.tick)
                await parts.look_at_queue()
            except FleetError as error:
                if loop.time() - complained_at >= COMPLAIN_S:
                    complained_at = loop.time()
                    _log.warning("the store is not looked after: %s", error)
            except Exception:
                _log.exception("a fault of the server's upkeep")
            await asyncio.sleep(TICK_S)

    async def stop(self) -> None:
        """Answer what waits, and close all connections. A second call does nothing."""
        ticking, self._ticking = self._ticking, None
        if ticking is not None:
            ticking.cancel()
            await asyncio.wait([ticking])
        parts, self._parts = self._parts, None
        if parts is None:
            return
        parts.ending.set()
        parts.wake.everybody()
        runner, self._runner = self._runner, None
        if runner is not None:
            await runner.cleanup()
        await parts.run(parts.wake.end)
        parts.executor.shutdown(wait=False, cancel_futures=True)

    async def __aenter__(self) -> FleetServer:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def serve_forever(self, on_ready: Callable[[str], None] | None = None) -> None:
        """Run until cancelled or ended by SIGTERM; ``on_ready`` gets the URL once clients may come."""
        ended = asyncio.Event()
        with contextlib.suppress(NotImplementedError, RuntimeError, ValueError):
            asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ended.set)
        async with self:
            if on_ready is not None:
                on_ready(self.url)
            await ended.wait()

    @classmethod
    @contextlib.contextmanager
    def run_in_thread(cls, *args: Any, **options: Any) -> Iterator[FleetServer]:
        """Run a server in a background thread for the length of a ``with``; arguments as for the class."""
        server = cls(*args, **options)
        with running_in_thread(server, "kvspic-fleet"):
            yield server


def _listen(host: str, port: int) -> socket.socket:
    try:
        return open_listener(host, port)
    except (OSError, OverflowError) as error:
        text = f"The server cannot listen on {host} port {port} ({error}); choose another address or port."
        raise FleetServerError(text) from None
