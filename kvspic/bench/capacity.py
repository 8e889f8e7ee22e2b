"""Measures for the search for the capacity: one set of load processes, whose number of streams goes up and down.

Streams that are open stay open; only the difference between two trials is opened or closed. Everything blocks: the
command line runs it in its main thread.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from kvspic.bench.group import Group, Place
from kvspic.bench.pace import lanes_of
from kvspic.bench.pictures import make_pictures
from kvspic.bench.plan import STREAMS_MAX, Plan
from kvspic.bench.probe import Probe
from kvspic.bench.search import Bounds, Measure, Result, Trial, broken, search, slope
from kvspic.bench.service import created_streams, delete_streams, stream_names
from kvspic.bench.target import LocalTarget
from kvspic.bench.workload import WorkloadError

__all__ = ["Rig", "Timing", "bounds_of", "find_capacity"]

LEAD_S = 0.3  # from the order to measure to the first measured frame
TAIL_S = 1.3  # until the last figures of a window have come
OPEN_S, OPEN_PER_STREAM_S, CLOSE_S = 60.0, 0.2, 10.0


@dataclass(frozen=True)
class Timing:
    """Seconds of a trial: not measured, measured, and measured of a confirmation."""

    warmup_s: float = 5.0
    measure_s: float = 15.0
    confirm_s: float = 60.0


def bounds_of(plan: Plan) -> Bounds:
    """Return the bounds for a plan's cameras: the plan's own limits where it has them."""
    limits, usual = plan.limits, Bounds(late_p99_ms=float(1000 / plan.fps))
    persisted_ms = usual.persisted_p99_ms if limits.persisted_p99_ms is None else limits.persisted_p99_ms
    return replace(
        usual,
        dropped=usual.dropped if limits.dropped is None else int(limits.dropped),
        late_p99_ms=usual.late_p99_ms if limits.late_p99_ms is None else limits.late_p99_ms,
        put_p99_ms=usual.put_p99_ms if limits.put_p99_ms is None else limits.put_p99_ms,
        persisted_p99_ms=persisted_ms,
        lag_s=persisted_ms / 1000 + max(plan.gop_s, 1.0) + 1.0,  # the figures are up to a second old
        cpu_percent=usual.cpu_percent if limits.cpu_percent is None else limits.cpu_percent,
    )


OnMeasure = Callable[[Trial, Measure, tuple[str, ...]], None]
OnLeft = Callable[[str], None]


def find_capacity(
    plan: Plan, timing: Timing, streams_max: int, first: int, on_measure: OnMeasure, on_left: OnLeft
) -> Result:
    """Search for the most cameras that this machine holds.

    ``on_measure`` is called after each trial; ``on_left`` at the end with a sentence, however the search ended, when
    streams that it created could not be deleted.

    Raises:
        WorkloadError: the load cannot be made.
    """
    bounds = bounds_of(plan)
    asked = search(bounds, streams_max, first)
    rig = Rig(plan, timing)
    try:
        trial = next(asked)
        while True:
            found = rig.measure(trial)
            what = broken(found, bounds)
            on_measure(trial, found, what)
            if what:
                rig.recover()
            trial = asked.send(found)
    except StopIteration as ended:
        result: Result = ended.value
        return result
    finally:
        left = rig.close()
        if left:
            on_left(left)


class Rig:
    """The load processes, and the endpoint if it is a local one."""

    def __init__(self, plan: Plan, timing: Timing) -> None:
        self._plan, self._timing = plan, timing
        self._folder = tempfile.TemporaryDirectory(prefix="kvspic-bench-")
        self._pictures = Path(self._folder.name) / "pictures"
        self._target: LocalTarget | None = None
        self._group: Group | None = None
        self._place = Place("" if plan.endpoint == "aws" else plan.endpoint, plan.region, 1.0)
        self._created: set[str] = set()

    @property
    def is_endpoint_here(self) -> bool:
        """Whether the endpoint shares this machine."""
        return self._target is not None

    def measure(self, trial: Trial) -> Measure:
        """Bring the streams to the trial's number, and measure them.

        Raises:
            WorkloadError: they cannot be opened, or a load process ended.
        """
        group = self._started()
        unopened = self._resize(group, trial.streams)
        if unopened:
            return Measure(trial.streams, 0, 0, 0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0, unopened)
        time.sleep(self._timing.warmup_s)
        duration_s = self._timing.confirm_s if trial.is_confirmation else self._timing.measure_s
        begin_ns = time.monotonic_ns() + int(LEAD_S * 1e9)
        group.measure(begin_ns, duration_s, then_end=False)
        _sleep_until(begin_ns)
        group.take()
        probe = Probe(group.process_ids)
        beside = Probe([] if self._target is None else [self._target.process_id])
        unsent = []
        while time.monotonic_ns() < begin_ns + duration_s * 1e9:
            time.sleep(min(1.0, duration_s / 4))
            unsent.append((time.monotonic_ns() / 1e9, float(group.unsent)))
        cost, endpoint, lag_s = probe.look(), beside.look(), group.lag_s
        time.sleep(TAIL_S)
        outcome, found, cores = group.outcome(), group.take(), os.cpu_count() or 1
        late, put, persisted = (found.all_sizes(kind).percentiles([99])[0] / 1000 for kind in ("LATE", "PUT", "PERS"))
        gone = group.error or ("" if self._target is None else self._target.error)
        if gone:
            raise WorkloadError(gone)
        return Measure(
            streams=trial.streams,
            offered=outcome.offered,
            missing=outcome.offered - outcome.put,
            dropped=outcome.dropped,
            late_p99_ms=late,
            put_p99_ms=put,
            persisted_p99_ms=max(persisted, self._not_persisted_ms(lag_s, persisted)),
            lag_s=lag_s,
            growth=max(0.0, slope(unsent)) / (self._plan.kbps * 125 * trial.streams),
            cpu_percent=cost.cpu_percent / cores,
            endpoint_cpu_percent=endpoint.cpu_percent / cores,
            other_cpu_percent=max(0.0, cost.machine_percent - (cost.cpu_percent + endpoint.cpu_percent) / cores),
            rss_bytes=cost.rss_bytes,
        )

    def _not_persisted_ms(self, lag_s: float, persisted_ms: float) -> float:
        """How long fragments have waited that are not persisted yet; without this the slowest would never count."""
        fragment_s = max(self._plan.gop_s, 1.0) + 1.0  # the figures are up to a second old
        return 1000 * (lag_s if not persisted_ms else max(0.0, lag_s - fragment_s))

    def recover(self) -> None:
        """After a broken trial: wait until what piled up is sent; else start the processes again."""
        if self._group is None:
            return
        if self._group.ready_count < self._group.stream_count:
            self._restart()
            return
        until = time.monotonic() + self._timing.measure_s
        calm = self._plan.kbps * 125 * self._group.stream_count  # a second of media
        while time.monotonic() < until:
            time.sleep(1)
            if self._group.unsent <= calm and self._group.lag_s <= self._plan.gop_s + 2:
                return
        self._restart()

    def _restart(self) -> None:
        if self._group is not None:
            self._group.kill()
        self._group = None

    def close(self) -> str:
        """End everything, and delete the streams that were created; return what prevented that, "" if nothing did."""
        try:
            if self._group is not None:
                self._group.kill()
            if self._target is not None:
                self._target.end()
            else:
                delete_streams(self._place.url, self._plan.region, sorted(self._created))
        except WorkloadError as error:
            return f"Streams that the search created may be left. {error}"
        finally:
            self._folder.cleanup()
        return ""

    def _started(self) -> Group:
        if self._group is not None:
            return self._group
        plan = self._plan
        if not self._pictures.exists():
            made = make_pictures(plan.fps, plan.frames_per_gop, plan.kbps, plan.seed)
            self._pictures.write_bytes(made.pack())
        if plan.endpoint == "local" and self._target is None:
            self._target = LocalTarget()
            self._place = Place(self._target.url(), plan.region, 0)
        group = self._group = Group()
        group.start(plan.processes or os.cpu_count() or 1, plan, self._place, self._pictures, STREAMS_MAX)
        group.warm_up()
        return group

    def _resize(self, group: Group, streams: int) -> int:
        """Open or close the difference; return how many streams could not be opened."""
        have = group.stream_count
        if streams < have:
            group.close_last(have - streams, CLOSE_S)
        elif streams > have:
            plan, numbers = self._plan, range(have, streams)
            names = stream_names(plan.stream_prefix, numbers)
            if self._target is None and not plan.keep_streams:
                self._created.update(created_streams(self._place.url, plan.region, names))
            group.open(names, lanes_of(numbers, plan.fps, plan.frames_per_gop, plan.phase, plan.seed))
        try:
            group.wait_ready(OPEN_S + OPEN_PER_STREAM_S * streams)
        except WorkloadError:
            if group.error or not group.ready_count:
                raise
        return max(0, streams - group.ready_count)


def _sleep_until(moment_ns: int) -> None:
    time.sleep(max(0.0, (moment_ns - time.monotonic_ns()) / 1e9))
