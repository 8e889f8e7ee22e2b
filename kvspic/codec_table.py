"""The codecs that are known by name, one row for each: sources, the media check and the inspection of files ask here.

A track of any other codec can be put as well: its bytes go out as they are, and are not looked at. Codec private data
is read and converted by the core (csrc/media/cpd.c); ``kvspic.media_bits`` looks at the bytes of frames. Pure.
"""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["CODECS", "CODEC_OF_ID", "Codec"]


class Codec(NamedTuple):
    """How Matroska, a stream's media type, PyAV and people name a codec.

    ``name`` is the short one that the media check uses; empty: its frames are not looked at. A player decodes nothing
    without the codec private data of a codec that ``needs_private``; that data begins with ``private_begins``.
    """

    name: str
    codec_id: str
    content_type: str
    title: str
    needs_private: bool = False
    private_begins: bytes = b""
    bit_depth: int = 0


CODECS: dict[str, Codec] = {  # by PyAV's name
    "h264": Codec("h264", "V_MPEG4/ISO/AVC", "video/h264", "H.264", True),
    "hevc": Codec("h265", "V_MPEGH/ISO/HEVC", "video/h265", "H.265", True),
    "mjpeg": Codec("mjpeg", "V_MS/VFW/FOURCC", "video/x-matroska", "Motion JPEG", True),
    "vp8": Codec("vp8", "V_VP8", "video/vp8", "VP8"),
    "vp9": Codec("vp9", "V_VP9", "video/vp9", "VP9"),
    "av1": Codec("av1", "V_AV1", "video/av1", "AV1", True, b"\x81"),
    "aac": Codec("aac", "A_AAC", "audio/aac", "AAC", True),
    "pcm_alaw": Codec("g711", "A_MS/ACM", "audio/alaw", "G.711", True, bit_depth=8),
    "pcm_mulaw": Codec("g711", "A_MS/ACM", "audio/mulaw", "G.711", True, bit_depth=8),
    "opus": Codec("opus", "A_OPUS", "audio/opus", "Opus", True, b"OpusHead"),
    "vorbis": Codec("vorbis", "A_VORBIS", "audio/vorbis", "Vorbis", True, b"\2"),
    "flac": Codec("flac", "A_FLAC", "audio/flac", "FLAC", True, b"fLaC"),
    "pcm_u8": Codec("", "A_PCM/INT/LIT", "audio/pcm", "PCM", bit_depth=8),
    "pcm_s16le": Codec("", "A_PCM/INT/LIT", "audio/pcm", "PCM", bit_depth=16),
    "pcm_s24le": Codec("", "A_PCM/INT/LIT", "audio/pcm", "PCM", bit_depth=24),
    "pcm_s32le": Codec("", "A_PCM/INT/LIT", "audio/pcm", "PCM", bit_depth=32),
    "pcm_s16be": Codec("", "A_PCM/INT/BIG", "audio/pcm", "PCM", bit_depth=16),
    "pcm_s24be": Codec("", "A_PCM/INT/BIG", "audio/pcm", "PCM", bit_depth=24),
    "pcm_s32be": Codec("", "A_PCM/INT/BIG", "audio/pcm", "PCM", bit_depth=32),
    "pcm_f32le": Codec("", "A_PCM/FLOAT/IEEE", "audio/pcm", "PCM", bit_depth=32),
    "pcm_f64le": Codec("", "A_PCM/FLOAT/IEEE", "audio/pcm", "PCM", bit_depth=64),
}
CODEC_OF_ID = {codec.codec_id: codec for codec in CODECS.values()}
