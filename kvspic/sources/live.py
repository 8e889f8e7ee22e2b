"""Sources that never end by themselves: RTSP cameras and capture devices. The source outlives its connections.

When a camera falls silent, reboots or closes the connection, it is connected to again, after pauses that grow to a
limit, until someone closes the source; each time is a notice. Times go on: a frame after a gap has the time that really
passed, and the times of a track always rise. After a gap frames begin with a key frame, because nothing before it can
be decoded. A camera that goes on with another resolution says so in a frame's ``codec_private``. One thread reads;
:meth:`LiveSource.close`, ``pause`` and ``resume`` may be called from any other.
"""

from __future__ import annotations

import logging
import random
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import TracebackType
from typing import Any

from kvspic.sources.base import (
    SourceError,
    SourceFrame,
    SourceOptionError,
    SourceTrack,
    load_av,
    open_container,
    ticks_to_ns,
)
from kvspic.sources.demux import DemuxedSource, Reader
from kvspic.sources.nal import parameter_sets

__all__ = ["LiveSettings", "LiveSource", "device_connection", "is_device", "is_rtsp", "rtsp_connection"]

logger = logging.getLogger(__name__)

RTSP_SCHEMES = ("rtsp://", "rtsps://")
DEVICE_PREFIX = "/dev/video"
DEVICE_FORMATS = ("h264", "mjpeg")  # what a camera can compress itself, the smaller first
NOTICES_MAX = 100  # the newest; the count is in ``reconnect_count``
STEP_NS = 1_000_000  # between two frames of a track whose times do not rise: one Matroska timecode
SLIP_NS = 100_000_000  # going back by less is a stutter of one frame; by more, the medium's clock was set back
JUMP_NS = 10_000_000_000  # beyond the time that really passed
KEY_WAIT_S = 10.0  # without a key frame for longer a warning is logged
RESUMED = "was resumed"
SETS_SIZE_MAX = 4096  # parameter sets lie before the first slice


@dataclass(frozen=True)
class LiveSettings:
    """How a live source connects, in seconds.

    Attributes:
        open_timeout_s: for a connection. read_timeout_s: silence of so long is the end of a connection.
        pause_min_s, pause_max_s: between tries; the pause doubles from the one to the other.
        give_up_s: the source ends with an error when it could not be reached for so long; None: never.
    """

    open_timeout_s: float = 10.0
    read_timeout_s: float = 10.0
    pause_min_s: float = 0.5
    pause_max_s: float = 5.0
    give_up_s: float | None = None

    def __post_init__(self) -> None:
        times = (self.open_timeout_s, self.read_timeout_s, self.pause_min_s, self.pause_max_s)
        if min(times) <= 0 or self.pause_min_s > self.pause_max_s:
            raise SourceOptionError("Timeouts and pauses of a live source are above 0, and the pauses in order.")


@dataclass
class LiveWorld:
    """What a test replaces: seconds that only rise, a number in 0..1, and a wait that an event can end."""

    monotonic: Callable[[], float] = time.monotonic
    chance: Callable[[], float] = random.random
    wait: Callable[[threading.Event, float | None], bool] = threading.Event.wait


