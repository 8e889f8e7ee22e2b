"""Processes that a load starts: JSON lines both ways, an end when the parent is gone, and no fork of a running gRPC.

A child reads its orders on standard input and ends when that is closed, so that none outlives an agent that was killed.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import threading
from collections.abc import Callable
from typing import Any

__all__ = ["Child", "say"]

_LINES_KEPT = 20  # of standard error


class Child:
    """A Python process that runs a module of ours.

    ``on_line`` gets each JSON object that it prints, on a thread of this object; None when it has ended.
    """

    def __init__(self, module: str, on_line: Callable[[dict[str, Any] | None], None]) -> None:
        self._on_line = on_line
        self._last_words: list[str] = []
        self._process = subprocess.Popen(
            [sys.executable, "-m", module],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True,
        )  # fmt: skip
        assert self._process.stdin is not None
        self._input = self._process.stdin
        self._lock = threading.Lock()
        self._readers = [
            threading.Thread(target=target, name="kvspic-bench-child", daemon=True)
            for target in (self._read_errors, self._read_lines)
        ]
        for reader in self._readers:
            reader.start()

    @property
    def process_id(self) -> int:
        """Of the operating system."""
        return self._process.pid

    @property
    def last_words(self) -> str:
        """The end of what it wrote to standard error."""
        return " ".join(self._last_words[-3:])

    def send(self, **order: Any) -> None:
        """Send an order; nothing happens when the child has ended."""
        data = json.dumps(order).encode() + b"\n"
        # Where the child has ended, a line of None says so.
        with self._lock, contextlib.suppress(OSError):
            if not self._input.closed:
                self._input.write(data)
                self._input.flush()

    def end(self, limit_s: float) -> int | None:
        """Close its input and wait; kill it after ``limit_s``. Return its exit status."""
        self._close()
        try:
            self._process.wait(limit_s)
        except subprocess.TimeoutExpired:
            self._process.kill()
        self._reap()
        return self._process.returncode

    def kill(self) -> None:
        """End it at once."""
        self._process.kill()
        self._close()
        self._reap()

    def _close(self) -> None:
        with self._lock, contextlib.suppress(OSError):
            self._input.close()

    def _reap(self) -> None:
        self._process.wait(10)
        for reader in self._readers:
            if reader is not threading.current_thread():
                reader.join(5)

    def _read_lines(self) -> None:
        stdout = self._process.stdout
        assert stdout is not None
        with stdout:
            for line in stdout:
                try:
                    value = json.loads(line)
                except ValueError:
                    value = {"say": "error", "text": f"an unreadable line: {line[:200]!r}"}
                self._on_line(value)
        self._readers[0].join(5)  # its last words are complete
        self._on_line(None)

    def _read_errors(self) -> None:
        stderr = self._process.stderr
        assert stderr is not None
        with stderr:
            for line in stderr:
                self._last_words = [*self._last_words, line.decode(errors="replace").strip()][-_LINES_KEPT:]


def say(**line: Any) -> None:
    """Print one line to the parent, from the child's side; a parent that is gone is noticed by the input's end."""
    with contextlib.suppress(OSError):
        sys.stdout.write(json.dumps(line) + "\n")
        sys.stdout.flush()
