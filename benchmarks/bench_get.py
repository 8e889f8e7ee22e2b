"""What coming back costs: a stored stream by `kvspic get` to one file, and what the endpoint keeps after 50 uploads.

Endpoint and command are processes of their own; processor seconds are the command's, its start taken off. "raw" is the
same answer, read by boto3 in pieces of 1 MB and thrown away: what reading alone costs. Resident memory is the
endpoint's, 10 s after its last upload. The endpoint has no quotas, which would slow the uploads down.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

from endpoint import Endpoint, running
from process import sample
from report import say

import kvspic

__all__: list[str] = []

FPS = 30
FRAME = bytes(range(256)) * 64  # 16 KB: 4 Mbit/s
FRAGMENT_S = 2
SETTLE_S = 10

RAW = """
import datetime, sys, boto3
span = {"StartTimestamp": datetime.datetime(2000, 1, 1), "EndTimestamp": datetime.datetime(2100, 1, 1)}
which = {"FragmentSelectorType": "SERVER_TIMESTAMP", "TimestampRange": span}
url, name = sys.argv[1:]
archived = boto3.client("kinesis-video-archived-media", endpoint_url=url, region_name="us-east-1")
found, token = [], {}
while True:
    answer = archived.list_fragments(StreamName=name, MaxResults=1000, FragmentSelector=which, **token)
    found += [one["FragmentNumber"] for one in answer["Fragments"]]
    if not answer.get("NextToken"):
        break
    token = {"NextToken": answer["NextToken"]}
found.sort(key=int)
size = 0
for first in range(0, len(found), 1000):
    answer = archived.get_media_for_fragment_list(StreamName=name, Fragments=found[first : first + 1000])
    while piece := answer["Payload"].read(1 << 20):
        size += len(piece)
print(size)
"""


def fill(url: str, names: Sequence[str], size: int) -> None:
    """Upload so many bytes to each stream, side by side, as fast as the endpoint takes them."""
    track = kvspic.Track("V_TEST", "video/x-test")
    frames = max(FPS * FRAGMENT_S, size // len(FRAME))
    base_ns = time.time_ns() - frames * 1_000_000_000 // FPS
    with kvspic.Producer(endpoint_url=url, store_size=1 << 29) as producer:  # all of it, so that no put is refused
        options = kvspic.StreamOptions(offline=True, retention=timedelta(hours=24), fragment_duration_min=timedelta(0))
        streams = [producer.open_stream(name, [track], **vars(options)) for name in names]
        for number in range(frames):
            pts = base_ns + number * 1_000_000_000 // FPS
            for stream in streams:
                stream.put_frame(FRAME, pts=pts, key_frame=number % (FPS * FRAGMENT_S) == 0)
        for report in producer.close(120):
            if report.frames_done != frames:
                raise SystemExit(f"{report.name}: {report.frames_done} of {frames} frames are done")


def cost(command: Sequence[str]) -> tuple[float, float]:
    """Wall and processor seconds of a command."""
    before, begin = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    wall_s, after = time.monotonic() - begin, resource.getrusage(resource.RUSAGE_CHILDREN)
    return wall_s, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def get(endpoint: Endpoint, name: str, small: str, folder: Path) -> None:
    """Fetch a stored stream; a small one first, for what the command costs without media."""
    command = [sys.executable, "-m", "kvspic", "get", "-o", str(folder / "out.mkv"), "--endpoint", endpoint.url]
    start_s, start_cpu_s = cost([*command, small])
    wall_s, cpu_s = cost([*command, name])
    size = (folder / "out.mkv").stat().st_size
    gigabytes = size / 1e9
    say("kvspic get", size / 1e6 / (wall_s - start_s), "MB/s", 300, size_mb=size / 1e6)
    say("kvspic get, processor", (cpu_s - start_cpu_s) / gigabytes, "s/GB", 3)
    raw = [sys.executable, "-c", RAW, endpoint.url]
    start_s, start_cpu_s = cost([*raw, small])
    wall_s, cpu_s = cost([*raw, name])
    say("raw reading by boto3", size / 1e6 / (wall_s - start_s), "MB/s")
    say("raw reading by boto3, processor", (cpu_s - start_cpu_s) / gigabytes, "s/GB")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--megabytes", type=int, default=400)
    parser.add_argument("--uploads", type=int, default=50, help="side by side, for the endpoint's figures")
    options = parser.parse_args()
    with (
        running(tls=False, has_quotas=False) as endpoint,
        tempfile.TemporaryDirectory(prefix="kvspic-bench-") as folder,
    ):
        idle = sample(endpoint.process_id)
        fill(endpoint.url, ["small"], 0)
        fill(endpoint.url, ["large"], options.megabytes * 1_000_000)
        get(endpoint, "large", "small", Path(folder))
        before = sample(endpoint.process_id)
        names = [f"camera-{number}" for number in range(options.uploads)]
        size = options.megabytes * 1_000_000 // max(options.uploads, 1)
        begin = time.monotonic()
        fill(endpoint.url, names, size)
        took_s, after = time.monotonic() - begin, sample(endpoint.process_id)
        sent = size * options.uploads
        what = f"endpoint, {options.uploads} uploads"
        say(f"{what}: taken", sent / 1e6 / took_s, "MB/s")
        say(f"{what}: processor", (after.cpu_s - before.cpu_s) / (sent / 1e9), "s/GB", 2.5)
        time.sleep(SETTLE_S)
        resident = sample(endpoint.process_id).rss_size
        say(f"{what}: resident 10 s later", resident / 1e6, "MB", 100, idle_mb=idle.rss_size / 1e6)


if __name__ == "__main__":
    main()
