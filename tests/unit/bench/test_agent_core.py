"""An agent's rules, DB-01 to DB-13, DB-24, DB-25, DB-33. Goal: any caller, any fault: one run goes on at a
time, its controller learns how it ended, and the agent takes the next one."""

import pytest

pytest.importorskip("grpc")

from unit.bench.scripted import Script, plan_text
from unit.bench.simulated import S, World

from kvspic.bench.proto import ControlMessage, LiveStats
from kvspic.bench.wire import unpack

START, ABORT, PING = ControlMessage.START, ControlMessage.ABORT, ControlMessage.PING


class Lone:
    """One agent and a controller that is played by the test."""

    def __init__(self, **script):
        self.world = World(1)
        self.agent = self.world.agents[0]
        self.agent.script = Script(**script)
        self.call = 1001
        self.sequence = 0

    @property
    def state(self):
        return self.agent.core.state

    def say(self, command, run="r1", **fields):
        self.sequence += 1
        given = {"run_id": run, "sequence": self.sequence, "protocol": 1, **fields}
        return self.world.ask(self.agent, self.call, command=command, **given)

    def offer(self, run="r1", text=None, **fields):
        config = plan_text() if text is None else text
        said = self.say(START, run, config_yaml=config, agent_id="a1", num_agents=1, **fields)
        for message in said:
            self.say(ControlMessage.ACKNOWLEDGE, run, ack_sequence=message.sequence)
        return said

    def start_in(self, seconds):
        return self.say(START, start_timestamp_ns=self.agent.now.wall_ns + int(seconds * S))

    def listen(self, seconds, call=None):
        """Let time pass; what the agent says on the call, with the time."""
        said, end_s = [], self.world.now_s + seconds
        while self.world.now_s < end_s:
            self.world.pass_time(0.05)
            while (message := self.agent.core.take(call or self.call, self.agent.now)) is not None:
                said.append((round(self.world.now_s, 2), message))
                if message.status != LiveStats.RUNNING or message.at_barrier:
                    answers = self.say(ControlMessage.ACKNOWLEDGE, ack_sequence=message.sequence)
                    said += [(round(self.world.now_s, 2), answer) for answer in answers]
        return said

    def run_to_barrier(self):
        self.offer()
        self.listen(0.1)
        self.start_in(1)
        said = self.listen(4.5)
        assert said[-1][1].at_barrier or any(message.at_barrier for _, message in said)
        return said


def statuses(said):
    return [message.status for _, message in said]


def test_db_01_a_valid_plan_is_answered_with_one_ready():
    lone = Lone()
    (ready,) = lone.offer()
    assert (ready.status, ready.sequence, ready.agent_id) == (LiveStats.READY, 1, "a1")
    assert ready.agent_timestamp_ns == lone.agent.now.wall_ns
    assert lone.state == "ready"


def test_db_02_an_invalid_plan_is_one_error_with_every_field_and_the_next_one_is_taken():
    lone = Lone()
    (error,) = lone.offer(text="fps: 0\nkbps: 1\nstreams: 3\n")
    assert error.status == LiveStats.ERROR
    assert all(name in error.error_message for name in ("fps", "kbps", "streams"))
    assert lone.state == "idle"
    (ready,) = lone.offer(run="r2")
    assert ready.status == LiveStats.READY


def test_db_03_a_start_in_three_seconds_is_kept_and_figures_come_each_second():
    lone = Lone()
    lone.offer()
    lone.listen(0.1)
    lone.start_in(3)
    begin_s = lone.world.now_s
    said = lone.listen(5.6)
    running = [(at_s - begin_s, message) for at_s, message in said if message.status == LiveStats.RUNNING]
    assert [round(at_s) for at_s, message in running if not message.at_barrier] == [3, 4, 5]
    assert running[0][1].in_prepare_phase
    sequences = [message.sequence for _, message in said]
    assert sequences == list(range(sequences[0], sequences[0] + len(said)))
    assert statuses(said) >= [LiveStats.READY] * 2  # a sign of life while it waits


