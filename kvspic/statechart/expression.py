"""A tiny expression language, so that a whole machine, guards and actions included, can be JSON.

Expressions read three values: ``es`` the extended state before the transition, ``ev`` the event data, ``st`` the
settings. A scalar stands for itself, a list is a list of expressions, a one-key object is an operator:
``const``, ``var``, ``+ - * %``, ``== != < <= > >=``, ``and or !``, ``cat``, ``append``, ``obj``. An absent path is
null; in arithmetic and ordering null counts as 0, and the remainder takes the sign of the dividend. Expressions are
compiled to closures when they are read; anything unknown is a ``DefinitionError`` then, not later.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from kvspic.statechart.contracts import Violation
from kvspic.statechart.definition import Definition, Registry
from kvspic.statechart.errors import DefinitionError
from kvspic.statechart.graph import Generator, Payload
from kvspic.statechart.model import Profile, Update

__all__ = [
    "action_from_json",
    "definition_from_expressions",
    "expression",
    "generators_from_json",
    "guard_from_json",
    "registry_from_json",
]

Expression = Callable[[Any, Any, Any], Any]


def _refuse(text: str) -> DefinitionError:
    return DefinitionError((Violation("haveTransitionsValidTypes", text),))


def expression(raw: Any) -> Expression:
    """Compile one expression.

    Raises:
        DefinitionError: an unknown operator, or one with the wrong operands.
    """
    if isinstance(raw, list):
        parts = [expression(part) for part in raw]
        return lambda es, ev, st: [part(es, ev, st) for part in parts]
    if not isinstance(raw, Mapping):
        return lambda es, ev, st: raw
    if len(raw) != 1:
        raise _refuse(
            f"an expression has one operator, not the keys {sorted(map(str, raw))}; write const or obj for an object"
        )
    [(name, operand)] = raw.items()
    compiler = _COMPILERS.get(name)
    if compiler is None:
        raise _refuse(f"the expression operator {name!r} is unknown; known are {', '.join(sorted(_COMPILERS))}")
    return compiler(operand)


def _const(operand: Any) -> Expression:
    return lambda es, ev, st: operand


def _var(operand: Any) -> Expression:
    if not isinstance(operand, str):
        raise _refuse("var needs a path such as 'es.a'")
    root, *path = operand.split(".")
    if root not in ("es", "ev", "st"):
        raise _refuse(f"the path {operand!r} must start with es, ev or st")
    which = ("es", "ev", "st").index(root)
    return lambda es, ev, st: _walk((es, ev, st)[which], path)


def _walk(value: Any, path: list[str]) -> Any:
    """The value at a path of keys and list positions, or None."""
    for key in path:
        if isinstance(value, Mapping):
            value = value.get(key)
        elif isinstance(value, (list, tuple)) and key.isdigit() and int(key) < len(value):
            value = value[int(key)]
        else:
            return None
    return value


def _operands(name: str, operand: Any, count: int | None) -> list[Expression]:
    if not isinstance(operand, list) or (count is not None and len(operand) != count):
        raise _refuse(f"the operator {name!r} needs a list of {count or 'some'} operands")
    return [expression(part) for part in operand]


def _binary(name: str, apply: Callable[[Any, Any], Any]) -> Callable[[Any], Expression]:
    def build(operand: Any) -> Expression:
        left, right = _operands(name, operand, 2)
        return lambda es, ev, st: apply(left(es, ev, st), right(es, ev, st))

    return build


def _number(value: Any) -> int | float:
    if value is None:
        return 0
    if isinstance(value, (int, float)):
        return value + 0
    raise TypeError(f"arithmetic needs numbers, not {type(value).__name__}")


def _remainder(left: Any, right: Any) -> Any:
    size = abs(_number(left)) % abs(_number(right))
    return size if _number(left) >= 0 else -size


def _same(left: Any, right: Any) -> bool:
    """Equality of JSON values: true is not 1."""
    if isinstance(left, bool) or isinstance(right, bool):
        return left is right
    if isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right) and all(map(_same, left, right))
    return bool(left == right)


def _order(left: Any, right: Any) -> int:
    if isinstance(left, str) and isinstance(right, str):
        return (left > right) - (left < right)
    first, second = _number(left), _number(right)
    return (first > second) - (first < second)


def _truth(value: Any) -> bool:
    return value is not None and value is not False and value != 0 and value != ""


def _logic(name: str, every: bool) -> Callable[[Any], Expression]:
    def build(operand: Any) -> Expression:
        parts = _operands(name, operand, None)
        if every:
            return lambda es, ev, st: all(_truth(part(es, ev, st)) for part in parts)
        return lambda es, ev, st: any(_truth(part(es, ev, st)) for part in parts)

    return build


def _not(operand: Any) -> Expression:
    part = expression(operand[0] if isinstance(operand, list) and len(operand) == 1 else operand)
    return lambda es, ev, st: not _truth(part(es, ev, st))


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    if isinstance(value, (int, float)):
        return str(value)
    raise TypeError(f"cat joins text and numbers, not {type(value).__name__}")


def _cat(operand: Any) -> Expression:
    parts = _operands("cat", operand, None)
    return lambda es, ev, st: "".join(_text(part(es, ev, st)) for part in parts)


def _append(operand: Any) -> Expression:
    items, item = _operands("append", operand, 2)
    return lambda es, ev, st: [*(items(es, ev, st) or []), item(es, ev, st)]


def _obj(operand: Any) -> Expression:
    if not isinstance(operand, Mapping):
        raise _refuse("obj needs an object of expressions")
    parts = {key: expression(part) for key, part in operand.items()}
    return lambda es, ev, st: {key: part(es, ev, st) for key, part in parts.items()}


_COMPILERS: dict[str, Callable[[Any], Expression]] = {
    "const": _const,
    "var": _var,
    "cat": _cat,
    "append": _append,
    "obj": _obj,
    "!": _not,
    "and": _logic("and", True),
    "or": _logic("or", False),
    "+": _binary("+", lambda left, right: _number(left) + _number(right)),
    "-": _binary("-", lambda left, right: _number(left) - _number(right)),
    "*": _binary("*", lambda left, right: _number(left) * _number(right)),
    "%": _binary("%", _remainder),
    "==": _binary("==", _same),
    "!=": _binary("!=", lambda left, right: not _same(left, right)),
    "<": _binary("<", lambda left, right: _order(left, right) < 0),
    "<=": _binary("<=", lambda left, right: _order(left, right) <= 0),
    ">": _binary(">", lambda left, right: _order(left, right) > 0),
    ">=": _binary(">=", lambda left, right: _order(left, right) >= 0),
}


def _raiser(text: Any) -> Callable[..., Any]:
    def raising(data: Any, payload: Any, settings: Any) -> Any:
        raise RuntimeError(str(text))

    return raising


def guard_from_json(raw: Any) -> Callable[..., Any]:
    """A guard from ``{"expr": e}``, ``{"throws": text}`` or ``{"returns": value}``."""
    if isinstance(raw, Mapping):
        if "throws" in raw:
            return _raiser(raw["throws"])
        if "returns" in raw:
            return _const(raw["returns"])
        if "expr" in raw:
            return expression(raw["expr"])
    raise _refuse("a guard needs one of expr, throws, returns")


def action_from_json(raw: Any) -> Callable[..., Any]:
    """An action from ``{"updates": [...], "outputs": [...]}``, ``{"throws": text}`` or ``{"returns": value}``."""
    if not isinstance(raw, Mapping):
        raise _refuse("an action needs updates and outputs, or one of throws, returns")
    if "throws" in raw:
        return _raiser(raw["throws"])
    if "returns" in raw:
        return _const(raw["returns"])
    unknown = sorted(set(raw) - {"updates", "outputs", "description"})
    if unknown:
        raise _refuse(f"an action has updates and outputs, not {', '.join(unknown)}")
    records = [_obj(record) for record in raw.get("updates") or []]
    outputs = [expression(output) for output in raw.get("outputs") or []]

    def action(es: Any, ev: Any, st: Any) -> dict[str, Any]:
        return {
            "updates": [record(es, ev, st) for record in records],
            "outputs": [output(es, ev, st) for output in outputs],
        }

    return action


def _merge(data: Any, updates: Any) -> Any:
    merged = dict(data or {})
    for record in updates:
        merged.update(record or {})
    return merged


def _merge_forbid_boom(data: Any, updates: Any) -> Any:
    if any("boom" in (record or {}) for record in updates):
        raise ValueError("a record has the forbidden key boom")
    return _merge(data, updates)


_UPDATES: dict[str, Update] = {"merge": _merge, "merge_forbid_boom": _merge_forbid_boom}


def registry_from_json(raw: Mapping[str, Any]) -> Registry:
    """The functions that a definition in JSON brings along in its ``guards`` and ``actions``."""
    guards = {name: guard_from_json(part) for name, part in (raw.get("guards") or {}).items()}
    actions = {name: action_from_json(part) for name, part in (raw.get("actions") or {}).items()}
    return Registry(guards, actions, _UPDATES)


_REMARKS = {"id", "name", "title", "note", "notes", "comment", "description", "label"}
_KEYS = {
    "definition": {
        "states",
        "events",
        "transitions",
        "guards",
        "actions",
        "settings",
        "update_state",
        "updateState",
        "initial_extended_state",
        "initialExtendedState",
        "initial_control_state",
        "initialControlState",
    },
    "row": {"from", "event", "to", "action", "guards", "gen"},
    "branch": {"guard", "predicate", "to", "action", "gen"},
}


def _refuse_unknown_keys(raw: Mapping[str, Any]) -> None:
    """A key that is not read may change what the machine is meant to do, so it is an error."""
    transitions = raw.get("transitions")
    rows = [row for row in transitions if isinstance(row, Mapping)] if isinstance(transitions, list) else []
    guards = [row["guards"] for row in rows if isinstance(row.get("guards"), list)]
    branches = [branch for listed in guards for branch in listed if isinstance(branch, Mapping)]
    for what, parts in (("definition", [raw]), ("row", rows), ("branch", branches)):
        for part in parts:
            unknown = set(part) - _KEYS[what] - _REMARKS
            if unknown:
                known = ", ".join(sorted(_KEYS[what]))
                raise _refuse(f"a {what} has no {', '.join(sorted(map(str, unknown)))}; known are {known}")


def definition_from_expressions(raw: Mapping[str, Any], profile: Profile = Profile.STRICT) -> Definition[Any]:
    """A definition whose guards and actions are written in the expression language.

    Raises:
        DefinitionError: something in it is unknown, or (STRICT) a contract is broken.
    """
    _refuse_unknown_keys(raw)
    return Definition.from_dict({"update_state": "merge", **raw}, registry_from_json(raw), profile)


def generators_from_json(raw: Mapping[str, Any]) -> dict[tuple[str, str, int], Generator]:
    """The generators of the rows and branches with a ``gen``: its ``input``, where its ``when`` (if any) holds."""
    found: dict[tuple[str, str, int], Generator] = {}
    for row in raw.get("transitions") or []:
        branches = row.get("guards") or [row]
        for number, branch in enumerate(branches):
            made = branch.get("gen", row.get("gen"))
            if made is not None and row.get("event"):
                found[(row["from"], row["event"], number)] = _generator(made, raw.get("settings") or {})
    return found


def _generator(raw: Any, settings: Any) -> Generator:
    if not isinstance(raw, Mapping) or set(raw) - {"input", "when"}:
        raise _refuse("a gen has an input and may have a when")
    value = expression(raw.get("input"))
    when = expression(raw.get("when", True))
    return lambda data, memory: Payload(value(data, None, settings)) if _truth(when(data, None, settings)) else None
