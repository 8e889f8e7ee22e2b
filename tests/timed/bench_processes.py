"""``kvspic bench`` as processes, for the tests of what befalls them."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

LISTENS = "kvspic bench agent listens on "
PLAN = {"name": "proof", "duration_s": 2, "warmup_s": 0, "drain_s": 10, "streams_per_agent": 1, "fps": 10, "kbps": 200}


def command(*words):
    return [sys.executable, "-m", "kvspic", "bench", *words]


class Agent:
    """An agent that listens on a free port of loopback."""

    def __init__(self, *words, prefix=(), listen="127.0.0.1:0"):
        self.process = subprocess.Popen(
            [*prefix, *command("agent", "--listen", listen, *words)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True,
        )  # fmt: skip
        line = self.process.stdout.readline().strip()
        assert line.startswith(LISTENS), line
        self.address = line.removeprefix(LISTENS)

    def signal(self, number):
        self.process.send_signal(number)

    def end(self):
        """Kill it and what it started."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        self.process.stdin.close()
        self.process.stdout.close()


class Run:
    """A controller; its output is read while it goes."""

    def __init__(self, folder: Path, *words, prefix=(), **plan):
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "plan.yaml").write_text(json.dumps({**PLAN, **plan}))
        self.out = folder / "out"
        self.process = subprocess.Popen(
            [*prefix, *command("run", str(folder / "plan.yaml"), "--out", str(self.out), *words)],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            start_new_session=True,
        )  # fmt: skip
        self.lines = []
        self._more = threading.Condition()
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self):
        for line in self.process.stdout:
            with self._more:
                self.lines.append(line.rstrip())
                self._more.notify_all()

    def wait_for(self, words, limit_s=60, count=1):
        """Wait until so many lines have had ``words``."""
        with self._more:
            found = self._more.wait_for(lambda: sum(words in line for line in self.lines) >= count, limit_s)
        assert found, "\n".join(self.lines)

    def end(self, limit_s=60):
        """Wait for its end; return the exit code and what it said."""
        code = self.process.wait(limit_s)
        self._reader.join()
        self.process.stdout.close()
        return code, "\n".join(self.lines)

    @property
    def result(self):
        return json.loads((self.out / "result.json").read_text())


def children_of(pid):
    """Process ids of the agents that a controller started."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            fields = stat.read_text().rpartition(")")[2].split()
            if int(fields[1]) == pid:
                found.append(int(stat.parent.name))
    return found


def is_alive(pid):
    try:
        return (Path("/proc") / str(pid) / "stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def wait_until(condition, limit_s):
    end_s = time.monotonic() + limit_s
    while not condition() and time.monotonic() < end_s:
        time.sleep(0.05)
    assert condition()