@pytest.mark.parametrize("ahead_s,words", [(61, "60 s at most"), (-0.5, "it had passed for")])
def test_db_04_and_24_a_start_that_cannot_be_kept_is_refused(ahead_s, words):
    lone = Lone()
    lone.offer()
    (error,) = [message for message in lone.start_in(ahead_s) if message.status == LiveStats.ERROR]
    assert words in error.error_message
    assert lone.state == "idle"


def test_db_05_an_abort_while_waiting_opens_nothing_and_a_ping_is_answered():
    lone = Lone()
    lone.offer()
    lone.start_in(30)
    (pong, *_) = lone.say(PING, sent_ns=42)
    assert (pong.echo_sequence, pong.echo_sent_ns, pong.status, pong.sequence) == (4, 42, LiveStats.READY, 0)
    (aborted,) = [message for message in lone.say(ABORT, reason="user") if not message.echo_sequence]
    assert (aborted.status, lone.state) == (LiveStats.ABORTED, "idle")
    lone.listen(40)
    assert lone.agent.loads[0].calls == ["kill"]  # nothing was prepared


def test_db_06_a_load_that_fails_is_an_error_with_its_text():
    lone = Lone()
    lone.run_to_barrier()
    lone.agent.loads[0].error = "the endpoint refused all frames"
    said = lone.listen(3)
    assert statuses(said).count(LiveStats.ERROR) == 1
    assert LiveStats.COMPLETED not in statuses(said)
    assert said[-1][1].error_message == "the endpoint refused all frames"
    assert lone.agent.loads[0].calls[-1] == "kill"
    assert lone.state == "idle"


def test_db_07_an_abort_while_running_drains():
    lone = Lone(stop_s=2)
    lone.run_to_barrier()
    begin_s = lone.world.now_s
    lone.say(ABORT, reason="user")
    assert lone.state == "aborting"
    said = lone.listen(4)
    (aborted,) = [(at_s, message) for at_s, message in said if message.status == LiveStats.ABORTED]
    assert aborted[0] - begin_s == pytest.approx(2, abs=0.1)
    assert "user" in aborted[1].error_message
    assert lone.agent.loads[0].calls[-2:] == ["stop", "kill"]


def test_db_08_a_load_that_hangs_is_killed_after_5_s_and_left_after_15():
    lone = Lone(stop_s=None)
    lone.run_to_barrier()
    begin_s = lone.world.now_s
    lone.say(ABORT, reason="user")
    lone.listen(4.8)
    assert "kill" not in lone.agent.loads[0].calls
    lone.listen(0.4)
    assert lone.agent.loads[0].calls[-1] == "kill"
    said = lone.listen(15)
    (at_s,) = [at_s for at_s, message in said if message.status == LiveStats.ABORTED]
    assert at_s - begin_s == pytest.approx(15, abs=0.1)
    assert lone.state == "idle"


def test_db_09_an_old_abort_does_nothing_to_the_next_run():
    lone = Lone(stop_s=2)
    lone.run_to_barrier()
    lone.say(ABORT, reason="user")
    lone.listen(2.2)
    lone.offer(run="r2")
    lone.say(START, "r2", start_timestamp_ns=lone.agent.now.wall_ns + S)
    for _ in range(9):
        lone.listen(2)
        lone.say(PING, "r2")
    assert lone.state == "running"


def test_db_11_a_second_run_is_refused_in_words_and_disturbs_nothing():
    lone = Lone()
    lone.run_to_barrier()
    (error,) = lone.world.ask(lone.agent, 2002, command=START, run_id="other", config_yaml=plan_text(), protocol=1)
    assert error.status == LiveStats.ERROR
    assert error.run_id == "other"
    assert "has been busy with run r1" in error.error_message
    assert "10.0.0.8:1" in error.error_message
    assert lone.agent.core.is_over(2002)
    assert lone.state == "running"
    (lost,) = lone.world.ask(lone.agent, 2003, command=ABORT, run_id="other")
    assert "knows no run" in lost.error_message
    assert lone.state == "running"


def test_a_version_that_does_not_fit_is_refused_in_words():
    lone = Lone()
    (error,) = lone.offer(protocol=2)
    assert "speaks version 1 of the protocol, the controller 2" in error.error_message
    assert lone.state == "idle"


