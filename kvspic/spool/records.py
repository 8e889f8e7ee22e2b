"""What lies in a spool's files, as bytes. Pure.

A segment is a head (what the stream was like when the segment began) and then records, each with two CRC-32: one over
its own head, so that its length can be trusted, one over its payload. A frame's record names its track and its number
in that track, so a reader that lost its way knows what it has missed. Bytes that are no record are stepped over to
where the next one begins; any flipped bit is found, and any file cut anywhere is the records before the cut.
"""

from __future__ import annotations

import base64
import enum
import json
import struct
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

__all__ = [
    "HEAD_SIZE",
    "NO_DTS",
    "Record",
    "RecordKind",
    "SegmentHead",
    "Step",
    "UnknownFormat",
    "is_head_cut",
    "is_torn",
    "pack_record",
    "pack_segment_head",
    "parse_segment_head",
    "step",
]

MAGIC = b"kSpR"
SEGMENT_MAGIC = b"kvspool"
FORMAT = 1  # of everything in a segment; a reader of another format cannot know what follows
_HEAD = struct.Struct("<4sBBHII4Q")
_CRC = struct.Struct("<I")
_SEGMENT = struct.Struct("<7sBI")  # magic, format, size of the words; then a checksum of this and of the words
_WORDS_AT = _SEGMENT.size + _CRC.size
HEAD_SIZE = _HEAD.size + _CRC.size
NO_DTS = 2**64 - 1
SEGMENT_HEAD_MAX = 4 * 1024 * 1024  # three tracks with 1 MiB of codec private data each, in base 64


class UnknownFormat(Exception):
    """A segment of another format than this version reads and writes."""


class RecordKind(enum.IntEnum):
    """What a record is; only frames have a number and times."""

    FRAME = 1
    CPD = 2  # new codec private data of a track
    END = 3  # the open fragment was ended
    METADATA = 4  # JSON: name, value, persistent
    EVENT = 5  # JSON: types, image_prefix, pairs


class Record(NamedTuple):
    """The head of a record. ``slot`` is the track's place in the list, ``number`` the frame's
    in its track; ``dts_ns`` is :data:`NO_DTS` where the decoding time is not known."""

    kind: int
    flags: int
    slot: int
    payload_size: int
    payload_crc: int
    number: int
    pts_ns: int
    dts_ns: int
    duration_ns: int


class Step(NamedTuple):
    """What stands at one place of a segment: a record, or (``record`` None) ``size`` bytes that are none.

    ``payload`` is None when it is not what was written; its length is still known then.
    """

    record: Record | None
    payload: memoryview | None
    size: int


def pack_record(kind: int, flags: int, slot: int, number: int, times: tuple[int, int, int], payload: Any) -> bytes:
    """Return the head that is written before ``payload``, which is contiguous and bytes-like."""
    size = len(payload) if type(payload) is bytes else memoryview(payload).nbytes
    head = _HEAD.pack(MAGIC, kind, flags, slot, size, zlib.crc32(payload), number, *times)
    return head + _CRC.pack(zlib.crc32(head))


def step(data: memoryview, is_end: bool) -> Step | int:
    """Read what ``data`` begins with; an int says how many bytes it would take, of which some are still missing.

    ``is_end``: nothing follows ``data`` in its segment, so a record that is not whole is none.
    """
    record = _head_at(data, 0)
    if record is None:
        return _skip(data, is_end)
    size = HEAD_SIZE + record.payload_size
    if len(data) < size:
        return Step(None, None, _next_head(data, 1) or len(data)) if is_end else size
    payload = data[HEAD_SIZE:size]
    return Step(record, payload if zlib.crc32(payload) == record.payload_crc else None, size)


def is_torn(data: memoryview) -> bool:
    """Whether bytes at the end of a segment that are no record are the beginning of one."""
    return len(data) < HEAD_SIZE or _head_at(data, 0) is not None


