"""Five cameras in a local endpoint, while cameras, worker, server, store and endpoint are killed in turn.
Goal: every status is true at each moment. Prints a ledger; ends with 1 where a status was not true.

Usage: fleet_ledger.py sqlite|postgres [FOLDER]. With sqlite it is ``kvspic fleet run``: one process. With postgres
there are two servers and three worker processes over a cluster of its own. Takes about two minutes and needs
GStreamer's RTSP server (tests/timed/rtsp_server.py), FFmpeg and, for postgres, PostgreSQL.

The truth is what the endpoint writes down about each fragment that it made durable. What is demanded of every look:
    green      a job that is shown healthy has had a fragment persisted just before
    carried    a job whose fragments are being persisted is shown as in progress, or done if it is the file
    fresh      a job in progress has figures that are not older than a lease and a sweep
    kept       no job has a new epoch after a server or the store was away: its worker was there, and goes on
At the end ``kvspic fleet check`` must find that each log leads to its job's status.
"""

import contextlib
import itertools
import json
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
from datetime import datetime, timezone
from pathlib import Path

TESTS = Path(__file__).parent.parent
sys.path.insert(0, str(TESTS))

import postgres  # noqa: E402
from timed.fleet_machines import Machine, call, check_logs, free_port, until, wait_up, worker  # noqa: E402

__all__ = []

LEASE_S = 4
KEPT = ("server", "PostgreSQL")  # steps that begin so
GREEN_S = 12  # figures are up to a second old, fragments a second long, LATE_S of a carrier is 10 s
CLIP = TESTS / "media" / "av_h264_main_aac_44100_640x360_25fps.mp4"
SYSTEM_PYTHON = "/usr/bin/python3"
ENDPOINT = """
import asyncio, sys, time
from kvspic.local.server import LocalEndpoint
from kvspic.local.settings import Settings
log = open(sys.argv[3], "a", buffering=1)
def on_ack(stream, ack):
    if "PERSISTED" in str(ack):
        log.write(f"{time.time():.3f} {stream}\\n")
endpoint = LocalEndpoint(sys.argv[1], port=int(sys.argv[2]), settings=Settings.unlimited(), on_ack=on_ack)
asyncio.run(endpoint.serve_forever(lambda url: print(url, flush=True)))
"""


class Truth:
    """When the endpoint made fragments durable, by stream."""

    def __init__(self, path):
        self._path = path
        self._offset = 0
        self.times = {}

    def read(self):
        with contextlib.suppress(FileNotFoundError), open(self._path, encoding="ascii") as file:
            file.seek(self._offset)
            lines = file.read()
            whole = lines.rpartition("\n")[0]
            self._offset += len(whole) + bool(whole)
            for line in whole.splitlines():
                at, _, stream = line.partition(" ")
                self.times.setdefault(stream, []).append(float(at))

    def last(self, stream, now):
        """Seconds since the last one."""
        times = self.times.get(stream)
        return now - times[-1] if times else float("inf")


class Watcher(threading.Thread):
    """Looks at all jobs twice a second, from whichever server answers, and compares them with the truth."""

    def __init__(self, urls, truth):
        super().__init__(daemon=True)
        self._urls, self._truth = urls, truth
        self._ended = threading.Event()
        self.looks = self.unanswered = self.green = 0
        self._away_until = 0.0
        self.wrong = []
        self.jobs = {}
        self.seen = {}  # name -> list of (time, status, epoch, is green)

    def run(self):
        while not self._ended.wait(0.5):
            self._look()

    def end(self):
        self._ended.set()
        self.join()

    def _look(self):
        before = time.time()
        jobs = next((found for url in self._urls if (found := self._ask(url)) is not None), None)
        if jobs is None:
            self.unanswered += 1
            self._away_until = time.time()
            return
        self.looks += 1
        self._truth.read()
        self.jobs = {job["name"]: job for job in jobs}
        for job in jobs:
            self._judge(job, before)

    def _ask(self, url):
        try:
            return call(f"{url}/v1/jobs", timeout_s=2)["jobs"]
        except (OSError, urllib.error.HTTPError):
            return None

    def _judge(self, job, now):
        stats, name = job["stats"] or {}, job["name"]
        age = _age(job.get("stats_at"), now)
        is_green = job["status"] == "in_progress" and bool(stats.get("health")) and age < LEASE_S
        self.green += is_green
        silent = self._truth.last(job["stream"], now)
        seen = self.seen.setdefault(name, [])
        if not seen or seen[-1][1:] != (job["status"], job["epoch"], is_green):
            seen.append((now, job["status"], job["epoch"], is_green))
        if is_green and silent > GREEN_S:
            self.wrong.append(f"{name} is green, and its last fragment was persisted {silent:.1f} s ago: {stats}")
        if silent < 0.2 and job["status"] not in ("in_progress", "done"):
            self.wrong.append(f"{name} is {job['status']}, and a fragment was persisted {silent:.1f} s ago")
        silent_since = min(_age(job["status_since"], now), age, now - self._away_until)  # all leases begin again then
        if job["status"] == "in_progress" and silent_since > LEASE_S + 3:
            self.wrong.append(f"{name} is in progress, and its figures are {age:.1f} s old")


