"""Machines at large. Goal: any sound definition ends on any input, remembers where it was, and goes on after a restore.

The definitions are drawn: a tree of up to three levels, rows with guards on data and event data, transient states,
histories, and now and then an action that raises. They pass every contract, so the strict profile takes them.
"""

import json

from hypothesis import given, settings
from hypothesis import strategies as st

from kvspic.statechart import (
    Branch,
    Definition,
    Outcome,
    Profile,
    Row,
    create_state_machine,
    deep,
    shallow,
    start,
    step,
    update,
)
from kvspic.statechart.generate import all_transitions
from kvspic.statechart.graph import Limits, Model, replay
from kvspic.statechart.helpers import compute_history_state
from kvspic.statechart.tree import Tree

EVENTS = ("e0", "e1", "e2")


def guard(modulus, rest):
    return lambda data, payload, settings: (data["n"] + (payload if isinstance(payload, int) else 0)) % modulus == rest


def action(add, outputs, fails):
    def act(data, payload, settings):
        if fails and data["n"] % 7 == 3:
            raise ZeroDivisionError
        return update(n=data["n"] + add).out(*outputs)

    return act


ACTIONS = st.one_of(
    st.none(),
    st.builds(action, st.integers(0, 3), st.lists(st.sampled_from(["x", None, [], 1]), max_size=2), st.booleans()),
)
GUARDS = st.builds(guard, st.integers(1, 3), st.integers(0, 2))


@st.composite
def trees(draw):
    """Nested mappings of up to three levels with the names s0, s1, ..."""
    count = iter(range(100))

    def level(depth):
        names = [f"s{next(count)}" for _ in range(draw(st.integers(1, 3)))]
        return {name: level(depth + 1) if depth < 2 and draw(st.booleans()) else "" for name in names}

    return level(0)


@st.composite
def branches(draw, targets, ends_unguarded):
    guarded = [Branch(draw(targets), draw(GUARDS), draw(ACTIONS)) for _ in range(draw(st.integers(0, 2)))]
    if ends_unguarded or not guarded or draw(st.booleans()):
        guarded.append(Branch(draw(targets), None, draw(ACTIONS)))
    return guarded


@st.composite
def definitions(draw, profile=Profile.STRICT):
    states = {**draw(trees()), "away": ""}
    tree = Tree(states)
    compounds = [name for name in tree.names if tree.is_compound(name)]
    plain = st.sampled_from(tree.names)
    history = st.sampled_from([kind(name) for name in compounds for kind in (deep, shallow)] or ["away"])
    anywhere = st.one_of(plain, plain, history)
    rows = []
    for name in tree.names:
        if name in compounds:
            inside = st.sampled_from(list(tree.inside(name)))
            rows.append(Row(name, "init", draw(branches(inside, True))))
            rows.append(Row(name, f"out{len(tree.ancestors(name))}", draw(branches(anywhere, False))))
        elif name != "away" and draw(st.integers(0, 4)) == 0:
            others = anywhere.filter(lambda target, name=name: target != name)
            rows.append(Row(name, None, draw(branches(others, draw(st.booleans())))))
        else:
            used = draw(st.lists(st.sampled_from(EVENTS), min_size=1, unique=True))
            rows.extend(Row(name, event, draw(branches(anywhere, False))) for event in used)
    rows.extend(Row(name, "leave", "away") for name in tree.children["nok"] if name in compounds)
    rows.extend(
        Row("away", f"{kind}_{name}", (deep if kind == "deep" else shallow)(name))
        for name in compounds
        for kind in ("deep", "shallow")
    )
    events = list(dict.fromkeys(row.event for row in rows if row.event not in (None, "init")))
    return Definition(states, events, rows, initial="away", data={"n": 0}, profile=profile, micro_steps_max=50)


INPUTS = st.lists(
    st.one_of(
        st.tuples(
            st.sampled_from([*EVENTS, "out0", "out1", "deep_s0", "shallow_s0", "deep_s1", "leave"]), st.integers(0, 5)
        ),
        st.sampled_from(
            [{}, 7, "e0", ("init", 1), ("auto", 1), ("unknown", 1), {"e0": 1, "e1": 2}, None, {"e0": None}]
        ),
    ),
    max_size=25,
)


@settings(deadline=None, max_examples=60)
@given(definitions(), INPUTS)
def test_any_sound_machine_ends_on_any_input_and_rests_in_a_leaf(definition, inputs):
    snapshot = start(definition).snapshot
    for event in inputs:
        taken = step(definition, snapshot, event)
        if taken.outcome in (Outcome.ERROR, Outcome.UNHANDLED, Outcome.BLOCKED):
            assert taken.snapshot == snapshot
        assert taken.outcome is not Outcome.STUCK
        snapshot = taken.snapshot
        assert not definition.tree.is_compound(snapshot.control)
        assert all(row.event is not None for row in definition.rows if row.origin == snapshot.control)


@settings(deadline=None, max_examples=40)
@given(definitions(Profile.PARITY), INPUTS)
def test_the_parity_profile_ends_too(definition, inputs):
    machine = create_state_machine(definition)
    for event in inputs:
        assert machine.step(event).outcome in Outcome


@settings(deadline=None, max_examples=60)
@given(definitions(), INPUTS)
def test_history_leads_back_to_where_the_machine_was(definition, inputs):
    machine = create_state_machine(definition)
    visited = [machine.control]
    for event in inputs:
        taken = machine.step(event, trace=True)
        if taken.outcome is Outcome.TAKEN:
            visited.extend(record.target for record in taken.trace)
        leaf = machine.control
        for compound in definition.tree.ancestors(leaf):
            other = create_state_machine(definition)
            other.restore(machine.snapshot)
            other.send({"leave": None})
            assert other.step({f"deep_{compound}": None}).snapshot.control == leaf
            left = [*visited, "away"]
            names = (machine.definition.states, left)
            assert compute_history_state(*names, "deep", compound) == leaf
            other.send({"leave": None})
            child = compute_history_state(*names, "shallow", compound)
            landed = other.step({f"shallow_{compound}": None}, trace=True)
            assert landed.error is not None or landed.trace[0].target == child


@settings(deadline=None, max_examples=60)
@given(definitions(), INPUTS, INPUTS)
def test_a_restored_machine_goes_on_as_the_saved_one(definition, before, after):
    machine = create_state_machine(definition)
    for event in before:
        machine.step(event)
    other = create_state_machine(definition)
    other.restore(json.loads(machine.snapshot.to_json()))
    for event in after:
        one, two = machine.step(event), other.step(event)
        assert (one.outcome, one.outputs, one.snapshot) == (two.outcome, two.outputs, two.snapshot)


@settings(deadline=None, max_examples=25)
@given(definitions())
def test_generated_sequences_are_answered_as_written(definition):
    for case in all_transitions(Model(definition), Limits(step_count_max=300)).cases:
        assert replay(case, create_state_machine(definition)) == ()
