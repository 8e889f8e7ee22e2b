"""What the bytes of one frame show: whether they are of the track's codec, whether decoding can begin with them.

Pure functions over a buffer. Only what a verdict needs is read, from the first 32 KB of a frame: NAL unit headers and
the begin of a slice (ITU-T H.264 7.3.1, 7.3.3; H.265 7.3.1, 7.3.6), the first bytes of JPEG, VP8, VP9 and AV1, the
sync words of AAC transports, and the signatures of files that are no frames. Nothing here decodes, and nothing raises
for any input.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

from kvspic.codec_table import CODEC_OF_ID, CODECS
from kvspic.media_sound import aac_config, is_aac_frame, sound_ns

if TYPE_CHECKING:
    from kvspic.types import Buffer, Track

__all__ = [
    "ADTS",
    "ALL_SETS",
    "CODEC_OF_NAME",
    "LATM",
    "NO_UNITS",
    "NUMBERS",
    "OTHER",
    "RAW_PICTURE",
    "Look",
    "codec_of",
    "is_configuration",
    "is_private_of",
    "length_size_of",
    "look_at",
]

HEAD_SIZE = 32768
TAIL_SIZE = 64
SOUND = frozenset(("aac", "opus", "g711"))
UNITS_MAX = 64
SEI_MAX = 4096
BITMAP_INFO_SIZE = 40
AAC_TYPE_MAX = 45
AAC_FRAME_MAX = 6144 // 8  # bytes for each channel (ISO/IEC 14496-3 4.5.1.1)

NUMBERS, RAW_PICTURE, NO_UNITS, OTHER = "an array of numbers", "raw pictures", "no NAL units", "of no known kind"
ADTS, LATM = "AAC with ADTS headers", "AAC in LATM"

SIGNATURES = (
    (b"\xff\xd8\xff", "JPEG"),
    (b"\x89PNG", "PNG"),
    (b"GIF8", "GIF"),
    (b"RIFF", "a RIFF file (WAV, AVI or WebP)"),
    (b"\x1a\x45\xdf\xa3", "a Matroska file"),
    (b"OggS", "Ogg pages"),
    (b"FLV\x01", "an FLV file"),
    (b"DKIF", "an IVF file"),
    (b"fLaC", "a FLAC file"),
    (b"ID3", "an MP3 file"),
)


class Look(NamedTuple):
    """What one frame shows.

    ``found`` is empty when the bytes can be what the track says, else what they look like. ``key``: decoding can begin
    here, or surely not; None when the bytes do not say. ``begins``: the first slice is the first one of a picture.
    ``has_picture`` is False for parameter sets and the like alone; ``is_several``: more than one picture is in it.
    """

    found: str = ""
    key: bool | None = None
    sets: frozenset[str] = frozenset()  # SPS, PPS
    has_picture: bool = True
    is_several: bool = False
    begins: bool = True
    is_length_prefixed: bool = False
    sound_ns: int = 0  # how long a frame of sound lasts by its bytes; 0 where they do not say


ALL_SETS = frozenset(("SPS", "PPS"))
GOOD = Look()


CODEC_OF_NAME = {codec.name: codec for codec in CODECS.values()}


def codec_of(track: Track) -> str:
    """Return the short name of a track's codec, empty for one whose bytes are not known here."""
    if track.codec_id == "V_MS/VFW/FOURCC":
        return "mjpeg" if not track.cpd or bytes(track.cpd)[16:20] in (b"MJPG", b"") else ""
    if track.codec_id == "A_MS/ACM" and track.cpd and bytes(track.cpd)[:2] not in (b"\6\0", b"\7\0"):
        return ""
    if track.codec_id == "V_MJPEG":
        return "mjpeg"
    codec = CODEC_OF_ID.get(track.codec_id)
    return codec.name if codec else ""


def length_size_of(codec: str, cpd: bytes | None) -> int:
    """Return how many bytes the length of a NAL unit has, by avcC or hvcC (ISO/IEC 14496-15); 4 where nothing says."""
    place = {"h264": 4, "h265": 21}.get(codec)
    if place is None or not cpd or len(cpd) <= place or cpd[0] != 1:
        return 4
    return (cpd[place] & 3) + 1


def is_private_of(codec: str, cpd: bytes) -> bool:
    """Whether codec private data can be of this codec; of H.264 and H.265 the core looks at it."""
    if codec == "mjpeg":
        return len(cpd) >= BITMAP_INFO_SIZE
    return _is_aac_config(cpd) if codec == "aac" else cpd.startswith(CODEC_OF_NAME[codec].private_begins)


