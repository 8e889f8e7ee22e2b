"""One stream behind the facades. Goal: notices become events, health and decisions, and every wait has its end."""

import asyncio
import dataclasses
import logging

import pytest

from kvspic import actions, errors
from kvspic.actions import Action, ActionKind
from kvspic.driver.rules import OrderRules
from kvspic.driver.stream import StreamParts, StreamWork
from kvspic.provider.endpoints import EndpointCache
from kvspic.retry import CallBudget, GiveUp, Keep, ResetConnection, RetryStream, Trouble
from kvspic.types import DropReason, StreamMetrics, StreamState


def metrics(**fields) -> StreamMetrics:
    names = [field.name for field in dataclasses.fields(StreamMetrics)]
    blank = dict.fromkeys(names, 0) | {"state": StreamState.STREAMING, "dropped": dict.fromkeys(DropReason, 0)}
    blank["frames_settled"] = (0, 0, 0)
    return StreamMetrics(**(blank | fields))


class Core:
    """A stream whose metrics are set by the test, and which writes down each call."""

    def __init__(self) -> None:
        self.found = metrics()
        self.calls: list[str] = []
        self.is_open = True

    def metrics(self) -> StreamMetrics:
        if not self.is_open:
            raise errors.named("NULL_ARG")
        return self.found

    def frames_buffered(self) -> int:
        return self.metrics().frames_buffered

    def close(self) -> None:
        self.is_open = False

    def media_counts(self):
        return self.found.times_bumped, 0, 0, 0, ()

    def __getattr__(self, name: str):
        return lambda *args: self.calls.append(name)


class Orders:
    def __init__(self, core) -> None:
        self.table = {}
        self.last_error = ""
        self.rules = OrderRules("door", core, EndpointCache(), CallBudget())
        self.is_stopped = False

    def stop(self) -> None:
        self.is_stopped = True


class Driver:
    """No turns; delayed calls are kept for the test to make."""

    def __init__(self) -> None:
        self.later: list[tuple[float, object]] = []
        self.loop = self

        self.soon: list[object] = []

    def call_later(self, delay_s: float, call) -> None:
        self.later.append((delay_s, call))

    def call_soon_threadsafe(self, call, *args) -> None:
        self.soon.append(lambda: call(*args))

    def take_turn(self) -> None:
        """The core says nothing by itself here."""


class Clock:
    hns = 5000

    def now_hns(self) -> int:
        return self.hns


class Policy:
    """Decides as the test says and remembers what it was asked."""

    def __init__(self, decision=None) -> None:
        self.decision = decision or Keep()
        self.asked = []

    def decide(self, situation):
        self.asked.append(situation)
        return self.decision


class Bench:
    def __init__(self, decision=None) -> None:
        self.core, self.driver, self.policy = Core(), Driver(), Policy(decision)
        self.clock, self.orders = Clock(), Orders(self.core)
        self.work = StreamWork(StreamParts("door", self.core, self.orders, self.driver, self.clock, self.policy))
        self.events: list[actions.Event] = []
        self.work.callbacks.append(self.events.append)

    def say(self, kind: ActionKind, **fields) -> None:
        self.work.on_action(Action(kind, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, b"")._replace(**fields))

    def fail(self, name: str = "CONNECTION_LOST") -> None:
        self.core.found = metrics(state=StreamState.FAILED)
        self.say(ActionKind.FAILED, status=errors.named(name).status, a=StreamState.STREAMING)


async def settle(work) -> "asyncio.Task[object]":
    task = asyncio.ensure_future(work)
    await asyncio.sleep(0)
    return task


def test_waiting_ends_when_the_stream_is_ready():
    async def run():
        bench = Bench()
        task = await settle(bench.work.wait_ready(60))
        bench.say(ActionKind.READY)
        await task

    asyncio.run(run())


def test_waiting_ends_with_the_cause_when_nobody_tries_again():
    async def run():
        bench = Bench(GiveUp("NOT_FOUND"))
        bench.orders.last_error = "DescribeStream failed (HTTP 404)"
        task = await settle(bench.work.wait_ready(60))
        bench.fail("NOT_FOUND")
        await task

    with pytest.raises(errors.NotFoundError, match="HTTP 404"):
        asyncio.run(run())


