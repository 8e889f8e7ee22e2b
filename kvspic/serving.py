"""What our servers share: a socket that listens, and a thread that a server runs in."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import sys
import threading
from collections.abc import Iterator
from typing import Protocol

from kvspic.threads import join, result_of

__all__ = ["open_listener", "running_in_thread"]

BACKLOG = 512  # connections that wait to be accepted


class Server(Protocol):
    """What can be started and stopped in a loop."""

    async def start(self) -> None:
        """Begin to serve; a server that could not has closed what it opened."""

    async def stop(self) -> None:
        """End."""


def open_listener(host: str, port: int) -> socket.socket:
    """Return a TCP socket that listens on an address of this machine; port 0 takes a free one.

    Raises:
        OSError: the address cannot be had; ``errno`` is EADDRINUSE where another program has it.
        OverflowError: the port is above 65,535.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        if sys.platform != "win32":  # there it would let two programs share the port
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(BACKLOG)
    except (OSError, OverflowError):
        listener.close()
        raise
    return listener


@contextlib.contextmanager
def running_in_thread(server: Server, name: str) -> Iterator[None]:
    """Start a server in a loop of its own in a background thread, and stop it at the end of the ``with``."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name=name, daemon=True)
    thread.start()
    try:
        result_of(asyncio.run_coroutine_threadsafe(server.start(), loop))
        try:
            yield
        finally:
            if not sys.is_finalizing():  # else the thread is gone, and no answer would come
                result_of(asyncio.run_coroutine_threadsafe(server.stop(), loop))
    finally:
        if not sys.is_finalizing():
            result_of(asyncio.run_coroutine_threadsafe(_end_tasks(), loop))
            loop.call_soon_threadsafe(loop.stop)
            join(thread)
            loop.close()


async def _end_tasks() -> None:
    """Leave nothing pending in a loop that is about to be closed."""
    loop = asyncio.get_running_loop()
    tasks = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    await loop.shutdown_asyncgens()
    await loop.shutdown_default_executor()
