"""What a bench's own load costs: the generator with the producer replaced by a sink, histograms recorded and added."""

from __future__ import annotations

import random
import tempfile
import time
from fractions import Fraction
from pathlib import Path

from process import sample
from report import say

from kvspic.bench.group import Group, Place
from kvspic.bench.histogram import Histograms, Recorder
from kvspic.bench.pace import lanes_of
from kvspic.bench.pictures import filler_pictures
from kvspic.bench.plan import Plan

__all__: list[str] = []

STREAMS, FPS, SECONDS = 100, 30, 10
AGENTS, VALUES = 100, 3000
SECOND = (("PUT", 1, 290), ("PUT", 2, 10), ("LATE", 1, 290), ("LATE", 2, 10), ("PERS", 4, 5), ("RECV", 4, 5))


def generator() -> None:
    """100 streams of 30 frames a second in one process."""
    plan, group = Plan(), Group()
    with tempfile.TemporaryDirectory() as folder:
        pictures = Path(folder) / "pictures"
        pictures.write_bytes(filler_pictures(Fraction(FPS), 60, 2000, 1).pack())
        group.start(1, plan, Place("sink", "", 0), pictures, STREAMS)
        names = [f"camera-{number}" for number in range(STREAMS)]
        group.open(names, lanes_of(range(STREAMS), plan.fps, 60, "spread", 1))
        group.wait_ready(30)
        group.warm_up()
        time.sleep(2)
        begin_ns = time.monotonic_ns() + 100_000_000
        group.measure(begin_ns, SECONDS, then_end=False)
        time.sleep(0.1)
        before, at = sample(group.process_ids[0]), time.monotonic()
        time.sleep(SECONDS)
        share = (sample(group.process_ids[0]).cpu_s - before.cpu_s) / (time.monotonic() - at)
        time.sleep(1.5)
        found, outcome = group.everything(), group.outcome()
        group.kill()
    what = f"bench load, {STREAMS} streams x {FPS} fps to a sink"
    late = found.all_sizes("LATE").percentiles([50, 99])
    say(f"{what}: processor time", 100 * share, "% of a core", 10, late_p50_us=late[0], late_p99_us=late[1])
    say(f"{what}: frames put", 100 * outcome.put / outcome.offered, "% of those due", offered=outcome.offered)


def recording() -> None:
    """Append and fold a second's values, as a load process does."""
    numbers = random.Random(1)
    best = float("inf")
    for _ in range(20):
        values = [int(numbers.lognormvariate(5, 1)) for _ in range(VALUES)]
        recorder = Recorder()
        append = recorder.values("PUT", 1).append
        begin = time.process_time()
        for value in values:
            append(value)
        recorder.take()
        best = min(best, time.process_time() - begin)
    say("bench: recording a value, with its fold", best / VALUES * 1e9, "ns", 1000)


def merging() -> None:
    """Add one second of 100 agents: PUT and LATE in two size classes, RECV, PERS."""
    numbers = random.Random(1)
    messages = []
    for _ in range(AGENTS):
        made = Histograms()
        for kind, index, count in SECOND:
            made.at(kind, index).record([int(numbers.lognormvariate(5, 1)) for _ in range(count)])
        messages.append(made.pack())
    best = float("inf")
    for _ in range(5):
        begin, total = time.process_time(), Histograms()
        for message in messages:
            total.add(Histograms.unpack(message)[0])
        best = min(best, time.process_time() - begin)
    say(f"bench: adding the histograms of {AGENTS} agents", best * 1000, "ms", 100, values=total.all_sizes("PUT").count)


if __name__ == "__main__":
    recording()
    merging()
    generator()
