"""An open stream as users hold it: ``Stream`` blocks, ``AsyncStream`` awaits; both put frames from any thread.

``put_frame`` returns when the frame is stored, never waiting for the network. An offline stream refuses frames when its
store is full: ``Stream`` then waits for room, ``AsyncStream`` has ``await put(...)``. Public times are nanoseconds
since 1970; what happens to them and to everything else is the work of kvspic.driver.
"""

from __future__ import annotations

import asyncio
import functools
import threading
import time
from collections.abc import Callable, Mapping
from datetime import timedelta
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypedDict

from kvspic import errors
from kvspic.actions import Event
from kvspic.core import TIME_NONE, as_c_bytes, put_plain, put_whole
from kvspic.driver.blocking import LoopThread, call_soon
from kvspic.driver.stream import StreamWork
from kvspic.driver.watch import QUEUE_MAX, EventQueue
from kvspic.driver.work import FORKED, ProducerWork
from kvspic.intake import Frame, Intake
from kvspic.mistakes import check_duration, check_seconds, unknown_track, why_no_frame
from kvspic.threads import DaemonExecutor, in_pieces, in_thread
from kvspic.types import Buffer, Health, StreamMetrics, StreamOptions, StreamReport

if TYPE_CHECKING:
    from typing_extensions import Self, Unpack

    from kvspic.sources import Source

__all__ = [
    "CLOSE_TIMEOUT_ON_ERROR_S",
    "CLOSE_TIMEOUT_S",
    "ELSEWHERE",
    "AsyncStream",
    "FrameKeywords",
    "Stream",
    "StreamFace",
]

CLOSE_TIMEOUT_S = 30.0
CLOSE_TIMEOUT_ON_ERROR_S = 2.0  # of a with block that an exception ends: only a short try to finish
KEY, DISCARDABLE, INVISIBLE = 1, 2, 4
IMAGE, NOTIFICATION = 1, 2
ELSEWHERE = "it has sockets and threads of this process. Make a producer in the process that uses it"
TIME_RANGE, NO_GATE = (errors.named(name).status for name in ("FRAME_TIMESTAMP_RANGE", "NULL_ARG"))


class FrameKeywords(TypedDict, total=False):
    """The keywords of :meth:`StreamFace.put_frame` that may be left out."""

    dts: int | None
    duration: int
    track: int
    key_frame: bool
    discardable: bool
    invisible: bool


