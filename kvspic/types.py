"""What users pass in and get back: tracks, options of a stream, its states, report, metrics and health.

Plain frozen data, no behaviour but conversion; nothing here needs the C library or touches the world. Times that a
user sees are nanoseconds since 1970 or ``timedelta``; the core's own 100 ns ticks end in ``_hns``.
"""

from __future__ import annotations

import enum
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypedDict, runtime_checkable

from kvspic._enums import BackwardPolicy, DropReason, FullPolicy, Order, StreamState, TrackType

if TYPE_CHECKING:
    import os

    from typing_extensions import Buffer
else:
    Buffer = Any

__all__ = [
    "BUFFER_DEFAULT",
    "AacTrack",
    "BackwardPolicy",
    "Buffer",
    "ClientMetrics",
    "ClockPolicy",
    "DropReason",
    "FullPolicy",
    "H264Track",
    "H265Track",
    "Health",
    "LongGop",
    "MjpegTrack",
    "Order",
    "PcmTrack",
    "StreamKeywords",
    "StreamMetrics",
    "StreamOptions",
    "StreamReport",
    "StreamState",
    "Track",
    "TrackLike",
    "TrackType",
    "hns",
    "track_of",
]

ZERO = timedelta(0)
BUFFER_DEFAULT = timedelta(seconds=120)  # buffer_duration of a realtime stream
AAC_RATES = (96000, 88200, 64000, 48000, 44100, 32000, 24000, 22050, 16000, 12000, 11025, 8000, 7350)


class ClockPolicy(enum.IntEnum):
    """What becomes of the times of frames, whose source may have a wrong clock or none.

    GIVEN: they go out as they are. ANCHORED: so too while they can be true; times before 2000, more than ten years ago
    or more than a day ahead are moved so that the frame which brings them is now. ARRIVAL: a frame's time is when it is
    put.
    """

    GIVEN = 0
    ANCHORED = 1
    ARRIVAL = 2


class LongGop(enum.IntEnum):
    """What becomes of a group of pictures that is longer (20 s) or larger (50 MB) than a fragment may be.

    SPLIT: it goes on in another fragment, which begins without a key frame. KEEP: it is sent as one, and refused.
    """

    SPLIT = 0
    KEEP = 1


@dataclass(frozen=True)
class Track:
    """One track of a stream, of any codec that Matroska has an id for.

    ``number`` 0 means its place in the list, from 1. ``cpd`` is the codec private data; H.264 and H.265 can also
    take it from the frames. ``nal`` says that frames are made of NAL units, start codes or length prefixes;
    ``independent`` that each frame can be decoded alone, as JPEG can: then a fragment is opened about every 2 s.
    """

    codec_id: str
    content_type: str
    type: TrackType = TrackType.VIDEO
    number: int = 0
    name: str = ""
    cpd: bytes | None = None
    width: int = 0
    height: int = 0
    sample_rate: int = 0
    channels: int = 0
    bit_depth: int = 0
    nal: bool = False
    independent: bool = False


@dataclass(frozen=True)
class H264Track(Track):
    """H.264 video, Annex B or length-prefixed."""

    codec_id: str = "V_MPEG4/ISO/AVC"
    content_type: str = "video/h264"
    name: str = "video"
    nal: bool = True


@dataclass(frozen=True)
class H265Track(Track):
    """H.265 video, Annex B or length-prefixed."""

    codec_id: str = "V_MPEGH/ISO/HEVC"
    content_type: str = "video/h265"
    name: str = "video"
    nal: bool = True


@dataclass(frozen=True)
class MjpegTrack(Track):
    """Motion JPEG; without ``cpd`` a BITMAPINFOHEADER is made from ``width`` and ``height``."""

    codec_id: str = "V_MS/VFW/FOURCC"
    content_type: str = "video/x-matroska"
    name: str = "video"
    independent: bool = True

    def __post_init__(self) -> None:
        if self.cpd is None and self.width and self.height:
            size = self.width * self.height * 3
            made = struct.pack("<IiiHH4sIiiII", 40, self.width, self.height, 1, 24, b"MJPG", size, 0, 0, 0, 0)
            object.__setattr__(self, "cpd", made)


@dataclass(frozen=True)
class AacTrack(Track):
    """AAC audio without ADTS headers; without ``cpd`` an AudioSpecificConfig for AAC-LC is made."""

    codec_id: str = "A_AAC"
    content_type: str = "audio/aac"
    type: TrackType = TrackType.AUDIO
    name: str = "audio"
    sample_rate: int = 0
    channels: int = 0

    def __post_init__(self) -> None:
        if self.cpd is None and self.sample_rate in AAC_RATES and 1 <= self.channels <= 8:
            config = 2 << 11 | AAC_RATES.index(self.sample_rate) << 7 | min(self.channels, 7) << 3
            object.__setattr__(self, "cpd", struct.pack(">H", config))


