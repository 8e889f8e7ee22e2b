"""Runs for the tests of reports: agents that say their figures, and what a controller would have recorded."""

import random

from kvspic.bench.collect import Collector
from kvspic.bench.histogram import Histograms
from kvspic.bench.proto import LiveStats
from kvspic.bench.record import AgentRecord, RunRecord


def message(second, *, put_ops=0, put_bytes=0, hist=None, stage=2, **fields):
    """A message of an agent, as it stands in the ``second``-th second."""
    stages = {1: "prepare", 2: "workload", 11: "warm-up", 12: "drain"}
    return LiveStats(
        status=LiveStats.RUNNING, put_ops=put_ops, put_bytes=put_bytes, current_stage=stage, stage_name=stages[stage],
        agent_timestamp_ns=(1_780_000_000 + second) * 10**9, histograms=b"" if hist is None else hist.pack(),
        cpu_user_percent=20 + second % 3, cpu_system_percent=5, cpu_total_percent=25,
        rss_bytes=90_000_000 + second * 100_000,
        prepare_objects_created=5, prepare_objects_total=5, **fields,
    )  # fmt: skip


def second_of(numbers, frames, slow=1.0):
    """The histograms of a second of ``frames`` frames."""
    made = Histograms()
    made.at("PUT", 1).record([int(slow * numbers.lognormvariate(5, 0.6)) for _ in range(frames)])
    made.at("LATE", 1).record([int(slow * numbers.lognormvariate(4, 0.6)) for _ in range(frames)])
    made.at("PERS", 4).record([int(slow * numbers.lognormvariate(10, 0.4)) for _ in range(max(1, frames // 60))])
    made.at("RECV", 4).record([int(slow * numbers.lognormvariate(9.5, 0.4)) for _ in range(max(1, frames // 60))])
    return made


def run_of(agents=("10.0.0.1:7761", "10.0.0.2:7761"), seconds=30, frames=100, slow=1.0, seed=1):
    """A record and a collector of a run in which every frame was persisted."""
    numbers = random.Random(seed)
    record = RunRecord("20260501-120000-abcd", "two-agents", "name: two-agents\nfps: 30\n", 1_777_636_800.0)
    record.wall_s, record.start_spread_us = seconds + 8.0, 89.0
    collector = Collector()
    for number, name in enumerate(agents):
        agent = AgentRecord(name, name, "completed", "", 5_000_000 * number, 150_000, 300_000)
        agent.started_ns = 1_777_636_806_000_000_000 + number * 89_000 // max(1, len(agents) - 1)
        agent.states = [(0.0, "connecting"), (0.2, "ready"), (3.0, "running"), (seconds + 7.0, "completed")]
        record.agents.append(agent)
        total = Histograms()
        for at_s, state in agent.states:
            agent.state = state
            collector.agent_changed(agent, at_s)
        for second in range(3):
            collector.stats(agent, 3.0 + second, message(second, stage=11))
        for second in range(seconds):
            count = frames + numbers.randrange(-3, 4)
            found = second_of(numbers, count, slow)
            total.add(found)
            size = frames * (second + 1) * 8000
            hist = message(second, put_ops=frames * (second + 1), put_bytes=size, hist=found)
            collector.stats(agent, 6.1 + second, hist)
            agent.last = hist
        put = frames * seconds
        agent.summary = {
            "agent_id": name, "run_id": record.run_id, "measured_s": float(seconds), "wall_s": seconds + 6.0,
            "streams": 5, "frames": {"offered": put, "put": put, "persisted": put, "dropped": 0, "buffered": 0},
            "bytes": put * 8000, "reconnects": 0, "errors": [], "clamped": 0, "cpu_percent": 25.5,
            "machine_cpu_percent": 30.0, "rss_bytes": 93_000_000, "start_error_us": 12.0, "hist": total.to_json(),
        }  # fmt: skip
    return record, collector
