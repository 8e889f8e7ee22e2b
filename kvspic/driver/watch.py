"""Who watches a stream: callbacks, bounded event queues, waiters, and the figures that are made from notices.

Always: a slow reader loses its oldest events and is told how many; a callback that raises is logged and hurts nobody
else. Used on the loop's thread only.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable

from kvspic.actions import AckReceived, AckType, Event, EventsLost

__all__ = ["EventQueue", "Latency", "Waiters", "Watchers"]

logger = logging.getLogger("kvspic.events")

QUEUE_MAX = 1000
LATENCY_SAMPLES = 1000


class Waiters:
    """Coroutines that wait until something is so, asked again after each change."""

    def __init__(self) -> None:
        self._futures: set[asyncio.Future[None]] = set()

    def pulse(self) -> None:
        """Something changed: everybody looks again."""
        futures, self._futures = self._futures, set()
        for future in futures:
            if not future.done():
                future.set_result(None)

    async def until(self, is_so: Callable[[], bool], timeout_s: float | None) -> bool:
        """Return True as soon as ``is_so()`` is true, False after ``timeout_s``; None waits for ever."""
        loop = asyncio.get_running_loop()
        end = None if timeout_s is None else loop.time() + timeout_s
        while not is_so():
            left_s = None if end is None else end - loop.time()
            if left_s is not None and left_s <= 0:
                return False
            future: asyncio.Future[None] = loop.create_future()
            self._futures.add(future)
            await asyncio.wait({future}, timeout=left_s)
            self._futures.discard(future)
        return True


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
    """Callbacks and queues of one stream."""

    def __init__(self, stream_name: str) -> None:
        self._name = stream_name
        self._queues: list[EventQueue] = []
        self._is_ended = False
        self.callbacks: list[Callable[[Event], None]] = []

    def new_queue(self, size_max: int = QUEUE_MAX) -> EventQueue:
        """Return a queue that gets every event from now on."""
        queue = EventQueue(self._name, size_max)
        if self._is_ended:
            queue.end()
        else:
            self._queues.append(queue)
        return queue

    def tell(self, event: Event) -> None:
        """Give ``event`` to everybody."""
        for queue in self._queues:
            queue.put(event)
        for callback in tuple(self.callbacks):
            try:
                callback(event)
            except Exception:
                logger.exception("the event callback %r raised for %r", callback, event)

    def end(self) -> None:
        """The stream is closed."""
        self._is_ended = True
        for queue in self._queues:
            queue.end()
        self._queues.clear()


class Latency:
    """Quantiles of ACK latency over the last fragments, of PERSISTED, else of RECEIVED."""

    def __init__(self) -> None:
        self._samples = {kind: deque[int](maxlen=LATENCY_SAMPLES) for kind in (AckType.PERSISTED, AckType.RECEIVED)}

    def add(self, ack: AckReceived) -> None:
        """Count an ACK; other types do not matter."""
        samples = self._samples.get(ack.type)
        if samples is not None and ack.latency_ns is not None:
            samples.append(ack.latency_ns)

    def quantile_ns(self, fraction: float) -> int | None:
        """The latency that ``fraction`` of the fragments did not exceed; None before the first."""
        samples = sorted(self._samples[AckType.PERSISTED] or self._samples[AckType.RECEIVED])
        return samples[min(int(fraction * len(samples)), len(samples) - 1)] if samples else None
