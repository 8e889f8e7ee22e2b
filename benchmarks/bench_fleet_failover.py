"""How long 60 cameras are without a worker: their machine is gone, or their worker was killed and came back at once.

Real processes over SQLite, lease 4 s; the cameras are frames without an encoder. "claimed" is from the kill to the
moment in the log at which the last of the 60 was claimed again; "persisted" from the kill to the moment at which the
last of them had a fragment persisted again.
"""

from __future__ import annotations

import contextlib
import sys
import tempfile
import time
from datetime import datetime
from pathlib import Path
from typing import Any

from report import say

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))
from timed.fleet_machines import Machine, call, free_port, until, wait_up, worker

from kvspic.local.server import LocalEndpoint
from kvspic.local.settings import Settings

__all__: list[str] = []

JOBS = 60
LEASE_S = 4
MACHINE_GOAL_S, PROCESS_GOAL_S = LEASE_S + 2, 3
SOURCE = {"type": "test", "url": "testsrc"}  # opened as a counted camera, see fleet_counted.py


def main() -> None:
    """Measure both."""
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        endpoint = stack.enter_context(
            LocalEndpoint.run_in_thread(data_dir=folder / "data", settings=Settings.unlimited())
        )
        port = free_port()
        url = f"http://127.0.0.1:{port}"
        serve = [sys.executable, "-m", "kvspic", "fleet", "serve", "--store", folder / "fleet.db"]
        stack.enter_context(Machine([*serve, "--listen", f"127.0.0.1:{port}"], folder / "server.log"))
        wait_up(url)
        call(f"{url}/v1/settings", "PUT", {"lease_s": LEASE_S, "spread_s": 0})
        (folder / "ledgers").mkdir()
        first, second = (
            worker([url], folder, name, endpoint=endpoint.url, ledgers=folder / "ledgers", slots=JOBS)
            for name in ("first", "second")
        )
        stack.enter_context(first)
        call(f"{url}/v1/apply", "POST", {"jobs": [{"name": f"cam{n}", "source": SOURCE} for n in range(JOBS)]})
        until(lambda: persisting(url, 1), "all cameras are carried", 120)
        first_kill = time.time()
        first.kill()
        first.start()
        show(url, "process", first_kill, 2, PROCESS_GOAL_S)
        stack.enter_context(second)
        until(lambda: len(call(f"{url}/v1/handlers")["handlers"]) == 2, "the second worker has come", 60)
        second_kill = time.time()
        first.kill()
        show(url, "machine", second_kill, 3, MACHINE_GOAL_S)
        second.end()


def jobs(url: str) -> list[dict[str, Any]]:
    """All jobs."""
    found: list[dict[str, Any]] = call(f"{url}/v1/jobs?limit=1000")["jobs"]
    return found


def persisting(url: str, epoch: int) -> bool:
    """Whether each camera has had a fragment persisted in this epoch."""
    return all(job["epoch"] == epoch and ((job["stats"] or {}).get("health")) for job in jobs(url))


def show(url: str, what: str, killed: float, epoch: int, goal_s: float) -> None:
    """Wait until all is well again, and print the figures."""
    until(lambda: persisting(url, epoch), f"all cameras are carried in epoch {epoch}", 120)
    persisted = time.time() - killed
    claimed = max(moment(job["status_since"]) for job in jobs(url)) - killed
    say(f"fleet failover, {what}: {JOBS} cameras claimed", claimed, "s", goal_s)
    say(f"fleet failover, {what}: {JOBS} cameras persisted", persisted, "s")


def moment(text: str) -> float:
    """Seconds since 1970."""
    return datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()


if __name__ == "__main__":
    main()
