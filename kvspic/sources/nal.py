"""NAL units of H.264 and H.265 as bytes: how they are framed, which pictures can be begun at, what their order is.

Pure functions over bytes. Containers describe pictures too, by flags and boxes, and cameras write these wrongly more
often than the pictures themselves; so what is here is read from the bits (ITU-T H.264 sections 7.3, 7.4 and annex B,
ITU-T H.265 sections 7.3, 7.4 and annex B, ISO/IEC 14496-15 for avcC and hvcC).
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass

from kvspic.sources.bits import Bits

__all__ = [
    "ANNEXB_PREFIX",
    "NAL_CODECS",
    "LengthFraming",
    "NalCodec",
    "PictureFacts",
    "annexb_from_lengths",
    "framing_of_private",
    "nal_units",
    "parameter_sets",
    "picture_facts",
    "private_as_annexb",
    "split_lengths",
]

ANNEXB_PREFIX = b"\0\0\0\1"
SEI_RECOVERY_POINT = 6
HEAD_SIZE = 4096  # parameter sets and SEI lie before the first slice, and rarely take more
SLICE_HEADER_SIZE = 16  # first_mb_in_slice, slice_type and the like take fewer bytes
H264_B_TYPES, H264_I_TYPES = (1, 6), (2, 4, 7, 9)  # ITU-T H.264 table 7-6, SI counted with I
H265_B_TYPE, H265_I_TYPE = 0, 2  # ITU-T H.265 table 7-7
AVCC_HEAD_SIZE, HVCC_HEAD_SIZE = 6, 23


@dataclass(frozen=True)
class NalCodec:
    """Where a codec's NAL header has the type, which types are what, and which sets a decoder needs."""

    head_size: int
    type_shift: int
    type_mask: int
    sets: tuple[int, ...]
    sei: int
    slices: frozenset[int]
    random_access: frozenset[int]

    def type_of(self, first_byte: int) -> int:
        """Return nal_unit_type from the first byte of a NAL unit."""
        return first_byte >> self.type_shift & self.type_mask


NAL_CODECS = {
    "video/h264": NalCodec(1, 0, 0x1F, (7, 8), 6, frozenset((1, 2, 5)), frozenset((5,))),
    "video/h265": NalCodec(2, 1, 0x3F, (32, 33, 34), 39, frozenset(range(32)), frozenset(range(16, 24))),
}


@dataclass(frozen=True)
class PictureFacts:
    """What an access unit shows of itself, as far as its first slice. ``is_random_access`` is IDR, BLA or CRA;
    ``has_recovery_point`` that a decoder may begin here and is right after some pictures; ``is_intra`` and ``is_b``
    are of the first slice."""

    has_picture: bool
    is_random_access: bool = False
    has_recovery_point: bool = False
    is_intra: bool = False
    is_b: bool = False

    def is_key(self, is_flagged: bool) -> bool:
        """Tell whether a fragment may begin here; ``is_flagged`` is the container's word, which alone is not enough."""
        return self.is_random_access or self.has_recovery_point or (is_flagged and self.is_intra)


@dataclass(frozen=True)
class LengthFraming:
    """What avcC or hvcC says: how many bytes a length has, and the parameter sets, each a NAL unit without a prefix."""

    length_size: int
    sets: tuple[bytes, ...]
    is_complete: bool  # every kind of set that a decoder needs is there


def nal_units(data: bytes) -> Iterator[int]:
    """Give the place of each NAL unit of an Annex-B access unit: the index of the byte after its start code."""
    place = data.find(b"\0\0\1")
    while place >= 0:
        yield place + 3
        place = data.find(b"\0\0\1", place + 3)


def split_lengths(data: bytes | memoryview, length_size: int) -> tuple[list[memoryview], int]:
    """Return the NAL units of a length-prefixed access unit, and how many bytes they take with their lengths.

    Empty units are left out. A length that reaches behind the end is where the walk stops.
    """
    view = memoryview(data)
    units: list[memoryview] = []
    place = 0
    while place + length_size <= len(view):
        size = int.from_bytes(view[place : place + length_size], "big")
        if place + length_size + size > len(view):
            break
        if size:
            units.append(view[place + length_size : place + length_size + size])
        place += length_size + size
    return units, place


def annexb_from_lengths(data: bytes | memoryview, length_size: int) -> bytes:
    """Return a length-prefixed access unit with start codes; what follows the last whole unit is left out."""
    return b"".join(piece for unit in split_lengths(data, length_size)[0] for piece in (ANNEXB_PREFIX, unit))


def framing_of_private(private: bytes | None, content_type: str) -> LengthFraming | None:
    """Read avcC or hvcC (ISO/IEC 14496-15 sections 5.3.3.1 and 8.3.3.1); None if the bytes are neither."""
    codec = NAL_CODECS.get(content_type)
    if codec is None or not private or private[0] != 1:
        return None
    if codec.head_size == 1:
        if len(private) < AVCC_HEAD_SIZE:
            return None
        length_size, sets = (private[4] & 3) + 1, _avcc_sets(private)
    else:
        if len(private) < HVCC_HEAD_SIZE:
            return None
        length_size, sets = (private[21] & 3) + 1, _hvcc_sets(private)
    kinds = {codec.type_of(unit[0]) for unit in sets if unit}
    return LengthFraming(length_size, tuple(sets), kinds >= set(codec.sets))


