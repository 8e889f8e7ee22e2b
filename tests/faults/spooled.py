"""A producer with a spool in a process of its own, which is killed with SIGKILL; and what must then be stored."""

import contextlib
import os
import struct
import subprocess
import sys
import threading
from dataclasses import dataclass, field
from pathlib import Path

__all__ = ["Camera", "Life", "judge"]

ID = struct.Struct(">HI")

CHILD = """
import os, struct, sys, time
import kvspic
url, spool, run, has_sound, durability, count = sys.argv[1:]
run, has_sound, count = int(run), has_sound == "True", int(count)
tracks = [kvspic.Track("V_TEST", "video/x-test")]
if has_sound:
    tracks.append(kvspic.Track("A_TEST", "audio/x-test", kvspic.TrackType.AUDIO))
producer = kvspic.Producer(endpoint_url=url, store_size=8 * 65536)
stream = producer.open_stream(
    "camera", tracks, wait=False, spool=spool, spool_durability=durability, clock=kvspic.ClockPolicy.GIVEN
)
os.write(1, b"R")
for number in range(count):
    time_ns = 1_700_000_000_000_000_000 + run * 3_600_000_000_000 + number * 40_000_000
    data = struct.pack(">HI", run, number) + bytes(number * 7919 % 6000)
    stream.put_frame(data, pts=time_ns, key_frame=number % 10 == 0)
    os.write(1, b".")
    if has_sound:
        stream.put_frame(data[:6], pts=time_ns + 3_000_000, track=2)
        os.write(1, b",")
    time.sleep(0.0015)
report = stream.close(60)
producer.close(0)
sys.exit(0 if report.frames_done == report.frames_put and report.adds_up else 1)
"""


class Life:
    """One run: how many frames of each track the producer took."""

    def __init__(self, run, output):
        self.run = run
        self.counts = {1: output.count(b"."), 2: output.count(b",")}


@dataclass
class Camera:
    """A producer that is started again and again."""

    url: str
    spool: Path
    sound: bool = False
    durability: str = "process"
    lives: list = field(default_factory=list)

    def run(self, *, kill_after_s=None, count=1 << 30):
        """Run it: killed after so many seconds from its first word, or to its end, which must be a good one."""
        words = [self.url, self.spool, len(self.lives), self.sound, self.durability, count]
        output = _run(list(map(str, words)), kill_after_s)
        self.lives.append(Life(len(self.lives), output))


def _run(words, kill_after_s):
    child = subprocess.Popen([sys.executable, "-c", CHILD, *words], stdout=subprocess.PIPE)
    output = []

    def listen():
        while data := os.read(child.stdout.fileno(), 65536):
            output.append(data)
            begun.set()

    begun = threading.Event()
    listener = threading.Thread(target=listen)
    listener.start()
    try:
        assert begun.wait(60)
        if kill_after_s is not None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                child.wait(kill_after_s)
            child.kill()
        assert child.wait(120) == (0 if kill_after_s is None else -9)
    finally:
        child.kill()
        child.wait()
        listener.join()
        child.stdout.close()
    return b"".join(output)


def judge(stored, lives):
    """Every frame that a put had returned for is stored once and in order; of each run at most the next one, too.

    Of two fragments with the same producer time the later one counts, as for everybody who reads a stream: then the
    order is that of the times, because a session that begins again sends what has no ACK. Else it is the order of
    arrival. Returns how many were sent twice.
    """
    latest = {one.producer_hns: one for one in sorted(stored, key=lambda one: int(one.number))}
    kept = sorted(latest.values(), key=lambda one: one.producer_hns)
    if len(kept) == len(stored):
        assert kept == sorted(stored, key=lambda one: int(one.number))
    tracks = {1: [], 2: []}
    for one in kept:
        for block in one.blocks:
            tracks[block.track].append(ID.unpack_from(block.payload))
    for track, found in tracks.items():
        expected = {(life.run, number) for life in lives for number in range(life.counts[track])}
        spare = {(life.run, life.counts[track]) for life in lives}
        assert found == sorted(set(found))
        assert expected - set(found) == set()
        assert set(found) - expected - spare == set()
    return len(stored) - len(kept)