class LiveSource:
    """Frames of whatever ``connect`` opens, again and again. Made connected: what is wrong at first is an error."""

    def __init__(
        self,
        connect: Callable[[LiveSettings], Any],
        label: str,
        settings: LiveSettings | None = None,
        world: LiveWorld | None = None,
    ) -> None:
        self._connect = connect
        self._label = label
        self._settings = settings or LiveSettings()
        self._world = world or LiveWorld()
        self._lock = threading.Lock()  # held while PyAV works on the connection
        self._closed = threading.Event()
        self._stirred = threading.Event()  # ends a wait: resumed or closed
        self._is_paused = False
        self._notices: deque[str] = deque(maxlen=NOTICES_MAX)
        self.reconnect_count = 0
        self.on_notice: Callable[[str], None] = lambda notice: None  # gets each new notice, on the reading thread
        self._connection: _Connection | None = self._open()
        self._tracks = self._connection.tracks
        self._notices.extend(self._connection.notices)
        self._privates = {track.number: _Private(track) for track in self._tracks}
        self._times = _Times(self._world.monotonic)

    @property
    def tracks(self) -> tuple[SourceTrack, ...]:
        """The tracks, video first; over all connections only their codec private data and size may change."""
        return self._tracks

    @property
    def content_type(self) -> str:
        """The media type of the whole, one token for each track."""
        return ",".join(track.content_type for track in self._tracks)

    @property
    def duration_ns(self) -> int | None:
        """None: the end of a live source is not known."""
        return None

    @property
    def start_ns(self) -> None:
        """None: it begins when it is put."""

    @property
    def notices(self) -> tuple[str, ...]:
        """The newest sentences about what was left out, and one for each time that the source came back."""
        return tuple(self._notices)

    def frames(self) -> Iterator[SourceFrame]:
        """Give frames until the source is closed.

        Raises:
            SourceError: the source came back with other tracks, or not within ``give_up_s``.
        """
        while not self._closed.is_set():
            if self._is_paused:
                self._hang_up()
                if self._is_held() and not self._closed.is_set():
                    self._world.wait(self._stirred, None)
            elif self._connection is None:
                self._come_back(RESUMED)
            else:
                yield from self._connected_frames(self._connection)

    def pause(self) -> None:
        """Leave the camera until :meth:`resume`; a call that waits for a frame goes on waiting."""
        self._is_paused = True
        self._stirred.set()

    def resume(self) -> None:
        """Connect again. Times go on as if frames had come all the while."""
        self._is_paused = False
        self._stirred.set()

    def close(self) -> None:
        """End the source; from any thread. Waits for a read that is going on, at most its timeout."""
        self._closed.set()
        self._stirred.set()
        self._hang_up()

    def __enter__(self) -> LiveSource:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _connected_frames(self, connection: _Connection) -> Iterator[SourceFrame]:
        """Give the frames of one connection, from a key frame on, and see to it that there is a next connection."""
        key_track = next((track.number for track in self._tracks if track.kind == "video"), None)
        is_waiting = key_track is not None
        skipped = 0
        patience = _Patience(self._world.monotonic)
        self._times.begin()
        while not (self._closed.is_set() or self._is_paused):
            frame, trouble = self._read(connection)
            if frame is None:
                self._hang_up()
                if not self._closed.is_set():
                    self._come_back(trouble)
                return
            if is_waiting and not (frame.track == key_track and frame.key_frame):
                skipped += 1
                if patience.ends():
                    self._tell(f"{self._label} {NO_KEY_FRAME}")
                continue
            if skipped and is_waiting:
                self._tell(f"{self._label} began with {skipped} frames before a key frame, which were left out.")
            is_waiting = False
            yield self._times.place(self._privates[frame.track].mark(frame))

    def _read(self, connection: _Connection) -> tuple[SourceFrame | None, str]:
        """Return the next frame, or None and why there is none."""
        with self._lock:
            try:
                return connection.next_frame(), "ended"
            except SourceError as error:
                return None, _cause(error)

    def _come_back(self, trouble: str) -> None:
        """Connect again, however long it takes."""
        begin = self._world.monotonic()
        tries = 0
        if trouble != RESUMED:
            self._tell(f"{self._label} {trouble}; it is being connected to again.")
        while not self._is_held():
            if tries or trouble != RESUMED:
                self._world.wait(self._stirred, self._pause_s(tries))
            if self._is_held():
                return
            tries += 1
            try:
                self._adopt(self._open())
            except _TracksChangedError:
                raise
            except SourceError as error:
                away_s = self._world.monotonic() - begin
                logger.debug("%s: try %d: %s", self._label, tries, error)
                if self._settings.give_up_s is not None and away_s >= self._settings.give_up_s:
                    raise SourceError(
                        f"{self._label} {trouble} and could not be reached again for {away_s:.0f} s: "
                        "check the camera and the network."
                    ) from error
                continue
            self.reconnect_count += 1
            away_s = self._world.monotonic() - begin
            what = f"{self._label} was resumed; it is" if trouble == RESUMED else f"{self._label} is"
            count = "1 try" if tries == 1 else f"{tries} tries"
            self._tell(f"{what} connected again after {away_s:.1f} s and {count}.")
            return

    def _is_held(self) -> bool:
        """Whether there is to be no connection now. What is changed after this ends the next wait."""
        self._stirred.clear()
        return self._closed.is_set() or self._is_paused

    def _pause_s(self, tries: int) -> float:
        """Half of the pause is by chance, so that a fleet does not come back at once."""
        settings = self._settings
        whole = min(settings.pause_max_s, settings.pause_min_s * (1 << min(tries, 16)))
        return whole * (0.5 + self._world.chance() / 2)

    def _open(self) -> _Connection:
        with self._lock:
            return _Connection(self._connect(self._settings), self._label)

    def _adopt(self, connection: _Connection) -> None:
        """Take over a new connection if it has the tracks that were promised."""
        old, new = self._tracks, connection.tracks
        if [track.codec_id for track in old] != [track.codec_id for track in new]:
            connection.close()
            raise _TracksChangedError(
                f"{self._label} came back with other tracks ({connection.content_type} instead of "
                f"{self.content_type}): open it again."
            )
        if [track.codec_private for track in old] != [track.codec_private for track in new]:
            sizes = f"{old[0].width}x{old[0].height}", f"{new[0].width}x{new[0].height}"
            what = f"{sizes[1]} instead of {sizes[0]}" if sizes[0] != sizes[1] else "other codec settings"
            self._tell(f"{self._label} came back with {what}; a new session begins with its next key frame.")
        for track in new:
            self._privates[track.number].change(track)
        with self._lock:
            self._connection, self._tracks = connection, new
        if self._closed.is_set():
            self._hang_up()

    def _hang_up(self) -> None:
        with self._lock:
            connection, self._connection = self._connection, None
            if connection is not None:
                connection.close()

    def _tell(self, notice: str) -> None:
        self._notices.append(notice)
        logger.warning("%s", notice)
        self.on_notice(notice)


