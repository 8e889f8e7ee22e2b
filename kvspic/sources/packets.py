"""The packets of an open container: one after the other, some looked at before they are taken; and which streams count.

One video stream and one audio stream are taken. A file may hold more: covers, previews, a second camera. The video is
the first stream that moves and that can be packaged; what is left out is reported.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import Any

from kvspic.codec_table import CODECS, Codec
from kvspic.sources.base import SourceError, UnsupportedCodecError, load_av

__all__ = ["PROBE_PACKETS_MAX", "Packets", "codec_name", "pick_streams"]

PROBE_PACKETS_MAX = 256  # looked at before the first frame is given; bounds what is held for an odd file
MOVING_PACKETS = 2  # a still picture has one
LOSSY = frozenset(("mpegts", "mpeg", "rtsp", "rtp"))  # what is carried over lines that lose packets
KINDS = ("video", "audio")


class Packets:
    """Gives the packets that have data, of the streams that are wanted. PyAV's container belongs to the caller.

    ``is_unfinished``: the medium is known to break off, so damage is its end.
    """

    def __init__(self, container: Any, label: str, is_unfinished: bool = False) -> None:
        streams = [stream for kind in KINDS for stream in getattr(container.streams, kind)]
        self._label = label
        self._packets: Iterator[Any] = iter(container.demux(streams) if streams else ())
        self._peeked: deque[Any] = deque()
        self._wanted = {stream.index for stream in streams}
        self._is_closed = False
        self._is_unfinished = is_unfinished
        self._av = load_av()
        # In a transport stream the rest of a damaged picture can be shown; elsewhere such a packet is cut off.
        self.leaves_out_corrupt = container.format.name not in LOSSY
        self.corrupt_count = 0
        self.position = 0  # in the file, of the newest packet

    def next(self) -> Any | None:
        """Return the next packet, None at the end.

        Raises:
            SourceError: the medium is damaged, or encrypted.
        """
        while (packet := self._peeked.popleft() if self._peeked else self._fresh()) is not None:
            self.position = packet.pos if packet.pos is not None else self.position
            self.corrupt_count += packet.is_corrupt
            if not (packet.is_corrupt and self.leaves_out_corrupt):
                return packet
        return None

    def peek(self, stream: Any) -> Iterator[Any]:
        """Give packets of a stream without taking them, for as long as the caller asks and the limit allows."""
        return (packet for packet in self._peek_all() if packet.stream_index == stream.index)

    def peeked(self, index: int) -> list[Any]:
        """Return the packets of a stream, by its index, that were looked at and are not taken yet."""
        return [packet for packet in self._peeked if packet.stream_index == index]

    def count(self, stream: Any, enough: int) -> int:
        """Return how many packets of a stream come within the limit; the counting ends at ``enough``."""
        found = 0
        for _ in self.peek(stream):
            found += 1
            if found == enough:
                break
        return found

    def keep(self, streams: list[Any]) -> None:
        """Give packets of these streams only, from now on."""
        self._wanted = {stream.index for stream in streams}
        self._peeked = deque(packet for packet in self._peeked if packet.stream_index in self._wanted)

    def close(self) -> None:
        """Give nothing more. A packet's stream must not be looked at once the container is gone: PyAV crashes."""
        self._is_closed = True
        self._peeked.clear()

    def _peek_all(self) -> Iterator[Any]:
        place = 0
        while place < PROBE_PACKETS_MAX:
            if place == len(self._peeked):
                packet = self._fresh()
                if packet is None:
                    return
                self._peeked.append(packet)
            yield self._peeked[place]
            place += 1

    def _fresh(self) -> Any | None:
        if self._is_closed:
            return None
        try:
            for packet in self._packets:
                if packet.size and packet.stream_index in self._wanted:
                    self._refuse_encrypted(packet)
                    return packet
        except self._av.error.FFmpegError as error:
            if self._is_unfinished:
                return None
            raise SourceError(
                f"{self._label} is damaged and cannot be read further ({error.strerror}): repair it or make it again."
            ) from error
        return None

    def _refuse_encrypted(self, packet: Any) -> None:
        shows = getattr(packet, "has_sidedata", None)
        if shows is not None and shows("encryption_info"):
            raise SourceError(encrypted(self._label))


