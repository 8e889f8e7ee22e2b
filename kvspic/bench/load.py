"""The load of one agent: prepared pictures, put by processes of their own through the public facade.

The agent's own process puts no frame, so that it always answers the controller. ``make_workload`` is what an agent
asks; the engine ``command`` is in ``engines.py``.
"""

from __future__ import annotations

import os
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

from kvspic.bench.engines import CommandLoad
from kvspic.bench.group import ENDED, Group, Place
from kvspic.bench.histogram import Histograms
from kvspic.bench.pace import lanes_of
from kvspic.bench.pictures import make_pictures
from kvspic.bench.plan import Plan
from kvspic.bench.probe import Cost, Probe
from kvspic.bench.service import created_streams, delete_streams, stream_names
from kvspic.bench.target import LocalTarget
from kvspic.bench.workload import Assignment, Snapshot, Workload, WorkloadError

__all__ = ["Load", "make_workload", "processes_for"]

READY_S, READY_PER_STREAM_S = 60.0, 0.2  # how long opening may take
TICK_S = 1.0


def make_workload(plan: Plan, assignment: Assignment, *, allows_command: bool = False) -> Workload:
    """Return the load of an agent; ``allows_command``: whether a plan may run commands on this machine.

    Raises:
        WorkloadError: the plan wants a command, and they are not allowed.
    """
    if plan.engine == "kvspic":
        return Load(plan, assignment)
    if not allows_command:
        raise WorkloadError("The plan runs a command, which this agent does not allow: start it with --allow-command.")
    return CommandLoad(plan, assignment)


def processes_for(plan: Plan, streams: int) -> int:
    """Return how many processes put the frames of so many streams: one for each core, if the plan says nothing."""
    return max(1, min(streams, plan.processes or os.cpu_count() or 1))


