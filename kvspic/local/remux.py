"""Stored fragments as other containers and as pictures, by PyAV: packets are copied, only pictures are decoded.

A fragment is given as the Matroska document that GetMedia would send. Matroska has no decoding times, and MP4 and
MPEG-TS need them: they are the sorted display times less the delay that reordering needs, for each fragment alone. All
times of a fragment count from an origin that its caller chooses, so that fragments of a session follow one another.
"""

from __future__ import annotations

import io
import struct
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kvspic.local.errors import ServiceError
from kvspic.local.playlists import Track

if TYPE_CHECKING:
    import av
    from av.container import InputContainer, OutputContainer

__all__ = [
    "Piece",
    "clip",
    "codec_string",
    "is_available",
    "mp4_fragment",
    "mp4_init",
    "picture",
    "tracks",
    "ts_fragment",
]

_VIDEO = {"h264", "hevc"}
_AUDIO = {"aac"}
_MP4_FLAGS = "empty_moov+default_base_moof+frag_custom+frag_discont+negative_cts_offsets"
_CLOCK = Fraction(1, 90_000)


@dataclass(frozen=True)
class Piece:
    """One fragment on its way out: its Matroska bytes, and the milliseconds from the origin to its cluster's time.

    ``timecode_ms`` is what the document itself says of the cluster's time.
    """

    document: bytes
    timecode_ms: int
    at_ms: int
    track: int = 0
    """The track that is wanted, counted from 1 with video first; 0: all of them."""


def is_available() -> bool:
    """Whether PyAV can be loaded."""
    try:
        import av  # noqa: F401
    except ImportError:
        return False
    return True


def _open(document: bytes) -> InputContainer:
    import av

    try:
        source: InputContainer = av.open(io.BytesIO(document), "r", format="matroska")
    except av.FFmpegError as error:
        raise ServiceError("InvalidMediaFrameException", f"The fragment cannot be read: {error}.") from error
    return source


def _streams(source: InputContainer, track: int = 0) -> list[Any]:
    """The tracks, video first, or one of them; UnsupportedStreamMediaTypeException for what MP4 does not take here."""
    taken = [*(s for s in source.streams if s.type == "video"), *(s for s in source.streams if s.type == "audio")]
    for stream in taken:
        name = stream.codec_context.name
        if name not in _VIDEO | _AUDIO:
            text = f"The stream has a track of {name}; sessions and clips take H.264, H.265 and AAC."
            raise ServiceError("UnsupportedStreamMediaTypeException", text)
        if not stream.codec_context.extradata:
            text = f"The {stream.type} track has no codec private data, without which no player can show it."
            raise ServiceError("MissingCodecPrivateDataException", text)
    if not taken or track > len(taken):
        raise ServiceError("UnsupportedStreamMediaTypeException", "The stream has no such video or audio track.")
    return taken if track == 0 else [taken[track - 1]]


def tracks(document: bytes) -> list[Track]:
    """The fragment's tracks for a playlist, video first."""
    with _open(document) as source:
        return [_described(number, stream) for number, stream in enumerate(_streams(source), 1)]


def _described(number: int, stream: Any) -> Track:
    context = stream.codec_context
    codec = codec_string(context.name, bytes(context.extradata))
    if stream.type == "video":
        return Track(number, "video", codec, width=context.width, height=context.height)
    return Track(number, "audio", codec, sampling_rate=context.sample_rate)


def codec_string(name: str, private: bytes) -> str:
    """The codec string (RFC 6381) of a track, from avcC, hvcC or AudioSpecificConfig."""
    if name == "h264":
        return f"avc1.{private[1:4].hex().upper()}" if len(private) > 3 and private[0] == 1 else "avc1.42E01E"
    if name == "hevc":
        return _hevc_string(private)
    return f"mp4a.40.{private[0] >> 3 if private else 2}"


