"""How two runs differ, and whether the difference is more than noise (pure).

Each run is cut into up to ten parts of equal length, because neighbouring seconds resemble each other; the means of the
parts are compared by Welch's test. A difference is called real when it is three standard errors or more, which chance
makes once in several hundred comparisons, and at least one percent.
"""

from __future__ import annotations

import itertools
import math
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

__all__ = ["Difference", "compare", "differences_of_plans", "series_of"]

PARTS, PARTS_MIN = 10, 3
ERRORS = 3.0  # standard errors
SHARE_MIN = 0.01

Rows = Sequence[Mapping[str, Any]]


@dataclass(frozen=True)
class Difference:
    """One figure of two runs. ``verdict``: "real", "noise", or "too short" to tell."""

    name: str
    unit: str
    first: float
    second: float
    verdict: str

    @property
    def percent(self) -> float:
        """How much more the second has, percent of the first; infinite where the first is zero."""
        if self.first:
            return 100 * (self.second / self.first - 1)
        return math.inf if self.second else 0.0

    def __str__(self) -> str:
        change = "from zero" if math.isinf(self.percent) else f"{self.percent:+.1f} %"
        return f"{self.name:<28} {self.first:12,.2f} {self.second:12,.2f} {self.unit:<9} {change:>9}  {self.verdict}"


def compare(first: Rows, second: Rows) -> list[Difference]:
    """Compare the rows of two ``perf_log.tsv``, those that were measured."""
    found = []
    for name, (unit, _) in _FIGURES.items():
        one, other = series_of(first, name), series_of(second, name)
        if one or other:
            found.append(Difference(name, unit, _mean(one), _mean(other), _verdict(one, other)))
    return found


def series_of(rows: Rows, name: str) -> list[float]:
    """Return a figure of a run, second by second, all agents together; seconds without a value are left out.

    The first and last second of a run are left out too: they are parts of a second.
    """
    by_second: dict[int, list[Mapping[str, Any]]] = defaultdict(list)
    for row in rows:
        if not row["is_warmup"]:
            by_second[int(row["elapsed_s"])].append(row)
    seconds = [second for second in sorted(by_second) if any(row["put_ops"] for row in by_second[second])][1:-1]
    values = (_FIGURES[name][1](by_second[second]) for second in seconds)
    return [value for value in values if value is not None]


def differences_of_plans(first: Mapping[str, Any], second: Mapping[str, Any]) -> list[str]:
    """Return the fields in which two plans differ, each as words."""
    names = sorted({*first, *second})
    return [
        f"{name}: {first.get(name, '(default)')} and {second.get(name, '(default)')}"
        for name in names
        if first.get(name) != second.get(name)
    ]


def _worst(name: str, needs: str) -> Callable[[Rows], float | None]:
    def take(rows: Rows) -> float | None:
        return max((row[name] / 1000 for row in rows if row[needs]), default=None)

    return take


def _sum(*names: str) -> Callable[[Rows], float | None]:
    """The sum over the agents; an agent that was heard twice in a second counts by the mean of what it said."""

    def take(rows: Rows) -> float | None:
        said: dict[object, list[float]] = defaultdict(list)
        for row in rows:
            said[row.get("agent_id")].append(sum(row[name] for name in names))
        return sum(map(_mean, said.values()))

    return take


# Of percentiles the slowest agent's counts: percentiles of several agents have no mean.
_FIGURES: dict[str, tuple[str, Callable[[Rows], float | None]]] = {
    "frames a second": ("frames/s", _sum("put_iops")),
    "megabytes a second": ("MB/s", _sum("put_mbps")),
    "put since due, p50": ("ms", _worst("put_p50_us", "put_ops")),
    "put since due, p99": ("ms", _worst("put_p99_us", "put_ops")),
    "late, p99": ("ms", _worst("late_p99_us", "put_ops")),
    "persisted, p50": ("ms", _worst("persisted_p50_us", "persisted")),
    "persisted, p99": ("ms", _worst("persisted_p99_us", "persisted")),
    "processor time": ("% a core", _sum("cpu_user_pct", "cpu_system_pct")),
    "memory": ("MB", lambda rows: (_sum("rss_bytes")(rows) or 0.0) / 1e6),
}


def _verdict(first: Sequence[float], second: Sequence[float]) -> str:
    one, other = _parts(first), _parts(second)
    if len(one) < PARTS_MIN or len(other) < PARTS_MIN:
        return "too short"
    distance = abs(_mean(one) - _mean(other))
    error = math.sqrt(_variance(one) / len(one) + _variance(other) / len(other))
    is_small = distance < SHARE_MIN * max(abs(_mean(one)), abs(_mean(other)))
    return "noise" if is_small or distance < ERRORS * error else "real"


def _parts(values: Sequence[float]) -> list[float]:
    """The means of up to ten parts."""
    count = min(PARTS, len(values) // 2)
    bounds = [place * len(values) // count for place in range(count + 1)] if count else []
    return [_mean(values[begin:end]) for begin, end in itertools.pairwise(bounds)]


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else 0.0


def _variance(values: Sequence[float]) -> float:
    mean = _mean(values)
    return sum((value - mean) ** 2 for value in values) / max(1, len(values) - 1)