@dataclass(frozen=True)
class PcmTrack(Track):
    """G.711 audio, ``law`` "alaw" or "mulaw"; without ``cpd`` a WAVEFORMATEX is made."""

    codec_id: str = "A_MS/ACM"
    content_type: str = ""
    type: TrackType = TrackType.AUDIO
    name: str = "audio"
    sample_rate: int = 8000
    channels: int = 1
    bit_depth: int = 8
    law: str = "alaw"

    def __post_init__(self) -> None:
        if self.law not in ("alaw", "mulaw"):
            raise ValueError("a G.711 track has law 'alaw' or 'mulaw'")
        object.__setattr__(self, "content_type", self.content_type or f"audio/{self.law}")
        if self.cpd is None:
            tag = 6 if self.law == "alaw" else 7
            rate = self.sample_rate
            made = struct.pack("<HHIIHHH", tag, self.channels, rate, rate * self.channels, self.channels, 8, 0)
            object.__setattr__(self, "cpd", made)


@runtime_checkable
class TrackLike(Protocol):
    """A track as sources describe it; :func:`track_of` makes a :class:`Track` of it."""

    @property
    def number(self) -> int: ...
    @property
    def kind(self) -> str: ...
    @property
    def codec_id(self) -> str: ...
    @property
    def name(self) -> str: ...
    @property
    def codec_private(self) -> bytes | None: ...
    @property
    def content_type(self) -> str: ...
    @property
    def width(self) -> int: ...
    @property
    def height(self) -> int: ...
    @property
    def sample_rate(self) -> int: ...
    @property
    def channels(self) -> int: ...
    @property
    def is_independent(self) -> bool: ...
    @property
    def bit_depth(self) -> int: ...
    @property
    def nal(self) -> str | None: ...


def track_of(track: Track | TrackLike) -> Track:
    """Return a :class:`Track` for a source's track; a :class:`Track` is returned as it is."""
    if isinstance(track, Track):
        return track
    return Track(
        codec_id=track.codec_id,
        content_type=track.content_type,
        type=TrackType.VIDEO if track.kind == "video" else TrackType.AUDIO,
        number=track.number,
        name=track.name,
        cpd=track.codec_private,
        width=track.width,
        height=track.height,
        sample_rate=track.sample_rate,
        channels=track.channels,
        bit_depth=track.bit_depth,
        nal=track.nal is not None,
        independent=track.is_independent,
    )


