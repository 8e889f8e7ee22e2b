"""Claims and feedback of a fleet's service over both stores: 8 workers, batches of 50, up to 10,000 jobs.

A job that is claimed twice, or not at all, ends the benchmark. PostgreSQL is a cluster of its own (tests/postgres.py);
without one only SQLite, in a file, is measured.
"""

from __future__ import annotations

import itertools
import os
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

from report import say

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))
import postgres

from kvspic.fleet import service
from kvspic.fleet.store import SqlStore, open_store

__all__: list[str] = []

WORKERS = 8
BATCH = 50
SIZES = (100, 1000, 10_000)
CLAIMS_GOAL = 2000
PAGE_GOAL_NS = 20e6
FEEDBACKS = 100
HANDLER = "w0-0"
STATS = {"frames_put": 123456, "frames_done": 123400, "fps": 25.0, "kbps": 2048, "state": "STREAMING", "health": "ok"}


def filled(url: str, jobs: int) -> SqlStore:
    """A store with pending jobs and no limit of the handout rate."""
    store = open_store(url)
    rates = {"handout_rate": 100_000, "handout_burst": 100_000, "spread_s": 0, "lease_s": 600}
    store.run(service.put_settings, rates)
    bodies = [{"name": f"cam-{n}", "source": {"type": "rtsp", "url": f"rtsp://10.0.0.1/{n}"}} for n in range(jobs)]
    store.run(service.apply_jobs, {"jobs": bodies})
    return store


def poll(store: SqlStore, handler: str) -> list[dict[str, object]]:
    """The first poll of a handler with 50 slots."""
    body = {"incarnation": "1", "slots": BATCH, "free": BATCH, "labels": []}
    given: list[dict[str, object]] = store.run(service.poll, handler, body)["jobs"]
    return given


def claim_all(store: SqlStore, jobs: int) -> float:
    """Claim all jobs by 8 threads; return the seconds it took."""
    claimed: list[list[str]] = [[] for _ in range(WORKERS)]

    def work(nth: int) -> None:
        handlers = (f"w{nth}-{count}" for count in itertools.count())
        while given := poll(store, next(handlers)):
            if any(job["epoch"] != 1 for job in given):
                sys.exit("a job was claimed twice")
            claimed[nth] += [str(job["id"]) for job in given]

    threads = [threading.Thread(target=work, args=(nth,)) for nth in range(WORKERS)]
    began = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    took = time.perf_counter() - began
    found = [job for part in claimed for job in part]
    if len(found) != jobs or len(set(found)) != jobs:
        sys.exit(f"{len(found)} claims of {len(set(found))} jobs, there are {jobs}")
    return took


def feedback_us(store: SqlStore) -> float:
    """What one feedback with 50 jobs costs, microseconds: the best of many."""
    held = store.run(service.list_jobs, {"limit": str(BATCH), "handler": HANDLER})["jobs"]
    reports = [{"id": job["id"], "epoch": 1, "status": "in_progress", "stats": STATS} for job in held]
    best = 1e9
    for _ in range(FEEDBACKS):
        began = time.perf_counter()
        answer = store.run(service.feedback, HANDLER, {"incarnation": "1", "reports": reports})
        best = min(best, time.perf_counter() - began)
        if any(one["verdict"] != "continue" for one in answer["verdicts"]):
            sys.exit("a lease was not renewed")
    return best * 1e6


def page_us(store: SqlStore) -> float:
    """What a page of 100 jobs costs, microseconds."""
    best = 1e9
    for _ in range(20):
        began = time.perf_counter()
        store.run(service.list_jobs, {"limit": "100"})
        best = min(best, time.perf_counter() - began)
    return best * 1e6


def stores(stack: ExitStack) -> Iterator[tuple[str, object]]:
    """Name and function from a name to a URL."""
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
    yield "SQLite", lambda name: f"sqlite:///{folder / name}.db"
    if postgres.programs() is not None and os.environ.get("WITHOUT_POSTGRES") is None:
        yield "PostgreSQL", stack.enter_context(postgres.cluster(is_durable=True)).url


def main() -> None:
    """Measure both stores."""
    with ExitStack() as stack:
        for name, url in stores(stack):
            for jobs in SIZES:
                store = filled(url(f"jobs{jobs}"), jobs)  # type: ignore[operator]
                took = claim_all(store, jobs)
                say(f"a claim (batches of 50), {name}, {jobs} jobs", took / jobs * 1e9, "ns")
                if jobs == SIZES[-1]:
                    say(f"fleet, claims by {WORKERS} workers, {name}", jobs / took, "/s", CLAIMS_GOAL)
                say(f"feedback of 50 jobs, {name}, {jobs} jobs", feedback_us(store) * 1000, "ns")
                say(f"a page of 100 jobs, {name}, {jobs} jobs", page_us(store) * 1000, "ns", PAGE_GOAL_NS)
                store.close()


if __name__ == "__main__":
    main()
