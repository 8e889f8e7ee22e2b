"""The machine in two forms: ``step``, a function of (definition, snapshot, event), and ``Machine``, which has a state.

Neither has an effect: outputs are orders for the caller, whose answers come back as events. An event is a mapping with
one key, ``{name: data}``, or ``Event(name, data)``. ``send`` answers None (no row here), [None] (every guard false),
[] (taken, nothing to say) or the list of outputs; the three empty answers differ on purpose.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from kvspic.statechart.definition import Definition
from kvspic.statechart.errors import MachineError, StatechartError
from kvspic.statechart.interpreter import Outcome, Program, State, program_of, run
from kvspic.statechart.model import INIT_STATE, Settings

__all__ = ["Machine", "Snapshot", "Step", "Trace", "create_state_machine", "start", "step"]

Data = TypeVar("Data")


@dataclass(frozen=True)
class Snapshot(Generic[Data]):
    """All that a machine is between two events: control state, extended state, deep and shallow history."""

    control: str
    data: Data
    deep: dict[str, str]
    shallow: dict[str, str]

    def to_dict(self) -> dict[str, Any]:
        """The snapshot as a plain dict, JSON-ready when the data is."""
        return {"control": self.control, "data": self.data, "deep": dict(self.deep), "shallow": dict(self.shallow)}

    def to_json(self) -> str:
        """The snapshot as JSON text, for data of plain JSON types."""
        return json.dumps(self.to_dict(), sort_keys=True)

    @classmethod
    def from_dict(cls, raw: Mapping[str, Any]) -> Snapshot[Any]:
        """Read what ``to_dict`` wrote."""
        try:
            return Snapshot(raw["control"], raw["data"], dict(raw["deep"]), dict(raw["shallow"]))
        except (KeyError, TypeError, ValueError) as cause:
            raise StatechartError("This is no snapshot; pass what Snapshot.to_dict or to_json gave.") from cause

    @classmethod
    def from_json(cls, text: str) -> Snapshot[Any]:
        """Read what ``to_json`` wrote."""
        return cls.from_dict(json.loads(text))


@dataclass(frozen=True)
class Trace:
    """One micro-step: the branch taken, the data before and after, what was updated and output."""

    control: str
    target: str
    event: str | None
    payload: Any
    data: Any
    new_data: Any
    updates: Any
    outputs: list[Any]
    guard: str
    action: str
    row: int
    branch: int

    def to_dict(self) -> dict[str, Any]:
        """The record as a plain dict; ``event`` is null for an eventless row, index -1 is the implied initial row."""
        return {
            "control_state": self.control,
            "target_control_state": self.target,
            "event": self.event,
            "payload": self.payload,
            "extended_state": self.data,
            "new_extended_state": self.new_data,
            "updates": self.updates,
            "outputs": self.outputs,
            "guard": self.guard,
            "action": self.action,
            "transition_index": self.row,
            "guard_index": self.branch,
        }


@dataclass(frozen=True)
class Step(Generic[Data]):
    """What one event did. ``outputs`` is what ``send`` returns; ``error`` is set when the outcome is ERROR."""

    outcome: Outcome
    outputs: list[Any] | None
    snapshot: Snapshot[Data]
    trace: tuple[Trace, ...] = ()
    error: MachineError | None = None


def _destructure(event: Any) -> tuple[str, Any]:
    """Name and data of an event; the name is empty for what is no event, and no row has that name.

    Raises:
        MachineError: None was sent, or a mapping with several keys: both are slips, not unknown events.
    """
    if type(event) is not tuple and isinstance(event, Mapping):
        if len(event) > 1:
            raise MachineError(
                "event", f"an event has one name, this mapping has {len(event)} keys; send them one by one"
            )
        for name, payload in event.items():
            return (name, payload) if isinstance(name, str) else ("", None)
    elif isinstance(event, tuple) and len(event) == 2 and isinstance(event[0], str):
        return event[0], event[1]
    elif event is None:
        raise MachineError("event", "None is no event; send {name: data}")
    return "", None


def _traces(raw: list[Any]) -> tuple[Trace, ...]:
    return tuple(_trace(*entry) for entry in raw)


def _trace(way: Any, before: str, control: str, payload: Any, *rest: Any) -> Trace:
    data, new_data, updates, outputs = rest
    branch = way.row.source.branches[way.number]
    return Trace(
        before,
        control,
        way.row.event,
        payload,
        data,
        new_data,
        updates,
        list(outputs),
        branch.guard_name,
        branch.action_name,
        way.row.index,
        way.number,
    )


def _finish(result: tuple[Outcome, Any, State], raw: list[Any] | None) -> Step[Any]:
    """The interpreter's answer as a Step. The values are filled in directly: frozen constructors cost half the step."""
    outcome, outputs, state = result
    snapshot: Snapshot[Any] = object.__new__(Snapshot)
    held = snapshot.__dict__
    held["control"], held["data"], held["deep"], held["shallow"] = state
    if outcome is Outcome.ERROR or raw:
        error = outputs if outcome is Outcome.ERROR else None
        return Step(outcome, None if error else outputs, snapshot, _traces(raw or []), error)
    taken: Step[Any] = object.__new__(Step)
    held = taken.__dict__
    held["outcome"], held["outputs"], held["snapshot"] = outcome, outputs, snapshot
    held["trace"], held["error"] = (), None
    return taken


def _begin(program: Program, settings: Settings, raw: list[Any] | None) -> tuple[Outcome, Any, State]:
    data = program.definition.data
    return run(program, (INIT_STATE, data, {}, {}), program.initial_row, data, settings, raw)


