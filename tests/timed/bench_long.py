"""What befalls a bench for longer than a minute, and links that go down in silence. Run by .ci/long; the name keeps it
out of the timed tests of .ci/run. Goal: short silence costs nothing, long silence ends the run on both sides."""

import signal
import time

import pytest

pytest.importorskip("grpc")

from timed.bench_processes import Agent, Run, children_of, is_alive, wait_until
from timed.networks import Chain, is_possible

pytestmark = pytest.mark.timed
ADDRESS = f"{Chain.service_host}:7761"


@pytest.fixture
def remote():
    """An agent and a controller's beginning of a command, with a network between them that can be cut."""
    if not is_possible():
        pytest.skip("network namespaces need root and the command ip")
    with Chain() as chain:
        prefix = ["ip", "netns", "exec", chain.name("service")]
        agent = Agent("--insecure", prefix=prefix, listen=ADDRESS)
        try:
            yield chain, agent, ["ip", "netns", "exec", chain.name("camera")]
        finally:
            agent.end()


@pytest.mark.parametrize("seconds", [3, 30])
def test_a_link_that_comes_back_costs_nothing(remote, tmp_path, seconds):
    chain, _, prefix = remote
    run = Run(tmp_path, "--agents", ADDRESS, "--insecure", prefix=prefix, duration_s=60)
    run.wait_for("measuring begins")
    time.sleep(5)
    chain.cut()
    time.sleep(seconds)
    chain.mend()
    code, words = run.end(180)
    assert code == 0, words
    frames = run.result["frames"]
    assert frames["persisted"] == frames["offered"] == 600


def test_a_link_that_stays_away_ends_the_run_on_both_sides(remote, tmp_path):
    chain, _, prefix = remote
    run = Run(tmp_path, "--agents", ADDRESS, "--insecure", prefix=prefix, duration_s=300)
    run.wait_for("measuring begins")
    time.sleep(5)
    chain.cut()
    begin_s = time.monotonic()
    code, words = run.end(120)
    assert (code, 55 < time.monotonic() - begin_s < 90) == (1, True), words
    assert "Nothing was heard of it for 60 s" in words
    chain.mend()
    time.sleep(20)  # it lost its controller at the same time, and needs up to 15 s
    assert Run(tmp_path / "again", "--agents", ADDRESS, "--insecure", prefix=prefix).end(120)[0] == 0


def test_an_agent_that_stops_for_70_s_is_given_up_and_takes_the_next_run(tmp_path):
    agent = Agent()
    try:
        run = Run(tmp_path, "--agents", agent.address, duration_s=300)
        run.wait_for("measuring begins")
        time.sleep(4)
        agent.signal(signal.SIGSTOP)
        begin_s = time.monotonic()
        code, words = run.end(120)
        assert (code, 55 < time.monotonic() - begin_s < 90) == (1, True), words
        time.sleep(max(0.0, begin_s + 70 - time.monotonic()))
        agent.signal(signal.SIGCONT)
        time.sleep(20)
        assert Run(tmp_path / "again", "--agents", agent.address).end(120)[0] == 0
    finally:
        agent.end()


def test_an_agent_that_stops_for_5_s_goes_on(tmp_path):
    one = Agent()
    run = Run(tmp_path, "--agents", one.address, duration_s=8)
    run.wait_for("measuring begins")
    time.sleep(2.5)
    one.signal(signal.SIGSTOP)
    time.sleep(5)
    one.signal(signal.SIGCONT)
    code, words = run.end()
    one.end()
    assert code == 0, words


def test_a_killed_controller_leaves_no_agent(tmp_path):
    run = Run(tmp_path, duration_s=120)
    run.wait_for("measuring begins")
    (local,) = children_of(run.process.pid)
    run.process.send_signal(signal.SIGKILL)
    run.end()
    wait_until(lambda: not is_alive(local), 25)
