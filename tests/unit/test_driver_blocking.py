"""The loop in a thread. Goal: results and errors come back, misuse is an error instead of a wait for ever."""

import asyncio
import concurrent.futures
import os
import threading

import pytest

from kvspic import threads
from kvspic.driver.blocking import LoopThread, call_soon


@pytest.fixture
def thread():
    made = LoopThread()
    yield made
    made.stop()


async def answer(value):
    await asyncio.sleep(0)
    return value


async def fail():
    raise KeyError("x")


def test_a_result_comes_back(thread):
    assert thread.run(answer(5)) == 5
    assert thread.run(call_soon(threading.current_thread)).daemon


def test_no_wait_is_so_long_that_it_blocks_an_interrupt(thread, monkeypatch):
    limits, real = [], concurrent.futures.Future.exception

    def exception(future, timeout):
        limits.append(timeout)
        return real(future, timeout)

    async def long():
        while len(limits) < 3:
            await asyncio.sleep(0.01)
        return "done"

    monkeypatch.setattr(threads, "PIECE_S", 0.01)
    monkeypatch.setattr(concurrent.futures.Future, "exception", exception)
    assert thread.run(long()) == "done"
    assert set(limits) == {0.01}


def test_an_error_comes_back(thread):
    with pytest.raises(KeyError):
        thread.run(fail())


def test_waiting_on_the_loops_own_thread_is_refused(thread):
    async def inner():
        thread.run(answer(1))

    with pytest.raises(RuntimeError, match="callback"):
        thread.run(inner())


def test_a_stopped_loop_refuses_work_and_stops_twice(thread):
    thread.stop()
    with pytest.raises(RuntimeError, match="closed"):
        thread.run(answer(1))
    thread.stop()


def test_a_forked_child_is_told_so(thread, monkeypatch):
    monkeypatch.setattr(os, "getpid", lambda: -1)
    with pytest.raises(RuntimeError, match="fork"):
        thread.run(answer(1))
    monkeypatch.undo()


def test_stopping_cancels_what_still_runs(thread):
    seen = []

    async def linger():
        try:
            await asyncio.sleep(3600)
        finally:
            seen.append("cancelled")

    thread.run(call_soon(lambda: seen.append(asyncio.ensure_future(linger()))))
    thread.run(answer(0))
    thread.stop()
    assert seen[1:] == ["cancelled"]