NO_KEY_FRAME = (
    f"has given no key frame for {KEY_WAIT_S:g} s, and what comes before one cannot be decoded: let it make one every "
    "few seconds (its GOP or IDR interval)."
)


class _Patience:
    """Ends once, when it has lasted for too long."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._end_s: float | None = monotonic() + KEY_WAIT_S

    def ends(self) -> bool:
        """Whether it ends now."""
        if self._end_s is None or self._monotonic() < self._end_s:
            return False
        self._end_s = None
        return True


class _Private:
    """The codec private data that a track goes on with: of its connection, or of its key frames if they differ."""

    def __init__(self, track: SourceTrack) -> None:
        self._track = track
        self._sets = _sets_of(track)
        self._changed: bytes | None = None

    def change(self, track: SourceTrack) -> None:
        """The track has come back."""
        if track.codec_private != self._track.codec_private:
            self._changed = track.codec_private
            self._sets = _sets_of(track)
        self._track = track

    def mark(self, frame: SourceFrame) -> SourceFrame:
        """Return the frame, with the private data that the track has from it on if that is new."""
        if frame.key_frame and self._track.nal == "annexb":
            sets = parameter_sets(bytes(memoryview(frame.data)[:SETS_SIZE_MAX]), self._track.content_type)
            if sets and sets != self._sets:
                self._sets = self._changed = sets
        if self._changed is None:
            return frame
        changed, self._changed = self._changed, None
        return replace(frame, codec_private=changed)


def _sets_of(track: SourceTrack) -> bytes:
    """The parameter sets of a track's private data, which ends with one."""
    return parameter_sets((track.codec_private or b"") + b"\0\0\1", track.content_type)


class _TracksChangedError(SourceError):
    """The medium is another one now."""


class _Connection(DemuxedSource):
    """One connection. Its frames have the medium's own times, whatever these are."""

    def __init__(self, container: Any, label: str) -> None:
        super().__init__(container, label)
        numbers = {stream.index: track for (stream, _), track in zip(self._streams, self._tracks)}
        self._clocks = {
            index: _PacketClock(track, self._readers[index], self._first_of(index)) for index, track in numbers.items()
        }

    def next_frame(self) -> SourceFrame | None:
        """Return the next frame; None at the end.

        Raises:
            SourceError: the connection is broken, or silent for too long.
        """
        packet = self._packets.next()
        return None if packet is None else self._clocks[packet.stream_index].read(packet)

    def _first_of(self, index: int) -> int | None:
        """The dts that a stream begins with. RTSP has none for the packets before the first report of the sender."""
        before = 0
        for packet in self._packets.peeked(index):
            if packet.dts is not None:
                return int(packet.dts) - before
            before += packet.duration or 1
        return None


@dataclass
class _PacketClock:
    """Gives each packet of one stream times, also where the camera does not."""

    track: SourceTrack
    reader: Reader
    next_dts: int | None

    def read(self, packet: Any) -> SourceFrame:
        base = packet.time_base
        dts = packet.dts if packet.dts is not None else packet.pts
        if dts is None or (packet.dts is None and self.next_dts is not None):
            dts = self.next_dts or 0 if dts is None else min(dts, self.next_dts or dts)
        self.next_dts = dts + (packet.duration or 1)
        pts = packet.pts if packet.pts is not None else dts
        pts_ns, dts_ns, duration_ns = (
            ticks_to_ns(ticks, base.numerator, base.denominator) for ticks in (pts, dts, packet.duration or 0)
        )
        data, key = self.reader.payload(packet)
        return SourceFrame(self.track.number, data, pts_ns, dts_ns, duration_ns, key, packet.is_discard)


