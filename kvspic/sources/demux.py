"""A source over a demuxer: files, pipes and whatever else PyAV opens. It picks the streams and describes the tracks.

One video stream and one audio stream are taken, in that order, because players want video as track 1. Raw streams say
little about themselves, so the first packets are looked at before the tracks are described, and given out afterwards.
"""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Callable, Iterator
from fractions import Fraction
from types import TracebackType
from typing import Any

from kvspic.sources.base import (
    SourceError,
    SourceFrame,
    SourceTrack,
    UnsupportedCodecError,
    load_av,
    ticks_to_ns,
)
from kvspic.sources.codecs import (
    CODECS,
    Codec,
    audio_specific_config,
    bitmap_info,
    h264_has_b_slice,
    parse_adts,
    wave_format,
)
from kvspic.sources.readers import B_FRAMES_WITHOUT_TIMES, AdtsReader, PcmReader, RawReader, TimedReader

__all__ = ["RAW_FORMATS", "UNLIKELY_RATE", "DemuxedSource"]

RAW_FORMATS = frozenset(("h264", "hevc", "mjpeg", "jpeg_pipe"))
SAMPLE_FORMATS = frozenset(("wav", "w64", "au", "aiff", "caf"))
PROBE_PACKETS_MAX = 256  # looked at before the first frame is given; bounds what is held for an odd file
RAW_PROBE_PACKETS = 32  # a GOP with B frames shows one within a few pictures
WITHOUT_PTS = frozenset(("avi",))  # keep decoding order only, as raw streams do
DEFAULT_RATE = Fraction(25)
UNLIKELY_RATE = Fraction(7919, 317)  # asked of raw demuxers: a rate they made up is told from a real one by it

Reader = TimedReader | RawReader | PcmReader


