"""The two machines. Goal: every cell is stepped; what is not in the table is refused and moves nothing."""

import itertools

import pytest

pytest.importorskip("grpc")

from kvspic.bench.agent_fsm import AGENT, TABLE
from kvspic.bench.controller_fsm import FINAL, TRACKER, way
from kvspic.statechart import Snapshot, create_state_machine, start, step
from kvspic.statechart.interpreter import Outcome

# From, to: the pairs that the agent may take, and no others (failed is left at once).
AGENT_PAIRS = """
idle>ready idle>failed ready>running ready>failed ready>idle running>idle running>failed running>aborting
aborting>idle failed>idle
"""
# The same for what the controller knows.
TRACKER_PAIRS = """
connecting>validating connecting>disconnected connecting>failed connecting>aborting
validating>ready validating>failed validating>disconnected validating>aborting
ready>preparing ready>running ready>failed ready>stalled ready>aborting ready>disconnected
preparing>running preparing>failed preparing>stalled preparing>aborting preparing>disconnected
running>completed running>failed running>stalled running>aborting running>disconnected
stalled>ready stalled>preparing stalled>running stalled>completed stalled>failed stalled>disconnected stalled>aborting
disconnected>connecting disconnected>preparing disconnected>running disconnected>completed disconnected>failed
disconnected>aborting
aborting>completed aborting>failed aborting>disconnected
"""


def pairs(text):
    return {tuple(pair.split(">")) for pair in text.split()}


def at(definition, state):
    first = start(definition).snapshot
    return Snapshot(state, first.data, first.deep, first.shallow)


@pytest.mark.parametrize("state,event", list(itertools.product(["idle", "ready", "running", "aborting"], AGENT.events)))
def test_every_cell_of_the_agent(state, event):
    taken = step(AGENT, at(AGENT, state), {event: None}, trace=True)
    if (state, event) not in TABLE:
        assert (taken.outcome, taken.snapshot.control) == (Outcome.UNHANDLED, state)
        return
    target, order = TABLE[state, event]
    assert taken.trace[0].target == target
    assert taken.snapshot.control == ("idle" if target == "failed" else target)
    last = ["send ERROR"] if target == "failed" else []
    assert taken.outputs == [*([order] if order else []), *last]


def test_the_agent_takes_these_pairs_and_no_others():
    found = {(state, target) for (state, _), (target, _) in TABLE.items()} | {("failed", "idle")}
    assert found == pairs(AGENT_PAIRS)


@pytest.mark.parametrize("state,event", list(itertools.product(TRACKER.states, TRACKER.events)))
def test_every_cell_of_the_tracker(state, event):
    rows = {(row.origin, row.event): row.branches[0].target for row in TRACKER.rows}
    taken = step(TRACKER, at(TRACKER, state), {event: None})
    if (state, event) in rows:
        assert (taken.outcome, taken.snapshot.control) == (Outcome.TAKEN, rows[state, event])
    else:
        assert (taken.outcome, taken.snapshot.control) == (Outcome.UNHANDLED, state)


def test_the_tracker_takes_these_pairs_and_no_others():
    assert {(row.origin, row.branches[0].target) for row in TRACKER.rows} == pairs(TRACKER_PAIRS)
    assert len(TRACKER.states) == 10


@pytest.mark.parametrize(
    "state,said,events",
    [
        ("connecting", "says_ready", ["message", "says_ready"]),
        ("connecting", "says_completed", ["message", "says_ready", "says_running", "says_completed"]),
        ("validating", "says_preparing", ["says_ready", "says_preparing"]),
        ("stalled", "says_preparing", ["says_preparing"]),
        ("disconnected", "says_running", ["says_running"]),
        ("disconnected", "says_ready", ["reconnect", "message", "says_ready"]),
        ("running", "says_aborted", ["abort", "says_aborted"]),
        ("running", "says_running", None),
        ("running", "says_preparing", None),
        ("aborting", "says_running", None),
        ("completed", "says_error", None),
    ],
)
def test_the_shortest_way_to_what_a_message_says(state, said, events):
    assert way(state, said) == events


@pytest.mark.parametrize("state", TRACKER.states)
def test_every_way_is_legal_and_only_final_states_hear_nothing_more(state):
    for said in [event for event in TRACKER.events if event.startswith("says_")]:
        machine = create_state_machine(TRACKER)
        machine.restore(at(TRACKER, state))
        found = way(state, said)
        assert all(machine.send({event: None}) is not None for event in found or ())
    assert (state in FINAL) == all(row.origin != state for row in TRACKER.rows)
