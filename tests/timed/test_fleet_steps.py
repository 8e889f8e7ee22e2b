"""SS-46: random steps of users, handlers and the clock on twenty jobs, and a server that is killed every 500 steps.
Goal: each status is what a plain model says, before and after each kill, and every log leads to its job's status.

KVSPIC_FLEET_STEPS sets the number of steps. The clock stands between steps; a request is under way at each kill.
"""

import contextlib
import os
import random
import subprocess
import sys
from dataclasses import dataclass

import pytest

pytest.importorskip("sqlalchemy")
pytest.importorskip("aiohttp")
import postgres
from unit.fleet.rest import Wire

from kvspic.fleet import service
from kvspic.fleet.service_upkeep import MASTER_MS
from kvspic.fleet.store import open_store
from kvspic.fleet.tasks import MASTER_S, TEST_EPOCH_MS

pytestmark = pytest.mark.timed

STEPS = int(os.environ.get("KVSPIC_FLEET_STEPS", "1000"))
KILL_EVERY = 500
JOBS = 20
HANDLERS = ("h1", "h2", "h3")
LEASE_S = 20
SERVER = """
import asyncio, sys
from kvspic.fleet.server import FleetServer
from kvspic.fleet.store import open_store
from kvspic.fleet.tasks import TestClock
clock = TestClock(int(sys.argv[2]))
server = FleetServer(open_store(sys.argv[1], clock=lambda: clock.ms), test_clock=clock)
asyncio.run(server.serve_forever(lambda url: print(url, flush=True)))
"""
MAY_PATCH = {
    "pending": {"pause", "cancel"},
    "in_progress": {"pause", "cancel"},
    "done": {"pending", "pause"},
    "pause": {"pending", "cancel"},
    "cancel": {"pending", "pause"},
    "failure": {"pending", "pause"},
}
ENDS = {"in_progress": "in_progress", "done": "done", "failure": "failure", "handback": "pending"}


class Server:
    """A server in a process of its own over one database; a killed one is followed by another at the same time."""

    def __init__(self, store):
        self.store, self.now_s = store, 0.0
        # A new server waits for a whole lease; over a shared store it begins only when the master has been silent.
        self.silence_s = LEASE_S + (0 if store.startswith("sqlite") else MASTER_MS / 1000 + MASTER_S)
        self.start()

    def start(self):
        command = [sys.executable, "-c", SERVER, self.store, str(TEST_EPOCH_MS + round(self.now_s * 1000))]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        url = self._process.stdout.readline().strip()
        if not url:
            self._process.communicate()  # it has ended by itself
            raise AssertionError("the server did not begin")
        self.wire = Wire(url, timeout=120)

    def close(self):
        """Kill it."""
        self._process.kill()
        self._process.communicate()
        self.wire.__exit__()

    def faults(self):
        """What a check of all logs finds, while no server runs."""
        store = open_store(self.store, is_server=False)
        faults, after = [], ""
        while after is not None:
            checked = store.run(service.check_logs, after=after)
            faults, after = faults + checked.faults, checked.next
        store.close()
        return faults


@dataclass
class Job:
    """What the model knows of a job. ``heard_s``: bounds of when its handler was heard last."""

    name: str
    live: bool
    does_restart: bool
    status: str
    epoch: int = 0
    version: int = 1
    handler: str | None = None
    heard_s: tuple[float, float] = (0.0, 0.0)

    def took(self, handler, heard_s):
        self.status, self.handler, self.heard_s, self.epoch = "in_progress", handler, heard_s, self.epoch + 1

    def may_patch(self, status):
        return status in MAY_PATCH[self.status] and (self.status, status, self.live) != ("in_progress", "pause", False)

    def after_time(self, now_s):
        """The statuses that time may have led to."""
        if self.status == "in_progress":
            may_live = now_s < self.heard_s[1] + LEASE_S + 1
            may_be_lost = now_s >= self.heard_s[0] + LEASE_S
            return {status for status, may in (("in_progress", may_live), ("pending", may_be_lost)) if may}
        return {self.status} | self.may_restart()

    def may_restart(self):
        """What the automatic restart may lead to, which a server also looks after when it starts."""
        return {"pending"} if self.status == "failure" and self.does_restart else set()


