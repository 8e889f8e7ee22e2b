"""One run as its agent sees it: what is known, the messages that must arrive, and how its messages are made. Pure.

Sequences rise by one in a run, over all of its calls. A *critical* message (a change of state, an error, the summary,
the barrier) is kept and sent again every 2 s until it is acknowledged; figures are made when they can be sent, so that
only the newest ones ever wait.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from kvspic.bench.clock import Moment
from kvspic.bench.proto import LiveStats
from kvspic.bench.workload import Assignment, Plan, Snapshot, Workload

__all__ = ["STAGES", "Run", "seconds"]

RESEND_NS = 2_000_000_000
STAGES = {0: "", 1: "prepare", 2: "workload", 3: "cleanup", 11: "warm-up", 12: "drain"}


def seconds(value: float) -> int:
    """Return nanoseconds."""
    return int(value * 1e9)


@dataclass
class Run:
    """A run, from its START on until ten minutes after its end.

    Attributes:
        call: the call of its controller; None while there is none.
        stage: a key of STAGES.
        start_ns, begin_ns: monotonic; 0: not known yet.
        prepared, is_stopping: whether ``prepare`` has returned, whether ``stop`` was ordered.
        abort_ns: when the abort began; 0: there is none.
        wants_full: the next message carries all histograms.
    """

    assignment: Assignment
    plan: Plan
    controller: str
    begun: Moment
    call: int | None = None
    heard_ns: int = 0
    sequence: int = 0
    gaps: int = 0
    status: LiveStats.Status = LiveStats.READY
    stage: int = 0
    start_ns: int = 0
    started_wall_ns: int = 0
    warm_ns: int = 0
    at_barrier: bool = False
    begin_ns: int = 0
    stop_ns: int = 0
    abort_ns: int = 0
    prepared: bool = False
    is_stopping: bool = False
    is_killed: bool = False
    wants_full: bool = False
    ended_ns: int = 0
    stats_ns: int = 0
    error: str = ""
    summed: bytes = b""
    workload: Workload | None = None
    shown: Snapshot = field(default_factory=Snapshot)
    final: LiveStats | None = None
    pending: dict[int, tuple[LiveStats, int]] = field(default_factory=dict)

    @property
    def run_id(self) -> str:
        """The run's id."""
        return self.assignment.run_id

    def look(self, *, full: bool = False) -> Snapshot:
        """Ask the load for its figures, and keep them."""
        if self.workload is not None:
            self.shown = self.workload.snapshot(full=full)
        return self.shown

    def message(self, now: Moment, **fields: Any) -> LiveStats:
        """Return the next message of the run: where it is, its newest figures, and ``fields``."""
        self.sequence += 1
        shown = self.look(full=self.wants_full)
        self.wants_full = False
        started = self.started_wall_ns
        if self.stage in (2, 12, 3):
            started = now.wall_ns - (now.mono_ns - shown.begun_ns) if shown.begun_ns else 0
        made = {
            "agent_id": self.assignment.agent_id,
            "run_id": self.run_id,
            "sequence": self.sequence,
            "timestamp_s": now.wall_ns / 1e9,
            "agent_timestamp_ns": now.wall_ns,
            "status": self.status,
            "elapsed_s": max(0, now.mono_ns - self.start_ns) / 1e9 if self.start_ns else 0.0,
            "current_stage": self.stage,
            "stage_name": STAGES[self.stage],
            "in_prepare_phase": self.stage == 1,
            "at_barrier": self.at_barrier,
            "prepare_objects_created": shown.created,
            "prepare_objects_total": shown.total,
            "put_ops": shown.put_ops,
            "put_bytes": shown.put_bytes,
            "put_mean_us": shown.put_mean_us,
            "put_p50_us": shown.put_p50_us,
            "put_p95_us": shown.put_p95_us,
            "cpu_user_percent": shown.cpu_user_percent,
            "cpu_system_percent": shown.cpu_system_percent,
            "cpu_total_percent": shown.cpu_user_percent + shown.cpu_system_percent,
            "rss_bytes": shown.rss_bytes,
            "clamped": shown.clamped,
            "histograms": shown.histograms,
            "gaps": self.gaps,
            "started_ns": started,
        }
        return LiveStats(**{**made, **fields})

    def say(self, now: Moment, **fields: Any) -> LiveStats:
        """Make a critical message; it waits in ``pending`` for its acknowledgement."""
        made = self.message(now, **fields)
        self.pending[made.sequence] = (made, now.mono_ns)
        return made

    def summary(self) -> dict[str, Any]:
        """Return what was measured, with the agent's own part; only that when nothing was measured."""
        assert self.workload is not None
        begun_ns = self.shown.begun_ns
        return {
            **(self.workload.summary() if self.begin_ns else {}),
            "agent_id": self.assignment.agent_id,
            "run_id": self.run_id,
            "start_error_us": (begun_ns - self.begin_ns) / 1000 if begun_ns and self.begin_ns else None,
        }

    def acknowledge(self, sequence: int) -> None:
        """A critical message arrived."""
        self.pending.pop(sequence, None)

    def resume(self, call: int, seen: int, now: Moment) -> None:
        """A controller is back on a new call, and has seen all up to ``seen``: the rest and all figures follow."""
        self.call, self.heard_ns = call, now.mono_ns
        self.pending = {number: (made, now.mono_ns) for number, (made, _) in self.pending.items() if number > seen}
        if self.final is not None:
            self.pending[self.final.sequence] = (self.final, now.mono_ns)
        self.wants_full, self.stats_ns = True, now.mono_ns

    def take(self, now: Moment) -> LiveStats | None:
        """Return what is to be sent now, critical messages first; None when there is nothing."""
        for number, (made, due_ns) in self.pending.items():
            if due_ns <= now.mono_ns:
                self.pending[number] = (made, now.mono_ns + RESEND_NS)
                return made
        if self.ended_ns or self.stats_ns > now.mono_ns:
            return None
        self.stats_ns = max(self.stats_ns + seconds(1), now.mono_ns + seconds(0.5))
        return self.message(now)

    def deadlines(self) -> Iterator[int]:
        """When this run next has something to do or to say, monotonic nanoseconds, for what is awaited now."""
        if self.call is not None:
            yield from (due_ns for _, due_ns in self.pending.values())
        if self.ended_ns:
            return
        yield self.stats_ns
        yield self.heard_ns + seconds(self.plan.dead_s)
        for moment_ns in (self.start_ns if self.stage == 0 else 0, self.warm_ns, self.stop_ns):
            if moment_ns:
                yield moment_ns