def _age(text, now):
    if text is None:
        return float("inf")
    return now - datetime.fromisoformat(text.replace("Z", "+00:00")).astimezone(timezone.utc).timestamp()


class Story:
    """What is done, and what is seen after it."""

    def __init__(self, watcher, truth, names):
        self.watcher, self.truth, self.names = watcher, truth, names
        self.rows = []
        self._began = time.time()

    def all_well(self, since):
        """Whether each camera is shown healthy and has had a fragment persisted since then, or is done."""
        jobs, now = self.watcher.jobs, time.time()
        self.truth.read()
        return all(
            name in jobs and (
                jobs[name]["status"] == "done"
                or (jobs[name]["status"] == "in_progress" and (jobs[name]["stats"] or {}).get("health")
                    and _age(jobs[name]["stats_at"], now) < LEASE_S and self.truth.last(name, now) < now - since)
            )
            for name in self.names
        )  # fmt: skip

    def step(self, what, do, undo=None, *, for_s=0.0):
        """Do something, keep it so for a while, undo it, and wait until all is well again."""
        at, epochs = time.time(), {name: job["epoch"] for name, job in self.watcher.jobs.items()}
        before = {name: len(times) for name, times in self.truth.times.items()}
        do()
        time.sleep(for_s)
        worst = {
            name: " ".join((job["status"], "green" if (job["stats"] or {}).get("health") else "not green"))
            for name, job in self.watcher.jobs.items()
        }
        if undo is not None:
            undo()
        undone = time.time()
        until(lambda: self.all_well(undone), f"all is well after: {what}", 90, 0.2)
        took = time.time() - undone
        moved = sum(job["epoch"] != epochs.get(name, 0) for name, job in self.watcher.jobs.items())
        gaps = [self._gap(name, at) for name in self.names if before.get(name)]
        words = ", ".join(f"{list(worst.values()).count(value)} {value}" for value in sorted(set(worst.values())))
        if moved and what.startswith(KEPT):
            self.watcher.wrong.append(f"{moved} jobs have a new epoch after: {what}")
        self.rows.append((at - self._began, what, words, took, moved, max(gaps, default=0.0)))
        print(f"{self.rows[-1]}", flush=True)

    def _gap(self, name, since):
        times = [at for at in self.truth.times.get(name, []) if at >= since - 2]
        return max((after - before for before, after in itertools.pairwise(times)), default=0.0)

    def show(self):
        heads = ("at", "what is done", "seen meanwhile", "all well after", "new epochs", "longest gap of fragments")
        print(f"\n| {' | '.join(heads)} |\n{'|---' * len(heads)}|")
        for at, what, worst, took, moved, gap in self.rows:
            print(f"| {at:.0f} s | {what} | {worst} | {took:.1f} s | {moved} | {gap:.1f} s |")


def cameras(port, clip):
    """Five cameras: three of a real RTSP server, a file at its own pace, a test pattern."""
    rtsp = f"rtsp://127.0.0.1:{port}"
    return [
        {"name": "gate", "source": {"type": "rtsp", "url": f"{rtsp}/cam"}},
        {"name": "yard", "source": {"type": "rtsp", "url": f"{rtsp}/av"}},
        {"name": "roof", "source": {"type": "rtsp", "url": f"{rtsp}/udp"}},
        {"name": "tape", "source": {"type": "file", "url": str(clip)}, "options": {"mode": "realtime"}},
        {"name": "clock", "source": {"type": "test", "url": "testsrc:width=160,height=120,fps=10,gop=10,duration=0"}},
    ]


def endpoint_machine(folder, port):
    return Machine(
        [sys.executable, "-c", ENDPOINT, folder / "data", port, folder / "persisted"], folder / "endpoint.log"
    )


def long_clip(folder):
    """The clip again and again, for five minutes."""
    made = folder / "tape.mp4"
    command = ["ffmpeg", "-v", "error", "-stream_loop", "40", "-i", CLIP, "-c", "copy", "-an", made]
    subprocess.run([str(word) for word in command], check=True, timeout=60)
    return made


