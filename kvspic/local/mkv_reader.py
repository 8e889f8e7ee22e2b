"""Incremental Matroska reader, written from RFC 8794 and RFC 9559; it shares nothing with the packager.

Feed it bytes as they come, cut anywhere; it answers with the same events wherever they were cut. Frames are stepped
over by length, never copied (unless ``keep_payload``), so memory is bounded by the largest header elements it accepts.
Several documents may follow each other, as GetMedia sends them. After a :class:`Problem` it ignores everything.

Levels   TOP --EBML, Segment--> SEGMENT --Cluster--> CLUSTER --BlockGroup--> GROUP
A level of known size ends there; a Cluster of unknown size ends at the next element that no Cluster can hold.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from kvspic.local.ebml import (
    UNKNOWN_SIZE,
    WIDTHS,
    EbmlError,
    Element,
    Head,
    Id,
    ProblemKind,
    parse_head,
    parse_vint,
    read_int,
    read_uint,
)
from kvspic.local.mkv_events import Block, ClusterEnd, ClusterStart, DocumentStart, Event, Header, Problem, Tags, Track
from kvspic.local.mkv_masters import parse_ebml_head, parse_info, parse_tags, parse_tracks

__all__ = ["UPLOAD_LIMITS", "MkvReader", "ReaderLimits", "read_all"]

_T = TypeVar("_T")

_TOP, _SEGMENT, _CLUSTER, _GROUP = range(4)
_BLOCK_HEAD_MAX = 8 + 3  # track number, time, flags
_VALUE_BITS = tuple((1 << 7 * width) - 1 for width in range(9))  # of an EBML number of so many bytes

# Each limit is far above what a producer writes: three codec private data of 1 MiB make the largest Tracks.
_HELD_MAX = {
    Id.EBML: 4096,
    Id.INFO: 64 * 1024,
    Id.TRACKS: 4 * 1024 * 1024,
    Id.TIMESTAMP: 8,
    Id.BLOCK_DURATION: 8,
    Id.REFERENCE_BLOCK: 8,
    Id.DISCARD_PADDING: 8,
}
_SEGMENT_SKIPPED = frozenset({Id.SEEK_HEAD, Id.CUES, Id.CHAPTERS, Id.ATTACHMENTS, Id.VOID, Id.CRC32})
_LEVEL_1 = frozenset({Id.SEEK_HEAD, Id.INFO, Id.TRACKS, Id.CLUSTER, Id.CUES, Id.CHAPTERS, Id.ATTACHMENTS, Id.TAGS})
_CLUSTER_ENDERS = _LEVEL_1 | {Id.EBML, Id.SEGMENT}
_CLUSTER_ONLY = frozenset({Id.SIMPLE_BLOCK, Id.BLOCK_GROUP, Id.BLOCK, Id.TRACK_ENTRY, Id.TAG})


@dataclass(frozen=True)
class ReaderLimits:
    """What a reader accepts before it allocates.

    Attributes:
        tags_size: bytes of a Tags element.
        held_elements: elements inside one element that is held whole (EBML head, Info, Tracks, Tags).
    """

    tags_size: int = 1024 * 1024
    held_elements: int = 65_536


# A fragment may have ten tags of 384 bytes and two events with ten pairs each: 32 SimpleTags, a hundred elements.
UPLOAD_LIMITS = ReaderLimits(tags_size=64 * 1024, held_elements=512)


@dataclass
class _Level:
    """An open master. ``end`` is None while unknown; ``is_open_ended`` when its own size is unknown."""

    kind: int
    offset: int
    end: int | None
    is_open_ended: bool


@dataclass
class _Document:
    """What is known about the document being read."""

    end_offset: int = 0
    has_segment: bool = False
    segment_offset: int = 0
    info: dict[str, Any] | None = None
    tracks: tuple[Track, ...] | None = None
    has_header: bool = False
    cluster_timecode: int | None = None


@dataclass
class _Pending:
    """An element whose head was read and whose payload is still coming: held, or stepped over."""

    id: int
    offset: int
    payload_offset: int
    left: int
    held: bytearray | None = None
    block: Block | None = None


@dataclass
class _Group:
    """A BlockGroup's children until it ends."""

    block: Block | None = None
    has_reference: bool = False
    duration: int | None = None
    discard_padding_ns: int = 0


