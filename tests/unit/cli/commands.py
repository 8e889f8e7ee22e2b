"""Runs commands inside the test's process, or as processes of their own where that is the point."""

import contextlib
import json
import os
import subprocess
import sys
from dataclasses import dataclass

import pytest

from kvspic import cli

KEYS = [
    "frames_put", "frames_persisted", "frames_dropped", "frames_buffered", "fragments_persisted", "bytes_sent",
    "put_ns_p50", "put_ns_p99", "ack_persisted_ms_p50", "ack_persisted_ms_p99", "seconds", "state",
]  # fmt: skip


@dataclass(frozen=True)
class Ran:
    """What a command ended with."""

    code: int
    out: str
    err: str

    @property
    def json(self):
        """The one object that the command printed."""
        return json.loads(self.out)


@dataclass(frozen=True)
class Runner:
    """Runs commands and keeps what they print."""

    capture: pytest.CaptureFixture

    def __call__(self, *words):
        self.capture.readouterr()
        code = cli.run([str(word) for word in words])
        out, err = self.capture.readouterr()
        return Ran(code, out, err)


def start(*words, text=True, **variables):
    """Start ``python -m kvspic`` with pipes."""
    command = [sys.executable, "-m", "kvspic", *map(str, words)]
    env = {**os.environ, **variables}
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=text, env=env)


@contextlib.contextmanager
def started(*words, text=True, **variables):
    """The same for the length of a ``with``: a test that fails leaves no process behind."""
    with start(*words, text=text, **variables) as process:
        try:
            yield process
        finally:
            process.kill()
