"""Streams that run for long while their connections are cut again and again: ``python benchmarks/long_run.py``.

Three processes: the local endpoint, a producer with all streams, and this one, whose proxy stands between the two and
resets every connection each ``--cut-every`` seconds. Ends with one JSON object; exit code 0 when memory and descriptors
stayed flat, every ledger is exact and the endpoint has every frame that was put, 1 when not.
The whole run is one hour by default; ``--seconds 60 --cut-every 8`` shows the same in a minute.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import signal
import socket
import struct
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from statistics import median
from typing import Any
from urllib.parse import urlsplit

from process import sample

__all__: list[str] = []

FPS = 25
FRAME_SIZE = 2000
KEY_SIZE = 8000
CLOSE_TIMEOUT_S = 60.0
PIPE_SIZE = 65536
RSS_GROWTH_MAX = 3 << 20  # bytes between the second and the last quarter: a fragment per stream in flight is half of it
CUT_DRIFT_S = 0.037
RESET = struct.pack("ii", 1, 0)  # SO_LINGER with no time: close() sends a reset


# ---- the producer's process


def payload(stream: int, number: int) -> bytes:
    """A frame that says which one it is."""
    size = KEY_SIZE if number % FPS == 0 else FRAME_SIZE
    return struct.pack(">II", stream, number) + bytes(size - 8)


def produce(url: str, stream_count: int, seconds: int) -> None:
    """Put frames at their times into all streams; print a line of JSON every few seconds and one at the end."""
    import kvspic

    track = kvspic.Track("V_TEST", "video/x-test")
    every = FPS * max(1, min(10, seconds // 30))
    with kvspic.Producer(endpoint_url=url, store_size=1 << 30) as producer:
        streams = [
            producer.open_stream(f"camera-{index}", [track], retention=timedelta(hours=3))
            for index in range(stream_count)
        ]
        base_ns = time.time_ns() // 1_000_000 * 1_000_000
        start = time.monotonic()
        slowest_s = 0.0
        for number in range(seconds * FPS):
            time.sleep(max(0.0, start + number / FPS - time.monotonic()))
            for index, stream in enumerate(streams):
                data = payload(index, number)
                begin = time.perf_counter()
                stream.put_frame(data, pts=base_ns + number * 1_000_000_000 // FPS, key_frame=number % FPS == 0)
                slowest_s = max(slowest_s, time.perf_counter() - begin)
            if number % every == every - 1:
                held = producer.metrics().store_used
                say(at_s=round(number / FPS, 1), store_used=held, slowest_put_ms=slowest_s * 1000, **sample().as_dict())
                slowest_s = 0.0
        reports = producer.close(CLOSE_TIMEOUT_S)
    say(reports=[ledger_of(report) for report in reports])


def ledger_of(report: Any) -> dict[str, Any]:
    """What matters of a stream's final report."""
    names = ("name", "frames_put", "frames_done", "frames_dropped", "frames_buffered", "fragments_resent", "adds_up")
    return {name: getattr(report, name) for name in names}


def say(**members: Any) -> None:
    """One line of JSON for the reader of our output."""
    print(json.dumps(members), flush=True)


# ---- the proxy


class CuttingProxy:
    """Carries bytes to the endpoint and back until :meth:`cut`, which resets every connection of both sides."""

    def __init__(self, target: tuple[str, int]) -> None:
        self._target = target
        self._pairs: set[tuple[asyncio.StreamWriter, asyncio.StreamWriter]] = set()
        self._pumps: set[asyncio.Task[None]] = set()
        self.cut_count = 0

    async def start(self) -> int:
        """Listen; return the port."""
        server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        return int(server.sockets[0].getsockname()[1])

    def cut(self) -> None:
        """Reset all connections that there are."""
        for pair in self._pairs:
            for writer in pair:
                sock = writer.get_extra_info("socket")
                with contextlib.suppress(OSError):
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
                writer.transport.abort()
        self.cut_count += 1

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            there, back = await asyncio.open_connection(*self._target)
        except OSError:
            writer.close()
            return
        pair = writer, back
        self._pairs.add(pair)
        await asyncio.gather(pump(reader, back), pump(there, writer))
        self._pairs.discard(pair)
        for side in pair:
            side.close()


async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Carry bytes one way until either side ends."""
    with contextlib.suppress(OSError):
        while data := await reader.read(PIPE_SIZE):
            writer.write(data)
            await writer.drain()
        writer.write_eof()


# ---- the run


@dataclass
class Run:
    """What was seen of the other two processes."""

    samples: list[dict[str, Any]] = field(default_factory=list)
    endpoint_samples: list[dict[str, Any]] = field(default_factory=list)
    reports: list[dict[str, Any]] = field(default_factory=list)
    cut_count: int = 0


async def start_endpoint(data_dir: str) -> tuple[asyncio.subprocess.Process, tuple[str, int]]:
    """``kvspic serve`` in a process of its own, and where it listens."""
    words = ["-m", "kvspic", "serve", "--port", "0", "--data-dir", data_dir]
    process = await asyncio.create_subprocess_exec(sys.executable, *words, stdout=asyncio.subprocess.PIPE)
    assert process.stdout is not None
    line = await asyncio.wait_for(process.stdout.readline(), 30)
    parts = urlsplit(line.decode().split()[-1])
    return process, (str(parts.hostname), int(parts.port or 0))


async def watch(producer: asyncio.subprocess.Process, endpoint_id: int, run: Run) -> None:
    """Collect the producer's lines until it ends."""
    assert producer.stdout is not None
    async for line in producer.stdout:
        members = json.loads(line)
        if "reports" in members:
            run.reports = members["reports"]
            continue
        run.samples.append(members)
        run.endpoint_samples.append(sample(endpoint_id).as_dict())
        print(json.dumps({"producer": members, "endpoint": run.endpoint_samples[-1]}), file=sys.stderr, flush=True)


