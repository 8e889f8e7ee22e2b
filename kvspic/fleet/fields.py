"""Fields of request bodies as data: one table checks a body and describes it in the OpenAPI document. Pure.

A check returns plain values with all defaults filled in, or raises :class:`BadFieldError` for the first wrong field, by
its dotted name. Text is checked to be storable: no NUL character, no lone surrogate.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from kvspic.fleet.errors import BadFieldError

__all__ = ["REQUIRED", "WHOLE_MAX", "Field", "check_body", "check_query", "schema_of", "storable"]

REQUIRED = object()
"""The default of a field that must be given."""
WHOLE_MAX = 2**63 - 1
_TYPES = {"text": "string", "whole": "integer", "number": "number", "flag": "boolean", "list": "array"}
_Check = Callable[[Any], Any]
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

    @cached_property
    def check(self) -> _Check:
        """The check of one value, made once; it returns the value as it is used, or raises _Wrong."""
        check = _CHECKS[self.kind](self)

        def check_given(value: Any) -> Any:
            if value is not None:
                return check(value)
            if self.is_nullable:
                return None
            raise _Wrong("must not be null")

        return check_given


def storable(text: str) -> str:
    """Return a text that every database stores: NUL and lone surrogates become U+FFFD."""
    return text if text.isascii() and "\x00" not in text else _UNSTORABLE.sub("\ufffd", text)


def check_body(fields: Sequence[Field], raw: Any, where: str = "", *, is_open: bool = False) -> dict[str, Any]:
    """Check a JSON object against its fields and return it with every default filled in.

    Args:
        where: dotted name of the object, for errors; empty for the body itself.
        is_open: members that are not in ``fields`` are left out instead of refused.

    Raises:
        BadFieldError: the first field that is wrong, unknown or missing.
    """
    try:
        return _members(fields, frozenset() if is_open else frozenset(field.name for field in fields), raw)
    except _Wrong as wrong:
        raise BadFieldError(wrong.within(where).lstrip("."), wrong.message) from None


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


class _Wrong(Exception):
    """A value that is not allowed. Its place is put together on the way out: a value that is allowed needs no name."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message
        self.place = ""

    def within(self, outer: str) -> str:
        """The place is a part of ``outer``; return it whole."""
        self.place = outer + self.place
        return self.place


def _members(fields: Sequence[Field], known: frozenset[str], raw: Any) -> dict[str, Any]:
    """Check the members of an object; ``known`` are the only ones allowed, unless it is empty."""
    if not isinstance(raw, Mapping):
        raise _Wrong(f"must be an object, not {_kind_of(raw)}")
    if known and not known.issuperset(raw):
        wrong = _Wrong(f"is not a field here; fields are {', '.join(sorted(known))}")
        wrong.within(f".{next(key for key in raw if key not in known)}")
        raise wrong
    found = {}
    for field in fields:
        name = field.name
        try:
            found[name] = field.check(raw[name]) if name in raw else _absent(field)
        except _Wrong as wrong:
            wrong.within(f".{name}")
            raise
    return found


def _absent(field: Field) -> Any:
    if field.default is REQUIRED:
        raise _Wrong("is missing")
    return field.check({}) if field.fields is not None and field.default == {} else field.default


def _text(field: Field) -> _Check:
    choices, size_max = frozenset(field.choices), field.size_max or math.inf
    fits = re.compile(field.pattern or r"(?s:.*)").fullmatch

    def check(value: Any) -> str:
        if not isinstance(value, str):
            raise _Wrong(f"must be a text, not {_kind_of(value)}")
        if choices and value not in choices:
            raise _Wrong(f"must be one of {', '.join(field.choices)}")
        if len(value) > size_max:
            raise _Wrong(f"has {len(value)} characters, allowed are {field.size_max}")
        if not fits(value):
            raise _Wrong(f"must match {field.pattern}")
        if _UNSTORABLE.search(value):
            raise _Wrong("holds a NUL character or half a character")
        return value

    def cut(value: Any) -> str:
        if not isinstance(value, str):
            raise _Wrong(f"must be a text, not {_kind_of(value)}")
        return storable(value)[: field.size_max]

    return cut if field.cut else check


def _number(field: Field) -> _Check:
    is_in_range = _range(field)

    def check(value: Any) -> float:
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise _Wrong(f"must be a number, not {_kind_of(value)}")
        if isinstance(value, float) and not math.isfinite(value):
            raise _Wrong("must be a finite number")
        is_in_range(value)
        return value

    return check


def _whole(field: Field) -> _Check:
    is_in_range = _range(field)

    def check(value: Any) -> int:
        if isinstance(value, float) and value.is_integer() and abs(value) <= WHOLE_MAX:
            value = int(value)
        if isinstance(value, bool) or not isinstance(value, int):
            raise _Wrong(f"must be a whole number, not {_kind_of(value)}")
        is_in_range(value)
        return value

    return check


def _range(field: Field) -> Callable[[float], None]:
    low = 0 if field.low is None else field.low
    high = WHOLE_MAX if field.high is None else field.high

    def check(value: float) -> None:
        if not low <= value <= high:
            raise _Wrong(f"must be between {_plain(low)} and {_plain(high)}")

    return check


def _plain(bound: float) -> str:
    return str(int(bound)) if float(bound).is_integer() else str(bound)


def _flag(field: Field) -> _Check:
    def check(value: Any) -> bool:
        if not isinstance(value, bool):
            raise _Wrong(f"must be true or false, not {_kind_of(value)}")
        return value

    return check


def _list(field: Field) -> _Check:
    size_max, item = field.size_max or math.inf, field.item

    def check(value: Any) -> list[Any]:
        if not isinstance(value, (list, tuple)):
            raise _Wrong(f"must be a list, not {_kind_of(value)}")
        if len(value) > size_max:
            raise _Wrong(f"has {len(value)} items, allowed are {field.size_max}")
        if item is None:
            return list(value)
        found: list[Any] = []
        try:
            for one in value:
                found.append(item.check(one))
        except _Wrong as wrong:
            wrong.within(f"[{len(found)}]")
            raise
        return found

    return check


def _object(field: Field) -> _Check:
    fields = field.fields
    if fields is None:
        return _any_object
    known = frozenset() if field.is_open else frozenset(member.name for member in fields)
    return lambda value: _members(fields, known, value)


def _any_object(value: Any) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        raise _Wrong(f"must be an object, not {_kind_of(value)}")
    return dict(value)


_CHECKS: dict[str, Callable[[Field], _Check]] = {
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
