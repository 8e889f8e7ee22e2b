"""The driver on asyncio. Goal: a byte on the socket or a deadline gives a turn, and no exception is swallowed."""

import asyncio
import socket

import pytest

from kvspic.actions import Action, ActionKind
from kvspic.core import TIME_NONE
from kvspic.driver.aio import AioDriver, Clock
from kvspic.driver.turn import Turn


class Core:
    """A client whose actions and deadline are set by the test."""

    def __init__(self) -> None:
        self.actions: list[Action] = []
        self.deadline_hns = TIME_NONE
        self.poke_count = 0

    def turn(self, now_hns: int) -> tuple[list[Action], list[int], int]:
        if self.deadline_hns <= now_hns:
            self.poke_count += 1
            self.deadline_hns = TIME_NONE
        actions, self.actions = self.actions, []
        return actions, [], self.deadline_hns


class Bench:
    """A driver on a socket pair, and what it did."""

    def __init__(self) -> None:
        self.core = Core()
        self.clock = Clock()
        self.faults: list[BaseException] = []
        self.seen: list[Action] = []
        self.ours, self.theirs = socket.socketpair()
        self.turn = Turn(self.core)
        self.turn.handlers[1] = self.seen.append
        self.driver = AioDriver(self.turn, self.theirs.fileno(), self.clock, self.faults.append)

    async def __aenter__(self) -> "Bench":
        self.driver.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.driver.close()
        self.ours.close()
        self.theirs.close()

    async def until(self, is_so) -> None:
        """Let the loop run until ``is_so``; a test that waits for ever is ended by the runner."""
        while not is_so():
            await asyncio.sleep(0)


def notice(user: int = 1) -> Action:
    return Action(ActionKind.ROOM, 0, 0, 0, user, 0, 0, 0, 0, 0, 0, b"")


def test_the_first_turn_is_taken_at_the_start():
    async def run():
        bench = Bench()
        bench.core.actions.append(notice())
        async with bench:
            return len(bench.seen)

    assert asyncio.run(run()) == 1


def test_a_wake_up_gives_a_turn():
    async def run():
        async with Bench() as bench:
            bench.core.actions.append(notice())
            bench.ours.send(b"\1")
            await bench.until(lambda: bench.seen)

    asyncio.run(run())


def test_many_wake_ups_are_one_turn():
    async def run():
        async with Bench() as bench:
            bench.ours.send(b"\1" * 100)
            await bench.until(lambda: bench.driver.turn_count == 2)
            for _ in range(10):
                await asyncio.sleep(0)
            return bench.driver.turn_count

    assert asyncio.run(run()) == 2


def test_a_deadline_gives_a_turn():
    async def run():
        bench = Bench()
        bench.core.deadline_hns = bench.clock.now_hns() + 10_000
        async with bench:
            await bench.until(lambda: bench.core.poke_count)

    asyncio.run(run())


def test_a_deadline_that_moves_away_keeps_its_timer_and_is_not_missed():
    async def run():
        bench = Bench()
        bench.core.deadline_hns = bench.clock.now_hns() + 50_000
        async with bench:
            first = bench.driver._timer
            for _ in range(3):
                bench.core.deadline_hns += 10_000
                bench.driver.take_turn()
            assert bench.driver._timer is first
            due_hns = bench.core.deadline_hns
            await bench.until(lambda: bench.core.poke_count)
            assert bench.clock.now_hns() >= due_hns

    asyncio.run(run())


def test_a_deadline_that_comes_nearer_gets_another_timer():
    async def run():
        bench = Bench()
        bench.core.deadline_hns = bench.clock.now_hns() + 36_000_000_000
        async with bench:
            bench.core.deadline_hns = bench.clock.now_hns() + 10_000
            bench.driver.take_turn()
            await bench.until(lambda: bench.core.poke_count)

    asyncio.run(run())


def test_who_changes_the_core_on_the_loops_thread_needs_no_round_of_the_loop_for_the_turn():
    async def run():
        async with Bench() as bench:
            before = bench.driver.turn_count
            bench.driver.woken()  # the core has not asked for a turn
            assert bench.driver.turn_count == before
            bench.core.actions.append(notice())
            bench.ours.send(b"\1")
            bench.driver.woken()
            assert len(bench.seen) == 1
            for _ in range(5):
                await asyncio.sleep(0)
            assert bench.driver.turn_count == before + 1  # and none is taken for the same byte again

    asyncio.run(run())


def test_a_loop_without_readers_is_woken_by_a_task():
    async def run():
        loop = asyncio.get_running_loop()
        bench = Bench()
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(loop, "add_reader", no_readers)
            patch.setattr(loop, "remove_reader", no_readers)
            bench.driver.start()
            patch.undo()
            bench.core.actions.append(notice())
            bench.ours.send(b"\1")
            await bench.until(lambda: bench.seen)
            patch.setattr(loop, "remove_reader", no_readers)
            await bench.driver.close()
        bench.ours.close()
        bench.theirs.close()

    def no_readers(*_):
        raise NotImplementedError

    asyncio.run(run())


def test_an_exception_of_a_handler_ends_the_driver_and_is_told():
    async def run():
        async with Bench() as bench:
            bench.turn.handlers[1] = lambda action: 1 / 0
            bench.core.actions.append(notice())
            bench.driver.take_turn()
            bench.core.actions.append(notice())
            bench.driver.take_turn()
            return bench.faults

    faults = asyncio.run(run())
    assert [type(fault) for fault in faults] == [ZeroDivisionError]


def test_an_exception_of_a_task_is_told():
    async def broken():
        raise KeyError("x")

    async def run():
        async with Bench() as bench:
            bench.driver.spawn(broken(), "broken")
            await bench.until(lambda: bench.faults)
            return bench.faults

    assert [type(fault) for fault in asyncio.run(run())] == [KeyError]


def test_closing_cancels_the_tasks_and_leaves_the_core_its_socket():
    async def run():
        bench = Bench()
        async with bench:
            task = bench.driver.spawn(asyncio.sleep(3600), "long")
            await bench.driver.close()
            assert bench.theirs.fileno() >= 0
            bench.ours.send(b"\1")
            assert bench.theirs.recv(1) == b"\1"
            return task.cancelled()

    assert asyncio.run(run())


def test_the_clock_never_goes_back():
    clock = Clock()
    times = [clock.now_hns() for _ in range(100)]
    assert times == sorted(times)


def test_a_driver_that_was_not_started_has_no_loop():
    bench = Bench()
    with pytest.raises(RuntimeError, match="started"):
        _ = bench.driver.loop
    asyncio.run(bench.__aexit__())