@dataclass
class _Times:
    """One line of time over all connections: the first frame is at 0, and real time decides how long a gap was."""

    monotonic: Callable[[], float]
    shift_ns: int | None = None  # from the medium's own times to ours; None until a connection's first frame
    zero_s: float | None = None  # when time 0 was
    last_dts_ns: dict[int, int] = field(default_factory=dict)
    latest_ns: int = -STEP_NS
    latest_s: float = 0.0

    def begin(self) -> None:
        """A connection begins: its times have nothing to do with those of the one before."""
        self.shift_ns = None

    def place(self, frame: SourceFrame) -> SourceFrame:
        """Return the frame on our line of time."""
        now_s = self.monotonic()
        if self.zero_s is None:
            self.zero_s = now_s
        if self.shift_ns is None or self._is_jump(frame.order_ns + self.shift_ns, now_s, frame.track):
            at_ns = max(self.latest_ns + STEP_NS, int((now_s - self.zero_s) * 1e9))
            self.shift_ns = at_ns // 100 * 100 - frame.order_ns
        dts_ns = frame.order_ns + self.shift_ns
        pts_ns = frame.pts_ns + self.shift_ns
        last = self.last_dts_ns.get(frame.track)
        if last is not None and dts_ns <= last:
            dts_ns = last + STEP_NS
        dts_ns = max(dts_ns, 0)
        pts_ns = max(pts_ns, dts_ns)
        self.last_dts_ns[frame.track] = dts_ns
        self.latest_ns, self.latest_s = max(self.latest_ns, dts_ns), now_s
        return replace(frame, pts_ns=pts_ns, dts_ns=dts_ns)

    def _is_jump(self, dts_ns: int, now_s: float, track: int) -> bool:
        """Whether the medium's clock was set: back, or ahead of what has really passed."""
        last = self.last_dts_ns.get(track)
        passed_ns = int((now_s - self.latest_s) * 1e9)
        ahead = dts_ns > self.latest_ns + passed_ns + JUMP_NS
        return ahead or (last is not None and dts_ns < last - SLIP_NS)


def is_rtsp(name: str) -> bool:
    """Whether the name is the URL of an RTSP camera."""
    return name.lower().startswith(RTSP_SCHEMES)


def is_device(name: str) -> bool:
    """Whether the name is a V4L2 device, such as ``/dev/video0``."""
    return name.startswith(DEVICE_PREFIX) and name[len(DEVICE_PREFIX) :].isdigit()


def rtsp_connection(url: str, label: str) -> Callable[[LiveSettings], Any]:
    """Return what opens an RTSP camera: over TCP, where nothing is lost, and over UDP if it has nothing else."""

    def connect(settings: LiveSettings) -> Any:
        return _open(url, label, settings, options={"rtsp_flags": "prefer_tcp"})

    return connect


def device_connection(path: str) -> Callable[[LiveSettings], Any]:
    """Return what opens a V4L2 camera in the first compressed format that it has."""

    def connect(settings: LiveSettings) -> Any:
        if not Path(path).exists():
            raise SourceError(f"{path} does not exist: plug the camera in, or look for its number in /dev.")
        for form in DEVICE_FORMATS[:-1]:
            try:
                return _open(path, path, settings, form="v4l2", options={"input_format": form})
            except SourceError as error:
                logger.debug("%s without %s: %s", path, form, error)
        return _open(path, path, settings, form="v4l2", options={"input_format": DEVICE_FORMATS[-1]})

    return connect


def _open(
    name: str, label: str, settings: LiveSettings, *, form: str | None = None, options: dict[str, str] | None = None
) -> Any:
    av = load_av()
    timeout = (settings.open_timeout_s, settings.read_timeout_s)
    try:
        return open_container(name, format=form, options=options or {}, timeout=timeout)
    except (av.error.FFmpegError, OSError) as error:
        reason = getattr(error, "strerror", None) or type(error).__name__
        remedy = (
            "check that nothing else uses it and that it offers H.264 or Motion JPEG"
            if form
            else "check address, user and password, and that the camera is on"
        )
        raise SourceError(f"{label} cannot be opened ({reason}): {remedy}.") from None  # the cause quotes the URL


def _cause(error: SourceError) -> str:
    """What happened to a connection, for a notice."""
    reason = getattr(error.__cause__, "strerror", None)
    return f"was lost ({reason})" if reason else "was lost"