def _is_aac_config(cpd: bytes) -> bool:
    """An AudioSpecificConfig begins with an object type of 5 bits, or 11 behind 31, and an index of the rate (ISO/IEC
    14496-3 1.6.2.1)."""
    bits = int.from_bytes(cpd[:2].ljust(2, b"\0"), "big")
    kind, rate = bits >> 11, bits >> 7 & 15
    return 32 + (bits >> 5 & 63) <= AAC_TYPE_MAX if kind == 31 else kind > 0 and rate not in (13, 14)


def look_at(codec: str, data: Buffer, track: Track, length_size: int = 4) -> Look:
    """Look at a frame of a track whose codec is ``codec`` (of :func:`codec_of`)."""
    if not codec:
        return GOOD
    view: Any = memoryview(data)
    if view.format.strip("@=<>!") not in ("B", "b", "c"):
        return Look(NUMBERS)
    if view.ndim > 1:
        if sum(side > 1 for side in view.shape) > 1:
            return Look(RAW_PICTURE)
        view = view.cast("B")  # a column of bytes, as OpenCV's encoder gives it
    size = view.nbytes
    head = bytes(view[:HEAD_SIZE])
    if not head:
        return GOOD  # the core refuses it
    if codec in ("h264", "h265"):
        return _nal_look(codec, head, view, track, length_size)
    reader = READERS.get(codec)
    found = signature_of(head)
    if found and not (codec == "mjpeg" and found == "JPEG"):
        return Look(found)
    if _has_size_of_raw(track, size):
        return Look(RAW_PICTURE)
    look = GOOD if reader is None else reader(head, size, track)
    if look.found or codec not in SOUND:
        return look
    config = aac_config(track.cpd) if codec == "aac" else None
    if config is not None and not is_aac_frame(head, bytes(view[-TAIL_SIZE:]), size, config):
        return Look(OTHER)
    return look._replace(sound_ns=sound_ns(codec, head, size, track))


def is_configuration(track: Track, data: Buffer) -> bool:
    """Whether a call of an H.264 or H.265 track has parameter sets and no picture."""
    codec = codec_of(track)
    if codec not in ("h264", "h265"):
        return False
    look = look_at(codec, data, track, length_size_of(codec, track.cpd))
    return bool(look.sets) and not look.has_picture


def signature_of(head: bytes) -> str:
    """Return what kind of file or picture begins like this; empty if none of those known."""
    for signature, name in SIGNATURES:
        if head.startswith(signature):
            return name
    if head[4:8] in (b"ftyp", b"moof", b"moov", b"styp"):
        return "an MP4 file"
    if head[:1] == b"\x47" and head[188:189] in (b"\x47", b"") and len(head) >= 188:
        return "an MPEG transport stream"
    return ""


def _has_size_of_raw(track: Track, size: int) -> bool:
    """Whether a frame has exactly the bytes of a raw picture: gray, 4:2:0, 4:2:2, RGB, RGBA."""
    pixels = track.width * track.height
    return pixels > 0 and size * 2 in (pixels * 2, pixels * 3, pixels * 4, pixels * 6, pixels * 8)


# ---- NAL units


class _Unit(NamedTuple):
    """A NAL unit's first bytes, at most SEI_MAX, and its whole size as far as it was read."""

    head: bytes
    size: int


def _nal_look(codec: str, head: bytes, view: Any, track: Track, length_size: int) -> Look:
    units, is_length_prefixed = _units(head, view, length_size)
    if units is None:
        found = signature_of(head) or (RAW_PICTURE if _has_size_of_raw(track, view.nbytes) else NO_UNITS)
        return Look(found)
    is_h265 = codec == "h265"
    if _is_other(units, is_h265):
        return Look("H.264" if is_h265 else "H.265")
    seen = _H265(units) if is_h265 else _H264(units)
    if seen.strange * 2 > len(units):
        return Look(NO_UNITS)
    return Look(
        key=seen.key,
        sets=seen.sets,
        has_picture=bool(seen.slices),
        is_several=seen.is_several,
        begins=seen.begins,
        is_length_prefixed=is_length_prefixed,
    )


def _units(head: bytes, view: Any, length_size: int) -> tuple[list[_Unit] | None, bool]:
    """The NAL units of a frame and whether lengths stand before them; None where there are none.

    A frame that consists of lengths to its last byte is length-prefixed, even if it begins like a start code of three
    bytes, as a unit of 256 to 511 bytes does; then every unit needs a sound header.
    """
    has_start_code = head.startswith(b"\0\0") and head.lstrip(b"\0").startswith(b"\1")
    if not head.startswith(b"\0\0\0\1"):
        for size in dict.fromkeys((length_size, 4)):
            units = _by_lengths(view, size)
            if units and not (has_start_code and any(unit.head[0] & 0x80 for unit in units)):
                return units, True
    return (list(_by_start_codes(head)) or None) if has_start_code else None, False


