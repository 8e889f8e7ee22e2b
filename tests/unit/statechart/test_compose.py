"""Composition. Goal: machines side by side or in a row behave as their parts do, and fail all or none."""

import json

import pytest
from unit.statechart import machines

from kvspic.statechart import Branch, Definition, MachineError, Row, StatechartError, create_state_machine, out
from kvspic.statechart.compose import Chain, Parallel


def counter():
    rows = [Row("a", "tick", Branch("a", lambda d, ev, st: ev > 0, machines.counting("t")))]
    return create_state_machine(Definition(["a"], ["tick"], rows, initial="a", data={"n": 0}))


def translator():
    rows = [
        Row("a", "press", Branch("a", action=out({"tick": 1}, "no event", {"zap": 1}, {"tick": -1}, ("tick", 2)))),
        Row("a", "quiet", "a"),
        Row("a", "never", Branch("a", lambda d, ev, st: False)),
    ]
    return create_state_machine(Definition(["a"], ["press", "quiet", "never"], rows, initial="a"))


def test_parallel_machines_all_get_the_event():
    both = Parallel({"lamp": create_state_machine(machines.lamp()), "other": create_state_machine(machines.hist())})
    assert both({"press": 1}) == {"lamp": [{"lamp": "on", "count": 0}], "other": None}


def test_a_chain_feeds_outputs_that_are_events():
    chain = Chain({"first": translator(), "second": counter()})
    assert chain({"press": 1}) == ["t", "t"]
    assert chain.machines["second"].data == {"n": 2}


def test_a_chain_keeps_the_three_empty_answers():
    chain = Chain({"first": translator(), "second": counter()})
    assert [chain({"zap": 1}), chain({"never": 1}), chain({"quiet": 1})] == [None, [None], []]


@pytest.mark.parametrize("kind", [Parallel, Chain])
def test_a_failing_part_rolls_all_back(kind):
    rows = [
        Row("a", "tick", Branch("a", action=machines.raising)),
        Row("a", "press", Branch("a", action=machines.raising)),
    ]
    failing = create_state_machine(Definition(["a"], ["tick", "press"], rows, initial="a"))
    first = create_state_machine(machines.lamp()) if kind is Parallel else translator()
    group = kind({"first": first, "second": failing})
    before = group.snapshots
    with pytest.raises(MachineError):
        group({"press": 1})
    assert group.snapshots == before


def test_compositions_are_saved_and_restored():
    group = Parallel({"lamp": create_state_machine(machines.lamp())})
    group({"press": 1})
    saved = json.dumps({name: snapshot.to_dict() for name, snapshot in group.snapshots.items()})
    other = Parallel({"lamp": create_state_machine(machines.lamp())})
    other.restore(json.loads(saved))
    assert other.snapshots == group.snapshots
    for wrong in ({}, {"lamp": {"control": "x"}}):
        with pytest.raises(StatechartError):
            other.restore(wrong)
    assert other.snapshots == group.snapshots
    with pytest.raises(StatechartError):
        Parallel({})