def test_db_12_three_runs_in_a_row_one_of_which_fails():
    world = World(1)
    codes = []
    for number in range(3):
        world.agents[0].script = Script(prepare_error="no such region" if number == 1 else "")
        world.begin()
        world.run()
        codes.append((world.record.exit_code, world.record.agents[0].state))
    assert codes == [(0, "completed"), (1, "failed"), (0, "completed")]


def test_db_13_a_controller_that_comes_back_gets_the_rest_and_all_figures():
    lone = Lone()
    last = lone.run_to_barrier()[-1][1].sequence
    lone.agent.core.closed(lone.call)
    lone.world.pass_time(30)
    assert lone.state == "running"
    lone.call, lone.sequence = 1002, 0
    said = lone.say(ControlMessage.SYNC_STATE, ack_sequence=last)
    assert [message.sequence for message in said] == [last + 1]
    assert said[0].histograms == b"full"
    assert said[0].at_barrier
    assert lone.listen(2.1)[0][1].histograms == b"delta"


def test_db_13_a_controller_that_stays_away_loses_its_run():
    lone = Lone()
    lone.run_to_barrier()
    lone.agent.core.closed(lone.call)
    lone.world.pass_time(59)
    assert lone.state == "running"
    lone.world.pass_time(2)
    assert lone.state == "idle"
    lone.call = 1002
    said = lone.say(ControlMessage.SYNC_STATE, ack_sequence=0)  # kept for ten minutes
    assert said[-1].status == LiveStats.ABORTED
    assert "silent for 60 s" in said[-1].error_message


def test_db_25_a_clock_that_is_set_after_the_start_was_given_moves_nothing():
    lone = Lone()
    lone.offer()
    lone.start_in(5)
    begin_s = lone.world.now_s
    lone.agent.skew_ns += 30 * S
    said = lone.listen(6)
    (first, *_) = [at_s for at_s, message in said if message.status == LiveStats.RUNNING]
    assert first - begin_s == pytest.approx(5, abs=0.1)


def test_what_must_arrive_is_sent_again_every_2_s_until_it_is_acknowledged():
    lone = Lone()
    lone.say(START, config_yaml=plan_text(), agent_id="a1", num_agents=1)
    sent = []
    for _ in range(70):
        lone.world.pass_time(0.1)
        while (message := lone.agent.core.take(lone.call, lone.agent.now)) is not None:
            sent.append(message.sequence)
    assert sent.count(1) == 3
    lone.say(ControlMessage.ACKNOWLEDGE, ack_sequence=1)
    assert 1 not in [message.sequence for _, message in lone.listen(5)]


def test_db_33_a_reader_that_takes_nothing_holds_up_only_itself():
    lone = Lone()
    lone.run_to_barrier()
    lone.say(ControlMessage.RELEASE_BARRIER, start_timestamp_ns=lone.agent.now.wall_ns + S)
    for _ in range(12):  # PINGs come in, and the writer sends nothing
        lone.agent.core.received(lone.call, ControlMessage(command=PING, run_id="r1"), lone.agent.now)
        lone.world.pass_time(1)
    assert lone.state == "idle"
    said = lone.listen(0.2)
    assert len(said) == 2  # the newest PING, the summary; no old figures
    assert said[-1][1].completed
    assert unpack(said[-1][1].final_summary)["frames"]["persisted"] == 7


def test_gaps_in_the_controllers_messages_are_counted():
    lone = Lone()
    lone.offer()
    assert lone.listen(2)[-1][1].gaps == 0
    lone.sequence += 3
    lone.say(PING)
    assert lone.listen(2)[-1][1].gaps == 3


def test_an_exception_of_the_load_is_the_text_of_an_error():
    lone = Lone()
    lone.run_to_barrier()
    load = lone.agent.loads[0]

    def broken(**_):
        raise RuntimeError("figures are gone")

    load.snapshot = broken
    lone.world.pass_time(1.1)
    message = lone.agent.core.take(lone.call, lone.agent.now)
    assert (message.status, message.error_message) == (LiveStats.ERROR, "figures are gone")
    assert lone.state == "idle"
