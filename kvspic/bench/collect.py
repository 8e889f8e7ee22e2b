"""What a run said while it went: the rows of each second, and every agent's histograms (pure).

It looks on as an ``Observer``. Percentiles of a second come from the histograms of that second, so they are true ones;
those of all agents come from the sum.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from kvspic.bench.histogram import HistogramError, Histograms, read
from kvspic.bench.proto import LiveStats
from kvspic.bench.record import AgentRecord, Observer

__all__ = ["Collector", "Observers", "Second"]

ROWS_MAX = 100_000  # of an agent: a day
WARM_UP_STAGES = (0, 1, 11)


@dataclass(frozen=True)
class Second:
    """What one message of an agent said; counts and latencies are of the time since the one before."""

    agent_id: str
    at_s: float
    epoch_ms: int
    span_s: float
    stage: str
    is_warmup: bool
    put_ops: int
    put_bytes: int
    put_us: tuple[float, ...]  # mean, p50, p90, p99
    late_p99_us: int
    persisted: int
    persisted_us: tuple[int, ...]  # p50, p99
    meta_us: tuple[float, ...]  # mean, p50, p90, p99
    meta_ops: int
    cpu_user_percent: float
    cpu_system_percent: float
    rss_bytes: int
    errors: int


@dataclass
class _Agent:
    histograms: Histograms = field(default_factory=Histograms)
    at_s: float = 0.0
    put_ops: int = 0
    put_bytes: int = 0
    rows: list[Second] = field(default_factory=list)


class Collector:
    """Keeps what reports need. ``lines`` is the log: states, notes, one line each."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self._agents: dict[str, _Agent] = {}

    def agent_changed(self, agent: AgentRecord, at_s: float) -> None:
        """Note a new state."""
        self._agents.setdefault(agent.id, _Agent())
        why = f": {agent.error}" if agent.error else ""
        self.lines.append(f"{at_s:9.3f} {agent.id} {agent.state}{why}")

    def note(self, at_s: float, text: str) -> None:
        """Note a line."""
        self.lines.append(f"{at_s:9.3f} {text}")

    def stats(self, agent: AgentRecord, at_s: float, stats: LiveStats) -> None:
        """Take a message with figures."""
        kept = self._agents.setdefault(agent.id, _Agent())
        try:
            found, is_full = read(stats.histograms)
        except HistogramError as error:
            self.note(at_s, f"{agent.id} sent histograms that cannot be read: {error}")
            return
        if is_full:
            kept.histograms = Histograms()
        kept.histograms.add(found)
        if is_full:
            found = Histograms()
        if len(kept.rows) < ROWS_MAX and stats.status in (LiveStats.RUNNING, LiveStats.COMPLETED):
            kept.rows.append(_second(agent, at_s, stats, kept, found))
        kept.at_s, kept.put_ops, kept.put_bytes = at_s, stats.put_ops, stats.put_bytes

    def rows(self, agent_id: str) -> Sequence[Second]:
        """Return the rows of an agent."""
        return self._agents[agent_id].rows if agent_id in self._agents else ()

    def histograms(self, agent_id: str) -> Histograms:
        """Return what an agent measured, as far as it was heard."""
        return self._agents[agent_id].histograms if agent_id in self._agents else Histograms()

    def all_histograms(self) -> Histograms:
        """Return the sum of all agents."""
        total = Histograms()
        for kept in self._agents.values():
            total.add(kept.histograms)
        return total


class Observers:
    """Several onlookers as one."""

    def __init__(self, *observers: Observer) -> None:
        self._observers = observers

    def agent_changed(self, agent: AgentRecord, at_s: float) -> None:
        """As :class:`kvspic.bench.record.Observer`."""
        for observer in self._observers:
            observer.agent_changed(agent, at_s)

    def stats(self, agent: AgentRecord, at_s: float, stats: LiveStats) -> None:
        """As :class:`kvspic.bench.record.Observer`."""
        for observer in self._observers:
            observer.stats(agent, at_s, stats)

    def note(self, at_s: float, text: str) -> None:
        """As :class:`kvspic.bench.record.Observer`."""
        for observer in self._observers:
            observer.note(at_s, text)


def _second(agent: AgentRecord, at_s: float, stats: LiveStats, before: _Agent, found: Histograms) -> Second:
    puts, persisted, meta = (found.all_sizes(kind) for kind in ("PUT", "PERS", "META"))
    return Second(
        agent_id=agent.id,
        at_s=at_s,
        epoch_ms=stats.agent_timestamp_ns // 1_000_000,
        span_s=max(0.0, at_s - before.at_s) if before.rows else 1.0,
        stage=stats.stage_name,
        is_warmup=stats.current_stage in WARM_UP_STAGES,
        put_ops=max(0, stats.put_ops - before.put_ops),
        put_bytes=max(0, stats.put_bytes - before.put_bytes),
        put_us=(puts.mean_us, *map(float, puts.percentiles([50, 90, 99]))),
        late_p99_us=found.all_sizes("LATE").percentiles([99])[0],
        persisted=persisted.count,
        persisted_us=tuple(persisted.percentiles([50, 99])),
        meta_us=(meta.mean_us, *map(float, meta.percentiles([50, 90, 99]))),
        meta_ops=meta.count,
        cpu_user_percent=stats.cpu_user_percent,
        cpu_system_percent=stats.cpu_system_percent,
        rss_bytes=stats.rss_bytes,
        errors=1 if stats.error_message else 0,
    )
