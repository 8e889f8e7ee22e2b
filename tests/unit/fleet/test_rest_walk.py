"""Random walks of users, handlers and the clock through REST. Goal: the log has exactly the pairs of the matrix, each
adjacent pair is one of them, and each log leads to the status of its job."""

import random
from itertools import pairwise

import pytest

pytest.importorskip("sqlalchemy")
pytest.importorskip("aiohttp")
from unit.fleet.matrix import matrix_pairs
from unit.fleet.rest import Wire, serving

JOBS, STEPS_MAX = 6, 2500


class Walk:
    """Six jobs at a time, two of them files; what a step may do, does not matter: the server decides."""

    def __init__(self, wire, seed):
        self.wire, self.chance = wire, random.Random(seed)
        self.jobs, self.gone, self.files = {}, [], set()
        self.carried, self.count, self.seen = {}, 0, set()

    def source(self, job):
        kind = "file" if job in self.files else "rtsp"
        return {"type": kind, "url": "a.mp4" if kind == "file" else "rtsp://10.0.0.9/1"}

    def step(self):
        if len(self.jobs) < JOBS:
            return self.create()
        weights = {self.patch: 5, self.put: 2, self.delete: 0.5, self.poll: 6, self.report: 6, self.advance: 2}
        self.chance.choices(list(weights), list(weights.values()))[0]()

    def create(self):
        self.count += 1
        is_file = self.chance.random() < 0.3
        source = {"type": "file", "url": "a.mp4"} if is_file else {"type": "rtsp", "url": "rtsp://10.0.0.9/1"}
        restart = {"delay": 2, "attempt_count": 2, "restart": self.chance.random() < 0.7, "backoff": 1}
        status = self.chance.choice(["pending", "pause"])
        body = {"name": f"cam-{self.count}", "source": source, "status": status, "autorestart": restart}
        got = self.wire("POST", "/v1/jobs", body)
        assert got.status == 201
        self.jobs[got.json["id"]] = body["name"]
        if is_file:
            self.files.add(got.json["id"])

    def one(self):
        return self.chance.choice(list(self.jobs))

    def patch(self):
        job, status = self.one(), self.chance.choice(["pending", "pause", "cancel"])
        before = self.wire("GET", f"/v1/jobs/{job}").json["status"]
        got = self.wire("PATCH", f"/v1/jobs/{job}", {"status": status})
        to = [to for to in ("pending", "pause", "cancel") if (before, to) in matrix_pairs()]
        if before == "in_progress":
            to = ["cancel"] if job in self.files else ["pause", "cancel"]  # to pending is a handler's move
        if status in to:
            assert (got.status, got.json["status"]) == (200, status)
        elif job in self.files and (before, status) == ("in_progress", "pause"):
            assert (got.status, got.json["error"]) == (422, "file_in_progress")
        else:
            assert (got.status, got.json["error"], got.json["allowed"]) == (409, "transition", to)

    def put(self):
        job = self.one()
        status = self.chance.choice(["pending", "pause"])
        body = {"name": self.jobs[job], "source": self.source(job), "status": status, "autorestart": {"delay": 2}}
        got = self.wire("PUT", f"/v1/jobs/{job}", body)
        assert (got.status, got.json["status"]) == (200, status)

    def delete(self):
        job = self.one()
        assert self.wire("DELETE", f"/v1/jobs/{job}").status == 204
        self.gone.append(job)
        del self.jobs[job]

    def poll(self):
        handler = self.chance.choice(["h1", "h2"])
        for job in self.wire.poll(handler, slots=3)["jobs"]:
            self.carried[job["id"], job["epoch"]] = handler

    def report(self):
        if not self.carried:
            return
        key = self.chance.choice(list(self.carried))
        handler = self.carried[key]
        status = self.chance.choice(["in_progress", "in_progress", "done", "failure", "failure", "handback"])
        verdict = self.wire.report(*key, status, handler, error={"class": "source_unreachable", "text": "away"})
        assert verdict["accepted"] == (verdict["verdict"] == "continue") or status != "in_progress"
        if verdict["verdict"] != "continue":
            del self.carried[key]

    def advance(self):
        self.wire.advance(self.chance.choice([0.5, 1, 3, 25]))

    def pairs_of(self, job):
        statuses = ["none", *(status for status, _ in self.wire.log(job))]
        statuses = ["none" if status == "deleted" else status for status in statuses]
        return list(pairwise(statuses)), statuses[-1]

    def look(self):
        for job in [*self.jobs, *self.gone]:
            pairs, last = self.pairs_of(job)
            self.seen |= set(pairs)
            got = self.wire("GET", f"/v1/jobs/{job}")
            assert last == ("none" if got.status == 404 else got.json["status"])
        self.gone.clear()


@pytest.mark.parametrize("seed", [1])
def test_a_walk_gives_the_34_pairs_and_no_other(seed):
    expected = matrix_pairs()
    assert len(expected) == 34
    with serving() as server, Wire(server.url) as wire:
        walk = Walk(wire, seed)
        wire("PUT", "/v1/settings", {"spread_s": 0, "handout_rate": 1000, "restart_rate": 1000})
        for number in range(STEPS_MAX):
            walk.step()
            if number % 100 == 99:
                walk.look()
                if walk.seen == expected:
                    break
    assert walk.seen == expected
