"""Eight processes that take jobs from one database at the same time. Goal: each job is handed out once."""

import contextlib
import json
import os
import subprocess
import sys

import pytest
from fleet_rig import RTSP

pytest.importorskip("sqlalchemy")
pytest.importorskip("psycopg")

import postgres
from timed.fleet_machines import check_logs

from kvspic.fleet import service
from kvspic.fleet.store import open_store

pytestmark = [
    pytest.mark.timed,
    pytest.mark.skipif(postgres.programs() is None, reason=postgres.MISSING),
]

PROCESSES = 8
SLOTS = 50
JOBS = int(os.environ.get("KVSPIC_FLEET_JOBS", "2000"))
CLAIM = """
import json, sys
from kvspic.fleet import service
from kvspic.fleet.store import open_store

store = open_store(sys.argv[1])
sys.stdin.readline()  # all begin at once
claimed = []
for number in range(1000):
    body = {"incarnation": "1", "slots": 50, "free": 50}
    given = store.run(service.poll, f"{sys.argv[2]}-{number}", body)["jobs"]
    if not given:
        break
    claimed += [(job["id"], job["epoch"]) for job in given]
store.close()
print(json.dumps(claimed))
"""


def claimer(stack, url, handler):
    """A process that begins to claim at a line of its input; it ends with the stack, however that ends."""
    command = [sys.executable, "-c", CLAIM, url, handler]
    process = stack.enter_context(subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True))
    stack.callback(process.kill)
    return process


def test_eight_processes_take_each_job_once():
    with postgres.cluster() as cluster:
        url = cluster.url("fleet")
        store = open_store(url)
        store.run(service.put_settings, {"handout_rate": 100_000, "handout_burst": 100_000, "spread_s": 0})
        bodies = [{"name": f"cam-{number}", "source": RTSP} for number in range(JOBS)]
        store.run(service.apply_jobs, {"jobs": bodies})
        with contextlib.ExitStack() as stack:
            processes = [claimer(stack, url, f"h{number}") for number in range(PROCESSES)]
            for process in processes:
                process.stdin.write("\n")
                process.stdin.flush()
            claimed = [json.loads(process.communicate(timeout=120)[0]) for process in processes]
        every = [pair for part in claimed for pair in part]
        assert len(every) == JOBS == len({job for job, _ in every})
        assert {epoch for _, epoch in every} == {1}
        store.close()
        check_logs(url)
