"""EBML numbers, element heads and values (RFC 8794), for reading only.

Pure functions over bytes. Nothing here knows Matroska beyond the element ids at the end, and nothing keeps state. Every
refusal is an :class:`EbmlError` with a :class:`ProblemKind` and the offset of the element that is wrong.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from enum import Enum
from typing import NamedTuple

__all__ = [
    "UNKNOWN_SIZE",
    "WIDTHS",
    "EbmlError",
    "Element",
    "Head",
    "Id",
    "ProblemKind",
    "children",
    "parse_head",
    "parse_vint",
    "read_float",
    "read_int",
    "read_text",
    "read_uint",
]

UNKNOWN_SIZE = -1


class ProblemKind(Enum):
    """Everything that can be wrong with a byte stream that should be Matroska. One stream has at most one."""

    BAD_ID = "an element id is not valid EBML"
    BAD_SIZE = "an element size is not valid EBML"
    UNKNOWN_SIZE = "this element may not have an unknown size"
    OVERRUN = "an element is longer than the element that holds it"
    TOO_LARGE = "a header element is larger than the reader accepts"
    BAD_VALUE = "a value has a length or content that its type forbids"
    NOT_EBML = "the bytes do not begin with an EBML header"
    UNSUPPORTED = "the EBML header asks for a version or width that no Matroska reader has"
    NOT_MATROSKA = "the DocType is neither matroska nor webm"
    NO_SEGMENT = "the EBML header is not followed by a Segment"
    SECOND_SEGMENT = "a document has more than one Segment"
    REPEATED = "an element that may occur once occurs again"
    MISPLACED = "an element stands where it may not stand"
    NO_TRACKS = "a Cluster comes before Tracks"
    BAD_TRACK = "a TrackEntry lacks its number, or two have the same one"
    NO_TIMESTAMP = "a Cluster does not begin with its Timestamp"
    BAD_BLOCK = "a block is too short or names no track"
    LACING = "a block uses lacing"
    TRUNCATED = "the bytes end inside an element"


class EbmlError(Exception):
    """The bytes at ``offset`` are wrong in the way that ``kind`` says."""

    def __init__(self, kind: ProblemKind, offset: int) -> None:
        super().__init__(f"{kind.value} (offset {offset})")
        self.kind = kind
        self.offset = offset


class Head(NamedTuple):
    """Id, payload size (or ``UNKNOWN_SIZE``) and width of an element head."""

    id: int
    size: int
    width: int


class Element(NamedTuple):
    """One child of a master that is held in memory."""

    id: int
    offset: int
    body: bytes


def _width(first: int) -> int:
    return 9 - first.bit_length() if first else 0


WIDTHS = tuple(_width(first) for first in range(256))
"""Of an EBML number, by its first byte; 0 where no number begins so."""


def parse_vint(data: bytes, pos: int) -> tuple[int, int] | None:
    """Return value and width of the EBML number at ``pos``; None if more bytes are needed; width 0 if it is invalid."""
    if pos >= len(data):
        return None
    width = WIDTHS[data[pos]]
    if width == 0:
        return 0, 0
    if len(data) - pos < width:
        return None
    value = int.from_bytes(data[pos : pos + width], "big") & ((1 << 7 * width) - 1)
    return value, width


def _check_id(value: int, width: int) -> bool:
    """RFC 8794 section 5: data bits neither all zero nor all one, and the shortest width that can hold them."""
    bits = value & ((1 << 7 * width) - 1)
    if bits == 0 or bits == (1 << 7 * width) - 1:
        return False
    return width == 1 or bits >= (1 << 7 * (width - 1)) - 1


def parse_head(data: bytes, pos: int, offset: int) -> Head | None:
    """Read the element head at ``data[pos]``, which is ``offset`` in the stream; None if more bytes are needed."""
    if pos >= len(data):
        return None
    id_width = WIDTHS[data[pos]]
    if id_width == 0 or id_width > 4:
        raise EbmlError(ProblemKind.BAD_ID, offset)
    if len(data) - pos < id_width:
        return None
    ident = int.from_bytes(data[pos : pos + id_width], "big")
    if ident not in _KNOWN_IDS and not _check_id(ident, id_width):
        raise EbmlError(ProblemKind.BAD_ID, offset)
    number = parse_vint(data, pos + id_width)
    if number is None:
        return None
    size, size_width = number
    if size_width == 0:
        raise EbmlError(ProblemKind.BAD_SIZE, offset)
    if size == (1 << 7 * size_width) - 1:
        size = UNKNOWN_SIZE
    return Head(ident, size, id_width + size_width)


def children(body: bytes, offset: int) -> Iterator[Element]:
    """Yield the children of a master whose whole payload is ``body`` and begins at ``offset`` of the stream."""
    pos = 0
    while pos < len(body):
        head = parse_head(body, pos, offset + pos)
        if head is None:
            raise EbmlError(ProblemKind.OVERRUN, offset + pos)
        if head.size == UNKNOWN_SIZE:
            raise EbmlError(ProblemKind.UNKNOWN_SIZE, offset + pos)
        start = pos + head.width
        if start + head.size > len(body):
            raise EbmlError(ProblemKind.OVERRUN, offset + pos)
        yield Element(head.id, offset + pos, body[start : start + head.size])
        pos = start + head.size


def read_uint(element: Element) -> int:
    """Unsigned integer, 0 to 8 bytes; no bytes mean 0."""
    if len(element.body) > 8:
        raise EbmlError(ProblemKind.BAD_VALUE, element.offset)
    return int.from_bytes(element.body, "big")


def read_int(element: Element) -> int:
    """Signed integer, 0 to 8 bytes; no bytes mean 0."""
    if len(element.body) > 8:
        raise EbmlError(ProblemKind.BAD_VALUE, element.offset)
    return int.from_bytes(element.body, "big", signed=True)


def read_float(element: Element) -> float:
    """Float of 0, 4 or 8 bytes; no bytes mean 0."""
    form = {0: "", 4: ">f", 8: ">d"}.get(len(element.body))
    if form is None:
        raise EbmlError(ProblemKind.BAD_VALUE, element.offset)
    return float(struct.unpack(form, element.body)[0]) if form else 0.0


def read_text(element: Element) -> str:
    """UTF-8 text; a zero byte ends it, as RFC 8794 section 7.4 allows padding."""
    try:
        return element.body.split(b"\0", 1)[0].decode("utf-8")
    except UnicodeDecodeError:
        raise EbmlError(ProblemKind.BAD_VALUE, element.offset) from None


class Id:
    """Element ids of RFC 8794 and RFC 9559 that the reader knows by name."""

    EBML, EBML_READ_VERSION, EBML_ID_MAX, EBML_SIZE_MAX, DOC_TYPE = 0x1A45DFA3, 0x42F7, 0x42F2, 0x42F3, 0x4282
    VOID, CRC32 = 0xEC, 0xBF
    SEGMENT, SEEK_HEAD, INFO, TRACKS, CLUSTER = 0x18538067, 0x114D9B74, 0x1549A966, 0x1654AE6B, 0x1F43B675
    CUES, CHAPTERS, ATTACHMENTS, TAGS = 0x1C53BB6B, 0x1043A770, 0x1941A469, 0x1254C367
    TIMESTAMP_SCALE, DURATION, TITLE, MUXING_APP, WRITING_APP = 0x2AD7B1, 0x4489, 0x7BA9, 0x4D80, 0x5741
    DATE_UTC = 0x4461
    TRACK_ENTRY, TRACK_NUMBER, TRACK_UID, TRACK_TYPE, NAME = 0xAE, 0xD7, 0x73C5, 0x83, 0x536E
    CODEC_ID, CODEC_PRIVATE, DEFAULT_DURATION, VIDEO, AUDIO = 0x86, 0x63A2, 0x23E383, 0xE0, 0xE1
    WIDTH, HEIGHT, SAMPLING_FREQUENCY, CHANNELS, BIT_DEPTH = 0xB0, 0xBA, 0xB5, 0x9F, 0x6264
    TIMESTAMP, POSITION, PREV_SIZE, SIMPLE_BLOCK = 0xE7, 0xA7, 0xAB, 0xA3
    BLOCK_GROUP, BLOCK, BLOCK_DURATION, REFERENCE_BLOCK, DISCARD_PADDING = 0xA0, 0xA1, 0x9B, 0xFB, 0x75A2
    TAG, SIMPLE_TAG, TAG_NAME, TAG_STRING = 0x7373, 0x67C8, 0x45A3, 0x4487


_KNOWN_IDS = frozenset(value for name, value in vars(Id).items() if name.isupper())
