"""The load of an agent, over real processes and sockets. Goal: every frame is accounted for, and nothing is left."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

pytest.importorskip("psutil")
pytest.importorskip("aiohttp")
import psutil

from kvspic.bench.engines import Arrived, arguments_of
from kvspic.bench.histogram import Histograms
from kvspic.bench.load import make_workload, processes_for
from kvspic.bench.plan import Plan, parse_plan
from kvspic.bench.workload import Assignment, WorkloadError
from kvspic.local.fault_socket import ScriptedFaults
from kvspic.local.faults import Fault, FaultKind
from kvspic.local.server import LocalEndpoint
from kvspic.units import HNS_PER_S

DELAY = Fault(FaultKind.DELAY, delay_hns=60 * HNS_PER_S)
ASSIGNMENT = Assignment("run", "agent", 0, 1, "kvsbench-run-")


def test_a_command_needs_the_agents_leave():
    plan = parse_plan("{engine: command, command: 'put {stream}'}")
    with pytest.raises(WorkloadError, match="--allow-command"):
        make_workload(plan, ASSIGNMENT)


def test_a_value_with_spaces_stays_one_word_of_a_command():
    words = arguments_of("put '{file}' --to={endpoint} {stream}", "a", "http://x", Path("/tmp/a b"))
    assert words == ["put", "/tmp/a b", "--to=http://x", "a"]


def test_what_arrived_since_is_a_difference():
    assert Arrived(5, 4, 3).less(Arrived(1, 1, 1)) == Arrived(4, 3, 2)


def test_there_are_no_more_processes_than_streams():
    assert [processes_for(Plan(processes=4), streams) for streams in (1, 3, 9)] == [1, 3, 4]
    assert processes_for(Plan(), 1000) == os.cpu_count()


def measured(workload, plan, is_warm=lambda: True):
    """Run a load as an agent does, and return the histograms of all its snapshots and its summary."""
    workload.prepare()
    workload.warm_up()
    time.sleep(plan.warmup_s)
    until = time.monotonic() + 30
    while not is_warm() and time.monotonic() < until:
        time.sleep(0.05)
    workload.begin(time.monotonic_ns() + 100_000_000)
    until, found = time.monotonic() + plan.duration_s + 0.2, Histograms()
    while time.monotonic() < until:
        time.sleep(0.2)
        found.add(Histograms.unpack(workload.snapshot().histograms)[0])
    workload.stop(plan.drain_s)
    found.add(Histograms.unpack(workload.snapshot().histograms)[0])
    return found, workload.summary()


@pytest.mark.timed
def test_every_frame_of_the_window_is_persisted_and_measured():
    plan = parse_plan("{streams_per_agent: 5, fps: 10, kbps: 200, duration_s: 2, warmup_s: 0.5, processes: 2}")
    found, summary = measured(make_workload(plan, ASSIGNMENT), plan)
    assert summary["frames"] == {"offered": 100, "put": 100, "persisted": 100, "dropped": 0, "buffered": 0}
    assert (summary["errors"], summary["streams"], summary["measured_s"]) == ([], 5, 2.0)
    assert found.all_sizes("PUT").count == found.all_sizes("LATE").count == 100
    assert found.all_sizes("PERS").count >= 5
    assert Histograms.from_json(summary["hist"]).to_json() == found.to_json()


@pytest.mark.timed
def test_a_load_process_that_is_killed_is_an_error_of_the_load():
    plan = parse_plan("{streams_per_agent: 2, fps: 10, kbps: 100, processes: 2}")
    workload = make_workload(plan, ASSIGNMENT)
    workload.prepare()
    workload.warm_up()
    os.kill(workload._group.process_ids[0], signal.SIGKILL)
    until = time.monotonic() + 10
    while not workload.snapshot().error and time.monotonic() < until:
        time.sleep(0.05)
    assert "ended unexpectedly" in workload.snapshot().error
    with pytest.raises(WorkloadError, match="ended unexpectedly"):
        workload.stop(5)
    workload.kill()


@pytest.mark.timed
def test_an_endpoint_that_cannot_be_reached_is_said():
    plan = parse_plan("{streams_per_agent: 1, endpoint: 'http://127.0.0.1:9'}")
    workload = make_workload(plan, ASSIGNMENT)
    with pytest.raises(WorkloadError, match="cannot be listed"):
        workload.prepare()
    workload.kill()


@pytest.mark.timed
def test_a_command_is_measured_from_outside():
    pytest.importorskip("av")
    command = f"{sys.executable} -m kvspic put {{file}} --stream {{stream}} --endpoint {{endpoint}} --realtime"
    text = "{engine: command, streams_per_agent: 1, fps: 10, kbps: 100, gop_s: 1, duration_s: 3, warmup_s: 0, command: "
    plan = parse_plan(f"{text}'{command}'}}")
    workload = make_workload(plan, ASSIGNMENT, allows_command=True)
    _, summary = measured(workload, plan, lambda: workload._now.frames > 0)
    assert summary["errors"] == []
    assert summary["frames"]["offered"] == 30
    assert 10 <= summary["frames"]["persisted"] <= 40
    assert summary["bytes"] > 10_000


@pytest.mark.timed
def test_a_command_that_ends_at_once_is_an_error_with_its_last_words():
    pytest.importorskip("av")
    plan = parse_plan("{engine: command, streams_per_agent: 1, fps: 10, command: 'sh -c \"echo no {stream}; exit 3\"'}")
    workload = make_workload(plan, ASSIGNMENT, allows_command=True)
    workload.prepare()
    workload.warm_up()
    workload.begin(time.monotonic_ns())
    until = time.monotonic() + 10
    while not workload.snapshot().error and time.monotonic() < until:
        time.sleep(0.05)
    assert "ended with status 3 (no kvsbench-run-00000)" in workload.snapshot().error
    workload.stop(1)


@pytest.mark.timed
def test_a_load_that_is_killed_while_it_prepares_leaves_nothing(tmp_path):
    with LocalEndpoint.run_in_thread(tmp_path, faults=ScriptedFaults([DELAY])) as endpoint:
        text = f"{{streams_per_agent: 2, fps: 10, kbps: 100, keep_streams: true, endpoint: '{endpoint.url}'}}"
        plan = parse_plan(text)
        workload, ended = make_workload(plan, ASSIGNMENT), []

        def prepare():
            try:
                workload.prepare()
            except WorkloadError as error:
                ended.append(str(error))

        thread = threading.Thread(target=prepare)
        thread.start()
        until = time.monotonic() + 20
        while not workload._group.process_ids and time.monotonic() < until:
            time.sleep(0.05)
        pids = workload._group.process_ids
        workload.kill()
        thread.join(10)
        assert ended == ["The load was ended."]
        assert [pid for pid in pids if psutil.pid_exists(pid)] == []
    with pytest.raises(WorkloadError, match=r"The load was ended\."):
        workload.prepare()


AGENT = """
import sys, time
from kvspic.bench.load import make_workload
from kvspic.bench.plan import parse_plan
from kvspic.bench.workload import Assignment
load = make_workload(parse_plan(sys.argv[1]), Assignment("r", "a", 0, 1, "x-"), allows_command=True)
load.prepare()
load.warm_up()
pids = [child.pid for child in load._children] if sys.argv[2] == "command" else load._group.process_ids
print(*pids, load._target.process_id, flush=True)
time.sleep(60)
"""


@pytest.mark.timed
@pytest.mark.parametrize("engine", ["kvspic", "command"])
def test_nothing_outlives_an_agent_that_was_killed(engine):
    pytest.importorskip("av")
    command = ", engine: command, command: 'sh -c \"sleep 60; echo {stream}\"'"
    plan = "{streams_per_agent: 2, fps: 10, kbps: 100, processes: 1, duration_s: 5%s}" % (
        command if engine == "command" else ""
    )
    with subprocess.Popen([sys.executable, "-c", AGENT, plan, engine], stdout=subprocess.PIPE, text=True) as agent:
        pids = [int(word) for word in agent.stdout.readline().split()]
        agent.kill()
    until = time.monotonic() + 10
    while any(map(psutil.pid_exists, pids)) and time.monotonic() < until:
        time.sleep(0.05)
    assert [pid for pid in pids if psutil.pid_exists(pid)] == []
    assert len(pids) == (3 if engine == "command" else 2)