def test_waiting_ends_by_its_limit():
    bench = Bench()
    bench.orders.last_error = "no route to host"
    with pytest.raises(errors.TimedOutError, match="no route to host"):
        asyncio.run(bench.work.wait_ready(0))


def test_a_failure_is_an_event_and_tried_again_after_the_pause():
    bench = Bench(RetryStream(20_000_000, refresh_credentials=True))
    bench.fail()
    event = bench.events[-1]
    assert isinstance(event, actions.StreamFailed)
    assert not event.is_final
    assert bench.orders.rules.refresh_next
    delay_s, again = bench.driver.later.pop()
    assert delay_s == 2.0
    again()
    assert bench.core.calls == ["retry"]


def test_a_stream_that_went_on_meanwhile_is_not_tried_again():
    bench = Bench(RetryStream(0))
    bench.fail()
    bench.core.found = metrics()
    bench.driver.later.pop()[1]()
    assert bench.core.calls == []


def test_attempts_are_counted_until_a_fragment_is_done():
    bench = Bench(RetryStream(0))
    bench.fail()
    bench.fail()
    bench.say(ActionKind.FRAGMENT_DONE)
    bench.fail()
    assert [situation.attempt for situation in bench.policy.asked] == [0, 1, 0]
    assert [situation.was_streaming for situation in bench.policy.asked] == [False, False, True]
    assert bench.policy.asked[0].status_name == "CONNECTION_LOST"


def test_a_stall_is_asked_about_and_recovers():
    bench = Bench(ResetConnection())
    bench.say(ActionKind.STALE, a=300_000_000)
    assert bench.policy.asked[0].trouble == Trouble.STALE
    bench.driver.later.pop()[1]()
    assert bench.core.calls == ["reset_connection"]
    assert bench.work.health(None).reason == "nothing was acknowledged for 30 s"
    bench.say(ActionKind.FRAGMENT_DONE)
    assert bench.work.health(None).is_healthy
    assert [type(event) for event in bench.events][-2:] == [actions.Recovered, actions.FragmentPersisted]


def test_an_idle_stream_recovers_when_it_is_ready_again():
    bench = Bench(RetryStream(0))
    bench.fail()
    bench.core.found = metrics(state=StreamState.READY, frames_buffered=1)
    bench.say(ActionKind.READY)
    assert not bench.work.health(None).is_healthy
    bench.core.found = metrics(state=StreamState.READY)
    bench.say(ActionKind.READY)
    assert bench.work.health(None).is_healthy


def test_a_key_frame_that_does_not_come_is_told_and_seen_in_the_health():
    bench = Bench()
    skipped = dict.fromkeys(DropReason, 0) | {DropReason.SKIPPED: 250}
    bench.core.found = metrics(dropped=skipped | {DropReason.SKIPPED: 1})
    bench.say(ActionKind.DROPPED, result=DropReason.SKIPPED, b=1)
    (delay_s, look), = bench.driver.later  # fmt: skip
    assert delay_s == 10
    bench.clock.hns += 10 * 10_000_000
    bench.core.found = metrics(dropped=skipped)
    look()
    assert bench.events[-1] == actions.NoKeyFrame("door", 10_000_000_000, 250)
    assert "ask the encoder for a key frame" in bench.work.health(None).reason
    assert not bench.work.health(None).is_healthy
    bench.core.found = metrics(dropped=skipped, fragments_put=1)
    assert bench.work.health(None).is_healthy


def test_shifts_of_times_are_told_once_and_in_sum_when_the_stream_ends():
    bench = Bench()
    for _ in range(3):
        bench.say(ActionKind.TIME_SHIFTED, a=1, b=5)
    bench.work.shut()
    assert bench.events == [actions.TimesShifted("door", 1, 500), actions.TimesShifted("door", 1, 1000, count=2)]


def test_events_of_other_threads_reach_the_watchers_on_the_loop():
    bench = Bench()
    bench.work.tell_soon(actions.Paused("door"))
    assert bench.events == []
    bench.driver.soon.pop()()
    assert bench.events == [actions.Paused("door")]


