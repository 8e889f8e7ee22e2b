"""The driver on asyncio: turns on one event loop, whenever the core wakes it or a deadline has come.

The core wakes the loop by a byte on a socket, from whatever thread changed it; the turn is taken in the loop's own
callback, where it has ``add_reader``, else in a task that awaits ``sock_recv``. All tasks are kept by strong
references. An unexpected exception ends the driver and is passed to ``on_fault``; the producer then raises it from
``open_stream``, and every stream fails with it.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import socket
import time
from collections.abc import Callable, Coroutine
from typing import Any

from kvspic._lib import ffi
from kvspic.core import TIME_NONE, clock_now_hns, host_now_hns
from kvspic.driver.turn import Turn
from kvspic.units import HNS_PER_S

__all__ = ["WAKE_SIZE", "AioDriver", "Clock", "wake_socket"]

logger = logging.getLogger("kvspic.driver")

WAKE_SIZE = 4096  # any number of wake-up bytes is one turn


class Clock:
    """The core's time: the wall clock when the object is made, plus the monotonic time since. It never goes back."""

    def __init__(self) -> None:
        self._offset = ffi.new("int64_t *", time.time_ns() // 100 - host_now_hns())
        # Ticks of 100 ns since 1970. Several times for each frame, so it is C without a Python function around it.
        self.now_hns: Callable[[], int] = functools.partial(clock_now_hns, self._offset)

    @property
    def offset_hns(self) -> int:
        """By how much it is ahead of :func:`host_now_hns`."""
        return int(self._offset[0])

    @offset_hns.setter
    def offset_hns(self, offset_hns: int) -> None:
        self._offset[0] = offset_hns


class AioDriver:
    """Runs turns from :meth:`start` to :meth:`close`, both on the loop's thread.

    Args:
        turn: the turn to take. wake_fd: the reading end of the core's wake-up socket; it stays the core's.
        on_fault: called once with an exception that ended the driver.
    """

    def __init__(self, turn: Turn, wake_fd: int, clock: Clock, on_fault: Callable[[BaseException], None]) -> None:
        self._turn = turn
        self._clock = clock
        self._on_fault = on_fault
        self._wake = wake_socket(wake_fd)
        self._tasks: set[asyncio.Task[Any]] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._timer_hns = 0  # when it fires
        self._loop: asyncio.AbstractEventLoop | None = None
        self._is_closed = False
        self._is_turning = False
        self.turn_count = 0

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        """The loop that the driver was started on."""
        if self._loop is None:
            raise RuntimeError("the driver has not been started")
        return self._loop

    @property
    def running_loop(self) -> asyncio.AbstractEventLoop | None:
        """The same while it runs; None before the start and when the loop has ended."""
        return self._loop if self._loop is not None and self._loop.is_running() else None

    def start(self) -> None:
        """Take the first turn and go on; call it on the loop's thread."""
        self._loop = asyncio.get_running_loop()
        try:
            self._loop.add_reader(self._wake, self.woken)
        except NotImplementedError:  # the Proactor loop of Windows
            self.spawn(self._listen(), "kvspic-driver")
        self.take_turn()

    def spawn(self, work: Coroutine[Any, Any, Any], name: str) -> asyncio.Task[Any]:
        """Run ``work`` beside the turns; an exception of it ends the driver."""
        task = self.loop.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._task_done)
        return task

    def take_turn(self) -> None:
        """Take a turn now, for all that there is, unless one is being taken (which will see what has changed)."""
        self._turn.hasten()
        self._take_turn()

    def _take_turn(self) -> None:
        if self._is_closed or self._is_turning:
            return
        self._is_turning = True
        try:
            deadline = self._turn.take(self._clock.now_hns())
        except Exception as error:
            self._fault(error)
        else:
            self.turn_count += 1
            if self._timer is None or deadline < self._timer_hns or deadline == TIME_NONE:
                self._arm(deadline)
        finally:
            self._is_turning = False

    async def close(self) -> None:
        """End all tasks and take no more turns. Twice is harmless."""
        self._is_closed = True
        self._disarm()
        self._stop_listening()
        current = asyncio.current_task()
        tasks = [task for task in self._tasks if task is not current]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._wake.close()

    async def _listen(self) -> None:
        while await self.loop.sock_recv(self._wake, WAKE_SIZE):
            self._take_turn()

    def woken(self) -> None:
        """Take a turn if the core has asked for one. Code that changes the core on the loop's thread may call it,
        which saves a round of the loop."""
        if self._is_turning:
            return  # the byte is for the turn after this one
        try:
            is_open = bool(self._wake.recv(WAKE_SIZE))
        except (BlockingIOError, InterruptedError):
            return
        if is_open:
            self._take_turn()
        else:
            self._stop_listening()

    def _stop_listening(self) -> None:
        if self._loop is not None and self._wake.fileno() >= 0:
            with contextlib.suppress(NotImplementedError):
                self._loop.remove_reader(self._wake)

    def _arm(self, deadline_hns: int) -> None:
        """Have a timer that fires by the deadline. One that fires earlier may stay: deadlines of a stream move with
        each frame, and a turn too early costs less than a timer for each frame."""
        if deadline_hns == TIME_NONE:
            self._disarm()
        elif self._timer is None or deadline_hns < self._timer_hns:
            self._disarm()
            delay_s = max(0.0, (deadline_hns - self._clock.now_hns()) / HNS_PER_S)
            self._timer = self.loop.call_later(delay_s, self._on_deadline)
            self._timer_hns = deadline_hns

    def _on_deadline(self) -> None:
        self._timer = None
        self._take_turn()

    def _disarm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _task_done(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        error = None if task.cancelled() else task.exception()
        if error is not None:
            self._fault(error)

    def _fault(self, error: BaseException) -> None:
        if self._is_closed:
            logger.error("after the driver was closed: %r", error, exc_info=error)
            return
        self._is_closed = True
        self._disarm()
        logger.error("the driver stopped: %r", error, exc_info=error)
        self._on_fault(error)


def wake_socket(wake_fd: int) -> socket.socket:
    """Return a non-blocking socket of our own at the core's wake-up: the core closes its end when it is freed."""
    borrowed = socket.socket(fileno=wake_fd)
    try:
        wake = borrowed.dup()
    finally:
        borrowed.detach()
    wake.setblocking(False)
    return wake
