"""100 streams of 4 Mbit/s each from one process to the local endpoint in another, over TLS.

Processor time and memory are the producer's own; the frames are put by one thread of it, and their cost is in the
figures. "held" is the most that the content store held. ACK latency is from a fragment's first byte read to PERSISTED.
Two processors have to carry the endpoint too: where it can not keep up, the figure says so by its backlog.
"""

from __future__ import annotations

import argparse
import os
import time
from datetime import timedelta
from statistics import median

from endpoint import running
from process import sample
from report import say

import kvspic

__all__: list[str] = []

FPS = 25
FRAME = bytes(20_000)  # 4 Mbit/s
WARM_UP_S = 5
STORE_SIZE = 1 << 30


def drive(streams: list[kvspic.Stream], producer: kvspic.Producer, seconds: int) -> tuple[float, int]:
    """Put frames at their times; return the share of one processor that the process used, and the most held.

    Streams begin their fragments at different times, as cameras do.
    """
    base_ns, start, held = time.time_ns(), time.monotonic(), 0
    begin_cpu_s = begin_s = 0.0
    for number in range((WARM_UP_S + seconds) * FPS):
        time.sleep(max(0.0, start + number / FPS - time.monotonic()))
        if number == WARM_UP_S * FPS:
            begin_cpu_s, begin_s = sample().cpu_s, time.monotonic()
        pts = base_ns + number * 1_000_000_000 // FPS
        for index, stream in enumerate(streams):
            stream.put_frame(FRAME, pts=pts, key_frame=(number + index) % FPS == 0 or number == 0)
        held = max(held, producer.metrics().store_used)
    return (sample().cpu_s - begin_cpu_s) / (time.monotonic() - begin_s), held


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--streams", type=int, default=100)
    parser.add_argument("--seconds", type=int, default=20)
    parser.add_argument("--plain", action="store_true", help="without TLS")
    options = parser.parse_args()
    track = kvspic.Track("V_TEST", "video/x-test")
    with running(tls=not options.plain) as endpoint:
        producer = kvspic.Producer(endpoint_url=endpoint.url, store_size=STORE_SIZE)
        streams = [
            producer.open_stream(f"camera-{index}", [track], retention=timedelta(hours=1))
            for index in range(options.streams)
        ]
        share, held = drive(streams, producer, options.seconds)
        rss_size, backlog = sample().rss_size, sum(stream.metrics().bytes_unsent for stream in streams)
        endpoint_cpu_s = sample(endpoint.process_id).cpu_s
        reports = producer.close(30)
    what = f"{options.streams} streams x 4 Mbit/s, {'plain' if options.plain else 'TLS'}"
    p50s = [(report.ack_latency_ns_p50 or 0) / 1e6 for report in reports]
    p99s = [(report.ack_latency_ns_p99 or 0) / 1e6 for report in reports]
    say(f"{what}: processor time", share * 100, "% of a core", 35, endpoint_cpu_s=endpoint_cpu_s)
    say(f"{what}: RSS less bytes held", (rss_size - held) / 1e6, "MB", 60, rss_mb=rss_size / 1e6, held_mb=held / 1e6)
    say(f"{what}: bytes unsent at the end", backlog / 1e6, "MB", processors=os.cpu_count())
    say(f"{what}: ACK latency p50", median(p50s), "ms")
    say(f"{what}: ACK latency p99", max(p99s), "ms")
    done, put = sum(report.frames_done for report in reports), sum(report.frames_put for report in reports)
    say(f"{what}: frames done", 100.0 * done / put, "%", frames_put=put)


if __name__ == "__main__":
    main()
