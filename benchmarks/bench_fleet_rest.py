"""A fleet's server under 200 simulated workers of 50 cameras: what their feedback costs, and a page of 10,000 jobs.

The server is a process of its own (kvspic fleet serve) over SQLite in a file, then over a PostgreSQL cluster of its own
where there is one. Its processor time comes from /proc; latencies are those that a worker sees, with the simulated
workers on the same machine. KVSPIC_FLEET_SECONDS sets how long feedback is measured (30 s).
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from report import say

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))
import postgres

from kvspic.fleet import calls
from kvspic.fleet.client import AsyncFleetClient, FleetClient

__all__: list[str] = []

SIZES = (2, 20, 200)  # workers
SLOTS = 50
PERIOD_S = 5.0
SECONDS = float(os.environ.get("KVSPIC_FLEET_SECONDS", "30"))
STATS = {
    "frames_put": 123456, "frames_done": 123400, "dropped": 0, "bytes_sent": 987654321, "buffered": 12, "spooled": 0,
    "ack_ms_p50": 41.5, "ack_ms_p99": 93.1, "last_persisted_age_s": 1.2, "state": "streaming", "health": True,
    "reason": "", "source": "ok", "fps": 25.0, "kbps": 2048.0,
}  # fmt: skip
TICKS = os.sysconf("SC_CLK_TCK")


def processor_s(*pids: int) -> float:
    """Seconds of processor time that processes have used."""
    total = 0
    for pid in pids:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        total += int(fields[11]) + int(fields[12])
    return total / TICKS


def children(pid: int) -> list[int]:
    """A process and those that it has started."""
    text = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    return [pid, *map(int, text.split())]


@contextmanager
def serving(store: str) -> Iterator[tuple[str, int]]:
    """The URL and the process of a server."""
    command = [sys.executable, "-m", "kvspic", "fleet", "serve", "--listen", "127.0.0.1:0", "--store", store]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield (process.stdout or sys.stdin).readline().split()[-1], process.pid
        finally:
            process.terminate()


async def carry(url: str, name: str, ended: asyncio.Event, late_s: float, took: list[float]) -> int:
    """One worker: takes its cameras, then reports them each period until the end; returns how many it has."""
    loop, held = asyncio.get_running_loop(), []
    async with AsyncFleetClient(url, timeout=60) as client:
        while len(held) < SLOTS:
            body = {"incarnation": "1", "slots": SLOTS, "free": SLOTS - len(held), "labels": [], "wait_s": 5}
            given = (await client.call(calls.poll(name, body)))["jobs"]
            held += [{"id": job["id"], "epoch": job["epoch"], "status": "in_progress", "stats": STATS} for job in given]
        due = loop.time() + late_s
        while not ended.is_set():
            await asyncio.sleep(max(0.0, due - loop.time()))
            due += PERIOD_S
            began = loop.time()
            answer = await client.call(calls.feedback(name, {"incarnation": "1", "reports": held}))
            took.append(loop.time() - began)
            if any(one["verdict"] != "continue" for one in answer["verdicts"]):
                raise SystemExit(f"{name} was stopped though it reported in time")
        back = [{**report, "status": "handback"} for report in held]  # the next size begins with all jobs pending
        await client.call(calls.feedback(name, {"incarnation": "1", "reports": back}))
    return len(held)


async def measure(url: str, workers: int, pid: int, postmaster: int) -> tuple[list[float], float, float]:
    """Latencies of feedback, and parts of a core that the server and its store use."""
    ended, took = asyncio.Event(), []
    tasks = [
        asyncio.create_task(carry(url, f"w{number}", ended, PERIOD_S * number / workers, took))
        for number in range(workers)
    ]
    async with AsyncFleetClient(url) as client:
        while (await client.queue())["counts"]["in_progress"] < workers * SLOTS:
            await asyncio.sleep(0.5)
    await asyncio.sleep(PERIOD_S)
    took.clear()
    pids = ([pid], children(postmaster) if postmaster else [])  # the store's connections stand by now
    began, before = time.monotonic(), [processor_s(*one) for one in pids]
    await asyncio.sleep(SECONDS)
    passed = time.monotonic() - began
    used = [(processor_s(*one) - first) / passed for one, first in zip(pids, before)]
    found = sorted(took)
    ended.set()
    await asyncio.gather(*tasks)
    return found, used[0], used[1]


def page_ms(fleet: FleetClient) -> float:
    """The best of some pages of 100 jobs, milliseconds."""
    best = float("inf")
    for _ in range(20):
        began = time.perf_counter()
        if len(fleet.page(limit=100).jobs) != 100:
            raise SystemExit("a page has not 100 jobs")
        best = min(best, (time.perf_counter() - began) * 1000)
    return best


def run(name: str, store: str, postmaster: int = 0) -> None:
    """Measure one store at all sizes."""
    with serving(store) as (url, pid), FleetClient(url, timeout=120) as fleet:
        fleet.settings({"handout_rate": 100_000, "handout_burst": 100_000, "spread_s": 0, "lease_s": 60})
        made = 0
        for workers in SIZES:
            jobs = workers * SLOTS
            source: dict[str, Any] = {"type": "rtsp", "url": "rtsp://10.0.0.1/1"}
            fleet.apply([{"name": f"cam-{number}", "source": source} for number in range(made, jobs)])
            made = jobs
            found, server, database = asyncio.run(measure(url, workers, pid, postmaster))
            p99 = found[min(len(found) - 1, int(len(found) * 0.99))] * 1000
            is_goal = jobs == SIZES[-1] * SLOTS
            for what, value, unit, goal in (
                ("server, feedback each 5 s", server, "cores", 0.15),
                ("store, feedback each 5 s", database, "cores", 0.05),
                ("feedback, p99", p99, "ms", 100),
                ("a page of 100", page_ms(fleet), "ms", 20),
            ):
                if postmaster or not what.startswith("store"):
                    say(f"{name}: {what}, {jobs} jobs", value, unit, goal if is_goal else 0)


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        run("SQLite", str(Path(folder) / "fleet.db"))
    if postgres.programs() is None:
        return
    with ExitStack() as stack:
        cluster = stack.enter_context(postgres.cluster())
        run("PostgreSQL", cluster.url("fleet"), cluster.postmaster)


if __name__ == "__main__":
    main()