def test_an_exception_that_nobody_expected_stops_its_own_stream_with_the_cause():
    bench = Bench()

    def fail(action):
        raise ZeroDivisionError("a bug")

    bench.work._table[ActionKind.ROOM] = fail
    bench.say(ActionKind.ROOM)
    assert isinstance(bench.work.failure, errors.InternalError)
    assert isinstance(bench.work.failure.__cause__, ZeroDivisionError)
    assert "a bug" in bench.work.health(None).reason
    assert bench.orders.is_stopped
    assert isinstance(bench.events[-1], actions.StreamFailed)
    assert bench.events[-1].is_final
    bench.work.retry()
    assert bench.work.failure is None


def test_a_policy_that_raises_stops_its_own_stream():
    bench = Bench()
    bench.policy.decide = lambda situation: 1 / 0
    bench.fail()
    assert isinstance(bench.work.failure, errors.InternalError)


@pytest.mark.parametrize("answer", [None, "again", RetryStream, RetryStream(-1), RetryStream(float("nan")), Trouble()])
@pytest.mark.parametrize("trouble", ["failed", "late"])
def test_a_policy_that_answers_what_is_no_decision_stops_its_own_stream_with_a_sentence(answer, trouble):
    bench = Bench()
    bench.policy.decision = answer
    if trouble == "failed":
        bench.fail()
    else:
        bench.say(ActionKind.DROPPED, result=DropReason.STORE_FULL)
    assert "the retry policy answered" in str(bench.work.failure)
    assert bench.driver.later == []


def test_closing_takes_no_more_frames_before_anything_else():
    async def story():
        bench = Bench()
        closing = await settle(bench.work.close(5))
        assert bench.core.calls[0] == "close_gate"
        bench.say(ActionKind.CLOSED)
        await closing

    asyncio.run(story())


def test_trying_again_is_for_open_streams():
    bench = Bench(GiveUp("x"))
    bench.fail()
    bench.work.retry()
    assert bench.work.failure is None
    assert bench.core.calls == ["retry"]
    asyncio.run(bench.work.close(0))
    with pytest.raises(errors.StreamStoppedError):
        bench.work.retry()


def test_health_says_why_a_stream_is_not_up():
    bench = Bench(GiveUp("x"))
    bench.core.found = metrics(state=StreamState.DESCRIBE)
    bench.orders.last_error = "DescribeStream failed; check the endpoint."
    found = bench.work.health(7)
    assert (found.is_healthy, found.reason) == (False, "DescribeStream failed; check the endpoint.")
    assert found.next_deadline_ns == 700


def refused(bench, error_id):
    bench.say(ActionKind.ERROR_ACK, result=error_id, status=errors.named("ERROR_ACK").status)


def test_health_names_the_error_ack_and_how_often_it_came_whatever_state_follows():
    bench = Bench(RetryStream(0))
    bench.core.found = metrics(state=StreamState.DESCRIBE)
    refused(bench, 4501)
    assert bench.work.health(None).reason == (
        "the service refused a fragment: KMS_KEY_DISABLED (4501): the stream's KMS key is disabled; enable the key in "
        "KMS"
    )
    for _ in range(6):
        refused(bench, 4501)
    assert "KMS_KEY_DISABLED (4501, 7 times)" in bench.work.health(None).reason
    bench.say(ActionKind.FAILED, status=errors.named("ERROR_ACK").status, result=4501, a=StreamState.STREAMING)
    assert "KMS_KEY_DISABLED (4501, 7 times)" in bench.work.health(None).reason
    assert bench.policy.asked[-1].result == 4501
    bench.core.found = metrics()
    bench.say(ActionKind.FRAGMENT_DONE, b=1)
    assert (bench.work.health(None).is_healthy, bench.work.health(None).reason) == (True, "")
    assert [type(event).__name__ for event in bench.events] == [
        "ErrorAck", "StreamFailed", "Recovered", "FragmentPersisted",
    ]  # fmt: skip
    bench.work.shut()
    assert bench.events[-1].error_name == "KMS_KEY_DISABLED"
    assert bench.events[-1].count == 6


