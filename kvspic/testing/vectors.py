"""Runs recorded examples of packaging: ``python -m kvspic.testing.vectors FILE.json``.

Prints one JSON object per example, ``{"name":..., "ok":..., "got":...}``: ``got`` has the shape of the example's
``expect``, headers without the library's own texts (N-form), statuses as the field's numbers in 8 hex digits. Where an
example has ``better``, that is what must come out. The exit status is 1 when any example is not ok; an example that
can not be understood has an ``error`` and ends nothing.
"""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from kvspic.testing.vectors_forms import data_of, equal, rendered
from kvspic.testing.vectors_ops import OPERATIONS

__all__ = ["main", "run_file", "run_vector"]

STREAM_OPERATION = "stream_session"
STREAM_MODULE = "kvspic.testing.vectors_stream"
START_CODE_REFUSED = "3200000d"
AVCC_REFUSED = "3200002b"
LONG_START_CODE = bytes.fromhex("0000000001")


def run_vector(vector: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Return the line that is printed for one example; ``folder`` holds the file it comes from."""
    name = vector.get("name") if isinstance(vector, dict) else None
    try:
        wanted = vector["better"] if "better" in vector else vector["expect"]
        got = rendered(_operation(vector["op"])(vector, folder), wanted)
        return {"name": name, "ok": _is_ok(vector, got, wanted), "got": got}
    except Exception as error:  # one bad example must not end the run
        return {"name": name, "ok": False, "got": None, "error": f"{type(error).__name__}: {error}"}


def _operation(name: str) -> Any:
    if name != STREAM_OPERATION:
        if name not in OPERATIONS:
            raise ValueError(f"unknown operation {name!r}")
        return OPERATIONS[name]
    return importlib.import_module(STREAM_MODULE).stream_session


def _is_ok(vector: dict[str, Any], got: Any, wanted: Any) -> bool:
    cases = vector.get("inputs", {}).get("cases")
    if cases is None or not isinstance(wanted, list):
        return equal(got, wanted)
    if not isinstance(got, list) or not len(got) == len(wanted) == len(cases):
        return False
    op = vector["op"]
    return all(_is_free(op, case, row) or equal(one, row) for case, one, row in zip(cases, got, wanted))


def _is_free(op: str, case: Any, wanted: Any) -> bool:
    """Whether any result is right: legal input that the examples' source refuses, and that may be taken or refused."""
    status = wanted.get("status", wanted.get("create_status")) if isinstance(wanted, dict) else None
    if op == "create":
        return status == AVCC_REFUSED and any(data_of(track.get("cpd"))[:1] == b"\1" for track in case["tracks"])
    if op == "annexb_to_avcc_cpd" and status == AVCC_REFUSED:
        return data_of(case)[:1] == b"\1"
    return status == START_CODE_REFUSED and LONG_START_CODE in data_of(case)


def run_file(path: Path) -> Iterator[dict[str, Any]]:
    """Give the line of each example in a file."""
    for vector in json.loads(path.read_text())["vectors"]:
        yield run_vector(vector, path.resolve().parent)


def main(arguments: list[str]) -> int:
    """Run the files that ``arguments`` names; return the exit status."""
    if not arguments:
        print("usage: python -m kvspic.testing.vectors FILE.json ...", file=sys.stderr)
        return 2
    is_all_ok = True
    for argument in arguments:
        for line in run_file(Path(argument)):
            is_all_ok = is_all_ok and line["ok"]
            print(json.dumps(line), flush=True)
    return 0 if is_all_ok else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
