"""One open stream behind the facades: its actions become orders, events and figures; the retry policy is asked.

Frames do not pass here: the facade puts them into the core from any thread. Everything else runs on the loop's thread.
Always: a stream is in charge of its core from its first action to :meth:`StreamWork.close`, which returns by its
deadline and leaves the final report.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from kvspic import errors
from kvspic.actions import (
    AckReceived,
    Action,
    ActionKind,
    Event,
    FramesDropped,
    PressureKind,
    Recovered,
    StreamFailed,
    event_of,
)
from kvspic.core import Stream
from kvspic.driver.aio import AioDriver, Clock
from kvspic.driver.edges import KEY_FRAME_WAIT_HNS, KeyFrameWatch, RepeatWatch, ShiftRuns
from kvspic.driver.orders import StreamOrders
from kvspic.driver.rules import Recovery
from kvspic.driver.spooling import SpoolWork, Told
from kvspic.driver.watch import EventQueue, Latency, Waiters, Watchers
from kvspic.intake import Intake, IntakeCounts
from kvspic.retry import ResetConnection, RetryPolicy, RetryStream
from kvspic.spool.spool import Spool
from kvspic.types import DropReason, Health, StreamMetrics, StreamReport, StreamState

__all__ = ["StreamParts", "StreamWork"]

logger = logging.getLogger("kvspic.stream")

HNS_PER_S = 10_000_000
# Frames dropped for these reasons were buffered before; the others never were.
FROM_BUFFER = (
    DropReason.STORE_FULL,
    DropReason.BUFFER_DURATION,
    DropReason.ERROR_ACK,
    DropReason.REPLAY_LIMIT,
    DropReason.RESET,
    DropReason.SPOOL_FULL,
    DropReason.SPOOL_LOST,
)


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
        self._latency = Latency()
        self._shift_runs = ShiftRuns()
        self._repeats = RepeatWatch(self.name)
        self._key_frames = KeyFrameWatch(self.name)
        self._state = StreamState.NEW
        self._since_hns = self._clock.now_hns()
        self._trouble = ""  # in words while the stream has failed or stalled
        self._was_ready = False
        self._is_drained = False
        self._is_closing = False
        self._final: StreamMetrics | None = None
        self.failure: errors.KvsError | None = None  # why nobody tries again
        self.room_count = 0  # how often room was announced
        self.intake: Intake | None = None  # what frames may have to go through first; set before the first frame
        self.on_room: Callable[[], None] = lambda: None
        self._table: dict[int, Callable[[Action], None]] = {
            ActionKind.STATE: self._moved,
            ActionKind.READY: self._ready,
            ActionKind.FAILED: self._failed,
            ActionKind.CLOSED: self._drained,
            ActionKind.FRAGMENT_DONE: self._fragment_done,
            ActionKind.DROPPED: self._dropped,
            ActionKind.STALE: self._stale,
            ActionKind.PRESSURE: self._pressure,
            ActionKind.ROOM: self._room,
            **self._orders.table,
        }

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
    def told(self) -> Told:
        """Whom the spool tells."""
        return Told(self._tell, self.room, self._pulse)

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
        return StreamReport(
            name=self.name,
            state=found.state,
            frames_put=found.frames_put,
            frames_done=found.frames_done,
            frames_dropped=found.frames_dropped,
            frames_buffered=found.frames_buffered,
            dropped=found.dropped,
            bytes_put=found.bytes_put,
            bytes_done=found.bytes_done,
            bytes_dropped=found.bytes_dropped,
            bytes_buffered=found.bytes_buffered,
            bytes_sent=found.bytes_sent,
            fragments_done=found.fragments_done,
            fragments_resent=found.fragments_resent,
            ack_latency_ns_p50=self._latency.quantile_ns(0.50),
            ack_latency_ns_p99=self._latency.quantile_ns(0.99),
            adds_up=found.adds_up,
            failure=str(self.failure) if self.failure else self._trouble,
            frames_held=before.frames_held,
            frames_expired=before.frames_expired,
            frames_too_large=found.frames_too_large,
            tracks_silent=found.tracks_silent,
            times_bumped=found.times_bumped,
            times_shifted=found.times_shifted,
            times_jumped=found.times_jumped,
            fragments_split=found.fragments_split,
            time_offset_ns=before.time_offset_ns,
            frames_spooled=found.frames_spooled,
            bytes_spooled=found.bytes_spooled,
            frames_recovered=found.frames_recovered,
        )

    def health(self, next_deadline_hns: int | None) -> Health:
        """How the stream is now. Any thread."""
        found, before = self.metrics(), self._intake_counts()
        state = found.state
        is_up = state in (StreamState.READY, StreamState.PUT_STREAM, StreamState.STREAMING)
        spool = "" if self.spooling is None else self.spooling.spool.trouble
        trouble = self._trouble or spool or self._key_frames.reason(found)
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
        goal = _left(found) + found.frames_buffered + found.frames_spooled
        if end_fragment and goal > _left(found) and not self._is_closing:
            self.end_fragment()
            self._driver.take_turn()

        def is_settled() -> bool:
            return _left(self.metrics()) >= goal or self.failure is not None or self.is_closed

        await self._until(is_settled, timeout_s)
        missing = goal - _left(self.metrics())
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
        try:
            left_s = await self._feed_all(timeout_s)
            self.core.stop(self._clock.now_hns())
            self._driver.take_turn()
            await self._until(lambda: self._is_drained or self.failure is not None, left_s)
        finally:
            self.shut()
        return self.report()

    def shut(self) -> None:
        """Free the stream at once, keeping the ledger."""
        if self._final is not None:
            return
        self._is_closing = True
        self._final = self.core.metrics() if self.spooling is None else self._end_spool(self.spooling)
        self._orders.stop()
        self.core.close()
        if self.intake is not None:
            self.intake.end()
        self._tell_all(self._shift_runs.over(None))
        self._tell_repeats(None)
        self._watchers.end()
        self._pulse()
        logger.info("closed: %s", self.report())

    def leave(self) -> object:
        """In a forked child: use nothing that is the parent's; return what has to be kept."""
        if self.spooling is not None:
            self.spooling.spool.leave()
        return self.core.leave()

    def fail(self, failure: errors.KvsError) -> None:
        """Nobody will try again: everybody who waits is told."""
        self.failure = failure
        self._trouble = str(failure)
        self._pulse()

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
        await self._until(lambda: spooling.spool.is_fed or self.failure is not None, timeout_s)
        return end_s - self._driver.loop.time()

    def _end_spool(self, spooling: SpoolWork) -> StreamMetrics:
        spooling.end()
        return spooling.spool.finish()

    # ---- what the core says

    def on_action(self, action: Action) -> None:
        """Handle one action of this stream."""
        handler = self._table.get(action.kind)
        if handler is not None:
            handler(action)
        event = event_of(action, self.name)
        if event is not None:
            self._tell_edges(event)
        if self.spooling is not None:
            self.spooling.on_action(action)
        self._pulse()

    def tell_soon(self, event: Event) -> None:
        """Tell an event that did not come from the core; any thread."""
        with contextlib.suppress(RuntimeError):  # the loop is gone, and everybody who would listen
            self._driver.loop.call_soon_threadsafe(self._tell, event)

    def _tell_edges(self, event: Event) -> None:
        now_hns = self._clock.now_hns()
        self._tell_all(self._shift_runs.over(now_hns))
        if self._shift_runs.tells(event, now_hns):
            self._tell(event)
        if isinstance(event, FramesDropped) and self._key_frames.begins(event, self.metrics(), now_hns):
            self._later(KEY_FRAME_WAIT_HNS, self._miss_key_frame)

    def _tell_repeats(self, now_hns: int | None) -> None:
        event = self._repeats.look(self.metrics().times_bumped, now_hns)
        if event is not None:
            self._tell(event)

    def _miss_key_frame(self, now_hns: int) -> None:
        event = self._key_frames.look(self.metrics(), now_hns)
        if event is not None:
            logger.warning("%s: %s", self.name, self._key_frames.reason(self.metrics()))
            self._tell(event)

    def _tell_all(self, events: Iterable[Event]) -> None:
        for event in events:
            self._tell(event)

    def _tell(self, event: Event) -> None:
        if isinstance(event, AckReceived):
            self._latency.add(event)
        logger.debug("%r", event)
        self._watchers.tell(event)

    def _moved(self, action: Action) -> None:
        self._state = StreamState(action.b)
        self._since_hns = self._clock.now_hns()

    def _ready(self, action: Action) -> None:
        self._was_ready = True
        if not self.core.metrics().frames_buffered:  # else the first fragment that is done tells
            self._works()

    def _drained(self, action: Action) -> None:
        self._is_drained = True

    def _room(self, action: Action) -> None:
        self.room()

    def _fragment_done(self, action: Action) -> None:
        self._recovery.fragment_done()
        self._tell_repeats(self._clock.now_hns())
        self._works()

    def _works(self) -> None:
        self._orders.last_error = ""  # an old one would be told as the reason of whatever comes next
        if self._trouble:
            self._trouble = ""
            self._since_hns = self._clock.now_hns()
            self._tell(Recovered(self.name))

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
        failure = errors.from_status(action.status, self._orders.last_error)
        is_news = str(failure) != self._trouble  # an outage of a day is no reason for ten thousand lines
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
            if self._final is None:
                act(self._clock.now_hns())
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
        cause = f": {why}" if why else ""
        return errors.named("TIMED_OUT", f"{what}{cause}; check the network and the endpoint, or allow more time")


def _left(metrics: StreamMetrics) -> int:
    """How many frames have left the buffer."""
    return metrics.frames_done + sum(metrics.dropped[reason] for reason in FROM_BUFFER)
