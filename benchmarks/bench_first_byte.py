"""From ``put_frame`` to the first byte on the wire: one stream of 30 frames a second, TLS, endpoint in another process.

Counts from the call of ``put_frame`` to the return of the socket's send of the first bytes after it. It is a cold path:
between frames everything sleeps and caches are given to others. Put itself is timed too, as the camera sees it.
"""

from __future__ import annotations

import time
from datetime import timedelta
from typing import Any

from endpoint import running
from process import percentile
from report import say

import kvspic
from kvspic.provider.transport import Transport

__all__: list[str] = []

FPS = 30
SECONDS = 10
FRAME = bytes(16 * 1024)  # 4 Mbit/s
WARM_UP = 30


class Wire:
    """Notes when the kernel has bytes; stands in for ``Transport.send_now``."""

    def __init__(self) -> None:
        self.sent_ns: list[int] = []
        self._send_now = Transport.send_now

    def install(self) -> None:
        wire = self

        def send_now(transport: Transport, view: Any) -> bool:
            is_sent = wire._send_now(transport, view)
            wire.sent_ns.append(time.perf_counter_ns())
            return is_sent

        Transport.send_now = send_now  # type: ignore[method-assign,assignment]


def first_after(sent_ns: list[int], moments_ns: list[int]) -> list[float]:
    """For each moment the time to the next send, in ms; both lists rise."""
    found, at = [], 0
    for moment in moments_ns:
        while at < len(sent_ns) and sent_ns[at] < moment:
            at += 1
        if at < len(sent_ns):
            found.append((sent_ns[at] - moment) / 1e6)
    return found


def main() -> None:
    wire = Wire()
    put_ns: list[int] = []
    took_us: list[float] = []
    with running(tls=True) as endpoint, kvspic.Producer(endpoint_url=endpoint.url) as producer:
        track = kvspic.Track("V_TEST", "video/x-test")
        with producer.open_stream("camera", [track], retention=timedelta(hours=1)) as stream:
            wire.install()
            base_ns, start = time.time_ns(), time.monotonic()
            for number in range(SECONDS * FPS):
                time.sleep(max(0.0, start + number / FPS - time.monotonic()))
                begin = time.perf_counter_ns()
                pts = base_ns + number * 1_000_000_000 // FPS
                stream.put_frame(FRAME, pts=pts, key_frame=number % FPS == 0)
                took_us.append((time.perf_counter_ns() - begin) / 1000)
                put_ns.append(begin)
    delays_ms = first_after(wire.sent_ns, put_ns)[WARM_UP:]
    say("put to first byte on the wire, p50", percentile(delays_ms, 0.5), "ms", 0.5, count=len(delays_ms))
    say("put to first byte on the wire, p99", percentile(delays_ms, 0.99), "ms", 3)
    say("put_frame of 16 KB at 30 fps, cold, p50", percentile(took_us[WARM_UP:], 0.5), "us")
    say("put_frame of 16 KB at 30 fps, cold, p99", percentile(took_us[WARM_UP:], 0.99), "us")


if __name__ == "__main__":
    main()
