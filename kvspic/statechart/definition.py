"""A machine's definition as one frozen value, from Python parts or from plain dicts and JSON.

A STRICT definition is checked when it is made and raises one ``DefinitionError`` with all violations. A PARITY one is
made unchecked, so that ``check`` can report on it; what cannot be interpreted is refused when a machine is made.
In dict form guards, actions and the update function may be names, looked up in the registries that the caller gives.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Any, Generic, TypeVar

from kvspic.statechart.contracts import Violation, check
from kvspic.statechart.errors import DefinitionError
from kvspic.statechart.model import MISSING, Branch, History, Profile, Result, Row, Settings, Update, name_of
from kvspic.statechart.tree import Tree

__all__ = ["Definition", "Registry"]

Data = TypeVar("Data")


@dataclass(frozen=True)
class Registry:
    """The functions that a definition in dict form may name."""

    guards: Mapping[str, Any] = field(default_factory=dict)
    actions: Mapping[str, Any] = field(default_factory=dict)
    updates: Mapping[str, Update] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Definition(Generic[Data]):
    """A hierarchical state machine.

    Args:
        states: nested mapping (a leaf maps to ``""``) or nested lists of names and (name, inner) pairs.
        events: the names of all events used, without the reserved ones.
        rows: the transitions; order matters between the branches of a row only.
        initial: the first state; the alternative is a row from ``INIT_STATE`` on ``INIT_EVENT``.
        data: the initial extended state, never changed in place.
        update: ``(data, updates) -> data``; default: records are merged into a mapping, or replace dataclass fields.
        settings: the third argument of each guard and action.
        micro_steps_max: a step with more micro-steps than this is a loop and fails.
        notes: a line per state for diagrams and tables.
    """

    states: Any
    events: Any
    rows: Any
    initial: str | None = None
    data: Data = None  # type: ignore[assignment]
    update: Update | None = None
    settings: Settings = field(default_factory=dict)
    profile: Profile = Profile.STRICT
    micro_steps_max: int = 1000
    name: str = "machine"
    notes: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if isinstance(self.events, (list, tuple)):
            object.__setattr__(self, "events", tuple(name_of(event) for event in self.events))
        if isinstance(self.rows, list):
            object.__setattr__(self, "rows", tuple(self.rows))
        object.__setattr__(self, "initial", name_of(self.initial))
        if self.profile is Profile.STRICT:
            errors = tuple(found for found in check(self) if found.severity == "error")
            if errors:
                raise DefinitionError(errors)

    @property
    def tree(self) -> Tree:
        """The states as a tree; made once."""
        tree: Tree | None = self.__dict__.get("_tree")
        if tree is None:
            tree = Tree(self.states)
            object.__setattr__(self, "_tree", tree)
        return tree

    def check(self, profile: Profile = Profile.STRICT) -> tuple[Violation, ...]:
        """All violations and warnings; see :func:`kvspic.statechart.contracts.check`."""
        return check(self, profile)

    def with_rows(self, rows: Any) -> Definition[Data]:
        """The same definition with other rows."""
        return replace(self, rows=tuple(rows))

    @classmethod
    def from_dict(
        cls, raw: Mapping[str, Any], registry: Registry | None = None, profile: Profile = Profile.STRICT
    ) -> Definition[Any]:
        """Read the dict form. Field names may be written in camel case or with underscores.

        Raises:
            DefinitionError: a name is not in the registry, or (STRICT) a contract is broken.
        """
        return _Loader(raw, registry or Registry()).load(profile)

    @classmethod
    def from_json(
        cls, text: str, registry: Registry | None = None, profile: Profile = Profile.STRICT
    ) -> Definition[Any]:
        """Read the dict form from JSON text."""
        raw = json.loads(text)
        if not isinstance(raw, dict):
            raise DefinitionError((Violation("isValidFsmDef", "the text holds no JSON object"),))
        return cls.from_dict(raw, registry, profile)

    def to_dict(self) -> dict[str, Any]:
        """The dict form, functions by their names. ``from_dict`` reads it back, given functions of these names."""
        plain: dict[str, Any] = {
            "name": self.name,
            "states": _nested(self.tree, "nok"),
            "events": list(self.events),
            "initial_extended_state": self.data,
            "transitions": [_row_dict(row) for row in self.rows],
        }
        if self.initial is not None:
            plain["initial_control_state"] = self.initial
        if self.update is not None:
            plain["update_state"] = getattr(self.update, "__name__", "update")
        if self.settings:
            plain["settings"] = dict(self.settings)
        if self.notes:
            plain["notes"] = dict(self.notes)
        return plain


def _nested(tree: Tree, name: str) -> Any:
    return {child: _nested(tree, child) for child in tree.children[name]} or ""


def _row_dict(row: Row) -> dict[str, Any]:
    head: dict[str, Any] = {"from": row.origin} if row.event is None else {"from": row.origin, "event": row.event}
    if len(row.branches) == 1 and row.branches[0].guard is None:
        return {**head, **_branch_dict(row.branches[0])}
    return {**head, "guards": [_branch_dict(branch) for branch in row.branches]}


def _branch_dict(branch: Branch) -> dict[str, Any]:
    plain: dict[str, Any] = {"predicate": branch.guard_name} if branch.guard is not None else {}
    target = branch.target
    plain["to"] = {target.kind: target.state} if isinstance(target, History) else target
    plain["action"] = branch.action_name or "IDENTITY"
    return plain


def _first(raw: Mapping[str, Any], *keys: str) -> Any:
    return next((raw[key] for key in keys if key in raw), None)


class _Loader:
    """Reads one dict form. Wrong shapes are carried over for the contract check; unknown function names are errors."""

    def __init__(self, raw: Mapping[str, Any], registry: Registry) -> None:
        self.raw = raw
        self.registry = registry
        self.unknown: list[Violation] = []

    def load(self, profile: Profile) -> Definition[Any]:
        raw = self.raw
        rows = _first(raw, "transitions", "rows")
        events = raw.get("events")
        parsed = (
            tuple(self._row(index, row) for index, row in enumerate(rows)) if isinstance(rows, (list, tuple)) else rows
        )
        update = self._find(
            "update_state", _first(raw, "update_state", "updateState", "update"), self.registry.updates, ()
        )
        if self.unknown:
            raise DefinitionError(tuple(self.unknown))
        return Definition(
            states=raw.get("states"),
            events=[_hashable(event) for event in events] if isinstance(events, (list, tuple)) else events,
            rows=parsed,
            initial=_hashable(_first(raw, "initial_control_state", "initialControlState", "initial")),
            data=_first(raw, "initial_extended_state", "initialExtendedState", "data"),
            update=None if update is MISSING else update,
            settings=raw.get("settings") or {},
            profile=profile,
            name=str(raw.get("name", "machine")),
            notes=raw.get("notes") or {},
        )

    def _row(self, index: int, raw: Any) -> Any:
        if isinstance(raw, Row) or not isinstance(raw, Mapping):
            return raw
        guards = raw.get("guards")
        parts: tuple[Any, ...]
        if guards is None:
            parts = (self._branch(index, raw, guarded=False),)
        elif isinstance(guards, (list, tuple)):
            parts = tuple(self._branch(index, part, guarded=True) for part in guards)
        else:
            parts = ()
        return Row(_target(raw.get("from")), _hashable(raw.get("event")), parts)

    def _branch(self, index: int, raw: Any, guarded: bool) -> Branch:
        if not isinstance(raw, Mapping):
            return Branch(None, MISSING, MISSING)  # type: ignore[arg-type]
        where = f"row {index}"
        name = _first(raw, "guard", "predicate")
        guard = self._find(where, name, self.registry.guards, ()) if guarded or name is not None else None
        action = self._find(where, raw.get("action"), self.registry.actions, ("IDENTITY", "ACTION_IDENTITY"))
        return Branch(
            _target(raw.get("to")),
            guard,
            action,
            name if isinstance(name, str) else "",
            raw["action"] if isinstance(raw.get("action"), str) and action is not None else "",
        )

    def _find(self, where: str, name: Any, functions: Mapping[str, Any], identities: tuple[str, ...]) -> Any:
        """The function meant by ``name``: itself, the registered one, ``None`` for identity, or MISSING."""
        if name is None:
            return MISSING
        if isinstance(name, str) and name in functions:
            return functions[name]
        if name in identities:
            return None
        if callable(name) or isinstance(name, Result):
            return name
        self.unknown.append(
            Violation("haveTransitionsValidTypes", f"{where} names the function {name!r}, which is not registered")
        )
        return MISSING


def _target(raw: Any) -> Any:
    """A state name, the history that a one-key mapping stands for, or None for what is neither."""
    if isinstance(raw, Mapping) and len(raw) == 1:
        kind, state = next(iter(raw.items()))
        if kind in ("deep", "shallow") and isinstance(state, (str, Enum)):
            return History(kind, name_of(state))
    return raw if isinstance(raw, (str, Enum, History)) else None


def _hashable(name: Any) -> Any:
    """A name as it is; what cannot be a dict key becomes a tuple that still is no text."""
    return ("odd", repr(name)) if isinstance(name, (list, dict, set)) else name
