"""Machines put together: side by side on the same events, or in a row where outputs are events.

A composed machine is again a function from an event to outputs, keeps its answers in the three empty forms of a single
machine, and its snapshots are the parts' snapshots.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from kvspic.statechart.errors import StatechartError
from kvspic.statechart.interpreter import Outcome
from kvspic.statechart.machine import Machine, Snapshot, Step

__all__ = ["Chain", "Parallel"]


class _Group:
    """Named machines that are saved and restored together."""

    def __init__(self, machines: Mapping[str, Machine[Any]]) -> None:
        if not machines:
            raise StatechartError("A composition needs at least one machine; give some.")
        self.machines = dict(machines)

    @property
    def snapshots(self) -> dict[str, Snapshot[Any]]:
        """The state of each machine, by its name."""
        return {name: machine.snapshot for name, machine in self.machines.items()}

    def restore(self, snapshots: Mapping[str, Any]) -> None:
        """Go on from what ``snapshots`` gave, or from the dicts or JSON texts of these."""
        if set(snapshots) != set(self.machines):
            raise StatechartError("The snapshots are of other machines; give one for each name of this composition.")
        kept = self.snapshots
        try:
            for name, machine in self.machines.items():
                machine.restore(snapshots[name])
        except StatechartError:
            for name, machine in self.machines.items():
                machine.restore(kept[name])
            raise


class Parallel(_Group):
    """Machines that all get every event; the answer has one entry per machine."""

    def send(self, event: Any) -> dict[str, list[Any] | None]:
        """What each machine answers to the event, by its name.

        Raises:
            MachineError: a machine failed. All machines are as before the event.
        """
        kept = self.snapshots
        try:
            return {name: machine.send(event) for name, machine in self.machines.items()}
        except Exception:
            self.restore(kept)
            raise

    __call__ = send


class Chain(_Group):
    """Machines in a row: what one outputs, and is an event, is the next one's input; the last one's outputs come out.

    The answer is None or [None] when the first machine says so. An output that the next machine does not handle, or
    that is no event, ends there.
    """

    def send(self, event: Any) -> list[Any] | None:
        """What comes out at the end.

        Raises:
            MachineError: a machine failed. All machines are as before the event.
        """
        kept = self.snapshots
        first, *others = self.machines.values()
        try:
            taken = _taken(first, event)
            outputs = taken.outputs
            if taken.outcome in (Outcome.UNHANDLED, Outcome.BLOCKED):
                return outputs
            for machine in others:
                outputs = _fed(machine, outputs or [])
        except Exception:
            self.restore(kept)
            raise
        return outputs

    __call__ = send


def _taken(machine: Machine[Any], event: Any) -> Step[Any]:
    taken = machine.step(event)
    if taken.error is not None:
        raise taken.error
    return taken


def _fed(machine: Machine[Any], events: Sequence[Any]) -> list[Any]:
    """All that a machine outputs for several events."""
    produced: list[Any] = []
    for event in events:
        if isinstance(event, (Mapping, tuple)):
            taken = _taken(machine, event)
            produced.extend(() if taken.outcome is Outcome.BLOCKED else taken.outputs or ())
    return produced
