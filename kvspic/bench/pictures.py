"""The pictures that a bench sends: one prepared group of pictures, H.264, of exactly the asked size.

With PyAV it is a moving test pattern, encoded once, so that a player can show what was sent; filler NAL units, which
decoders skip, make up what the encoder left of the bit rate. Without PyAV the pictures are filler alone, with sizes
that vary as those of a camera do. The same plan and seed give the same bytes.
"""

from __future__ import annotations

import importlib.util
import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from random import Random
from typing import Any

__all__ = ["HEIGHT", "WIDTH", "Pictures", "encoded_pictures", "filler_pictures", "make_pictures"]

WIDTH, HEIGHT = 640, 360  # how fast a camera's pictures are put depends on their bytes, not on their side
KEY_TO_DELTA = 8  # a key frame is so much larger, without an encoder that says
SIGMA = 0.3  # of the logarithm of the sizes of delta frames, the same
SHARES = (0.8, 0.6, 0.4, 0.2)  # of the bit rate that the encoder is asked for, until its pictures fit
_FILLER_HEAD, _FILLER_END = b"\0\0\0\1\x0c", b"\x80"
FILLER_SIZE_MIN = len(_FILLER_HEAD) + len(_FILLER_END)
# Parameter sets of 640x360, and begins of slices behind which nothing can be decoded.
_SETS = bytes.fromhex("000000016764001eacb405017fcb08000003000800000301e478b1750000000168ef3cb0")
_KEY_SLICE, _DELTA_SLICE = bytes.fromhex("000000016588843a"), bytes.fromhex("00000001419a04")


@dataclass(frozen=True)
class Pictures:
    """A group of pictures: ``frames[0]`` is the key frame. ``cpd`` is the codec private data, Annex B."""

    cpd: bytes
    frames: tuple[bytes, ...]
    is_decodable: bool

    @property
    def size(self) -> int:
        """Bytes of all frames."""
        return sum(map(len, self.frames))

    def pack(self) -> bytes:
        """Return bytes for a file, from which :meth:`unpack` makes the pictures in another process."""
        head = {"cpd": self.cpd.hex(), "sizes": [len(frame) for frame in self.frames], "decodable": self.is_decodable}
        return json.dumps(head).encode() + b"\n" + b"".join(self.frames)

    @classmethod
    def unpack(cls, data: bytes) -> Pictures:
        """Return what :meth:`pack` packed."""
        line, _, rest = data.partition(b"\n")
        head, frames, place = json.loads(line), [], 0
        for size in head["sizes"]:
            frames.append(rest[place : place + size])
            place += size
        return cls(bytes.fromhex(head["cpd"]), tuple(frames), head["decodable"])


def make_pictures(fps: Fraction, frames_per_gop: int, kbps: float, seed: int) -> Pictures:
    """Return a group of pictures of ``kbps`` kilobits (1000) a second at ``fps``; encoded where PyAV is installed."""
    if importlib.util.find_spec("av") is None:
        return filler_pictures(fps, frames_per_gop, kbps, seed)
    return encoded_pictures(fps, frames_per_gop, kbps)


def encoded_pictures(fps: Fraction, frames_per_gop: int, kbps: float) -> Pictures:
    """As :func:`make_pictures`, a test pattern that can be decoded; needs PyAV.

    At the lowest bit rates the pattern alone may be more than was asked; then it is what is sent.
    """
    size, cpd = _size(fps, frames_per_gop, kbps), b""
    frames: list[bytes] = []
    for share in SHARES:
        cpd, frames = _encode(fps, frames_per_gop, int(kbps * 1000 * share))
        if sum(map(len, frames)) <= size:
            break
    return Pictures(cpd, tuple(_filled(frames, size)), True)


def filler_pictures(fps: Fraction, frames_per_gop: int, kbps: float, seed: int) -> Pictures:
    """As :func:`make_pictures`, of filler alone; a player shows nothing of it."""
    numbers = Random(seed)
    weights = [float(KEY_TO_DELTA), *(math.exp(numbers.gauss(0, SIGMA)) for _ in range(frames_per_gop - 1))]
    size = _size(fps, frames_per_gop, kbps)
    slices = [_SETS + _KEY_SLICE, *[_DELTA_SLICE] * (frames_per_gop - 1)]
    least = sum(map(len, slices))
    extra = max(0, size - least)
    frames = [
        begin + _filler(int(extra * weight / sum(weights))) for begin, weight in zip(slices, weights, strict=True)
    ]
    return Pictures(_SETS, tuple(_filled(frames, size)), False)


def _size(fps: Fraction, frames_per_gop: int, kbps: float) -> int:
    return round(Fraction(kbps) * 125 * frames_per_gop / fps)


def _filled(frames: list[bytes], size: int) -> list[bytes]:
    """The frames with filler, shared out by their sizes, so that they have ``size`` bytes together."""
    have = sum(map(len, frames))
    spare = size - have
    if spare < FILLER_SIZE_MIN:
        return frames
    made = [frame + _filler(spare * len(frame) // have) for frame in frames]
    made[0] += _filler(size - sum(map(len, made)))
    return made


def _filler(size: int) -> bytes:
    """A filler NAL unit of ``size`` bytes; nothing when that is too small for one."""
    return b"" if size < FILLER_SIZE_MIN else _FILLER_HEAD + b"\xff" * (size - FILLER_SIZE_MIN) + _FILLER_END


def _encode(fps: Fraction, frames_per_gop: int, bit_rate: int) -> tuple[bytes, list[bytes]]:
    from kvspic.sources import NumpyEncoder

    encoder = NumpyEncoder(WIDTH, HEIGHT, fps=fps, gop=frames_per_gop, bit_rate=max(bit_rate, 1000))
    frames = []
    for picture in _pattern(fps, frames_per_gop):
        frames += encoder.encode(picture)
    frames += encoder.flush()
    return encoder.track.codec_private or b"", [bytes(frame.data) for frame in frames]


def _pattern(fps: Fraction, count: int) -> Iterator[Any]:
    import av

    graph = av.filter.Graph()
    chain = (
        graph.add("testsrc2", f"size={WIDTH}x{HEIGHT}:rate={fps}"),
        graph.add("format", "pix_fmts=yuv420p"),
        graph.add("buffersink"),
    )
    chain[0].link_to(chain[1])
    chain[1].link_to(chain[2])
    graph.configure()
    for _ in range(count):
        yield graph.vpull()
