"""What an agent asks of the load that it runs. Types only; ``load.py`` is the real one, tests have a scripted one.

One ``Workload`` is one run on one agent. The agent makes it with ``WorkloadFactory`` after the plan was validated, and
calls in this order::

    prepare (a thread; blocks)  ->  warm_up  ->  begin  ->  stop (a thread; blocks)  ->  summary
                                 snapshot at any time, from the agent's loop
                                 kill at any time, when stop was too slow

The agent keeps the time: ``warmup_s`` runs from ``warm_up``, the load goes on unmeasured until ``begin``, and the agent
calls ``stop`` ``duration_s`` after the instant that it gave to ``begin``. All instants are ``time.monotonic_ns``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

__all__ = ["Assignment", "Plan", "Snapshot", "Workload", "WorkloadError", "WorkloadFactory"]


class WorkloadError(Exception):
    """The load cannot be made or goes on no longer; the text is one sentence with cause and remedy."""


class Plan(Protocol):
    """What agent and controller read from a plan; ``kvspic.bench.plan.parse_plan(text, agents)`` makes one.

    ``parse_plan`` raises ``PlanError`` (a ``ValueError``); its text names every bad field.
    """

    @property
    def name(self) -> str:
        """1 to 64 of ``a-zA-Z0-9_-``."""

    @property
    def warmup_s(self) -> float:
        """Seconds of load before the barrier."""

    @property
    def duration_s(self) -> float:
        """Seconds that are measured."""

    @property
    def drain_s(self) -> float:
        """Seconds that the load may wait for the last fragments."""

    @property
    def start_delay_s(self) -> float:
        """Least seconds between the last READY and the start."""

    @property
    def tolerate(self) -> int:
        """How many agents may fail."""

    @property
    def spread_max_ms(self) -> float:
        """A larger spread of the starts makes the run not comparable."""

    @property
    def stall_s(self) -> float:
        """Seconds without statistics after which an agent may count as stalled."""

    @property
    def dead_s(self) -> float:
        """Seconds of silence after which the other side is given up."""

    @property
    def stream_prefix(self) -> str:
        """The beginning of each stream's name."""

    @property
    def is_shared(self) -> bool:
        """Whether all agents share one set of streams (``streams_total``), each with a slice of its own."""


@dataclass(frozen=True)
class Assignment:
    """Which part of the run an agent has.

    Attributes:
        run_id, agent_id: the run, and the agent's name in it.
        index, agents: this is agent ``index`` of ``agents``, from 0.
        prefix: the beginning of the names of streams; the same for all agents of a run.
    """

    run_id: str
    agent_id: str
    index: int
    agents: int
    prefix: str


@dataclass(frozen=True)
class Snapshot:
    """The load at one moment. Counts are of the measured window; all zero before ``begin``.

    Attributes:
        created, total: streams that are open, and that are asked for.
        put_ops, put_bytes: frames that the producer accepted, and their bytes.
        put_mean_us, put_p50_us, put_p95_us: how long a put took, microseconds from its due time.
        cpu_user_percent, cpu_system_percent: of one core, load processes and their children together.
        rss_bytes: memory of the same.
        clamped: values beyond the histograms' bounds.
        begun_ns: the monotonic moment at which the last part of the load really began to measure; 0: not yet.
        histograms: zlib of JSON ``{"full": bool, "hist": {KIND: {CLASS: V2 base64}}}``: what was recorded since the
            last snapshot, or since ``begin`` if it is full; empty when there is nothing new.
        error: not empty: the load has failed, and why.
    """

    created: int = 0
    total: int = 0
    put_ops: int = 0
    put_bytes: int = 0
    put_mean_us: float = 0.0
    put_p50_us: float = 0.0
    put_p95_us: float = 0.0
    cpu_user_percent: float = 0.0
    cpu_system_percent: float = 0.0
    rss_bytes: int = 0
    clamped: int = 0
    begun_ns: int = 0
    histograms: bytes = b""
    error: str = ""


class Workload(Protocol):
    """One run's load on one agent; see the module's docstring for the order of calls."""

    def prepare(self) -> None:
        """Create the streams and open them; blocks, in a thread of the agent.

        Raises:
            WorkloadError: it cannot be done. ``kill`` follows.
        """

    def warm_up(self) -> None:
        """Begin to put frames at the asked rate, unmeasured; returns at once."""

    def begin(self, at_ns: int) -> None:
        """Measure the frames that are due from ``at_ns`` on, for ``duration_s``; returns at once, ahead of it."""

    def snapshot(self, *, full: bool = False) -> Snapshot:
        """Return the newest figures, at any time and within a millisecond. The agent asks when it can send, so that
        what it cannot send is not lost: it is in the next one."""

    def stop(self, limit_s: float) -> None:
        """Put no more frames, wait at most ``limit_s`` for the last fragments to be persisted, close the streams and
        delete those that were created; blocks, in a thread of the agent, and at most some seconds longer.

        Raises:
            WorkloadError: the load did not end in order.
        """

    def kill(self) -> None:
        """End everything at once, from any thread, also while another call blocks, which then returns soon."""

    def summary(self) -> dict[str, Any]:
        """Return what was measured, JSON types only, at any time after ``begin``; the agent adds its own part.

        ``{measured_s, wall_s, streams, frames: {offered, put, persisted, dropped, buffered}, bytes, reconnects,
        errors: [text], clamped, cpu_percent, rss_bytes, hist: {KIND: {CLASS: V2 base64}}}``. Frames count the measured
        window. ``put = persisted + dropped + buffered``, or ``errors`` says that it is not.
        """


WorkloadFactory = Callable[[Any, Assignment], Workload]
"""(plan, assignment) -> workload; quick, opens nothing. ``kvspic.bench.load.make_workload`` is the real one.

Raises:
    WorkloadError: this agent cannot run the plan, such as an engine that it does not allow.
"""
