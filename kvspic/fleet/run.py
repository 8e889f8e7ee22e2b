"""``kvspic fleet run``: cameras of one file, with server, worker and page in one process over SQLite beside the file.

The same code as on many machines; the worker reaches its server over HTTP on loopback. What was changed by command or
page is kept over a restart; what the file says is applied at each start.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from kvspic.fleet import service
from kvspic.fleet.identity import plain_name
from kvspic.fleet.page import MediaPlace
from kvspic.fleet.server import FleetServer
from kvspic.fleet.store import open_store
from kvspic.fleet.worker import Worker, WorkerSettings

__all__ = ["RunPlan", "run_fleet"]

SLOTS_MIN = 50


@dataclass(frozen=True)
class RunPlan:
    """What to run.

    Attributes:
        file: of the cameras; database and spool lie beside it. bodies: the cameras, as ``POST /v1/jobs`` takes them.
        host, port: of the page and REST; port 0 takes a free one. prune: delete cameras that the file does not have.
        settings: of the worker. on_ready: gets the URL, and counts: created, replaced, unchanged, deleted.
    """

    file: Path
    bodies: Sequence[Any]
    host: str = "127.0.0.1"
    port: int = 0
    prune: bool = False
    settings: WorkerSettings = field(default_factory=WorkerSettings)
    on_ready: Callable[[str, dict[str, int]], None] = lambda url, counts: None

    @property
    def store_path(self) -> Path:
        """The database."""
        return self.file.with_suffix(".db")


def run_fleet(plan: RunPlan) -> int:
    """Run until SIGTERM or Ctrl-C; then flush all cameras and return 0. Other codes as of
    :func:`kvspic.fleet.worker.run_worker`.

    Raises:
        FleetError: the database cannot be used, or a camera is wrong; nothing was changed.
    """
    store = open_store(f"sqlite:///{plan.store_path}")
    try:
        counts = store.run(service.apply_jobs, {"jobs": list(plan.bodies), "prune": plan.prune})
        place = MediaPlace(plan.settings.endpoint_url, plan.settings.region)
        server = FleetServer(store, plan.host, plan.port, place=place)
        return asyncio.run(_run(server, plan, counts))
    finally:
        store.close()


async def _run(server: FleetServer, plan: RunPlan, counts: dict[str, int]) -> int:
    async with server:
        settings = replace(
            plan.settings,
            spool=plan.settings.spool or plan.file.with_suffix(".spool"),
            state=plan.settings.state or plan.file.resolve().parent,
        )
        slots = max(SLOTS_MIN, len(plan.bodies))
        worker = Worker(server.url, slots=slots, name=plain_name(f"local-{plan.file.stem}"), settings=settings)
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            with contextlib.suppress(NotImplementedError, RuntimeError, ValueError):
                loop.add_signal_handler(number, worker.stop)
        plan.on_ready(server.url, counts)
        return await worker.run()
