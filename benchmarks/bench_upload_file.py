"""An offline stream of large frames, as fast as it goes and within the quotas; ``kvspic put --offline`` of a file.

The endpoint is a process of its own and writes to disk; rates count payload from the first put to the last PERSISTED,
and processor seconds are the producer's own in that time.

As fast as it goes: the endpoint has no quotas, and the stream holds nothing back (``fragment_duration_min=0``), which
the service would slow down. Within the quotas, as by default: five fragments a second, of up to 10 s each, so that the
rate is one of media time. Bytes a second only say then how large the frames were.
The file is a clip of the tests, repeated by PyAV until it has 10,000 packets, so its frames are small.
"""

from __future__ import annotations

import contextlib
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from datetime import timedelta
from pathlib import Path

from endpoint import running
from report import say

import kvspic

__all__: list[str] = []

FRAME = bytes(50_000)
FRAMES = 8000
PACED_FRAMES = 2000
FPS = 30
PACKETS = 10_000
RUNS = 3
RATE = 25  # of the packets, a second
CLIP = Path(__file__).parents[1] / "tests" / "media" / "h264_high_640x360_25fps.h264"


def put_frames(url: str, name: str, frames: int, shortest: timedelta | None) -> tuple[float, float]:
    """Seconds that an offline stream of so many frames takes, and processor seconds a GB."""
    with kvspic.Producer(endpoint_url=url) as producer:
        options = kvspic.StreamOptions(offline=True, retention=timedelta(hours=1), fragment_duration_min=shortest)
        stream = producer.open_stream(name, [kvspic.Track("V_TEST", "video/x-test")], **vars(options))
        begin, base_ns = time.monotonic(), time.time_ns() - 3600 * 1_000_000_000
        cpu_s = time.process_time()
        for number in range(frames):
            stream.put_frame(FRAME, pts=base_ns + number * 1_000_000_000 // FPS, key_frame=number % FPS == 0)
        report = stream.close(60)
        spent_s, cpu_s = time.monotonic() - begin, time.process_time() - cpu_s
    assert report.frames_done == frames, report
    return spent_s, cpu_s / (frames * len(FRAME) / 1e9)


def measure(kind: str, *, tls: bool) -> None:
    """Print both figures of a stream that goes as fast as it can: the best of three, because the disk takes part."""
    with running(tls=tls, has_quotas=False) as endpoint:
        runs = [put_frames(endpoint.url, f"{kind.lower()}-{run}", FRAMES, timedelta(0)) for run in range(RUNS)]
    seconds, cpu_s = (min(column) for column in zip(*runs))
    say(f"offline stream, 50 KB frames, {kind}", FRAMES * len(FRAME) / 1e6 / seconds, "MB/s")
    say(f"offline stream, 50 KB frames, {kind}, processor", cpu_s, "s/GB", 1.6)


def measure_paced(url: str) -> None:
    """Print how much faster than real time a stream goes that keeps to the quotas."""
    seconds, _ = put_frames(url, "paced", PACED_FRAMES, None)
    rate = PACED_FRAMES * len(FRAME) / 1e6 / seconds
    say("offline stream within the quotas", PACED_FRAMES / FPS / seconds, "x real time", mb_per_s=rate)


def make_file(path: Path) -> int:
    """Repeat the clip into a Matroska file; return the payload's size."""
    import av

    size = count = 0
    with av.open(str(CLIP)) as clip, av.open(str(path), "w") as file:
        stream = file.add_stream_from_template(clip.streams.video[0])
        packets = [(bytes(packet), packet.is_keyframe) for packet in clip.demux(video=0) if packet.size]
        while count < PACKETS:
            for data, is_key in packets:
                packet = av.Packet(data)
                packet.stream, packet.is_keyframe = stream, is_key
                packet.pts = packet.dts = count * stream.time_base.denominator // stream.time_base.numerator // RATE
                file.mux(packet)
                size, count = size + len(data), count + 1
    return size


def put_file(url: str, path: Path) -> dict[str, float]:
    """What ``kvspic put`` says of itself."""
    command = [sys.executable, "-m", "kvspic", "put", str(path), "--stream", "file", "--offline", "--json"]
    done = subprocess.run([*command, "--endpoint", url], capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"kvspic put ended with {done.returncode}: {done.stdout}{done.stderr}")
    found: dict[str, float] = json.loads(done.stdout)
    return found


def measure_file(url: str) -> None:
    """Print the same of a file by the command line, and what it costs."""
    with tempfile.TemporaryDirectory(prefix="kvspic-bench-") as folder, contextlib.suppress(ImportError):
        path = Path(folder) / "long.mkv"
        size = make_file(path)
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        found = put_file(url, path)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        seconds, frames = found["seconds"], found["frames_persisted"]
        cpu_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        say("kvspic put --offline", frames / RATE / seconds, "x real time", mb_per_s=size / 1e6 / seconds)
        say("kvspic put --offline, processor, its start included", cpu_s / frames * 1e6, "us a frame")


def main() -> None:
    os.environ["PYTHONUNBUFFERED"] = "1"
    measure("plain", tls=False)
    measure("TLS", tls=True)
    with running(tls=False) as endpoint:
        measure_paced(endpoint.url)
        measure_file(endpoint.url)


if __name__ == "__main__":
    main()
