"""What a run gave, as the controller hands it to the reports, and the observers of a run that goes on. Types only."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Protocol

from kvspic.bench.proto import LiveStats

__all__ = ["AgentRecord", "Observer", "RunRecord"]


@dataclass
class AgentRecord:
    """One agent's part of a run.

    Attributes:
        id, address: both as given; they are the same unless the controller started the agent itself.
        state, error: the last state of the controller's machine, and why if it failed.
        offset_ns, bound_ns, rtt_ns: the agent's wall clock less the controller's, the bound of its error, the shortest
            round trip; 0 where none was measured.
        started_ns: when it began to measure, by the controller's wall clock; 0: not reported.
        reconnects, gaps: calls opened again; messages that were missing in a sequence.
        states: (seconds since the run began, state), each change.
        last: the newest message with figures.
        summary: what the agent sent at its end, with ``agent_id``, ``run_id`` and ``start_error_us``; else None.
    """

    id: str
    address: str
    state: str = "connecting"
    error: str = ""
    offset_ns: int = 0
    bound_ns: int = 0
    rtt_ns: int = 0
    started_ns: int = 0
    reconnects: int = 0
    gaps: int = 0
    states: list[tuple[float, str]] = field(default_factory=list)
    last: LiveStats | None = None
    summary: dict[str, Any] | None = None


@dataclass
class RunRecord:
    """A whole run.

    Attributes:
        plan_yaml: the plan as it was given.
        begun_s: wall clock of the controller, seconds since the epoch.
        wall_s: how long it took altogether.
        exit_code, reason: what the command ends with (``docs/bench.md``), and a sentence; empty when all is well.
        is_comparable: False when the spread of the starts was too large.
        start_spread_us: latest less earliest ``started_ns`` of the agents that reported one; None with less than two.
        agents: in the order given.
        notes: what the controller logged, a line each.
    """

    run_id: str
    name: str
    plan_yaml: str
    begun_s: float
    wall_s: float = 0.0
    exit_code: int = 0
    reason: str = ""
    is_comparable: bool = True
    start_spread_us: float | None = None
    agents: list[AgentRecord] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


class Observer(Protocol):
    """Looks on: the live view, the log of each second. Called in the controller's loop, so each call returns soon."""

    def agent_changed(self, agent: AgentRecord, at_s: float) -> None:
        """``agent`` entered ``agent.state``, ``at_s`` seconds after the run began."""

    def stats(self, agent: AgentRecord, at_s: float, stats: LiveStats) -> None:
        """A message with figures came; its ``histograms`` are new values, or all of them if they say ``full``."""

    def note(self, at_s: float, text: str) -> None:
        """Something worth a line happened."""
