"""The engine ``command``: any producer, one child process a stream, measured from outside.

The plan's ``command`` is a command line in which {stream}, {endpoint} and {file} stand for the stream's name, the
endpoint's URL and a file with the prepared pictures. It runs without a shell. What is measured is what every producer
shows: its processor time and memory, and the frames, fragments and bytes that arrive at a local endpoint, asked for by
the endpoint's own page. How late a frame was put cannot be seen from outside.
"""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import signal
import subprocess
import tempfile
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kvspic.bench.children import Child
from kvspic.bench.pictures import make_pictures
from kvspic.bench.plan import Plan
from kvspic.bench.probe import Cost, Probe
from kvspic.bench.service import created_streams, delete_streams, stream_names
from kvspic.bench.target import LocalTarget
from kvspic.bench.workload import Assignment, Snapshot, WorkloadError
from kvspic.threads import join

__all__ = ["Arrived", "CommandLoad", "arguments_of", "arrived_at"]

TICK_S = 1.0
REST_S = 5.0  # from SIGTERM to SIGKILL


@dataclass
class Arrived:
    """What reached a local endpoint."""

    frames: int = 0
    fragments: int = 0
    bytes: int = 0

    def less(self, other: Arrived) -> Arrived:
        """Return what arrived since ``other``."""
        return Arrived(self.frames - other.frames, self.fragments - other.fragments, self.bytes - other.bytes)


def arguments_of(command: str, stream: str, endpoint: str, file: Path) -> list[str]:
    """Return the words of a command with the names in braces replaced; a value is never split into words."""
    words = {"{stream}": stream, "{endpoint}": endpoint, "{file}": str(file)}
    arguments = shlex.split(command)
    for name, value in words.items():
        arguments = [argument.replace(name, value) for argument in arguments]
    return arguments


def arrived_at(url: str, names: list[str]) -> Arrived:
    """Ask a local endpoint what it has of some streams; a stream that is not there yet has nothing."""
    total = Arrived()
    for name in names:
        query = urllib.parse.urlencode({"name": name})
        try:
            with urllib.request.urlopen(f"{url}/page/stream?{query}", timeout=10) as answer:
                found = json.load(answer)
        except urllib.error.HTTPError as error:
            error.close()
            continue
        for session in found["ledger"]:
            total.frames += session["frames"]
            total.fragments += session["persisted"]
            total.bytes += session["bytes"]
    return total


