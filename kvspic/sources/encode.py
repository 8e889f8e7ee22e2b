"""Sources that make their frames: the user's pictures, encoded to H.264, and a test pattern with a running clock.

The encoder runs without B frames and without look-ahead, so a picture that goes in comes out at once and in order. The
parameter sets are in the track (Annex B); numpy is needed only by callers that have numpy pictures.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from types import TracebackType
from typing import Any

from kvspic.sources.base import SourceError, SourceFrame, SourceOptionError, SourceTrack, load_av, ticks_to_ns

__all__ = ["TEST_PATTERN_NAME", "EncodedSource", "NumpyEncoder", "TestPattern", "encode_frames", "open_test_pattern"]

TEST_PATTERN_NAME = "testsrc"
ENCODERS = ("libx264", "libopenh264", "h264_videotoolbox", "h264_v4l2m2m", "h264_mf")
SIDE_MIN, SIDE_MAX = 16, 8192
FPS_MAX = 1000
SECONDS_PER_GOP = 2  # a fragment begins at a key frame, and two seconds is what the field uses
AUDIO_RATE = 48000
AUDIO_SAMPLES = 1024  # of one AAC frame
AUDIO_BIT_RATE = 64000


class NumpyEncoder:
    """Encodes pictures to H.264, one in, one frame out. Not for several threads at once.

    ``track`` is what the stream is opened with, ``producer.open_stream(name, encoder.track)``; each frame goes in by
    ``stream.put_frame(frame.data, **frame.put_options(0))``, where the pictures' times count from 1970.

    Args:
        width, height: of every picture, even numbers from 16 to 8192.
        fps: frames a second, for the rate control and for the times of pictures that are given none.
        gop: frames from one key frame to the next; two seconds' worth by default.
        pixel_format: what the arrays hold, in FFmpeg's words: ``rgb24``, ``bgr24`` (OpenCV), ``gray``.
        bit_rate: bits a second; by default a constant quality is kept.
    """

    def __init__(
        self, width: int, height: int, *, fps: float | Fraction, gop: int | None = None,
        pixel_format: str = "rgb24", bit_rate: int | None = None,
    ) -> None:  # fmt: skip
        _check_picture(width, height, fps, gop)
        self._av = load_av()
        self._fps = Fraction(fps).limit_denominator(1001)
        self._pixel_format = pixel_format
        self._count = 0
        self._times: dict[int, tuple[int, int]] = {}  # encoder's counter -> pts and duration of a picture inside
        gop = gop or max(1, round(self._fps * SECONDS_PER_GOP))
        self._context = _open_encoder(self._av, width, height, self._fps, gop, bit_rate)
        private = bytes(self._context.extradata) if self._context.extradata else None
        self.track = SourceTrack(
            1, "video", "V_MPEG4/ISO/AVC", "kvs_video_track", private, "video/h264", width=width, height=height,
            nal="annexb", frame_rate_hint=float(self._fps),
        )  # fmt: skip

    def encode(self, picture: Any, pts_ns: int | None = None) -> list[SourceFrame]:
        """Encode a picture and return the frames that are ready, mostly one.

        Args:
            picture: array of uint8, height x width x 3 (height x width for ``gray``), or a PyAV video frame.
            pts_ns: when it is shown, in nanoseconds from any zero, rising; by default picture ``n`` is at ``n`` / fps.

        Raises:
            SourceError: the picture has another size or type than was declared, or the encoder failed.
        """
        frame = self._frame(picture)
        steady = ticks_to_ns(self._count, self._fps.denominator, self._fps.numerator)
        following = ticks_to_ns(self._count + 1, self._fps.denominator, self._fps.numerator)
        self._times[self._count] = (steady if pts_ns is None else pts_ns, following - steady)
        frame.pts, frame.time_base = self._count, 1 / self._fps
        frame.pict_type = self._av.video.frame.PictureType.NONE  # the encoder alone decides what becomes a key frame
        self._count += 1
        return self._give(frame)

    def flush(self) -> list[SourceFrame]:
        """Return the frames still inside; no picture can be encoded afterwards."""
        return self._give(None)

    def _frame(self, picture: Any) -> Any:
        if isinstance(picture, self._av.VideoFrame):
            frame = picture
        else:
            try:
                frame = self._av.VideoFrame.from_ndarray(picture, format=self._pixel_format)
            except (ValueError, AttributeError, TypeError) as error:
                raise SourceError(
                    f"A picture is no uint8 array of {self._pixel_format}: give height x width x 3 ({error})."
                ) from error
        if (frame.width, frame.height) != (self.track.width, self.track.height):
            raise SourceError(
                f"A picture is {frame.width}x{frame.height}, but {self.track.width}x{self.track.height} was declared: "
                "resize it, or make another encoder."
            )
        return frame

    def _give(self, frame: Any) -> list[SourceFrame]:
        try:
            packets = self._context.encode(frame)
        except self._av.error.FFmpegError as error:
            raise SourceError(f"The H.264 encoder failed ({error.strerror}): try a smaller picture.") from error
        return [self._made(packet) for packet in packets]

    def _made(self, packet: Any) -> SourceFrame:
        pts_ns, duration_ns = self._times.pop(packet.pts)
        return SourceFrame(1, packet, pts_ns, pts_ns, duration_ns, packet.is_keyframe)


class EncodedSource:
    """Frames of an encoder that is fed by an iterator; the shared half of numpy pictures and the test pattern."""

    def __init__(self, tracks: tuple[SourceTrack, ...], frames: Iterator[SourceFrame], duration_ns: int | None) -> None:
        self._tracks = tracks
        self._frames = frames
        self._duration_ns = duration_ns

    @property
    def tracks(self) -> tuple[SourceTrack, ...]:
        """The tracks, video first."""
        return self._tracks

    @property
    def content_type(self) -> str:
        """The media type, one token for each track."""
        return ",".join(track.content_type for track in self._tracks)

    @property
    def duration_ns(self) -> int | None:
        """How long it is; None where the pictures come for as long as they come."""
        return self._duration_ns

    @property
    def start_ns(self) -> None:
        """None: it begins when it is put."""

    @property
    def notices(self) -> tuple[str, ...]:
        """Nothing is ever assumed here."""
        return ()

    def frames(self) -> Iterator[SourceFrame]:
        """Give each frame once, as soon as it is encoded."""
        yield from self._frames

    def close(self) -> None:
        """Stop; frames that were given stay valid."""
        self._frames = iter(())

    def __enter__(self) -> EncodedSource:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def encode_frames(
    pictures: Iterable[Any], *, fps: float | Fraction, gop: int | None = None, pixel_format: str = "rgb24"
) -> EncodedSource:
    """Make a source of pictures (arrays of uint8, height x width x 3); the first one tells the size of all.

    Raises:
        SourceError: there is no picture, or one has another size or type than the first.
        SourceOptionError: the rate or the size is out of range.
    """
    rest = iter(pictures)
    first = next(rest, None)
    if first is None:
        raise SourceError("There is no picture to encode: give at least one.")
    if getattr(first, "ndim", 0) < 2:
        raise SourceError("A picture is no array: give uint8 arrays of height x width x 3.")
    height, width = first.shape[:2]
    encoder = NumpyEncoder(width, height, fps=fps, gop=gop, pixel_format=pixel_format)

    def frames() -> Iterator[SourceFrame]:
        yield from encoder.encode(first)
        for picture in rest:
            yield from encoder.encode(picture)
        yield from encoder.flush()

    return EncodedSource((encoder.track,), frames(), None)


@dataclass(frozen=True)
class TestPattern:
    """What ``testsrc`` shows: a moving pattern with the time since its start drawn in, and a beep if asked for."""

    __test__ = False  # a test runner takes every class of this name for a test

    width: int = 640
    height: int = 360
    fps: Fraction = Fraction(25)
    duration: Fraction = Fraction(10)  # seconds; 0 never ends
    gop: int = 0  # frames; 0 is two seconds' worth
    audio: int = 0

    @classmethod
    def parse(cls, text: str) -> TestPattern:
        """Read ``testsrc`` or ``testsrc:width=640,fps=30``.

        Raises:
            SourceOptionError: an option is unknown, or its value is no number.
        """
        values: dict[str, Any] = {}
        names: dict[str, Any] = {field.name: field.default for field in dataclasses.fields(cls)}
        for part in filter(None, text.partition(":")[2].split(",")):
            name, _, value = part.partition("=")
            if name not in names:
                raise SourceOptionError(f"testsrc has no option {name!r}: it knows {', '.join(sorted(names))}.")
            try:
                values[name] = type(names[name])(value or "1")
            except (ValueError, ZeroDivisionError) as error:
                raise SourceOptionError(f"testsrc option {name} is no number: write it as in {name}=2.") from error
        return cls(**values)


def open_test_pattern(text: str, fps: Fraction | None = None) -> EncodedSource:
    """Return the synthetic source that ``testsrc[:options]`` names.

    Raises:
        SourceOptionError: an option is unknown or out of range.
    """
    pattern = TestPattern.parse(text)
    if fps is not None:
        pattern = dataclasses.replace(pattern, fps=fps)
    if pattern.duration < 0:
        raise SourceOptionError("testsrc cannot last less than nothing: give a duration in seconds, or 0 for no end.")
    encoder = NumpyEncoder(pattern.width, pattern.height, fps=pattern.fps, gop=pattern.gop)
    count = round(pattern.duration * pattern.fps) if pattern.duration else None
    beep = _Beep(load_av()) if pattern.audio else None
    tracks = (encoder.track,) if beep is None else (encoder.track, beep.track)
    duration_ns = None if count is None else ticks_to_ns(count, pattern.fps.denominator, pattern.fps.numerator)
    return EncodedSource(tracks, _pattern_frames(pattern, encoder, beep, count), duration_ns)


def _pattern_frames(
    pattern: TestPattern, encoder: NumpyEncoder, beep: _Beep | None, count: int | None
) -> Iterator[SourceFrame]:
    graph = load_av().filter.Graph()
    chain = (
        graph.add("testsrc2", f"size={pattern.width}x{pattern.height}:rate={pattern.fps}"),
        graph.add("format", "pix_fmts=yuv420p"),
        graph.add("buffersink"),
    )
    _link(graph, chain)
    index = 0
    while count is None or index < count:
        index += 1
        for frame in encoder.encode(graph.vpull()):
            yield frame
            if beep is not None:
                yield from beep.up_to(frame.pts_ns + frame.duration_ns)
    yield from encoder.flush()


class _Beep:
    """A sine that beeps once a second, as AAC on track 2."""

    def __init__(self, av: Any) -> None:
        self._graph = av.filter.Graph()
        sine = f"frequency=440:beep_factor=4:sample_rate={AUDIO_RATE}:samples_per_frame={AUDIO_SAMPLES}"
        chain = (
            self._graph.add("sine", sine),
            self._graph.add("aformat", "sample_fmts=fltp"),
            self._graph.add("abuffersink"),
        )
        _link(self._graph, chain)
        self._context = av.CodecContext.create("aac", "w")
        self._context.sample_rate, self._context.layout, self._context.format = AUDIO_RATE, "mono", "fltp"
        self._context.bit_rate = AUDIO_BIT_RATE
        self._context.open()
        self._samples = 0
        self.track = SourceTrack(
            2, "audio", "A_AAC", "kvs_audio_track", bytes(self._context.extradata), "audio/aac",
            sample_rate=AUDIO_RATE, channels=1,
        )  # fmt: skip

    def up_to(self, until_ns: int) -> Iterator[SourceFrame]:
        """Give the audio that begins before a time."""
        while ticks_to_ns(self._samples, 1, AUDIO_RATE) < until_ns:
            self._samples += AUDIO_SAMPLES
            for packet in self._context.encode(self._graph.pull()):
                begin = ticks_to_ns(packet.pts, 1, AUDIO_RATE)
                end = ticks_to_ns(packet.pts + AUDIO_SAMPLES, 1, AUDIO_RATE)
                yield SourceFrame(2, packet, begin, begin, end - begin, False, packet.pts < 0)


def _link(graph: Any, chain: tuple[Any, ...]) -> None:
    for left, right in itertools.pairwise(chain):
        left.link_to(right)
    graph.configure()


def _check_picture(width: int, height: int, fps: float | Fraction, gop: int | None) -> None:
    if not (SIDE_MIN <= width <= SIDE_MAX and SIDE_MIN <= height <= SIDE_MAX) or width % 2 or height % 2:
        raise SourceOptionError(
            f"A picture of {width}x{height} cannot be encoded: both sides must be even, from {SIDE_MIN} to {SIDE_MAX}."
        )
    if not 0 < fps <= FPS_MAX:
        raise SourceOptionError(f"A frame rate of {fps} is out of range: give one above 0 and up to {FPS_MAX}.")
    if gop is not None and gop < 0:
        raise SourceOptionError(f"A GOP of {gop} frames is out of range: give 1 or more.")


def _open_encoder(av: Any, width: int, height: int, fps: Fraction, gop: int, bit_rate: int | None) -> Any:
    """Return an open H.264 encoder, the first of a list that this build of FFmpeg has and can open."""
    for name in ENCODERS:
        if name not in av.codecs_available:
            continue
        context = av.CodecContext.create(name, "w")
        context.width, context.height, context.pix_fmt = width, height, "yuv420p"
        context.time_base, context.framerate, context.gop_size, context.max_b_frames = 1 / fps, fps, gop, 0
        context.flags |= av.codec.context.Flags.global_header
        if name == "libx264":
            # Without a threshold a cut of the scene makes a key frame, and so a fragment, at any moment.
            context.options = {"preset": "veryfast", "tune": "zerolatency", "sc_threshold": "0"}
        if bit_rate:
            context.bit_rate = bit_rate
        try:
            context.open()
        except av.error.FFmpegError:
            continue
        return context
    raise SourceError(
        f"This PyAV has none of the H.264 encoders {', '.join(ENCODERS)}: install a wheel (pip install -U av)."
    )
