"""A load that does what a script says, and a plan with the times that agent and controller read. For tests."""

from dataclasses import dataclass, field, replace
from typing import Any

from kvspic.bench.plan import Plan
from kvspic.bench.workload import Assignment, Snapshot, WorkloadError

PLAN = Plan(name="sim", duration_s=5, warmup_s=2, drain_s=10, streams_per_agent=5)


@dataclass
class Script:
    """What loads do: how long the blocking calls take (None: for ever), and what goes wrong."""

    prepare_s: float | None = 0.5
    stop_s: float | None = 0.2
    prepare_error: str = ""
    stop_error: str = ""
    begin_late_ns: int = 0
    fails_after: float | None = None
    makes: str = ""


@dataclass
class ScriptedLoad:
    """One workload; ``calls`` is what the agent asked of it."""

    script: Script
    plan: Any
    assignment: Assignment
    calls: list[str] = field(default_factory=list)
    begun_ns: int = 0
    ops: int = 0
    error: str = ""
    fulls: int = 0

    def prepare(self) -> None:
        """Not called in the simulation, which answers for it after ``prepare_s``."""
        raise WorkloadError("the simulation answers for blocking calls")

    stop = prepare

    def warm_up(self) -> None:
        self.calls.append("warm_up")

    def begin(self, at_ns: int) -> None:
        self.calls.append("begin")
        self.begun_ns = at_ns + self.script.begin_late_ns

    def snapshot(self, *, full: bool = False) -> Snapshot:
        self.fulls += full
        return Snapshot(
            created=self.plan.streams_per_agent, total=self.plan.streams_per_agent, put_ops=self.ops,
            begun_ns=self.begun_ns, histograms=b"full" if full else b"delta", error=self.error,
        )  # fmt: skip

    def kill(self) -> None:
        self.calls.append("kill")

    def summary(self) -> dict[str, Any]:
        return {"frames": {"put": 7, "persisted": 7, "dropped": 0, "buffered": 0}, "errors": []}


def plan_text(**fields: Any) -> str:
    """The scripted plan as YAML, some fields changed."""
    return replace(PLAN, **fields).to_yaml()