def _by_lengths(view: Any, length_size: int) -> list[_Unit] | None:
    units: list[_Unit] = []
    place, end = 0, view.nbytes
    while place < end and len(units) < UNITS_MAX:
        size = int.from_bytes(view[place : place + length_size], "big")
        place += length_size
        if size > end - place:
            return None
        if size:
            units.append(_Unit(bytes(view[place : place + min(size, SEI_MAX)]), size))
        place += size
    return units if place == end or len(units) == UNITS_MAX else None


def _by_start_codes(head: bytes) -> Iterator[_Unit]:
    place = head.find(b"\0\0\1")
    count = 0
    while place >= 0 and count < UNITS_MAX:
        begin = place + 3
        place = head.find(b"\0\0\1", begin)
        end = len(head) if place < 0 else place
        if begin < end:
            count += 1
            yield _Unit(head[begin : min(end, begin + SEI_MAX)], end - begin)


def _is_other(units: list[_Unit], is_h265: bool) -> bool:
    """Whether the units are of the other codec of the two. A header of H.265 has two bytes, layer 0 and a temporal id
    above 0; one of H.264 has one, and types 2 to 4 and 13 up are never sent by cameras."""
    as_h264 = all(_is_h264(unit) for unit in units)
    as_h265 = all(_is_h265(unit) for unit in units)
    return as_h264 and not as_h265 if is_h265 else as_h265 and not as_h264


def _is_h264(unit: _Unit) -> bool:
    kind, is_reference = unit.head[0] & 0x1F, bool(unit.head[0] & 0x60)
    if unit.head[0] & 0x80 or kind not in (1, 5, 6, 7, 8, 9, 10, 11, 12):
        return False
    if kind in (6, 9, 10, 11, 12):  # shall have nal_ref_idc 0 (7.4.1)
        return not is_reference and (kind not in (10, 11) or unit.size <= 2)
    return is_reference or kind == 1


def _is_h265(unit: _Unit) -> bool:
    if len(unit.head) < 2 or unit.head[0] & 0x81 or unit.head[1] & 0xF8 or not unit.head[1] & 7:
        return False
    kind = unit.head[0] >> 1
    return kind <= 9 or 16 <= kind <= 21 or 32 <= kind <= 40


class _H264:
    """What the units of an H.264 frame are together."""

    def __init__(self, units: list[_Unit]) -> None:
        kinds = [unit.head[0] & 0x1F if unit.head[0] < 0x80 else 0 for unit in units]
        slices = [unit for unit, kind in zip(units, kinds) if kind in (1, 2, 5) and len(unit.head) > 1]
        self.strange = sum(kind == 0 or kind > 23 for kind in kinds)
        self.sets = frozenset(name for kind, name in ((7, "SPS"), (8, "PPS")) if kind in kinds)
        self.slices = len(slices)
        self.is_several = (
            sum(unit.head[1] >> 7 for unit in slices) > 2 or kinds.count(9) > 1
        )  # two may be fields of one
        self.begins = not slices or bool(slices[0].head[1] & 0x80)
        self.key = self._key(units, kinds, slices) if slices else None

    @staticmethod
    def _key(units: list[_Unit], kinds: list[int], slices: list[_Unit]) -> bool | None:
        if 5 in kinds or any(kind == 6 and _has_recovery_point(unit.head[1:]) for unit, kind in zip(units, kinds)):
            return True
        kind = _slice_type(slices[0].head)
        return None if kind in (2, 4, 7, 9, None) else False  # I and SI pictures are left to the caller


class _H265:
    """What the units of an H.265 frame are together."""

    def __init__(self, units: list[_Unit]) -> None:
        kinds = [unit.head[0] >> 1 if unit.head[0] < 0x80 else 64 for unit in units]
        slices = [unit for unit, kind in zip(units, kinds) if kind < 32 and len(unit.head) > 2]
        self.strange = sum(kind > 63 or len(unit.head) < 2 for unit, kind in zip(units, kinds))
        self.sets = frozenset(name for kind, name in ((33, "SPS"), (34, "PPS")) if kind in kinds)
        self.slices = len(slices)
        self.is_several = sum(unit.head[2] >> 7 for unit in slices if not unit.head[0] & 1) > 1  # of the base layer
        self.begins = not slices or bool(slices[0].head[2] & 0x80)
        is_key = any(16 <= kind <= 23 for kind in kinds)
        is_key |= any(kind == 39 and _has_recovery_point(unit.head[2:]) for unit, kind in zip(units, kinds))
        self.key = is_key if slices else None