class Load:
    """The engine ``kvspic``; see :class:`kvspic.bench.workload.Workload` for what each method promises."""

    def __init__(self, plan: Plan, assignment: Assignment) -> None:
        self._plan = plan
        numbers = plan.slice(assignment.index, assignment.agents)
        self._numbers = numbers
        self._names = stream_names(assignment.prefix, numbers)
        self._agents = assignment.agents
        self._folder = tempfile.TemporaryDirectory(prefix="kvspic-bench-")
        self._group = Group()
        self._target: LocalTarget | None = None
        self._place = Place("", plan.region, 1 / assignment.agents)
        self._created: list[str] = []
        self._costs: list[Cost] = []
        self._cost = Cost()
        self._target_cost = Cost()
        self._put_us = (0.0, 0.0, 0.0)
        self._unsent = Histograms()
        self._packed = b""
        self._lock = threading.Lock()
        self._is_over = threading.Event()
        self._ticker = threading.Thread(target=self._tick, name="kvspic-bench-figures", daemon=True)
        self._from_ns = self._end_ns = 0
        self._warmed_ns = 0

    def prepare(self) -> None:
        """Make the pictures, start the processes, and open the streams."""
        try:
            self._prepare()
        except WorkloadError:
            raise
        except (OSError, ValueError) as error:
            if self._is_over.is_set():  # kill() took the folder away
                raise WorkloadError(ENDED) from None
            raise WorkloadError(f"The load cannot be prepared: {error}") from error

    def _prepare(self) -> None:
        plan, count = self._plan, len(self._names)
        pictures = Path(self._folder.name) / "pictures"
        made = make_pictures(plan.fps, plan.frames_per_gop, plan.kbps, plan.seed)
        pictures.write_bytes(made.pack())
        if plan.endpoint == "local":
            with self._lock:
                if self._is_over.is_set():
                    raise WorkloadError(ENDED)
                self._target = LocalTarget()
            self._place = Place(self._target.url(), plan.region, 0)
        elif plan.endpoint != "aws":
            self._place = Place(plan.endpoint, plan.region, self._place.call_share)
        if self._target is None and not plan.keep_streams:
            self._created = created_streams(self._place.url, plan.region, self._names)
        processes = processes_for(plan, count)
        self._group.start(processes, plan, self._place, pictures, count)
        self._group.open(self._names, lanes_of(self._numbers, plan.fps, plan.frames_per_gop, plan.phase, plan.seed))
        self._ticker.start()
        self._group.wait_ready(READY_S + READY_PER_STREAM_S * count)

    def warm_up(self) -> None:
        """Begin to put frames, not measured."""
        self._warmed_ns = time.monotonic_ns()
        self._group.warm_up()

    def begin(self, at_ns: int) -> None:
        """Measure the plan's duration from ``at_ns`` on."""
        self._from_ns = at_ns
        self._group.measure(at_ns, self._plan.duration_s, then_end=True)

    def snapshot(self, *, full: bool = False) -> Snapshot:
        """Return the newest figures."""
        outcome, cost, group = self._group.outcome(), self._cost, self._group
        with self._lock:
            packed, self._packed, self._unsent = self._packed, b"", Histograms()
        if full:
            packed = group.everything().pack(is_full=True)
        mean_us, p50_us, p95_us = self._put_us
        return Snapshot(
            created=group.ready_count,
            total=len(self._names),
            put_ops=outcome.put,
            put_bytes=outcome.bytes,
            put_mean_us=mean_us,
            put_p50_us=p50_us,
            put_p95_us=p95_us,
            cpu_user_percent=cost.user_percent,
            cpu_system_percent=cost.system_percent,
            rss_bytes=cost.rss_bytes,
            clamped=group.clamped,
            begun_ns=group.begun_ns,
            histograms=packed,
            error=self._broken(),
        )

    def _broken(self) -> str:
        """Why the load cannot go on; empty while it can."""
        return ("" if self._target is None else self._target.error) or self._group.error

    def stop(self, limit_s: float) -> None:
        """Put no more, wait for the last fragments, close the streams, delete those that this load created."""
        self._end_ns = time.monotonic_ns()
        try:
            self._group.stop(limit_s)
        finally:
            self._finish()
        self._pack()
        delete_streams(self._place.url, self._plan.region, self._created)

    def kill(self) -> None:
        """End everything at once."""
        self._group.kill()
        self._finish()

    def _finish(self) -> None:
        with self._lock:
            self._is_over.set()
        if self._target is not None:
            self._target.end()
        self._folder.cleanup()

    def summary(self) -> dict[str, Any]:
        """Return what was measured."""
        outcome, group = self._group.outcome(), self._group
        end_ns = self._end_ns or time.monotonic_ns()
        measured_s = max(0.0, min(self._plan.duration_s, (end_ns - self._from_ns) / 1e9)) if self._from_ns else 0.0
        errors = [*outcome.errors, *([self._broken()] if self._broken() else [])]
        if not outcome.adds_up and not errors:
            errors.append(f"The ledger does not add up: {outcome}.")
        costs = self._costs
        return {
            "measured_s": measured_s,
            "wall_s": (time.monotonic_ns() - self._warmed_ns) / 1e9 if self._warmed_ns else 0.0,
            "streams": len(self._names),
            "frames": {
                "offered": outcome.offered,
                "put": outcome.put,
                "persisted": outcome.persisted,
                "dropped": outcome.dropped,
                "buffered": outcome.buffered,
            },
            "bytes": outcome.bytes,
            "reconnects": outcome.reconnects,
            "errors": errors,
            "clamped": group.clamped,
            "cpu_percent": _mean([cost.cpu_percent for cost in costs]),
            "machine_cpu_percent": _mean([cost.machine_percent for cost in costs]),
            "endpoint_cpu_percent": self._target_cost.cpu_percent,
            "rss_bytes": max([cost.rss_bytes for cost in costs], default=self._cost.rss_bytes),
            "hist": group.everything().to_json(),
        }

    # The thread that keeps the figures ready.

    def _tick(self) -> None:
        probe = Probe(self._group.process_ids)
        beside = Probe([] if self._target is None else [self._target.process_id])
        while not self._is_over.wait(TICK_S):
            self._cost, endpoint = probe.look(), beside.look()
            now_ns = time.monotonic_ns()
            if self._from_ns and self._from_ns <= now_ns and not self._end_ns:
                self._costs.append(self._cost)
                self._target_cost = endpoint
            self._pack()

    def _pack(self) -> None:
        new = self._group.take()
        puts = new.all_sizes("PUT")
        if puts.counts:
            p50_us, p95_us = puts.percentiles([50, 95])
            self._put_us = puts.mean_us, float(p50_us), float(p95_us)
        with self._lock:
            self._unsent.add(new)
            self._packed = self._unsent.pack() if list(self._unsent) else b""


def _mean(values: list[float]) -> float:
    return sum(values) / len(values) if values else 0.0