class Model:
    """Takes each step at the server and in itself."""

    def __init__(self, server, seed):
        self.server, self.chance = server, random.Random(seed)
        self.jobs, self.carried, self.count, self.renewed_s = {}, {}, 0, 0.0

    def heard_now(self):
        """Bounds of when a handler counts as heard that is heard now."""
        return self.server.now_s, max(self.server.now_s, self.renewed_s)

    def step(self):
        if len(self.jobs) < JOBS:
            return self.create()
        weights = {self.patch: 5, self.put: 2, self.delete: 0.5, self.poll: 6, self.report: 8, self.advance: 2}
        return self.chance.choices(list(weights), list(weights.values()))[0]()

    def create(self):
        self.count += 1
        job = Job(f"cam-{self.count}", self.chance.random() < 0.7, self.chance.random() < 0.7, "pending")
        made = self.server.wire("POST", "/v1/jobs", self.body(job))
        assert made.status == 201
        self.jobs[made.json["id"]] = job

    def body(self, job, status="pending"):
        source = {"type": "rtsp", "url": "rtsp://10.0.0.9/1"} if job.live else {"type": "file", "url": "a.mp4"}
        restart = {"restart": job.does_restart, "delay": 2, "attempt_count": 3, "backoff": 1}
        return {"name": job.name, "source": source, "autorestart": restart, "status": status}

    def one(self):
        return self.chance.choice(list(self.jobs.items()))

    def patch(self):
        (ref, job), status = self.one(), self.chance.choice(["pending", "pause", "cancel"])
        got = self.server.wire("PATCH", f"/v1/jobs/{ref}", {"status": status})
        assert (got.status == 200) == job.may_patch(status), (job, status, got.text)
        if got.status == 200:
            job.status, job.handler = status, None

    def put(self):
        (ref, job), status = self.one(), self.chance.choice(["pending", "pause"])
        assert self.server.wire("PUT", f"/v1/jobs/{ref}", self.body(job, status)).status == 200
        job.status, job.handler, job.version = status, None, job.version + 1

    def delete(self):
        ref, _ = self.one()
        assert self.server.wire("DELETE", f"/v1/jobs/{ref}").status == 204
        del self.jobs[ref]

    def poll(self):
        handler = self.chance.choice(HANDLERS)
        for given in self.server.wire.poll(handler, slots=12, free=self.chance.randrange(4))["jobs"]:
            job = self.jobs[given["id"]]
            assert (job.status, given["epoch"]) == ("pending", job.epoch + 1)
            job.took(handler, self.heard_now())
            self.carried[given["id"], given["epoch"]] = handler

    def report(self):
        if not self.carried:
            return
        (ref, epoch), handler = self.chance.choice(list(self.carried.items()))
        status = self.chance.choice(["in_progress"] * 4 + ["done", "failure", "handback"])
        error = {"class": "source_unreachable", "text": "away"} if status == "failure" else None
        verdict = self.server.wire.report(ref, epoch, status, handler, error=error)
        job = self.jobs.get(ref)
        is_its = job is not None and (job.status, job.epoch, job.handler) == ("in_progress", epoch, handler)
        assert verdict["accepted"] == is_its, (job, verdict)
        assert (verdict["verdict"] == "not_found") == (job is None)
        if is_its:
            job.status, job.heard_s = ENDS[status], self.heard_now()
        if not is_its or status != "in_progress":
            del self.carried[ref, epoch]

    def advance(self):
        self.server.now_s = self.server.wire.advance(self.chance.choice([0.5, 1, 3, 3, 25]))
        self.look({ref: job.after_time(self.server.now_s) for ref, job in self.jobs.items()})

    def look(self, may_be):
        """Compare all jobs with the model, which goes on from what it finds among what may be."""
        found = {one["id"]: one for one in self.server.wire("GET", "/v1/jobs?limit=1000").json["jobs"]}
        assert found.keys() == self.jobs.keys()
        for ref, job in self.jobs.items():
            shown = found[ref]
            assert shown["status"] in may_be[ref], (job, shown["status"])
            is_new_claim = shown["status"] == "in_progress" != job.status
            assert (shown["epoch"], shown["version"]) == (job.epoch + is_new_claim, job.version)
            if is_new_claim:
                job.took(shown["handler"], self.heard_now())
                self.carried[ref, job.epoch] = shown["handler"]
            job.status = shown["status"]
            job.handler = job.handler if job.status == "in_progress" else None
            assert shown["handler"] == job.handler

    def kill(self):
        """Kill the server while it works on a request, which is then done as a whole or not at all."""
        may_be = {ref: {job.status} | job.may_restart() for ref, job in self.jobs.items()}
        (ref, job), status = self.one(), self.chance.choice(["pending", "pause", "cancel"])
        if self.chance.random() < 0.5:
            self.server.wire.begin("PATCH", f"/v1/jobs/{ref}", {"status": status})
            may_be[ref] |= {status} if job.may_patch(status) else set()
        else:
            body = {"incarnation": "i1", "slots": 12, "free": 3}
            self.server.wire.begin("POST", f"/v1/handlers/{self.chance.choice(HANDLERS)}/poll", body)
            for statuses in may_be.values():
                statuses |= {"in_progress"} if "pending" in statuses else set()
        self.server.close()
        assert self.server.faults() == []
        self.server.start()
        self.renewed_s = self.server.now_s + self.server.silence_s - LEASE_S  # it has renewed all leases by then
        self.look(may_be)
        for job in self.jobs.values():
            job.heard_s = (self.server.now_s, self.server.now_s + self.server.silence_s)


@pytest.fixture(params=["sqlite", "postgresql"])
def store(request, tmp_path):
    """The URL of an empty database."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'fleet.db'}"
        return
    pytest.importorskip("psycopg")
    if postgres.programs() is None:
        pytest.skip(postgres.MISSING)
    with postgres.cluster() as cluster:
        yield cluster.url("fleet")


def test_ss_46_statuses_and_logs_after_steps_and_kills(store):
    seed = random.randrange(2**32)
    print("seed", seed)
    server = Server(store)
    with contextlib.closing(server):
        server.wire("PUT", "/v1/settings", {"spread_s": 0, "handout_rate": 1000, "restart_rate": 1000})
        model = Model(server, seed)
        for number in range(1, STEPS + 1):
            model.step()
            if number % KILL_EVERY == 0:
                model.kill()
    assert server.faults() == []
