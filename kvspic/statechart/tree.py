"""The tree of states: who contains whom. Names are unique in the whole tree, not per level.

A tree can be built from anything that looks like a description of states, right or wrong; what is wrong is listed in
``duplicates`` and ``odd`` for the contract check. The root is the reserved state and is not listed among the names.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from kvspic.statechart.model import INIT_STATE, name_of

__all__ = ["Tree"]


class Tree:
    """Parents, children and leaves by name, in the order of the definition."""

    def __init__(self, states: Any) -> None:
        self.parent: dict[str, str | None] = {INIT_STATE: None}
        self.children: dict[str, list[str]] = {INIT_STATE: []}
        self.names: list[str] = []
        self.duplicates: list[str] = []
        self.odd: list[str] = []
        self.declares_root = False
        self._grow(INIT_STATE, states)

    def _grow(self, parent: str, states: Any) -> None:
        for key, inner in _entries(states):
            name = name_of(key)
            if not isinstance(name, str) or not name:
                self.odd.append(repr(name))
                continue
            if name == INIT_STATE:
                self.declares_root = True
            elif name in self.parent:
                self.duplicates.append(name)
            else:
                self.parent[name] = parent
                self.children[name] = []
                self.children[parent].append(name)
                self.names.append(name)
            self._grow(name, inner)

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and name in self.parent

    def is_compound(self, name: str) -> bool:
        """Whether the state has children. The root has."""
        return bool(self.children.get(name))

    def ancestors(self, name: str) -> list[str]:
        """The enclosing states, nearest first, without the root."""
        found = []
        parent = self.parent[name]
        while parent is not None and parent != INIT_STATE:
            found.append(parent)
            parent = self.parent[parent]
        return found

    def is_inside(self, name: str, outer: str) -> bool:
        """Whether ``name`` lies strictly within ``outer``."""
        return name in self.parent and name != outer and (outer == INIT_STATE or outer in self.ancestors(name))

    def inside(self, name: str) -> Iterator[str]:
        """All states strictly within ``name``, outer ones first."""
        for child in self.children.get(name, ()):
            yield child
            yield from self.inside(child)

    def leaves(self, name: str) -> list[str]:
        """The atomic states within ``name``; the state itself when it is atomic."""
        if not self.is_compound(name):
            return [name]
        return [leaf for child in self.children[name] for leaf in self.leaves(child)]


def _entries(states: Any) -> Iterator[tuple[Any, Any]]:
    """The (name, inner states) pairs of one level, for mappings, and for lists of names and (name, inner) pairs."""
    if isinstance(states, Mapping):
        yield from states.items()
    elif isinstance(states, (list, tuple)):
        for item in states:
            if isinstance(item, (list, tuple)) and len(item) == 2 and not isinstance(item[1], str):
                yield item[0], item[1]
            else:
                yield item, ""
