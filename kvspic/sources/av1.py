"""AV1 as bytes: open bitstream units (OBUs), the sequence header, and av1C, which Matroska wants of it.

Layouts: AV1 Bitstream & Decoding Process Specification sections 5.3, 5.5; AV1 Codec ISO Media File Format Binding
section 2.3 (av1C). Pure functions over bytes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from kvspic.sources.bits import Bits

__all__ = ["av1_private", "without_delimiters"]

SEQUENCE_HEADER, TEMPORAL_DELIMITER = 1, 2
MARKER_AND_VERSION = 0x81
PROFILE_PROFESSIONAL = 2
SELECT = 2  # a value of two bits that says that frames choose for themselves
LEVEL_WITH_TIER = 7


@dataclass(frozen=True)
class _Obu:
    """One unit: where it lies, and where its payload begins."""

    kind: int
    begin: int
    payload: int
    end: int


def without_delimiters(packet: Any) -> Any:
    """Return a temporal unit without temporal delimiters, which Matroska forbids; the packet itself if it has none."""
    view = memoryview(packet)
    if view.nbytes == 0 or view[0] >> 3 & 15 != TEMPORAL_DELIMITER:
        return packet
    return b"".join(view[unit.begin : unit.end] for unit in _units(view) if unit.kind != TEMPORAL_DELIMITER)


def av1_private(data: bytes) -> bytes | None:
    """Return av1C for the sequence header in ``data``, a run of OBUs; None if there is none."""
    for unit in _units(memoryview(data)):
        if unit.kind == SEQUENCE_HEADER:
            return _configuration(data[unit.payload : unit.end]) + data[unit.begin : unit.end]
    return None


def _units(view: memoryview) -> Iterator[_Obu]:
    """Give the units of a run; one whose size reaches behind the end is where it stops."""
    place = 0
    while place < len(view):
        head = view[place]
        payload = place + 1 + (head >> 2 & 1)
        size = len(view) - payload
        if head & 2:
            size, payload = _leb128(view, payload)
        if size < 0 or payload + size > len(view):
            return
        yield _Obu(head >> 3 & 15, place, payload, payload + size)
        place = payload + size


def _leb128(view: memoryview, place: int) -> tuple[int, int]:
    """Return a number of section 4.10.5 and the place behind it; -1 if it does not end."""
    value = 0
    for count in range(8):
        if place + count >= len(view):
            break
        value |= (view[place + count] & 0x7F) << 7 * count
        if not view[place + count] & 0x80:
            return value, place + count + 1
    return -1, place


def _configuration(header: bytes) -> bytes:
    """Return the first four bytes of av1C, from a sequence header (section 5.5.1)."""
    bits = Bits(header)
    profile = bits.read(3)
    bits.read(1)  # still_picture
    level = tier = 0
    if bits.read(1):  # reduced_still_picture_header
        level = bits.read(5)
        is_reduced = True
    else:
        is_reduced = False
        level, tier = _operating_points(bits)
    width_bits, height_bits = bits.read(4) + 1, bits.read(4) + 1
    bits.read(width_bits)
    bits.read(height_bits)
    _tools(bits, is_reduced)
    return bytes((MARKER_AND_VERSION, profile << 5 | level, tier << 7 | _colour(bits, profile), 0))


def _operating_points(bits: Bits) -> tuple[int, int]:
    """Read timing and operating points; return level and tier of the first one."""
    delay_bits = 0
    has_model = 0
    if bits.read(1):  # timing_info_present_flag
        bits.read(64)
        if bits.read(1):
            bits.exp_golomb()  # uvlc(), section 4.10.3
        has_model = bits.read(1)
        if has_model:
            delay_bits = bits.read(5) + 1
            bits.read(42)
    has_delay = bits.read(1)
    found: list[tuple[int, int]] = []
    for _ in range(bits.read(5) + 1):
        bits.read(12)
        level = bits.read(5)
        tier = bits.read(1) if level > LEVEL_WITH_TIER else 0
        found.append((level, tier))
        if has_model and bits.read(1):
            bits.read(2 * delay_bits + 1)
        if has_delay and bits.read(1):
            bits.read(4)
    return found[0]


def _tools(bits: Bits, is_reduced: bool) -> None:
    """Read what lies between the picture's size and its colours."""
    if not is_reduced and bits.read(1):  # frame_id_numbers_present_flag
        bits.read(7)
    bits.read(3)
    if not is_reduced:
        bits.read(4)
        has_order_hint = bits.read(1)
        if has_order_hint:
            bits.read(2)
        screen_content = SELECT if bits.read(1) else bits.read(1)
        if screen_content > 0 and not bits.read(1):
            bits.read(1)
        if has_order_hint:
            bits.read(3)
    bits.read(3)


def _colour(bits: Bits, profile: int) -> int:
    """Read color_config (section 5.5.2); return the third byte of av1C without its tier."""
    high_depth = bits.read(1)
    twelve = bits.read(1) if profile == PROFILE_PROFESSIONAL and high_depth else 0
    mono = 0 if profile == 1 else bits.read(1)
    description = tuple(bits.read(8) for _ in range(3)) if bits.read(1) else (2, 2, 2)
    x, y, position = 1, 1, 0
    if not mono:
        if description == (1, 13, 0):  # sRGB
            x = y = 0
        else:
            bits.read(1)  # color_range
            x, y = _subsampling(bits, profile, bool(twelve))
            position = bits.read(2) if x and y else 0
    return high_depth << 6 | twelve << 5 | mono << 4 | x << 3 | y << 2 | position


def _subsampling(bits: Bits, profile: int, is_twelve: bool) -> tuple[int, int]:
    if profile == 0:
        return 1, 1
    if profile == 1:
        return 0, 0
    if not is_twelve:
        return 1, 0
    x = bits.read(1)
    return x, bits.read(1) if x else 0
