"""``stream.put_frame`` from Python: alone, beside busy Python threads, by size, by type of buffer.

The stream is open but nothing listens at its endpoint, so frames are kept and the loop is idle: what is measured is the
way from Python into the store. Slabs were touched by a round before. "mean" is of a plain loop over puts, the loop
included; the quantiles time each put on its own, less what the clock itself takes. memcpy is a copy of the same bytes
through as much touched memory, without the loop and the slicing around it.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

from process import percentile
from report import say

import kvspic

__all__: list[str] = []

NO_ENDPOINT = "http://127.0.0.1:9"  # the discard port: nothing listens
TRACKS = [kvspic.Track("V_TEST", "video/x-test")]
BASE_NS = 1_700_000_000_000_000_000
STEP_NS = 2_000_000  # all of a run fits into the buffer's 120 s
COUNT = 8000
RUNS = 12
FPS = 30
PutFrame = Callable[..., None]


@contextlib.contextmanager
def open_stream(producer: kvspic.Producer) -> Iterator[kvspic.Stream]:
    stream = producer.open_stream("bench", TRACKS, wait=False)
    try:
        yield stream
    finally:
        stream.close(0)


def loop_time_ns(put: PutFrame, data: Any, count: int = COUNT) -> float:
    """Nanoseconds of one put in a plain loop, the loop included."""
    pts = BASE_NS
    begin = time.perf_counter_ns()
    for number in range(count):
        put(data, pts=pts, key_frame=number % FPS == 0)
        pts += STEP_NS
    return (time.perf_counter_ns() - begin) / count


def each_time_ns(put: PutFrame, data: Any, count: int = COUNT) -> list[float]:
    """Nanoseconds of each put, without the clock's own."""
    clock = time.perf_counter_ns
    clock_ns = min(-(clock() - clock()) for _ in range(1000))
    pts, times = BASE_NS, [0.0] * count
    for number in range(count):
        is_key = number % FPS == 0
        begin = clock()
        put(data, pts=pts, key_frame=is_key)
        times[number] = clock() - begin - clock_ns
        pts += STEP_NS
    return times


def best_mean_ns(
    producer: kvspic.Producer, data: Any, count: int = COUNT, loop: Callable[..., float] = loop_time_ns
) -> float:
    best = float("inf")
    for run in range(RUNS + 1):
        with open_stream(producer) as stream:
            found = loop(stream.put_frame, data, count)
        best = min(best, found) if run else best  # the first run touches the slabs
    return best


def best_quantiles_ns(producer: kvspic.Producer, data: Any) -> tuple[float, float, float]:
    """p50, p99 and p99.9 of the best run by p99."""
    found = []
    for _ in range(RUNS):
        with open_stream(producer) as stream:
            times = each_time_ns(stream.put_frame, data)
        found.append((percentile(times, 0.99), percentile(times, 0.5), percentile(times, 0.999)))
    p99, p50, p999 = min(found)
    return p50, p99, p999


@contextlib.contextmanager
def busy_threads(count: int) -> Iterator[None]:
    """Threads that do nothing but run Python."""
    is_over = threading.Event()

    def spin() -> None:
        number = 0
        while not is_over.is_set():
            for _ in range(1000):
                number += 1

    threads = [threading.Thread(target=spin, daemon=True) for _ in range(count)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        is_over.set()
        for thread in threads:
            thread.join()


def loop_time_with_dts_ns(put: PutFrame, data: Any, count: int = COUNT) -> float:
    """The same for a frame as a demuxer gives it, with a dts and a duration."""
    pts = BASE_NS
    begin = time.perf_counter_ns()
    for number in range(count):
        put(data, pts=pts, dts=pts, duration=STEP_NS, key_frame=number % FPS == 0)
        pts += STEP_NS
    return (time.perf_counter_ns() - begin) / count


def memcpy_ns(size: int, count: int) -> float:
    """One copy of ``size`` bytes to the next place in a row of ``count``."""
    source, target = bytes(size), memoryview(bytearray(size * count))

    def loop_ns(part: bytes) -> float:
        length, begin = len(part), time.perf_counter_ns()
        for offset in range(0, len(target), size):
            target[offset : offset + length] = part
        return (time.perf_counter_ns() - begin) / count

    return min(loop_ns(source) for _ in range(RUNS)) - min(loop_ns(b"") for _ in range(RUNS))


def say_buffers(producer: kvspic.Producer) -> None:
    """The same 10 KB from everything that has the buffer protocol."""
    size = 10 * 1024
    made: list[tuple[str, Any]] = [("memoryview", memoryview(bytes(size))), ("bytearray", bytearray(size))]
    with contextlib.suppress(ImportError):
        import numpy

        made.append(("numpy array", numpy.zeros(size, dtype=numpy.uint8)))
    with contextlib.suppress(ImportError):
        import av

        made.append(("av.Packet", av.Packet(bytes(size))))
    for name, data in made:
        say(f"put_frame, 10 KB from {name}", best_mean_ns(producer, data, 4000), "ns")


def main() -> None:
    logging.getLogger("kvspic").setLevel(logging.CRITICAL)  # that nothing listens is meant
    data = bytes(1024)
    with kvspic.Producer(endpoint_url=NO_ENDPOINT) as producer:
        with open_stream(producer):
            time.sleep(1.5)  # what loads at first use has been loaded
        for name, size, count in (("1 KB", 1024, COUNT), ("10 KB", 10240, 4000), ("100 KB", 102400, 600)):
            goal, copy_ns = 500 if size == 1024 else 0, memcpy_ns(size, count)
            best_ns = best_mean_ns(producer, bytes(size), count)
            say(f"put_frame, {name} from bytes, mean", best_ns, "ns", goal, memcpy=copy_ns, ratio=best_ns / copy_ns)
        with_dts_ns = best_mean_ns(producer, data, loop=loop_time_with_dts_ns)
        say("put_frame, 1 KB with dts and duration, mean", with_dts_ns, "ns")
        say_buffers(producer)
        for thread_count in (0, 1, 3):
            with busy_threads(thread_count):
                p50, p99, p999 = best_quantiles_ns(producer, data)
            beside = f", {thread_count} busy Python threads" if thread_count else ""
            say(f"put_frame, 1 KB, p50{beside}", p50, "ns", 500)
            say(f"put_frame, 1 KB, p99{beside}", p99, "ns", 2000 if thread_count < 3 else 0, p999=p999)


if __name__ == "__main__":
    main()
