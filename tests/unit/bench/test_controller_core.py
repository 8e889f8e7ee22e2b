"""A controller's rules, DB-14 to DB-26, DB-34 and DB-38. Goal: what the network hides does not make it wrong."""

import pytest

pytest.importorskip("grpc")

from unit.bench.scripted import Script
from unit.bench.simulated import S, World


def states(world, index=0):
    return [state for _, state in world.record.agents[index].states]


def started(count=2, seconds=6.0, **plan):
    """A world in the midst of a run."""
    world = World(count, **plan)
    world.begin()
    world.pass_time(seconds)
    return world


def mute(world, agent, says=None):
    """From now on no figures of the agent arrive; answers to PINGs do, if ``says`` is "pong"."""
    deliver = world.deliver

    def sift(call, way, message):
        if way == "up" and call.agent is agent and not (says == "pong" and message.echo_sequence):
            return
        deliver(call, way, message)

    world.deliver = sift
    return lambda: setattr(world, "deliver", deliver)


def test_a_whole_run():
    world = World(2)
    world.begin()
    world.run()
    assert states(world) == ["validating", "ready", "preparing", "running", "completed"]
    assert (world.record.exit_code, world.record.is_comparable, world.record.start_spread_us) == (0, True, 0.0)
    assert [agent.gaps for agent in world.record.agents] == [0, 0]
    assert not world.calls


@pytest.mark.parametrize(
    "seconds,states_before", [(1.0, ["validating", "ready"]), (2.5, ["preparing"]), (5.0, ["running"])]
)
def test_db_15_an_error_is_failed_wherever_it_comes(seconds, states_before):
    world = started(1, seconds, duration_s=30)
    assert states(world)[-len(states_before) :] == states_before
    agent = world.agents[0]
    agent.core._current.error = "the disk is full"
    agent.core._send("error", agent.core._current, agent.now)
    agent.pump()
    world.run()
    assert (states(world)[-1], world.record.agents[0].error) == ("failed", "the disk is full")
    assert world.record.exit_code == 1
    assert "the disk is full" in world.record.reason


def test_db_16_silence_is_stalled_then_awake_or_dead():
    world = started(2, 5.0, duration_s=200)
    unmute = mute(world, world.agents[0])
    world.pass_time(12)
    assert states(world)[-1] == "stalled"
    unmute()
    world.pass_time(3)
    assert (states(world)[-1], world.record.agents[0].reconnects) == ("running", 0)
    mute(world, world.agents[0])
    world.run()
    assert states(world)[-2:] == ["stalled", "failed"]
    assert "60 s" in world.record.agents[0].error
    assert (world.record.agents[1].state, world.agents[1].core.state) == ("failed", "idle")
    assert world.record.exit_code == 1


def test_db_17_answers_to_pings_are_life_enough():
    world = started(1, 5.0, duration_s=1000)
    mute(world, world.agents[0], says="pong")
    world.pass_time(379)
    assert states(world)[-1] == "running"


def test_db_18_a_call_that_is_cut_is_opened_again():
    world = started(1, 7.0, duration_s=20)
    world.cut(world.call_of(world.agents[0]), "connection reset")
    world.run()
    assert states(world)[-4:] == ["running", "disconnected", "running", "completed"]
    assert (world.record.agents[0].reconnects, world.record.exit_code) == (1, 0)
    assert b"full" in [stats.histograms for _, _, stats in world.figures]


def test_db_18_a_run_that_ended_meanwhile_is_completed():
    world = started(1, 7.0)
    agent = world.agents[0]
    agent.is_reachable = False
    world.cut(world.call_of(agent), "connection reset")
    world.pass_time(20)
    assert agent.core.state == "idle"
    agent.is_reachable = True
    world.run()
    assert states(world)[-3:] == ["running", "disconnected", "completed"]
    assert (world.record.agents[0].reconnects, world.record.exit_code) == (1, 0)


