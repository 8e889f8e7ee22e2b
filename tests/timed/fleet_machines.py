"""A fleet as real processes on this machine: servers, workers and what lies between them, each to be killed, frozen or
cut off by a test."""

import asyncio
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path

__all__ = ["Cut", "Machine", "call", "check_logs", "free_port", "until", "wait_up", "worker"]

WORKER = """
import json, logging, pathlib, sys
from kvspic.fleet.worker import WorkerSettings, run_worker
words = json.loads(sys.argv[1])
logging.basicConfig(level=logging.INFO)
settings = WorkerSettings(
    token=words["token"],
    endpoint_url=words["endpoint"],
    state=pathlib.Path(words["state"]),
    spool=pathlib.Path(words["spool"]),
)
carry = None
if words["ledgers"]:
    sys.path.insert(0, words["tests"])
    from timed.fleet_counted import CountedCamera
    carry = lambda job: CountedCamera(pathlib.Path(words["ledgers"]) / job.name)
sys.exit(run_worker(words["urls"], slots=words["slots"], name=words["name"], settings=settings, carry=carry))
"""


KEYS = {"AWS_REGION": "us-east-1", "AWS_ACCESS_KEY_ID": "any", "AWS_SECRET_ACCESS_KEY": "any"}  # beyond loopback


def free_port():
    """A port of loopback that is free now."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


def call(url, method="GET", body=None, timeout_s=5.0, token=None):
    """One call of REST; the answer's JSON. OSError where there is none."""
    data = None if body is None else json.dumps(body).encode()
    headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {token}"} if token else {})
    request = urllib.request.Request(url, data, headers, method=method)
    with urllib.request.urlopen(request, timeout=timeout_s) as response:
        text = response.read()
    return json.loads(text) if text else None


def until(is_true, what, timeout_s=30.0, pause_s=0.1):
    """Look until something is so; what a server that is away does not answer is not so."""
    end = time.monotonic() + timeout_s
    while time.monotonic() < end:
        with contextlib.suppress(OSError, urllib.error.HTTPError):
            found = is_true()
            if found:
                return found
        time.sleep(pause_s)
    raise AssertionError(f"not within {timeout_s:g} s: {what}")


def wait_up(url):
    """Wait until a server answers."""
    until(lambda: call(f"{url}/readyz") is not None, f"{url} answers")


def check_logs(store):
    """Let ``kvspic fleet check`` prove that each job's log leads to its status; a server may have the store open."""
    url = store if "://" in str(store) else f"sqlite:///{store}"
    command = [sys.executable, "-m", "kvspic", "fleet", "check", "--store", url, "--json"]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    found = json.loads(ran.stdout)
    assert found["jobs"] > 0
    assert found["faults"] == []


class Machine:
    """A process that is started, killed, frozen and started again. ``log`` is a file that all its lives write to."""

    def __init__(self, command, log, prefix=(), environ=None):
        self._environ = environ or {}
        self._command, self._log, self._prefix = [str(word) for word in command], log, [str(word) for word in prefix]
        self._process = None

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.kill()

    @property
    def pid(self):
        return self._process.pid

    @property
    def is_up(self):
        return self._process is not None and self._process.poll() is None

    def start(self):
        """Start it, if it does not run."""
        if not self.is_up:
            with open(self._log, "ab") as log:
                environ = {**os.environ, "PYTHONUNBUFFERED": "1", **self._environ}
                self._process = subprocess.Popen(
                    [*self._prefix, *self._command], stdout=log, stderr=log, stdin=subprocess.DEVNULL, env=environ
                )

    def kill(self):
        """SIGKILL; no life is left in it when this returns."""
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()
            self._process.wait()
            self._process = None

    def end(self, timeout_s=40):
        """SIGTERM; returns the exit code."""
        self._process.send_signal(signal.SIGTERM)
        code = self._process.wait(timeout_s)
        self._process = None
        return code

    def freeze(self):
        if self.is_up:
            self._process.send_signal(signal.SIGSTOP)

    def thaw(self):
        if self.is_up:
            self._process.send_signal(signal.SIGCONT)


def worker(urls, folder, name, prefix=(), **words):
    """A worker as a machine; ``folder`` has its spool and its log.

    ``words``: ``endpoint``, ``slots`` (10), ``token``, and ``ledgers``: a folder, which makes its cameras counted ones.
    """
    plain = {"ledgers": "", "slots": 10, "token": None, "urls": list(urls), "name": name}
    places = {"state": folder / name, "spool": folder / name / "spool", "tests": Path(__file__).parent.parent}
    text = json.dumps({**plain, **places, **words}, default=str)
    return Machine([sys.executable, "-c", WORKER, text], folder / f"{name}.log", prefix, KEYS)


class Cut:
    """A wire between a client and a server that can be cut: connections stay open, and nothing gets through.

    ``target``: the server's port on loopback, or the path of its Unix socket.
    """

    def __init__(self, target):
        self._target = target
        self._is_cut = False
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self.port = 0

    def __enter__(self):
        self._thread.start()
        self._run(self._start())
        return self

    def __exit__(self, *_):
        self._run(self._stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}"

    def cut(self):
        """From now on nothing gets through."""
        self._is_cut = True

    def mend(self):
        """What was held back gets through now."""
        self._is_cut = False
        self._loop.call_soon_threadsafe(self._mended.set)

    def _run(self, work):
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    async def _start(self):
        self._mended = asyncio.Event()
        self._tasks = set()
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def _stop(self):
        self._server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader, writer):
        task = asyncio.current_task()
        self._tasks.add(task)
        ends = [writer]
        with contextlib.suppress(OSError, asyncio.CancelledError):
            await self._wait()
            if isinstance(self._target, Path):
                far_reader, far_writer = await asyncio.open_unix_connection(self._target)
            else:
                far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._target)
            ends.append(far_writer)
            await asyncio.gather(self._pump(reader, far_writer), self._pump(far_reader, writer))
        for end in ends:
            end.transport.abort()
        self._tasks.discard(task)

    async def _pump(self, reader, writer):
        while data := await reader.read(65536):
            await self._wait()
            writer.write(data)
            await writer.drain()
        writer.transport.abort()

    async def _wait(self):
        while self._is_cut:
            self._mended.clear()
            await self._mended.wait()