def test_flush_waits_for_what_was_buffered_at_the_call():
    async def run():
        bench = Bench()
        bench.core.found = metrics(frames_put=10, frames_done=4, frames_buffered=6)
        task = await settle(bench.work.flush(60, True))
        bench.core.found = metrics(frames_put=30, frames_done=9, frames_buffered=21)
        bench.say(ActionKind.FRAGMENT_DONE)
        for _ in range(10):
            await asyncio.sleep(0)
        assert not task.done()
        bench.core.found = metrics(frames_put=30, frames_done=10, frames_buffered=20)
        bench.say(ActionKind.FRAGMENT_DONE)
        await task
        return bench.core.calls

    assert asyncio.run(run()) == ["end_fragment"]


def test_flush_counts_dropped_frames_only_if_they_were_buffered():
    async def run(reason: DropReason):
        bench = Bench()
        bench.core.found = metrics(frames_buffered=2)
        task = await settle(bench.work.flush(60, False))
        bench.core.found = metrics(dropped=dict.fromkeys(DropReason, 0) | {reason: 2})
        bench.say(ActionKind.DROPPED)
        for _ in range(10):
            await asyncio.sleep(0)
        done = task.done()
        task.cancel()
        return done

    assert asyncio.run(run(DropReason.ERROR_ACK))
    assert not asyncio.run(run(DropReason.SKIPPED))


def test_flush_ends_by_its_limit():
    bench = Bench()
    bench.core.found = metrics(frames_buffered=3)
    with pytest.raises(errors.TimedOutError, match="3 frames"):
        asyncio.run(bench.work.flush(0, False))


def test_flush_ends_when_the_stream_is_closed():
    async def run():
        bench = Bench()
        bench.core.found = metrics(frames_put=3, frames_buffered=3)
        task = await settle(bench.work.flush(60, False))
        await bench.work.close(0)
        await task

    with pytest.raises(errors.StreamStoppedError, match="3 frames"):
        asyncio.run(run())


def test_closing_waits_for_the_drain_and_keeps_the_ledger():
    async def run():
        bench = Bench()
        task = await settle(bench.work.close(60))
        assert bench.core.calls == ["close_gate", "stop"]
        bench.core.found = metrics(frames_put=3, frames_done=3, state=StreamState.STOPPED)
        bench.say(ActionKind.CLOSED)
        report = await task
        assert bench.orders.is_stopped
        assert not bench.core.is_open
        return report, bench.work.report()

    report, again = asyncio.run(run())
    assert report == again
    assert report.is_complete


def test_closing_ends_by_its_limit_with_what_is_left():
    bench = Bench()
    bench.core.found = metrics(frames_put=3, frames_buffered=3)
    report = asyncio.run(bench.work.close(0))
    assert report.frames_buffered == 3
    assert bench.work.is_closed


def test_closing_twice_gives_the_same_report():
    async def run():
        bench = Bench()
        return await asyncio.gather(bench.work.close(0), bench.work.close(60))

    first, second = asyncio.run(run())
    assert first == second


def test_closing_does_not_wait_for_a_stream_that_was_given_up():
    async def run():
        bench = Bench(GiveUp("NOT_FOUND"))
        bench.fail("NOT_FOUND")
        return await bench.work.close(3600)

    assert "does not exist" in asyncio.run(run()).failure


def test_room_is_counted_and_told():
    bench, rooms = Bench(), []
    bench.work.on_room = lambda: rooms.append(1)
    bench.say(ActionKind.ROOM)
    assert (bench.work.room_count, rooms) == (1, [1])


def test_a_fault_of_the_driver_reaches_who_waits():
    async def run():
        bench = Bench()
        task = await settle(bench.work.wait_ready(60))
        bench.work.fail(errors.named("INTERNAL", "broken"))
        await task

    with pytest.raises(errors.InternalError, match="broken"):
        asyncio.run(run())


def test_an_outage_is_logged_once_and_again_when_its_reason_changes(caplog):
    async def run() -> None:
        bench = Bench(RetryStream(0))
        for reason in ("no route", "no route", "no answer"):
            bench.orders.last_error = reason
            bench.fail()

    asyncio.run(run())
    warnings = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert [text.rpartition(": ")[2] for text in warnings] == ["no route; trying again", "no answer; trying again"]
