"""Whether what came back is what was put: every frame, its bytes, and its time within a millisecond after one shift.

Pure, and shared with nothing that packages or joins: NAL units are split here once more, and the joined file is read by
the strict reader of the local endpoint. A frame is kept as a digest, so that a long upload can be compared too.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field

from kvspic.local.mkv_events import Block, Header
from kvspic.local.mkv_reader import MkvReader
from kvspic.sources import SourceFrame, SourceTrack
from kvspic.units import NS_PER_MS

__all__ = ["Comparison", "MediaLog", "compare", "length_prefixed", "read_joined"]

SLACK_NS = NS_PER_MS
START_CODE = b"\0\0\1"


@dataclass(frozen=True)
class _Seen:
    digest: bytes
    time_ns: int


@dataclass
class MediaLog:
    """Frames by track, in the order in which they were put or stand in a file."""

    frames: dict[int, list[_Seen]] = field(default_factory=lambda: defaultdict(list))

    def add(self, track: int, data: bytes | bytearray | memoryview, time_ns: int) -> None:
        """Note a frame, as Matroska holds it."""
        self.frames[track].append(_Seen(hashlib.sha256(data).digest(), time_ns))

    def add_source(self, track: SourceTrack, frame: SourceFrame, base_ns: int) -> None:
        """Note a frame that is about to be put, with the time that is added to it."""
        data = memoryview(frame.data)
        self.add(track.number, length_prefixed(bytes(data)) if track.nal == "annexb" else data, base_ns + frame.pts_ns)

    def count(self) -> int:
        """Frames of all tracks."""
        return sum(map(len, self.frames.values()))


@dataclass(frozen=True)
class Comparison:
    """What a comparison found. ``shift_ns`` is what lies between the times of all frames; ``problem`` is empty when
    everything is equal."""

    frames: int
    shift_ns: int
    problem: str = ""

    @property
    def is_equal(self) -> bool:
        """Whether the same frames came back."""
        return not self.problem


def length_prefixed(data: bytes) -> bytes:
    """Return an Annex-B access unit with a length of four bytes before each NAL unit, as Matroska wants it.

    Zeros before a start code belong to no NAL unit (ITU-T H.264 annex B.1.1).
    """
    units = (unit.rstrip(b"\0") for unit in data.split(START_CODE)[1:])
    return b"".join(len(unit).to_bytes(4, "big") + unit for unit in units if unit)


def read_joined(chunks: Iterable[bytes], start_ms: int, log: MediaLog) -> None:
    """Note all frames of a joined file, whose time 0 is ``start_ms``."""
    reader = MkvReader(keep_payload=True)
    scale_ns = NS_PER_MS
    for chunk in (*chunks, None):
        for event in reader.close() if chunk is None else reader.feed(chunk):
            if isinstance(event, Header):
                scale_ns = event.timestamp_scale_ns
            elif isinstance(event, Block) and event.payload is not None:
                log.add(event.track, event.payload, start_ms * NS_PER_MS + event.timecode * scale_ns)


def compare(put: MediaLog, back: MediaLog) -> Comparison:
    """Compare what was put with what came back."""
    counts = {number: len(frames) for number, frames in put.frames.items()}
    found = {number: len(frames) for number, frames in back.frames.items()}
    if counts != found:
        return Comparison(back.count(), 0, f"of {put.count()} frames {back.count()} came back (by track: {found})")
    pairs = [(number, *pair) for number in counts for pair in zip(put.frames[number], back.frames[number])]
    shift_ns = pairs[0][2].time_ns - pairs[0][1].time_ns if pairs else 0
    for index, (number, one, other) in enumerate(pairs):
        if one.digest != other.digest:
            return Comparison(index, shift_ns, f"frame {index} (track {number}) came back with other bytes")
        off_ns = other.time_ns - one.time_ns - shift_ns
        if abs(off_ns) > SLACK_NS:
            text = f"frame {index} (track {number}) came back {off_ns / NS_PER_MS:.3f} ms off its time"
            return Comparison(index, shift_ns, text)
    return Comparison(len(pairs), shift_ns)
