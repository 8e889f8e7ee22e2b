"""The core's machines as statecharts. Goal: what is drawn and generated is what runs, cell by cell and walk by walk."""

from __future__ import annotations

import pytest

from kvspic._lib import ffi, lib, text_of
from kvspic.machines import core_machines
from kvspic.statechart.generate import all_pairs, all_transitions, random_walks
from kvspic.statechart.graph import Case, Model
from kvspic.statechart.lift import TableMachine, lift

MACHINES = core_machines()
WALKS, WALK_LENGTH = 10_000, 50


class Core:
    """The machine that the engine steps, by names."""

    def __init__(self, table: TableMachine) -> None:
        self.number = list(MACHINES).index(table.name)
        self.states = table.states
        self.events = {name: index for index, name in enumerate(table.events)}
        self.actions = table.actions
        self.out = ffi.new("uint32_t *"), ffi.new("uint32_t *")

    def step(self, state: str, event: str) -> tuple[str, list[str] | None]:
        """The next state and the outputs; None where the cell is absent and nothing moved."""
        next_out, act_out = self.out
        status = lib.kvs_fsm_step(self.number, self.states.index(state), self.events[event], next_out, act_out)
        if status < 0:
            assert text_of(lib.kvs_status_name(status)) == "STREAM_STATE"
            return state, None
        return self.states[next_out[0]], [self.actions[act_out[0]]]

    def check(self, case: Case) -> None:
        """The core gives the outputs of ``case`` and goes through its states."""
        state = self.states[0]
        assert case.control_states[1] == state
        for event, outputs, after in zip(case.events, case.outputs, case.control_states[2:], strict=True):
            state, found = self.step(state, event)
            assert (state, found) == (after, outputs), f"{event} in {case}"


@pytest.fixture(params=MACHINES)
def table(request: pytest.FixtureRequest) -> TableMachine:
    return MACHINES[request.param]


def test_the_tables_pass_every_contract(table):
    assert not lift(table).check()


def test_sc_62_every_transition_and_every_pair_agree_with_the_core(table):
    core, model = Core(table), Model(lift(table))
    cases = [*all_transitions(model).cases, *all_pairs(model).cases]
    assert {edge for case in cases for edge in case.edges}
    for case in cases:
        core.check(case)


def test_sc_62_random_walks_agree_with_the_core(table):
    core, model = Core(table), Model(lift(table))
    for case in random_walks(model, WALKS, WALK_LENGTH, seed=62):
        core.check(case)


def test_a_cell_that_is_not_drawn_is_refused(table):
    core = Core(table)
    drawn = {(state, event) for state, event, _, _ in table.edges}
    absent = [(state, event) for state in table.states for event in table.events if (state, event) not in drawn]
    assert absent
    assert all(core.step(state, event) == (state, None) for state, event in absent)
