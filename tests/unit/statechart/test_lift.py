"""Lifting. Goal: a table becomes a machine with the same cells, and its faults are contract violations."""

import dataclasses

import pytest

from kvspic.statechart import DefinitionError, Profile, create_state_machine
from kvspic.statechart.diagram import FORMATS, render
from kvspic.statechart.generate import all_pairs, all_transitions, random_walks
from kvspic.statechart.graph import Model, replay
from kvspic.statechart.lift import TableMachine, lift

TABLE = TableMachine(
    name="upload",
    states=("NEW", "OPEN", "ENDED"),
    events=("OPENED", "DATA", "CLOSED", "OF_ANOTHER_MACHINE"),
    actions=("PUT", "REPORT"),
    initial="NEW",
    edges=(
        ("NEW", "OPENED", "OPEN", None),
        ("OPEN", "DATA", "OPEN", "PUT"),
        ("OPEN", "CLOSED", "ENDED", "REPORT"),
        ("NEW", "CLOSED", "ENDED", "REPORT"),
        ("ENDED", "OPENED", "OPEN", None),
    ),
    retry_budget={"NEW": 5, "OPEN": 0},
    error_status={"NEW": "KVS_E_UPLOAD", "ENDED": 7},
)


def test_each_cell_of_the_table_is_a_step_and_an_absent_one_is_unhandled():
    cells = {(state, event): (following, action) for state, event, following, action in TABLE.edges}
    for state in TABLE.states:
        for event in TABLE.events:
            machine = create_state_machine(lift(TABLE))
            machine.restore({"control": state, "data": None, "deep": {}, "shallow": {}})
            answer = machine.send({event: None})
            following, action = cells.get((state, event), (state, "absent"))
            assert answer == (None if action == "absent" else [] if action is None else [action])
            assert machine.control == following


def test_retries_and_status_become_notes():
    assert lift(TABLE).notes == {"NEW": "5 retries, then KVS_E_UPLOAD", "ENDED": "fails with 7"}


@pytest.mark.parametrize("form", FORMATS)
def test_a_lifted_machine_can_be_drawn(form):
    text = render(lift(TABLE), form)
    assert "REPORT" in text
    assert "5 retries, then KVS_E_UPLOAD" in text


def test_a_lifted_machine_gives_sequences():
    model = Model(lift(TABLE))
    assert all_transitions(model).coverage.missed_edges == ()
    assert all_pairs(model).coverage.missed_pairs == ()
    for walk in random_walks(model, 50, 50, seed=3):
        assert len(walk.inputs) == 50
        assert replay(walk, create_state_machine(lift(TABLE))) == ()


@pytest.mark.parametrize(
    ("edge", "contract"),
    [
        (("OPEN", "DATA", "ENDED", None), "allStateTransitionsOnOneSingleRow"),
        (("OPEN", "TYPO", "ENDED", None), "areEventsDeclared"),
        (("OPEN", "OF_ANOTHER_MACHINE", "NOWHERE", None), "areStatesDeclared"),
    ],
)
def test_faults_of_a_table_are_named(edge, contract):
    wrong = dataclasses.replace(TABLE, edges=(*TABLE.edges, edge))
    with pytest.raises(DefinitionError) as caught:
        lift(wrong)
    assert contract in caught.value.ids
    assert contract in {found.id for found in lift(wrong, Profile.PARITY).check()}
