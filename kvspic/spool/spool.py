"""What stands between the callers that put frames and the core, for a stream with a spool. Any thread.

A frame is put into the core and then written, so that both have the same frames in the same order; when the core is
full it is only written, and :meth:`Spool.feed` gives it to the core later. One lock keeps that order, held for one
write to a file or for a small batch of reads.
Always: frames taken = frames the core took + frames on disk only + frames lost here.
"""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from kvspic import errors
from kvspic.actions import Event, SpoolDamaged, SpoolDropped, SpoolFailed, Spooling, SpoolRecovered
from kvspic.core import CLOSED_GATE
from kvspic.spool.files import sync_and_close
from kvspic.spool.journal import NO_SPACE, Journal, State
from kvspic.spool.progress import StoredFragment
from kvspic.spool.records import NO_DTS, Record, RecordKind, Step
from kvspic.types import Buffer, DropReason, StreamMetrics

__all__ = ["CoreLike", "Spool", "SpoolPlan"]

logger = logging.getLogger("kvspic.spool")

KEY = 1
FEED_SIZE = 256 * 1024  # bytes given to the core under one hold of the lock
NS_END = 2**63
NO_TIMES = (0, 0, 0)
Times = tuple[int, "int | None", int]  # pts, dts (None: not known), duration
GONE = (errors.StreamStoppedError, errors.NullArgError)


class CoreLike(Protocol):
    """What is needed of :class:`kvspic.core.Stream`."""

    def put_frame_now(
        self, data: Buffer, pts_ns: int, dts_ns: int | None, duration_ns: int, track: int, flags: int
    ) -> None: ...
    def put_frame(
        self, data: Buffer, pts_hns: int, dts_hns: int | None, duration_hns: int, track: int, flags: int, now_hns: int
    ) -> None: ...
    def end_fragment(self, now_hns: int) -> None: ...
    def put_metadata(self, name: str, value: str, persistent: bool) -> None: ...
    def put_event(self, types: int, image_prefix: str, pairs: Iterable[tuple[str, str]]) -> None: ...
    def set_cpd(self, track: int, cpd: bytes) -> None: ...
    def metrics(self) -> StreamMetrics: ...


@dataclass(frozen=True)
class SpoolPlan:
    """``track_numbers`` by slot; ``can_check``: fragments can be found at the service by their times;
    ``recovered_tags``: metadata of each fragment of what an earlier process left."""

    stream: str
    track_numbers: tuple[int, ...]
    cpd: tuple[bytes, ...]
    is_offline: bool
    can_check: bool
    recovered_tags: Mapping[str, str] = field(default_factory=dict)


@dataclass
class _Lost:
    frames: int = 0
    size: int = 0


