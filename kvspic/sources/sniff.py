"""What a medium is, by its first bytes. A suffix may lie or be missing, and a raw stream has only its bytes.

The answer is the name that PyAV's demuxers use, or None where the bytes do not say: then PyAV probes for itself.
"""

from __future__ import annotations

from kvspic.sources.nal import nal_units

__all__ = ["SNIFF_SIZE", "looks_like_text", "sniff"]

SNIFF_SIZE = 65536
H264_PARAMETER_SETS = (7, 8)
HEVC_PARAMETER_SETS = (32, 33, 34)


def sniff(head: bytes) -> str | None:
    """Return ``matroska``, ``mov``, ``wav``, ``ogg``, ``mjpeg``, ``aac``, ``h264``, ``hevc`` or None."""
    if head.startswith(b"\x1a\x45\xdf\xa3"):
        return "matroska"
    if head[4:8] in (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip"):
        return "mov"
    if head[:4] in (b"RIFF", b"RF64") and head[8:12] == b"WAVE":
        return "wav"
    if head.startswith(b"OggS"):
        return "ogg"
    if head.startswith(b"\xff\xd8\xff"):
        return "mjpeg"
    if head.lstrip(b"\0")[:1] == b"\1" and head[:2] == b"\0\0":
        return _annexb(head)
    return "aac" if _is_adts(head) else None


def looks_like_text(head: bytes) -> bool:
    """Tell whether the bytes are text: no media format that is read here has a head without control characters."""
    if not head:
        return False
    return not any((byte < 32 and byte not in b"\t\n\r\f\x1b") or byte == 127 for byte in head[:4096])


def _annexb(head: bytes) -> str | None:
    """Return the codec whose parameter sets are there. An H.265 NAL header has two bytes, the second mostly 01."""
    h264 = hevc = 0
    for place in nal_units(head):
        if place + 1 >= len(head) or head[place] & 0x80:
            continue
        first, second = head[place], head[place + 1]
        h264 += first & 0x1F in H264_PARAMETER_SETS and first & 0x60 != 0
        hevc += first >> 1 in HEVC_PARAMETER_SETS and first & 1 == 0 and second & 0xF8 == 0 and second & 7 != 0
    if h264 == hevc:
        return None
    return "h264" if h264 > hevc else "hevc"


def _is_adts(head: bytes) -> bool:
    """Tell whether two ADTS headers follow each other as the first one's length says; one could be chance."""
    if len(head) < 7 or head[0] != 0xFF or head[1] & 0xF6 != 0xF0:
        return False
    size = (head[3] & 3) << 11 | head[4] << 3 | head[5] >> 5
    follower = head[size : size + 2]
    return size >= 7 and (len(follower) < 2 or (follower[0] == 0xFF and follower[1] & 0xF6 == 0xF0))
