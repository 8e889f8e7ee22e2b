"""State machines as values: hierarchical states, history, guards, and actions that only return updates and outputs.

A machine is a function from an event to a list of outputs; it performs no effect, knows no clock and takes no lock.
Write a ``Definition`` from ``Row`` and ``Branch``, make a machine with ``create_state_machine``, or use the pure form
``start`` and ``step``. Contracts are checked when the definition is made. The submodules ``generate``, ``diagram``,
``helpers``, ``compose``, ``lift`` and ``expression`` build on it.
"""

from kvspic.statechart.contracts import CONTRACT_IDS, Violation, check
from kvspic.statechart.definition import Definition, Registry
from kvspic.statechart.errors import DefinitionError, MachineError, StatechartError
from kvspic.statechart.interpreter import Outcome
from kvspic.statechart.machine import Machine, Snapshot, Step, Trace, create_state_machine, start, step
from kvspic.statechart.model import (
    ACTION_IDENTITY,
    INIT_EVENT,
    INIT_STATE,
    NO_OUTPUT,
    NO_STATE_UPDATE,
    Branch,
    Event,
    History,
    Profile,
    Result,
    Row,
    deep,
    out,
    shallow,
    update,
)

__all__ = [
    "ACTION_IDENTITY",
    "CONTRACT_IDS",
    "INIT_EVENT",
    "INIT_STATE",
    "NO_OUTPUT",
    "NO_STATE_UPDATE",
    "Branch",
    "Definition",
    "DefinitionError",
    "Event",
    "History",
    "Machine",
    "MachineError",
    "Outcome",
    "Profile",
    "Registry",
    "Result",
    "Row",
    "Snapshot",
    "StatechartError",
    "Step",
    "Trace",
    "Violation",
    "check",
    "create_state_machine",
    "deep",
    "out",
    "shallow",
    "start",
    "step",
    "update",
]