def one_process(stack, folder, place, jobs):
    """``kvspic fleet run``: returns the URLs, what can be killed, what ends with 0, and the store."""
    file = folder / "cameras.yaml"
    file.write_text(json.dumps({"defaults": {"autorestart": {"delay": 5}}, "cameras": jobs}), encoding="utf-8")
    port = free_port()
    command = [sys.executable, "-m", "kvspic", "fleet", "run", "-v", file, "--listen", f"127.0.0.1:{port}"]
    run = stack.enter_context(Machine([*command, "--endpoint", place], folder / "run.log"))
    url = f"http://127.0.0.1:{port}"
    wait_up(url)
    call(f"{url}/v1/settings", "PUT", {"lease_s": LEASE_S})
    killed = [("worker and server killed (one process), back at once", run, 0.0)]
    killed += [("worker and server killed, back after 6 s", run, 6.0)]
    return [url], killed, [run], file.with_suffix(".db")


def many_processes(stack, folder, place, jobs):
    """Two servers over PostgreSQL, three workers; returns the same."""
    cluster = stack.enter_context(postgres.cluster())
    store, ports = cluster.url("fleet"), (free_port(), free_port())
    servers = []
    for port in ports:
        command = [sys.executable, "-m", "kvspic", "fleet", "serve", "--store", store]
        log = folder / f"server{port}.log"
        servers.append(stack.enter_context(Machine([*command, "--listen", f"127.0.0.1:{port}"], log)))
        wait_up(f"http://127.0.0.1:{port}")
    urls = [f"http://127.0.0.1:{port}" for port in ports]
    call(f"{urls[0]}/v1/settings", "PUT", {"lease_s": LEASE_S})
    workers = [
        stack.enter_context(worker(urls[number % 2 :] + urls[: number % 2], folder, f"w{number}", endpoint=place))
        for number in range(3)
    ]
    until(lambda: len(call(f"{urls[0]}/v1/handlers")["handlers"]) == 3, "three workers have come")
    for job in jobs:
        call(f"{urls[0]}/v1/jobs", "POST", {**job, "autorestart": {"delay": 5}})

    class Store:
        """The database, to be killed and started."""

        kill = staticmethod(lambda: cluster.stop("immediate"))
        start = staticmethod(cluster.start)

    killed = [(f"worker w{number} killed, back at once", machine, 0.0) for number, machine in enumerate(workers)]
    killed += [("worker w0 killed, back after 10 s", workers[0], 10.0)]
    killed += [(f"server {number} killed, back after 6 s", machine, 6.0) for number, machine in enumerate(servers, 1)]
    killed += [("PostgreSQL killed, back after 8 s", Store, 8.0)]
    return urls, killed, workers, store


def main(kind, folder):
    with contextlib.ExitStack() as stack:
        rtsp_port, place_port = free_port(), free_port()
        rtsp = stack.enter_context(
            Machine([SYSTEM_PYTHON, TESTS / "timed" / "rtsp_server.py", rtsp_port, CLIP], folder / "rtsp.log")
        )
        endpoint = stack.enter_context(endpoint_machine(folder, place_port))
        jobs = cameras(rtsp_port, long_clip(folder))
        names = [job["name"] for job in jobs]
        time.sleep(2)  # the RTSP server says in its log only that it listens
        build = one_process if kind == "sqlite" else many_processes
        urls, killed, workers, store = build(stack, folder, f"http://127.0.0.1:{place_port}", jobs)
        truth = Truth(folder / "persisted")
        watcher = Watcher(urls, truth)
        watcher.start()
        story = Story(watcher, truth, names)
        story.step("five cameras begin", lambda: None)
        story.step("the RTSP cameras killed, back after 8 s", rtsp.kill, rtsp.start, for_s=8)
        for what, machine, for_s in killed:
            story.step(what, machine.kill, machine.start, for_s=for_s)
        story.step("the endpoint killed, back after 15 s", endpoint.kill, endpoint.start, for_s=15)
        watcher.end()
        logs = sum(len(call(f"{urls[0]}/v1/jobs/@{name}/logs")["logs"]) for name in names)
        codes = [machine.end() for machine in workers]
        check_logs(store)
        story.show()
        truth.read()
        counts = {name: len(truth.times.get(name, ())) for name in names}
        print(f"\n{watcher.looks} looks at {len(names)} jobs, {watcher.green} green, {watcher.unanswered} unanswered;")
        print(f"{len(watcher.wrong)} not true. Fragments: {counts}. Records in the log: {logs}. Exit codes: {codes}.")
        for line in watcher.wrong[:20]:
            print("not true:", line)
        return 1 if watcher.wrong or any(codes) else 0


if __name__ == "__main__":
    place = Path(sys.argv[2]) if len(sys.argv) > 2 else Path(tempfile.mkdtemp(prefix="kvspic-fleet-"))
    place.mkdir(parents=True, exist_ok=True)
    code = main(sys.argv[1], place)
    if code == 0:
        shutil.rmtree(place, ignore_errors=True)
    sys.exit(code)