@dataclass(frozen=True)
class StreamOptions:
    """How a stream behaves. Zero durations switch a limit off.

    Attributes:
        retention: of a stream that this call creates; an existing stream keeps its own.
        offline: upload as fast as the link takes it and refuse puts when full, instead of dropping the oldest.
        tags: given to the stream when it is opened. create: make the stream when it does not exist.
        buffer_duration: beyond it the oldest fragment is dropped (offline: the put refused); None: 120 s, offline 0.
        store_size: bytes that this stream may hold, 0: all of the producer's.
        put_timeout: how long a blocking put waits for room (offline).
        fragment_duration: 0: key frames begin fragments; else fragments are cut by time, at a key frame.
        fragment_duration_min: a key frame that comes sooner after the begin of a fragment continues it, unless its
            codec private data is new or the fragment has 24 MB already; and what is behind goes out in fragments of up
            to 10 s, at most five a second. The service takes no more than five fragments a second, and none below 1 s.
            None: 1 s, offline 5 s; 0: each key frame begins a fragment, and nothing is held back; at most 10 s.
        end_idle_fragment: after this long without a frame the open fragment is ended, so that it is persisted.
        clock: what becomes of times that cannot be true; None: ANCHORED, offline GIVEN.
        long_gop: what becomes of a group of pictures that is longer or larger than a fragment may be.
        pre_roll: frames go to a ring of so long, and nothing is uploaded until ``stream.trigger()``; the buffer holds
            as much more.
        pre_roll_size: bytes that the ring may hold; at most three quarters of the store.
        max_delay: how long a frame may wait in memory before its upload is woken for it. While the frames of the
            producer's streams keep coming, one turn takes those of so long together, which costs less; the first frame
            after a pause leaves at once. 0: every frame wakes the upload at once; at most 1 s.
        stale_after: sent bytes without any ACK for so long are a stale connection; None: 30 s.
        media_check: look at the first frames of each session, and at times and fragments, and report what cannot be
            decoded or lies at wrong times (``MediaProblem``).
        want_acks: without them a frame is done when it was handed to the network.
        spool: a directory where frames also live in files until they are done: what a process that was killed, or
            closed too soon, left there is sent by the next one; and what memory cannot hold waits there.
            ``full_policy`` and ``buffer_duration`` do not count then.
        spool_size: bytes of those files; beyond it the oldest go (offline: the put waits).
        spool_durability: "process" survives SIGKILL, "disk" also a power cut, but for the open fragment.
        recovered_until_ns: what an earlier process left in the spool ends here, in ns since 1970: the first frame that
            is not before it, and all after that frame, are removed. None: everything is sent. For programs that pass a
            stream from one machine to another, so that no time is sent twice.
        recovered_tags: fragment metadata, names and values, of each fragment that an earlier process left.
        may_send: a gate, asked on the loop's thread before each single send of an upload to the system; it must not
            wait. When it says False the connection is aborted, what the system still held is thrown away, and uploads
            are suspended until ``stream.resume()``. With a gate the system holds at most 256 KB.
    """

    retention: timedelta = timedelta(hours=24)
    offline: bool = False
    tags: Mapping[str, str] = field(default_factory=dict)
    create: bool = True
    buffer_duration: timedelta | None = None
    store_size: int = 0
    full_policy: FullPolicy = FullPolicy.DROP_FRAGMENT
    backward_policy: BackwardPolicy = BackwardPolicy.SHIFT
    put_timeout: timedelta = timedelta(seconds=15)
    fragment_duration: timedelta = ZERO
    fragment_duration_min: timedelta | None = None
    end_idle_fragment: timedelta = timedelta(seconds=10)
    max_delay: timedelta = timedelta(milliseconds=5)
    stale_after: timedelta | None = None
    latency_max: timedelta = ZERO
    replay_max: timedelta = ZERO
    order: Order | None = None
    order_window: timedelta = ZERO
    want_acks: bool = True
    relative_times: bool = False
    kms_key_id: str | None = None
    clock: ClockPolicy | None = None
    long_gop: LongGop = LongGop.SPLIT
    pre_roll: timedelta = ZERO
    pre_roll_size: int = 32 * 1024 * 1024
    spool: str | os.PathLike[str] | None = None
    spool_size: int = 1 << 30
    spool_durability: Literal["process", "disk"] = "process"
    recovered_until_ns: int | None = None
    recovered_tags: Mapping[str, str] = field(default_factory=dict)
    media_check: bool = True
    may_send: Callable[[], bool] | None = None


class StreamKeywords(TypedDict, total=False):
    """The fields of :class:`StreamOptions` as keyword arguments of ``open_stream``."""

    retention: timedelta
    offline: bool
    tags: Mapping[str, str]
    create: bool
    buffer_duration: timedelta | None
    store_size: int
    full_policy: FullPolicy
    backward_policy: BackwardPolicy
    put_timeout: timedelta
    fragment_duration: timedelta
    fragment_duration_min: timedelta | None
    end_idle_fragment: timedelta
    max_delay: timedelta
    stale_after: timedelta | None
    latency_max: timedelta
    replay_max: timedelta
    order: Order | None
    order_window: timedelta
    want_acks: bool
    relative_times: bool
    kms_key_id: str | None
    clock: ClockPolicy | None
    long_gop: LongGop
    pre_roll: timedelta
    pre_roll_size: int
    spool: str | os.PathLike[str] | None
    spool_size: int
    spool_durability: Literal["process", "disk"]
    recovered_until_ns: int | None
    recovered_tags: Mapping[str, str]
    media_check: bool
    may_send: Callable[[], bool] | None


@dataclass(frozen=True)
class StreamMetrics:
    """The core's counters of one stream, and its spool's. ``frames_put`` is always done + dropped + buffered + spooled;
    the same for bytes."""

    state: StreamState
    failure: int
    retry_count: int
    frames_put: int
    frames_done: int
    frames_buffered: int
    dropped: Mapping[DropReason, int]
    bytes_put: int
    bytes_done: int
    bytes_buffered: int
    bytes_dropped: int
    frames_refused: int
    frames_unsent: int
    bytes_unsent: int
    bytes_sent: int
    duration_buffered_hns: int
    duration_unsent_hns: int
    fragments_put: int
    fragments_done: int
    fragments_resent: int
    acks_buffering: int
    acks_received: int
    acks_persisted: int
    acks_error: int
    acks_late: int
    acks_bad: int
    ack_latency_hns: int
    sessions: int
    sessions_active: int
    pressures_store: int
    pressures_buffer: int
    pressures_latency: int
    stale_events: int
    times_shifted: int
    notices_lost: int
    store_used: int
    retention_hns: int
    created_hns: int
    last_put_hns: int
    last_ack_hns: int
    fragments_split: int
    frames_too_large: int
    tracks_silent: int
    times_jumped: int
    times_bumped: int
    shift_hns: int  # added to the given times now, of the track that is shifted most
    calls_joined: int  # calls without a picture, which went out with the next frame of their track
    newest_hns: int
    fragments_without_cpd: tuple[int, ...]  # per track, as opened
    frames_settled: tuple[int, ...]  # per track, as opened: frames from the first on that are persisted or dropped
    # Of the spool; 0 without one.
    frames_spooled: int = 0  # on disk only
    bytes_spooled: int = 0
    frames_recovered: int = 0  # of frames_put: left by an earlier process
    spool_used: int = 0  # bytes of files
    spool_failures: int = 0
    spool_damages: int = 0

    @property
    def frames_dropped(self) -> int:
        """All reasons together."""
        return sum(self.dropped.values())

    @property
    def adds_up(self) -> bool:
        """Whether the ledger's sums hold; False is a fault of the library."""
        frames = self.frames_done + self.frames_dropped + self.frames_buffered + self.frames_spooled
        size = self.bytes_done + self.bytes_dropped + self.bytes_buffered + self.bytes_spooled
        return frames == self.frames_put and size == self.bytes_put


