"""Figures as tables for a terminal: goal beside measured, and growth with the backlog, the streams, the threads (pure).

A figure is what a benchmark printed (``report.say``). One whose name ends in ", backlog 1000", ", 100 streams" ", 2
threads" or ", 100 jobs" is a point of a growing series and is shown in the table of its axis; all others are rows of
their benchmark.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any

__all__ = ["Figure", "goal_lines", "growth_lines", "has_reached", "is_growth", "summary"]

Figure = dict[str, Any]

RATES = ("GB/s", "MB/s", "x", "/us", "/s")  # more is better; of all else less is
LARGER = {"ns": ("us", 1000), "us": ("ms", 1000), "bytes": ("KB", 1024)}
POINT = re.compile(
    r"(?P<series>.+), (?:backlog (?P<backlog>\d+)|(?P<streams>\d+) streams|(?P<threads>\d+) threads|(?P<jobs>\d+) jobs)"
)
AXES = {
    "backlog": "frames of backlog: unsent, or sent and not acknowledged",
    "streams": "streams of one client, each with an open session",
    "threads": "threads, each with a stream of its own: frames put, read and acknowledged",
    "jobs": "jobs of a fleet",
}
PIC = "pic.h, "
HEADS = {"jobs": "fleet"}


def amount(value: float, unit: str) -> str:
    """A figure for people: three digits, and a unit in which it is not long."""
    while unit in LARGER and value >= 10_000:
        unit, step = LARGER[unit]
        value /= step
    return f"{value:,.0f} {unit}" if value >= 100 else f"{value:.3g} {unit}"


def missed_by(value: float, goal: float, unit: str) -> str:
    """Empty when the goal is reached, else by how much it is not."""
    part = abs(value / goal - 1) * 100
    share = f"{part:.0f} %" if part >= 1 else "less than 1 %"
    if unit in RATES:
        return "" if value >= goal else f"short by {share}"
    return "" if value <= goal else f"over by {share}"


def misses(figure: Figure) -> list[str] | None:
    """What a figure misses its goals by; None when it has no goal."""
    found = []
    if "goal" in figure:
        found.append(missed_by(figure["value"], figure["goal"], figure["unit"]))
    if "ratio_goal" in figure:
        found.append(missed_by(figure["ratio"], figure["ratio_goal"], "x memcpy"))
    return [miss for miss in found if miss] if found else None


def has_reached(figure: Figure) -> bool | None:
    """Whether a figure reaches its goals; None when it has none."""
    missed = misses(figure)
    return None if missed is None else not missed


def verdict(missed: list[str] | None) -> str:
    return "" if missed is None else ", ".join(missed) or "ok"


def note(figure: Figure) -> str:
    """What threads that share nothing gained in the same run: no program can gain more."""
    return f"  (this machine: {figure['machine_x']:.3g} x)" if "machine_x" in figure else ""


def is_growth(figure: Figure) -> bool:
    """Whether a figure is a point of a growing series."""
    return POINT.fullmatch(figure["figure"]) is not None


def goal_lines(name: str, about: str, figures: Iterable[Figure]) -> Iterator[str]:
    """The rows of one benchmark, under its name."""
    yield f"\n{name}: {about}"
    yield f"  {'figure':<58} {'limit':>9} {'goal':>14} {'measured':>14} {'x memcpy':>8}  verdict"
    for figure in figures:
        goals = [amount(figure["goal"], figure["unit"])] if "goal" in figure else []
        goals += [f"{figure['ratio_goal']:g} x memcpy"] if "ratio_goal" in figure else []
        ratio = f"{figure['ratio']:.3g}" if "ratio" in figure else ""
        measured = amount(figure["value"], figure["unit"])
        limit = amount(figure["limit"], figure["unit"]) if "limit" in figure else ""
        row = f"  {figure['figure']:<58} {limit:>9} {' '.join(goals):>14} {measured:>14} {ratio:>8}"
        row += f"  {verdict(misses(figure))}"
        yield (row + note(figure)).rstrip()


Series = dict[int, Figure]


def series_in(figures: Iterable[Figure]) -> dict[str, dict[str, Series]]:
    """Axis, name of the series, points."""
    found: dict[str, dict[str, Series]] = {axis: {} for axis in AXES}
    for figure in figures:
        if match := POINT.fullmatch(figure["figure"]):
            axis = next(axis for axis in AXES if match[axis])
            found[axis].setdefault(match["series"], {})[int(match[axis])] = figure
    return found


def series_line(name: str, points: Series, sizes: list[int]) -> str:
    first, last = points[min(points)], points[max(points)]
    growth = last["value"] / first["value"]
    missed = [miss for miss in map(misses, points.values()) if miss is not None]
    seen = [miss for found in missed for miss in found][-1:] if missed else None
    goals = [amount(last["goal"], last["unit"])] if "goal" in last else []
    if "flat_goal" in last:
        goals.append(f"{last['flat_goal']:g} x")
        seen = (seen or []) + ([f"grows {growth:.2g} x"] if growth > last["flat_goal"] else [])
    cells = "".join(f"{amount(points[size]['value'], first['unit']) if size in points else '':>12}" for size in sizes)
    return f"  {name:<34}{cells} {growth:>7.3g} x {', '.join(goals):>14}  {verdict(seen)}".rstrip()


def growth_lines(figures: Iterable[Figure]) -> Iterator[str]:
    """One table for each axis, ``kvspic.h`` first; the last number of a row is what it grows by from end to end."""
    for axis, by_name in series_in(figures).items():
        if not by_name:
            continue
        sizes = sorted({size for points in by_name.values() for size in points})
        yield f"\nGrowth with the {AXES[axis]}"
        for prefix in ("", PIC):
            rows = {name: points for name, points in by_name.items() if name.startswith(PIC) == bool(prefix)}
            if rows:
                heads = "".join(f"{size:>12,}" for size in sizes)
                layer = prefix.rstrip(", ") or HEADS.get(axis, "kvspic.h")
                yield f"  {layer:<34}{heads} {'growth':>9} {'goal':>14}  verdict"
            for name, points in rows.items():
                yield series_line(name.removeprefix(prefix), points, sizes)


def summary(figures: Iterable[Figure]) -> str:
    """How many goals there are and how many are reached."""
    found = [reached for reached in map(has_reached, figures) if reached is not None]
    return f"{sum(found)} of {len(found)} figures with a goal reach it" if found else "none of these figures has a goal"
