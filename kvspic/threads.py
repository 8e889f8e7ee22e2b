"""Threads for calls that block, and waits that Ctrl-C ends.

The threads are daemons: botocore and credential lookups share eight, an endpoint has its own. The standard executors
make the end of a loop and of the process wait for their threads; a name server that does not answer would hold
``close(timeout)`` and Ctrl-C for half a minute. A call of this executor is simply left behind.

On Windows a wait hears Ctrl-C only when it ends, so every wait without a limit of its own goes through
:func:`in_pieces`; a tidy test looks for others.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import functools
import math
import os
import queue
import threading
import time
from collections.abc import Callable
from typing import Any, Protocol, TypeVar

__all__ = ["THREAD_COUNT", "DaemonExecutor", "in_pieces", "in_thread", "join", "result_of", "shared_executor"]

THREAD_COUNT = 8
PIECE_S = 0.2  # a Ctrl-C is heard after so long at most

T = TypeVar("T")


class Settled(Protocol):
    """What takes the outcome of a call: a future of ``concurrent.futures``, or what stands for one of a loop."""

    def set_running_or_notify_cancel(self) -> bool: ...
    def set_result(self, result: Any, /) -> None: ...
    def set_exception(self, exception: BaseException, /) -> None: ...


Job = tuple[Settled, Callable[[], Any]]


def in_pieces(wait: Callable[[float], object], timeout_s: float = math.inf) -> bool:
    """Call ``wait(seconds)``, with 0.2 s or less at a time, until it returns something true; False: ``timeout_s``
    seconds have passed before."""
    end_s = time.monotonic() + timeout_s
    while True:
        left_s = end_s - time.monotonic()
        if wait(max(0.0, min(PIECE_S, left_s))):
            return True
        if left_s <= PIECE_S:
            return False


def result_of(future: concurrent.futures.Future[T]) -> T:
    """Wait for a future and return its result, or raise its error. Not for a thread that the future waits for."""

    def ended(seconds: float) -> bool:
        with contextlib.suppress(concurrent.futures.CancelledError, concurrent.futures.TimeoutError):
            future.exception(seconds)
        return future.done()

    in_pieces(ended)
    return future.result()


def join(thread: threading.Thread) -> None:
    """Wait until a thread that was started has ended."""

    def ended(seconds: float) -> bool:
        thread.join(seconds)
        return not thread.is_alive()

    in_pieces(ended)


class DaemonExecutor(concurrent.futures.Executor):
    """Runs calls in at most ``thread_count`` daemon threads, which start when they are needed."""

    def __init__(self, thread_count: int = THREAD_COUNT) -> None:
        self._thread_count = thread_count
        self._jobs: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._threads: list[threading.Thread] = []
        self._idle_count = 0  # threads waiting for a job, less the jobs that wait for them
        self._is_shut = False

    def submit(self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> concurrent.futures.Future[T]:
        future: concurrent.futures.Future[T] = concurrent.futures.Future()
        self.run(future, functools.partial(fn, *args, **kwargs))
        return future

    def run(self, future: Settled, call: Callable[[], Any]) -> None:
        """Let a thread make the call and give the future its outcome."""
        with self._lock:
            if self._is_shut:
                raise RuntimeError("the executor was shut down")
            self._jobs.put((future, call))
            self._idle_count -= 1
            if self._idle_count < 0 and len(self._threads) < self._thread_count:
                self._start_thread()

    def start_threads(self, count: int) -> None:
        """Have at least ``count`` threads from now on: while the process ends, none can be started."""
        with self._lock:
            while not self._is_shut and len(self._threads) < min(count, self._thread_count):
                self._start_thread()

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Let the threads end after the jobs they have; never waits, whatever ``wait`` says."""
        with self._lock:
            if not self._is_shut:
                self._is_shut = True
                for _ in self._threads:
                    self._jobs.put(None)

    def wait_ended(self) -> None:
        """After :meth:`shutdown`, wait until the jobs are done and the threads have ended."""
        for thread in self._threads:
            join(thread)

    def _start_thread(self) -> None:
        """With the lock held. Where no thread can start any more, the job waits for one that there is."""
        thread = threading.Thread(target=self._work, name=f"kvspic-call-{len(self._threads) + 1}", daemon=True)
        try:
            thread.start()
        except RuntimeError:
            if not self._threads:
                raise
        else:
            self._threads.append(thread)
            self._idle_count += 1

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            future, call = job
            tell = _outcome(future, call)
            with self._lock:  # before the answer is out: the next caller then finds this thread idle
                self._idle_count += 1
            tell()
            del job, future, call, tell  # an idle thread keeps no answer alive


class _LoopFuture:
    """A future of a loop that a thread gives its outcome: what ``wrap_future`` does, at a third of its cost."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self.future: asyncio.Future[Any] = loop.create_future()

    def set_running_or_notify_cancel(self) -> bool:
        return not self.future.cancelled()

    def set_result(self, result: Any, /) -> None:
        self._settle(self.future.set_result, result)

    def set_exception(self, exception: BaseException, /) -> None:
        self._settle(self.future.set_exception, exception)

    def _settle(self, settle: Callable[[Any], None], outcome: Any) -> None:
        def act() -> None:
            if not self.future.done():
                settle(outcome)

        with contextlib.suppress(RuntimeError):  # the loop is closed, so nothing waits any more
            self._loop.call_soon_threadsafe(act)


def _outcome(future: Settled, call: Callable[[], Any]) -> Callable[[], None]:
    if not future.set_running_or_notify_cancel():
        return lambda: None
    try:
        answer = call()
    except BaseException as error:
        return functools.partial(future.set_exception, error)
    return functools.partial(future.set_result, answer)


@functools.lru_cache(maxsize=2)
def _executor_of(process_id: int) -> DaemonExecutor:
    return DaemonExecutor()


def shared_executor() -> DaemonExecutor:
    """The executor of this process; a forked child gets its own, because threads do not survive a fork."""
    return _executor_of(os.getpid())


async def in_thread(call: Callable[[], T], executor: concurrent.futures.Executor | None = None) -> T:
    """Run ``call`` off the loop. A cancelled wait leaves the call running and drops its answer."""
    loop, executor = asyncio.get_running_loop(), executor or shared_executor()
    if not isinstance(executor, DaemonExecutor):
        return await loop.run_in_executor(executor, call)
    answer = _LoopFuture(loop)
    executor.run(answer, call)
    found: T = await answer.future
    return found
