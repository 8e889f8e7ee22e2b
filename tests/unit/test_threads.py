"""Threads for blocking calls. Goal: eight at most, started at need, and no call ever waits for one that hangs."""

import asyncio
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from unit.provider.servers import run_watched

from kvspic.threads import PIECE_S, DaemonExecutor, in_pieces, in_thread, join, result_of, shared_executor


@pytest.mark.parametrize("limit_s", [0.0, 0.1, 0.5])
def test_a_wait_comes_in_pieces_that_add_up_to_its_limit(limit_s, monkeypatch):
    now_s, pieces = [100.0], []

    def wait(seconds):
        pieces.append(seconds)
        now_s[0] += seconds

    monkeypatch.setattr("time.monotonic", lambda: now_s[0])
    assert not in_pieces(wait, limit_s)
    assert sum(pieces) == pytest.approx(limit_s)
    assert max(pieces) <= PIECE_S


def test_a_wait_without_a_limit_ends_with_what_it_waits_for_and_hears_an_interrupt_before():
    answers = iter([False, False, True])
    assert in_pieces(lambda seconds: next(answers))

    def interrupted(seconds):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        in_pieces(interrupted)


def test_a_future_gives_its_result_or_its_error_and_a_thread_has_ended():
    executor = DaemonExecutor(1)
    gate = threading.Event()
    thread = threading.Thread(target=gate.wait, args=(60,))
    thread.start()
    assert result_of(executor.submit(lambda: "answer")) == "answer"
    with pytest.raises(ZeroDivisionError):
        result_of(executor.submit(lambda: 1 / 0))
    gate.set()
    join(thread)
    assert not thread.is_alive()
    executor.shutdown()


def test_calls_give_their_answer_or_their_error():
    executor = DaemonExecutor(2)
    assert executor.submit(pow, 2, 5).result(5) == 32
    with pytest.raises(ZeroDivisionError):
        executor.submit(lambda: 1 / 0).result(5)
    executor.shutdown()


def test_no_more_threads_than_allowed_and_all_of_them_when_needed():
    executor, gate, names = DaemonExecutor(3), threading.Event(), set()
    barrier = threading.Barrier(4)

    def work():
        names.add(threading.current_thread().name)
        barrier.wait(5)
        gate.wait(5)

    first = [executor.submit(work) for _ in range(3)]
    barrier.wait(5)  # all three run at once
    waiting = executor.submit(lambda: "later")
    assert not waiting.done()
    gate.set()
    assert waiting.result(5) == "later"
    assert all(future.result(5) is None for future in first)
    assert len(names) == 3
    executor.shutdown()


def test_an_idle_thread_is_used_again():
    executor = DaemonExecutor(8)
    names = {executor.submit(lambda: threading.current_thread().name).result(5) for _ in range(20)}
    assert len(names) == 1
    executor.shutdown()


def test_a_shut_executor_refuses_calls_and_finishes_those_it_has():
    executor = DaemonExecutor(1)
    future = executor.submit(lambda: "done")
    executor.shutdown()
    executor.shutdown()
    assert future.result(5) == "done"
    with pytest.raises(RuntimeError):
        executor.submit(print)


def test_the_shared_executor_is_one_per_process():
    assert shared_executor() is shared_executor()


def test_a_cancelled_wait_does_not_wait():
    gate = threading.Event()

    async def story():
        waiting = asyncio.ensure_future(in_thread(lambda: gate.wait(30)))
        await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting

    run_watched(story(), seconds=5)
    gate.set()


def test_an_answer_or_error_comes_back_to_the_loop():
    async def story():
        assert await in_thread(threading.current_thread) in threading.enumerate()
        with pytest.raises(ZeroDivisionError):
            await in_thread(lambda: 1 / 0)
        with ThreadPoolExecutor(1) as other:  # which may be any
            assert await in_thread(lambda: "answer", other) == "answer"

    run_watched(story())


def test_a_call_that_outlives_its_loop_is_left_behind():
    gate, has_ended = threading.Event(), threading.Event()
    executor = DaemonExecutor(1)

    async def story():
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(in_thread(gate.wait, executor), 0.01)

    run_watched(story())
    gate.set()
    executor.submit(has_ended.set)
    assert has_ended.wait(5)  # the thread goes on to the next job
    executor.shutdown()


def test_a_call_whose_wait_was_cancelled_before_it_began_is_not_made():
    executor, gate, calls = DaemonExecutor(1), threading.Event(), []

    async def story():
        executor.submit(gate.wait)
        waiting = asyncio.ensure_future(in_thread(lambda: calls.append(1), executor))
        await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        gate.set()
        await in_thread(lambda: None, executor)

    run_watched(story())
    assert not calls
    executor.shutdown()


def test_a_hanging_call_holds_neither_the_loop_nor_the_process():
    program = """
import asyncio, threading
from kvspic.threads import in_thread
async def main():
    asyncio.ensure_future(in_thread(threading.Event().wait))
    await asyncio.sleep(0)
asyncio.run(main())
print("over")
"""
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=20, check=True)
    assert run.stdout == "over\n"