def private_as_annexb(framing: LengthFraming) -> bytes | None:
    """Return the parameter sets with start codes; None if there are none."""
    return b"".join(ANNEXB_PREFIX + unit for unit in framing.sets) or None


def parameter_sets(data: bytes, content_type: str) -> bytes:
    """Return the parameter sets at the start of an Annex-B access unit, each with a start code of four bytes.

    Empty unless all that a decoder needs are there (ITU-T H.264: SPS and PPS; H.265: VPS too). One that is not followed
    by another NAL unit may be cut, and does not count.
    """
    codec = NAL_CODECS.get(content_type)
    if codec is None:
        return b""
    found: dict[bytes, int] = {}
    for place, end in itertools.pairwise(nal_units(data)):
        kind = codec.type_of(data[place])
        if kind in codec.sets:
            found[data[place : end - 3].rstrip(b"\0")] = kind
    if set(found.values()) != set(codec.sets):
        return b""
    return b"".join(ANNEXB_PREFIX + unit for unit in sorted(found, key=lambda unit: (found[unit], unit)))


def picture_facts(data: bytes | memoryview, content_type: str, length_size: int = 0) -> PictureFacts | None:
    """Return what an access unit is; None for a codec without NAL units.

    ``length_size`` is that of the lengths before its NAL units, 0 for start codes.
    """
    codec = NAL_CODECS.get(content_type)
    if codec is None:
        return None
    if length_size:
        return _facts(iter(split_lengths(data, length_size)[0]), codec)
    facts = _facts(_annexb_units(bytes(data[:HEAD_SIZE])), codec)
    if not facts.has_picture and len(data) > HEAD_SIZE:
        facts = _facts(_annexb_units(bytes(data)), codec)
    return facts


def _annexb_units(data: bytes) -> Iterator[memoryview]:
    view = memoryview(data)
    places = list(nal_units(data))
    for place, end in itertools.zip_longest(places, places[1:]):
        yield view[place : len(data) if end is None else end - 3]


def _facts(units: Iterator[memoryview], codec: NalCodec) -> PictureFacts:
    has_recovery_point = False
    for unit in units:
        if len(unit) <= codec.head_size:
            continue
        kind = codec.type_of(unit[0])
        if kind == codec.sei:
            has_recovery_point = has_recovery_point or _has_recovery_point(bytes(unit[codec.head_size :]))
        elif kind in codec.slices:
            is_random_access = kind in codec.random_access
            slice_type = _slice_type(bytes(unit[codec.head_size : codec.head_size + SLICE_HEADER_SIZE]), codec, kind)
            is_intra = slice_type in H264_I_TYPES if codec.head_size == 1 else slice_type == H265_I_TYPE
            is_b = slice_type in H264_B_TYPES if codec.head_size == 1 else slice_type == H265_B_TYPE
            return PictureFacts(True, is_random_access, has_recovery_point, is_intra or is_random_access, is_b)
    return PictureFacts(False)


def _slice_type(header: bytes, codec: NalCodec, kind: int) -> int:
    """Return slice_type of a picture's first slice, -1 if it is not in these bytes.

    H.264: it follows first_mb_in_slice. H.265: it follows first_slice_segment_in_pic_flag, a flag of random access
    pictures and the number of the picture parameter set; streams with extra slice header bits are not read right.
    """
    bits = Bits(header)
    if codec.head_size == 1:
        bits.exp_golomb()
        return bits.exp_golomb()
    is_first = bits.read(1)
    if kind in codec.random_access:
        bits.read(1)
    bits.exp_golomb()
    return bits.exp_golomb() if is_first else -1


def _has_recovery_point(sei: bytes) -> bool:
    """Tell whether an SEI NAL unit, without its header, has a recovery point (H.264 section D.1.8, H.265 D.2.8)."""
    place = 0
    while place + 2 <= len(sei) and sei[place] != 0x80:
        kind, place = _sei_number(sei, place)
        size, place = _sei_number(sei, place)
        if kind == SEI_RECOVERY_POINT:
            return True
        place += size
    return False


def _sei_number(sei: bytes, place: int) -> tuple[int, int]:
    """Return a number that is written as bytes of 255 and a rest, and the place behind it."""
    value = 0
    while place < len(sei) and sei[place] == 0xFF:
        value += 255
        place += 1
    return value + (sei[place] if place < len(sei) else 0), place + 1


def _avcc_sets(private: bytes) -> list[bytes]:
    sets: list[bytes] = []
    place = AVCC_HEAD_SIZE
    for count in (private[5] & 0x1F, None):
        if count is None:
            if place >= len(private):
                break
            count = private[place]
            place += 1
        for _ in range(count):
            size = int.from_bytes(private[place : place + 2], "big")
            sets.append(private[place + 2 : place + 2 + size])
            place += 2 + size
    return [unit for unit in sets if unit]


def _hvcc_sets(private: bytes) -> list[bytes]:
    sets: list[bytes] = []
    place = HVCC_HEAD_SIZE
    for _ in range(private[22]):
        count = int.from_bytes(private[place + 1 : place + 3], "big")
        place += 3
        for _ in range(count):
            size = int.from_bytes(private[place : place + 2], "big")
            sets.append(private[place + 2 : place + 2 + size])
            place += 2 + size
    return [unit for unit in sets if unit]
