"""Codec facts as bytes: Matroska codec ids, codec private data that a container does not carry, headers to take off.

Pure functions over bytes; nothing here reads a file or knows PyAV. The layouts are public: ADTS and AudioSpecificConfig
(ISO/IEC 14496-3), WAVEFORMATEX and BITMAPINFOHEADER (Microsoft), H.264 slice headers (ITU-T H.264 section 7.3.3).
"""

from __future__ import annotations

import itertools
import struct
from collections.abc import Iterator
from dataclasses import dataclass

from kvspic.sources.base import SourceError

__all__ = [
    "CODECS",
    "AdtsHeader",
    "Codec",
    "audio_specific_config",
    "bitmap_info",
    "h264_has_b_slice",
    "jpeg_size",
    "nal_units",
    "parameter_sets",
    "parse_adts",
    "wave_format",
]

ADTS_RATES = (96000, 88200, 64000, 48000, 44100, 32000, 24000, 22050, 16000, 12000, 11025, 8000, 7350)
WAVE_ALAW, WAVE_MULAW = 6, 7
# How a NAL unit's type is read from its first byte, and the types of the sets in the order in which they are sent.
PARAMETER_SETS = {"video/h264": (0, (7, 8)), "video/h265": (1, (32, 33, 34))}
B_SLICE_TYPES = (1, 6)  # ITU-T H.264 table 7-6: B, and B for all slices of the picture
JPEG_SIZE_MARKERS = frozenset((0xC0, 0xC1, 0xC2, 0xC3))
JPEG_BARE_MARKERS = frozenset((0x01, *range(0xD0, 0xD9)))


@dataclass(frozen=True)
class Codec:
    """How Matroska names a codec, and the token it has in a stream's media type."""

    codec_id: str
    content_type: str
    bit_depth: int = 0


CODECS: dict[str, Codec] = {
    "h264": Codec("V_MPEG4/ISO/AVC", "video/h264"),
    "hevc": Codec("V_MPEGH/ISO/HEVC", "video/h265"),
    "mjpeg": Codec("V_MS/VFW/FOURCC", "video/x-matroska"),
    "vp8": Codec("V_VP8", "video/vp8"),
    "vp9": Codec("V_VP9", "video/vp9"),
    "av1": Codec("V_AV1", "video/av1"),
    "aac": Codec("A_AAC", "audio/aac"),
    "pcm_alaw": Codec("A_MS/ACM", "audio/alaw", 8),
    "pcm_mulaw": Codec("A_MS/ACM", "audio/mulaw", 8),
    "opus": Codec("A_OPUS", "audio/opus"),
    "vorbis": Codec("A_VORBIS", "audio/vorbis"),
    "flac": Codec("A_FLAC", "audio/flac"),
    "pcm_u8": Codec("A_PCM/INT/LIT", "audio/pcm", 8),
    "pcm_s16le": Codec("A_PCM/INT/LIT", "audio/pcm", 16),
    "pcm_s24le": Codec("A_PCM/INT/LIT", "audio/pcm", 24),
    "pcm_s32le": Codec("A_PCM/INT/LIT", "audio/pcm", 32),
    "pcm_s16be": Codec("A_PCM/INT/BIG", "audio/pcm", 16),
    "pcm_s24be": Codec("A_PCM/INT/BIG", "audio/pcm", 24),
    "pcm_s32be": Codec("A_PCM/INT/BIG", "audio/pcm", 32),
    "pcm_f32le": Codec("A_PCM/FLOAT/IEEE", "audio/pcm", 32),
    "pcm_f64le": Codec("A_PCM/FLOAT/IEEE", "audio/pcm", 64),
}


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


def nal_units(data: bytes) -> Iterator[int]:
    """Give the place of each NAL unit of an Annex-B access unit: the index of the byte after its start code."""
    place = data.find(b"\0\0\1")
    while place >= 0:
        yield place + 3
        place = data.find(b"\0\0\1", place + 3)


def parameter_sets(data: bytes, content_type: str) -> bytes:
    """Return the parameter sets at the start of an Annex-B access unit, each with a start code of four bytes.

    Empty unless all that a decoder needs are there (ITU-T H.264: SPS and PPS; H.265: VPS too). One that is not followed
    by another NAL unit may be cut, and does not count.
    """
    kinds = PARAMETER_SETS.get(content_type)
    if kinds is None:
        return b""
    shift, wanted = kinds
    found: dict[bytes, int] = {}
    places = list(nal_units(data))
    for place, end in itertools.pairwise(places):
        kind = data[place] >> shift & (0x1F if shift == 0 else 0x3F)
        if kind in wanted:
            found[data[place : end - 3].rstrip(b"\0")] = kind
    if set(found.values()) != set(wanted):
        return b""
    return b"".join(b"\0\0\0\1" + unit for unit in sorted(found, key=lambda unit: (found[unit], unit)))


def h264_has_b_slice(data: bytes) -> bool:
    """Tell whether an Annex-B access unit of H.264 has a B slice, whose picture is shown out of decoding order."""
    for place in nal_units(data):
        if place >= len(data) or data[place] & 0x1F not in (1, 2, 5):
            continue
        bits = int.from_bytes(data[place + 1 : place + 13].ljust(12, b"\0"), "big")
        slice_type = _second_ue(bits, 96)
        if slice_type in B_SLICE_TYPES:
            return True
    return False


def _second_ue(bits: int, size: int) -> int:
    """Return the second Exp-Golomb number of a bit string: slice_type comes after first_mb_in_slice."""
    value = 0
    for _ in range(2):
        zeros = size - bits.bit_length()
        length = 2 * zeros + 1
        if length > size:
            return -1
        size -= length
        value = (bits >> size) - 1
        bits &= (1 << size) - 1
    return value
