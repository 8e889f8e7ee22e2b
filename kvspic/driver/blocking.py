"""An event loop in one background daemon thread, for programs that do not run one.

Everything blocking goes through :meth:`LoopThread.run`, which waits for a coroutine on that loop. Threads do not
survive a fork: in a forked child :attr:`LoopThread.is_forked` is true and nothing can be run.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import os
import threading
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from kvspic.threads import join, result_of

__all__ = ["LoopThread", "call_soon"]

T = TypeVar("T")


class LoopThread:
    """Starts at once; :meth:`stop` ends it."""

    def __init__(self, name: str = "kvspic") -> None:
        self._process_id = os.getpid()
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    @property
    def is_forked(self) -> bool:
        """Whether this process is a child that was forked after the thread was started."""
        return os.getpid() != self._process_id

    @property
    def is_current(self) -> bool:
        """Whether the caller runs on the loop's own thread, where waiting for the loop would wait for ever."""
        return threading.current_thread() is self._thread

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run ``work`` on the loop and wait for its result; ``work`` must have its own time limit.

        An interrupt (Ctrl-C) cancels the work and is raised.

        Raises:
            RuntimeError: called from the loop's own thread, in a forked child, or after :meth:`stop`.
        """
        problem = self._problem()
        if problem:
            work.close()
            raise RuntimeError(problem)
        future = asyncio.run_coroutine_threadsafe(work, self.loop)
        try:
            return result_of(future)
        except concurrent.futures.CancelledError:
            raise RuntimeError("the producer was closed meanwhile") from None
        except BaseException:
            future.cancel()
            raise

    def stop(self) -> None:
        """End the loop and its thread; waits for what runs in it to be cancelled. Twice is harmless."""
        if self.is_forked or self.loop.is_closed():
            return
        self.loop.call_soon_threadsafe(self.loop.stop)
        if not self.is_current:
            join(self._thread)

    def _problem(self) -> str:
        if self.is_forked:
            return "threads do not survive a fork: make the producer in the process that uses it"
        if self.is_current:
            return "a blocking call was made from a callback of kvspic's own thread: call it from another thread"
        return "the producer is closed" if self.loop.is_closed() or not self._thread.is_alive() else ""

    def _run(self) -> None:
        asyncio.set_event_loop(self.loop)
        try:
            self.loop.run_forever()
            self._cancel_all()
        finally:
            asyncio.set_event_loop(None)
            self.loop.close()

    def _cancel_all(self) -> None:
        tasks = asyncio.all_tasks(self.loop)
        for task in tasks:
            task.cancel()
        if tasks:
            self.loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))


async def call_soon(function: Callable[[], T]) -> T:
    """Make a coroutine of a plain call, for :meth:`LoopThread.run`."""
    return function()
