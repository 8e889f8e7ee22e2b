"""The live view of a run: agents with states and rates, and the true percentiles of all of them together.

On a terminal it is a table that rich draws again; elsewhere it is one plain line a second. It shows the last second's
histograms, added over the agents, so that a percentile is one of all frames of that second.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Any

from kvspic.bench.histogram import HistogramError, Histograms, read
from kvspic.bench.proto import LiveStats
from kvspic.bench.record import AgentRecord

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["LiveView", "Numbers"]

INTERVAL_S = 1.0
ROWS_MAX = 30  # agents in the table; of more, those with errors come first
NOTES_MAX = 5


@dataclass
class _Row:
    agent: AgentRecord
    at_s: float = 0.0
    ops: int = 0
    size: int = 0
    frames_per_s: float = 0.0
    bits_per_s: float = 0.0
    stats: LiveStats | None = None


class Numbers:
    """What the view shows (pure): rates from the counts of two messages, percentiles of the last interval."""

    def __init__(self) -> None:
        self.rows: dict[str, _Row] = {}
        self.notes: list[str] = []
        self._heard = Histograms()

    def state(self, agent: AgentRecord) -> None:
        """Take an agent's new state."""
        self.rows.setdefault(agent.id, _Row(agent)).agent = agent

    def stats(self, agent: AgentRecord, at_s: float, stats: LiveStats) -> None:
        """Take a message with figures."""
        row = self.rows.setdefault(agent.id, _Row(agent))
        span = at_s - row.at_s
        if row.stats is not None and span >= 0.1:
            row.frames_per_s = max(0, stats.put_ops - row.ops) / span
            row.bits_per_s = 8 * max(0, stats.put_bytes - row.size) / span
        if row.stats is None or span >= 0.1:
            row.at_s, row.ops, row.size = at_s, stats.put_ops, stats.put_bytes
        row.stats = stats
        try:
            found, is_full = read(stats.histograms)
        except HistogramError:
            return
        if not is_full:
            self._heard.add(found)

    def note(self, text: str) -> None:
        """Take a line."""
        self.notes = [*self.notes, text][-NOTES_MAX:]

    def take_percentiles(self) -> dict[str, tuple[int, int]]:
        """Return p50 and p99 of each kind since the last call, microseconds."""
        heard, self._heard = self._heard, Histograms()
        made = {}
        for kind in ("PUT", "LATE", "PERS"):
            one = heard.all_sizes(kind)
            if one.counts:
                p50, p99 = one.percentiles([50, 99])
                made[kind] = p50, p99
        return made

    def line(self, at_s: float) -> str:
        """Return everything as one line."""
        states: dict[str, int] = {}
        for row in self.rows.values():
            states[row.agent.state] = states.get(row.agent.state, 0) + 1
        counts = ", ".join(f"{count} {state}" for state, count in sorted(states.items()))
        frames = sum(row.frames_per_s for row in self.rows.values())
        bits = sum(row.bits_per_s for row in self.rows.values())
        parts = [f"{at_s:7.1f} s  {counts}", f"{frames:,.0f} frames/s", f"{bits / 1e6:,.1f} Mbit/s"]
        parts += [f"{kind} p50 {_ms(p50)} p99 {_ms(p99)} ms" for kind, (p50, p99) in self.take_percentiles().items()]
        failed = [row for row in self.rows.values() if row.agent.error]
        parts += [f"{len(failed)} with errors, such as {failed[0].agent.id}: {failed[0].agent.error}"] if failed else []
        return "; ".join(parts)


class LiveView:
    """An ``Observer`` that shows a run; use it in a ``with`` block. ``console``: where to, of rich.

    ``now_s`` is a clock for the pace of the drawing.
    """

    def __init__(self, console: Any, now_s: Callable[[], float] = time.monotonic) -> None:
        self.numbers = Numbers()
        self._console, self._now_s = console, now_s
        self._drawn_s = -INTERVAL_S
        self._live: Any = None

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            from rich.live import Live

            self._live = Live(console=self._console, auto_refresh=False, transient=False)
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.stop()
            self._live = None

    def agent_changed(self, agent: AgentRecord, at_s: float) -> None:
        """Show an agent's new state."""
        self.numbers.state(agent)
        if self._live is None:
            why = f": {agent.error}" if agent.error else ""
            self._print(f"{at_s:7.1f} s  {agent.id} is {agent.state}{why}")
        else:
            self._draw(at_s)

    def stats(self, agent: AgentRecord, at_s: float, stats: LiveStats) -> None:
        """Show an agent's figures."""
        self.numbers.stats(agent, at_s, stats)
        self._draw(at_s)

    def note(self, at_s: float, text: str) -> None:
        """Show a line."""
        self.numbers.note(f"{at_s:7.1f} s  {text}")
        if self._live is None:
            self._print(f"{at_s:7.1f} s  {text}")

    def _draw(self, at_s: float) -> None:
        """Draw again, at most once a second."""
        now_s = self._now_s()
        if now_s - self._drawn_s < INTERVAL_S:
            return
        self._drawn_s = now_s
        if self._live is None:
            self._print(self.numbers.line(at_s))
        else:
            self._live.update(self._table(at_s), refresh=True)

    def _print(self, text: str) -> None:
        self._console.print(text, markup=False, highlight=False, soft_wrap=True)

    def _table(self, at_s: float) -> Any:
        from rich.console import Group
        from rich.table import Table
        from rich.text import Text

        table = Table(expand=False)
        for name in ("agent", "state", "stage", "streams", "frames/s", "Mbit/s", "CPU %", "RSS MB", "error"):
            table.add_column(name, justify="left" if name in ("agent", "state", "stage", "error") else "right")
        rows = sorted(self.numbers.rows.values(), key=lambda row: not row.agent.error)
        for row in rows[:ROWS_MAX]:
            table.add_row(*(Text(cell) for cell in _cells(row)))
        left = [Text(f"and {len(rows) - ROWS_MAX} more agents")] if len(rows) > ROWS_MAX else []
        return Group(table, *left, Text(self.numbers.line(at_s)), *(Text(note) for note in self.numbers.notes))


def _cells(row: _Row) -> tuple[str, ...]:
    stats = row.stats
    streams = f"{stats.prepare_objects_created}/{stats.prepare_objects_total}" if stats is not None else ""
    cpu = f"{stats.cpu_total_percent:.0f}" if stats is not None else ""
    memory = f"{stats.rss_bytes / 1e6:.0f}" if stats is not None else ""
    rates = f"{row.frames_per_s:,.0f}", f"{row.bits_per_s / 1e6:,.1f}"
    stage = "" if stats is None else stats.stage_name
    return row.agent.id, row.agent.state, stage, streams, *rates, cpu, memory, row.agent.error


def _ms(us: int) -> str:
    return f"{us / 1000:,.1f}" if us < 100_000 else f"{us / 1000:,.0f}"
