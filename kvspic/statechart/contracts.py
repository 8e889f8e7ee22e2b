"""The contracts of a definition: 22 rules with fixed ids, further findings, and what the interpreter cannot do without.

``check`` reports everything at once and never raises. A violation names the offending rows by index. Errors make a
strict definition impossible; warnings point at things that are legal and probably wrong. ``Profile.PARITY`` restricts
the check to what the recorded machines were checked for, so that ids compare equal.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

from kvspic.statechart.model import AUTO_EVENT, INIT_EVENT, INIT_STATE, MISSING, Branch, History, Profile, Result, Row
from kvspic.statechart.tree import Tree

if TYPE_CHECKING:
    from kvspic.statechart.definition import Definition

__all__ = ["CONTRACT_IDS", "Violation", "check", "uninterpretable"]


@dataclass(frozen=True)
class Violation:
    """One broken contract: its id, a sentence, the rows at fault (indices), and how bad it is."""

    id: str
    message: str
    rows: tuple[int, ...] = ()
    severity: str = "error"


Finding = tuple[str, tuple[int, ...]]


class _View:
    """The definition prepared for the checks. ``full`` also closes the gaps that the recorded machines had."""

    def __init__(self, definition: Definition[Any], full: bool) -> None:
        self.definition = definition
        self.full = full
        self.tree = Tree(definition.states)
        self.rows: list[tuple[int, Row]] = list(enumerate(definition.rows))
        self.events: list[Any] = list(definition.events)
        self.branches = [(index, row, branch) for index, row in self.rows for branch in row.branches]

    def from_root(self) -> list[tuple[int, Row]]:
        return [(index, row) for index, row in self.rows if row.origin == INIT_STATE]

    def entries(self, state: str) -> list[tuple[int, Row]]:
        return [(index, row) for index, row in self.rows if row.origin == state and row.event == INIT_EVENT]

    def like(self, name: Any, known: Iterable[Any]) -> str:
        """A hint with near names, for a name that is not declared."""
        near = get_close_matches(str(name), [entry for entry in known if isinstance(entry, str)], 2)
        return f" (did you mean {' or '.join(map(repr, near))}?)" if near else ""


def _initial_control_state_declared(view: _View) -> Iterator[Finding]:
    initial = view.definition.initial
    if initial is not None and (initial not in view.tree or initial == INIT_STATE):
        yield f"the initial state {initial!r} is not declared{view.like(initial, view.tree.names)}", ()


def _initial_state_origin_only(view: _View) -> Iterator[Finding]:
    for index, row, branch in view.branches:
        if branch.target == INIT_STATE:
            yield f"row {index} ({row}) targets the reserved state {INIT_STATE!r}", (index,)


def _events_are_strings(view: _View) -> Iterator[Finding]:
    for event in view.events:
        if not isinstance(event, str):
            yield f"the event name {event!r} is not text", ()
    if view.full:
        for event in view.events:
            if event in (INIT_EVENT, AUTO_EVENT):
                yield f"the event name {event!r} is reserved", ()


def _row_shape(row: Any) -> Iterator[str]:
    if not isinstance(row.origin, (str, History)):
        yield "has no origin"
    if row.event is not None and (not isinstance(row.event, str) or not row.event):
        yield f"has an event that is not text: {row.event!r}"
    if not row.branches:
        yield "has no branch"
    for number, branch in enumerate(row.branches):
        if branch.action is MISSING or not (
            branch.action is None or isinstance(branch.action, Result) or callable(branch.action)
        ):
            yield f"has no action in branch {number}"
        if branch.guard is MISSING or not (branch.guard is None or callable(branch.guard)):
            yield f"has no predicate in branch {number}"
        if not isinstance(branch.target, (str, History)):
            yield f"has no target in branch {number}"


def _transition_types(view: _View) -> Iterator[Finding]:
    for index, row in view.rows:
        for text in _row_shape(row):
            yield f"row {index} ({row}) {text}", (index,)
        if view.full and row.event == AUTO_EVENT:
            yield f"row {index} ({row}) uses the reserved event {AUTO_EVENT!r}; leave the event out", (index,)


def _no_duplicated_states(view: _View) -> Iterator[Finding]:
    for name in dict.fromkeys(view.tree.duplicates):
        yield f"the state name {name!r} occurs more than once", ()


def _no_reserved_states(view: _View) -> Iterator[Finding]:
    if view.tree.declares_root:
        yield f"the state name {INIT_STATE!r} is reserved", ()


def _at_least_one_state(view: _View) -> Iterator[Finding]:
    if not view.tree.names:
        yield "no state is declared", ()


def _events_declared(view: _View) -> Iterator[Finding]:
    used = {row.event for _, row in view.rows if row.event is not None}
    for index, row in view.rows:
        if row.event is not None and row.event != INIT_EVENT and row.event not in view.events:
            yield (
                f"row {index} ({row}) uses the undeclared event {row.event!r}{view.like(row.event, view.events)}",
                (index,),
            )
    for event in view.events:
        if event not in used:
            yield f"the event {event!r} is declared and never used", ()


def _states_declared(view: _View) -> Iterator[Finding]:
    used = {view.definition.initial}
    for index, row in view.rows:
        plain = [branch.target for branch in row.branches if not isinstance(branch.target, History)]
        used.update(name for name in (row.origin, *plain) if isinstance(name, str))
        used.update(branch.target.state for branch in row.branches if isinstance(branch.target, History))
        for name in dict.fromkeys(name for name in (row.origin, *plain) if isinstance(name, str)):
            if name not in view.tree:
                yield (
                    f"row {index} ({row}) uses the undeclared state {name!r}{view.like(name, view.tree.names)}",
                    (index,),
                )
    expected = view.tree.names if view.full else view.tree.children[INIT_STATE]
    for name in expected:
        if name not in used:
            yield f"the state {name!r} is declared and no row uses it", ()
    if view.tree.declares_root and INIT_STATE not in used:
        yield f"the state {INIT_STATE!r} is declared and no row uses it", ()
    for odd in view.tree.odd:
        yield f"the state name {odd} is not text", ()


def _initial_config(view: _View) -> Iterator[Finding]:
    entries = view.entries(INIT_STATE)
    if bool(entries) == (view.definition.initial is not None):
        which = "both" if entries else "neither"
        yield (
            f"{which} of an initial state and a row {INIT_STATE} -{INIT_EVENT}-> given; give exactly one",
            tuple(i for i, _ in entries),
        )


def _initial_transition(view: _View) -> Iterator[Finding]:
    rows = view.from_root()
    count = len(rows) + (view.definition.initial is not None)
    if count != 1:
        yield f"{count} ways leave {INIT_STATE!r}; exactly one must", tuple(index for index, _ in rows)
    for index, row in rows:
        if row.event != INIT_EVENT:
            yield f"row {index} ({row}) leaves {INIT_STATE!r} and is not triggered by {INIT_EVENT!r}", (index,)
        elif not row.branches:
            yield f"row {index} ({row}) has no branch", (index,)


def _init_only_in_compounds(view: _View) -> Iterator[Finding]:
    for index, row in view.rows:
        if (
            row.event == INIT_EVENT
            and isinstance(row.origin, str)
            and not view.tree.is_compound(row.origin)
            and row.origin != INIT_STATE
        ):
            yield f"row {index} ({row}) is an entry row of a state without children", (index,)


def _compound_entries(view: _View) -> Iterator[Finding]:
    for name in view.tree.names:
        if not view.tree.is_compound(name):
            continue
        entries = view.entries(name)
        if not entries:
            yield f"the compound state {name!r} has no entry row", ()
        for index, row in entries:
            for branch in row.branches:
                yield from _entry_target(view, index, row, branch)


def _entry_target(view: _View, index: int, row: Row, branch: Branch) -> Iterator[Finding]:
    if isinstance(branch.target, History):
        yield f"the entry row {index} ({row}) aims at a history", (index,)
    elif not view.tree.is_inside(branch.target, row.origin):
        yield f"the entry row {index} ({row}) aims at {branch.target!r}, which is not inside {row.origin!r}", (index,)


def _eventless_rows(view: _View) -> Iterator[Finding]:
    for state in dict.fromkeys(row.origin for _, row in view.rows if row.event is None):
        rows = [(index, row) for index, row in view.rows if row.origin == state]
        others = [index for index, row in rows if row.event is not None]
        if others:
            yield (
                f"the state {state!r} has an eventless row and other rows, which can compete",
                tuple(index for index, _ in rows),
            )


def _self_transition(view: _View) -> Iterator[Finding]:
    for index, row, branch in view.branches:
        if row.event is None and branch.target == row.origin and not view.tree.is_compound(row.origin):
            yield f"the eventless row {index} ({row}) targets its own state", (index,)


def _one_row(view: _View) -> Iterator[Finding]:
    places: dict[tuple[Any, Any], list[int]] = {}
    for index, row in view.rows:
        places.setdefault((row.origin, row.event), []).append(index)
    for (origin, event), found in places.items():
        if len(found) > 1:
            yield (
                f"rows {', '.join(map(str, found))} share origin {origin!r} and event {event!r}; join them as branches",
                tuple(found),
            )


def _ancestor_conflicts(view: _View) -> Iterator[Finding]:
    reacting = {(row.origin, row.event): index for index, row in view.rows if row.event not in (None, INIT_EVENT)}
    for (origin, event), index in reacting.items():
        if origin not in view.tree or origin == INIT_STATE:
            continue
        ancestors = view.tree.ancestors(origin)
        for outer in ancestors if view.full else ancestors[:1]:
            if (outer, event) in reacting:
                rows = (index, reacting[(outer, event)])
                yield f"{origin!r} and its ancestor {outer!r} both react to {event!r} (rows {rows[0]}, {rows[1]})", rows


def _histories(view: _View) -> Iterator[tuple[int, Row, History]]:
    for index, row, branch in view.branches:
        if isinstance(branch.target, History):
            yield index, row, branch.target


def _history_existing(view: _View) -> Iterator[Finding]:
    for index, row, target in _histories(view):
        if target.state not in view.tree:
            yield f"row {index} ({row}) targets the history of the undeclared state {target.state!r}", (index,)


def _history_targets(view: _View) -> Iterator[Finding]:
    for index, row in view.rows:
        if isinstance(row.origin, History):
            yield f"row {index} starts from the history {row.origin}; a history is a target only", (index,)


def _history_compound(view: _View) -> Iterator[Finding]:
    for index, row, target in _histories(view):
        if not view.tree.is_compound(target.state):
            yield f"row {index} ({row}) targets the history of {target.state!r}, which has no children", (index,)


_CONTRACTS: tuple[tuple[str, Callable[[_View], Iterator[Finding]]], ...] = (
    ("isInitialControlStateDeclared", _initial_control_state_declared),
    ("isInitialStateOriginState", _initial_state_origin_only),
    ("eventsAreStrings", _events_are_strings),
    ("haveTransitionsValidTypes", _transition_types),
    ("noDuplicatedStates", _no_duplicated_states),
    ("noReservedStates", _no_reserved_states),
    ("atLeastOneState", _at_least_one_state),
    ("areEventsDeclared", _events_declared),
    ("areStatesDeclared", _states_declared),
    ("validInitialConfig", _initial_config),
    ("validInitialTransition", _initial_transition),
    ("initEventOnlyInCompoundStates", _init_only_in_compounds),
    ("validInitialTransitionForCompoundState", _compound_entries),
    ("validEventLessTransitions", _eventless_rows),
    ("isValidSelfTransition", _self_transition),
    ("allStateTransitionsOnOneSingleRow", _one_row),
    ("noConflictingTransitionsWithAncestorState", _ancestor_conflicts),
    ("isHistoryStatesExisting", _history_existing),
    ("isHistoryStatesTargetStates", _history_targets),
    ("isHistoryStatesCompoundStates", _history_compound),
)

CONTRACT_IDS: tuple[str, ...] = ("isValidFsmDef", "isValidSettings", *(name for name, _ in _CONTRACTS))
"""The ids of the contracts, in the order in which they are reported."""


def _duplicated_events(view: _View) -> Iterator[Finding]:
    for event, count in Counter(event for event in view.events if isinstance(event, str)).items():
        if count > 1:
            yield f"the event {event!r} is declared {count} times", ()


def _duplicated_guards(view: _View) -> Iterator[Finding]:
    for index, row in view.rows:
        guards = [branch.guard for branch in row.branches if branch.guard is not MISSING]
        if len({id(guard) for guard in guards}) < len(guards):
            yield f"row {index} ({row}) has a guard twice; its second branch can never be taken", (index,)
        elif any(guard is None for guard in guards[:-1]):
            yield f"row {index} ({row}) has branches after one without guard; they can never be taken", (index,)


def _initial_identity(view: _View) -> Iterator[Finding]:
    for index, row in view.from_root():
        if any(branch.action not in (None, Result()) for branch in row.branches):
            yield f"the initial row {index} does more than choose the first state", (index,)


def _exhaustive(view: _View) -> Iterator[Finding]:
    for index, row in view.rows:
        if row.event in (None, INIT_EVENT) and row.branches and row.branches[-1].guard is not None:
            yield f"row {index} ({row}) must always find a branch; let an unguarded one come last", (index,)


def _targets(view: _View, branch: Branch) -> list[str]:
    """Where a branch can land."""
    if not isinstance(branch.target, History):
        return [branch.target]
    if branch.target.kind == "deep":
        return [branch.target.state, *view.tree.leaves(branch.target.state)]
    return [branch.target.state, *view.tree.children.get(branch.target.state, [])]


def _unreachable(view: _View) -> Iterator[Finding]:
    seen: set[str] = set()
    waiting = [INIT_STATE] + ([view.definition.initial] if view.definition.initial else [])
    while waiting:
        state = waiting.pop()
        if state in seen or state not in view.tree:
            continue
        seen.add(state)
        waiting.extend(view.tree.ancestors(state))
        for _, row, branch in view.branches:
            if row.origin == state:
                waiting.extend(target for target in _targets(view, branch) if isinstance(target, str))
    for name in view.tree.names:
        if name not in seen:
            yield f"no path leads to the state {name!r}", ()


def _dead_ends(view: _View) -> Iterator[Finding]:
    origins = {row.origin for _, row in view.rows}
    for name in view.tree.names:
        if not view.tree.is_compound(name) and not origins.intersection([name, *view.tree.ancestors(name)]):
            yield f"nothing leaves the state {name!r}", ()


_FURTHER: tuple[tuple[str, str, Callable[[_View], Iterator[Finding]]], ...] = (
    ("noDuplicatedEvents", "error", _duplicated_events),
    ("noDuplicatedGuards", "error", _duplicated_guards),
    ("isInitialActionIdentity", "warning", _initial_identity),
    ("areAutomaticGuardsExhaustive", "warning", _exhaustive),
    ("areStatesReachable", "warning", _unreachable),
    ("noDeadEnds", "warning", _dead_ends),
)


def _container_faults(definition: Definition[Any]) -> list[Violation]:
    """Violations of the first contract; the others cannot be evaluated while these exist."""
    found = []
    if not isinstance(definition.rows, tuple) or not all(isinstance(row, Row) for row in definition.rows):
        found.append(Violation("isValidFsmDef", "the transitions are not a list of rows"))
    if not isinstance(definition.states, (Mapping, list, tuple)):
        found.append(Violation("isValidFsmDef", "the states are not a mapping or nested lists"))
    if not isinstance(definition.events, tuple):
        found.append(Violation("isValidFsmDef", "the events are not a list"))
    return found


def check(definition: Definition[Any], profile: Profile = Profile.STRICT) -> tuple[Violation, ...]:
    """Every violation of the definition, in contract order; empty when it is sound.

    STRICT also looks at nested unused states, grand-parents and reserved event names, and adds warnings.
    PARITY reports what the recorded machines were checked for, no more.
    """
    found = _container_faults(definition)
    if found:
        return tuple(found)
    view = _View(definition, profile is Profile.STRICT)
    for contract, rule in _CONTRACTS:
        found.extend(Violation(contract, message, rows) for message, rows in rule(view))
    if view.full:
        for contract, severity, rule in _FURTHER:
            found.extend(Violation(contract, message, rows, severity) for message, rows in rule(view))
    return tuple(found)


def uninterpretable(definition: Definition[Any]) -> tuple[Violation, ...]:
    """The violations without whose correction no machine can run, in either profile."""
    found = _container_faults(definition)
    if found:
        return tuple(found)
    view = _View(definition, False)
    for contract, rule in _CONTRACTS:
        if contract in _NEEDED:
            found.extend(Violation(contract, message, rows) for message, rows in rule(view))
    found.extend(Violation("areStatesDeclared", message, rows) for message, rows in _states_declared(view) if rows)
    if definition.initial is None and not view.entries(INIT_STATE):
        found.extend(Violation("validInitialTransition", message, rows) for message, rows in _initial_transition(view))
    return tuple(found)


_NEEDED = frozenset(
    {
        "isInitialControlStateDeclared",
        "haveTransitionsValidTypes",
        "noDuplicatedStates",
        "noReservedStates",
        "atLeastOneState",
        "validInitialConfig",
        "allStateTransitionsOnOneSingleRow",
        "isHistoryStatesExisting",
        "isHistoryStatesTargetStates",
    }
)
