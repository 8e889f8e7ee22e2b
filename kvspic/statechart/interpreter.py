"""The interpreter: one function from (program, state, event) to (outcome, outputs, state).

A definition is compiled once: for every (state, event) the row after ancestor lookup, for every state its automatic
row and the history that leaving it writes. A micro-step is then one look-up plus the caller's own functions. State is
a plain tuple (control, data, deep, shallow) whose maps are replaced, never changed, so an old one stays valid.

Order within a micro-step: guards, action, history of the state left, update of the data, target. On a failure the
strict profile answers with the state from before the event, the parity profile with what was reached.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from enum import Enum
from typing import Any, NamedTuple

from kvspic.statechart.contracts import uninterpretable
from kvspic.statechart.definition import Definition
from kvspic.statechart.errors import DefinitionError, MachineError
from kvspic.statechart.model import INIT_EVENT, INIT_STATE, Branch, History, Profile, Result, Row, Settings

__all__ = ["INIT_ROW_INDEX", "Outcome", "Program", "State", "merge_records", "program_of", "run"]

State = tuple[str, Any, dict[str, str], dict[str, str]]

INIT_ROW_INDEX = -1
"""The row index of the initial row that ``Definition.initial`` stands for."""


class Outcome(Enum):
    """What one event did. ``send`` shows it as None, [None], a list, a list ending in None, or an exception."""

    UNHANDLED = "unhandled"
    BLOCKED = "blocked"
    TAKEN = "taken"
    STUCK = "stuck"
    ERROR = "error"


_TAKEN, _UNHANDLED, _ERROR = (
    Outcome.TAKEN,
    Outcome.UNHANDLED,
    Outcome.ERROR,
)  # reading a global is cheaper than a member


class Way(NamedTuple):
    """A compiled branch."""

    guard: Any
    action: Any
    target: str
    history: str | None
    number: int
    row: CompiledRow


class CompiledRow:
    """A compiled row. ``sole`` is its branch when no guard is to be asked."""

    __slots__ = ("event", "index", "origin", "sole", "source", "ways")

    def __init__(self, index: int, row: Row) -> None:
        self.index = index
        self.origin = row.origin
        self.event = row.event
        self.source = row
        self.ways = tuple(_way(self, number, branch) for number, branch in enumerate(row.branches))
        self.sole = self.ways[0] if self.ways[0].guard is None else None


def _way(row: CompiledRow, number: int, branch: Branch) -> Way:
    action: Any = branch.action
    if isinstance(action, Result) and action == Result():
        action = None
    elif isinstance(action, Result):
        action = _constant(action)
    target = branch.target
    if isinstance(target, History):
        return Way(branch.guard, action, target.state, target.kind, number, row)
    return Way(branch.guard, action, target, None, number, row)


def _constant(result: Result) -> Any:
    return lambda data, payload, settings: result


class Program:
    """A compiled definition."""

    __slots__ = ("automatic", "definition", "entered", "initial_row", "left", "limit", "strict", "table", "update")

    def __init__(self, definition: Definition[Any]) -> None:
        tree = definition.tree
        rows = [CompiledRow(index, row) for index, row in enumerate(definition.rows)]
        if definition.initial is not None:
            rows.append(CompiledRow(INIT_ROW_INDEX, Row(INIT_STATE, INIT_EVENT, definition.initial)))
        own: dict[str, dict[str, CompiledRow]] = {name: {} for name in (INIT_STATE, *tree.names)}
        entry: dict[str, CompiledRow] = {}
        eventless: dict[str, CompiledRow] = {}
        for row in rows:
            if row.event is None:
                eventless[row.origin] = row
            elif row.event == INIT_EVENT:
                entry[row.origin] = row
            else:
                own[row.origin][row.event] = row
        self.definition = definition
        self.initial_row = entry[INIT_STATE]
        self.entered = {name for name in entry if tree.is_compound(name)}
        self.automatic = {**eventless, **{name: entry[name] for name in self.entered}}
        self.table = {
            name: _looked_up(own, [name, *tree.ancestors(name), INIT_STATE]) for name in (INIT_STATE, *tree.names)
        }
        self.left = {name: _marks(name, tree.ancestors(name)) for name in tree.names if tree.ancestors(name)}
        self.update = definition.update or merge_records
        self.limit = definition.micro_steps_max
        self.strict = definition.profile is Profile.STRICT


def _looked_up(own: dict[str, dict[str, CompiledRow]], line: list[str]) -> dict[str, CompiledRow]:
    """The rows that a state answers to: its own before its ancestors'."""
    found: dict[str, CompiledRow] = {}
    for name in reversed(list(dict.fromkeys(line))):
        found.update(own[name])
    return found


def _marks(name: str, ancestors: list[str]) -> tuple[dict[str, str], dict[str, str]]:
    """What leaving ``name`` writes into the deep and the shallow history."""
    return dict.fromkeys(ancestors, name), dict(zip(ancestors, [name, *ancestors]))


def program_of(definition: Definition[Any]) -> Program:
    """The compiled definition; made once.

    Raises:
        DefinitionError: the definition cannot be interpreted.
    """
    program: Program | None = definition.__dict__.get("_program")
    if program is None:
        violations = uninterpretable(definition)
        if violations:
            raise DefinitionError(violations)
        program = Program(definition)
        object.__setattr__(definition, "_program", program)
    return program


