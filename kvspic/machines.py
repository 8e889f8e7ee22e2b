"""The state machines for diagrams; the core's are read from the compiled library: what runs is what is drawn.

One pass asks the exported step function for every cell of every machine. The client and the stream machine have named
end states and a retry budget; the budget is kept beside the step and becomes a note.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from kvspic import errors
from kvspic._lib import check, ffi, lib, text_of
from kvspic.bench.agent_fsm import AGENT
from kvspic.bench.controller_fsm import TRACKER
from kvspic.fleet.autorestart import RESTART_MACHINE
from kvspic.fleet.statuses import STATUS_MACHINE
from kvspic.statechart import Definition
from kvspic.statechart.diagram import render
from kvspic.statechart.lift import TableEdge, TableMachine, lift

__all__ = ["PYTHON_MACHINES", "core_machines", "states_page"]

NO_ACTION = "NONE"
PAGE_HEAD = """# State machines

The first four are drawn from the tables of the compiled core by `kvspic states --format page`;
`tests/unit/test_machines.py` fails when this page is older than the tables. An arrow reads `event / action`. A (state,
event) without an arrow is not allowed: the step answers `STREAM_STATE` and nothing moves. A note gives the retries
without progress that a state has, and the status that the machine fails with when they are spent. What the states mean
stands above each table in `csrc/machine/` and `csrc/media/`. The machines after them are definitions of
`kvspic.statechart`: a (state, event) without an arrow is refused and logged, and nothing moves.
"""
PYTHON_MACHINES: tuple[tuple[str, str, Definition[Any]], ...] = (
    ("Agent of the bench", "kvspic.bench.agent_fsm", AGENT),
    ("What the bench's controller knows of an agent", "kvspic.bench.controller_fsm", TRACKER),
    ("Status of a fleet's job", "kvspic.fleet.statuses", STATUS_MACHINE),
    ("Automatic restart of a fleet's job", "kvspic.fleet.autorestart", RESTART_MACHINE),
)
"""(title, module, definition) of each machine that is written in Python."""


def core_machines() -> dict[str, TableMachine]:
    """Return the machines of the core by name: client, stream, upload, generator."""
    found = (_machine(number) for number in range(lib.KVS_MACHINE_COUNT))
    return {machine.name: machine for machine in found}


def states_page() -> str:
    """Return docs/states.md: for each machine a diagram and the table, the core's first."""
    parts = [PAGE_HEAD]
    for name, machine in core_machines().items():
        definition = lift(machine)
        parts.append(f"## {name.capitalize()}\n\n```mermaid\n{render(definition, 'mermaid')}```\n")
        parts.append(render(definition, "table"))
    for title, module, drawn in PYTHON_MACHINES:
        parts.append(f"## {title}\n\nWhat the states mean: `{module}`.\n")
        parts.append(f"```mermaid\n{render(drawn, 'mermaid')}```\n")
        parts.append(render(drawn, "table"))
    return "\n".join(parts)


def _machine(number: int) -> TableMachine:
    info = ffi.new("struct kvs_machine_info *")
    check(lib.kvs_machine_info(number, info))
    states = _names(lib.kvs_machine_state_name, number, info.state_count)
    events = _names(lib.kvs_machine_event_name, number, info.event_count)
    actions = _names(lib.kvs_machine_act_name, number, info.act_count)
    spent = {state: lib.kvs_machine_spent_status(number, index) for index, state in enumerate(states)}
    spent = {state: status for state, status in spent.items() if status < 0}
    return TableMachine(
        name=text_of(info.name),
        states=states,
        events=events,
        actions=actions,
        initial=states[info.initial],
        edges=tuple(_edges(number, states, events, actions)),
        retry_budget=dict.fromkeys(spent, int(info.retries_max)),
        error_status={state: errors.ROWS[status].name for state, status in spent.items()},
    )


def _names(name_of: Callable[[int, int], Any], machine: int, count: int) -> tuple[str, ...]:
    return tuple(text_of(name_of(machine, index)) for index in range(count))


def _edges(
    machine: int, states: tuple[str, ...], events: tuple[str, ...], actions: tuple[str, ...]
) -> Iterator[TableEdge]:
    next_out, act_out = ffi.new("uint32_t *"), ffi.new("uint32_t *")
    for at, state in enumerate(states):
        for number, event in enumerate(events):
            if lib.kvs_fsm_step(machine, at, number, next_out, act_out) < 0:
                continue
            action = actions[act_out[0]]
            yield state, event, states[next_out[0]], None if action == NO_ACTION else action
