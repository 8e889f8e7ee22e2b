"""Watching a stream. Goal: a slow or broken reader disturbs no other, and nothing that it lost is lost silently."""

import asyncio
import logging

import pytest

from kvspic.actions import AckReceived, AckType, EventsLost, StreamReady
from kvspic.driver.watch import EventQueue, Latency, Waiters, Watchers


def ready(number: int) -> StreamReady:
    return StreamReady(f"s{number}")


async def take(queue: EventQueue, count: int) -> list[object]:
    return [await queue.__anext__() for _ in range(count)]


def test_events_come_in_order_and_end_with_the_stream():
    async def run():
        watchers = Watchers("door")
        queue = watchers.new_queue()
        for number in range(3):
            watchers.tell(ready(number))
        watchers.end()
        return [event async for event in queue]

    assert asyncio.run(run()) == [ready(0), ready(1), ready(2)]


def test_a_full_queue_loses_the_oldest_and_says_how_many():
    async def run():
        queue = EventQueue("door", size_max=2)
        for number in range(5):
            queue.put(ready(number))
        return await take(queue, 3)

    assert asyncio.run(run()) == [EventsLost("door", 3), ready(3), ready(4)]


def test_a_reader_that_waits_is_woken():
    async def run():
        queue = EventQueue("door")
        reader = asyncio.ensure_future(take(queue, 1))
        await asyncio.sleep(0)
        queue.put(ready(1))
        return await reader

    assert asyncio.run(run()) == [ready(1)]


def test_a_queue_made_after_the_end_is_empty():
    async def run():
        watchers = Watchers("door")
        watchers.end()
        return [event async for event in watchers.new_queue()]

    assert asyncio.run(run()) == []


def test_a_callback_that_raises_is_logged_and_the_others_are_called(caplog):
    watchers, seen = Watchers("door"), []
    watchers.callbacks += [lambda event: 1 / 0, seen.append]
    with caplog.at_level(logging.ERROR, "kvspic"):
        watchers.tell(ready(1))
    assert seen == [ready(1)]
    assert "ZeroDivisionError" in caplog.text


def test_a_waiter_looks_again_after_each_change():
    async def run():
        waiters, facts = Waiters(), []
        waiting = asyncio.ensure_future(waiters.until(lambda: len(facts) == 2, 60))
        for _ in range(2):
            await asyncio.sleep(0)
            facts.append(1)
            waiters.pulse()
        return await waiting

    assert asyncio.run(run()) is True


def test_changes_between_two_rounds_are_looked_at_once():
    async def run():
        waiters, looks = Waiters(), []
        waiting = asyncio.ensure_future(waiters.until(lambda: bool(looks.append(1)), 0.05))
        await asyncio.sleep(0)
        for _ in range(5):
            waiters.pulse()
        await asyncio.sleep(0)
        assert len(looks) == 2
        assert await waiting is False
        assert not waiters.waiting

    asyncio.run(run())


def test_an_error_of_what_is_waited_for_is_the_waiters():
    async def run():
        waiters, facts = Waiters(), []
        waiting = asyncio.ensure_future(waiters.until(lambda: facts and 1 / 0, 60))
        other = asyncio.ensure_future(waiters.until(lambda: len(facts) == 1, 60))
        await asyncio.sleep(0)
        facts.append(1)
        waiters.pulse()
        assert await other is True
        with pytest.raises(ZeroDivisionError):
            await waiting

    asyncio.run(run())


def test_a_waiter_without_time_left_gives_up():
    async def run():
        return await Waiters().until(lambda: False, 0)

    assert asyncio.run(run()) is False


def ack(kind: AckType, latency_ns: int | None) -> AckReceived:
    return AckReceived("door", 1, kind, 0, 0, "1", latency_ns)


@pytest.mark.parametrize(("fraction", "expected"), [(0.0, 1), (0.5, 51), (0.99, 100), (1.0, 100)])
def test_quantiles_are_of_the_persisted_acks(fraction, expected):
    latency = Latency()
    for number in range(100, 0, -1):
        latency.add(ack(AckType.PERSISTED, number))
        latency.add(ack(AckType.RECEIVED, 7000))
        latency.add(ack(AckType.BUFFERING, 9000))
    assert latency.quantile_ns(fraction) == expected


def test_without_persisted_acks_the_received_ones_count():
    latency = Latency()
    assert latency.quantile_ns(0.5) is None
    latency.add(ack(AckType.PERSISTED, None))
    latency.add(ack(AckType.RECEIVED, 5))
    assert latency.quantile_ns(0.5) == 5