class MkvReader:
    """Push parser: :meth:`feed` bytes, get events; :meth:`close` at the end of the bytes.

    ``slice_max`` above 0 bounds how many elements one feed looks at, and so how long it takes: it ends after the held
    element that goes beyond. While :attr:`has_more` is true, ``feed(b"")`` goes on.
    """

    def __init__(self, *, keep_payload: bool = False, limits: ReaderLimits | None = None) -> None:
        self._keep_payload = keep_payload
        self._limits = limits or ReaderLimits()
        self.slice_max = 0
        self.has_more = False
        self.elements = 0
        """Elements seen so far, those inside held ones not counted."""
        self._looked_at = 0  # the same, with those that a held one may hold
        self._rest = b""  # bytes seen but not yet understood; without slices shorter than two element heads
        self._base = 0  # offset of the first byte of _rest
        self._levels: list[_Level] = []
        self._document: _Document | None = None
        self._pending: _Pending | None = None
        self._group = _Group()
        self._said: dict[int, tuple[bytes, Any]] = {}  # EBML head, Info, Tracks: the last of each, and what it says
        self._events: list[Event] = []
        self._has_failed = False

    @property
    def offset(self) -> int:
        """Bytes fed so far."""
        return self._base + len(self._rest)

    @property
    def position(self) -> int:
        """Bytes looked at so far; what follows them is the head of an element that is not whole."""
        return self._base

    def feed(self, data: bytes | bytearray | memoryview) -> list[Event]:
        """Take the next bytes and return what they completed. A Problem is the last event there ever is."""
        if self._has_failed:
            return []
        chunk = self._rest + bytes(data) if self._rest else bytes(data)
        self._events = []
        try:
            used = self._run(chunk)
            self._rest = chunk[used:]
            self._base += used
        except EbmlError as error:
            self._fail(error)
        return self._events

    def close(self) -> list[Event]:
        """The bytes are over: end what may end here, or report that they were cut."""
        if self._has_failed:
            return []
        self._events = []
        try:
            self._finish()
        except EbmlError as error:
            self._fail(error)
        self._has_failed = True
        return self._events

    def _fail(self, error: EbmlError) -> None:
        self._has_failed = True
        self.has_more = False
        self._rest = b""
        self._pending = None
        self._events.append(Problem(error.kind, error.offset))

    def _finish(self) -> None:
        if self._rest or self._pending:
            raise EbmlError(ProblemKind.TRUNCATED, self.offset)
        if any(not level.is_open_ended for level in self._levels):
            raise EbmlError(ProblemKind.TRUNCATED, self.offset)
        self._end_document(self.offset)

    # The walk over elements.

    def _run(self, chunk: bytes) -> int:
        """Consume as much of ``chunk`` as can be understood; return how much that was."""
        pos, end = 0, len(chunk)
        self.has_more = False
        last = self._looked_at + self.slice_max
        while not self.slice_max or self._looked_at < last:
            if self._pending is not None:
                pos = self._take_payload(self._pending, chunk, pos)
                if self._pending is not None:
                    return pos
            if pos < end and chunk[pos] == Id.SIMPLE_BLOCK and not self._keep_payload:
                taken = self._take_blocks(chunk, pos, last - self._looked_at if self.slice_max else end)
                if taken != pos:
                    pos = taken
                    continue
            self._end_levels(self._base + pos)
            offset = self._base + pos
            head = parse_head(chunk, pos, offset)
            if head is None:
                return pos
            used = self._open(head, offset, chunk, pos + head.width)
            if used < 0:
                return pos
            pos += head.width + used
            self.elements += 1
            self._looked_at += 1
            if pos > end:
                raise AssertionError("the reader stepped past its input")
        self.has_more = pos < end
        return pos

    def _take_blocks(self, chunk: bytes, pos: int, most: int) -> int:
        """Take up to ``most`` SimpleBlocks of the usual form in one go, of the last one what there is; return where
        they end. What is of another form may be wrong, and is for :meth:`_open` to judge."""
        document, level = self._document, self._levels[-1] if self._levels else None
        if document is None or level is None or level.kind != _CLUSTER or document.cluster_timecode is None:
            return pos
        base, timecode, count = self._base, document.cluster_timecode, 0
        fed, take = len(chunk), self._events.append
        end = 1 << 63 if level.end is None else level.end - base
        while count < most and pos + 6 <= fed and chunk[pos] == Id.SIMPLE_BLOCK:
            width = WIDTHS[chunk[pos + 1]]
            body = pos + 1 + width  # track number of a byte, two bytes of time, flags
            if not width or body + 4 > fed:
                break
            size = int.from_bytes(chunk[pos + 1 : body], "big") & _VALUE_BITS[width]
            number, high, low, flags = chunk[body : body + 4]
            if size < 4 or size == _VALUE_BITS[width] or body + size > end or number <= 0x80 or flags & 0x06:
                break
            time = timecode + (high << 8 | low) - (high >> 7 << 16)
            is_key_frame, is_discardable, is_invisible = flags >= 0x80, flags & 0x01 != 0, flags & 0x08 != 0
            block = Block(
                base + pos, number & 0x7F, time, is_key_frame, is_discardable, is_invisible, base + body + 4, size - 4
            )
            count += 1
            if body + size > fed:
                self._pending = _Pending(Id.SIMPLE_BLOCK, block.offset, block.payload_offset, body + size - fed)
                self._pending.block = block
                pos = fed
                break
            take(block)
            pos = body + size
        self.elements += count
        self._looked_at += count
        return pos

    def _take_payload(self, pending: _Pending, chunk: bytes, pos: int) -> int:
        count = min(pending.left, len(chunk) - pos)
        if pending.held is not None:
            pending.held += memoryview(chunk)[pos : pos + count]
        pending.left -= count
        if pending.left == 0:
            self._pending = None
            self._complete(pending)
        return pos + count

    def _end_levels(self, offset: int) -> None:
        """Leave every level whose known end is here."""
        while self._levels and self._levels[-1].end == offset:
            self._leave(offset)

    def _leave(self, offset: int) -> None:
        level = self._levels.pop()
        if level.kind == _CLUSTER:
            self._end_cluster(level, offset)
        elif level.kind == _GROUP:
            self._end_group(level)

    def _open(self, head: Head, offset: int, chunk: bytes, pos: int) -> int:
        """Begin the element; return how many payload bytes were used, or -1 when more must be seen first."""
        kind = self._levels[-1].kind if self._levels else _TOP
        if kind == _CLUSTER and head.id == Id.SIMPLE_BLOCK:
            return self._open_block(head, offset, chunk, pos)
        if kind in (_CLUSTER, _SEGMENT) and head.id in _CLUSTER_ENDERS:
            kind = self._close_open_ended(head.id, offset, kind)
        self._check_fits(head, offset)
        if kind == _TOP:
            return self._open_top(head, offset)
        if kind == _SEGMENT:
            return self._open_level_1(head, offset)
        if head.id == Id.BLOCK and kind == _GROUP:
            return self._open_block(head, offset, chunk, pos)
        return self._open_in_cluster(head, offset, kind)

    def _close_open_ended(self, ident: int, offset: int, kind: int) -> int:
        """An element that the present level cannot hold ends it, if its size is unknown."""
        if kind == _CLUSTER:
            if not self._levels[-1].is_open_ended:
                raise EbmlError(ProblemKind.MISPLACED, offset)
            self._leave(offset)
            kind = _SEGMENT
        if ident == Id.EBML:
            if not self._levels[-1].is_open_ended:
                raise EbmlError(ProblemKind.MISPLACED, offset)
            self._end_document(offset)
            kind = _TOP
        elif ident == Id.SEGMENT:
            raise EbmlError(ProblemKind.SECOND_SEGMENT, offset)
        return kind

    def _check_fits(self, head: Head, offset: int) -> None:
        end = self._levels[-1].end if self._levels else None
        if end is not None and offset + head.width + max(head.size, 0) > end:
            raise EbmlError(ProblemKind.OVERRUN, offset)
        if head.size == UNKNOWN_SIZE and head.id not in (Id.SEGMENT, Id.CLUSTER):
            raise EbmlError(ProblemKind.UNKNOWN_SIZE, offset)

    def _open_top(self, head: Head, offset: int) -> int:
        if head.id == Id.EBML:
            if self._document is not None:
                self._end_document(offset)
            return self._hold(head, offset)
        if self._document is None:
            raise EbmlError(ProblemKind.NOT_EBML, offset)
        if head.id in (Id.VOID, Id.CRC32):
            return self._step_over(head, offset)
        if head.id != Id.SEGMENT:
            raise EbmlError(ProblemKind.NOT_EBML if self._document.has_segment else ProblemKind.NO_SEGMENT, offset)
        if self._document.has_segment:
            raise EbmlError(ProblemKind.SECOND_SEGMENT, offset)
        self._document.has_segment = True
        self._document.segment_offset = offset + head.width
        return self._enter(_SEGMENT, head, offset)

    def _open_level_1(self, head: Head, offset: int) -> int:
        if head.id == Id.CLUSTER:
            self._emit_header(offset)
            self._doc.cluster_timecode = None
            return self._enter(_CLUSTER, head, offset)
        if head.id == Id.TAGS:
            if self._doc.tracks is not None:
                self._emit_header(offset)
            return self._hold(head, offset)
        if head.id in (Id.INFO, Id.TRACKS):
            seen = self._doc.info if head.id == Id.INFO else self._doc.tracks
            if seen is not None or self._doc.has_header:
                raise EbmlError(ProblemKind.REPEATED, offset)
            return self._hold(head, offset)
        if head.id in _CLUSTER_ONLY:
            raise EbmlError(ProblemKind.MISPLACED, offset)
        return self._step_over(head, offset)

    def _open_in_cluster(self, head: Head, offset: int, kind: int) -> int:
        if head.id in (Id.TIMESTAMP, Id.BLOCK_DURATION, Id.REFERENCE_BLOCK, Id.DISCARD_PADDING):
            if (head.id == Id.TIMESTAMP) != (kind == _CLUSTER):
                raise EbmlError(ProblemKind.MISPLACED, offset)
            return self._hold(head, offset)
        if head.id == Id.BLOCK_GROUP and kind == _CLUSTER:
            self._group = _Group()
            return self._enter(_GROUP, head, offset)
        if head.id in _CLUSTER_ENDERS or head.id in _CLUSTER_ONLY:
            raise EbmlError(ProblemKind.MISPLACED, offset)
        return self._step_over(head, offset)

    def _open_block(self, head: Head, offset: int, chunk: bytes, pos: int) -> int:
        """Read the few bytes before the frame; they may straddle two feeds, so they wait until all are there."""
        self._check_fits(head, offset)
        block_head_size = min(head.size, _BLOCK_HEAD_MAX)
        if len(chunk) - pos < block_head_size:
            return -1
        timecode = self._doc.cluster_timecode
        if timecode is None:
            raise EbmlError(ProblemKind.NO_TIMESTAMP, offset)
        number = parse_vint(chunk[pos : pos + block_head_size], 0)
        if number is None or number[0] == 0 or number[1] + 3 > head.size:
            raise EbmlError(ProblemKind.BAD_BLOCK, offset)
        track, width = number
        relative = int.from_bytes(chunk[pos + width : pos + width + 2], "big", signed=True)
        flags = chunk[pos + width + 2]
        if flags & 0x06:
            raise EbmlError(ProblemKind.LACING, offset)
        payload_offset = offset + head.width + width + 3
        kinds = (flags & 0x80 != 0, flags & 0x01 != 0, flags & 0x08 != 0)
        block = Block(offset, track, timecode + relative, *kinds, payload_offset, head.size - width - 3)
        held = bytearray() if self._keep_payload else None
        self._pending = _Pending(head.id, offset, payload_offset, head.size - width - 3, held, block)
        return width + 3

    def _enter(self, kind: int, head: Head, offset: int) -> int:
        is_open_ended = head.size == UNKNOWN_SIZE
        end = self._levels[-1].end if self._levels else None
        if not is_open_ended:
            end = offset + head.width + head.size
        self._levels.append(_Level(kind, offset, end, is_open_ended))
        return 0

    def _hold(self, head: Head, offset: int) -> int:
        most = self._limits.tags_size if head.id == Id.TAGS else _HELD_MAX[head.id]
        if head.size > most:
            raise EbmlError(ProblemKind.TOO_LARGE if most > 8 else ProblemKind.BAD_VALUE, offset)
        self._pending = _Pending(head.id, offset, offset + head.width, head.size, bytearray())
        return 0

    def _step_over(self, head: Head, offset: int) -> int:
        self._pending = _Pending(head.id, offset, offset + head.width, head.size)
        return 0

    # What a complete element means.

    @property
    def _doc(self) -> _Document:
        if self._document is None:
            raise AssertionError("an element below the top level without a document")
        return self._document

    def _complete(self, pending: _Pending) -> None:
        if pending.block is not None:
            pending.block.payload = None if pending.held is None else bytes(pending.held)
            self._complete_block(pending.block, pending.id)
        elif pending.held is not None:
            self._complete_held(pending, bytes(pending.held))

    def _complete_block(self, block: Block, ident: int) -> None:
        if ident == Id.SIMPLE_BLOCK:
            self._events.append(block)
        elif self._group.block is not None:
            raise EbmlError(ProblemKind.REPEATED, block.offset)
        else:
            self._group.block = block

    def _complete_held(self, pending: _Pending, body: bytes) -> None:
        start, end, most = pending.payload_offset, pending.payload_offset + len(body), self._limits.held_elements
        self._looked_at += min(len(body) // 2, most)
        if pending.id == Id.EBML:
            doc_type = self._repeated(pending, body, parse_ebml_head)
            self._document = _Document(end_offset=end)
            self._events.append(DocumentStart(pending.offset, end, doc_type))
        elif pending.id == Id.INFO:
            self._doc.info = self._repeated(pending, body, parse_info)
        elif pending.id == Id.TRACKS:
            self._doc.tracks = self._repeated(pending, body, parse_tracks)
        elif pending.id == Id.TAGS:
            self._events.append(Tags(pending.offset, end, parse_tags(body, start, most)))
        else:
            self._complete_number(Element(pending.id, pending.offset, body))

    def _repeated(self, pending: _Pending, body: bytes, parse: Callable[[bytes, int, int], _T]) -> _T:
        """Parse an element that a document mostly has from the one before it; then return what that said."""
        last = self._said.get(pending.id)
        if last is None or last[0] != body:
            last = (body, parse(body, pending.payload_offset, self._limits.held_elements))
            self._said[pending.id] = last
        said: _T = last[1]
        return said

    def _complete_number(self, element: Element) -> None:
        if element.id == Id.TIMESTAMP:
            if self._doc.cluster_timecode is not None:
                raise EbmlError(ProblemKind.REPEATED, element.offset)
            self._doc.cluster_timecode = read_uint(element)
            self._events.append(ClusterStart(self._levels[-1].offset, self._doc.cluster_timecode))
        elif element.id == Id.REFERENCE_BLOCK:
            self._group.has_reference = True
        elif element.id == Id.BLOCK_DURATION:
            self._group.duration = read_uint(element)
        elif element.id == Id.DISCARD_PADDING:
            self._group.discard_padding_ns = read_int(element)

    def _end_group(self, level: _Level) -> None:
        group, block = self._group, self._group.block
        if block is None:
            raise EbmlError(ProblemKind.BAD_BLOCK, level.offset)
        block.is_key_frame = not group.has_reference
        block.duration, block.discard_padding_ns = group.duration, group.discard_padding_ns
        self._events.append(block)

    def _end_cluster(self, level: _Level, offset: int) -> None:
        if self._doc.cluster_timecode is None:
            raise EbmlError(ProblemKind.NO_TIMESTAMP, level.offset)
        self._events.append(ClusterEnd(level.offset, offset))

    def _emit_header(self, offset: int) -> None:
        document = self._doc
        if document.has_header:
            return
        if document.tracks is None:
            raise EbmlError(ProblemKind.NO_TRACKS, offset)
        document.has_header = True
        self._events.append(Header(document.segment_offset, offset, document.tracks, **(document.info or {})))

    def _end_document(self, offset: int) -> None:
        """Leave all levels. A document without Tracks is one of Tags alone, as GetMedia sends them."""
        while self._levels:
            self._leave(offset)
        if self._document is None:
            return
        if not self._document.has_segment:
            raise EbmlError(ProblemKind.NO_SEGMENT, offset)
        if self._document.tracks is not None:
            self._emit_header(offset)
        self._document = None


def read_all(data: bytes, *, keep_payload: bool = True) -> list[Event]:
    """Read a whole file or answer at once; the last event is a Problem if there is any."""
    reader = MkvReader(keep_payload=keep_payload)
    return reader.feed(data) + reader.close()
