"""A file of faults: YAML or JSON text to :class:`~kvspic.local.faults.Fault` objects. Pure.

    - {kind: cut, operation: PutMedia, after_bytes: 20000, count: 1}
    - {kind: restart, begin_s: 10, delay_ms: 300}

A mapping with the list as its member ``faults`` is fine too. Members are the fields of ``Fault``; times may be given in
``_s`` and ``_ms``. JSON is read without PyYAML. ``docs/faults.md`` has an example of each kind.
"""

from __future__ import annotations

from typing import Any

from kvspic.local.faults import Fault, FaultError, fault_of
from kvspic.plain_text import PlainTextError, parse_text

__all__ = ["faults_of_text"]


def faults_of_text(text: str) -> list[Fault]:
    """Read faults from the text of a file.

    Raises:
        FaultError: it is no YAML, has another form, or one of its faults cannot be; says which.
    """
    try:
        found = parse_text(text, "local")
    except PlainTextError as error:
        raise FaultError(f"the file of faults {error}") from None
    if isinstance(found, dict) and set(found) == {"faults"}:
        found = found["faults"]
    if not isinstance(found, list) or not all(isinstance(one, dict) for one in found):
        raise FaultError("the file of faults is a list of mappings, such as - {kind: cut, after_bytes: 9000}.")
    return [_numbered(number, members) for number, members in enumerate(found, 1)]


def _numbered(number: int, members: dict[str, Any]) -> Fault:
    try:
        return fault_of(members)
    except FaultError as error:
        raise FaultError(f"fault {number}: {error}") from None
