"""Shortens what an earlier process left in a folder: from a given time on another process had the stream."""

from __future__ import annotations

import functools

from kvspic.spool.files import SpoolDir
from kvspic.spool.progress import TRACKS_MAX
from kvspic.spool.records import RecordKind
from kvspic.spool.segments import Read, Reader, Segment, frames, load_segment

__all__ = ["cut_left"]


def cut_left(directory: SpoolDir, until_ns: int) -> None:
    """Remove the first frame that is not before ``until_ns``, and everything after it.

    It looks from the end, so that long spools are not read whole, and removes from the end: after a crash in between,
    the folder holds a beginning of what was left, and calling it again finishes the work. Raises OSError; UnknownFormat
    where another version wrote the files, and nothing is removed then.
    """
    later: list[int] = []  # segments of which nothing stays
    unclear: list[int] = []  # segments without a readable frame: they go with what was before them
    for number in reversed(directory.numbers()):
        read = functools.partial(directory.read_apart, number)
        segment = load_segment(number, read, directory.size(number), [0] * TRACKS_MAX, is_last=False)
        first = next(frames(read, segment), None)
        if first is None:
            unclear.append(number)
            continue
        if first.pts_ns >= until_ns:
            later += [*unclear, number]
            unclear = []
            continue
        at = _first_not_before(read, segment, until_ns)
        later += unclear if at is not None or later else []
        _remove(directory, later)
        if at is not None:
            directory.truncate(number, at)
        return
    _remove(directory, later)


def _remove(directory: SpoolDir, numbers: list[int]) -> None:
    for number in sorted(numbers, reverse=True):
        directory.remove(number)


def _first_not_before(read: Read, segment: Segment, until_ns: int) -> int | None:
    """Where the first frame from ``until_ns`` on begins in a segment; None: there is none."""
    reader = Reader(read, segment.start)
    while (found := reader.peek(segment.size)) is not None:
        record = found.record
        if record is not None and record.kind == RecordKind.FRAME and record.pts_ns >= until_ns:
            return reader.offset
        reader.advance(found.size)
    return None