@pytest.mark.parametrize("agent_first", [True, False])
def test_db_19_a_call_that_ends_after_completed_changes_nothing(agent_first):
    world = World(1)
    world.begin()
    while world.agents[0].core.state != "idle" or not world.agents[0].loads or world.now_s < 8:
        world.pass_time(0.001)
    if agent_first:
        world.pass_time(0.01)
    world.cut(world.call_of(world.agents[0]), "connection reset") if world.calls else None
    world.run()
    assert (states(world)[-1], world.record.exit_code) == ("completed", 0)


def test_db_20_an_address_with_a_colon_is_one_agent():
    world = World(1)
    world.begin()
    world.run()
    assert [agent.id for agent in world.record.agents] == ["10.0.0.1:7761"]


def test_db_21_an_agent_that_cannot_be_reached_ends_the_run_for_the_others():
    world = World(2)
    world.agents[1].is_reachable = False
    world.begin()
    world.run()
    assert world.record.exit_code == 4
    assert "10.0.0.2:7761" in world.record.reason
    assert "3 times" in world.record.reason
    assert states(world, 1).count("connecting") == 2  # after the first try
    assert (states(world)[-1], world.agents[0].core.state) == ("failed", "idle")


def test_db_21_a_run_that_tolerates_one_starts_with_two():
    world = World(3, tolerate=1)
    world.agents[1].is_reachable = False
    world.begin()
    world.run()
    assert [agent.state for agent in world.record.agents] == ["completed", "failed", "completed"]
    assert world.record.exit_code == 0
    assert "1 of 3 agents failed" in world.record.reason


def test_db_22_wrong_clocks_and_slow_networks_begin_together():
    world = World(2)
    for agent, skew_s, latency_s in zip(world.agents, (5, -3), (0.005, 0.1)):
        agent.skew_ns, agent.latency_s = skew_s * S, latency_s
    world.begin()
    world.run()
    offsets = [agent.offset_ns for agent in world.record.agents]
    assert offsets == [pytest.approx(5 * S, abs=5e6), pytest.approx(-3 * S, abs=1e8)]
    assert [agent.bound_ns for agent in world.record.agents] == [5_000_000, 100_000_000]
    begun = [agent.loads[0].begun_ns for agent in world.agents]
    assert abs(begun[0] - begun[1]) <= 105_000_000
    assert world.record.exit_code == 0


def test_db_23_no_agent_starts_before_all_are_ready():
    world = World(2)
    world.agents[1].is_reachable = False
    world.after(2.5, lambda: setattr(world.agents[1], "is_reachable", True))
    world.begin()
    world.run()
    ready_s = next(at_s for at_s, state in world.record.agents[1].states if state == "ready")
    first_s = next(at_s for at_s, state in world.agents[0].states if state == "running")
    assert ready_s > 2.5
    assert first_s >= ready_s + 2
    assert world.record.exit_code == 0


def test_db_24_a_start_that_came_too_late_is_given_once_more():
    held = World(2)
    deliver = held.deliver

    def slow_once(call, way, message):
        if way == "down" and message.start_timestamp_ns and call.agent is held.agents[0]:
            call.held_until_ns = held.now_ns + 4 * S
            held.deliver = deliver
        deliver(call, way, message)

    held.deliver = slow_once
    held.begin()
    held.run()
    assert any("It is given another start" in note for note in held.notes)
    assert held.record.exit_code == 0
    assert [agent.state for agent in held.record.agents] == ["completed", "completed"]


@pytest.mark.parametrize("step_s", [-3600, -30, 30, 3600])
def test_a_clock_that_is_set_before_the_start_was_given_is_measured_again(step_s):
    world = World(2)
    ready = []
    deliver = world.deliver

    def set_first(call, way, message):
        if way == "down" and message.start_timestamp_ns and not ready:
            ready.append(call)
            call.agent.skew_ns += step_s * S
        deliver(call, way, message)

    world.deliver = set_first
    world.begin()
    world.run()
    assert [agent.state for agent in world.record.agents] == ["completed", "completed"]
    assert world.record.exit_code == 0
    assert world.record.start_spread_us <= 2000


