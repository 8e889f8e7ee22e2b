"""Helpers that make definitions out of definitions, and actions out of actions.

The formalism has no entry and exit actions; ``with_entry_actions`` and ``with_exit_actions`` write them into the rows.
They know rows, not journeys: an entry action runs where a row names the state as its target, not where a history or
an outer entry row happens to arrive; an exit action runs where a row of the state, or of a state inside it, leads out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import reduce
from typing import Any, TypeVar

from kvspic.statechart.contracts import Violation
from kvspic.statechart.definition import Definition
from kvspic.statechart.errors import DefinitionError, StatechartError
from kvspic.statechart.interpreter import merge_records
from kvspic.statechart.model import INIT_STATE, SHALLOW, Action, Branch, History, Result, Row, Update, function_name
from kvspic.statechart.tree import Tree

__all__ = [
    "chain_updates",
    "compute_history_maps",
    "compute_history_state",
    "history_targets",
    "map_actions",
    "merge_actions",
    "merge_outputs",
    "merge_updates",
    "reduce_branches",
    "with_entry_actions",
    "with_exit_actions",
]

Data = TypeVar("Data")
Folded = TypeVar("Folded")
MergeOutputs = Callable[[Sequence[Sequence[Any]]], Sequence[Any]]


def _perform(action: Action | None, data: Any, payload: Any, settings: Any) -> Result:
    """What an action gives, as a Result."""
    if action is None:
        return Result()
    given = action if isinstance(action, Result) else action(data, payload, settings)
    if isinstance(given, Result):
        return given
    if isinstance(given, Mapping) and "updates" in given and "outputs" in given:
        return Result(tuple(given["updates"]), tuple(given["outputs"]))
    raise StatechartError("An action must return a Result or a mapping with updates and outputs; add the return.")


def merge_outputs(outputs: Sequence[Sequence[Any] | None]) -> tuple[Any, ...]:
    """Concatenate lists of outputs; a None among them becomes an element None."""
    return tuple(output for given in outputs for output in ((None,) if given is None else given))


def merge_actions(actions: Iterable[Action], merge: MergeOutputs = merge_outputs) -> Action:
    """One action of several: all see the same data, updates follow each other, outputs are merged."""
    actions = list(actions)

    def merged(data: Any, payload: Any, settings: Any) -> Result:
        results = [_perform(action, data, payload, settings) for action in actions]
        return Result(
            tuple(record for result in results for record in result.updates), tuple(merge([r.outputs for r in results]))
        )

    merged.__name__ = "+".join(map(function_name, actions))
    return merged


def merge_updates(actions: Iterable[Action]) -> Action:
    """As ``merge_actions``, without outputs."""
    return merge_actions(actions, lambda outputs: ())


def chain_updates(actions: Iterable[Action], update: Update = merge_records) -> Action:
    """One action of several, each seeing the data that the one before it left; all updates are kept, no outputs."""
    actions = list(actions)

    def chained(data: Any, payload: Any, settings: Any) -> Result:
        records: list[Any] = []
        for action in actions:
            result = _perform(action, data, payload, settings)
            data = update(data, result.updates)
            records.extend(result.updates)
        return Result(tuple(records))

    chained.__name__ = ">".join(map(function_name, actions))
    return chained


def map_actions(change: Callable[[Branch, int, int], Action | None], definition: Definition[Data]) -> Definition[Data]:
    """The definition with every action replaced by what ``change(branch, row index, branch index)`` returns."""
    rows = [
        Row(
            row.origin,
            row.event,
            [
                replace(branch, action=change(branch, index, number), action_name="")
                for number, branch in enumerate(row.branches)
            ],
        )
        for index, row in enumerate(definition.rows)
    ]
    return definition.with_rows(rows)


def reduce_branches(
    fold: Callable[[Folded, Row, Branch], Folded], first: Folded, definition: Definition[Any]
) -> Folded:
    """Fold over every branch, in the order of the definition."""
    pairs = [(row, branch) for row in definition.rows for branch in row.branches]
    return reduce(lambda so_far, pair: fold(so_far, *pair), pairs, first)


def _known(definition: Definition[Any], states: Iterable[str], what: str) -> None:
    unknown = [state for state in states if state not in definition.tree or state == INIT_STATE]
    if unknown:
        message = f"{what} actions are given for states that do not exist: {', '.join(map(repr, unknown))}"
        raise DefinitionError((Violation("areStatesDeclared", message),))


def _sequence(first: Action | None, second: Action | None, update: Update, merge: MergeOutputs) -> Action:
    """Both actions, the second on the data that the first left."""

    def both(data: Any, payload: Any, settings: Any) -> Result:
        before = _perform(first, data, payload, settings)
        after = _perform(second, update(data, before.updates), payload, settings)
        return Result((*before.updates, *after.updates), tuple(merge([before.outputs, after.outputs])))

    both.__name__ = "+".join(function_name(part) for part in (first, second) if part is not None)
    return both


def _explicit_start(definition: Definition[Data]) -> Definition[Data]:
    """The definition with its initial state written as a row, so that the row can be decorated."""
    if definition.initial is None:
        return definition
    return replace(definition, initial=None, rows=(*definition.rows, Row(INIT_STATE, "init", definition.initial)))


def with_entry_actions(
    definition: Definition[Data], actions: Mapping[str, Action], merge: MergeOutputs = merge_outputs
) -> Definition[Data]:
    """The definition with an action after those of all branches that target the given states.

    It sees the data as the branch's own action left it.

    Raises:
        DefinitionError: a state does not exist.
    """
    _known(definition, actions, "Entry")
    update = definition.update or merge_records

    def change(branch: Branch, index: int, number: int) -> Action | None:
        entry = None if isinstance(branch.target, History) else actions.get(branch.target)
        return branch.action if entry is None else _sequence(branch.action, entry, update, merge)

    return map_actions(change, _explicit_start(definition) if definition.initial in actions else definition)


def with_exit_actions(
    definition: Definition[Data], actions: Mapping[str, Action], merge: MergeOutputs = merge_outputs
) -> Definition[Data]:
    """The definition with an action before those of all branches that leave the given states, innermost first.

    Raises:
        DefinitionError: a state does not exist.
    """
    _known(definition, actions, "Exit")
    update = definition.update or merge_records
    tree = definition.tree

    def change(branch: Branch, index: int, number: int) -> Action | None:
        row = definition.rows[index]
        if row.origin == INIT_STATE or row.event == "init":
            return branch.action
        target = branch.target.state if isinstance(branch.target, History) else branch.target
        left = [
            state
            for state in (row.origin, *tree.ancestors(row.origin))
            if state in actions and not tree.is_inside(target, state)
        ]
        action = branch.action
        for state in reversed(left):
            action = _sequence(actions[state], action, update, merge)
        return action

    return map_actions(change, definition)


def history_targets(states: Any) -> Callable[[str, str], History]:
    """A maker of history targets, ``make(kind, state)``, that refuses states which do not exist."""
    tree = Tree(states)

    def make(kind: str, state: str) -> History:
        if state not in tree or not tree.is_compound(state):
            raise DefinitionError((Violation("isHistoryStatesExisting", f"{state!r} is no compound state"),))
        return History(kind, state)

    return make


def compute_history_maps(states: Any) -> tuple[list[str], dict[str, list[str]]]:
    """All states, and for each its ancestors, nearest first."""
    tree = Tree(states)
    return list(tree.names), {name: tree.ancestors(name) for name in tree.names}


def compute_history_state(states: Any, control_states: Sequence[str], kind: str, state: str) -> str:
    """Where a history of ``state`` leads after a run through ``control_states``, the last of which is about to be left.

    Without a memory that is ``state`` itself.
    """
    tree = Tree(states)
    for left in reversed(control_states):
        if tree.is_inside(left, state):
            line = [left, *tree.ancestors(left)]
            return line[line.index(state) - 1] if kind == SHALLOW else left
    return state
