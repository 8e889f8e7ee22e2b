"""Threads for calls that block: botocore, credential lookups. Eight, shared by the process, and daemons.

The standard executors make the end of a loop and of the process wait for their threads; a name server that does not
answer would hold ``close(timeout)`` and Ctrl-C for half a minute. A call of this executor is simply left behind.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import functools
import os
import queue
import threading
from collections.abc import Callable
from typing import Any, TypeVar

__all__ = ["THREAD_COUNT", "DaemonExecutor", "in_thread", "shared_executor"]

THREAD_COUNT = 8

T = TypeVar("T")
Job = tuple["concurrent.futures.Future[Any]", Callable[[], Any]]


class DaemonExecutor(concurrent.futures.Executor):
    """Runs calls in at most ``thread_count`` daemon threads, which start when they are needed."""

    def __init__(self, thread_count: int = THREAD_COUNT) -> None:
        self._thread_count = thread_count
        self._jobs: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._started_count = 0
        self._idle_count = 0  # threads waiting for a job, less the jobs that wait for them
        self._is_shut = False

    def submit(self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> concurrent.futures.Future[T]:
        future: concurrent.futures.Future[T] = concurrent.futures.Future()
        with self._lock:
            if self._is_shut:
                raise RuntimeError("the executor was shut down")
            self._jobs.put((future, functools.partial(fn, *args, **kwargs)))
            self._idle_count -= 1
            if self._idle_count < 0 and self._started_count < self._thread_count:
                self._started_count += 1
                self._idle_count += 1
                threading.Thread(target=self._work, name=f"kvspic-call-{self._started_count}", daemon=True).start()
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Let the threads end after the jobs they have; never waits, whatever ``wait`` says."""
        with self._lock:
            if not self._is_shut:
                self._is_shut = True
                for _ in range(self._started_count):
                    self._jobs.put(None)

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            future, call = job
            tell = _outcome(future, call)
            with self._lock:  # before the answer is told: who asks next then finds this thread idle
                self._idle_count += 1
            tell()
            del job, future, call, tell  # an idle thread keeps no answer alive


def _outcome(future: concurrent.futures.Future[Any], call: Callable[[], Any]) -> Callable[[], None]:
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
    return await asyncio.get_running_loop().run_in_executor(executor or shared_executor(), call)