def _skip(data: memoryview, is_end: bool) -> Step | int:
    if len(data) < HEAD_SIZE and not is_end:
        return HEAD_SIZE
    found = _next_head(data, 1)
    if found:
        return Step(None, None, found)
    return Step(None, None, len(data) if is_end else len(data) - HEAD_SIZE + 1)


def _next_head(data: memoryview, at: int) -> int:
    """Where the next record begins, from ``at`` on; 0 for nowhere."""
    text = bytes(data)
    while (at := text.find(MAGIC, at)) >= 0:
        if _head_at(data, at) is not None:
            return at
        at += 1
    return 0


def _head_at(data: memoryview, at: int) -> Record | None:
    if len(data) - at < HEAD_SIZE or data[at : at + 4] != MAGIC:
        return None
    (crc,) = _CRC.unpack_from(data, at + _HEAD.size)
    if crc != zlib.crc32(data[at : at + _HEAD.size]):
        return None
    return Record._make(_HEAD.unpack_from(data, at)[1:])


@dataclass(frozen=True)
class SegmentHead:
    """What holds where a segment begins.

    Attributes:
        tracks: what the records' slots mean; see :meth:`kvspic.spool.journal.track_words`.
        first: per track, the number of its next frame.
        payload_before: bytes of all frames in earlier segments, ever.
        begins_run: a new process, or a new opening of the stream, began to write here.
        cpd: per track, its codec private data. persistent: metadata of every fragment.
    """

    tracks: Sequence[Mapping[str, Any]]
    first: Sequence[int]
    payload_before: int = 0
    begins_run: bool = False
    cpd: Sequence[bytes] = ()
    persistent: Mapping[str, str] = field(default_factory=dict)


def pack_segment_head(head: SegmentHead) -> bytes:
    """Return the bytes that a segment begins with."""
    words = {
        "tracks": [dict(track) for track in head.tracks],
        "first": list(head.first),
        "payload_before": head.payload_before,
        "begins_run": head.begins_run,
        "cpd": [base64.b64encode(cpd).decode() for cpd in head.cpd],
        "persistent": dict(head.persistent),
    }
    text = json.dumps(words).encode()
    front = _SEGMENT.pack(SEGMENT_MAGIC, FORMAT, len(text))
    return front + _CRC.pack(zlib.crc32(text, zlib.crc32(front))) + text


def parse_segment_head(data: bytes) -> tuple[SegmentHead | None, int]:
    """Return the head and where the records begin; (None, 0) when it is damaged, (None, n) when it takes n bytes.

    Raises:
        UnknownFormat: the head is whole, and another version of this package wrote it.
    """
    if len(data) < _WORDS_AT:
        return None, 0
    magic, written_format, size = _SEGMENT.unpack_from(data)
    (crc,) = _CRC.unpack_from(data, _SEGMENT.size)
    end = _WORDS_AT + size
    if magic != SEGMENT_MAGIC or size > SEGMENT_HEAD_MAX:
        return None, 0
    if len(data) < end:
        return None, end
    text = data[_WORDS_AT:end]
    if zlib.crc32(text, zlib.crc32(data[: _SEGMENT.size])) != crc:
        return None, 0
    if written_format != FORMAT:
        raise UnknownFormat(f"it was written in format {written_format}, and this version reads format {FORMAT}")
    words = json.loads(text)
    words["cpd"] = [base64.b64decode(cpd) for cpd in words["cpd"]]
    return SegmentHead(**words), end


def is_head_cut(front: bytes, size: int) -> bool:
    """Whether a file of ``size`` bytes that begins with ``front`` ends inside its head, and begins as one does."""
    if size < _WORDS_AT:
        return SEGMENT_MAGIC.startswith(front[: len(SEGMENT_MAGIC)])
    magic, _, words_size = _SEGMENT.unpack_from(front)
    return bool(magic == SEGMENT_MAGIC and size < _WORDS_AT + words_size)
