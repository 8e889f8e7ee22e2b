"""Contracts. Goal: every wrong definition is refused with all its faults at once, and every fault says which rows."""

import pytest
from unit.statechart import machines

from kvspic.statechart import CONTRACT_IDS, Branch, Definition, DefinitionError, History, Profile, Row, check, deep, out


def definition(states, rows, **changes):
    """An unchecked definition; events are those of the rows unless given."""
    events = list(dict.fromkeys(row.event for row in rows if row.event not in (None, "init")))
    parts = {"events": events, "initial": next(iter(states)), "profile": Profile.PARITY}
    return Definition(states=states, rows=rows, **{**parts, **changes})


def ids(checked, profile=Profile.PARITY):
    return list(dict.fromkeys(found.id for found in check(checked, profile) if found.severity == "error"))


@pytest.mark.parametrize("name", ["lamp", "box", "scale", "house", "chain", "session", "hist", "err"])
def test_the_machines_of_the_scenarios_are_sound(name):
    made = getattr(machines, name)()
    assert check(made, Profile.PARITY) == ()
    assert [found for found in check(made) if found.severity == "error"] == []


def test_sc_51_events_used_and_declared_must_be_the_same():
    made = definition({"a": "", "b": ""}, [Row("a", "x", "b")], events=["e"])
    assert ids(made) == ["areEventsDeclared"]
    assert len(check(made, Profile.PARITY)) == 2


def test_sc_51_a_row_without_an_action_has_a_wrong_shape():
    raw = {
        "states": {"a": "", "b": ""},
        "events": ["e"],
        "initial_control_state": "a",
        "transitions": [{"from": "a", "event": "e", "to": "b"}],
    }
    assert ids(Definition.from_dict(raw, profile=Profile.PARITY)) == ["haveTransitionsValidTypes"]


def test_sc_52_an_unused_compound_without_an_entry_row():
    made = definition({"a": "", "p": {"b": ""}}, [Row("a", "e", "b")])
    assert ids(made) == ["areStatesDeclared", "validInitialTransitionForCompoundState"]


def test_sc_53_an_entry_row_may_aim_at_a_grandchild():
    rows = [Row("g", "init", "c"), Row("p", "init", "c"), Row("c", "e", "d"), Row("d", "e", "c")]
    assert ids(definition({"g": {"p": {"c": "", "d": ""}}}, rows)) == []


def test_sc_53_a_grand_parent_that_competes_is_found_by_the_full_check_only():
    rows = [Row("g", "init", "c"), Row("p", "init", "c"), Row("c", "e", "d"), Row("d", "f", "c"), Row("g", "e", "c")]
    made = definition({"g": {"p": {"c": "", "d": ""}}}, rows)
    assert ids(made) == []
    assert ids(made, Profile.STRICT) == ["noConflictingTransitionsWithAncestorState"]
    assert check(made)[0].rows == (2, 4)


P = {"p": {"a": "", "b": ""}, "z": ""}
ENTRY = Row("p", "init", "a")
BROKEN = {
    "isValidFsmDef": Definition({"a": ""}, ["e"], "rows", initial="a", profile=Profile.PARITY),
    "isInitialControlStateDeclared": definition({"a": ""}, [Row("a", "e", "a")], initial="b"),
    "isInitialStateOriginState": definition({"a": ""}, [Row("a", "e", "nok")]),
    "eventsAreStrings": definition({"a": ""}, [Row("a", "e", "a")], events=["e", 7]),
    "haveTransitionsValidTypes": definition({"a": ""}, [Row("a", "e", "a"), Row("a", "f", [])]),
    "noDuplicatedStates": definition({"a": "", "p": {"a": ""}}, [Row("p", "init", "a"), Row("a", "e", "p")]),
    "noReservedStates": definition({"a": "", "nok": ""}, [Row("a", "e", "a")]),
    "atLeastOneState": Definition({}, [], [], profile=Profile.PARITY),
    "areEventsDeclared": definition({"a": ""}, [Row("a", "e", "a")], events=[]),
    "areStatesDeclared": definition({"a": "", "b": ""}, [Row("a", "e", "a")]),
    "validInitialConfig": definition({"a": ""}, [Row("a", "e", "a"), Row("nok", "init", "a")]),
    "validInitialTransition": definition({"a": ""}, [Row("a", "e", "a"), Row("nok", "e", "a")], initial=None),
    "initEventOnlyInCompoundStates": definition({"a": ""}, [Row("a", "init", "a"), Row("a", "e", "a")]),
    "validInitialTransitionForCompoundState": definition(
        P, [Row("p", "init", deep("p")), Row("a", "e", "b"), Row("b", "e", "z")]
    ),
    "validEventLessTransitions": definition(
        {"a": "", "b": ""}, [Row("a", None, "b"), Row("a", "e", "b"), Row("b", "e", "a")]
    ),
    "isValidSelfTransition": definition({"a": ""}, [Row("a", None, "a")]),
    "allStateTransitionsOnOneSingleRow": definition({"a": ""}, [Row("a", "e", "a"), Row("a", "e", "a")]),
    "noConflictingTransitionsWithAncestorState": definition(
        P, [ENTRY, Row("a", "e", "b"), Row("b", "f", "z"), Row("p", "e", "z")]
    ),
    "isHistoryStatesExisting": definition({"a": ""}, [Row("a", "e", deep("p"))]),
    "isHistoryStatesTargetStates": definition(P, [ENTRY, Row(History("deep", "p"), "e", "z"), Row("a", "e", "b")]),
    "isHistoryStatesCompoundStates": definition({"a": ""}, [Row("a", "e", deep("a"))]),
}