def _has_recovery_point(payload: bytes) -> bool:
    """Whether an SEI unit has a recovery point message (payload type 6; H.264 D.1.8, H.265 D.2.8)."""
    data = payload.replace(b"\0\0\3", b"\0\0")
    place = 0
    while place + 2 <= len(data):
        values = []
        for _ in range(2):
            value = 0
            while place < len(data) and data[place] == 0xFF:
                value, place = value + 255, place + 1
            value += data[place] if place < len(data) else 0
            place += 1
            values.append(value)
        if values[0] == 6:
            return True
        place += values[1]
    return False


def _slice_type(head: bytes) -> int | None:
    """The second Exp-Golomb number of a slice; None when it cannot be read."""
    bits = int.from_bytes(head[1:9].ljust(8, b"\0"), "big")
    size = 64
    value = 0
    for _ in range(2):
        length = 2 * (size - bits.bit_length()) + 1
        if length > size:
            return None
        size -= length
        value = (bits >> size) - 1
        bits &= (1 << size) - 1
    return value


# ---- other codecs


def _mjpeg_look(head: bytes, size: int, track: Track) -> Look:
    if head.startswith(b"\xff\xd8"):
        return Look(key=True)
    if head.startswith((b"\0\0\1", b"\0\0\0\1")):
        return Look("H.264 or H.265")
    return Look(OTHER)


def _vp8_look(head: bytes, size: int, track: Track) -> Look:
    is_key = not head[0] & 1
    return Look(OTHER) if is_key and head[3:6] != b"\x9d\x01\x2a" else Look(key=is_key)


def _vp9_look(head: bytes, size: int, track: Track) -> Look:
    first = head[0]
    if first >> 6 != 2:
        return Look(OTHER)
    bits = first << 1 if first & 0x30 == 0x30 else first  # profile 3 has a reserved bit
    return Look(key=not bits & 0x0C)


def _av1_look(head: bytes, size: int, track: Track) -> Look:
    """AV1 bitstream 5.3: a frame is key when its type is 0, and no earlier frame is shown again."""
    place, key = 0, None
    while place < len(head) and key is None:
        kind, has_extension, has_size = head[place] >> 3 & 15, head[place] & 4, head[place] & 2
        if head[place] & 0x80 or kind in (0, 9, 10, 11, 12, 13, 14):
            return Look(OTHER)
        place += 2 if has_extension else 1
        length, place = _leb128(head, place) if has_size else (len(head) - place, place)
        if kind in (3, 6) and place < len(head):
            key = not head[place] & 0xE0
        place += length
    return Look(key=key, has_picture=key is not None)


def _leb128(head: bytes, place: int) -> tuple[int, int]:
    value = 0
    for index, byte in enumerate(head[place : place + 8]):
        value |= (byte & 0x7F) << 7 * index
        if not byte & 0x80:
            return value, place + index + 1
    return len(head), place


def _aac_look(head: bytes, size: int, track: Track) -> Look:
    if head[0] == 0xFF:  # a raw frame would be at its end here
        return Look(ADTS if _adts_size(head) else "MPEG audio (MP3)" if head[1:2] >= b"\xe0" else OTHER)
    word = int.from_bytes(head[:2], "big")
    if word & 0xFFE0 == 0x56E0 and len(head) > 2 and (word & 0x1F) << 8 | head[2] == size - 3:
        return Look(LATM)
    if size > AAC_FRAME_MAX * max(track.channels, 2):
        return Look("PCM samples, or several frames in one")
    return GOOD


def _adts_size(head: bytes) -> int:
    """The size of a frame by its ADTS header (ISO/IEC 14496-3 1.A.2.2); 0 when it has none."""
    if len(head) < 7 or int.from_bytes(head[:2], "big") & 0xFFF6 != 0xFFF0:
        return 0
    return (head[3] & 3) << 11 | head[4] << 3 | head[5] >> 5


def _audio_look(head: bytes, size: int, track: Track) -> Look:
    return Look(ADTS) if _adts_size(head) == size else GOOD


def _opus_look(head: bytes, size: int, track: Track) -> Look:
    if _adts_size(head) == size:
        return Look(ADTS)
    return Look(OTHER) if head.startswith((b"OpusHead", b"OpusTags")) or size > 61440 else GOOD


READERS = {
    "mjpeg": _mjpeg_look,
    "vp8": _vp8_look,
    "vp9": _vp9_look,
    "av1": _av1_look,
    "aac": _aac_look,
    "opus": _opus_look,
    "vorbis": _audio_look,
    "flac": _audio_look,
    "g711": _audio_look,
}
