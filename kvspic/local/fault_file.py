"""A file of faults: JSON text to :class:`~kvspic.local.faults.Fault` objects. Pure.

    {"faults": [{"kind": "cut", "operation": "PutMedia", "after_bytes": 20000, "count": 1},
                {"kind": "restart", "begin_ms": 10000, "delay_ms": 3000}]}

A list without the object around it is fine too. Members are the fields of ``Fault``; times may be given in ``_ms``.
JSON is also YAML, so a YAML tool can write such a file, but no YAML is read here: that would cost a dependency.
"""

from __future__ import annotations

import json
from typing import Any

from kvspic.local.faults import Fault, FaultError, fault_of

__all__ = ["faults_of_text"]


def faults_of_text(text: str) -> list[Fault]:
    """Read faults from the text of a file.

    Raises:
        FaultError: it is not JSON, has another form, or one of its faults cannot be; says which.
    """
    try:
        found: Any = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise FaultError(f"the file of faults is no JSON ({error}); give a list of objects.") from None
    if isinstance(found, dict) and set(found) == {"faults"}:
        found = found["faults"]
    if not isinstance(found, list) or not all(isinstance(one, dict) for one in found):
        raise FaultError('the file of faults is a list of objects, or {"faults": [...]} with one.')
    return [_numbered(number, members) for number, members in enumerate(found, 1)]


def _numbered(number: int, members: dict[str, Any]) -> Fault:
    try:
        return fault_of(members)
    except FaultError as error:
        raise FaultError(f"fault {number}: {error}") from None