@dataclass(frozen=True)
class ClientMetrics:
    """The core's counters of a producer: the content store that all its streams share."""

    state: int
    store_max: int
    store_used: int
    stream_count: int
    retry_count: int


@dataclass(frozen=True)
class StreamReport:
    """The ledger of a stream: every frame put is done, dropped for a reason, still buffered, or (``frames_spooled``)
    in the spool only. ``frames_recovered`` of those put were left there by an earlier process.

    Done means PERSISTED (RECEIVED for a stream without retention). ACK latency is from the fragment's first byte sent
    to the ACK that made it done, of the last thousand fragments; None before the first.

    Frames that were never put into the ledger: ``frames_held`` wait in the ring of a pause or for a trigger,
    ``frames_expired`` left it or came during a pause without a ring, ``frames_too_large`` were refused. What was done
    about others: ``times_shifted``, ``times_bumped`` and ``times_jumped`` count times that went back, repeated
    or went far ahead, ``fragments_split`` groups of pictures that were too long for one, ``tracks_silent`` how often a
    track was left out.
    ``time_offset_ns`` is what is added to the source's times because they cannot be true. ``media_problems`` counts
    what the media check found.
    """

    name: str
    state: StreamState
    frames_put: int
    frames_done: int
    frames_dropped: int
    frames_buffered: int
    dropped: Mapping[DropReason, int]
    bytes_put: int
    bytes_done: int
    bytes_dropped: int
    bytes_buffered: int
    bytes_sent: int
    fragments_done: int
    fragments_resent: int
    ack_latency_ns_p50: int | None
    ack_latency_ns_p99: int | None
    adds_up: bool
    failure: str = ""
    frames_spooled: int = 0
    bytes_spooled: int = 0
    frames_recovered: int = 0
    frames_held: int = 0
    frames_expired: int = 0
    frames_too_large: int = 0
    tracks_silent: int = 0
    times_bumped: int = 0
    times_shifted: int = 0
    times_jumped: int = 0
    fragments_split: int = 0
    time_offset_ns: int = 0
    media_problems: int = 0

    @property
    def frames_offered(self) -> int:
        """All frames that were given to the stream and not refused."""
        return self.frames_put + self.frames_held + self.frames_expired

    @property
    def is_complete(self) -> bool:
        """Whether every frame put is done."""
        return self.frames_done == self.frames_put

    def __str__(self) -> str:
        reasons = ", ".join(f"{reason.name.lower()} {count}" for reason, count in self.dropped.items() if count)
        why = f" ({reasons})" if reasons else ""
        spooled = f" + {self.frames_spooled} spooled" if self.frames_spooled else ""
        never = self.frames_held + self.frames_expired
        beside = f"; {self.frames_held} more held, {self.frames_expired} expired" if never else ""
        problems = f"; media problems: {self.media_problems}" if self.media_problems else ""
        return (
            f"{self.name}: {self.frames_put} frames put = {self.frames_done} done + {self.frames_dropped} dropped{why} "
            f"+ {self.frames_buffered} buffered{spooled}; {self.fragments_done} fragments, {self.bytes_sent} bytes sent"
            f"{beside}{problems}"
        )


@dataclass(frozen=True)
class Health:
    """How a stream is, in one look. ``since_ns`` is when it became so; ``next_deadline_ns`` when the core acts next;
    ``time_offset_ns`` what is added to the source's times because they cannot be true."""

    state: StreamState
    is_healthy: bool
    reason: str
    since_ns: int
    next_deadline_ns: int | None
    time_offset_ns: int = 0


def hns(duration: timedelta) -> int:
    """Return a duration in ticks of 100 ns, exactly."""
    return duration // timedelta(microseconds=1) * 10
