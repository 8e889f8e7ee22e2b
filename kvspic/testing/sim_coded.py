"""H.264 in the simulation, just enough of it: a coder with the habits of real ones, and a reader that is strict.

The coder gives its parameter sets in each key frame, in calls of their own, or once; it changes its picture's size
now and then, and the id of its PPS. The reader knows a session's header and what the session's frames brought, nothing
else: what it cannot decode, no player can. Pure.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import NamedTuple

from kvspic.testing.sim_random import SimRandom

__all__ = ["CannotDecode", "Coder", "Picture", "StrictReader"]

KEY = 1
SPS, PPS, SEI, IDR, SLICE = 7, 8, 6, 5, 1
END = b"\x80"
RECOVERY_POINT = bytes.fromhex("060601c480")


class CannotDecode(Exception):
    """What a strict reader says."""


class Picture(NamedTuple):
    """A picture as it is put: ``data`` is length-prefixed, ``sets`` what it was coded with."""

    data: bytes
    sets: tuple[bytes, bytes]


class _Bits:
    def __init__(self, head: bytes) -> None:
        self._text = "".join(f"{byte:08b}" for byte in head)

    def put(self, value: int, count: int) -> _Bits:
        self._text += f"{value:0{count}b}"
        return self

    def ue(self, value: int) -> _Bits:
        code = f"{value + 1:b}"
        self._text += "0" * (len(code) - 1) + code
        return self

    def end(self) -> bytes:
        text = self._text + "1"
        text += "0" * (-len(text) % 8)
        return bytes(int(text[at : at + 8], 2) for at in range(0, len(text), 8))


def _sps(width: int) -> bytes:
    bits = _Bits(bytes.fromhex("6742801e")).ue(0).ue(0).ue(2).ue(1).put(0, 1)
    return bits.ue(width // 16 - 1).ue(14).put(0b1100, 4).end()


def _pps(number: int) -> bytes:
    return _Bits(b"\x68").ue(number).ue(0).put(0, 2).ue(0).ue(0).ue(0).put(0, 3).ue(0).ue(0).ue(0).put(0, 3).end()


def _slice_head(is_idr: bool, pps: int) -> bytes:
    return _Bits(b"\x65" if is_idr else b"\x41").ue(0).ue(7 if is_idr else 5).ue(pps).end()


def _escaped(data: bytes) -> bytes:
    return re.sub(rb"\x00\x00(?=[\x00-\x03])", b"\x00\x00\x03", data)


def _prefixed(*nals: bytes) -> bytes:
    return b"".join(len(nal).to_bytes(4, "big") + nal for nal in nals)


class Coder:
    """One video track's coder."""

    def __init__(self, random: SimRandom) -> None:
        self._random = random
        self._gives_once = random.chance(30)
        self._has_own_calls = random.chance(40)
        self._has_idr = random.chance(60)  # else recovery points
        self._width, self._pps = 320, 0
        self._owes_sets = True

    def begin(self) -> None:
        """Another stream takes the frames: it knows nothing yet."""
        self._owes_sets = True

    def next_group(self) -> tuple[bytes, ...]:
        """Calls to be put before the next key frame."""
        if self._random.chance(10):
            self._width, self._owes_sets = self._width % 1280 + 320, True
        if self._random.chance(20):
            self._pps, self._owes_sets = 1 - self._pps, True
        gives = self._owes_sets or not self._gives_once
        if not gives or not (self._has_own_calls or self._gives_once):
            return ()
        self._owes_sets = False
        sps, pps = self._sets()
        if self._gives_once:
            return (_prefixed(sps, pps),)
        return tuple(_prefixed(nal) for nal in (sps, pps, RECOVERY_POINT))

    def picture(self, payload: bytes, flags: int) -> Picture:
        """A picture that carries these bytes."""
        is_key = bool(flags & KEY)
        in_frame = is_key and not (self._has_own_calls or self._gives_once)
        self._owes_sets = self._owes_sets and not in_frame
        body = _slice_head(is_key and self._has_idr, self._pps) + _escaped(payload) + END
        return Picture(_prefixed(*(self._sets() if in_frame else ()), body), self._sets())

    def _sets(self) -> tuple[bytes, bytes]:
        return _sps(self._width), _pps(self._pps)


@dataclass
class StrictReader:
    """One session's reader. ``codec_private``: the header's avcC, empty if it has none."""

    codec_private: bytes

    def __post_init__(self) -> None:
        self._sps = b""
        self._pps: dict[int, bytes] = {}
        data = self.codec_private
        if not data:
            return
        at = 6
        for count in (data[5] & 31, None):
            if count is None:
                count, at = data[at], at + 1
            for _ in range(count):
                size = int.from_bytes(data[at : at + 2], "big")
                self._take(data[at + 2 : at + 2 + size])
                at += 2 + size

    def _take(self, nal: bytes) -> None:
        if nal[0] & 31 == SPS:
            self._sps = nal
        elif nal[0] & 31 == PPS:
            self._pps[next(number for number in (0, 1) if _pps(number) == nal)] = nal

    def decode(self, data: bytes) -> tuple[bytes, tuple[bytes, bytes]]:
        """Return what the coder was given, and the sets that a decoder would use.

        Raises:
            CannotDecode: the lengths are wrong, there is no slice, or its sets are not known.
        """
        at = 0
        found = None
        while at < len(data):
            size = int.from_bytes(data[at : at + 4], "big")
            nal, at = data[at + 4 : at + 4 + size], at + 4 + size
            if not size or at > len(data):
                raise CannotDecode(f"a length of {size}, {at - len(data)} bytes too many")
            self._take(nal)
            found = nal if nal[0] & 31 in (IDR, SLICE) else found
        if found is None:
            raise CannotDecode("no slice")
        for number in (0, 1):
            head = _slice_head(found[0] & 31 == IDR, number)
            if found.startswith(head):
                if not self._sps or number not in self._pps:
                    raise CannotDecode(f"PPS {number} or its SPS is not known")
                payload = found[len(head) : -1].replace(b"\x00\x00\x03", b"\x00\x00")
                return payload, (self._sps, self._pps[number])
        raise CannotDecode("a slice without a head")
