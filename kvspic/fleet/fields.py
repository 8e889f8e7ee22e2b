"""Fields of request bodies as data: one table checks a body and describes it in the OpenAPI document. Pure.

A check returns plain values with all defaults filled in, or raises :class:`BadFieldError` for the first wrong field, by
its dotted name. Text is checked to be storable: no NUL character, no lone surrogate.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from kvspic.fleet.errors import BadFieldError

__all__ = ["REQUIRED", "WHOLE_MAX", "Field", "check_body", "check_query", "schema_of", "storable"]

REQUIRED = object()
"""The default of a field that must be given."""
WHOLE_MAX = 2**63 - 1
_TYPES = {"text": "string", "whole": "integer", "number": "number", "flag": "boolean", "list": "array"}
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")


@dataclass(frozen=True)
class Field:
    """One field of a body.

    Attributes:
        name: the key in the body.
        kind: ``text``, ``whole``, ``number``, ``flag``, ``list`` or ``object``.
        default: the value where the key is absent; REQUIRED: it must be there.
        pattern: what the whole text must match. ``size_max``: characters of a text, items of a list.
        low, high: bounds of a number, both allowed.
        choices: the only values allowed.
        item: what each item of a list is. ``fields``: the members of an object; None: any JSON object.
        is_nullable: null is allowed, and is kept.
        is_open: an object with members that are not listed is taken, and they are ignored.
        cut: a text that is too long is cut, not refused.
        text: what the field means, for the document.
    """

    name: str
    kind: str = "text"
    default: Any = REQUIRED
    pattern: str = ""
    size_max: int = 0
    low: float | None = None
    high: float | None = None
    choices: tuple[str, ...] = ()
    item: Field | None = None
    fields: tuple[Field, ...] | None = None
    is_nullable: bool = False
    is_open: bool = False
    cut: bool = False
    text: str = ""


def storable(text: str) -> str:
    """Return a text that every database stores: NUL and lone surrogates become U+FFFD."""
    return _UNSTORABLE.sub("\ufffd", text)


def check_body(fields: Sequence[Field], raw: Any, where: str = "", *, is_open: bool = False) -> dict[str, Any]:
    """Check a JSON object against its fields and return it with every default filled in.

    Args:
        where: dotted name of the object, for errors; empty for the body itself.
        is_open: members that are not in ``fields`` are left out instead of refused.

    Raises:
        BadFieldError: the first field that is wrong, unknown or missing.
    """
    if not isinstance(raw, Mapping):
        raise BadFieldError(where, f"must be an object, not {_kind_of(raw)}")
    known = {field.name for field in fields}
    unknown = [str(key) for key in raw if key not in known]
    if unknown and not is_open:
        raise BadFieldError(_join(where, unknown[0]), f"is not a field here; fields are {', '.join(sorted(known))}")
    return {field.name: _member(field, raw, where) for field in fields}


def check_query(fields: Sequence[Field], raw: Mapping[str, str]) -> dict[str, Any]:
    """Check the parameters of a query, whose values are all text; whole numbers and flags are read from it."""
    plain: dict[str, Any] = dict(raw)
    for field in fields:
        value = raw.get(field.name)
        if value is not None and field.kind == "whole":
            plain[field.name] = int(value) if re.fullmatch(r"-?[0-9]{1,19}", value) else value
        elif value is not None and field.kind == "flag":
            plain[field.name] = {"true": True, "1": True, "false": False, "0": False}.get(value, value)
    return check_body(fields, plain)


def _member(field: Field, raw: Mapping[str, Any], where: str) -> Any:
    name = _join(where, field.name)
    if field.name not in raw:
        if field.default is REQUIRED:
            raise BadFieldError(name, "is missing")
        if field.fields is not None and field.default == {}:
            return check_body(field.fields, {}, name)
        return field.default
    return _value(field, raw[field.name], name)


def _value(field: Field, value: Any, name: str) -> Any:
    if value is None:
        if field.is_nullable:
            return None
        raise BadFieldError(name, "must not be null")
    return _CHECKS[field.kind](field, value, name)


def _text(field: Field, value: Any, name: str) -> str:
    if not isinstance(value, str):
        raise BadFieldError(name, f"must be a text, not {_kind_of(value)}")
    if field.cut:
        return storable(value)[: field.size_max]
    if field.choices and value not in field.choices:
        raise BadFieldError(name, f"must be one of {', '.join(field.choices)}")
    if field.size_max and len(value) > field.size_max:
        raise BadFieldError(name, f"has {len(value)} characters, allowed are {field.size_max}")
    if field.pattern and not re.fullmatch(field.pattern, value):
        raise BadFieldError(name, f"must match {field.pattern}")
    if _UNSTORABLE.search(value):
        raise BadFieldError(name, "holds a NUL character or half a character")
    return value


def _number(field: Field, value: Any, name: str) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise BadFieldError(name, f"must be a number, not {_kind_of(value)}")
    if isinstance(value, float) and not math.isfinite(value):
        raise BadFieldError(name, "must be a finite number")
    _check_range(field, value, name)
    return value


def _whole(field: Field, value: Any, name: str) -> int:
    if isinstance(value, float) and value.is_integer() and abs(value) <= WHOLE_MAX:
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int):
        raise BadFieldError(name, f"must be a whole number, not {_kind_of(value)}")
    _check_range(field, value, name)
    return value


def _check_range(field: Field, value: float, name: str) -> None:
    low = 0 if field.low is None else field.low
    high = WHOLE_MAX if field.high is None else field.high
    if not low <= value <= high:
        raise BadFieldError(name, f"must be between {_plain(low)} and {_plain(high)}")


def _plain(bound: float) -> str:
    return str(int(bound)) if float(bound).is_integer() else str(bound)


def _flag(field: Field, value: Any, name: str) -> bool:
    if not isinstance(value, bool):
        raise BadFieldError(name, f"must be true or false, not {_kind_of(value)}")
    return value


def _list(field: Field, value: Any, name: str) -> list[Any]:
    if not isinstance(value, (list, tuple)):
        raise BadFieldError(name, f"must be a list, not {_kind_of(value)}")
    if field.size_max and len(value) > field.size_max:
        raise BadFieldError(name, f"has {len(value)} items, allowed are {field.size_max}")
    if field.item is None:
        return list(value)
    return [_value(field.item, item, f"{name}[{index}]") for index, item in enumerate(value)]


def _object(field: Field, value: Any, name: str) -> dict[str, Any]:
    if field.fields is None:
        if not isinstance(value, Mapping):
            raise BadFieldError(name, f"must be an object, not {_kind_of(value)}")
        return dict(value)
    return check_body(field.fields, value, name, is_open=field.is_open)


_CHECKS: dict[str, Any] = {
    "text": _text,
    "number": _number,
    "whole": _whole,
    "flag": _flag,
    "list": _list,
    "object": _object,
}


def schema_of(fields: Sequence[Field], *, is_open: bool = False) -> dict[str, Any]:
    """Return the JSON Schema of an object with these fields, as the OpenAPI document 3.1 takes it."""
    schema: dict[str, Any] = {
        "type": "object",
        "properties": {field.name: _schema(field) for field in fields},
        "additionalProperties": is_open,
    }
    required = [field.name for field in fields if field.default is REQUIRED]
    return {**schema, "required": required} if required else schema


def _schema(field: Field) -> dict[str, Any]:
    if field.kind == "object":
        members = {"type": "object"} if field.fields is None else schema_of(field.fields, is_open=field.is_open)
        plain: dict[str, Any] = members
    else:
        plain = {"type": _TYPES[field.kind], **_limits(field)}
    if field.is_nullable:
        plain["type"] = [plain["type"], "null"]
        if field.choices:
            plain["enum"] = [*field.choices, None]
    if field.default is not REQUIRED and field.default is not None and field.kind != "object":
        plain["default"] = list(field.default) if isinstance(field.default, (list, tuple)) else field.default
    return {**plain, "description": field.text} if field.text else plain


def _limits(field: Field) -> dict[str, Any]:
    limits: dict[str, Any] = {}
    if field.kind == "list":
        limits["items"] = {} if field.item is None else _schema(field.item)
        return {**limits, "maxItems": field.size_max} if field.size_max else limits
    if field.kind in ("number", "whole"):
        limits["minimum"] = 0 if field.low is None else field.low
        limits["maximum"] = WHOLE_MAX if field.high is None else field.high
    if field.pattern:
        limits["pattern"] = f"^(?:{field.pattern})$"
    if field.size_max and not field.cut:
        limits["maxLength"] = field.size_max
    if field.choices:
        limits["enum"] = list(field.choices)
    return limits


def _kind_of(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true or false"
    if isinstance(value, (int, float)):
        return "a number"
    if isinstance(value, str):
        return "a text"
    return "a list" if isinstance(value, (list, tuple)) else "an object"


def _join(where: str, name: str) -> str:
    return f"{where}.{name}" if where else name
