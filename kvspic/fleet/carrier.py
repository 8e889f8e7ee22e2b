"""One job at work: a thread that reads its source, and a stream that uploads what it reads, until it ends or is ordered
to let go.

The source is read and put by the thread; the stream, its fence and everything that decides live on the worker's loop.
:meth:`Carrier.run` returns only when the job's sockets are closed, so that what it says can be reported at once.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import shutil
import threading
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

from kvspic import errors
from kvspic.actions import Event, MediaProblem, StreamFailed, StreamReady
from kvspic.fleet.bell import Bell
from kvspic.fleet.holding import HANDBACK, Assignment, Held, Order, Outcome, StallWatch
from kvspic.fleet.link import LinkDown, Refused
from kvspic.fleet.spools import SpoolNote, folder_of, read_note, remove_settled, spool_options, write_note
from kvspic.fleet.troubles import failure_of, failure_of_status
from kvspic.producer import AsyncProducer
from kvspic.sources.base import Source, SourceFrame
from kvspic.sources.live import LiveSource
from kvspic.stream import AsyncStream
from kvspic.threads import in_pieces, in_thread, result_of
from kvspic.types import ClockPolicy, StreamMetrics, StreamState
from kvspic.units import NS_PER_MS, NS_PER_S

__all__ = ["Carrier", "CarrierSetup"]

logger = logging.getLogger("kvspic.fleet")

EPOCH_NAME = "kvspic-epoch"
MS_PER_NS = 1e-6
LOOK_S = 0.5
FLUSH_S = 20.0  # what a job that ends politely may take
FLUSH_POLL_S = 0.5
LATE_S = 10.0  # frames that wait for longer are a trouble, though no stall yet
SILENT_S = 2.0  # a live source without a frame for longer is away
FRAGMENT_S = 10.0  # at most this long between two fragments, as the stall rule sees it
SPOOLS_MAX = 4  # of one job
STREAM_STORE = 64 << 20  # bytes of memory for one job's frames
DAY = timedelta(days=1)


@dataclass(frozen=True)
class CarrierSetup:
    """What a worker gives each of its carriers.

    Attributes:
        open_source: opens the source of a job; called in the carrier's thread, may block.
        spool: the folder of the worker's spools. clock: the lease clock, in seconds. handler: the worker's name.
        taken_ns: ``await taken_ns(job, epoch)`` returns when the job was claimed after that epoch, in ns since 1970, or
            None; raises LinkDown and Refused.
    """

    open_source: Callable[[Assignment], Source]
    spool: Path
    clock: Callable[[], float]
    handler: str
    taken_ns: Callable[[str, int], Awaitable[int | None]]


@dataclass
class _Rate:
    """Frames and bits a second between two looks."""

    at_s: float = 0.0
    frames: int = 0
    size: int = 0

    def look(self, now_s: float, metrics: StreamMetrics) -> tuple[float, float]:
        """Return frames a second and kbit/s since the last look."""
        passed = now_s - self.at_s if self.at_s else 0.0
        frames, size = metrics.frames_put - self.frames, metrics.bytes_put - self.size
        self.at_s, self.frames, self.size = now_s, metrics.frames_put, metrics.bytes_put
        return (frames / passed, size * 8 / 1000 / passed) if passed > 0 else (0.0, 0.0)


@dataclass
class Carrier:
    """Carries one job. ``held`` has its fence; ``producer`` uploads it."""

    held: Held
    producer: AsyncProducer
    setup: CarrierSetup
    _stream: AsyncStream | None = field(default=None, init=False)
    _source: Source | None = field(default=None, init=False)
    _letting_go: Order | None = field(default=None, init=False)
    _failure: Outcome | None = field(default=None, init=False)
    _problem: str = field(default="", init=False)
    _over: asyncio.Future[BaseException | None] | None = field(default=None, init=False)  # of the reading thread
    _frame_s: float | None = field(default=None, init=False)  # when the last frame came
    _done_s: float | None = field(default=None, init=False)  # when a frame was done last
    _done: int = field(default=0, init=False)
    _rate: _Rate = field(default_factory=_Rate, init=False)

    def __post_init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._stirred = Bell()
        self._may_read = threading.Event()  # frames are taken
        self._may_read.set()
        self._is_ending = threading.Event()  # the thread has to end
        self._is_ready = threading.Event()  # the stream was ready once, and its fragments have the epoch
        self._stall = StallWatch.of(self.held.job.options, FRAGMENT_S)
        self.spool = folder_of(self.setup.spool, self.held.job)

    @property
    def job(self) -> Assignment:
        """What is carried."""
        return self.held.job

    @property
    def is_streaming(self) -> bool:
        """Whether its upload goes on."""
        return self._stream is not None and self._stream.metrics().state is StreamState.STREAMING

    # ---- orders

    def order(self, order: Order) -> None:
        """Do what the holding decided; on the loop, never waits."""
        if order in (Order.FLUSH, Order.DISCARD, Order.ABORT):
            self._letting_go = max(order, self._letting_go or order)
            self._hold_source()
            if order is Order.ABORT and self._stream is not None:
                self._stream.abort()
            self._stirred.ring()
        elif order is Order.RESUME:
            if self._stream is not None:
                self._stream.resume()
            self._release_source()
        else:
            self._soften(order)

    def _soften(self, order: Order) -> None:
        if not self.job.has_spool:
            self._hold_source()
        if self._stream is None:
            return
        if order is Order.SUSPEND:
            self._stream.suspend()
        elif not self.job.has_spool:
            with contextlib.suppress(errors.KvsError):
                self._stream.end_fragment()

    def _hold_source(self) -> None:
        self._may_read.clear()
        if isinstance(self._source, LiveSource):
            self._source.pause()

    def _release_source(self) -> None:
        if self._letting_go is None:
            if isinstance(self._source, LiveSource):
                self._source.resume()
            self._may_read.set()

    # ---- the loop's side

    async def run(self) -> Outcome:
        """Carry the job to its end; return how it ended. Cancelled: everything is aborted."""
        self._over = self._loop.create_future()
        thread = threading.Thread(target=self._read, name=f"kvspic-{self.job.name}", daemon=True)
        thread.start()
        try:
            outcome = await self._until_end()
            return await self._end(outcome)
        finally:
            self._is_ending.set()
            self._may_read.set()
            if self._stream is not None:
                self._stream.abort()
            self._close_source()

    async def _until_end(self) -> Outcome | None:
        """Watch the job until it ends; None: it was ordered to let go."""
        while True:
            if self._letting_go is not None:
                return None
            if self._failure is not None:
                return self._failure
            if self._over is not None and self._over.done():
                outcome = self._read_over(self._over.result())
                if outcome is not None:
                    return outcome
            stalled = self._look()
            if stalled is not None:
                return stalled
            await self._stirred.wait(LOOK_S)

    def _read_over(self, error: BaseException | None) -> Outcome | None:
        """The thread has ended; None: what it put is still on its way."""
        if error is not None:
            return failure_of(error, str(self.job.source.get("type")))
        if self.job.source.get("type") in ("rtsp", "device"):
            return Outcome("failure", "source_ended", "The camera ended the stream: check it, or its address.")
        metrics = None if self._stream is None else self._stream.metrics()
        if metrics is None:
            return Outcome("failure", "internal", "The source ended before its stream was open.")
        if metrics.frames_buffered or metrics.frames_spooled:
            if self._stream is not None and not self._stream.report.failure:
                with contextlib.suppress(errors.KvsError):
                    self._stream.end_fragment()
            return None
        if metrics.frames_dropped:
            text = f"{metrics.frames_dropped} of {metrics.frames_put} frames were dropped: give more memory or a spool."
            return Outcome("failure", "overloaded", text)
        return Outcome("done")

    def _look(self) -> Outcome | None:
        """Look at the counters; return a failure if nothing is persisted any more."""
        if self._stream is None:
            return None
        metrics, now_s = self._stream.metrics(), self.setup.clock()
        self._note_done(metrics, now_s)
        waiting = metrics.frames_buffered + metrics.frames_spooled + (not self._is_ready.is_set())
        is_held = not (self.held.may_send(now_s) and self._may_read.is_set())
        if not self._stall.look(now_s, waiting=waiting, done=metrics.frames_done, is_held=is_held):
            return None
        reason = self._stream.health().reason or "the service says nothing"
        text = f"Frames come, and none was persisted for {self._stall.stall_s:.0f} s: {reason}."
        return Outcome("failure", "stalled", text)

    def _note_done(self, metrics: StreamMetrics, now_s: float) -> None:
        if metrics.frames_done != self._done:
            self._done, self._done_s = metrics.frames_done, now_s

    async def _end(self, outcome: Outcome | None) -> Outcome:
        """Let go, in the manner that fits; after this nothing leaves."""
        self._is_ending.set()
        self._may_read.set()
        self._close_source()
        stream, manner = self._stream, self._letting_go
        if stream is not None:
            if outcome is not None:
                await stream.close(0 if outcome.error_class == "stalled" else FLUSH_S)
            elif manner is Order.FLUSH:
                await stream.close(FLUSH_S)
            elif manner is Order.DISCARD:
                await stream.close(0)
            stream.abort()
        if manner is Order.DISCARD:
            await in_thread(lambda: shutil.rmtree(self.spool, ignore_errors=True))
        elif self.job.has_spool:
            remove_settled(self.spool)
        return outcome or HANDBACK

    def _close_source(self) -> None:
        """Off the loop: a live source waits for the read that is going on."""
        source, self._source = self._source, None
        if isinstance(source, LiveSource):
            threading.Thread(target=source.close, name=f"kvspic-close-{self.job.name}", daemon=True).start()

    async def _open_stream(self, source: Source) -> AsyncStream | None:
        """Open the stream for what was found in the source; None: it is not wanted any more."""
        if self._letting_go is not None or self._is_ending.is_set():
            return None
        self._source = source
        if isinstance(source, LiveSource) and not self._may_read.is_set():
            source.pause()
        job = self.job
        options: dict[str, Any] = {
            "offline": self._is_offline(),
            "put_timeout": DAY,
            "retention": timedelta(hours=float(job.options.get("retention_hours", 24))),
            "store_size": STREAM_STORE,
            "may_send": lambda: self.held.may_send(self.setup.clock()),
            "clock": None if source.start_ns is None else ClockPolicy.GIVEN,
        }
        stream = await self._opened(source, options)
        self._stream = stream
        if self.job.has_spool:
            self._name_epoch()  # at once: a spool keeps that for when the service can be asked
        if not self.held.may_send(self.setup.clock()):
            stream.suspend()
        return stream

    async def _opened(self, source: Source, options: Mapping[str, Any]) -> AsyncStream:
        """Open the stream; where a spool cannot be used, because it has frames of other tracks for example, in another
        one, and at last without: what is in the first stays there, and the camera goes on."""
        if not self.job.has_spool:
            return await self._open_with(source, options)
        first = self.spool
        for number in range(2, SPOOLS_MAX + 2):
            try:
                return await self._open_spooled(source, options)
            except (errors.InvalidArgError, LinkDown, Refused) as error:
                self.spool = first.with_name(f"{first.name}.{number}")
                logger.warning("%s: %s; the job goes on in %s", self.job.name, error, self.spool)
        self._problem = f"no spool can be used: remove what is in {first}*"
        return await self._open_with(source, options)

    async def _open_spooled(self, source: Source, options: Mapping[str, Any]) -> AsyncStream:
        """Open the stream with its folder, of which what another worker's time covers is cut off first."""
        folder, job = self.spool, self.job
        note, until_ns = await in_thread(lambda: read_note(folder)), None
        if note is not None and note.epoch < job.epoch:
            until_ns = await self.setup.taken_ns(job.id, note.epoch)
        stream = await self._open_with(source, {**options, **spool_options(folder, until_ns, self.setup.handler)})
        await in_thread(lambda: write_note(folder, SpoolNote.of(job, source.tracks)))
        return stream

    async def _open_with(self, source: Source, options: Mapping[str, Any]) -> AsyncStream:
        return await self.producer.open_stream(
            self.job.stream, source.tracks, wait=False, on_event=self._take_event, **options
        )

    def _take_event(self, event: Event) -> None:
        if isinstance(event, StreamFailed) and event.is_final:
            row = errors.ROWS.get(event.status)
            self._failure = failure_of_status(row.name if row else "INTERNAL", event.cause)
            self._stirred.ring()
        elif isinstance(event, StreamReady) and not self._is_ready.is_set():
            self._loop.call_soon(self._name_epoch)  # not from within the core's own turn
        elif isinstance(event, MediaProblem):
            self._problem = str(event)

    def _name_epoch(self) -> None:
        """From now on each fragment says who sent it; without a spool, once the stream has been described."""
        if self._stream is not None:
            try:
                self._stream.put_metadata(EPOCH_NAME, f"{self.job.number}.{self.job.epoch}", persistent=True)
            except errors.StreamStoppedError:
                pass
            except errors.StateError:  # the spool cannot be written either
                return
            self._is_ready.set()

    # ---- the thread's side

    def _read(self) -> None:
        """The whole life of the reading thread."""
        error: BaseException | None = None
        try:
            source = self.setup.open_source(self.job)
            try:
                opening = asyncio.run_coroutine_threadsafe(self._open_stream(source), self._loop)
                stream = result_of(opening)
                if stream is not None:
                    self._put_all(source, stream)
            finally:
                source.close()
        except errors.StreamStoppedError:
            pass  # the carrier has let go
        except BaseException as caught:
            error = caught
        with contextlib.suppress(RuntimeError):  # the loop is gone
            self._loop.call_soon_threadsafe(self._settle, error)

    def _settle(self, error: BaseException | None) -> None:
        if self._over is not None and not self._over.done():
            self._over.set_result(error)
        self._stirred.ring()

    def _put_all(self, source: Source, stream: AsyncStream) -> None:
        self._wait_ready()
        is_paced = not (isinstance(source, LiveSource) or self._is_offline())
        base_ns, began_s = self._base_ns(source), time.monotonic()
        for frame in source.frames():
            if not self._may_read.is_set():
                if isinstance(source, LiveSource) and not self._is_ending.is_set():
                    continue  # it is being paused, and begins with a key frame again
                before_s = time.monotonic()
                in_pieces(self._may_read.wait)
                if is_paced:
                    gap_s = time.monotonic() - before_s
                    began_s, base_ns = began_s + gap_s, base_ns + int(gap_s * NS_PER_S)
            if is_paced:
                self._is_ending.wait(max(0.0, began_s + frame.order_ns / NS_PER_S - time.monotonic()))
            if self._is_ending.is_set():
                return
            self._frame_s = self.setup.clock()
            self._put(stream, frame, base_ns)

    def _wait_ready(self) -> None:
        """Put nothing before fragments can have the epoch."""
        while not (self._is_ready.wait(LOOK_S) or self._is_ending.is_set()):
            pass

    def _put(self, stream: AsyncStream, frame: SourceFrame, base_ns: int) -> None:
        options = frame.put_options(base_ns)
        if frame.codec_private is not None:
            stream.set_codec_private(frame.track, frame.codec_private)
        try:
            stream.put_frame(frame.data, **options)
        except errors.StoreFullError:
            if self._is_offline():
                result_of(asyncio.run_coroutine_threadsafe(stream.put(frame.data, **options), self._loop))
        except (errors.FrameTooLargeError, errors.MediaError) as error:
            if self._is_offline():
                raise
            self._problem = f"a frame was left out: {error}"

    def _base_ns(self, source: Source) -> int:
        """What is added to the source's times: a recording ends now if nothing else is known, all else begins now."""
        if source.start_ns is not None:
            return source.start_ns // NS_PER_MS * NS_PER_MS
        length_ns = (source.duration_ns or 0) if self._is_offline() else 0
        return (time.time_ns() - length_ns) // NS_PER_MS * NS_PER_MS

    def _is_offline(self) -> bool:
        mode = self.job.options.get("mode") or ("offline" if self.job.source.get("type") == "file" else "realtime")
        return bool(mode == "offline")

    # ---- figures

    def stats(self) -> dict[str, Any]:
        """The newest figures for a report."""
        now_s = self.setup.clock()
        if self._stream is None:
            return {"state": "opening", "health": False, "reason": "the source is being opened", "source": "opening"}
        metrics, report = self._stream.metrics(), self._stream.report
        self._note_done(metrics, now_s)
        is_healthy, reason, source = self._condition(now_s)
        fps, kbps = self._rate.look(now_s, metrics)
        found: dict[str, Any] = {
            "frames_put": metrics.frames_put,
            "frames_done": metrics.frames_done,
            "dropped": metrics.frames_dropped,
            "bytes_sent": metrics.bytes_sent,
            "buffered": metrics.frames_buffered,
            "spooled": metrics.frames_spooled,
            "ack_ms_p50": _ms(report.ack_latency_ns_p50),
            "ack_ms_p99": _ms(report.ack_latency_ns_p99),
            "last_persisted_age_s": None if self._done_s is None else round(now_s - self._done_s, 1),
            "state": StreamState(metrics.state).name.lower(),
            "health": is_healthy,
            "reason": (reason or self._problem)[:500],
            "source": source,
            "fps": round(fps, 1),
            "kbps": round(kbps, 1),
        }
        return {name: value for name, value in found.items() if value is not None}

    def _condition(self, now_s: float) -> tuple[bool, str, str]:
        """Whether pictures arrive at the service now, why not, and how the source is."""
        health = self._stream.health() if self._stream is not None else None
        reason = "" if health is None or health.is_healthy else health.reason
        late_s = self._stall.waited_s(now_s)
        if not self._may_read.is_set() or self.held.resume_s is not None:
            text = "no server renews the lease" if self.held.resume_s is None else "it goes on within 10 s"
            return False, text, "held"
        if self._frame_s is None:
            return False, reason or "no frame came from the source so far", "no frame yet"
        silent_s = now_s - self._frame_s
        if isinstance(self._source, LiveSource) and silent_s > SILENT_S:
            return False, reason or f"no frame has come from the source for {silent_s:.0f} s", f"away {silent_s:.0f} s"
        if late_s > LATE_S:
            return False, reason or f"nothing was persisted for {late_s:.0f} s", "ok"
        if self._done_s is None:
            return False, reason or "no fragment was persisted so far", "ok"
        return not reason, reason, "ok"


def _ms(value_ns: int | None) -> float | None:
    return None if value_ns is None else round(value_ns * MS_PER_NS, 1)