def start(definition: Definition[Data], settings: Settings | None = None, *, trace: bool = False) -> Step[Data]:
    """The first step, from the reserved root to the first leaf; the initial data is the event data."""
    raw: list[Any] | None = [] if trace else None
    return _finish(_begin(program_of(definition), definition.settings if settings is None else settings, raw), raw)


def step(
    definition: Definition[Data],
    snapshot: Snapshot[Data],
    event: Any,
    settings: Settings | None = None,
    *,
    trace: bool = False,
) -> Step[Data]:
    """Everything that ``event`` causes from ``snapshot`` on, which stays as it is.

    A failing guard, action or update gives a Step with outcome ERROR and the error; nothing is raised for it.

    Raises:
        StatechartError: the snapshot belongs to another definition.
    """
    program = program_of(definition)
    table = program.table.get(snapshot.control)
    if table is None:
        raise StatechartError(
            f"The snapshot is in {snapshot.control!r}, which this definition does not have; take one of its own."
        )
    try:
        [(name, payload)] = event.items() if type(event) is dict and len(event) == 1 else [_destructure(event)]
    except MachineError as error:
        return Step(Outcome.ERROR, None, snapshot, (), error)
    raw: list[Any] | None = [] if trace else None
    used = definition.settings if settings is None else settings
    return _finish(run(program, _state(snapshot), table.get(name), payload, used, raw), raw)


def _state(snapshot: Snapshot[Any]) -> State:
    """A snapshot in the interpreter's form."""
    return snapshot.control, snapshot.data, snapshot.deep, snapshot.shallow


class Machine(Generic[Data]):
    """A started machine: a function from an event to outputs that remembers where it is.

    Made by :func:`create_state_machine`. It does no I/O and takes no lock; one thread or task at a time.
    """

    __slots__ = ("_program", "_settings", "_state", "_table", "_tracer", "definition", "started")

    def __init__(
        self,
        definition: Definition[Data],
        settings: Settings | None = None,
        tracer: Callable[[Trace], object] | None = None,
    ) -> None:
        self.definition = definition
        self._program = program_of(definition)
        self._table = self._program.table
        self._settings = definition.settings if settings is None else settings
        self._tracer = tracer
        self._state: State
        self.started: Step[Data] = self.start()

    def start(self) -> Step[Data]:
        """Start, or start again: initial data, empty history. The step holds the outputs of the way down.

        Raises:
            MachineError: a guard or action failed, or (STRICT) no branch led away from the root.
        """
        raw: list[Any] | None = None if self._tracer is None else []
        first: Step[Data] = _finish(_begin(self._program, self._settings, raw), raw)
        if first.error is not None:
            raise first.error
        self._keep(first)
        return first

    def send(self, event: Any) -> list[Any] | None:
        """Take one event; answer None, [None] or a list of outputs, see the module's docstring.

        Raises:
            MachineError: a guard, action or update failed. STRICT: the machine is as before the event.
        """
        if type(event) is dict and len(event) == 1:
            [(name, payload)] = event.items()
        else:
            name, payload = _destructure(event)
        if self._tracer is not None:
            return self._send_traced(event)
        outcome, outputs, self._state = run(
            self._program, self._state, self._table[self._state[0]].get(name), payload, self._settings, None
        )
        if outcome is _ERROR:
            raise outputs
        return outputs  # type: ignore[no-any-return]

    __call__ = send

    def step(self, event: Any, *, trace: bool = False) -> Step[Data]:
        """Take one event and answer with the whole step; a failure is a value here too."""
        taken = step(self.definition, self.snapshot, event, self._settings, trace=trace or self._tracer is not None)
        self._keep(taken)
        return taken

    def _send_traced(self, event: Any) -> list[Any] | None:
        taken = self.step(event)
        if taken.error is not None:
            raise taken.error
        return taken.outputs

    def _keep(self, taken: Step[Data]) -> None:
        self._state = _state(taken.snapshot)
        if self._tracer is not None:
            for record in taken.trace:
                self._tracer(record)

    @property
    def control(self) -> str:
        """The current control state."""
        return self._state[0]

    @property
    def data(self) -> Data:
        """The current extended state; not to be changed in place."""
        return self._state[1]  # type: ignore[no-any-return]

    @property
    def snapshot(self) -> Snapshot[Data]:
        """The whole state as a value."""
        return Snapshot(*self._state)

    def restore(self, snapshot: Snapshot[Data] | Mapping[str, Any] | str) -> None:
        """Go on from a snapshot, its dict or its JSON text.

        Raises:
            StatechartError: it names a state that this definition does not have. The machine is as before.
        """
        if isinstance(snapshot, str):
            snapshot = Snapshot.from_json(snapshot)
        elif not isinstance(snapshot, Snapshot):
            snapshot = Snapshot.from_dict(snapshot)
        names = [
            snapshot.control,
            *snapshot.deep,
            *snapshot.deep.values(),
            *snapshot.shallow,
            *snapshot.shallow.values(),
        ]
        unknown = [str(name) for name in names if name not in self.definition.tree]
        if unknown:
            raise StatechartError(
                f"The snapshot names states that this machine does not have: {', '.join(unknown)}; take one of its own."
            )
        self._state = (snapshot.control, snapshot.data, dict(snapshot.deep), dict(snapshot.shallow))


_ERROR = Outcome.ERROR


def create_state_machine(
    definition: Definition[Data], settings: Settings | None = None, *, tracer: Callable[[Trace], object] | None = None
) -> Machine[Data]:
    """A started machine. ``settings`` replaces the definition's; ``tracer`` gets one record per micro-step.

    Raises:
        DefinitionError: the definition cannot be interpreted.
        MachineError: the way to the first state failed.
    """
    return Machine(definition, settings, tracer)
