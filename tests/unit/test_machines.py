"""The core's machines. Goal: what is drawn is what runs, and the page is not older than the tables."""

import itertools
from pathlib import Path

import pytest

from kvspic.machines import PYTHON_MACHINES, core_machines, states_page
from kvspic.statechart import Profile
from kvspic.statechart.lift import lift
from kvspic.types import StreamState

PAGE = Path(__file__).parents[2] / "docs" / "states.md"
NAMES = ["client", "stream", "upload", "generator"]


def test_there_are_four_machines():
    assert list(core_machines()) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_each_machine_keeps_the_contracts_of_a_statechart(name):
    definition = lift(core_machines()[name], Profile.STRICT)
    assert definition.rows


def test_the_stream_machine_has_the_states_that_users_see():
    assert list(core_machines()["stream"].states) == [state.name for state in StreamState]


def test_the_way_of_a_new_stream_is_in_the_table():
    edges = {(state, event): following for state, event, following, _ in core_machines()["stream"].edges}
    events = ("START", "NOT_FOUND", "OK", "OK", "OK", "FRAME", "OK")
    way = itertools.accumulate(events, lambda state, event: edges[state, event], initial="NEW")
    names = ["NEW", "DESCRIBE", "CREATE", "GET_ENDPOINT", "GET_TOKEN", "READY", "PUT_STREAM", "STREAMING"]
    assert list(way) == names


def test_a_state_that_calls_the_service_has_a_budget_and_a_status():
    machine = core_machines()["stream"]
    assert machine.retry_budget["DESCRIBE"] == 5
    assert machine.error_status["DESCRIBE"] == "DESCRIBE_FAILED"
    assert "READY" not in machine.retry_budget


def test_the_page_is_the_one_that_the_tables_give():
    remedy = "run: python -m kvspic states --format page > docs/states.md"
    assert PAGE.read_text(encoding="utf-8") == states_page(), remedy


def test_the_page_has_the_machines_that_are_written_in_python():
    page = PAGE.read_text(encoding="utf-8")
    assert len(PYTHON_MACHINES) == 4
    assert [title for title, _, _ in PYTHON_MACHINES if f"\n## {title}\n" not in page] == []
