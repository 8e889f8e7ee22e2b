"""Ctrl-C as one interrupt, however many processes pass the signal on.

A terminal sends SIGINT to the whole group, and a parent often sends it again; the second one would hit the orderly end
that the first one began. Signals that follow at once are therefore the same interrupt; a later one is another.
"""

from __future__ import annotations

import contextlib
import signal
import threading
import time
from collections.abc import Iterator
from types import FrameType

__all__ = ["one_interrupt_at_a_time"]

SAME_S = 0.5


@contextlib.contextmanager
def one_interrupt_at_a_time() -> Iterator[None]:
    """Raise KeyboardInterrupt once for signals that come together, for the length of a ``with``."""
    is_main = threading.current_thread() is threading.main_thread()
    if not is_main or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield  # somebody else decides about the signal
        return
    last_s = -SAME_S

    def interrupt(number: int, frame: FrameType | None) -> None:
        nonlocal last_s
        before_s, last_s = last_s, time.monotonic()
        if last_s - before_s >= SAME_S:
            raise KeyboardInterrupt

    signal.signal(signal.SIGINT, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
