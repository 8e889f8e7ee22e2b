"""Runs files of recorded machines: ``python -m kvspic.testing.statechart FILE.json`` prints one JSON object per case.

An object is ``{"id", "ok", "outputs", "error"}``. ``outputs`` has one entry per input of a machine case (null, [null],
a list, or {"error": "machine_error"}), the failing ids of a contract case, the sequences of a generation case. ``ok``
compares with what the file expects. A case that cannot be run says why in ``error`` and never ends the run.
``python -m kvspic.testing.statechart FILE.json --generate GOAL`` prints generated sequences of every machine instead.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from kvspic.statechart.contracts import check
from kvspic.statechart.errors import MachineError
from kvspic.statechart.expression import definition_from_expressions, generators_from_json
from kvspic.statechart.generate import (
    all_pairs,
    all_states,
    all_transitions,
    edge_paths,
    loop_free_paths,
    loops,
    random_walks,
)
from kvspic.statechart.graph import Case, Limits, Model
from kvspic.statechart.machine import create_state_machine
from kvspic.statechart.model import INIT_STATE, Profile

__all__ = ["GOALS", "generated", "main", "run_case", "run_file"]

MACHINE_ERROR = {"error": "machine_error"}
KINDS = ("machines", "contracts", "generation")
GOALS = ("states", "transitions", "pairs", "loops", "loop_free", "paths", "walks")
"""What ``--generate`` can cover."""

_EDGE_PATHS = {
    "edge_paths": False,
    "all_transitions": False,
    "all_n_transitions": False,
    "all_n_transitions_with_repeated_target": True,
}


def _same(left: Any, right: Any) -> bool:
    """Equality of JSON values: true is not 1, 1 and 1.0 are one number."""
    if isinstance(left, bool) or isinstance(right, bool):
        return left is right
    if isinstance(left, (list, tuple)) and isinstance(right, (list, tuple)):
        return len(left) == len(right) and all(map(_same, left, right))
    if isinstance(left, Mapping) and isinstance(right, Mapping):
        return left.keys() == right.keys() and all(_same(left[key], right[key]) for key in left)
    return bool(left == right)


def _run_machine(case: Mapping[str, Any]) -> tuple[bool, list[Any]]:
    expected = case.get("expected") or {}
    machine = create_state_machine(definition_from_expressions(case["definition"], Profile.PARITY))
    ok = _is_at(machine, expected.get("initial") or {})
    outputs: list[Any] = []
    steps = expected.get("steps")
    for step in [{"input": entry} for entry in case.get("inputs", [])] if steps is None else steps:
        try:
            outputs.append(machine.send(step["input"]))
        except MachineError:
            outputs.append(MACHINE_ERROR)
        ok = ok and ("outputs" not in step or _same(outputs[-1], step["outputs"])) and _is_at(machine, step)
    return ok, outputs


def _is_at(machine: Any, expected: Mapping[str, Any]) -> bool:
    """Whether the machine is where a step expects it, as far as the step says."""
    snapshot = machine.snapshot
    found = {
        "control_state": snapshot.control,
        "extended_state": snapshot.data,
        "history": {"deep": snapshot.deep, "shallow": snapshot.shallow},
    }
    return all(_same(found[key], expected[key]) for key in found if key in expected)


def _run_contract(case: Mapping[str, Any]) -> tuple[bool, list[Any]]:
    definition = definition_from_expressions(case["definition"], Profile.PARITY)
    ids = list(dict.fromkeys(violation.id for violation in check(definition, Profile.PARITY)))
    expected = case.get("expected_id")
    return (not ids if expected is None else expected in ids), ids


def _run_generation(case: Mapping[str, Any]) -> tuple[bool, list[Any]]:
    definition = definition_from_expressions(case["definition"], Profile.PARITY)
    strategy = case["strategy"]
    name = str(strategy.get("name", "edge_paths")).lower()
    if name not in _EDGE_PATHS:
        raise ValueError(f"the strategy {name!r} is unknown; known are {', '.join(_EDGE_PATHS)}")
    model = Model(definition, generators_from_json(case["definition"]), default_history=False)
    repeats = strategy.get("max_repeats", strategy.get("n", 1))
    made = edge_paths(model, strategy["target"], repeats, repeated_target=_EDGE_PATHS[name])
    sequences = [sequence.to_dict() for sequence in made.cases]
    expected = case.get("expected") or []
    ok = len(expected) == len(sequences) and all(map(_is_sequence, sequences, expected))
    return ok, sequences


def _is_sequence(found: Mapping[str, Any], expected: Mapping[str, Any]) -> bool:
    """Whether a sequence is the expected one, as far as it says; the reserved root may be left out."""
    states = [state for state in expected.get("control_states", found["control_states"]) if state != INIT_STATE]
    return _same([state for state in found["control_states"] if state != INIT_STATE], states) and all(
        _same(found[key], expected[key]) for key in ("inputs", "outputs") if key in expected
    )


_RUNNERS = {"machines": _run_machine, "contracts": _run_contract, "generation": _run_generation}


def run_case(kind: str, case: Any) -> dict[str, Any]:
    """Run one case of a kind (machines, contracts, generation); never raises."""
    name = case.get("id") if isinstance(case, Mapping) else None
    try:
        ok, outputs = _RUNNERS[kind](case)
    except Exception as cause:  # whatever a file holds, the next case still runs
        return {"id": name, "ok": False, "outputs": [], "error": f"{type(cause).__name__}: {cause}"}
    return {"id": name, "ok": ok, "outputs": outputs, "error": None}


def _cases(content: Any) -> Iterator[tuple[str, Any]]:
    """Every case of a file with its kind; a bare list is taken apart by what its entries have."""
    if isinstance(content, list):
        for case in content:
            keys = case if isinstance(case, Mapping) else {}
            yield "generation" if "strategy" in keys else "contracts" if "expected_id" in keys else "machines", case
        return
    if not isinstance(content, Mapping):
        raise ValueError("the file holds neither an object nor a list of cases")
    for kind in KINDS:
        cases = content.get(kind)
        for case in cases if isinstance(cases, list) else []:
            yield kind, case


def run_file(path: str) -> Iterator[dict[str, Any]]:
    """The result of every case of a file, in its order."""
    with open(path, encoding="utf-8") as file:
        content = json.load(file)
    for kind, case in _cases(content):
        yield run_case(kind, case)


def generated(raw: Mapping[str, Any], goal: str, options: argparse.Namespace) -> Iterable[Case]:
    """Sequences for a definition in JSON. Rows without ``gen`` have no event data, unless some row has one."""
    model = Model(definition_from_expressions(raw, Profile.PARITY), generators_from_json(raw) or None)
    limits = Limits(case_count_max=options.count)
    if goal == "walks":
        return random_walks(model, options.count, options.length, options.seed)
    if goal == "paths":
        return edge_paths(model, options.target or model.definition.tree.names[-1], options.times, limits=limits).cases
    if goal == "loops":
        return loops(model, options.times, limits).cases
    makers = {"states": all_states, "transitions": all_transitions, "pairs": all_pairs, "loop_free": loop_free_paths}
    return makers[goal](model, limits).cases


def _generate_file(path: str, options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    with open(path, encoding="utf-8") as file:
        content = json.load(file)
    cases = [(None, {"definition": content})] if "states" in content else list(_cases(content))
    for _, case in cases:
        name = case.get("id")
        try:
            made = [sequence.to_dict() for sequence in generated(case["definition"], options.generate, options)]
            yield {"id": name, "sequences": made, "error": None}
        except Exception as cause:  # as above: one bad definition does not end the run
            yield {"id": name, "sequences": [], "error": f"{type(cause).__name__}: {cause}"}


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser("python -m kvspic.testing.statechart", description="Run recorded state machines.")
    parser.add_argument("file", help="JSON file with machines, contracts and generation cases, or with one definition")
    parser.add_argument("--generate", choices=GOALS, help="print generated sequences instead of running the cases")
    parser.add_argument("--target", help="with paths: the state where sequences end (default: the last one)")
    parser.add_argument("--times", type=int, default=1, help="with paths: uses of an edge; with loops: rounds")
    parser.add_argument("--count", type=int, default=1000, help="number of sequences at most")
    parser.add_argument("--length", type=int, default=50, help="with walks: inputs per walk")
    parser.add_argument("--seed", type=int, default=1, help="with walks: where the random numbers start")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line. Exit code 0: every case ran and agreed; 1: some did not; 2: the file cannot be read."""
    options = _options(arguments)
    results = _generate_file(options.file, options) if options.generate else run_file(options.file)
    failed = False
    try:
        for result in results:
            print(json.dumps(result), flush=True)
            failed = failed or result["error"] is not None or not result.get("ok", True)
    except (OSError, ValueError) as cause:
        print(f"{options.file} cannot be used: {cause}", file=sys.stderr)
        return 2
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
