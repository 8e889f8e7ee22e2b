"""A failing run made small: what the failure does not need is left out, as long as the same promise is still broken.

First whole streams, the tail of the run and groups of faults and deeds go, then single ones, then bursts and frames,
then what is special about a stream. Each try is a whole run, so their number is bounded.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import MISSING, dataclass, fields, replace
from typing import Any

from kvspic.testing.sim_checks import Violation
from kvspic.testing.sim_plan import Burst, Plan, StreamPlan
from kvspic.testing.simulation import run_plan
from kvspic.units import HNS_PER_S

__all__ = ["TRIES_MAX", "Failure", "shrink"]

TRIES_MAX = 400
SHORT_HNS = 120 * HNS_PER_S
BURST_MIN_HNS = 3 * HNS_PER_S


@dataclass(frozen=True)
class Failure:
    """A run that broke a promise."""

    plan: Plan
    violation: Violation

    def describe(self) -> list[str]:
        """The plan without what has its default, and the transcript."""
        plan = self.plan
        lines = [f"broken: {self.violation}", _changed(plan, ("streams", "deeds", "faults"))]
        lines += [f"  {_changed(item)}" for item in (*plan.streams, *plan.deeds, *plan.faults)]
        return [*lines, "transcript (seconds, stream, what happened):", *self.violation.lines]


def _changed(item: Any, left_out: tuple[str, ...] = ()) -> str:
    """``repr`` of a dataclass without the fields that have their default values."""
    found = [
        f"{field.name}={getattr(item, field.name)!r}"
        for field in fields(item)
        if field.name not in left_out and getattr(item, field.name) != field.default
    ]
    return f"{type(item).__name__}({', '.join(found)})"


def shrink(plan: Plan, rule: str, tries: int = TRIES_MAX) -> Failure | None:
    """Make a failing plan smaller by at most so many runs; None when it does not fail again."""
    best = _failure(plan, rule)
    if best is None:
        return None
    tried = 1
    is_smaller = True
    while is_smaller:
        is_smaller = False
        for candidate in _smaller(best.plan):
            if tried >= tries:
                return best
            tried += 1
            found = _failure(candidate, rule)
            if found is not None:
                best, is_smaller = found, True
                break
    return best


def _failure(plan: Plan, rule: str) -> Failure | None:
    try:
        run_plan(plan)
    except Violation as violation:
        return Failure(plan, violation) if violation.rule == rule else None
    return None


# ---- what may be left out, the largest first


def _smaller(plan: Plan) -> Iterable[Plan]:
    if plan.duration_hns > SHORT_HNS:
        yield replace(plan, duration_hns=max(SHORT_HNS, plan.duration_hns // 3))
        yield replace(plan, duration_hns=max(SHORT_HNS, plan.duration_hns * 4 // 5))
    if len(plan.streams) > 1:
        yield from (_without_stream(plan, stream) for stream in plan.streams)
    for part in (16, 4, 1):
        yield from _without_runs(plan, part)
    for stream in plan.streams:
        yield from (_with_stream(plan, less) for less in _smaller_streams(stream))
    yield from _plainer(plan)


def _without_runs(plan: Plan, part: int) -> Iterable[Plan]:
    for begin in range(0, len(plan.faults), part):
        yield replace(plan, faults=plan.faults[:begin] + plan.faults[begin + part :])
    for begin in range(0, len(plan.deeds), part):
        yield replace(plan, deeds=plan.deeds[:begin] + plan.deeds[begin + part :])


def _without_stream(plan: Plan, gone: StreamPlan) -> Plan:
    deeds = tuple(deed for deed in plan.deeds if deed.stream != gone.index)
    faults = tuple(fault for fault in plan.faults if fault.stream != gone.name)
    return replace(plan, streams=tuple(s for s in plan.streams if s is not gone), deeds=deeds, faults=faults)


def _with_stream(plan: Plan, less: StreamPlan) -> Plan:
    return replace(plan, streams=tuple(less if s.index == less.index else s for s in plan.streams))


def _smaller_streams(stream: StreamPlan) -> Iterable[StreamPlan]:
    bursts = stream.bursts
    for part in (8, 1):
        for begin in range(0, len(bursts), part):
            yield replace(stream, bursts=bursts[:begin] + bursts[begin + part :])
    for index, burst in enumerate(bursts):
        yield from (
            replace(stream, bursts=(*bursts[:index], less, *bursts[index + 1 :])) for less in _smaller_bursts(burst)
        )
    yield from (less for less in _plainer(stream) if less.video_hns or less.audio_hns)


def _plainer(item: Any) -> Iterable[Any]:
    """One thing after the other as it is by default."""
    for field in fields(item):
        default = field.default
        if default is not MISSING and field.name not in ("deeds", "faults") and getattr(item, field.name) != default:
            yield replace(item, **{field.name: default})


def _smaller_bursts(burst: Burst) -> Iterable[Burst]:
    length = burst.end_hns - burst.begin_hns
    if length > BURST_MIN_HNS:
        yield replace(burst, end_hns=burst.begin_hns + max(BURST_MIN_HNS, length // 2))
        yield replace(burst, begin_hns=burst.end_hns - max(BURST_MIN_HNS, length // 2))
    if burst.is_silent:
        yield replace(burst, is_silent=False)
    if burst.jump_hns:
        yield replace(burst, jump_hns=0)