class StreamFace:
    """What both kinds of stream share: everything that does not wait."""

    def __init__(self, owner: object, producer: ProducerWork, work: StreamWork, options: StreamOptions) -> None:
        self._owner = owner  # the facade's producer lives as long as one of its streams is used
        self._producer = producer
        self._work = work
        self._options = options
        self._core = work.sink

    def __reduce__(self) -> str:
        raise TypeError(f"a stream cannot be sent to another process: {ELSEWHERE}")

    @property
    def name(self) -> str:
        """The stream's name."""
        return self._work.name

    @property
    def report(self) -> StreamReport:
        """The ledger: now, or the final one after ``close``."""
        return self._work.report()

    def metrics(self) -> StreamMetrics:
        """The core's counters: now, or the final ones after ``close``."""
        return self._work.metrics()

    def health(self) -> Health:
        """Whether the stream streams, and if not, why."""
        return self._work.health(self._producer.next_deadline_hns())

    def on_event(self, callback: Callable[[Event], None]) -> None:
        """Call ``callback`` with every event from now on, on the thread of the event loop; it must not wait."""
        self._work.callbacks.append(callback)

    def put_frame(
        self,
        data: Buffer,
        *,
        pts: int,
        dts: int | None = None,
        duration: int = 0,
        track: int = 1,
        key_frame: bool = False,
        discardable: bool = False,
        invisible: bool = False,
    ) -> None:
        """Package a frame and queue it; return once it is stored, never waiting for the network.

        When the store of an offline stream is full, ``Stream`` waits here for room, up to its ``put_timeout``;
        ``AsyncStream`` raises StoreFullError at once, its ``put`` waits.

        Args:
            data: one whole access unit, bytes-like, contiguous, 1 byte to the store's size; copied here.
            pts: when to show it, nanoseconds since 1970. It goes out as given while it can be true: see
                ``backward_policy`` for the rest.
            dts: when to decode it; leave it out where it is not known, with B frames too: frames are decoded in the
                order in which they are put.
            duration: nanoseconds, 0 if it is not known.
            track: the number of a track given to ``open_stream``.
            key_frame: whether decoding can begin here; begins a fragment.

        Raises:
            UnknownTrackError: ``track`` was not declared (also a ``ValueError``). The stream is as before.
            TypeError: ``data`` is not bytes-like, or a time is no int.
            StoreFullError: no room in time, or the stream's policy is to refuse.
            StreamStoppedError: after :meth:`close`. MediaError: the frame is not what its track says.
        """
        core = self._core
        flags = KEY if key_frame else 0
        if discardable or invisible:
            flags |= DISCARDABLE * bool(discardable) | INVISIBLE * bool(invisible)
        try:
            view: Any = data if type(data) is bytes else as_c_bytes(data)
            if dts is None and duration == 0 and track == 1:
                status = put_plain(core.gate, view, len(view), pts, flags)
            else:
                dts_ns = TIME_NONE if dts is None else dts
                status = put_whole(core.gate, view, len(view), pts, dts_ns, duration, track, flags)
        except OverflowError:
            status = TIME_RANGE
        except (TypeError, BufferError) as error:
            numbers = {"pts": pts, "dts": dts, "duration": duration, "track": track}
            raise why_no_frame(data, numbers, error) from None
        if status:
            self._put_slowly(status, Frame(data, pts, dts, duration, track, flags))

    def end_fragment(self) -> None:
        """End the open fragment now, so that it is persisted without waiting for the next key frame.

        Frames are skipped (and counted so) until a key frame comes.
        """
        self._call(self._core.end_fragment, self._producer.clock.now_hns())

    def put_metadata(self, name: str, value: str, persistent: bool = False) -> None:
        """Give the next fragment a name and a value; ``persistent``: every fragment from then on, "" ends that."""
        self._call(self._core.put_metadata, name, value, persistent)

    def put_event(
        self,
        *,
        image: bool = False,
        notification: bool = False,
        image_prefix: str = "",
        pairs: Mapping[str, str] | None = None,
    ) -> None:
        """Ask the service to make an image of the next fragment, to send a notification about it, or both."""
        types = IMAGE * image | NOTIFICATION * notification
        self._call(self._core.put_event, types, image_prefix, list((pairs or {}).items()))

    def set_codec_private(self, track: int, cpd: bytes) -> None:
        """New codec private data of a track; the next key frame opens a new session with it.

        Raises:
            TypeError: ``cpd`` is no ``bytes``.
        """
        if not isinstance(cpd, bytes):
            raise TypeError(f"cpd is {cpd!r}: give the codec private data as bytes, as frame.codec_private has it")
        self._call(self._core.set_cpd, track, cpd)
        if self._work.media is not None:
            self._work.media.give_private(track, cpd)

    def pause(self) -> None:
        """Upload nothing from now on: the open fragment is ended, so that it is persisted, and frames that are put are
        discarded and counted, or kept in the ring of a stream with ``pre_roll``."""
        self._open_intake().pause()

    def suspend(self) -> None:
        """Upload nothing from now on: connections are aborted (what the system has not sent yet is thrown away)
        and none is opened, until :meth:`resume`. Frames are taken as before, and kept in memory and in the spool by
        their limits; what was not acknowledged is sent again later."""
        self._on_loop(self._work.suspend)

    def resume(self) -> None:
        """After :meth:`suspend`, or when the gate ``may_send`` was shut: upload again. Else after :meth:`pause`: take
        frames again, first what the ring has; without a ring from the next key frame on."""
        if self._work.is_suspended:
            self._on_loop(self._work.resume)
        else:
            self._open_intake().resume()

    def abort(self) -> StreamReport:
        """Free the stream at once and return the ledger: connections are aborted, nothing more is sent, nothing is
        waited for. What was not acknowledged is ``buffered`` in the report, and gone; with a spool it is kept."""
        if not self._work.is_closed and not self._producer.is_forked:
            self._on_loop(lambda: self._producer.abort_stream(self._work))
        return self.report

    def _on_loop(self, call: Callable[[], object]) -> None:
        call()

    def _begin_of(self, source: Source) -> int:
        """When a source's time 0 was, in nanoseconds since 1970, where the caller does not say."""
        if source.start_ns is not None:
            return source.start_ns
        return time.time_ns() - ((source.duration_ns or 0) if self._options.offline else 0)

    def trigger(self, duration: timedelta) -> None:
        """Upload what the ring of a stream with ``pre_roll`` has, and all that is put within ``duration`` from now.

        The last group of pictures is finished; then frames go to the ring again. Another trigger makes it longer.
        """
        check_duration("duration", duration)
        if not self._options.pre_roll or duration <= timedelta(0):
            text = "trigger() needs a duration above 0 and a stream that was opened with pre_roll"
            raise errors.named("INVALID_ARG", text)
        self._open_intake().trigger(duration // timedelta(microseconds=1) * 1000)

    def _open_intake(self) -> Intake:
        if self._work.intake is None or self._work.is_closed or self._producer.is_forked:
            raise self._why_closed()
        return self._work.intake

    def _put_slowly(self, status: int, frame: Frame) -> None:
        """Put a frame that the gate did not take: by the intake, again when there is room, or raise why not."""
        if self._producer.is_forked:  # the parent's locks are not asked
            raise self._why_closed()
        if frame.track not in self._work.track_numbers:
            raise unknown_track(frame.track, self._work.track_numbers)
        try:
            self._put_once(frame, status)
        except errors.StoreFullError as error:
            self._put_when_room(frame, error)
        except errors.FrameTooLargeError:
            raise self._too_large(frame) from None
        except errors.MediaError:
            self._work.look(frame)
            raise
        except (errors.NullArgError, OverflowError) as error:
            raise self._explain(error) from None
        self._work.look(frame)

    def _put_once(self, frame: Frame, status: int = 0) -> None:
        intake = self._work.intake
        if intake is not None and (intake.is_needed or (status == NO_GATE and intake.keeps_clock)):
            intake.put(*frame)
        elif intake is not None and intake.keeps_clock and status == TIME_RANGE:
            intake.put_unbelievable(*frame)
        elif status in (0, TIME_RANGE, NO_GATE):  # the gate may be open again, or the stream closed: the core says so
            self._core.put_frame_now(*frame)
        else:
            raise errors.from_status(status)

    def _put_when_room(self, frame: Frame, error: errors.StoreFullError) -> None:
        raise error

    def _too_large(self, frame: Frame) -> errors.KvsError:
        size, room = memoryview(frame.data).nbytes, self._producer.metrics().store_max
        room = min(room, self._options.store_size or room)
        if self._work.spooling is not None:
            room = min(room, self._work.spooling.spool.frame_size_max)
        if self._work.intake is not None:
            self._work.intake.refuse_size(frame.track, size, room)
        text = f"a frame of {size} bytes does not fit into a store of {room} bytes"
        remedy = "give a larger store_size or spool_size, or make smaller pictures"
        return errors.named("FRAME_TOO_LARGE", f"{text}: {remedy}")

    def _explain(self, error: Exception) -> Exception:
        """The error to raise to the caller: where the core's own does not, it names the stream and what to do."""
        if isinstance(error, errors.NullArgError):
            return self._why_closed()
        if isinstance(error, errors.StreamStateError):
            state = self._core.metrics().state.name
            text = "takes no metadata before the service has described it: call again after the event StreamReady"
            return errors.named("STREAM_STATE", f"the stream {self.name} is in the state {state} and {text}")
        if isinstance(error, OverflowError):
            return errors.named("FRAME_TIMESTAMP_RANGE", "a time or track is negative or too large: use ns since 1970")
        return error

    def _call(self, function: Callable[..., None], *args: Any) -> None:
        try:
            function(*args)
        except (errors.NullArgError, errors.StreamStateError) as error:
            raise self._explain(error) from None

    def _why_closed(self) -> errors.KvsError:
        if self._producer.is_forked:
            return errors.named("STREAM_STOPPED", FORKED)
        return errors.named("STREAM_STOPPED", f"the stream {self.name} is closed: open it again to put frames")


class Stream(StreamFace):
    """One open stream; made by :meth:`Producer.open_stream`. Any thread may use it."""

    def __init__(
        self, owner: object, producer: ProducerWork, work: StreamWork, options: StreamOptions, thread: LoopThread
    ) -> None:
        super().__init__(owner, producer, work, options)
        self._thread = thread
        self._room = _Room(work)
        self._put_timeout_s = options.put_timeout.total_seconds()

    def abort(self) -> StreamReport:
        """As :meth:`StreamFace.abort`; from any thread."""
        report = super().abort()
        self._room.announce()
        return report

    def _on_loop(self, call: Callable[[], object]) -> None:
        if self._thread.is_current:
            call()
        else:
            self._thread.run(call_soon(call))

    def wait_for_room(self, timeout: float) -> bool:
        """Wait until the core announces room after a refused put; False when ``timeout`` seconds have passed."""
        return self._room.wait(self._work.room_count, timeout)

    def flush(self, timeout: float = CLOSE_TIMEOUT_S, *, end_fragment: bool = True) -> None:
        """Wait until every frame put so far is done (or dropped, see ``report``).

        ``end_fragment`` ends the open fragment, which the service persists only when it is whole; put a key frame
        next. Without it, frames of the open fragment are waited for until somebody puts the next one.

        Raises:
            TimedOutError: not done within ``timeout`` seconds. KvsError: the stream has failed for good.
        """
        check_seconds("timeout", timeout)
        self._thread.run(self._work.flush(timeout, end_fragment))

    def put_source(self, source: Source, begin_ns: int | None = None) -> None:
        """Put every frame of a source, as it comes, until the source ends, or another thread closes it.

        A file is read as fast as frames are taken, so it belongs into an offline stream, which waits for room.

        Args:
            source: from ``kvspic.sources``; it stays the caller's to close.
            begin_ns: when the source's time 0 was, in nanoseconds since 1970. Default: the start that a recording was
                opened with; else the source of an offline stream ends now, and that of any other begins now.

        Raises:
            SourceError: the source cannot be read further. What :meth:`put_frame` raises. Frames before are put.
        """
        begin_ns = self._begin_of(source) if begin_ns is None else begin_ns
        for frame in source.frames():
            if frame.codec_private is not None:
                self.set_codec_private(frame.track, frame.codec_private)
            self.put_frame(frame.data, **frame.put_options(begin_ns))

    def retry(self) -> None:
        """Try again now, after a failure that the retry policy gave up on; nothing is dropped."""
        self._thread.run(call_soon(self._work.retry))

    def close(self, timeout: float = CLOSE_TIMEOUT_S) -> StreamReport:
        """Take no more frames, wait up to ``timeout`` seconds until all are done, free the stream, return the ledger.

        Returns by then whatever the network does; what was not done is ``buffered`` in the report, and gone; with a
        spool it is ``spooled``, and sent when the stream is opened again.
        """
        check_seconds("timeout", timeout)
        if not self._producer.is_forked:
            if not self._work.is_closed:
                if not self._thread.is_current:
                    self._work.close_gate()
                self._thread.run(self._producer.close_stream(self._work, timeout))
            self._room.announce()
        return self.report

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close(CLOSE_TIMEOUT_S if kind is None else CLOSE_TIMEOUT_ON_ERROR_S)

    def _put_when_room(self, frame: Frame, error: errors.StoreFullError) -> None:
        if not self._options.offline or self._thread.is_current:
            raise error  # this call runs on the loop's thread: the work it would wait for could not run
        end = time.monotonic() + self._put_timeout_s
        while True:
            seen_count = self._work.room_count
            try:
                return self._put_once(frame)
            except errors.StoreFullError:
                self._check_before_wait()
                if not self._room.wait(seen_count, end - time.monotonic()):
                    raise
            except errors.NullArgError as error:
                raise self._explain(error) from None

    def _check_before_wait(self) -> None:
        if self._work.failure is not None:
            raise self._work.failure


class _Room:
    """Threads that wait for room. Apart from :class:`Stream`, which the stream's work must not keep alive."""

    def __init__(self, work: StreamWork) -> None:
        self._work = work
        self._condition = threading.Condition()
        work.on_room = self.announce

    def wait(self, seen_count: int, timeout_s: float) -> bool:
        """Return True when room was announced since ``room_count`` was ``seen_count``, or the stream is closed."""
        work = self._work
        with self._condition:
            return in_pieces(
                functools.partial(self._condition.wait_for, lambda: work.room_count != seen_count or work.is_closed),
                timeout_s,
            )

    def announce(self) -> None:
        """Let every waiting call look again."""
        with self._condition:
            self._condition.notify_all()


class AsyncStream(StreamFace):
    """One open stream; made by :meth:`AsyncProducer.open_stream`. Awaited methods belong to its loop, any thread may
    call ``put_frame``, which never waits."""

    async def put(self, data: Buffer, *, pts: int, **options: Unpack[FrameKeywords]) -> None:
        """As :meth:`put_frame`, but a full store makes it wait for room, up to the stream's ``put_timeout``."""
        loop = asyncio.get_running_loop()
        end = loop.time() + self._options.put_timeout.total_seconds()
        while True:
            seen_count = self._work.room_count
            try:
                return self.put_frame(data, pts=pts, **options)
            except errors.StoreFullError:
                if self._work.failure is not None:
                    raise self._work.failure from None
                if not await self._work.wait_room(seen_count, end - loop.time()):
                    raise

    async def put_source(self, source: Source, begin_ns: int | None = None) -> None:
        """As :meth:`Stream.put_source`. A thread of its own reads the source, so that the loop stays free; after a
        cancelled call it ends with the next frame, or when the source is closed."""
        begin_ns = self._begin_of(source) if begin_ns is None else begin_ns
        frames, reader = source.frames(), DaemonExecutor(1)
        try:
            while (frame := await in_thread(functools.partial(next, frames, None), reader)) is not None:
                if frame.codec_private is not None:
                    self.set_codec_private(frame.track, frame.codec_private)
                await self.put(frame.data, **frame.put_options(begin_ns))
        finally:
            reader.shutdown()

    async def wait_for_room(self, timeout: float) -> bool:
        """Wait until the core announces room after a refused put; False when ``timeout`` seconds have passed."""
        return await self._work.wait_room(self._work.room_count, timeout)

    def events(self, size_max: int = QUEUE_MAX) -> EventQueue:
        """Return an asynchronous iterator over the events from now on; it ends when the stream is closed.

        A reader that is ``size_max`` events behind loses the oldest and gets an ``EventsLost`` with their count.
        """
        return self._work.events(size_max)

    async def flush(self, timeout: float = CLOSE_TIMEOUT_S, *, end_fragment: bool = True) -> None:
        """As :meth:`Stream.flush`."""
        check_seconds("timeout", timeout)
        await self._work.flush(timeout, end_fragment)

    def retry(self) -> None:
        """As :meth:`Stream.retry`."""
        self._work.retry()

    async def close(self, timeout: float = CLOSE_TIMEOUT_S) -> StreamReport:
        """As :meth:`Stream.close`."""
        check_seconds("timeout", timeout)
        if not self._work.is_closed and not self._producer.is_forked:
            await self._producer.close_stream(self._work, timeout)
        return self.report

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close(CLOSE_TIMEOUT_S if kind is None else CLOSE_TIMEOUT_ON_ERROR_S)
