"""Codec facts as bytes: codec private data that a container does not carry, headers to take off.

Pure functions over bytes; nothing here reads a file or knows PyAV. The layouts are public: ADTS and AudioSpecificConfig
(ISO/IEC 14496-3), WAVEFORMATEX and BITMAPINFOHEADER (Microsoft), JPEG (ITU-T T.81), FLAC (RFC 9639).
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from kvspic.sources.base import SourceError
from kvspic.sources.bits import Bits

__all__ = [
    "AdtsHeader",
    "aac_core_rate",
    "audio_specific_config",
    "bitmap_info",
    "flac_header",
    "jpeg_size",
    "parse_adts",
    "wave_format",
]

ADTS_RATES = (96000, 88200, 64000, 48000, 44100, 32000, 24000, 22050, 16000, 12000, 11025, 8000, 7350)
AAC_ESCAPE, ADTS_RATE_GIVEN = 31, 15
WAVE_ALAW, WAVE_MULAW = 6, 7
JPEG_SIZE_MARKERS = frozenset((0xC0, 0xC1, 0xC2, 0xC3))
JPEG_BARE_MARKERS = frozenset((0x01, *range(0xD0, 0xD9)))


@dataclass(frozen=True)
class AdtsHeader:
    """What an ADTS header says. ``size`` is that of the header itself: 7 bytes, or 9 with a checksum."""

    object_type: int
    rate_index: int
    channel_config: int
    size: int

    @property
    def sample_rate(self) -> int:
        """Samples per second."""
        return ADTS_RATES[self.rate_index]

    @property
    def channels(self) -> int:
        """Channels; configuration 7 means eight (ISO/IEC 14496-3 table 1.19)."""
        return 8 if self.channel_config == 7 else self.channel_config


def parse_adts(data: bytes | memoryview) -> AdtsHeader | None:
    """Return the ADTS header at the start of a frame; None if the frame begins with none.

    Raises:
        SourceError: a header whose frame cannot be written to Matroska as one block.
    """
    if len(data) < 7 or data[0] != 0xFF or data[1] & 0xF6 != 0xF0:
        return None
    header = AdtsHeader(
        object_type=(data[2] >> 6) + 1,
        rate_index=data[2] >> 2 & 15,
        channel_config=(data[2] & 1) << 2 | data[3] >> 6,
        size=7 if data[1] & 1 else 9,
    )
    if header.rate_index >= len(ADTS_RATES):
        raise SourceError("The ADTS stream names a sampling rate that does not exist: encode the audio again.")
    if header.channel_config == 0 or data[6] & 3:
        raise SourceError(
            "The ADTS stream has several frames, or no channel layout, in one header, which Matroska cannot carry: "
            "put it into an .m4a file first (ffmpeg -i IN.aac -c copy OUT.m4a)."
        )
    return header


def audio_specific_config(header: AdtsHeader) -> bytes:
    """Return the AudioSpecificConfig of two bytes that says what an ADTS header says."""
    return struct.pack(">H", header.object_type << 11 | header.rate_index << 7 | header.channel_config << 3)


def flac_header(stream_info: bytes) -> bytes:
    """Return codec private data as Matroska wants it (RFC 9559, A_FLAC): the marker and the metadata blocks of a file,
    of which demuxers keep the first one's content."""
    if stream_info.startswith(b"fLaC"):
        return stream_info
    return b"fLaC\x80" + len(stream_info).to_bytes(3, "big") + stream_info


def aac_core_rate(private: bytes) -> int | None:
    """Return the sampling rate of an AudioSpecificConfig's core; None if it names none (ISO/IEC 14496-3, 1.6.2.1).

    HE-AAC sounds at twice that rate, which follows from the same bytes; what Matroska wants as SamplingFrequency, and
    what times are counted in, is that of the core.
    """
    bits = Bits(private)
    if bits.read(5) == AAC_ESCAPE:
        bits.read(6)
    index = bits.read(4)
    if index == ADTS_RATE_GIVEN:
        return bits.read(24) or None
    return ADTS_RATES[index] if index < len(ADTS_RATES) else None


def wave_format(codec: str, sample_rate: int, channels: int) -> bytes:
    """Return WAVEFORMATEX (18 bytes) for G.711 audio, whose samples have 8 bits."""
    tag = WAVE_ALAW if codec == "pcm_alaw" else WAVE_MULAW
    return struct.pack("<HHIIHHH", tag, channels, sample_rate, sample_rate * channels, channels, 8, 0)


def bitmap_info(width: int, height: int, fourcc: bytes = b"MJPG") -> bytes:
    """Return BITMAPINFOHEADER (40 bytes) for a codec that Matroska carries under its Video for Windows name."""
    return struct.pack("<IiiHH4sIiiII", 40, width, height, 1, 24, fourcc, width * height * 3, 0, 0, 0, 0)


def jpeg_size(data: bytes | memoryview) -> tuple[int, int] | None:
    """Return width and height of a JPEG image from its frame header (ITU-T T.81 annex B); None if there is none."""
    place = 2
    while place + 9 <= len(data):
        if data[place] != 0xFF:
            return None
        marker = data[place + 1]
        if marker == 0xFF or marker in JPEG_BARE_MARKERS:
            place += 1 if marker == 0xFF else 2
            continue
        if marker in JPEG_SIZE_MARKERS:
            height, width = struct.unpack_from(">HH", data, place + 5)
            return width, height
        place += 2 + int.from_bytes(data[place + 2 : place + 4], "big")
    return None
