"""Who watches a stream: callbacks, bounded event queues, waiters, and the figures that are made from notices.

Always: a slow reader loses its oldest events and learns how many; a callback that raises is logged and disturbs nothing
else. Used on the loop's thread only.
"""

from __future__ import annotations

import asyncio
import bisect
import itertools
import logging
from collections import deque
from collections.abc import Callable

from kvspic.actions import NEVER_BUFFERED, AckReceived, AckType, Event, EventsLost
from kvspic.types import StreamMetrics

__all__ = ["EventQueue", "Histogram", "Latency", "Waiters", "Watchers"]

BUCKETS_NS = tuple(int(seconds * 1e9) for seconds in (0.1, 0.25, 0.5, 1, 2, 3, 5, 10, 30, 60))

logger = logging.getLogger("kvspic.events")

QUEUE_MAX = 1000
LATENCY_SAMPLES = 1000


class Waiters:
    """Coroutines that wait until something is so, which is asked again after changes. ``waiting`` is empty when there
    are none."""

    def __init__(self) -> None:
        self.waiting: dict[asyncio.Future[None], Callable[[], bool]] = {}
        self._is_looking = False

    def pulse(self) -> None:
        """Something changed: what waiters wait for is looked at in the loop's next round, once for all changes."""
        if self.waiting and not self._is_looking:
            next(iter(self.waiting)).get_loop().call_soon(self._look)
            self._is_looking = True

    def _look(self) -> None:
        self._is_looking = False
        for future, is_so in tuple(self.waiting.items()):
            try:
                if is_so():
                    _settle(future)
            except Exception:  # the waiter asks again, and raises it
                _settle(future)

    async def until(self, is_so: Callable[[], bool], timeout_s: float | None) -> bool:
        """Return True as soon as ``is_so()`` is true, False after ``timeout_s``; None waits for ever."""
        loop = asyncio.get_running_loop()
        end = None if timeout_s is None else loop.time() + timeout_s
        while not is_so():
            if end is not None and end <= loop.time():
                return False
            future: asyncio.Future[None] = loop.create_future()
            timer = None if end is None else loop.call_at(end, _settle, future)
            self.waiting[future] = is_so
            try:
                await future
            finally:
                del self.waiting[future]
                if timer is not None:
                    timer.cancel()
        return True


def _settle(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


class EventQueue:
    """Events for one reader: ``async for event in queue``; ends when the stream is closed."""

    def __init__(self, stream_name: str, size_max: int = QUEUE_MAX) -> None:
        self._name = stream_name
        self._events: deque[Event] = deque()
        self._size_max = size_max
        self._waiters = Waiters()
        self._is_ended = False
        self.lost_count = 0

    def put(self, event: Event) -> None:
        """Append an event; the oldest one leaves a full queue."""
        if len(self._events) >= self._size_max:
            self._events.popleft()
            self.lost_count += 1
        self._events.append(event)
        self._waiters.pulse()

    def end(self) -> None:
        """No more events will come."""
        self._is_ended = True
        self._waiters.pulse()

    def __aiter__(self) -> EventQueue:
        return self

    async def __anext__(self) -> Event:
        await self._waiters.until(lambda: bool(self._events) or self._is_ended, None)
        if self.lost_count:
            count, self.lost_count = self.lost_count, 0
            return EventsLost(self._name, count)
        if not self._events:
            raise StopAsyncIteration
        return self._events.popleft()


class Watchers:
    """Callbacks and queues of one stream: without either nothing gets its events."""

    def __init__(self, stream_name: str) -> None:
        self._name = stream_name
        self.queues: list[EventQueue] = []
        self._is_ended = False
        self.callbacks: list[Callable[[Event], None]] = []

    def new_queue(self, size_max: int = QUEUE_MAX) -> EventQueue:
        """Return a queue that gets every event from now on."""
        queue = EventQueue(self._name, size_max)
        if self._is_ended:
            queue.end()
        else:
            self.queues.append(queue)
        return queue

    def tell(self, event: Event) -> None:
        """Pass ``event`` to every callback and queue."""
        for queue in self.queues:
            queue.put(event)
        for callback in tuple(self.callbacks):
            try:
                callback(event)
            except Exception:
                logger.exception("the event callback %r raised for %r", callback, event)

    def end(self) -> None:
        """The stream is closed."""
        self._is_ended = True
        for queue in self.queues:
            queue.end()
        self.queues.clear()


class Histogram:
    """How many ACKs took how long, since the stream was opened."""

    def __init__(self) -> None:
        self.counts = [0] * (len(BUCKETS_NS) + 1)
        self.sum_ns = 0

    def add(self, latency_ns: int) -> None:
        """Count one."""
        self.counts[bisect.bisect_left(BUCKETS_NS, latency_ns)] += 1
        self.sum_ns += latency_ns

    def buckets(self) -> list[tuple[str, float]]:
        """Upper limits in seconds, as Prometheus writes them, each with the count of all up to it."""
        limits = [*(str(limit_ns / 1e9) for limit_ns in BUCKETS_NS), "+Inf"]
        return [(limit, float(count)) for limit, count in zip(limits, itertools.accumulate(self.counts))]


class Latency:
    """ACK latency: quantiles over the last fragments, of PERSISTED, else of RECEIVED; a histogram of all."""

    def __init__(self) -> None:
        kinds = (AckType.PERSISTED, AckType.RECEIVED)
        self.histograms = {kind: Histogram() for kind in kinds}
        self._samples = {kind: deque[int](maxlen=LATENCY_SAMPLES) for kind in kinds}
        self._counts: dict[int, tuple[deque[int], Histogram]] = {
            int(kind): (self._samples[kind], self.histograms[kind]) for kind in kinds
        }

    def add(self, ack: AckReceived) -> None:
        """Count an ACK."""
        self.count(ack.type, ack.latency_ns)

    def count(self, kind: int, latency_ns: int | None) -> None:
        """Count an ACK of a number of :class:`AckType`; other types do not matter."""
        found = self._counts.get(kind)
        if found is not None and latency_ns is not None:
            samples, histogram = found
            samples.append(latency_ns)
            histogram.add(latency_ns)

    def quantile_ns(self, fraction: float) -> int | None:
        """The latency that ``fraction`` of the fragments did not exceed; None before the first."""
        samples = sorted(self._samples[AckType.PERSISTED] or self._samples[AckType.RECEIVED])
        return samples[min(int(fraction * len(samples)), len(samples) - 1)] if samples else None


def frames_left(metrics: StreamMetrics) -> int:
    """How many frames have left the buffer."""
    return metrics.frames_done + sum(count for reason, count in metrics.dropped.items() if reason not in NEVER_BUFFERED)
