"""The fleet: camera uploads that are kept running on one machine or on many, with statuses that are true.

A server keeps jobs (``statuses``, ``autorestart``, ``jobs``, ``lease`` and ``placement`` are pure; ``service`` has the
operations, ``store`` the database). A worker carries jobs and never loads the database code. The names below are loaded
when they are first used, so that a client needs neither a worker's packages nor a server's.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kvspic.fleet.calls import FleetUnreachableError, Job, LogRecord
    from kvspic.fleet.client import AsyncFleetClient, FleetClient
    from kvspic.fleet.errors import FleetError
    from kvspic.fleet.server import FleetServer
    from kvspic.fleet.store import open_store
    from kvspic.fleet.worker import WorkerSettings, run_worker

__all__ = [
    "AsyncFleetClient",
    "FleetClient",
    "FleetError",
    "FleetServer",
    "FleetUnreachableError",
    "Job",
    "LogRecord",
    "WorkerSettings",
    "open_store",
    "run_worker",
]

_PLACES = {
    "AsyncFleetClient": "client",
    "FleetClient": "client",
    "FleetError": "errors",
    "FleetServer": "server",
    "FleetUnreachableError": "calls",
    "Job": "calls",
    "LogRecord": "calls",
    "WorkerSettings": "worker",
    "open_store": "store",
    "run_worker": "worker",
}


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"kvspic.fleet.{_PLACES[name]}"), name)