def _hevc_string(private: bytes) -> str:
    """ISO/IEC 14496-15, annex E: profile space and number, compatibility bits reversed, tier and level, constraints."""
    if len(private) < 13:
        return "hvc1.1.6.L93.B0"
    space = ("", "A", "B", "C")[private[1] >> 6]
    compatible = int(f"{int.from_bytes(private[2:6], 'big'):032b}"[::-1], 2)
    constraints = private[6:12].rstrip(b"\0")
    text = f"hvc1.{space}{private[1] & 31}.{compatible:X}.{'H' if private[1] & 32 else 'L'}{private[12]}"
    return text + "".join(f".{byte:X}" for byte in constraints)


# Packets with decoding times.


def _packets(source: InputContainer, piece: Piece) -> dict[int, list[av.Packet[Any]]]:
    """The packets of each track, with times in 90 kHz from the origin, in decoding order."""
    import av

    found: dict[int, list[av.Packet[Any]]] = {stream.index: [] for stream in _streams(source, piece.track)}
    shift = piece.at_ms - piece.timecode_ms
    try:
        for packet in source.demux():
            if packet.size and packet.pts is not None and packet.stream.index in found:
                ms = round(packet.pts * (packet.time_base or Fraction(1, 1000)) * 1000) + shift
                packet.time_base = _CLOCK
                packet.pts = ms * 90
                found[packet.stream.index].append(packet)
    except av.FFmpegError as error:
        raise ServiceError("InvalidMediaFrameException", f"The fragment cannot be read: {error}.") from error
    for packets in found.values():
        _set_decoding_times(packets)
    return found


def _set_decoding_times(packets: Sequence[av.Packet[Any]]) -> None:
    shown = [packet.pts or 0 for packet in packets]
    in_order = sorted(shown)
    delay = max((time - pts for time, pts in zip(in_order, shown)), default=0)
    for packet, time, following in zip(packets, in_order, [*in_order[1:], None]):
        packet.dts = time - max(delay, 0)
        if following is not None and not packet.duration:
            packet.duration = following - time


def _interleaved(tracks: dict[int, list[av.Packet[Any]]]) -> Iterator[av.Packet[Any]]:
    yield from sorted((p for packets in tracks.values() for p in packets), key=lambda packet: packet.dts or 0)


def _outputs(source: InputContainer, out: OutputContainer, track: int) -> dict[int, Any]:
    streams = {}
    for stream in _streams(source, track):
        streams[stream.index] = out.add_stream_from_template(stream)
        if stream.codec_context.name == "hevc" and out.format.name == "mp4":
            streams[stream.index].codec_context.codec_tag = "hvc1"
    return streams


def _write(source: InputContainer, piece: Piece, out: OutputContainer) -> None:
    streams = _outputs(source, out, piece.track)
    for packet in _interleaved(_packets(source, piece)):
        packet.stream = streams[packet.stream.index]
        out.mux(packet)


