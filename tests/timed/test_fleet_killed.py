"""A claim over a real database, in which the server or PostgreSQL is killed at step 1, 2, ... until it gets through.
Goal: after each kill every log leads to its job's status, and each job was claimed as a whole or not at all.

A step is a statement that is sent, or the commit.
"""

import contextlib
import signal
import subprocess
import sys
import threading

import pytest
from fleet_rig import Rig

pytest.importorskip("sqlalchemy")

import postgres
from sqlalchemy import event

from kvspic.fleet import service
from kvspic.fleet.errors import StoreUnavailableError

pytestmark = pytest.mark.timed

NAMES = ["a", "b", "c"]
STEPS_MIN = 10  # a claim has more
STEPS_MAX = 40
CLAIM = """
import os, signal, sys
sys.path[:0] = {folders!r}
from fleet_rig import Rig
from timed.test_fleet_killed import at_step

rig = Rig({url!r})
rig.clock_ms += {passed} * 1000
at_step(rig, {step}, lambda: os.kill(os.getpid(), signal.SIGKILL))
print("claimed", *rig.claim("h1", 3, incarnation={incarnation!r}), flush=True)
"""


def at_step(rig, step, act):
    """Do something just before step number ``step`` of what the store does from now on; return what ends that."""
    left = [step]

    def count(*_):
        left[0] -= 1
        if left[0] == 0:
            act()

    engine, events = rig.store._engine, ("before_cursor_execute", "commit")
    for name in events:
        event.listen(engine, name, count)
    return lambda: [event.remove(engine, name, count) for name in events]


def filled(url):
    rig = Rig(url)
    for name in NAMES:
        rig.create(name)
    return rig


def is_claimed(rig):
    """Whether all jobs are claimed; the alternative is that none is."""
    assert rig.faults() == []
    jobs = rig.call(service.list_jobs, {})["jobs"]
    assert len({(job["status"], job["epoch"]) for job in jobs}) == 1
    return jobs[0]["status"] == "in_progress"


def server_killed_at_each_step(url):
    rig = filled(url)
    rig.store.close()
    for step in range(1, STEPS_MAX):
        words = {
            "passed": 100 * step,
            "step": step,
            "incarnation": f"p{step}",
        }  # later than the lease of the one before
        program = CLAIM.format(folders=[path for path in sys.path if path], url=url, **words)
        done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120, check=False)
        rig = Rig(url)
        was_claimed = is_claimed(rig)
        rig.store.close()
        if done.returncode == 0:
            assert done.stdout.split() == ["claimed", *NAMES], done.stdout + done.stderr
            assert was_claimed
            return step
        assert done.returncode == -signal.SIGKILL, done.stderr
        assert not was_claimed, f"killed before step {step}, the commit or what is before it"
    raise AssertionError("the claim never got through")


def test_a_server_over_sqlite_is_killed_at_each_step_of_a_claim(tmp_path):
    assert server_killed_at_each_step(f"sqlite:///{tmp_path / 'fleet.db'}") > STEPS_MIN


@pytest.mark.skipif(postgres.programs() is None, reason=postgres.MISSING)
def test_a_server_over_postgres_is_killed_at_each_step_of_a_claim():
    pytest.importorskip("psycopg")
    with postgres.cluster() as cluster:
        assert server_killed_at_each_step(cluster.url("fleet")) > STEPS_MIN


@pytest.mark.skipif(postgres.programs() is None, reason=postgres.MISSING)
def test_postgres_is_killed_at_each_step_of_a_claim():
    pytest.importorskip("psycopg")
    with postgres.cluster() as cluster:
        rig = filled(cluster.url("fleet"))
        for step in range(1, STEPS_MAX):
            rig.to(rig.now + 100)
            undo = at_step(rig, step, cluster.kill)
            try:
                names = rig.claim("h1", 3, incarnation=f"p{step}")
            except StoreUnavailableError:
                cluster.start_again()
            else:
                assert names == NAMES
                break
            finally:
                undo()
            assert not is_claimed(rig)
        assert step > STEPS_MIN
        assert is_claimed(rig)
        rig.store.close()


@pytest.mark.skipif(postgres.programs() is None, reason=postgres.MISSING)
def test_postgres_is_killed_at_about_the_commit_of_a_claim():
    """The claim is there afterwards as a whole or not at all, and its handler gets the jobs in their first epoch."""
    pytest.importorskip("psycopg")
    with postgres.cluster() as cluster:
        rig = filled(cluster.url("fleet"))
        undo = at_step(rig, STEPS_MIN, threading.Thread(target=cluster.kill).start)
        with contextlib.suppress(StoreUnavailableError):
            rig.claim("h1", 3, carried=[], seq=1)
        undo()
        cluster.start_again()
        was_claimed = is_claimed(rig)
        assert rig.claim("h1", 3, carried=[], seq=2) == NAMES
        assert is_claimed(rig)
        epochs = {job["epoch"] for job in rig.call(service.list_jobs, {})["jobs"]}
        assert epochs == {1}, was_claimed
        rig.store.close()
