"""Definitions. Goal: the Python form and the dict form say the same, and a slip in either is named."""

import json
from enum import Enum

import pytest
from unit.statechart import machines
from unit.statechart.machines import feed

from kvspic.statechart import (
    Branch,
    Definition,
    DefinitionError,
    History,
    Profile,
    Registry,
    Result,
    Row,
    create_state_machine,
    deep,
    out,
    shallow,
    update,
)
from kvspic.statechart.tree import Tree

LAMP = {
    "states": {"off": "", "on": "", "broken": ""},
    "events": ["press", "hit"],
    "initialControlState": "off",
    "initialExtendedState": {"n": 0},
    "transitions": [
        {"from": "off", "event": "press", "to": "on", "action": "lit"},
        {"from": "on", "event": "press", "guards": [{"predicate": "always", "to": "off", "action": "dark"}]},
        {"from": "on", "event": "hit", "to": "broken", "action": "IDENTITY"},
    ],
}
NAMES = Registry(guards={"always": lambda d, ev, st: True}, actions={"lit": machines.lit, "dark": machines.dark})


def test_the_dict_form_makes_the_same_machine():
    loaded = create_state_machine(Definition.from_json(json.dumps(LAMP), NAMES))
    written = create_state_machine(machines.lamp())
    events = ["press", "press", "hit", "press", "hit", "press"]
    assert feed(loaded, *events) == feed(written, *events)
    assert loaded.snapshot == written.snapshot


def test_a_definition_survives_its_own_dict_form():
    plain = Definition.from_dict(LAMP, NAMES).to_dict()
    assert Definition.from_dict(json.loads(json.dumps(plain)), NAMES).to_dict() == plain
    assert plain["transitions"] == LAMP["transitions"]


def test_the_dict_form_of_history_update_and_notes():
    made = machines.hist()
    plain = made.to_dict()
    assert {"from": "Z", "event": "shal", "to": {"shallow": "O"}, "action": "H"} in plain["transitions"]
    actions = {name: out(name) for name in ("O>A", "I>S", "H*", "H")}
    again = create_state_machine(Definition.from_dict(plain, Registry(actions=actions)))
    assert feed(again, "deep", "z", "shal") == [["H*", "O>A"], [], ["H"]]
    noted = Definition(
        ["a"], ["e"], [Row("a", "e", "a")], initial="a", notes={"a": "rests"}, settings={"k": 1}, update=machines.lit
    )
    assert [noted.to_dict()[key] for key in ("notes", "settings", "update_state")] == [{"a": "rests"}, {"k": 1}, "lit"]


def test_a_function_that_is_not_registered_is_an_error():
    with pytest.raises(DefinitionError, match="'dark', which is not registered"):
        Definition.from_dict(LAMP, Registry(NAMES.guards, {"lit": machines.lit}))


@pytest.mark.parametrize("text", ["[]", "7", "null"])
def test_json_that_is_no_object_is_an_error(text):
    with pytest.raises(DefinitionError):
        Definition.from_json(text)


@pytest.mark.parametrize(
    "row",
    [
        {},
        {"from": "a", "event": "e"},
        {"from": "a", "event": "e", "guards": []},
        {"from": "a", "event": "e", "guards": {}},
        {"from": "a", "event": "e", "guards": [7]},
        {"from": "a", "event": "e", "guards": [{"to": "a", "action": "IDENTITY"}]},
        {"from": ["a"], "event": ["e"], "to": ["a"], "action": "IDENTITY"},
        {"from": "a", "event": {}, "to": {"final": "a"}, "action": "IDENTITY"},
        {"from": "a", "event": "e", "to": {"deep": ["a"]}, "action": "IDENTITY"},
    ],
)
def test_rows_of_a_wrong_shape_are_violations_not_crashes(row):
    raw = {"states": {"a": ""}, "events": ["e", []], "initial_control_state": "a", "transitions": [row]}
    assert "haveTransitionsValidTypes" in {
        found.id for found in Definition.from_dict(raw, profile=Profile.PARITY).check()
    }
    with pytest.raises(DefinitionError):
        Definition.from_dict(raw)


@pytest.mark.parametrize(
    "states", [{"p": {"a": "", "b": ""}, "z": ""}, [("p", ["a", "b"]), "z"], (("p", ("a", "b")), "z")]
)
def test_a_tree_may_be_a_mapping_or_nested_lists(states):
    tree = Tree(states)
    assert (tree.names, tree.leaves("p"), tree.ancestors("a")) == (["p", "a", "b", "z"], ["a", "b"], ["p"])
    assert tree.is_inside("a", "p")
    assert not tree.is_inside("p", "p")


def test_members_of_enums_are_names():
    class Plain(Enum):
        OFF = 1
        ON = 2

    class Text(str, Enum):
        PRESS = "press"

    rows = [Row(Plain.OFF, Text.PRESS, Plain.ON), Row(Plain.ON, Text.PRESS, Branch(Plain.OFF, action=out(1)))]
    machine = create_state_machine(Definition(list(Plain), list(Text), rows, initial=Plain.OFF))
    assert feed(machine, "press", "press") == [[], [1]]
    assert machine.control == "OFF"


def test_results_are_built_in_any_order():
    assert update(n=1).out("a") == out("a").update(n=1) == Result(({"n": 1},), ("a",))
    assert out("a").out("b").outputs == ("a", "b")


def test_history_targets_are_values():
    assert (deep("p"), shallow("p")) == (History("deep", "p"), History("shallow", "p"))
    assert [str(deep("p")), str(shallow("p"))] == ["H*(p)", "H(p)"]
    with pytest.raises(ValueError, match="deepest"):
        History("deepest", "p")


def test_an_eventless_row_may_be_written_with_an_empty_event():
    assert Row("a", "", "b") == Row("a", None, "b")