def test_db_26_a_spread_above_the_limit_is_finished_and_not_comparable():
    world = World(2, spread_max_ms=50)
    world.agents[1].script = Script(begin_late_ns=60_000_000)
    world.begin()
    world.run()
    assert (world.record.exit_code, world.record.is_comparable) == (7, False)
    assert world.record.start_spread_us == pytest.approx(60_000)
    assert "60.0 ms, 50 ms at most" in world.record.reason
    assert [agent.state for agent in world.record.agents] == ["completed", "completed"]


def test_db_34_a_dead_agent_counts_by_its_last_figures():
    world = started(2, 10.0, duration_s=30, tolerate=1)
    world.agents[0].loads[0].ops = 1234
    world.pass_time(3)
    world.agents[0].die()
    world.run()
    assert [agent.state for agent in world.record.agents] == ["failed", "completed"]
    assert world.record.exit_code == 0
    assert world.record.agents[0].last.put_ops == 1234


@pytest.mark.parametrize("seconds", [0.001, 1.0, 2.7, 5.0, 9.0])
@pytest.mark.parametrize("code", [130, 143])
def test_db_38_a_signal_ends_the_run_within_15_s(seconds, code):
    world = started(2, seconds, duration_s=30)
    world.controller.abort("user", "Ended by a signal.", code, world.controller_now)
    begin_s = world.now_s
    world.pump()
    world.run(20)
    assert world.now_s - begin_s <= 15.1
    assert world.record.exit_code == code
    assert [agent.state for agent in world.record.agents] == ["failed", "failed"]
    world.pass_time(61)
    assert [agent.core.state for agent in world.agents] == ["idle", "idle"]


def test_db_38_an_agent_that_is_ended_says_so():
    world = started(2, 8.0, duration_s=30)
    world.agents[0].core.abort("The agent was ended by SIGTERM.", world.agents[0].now)
    world.agents[0].pump()
    world.run()
    assert states(world)[-2:] == ["aborting", "failed"]
    assert world.record.agents[0].error == "The agent was ended by SIGTERM."
    assert world.record.exit_code == 1


def test_an_agent_that_was_started_again_knows_no_run():
    world = started(1, 8.0, duration_s=30)
    world.agents[0].die()
    world.pass_time(0.5)
    world.agents[0].come_back()
    world.run()
    assert states(world)[-2:] == ["disconnected", "failed"]
    assert "knows no run" in world.record.agents[0].error


def test_an_agent_that_stays_frozen_is_given_up_and_ends_by_itself():
    world = started(1, 8.0, duration_s=300)
    world.agents[0].frozen_until_ns = world.now_ns + 70 * S
    world.run()
    assert (states(world)[-1], world.record.exit_code) == ("failed", 1)
    world.pass_time(20)
    assert world.agents[0].core.state == "idle"


def test_messages_of_another_run_are_nothing():
    world = started(1, 8.0)
    call = world.call_of(world.agents[0])
    from kvspic.bench.proto import LiveStats

    world.controller.received(
        call.number, LiveStats(run_id="other", status=LiveStats.ERROR, sequence=99), world.controller_now
    )
    world.run()
    assert world.record.agents[0].state == "completed"


def test_a_summary_that_is_garbage_is_a_note():
    world = started(1, 8.0)
    call = world.call_of(world.agents[0])
    from kvspic.bench.proto import LiveStats

    message = LiveStats(run_id="run-1", status=LiveStats.RUNNING, sequence=99, final_summary=b"\x00garbage")
    world.controller.received(call.number, message, world.controller_now)
    assert any("cannot be read" in note for note in world.notes)
