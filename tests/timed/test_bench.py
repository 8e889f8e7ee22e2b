"""``kvspic bench`` in real processes. Goal: however a part of it ends, the others end in order, say why, and leave no
process. What takes longer is in bench_long.py, run by .ci/long."""

import os
import signal
import subprocess
import sys
import time

import pytest

pytest.importorskip("grpc")

from timed.bench_processes import Agent, Run, children_of, command, is_alive, wait_until

pytestmark = [pytest.mark.timed, pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")]


@pytest.fixture
def agent():
    """Starts agents, and ends them with the test."""
    started = []

    def start(*words, **options):
        started.append(Agent(*words, **options))
        return started[-1]

    yield start
    for one in started:
        one.end()


def test_db_35_two_agents_put_200_frames_and_all_are_persisted(tmp_path):
    run = Run(tmp_path, "--local", "2", streams_per_agent=5, warmup_s=1)
    code, words = run.end()
    assert code == 0, words
    result = run.result
    assert result["frames"]["offered"] == result["frames"]["persisted"] == 200
    assert result["frames"]["dropped"] == 0
    assert [agent["state"] for agent in result["agents"]] == ["completed", "completed"]
    assert result["comparable"]


def test_db_38_ctrl_c_and_sigterm_leave_partial_results_and_no_process(tmp_path):
    cases = [(signal.SIGINT, 130), (signal.SIGTERM, 143)]
    runs = [Run(tmp_path / str(code), duration_s=120) for _, code in cases]
    for run, (number, code) in zip(runs, cases):
        run.wait_for("measuring begins")
        time.sleep(3)
        agents = children_of(run.process.pid)
        assert len(agents) == 1
        begin_s = time.monotonic()
        run.process.send_signal(number)
        found, words = run.end(30)
        assert (found, time.monotonic() - begin_s < 20) == (code, True), words
        result = run.result
        assert result["exit_code"] == code
        assert result["agents"][0]["state"] == "failed"
        assert result["agents"][0]["summary"]["frames"]["put"] > 0
        wait_until(lambda agents=agents: not any(map(is_alive, agents)), 20)


def test_a_second_signal_ends_at_once_and_the_agents_end_by_themselves(tmp_path, agent):
    stopped = agent()
    run = Run(tmp_path, "--agents", stopped.address, "--local", "1", duration_s=120)
    run.wait_for("is ready", count=2)
    local = children_of(run.process.pid)
    stopped.signal(signal.SIGSTOP)  # the run cannot end in order now
    run.process.send_signal(signal.SIGINT)
    time.sleep(1)
    begin_s = time.monotonic()
    run.process.send_signal(signal.SIGINT)
    code, _ = run.end(10)
    assert (code, time.monotonic() - begin_s < 2) == (130, True)
    wait_until(lambda: not any(map(is_alive, local)), 20)


def test_a_killed_agent_is_a_sentence_and_the_other_ends(tmp_path, agent):
    first, second = agent(), agent("--clock-skew-ms", "3600000")
    run = Run(tmp_path, "--agents", f"{first.address},{second.address}", duration_s=120, dead_s=5)
    run.wait_for("measuring begins")
    time.sleep(2.5)
    os.killpg(first.process.pid, signal.SIGKILL)
    code, words = run.end()
    assert code == 1, words
    states = {one["id"]: one["state"] for one in run.result["agents"]}
    assert states == {first.address: "failed", second.address: "failed"}
    assert "Nothing was heard of it for 5 s." in words


def test_an_agent_that_is_ended_says_so_and_has_its_exit_code(tmp_path, agent):
    one = agent()
    run = Run(tmp_path, "--agents", one.address, duration_s=120)
    run.wait_for("is running")
    one.signal(signal.SIGTERM)
    code, words = run.end()
    assert code == 1
    assert "The agent was ended by SIGTERM." in words
    assert one.process.wait(20) == 143


def test_a_busy_agent_a_port_in_use_and_a_bad_plan_are_sentences(tmp_path, agent):
    one = agent()
    run = Run(tmp_path / "first", "--agents", one.address, duration_s=120)
    run.wait_for("is ready")
    code, words = Run(tmp_path / "second", "--agents", one.address).end()
    assert (code, "has been busy with run" in words) == (1, True)
    run.process.send_signal(signal.SIGINT)
    assert run.end()[0] == 130
    past = {"duration_s": 0.5, "warmup_s": 601, "drain_s": 0, "start_delay_s": 51, "tolerate": 1, "stall_s": 1,
            "dead_s": 3601, "streams_per_agent": 10_001, "fps": 241, "gop_s": 11, "kbps": 15, "speed": 1}  # fmt: skip
    code, words = Run(tmp_path / "bad", "--agents", one.address, **past).end()
    assert code == 2
    assert [name for name in past if name not in words] == []
    used = subprocess.run(
        command("agent", "--listen", one.address), capture_output=True, text=True, timeout=60, check=False
    )
    assert (used.returncode, "the port is in use" in used.stderr) == (4, True)
    code, words = Run(tmp_path / "gone", "--agents", "127.0.0.1:9").end()
    assert (code, "cannot be reached at 127.0.0.1:9" in words) == (4, True)
