"""The three errors of the statechart package.

A definition that cannot be used raises ``DefinitionError`` with every violation at once; a guard, action or update
that fails while a machine runs raises ``MachineError``, which names the place and keeps the cause. No text contains
event data or extended state: both may hold secrets.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kvspic.statechart.contracts import Violation

__all__ = ["DefinitionError", "MachineError", "StatechartError"]


class StatechartError(Exception):
    """Root of the package's errors."""


class DefinitionError(StatechartError, ValueError):
    """The definition breaks contracts; ``violations`` lists all of them, in contract order."""

    def __init__(self, violations: tuple[Violation, ...]) -> None:
        self.violations = violations
        lines = [f"{violation.id}: {violation.message}" for violation in violations]
        super().__init__("The definition cannot be used; correct these: " + " | ".join(lines))

    @property
    def ids(self) -> tuple[str, ...]:
        """The ids of the broken contracts, each once, in contract order."""
        return tuple(dict.fromkeys(violation.id for violation in self.violations))


class MachineError(StatechartError):
    """A step failed.

    ``kind`` is one of event, guard, guard_type, action, action_shape, update, history_target, no_progress.
    ``state`` and ``event`` say where; ``row`` and ``branch`` are indices into the definition, or ``None``.
    """

    def __init__(
        self,
        kind: str,
        text: str,
        state: str = "",
        event: str = "",
        place: tuple[int | None, int | None] = (None, None),
    ) -> None:
        self.kind = kind
        self.state = state
        self.event = event
        self.row, self.branch = place
        where = f" in state {state!r} on {event!r}" if state else ""
        at = (
            ""
            if self.row is None
            else f" (row {self.row}" + ("" if self.branch is None else f", branch {self.branch}") + ")"
        )
        super().__init__(f"{kind}{where}{at}: {text}")

    @property
    def cause(self) -> BaseException | None:
        """The exception that a guard, action or update raised, if one did."""
        return self.__cause__

    def to_dict(self) -> dict[str, Any]:
        """The place of the failure as JSON-ready values."""
        return {"kind": self.kind, "state": self.state, "event": self.event, "row": self.row, "branch": self.branch}
