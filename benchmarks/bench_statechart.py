"""Time of a step of a state machine: ``python benchmarks/bench_statechart.py``.

Each figure is the best of many short runs, because other work on the machine only ever adds time. A step is one
``machine.send`` with an action that updates the data and outputs a value; "constant" has an action that only outputs.
Goals: 2 us for a flat machine of 10 states, 6 us for one of four levels, its descents included.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

from report import say

from kvspic.statechart import Branch, Definition, Row, create_state_machine, out, start, step, update
from kvspic.statechart.lift import TableMachine, lift

__all__: list[str] = []

FLAT_GOAL_US = 2.0
DEEP_GOAL_US = 6.0
RUNS = 300
STEPS = 600


def count(data: Any, payload: Any, settings: Any) -> Any:
    return update(n=data["n"] + 1).out(payload)


def flat(action: Any, guarded: bool = False) -> Definition[Any]:
    """Ten states in a ring; guarded: the second of two guards is true."""
    names = [f"s{number}" for number in range(10)]
    rows = []
    for name, following in zip(names, names[1:] + names[:1]):
        way = Branch(following, (lambda d, ev, st: ev >= 0) if guarded else None, action)
        rows.append(Row(name, "next", *([Branch("s0", lambda d, ev, st: ev < 0), way] if guarded else [way])))
    return Definition(names, ["next"], rows, initial="s0", data={"n": 0})


def four_levels() -> Definition[Any]:
    """A leaf below three compounds, with entry rows all the way down and a row of the outermost that leads out."""
    rows = [
        Row("street", "enter", Branch("site", action=count)),
        Row("site", "init", Branch("floor", action=count)),
        Row("floor", "init", Branch("room", action=count)),
        Row("room", "init", Branch("desk", action=count)),
        Row("desk", "turn", Branch("rack", action=count)),
        Row("rack", "turn", Branch("desk", action=count)),
        Row("site", "leave", Branch("street", action=count)),
    ]
    states = {"site": {"floor": {"room": {"rack": "", "desk": ""}}}, "street": ""}
    return Definition(states, ["enter", "turn", "leave"], rows, initial="street", data={"n": 0})


def table() -> Definition[Any]:
    names = tuple(f"s{number}" for number in range(10))
    edges = tuple((name, "next", following, "act") for name, following in zip(names, names[1:] + names[:1]))
    return lift(TableMachine("ring", names, ("next",), ("act",), "s0", edges))


def step_time_us(definition: Definition[Any], inputs: list[Any]) -> float:
    """The time of one step, the mean over ``inputs``, the best of all runs."""
    best = float("inf")
    rounds = range(STEPS // len(inputs))
    for _ in range(RUNS):
        send = create_state_machine(definition).send
        begin = time.perf_counter_ns()
        for _ in rounds:
            for event in inputs:
                send(event)
        best = min(best, (time.perf_counter_ns() - begin) / (len(rounds) * len(inputs)))
    return best / 1000


def pure_time_us(definition: Definition[Any], event: Any) -> float:
    """The same for the pure form."""
    best = float("inf")
    for _ in range(RUNS):
        snapshot = start(definition).snapshot
        begin = time.perf_counter_ns()
        for _ in range(STEPS):
            snapshot = step(definition, snapshot, event).snapshot
        best = min(best, (time.perf_counter_ns() - begin) / STEPS)
    return best / 1000


def figures() -> Iterator[tuple[str, float, float]]:
    """What is measured: a name, microseconds, the goal (0: none)."""
    one = [{"next": 1}]
    yield "flat, 10 states, update and output", step_time_us(flat(count), one), FLAT_GOAL_US
    yield "flat, 10 states, two guards", step_time_us(flat(count, guarded=True), one), FLAT_GOAL_US
    yield "flat, 10 states, constant output", step_time_us(flat(out("x")), one), FLAT_GOAL_US
    yield "lifted table, 10 states", step_time_us(table(), one), FLAT_GOAL_US
    yield "flat, the pure form", pure_time_us(flat(count), {"next": 1}), 0
    turning = [{"enter": 1}, *[{"turn": 1}] * 8, {"leave": 1}]
    yield "four levels, between leaves and in and out", step_time_us(four_levels(), turning), DEEP_GOAL_US
    in_and_out = [{"enter": 1}, {"leave": 1}]
    yield "four levels, only in (4 entry rows) and out", step_time_us(four_levels(), in_and_out), DEEP_GOAL_US


def main() -> None:
    for name, found_us, goal_us in figures():
        say(f"step, {name}", found_us, "us", goal_us)


if __name__ == "__main__":
    main()
