"""From ``put_frame`` to the first byte on the wire: streams of 30 frames a second, TLS, endpoint in another process.

Counts from the call of ``put_frame`` to the return of the socket's next send for that stream. Of one stream it is a
cold path: between frames everything sleeps and caches are given to others. Put itself is timed too, as the camera sees
it. A hundred streams are out of phase, and a frame may wait in the store for ``max_delay``.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import timedelta
from itertools import pairwise
from typing import Any

from endpoint import running
from process import percentile
from report import say

import kvspic
from kvspic.provider.transport import Transport

__all__: list[str] = []

FPS = 30
SECONDS = 8
FRAME_SIZE = {1: 16 * 1024, 100: 8 * 1024}  # 4 and 2 Mbit/s
WARM_UP_S = 1


class Wire:
    """Notes when the kernel has bytes, by the mark that a stream's frames begin with; stands in for
    ``Transport.send_now``."""

    def __init__(self, marks: Sequence[bytes]) -> None:
        self.sent_ns: dict[bytes, list[int]] = {mark: [] for mark in marks}
        self._of: dict[Transport, list[int]] = {}
        self._send_now = Transport.send_now

    def install(self) -> None:
        wire = self

        def send_now(transport: Transport, view: Any) -> bool:
            is_sent = wire._send_now(transport, view)
            now_ns = time.perf_counter_ns()
            sent_ns = wire._of.get(transport)
            if sent_ns is None:
                found = next((mark for mark in wire.sent_ns if mark in bytes(view)), None)
                sent_ns = wire._of[transport] = [] if found is None else wire.sent_ns[found]
                if found is None:  # the request's head, or the session's
                    del wire._of[transport]
            sent_ns.append(now_ns)
            return is_sent

        Transport.send_now = send_now  # type: ignore[method-assign,assignment]

    def remove(self) -> None:
        Transport.send_now = self._send_now  # type: ignore[method-assign]


def first_after(sent_ns: list[int], moments_ns: list[int]) -> list[float]:
    """For each moment the time to the next send, in ms; both lists rise."""
    found, at = [], 0
    for moment in moments_ns:
        while at < len(sent_ns) and sent_ns[at] < moment:
            at += 1
        if at < len(sent_ns):
            found.append((sent_ns[at] - moment) / 1e6)
    return found


def measure(url: str, cameras: int, max_delay_ms: int) -> tuple[list[float], list[float]]:
    """Times from put to wire in ms, and of puts in us."""
    marks = [b"camera %04d;" % camera for camera in range(cameras)]
    frames = [mark + bytes(FRAME_SIZE[cameras] - len(mark)) for mark in marks]
    wire, took_us = Wire(marks), list[float]()
    put_ns: list[list[int]] = [[] for _ in marks]
    delay = timedelta(milliseconds=max_delay_ms)
    with kvspic.Producer(endpoint_url=url) as producer:
        track = kvspic.Track("V_TEST", "video/x-test")
        names = [f"camera-{cameras}-{max_delay_ms}-{camera}" for camera in range(cameras)]
        streams = [producer.open_stream(name, [track], retention=timedelta(hours=1), max_delay=delay) for name in names]
        wire.install()
        base_ns, start = time.time_ns(), time.monotonic()
        for number in range((WARM_UP_S + SECONDS) * FPS * cameras):
            camera, index = number % cameras, number // cameras
            left_s = start + number / (FPS * cameras) - time.monotonic()
            if left_s > 0:
                time.sleep(left_s)
            begin = time.perf_counter_ns()
            pts = base_ns + number * 1_000_000_000 // (FPS * cameras)
            is_key = index == 0 or (index + camera) % (2 * FPS) == 0
            streams[camera].put_frame(frames[camera], pts=pts, key_frame=is_key)
            if index >= WARM_UP_S * FPS:
                took_us.append((time.perf_counter_ns() - begin) / 1000)
                put_ns[camera].append(begin)
    wire.remove()
    sent = [wire.sent_ns[mark] for mark in marks]
    assert all(before <= after for moments in sent for before, after in pairwise(moments))
    return [delay_ms for pair in zip(sent, put_ns) for delay_ms in first_after(*pair)], took_us


def main() -> None:
    with running(tls=True) as endpoint:
        for cameras, max_delay_ms in ((1, 5), (1, 0), (100, 5), (100, 100)):
            delays_ms, took_us = measure(endpoint.url, cameras, max_delay_ms)
            what = "one stream" if cameras == 1 else f"{cameras} streams out of phase"
            what += f", max_delay {max_delay_ms} ms: "
            goals = (0.5, 3) if cameras == 1 else (0, max_delay_ms + 2)
            say(what + "put to first byte on the wire, p50", percentile(delays_ms, 0.5), "ms", goals[0])
            say(what + "put to first byte on the wire, p99", percentile(delays_ms, 0.99), "ms", goals[1])
            say(what + "put_frame, p50", percentile(took_us, 0.5), "us", 40 if cameras == 1 else 6)
            say(what + "put_frame, p99", percentile(took_us, 0.99), "us")


if __name__ == "__main__":
    main()