def encrypted(label: str) -> str:
    """Return the sentence about a medium with encrypted samples."""
    return (
        f"{label} is encrypted (DRM, Common Encryption), so its frames cannot be played from a stream: decrypt it "
        "first, or name the original."
    )


def pick_streams(container: Any, packets: Packets, label: str) -> tuple[list[tuple[Any, Codec]], list[str]]:
    """Return the video and the audio stream to take, with their codecs, and sentences about what is left out.

    Raises:
        UnsupportedCodecError: there is nothing that can be packaged, or a video of which that is true.
        SourceError: a stream is encrypted.
    """
    picked: list[tuple[Any, Codec]] = []
    notices: list[str] = []
    found = [
        f"{kind} {codec_name(stream)}"
        for kind in KINDS
        for stream in getattr(container.streams, kind)
        if not _is_cover(stream)
    ]
    for kind in KINDS:
        streams = list(getattr(container.streams, kind))
        taken = _pick_video(streams, packets, notices) if kind == "video" else _pick_audio(streams, notices)
        if taken is None and kind == "video" and any(not _is_cover(stream) for stream in streams):
            raise UnsupportedCodecError(_unsupported(label, found))
        if taken is not None:
            picked.append((taken, CODECS[codec_name(taken)]))
    if not picked:
        raise UnsupportedCodecError(_unsupported(label, found))
    if any("enc_key_id" in stream.metadata for stream, _ in picked):  # FFmpeg's word for Matroska's ContentEncKeyID
        raise SourceError(encrypted(label))
    return picked, notices


def codec_name(stream: Any) -> str:
    """Return the codec of a stream, whatever its decoder is called (AV1's is named after a library)."""
    context = stream.codec_context
    return str(context.codec.canonical_name) if context is not None else "of an unknown kind"


def _pick_video(streams: list[Any], packets: Packets, notices: list[str]) -> Any | None:
    """Return the first stream that moves and that can be packaged; of still pictures only, the first."""
    covers = [stream for stream in streams if _is_cover(stream)]
    candidates = [stream for stream in streams if not _is_cover(stream)]
    able = [stream for stream in candidates if codec_name(stream) in CODECS]
    taken = able[0] if able else None
    if len(candidates) > 1 and able:
        moving = (stream for stream in able if packets.count(stream, MOVING_PACKETS) >= MOVING_PACKETS)
        taken = next(moving, able[0])
    for stream in streams:
        if stream is taken:
            continue
        is_still = stream in covers or packets.count(stream, MOVING_PACKETS) < MOVING_PACKETS
        context = stream.codec_context
        size = f" of {context.width}x{context.height}" if context is not None else ""
        what = "picture, such as a cover," if is_still else "video"
        why = "" if codec_name(stream) in CODECS or is_still else ", which cannot be packaged"
        notices.append(f"A {what} ({codec_name(stream)}{size}, stream {stream.index}) is left out{why}.")
    if taken is not None and sum(packets.count(stream, MOVING_PACKETS) >= MOVING_PACKETS for stream in able) > 1:
        notices.append(f"Of {len(able)} video streams only the first one (stream {taken.index}) is taken.")
    return taken


def _pick_audio(streams: list[Any], notices: list[str]) -> Any | None:
    able = [stream for stream in streams if codec_name(stream) in CODECS]
    if streams and not able:
        notices.append(f"The audio ({codec_name(streams[0])}) cannot be packaged and is left out.")
    elif able and able[0] is not streams[0]:
        notices.append(f"The first audio ({codec_name(streams[0])}) cannot be packaged; another one is taken.")
    if len(able) > 1:
        notices.append(f"Of {len(able)} audio streams only the first one is taken.")
    return able[0] if able else None


def _unsupported(label: str, found: list[str]) -> str:
    if not found:
        return f"{label} holds neither video nor audio: name a file with at least one of them."
    return (
        f"{label} holds {', '.join(found)}, which cannot be packaged: convert it first "
        "(ffmpeg -i IN -c:v libx264 -c:a aac OUT.mp4)."
    )


def _is_cover(stream: Any) -> bool:
    """Tell whether a stream says itself that it is a cover picture."""
    return bool(stream.type == "video" and stream.disposition & stream.disposition.attached_pic)