async def cut_regularly(proxy: CuttingProxy, every_s: float) -> None:
    """Each cut comes a little later in its fragment than the one before."""
    while True:
        await asyncio.sleep(every_s + CUT_DRIFT_S)
        proxy.cut()


async def carry_out(options: argparse.Namespace, data_dir: str) -> Run:
    """Run all three processes to the end of the producer."""
    run = Run()
    endpoint, target = await start_endpoint(data_dir)
    proxy = CuttingProxy(target)
    cutting = asyncio.create_task(cut_regularly(proxy, options.cut_every))
    try:
        url = f"http://127.0.0.1:{await proxy.start()}"
        words = [__file__, "--produce-to", url, "--seconds", str(options.seconds), "--streams", str(options.streams)]
        producer = await asyncio.create_subprocess_exec(
            sys.executable, *words, stdout=asyncio.subprocess.PIPE, limit=1 << 24
        )
        limit_s = options.seconds + 2 * CLOSE_TIMEOUT_S
        try:
            await asyncio.wait_for(watch(producer, endpoint.pid, run), limit_s)
        finally:
            with contextlib.suppress(ProcessLookupError):
                producer.kill()
            await producer.wait()
    finally:
        cutting.cancel()
        with contextlib.suppress(ProcessLookupError):
            endpoint.send_signal(signal.SIGTERM)
        await endpoint.wait()
    run.cut_count = proxy.cut_count
    return run


# ---- what it comes to


def growth(samples: list[dict[str, Any]], name: str) -> float:
    """Median of the last quarter less median of the second one: the first is warming up."""
    quarter = len(samples) // 4
    if not quarter:
        return float("nan")
    values = [found[name] for found in samples]
    return float(median(values[-quarter:]) - median(values[quarter : 2 * quarter]))


def missing_frames(data_dir: str, options: argparse.Namespace) -> Iterator[tuple[int, int]]:
    """For each stream how many frames the endpoint lacks, and how many it has more than once."""
    from kvspic.local.server import LocalEndpoint

    with LocalEndpoint.run_in_thread(data_dir=data_dir) as endpoint:
        for index in range(options.streams):
            found: set[int] = set()
            block_count = 0
            for fragment in endpoint.fragments(f"camera-{index}"):
                for block in fragment.blocks:
                    stream, number = struct.unpack(">II", (block.payload or b"")[:8])
                    assert stream == index, "a frame of another stream"
                    found.add(number)
                    block_count += 1
            yield len(set(range(options.seconds * FPS)) - found), block_count - len(found)


def summary(run: Run, options: argparse.Namespace, data_dir: str) -> dict[str, Any]:
    """The result: figures, and whether each promise was kept."""
    frames = options.seconds * FPS
    found = list(missing_frames(data_dir, options))
    ledgers = run.reports
    kept = {
        "ledger_exact": len(ledgers) == options.streams
        and all(each["adds_up"] and each["frames_put"] == each["frames_done"] == frames for each in ledgers),
        "endpoint_has_all": not any(missing for missing, _ in found),
        "rss_flat": growth(run.samples, "rss_size") <= RSS_GROWTH_MAX,
        # A sample may fall into a cut, when a stream holds the old and the new connection; a leak would be one a cut.
        "fds_flat": growth(run.samples, "fd_count") <= options.streams,
        "was_cut": run.cut_count >= (options.seconds - 1) // options.cut_every,
    }
    return {
        "seconds": options.seconds,
        "streams": options.streams,
        "cuts": run.cut_count,
        "frames_per_stream": frames,
        "frames_dropped": sum(each["frames_dropped"] for each in ledgers),
        "frames_buffered": sum(each["frames_buffered"] for each in ledgers),
        "fragments_resent": sum(each["fragments_resent"] for each in ledgers),
        "frames_missing": sum(missing for missing, _ in found),
        "frames_repeated": sum(repeated for _, repeated in found),
        "rss_growth": growth(run.samples, "rss_size"),
        "fd_growth": growth(run.samples, "fd_count"),
        "endpoint_rss_growth": growth(run.endpoint_samples, "rss_size"),
        "endpoint_fd_growth": growth(run.endpoint_samples, "fd_count"),
        "slowest_put_ms": max((found["slowest_put_ms"] for found in run.samples), default=None),
        "last_sample": run.samples[-1] if run.samples else None,
        "kept": kept,
        "passed": all(kept.values()),
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seconds", type=int, default=3600)
    parser.add_argument("--streams", type=int, default=20)
    parser.add_argument("--cut-every", type=float, default=60.0)
    parser.add_argument("--produce-to", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.produce_to:
        os.environ.setdefault("AWS_EC2_METADATA_DISABLED", "true")
        produce(options.produce_to, options.streams, options.seconds)
        return 0
    with tempfile.TemporaryDirectory(prefix="kvspic-long-run-") as data_dir:
        result = summary(asyncio.run(carry_out(options, data_dir)), options, data_dir)
    print(json.dumps(result, indent=1))
    return 0 if result["passed"] else 1


if __name__ == "__main__":
    sys.exit(main())
