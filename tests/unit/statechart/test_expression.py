"""The expression language. Goal: values as JSON has them, and unknown words are refused when a definition is read."""

import pytest

from kvspic.statechart import DefinitionError, Profile
from kvspic.statechart.expression import (
    action_from_json,
    definition_from_expressions,
    expression,
    generators_from_json,
    guard_from_json,
)

ES = {"n": 3, "list": ["a", {"deep": 1}], "zero": 0, "none": None}


@pytest.mark.parametrize(
    ("raw", "value"),
    [
        (7, 7),
        ("x", "x"),
        (None, None),
        ([1, {"var": "ev"}], [1, 9]),
        ({"const": {"var": "es.n"}}, {"var": "es.n"}),
        ({"var": "es.n"}, 3),
        ({"var": "es.list.1.deep"}, 1),
        ({"var": "es.absent.more"}, None),
        ({"var": "st.limit"}, 20),
        ({"+": [{"var": "es.n"}, 1]}, 4),
        ({"-": [1, 3]}, -2),
        ({"*": [2, 3]}, 6),
        ({"+": [None, 1]}, 1),
        ({"%": [7, 3]}, 1),
        ({"%": [-7, 3]}, -1),
        ({"%": [7, -3]}, 1),
        ({"==": [1, 1]}, True),
        ({"==": [1, True]}, False),
        ({"==": [None, 0]}, False),
        ({"==": [[1], [1]]}, True),
        ({"!=": ["a", "b"]}, True),
        ({"<": [1, 2]}, True),
        ({"<=": [2, 2]}, True),
        ({">": ["b", "a"]}, True),
        ({">=": [1, 2]}, False),
        ({"<": [None, 1]}, True),
        ({"and": [True, {"<": [1, 2]}]}, True),
        ({"or": [False, False]}, False),
        ({"!": False}, True),
        ({"!": [True]}, False),
        ({"cat": ["a", 1, None, True, 2.0, 2.5]}, "a1nulltrue22.5"),
        ({"append": [{"var": "es.list"}, 2]}, ["a", {"deep": 1}, 2]),
        ({"append": [None, 2]}, [2]),
        ({"obj": {"a": {"var": "es.n"}}}, {"a": 3}),
    ],
)
def test_expressions(raw, value):
    found = expression(raw)(ES, 9, {"limit": 20})
    assert (found, type(found)) == (value, type(value))


@pytest.mark.parametrize(
    "raw",
    [
        {"pow": [1, 2]},
        {"+": [1]},
        {"+": 1},
        {"var": 7},
        {"var": "xs.a"},
        {},
        {"a": 1, "b": 2},
        {"obj": 1},
        [{"pow": 1}],
        {"cat": "a"},
    ],
)
def test_unknown_words_are_refused_at_once(raw):
    with pytest.raises(DefinitionError):
        expression(raw)


@pytest.mark.parametrize("raw", [{"+": ["a", 1]}, {"<": ["a", 1]}, {"cat": [[1]]}])
def test_operands_of_a_wrong_type_fail_when_they_are_used(raw):
    with pytest.raises(TypeError):
        expression(raw)(ES, 9, {})


def test_guards_and_actions():
    assert guard_from_json({"expr": {">": [{"var": "ev"}, 1]}, "description": "more"})(ES, 2, {}) is True
    assert guard_from_json({"returns": 1})(ES, 2, {}) == 1
    assert action_from_json({"outputs": [{"var": "ev"}]})(ES, 2, {}) == {"updates": [], "outputs": [2]}
    assert action_from_json({"returns": "odd"})(ES, 2, {}) == "odd"
    for made in (guard_from_json({"throws": "no"}), action_from_json({"throws": "no"})):
        with pytest.raises(RuntimeError, match="no"):
            made(ES, 2, {})
    for make, raw in (
        (guard_from_json, {}),
        (guard_from_json, 7),
        (action_from_json, 7),
        (action_from_json, {"raise": 1}),
    ):
        with pytest.raises(DefinitionError):
            make(raw)


def raw_definition(**changes):
    row = {"from": "a", "event": "e", "to": "a", "action": "IDENTITY"}
    return {"states": {"a": ""}, "events": ["e"], "initial_control_state": "a", "transitions": [row], **changes}


@pytest.mark.parametrize(
    "changes",
    [
        {"regions": []},
        {"update_state": "replace"},
        {"transitions": [{"from": "a", "event": "e", "to": "a", "action": "IDENTITY", "after": 5}]},
        {
            "transitions": [
                {"from": "a", "event": "e", "guards": [{"guard": "g", "to": "a", "action": "IDENTITY", "in": 1}]}
            ]
        },
        {"guards": {"g": {"script": "x"}}},
    ],
)
def test_a_definition_with_unknown_constructs_is_refused(changes):
    definition_from_expressions(raw_definition())
    with pytest.raises(DefinitionError):
        definition_from_expressions(raw_definition(**changes), Profile.PARITY)


def test_generators_read_the_data_and_their_condition():
    gen = {"input": {"+": [{"var": "es.n"}, 1]}, "when": {"<": [{"var": "es.n"}, 5]}}
    row = {"from": "a", "event": "e", "guards": [{"guard": "g", "gen": gen}, {"guard": "h"}]}
    generators = generators_from_json({"transitions": [row, {"from": "a", "gen": gen}]})
    assert list(generators) == [("a", "e", 0)]
    assert generators["a", "e", 0]({"n": 3}, None).value == 4
    assert generators["a", "e", 0]({"n": 5}, None) is None
    with pytest.raises(DefinitionError):
        generators_from_json({"transitions": [{"from": "a", "event": "e", "gen": {"script": 1}}]})