class Spool:
    """Takes what a stream takes. ``on_event`` is called, on any thread and with no lock held, when
    :meth:`take_events` has something to tell."""

    def __init__(self, plan: SpoolPlan, journal: Journal) -> None:
        self.plan = plan
        self.gate = CLOSED_GATE  # no frame gets past the spool to the core
        self._journal = journal
        self._slots = {number: slot for slot, number in enumerate(plan.track_numbers)}
        self._lock = threading.Lock()
        self._core: CoreLike
        self._now_hns: Callable[[], int]
        self.on_event: Callable[[], None] = lambda: None
        self._applied = State(list(plan.cpd))  # what the core has been given
        self._pending: list[tuple[int, dict[str, Any]]] = []  # marks of the next fragment, read and not given yet
        self._events: list[Event] = []
        self._lost = {DropReason.SPOOL_FULL: _Lost(), DropReason.SPOOL_LOST: _Lost()}
        self._taken = journal.frames_waiting
        self._left = frozenset(segment.number for segment in journal.segments)  # of an earlier process
        self._is_feeding = self._is_spooling = self._is_stopped = self._is_left = False
        self._has_gap = self._has_frames = self._is_open = False
        self._may_retry = False
        self._final: StreamMetrics | None = None
        self._failures = self._damages = 0
        self.frames_recovered = self._frames_left = self._taken
        self._recovered_size = journal.bytes_waiting
        self.activity = 0  # counts what was put
        self.trouble = ""  # why nothing is written

    @property
    def frame_size_max(self) -> int:
        """The largest frame that the files take."""
        return self._journal.frame_size_max

    def attach(self, core: CoreLike, now_hns: Callable[[], int]) -> None:
        """Give it its core; before anything else."""
        self._core, self._now_hns = core, now_hns

    # ---- what users call; as kvspic.core.Stream has it

    def put_frame_now(
        self, data: Buffer, pts_ns: int, dts_ns: int | None, duration_ns: int, track: int, flags: int
    ) -> None:
        """Put a frame into the core and the spool, or into the spool alone.

        Raises:
            StoreFullError: offline, and the spool is full. Else what the core raises.
        """
        size = len(data) if type(data) is bytes else memoryview(data).nbytes
        with self._lock:
            slot = self._slots.get(track)
            if slot is None:
                raise errors.named("UNKNOWN_TRACK")
            self._check_put(size)
            if self._journal.reader is None:
                self._put_both(data, (pts_ns, dts_ns, duration_ns), slot, flags)
            else:
                self._put_behind(data, (pts_ns, dts_ns, duration_ns), slot, flags)
            self._taken += 1
            self.activity += 1
            self._is_open = True
            descriptor = self._journal.to_sync()
        if descriptor is not None:
            self._sync(descriptor)
        self._tell()

    def end_fragment(self, now_hns: int) -> None:
        """End the open fragment."""
        with self._lock:
            if self._journal.reader is None:
                self._core.end_fragment(now_hns)
            self._write(RecordKind.END, 0, 0, NO_TIMES, b"")
            self._is_open = False
        self._tell()

    def put_metadata(self, name: str, value: str, persistent: bool) -> None:
        """Name and value for the next fragment, or for every one from then on.

        Before the stream was ready for the first time the core does not take them; the files do, and the frames that
        follow wait there too.
        """
        words = {"name": name, "value": value, "persistent": persistent}
        with self._lock:
            if self._journal.reader is None:
                self._mark_or_go_behind(name, value, persistent)
            if persistent:
                for state in [self._journal.written] + [self._applied] * (self._journal.reader is None):
                    _remember(state.persistent, name, value)
            self._write(RecordKind.METADATA, 0, 0, NO_TIMES, json.dumps(words).encode())
        self._tell()

    def put_event(self, types: int, image_prefix: str, pairs: Iterable[tuple[str, str]]) -> None:
        """Mark the next fragment."""
        pairs = list(pairs)
        words = {"types": types, "image_prefix": image_prefix, "pairs": pairs}
        with self._lock:
            if self._journal.reader is None:
                self._core.put_event(types, image_prefix, pairs)
            self._write(RecordKind.EVENT, 0, 0, NO_TIMES, json.dumps(words).encode())
        self._tell()

    def set_cpd(self, track: int, cpd: bytes) -> None:
        """New codec private data of a track."""
        with self._lock:
            slot = self._slots.get(track)
            if slot is None:
                raise errors.named("UNKNOWN_TRACK")
            if self._journal.reader is None:
                self._core.set_cpd(track, cpd)
                self._applied.cpd[slot] = bytes(cpd)
            self._journal.written.cpd[slot] = bytes(cpd)
            self._write(RecordKind.CPD, 0, slot, NO_TIMES, bytes(cpd))
        self._tell()

    def _sync(self, descriptor: int) -> None:
        """Outside the lock: a disk takes its time, and no other call should wait for it."""
        try:
            sync_and_close(descriptor)
        except OSError as error:
            with self._lock:
                self._fail(error)

    # ---- putting, under the lock

    def _check_put(self, size: int) -> None:
        if self._is_left:
            raise errors.named("NULL_ARG")  # the facade knows why
        if self._is_stopped:
            text = f"the stream {self.plan.stream} is closed: open it again to put frames"
            raise errors.named("STREAM_STOPPED", text)
        if size > self._journal.frame_size_max:
            text = f"a frame of {size} bytes does not fit into the spool: raise spool_size to more than four times that"
            raise errors.named("FRAME_TOO_LARGE", text)
        while not self.trouble and not self._journal.has_room(size):
            if self.plan.is_offline or not self._drop_oldest():
                raise errors.named("STORE_FULL")

    def _put_both(self, data: Buffer, times: Times, slot: int, flags: int) -> None:
        if self._has_gap:
            self._end_in_core()
        try:
            self._core.put_frame_now(data, *times, self.plan.track_numbers[slot], flags)
        except errors.StoreFullError:
            self._go_behind()
            self._put_behind(data, times, slot, flags)
            return
        self._has_gap, self._has_frames = False, True
        if self._write(RecordKind.FRAME, flags, slot, times, data):
            self._journal.tracks[slot].take()
        else:
            self._journal.pass_by(slot)

    def _put_behind(self, data: Buffer, times: Times, slot: int, flags: int) -> None:
        if not all(time is None or 0 <= time < NS_END for time in times):
            raise OverflowError("a time is negative or too large")
        size = memoryview(data).nbytes
        if not size:
            raise errors.named("FRAME_DATA")
        if self._journal.reader is not None and self._write(RecordKind.FRAME, flags, slot, times, data):
            return
        if self.plan.is_offline:
            raise errors.named("STORE_FULL")
        self._lose(DropReason.SPOOL_LOST, 1, size)

    def _mark_or_go_behind(self, name: str, value: str, persistent: bool) -> None:
        try:
            self._core.put_metadata(name, value, persistent)
        except errors.StateError as error:
            if error.name == "STREAM_STATE":
                self._go_behind()
            if self._journal.reader is None:
                raise

    def _go_behind(self) -> None:
        try:
            if not self.trouble:
                self._journal.go_behind()
                self._is_spooling = True
                self._events.append(Spooling(self.plan.stream, True))
        except OSError as error:
            self._fail(error)

    def _write(self, kind: int, flags: int, slot: int, times: Times, payload: Any) -> bool:
        """Write a record, or return False; after a failure only a key frame tries again, and not at once."""
        if self.trouble:
            if not (self._may_retry and kind == RecordKind.FRAME and flags & KEY):
                return False
            self._may_retry = False
            self._journal.roll()
        while True:
            try:
                self._journal.append(kind, flags, slot, _words(times), payload)
            except OSError as error:
                if error.errno in NO_SPACE and not self.plan.is_offline and self._drop_oldest():
                    continue
                self._fail(error)
                return False
            self.trouble = ""
            return True

    def _fail(self, error: OSError) -> None:
        if not self.trouble:
            self._failures += 1
            self.trouble = f"the spool cannot be written ({error.strerror}): frames are in memory only; make room"
            logger.error("%s: %s", self.plan.stream, self.trouble)
            self._events.append(SpoolFailed(self.plan.stream, self.trouble))

    def _drop_oldest(self) -> bool:
        loss = self._journal.drop_oldest()
        if loss is None:
            return False
        self._lose(DropReason.SPOOL_FULL, loss.frames, loss.size)
        self._events.append(SpoolDropped(self.plan.stream, loss.frames, loss.size, loss.frames_in_memory))
        return True

    def _lose(self, reason: DropReason, frames: int, size: int) -> None:
        self._lost[reason].frames += frames
        self._lost[reason].size += size
        self._has_gap = self._has_gap or frames > 0

    # ---- feeding; on the driver's thread

    def begin(self, is_checked: bool, stored: Mapping[int, StoredFragment]) -> None:
        """Start to feed what is left; ``stored`` is what the service has of it, by start in ms. Once; reads files."""
        damaged = self._journal.segments_unreadable
        has_left = bool(self._frames_left or self._journal.frames_missing or damaged)
        ends = self._journal.stored_ends(stored) if has_left and stored else None
        with self._lock:
            self._is_feeding = True
            if not has_left or self._final is not None:
                return
            if ends is not None:
                self._forget_stored(ends)
            event = SpoolRecovered(
                self.plan.stream,
                self.frames_recovered,
                self._recovered_size,
                self._frames_left - self.frames_recovered,
                self._journal.frames_missing,
                is_checked,
            )
            self._events.append(event)
            logger.info("%r", event)
            if damaged:
                self._damages += damaged
                self._events.append(SpoolDamaged(self.plan.stream, 0))  # how many frames were there is not known
            self._enter()
        self._tell()

    def _forget_stored(self, ends: list[int]) -> None:
        frames, size = self._journal.frames_waiting, self._journal.bytes_waiting
        self._journal.skip_to(ends)
        frames -= self._journal.frames_waiting
        size -= self._journal.bytes_waiting
        self._taken -= frames
        self.frames_recovered -= frames
        self._recovered_size -= size

    @property
    def is_fed(self) -> bool:
        """Whether the core has everything."""
        return self._journal.reader is None

    def left_span_ns(self) -> tuple[int, int] | None:
        """Least and greatest time of what an earlier process left; None: nothing, or it cannot be compared."""
        return self._journal.left_span_ns() if self._frames_left and self.plan.can_check else None

    def feed(self) -> bool:
        """Give the core some of what is on disk only; return whether it can take more now."""
        with self._lock:
            more = self._is_feeding and self._feed_some()
        self._tell()
        return more

    def _feed_some(self) -> bool:
        left, damages, lost = FEED_SIZE, self._damages, self._lost[DropReason.SPOOL_LOST].frames
        try:
            while left > 0 and self._journal.reader is not None:
                found = self._journal.peek()
                if found is None:
                    self._next_segment()
                    continue
                self._give(found)
                left -= found.size
        except (errors.StoreFullError, *GONE):
            return False
        finally:
            if self._damages != damages:
                count = self._lost[DropReason.SPOOL_LOST].frames - lost
                self._events.append(SpoolDamaged(self.plan.stream, count))
        return self._journal.reader is not None

    def _next_segment(self) -> None:
        frames, size = self._journal.leave_segment()
        if frames:
            self._damages += 1
        self._lose(DropReason.SPOOL_LOST, frames, size)
        self._enter()
        if self._journal.reader is None and self._is_spooling:
            self._is_spooling = False
            self._events.append(Spooling(self.plan.stream, False))

    def _enter(self) -> None:
        """Bring the core to what held where the segment begins; with none left, to what holds now."""
        segment, journal = self._journal.reading, self._journal
        if segment is None:
            self._adopt(journal.is_new_run, journal.written)
        elif segment.head is not None:
            tags = self.plan.recovered_tags if segment.number in self._left else {}
            state = State(list(segment.head.cpd), {**segment.head.persistent, **tags})
            self._adopt(segment.head.begins_run, state)

    def _adopt(self, begins_run: bool, state: State) -> None:
        if begins_run and self._has_frames:
            self._end_in_core()
        for slot, (cpd, applied) in enumerate(zip(state.cpd, self._applied.cpd)):
            if cpd != applied:
                self._set_cpd(slot, cpd)
        for name in {*state.persistent, *self._applied.persistent}:
            value = state.persistent.get(name, "")
            if value != self._applied.persistent.get(name, ""):
                self._mark(RecordKind.METADATA, {"name": name, "value": value, "persistent": True})

    def _give(self, found: Step) -> None:
        record = found.record
        if record is None or found.payload is None:
            self._damages += 1
        elif record.kind == RecordKind.FRAME:
            self._give_frame(record, found.payload)
        elif record.kind == RecordKind.CPD:
            self._set_cpd(record.slot, bytes(found.payload))
        elif record.kind == RecordKind.END:
            if self._has_frames:
                self._end_in_core()
        else:
            self._pending.append((record.kind, json.loads(bytes(found.payload))))
        if self._journal.reader is not None:
            self._journal.reader.advance(found.size)

    def _give_frame(self, record: Record, payload: memoryview) -> None:
        if record.slot >= len(self.plan.track_numbers):
            return
        track = self._journal.tracks[record.slot]
        if record.number < track.fed:  # settled
            if record.flags & KEY:  # their fragment is settled; what is of every fragment goes on
                self._pending = [mark for mark in self._pending if mark[1].get("persistent")]
            return
        if record.number > track.fed:
            self._lose(DropReason.SPOOL_LOST, record.number - track.fed, 0)  # bytes when the segment is left
            track.skip(record.number - track.fed)
        if self._has_gap:
            self._end_in_core()
        while self._pending:
            self._mark(*self._pending.pop(0))
        self._has_gap = False
        number = self.plan.track_numbers[record.slot]
        segment = self._journal.reading
        size = record.payload_size
        try:
            dts_hns = None if record.dts_ns == NO_DTS else record.dts_ns // 100
            times = record.pts_ns // 100, dts_hns, record.duration_ns // 100
            self._core.put_frame(payload, *times, number, record.flags, self._now_hns())
        except (errors.StoreFullError, *GONE):
            raise
        except errors.KvsError as error:
            logger.warning("%s: a frame of the spool was refused: %s", self.plan.stream, error)
            track.skip(1)
            self._damages += 1
            self._lose(DropReason.SPOOL_LOST, 1, size)
        else:
            track.take()
            self._has_frames = True
        if segment is not None:
            segment.waiting -= size

    def _end_in_core(self) -> None:
        self._has_gap = False
        try:
            self._core.end_fragment(self._now_hns())
        except errors.KvsError as error:
            logger.debug("%s: %s", self.plan.stream, error)  # nothing is open, or fragments are cut by time

    def _set_cpd(self, slot: int, cpd: bytes) -> None:
        if slot >= len(self.plan.track_numbers):
            return
        self._applied.cpd[slot] = cpd
        try:
            self._core.set_cpd(self.plan.track_numbers[slot], cpd)
        except errors.KvsError as error:
            logger.warning("%s: codec private data of the spool was refused: %s", self.plan.stream, error)

    def _mark(self, kind: int, words: Mapping[str, Any]) -> None:
        try:
            if kind == RecordKind.METADATA:
                self._core.put_metadata(words["name"], words["value"], words["persistent"])
                if words["persistent"]:
                    _remember(self._applied.persistent, words["name"], words["value"])
            elif kind == RecordKind.EVENT:
                pairs = [(name, value) for name, value in words["pairs"]]
                self._core.put_event(words["types"], words["image_prefix"], pairs)
        except errors.KvsError as error:
            logger.warning("%s: metadata of the spool was refused: %s", self.plan.stream, error)

    # ---- what is settled, and what is reported; on the driver's thread

    def settle(self) -> bool:
        """Ask the core what is settled; return whether that made room."""
        with self._lock:
            return self._journal.settle(self._core.metrics().frames_settled)

    def tick(self, was_activity: int) -> bool:
        """Some time has passed: a spool that failed may be tried again. Return whether a fragment has been open all
        the time since ``activity`` was that."""
        self._may_retry = True
        return self._is_open and self.activity == was_activity

    def metrics(self) -> StreamMetrics:
        """The core's counters with the spool's. Any thread."""
        with self._lock:
            return self._final or self._merged(self._core.metrics())

    def _merged(self, found: StreamMetrics) -> StreamMetrics:
        dropped = {**found.dropped, **{reason: lost.frames for reason, lost in self._lost.items()}}
        lost_size = sum(lost.size for lost in self._lost.values())
        return replace(
            found,
            dropped=dropped,
            bytes_dropped=found.bytes_dropped + lost_size,
            frames_put=self._taken - found.calls_joined,  # a call without a picture is no frame
            bytes_put=found.bytes_put + self._journal.bytes_waiting + lost_size,  # of a payload, as it is packaged
            frames_spooled=self._journal.frames_waiting,
            bytes_spooled=self._journal.bytes_waiting,
            frames_recovered=self.frames_recovered,
            spool_used=self._journal.size,
            spool_failures=self._failures,
            spool_damages=self._damages,
        )

    def take_events(self) -> list[Event]:
        """What has happened since the last call."""
        with self._lock:
            events, self._events = self._events, []
            return events

    def _tell(self) -> None:
        if self._events:
            self.on_event()

    # ---- the end

    def stop(self) -> None:
        """Take no more frames."""
        with self._lock:
            self._is_stopped = True

    def finish(self) -> StreamMetrics:
        """Close the files, leaving there what is not settled; return the last counters. Before the core is closed."""
        with self._lock:
            self._is_stopped = True
            if self._final is None:
                found = self._core.metrics()
                self._journal.settle(found.frames_settled)
                self._final = _at_rest(self._merged(found), self._journal.frames_on_disk())
                self._journal.finish()
            return self._final

    def leave(self) -> None:
        """In a forked child: let the files go, which are the parent's."""
        self._is_left = True
        self._journal.leave()


def _words(times: Times) -> tuple[int, int, int]:
    """Times as a record has them."""
    pts, dts, duration = times
    return pts, NO_DTS if dts is None else dts, duration


def _remember(persistent: dict[str, str], name: str, value: str) -> None:
    persistent.pop(name, None)
    if value:
        persistent[name] = value


def _at_rest(found: StreamMetrics, on_disk: int) -> StreamMetrics:
    """The counters when the core is gone: what it held is on disk only, unless it was not written."""
    frames = found.frames_buffered + found.frames_spooled
    size = found.bytes_buffered + found.bytes_spooled
    gone = max(0, frames - on_disk)
    gone_size = min(found.bytes_buffered, size * gone // frames) if gone else 0
    return replace(
        found,
        frames_buffered=gone,
        frames_spooled=frames - gone,
        bytes_buffered=gone_size,
        bytes_spooled=size - gone_size,
    )