class CommandLoad:
    """One child a stream; see :class:`kvspic.bench.workload.Workload` for what each method promises.

    The endpoint must be a local one: nothing else tells what arrived.
    """

    def __init__(self, plan: Plan, assignment: Assignment) -> None:
        self._plan = plan
        self._names = stream_names(assignment.prefix, plan.slice(assignment.index, assignment.agents))
        self._folder = tempfile.TemporaryDirectory(prefix="kvspic-bench-")
        self._children: list[subprocess.Popen[bytes]] = []
        self._leash: Child | None = None  # ends the commands when this process is killed
        self._target: LocalTarget | None = None
        self._url = plan.endpoint
        self._created: list[str] = []
        self._file = Path(self._folder.name) / "pictures.mkv"
        self._cost = Cost()
        self._costs: list[Cost] = []
        self._base, self._now = Arrived(), Arrived()
        self._from_ns = self._begun_ns = self._end_ns = self._warmed_ns = 0
        self._error = ""
        self._is_over = threading.Event()
        self._ticker = threading.Thread(target=self._tick, name="kvspic-bench-figures", daemon=True)

    def prepare(self) -> None:
        """Make the file of pictures and start the endpoint; the commands make their streams themselves."""
        plan = self._plan
        try:
            write_media(plan, self._file)
            if plan.endpoint == "local":
                self._target = LocalTarget()
                self._url = self._target.url()
            elif not plan.keep_streams:
                self._created = created_streams(self._url, plan.region, self._names)
        except OSError as error:
            raise WorkloadError(f"The load cannot be prepared: {error}") from error

    def warm_up(self) -> None:
        """Start the commands."""
        self._warmed_ns = time.monotonic_ns()
        more = {"AWS_ACCESS_KEY_ID": "none", "AWS_SECRET_ACCESS_KEY": "none", "AWS_DEFAULT_REGION": "us-east-1"}
        environment = {**more, **os.environ}
        self._leash = Child("kvspic.bench.leash", lambda line: None)
        for name in self._names:
            words = arguments_of(self._plan.command, name, self._url, self._file)
            log = Path(self._folder.name) / f"{name}.log"
            try:
                with log.open("wb") as file:
                    child = subprocess.Popen(
                        words, stdin=subprocess.DEVNULL, stdout=file, stderr=file, env=environment,
                        start_new_session=True,
                    )  # fmt: skip
            except OSError as error:
                self._error = f"The command cannot be started ({error}): {words[0]}."
                break
            self._children.append(child)
            self._leash.send(group=child.pid)
        self._ticker.start()

    def begin(self, at_ns: int) -> None:
        """Count what arrives from ``at_ns`` on."""
        self._from_ns = at_ns

    def snapshot(self, *, full: bool = False) -> Snapshot:
        """Return the newest figures; there are no histograms."""
        arrived = self._arrived()
        return Snapshot(
            created=len(self._children),
            total=len(self._names),
            put_ops=arrived.frames,
            put_bytes=arrived.bytes,
            cpu_user_percent=self._cost.user_percent,
            cpu_system_percent=self._cost.system_percent,
            rss_bytes=self._cost.rss_bytes,
            begun_ns=self._begun_ns,
            error=self._broken(),
        )

    def stop(self, limit_s: float) -> None:
        """Ask the commands to end (SIGTERM), kill what does not, and count once more."""
        self._end_ns = time.monotonic_ns()
        self._is_over.set()
        if self._ticker.ident is not None:
            join(self._ticker)
        self._end_children(limit_s)
        self._look()
        self._finish()
        if not self._plan.keep_streams and self._target is None:
            delete_streams(self._url, self._plan.region, self._created)

    def kill(self) -> None:
        """End everything at once."""
        self._is_over.set()
        for child in self._children:
            _signal(child, signal.SIGKILL)
        self._finish()

    def summary(self) -> dict[str, Any]:
        """Return what was measured. A frame that arrived counts as put and persisted: no more is known of it."""
        arrived, costs = self._arrived(), self._costs
        end_ns = self._end_ns or time.monotonic_ns()
        measured_s = max(0.0, (end_ns - self._begun_ns) / 1e9) if self._begun_ns else 0.0
        offered = round(self._plan.fps * len(self._names) * self._plan.duration_s)
        return {
            "measured_s": measured_s,
            "wall_s": (end_ns - self._warmed_ns) / 1e9 if self._warmed_ns else 0.0,
            "streams": len(self._names),
            "frames": {
                "offered": offered, "put": arrived.frames, "persisted": arrived.frames, "dropped": 0, "buffered": 0,
            },
            "bytes": arrived.bytes,
            "reconnects": 0,
            "errors": [self._broken()] if self._broken() else [],
            "clamped": 0,
            "cpu_percent": sum(cost.cpu_percent for cost in costs) / max(1, len(costs)),
            "machine_cpu_percent": sum(cost.machine_percent for cost in costs) / max(1, len(costs)),
            "rss_bytes": max([cost.rss_bytes for cost in costs], default=0),
            "hist": {},
        }  # fmt: skip

    def _broken(self) -> str:
        """Why the load cannot go on; empty while it can."""
        return ("" if self._target is None else self._target.error) or self._error

    def _arrived(self) -> Arrived:
        return self._now.less(self._base) if self._begun_ns else Arrived()

    def _look(self) -> None:
        try:
            self._now = arrived_at(self._url, self._names)
        except (OSError, ValueError, KeyError) as error:
            self._error = self._error or f"The endpoint does not say what arrived ({error}): it is no local one."

    def _tick(self) -> None:
        probe = Probe(child.pid for child in self._children)
        while not self._is_over.wait(TICK_S):
            self._cost = probe.look()
            self._look()
            if not self._from_ns or time.monotonic_ns() < self._from_ns:
                continue
            if self._begun_ns:
                self._costs.append(self._cost)
            else:
                self._begun_ns, self._base = time.monotonic_ns(), self._now
            self._check_children()

    def _check_children(self) -> None:
        for name, child in zip(self._names, self._children, strict=False):
            status = child.poll()
            if status is not None and not self._error:
                words = (Path(self._folder.name) / f"{name}.log").read_bytes()[-300:].decode(errors="replace").split()
                said = " ".join(words) or "it said nothing"
                self._error = f"The command for {name} ended with status {status} ({said}): run it by hand to see why."

    def _end_children(self, limit_s: float) -> None:
        for child in self._children:
            _signal(child, signal.SIGTERM)
        until = time.monotonic() + min(limit_s, REST_S)
        for child in self._children:
            with contextlib.suppress(subprocess.TimeoutExpired):
                child.wait(max(0.0, until - time.monotonic()))
            _signal(child, signal.SIGKILL)
            child.wait(10)

    def _finish(self) -> None:
        self._is_over.set()
        if self._leash is not None:
            self._leash.kill()  # before it could end a group whose number is another's by then
        if self._target is not None:
            self._target.end()
        self._folder.cleanup()


def write_media(plan: Plan, path: Path) -> None:
    """Write the plan's pictures for as long as it may run, as a Matroska file.

    Raises:
        WorkloadError: PyAV is not installed.
    """
    try:
        import av
    except ImportError:
        raise WorkloadError("The file for the command needs PyAV: run `pip install 'kvspic[media]'`.") from None
    made = make_pictures(plan.fps, plan.frames_per_gop, plan.kbps, plan.seed)
    seconds = plan.warmup_s + plan.duration_s + plan.drain_s + 10
    with av.open(str(path), "w", format="matroska") as container:
        stream = container.add_stream("h264", rate=plan.fps, width=640, height=360)
        stream.codec_context.extradata = made.cpd
        for number in range(int(seconds * plan.fps)):
            picture = number % len(made.frames)
            packet = av.Packet(made.frames[picture])
            packet.stream, packet.time_base = stream, 1 / plan.fps
            packet.pts = packet.dts = number
            packet.is_keyframe = picture == 0
            container.mux(packet)


def _signal(child: subprocess.Popen[bytes], number: int) -> None:
    """Signal a command and all that it started."""
    if child.poll() is None:
        with contextlib.suppress(OSError):
            os.killpg(child.pid, number)
