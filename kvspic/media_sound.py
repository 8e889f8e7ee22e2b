"""How long frames of sound last by their own bytes, against the times they were put with.

Sound of another codec, another sampling rate, or with several frames in a call is stored and acknowledged like any
other; its lengths show it. Pure functions over bytes, and one small class that compares.
"""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING, NamedTuple

from kvspic.units import NS_PER_S

if TYPE_CHECKING:
    from kvspic.types import Track

__all__ = ["AacConfig", "SoundClock", "aac_config", "is_aac_frame", "sound_ns"]

AAC_RATES = (96000, 88200, 64000, 48000, 44100, 32000, 24000, 22050, 16000, 12000, 11025, 8000, 7350)
AAC_PLAIN = (2, 5, 29)  # AAC-LC, and the two forms of HE-AAC, whose core has the frames
AAC_END = 7
SINGLE, PAIR = 0, 1
FRAMES_ENOUGH = 50
OFF_BY = 0.05  # 44.1 and 48 kHz are 9 % apart; times in milliseconds are off by 3 % at most
STEP_MIN_NS = 1_000_000
OPUS_SILK_NS = (10_000_000, 20_000_000, 40_000_000, 60_000_000)
OPUS_CELT_NS = (2_500_000, 5_000_000, 10_000_000, 20_000_000)
OPUS_HYBRID_FROM, OPUS_CELT_FROM = 12, 16


class AacConfig(NamedTuple):
    """What an AudioSpecificConfig says of plain AAC. ``rate`` is that of the core, in samples per second."""

    rate: int
    channels: int
    samples: int


def aac_config(cpd: bytes | None) -> AacConfig | None:
    """Read an AudioSpecificConfig (ISO/IEC 14496-3 1.6.2.1); None for kinds of AAC that are framed in other ways."""
    if not cpd or len(cpd) < 2:
        return None
    bits = int.from_bytes(cpd[:2], "big")
    kind, rate, channels = bits >> 11, bits >> 7 & 15, bits >> 3 & 15
    if kind not in AAC_PLAIN or rate >= len(AAC_RATES):
        return None
    return AacConfig(AAC_RATES[rate], channels, 960 if kind == AAC_PLAIN[0] and bits & 4 else 1024)


def is_aac_frame(head: bytes, tail: bytes, size: int, config: AacConfig) -> bool:
    """Whether bytes can be one AAC frame: it begins with an element that the channels have, and ends with the END
    element and zeros (ISO/IEC 14496-3 4.4.2.1)."""
    first = head[0] >> 5
    impossible = {1: (PAIR, AAC_END), 2: (SINGLE, AAC_END)}.get(config.channels, (AAC_END,))
    if first in impossible and size > 2:
        return False
    bits = int.from_bytes(tail, "big")
    return bool(bits) and bits // (bits & -bits) & 7 == AAC_END


def sound_ns(codec: str, head: bytes, size: int, track: Track) -> int:
    """Return how long a frame lasts by its bytes and its track; 0 where they do not say."""
    if codec == "aac":
        config = aac_config(track.cpd)
        return config.samples * NS_PER_S // config.rate if config else 0
    if codec == "g711":
        rate = track.sample_rate * max(track.channels, 1)
        return size * NS_PER_S // rate if rate else 0
    return _opus_ns(head) if codec == "opus" else 0


def _opus_ns(head: bytes) -> int:
    """The length of an Opus packet by its first bytes (RFC 6716 3.1, 3.2)."""
    kind, code = head[0] >> 3, head[0] & 3
    if kind >= OPUS_CELT_FROM:
        frame_ns = OPUS_CELT_NS[kind & 3]
    else:
        frame_ns = OPUS_SILK_NS[kind & 1] if kind >= OPUS_HYBRID_FROM else OPUS_SILK_NS[kind & 3]
    count = 1 if code == 0 else 2 if code < 3 else head[1] & 63 if len(head) > 1 else 0
    return frame_ns * count


class SoundClock:
    """Compares the lengths of frames with the distances of their times."""

    def __init__(self) -> None:
        self._steps: list[int] = []
        self._lengths: list[int] = []
        self._last_ns: int | None = None

    @property
    def is_enough(self) -> bool:
        """Whether enough frames came for a verdict."""
        return len(self._steps) >= FRAMES_ENOUGH

    def note(self, pts_ns: int, length_ns: int) -> None:
        """Take note of a frame."""
        if self._last_ns is not None:
            self._steps.append(pts_ns - self._last_ns)
            self._lengths.append(length_ns)
        self._last_ns = pts_ns

    def found(self) -> tuple[float, float] | None:
        """Return length and distance of the frames in milliseconds if they do not fit; None if they do.

        Frames that arrive in bursts have the right distance on average, and sound with holes has it mostly: both have
        to be wrong in the same direction.
        """
        if not self.is_enough:
            return None
        length, mean = statistics.fmean(self._lengths), statistics.fmean(self._steps)
        middle_length, middle = statistics.median(self._lengths), statistics.median(self._steps)
        if min(length, mean, middle, middle_length) < STEP_MIN_NS:
            return None  # times that are no nanoseconds, or repeat, are found as that
        factors = (mean / length, middle / middle_length)
        if max(factors) < 1 - OFF_BY or min(factors) > 1 + OFF_BY:
            return length / 1e6, mean / 1e6
        return None
