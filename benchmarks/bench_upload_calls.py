"""Python calls on the loop's thread for one frame on its way to the kernel, counted by ``sys.setprofile``.

A plain frame is one that nothing is acknowledged for; a key frame comes with what follows it: the ACKs of the fragment
that it ends and of the one that it begins, without a watcher of events. Counts are repeatable where times are not: they
are the medians over fragments, with asyncio's own Python calls in them.
"""

from __future__ import annotations

import argparse
import collections
import sys
import time
from statistics import median
from types import FrameType
from typing import Any

from endpoint import running
from report import say

import kvspic

__all__: list[str] = []

FPS = 30
FRAME = bytes(8_333)  # 2 Mbit/s
FRAGMENTS = 12
CAMERAS = 50
PLAIN_FROM, PLAIN_TO = 15, 30  # frames of a fragment after which no ACK comes any more


class Counter:
    """Counts Python calls of one thread, and where they went."""

    def __init__(self) -> None:
        self.count = 0
        self.places: collections.Counter[str] = collections.Counter()
        self._names: dict[Any, str] = {}

    def profile(self, frame: FrameType, event: str, _: Any) -> None:
        """For ``sys.setprofile``."""
        if event == "call":
            self.count += 1
            code = frame.f_code
            self.places[f"{code.co_filename.rpartition('/')[2]}:{code.co_name}"] += 1


def play(stream: kvspic.Stream, counter: Counter) -> tuple[list[int], list[int]]:
    """Put fragments at their times; the calls of plain frames in each, and those of its whole."""
    base_ns, start = time.time_ns(), time.monotonic()
    plain, whole = [], []
    before = mark = 0
    for number in range(FRAGMENTS * FPS):
        time.sleep(max(0.0, start + number / FPS - time.monotonic()))
        at = number % FPS
        if at == 0:
            if number:
                whole.append(counter.count - before)
                plain.append(counter.count - mark)
            before = counter.count
        if at == PLAIN_FROM:
            mark = counter.count
            if number // FPS == FRAGMENTS // 2:
                counter.places.clear()
        if at == PLAIN_TO - 1 and number // FPS == FRAGMENTS // 2:
            places = dict(counter.places.most_common())
            for place, count in places.items():
                print(f"# {count / (PLAIN_TO - 1 - PLAIN_FROM):5.1f} {place}", file=sys.stderr)
        stream.put_frame(FRAME, pts=base_ns + number * 1_000_000_000 // FPS, key_frame=at == 0)
    return plain[2:], whole[2:]


def play_many(streams: list[kvspic.Stream], counter: Counter) -> float:
    """Put frames of cameras that are out of phase; all calls for a frame, ACKs and turns included."""
    base_ns, start, begin = time.time_ns(), time.monotonic(), 0
    count, warm_up = len(streams), 2 * FPS * len(streams)
    frames = warm_up + 4 * FPS * count
    for number in range(frames):
        left_s = start + number / FPS / count - time.monotonic()
        if left_s > 0:
            time.sleep(left_s)
        if number == warm_up:
            begin = counter.count
        is_key = number < count or (number // count + number % count) % FPS == 0
        pts = base_ns + number * 1_000_000_000 // (FPS * count)
        streams[number % count].put_frame(FRAME, pts=pts, key_frame=is_key)
    return (counter.count - begin) / (frames - warm_up)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--tls", action="store_true", help="over TLS")
    options = parser.parse_args()
    counter, many = Counter(), Counter()
    track = kvspic.Track("V_TEST", "video/x-test")
    with running(tls=options.tls) as endpoint, kvspic.Producer(endpoint_url=endpoint.url) as producer:
        # Without the media check, whose look at the counters once a second is no frame's.
        stream = producer.open_stream("camera", [track], media_check=False)
        producer._thread.loop.call_soon_threadsafe(sys.setprofile, counter.profile)
        plain, whole = play(stream, counter)
        producer._thread.loop.call_soon_threadsafe(sys.setprofile, None)
        stream.close()
        streams = [producer.open_stream(f"camera-{number}", [track], media_check=False) for number in range(CAMERAS)]
        producer._thread.loop.call_soon_threadsafe(sys.setprofile, many.profile)
        of_many = play_many(streams, many)
        producer._thread.loop.call_soon_threadsafe(sys.setprofile, None)
    each = median(plain) / (PLAIN_TO - PLAIN_FROM)
    say("Python calls for a plain frame", each, "calls", 20)
    say("Python calls for a key frame with its ACKs", median(whole) - each * (FPS - 1), "calls", 100)
    say(f"Python calls for a frame of {CAMERAS} cameras out of phase, all in", of_many, "calls")


if __name__ == "__main__":
    main()
