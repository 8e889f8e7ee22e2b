"""Cameras, of 2 Mbit/s and 30 frames a second if not said otherwise, from one process to the local endpoint in another,
over TLS. A thousand in one process: ``--cameras 1000 --fps 10 --mbit 1``.

Real cameras are out of phase: their frames come one by one, spread over the interval between two. That is how they are
driven here; "aligned" is the easier case beside it, all cameras within one moment. One thread puts the frames at their
times, by pacing of its own. What that costs without puts is measured first and taken off ("net"): a program gets its
frames from devices. Processor time and memory are the producer's own.

"held" is the most that the content store held, because it keeps that memory for a minute or two. ACK latency is from a
fragment's first byte read to PERSISTED. Two processors have to carry the endpoint too: where it can not keep up, the
figure says so by its backlog.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from statistics import median

from endpoint import running
from process import percentile, sample
from report import say

import kvspic

__all__: list[str] = []

WARM_UP_S = 4
STORE_SIZE = 1 << 30
GROUP_S = 2  # a fragment
# Processor time in % of a core: what the kernel, TLS and copies alone need, and the goal; by cameras and phase.
GOALS = {(100, "spread", 5): (8, 18), (100, "spread", 100): (8, 10), (100, "aligned", 5): (4, 13)}


@dataclass(frozen=True)
class Case:
    """How many cameras, in which phase, how long a frame may wait, and what a camera sends."""

    cameras: int
    phase: str = "spread"
    max_delay_ms: int = 5
    fps: int = 30
    mbit_per_s: float = 2.0

    def __str__(self) -> str:
        delay = "" if self.max_delay_ms == 5 else f", max_delay {self.max_delay_ms} ms"
        rate = "" if (self.fps, self.mbit_per_s) == (30, 2.0) else f" of {self.fps} fps, {self.mbit_per_s:g} Mbit/s"
        return f"{self.cameras} cameras{rate}, {self.phase}{delay}"

    @property
    def frame(self) -> bytes:
        return bytes(int(self.mbit_per_s * 125_000 / self.fps))


Put = Callable[[int, int], None]


def pace(case: Case, seconds: float, put: Put) -> float:
    """Call ``put(camera, number)`` at the time of each frame; return the processor seconds of this process."""
    gap_s = 1 / case.fps / case.cameras if case.phase == "spread" else 0.0
    start, began_s = time.monotonic(), sample().cpu_s
    for number in range(int(seconds * case.fps)):
        due = start + number / case.fps
        for camera in range(case.cameras):
            left_s = due + camera * gap_s - time.monotonic()
            if left_s > 0:
                time.sleep(left_s)
            put(camera, number)
    return sample().cpu_s - began_s


def drive(
    case: Case, producer: kvspic.Producer, streams: list[kvspic.Stream], seconds: float
) -> tuple[float, list[float], int]:
    """Put frames; the process's share of a processor in %, net, how long puts took in us, and the most that was held,
    looked at with every hundredth frame."""
    base_ns, took_us, frame, group = time.time_ns(), list[float](), case.frame, GROUP_S * case.fps
    held: list[int] = []

    def put(camera: int, number: int) -> None:
        begin = time.perf_counter_ns()
        pts = base_ns + (number * case.cameras + camera) * 1_000_000_000 // (case.fps * case.cameras)
        streams[camera].put_frame(frame, pts=pts, key_frame=number == 0 or (number + camera) % group == 0)
        took_us.append((time.perf_counter_ns() - begin) / 1000)
        if len(took_us) % 100 == 0:
            held.append(producer.metrics().store_used)

    def nothing(camera: int, number: int) -> None:
        begin = time.perf_counter_ns()
        took_us.append((time.perf_counter_ns() - begin) / 1000)

    bare_s = pace(case, seconds, nothing)
    pace(case, WARM_UP_S, put)
    base_ns += WARM_UP_S * 1_000_000_000
    took_us.clear()
    used_s = pace(case, seconds, put)
    return (used_s - bare_s) / seconds * 100, took_us, max(held, default=0)


def measure(case: Case, url: str, endpoint_id: int, seconds: float) -> None:
    """Run one case and print its figures."""
    track, what = kvspic.Track("V_TEST", "video/x-test"), str(case)
    producer = kvspic.Producer(endpoint_url=url, store_size=STORE_SIZE)
    kind = f"{case.phase}-{case.max_delay_ms}-{case.cameras}-{case.fps}"
    names = [f"camera-{kind}-{index}" for index in range(case.cameras)]
    delay = timedelta(milliseconds=case.max_delay_ms)
    began_s = sample().cpu_s
    streams = [producer.open_stream(name, [track], retention=timedelta(hours=1), max_delay=delay) for name in names]
    opening_ms = (sample().cpu_s - began_s) / case.cameras * 1000
    endpoint_s = sample(endpoint_id).cpu_s
    share, took_us, held = drive(case, producer, streams, seconds)
    endpoint_s, rss_size = sample(endpoint_id).cpu_s - endpoint_s, sample().rss_size
    backlog = sum(stream.metrics().bytes_unsent for stream in streams)
    reports = producer.close(30)
    limit, goal = GOALS.get((case.cameras, case.phase, case.max_delay_ms), (0, 0))
    goal = 60 if case.cameras == 1000 else goal
    more = {"limit": limit} if limit else {}
    say(f"{what}: net processor time", share, "% of a core", goal, endpoint_cpu_s=endpoint_s, **more)
    say(f"{what}: put_frame, p50", percentile(took_us, 0.5), "us", 6 if case.cameras == 100 else 40)
    say(f"{what}: put_frame, p99", percentile(took_us, 0.99), "us")
    say(f"{what}: bytes unsent at the end", backlog / 1e6, "MB", processors=os.cpu_count())
    if case.cameras >= 100:
        goal = {100: 60, 1000: 150}.get(case.cameras, 0)
        more_mb = {"rss_mb": rss_size / 1e6, "held_mb": held / 1e6}
        say(f"{what}: RSS less bytes held", (rss_size - held) / 1e6, "MB", goal, **more_mb)
        say(f"{what}: opening a new stream, processor", opening_ms, "ms")
    say(f"{what}: ACK latency p50", median((report.ack_latency_ns_p50 or 0) / 1e6 for report in reports), "ms")
    done, put = sum(report.frames_done for report in reports), sum(report.frames_put for report in reports)
    say(f"{what}: frames done", 100.0 * done / put, "%", frames_put=put)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--cameras", type=int, nargs="+", default=[1, 10, 100, 300])
    parser.add_argument("--phase", choices=["spread", "aligned"], help="this one only; else spread, and 100 aligned")
    parser.add_argument("--max-delay-ms", type=int, help="default 5, and 100 for 100 cameras beside it")
    parser.add_argument("--fps", type=int, default=30)
    parser.add_argument("--mbit", type=float, default=2.0, help="a second, of each camera")
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--plain", action="store_true", help="without TLS")
    options = parser.parse_args()
    delay_ms, phase = options.max_delay_ms, options.phase
    rate = (options.fps, options.mbit)
    cases = [Case(count, phase or "spread", 5 if delay_ms is None else delay_ms, *rate) for count in options.cameras]
    if phase is None and delay_ms is None and 100 in options.cameras:
        cases += [Case(100, "aligned", 5, *rate), Case(100, "spread", 100, *rate)]
    with running(tls=not options.plain) as endpoint:
        for case in cases:
            measure(case, endpoint.url, endpoint.process_id, options.seconds)


if __name__ == "__main__":
    main()