def _boxes(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    at = 0
    while at + 8 <= len(data):
        size = struct.unpack_from(">I", data, at)[0]
        if size < 8:
            return
        yield data[at + 4 : at + 8], data[at : at + size]
        at += size


def _mp4(piece: Piece) -> bytes:
    import av

    sink = io.BytesIO()
    options = {"movflags": _MP4_FLAGS, "use_editlist": "0", "video_track_timescale": "90000"}
    with _open(piece.document) as source, av.open(sink, "w", format="mp4", options=options) as out:
        _write(source, piece, out)
    return sink.getvalue()


def mp4_init(piece: Piece) -> bytes:
    """The initialization segment (ISO/IEC 14496-12): file type and movie box, without media."""
    return b"".join(box for kind, box in _boxes(_mp4(piece)) if kind in (b"ftyp", b"moov"))


def mp4_fragment(piece: Piece, sequence: int) -> bytes:
    """The media segment: movie fragments with their data, numbered from ``sequence``."""
    boxes = [box for kind, box in _boxes(_mp4(piece)) if kind in (b"moof", b"mdat")]
    if boxes:
        at = boxes[0].find(b"mfhd")
        boxes[0] = boxes[0][: at + 8] + struct.pack(">I", sequence) + boxes[0][at + 12 :]
    return b"".join(boxes)


def ts_fragment(piece: Piece) -> bytes:
    """The fragment as an MPEG transport stream (ISO/IEC 13818-1); its times wrap at 33 bits."""
    import av

    sink = io.BytesIO()
    options = {"mpegts_copyts": "1", "mpegts_flags": "initial_discontinuity"}
    with _open(piece.document) as source, av.open(sink, "w", format="mpegts", options=options) as out:
        _write(source, piece, out)
    return sink.getvalue()


def clip(pieces: Iterable[Piece]) -> bytes:
    """One MP4 file with the fragments one after the other, its movie box first; InvalidCodecPrivateDataException where
    their tracks differ."""
    import av

    with tempfile.TemporaryDirectory() as folder:  # the movie box is moved to the front in a second pass
        path = Path(folder) / "clip.mp4"
        with av.open(str(path), "w", format="mp4", options={"movflags": "faststart+negative_cts_offsets"}) as out:
            _write_all(pieces, out)
        return path.read_bytes()


def _write_all(pieces: Iterable[Piece], out: OutputContainer) -> None:
    streams: dict[int, Any] = {}
    private: dict[int, bytes] = {}
    for piece in pieces:
        with _open(piece.document) as source:
            found = {stream.index: bytes(stream.codec_context.extradata or b"") for stream in _streams(source)}
            if streams and found != private:
                text = "The codec private data or the tracks change within the clip; ask for one part at a time."
                raise ServiceError("InvalidCodecPrivateDataException", text)
            if not streams:
                streams, private = _outputs(source, out, 0), found
            for packet in _interleaved(_packets(source, piece)):
                packet.stream = streams[packet.stream.index]
                out.mux(packet)


def picture(piece: Piece, at_ms: int, size: tuple[int | None, int | None], form: str, quality: int) -> bytes | None:
    """The picture shown at ``at_ms`` (or the first after it) as JPEG or PNG; None where the fragment has no video.

    ``size`` is width and height in pixels; of one alone the other follows from the picture's shape.
    """
    shown: av.VideoFrame | None = None
    with _open(piece.document) as source:
        video = next((stream for stream in source.streams if stream.type == "video"), None)
        if video is None:
            return None
        for frame in source.decode(video):
            ms = round((frame.pts or 0) * (frame.time_base or Fraction(1, 1000)) * 1000)
            if shown is not None and ms + piece.at_ms - piece.timecode_ms > at_ms:
                break
            shown = frame
    return None if shown is None else _encoded(shown, size, form, quality)


def _encoded(frame: av.VideoFrame, size: tuple[int | None, int | None], form: str, quality: int) -> bytes:
    import av

    width, height = size
    if width is None and height is None:
        width, height = frame.width, frame.height
    elif width is None:
        width = max(1, round(frame.width * (height or 1) / frame.height))
    elif height is None:
        height = max(1, round(frame.height * width / frame.width))
    name, pixels = ("mjpeg", "yuvj420p") if form == "JPEG" else ("png", "rgb24")
    encoder = av.CodecContext.create(name, "w")
    encoder.width, encoder.height, encoder.pix_fmt = width, height, pixels  # type: ignore[attr-defined]
    encoder.time_base = Fraction(1, 25)
    if form == "JPEG":
        encoder.options = {"qmin": "1", "qmax": "31"}
        encoder.global_quality = 118 * _jpeg_scale(quality)
        encoder.flags |= 1 << 1  # the quality is given, not the rate
    scaled = frame.reformat(width, height, pixels)
    scaled.pts = None
    packets = [*encoder.encode(scaled), *encoder.encode(None)]  # type: ignore[attr-defined]
    return b"".join(map(bytes, packets))


def _jpeg_scale(quality: int) -> int:
    """FFmpeg's scale, 31 worst and 2 best, for a quality of 1 to 100."""
    return max(2, round(31 - quality * 29 / 100))