@pytest.mark.parametrize("contract", BROKEN)
def test_each_contract_finds_what_breaks_it(contract):
    assert contract in ids(BROKEN[contract])


def test_every_contract_but_the_placeholder_has_an_example():
    assert set(CONTRACT_IDS) - set(BROKEN) == {"isValidSettings"}


@pytest.mark.parametrize("contract", BROKEN)
def test_a_strict_definition_is_refused_with_the_same_findings(contract):
    wrong = BROKEN[contract]
    with pytest.raises(DefinitionError) as caught:
        Definition(wrong.states, wrong.events, wrong.rows, initial=wrong.initial)
    assert contract in caught.value.ids


@pytest.mark.parametrize(
    ("contract", "states", "rows"),
    [
        ("areStatesDeclared", {"p": {"a": "", "b": ""}}, [Row("p", "init", "a"), Row("a", "e", "a")]),
        (
            "noDuplicatedGuards",
            {"a": ""},
            [Row("a", "e", Branch("a", machines.raising), Branch("a", machines.raising))],
        ),
        ("noDuplicatedGuards", {"a": ""}, [Row("a", "e", Branch("a"), Branch("a", machines.raising))]),
        ("haveTransitionsValidTypes", {"a": ""}, [Row("a", "auto", "a")]),
    ],
)
def test_the_full_check_closes_gaps(contract, states, rows):
    assert ids(definition(states, rows)) == []
    assert contract in ids(definition(states, rows), Profile.STRICT)


def test_duplicate_and_reserved_events_are_errors_of_the_full_check():
    assert ids(definition({"a": ""}, [Row("a", "e", "a")], events=["e", "e"]), Profile.STRICT) == ["noDuplicatedEvents"]
    assert "eventsAreStrings" in ids(definition({"a": ""}, [Row("a", "e", "a")], events=["e", "auto"]), Profile.STRICT)


def test_warnings_do_not_hinder_a_strict_definition():
    rows = [
        Row("nok", "init", Branch("a", action=out("hello"))),
        Row("a", "e", "t"),
        Row("t", None, Branch("a", lambda d, ev, st: True)),
        Row("u", "e", "end"),
    ]
    made = Definition(["a", "t", "u", "end"], ["e"], rows)
    assert {found.id for found in made.check()} == {
        "isInitialActionIdentity",
        "areAutomaticGuardsExhaustive",
        "areStatesReachable",
        "noDeadEnds",
    }


def test_near_names_are_suggested():
    with pytest.raises(DefinitionError, match="did you mean 'ready'"):
        Definition(["ready", "done"], ["go"], [Row("ready", "go", "redy"), Row("done", "go", "ready")], initial="ready")


def test_all_violations_are_reported_together():
    with pytest.raises(DefinitionError) as caught:
        Definition(["a"], [7], [Row("a", "e", "b")], initial="c")
    assert caught.value.ids == (
        "isInitialControlStateDeclared",
        "eventsAreStrings",
        "areEventsDeclared",
        "areStatesDeclared",
    )


def test_what_cannot_be_interpreted_is_refused_in_parity_too():
    from kvspic.statechart import create_state_machine

    for contract in (
        "isInitialControlStateDeclared",
        "haveTransitionsValidTypes",
        "noDuplicatedStates",
        "noReservedStates",
        "atLeastOneState",
        "validInitialConfig",
        "allStateTransitionsOnOneSingleRow",
        "isHistoryStatesExisting",
        "isHistoryStatesTargetStates",
        "isValidFsmDef",
    ):
        with pytest.raises(DefinitionError):
            create_state_machine(BROKEN[contract])
