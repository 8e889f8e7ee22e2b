"""An agent as a server of gRPC: the shell around ``AgentCore``. It owns the socket, the clock and the load's threads.

Each call has a reader and a writer. The reader hands a message to the core and is at once back for the next one; what
blocks runs in a thread. The writer sends what the core has; when the network takes nothing, it alone waits.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from typing import Any

import grpc

from kvspic.bench.agent_core import AgentCore, LoadOrder
from kvspic.bench.channel import BenchError, Security, options, split_address
from kvspic.bench.clock import Moment
from kvspic.bench.proto import METHOD, SERVICE, ControlMessage, LiveStats
from kvspic.bench.workload import WorkloadError, WorkloadFactory
from kvspic.threads import DaemonExecutor

__all__ = ["AgentServer"]

END_S = 17

logger = logging.getLogger("kvspic.bench")


class AgentServer:
    """Listens for controllers and runs their load, one run at a time.

    Args:
        parse, make: see :class:`AgentCore`.
        skew_ns: added to the wall clock, to test what wrong clocks do.
    """

    def __init__(self, parse: Callable[[str, int], Any], make: WorkloadFactory, skew_ns: int = 0) -> None:
        self._core = AgentCore(parse, make)
        self._skew_ns = skew_ns
        self._security = Security()
        self._server: grpc.aio.Server | None = None
        self._writers: dict[int, asyncio.Event] = {}
        self._last_call = 0
        self._timer: asyncio.TimerHandle | None = None
        self._threads = DaemonExecutor(4)
        self._settled = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self, address: str, security: Security | None = None) -> str:
        """Listen on ``address`` (port 0: a free one) and return the address that it became.

        Raises:
            BenchError: the port is in use, the address is not of this machine, or the agent would be open to everyone.
        """
        self._security = security or Security()
        host, port = split_address(address)
        self._security.check_agent(host)
        server = grpc.aio.server(options=options())
        handler = grpc.stream_stream_rpc_method_handler(
            self._execute, ControlMessage.FromString, LiveStats.SerializeToString
        )
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, {METHOD: handler}),))
        written = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        try:
            bound = self._bind(server, written)
        except (RuntimeError, ValueError) as error:
            text = f"The agent cannot listen on {written}: the port is in use, or the address is not of this machine"
            raise BenchError(f"{text}. Give another --listen, or end what uses it.", 4) from error
        await server.start()
        self._server = server
        return f"{written.rpartition(':')[0]}:{bound}"

    def _bind(self, server: grpc.aio.Server, address: str) -> int:
        credentials = self._security.server_credentials()
        if credentials is None:
            return server.add_insecure_port(address)
        return server.add_secure_port(address, credentials)

    async def end(self, text: str) -> None:
        """End the run that goes on, wait until its controller knows (17 s at most), and stop listening."""
        self._core.abort(text, self._now())
        self._turn()
        try:
            await asyncio.wait_for(self._settled.wait(), END_S)
        except (TimeoutError, asyncio.TimeoutError):
            logger.warning("the run had not ended after %s s; it is left behind", END_S)
        if self._server is not None:
            await self._server.stop(0.5)
        if self._timer is not None:
            self._timer.cancel()
        self._threads.shutdown()

    # One call.

    async def _execute(self, _: Any, context: Any) -> None:
        if not self._security.accepts(context.invocation_metadata() or ()):
            await context.abort(grpc.StatusCode.UNAUTHENTICATED, "the token is missing or wrong")
        self._last_call += 1
        call = self._last_call
        wakes = self._writers[call] = asyncio.Event()
        self._core.opened(call, _peer(context.peer()))
        reader = asyncio.create_task(self._read(call, context))
        try:
            await self._write(call, context, wakes)
        finally:
            reader.cancel()
            del self._writers[call]
            self._core.closed(call)
            self._turn()

    async def _read(self, call: int, context: Any) -> None:
        try:
            while (message := await context.read()) is not grpc.aio.EOF:
                self._core.received(call, message, self._now())
                self._turn()
        finally:  # the controller says no more, and what the writer has for it is of no use
            self._core.closed(call)
            self._turn()

    async def _write(self, call: int, context: Any, wakes: asyncio.Event) -> None:
        while True:
            wakes.clear()
            while (message := self._core.take(call, self._now())) is not None:
                await context.write(message)
            self._rest(self._now())
            if self._core.is_over(call):
                return
            await wakes.wait()

    # Turns.

    def _now(self) -> Moment:
        return Moment(time.monotonic_ns(), time.time_ns() + self._skew_ns)

    def _turn(self) -> None:
        """Do what is due, wake the writers, and be back at the next deadline."""
        now = self._now()
        core = self._core
        core.tick(now)
        while core.orders:
            task = asyncio.create_task(self._carry_out(core.orders.popleft()))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        for wakes in self._writers.values():
            wakes.set()
        self._rest(now)

    def _rest(self, now: Moment) -> None:
        """Be back at the next deadline; what was due is done, or waits for a writer."""
        if self._core.is_settled:
            self._settled.set()
        else:
            self._settled.clear()
        due_ns = self._core.deadline(now)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if due_ns is not None:
            delay_s = (due_ns - now.mono_ns) / 1e9
            self._timer = asyncio.get_running_loop().call_later(delay_s, self._turn)

    async def _carry_out(self, order: LoadOrder) -> None:
        workload = order.run.workload
        assert workload is not None
        error = ""
        loop = asyncio.get_running_loop()
        try:
            if order.call == "prepare":
                await loop.run_in_executor(self._threads, workload.prepare)
            else:
                await loop.run_in_executor(self._threads, workload.stop, order.limit_s)
        except WorkloadError as failure:
            error = str(failure)
        except Exception as failure:
            logger.exception("the load failed")
            error = f"The load failed ({type(failure).__name__}: {failure}); the agent's log has the details."
        self._core.load_answered(order, error, self._now())
        self._turn()


def _peer(name: str) -> str:
    """gRPC's name of the other side, as people write it."""
    scheme, _, rest = name.partition(":")
    return rest.replace("%5B", "[").replace("%5D", "]") if scheme in ("ipv4", "ipv6") else name
