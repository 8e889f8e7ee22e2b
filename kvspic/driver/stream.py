"""One open stream behind the facades: its actions become orders, events and figures; the retry policy is asked.

Frames do not pass here: the facade puts them into the core from any thread. Everything else runs on the loop's thread.
Always: a stream is in charge of its core from its first action to :meth:`StreamWork.close`, which returns by its
deadline and leaves the final report.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass, fields
from typing import Any

from kvspic import errors
from kvspic.actions import (
    AckReceived,
    Action,
    ActionKind,
    ConnectionBusy,
    Event,
    FramesDropped,
    MediaProblem,
    PressureKind,
    Recovered,
    StateChanged,
    StreamFailed,
    StreamReady,
    TimesAnchored,
    TimesJumped,
    TimesShifted,
    event_of,
)
from kvspic.core import NO_METRICS, TIME_NONE, Stream
from kvspic.driver.aio import AioDriver, Clock
from kvspic.driver.edges import KEY_FRAME_WAIT_HNS, KeyFrameWatch, RefusalWatch, RepeatWatch, Runs, ShownStates
from kvspic.driver.orders import StreamOrders
from kvspic.driver.rules import Recovery
from kvspic.driver.spooling import Notices, SpoolWork
from kvspic.driver.watch import EventQueue, Latency, Waiters, Watchers, frames_left
from kvspic.intake import Frame, Intake, IntakeCounts
from kvspic.media_check import MediaCheck, MediaCounts
from kvspic.provider.results import UNTRUSTED, safe_text
from kvspic.retry import ResetConnection, RetryPolicy, RetryStream
from kvspic.spool.spool import Spool
from kvspic.types import DropReason, Health, StreamMetrics, StreamReport, StreamState
from kvspic.units import HNS_PER_S

__all__ = ["StreamParts", "StreamWork"]

logger = logging.getLogger("kvspic.stream")

METRICS = ({field.name for field in fields(StreamMetrics)} | set(dir(StreamMetrics))) - {"state", "failure"}
COUNTED = tuple(field.name for field in fields(StreamReport) if field.name in METRICS)  # what a report has of them
TIMES = (TimesAnchored, TimesJumped, TimesShifted)  # what the media check takes note of
SUSPENDED = "uploads are suspended, by suspend() or because may_send said False: call resume()"


@dataclass(frozen=True)
class StreamParts:
    """What a stream is made of; all of it belongs to the producer but the core."""

    name: str
    core: Stream
    orders: StreamOrders
    driver: AioDriver
    clock: Clock
    policy: RetryPolicy
    spooling: SpoolWork | None = None


class StreamWork:
    """The life of one stream."""

    def __init__(self, parts: StreamParts) -> None:
        self.name = parts.name
        self.core = parts.core
        self.spooling = parts.spooling
        self._orders = parts.orders
        self._driver = parts.driver
        self._clock = parts.clock
        self._recovery = Recovery(parts.policy, parts.core, parts.orders.rules, self._later)
        self._watchers = Watchers(self.name)
        self._waiters = Waiters()
        self.latency = Latency()
        self._runs = Runs()
        self._refusals = RefusalWatch()
        self._repeats = RepeatWatch(self.name)
        self._key_frames = KeyFrameWatch(self.name)
        self._shown = ShownStates()
        self.is_suspended = False  # nothing is uploaded until resume()
        orders = parts.orders
        orders.on_fault, orders.on_forbidden = self.break_down, self.suspend
        orders.on_accepted, orders.on_busy = self._accepted, self._busy
        self._state = StreamState.NEW
        self._since_hns = self._clock.now_hns()
        self._trouble = ""  # in words while the stream has failed or stalled, or its fragments are refused
        self._failed_for: tuple[int, int, str] | None = None  # what was logged of the trouble
        self._was_ready = False
        self._is_debug = logger.isEnabledFor(logging.DEBUG)  # as of the last fragment that was done
        self._is_drained = False
        self._is_closing = False
        self._final: StreamMetrics | None = None
        self.failure: errors.KvsError | None = None  # why the stream does not try again
        self.track_numbers: tuple[int, ...] = ()  # set before the first frame
        self.room_count = 0  # how often room was announced
        self.intake: Intake | None = None  # what frames may have to go through first; set before the first frame
        self.media: MediaCheck | None = None  # what looks at frames; set before the first one
        self.wall_ns: Callable[[], int] = lambda: self._clock.now_hns() * 100
        self.on_room: Callable[[], None] = lambda: None
        self._table: dict[int, Callable[[Action], None]] = {
            ActionKind.STATE: self._moved,
            ActionKind.READY: self._ready,
            ActionKind.FAILED: self._failed,
            ActionKind.CLOSED: self._drained,
            ActionKind.FRAGMENT_DONE: self._fragment_done,
            ActionKind.DROPPED: self._dropped,
            ActionKind.ERROR_ACK: self._refused,
            ActionKind.STALE: self._stale,
            ActionKind.PRESSURE: self._pressure,
            ActionKind.ROOM: self._room,
            **self._orders.table,
        }
        self._open_session = self._table.get(ActionKind.PUT_MEDIA)
        self._table[ActionKind.PUT_MEDIA] = self._new_session

    # ---- what the facades ask for

    @property
    def is_closed(self) -> bool:
        """Whether :meth:`close` has finished."""
        return self._final is not None

    @property
    def sink(self) -> Stream | Spool:
        """What takes frames: the core, or the spool before it."""
        return self.core if self.spooling is None else self.spooling.spool

    @property
    def notices(self) -> Notices:
        """What the spool calls to report."""
        return Notices(self._tell, self.room, self._pulse)

    @property
    def callbacks(self) -> list[Callable[[Event], None]]:
        """Functions that get every event, on the loop's thread."""
        return self._watchers.callbacks

    def events(self, size_max: int) -> EventQueue:
        """Return a new queue of events."""
        return self._watchers.new_queue(size_max)

    def metrics(self) -> StreamMetrics:
        """The counters now; after :meth:`close` the final ones. Any thread."""
        try:
            return self._final or self.sink.metrics()
        except errors.NullArgError:  # closed by another thread just now
            return self._closed_metrics()

    def report(self) -> StreamReport:
        """The ledger now; after :meth:`close` the final one. Any thread."""
        found, before = self.metrics(), self._intake_counts()
        counted: dict[str, Any] = {name: getattr(found, name) for name in COUNTED}
        return StreamReport(
            name=self.name,
            state=self._shown.state(found.state),
            ack_latency_ns_p50=self.latency.quantile_ns(0.50),
            ack_latency_ns_p99=self.latency.quantile_ns(0.99),
            failure=str(self.failure) if self.failure else self._trouble,
            frames_held=before.frames_held,
            frames_expired=before.frames_expired,
            time_offset_ns=before.time_offset_ns,
            media_problems=0 if self.media is None else self.media.count,
            **counted,
        )

    def health(self, next_deadline_hns: int | None) -> Health:
        """How the stream is now. Any thread."""
        found, before = self.metrics(), self._intake_counts()
        state = self._shown.state(found.state)
        is_up = state in (StreamState.READY, StreamState.PUT_STREAM, StreamState.STREAMING)
        is_up = is_up or (state != StreamState.FAILED and self._orders.rules.is_uploading)  # beside a rotation
        spool = "" if self.spooling is None else self.spooling.spool.trouble
        trouble = self._trouble or spool or self._media_reason() or self._key_frames.reason(found)
        trouble = trouble or (SUSPENDED if self.is_suspended else "")
        down = "" if is_up else self._orders.last_error or f"the stream is in {state.name}"
        return Health(
            state,
            is_up and not trouble,
            trouble or down or before.note,
            self._since_hns * 100,
            None if next_deadline_hns is None else next_deadline_hns * 100,
            before.time_offset_ns,
        )

    async def wait_ready(self, timeout_s: float) -> None:
        """Return when the stream has been ready once.

        Raises:
            KvsError: the policy gave up; TimedOutError: not ready in time.
        """
        is_settled = await self._until(lambda: self._was_ready or self.failure is not None, timeout_s)
        if self.failure is not None:
            raise self.failure
        if not is_settled:
            raise self._timed_out(f"the stream {self.name} was not ready within {timeout_s:g} s")

    def room(self) -> None:
        """Let the puts that wait for room try again."""
        self.room_count += 1
        self.on_room()
        if self.spooling is not None:
            self.spooling.stir()

    async def wait_room(self, seen_count: int, timeout_s: float) -> bool:
        """Return True when room was announced since ``room_count`` was ``seen_count``."""
        await self._until(lambda: self.room_count != seen_count or self._is_closing, timeout_s)
        return self.room_count != seen_count

    async def flush(self, timeout_s: float, end_fragment: bool) -> None:
        """Return when every frame that is buffered now is done or dropped.

        Raises:
            KvsError: the policy gave up; TimedOutError: not in time.
        """
        found = self.metrics()
        goal = frames_left(found) + found.frames_buffered + found.frames_spooled
        if end_fragment and goal > frames_left(found) and not self._is_closing:
            self.end_fragment()
            self._driver.take_turn()

        def is_settled() -> bool:
            return frames_left(self.metrics()) >= goal or self.failure is not None or self.is_closed

        await self._until(is_settled, timeout_s)
        missing = goal - frames_left(self.metrics())
        if missing <= 0:
            return
        if self.failure is not None:
            raise self.failure
        if self.is_closed:
            raise errors.named("STREAM_STOPPED", f"the stream was closed before {missing} frames were acknowledged")
        raise self._timed_out(f"{missing} frames were not acknowledged within {timeout_s:g} s")

    def end_fragment(self) -> None:
        """End the open fragment if there is one; any thread."""
        try:
            self.sink.end_fragment(self._clock.now_hns())
        except (errors.StateError, errors.UsageError) as error:
            logger.debug("%s: %s", self.name, error)  # nothing is open, or fragments are cut by time

    async def close(self, timeout_s: float) -> StreamReport:
        """Stop, drain for at most ``timeout_s``, free; return the final ledger. A second call waits for the first."""
        if self._is_closing:
            await self._until(lambda: self.is_closed, None)
            return self.report()
        self._is_closing = True
        self.close_gate()
        try:
            left_s = await self._feed_all(timeout_s)
            self.core.stop(self._clock.now_hns())
            self._driver.take_turn()
            is_done = lambda: self._is_drained or self.failure is not None or self.is_suspended  # noqa: E731
            await self._until(is_done, left_s)
        finally:
            self.shut()
        return self.report()

    def close_gate(self) -> None:
        """Take no more frames; any thread. Before anything else of a close: threads that put without a pause would
        leave the loop's thread hardly any time."""
        if self.spooling is None:
            self.core.close_gate()
        else:
            self.spooling.spool.stop()

    def shut(self) -> None:
        """Free the stream at once, keeping the ledger."""
        if self._final is not None:
            return
        self._is_closing = True
        if self.media is not None:
            self._look_at_counters(self.media.conclude)
        self._final = self.core.metrics() if self.spooling is None else self._end_spool(self.spooling)
        self._orders.stop()
        self.core.close()
        if self.intake is not None:
            self.intake.end()
        self._tell_all(self._runs.over(None))
        self._tell_repeats(self._final.times_bumped, None)
        self._watchers.end()
        self._pulse()
        logger.info("closed: %s", self.report())

    def leave(self) -> object:
        """In a forked child: use nothing that is the parent's; return what has to be kept."""
        if self.spooling is not None:
            self.spooling.spool.leave()
        self._final = NO_METRICS
        return self.core.leave()

    def fail(self, failure: errors.KvsError) -> None:
        """The stream will not try again: every waiting call ends."""
        self.failure = failure
        self._trouble = str(failure)
        self._pulse()

    def suspend(self) -> None:
        """Upload nothing from now on: connections are aborted, frames are taken as before. Twice is harmless."""
        if self._final is not None or self.is_suspended:
            return
        self.is_suspended = True
        self._orders.suspend()
        self._shown.forget()
        self.core.reset_connection(self._clock.now_hns())
        self._driver.take_turn()
        self._pulse()

    def resume(self) -> None:
        """Upload again after :meth:`suspend`."""
        if self._final is not None or not self.is_suspended:
            return
        self.is_suspended = False
        self._orders.resume()
        self._driver.take_turn()

    def abort(self) -> StreamReport:
        """Free the stream at once: connections are aborted, and nothing more is sent."""
        self.close_gate()
        self._orders.suspend()
        self.shut()
        return self.report()

    def break_down(self, error: Exception) -> None:
        """An unexpected exception: this stream stops, with the cause; :meth:`retry` may begin again."""
        if self._final is not None:
            return
        failure = errors.named("INTERNAL", f"{type(error).__name__}: {safe_text(str(error))}")
        failure.__cause__ = error
        logger.error("%s: %s", self.name, failure, exc_info=error)
        self._orders.stop()
        self.fail(failure)
        self._tell(StreamFailed(self.name, failure.status, str(failure), 0, self._state, True))

    def retry(self) -> None:
        """Try again after a failure, with fresh budgets; nothing is dropped. StreamStoppedError after a close."""
        if self._final is not None:
            raise self._gone()
        self.failure = None
        self.core.retry(self._clock.now_hns())
        self._driver.take_turn()

    async def _feed_all(self, timeout_s: float) -> float:
        """Let the core have what is on disk only, after which no more is taken; return how much time is left."""
        spooling = self.spooling
        if spooling is None:
            return timeout_s
        spooling.spool.stop()
        end_s = self._driver.loop.time() + timeout_s
        is_done = lambda: spooling.spool.is_fed or self.failure is not None or self.is_suspended  # noqa: E731
        await self._until(is_done, timeout_s)
        return end_s - self._driver.loop.time()

    def _end_spool(self, spooling: SpoolWork) -> StreamMetrics:
        spooling.end()
        return spooling.spool.finish()

    # ---- what the core says

    def on_action(self, action: Action) -> None:
        """Handle one action of this stream. What goes wrong with it concerns no other stream."""
        kind = action.kind
        try:
            handler = self._table.get(kind)
            if handler is not None:
                handler(action)
            if kind in (ActionKind.ACK, ActionKind.FRAGMENT_DONE) and not self._runs.runs:  # nearly always
                self._tell_progress(action)
            elif (event := event_of(action, self.name)) is not None:
                self._show(event)
            if self.spooling is not None:
                self.spooling.on_action(action)
            if self._waiters.waiting:
                self._pulse()
        except Exception as error:
            self.break_down(error)

    def _tell_progress(self, action: Action) -> None:
        """An ACK, or a fragment that is done: three or four for each fragment, and mostly nothing watches."""
        watchers = self._watchers
        if watchers.queues or watchers.callbacks or self._is_debug:
            event = event_of(action, self.name)
            if event is not None:
                self._tell(event)
        elif action.kind == ActionKind.ACK:
            self.latency.count(action.result, action.c * 100 if action.c != TIME_NONE else None)

    def _show(self, event: Event) -> None:
        if not isinstance(event, StateChanged | StreamReady):
            self._tell_edges(event)
            return
        has_frames = isinstance(event, StreamReady) and self.core.frames_buffered() > 0
        for shown in self._shown.of(event, self._orders.rules.is_newest_accepted, has_frames):
            self._tell_edges(shown)

    def _accepted(self) -> None:
        for event in self._shown.accepted():
            self._tell_edges(event)
        self._pulse()

    def _busy(self, message: str) -> None:
        logger.info("%s: %s", self.name, message)
        self._tell(ConnectionBusy(self.name, message))

    def tell_soon(self, event: Event) -> None:
        """Report an event that did not come from the core; any thread."""
        with contextlib.suppress(RuntimeError):  # the loop is gone, and with it all listeners
            self._driver.loop.call_soon_threadsafe(self._tell, event)

    # ---- the media check

    def look(self, frame: Frame) -> None:
        """Let the media check see a frame, if it wants to; any thread."""
        media = self.media
        if media is None or not media.is_watching:
            return
        try:
            if not media.has_begun:
                media.begin(self._media_counts())
            problems = media.look(frame.data, frame.pts, frame.track, frame.flags)
        except Exception:
            media.give_up()
            logger.exception("%s: the media check failed, and looks at no more frames of this session", self.name)
            return
        for problem in problems:
            self.tell_soon(problem)

    def look_at_counters(self) -> None:
        """Let the media check see the counters; once a second."""
        if self.media is not None and self._final is None:
            self._look_at_counters(self.media.look_at_counters)

    def _look_at_counters(self, look: Callable[[MediaCounts, int, int], list[MediaProblem]]) -> None:
        self._tell_all(look(self._media_counts(), self._clock.now_hns() * 100, self.wall_ns()))

    def _media_counts(self) -> MediaCounts:
        bumped, shifted, fragments, newest_hns, without_private = self.core.media_counts()
        return MediaCounts(bumped, shifted, fragments, newest_hns * 100, without_private)

    def _media_reason(self) -> str:
        return "" if self.media is None else self.media.reason

    def _new_session(self, action: Action) -> None:
        if self._open_session is not None:
            self._open_session(action)
        if self.media is not None:
            self.media.watch_again()

    def _tell_edges(self, event: Event) -> None:
        now_hns = self._clock.now_hns()
        self._tell_all(self._runs.over(now_hns))
        if self._runs.tells(event, now_hns):
            self._tell(event)
        if isinstance(event, FramesDropped) and self._key_frames.begins(event, self.metrics(), now_hns):
            self._later(KEY_FRAME_WAIT_HNS, self._miss_key_frame)

    def _tell_repeats(self, times_bumped: int, now_hns: int | None) -> None:
        event = self._repeats.look(times_bumped, now_hns)
        if event is not None:
            self._tell(event)

    def _miss_key_frame(self, now_hns: int) -> None:
        event = self._key_frames.look(self.metrics(), now_hns)
        if event is not None:
            level = logging.DEBUG if self._media_reason() else logging.WARNING  # that was a warning already
            logger.log(level, "%s: %s", self.name, self._key_frames.reason(self.metrics()))
            self._tell(event)

    def _tell_all(self, events: Iterable[Event]) -> None:
        for event in events:
            self._tell(event)

    def _tell(self, event: Event) -> None:
        if isinstance(event, AckReceived):
            self.latency.add(event)
        if isinstance(event, MediaProblem):
            logger.warning("%s: %s", self.name, event)
        elif self.media is not None and isinstance(event, TIMES):
            self.media.note(event, self._clock.now_hns() * 100)
        if logger.isEnabledFor(logging.DEBUG):
            logger.debug("%r", event)
        self._watchers.tell(event)

    def _moved(self, action: Action) -> None:
        self._state = StreamState(action.b)
        self._since_hns = self._clock.now_hns()

    def _ready(self, action: Action) -> None:
        self._was_ready = True
        if not self.core.frames_buffered():  # else the first fragment that is done tells
            self._works()

    def _drained(self, action: Action) -> None:
        self._is_drained = True

    def _room(self, action: Action) -> None:
        self.room()

    def _fragment_done(self, action: Action) -> None:
        self._is_debug = logger.isEnabledFor(logging.DEBUG)
        self._recovery.fragment_done()
        self._tell_repeats(self.core.media_counts()[0], self._clock.now_hns())
        self._works()

    def _works(self) -> None:
        self._orders.last_error = ""  # an old one would be reported as the reason of the next failure
        self._refusals.done()
        self._failed_for = None
        if self._trouble:
            self._trouble = ""
            self._since_hns = self._clock.now_hns()
            self._tell(Recovered(self.name))

    def _refused(self, action: Action) -> None:
        if not self._trouble:
            self._since_hns = self._clock.now_hns()
        self._refusals.refused(action.result)
        self._trouble = f"the service refused a fragment: {self._refusals.words()}"

    def _stale(self, action: Action) -> None:
        self._trouble = f"nothing was acknowledged for {action.a / HNS_PER_S:.0f} s"
        self._since_hns = self._clock.now_hns()
        self._recovery.stale(self._clock.now_hns())

    def _pressure(self, action: Action) -> None:
        if action.a and action.result == PressureKind.LATENCY:
            self._recovery.late(self._clock.now_hns())

    def _dropped(self, action: Action) -> None:
        self._recovery.dropped(DropReason(action.result), self._clock.now_hns())

    def _failed(self, action: Action) -> None:
        is_refused = action.status == errors.named("ERROR_ACK").status
        failure = errors.from_status(action.status, self._refusals.words() if is_refused else self._orders.last_error)
        if self._orders.rules.last_call.error_name == UNTRUSTED:  # the credentials are not to blame
            failure = errors.named(failure.name, self._orders.last_error)
        failed_for = action.status, action.result, self._orders.last_error
        is_news, self._failed_for = failed_for != self._failed_for, failed_for  # a day's outage is one line
        self._trouble = str(failure)
        self._since_hns = self._clock.now_hns()
        decision = self._recovery.failed(action, failure, self._clock.now_hns())
        is_final = not isinstance(decision, (RetryStream, ResetConnection))
        if is_final:
            self.failure = failure
        level = logging.ERROR if is_final else logging.WARNING if is_news else logging.DEBUG
        logger.log(level, "%s failed: %s%s", self.name, failure, "" if is_final else "; trying again")
        state = StreamState(action.a)
        self._tell(StreamFailed(self.name, action.status, str(failure), action.result, state, is_final))

    # ---- helpers

    def _intake_counts(self) -> IntakeCounts:
        return IntakeCounts() if self.intake is None else self.intake.counts()

    def _later(self, after_hns: int, act: Callable[[int], None]) -> None:
        def run() -> None:
            if self._final is not None:
                return
            try:
                act(self._clock.now_hns())
            except Exception as error:
                self.break_down(error)
            self._driver.take_turn()

        self._driver.loop.call_later(after_hns / HNS_PER_S, run)

    async def _until(self, is_so: Callable[[], bool], timeout_s: float | None) -> bool:
        return await self._waiters.until(is_so, timeout_s)

    def _pulse(self) -> None:
        self._waiters.pulse()

    def _closed_metrics(self) -> StreamMetrics:
        if self._final is None:
            raise self._gone()
        return self._final

    def _gone(self) -> errors.KvsError:
        return errors.named("STREAM_STOPPED", f"the stream {self.name} is closed: open it again")

    def _timed_out(self, what: str) -> errors.KvsError:
        why = self._trouble or self._orders.last_error
        if "check" in why:
            return errors.named("TIMED_OUT", f"{what}: {why}, or allow more time")
        cause = f": {why}" if why else ""
        return errors.named("TIMED_OUT", f"{what}{cause}; check the network and the endpoint, or allow more time")
