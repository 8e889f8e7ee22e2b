"""A local endpoint for a bench, in a process of its own: ``LocalTarget`` starts it, ``main`` is what runs there.

It has no quotas and no waits, keeps what it gets in a temporary directory, says its URL in one JSON line, and ends with
its input.
"""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
import threading
from typing import Any

from kvspic.bench.children import Child, say
from kvspic.bench.workload import WorkloadError

__all__ = ["LocalTarget", "main"]

START_S, END_S = 30.0, 10.0


class LocalTarget:
    """A local endpoint that lives as long as this object is not ended."""

    def __init__(self) -> None:
        self._url = self._error = ""
        self._is_heard = threading.Event()
        self._is_ending = self._is_gone = False
        self._child = Child("kvspic.bench.target", self._hear)

    @property
    def process_id(self) -> int:
        """Of its process."""
        return self._child.process_id

    @property
    def error(self) -> str:
        """Why nothing can be uploaded to it any more; empty while it serves."""
        if not self._is_gone or self._is_ending:
            return ""
        text = self._error or self._child.last_words or "it said nothing"
        return f"The local endpoint ended unexpectedly ({text}): see that the machine has memory and disk for it."

    def url(self) -> str:
        """Return its URL; waits until it listens.

        Raises:
            WorkloadError: it does not start.
        """
        self._is_heard.wait(START_S)
        if not self._url:
            text = self._error or self._child.last_words or "it said nothing"
            raise WorkloadError(f"The local endpoint does not start: {text}.")
        return self._url

    def end(self) -> None:
        """End it, its data with it."""
        self._is_ending = True
        self._child.end(END_S)

    def _hear(self, line: dict[str, Any] | None) -> None:
        if line is None:
            self._is_gone = True
        else:
            self._url, self._error = line.get("url", self._url), line.get("text", self._error)
        self._is_heard.set()


async def _serve(folder: str) -> None:
    from kvspic.local.gate import allow_descriptors
    from kvspic.local.server import LocalEndpoint
    from kvspic.local.settings import Settings

    allow_descriptors()
    async with LocalEndpoint(folder, settings=Settings.unlimited()) as endpoint:
        say(say="url", url=endpoint.url)
        await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)


def main() -> None:
    """Serve until standard input ends."""
    try:
        with tempfile.TemporaryDirectory(prefix="kvspic-bench-target-") as folder:
            asyncio.run(_serve(folder))
    except Exception as error:  # the parent says it
        say(say="error", text=f"{type(error).__name__}: {error}")
    sys.stdout.flush()
    os._exit(0)


if __name__ == "__main__":
    main()