class DemuxedSource:
    """Frames of an open PyAV container, which the source owns and closes.

    ``reopen`` gives the same medium once more from its start, or is None where that cannot be done.
    """

    def __init__(
        self, container: Any, label: str, *, fps: Fraction | None = None, reopen: Callable[[], Any] | None = None
    ) -> None:
        self._container = container
        self._label = label
        self._fps = fps
        self._reopen = reopen
        self._peeked: deque[Any] = deque()
        self._notices: list[str] = []
        self._rate: Fraction | None = None
        self._duration_ns: int | None = None
        self._is_closed = False
        self.start_ns: int | None = None
        self._av = load_av()
        self._readers: dict[int, Reader] = {}
        try:
            self._streams = self._pick_streams()
            self._packets: Iterator[Any] = iter(container.demux([stream for stream, _ in self._streams]))
            self._tracks = tuple(self._describe())
        except BaseException:
            container.close()
            raise
        if any(_is_cut(stream, container.size) for stream, _ in self._streams):
            self._notices.append(f"{label} ends before its last frame: it was cut, and only what is there is read.")

    @property
    def tracks(self) -> tuple[SourceTrack, ...]:
        """The tracks, video first, numbered from 1."""
        return self._tracks

    @property
    def content_type(self) -> str:
        """The media type of the whole, one token for each track."""
        return ",".join(track.content_type for track in self._tracks)

    @property
    def notices(self) -> tuple[str, ...]:
        """What was assumed or left out."""
        return tuple(self._notices)

    @property
    def duration_ns(self) -> int | None:
        """How long the medium is; a raw stream is read through once to find out, a pipe cannot be: None."""
        if self._duration_ns is None:
            self._duration_ns = self._find_duration()
        return self._duration_ns

    @property
    def creation_time(self) -> str:
        """When the medium says it was made, in its own words (ISO 8601, UTC); empty where it says nothing."""
        return str(self._container.metadata.get("creation_time", ""))

    def frames(self) -> Iterator[SourceFrame]:
        """Give each frame once, in file order.

        Raises:
            SourceError: the medium is damaged, or has frames without times; frames before that were given.
        """
        while (packet := self._next_packet()) is not None:
            yield from self._readers[packet.stream.index].read(packet)
        for reader in self._readers.values():
            yield from reader.flush()

    def close(self) -> None:
        """Close the container, from the thread that reads; frames that were given stay valid, no more are given."""
        self._is_closed = True
        self._peeked.clear()  # a packet's stream must not be looked at once the container is gone: PyAV crashes
        self._container.close()

    def __enter__(self) -> DemuxedSource:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _next_packet(self) -> Any | None:
        """Return the next packet with data: looked at before, or fresh; None at the end."""
        return self._peeked.popleft() if self._peeked else self._fresh_packet()

    def _fresh_packet(self) -> Any | None:
        if self._is_closed:
            return None
        try:
            for packet in self._packets:
                if packet.size:
                    return packet
        except self._av.error.FFmpegError as error:
            raise SourceError(
                f"{self._label} is damaged and cannot be read further ({error.strerror}): repair it or make it again."
            ) from error
        return None

    def _pick_streams(self) -> list[tuple[Any, Codec]]:
        """Return the first video and the first audio stream with their codecs."""
        picked: list[tuple[Any, Codec]] = []
        found: list[str] = []
        for kind in ("video", "audio"):
            streams = [stream for stream in getattr(self._container.streams, kind) if not _is_picture(stream)]
            found += [f"{kind} {_codec_name(stream)}" for stream in streams]
            if not streams:
                continue
            codec = CODECS.get(_codec_name(streams[0]))
            if codec is None and kind == "video":
                raise UnsupportedCodecError(self._unsupported(found))
            if codec is None:
                self._notices.append(f"The audio ({_codec_name(streams[0])}) cannot be packaged and is left out.")
                continue
            picked.append((streams[0], codec))
            if len(streams) > 1:
                self._notices.append(f"Of {len(streams)} {kind} streams only the first one is taken.")
        if not picked:
            raise UnsupportedCodecError(self._unsupported(found))
        return picked

    def _unsupported(self, found: list[str]) -> str:
        if not found:
            return f"{self._label} holds neither video nor audio: name a file with at least one of them."
        return (
            f"{self._label} holds {', '.join(found)}, which cannot be packaged: convert it first "
            "(ffmpeg -i IN -c:v libx264 -c:a aac OUT.mp4)."
        )

    def _describe(self) -> Iterator[SourceTrack]:
        """Give the tracks, and make the reader of each."""
        zero_hns = (self._container.start_time or 0) * 10
        form = self._container.format.name
        for number, (stream, codec) in enumerate(self._streams, start=1):
            if stream.type == "video":
                track = self._video_track(number, stream, codec)
                self._readers[stream.index] = (
                    RawReader(track, self._raw_rate(stream))
                    if form in RAW_FORMATS
                    else TimedReader(track, zero_hns, carries_key=True, first_dts=self._first_dts(stream))
                )
            else:
                track, adts = self._audio_track(number, stream, codec)
                timed = AdtsReader if adts else TimedReader
                in_pieces = form in SAMPLE_FORMATS and track.bit_depth
                self._readers[stream.index] = (
                    PcmReader(track) if in_pieces else timed(track, zero_hns, carries_key=False)
                )
            yield track

    def _video_track(self, number: int, stream: Any, codec: Codec) -> SourceTrack:
        context = stream.codec_context
        private = bytes(context.extradata) if context.extradata else None
        nal = None
        if codec.content_type in ("video/h264", "video/h265"):
            nal = "avcc" if private is not None and private[:1] == b"\1" else "annexb"
        if codec.codec_id == "V_MS/VFW/FOURCC":
            private = bitmap_info(context.width, context.height)
        rate = stream.average_rate or stream.guessed_rate
        if self._container.format.name in RAW_FORMATS:
            rate = self._raw_rate(stream)
        return SourceTrack(
            number, "video", codec.codec_id, "kvs_video_track", private, codec.content_type, width=context.width,
            height=context.height, nal=nal, frame_rate_hint=float(rate) if rate else None,
        )  # fmt: skip

    def _audio_track(self, number: int, stream: Any, codec: Codec) -> tuple[SourceTrack, bool]:
        """Return the track, and whether its packets begin with ADTS headers."""
        context = stream.codec_context
        private = bytes(context.extradata) if context.extradata else None
        rate, channels, adts = context.sample_rate, context.channels, False
        if codec.codec_id == "A_MS/ACM":
            private = wave_format(_codec_name(stream), rate, channels)
        elif codec.codec_id == "A_AAC" and private is None:
            header = self._first_adts(stream)
            private, adts = audio_specific_config(header), True
            rate, channels = header.sample_rate, header.channels
        track = SourceTrack(
            number, "audio", codec.codec_id, "kvs_audio_track", private, codec.content_type, sample_rate=rate,
            channels=channels, bit_depth=codec.bit_depth,
        )  # fmt: skip
        return track, adts

    def _first_adts(self, stream: Any) -> Any:
        first = next(self._peek_all(stream), None)
        header = parse_adts(memoryview(first)) if first is not None else None
        if header is None:
            raise SourceError(
                f"{self._label} holds AAC without any description of it (no AudioSpecificConfig, no ADTS headers): "
                "convert it first (ffmpeg -i IN -c:a aac OUT.m4a)."
            )
        return header

    def _first_dts(self, stream: Any) -> int | None:
        """Return the dts that a video stream begins with. Matroska keeps none, and where B frames follow, the first
        packets come out without: theirs is told from the first that has one. None where there is nothing to tell."""
        if self._container.format.name in WITHOUT_PTS and stream.codec_context.has_b_frames:
            raise SourceError(B_FRAMES_WITHOUT_TIMES)
        before = 0
        for packet in self._peek_all(stream):
            if packet.dts is not None:
                return int(packet.dts) - before
            before += packet.duration or 1
        return None

    def _peek_all(self, stream: Any) -> Iterator[Any]:
        """Give packets of a stream without taking them, for as long as someone asks and the limit allows."""
        place = 0
        while place < PROBE_PACKETS_MAX:
            if place == len(self._peeked):
                packet = self._fresh_packet()
                if packet is None:
                    return
                self._peeked.append(packet)
            if self._peeked[place].stream.index == stream.index:
                yield self._peeked[place]
            place += 1

    def _raw_rate(self, stream: Any) -> Fraction:
        """Return the frame rate of a raw stream: from its own timing, else as asked, else 25 with a notice."""
        if self._rate is not None:
            return self._rate
        self._refuse_b_frames(stream)
        first = self._peeked[0] if self._peeked else None
        own = _own_rate(first, stream.codec_context.framerate) if first is not None else None
        self._rate = own or self._fps or DEFAULT_RATE
        if own is None and self._fps is None:
            self._notices.append(
                f"{self._label} does not say its frame rate; {DEFAULT_RATE} frames a second are assumed (see --fps)."
            )
        elif own is not None and self._fps is not None and own != self._fps:
            self._notices.append(f"{self._label} says {float(own):g} frames a second itself; that counts, not --fps.")
        return self._rate

    def _refuse_b_frames(self, stream: Any) -> None:
        first = list(itertools.islice(self._peek_all(stream), RAW_PROBE_PACKETS))
        if _codec_name(stream) == "hevc" and stream.codec_context.has_b_frames:
            raise SourceError(B_FRAMES_WITHOUT_TIMES)
        if _codec_name(stream) == "h264" and any(h264_has_b_slice(bytes(packet)) for packet in first):
            raise SourceError(B_FRAMES_WITHOUT_TIMES)

    def _find_duration(self) -> int | None:
        form = self._container.format.name
        if form not in RAW_FORMATS and form != "aac":
            return None if self._container.duration is None else self._container.duration * 1000
        if self._reopen is None:
            return None
        with self._reopen() as container:
            sizes = (packet.size for packet in container.demux(container.streams[0]))
            count = sum(1 for _ in itertools.filterfalse(lambda size: size == 0, sizes))
        if form == "aac":
            return ticks_to_ns(count * 1024, 1, self._tracks[0].sample_rate)
        rate = self._rate or DEFAULT_RATE
        return ticks_to_ns(count, rate.denominator, rate.numerator)


def _codec_name(stream: Any) -> str:
    """Return the codec of a stream, whatever its decoder is called (AV1's is named after a library)."""
    context = stream.codec_context
    return str(context.codec.canonical_name) if context is not None else "of an unknown kind"


def _is_picture(stream: Any) -> bool:
    """Tell whether a stream is a cover picture."""
    return bool(stream.disposition & stream.disposition.attached_pic)


def _own_rate(packet: Any, declared: Fraction | None) -> Fraction | None:
    """Return the rate that a raw stream's own timing gives; None if it is the one the demuxer was told to assume."""
    if not packet.duration:
        return None
    span = packet.duration * packet.time_base
    if abs(span - 1 / UNLIKELY_RATE) <= packet.time_base:
        return None
    if declared and abs(span - 1 / declared) <= packet.time_base:
        return declared
    return Fraction(1 / span)


def _is_cut(stream: Any, size: int) -> bool:
    """Tell whether a container's index points behind the end of the file, which demuxers pass over in silence."""
    entries = getattr(stream, "index_entries", None)
    if not entries or size <= 0:
        return False
    last = entries[len(entries) - 1]
    return bool(last.pos + last.size > size)
