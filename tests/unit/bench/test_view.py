"""The live view. Goal: it shows true figures of all agents, on a terminal and in a log."""

import io

import pytest

pytest.importorskip("google.protobuf")
pytest.importorskip("rich")
from rich.console import Console
from unit.bench.runs import message

from kvspic.bench.histogram import Histograms
from kvspic.bench.record import AgentRecord
from kvspic.bench.view import LiveView, Numbers


def puts(value, count):
    made = Histograms()
    made.at("PUT", 1).record([value] * count)
    return made


def fed(view):
    """Two agents for two seconds: one puts 1000 frames of 100 us, one 1000 of 900 us, in each."""
    agents = [AgentRecord("10.0.0.1:7761", "x", "running"), AgentRecord("b", "y", "running")]
    for agent in agents:
        view.agent_changed(agent, 0.5)
    for second in (1, 2):
        for agent, value in zip(agents, (100, 900)):
            stats = message(second, put_ops=1000 * second, put_bytes=10**6 * second, hist=puts(value, 1000))
            view.stats(agent, float(second), stats)
    return agents


@pytest.fixture
def clock():
    return iter(range(0, 1000, 5)).__next__


def console(is_terminal):
    return Console(file=io.StringIO(), force_terminal=is_terminal, width=150, color_system=None)


def test_percentiles_of_all_agents_are_those_of_the_sum():
    numbers = Numbers()
    for name, value in (("a", 100), ("b", 900)):
        numbers.stats(AgentRecord(name, name), 1.0, message(1, put_ops=1000, hist=puts(value, 1000)))
    assert numbers.take_percentiles() == {"PUT": (100, 900)}
    assert numbers.take_percentiles() == {}


def test_rates_come_from_two_messages_and_are_added():
    numbers = Numbers()
    for name in ("a", "b"):
        for second in (1, 2):
            numbers.stats(AgentRecord(name, name), float(second), message(second, put_ops=300 * second))
    assert "600 frames/s" in numbers.line(2.0)


def test_a_log_gets_a_plain_line_a_second(clock):
    place = console(False)
    with LiveView(place, clock) as view:
        fed(view)
        view.note(2.5, "[bold]all agents are ready[/bold]")
    lines = place.file.getvalue().splitlines()
    assert "10.0.0.1:7761 is running" in lines[0]
    assert lines[-1].endswith("[bold]all agents are ready[/bold]")
    assert "2 running; 2,000 frames/s; 16.0 Mbit/s; PUT p50 0.9 p99 0.9 ms" in lines[-2]
    assert not any("\x1b" in line for line in lines)


def test_a_terminal_gets_a_table_of_agents_with_their_errors(clock):
    place = console(True)
    with LiveView(place, clock) as view:
        agents = fed(view)
        agents[1].state, agents[1].error = "failed", "out of [memory]"
        view.agent_changed(agents[1], 3.0)
        view.note(3.0, "one agent failed")
        view.stats(agents[0], 3.5, message(3, put_ops=3000))
    shown = place.file.getvalue()
    for words in ("10.0.0.1:7761", "workload", "5/5", "out of [memory]", "1 failed, 1 running", "one agent failed"):
        assert words in shown


def test_many_agents_do_not_fill_the_screen(clock):
    place = console(True)
    with LiveView(place, clock) as view:
        for number in range(33):
            view.agent_changed(AgentRecord(f"agent-{number}", "x", "running"), 1.0)
    assert "and 3 more agents" in place.file.getvalue()


def test_it_draws_once_a_second_however_many_agents_speak():
    place = console(False)
    with LiveView(place, lambda: 1.0) as view:
        for number in range(100):
            view.stats(AgentRecord(f"agent-{number}", "x", "running"), 1.0, message(1))
    assert len(place.file.getvalue().splitlines()) == 1
