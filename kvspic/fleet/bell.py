"""Waiting for news with a time limit. Not asyncio.wait_for: before Python 3.12 it may swallow a cancellation."""

from __future__ import annotations

import asyncio

__all__ = ["Bell"]


class Bell:
    """One task waits, anybody on the loop rings. A ring before the wait ends the next one at once."""

    def __init__(self) -> None:
        self._is_rung = False
        self._waiting: asyncio.Future[None] | None = None

    def ring(self) -> None:
        """End the wait that there is, or the next one."""
        self._is_rung = True
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(None)

    async def wait(self, timeout_s: float | None) -> None:
        """Return at a ring since the last wait, or after ``timeout_s``."""
        if not self._is_rung:
            loop = asyncio.get_running_loop()
            waiting = self._waiting = loop.create_future()
            timer = None if timeout_s is None else loop.call_later(max(0.0, timeout_s), _settle, waiting)
            try:
                await waiting
            finally:
                self._waiting = None
                if timer is not None:
                    timer.cancel()
        self._is_rung = False


def _settle(waiting: asyncio.Future[None]) -> None:
    if not waiting.done():
        waiting.set_result(None)
