"""Plain transition tables as definitions: how the core's machines, which are C tables, become statecharts.

A table is flat and has no conditions: (state, event) gives the next state and one action. The action's name is the
output. The retry budget and the error status of a state are no part of the step; they become notes in diagrams.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from kvspic.statechart.definition import Definition
from kvspic.statechart.model import Branch, Profile, Result, Row

__all__ = ["TableEdge", "TableMachine", "lift"]

TableEdge = tuple[str, str, str, "str | None"]
"""(state, event, next state, action); the action None outputs nothing."""


@dataclass(frozen=True)
class TableMachine:
    """A transition table as read from the core: names only.

    ``events`` and ``actions`` may list more than this machine uses, because the core numbers them for all machines.
    A (state, event) without an edge is not allowed. ``retry_budget`` is the number of retries without progress.
    """

    name: str
    states: tuple[str, ...]
    events: tuple[str, ...]
    actions: tuple[str, ...]
    initial: str
    edges: tuple[TableEdge, ...]
    retry_budget: Mapping[str, int] = field(default_factory=dict)
    error_status: Mapping[str, str | int] = field(default_factory=dict)


def lift(table: TableMachine, profile: Profile = Profile.STRICT) -> Definition[None]:
    """The table as a definition: flat, no data, one row per edge, events that no edge uses left out.

    Raises:
        DefinitionError: the table breaks a contract: two edges for one cell, a state that nothing uses, a name that is
            not listed.
    """
    used = {event for _, event, _, _ in table.edges}
    return Definition(
        states=dict.fromkeys(table.states, ""),
        events=[event for event in table.events if event in used],
        rows=[_row(*edge) for edge in table.edges],
        initial=table.initial,
        profile=profile,
        name=table.name,
        notes=_notes(table),
    )


def _row(state: str, event: str, following: str, action: str | None) -> Row:
    return Row(state, event, Branch(following, action=None if action is None else Result((), (action,))))


def _notes(table: TableMachine) -> dict[str, str]:
    """A line per state that has a retry budget or an error status."""
    notes = {}
    for state in table.states:
        parts = []
        if table.retry_budget.get(state):
            parts.append(f"{table.retry_budget[state]} retries")
        if state in table.error_status:
            parts.append(f"then {table.error_status[state]}" if parts else f"fails with {table.error_status[state]}")
        if parts:
            notes[state] = ", ".join(parts)
    return notes
