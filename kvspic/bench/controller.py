"""A controller as a client of gRPC: the shell around ``ControllerCore``. It owns the calls and the clock.

Each call has a channel of its own, so that no back-off of an older one holds it up, and a reader and a writer that do
not wait for each other.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Iterator, Sequence
from typing import Any

import grpc

from kvspic.bench.channel import PATH, Security, options
from kvspic.bench.clock import Moment
from kvspic.bench.controller_core import CallOrder, ControllerCore
from kvspic.bench.proto import ControlMessage, LiveStats
from kvspic.bench.record import AgentRecord, Observer, RunRecord
from kvspic.bench.workload import Plan

__all__ = ["Controller"]


class Controller:
    """Drives one run on all agents.

    Args:
        record: the run, without agents.
        plan: the plan of ``record.plan_yaml``.
        addresses: host:port of each agent, in order; an agent's id is its address.
        observer: looks on; its calls are quick.
        prefix: the beginning of the names of streams.
        skew_ns: added to the wall clock, to test what wrong clocks do.
    """

    def __init__(self, record: RunRecord, plan: Plan, addresses: Sequence[str], observer: Observer) -> None:
        self.record, self._plan, self._observer = record, plan, observer
        record.agents = [AgentRecord(address, address) for address in addresses]
        self._core: ControllerCore
        self._security = Security()
        self._calls: dict[int, tuple[asyncio.Task[None], asyncio.Event]] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._due_ns = 0
        self._over = asyncio.Event()

    async def run(self, security: Security | None = None) -> RunRecord:
        """Run the plan on all agents to its end, and return the record; cancelled, it leaves the agents alone."""
        self._security = security or Security()
        self._core = ControllerCore(self.record, self._plan, self._observer, self._plan.stream_prefix, _now())
        try:
            self._turn()
            await self._over.wait()
        finally:
            if self._timer is not None:
                self._timer.cancel()
            tasks = [task for task, _ in self._calls.values()]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        return self.record

    def abort(self, reason: str, text: str, code: int) -> None:
        """End the run before its time; see :meth:`ControllerCore.abort`."""
        self._core.abort(reason, text, code, _now())
        self._turn()

    # Turns.

    def _turn(self) -> None:
        """Do what is due for all agents, and be back at the next deadline."""
        now = _now()
        self._core.tick(now)
        self._flush()
        self._due_ns = 0
        self._be_back(self._core.deadline(now), now)

    def _after_message(self, call: int, now: Moment) -> None:
        """The same after a message of one agent, without a look at all others: a run may have a thousand."""
        self._flush()
        self._be_back(self._core.deadline(now, call), now)

    def _flush(self) -> None:
        core = self._core
        while core.orders:
            self._carry_out(core.orders.popleft())
        for number in core.take_writable():
            if number in self._calls:
                self._calls[number][1].set()
        if core.is_over:
            self._over.set()

    def _be_back(self, due_ns: int | None, now: Moment) -> None:
        if due_ns is None or 0 < self._due_ns <= due_ns:
            return
        if self._timer is not None:
            self._timer.cancel()
        self._due_ns = due_ns
        self._timer = asyncio.get_running_loop().call_later((due_ns - now.mono_ns) / 1e9, self._turn)

    def _carry_out(self, order: CallOrder) -> None:
        if order.what == "open":
            wakes = asyncio.Event()
            self._calls[order.number] = asyncio.create_task(self._call(order, wakes)), wakes
        elif order.number in self._calls:
            self._calls[order.number][0].cancel()

    # One call.

    async def _call(self, order: CallOrder, wakes: asyncio.Event) -> None:
        why = "closed here"
        try:
            async with self._channel(order.address) as channel:
                call = channel.stream_stream(PATH, ControlMessage.SerializeToString, LiveStats.FromString)(
                    metadata=self._security.metadata()
                )
                why = await self._talk(order.number, call, wakes)
        except grpc.aio.AioRpcError as error:
            why = _words(error)
        finally:
            self._calls.pop(order.number, None)
            self._core.closed(order.number, why, _now())
            if not self._over.is_set():
                self._turn()

    def _channel(self, address: str) -> Any:
        credentials = self._security.channel_credentials()
        settings = options(self._security.server_name)
        if credentials is None:
            return grpc.aio.insecure_channel(address, settings)
        return grpc.aio.secure_channel(address, credentials, settings)

    async def _talk(self, number: int, call: Any, wakes: asyncio.Event) -> str:
        """Read until the agent ends the call, while another task writes; return why it ended."""
        writer = asyncio.create_task(self._write(number, call, wakes))
        try:
            while (message := await call.read()) is not grpc.aio.EOF:
                now = _now()
                self._core.received(number, message, now)
                self._after_message(number, now)
        finally:
            writer.cancel()
            with contextlib.suppress(asyncio.CancelledError, grpc.aio.AioRpcError, asyncio.InvalidStateError):
                await writer
        code = await call.code()
        return "the agent ended it" if code is grpc.StatusCode.OK else f"{code.name}: {await call.details()}"

    async def _write(self, number: int, call: Any, wakes: asyncio.Event) -> None:
        while True:
            wakes.clear()
            while (message := self._core.take(number, _now())) is not None:
                await call.write(message)
            await wakes.wait()


def _now() -> Moment:
    return Moment(time.monotonic_ns(), time.time_ns())


def _words(error: grpc.aio.AioRpcError) -> str:
    details = error.details() or ""
    return f"{error.code().name}: {next(_lines(details), '')}"


def _lines(text: str) -> Iterator[str]:
    return (line[:200] for line in text.splitlines() if line)