def merge_records(data: Any, updates: Any) -> Any:
    """The default update: merge each record into a copy of the mapping, or replace fields of the dataclass."""
    if type(data) is dict and type(updates) is tuple and len(updates) == 1:
        return {**data, **updates[0]}
    if not isinstance(updates, (list, tuple)):
        raise TypeError("updates must be a list of records")
    if dataclasses.is_dataclass(data) and not isinstance(data, type):
        for record in updates:
            data = dataclasses.replace(data, **record)
        return data
    for record in updates:
        data = {**data, **record}
    return data


class _Fault(Exception):
    """A failure with its kind, as in MachineError; ``branch`` where the row alone does not tell it."""

    def __init__(self, kind: str, text: str, branch: int | None = None) -> None:
        super().__init__(text)
        self.kind = kind
        self.branch = branch


def _raised(cause: Exception) -> str:
    return f"the function raised {type(cause).__name__}; correct it, or let a guard keep this case away from it"


def _choose(row: CompiledRow, data: Any, payload: Any, settings: Settings) -> Way | None:
    """The first branch whose guard is true."""
    for way in row.ways:
        if way.guard is None:
            return way
        try:
            answer = way.guard(data, payload, settings)
        except Exception as cause:
            raise _Fault("guard", _raised(cause), way.number) from cause
        if answer is True:
            return way
        if answer is not False:
            text = f"a guard must return True or False, not {type(answer).__name__}"
            raise _Fault("guard_type", text, way.number)
    return None


def _unpack(result: Any) -> tuple[Any, Any]:
    """Updates and outputs of an action's result in mapping form, or of a Result with odd outputs."""
    if isinstance(result, Result):
        updates, outputs = result
    elif isinstance(result, Mapping) and "updates" in result and "outputs" in result:
        updates, outputs = result["updates"], result["outputs"]
    else:
        raise _Fault(
            "action_shape",
            f"an action must return a Result or a mapping with updates and outputs, not {type(result).__name__}",
        )
    if not isinstance(outputs, (list, tuple)):
        raise _Fault("action_shape", f"the outputs of an action must be a list, not {type(outputs).__name__}")
    return updates, outputs


def _recall(program: Program, way: Way, deep: dict[str, str], shallow: dict[str, str]) -> str:
    """The state that a history target stands for now."""
    found = (deep if way.history == "deep" else shallow).get(way.target)
    if found is not None:
        return found
    if way.target not in program.entered:
        raise _Fault("history_target", f"{way.target!r} has no entry row and nothing to remember")
    return way.target


def run(
    program: Program, state: State, row: CompiledRow | None, payload: Any, settings: Settings, trace: list[Any] | None
) -> tuple[Outcome, Any, State]:
    """Everything that one event causes. ``row`` is what the table holds for it; on ERROR the outputs are the error."""
    if row is None:
        return _UNHANDLED, None, state
    control, data, deep, shallow = state
    outputs: list[Any] = []
    phase, count, event = "guard", 0, row.event
    way: Way | None = None
    try:
        while True:
            count += 1
            if count > program.limit:
                way = None
                raise _Fault("no_progress", f"{program.limit} micro-steps and no end; some eventless rows form a loop")
            way = row.sole or _choose(row, data, payload, settings)
            if way is None:
                break
            updates: Any = ()
            produced: Any = ()
            if way.action is not None:
                phase = "action"
                result = way.action(data, payload, settings)
                updates, produced = result if type(result) is Result and type(result[1]) is tuple else _unpack(result)
            left = program.left.get(control)
            if left is not None:
                deep, shallow = deep | left[0], shallow | left[1]
            phase = "update"
            old = data
            if updates or program.update is not merge_records or type(updates) is not tuple:
                data = program.update(data, updates)
            phase = "history_target"
            before, control = control, way.target if way.history is None else _recall(program, way, deep, shallow)
            if trace is not None:
                trace.append((way, before, control, payload, old, data, updates, produced))
            following = program.automatic.get(control)
            if following is None:
                outputs += produced
                return _TAKEN, outputs, (control, data, deep, shallow)
            if before == control:
                way = None
                break
            outputs += produced
            row = following
    except Exception as cause:
        error = _error(cause, phase, control, event, (row, way))
        return _ERROR, error, state if program.strict else (control, data, deep, shallow)
    return _halted(program, state, (control, data, deep, shallow), (row, count, outputs))


def _error(
    cause: Exception, phase: str, control: str, event: str | None, at: tuple[CompiledRow, Way | None]
) -> MachineError:
    row, way = at
    branch = None if way is None else way.number
    if not isinstance(cause, _Fault):
        cause, origin = _Fault(phase, _raised(cause), branch), cause
        cause.__cause__ = origin
    place = (row.index, branch if cause.branch is None else cause.branch)
    error = MachineError(cause.kind, str(cause), control, event or "", place)
    error.__cause__ = cause.__cause__
    return error


def _halted(
    program: Program, state: State, reached: State, at: tuple[CompiledRow, int, list[Any]]
) -> tuple[Outcome, Any, State]:
    """The answer after a micro-step that found no branch, or that led an automatic state to itself."""
    row, count, outputs = at
    if count == 1 and program.automatic.get(reached[0]) is None:
        return Outcome.BLOCKED, [None], state
    if program.strict:
        text = "no branch leads away from an automatic state; end its branches with an unguarded one"
        return Outcome.ERROR, MachineError("no_progress", text, reached[0], row.event or "", (row.index, None)), state
    return Outcome.STUCK, None if count == 1 else [*outputs, None], reached
