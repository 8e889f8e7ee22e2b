"""The parts that definitions are written with: rows, branches, history targets, action results.

Everything here is a value; nothing is checked here beyond the spelling of a history kind, because a contract check
wants to see a wrong definition whole. ``Definition`` puts the parts together.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, NamedTuple

__all__ = [
    "ACTION_IDENTITY",
    "AUTO_EVENT",
    "DEEP",
    "INIT_EVENT",
    "INIT_STATE",
    "MISSING",
    "NO_OUTPUT",
    "NO_STATE_UPDATE",
    "SHALLOW",
    "Action",
    "Branch",
    "Event",
    "Guard",
    "History",
    "Profile",
    "Result",
    "Row",
    "Settings",
    "Update",
    "deep",
    "function_name",
    "name_of",
    "out",
    "shallow",
    "update",
]

INIT_STATE = "nok"
"""The reserved root: parent of every top-level state, origin of the initial row, never a target."""
INIT_EVENT = "init"
"""The reserved event of entry rows; only the machine sends it."""
AUTO_EVENT = "auto"
"""The reserved name of eventless rows inside the machine; no caller can send it."""
SHALLOW = "shallow"
DEEP = "deep"
NO_OUTPUT: tuple[Any, ...] = ()
NO_STATE_UPDATE: tuple[Any, ...] = ()

Settings = Mapping[str, Any]


_make = tuple.__new__  # a third of the time of calling Result, and results are made in every step


class Profile(Enum):
    """How strictly a definition is taken.

    STRICT checks every contract when the definition is made, and a failing step changes nothing. PARITY refuses only
    what cannot be interpreted and keeps what a failing step did before it failed; it exists to replay recordings.
    """

    STRICT = "strict"
    PARITY = "parity"


class Event(NamedTuple):
    """One input. A mapping with exactly one key, ``{name: data}``, means the same."""

    name: str
    data: Any = None


class Result(NamedTuple):
    """What an action returns: records for the update function, and outputs for the caller."""

    updates: Any = NO_STATE_UPDATE
    outputs: Sequence[Any] = NO_OUTPUT

    def out(self, *outputs: Any) -> Result:
        """The same result with more outputs."""
        return _make(Result, (self[0], (*self[1], *outputs) if self[1] else outputs))

    def update(self, **changes: Any) -> Result:
        """The same result with one more update record."""
        return _make(Result, ((*self[0], changes), self[1]))


def out(*outputs: Any) -> Result:
    """A result with outputs only."""
    return _make(Result, ((), outputs))


def update(**changes: Any) -> Result:
    """A result with one update record only."""
    return _make(Result, ((changes,), ()))


ACTION_IDENTITY = Result()
"""The action that changes nothing and outputs nothing; ``action=None`` means the same."""

Guard = Callable[[Any, Any, Settings], bool]
Action = Callable[[Any, Any, Settings], Result | Mapping[str, Any]] | Result
Update = Callable[[Any, Any], Any]


def MISSING(data: Any, payload: Any, settings: Settings) -> Any:
    """Stands where a loaded definition lacks a guard or an action, for the contract check to find."""
    raise TypeError("the definition names no function here")


@dataclass(frozen=True)
class History:
    """The history pseudo-state of compound ``state``; usable as a target only."""

    kind: str
    state: str

    def __post_init__(self) -> None:
        if self.kind not in (SHALLOW, DEEP):
            raise ValueError(f"A history is {SHALLOW!r} or {DEEP!r}, not {self.kind!r}.")
        object.__setattr__(self, "state", name_of(self.state))

    @property
    def mark(self) -> str:
        """``H`` or ``H*``, as drawn in diagrams."""
        return "H*" if self.kind == DEEP else "H"

    def __str__(self) -> str:
        return f"{self.mark}({self.state})"


def shallow(state: Any) -> History:
    """Target: the child of ``state`` that was last active; its own entry row runs."""
    return History(SHALLOW, state)


def deep(state: Any) -> History:
    """Target: the leaf of ``state`` that was last active; no entry row runs."""
    return History(DEEP, state)


@dataclass(frozen=True)
class Branch:
    """One alternative of a row. No guard: always true. No action: nothing is changed or output."""

    target: str | History
    guard: Guard | None = None
    action: Action | None = None
    guard_name: str = ""
    action_name: str = ""

    def __post_init__(self) -> None:
        if not isinstance(self.target, History):
            object.__setattr__(self, "target", name_of(self.target))
        if self.guard is not None and not self.guard_name:
            object.__setattr__(self, "guard_name", function_name(self.guard))
        if self.action is not None and not self.action_name:
            object.__setattr__(self, "action_name", function_name(self.action))


@dataclass(frozen=True)
class Row:
    """All branches for one (origin, event); no event means eventless, ``INIT_EVENT`` on a compound means entry.

    The nearest row decides alone: when all its guards fail the event is blocked, and the rows of enclosing states are
    not tried. This differs from SCXML, where the enclosing state would get its turn.
    """

    origin: str
    event: str | None
    branches: tuple[Branch, ...]

    def __init__(self, origin: Any, event: Any, *branches: Any) -> None:
        parts = branches[0] if len(branches) == 1 and isinstance(branches[0], (list, tuple)) else branches
        object.__setattr__(self, "origin", origin if isinstance(origin, History) else name_of(origin))
        object.__setattr__(self, "event", None if event == "" else name_of(event))
        object.__setattr__(
            self, "branches", tuple(part if isinstance(part, Branch) else Branch(part) for part in parts)
        )

    def __str__(self) -> str:
        return f"{self.origin} -{self.event or ''}->"


def name_of(name: Any) -> Any:
    """The plain text of a state or event name: a member of an ``Enum`` counts as its text value, else as its name."""
    if isinstance(name, Enum):
        return name.value if isinstance(name.value, str) else name.name
    return name


def function_name(function: Any) -> str:
    """The name shown in diagrams and traces; a constant result shows what it outputs."""
    if isinstance(function, Result):
        return ", ".join(str(output) for output in function.outputs)
    name = getattr(function, "__name__", type(function).__name__)
    return "lambda" if name == "<lambda>" else str(name)
