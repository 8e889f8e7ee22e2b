"""As fast as the link takes it: an offline stream fed with large frames, and ``kvspic put --offline`` of a file.

The endpoint is a process of its own and writes to disk; rates count payload from the first put to the last PERSISTED,
and processor seconds are the producer's own in that time.
The file is a clip of the tests, repeated by PyAV until it has 20,000 packets, so its rate is one of small frames.
"""

from __future__ import annotations

import contextlib
import json
import os
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
FRAMES = 4000
FPS = 30
PACKETS = 20_000
CLIP = Path(__file__).parents[1] / "tests" / "media" / "h264_high_640x360_25fps.h264"


def put_frames(url: str, name: str) -> tuple[float, float]:
    """MB/s of an offline stream, and processor seconds a GB."""
    with kvspic.Producer(endpoint_url=url) as producer:
        track = kvspic.Track("V_TEST", "video/x-test")
        stream = producer.open_stream(name, [track], offline=True, retention=timedelta(hours=1))
        begin, base_ns = time.monotonic(), time.time_ns() - 3600 * 1_000_000_000
        cpu_s = time.process_time()
        for number in range(FRAMES):
            stream.put_frame(FRAME, pts=base_ns + number * 1_000_000_000 // FPS, key_frame=number % FPS == 0)
        report = stream.close(60)
        spent_s, cpu_s = time.monotonic() - begin, time.process_time() - cpu_s
    assert report.frames_done == FRAMES, report
    size = FRAMES * len(FRAME)
    return size / 1e6 / spent_s, cpu_s / (size / 1e9)


def measure(url: str, kind: str) -> None:
    """Print both figures."""
    rate, cpu_s = put_frames(url, kind.lower())
    say(f"offline stream, 50 KB frames, {kind}", rate, "MB/s")
    say(f"offline stream, 50 KB frames, {kind}, processor", cpu_s, "s/GB", 1.6)


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
                packet.pts = packet.dts = count * stream.time_base.denominator // stream.time_base.numerator // 25
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


def main() -> None:
    os.environ["PYTHONUNBUFFERED"] = "1"
    with running(tls=False) as endpoint:
        measure(endpoint.url, "plain")
        with tempfile.TemporaryDirectory(prefix="kvspic-bench-") as folder, contextlib.suppress(ImportError):
            path = Path(folder) / "long.mkv"
            size = make_file(path)
            found = put_file(endpoint.url, path)
            seconds, frames = found["seconds"], found["frames_persisted"]
            say("kvspic put --offline", size / 1e6 / seconds, "MB/s", frames_per_s=frames / seconds, mb=size / 1e6)
    with running(tls=True) as endpoint:
        measure(endpoint.url, "TLS")


if __name__ == "__main__":
    main()
