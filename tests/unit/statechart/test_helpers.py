"""Helpers. Goal: decorated definitions do what their rows said before, and the decoration, in the stated order."""

import pytest
from unit.statechart import machines
from unit.statechart.machines import feed

from kvspic.statechart import (
    Branch,
    Definition,
    DefinitionError,
    Result,
    Row,
    StatechartError,
    create_state_machine,
    deep,
    out,
    update,
)
from kvspic.statechart.helpers import (
    chain_updates,
    compute_history_maps,
    compute_history_state,
    history_targets,
    map_actions,
    merge_actions,
    merge_outputs,
    merge_updates,
    reduce_branches,
    with_entry_actions,
    with_exit_actions,
)


def lamp():
    rows = [
        Row("off", "press", Branch("on", action=lambda d, ev, st: update(n=d["n"] + 1).out("lit"))),
        Row("on", "press", "off"),
    ]
    return Definition(["off", "on"], ["press"], rows, initial="off", data={"n": 0, "e": 0})


def test_sc_55_an_entry_action_runs_after_the_rows_action_on_its_data():
    decorated = with_entry_actions(lamp(), {"on": lambda d, ev, st: update(e=d["n"] * 10).out("entered")})
    machine = create_state_machine(decorated)
    assert feed(machine, "press") == [["lit", "entered"]]
    assert machine.data == {"n": 1, "e": 10}
    assert feed(machine, "press") == [[]]


@pytest.mark.parametrize("decorate", [with_entry_actions, with_exit_actions])
def test_sc_55_decorating_an_unknown_state_is_a_definition_error(decorate):
    with pytest.raises(DefinitionError, match="'dim'"):
        decorate(lamp(), {"dim": out("x")})


def test_an_exit_action_runs_before_the_rows_action_and_only_when_the_state_is_left():
    decorated = with_exit_actions(machines.hist(), {"I": out("left I"), "O": out("left O"), "S": out("left S")})
    machine = create_state_machine(decorated)
    assert feed(machine, "deep", "a", "t", "b", "z") == [["H*", "O>A"], ["I>S"], ["left S"], ["left I"], ["left O"]]


def test_the_initial_state_can_have_an_entry_action():
    machine = create_state_machine(with_entry_actions(lamp(), {"off": out("dark")}))
    assert machine.started.outputs == ["dark"]
    assert feed(machine, "press", "press") == [["lit"], ["dark"]]


def test_arriving_by_history_is_not_decorated():
    machine = create_state_machine(with_entry_actions(machines.session(), {"PUT": out("put")}))
    assert feed(machine, "ready", "token", "drop", "timer")[-1] == []


def test_merged_actions_see_the_same_data_and_chained_ones_do_not():
    def add(d, ev, st):
        return update(n=d["n"] + 1).out(d["n"])

    merged = merge_actions([add, add, out(9)])
    assert merged({"n": 1}, None, {}) == Result(({"n": 2}, {"n": 2}), (1, 1, 9))
    assert merge_updates([add])({"n": 1}, None, {}) == update(n=2)
    assert chain_updates([add, add])({"n": 1}, None, {}) == Result(({"n": 2}, {"n": 3}))


def test_merged_outputs_keep_none_as_an_element():
    assert merge_outputs([["a"], None, [["b"]]]) == ("a", None, ["b"])


def test_a_part_that_returns_nothing_is_an_error():
    with pytest.raises(StatechartError):
        merge_actions([lambda d, ev, st: None])({}, None, {})
    mapped = merge_actions([lambda d, ev, st: {"updates": [{"n": 1}], "outputs": ["a"]}])
    assert mapped({}, None, {}) == update(n=1).out("a")


def test_actions_are_mapped_and_branches_folded_with_their_places():
    places = []
    silent = map_actions(lambda branch, row, number: places.append((row, number)), machines.scale())
    assert places == [(0, 0), (0, 1), (1, 0), (2, 0)]
    assert feed(create_state_machine(silent), {"weigh": 5}) == [[]]
    assert reduce_branches(lambda found, row, branch: [*found, branch.target], [], machines.lamp()) == [
        "on",
        "off",
        "broken",
    ]


STATES = {"O": {"A": "", "B": "", "I": {"S": "", "T": ""}}, "Z": ""}


def test_history_targets_are_checked():
    make = history_targets(STATES)
    assert make("deep", "O") == deep("O")
    for name in ("A", "X"):
        with pytest.raises(DefinitionError):
            make("deep", name)


def test_the_maps_of_a_tree():
    names, ancestors = compute_history_maps(STATES)
    assert names == ["O", "A", "B", "I", "S", "T", "Z"]
    assert ancestors["T"] == ["I", "O"]


@pytest.mark.parametrize(
    ("kind", "state", "expected"),
    [("deep", "O", "T"), ("shallow", "O", "I"), ("shallow", "I", "T"), ("deep", "Z", "Z")],
)
def test_history_can_be_computed_from_a_run(kind, state, expected):
    assert compute_history_state(STATES, ["nok", "O", "A", "I", "S", "T", "Z"], kind, state) == expected
