"""One upload as the commands run it: frames of a source into a stream, at the pace asked for, until all is persisted.

The frames are read and put by the caller's thread; the stream lives on the loop of a background thread. The facade
tries again for ever, because a camera cannot be asked; a command has a user who waits. So it gives up when nothing
could be reached before the first byte, when the service refuses, and when nothing has moved for a long time.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

from kvspic import errors
from kvspic.actions import (
    AckReceived,
    AckType,
    Event,
    FragmentPersisted,
    FragmentSplit,
    MediaProblem,
    NoKeyFrame,
    StreamFailed,
    StreamReady,
)
from kvspic.commands.exits import CliError, ExitCode, explain
from kvspic.commands.result import UploadResult, quantile
from kvspic.driver.blocking import LoopThread
from kvspic.producer import AsyncProducer
from kvspic.sources import Source, SourceError, SourceFrame
from kvspic.stream import AsyncStream
from kvspic.types import ClockPolicy, StreamMetrics, StreamReport, StreamState
from kvspic.units import NS_PER_MS, NS_PER_S

__all__ = ["FirstPersisted", "Upload", "UploadPlan", "UploadStatus"]

DAY_S = 86_400.0
LOOK_S = 0.2  # how often somebody who waits looks whether it is still worth it
INTERRUPTED_S = 5.0  # what is buffered may still go out for so long after Ctrl-C
SPENT = "retries are spent: "  # the core's words; what follows are the service's
FAR_APART = (
    "Key frames are more than 20 s or 48 MB apart, so some fragments begin without one: all is kept, but a player can "
    "begin only at a key frame; let the encoder make one every few seconds."
)
MAKING_S = 5.0
SILENT_S = 2.0
FULL = 0.5
FOR_EVER_NS = 1 << 62
PUT_SAMPLES_MAX = 1_000_000  # of an endless source the last ones count


@dataclass(frozen=True)
class UploadPlan:
    """What to upload, whereto and how.

    Attributes:
        speed: frames are put at so many times the pace of their timestamps; 0: as fast as the link takes them.
        is_live: times begin now, and a full store drops the oldest fragment; else they end now, and a put waits. A
            recording whose start is known keeps its times in both cases.
        connect_timeout_s: give up when nothing was sent by then.
        stall_timeout_s: give up when nothing was sent or acknowledged for so long, though there is something to send.
        limit_s: of media time; None is all of it.
        spool: a directory where frames also live in files; what an earlier upload left there goes first.
        has_media_check: whether what is put is looked at, and said when nothing can decode it.
        say: gets a sentence for the user, when something about the input was noticed; from any thread.
        on_producer: gets the producer before it has a stream. on_event: gets each event of the stream, on its loop.
        creates: make the stream when there is none.
    """

    source: Source
    stream_name: str
    endpoint_url: str | None = None
    region: str | None = None
    speed: float = 0.0
    is_live: bool = False
    connect_timeout_s: float = 10.0
    stall_timeout_s: float = 60.0
    store_size: int = 0
    limit_s: float | None = None
    spool: Path | None = None
    has_media_check: bool = True
    say: Callable[[str], None] = lambda notice: None
    on_producer: Callable[[AsyncProducer], None] = lambda producer: None
    on_event: Callable[[Event], None] = lambda event: None
    creates: bool = True


@dataclass(frozen=True)
class UploadStatus:
    """What a view shows of a running upload."""

    metrics: StreamMetrics | None
    seconds: float
    store_fill: float  # 0 to 1
    latency_ms: float | None  # of the last PERSISTED
    trouble: str  # why nothing moves, in words
    progress: float | None = None  # 0 to 1, of a medium whose length is known
    left_s: float | None = None  # until it is done, if it goes on so
    is_read: bool = False  # whether all frames were put, and the rest is up to the link


@dataclass(frozen=True)
class FirstPersisted:
    """What had been sent when the first fragment was persisted."""

    frames_offered: int
    bytes_sent: int
    was_reading: bool


@dataclass
class _Watch:
    """Decides when waiting is no longer worth it, by the clock that it is shown."""

    connect_timeout_s: float
    stall_timeout_s: float
    began_s: float
    moved_s: float = 0.0
    seen: tuple[int, ...] = field(default_factory=tuple)

    def look(self, metrics: StreamMetrics, now_s: float, why: str) -> None:
        """Take a look at the counters.

        Raises:
            CliError: it is time to give up.
        """
        if metrics.frames_put == 0:
            self.began_s = now_s  # a source may take its time for the first frame
        seen = (metrics.bytes_sent, metrics.frames_done, metrics.acks_buffering, metrics.acks_received)
        if seen != self.seen or not (metrics.frames_buffered or metrics.frames_spooled):
            self.seen, self.moved_s = seen, now_s
        if metrics.bytes_sent == 0 and now_s - self.began_s > self.connect_timeout_s:
            raise _unreachable(self.connect_timeout_s, why)
        if now_s - self.moved_s > self.stall_timeout_s:
            text = (
                f"Nothing was sent or acknowledged for {self.stall_timeout_s:g} s: "
                f"{why or 'check the network, then put the input again or allow more time with --stall-timeout'}"
            )
            raise CliError(ExitCode.INCOMPLETE, _sentence(text))


class Upload:
    """Runs one plan. ``on_frame`` gets each frame with the time that was added to it; ``status`` may be asked any
    time from any thread."""

    def __init__(self, plan: UploadPlan, on_frame: Callable[[SourceFrame, int], None] | None = None) -> None:
        self._plan = plan
        self._on_frame = on_frame
        self._stream: AsyncStream | None = None
        self._failure: errors.KvsError | None = None
        self._latency_ms: float | None = None
        self._offered = 0
        self._put_ns: list[int] = []
        self._undecodable = ""  # what the media check found first
        self._said: set[str] = set()  # what was shown to the user, each thing once
        self._is_reading = self._is_read = self._was_ready = self._is_waiting_for_room = False
        self._read_ns = 0  # where in the medium the last frame lies
        self._read_s = time.monotonic()  # when it came
        self._began_s = time.monotonic()
        self.first_persisted: FirstPersisted | None = None
        self._store_max = 1  # until there is a producer

    def status(self) -> UploadStatus:
        """Return what can be seen now."""
        metrics = None if self._stream is None else self._stream.metrics()
        fill = 0.0 if metrics is None else metrics.store_used / self._store_max
        is_in_trouble = metrics is not None and (metrics.state is StreamState.FAILED or metrics.retry_count > 0)
        seconds = time.monotonic() - self._began_s
        if not self._was_ready and seconds < MAKING_S:
            is_in_trouble = False  # a stream that is being made is not found at first
        trouble = self._why() if is_in_trouble else ""
        progress = None if metrics is None else self._progress(metrics)
        left_s = seconds / progress - seconds if progress else None
        trouble = trouble or self._slow_part(fill)
        return UploadStatus(metrics, seconds, fill, self._latency_ms, trouble, progress, left_s, self._is_read)

    def _progress(self, metrics: StreamMetrics) -> float | None:
        """How much of the medium is persisted: the part that was read, less what of it is not done."""
        length_ns = self._plan.source.duration_ns
        if self._plan.limit_s is not None:
            length_ns = min(length_ns or FOR_EVER_NS, int(self._plan.limit_s * NS_PER_S))
        if not length_ns or not metrics.frames_put:
            return None
        read = 1.0 if self._is_read else min(1.0, self._read_ns / length_ns)
        return read * metrics.frames_done / metrics.frames_put

    def _slow_part(self, fill: float) -> str:
        """Which end does not keep up, in words: the source gives nothing, or the link takes less than comes."""
        if self._is_waiting_for_room or (self._is_reading and fill > FULL):
            return "the link is slower than the source: the buffer fills"
        silent_s = time.monotonic() - self._read_s
        if self._is_reading and self._plan.is_live and silent_s > SILENT_S:
            return f"no frame has come from the source for {silent_s:.0f} s"
        return ""

    def run(self) -> UploadResult:
        """Upload everything; what goes wrong is in the result, as is what was done before.

        After Ctrl-C what is buffered may still go out for some seconds, until the next one.
        """
        problem: CliError | None = None
        with self._open_producer() as (thread, producer):
            try:
                thread.run(self._open(producer))
                try:
                    self._put_all(thread)
                except SourceError as error:  # what was read until then is uploaded all the same
                    problem = self._explained(error)
                thread.run(self._watched(self._open_stream().close(DAY_S)))
            except KeyboardInterrupt:
                problem = CliError(ExitCode.INTERRUPTED, "The upload was interrupted.")
                if self._stream is not None:
                    with contextlib.suppress(KeyboardInterrupt):  # a second one: what is out is out
                        thread.run(self._stream.close(INTERRUPTED_S))
            except Exception as error:
                problem = self._explained(error)
            finally:
                self._is_reading = False
                if self._stream is not None:
                    thread.run(self._stream.close(0))
        return self._result(problem)

    @contextlib.contextmanager
    def _open_producer(self) -> Iterator[tuple[LoopThread, AsyncProducer]]:
        plan = self._plan
        producer = AsyncProducer(
            endpoint_url=plan.endpoint_url, region=plan.region, store_size=plan.store_size, client_id="kvspic-cli"
        )
        self._store_max = producer.metrics().store_max
        plan.on_producer(producer)
        thread = LoopThread()
        try:
            yield thread, producer
        finally:
            thread.run(producer.close(0))
            thread.stop()

    async def _open(self, producer: AsyncProducer) -> None:
        """Open the stream and wait until it is ready."""
        plan = self._plan
        settled = asyncio.Event()

        def on_event(event: Event) -> None:
            self._take_event(event)
            plan.on_event(event)
            if isinstance(event, StreamReady) or self._failure is not None:
                settled.set()

        self._stream = await producer.open_stream(
            plan.stream_name,
            plan.source.tracks,
            wait=False,
            on_event=on_event,
            offline=not plan.is_live,
            put_timeout=timedelta(seconds=DAY_S),  # the watch decides
            retention=timedelta(hours=24),
            create=plan.creates,
            spool=plan.spool,
            media_check=plan.has_media_check,
            clock=None if plan.source.start_ns is None else ClockPolicy.GIVEN,
        )
        try:
            await asyncio.wait_for(settled.wait(), plan.connect_timeout_s)
        except asyncio.TimeoutError:
            raise _unreachable(plan.connect_timeout_s, self._why()) from None
        self._check()

    def _take_event(self, event: Event) -> None:
        """On the loop's thread."""
        if isinstance(event, AckReceived):
            if event.type == AckType.PERSISTED and event.latency_ns is not None:
                self._latency_ms = event.latency_ns / NS_PER_MS
        elif isinstance(event, FragmentPersisted):
            if self.first_persisted is None and self._stream is not None:
                sent = self._stream.metrics().bytes_sent
                self.first_persisted = FirstPersisted(self._offered, sent, self._is_reading)
        elif isinstance(event, MediaProblem):
            self._undecodable = self._undecodable or (str(event) if event.is_undecodable else "")
            self._say_once(f"{event.name} {event.track}", f"{str(event)[:1].upper()}{str(event)[1:]}.")
        elif isinstance(event, NoKeyFrame) and not self._undecodable:
            self._say_once("key frame", f"Nothing is uploaded: {self._why()}.")
        elif isinstance(event, FragmentSplit):
            self._say_once("split", FAR_APART)
        elif isinstance(event, StreamReady):
            self._was_ready = True
        elif isinstance(event, StreamFailed):
            failure = errors.BY_STATUS.get(event.status, errors.InternalError)(event.status, event.cause)
            has_no_keys = isinstance(failure, errors.NotAuthorizedError) and not self._was_ready
            if event.is_final or has_no_keys:  # a camera waits for keys to come; a person at a terminal gets an error
                self._failure = failure

    def _why(self) -> str:
        """What is wrong with the stream now, in words; empty when nothing is."""
        health = None if self._stream is None else self._stream.health()
        return "" if health is None or health.is_healthy else health.reason.rpartition(SPENT)[2]

    # ---- frames

    def _put_all(self, thread: LoopThread) -> None:
        plan = self._plan
        base_ns = self._base_ns()
        began_s = time.monotonic()
        watch = self._new_watch()
        self._is_reading = True
        for frame in plan.source.frames():
            if plan.limit_s is not None and frame.order_ns >= plan.limit_s * NS_PER_S:
                break
            if plan.speed:
                self._wait_until(began_s + frame.order_ns / NS_PER_S / plan.speed, watch)
            self._check()
            self._offered += 1
            self._read_ns, self._read_s = max(self._read_ns, frame.pts_ns), time.monotonic()
            if self._on_frame is not None:
                self._on_frame(frame, base_ns)
            self._put(thread, frame, base_ns)
        self._is_reading, self._is_read = False, True

    def _base_ns(self) -> int:
        """What is added to the source's times: a file ends now, something live begins now, and a recording whose start
        is known began then; in whole milliseconds."""
        plan = self._plan
        if plan.source.start_ns is not None:
            return plan.source.start_ns // NS_PER_MS * NS_PER_MS
        length_ns = 0 if plan.is_live else plan.source.duration_ns
        if length_ns is None:
            plan.say("The input does not say how long it is and cannot be read twice, so its times begin now.")
        return (time.time_ns() - (length_ns or 0)) // NS_PER_MS * NS_PER_MS

    def _wait_until(self, due_s: float, watch: _Watch) -> None:
        while (left_s := due_s - time.monotonic()) > 0:
            self._look(watch)
            time.sleep(min(left_s, LOOK_S))

    def _put(self, thread: LoopThread, frame: SourceFrame, base_ns: int) -> None:
        stream = self._open_stream()
        options = frame.put_options(base_ns)
        if frame.codec_private is not None:
            stream.set_codec_private(frame.track, frame.codec_private)
        before_ns = time.perf_counter_ns()
        try:
            stream.put_frame(frame.data, **options)
        except errors.StoreFullError:
            if self._plan.is_live:
                raise
            self._is_waiting_for_room = True
            try:
                thread.run(self._watched(stream.put(frame.data, **options)))
            finally:
                self._is_waiting_for_room = False
            return
        except (errors.FrameTooLargeError, errors.MediaError) as error:
            self._refused_frame(error)
            return
        self._put_ns.append(time.perf_counter_ns() - before_ns)
        if len(self._put_ns) > PUT_SAMPLES_MAX:
            del self._put_ns[: PUT_SAMPLES_MAX // 2]

    def _refused_frame(self, error: errors.KvsError) -> None:
        """Go on without a frame that cannot be put; the result counts it as offered, so the upload is not complete."""
        if not isinstance(error, errors.FrameTooLargeError) and not self._plan.is_live:
            raise error  # a file that is damaged: the user has to know at once
        self._say_once(error.name, f"A frame was left out, and others may be: {error}.")

    def _say_once(self, what: str, sentence: str) -> None:
        if what not in self._said:
            self._said.add(what)
            self._plan.say(sentence)

    # ---- waiting, and giving up

    async def _watched(self, work: Awaitable[Any]) -> None:
        """Await ``work`` for as long as something moves."""
        watch = self._new_watch()
        task = asyncio.ensure_future(work)
        try:
            while not task.done():
                await asyncio.wait({task}, timeout=LOOK_S)
                if not task.done():
                    self._check()
                    self._look(watch)
        finally:
            if not task.done():
                task.cancel()
                await asyncio.wait({task})
        task.result()

    def _new_watch(self) -> _Watch:
        now_s = time.monotonic()
        return _Watch(self._plan.connect_timeout_s, self._plan.stall_timeout_s, now_s, now_s)

    def _look(self, watch: _Watch) -> None:
        stream = self._open_stream()
        watch.look(stream.metrics(), time.monotonic(), self._why())

    def _check(self) -> None:
        if self._failure is not None:
            raise self._failure

    def _open_stream(self) -> AsyncStream:
        if self._stream is None:
            raise RuntimeError("the stream is not open yet")
        return self._stream

    def _explained(self, error: Exception) -> CliError:
        known = explain(error)
        if known is None:
            raise error
        return known

    # ---- the end

    def _result(self, problem: CliError | None) -> UploadResult:
        report: StreamReport | None = None if self._stream is None else self._stream.report
        seconds = time.monotonic() - self._began_s
        if report is None:
            return UploadResult(seconds=seconds, problem=problem)
        put_ns = sorted(self._put_ns)
        return UploadResult(
            frames_offered=self._offered,
            frames_put=report.frames_put,
            frames_persisted=report.frames_done,
            frames_dropped=report.frames_dropped,
            frames_buffered=report.frames_buffered,
            frames_spooled=None if self._plan.spool is None else report.frames_spooled,
            frames_recovered=report.frames_recovered,
            fragments_persisted=report.fragments_done,
            bytes_sent=report.bytes_sent,
            put_ns_p50=quantile(put_ns, 0.50),
            put_ns_p99=quantile(put_ns, 0.99),
            ack_persisted_ms_p50=_ms(report.ack_latency_ns_p50),
            ack_persisted_ms_p99=_ms(report.ack_latency_ns_p99),
            seconds=seconds,
            state=report.state.name,
            dropped={reason.name.lower(): count for reason, count in report.dropped.items()},
            adds_up=report.adds_up,
            problem=problem,
            undecodable=self._undecodable,
        )


def _unreachable(timeout_s: float, why: str) -> CliError:
    remedy = "" if "; check" in why else "check the endpoint and the network"
    cause = "; ".join(filter(None, (why, remedy)))
    return CliError(ExitCode.UNREACHABLE, _sentence(f"Nothing could be sent within {timeout_s:g} s: {cause}"))


def _sentence(text: str) -> str:
    return text if text.endswith(".") else text + "."


def _ms(value_ns: int | None) -> float | None:
    return None if value_ns is None else round(value_ns / NS_PER_MS, 3)
