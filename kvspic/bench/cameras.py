"""The streams of one load process: opens them by the public facade, puts each frame when it is due, and measures.

One thread puts the frames of all streams, in the order in which they are due. What it measures costs it two appends a
frame; events of the producer come on the producer's own thread. Streams may be added and taken away while it runs.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any, Protocol

from kvspic import errors
from kvspic.actions import (
    AckReceived,
    AckType,
    ErrorAck,
    Event,
    EventsLost,
    FragmentPersisted,
    FramesDropped,
    StreamFailed,
    StreamReady,
)
from kvspic.bench.histogram import Recorder, size_class
from kvspic.bench.pace import NS, Lane, Window, count_before, due_ns
from kvspic.bench.pictures import HEIGHT, WIDTH, Pictures
from kvspic.threads import join
from kvspic.types import H264Track, StreamReport

__all__ = ["Cameras", "Clock", "Outcome", "ProducerLike", "StreamLike"]

ERRORS_MAX = 20  # texts kept of a process
_PENDING_MAX = 100  # fragments of a stream that were received and are not persisted
_NAP_S = 0.05  # how long the thread may sleep before it looks whether it should end


class StreamLike(Protocol):
    """What a stream must have to be loaded; :class:`kvspic.Stream` does."""

    @property
    def put_frame(self) -> Callable[..., None]: ...
    def metrics(self) -> Any: ...
    def close(self, timeout: float) -> StreamReport: ...


class ProducerLike(Protocol):
    """What opens such streams; :class:`kvspic.Producer` does, and so does the sink that measures the load itself."""

    @property
    def open_stream(self) -> Callable[..., Any]: ...
    def close(self, timeout: float) -> list[StreamReport]: ...


class Clock(Protocol):
    """The functions of the module ``time`` that are used; a test has its own."""

    @property
    def monotonic_ns(self) -> Callable[[], int]: ...
    @property
    def monotonic(self) -> Callable[[], float]: ...
    @property
    def time_ns(self) -> Callable[[], int]: ...
    @property
    def sleep(self) -> Callable[[float], None]: ...


@dataclass
class Outcome:
    """What became of the measured frames of some streams; bytes are those of the frames put."""

    offered: int = 0
    put: int = 0
    persisted: int = 0
    dropped: int = 0
    buffered: int = 0
    bytes: int = 0
    reconnects: int = 0
    errors: list[str] = field(default_factory=list)

    @property
    def adds_up(self) -> bool:
        """Whether each frame put is persisted, dropped or buffered."""
        return self.put == self.persisted + self.dropped + self.buffered


def _not_open(*_: object, **__: object) -> None:
    raise AssertionError("the stream is not open")


@dataclass(eq=False)
class _Camera:
    """One stream."""

    name: str
    lane: Lane
    stream: Any = None
    put: Callable[..., None] = _not_open
    is_ready: bool = False
    failure: str = ""
    begin_ns: int = 0  # when its first frame is due
    count: int = 0  # frames whose moment came
    picture: int = 0  # of the group, the next one
    refused: int = 0
    window: Window | None = None
    bytes_put: int = 0  # in the window
    received: dict[int, int] = field(default_factory=dict)  # pts -> moment of the RECEIVED ACK
    settled_ns: int = 0  # when the oldest frame was due of which nothing is known


class Cameras:
    """Streams of one producer, and the thread that puts their frames.

    ``on_change`` is called, from any thread, when a stream became ready or failed.
    """

    def __init__(
        self,
        producer: ProducerLike,
        pictures: Pictures,
        fps: Fraction,
        on_change: Callable[[], None] = lambda: None,
        options: Mapping[str, Any] | None = None,
        clock: Clock = time,
    ) -> None:
        self._clock = clock
        self.recorder = Recorder()
        self.outcome = Outcome()  # of streams that were closed
        self.begun_ns = 0  # when the first measured frame was put, less what its phase is
        self._producer, self._pictures, self._fps = producer, pictures, fps
        self._options = dict(options or {})
        self._on_change = on_change
        self._frames = pictures.frames
        self._classes = [size_class(len(frame)) for frame in pictures.frames]
        self._cameras: list[_Camera] = []
        self._changes: deque[tuple[str, Any]] = deque()  # what the putting thread has to take over
        self._round_ns = 0  # when the first round began
        self._from_ns = self._until_ns = 0
        self._ends_with_window = False
        self._is_ended = threading.Event()
        self._thread: threading.Thread | None = None
        self._wall_ns = self._clock.time_ns() - self._clock.monotonic_ns()
        self._late = [self.recorder.values("LATE", index).append for index in self._classes]
        self._puts = [self.recorder.values("PUT", index).append for index in self._classes]

    @property
    def ready_count(self) -> int:
        """Streams that can upload."""
        return sum(camera.is_ready for camera in self._cameras)

    @property
    def failures(self) -> list[str]:
        """What went wrong with streams for good."""
        return [f"{camera.name}: {camera.failure}" for camera in self._cameras if camera.failure]

    def open(self, names: Iterable[str], lanes: Iterable[Lane]) -> None:
        """Open streams, without waiting for them; their frames begin with the next round once the load runs."""
        track = H264Track(cpd=self._pictures.cpd, width=WIDTH, height=HEIGHT)
        made = []
        for name, lane in zip(names, lanes, strict=True):
            camera = _Camera(name, lane)
            asked_ns = self._clock.monotonic_ns()
            on_event = self._listener(camera, asked_ns)
            camera.stream = self._producer.open_stream(name, track, wait=False, on_event=on_event, **self._options)
            camera.put = camera.stream.put_frame
            made.append(camera)
            self._cameras.append(camera)  # not before it has a stream: other threads look at the list
        self._changes.append(("add", made))
        self._on_change()

    def close_last(self, count: int, timeout_s: float) -> None:
        """Close the ``count`` newest streams, and keep what became of their frames."""
        leaving, self._cameras = self._cameras[-count:], self._cameras[:-count]
        gone = threading.Event()
        self._changes.append(("remove", (leaving, gone)))
        if self._thread is None or not self._thread.is_alive():
            gone.set()
        gone.wait(10)
        until = self._clock.monotonic() + timeout_s
        for camera in leaving:
            self._account(camera, camera.stream.close(max(0.0, until - self._clock.monotonic())))

    def start(self) -> None:
        """Begin to put frames, not measured."""
        self._thread = threading.Thread(target=self.run, name="kvspic-bench-load", daemon=True)
        self._thread.start()

    def measure(self, from_ns: int, duration_s: float, *, then_end: bool) -> None:
        """Measure the frames that are due in the window from ``from_ns`` on; with ``then_end`` put none after it."""
        self._changes.append(("window", (from_ns, from_ns + int(duration_s * NS), then_end)))

    def unsent(self) -> int:
        """Bytes that the producer holds and has not sent."""
        return sum(camera.stream.metrics().bytes_unsent for camera in self._cameras)

    def lag_s(self) -> float:
        """How old the oldest frame is that is neither persisted nor dropped, of all streams that run."""
        now_ns = self._clock.monotonic_ns()
        return max([(now_ns - one.settled_ns) / 1e9 for one in list(self._cameras) if one.settled_ns], default=0.0)

    def totals(self) -> Outcome:
        """Return what is known now of the measured frames; ``buffered`` is what is neither persisted nor dropped."""
        total = Outcome(**{**vars(self.outcome), "errors": list(self.outcome.errors)})
        for camera in list(self._cameras):
            window = camera.window
            if window is not None:
                total.offered += window.offered
                total.put += window.put
                total.persisted += window.persisted
                total.dropped += window.dropped
                total.bytes += camera.bytes_put
        total.buffered = max(0, total.put - total.persisted - total.dropped)
        return total

    def stop(self, timeout_s: float) -> Outcome:
        """Put no more frames, close all streams within ``timeout_s``, and return what became of the measured frames."""
        self._is_ended.set()
        if self._thread is not None:
            join(self._thread)
        self._close_windows()
        reports = {report.name: report for report in self._producer.close(timeout_s)}
        cameras, self._cameras = self._cameras, []
        for camera in cameras:
            self._account(camera, reports.get(camera.name))
        if not self.outcome.adds_up:
            text = "frames put are not the sum of persisted, dropped and buffered ones"
            self._complain(f"The ledger does not add up: {text} ({self.outcome}).")
        return self.outcome

    def _listener(self, camera: _Camera, asked_ns: int) -> Callable[[Event], None]:
        meta = self.recorder.values("META", 0)

        def listen(event: Event) -> None:
            if isinstance(event, FragmentPersisted):
                self._persisted(camera, event)
            elif isinstance(event, AckReceived):
                if event.type is AckType.RECEIVED and event.pts_ns is not None and len(camera.received) < _PENDING_MAX:
                    camera.received.setdefault(event.pts_ns, self._clock.monotonic_ns())
            elif isinstance(event, FramesDropped):
                self._settled(camera, event.pts_ns, event.frames)
                window = camera.window
                if window is not None:
                    window.dropped += window.inside(event.pts_ns, event.frames)
            elif isinstance(event, StreamReady):
                if not camera.is_ready:
                    camera.is_ready = True
                    meta.append((self._clock.monotonic_ns() - asked_ns) // 1000)
                    self._on_change()
            else:
                self._trouble(camera, event)

        return listen

    def _persisted(self, camera: _Camera, event: FragmentPersisted) -> None:
        now_ns = self._clock.monotonic_ns()
        received_ns = camera.received.pop(event.pts_ns, None)
        self._settled(camera, event.pts_ns, event.frames)
        window = camera.window
        if window is None:
            return
        inside = window.inside(event.pts_ns, event.frames)
        if not inside:
            return
        window.persisted += inside
        end_ns = due_ns(camera.begin_ns, window.index_of(event.pts_ns) + event.frames, self._fps)
        kind = size_class(event.size)
        self.recorder.values("PERS", kind).append(max(0, now_ns - end_ns) // 1000)
        if received_ns is not None:
            self.recorder.values("RECV", kind).append(max(0, received_ns - end_ns) // 1000)

    def _settled(self, camera: _Camera, pts_ns: int, frames: int) -> None:
        end_ns = due_ns(pts_ns - self._wall_ns, frames, self._fps)
        camera.settled_ns = max(camera.settled_ns, end_ns)

    def _trouble(self, camera: _Camera, event: Event) -> None:
        if isinstance(event, StreamFailed) and event.is_final:
            camera.failure = event.cause
            self._complain(f"{camera.name}: {event.cause}")
            self._on_change()
        elif isinstance(event, ErrorAck):
            self._complain(f"{camera.name}: the service refused a fragment ({event.error_name})")
        elif isinstance(event, EventsLost):
            self._complain(f"{camera.name}: {event.count} events were lost, so frames may be missing in the ledger")

    def _complain(self, text: str) -> None:
        if len(self.outcome.errors) < ERRORS_MAX:
            self.outcome.errors.append(text)

    def _account(self, camera: _Camera, report: StreamReport | None) -> None:
        """Add a closed stream's frames to the outcome."""
        total, window = self.outcome, camera.window
        metrics = camera.stream.metrics()
        total.reconnects += max(0, metrics.sessions - 1)
        if report is None or not report.adds_up or report.frames_put != camera.count - camera.refused:
            self._complain(f"{camera.name}: the producer's ledger does not have the frames that were put ({report}).")
        if window is None:
            return
        total.offered += window.offered
        total.put += window.put
        total.persisted += window.persisted
        total.dropped += window.dropped
        total.buffered += window.buffered(0 if report is None else report.frames_buffered)
        total.bytes += camera.bytes_put

    # The thread that puts.

    def run(self) -> None:
        """Put frames until the load is stopped, or until the end of a window that says so; :meth:`start` calls it."""
        self._round_ns = self._clock.monotonic_ns()
        number = 0
        lanes: list[_Camera] = []
        while not self._is_ended.is_set():
            begin_ns = due_ns(self._round_ns, number, self._fps)
            lanes = self._take_changes(lanes, number)
            if self._ends_with_window and begin_ns >= self._until_ns:
                return
            self._sleep_until(begin_ns)
            self._round(lanes, number)
            number += 1

    def _take_changes(self, cameras: list[_Camera], number: int) -> list[_Camera]:
        """Take over what the other threads changed; return the cameras by phase."""
        while self._changes:
            what, value = self._changes.popleft()
            if what == "window":
                self._from_ns, self._until_ns, self._ends_with_window = value
                self.begun_ns = 0
                self.outcome = Outcome(reconnects=self.outcome.reconnects, errors=self.outcome.errors)
                for camera in cameras:
                    self._open_window(camera)
            elif what == "add":
                for camera in value:
                    camera.begin_ns = due_ns(self._round_ns + camera.lane.phase_ns, number, self._fps)
                    camera.settled_ns = camera.begin_ns
                    self._open_window(camera)
                cameras = sorted([*cameras, *value], key=lambda camera: camera.lane.phase_ns)
            else:
                leaving, gone = value
                cameras = [camera for camera in cameras if camera not in leaving]
                gone.set()
        return cameras

    def _open_window(self, camera: _Camera) -> None:
        if self._until_ns:
            first_pts = camera.begin_ns + self._wall_ns
            camera.window = Window(camera.begin_ns, first_pts, self._fps, self._from_ns, self._until_ns)
            camera.bytes_put = 0

    def _sleep_until(self, moment_ns: int) -> None:
        """Sleep, in naps, so that an end is seen also at one frame a second."""
        while not self._is_ended.is_set():
            left_ns = moment_ns - self._clock.monotonic_ns()
            if left_ns <= 0:
                return
            self._clock.sleep(min(_NAP_S, left_ns / 1e9))

    def _round(self, cameras: list[_Camera], number: int) -> None:
        """Put one frame of each stream, each when it is due."""
        now, sleep, is_ended = self._clock.monotonic_ns, self._clock.sleep, self._is_ended.is_set
        wall_ns, frames, late, puts = self._wall_ns, self._frames, self._late, self._puts
        last, nap_ns = len(frames) - 1, int(_NAP_S * NS)
        round_ns = due_ns(self._round_ns, number, self._fps)
        for camera in cameras:
            count, window = camera.count, camera.window
            is_measured = window is not None and window.first <= count < window.end
            if self._ends_with_window and not is_measured and window is not None and count >= window.end:
                continue
            due = round_ns + camera.lane.phase_ns
            at = now()
            while at < due:
                if is_ended():
                    return
                sleep(min(due - at, nap_ns) / 1e9)
                at = now()
            picture = camera.picture
            frame = frames[picture]
            try:
                camera.put(frame, pts=due + wall_ns, key_frame=picture == 0)
            except errors.KvsError as error:
                self._refused(camera, error)
                is_measured = False
            if is_measured and window is not None:
                late[picture]((at - due) // 1000)
                puts[picture]((now() - due) // 1000)
                window.put += 1
                camera.bytes_put += len(frame)
                if not self.begun_ns:
                    self.begun_ns = self._from_ns + at - due
            camera.count = count = count + 1
            camera.picture = 0 if picture == last or count == camera.lane.first else picture + 1

    def _refused(self, camera: _Camera, error: errors.KvsError) -> None:
        camera.refused += 1
        if camera.refused == 1:
            self._complain(f"{camera.name}: a frame was refused ({error})")

    def _close_windows(self) -> None:
        """The load ends: what was due and not put was late at least until now, and what is not due yet never counts."""
        now_ns = self._clock.monotonic_ns()
        for camera in self._cameras:
            window = camera.window
            if window is None:
                continue
            window.end = min(window.end, max(window.first, count_before(now_ns, camera.begin_ns, self._fps)))
            for count in range(max(camera.count, window.first), window.end):
                late_us = (now_ns - due_ns(camera.begin_ns, count, self._fps)) // 1000
                picture = camera.lane.picture(count, len(self._frames))
                self._late[picture](late_us)
                self._puts[picture](late_us)
