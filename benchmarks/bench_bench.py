"""What a benchmark's controller costs, and how close together its agents begin: ``python benchmarks/bench_bench.py``.

100 agents in another process say what real ones say each second, over real calls on loopback, each with histograms of
300 frames; the figure is the processor time of the controller's process in the measured seconds, the live view's
merging and the log of each second included. The spread is of four agents of their own processes with one real stream
each: the latest real beginning less the earliest. Goals: 20 % of a core, 1 ms.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import random
import time
from multiprocessing.connection import Connection
from typing import Any

from report import say

from kvspic.bench.agent import AgentServer
from kvspic.bench.collect import Collector, Observers
from kvspic.bench.controller import Controller
from kvspic.bench.histogram import Histograms
from kvspic.bench.launch import Fleet
from kvspic.bench.plan import parse_plan
from kvspic.bench.record import AgentRecord, RunRecord
from kvspic.bench.view import Numbers
from kvspic.bench.workload import Assignment, Snapshot

__all__: list[str] = []

AGENTS, SECONDS = 100, 10
SHARE_GOAL, SPREAD_GOAL_MS = 20.0, 1.0
PLAN = "duration_s: {seconds}\nwarmup_s: 0\ndrain_s: 5\nstreams_per_agent: 1\nfps: 10\nkbps: 100\n"


class Talker:
    """A load that puts nothing and says figures of 10 streams of 30 fps."""

    def __init__(self) -> None:
        self._begun_ns = 0
        self._ops = 0
        dice = random.Random(1)
        values = Histograms()
        for kind in ("PUT", "LATE", "PERS"):
            values.at(kind, 2).record([int(dice.lognormvariate(6, 1)) for _ in range(300)])
        self._packed = values.pack()

    def prepare(self) -> None: ...

    def warm_up(self) -> None: ...

    def begin(self, at_ns: int) -> None:
        self._begun_ns = at_ns

    def snapshot(self, *, full: bool = False) -> Snapshot:
        self._ops += 300
        return Snapshot(10, 10, self._ops, self._ops * 8000, begun_ns=self._begun_ns, histograms=self._packed)

    def stop(self, limit_s: float) -> None: ...

    def kill(self) -> None: ...

    def summary(self) -> dict[str, Any]:
        counts = {"offered": 1, "put": 1, "persisted": 1, "dropped": 0, "buffered": 0}
        return {"measured_s": 1, "wall_s": 1, "streams": 10, "frames": counts, "bytes": 1, "errors": [], "hist": {}}


def serve(ready: Connection) -> None:
    """100 agents in one process."""

    async def main() -> None:
        servers = [AgentServer(parse_plan, make) for _ in range(AGENTS)]
        ready.send([await server.start("127.0.0.1:0") for server in servers])
        await asyncio.Event().wait()

    def make(plan: Any, assignment: Assignment) -> Talker:
        return Talker()

    asyncio.run(main())


class Watch:
    """Notes the controller's processor time when measuring begins and ends, and draws what the live view would."""

    def __init__(self) -> None:
        self._numbers = Numbers()
        self._drawn_s = 0.0
        self.marks: list[tuple[float, float]] = []

    def agent_changed(self, agent: AgentRecord, at_s: float) -> None:
        self._numbers.state(agent)

    def stats(self, agent: AgentRecord, at_s: float, stats: Any) -> None:
        self._numbers.stats(agent, at_s, stats)
        if stats.current_stage in (2, 12):
            self.marks.append((time.monotonic(), time.process_time()))
        if at_s - self._drawn_s >= 1:
            self._drawn_s = at_s
            self._numbers.line(at_s)

    def note(self, at_s: float, text: str) -> None:
        self._numbers.note(text)


async def controller_share() -> None:
    """Processor time of the controller with 100 agents."""
    parent, child = multiprocessing.Pipe()
    agents = multiprocessing.get_context("spawn").Process(target=serve, args=(child,), daemon=True)
    agents.start()
    try:
        addresses = parent.recv()
        text = PLAN.format(seconds=SECONDS)
        watch = Watch()
        record = RunRecord("bench", "bench", text, time.time())
        controller = Controller(record, parse_plan(text, AGENTS), addresses, Observers(Collector(), watch))
        await controller.run()
        assert record.exit_code == 0, record.reason
        (first, used), (last, used_then) = watch.marks[0], watch.marks[-1]
        share = 100 * (used_then - used) / (last - first)
        say("controller of 100 agents, of a core", share, "%", SHARE_GOAL)
    finally:
        agents.kill()
        agents.join()


async def spread() -> None:
    """How far apart four agents of this machine begin."""
    text = PLAN.format(seconds=2)
    async with Fleet(4, []) as fleet:
        record = RunRecord("spread", "spread", text, time.time())
        await Controller(record, parse_plan(text, 4), fleet.addresses, Collector()).run()
    assert record.start_spread_us is not None, record.reason
    say("start spread of 4 agents", record.start_spread_us / 1000, "ms", SPREAD_GOAL_MS)


if __name__ == "__main__":
    asyncio.run(controller_share())
    asyncio.run(spread())
