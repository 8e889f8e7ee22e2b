"""A source over a demuxer: files, pipes and whatever else PyAV opens. It describes the tracks and gives their frames.

Players want video as track 1, so it comes first. Raw streams say little about themselves, so the first packets are
looked at before the tracks are described, and given out afterwards. Frames pass through three stages: a reader for each
stream (times, framing), one line of time for all (jumps, holes), and the file's edit list.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from fractions import Fraction
from types import TracebackType
from typing import Any

from kvspic.codec_table import Codec
from kvspic.sources.base import SourceError, SourceFrame, SourceTrack, load_av
from kvspic.sources.codecs import (
    aac_core_rate,
    audio_specific_config,
    flac_header,
    parse_adts,
    wave_format,
)
from kvspic.sources.packets import Packets, codec_name, pick_streams
from kvspic.sources.pictures import Pictures, pictures_of
from kvspic.sources.readers import B_FRAMES_WITHOUT_TIMES, AdtsReader, PcmReader, RawReader, TimedReader, Timing
from kvspic.sources.timeline import Timeline
from kvspic.sources.trim import EditTrim, Trim
from kvspic.units import NS_PER_S, NS_PER_US

__all__ = ["RAW_FORMATS", "UNLIKELY_RATE", "DemuxedSource", "Reader"]

RAW_FORMATS = frozenset(("h264", "hevc", "mjpeg", "jpeg_pipe", "obu"))
SAMPLE_FORMATS = frozenset(("wav", "w64", "au", "aiff", "caf"))
RAW_PROBE_PACKETS = 32  # a GOP with B frames shows one within a few pictures
WITHOUT_PTS = frozenset(("avi",))  # keep decoding order only, as raw streams do
WITHOUT_DTS = frozenset(("matroska",))  # keep only the times at which frames are shown
LEAPING = frozenset(("mpegts", "mpeg", "flv"))  # their clocks wrap, or start anywhere
MOV = "mov"
# Formats whose header has a length; of the others PyAV's is a guess, or what the last packets say.
TELLING = frozenset((MOV, "matroska", "avi", "wav", "w64", "ogg", "ivf", "mxf", "asf"))
DEFAULT_RATE = Fraction(25)
UNLIKELY_RATE = Fraction(7919, 317)  # asked of raw demuxers: it shows whether a rate is real or made up
CUT_NS = NS_PER_S  # a file that ends so much earlier than its header says was cut
TAIL_US = 5_000_000
SCAN_NOTICE_SIZE = 64 * 1024 * 1024
SCAN_STEPS = 4

Reader = TimedReader | RawReader | PcmReader


class DemuxedSource:
    """Frames of an open PyAV container, which the source owns and closes.

    ``reopen`` gives the same medium once more from its start, or is None where that cannot be done. ``trim`` is what
    becomes of pictures that an edit list hides. ``is_unfinished``: the medium breaks off where its writer was stopped.
    ``on_notice`` gets each sentence that comes while frames are read; ``on_close`` is called when the source is closed.
    """

    def __init__(
        self, container: Any, label: str, *, fps: Fraction | None = None, reopen: Callable[[], Any] | None = None,
        trim: Trim = Trim.PREVIOUS_KEY, is_unfinished: bool = False,
    ) -> None:  # fmt: skip
        self._container = container
        self._is_unfinished = is_unfinished
        self._label = label
        self._fps = fps
        self._reopen = reopen
        self._trim = trim
        self._rate: Fraction | None = None
        self._duration_ns: int | None = None
        self._is_duration_known = False
        self._is_closed = False
        self.start_ns: int | None = None
        self.on_close: Callable[[], None] = lambda: None
        self.on_notice: Callable[[str], None] = lambda notice: None
        self._readers: dict[int, Reader] = {}
        try:
            self._packets = Packets(container, label, is_unfinished)
            self._streams, self._notices = pick_streams(container, self._packets, label)
            self._packets.keep([stream for stream, _ in self._streams])
            self._tracks = tuple(self._describe())
        except BaseException:
            container.close()
            raise
        if is_unfinished:
            self._notices.append(
                f"{label} breaks off inside a fragment: it was not finished, and what is whole is read."
            )
        self._cut_s = max(_cut_seconds(stream, container.size) for stream, _ in self._streams)
        if self._cut_s:
            self._notices.append(f"{label} was cut: its last {self._cut_s:.1f} s are missing, and the rest is read.")

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
        """How long the medium is. Where its header does not say it, a file is read through once; a pipe gives None,
        as does a source that was not asked before it was closed."""
        if not (self._is_duration_known or self._is_closed):
            self._duration_ns, self._is_duration_known = self._find_duration(), True
        return self._duration_ns

    @property
    def creation_time(self) -> str:
        """When the medium says it was made, in its own words (ISO 8601, UTC); empty where it says nothing."""
        return str(self._container.metadata.get("creation_time", ""))

    def frames(self) -> Iterator[SourceFrame]:
        """Give each frame once, in file order.

        Raises:
            SourceError: the medium is damaged or encrypted, or has frames without times; frames before that were given.
        """
        timeline = Timeline(self._label, self._form in LEAPING, self._say)
        video = next((track.number for track in self._tracks if track.kind == "video"), 0)
        for frame in EditTrim(video, self._trim, self._say).frames(timeline.place(self._read())):
            if self._is_closed:
                return
            yield frame
        self._report_damage(timeline.end_ns)

    def close(self) -> None:
        """Close the container, from the thread that reads; frames that were given stay valid, no more are given."""
        self._is_closed = True
        self._packets.close()
        self._container.close()
        self.on_close()

    def __enter__(self) -> DemuxedSource:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _read(self) -> Iterator[SourceFrame]:
        while (packet := self._packets.next()) is not None:
            yield from self._readers[packet.stream_index].read(packet)
        for reader in self._readers.values():
            yield from reader.flush()

    def _say(self, notice: str) -> None:
        self._notices.append(notice)
        self.on_notice(notice)

    def _report_damage(self, end_ns: int) -> None:
        if self._is_closed:
            return
        if count := self._packets.corrupt_count:
            what = "left out" if self._packets.leaves_out_corrupt else "not whole"
            self._say(f"{self._label} is damaged: {count} of its frames {'is' if count == 1 else 'are'} {what}.")
        stated_ns = self._stated_duration_ns()
        if stated_ns is not None and not self._cut_s and stated_ns - end_ns > CUT_NS:
            self._say(
                f"{self._label} was cut: it ends after {end_ns / NS_PER_S:.1f} s, and its header says "
                f"{stated_ns / NS_PER_S:.1f} s; {(stated_ns - end_ns) / NS_PER_S:.1f} s are missing."
            )

    # ---- tracks

    def _describe(self) -> Iterator[SourceTrack]:
        """Give the tracks, and make the reader of each."""
        for number, (stream, codec) in enumerate(self._streams, start=1):
            if stream.type == "video":
                first = next(self._packets.peek(stream), None)
                pictures = pictures_of(codec.codec_id, codec.content_type, stream.codec_context, first)
                track = self._video_track(number, stream, codec, pictures)
                self._readers[stream.index] = self._video_reader(stream, track, pictures)
                if self._form == MOV and self._reopen is not None:
                    self._notices += self._kept_by_container(stream)
            else:
                track, adts = self._audio_track(number, stream, codec)
                timed = AdtsReader if adts else TimedReader
                in_pieces = self._form in SAMPLE_FORMATS and track.bit_depth
                self._readers[stream.index] = PcmReader(track) if in_pieces else timed(track, self._timing(None))
            yield track

    def _kept_by_container(self, stream: Any) -> Iterator[str]:
        """Say how the file wants its pictures shown, where only its own boxes have that."""
        shape, own = stream.sample_aspect_ratio, stream.codec_context.sample_aspect_ratio
        if shape and shape != (own or 1):
            yield f"{self._label} stretches its pictures by {shape}; that is not put: encode it with square pixels."
        angle = self._rotation(stream)
        if angle:
            yield (
                f"{self._label} turns its pictures by {angle} degrees; that is not put, so they will lie on their "
                "side: turn them first (ffmpeg -i IN OUT.mp4 does)."
            )

    def _rotation(self, stream: Any) -> int:
        """Return by how many degrees the file turns its pictures, from the first one that is decoded."""
        for packet in itertools.islice(self._packets.peek(stream), RAW_PROBE_PACKETS):
            try:
                pictures = stream.codec_context.decode(packet)
            except load_av().error.FFmpegError:
                break
            if pictures:
                return int(getattr(pictures[0], "rotation", 0))
        return 0

    @property
    def _form(self) -> str:
        """The container's format, as the first of the names that FFmpeg has for it."""
        return str(self._container.format.name).partition(",")[0]

    def _video_reader(self, stream: Any, track: SourceTrack, pictures: Pictures) -> Reader:
        if self._form in RAW_FORMATS:
            return RawReader(track, self._raw_rate(stream, pictures), pictures)
        if self._form in WITHOUT_PTS and self._is_reordered(stream, pictures):
            raise SourceError(B_FRAMES_WITHOUT_TIMES)
        return TimedReader(track, self._timing(stream), pictures)

    def _timing(self, video: Any | None) -> Timing:
        zero_hns = (self._container.start_time or 0) * 10
        rate = None if video is None else video.average_rate or video.guessed_rate
        first_pts = None if video is None else self._first_pts(video)
        return Timing(zero_hns, self._form not in WITHOUT_DTS, rate, first_pts)

    def _first_pts(self, stream: Any) -> int | None:
        """Return the time of a stream's first packet where that one has none: those before the first that has one are a
        frame apart. None where there is nothing to tell."""
        before = 0
        for packet in self._packets.peek(stream):
            if packet.pts is not None:
                return int(packet.pts) - before if before else None
            before += packet.duration or 1
        return None

    def _video_track(self, number: int, stream: Any, codec: Codec, pictures: Pictures) -> SourceTrack:
        context = stream.codec_context
        rate = stream.average_rate or stream.guessed_rate
        if self._form in RAW_FORMATS:
            rate = self._raw_rate(stream, pictures)
        return SourceTrack(
            number, "video", codec.codec_id, "kvs_video_track", pictures.private, codec.content_type,
            width=context.width, height=context.height, nal=pictures.nal, frame_rate_hint=float(rate) if rate else None,
        )  # fmt: skip

    def _audio_track(self, number: int, stream: Any, codec: Codec) -> tuple[SourceTrack, bool]:
        """Return the track, and whether its packets begin with ADTS headers."""
        context = stream.codec_context
        private = bytes(context.extradata) if context.extradata else None
        rate, channels, adts = context.sample_rate, context.channels, False
        if codec.codec_id == "A_MS/ACM":
            private = wave_format(codec_name(stream), rate, channels)
        elif codec.codec_id == "A_FLAC" and private:
            private = flac_header(private)
        elif codec.codec_id == "A_AAC" and private is None:
            header = self._first_adts(stream)
            private, adts = audio_specific_config(header), True
            rate, channels = header.sample_rate, header.channels
        elif codec.codec_id == "A_AAC" and private is not None:
            rate = aac_core_rate(private) or rate
        track = SourceTrack(
            number, "audio", codec.codec_id, "kvs_audio_track", private, codec.content_type, sample_rate=rate,
            channels=channels, bit_depth=codec.bit_depth,
        )  # fmt: skip
        return track, adts

    def _first_adts(self, stream: Any) -> Any:
        first = next(self._packets.peek(stream), None)
        header = parse_adts(memoryview(first)) if first is not None else None
        if header is None:
            raise SourceError(
                f"{self._label} holds AAC without any description of it (no AudioSpecificConfig, no ADTS headers): "
                "convert it first (ffmpeg -i IN -c:a aac OUT.m4a)."
            )
        return header

    def _raw_rate(self, stream: Any, pictures: Pictures) -> Fraction:
        """Return the frame rate of a raw stream: from its own timing, else as asked, else 25 with a notice."""
        if self._rate is not None:
            return self._rate
        if self._is_reordered(stream, pictures):
            raise SourceError(B_FRAMES_WITHOUT_TIMES)
        first = next(self._packets.peek(stream), None)
        own = _own_rate(first, stream.codec_context.framerate) if first is not None else None
        self._rate = own or self._fps or DEFAULT_RATE
        if own is None and self._fps is None:
            self._notices.append(
                f"{self._label} does not say its frame rate; {DEFAULT_RATE} frames a second are assumed (see --fps)."
            )
        elif own is not None and self._fps is not None and own != self._fps:
            self._notices.append(f"{self._label} says {float(own):g} frames a second itself; that counts, not --fps.")
        return self._rate

    def _is_reordered(self, stream: Any, pictures: Pictures) -> bool:
        return any(map(pictures.is_reordered, itertools.islice(self._packets.peek(stream), RAW_PROBE_PACKETS)))

    # ---- length

    def _find_duration(self) -> int | None:
        stated_ns = self._stated_duration_ns()
        if self._reopen is None:
            return stated_ns
        if stated_ns is not None and not self._cut_s and self._ends_as_stated(stated_ns):
            return stated_ns
        return self._measure()

    def _stated_duration_ns(self) -> int | None:
        """Return the length that the header says, of the streams that are taken; None where it says none."""
        if self._form not in TELLING:
            return None
        if self._form == MOV and not all(stream.frames for stream, _ in self._streams):
            return None  # in fragments: what FFmpeg says is the length of those that it has read
        lengths = [stream.duration * stream.time_base for stream, _ in self._streams if stream.duration]
        stated_ns = 0
        if len(lengths) == len(self._streams):
            stated_ns = int(max(lengths) * NS_PER_S)
        elif len(self._streams) == sum(stream.type in ("video", "audio") for stream in self._container.streams):
            stated_ns = (self._container.duration or 0) * NS_PER_US
        # Headers count from the file's time 0, and frames from the first one.
        stated_ns -= max(0, self._container.start_time or 0) * NS_PER_US
        return stated_ns if stated_ns > 0 else None

    def _ends_as_stated(self, stated_ns: int) -> bool:
        """Tell whether the last packets are where the header says: by a whole index, else by a look at them."""
        if self._form == MOV and all(_index_reaches(stream, stated_ns) for stream, _ in self._streams):
            return True
        if self._reopen is None:
            return False
        wanted = {stream.index for stream, _ in self._streams}
        end_ns = 0
        with self._reopen() as container:
            try:
                container.seek(max(0, stated_ns // NS_PER_US - TAIL_US + (container.start_time or 0)))
                for packet in container.demux():
                    if packet.size and packet.stream_index in wanted and packet.pts is not None:
                        end_ns = max(end_ns, _end_ns(packet))
            except load_av().error.FFmpegError:
                return False
        return abs(end_ns - (self._container.start_time or 0) * NS_PER_US - stated_ns) < CUT_NS

    def _measure(self) -> int | None:
        """Read the medium through once, and return where its last frame ends."""
        if self._reopen is None:
            return None
        size = self._container.size or 0
        is_long = size > SCAN_NOTICE_SIZE
        if is_long:
            self._say(f"{self._label} does not say how long it is: it is read through once before anything is put.")
        end_ns, step = 0, 1
        with DemuxedSource(
            self._reopen(), self._label, fps=self._fps, trim=self._trim, is_unfinished=self._is_unfinished
        ) as twin:
            try:
                for frame in twin.frames():
                    end_ns = max(end_ns, frame.pts_ns + frame.duration_ns)
                    if is_long and twin._packets.position * SCAN_STEPS > size * step:
                        self._say(f"{self._label}: {100 * step // SCAN_STEPS} % read to find its length.")
                        step += 1
            except SourceError:
                pass  # the upload ends there too, and says why
        return end_ns


def _own_rate(packet: Any, declared: Fraction | None) -> Fraction | None:
    """Return the rate that a raw stream's own timing gives; None if it is the one that the demuxer assumed."""
    if not packet.duration:
        return None
    span = packet.duration * packet.time_base
    if abs(span - 1 / UNLIKELY_RATE) <= packet.time_base:
        return None
    if declared and abs(span - 1 / declared) <= packet.time_base:
        return declared
    return Fraction(1 / span)


def _end_ns(packet: Any) -> int:
    return int((packet.pts + (packet.duration or 0)) * packet.time_base * NS_PER_S)


def _index_reaches(stream: Any, stated_ns: int) -> bool:
    """Tell whether a container's index goes on until the end of the stream; that of a fragmented file does not."""
    entries = getattr(stream, "index_entries", None)
    if not entries or not stream.duration:
        return False
    first, last = entries[0].timestamp, entries[len(entries) - 1].timestamp
    span_ns = (last - first) * stream.time_base * NS_PER_S
    return bool(stream.duration * stream.time_base * NS_PER_S - span_ns < CUT_NS)


def _cut_seconds(stream: Any, size: int | None) -> float:
    """Return how much of a stream lies behind the end of the file by its index, which demuxers pass over in silence."""
    entries = getattr(stream, "index_entries", None)
    if not entries or size is None or size <= 0:  # a pipe has no size
        return 0.0
    last = entries[len(entries) - 1]
    if last.pos + last.size <= size:
        return 0.0
    low, high = 0, len(entries) - 1  # the first entry that is not whole
    while low < high:
        middle = (low + high) // 2
        if entries[middle].pos + entries[middle].size > size:
            high = middle
        else:
            low = middle + 1
    step = (last.timestamp - entries[0].timestamp) / max(1, len(entries) - 1)
    return float((last.timestamp - entries[low].timestamp + step) * stream.time_base)
