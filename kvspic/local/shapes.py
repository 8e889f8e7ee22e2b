"""Requests checked against the service's published models, as botocore brings them: types, limits, patterns, words.

botocore itself checks neither length nor pattern of what it sends, so a client learns of a bad value only here.
"""

from __future__ import annotations

import functools
import re
from typing import Any

import botocore.loaders
import botocore.model

from kvspic.local.fields import Request, invalid

__all__ = ["check"]


@functools.cache
def _model(service: str) -> botocore.model.ServiceModel:
    loaded = botocore.loaders.Loader().load_service_model(service, "service-2")
    return botocore.model.ServiceModel(loaded, service)


def check(operation: str, request: Request) -> None:
    """Raise InvalidArgumentException for the first member of a control-plane request that the model does not allow."""
    shape = _model("kinesisvideo").operation_model(operation).input_shape
    if shape is not None:
        _check(shape, request, "The request")


def _check(shape: Any, value: Any, name: str) -> None:
    kind = shape.type_name
    if kind == "structure":
        _check_structure(shape, value, name)
    elif kind in ("list", "map"):
        _check_many(shape, value, name)
    elif kind == "string":
        _check_text(shape, value, name)
    elif kind in ("integer", "long"):
        _check_whole(shape, value, name)
    elif kind == "boolean" and not isinstance(value, bool):
        raise invalid(f"{name} must be true or false.")


def _check_structure(shape: Any, value: Any, name: str) -> None:
    if not isinstance(value, dict):
        raise invalid(f"{name} must be an object.")
    for member in shape.required_members:
        if value.get(member) is None:
            raise invalid(f"{member} is required.")
    for member, inner in shape.members.items():
        if value.get(member) is not None:
            _check(inner, value[member], member)


def _check_many(shape: Any, value: Any, name: str) -> None:
    is_list = shape.type_name == "list"
    if not isinstance(value, list if is_list else dict):
        raise invalid(f"{name} must be {'a list' if is_list else 'an object'}.")
    _check_size(shape, len(value), f"{name} has {len(value)} members")
    for one in value if is_list else ():
        _check(shape.member, one, f"A member of {name}")
    for key, one in () if isinstance(value, list) else value.items():
        _check(shape.key, key, f"A name in {name}")
        _check(shape.value, one, f"{name}.{key}")


def _check_text(shape: Any, value: Any, name: str) -> None:
    if not isinstance(value, str):
        raise invalid(f"{name} must be a string.")
    if shape.enum and value not in shape.enum:
        raise invalid(f"{name} must be one of {', '.join(shape.enum)}.")
    _check_size(shape, len(value), f"{name} has {len(value)} characters")
    pattern = shape.metadata.get("pattern")
    if pattern is not None and re.fullmatch(pattern, value) is None:
        raise invalid(f"{name} must match the pattern {pattern}.")


def _check_whole(shape: Any, value: Any, name: str) -> None:
    if not isinstance(value, int) or isinstance(value, bool):
        raise invalid(f"{name} must be an integer.")
    _check_size(shape, value, f"{name} is {value}")


def _check_size(shape: Any, size: int, what: str) -> None:
    low, high = shape.metadata.get("min"), shape.metadata.get("max")
    if low is not None and size < low:
        raise invalid(f"{what}; the least is {low}.")
    if high is not None and size > high:
        raise invalid(f"{what}; the most is {high}.")
