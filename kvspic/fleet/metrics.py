"""A server's figures for Prometheus: jobs by status, the queue, workers, losses, restarts, and its requests.

``kvspic_fleet_queue_length`` is what a scaler of workers looks at (``deploy/kubernetes``). No name of a job is a label:
ten thousand cameras would be ten thousand series.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from kvspic.fleet.causes import STATUSES, HandlerState

__all__ = ["Figures", "Metrics"]

_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)


@dataclass(frozen=True)
class Figures:
    """What a scrape asks of the store and of the server."""

    counts: Mapping[str, int]
    handlers: list[dict[str, Any]]
    lost_count: int
    restarted_count: int
    is_master: bool
    waiting_count: int


class Metrics:
    """The figures of one server."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        new: dict[str, Any] = {"registry": self._registry}
        self._jobs = Gauge("kvspic_fleet_jobs", "Jobs by status", ["status"], **new)
        self._queue = Gauge("kvspic_fleet_queue_length", "Jobs that wait for a worker", **new)
        self._handlers = Gauge("kvspic_fleet_handlers", "Workers by state", ["state"], **new)
        self._slots = Gauge("kvspic_fleet_slots", "Cameras that the ready workers may carry", **new)
        self._lost = Counter("kvspic_fleet_lost", "Jobs that this server declared lost", **new)
        self._restarted = Counter("kvspic_fleet_restarted", "Jobs that this server restarted", **new)
        self._seen = (0, 0)  # of both, at the last scrape
        self._master = Gauge("kvspic_fleet_master", "1 where this server does the upkeep", **new)
        self._waiting = Gauge("kvspic_fleet_polls_waiting", "Long polls that wait here", **new)
        self._requests = Counter("kvspic_fleet_requests", "Answers by call and status", ["call", "status"], **new)
        self._seconds = Histogram(
            "kvspic_fleet_request_seconds", "Time of answers by call; polls wait for work", ["call"],
            buckets=_BUCKETS, **new,
        )  # fmt: skip

    def answered(self, call: str, status: int, seconds: float) -> None:
        """Count an answer."""
        self._requests.labels(call, str(status)).inc()
        self._seconds.labels(call).observe(seconds)

    def text(self, figures: Figures) -> bytes:
        """Return all figures in Prometheus' text form."""
        for status in STATUSES:
            self._jobs.labels(str(status)).set(figures.counts.get(status, 0))
        self._queue.set(figures.counts.get("pending", 0))
        states = [one["state"] for one in figures.handlers]
        for state in HandlerState:
            self._handlers.labels(str(state)).set(states.count(state))
        self._slots.set(sum(one["slots"] for one in figures.handlers if one["state"] == HandlerState.READY))
        self._lost.inc(figures.lost_count - self._seen[0])
        self._restarted.inc(figures.restarted_count - self._seen[1])
        self._seen = (figures.lost_count, figures.restarted_count)
        self._master.set(figures.is_master)
        self._waiting.set(figures.waiting_count)
        return generate_latest(self._registry)
