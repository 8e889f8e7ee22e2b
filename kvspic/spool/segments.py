"""Segments as they are read: what one holds, and the walk over its records. Pure: reading is an argument."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from kvspic.spool.records import (
    HEAD_SIZE,
    Record,
    RecordKind,
    SegmentHead,
    Step,
    is_head_cut,
    is_torn,
    parse_segment_head,
    step,
)

__all__ = ["Read", "Reader", "Segment", "frames", "load_segment", "records"]

CHUNK_SIZE = 256 * 1024

Read = Callable[[int, int], bytes]
"""Up to so many bytes from an offset on: ``read(offset, size)``."""


@dataclass(eq=False)
class Segment:
    """One file. ``first`` and ``end`` are frame numbers per track; ``payload`` the bytes of its frames, ``waiting`` of
    those the ones that the core has not got yet. ``start`` is where its records begin, ``size`` where they end.
    ``is_cut``: the process ended while it wrote the head, so no record ever followed."""

    number: int
    head: SegmentHead | None
    start: int
    size: int
    first: list[int]
    end: list[int]
    payload: int = 0
    waiting: int = 0
    is_cut: bool = False


class Reader:
    """Walks the records of one segment, which may still grow."""

    def __init__(self, read: Read, offset: int) -> None:
        self._read = read
        self.offset = offset
        self._data = memoryview(b"")
        self._is_short = False  # the file ends sooner than it should

    def peek(self, end: int) -> Step | None:
        """What stands at ``offset``; None at ``end``. What cannot be read is damage up to the end."""
        left = end - self.offset
        if left <= 0:
            return None
        wanted = HEAD_SIZE
        while True:
            have = self._data[:left]
            if have:
                found = step(have, len(have) == left or self._is_short)
                if isinstance(found, Step):
                    return found
                wanted = found
            elif self._is_short:
                return Step(None, None, left)
            self._fill(min(max(wanted, CHUNK_SIZE), left))

    def advance(self, size: int) -> None:
        """Go on behind what was seen."""
        self.offset += size
        self._data = self._data[size:]

    def _fill(self, size: int) -> None:
        try:
            data = self._read(self.offset, size)
        except OSError:
            data = b""
        self._data = memoryview(data)
        self._is_short = len(data) < size


def frames(read: Read, segment: Segment) -> Iterator[Record]:
    """The frames of a segment that can still be read."""
    for record in records(read, segment):
        if record.kind == RecordKind.FRAME:
            yield record


def records(read: Read, segment: Segment) -> Iterator[Record]:
    """The records of a segment that can still be read."""
    reader = Reader(read, segment.start)
    while (found := reader.peek(segment.size)) is not None:
        reader.advance(found.size)
        if found.record is not None and found.payload is not None and found.record.slot < len(segment.first):
            yield found.record


def load_segment(number: int, read: Read, size: int, before: Sequence[int], *, is_last: bool) -> Segment:
    """Return what a segment holds, ``before`` being where the one before it ended.

    Only a damaged head, or being the last, makes it read the whole file: else the next one's head says where it ends.
    """
    head, start = parse_segment_head(read(0, 4096))
    if head is None and start:
        head, start = parse_segment_head(read(0, start))
    is_cut = head is None and is_last and is_head_cut(read(0, 64), size)
    first = list(before if head is None else head.first)
    # Records are looked for from the first byte on where the head is damaged: its size may be what is wrong.
    segment = Segment(number, head, 0 if head is None else start, size, first, list(first), is_cut=is_cut)
    if head is not None and not is_last:
        return segment
    for record in frames(read, segment):
        segment.end[record.slot] = max(segment.end[record.slot], record.number + 1)
        segment.payload += record.payload_size
    if is_last:
        segment.size = _whole_size(read, segment)
    return segment


def _whole_size(read: Read, segment: Segment) -> int:
    """Where its last record ends; one that was cut while it was written is none, and no damage either."""
    reader = Reader(read, segment.start)
    while (found := reader.peek(segment.size)) is not None:
        if found.record is None and is_torn(memoryview(read(reader.offset, HEAD_SIZE))):
            return reader.offset
        reader.advance(found.size)
    return segment.size
