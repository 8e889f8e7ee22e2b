"""Test generation: input sequences from the machine's graph, with the machine as the oracle of the outputs.

``edge_paths`` lists the paths to a target that use no edge more than n times, depth first in definition order.
``all_states``, ``all_transitions`` and ``all_pairs`` give shortest cases for a coverage goal, ``loops`` goes n times
round every loop, ``random_walks`` wanders from a seed. Every search is bounded, and its coverage report says what was
missed and why. Outputs are aligned with inputs: what entry and eventless rows output belongs to the input before them.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from itertools import pairwise
from typing import Any

from kvspic.statechart.graph import Case, Edge, Generation, Limits, Model, Node, Payload, coverage, has_history
from kvspic.statechart.interpreter import Outcome, run
from kvspic.statechart.model import INIT_STATE
from kvspic.statechart.prng import SplitMix64

__all__ = ["all_pairs", "all_states", "all_transitions", "edge_paths", "loop_free_paths", "loops", "random_walks"]

Uses = dict[Edge, int]


def _finish(model: Model, cases: list[Case], cut: bool) -> Generation:
    return Generation(tuple(cases), coverage(model, cases, cut), cut)


def edge_paths(
    model: Model, target: str, repeats: int = 1, *, repeated_target: bool = False, limits: Limits | None = None
) -> Generation:
    """Every path to ``target`` that uses each edge at most ``repeats`` times; entry edges are not counted.

    A path ends on its first arrival. With ``repeated_target`` it goes on until the arriving edge is used up.
    ``repeats=1`` does not promise that every edge is covered; the coverage says which are not.
    """
    if target not in model.definition.tree:
        raise ValueError(
            f"The target {target!r} is no state of this machine; take one of {', '.join(model.definition.tree.names)}."
        )
    limits = limits or Limits()
    search = _PathSearch(model, target, repeats, repeated_target)
    model.step_count = 0
    cases: list[Case] = []
    first = model.begin()
    stack = [(first, search.count({}, first) or {})]
    cut = False
    while stack:
        node, uses = stack.pop()
        if search.is_goal(node, uses):
            cases.append(node.case(target))
            if len(cases) >= limits.case_count_max:
                return _finish(model, cases, cut or bool(stack))
            continue
        if node.depth >= limits.length_max or model.step_count >= limits.step_count_max:
            cut = True
            continue
        stack.extend(reversed(list(search.extend(node, uses))))
    return _finish(model, cases, cut)


class _PathSearch:
    """The rules of one search of ``edge_paths``."""

    def __init__(self, model: Model, target: str, repeats: int, repeated_target: bool) -> None:
        self.model = model
        self.target = target
        self.repeats = repeats
        self.repeated_target = repeated_target

    def count(self, uses: Uses, node: Node) -> Uses | None:
        """The uses after this node, or None when one edge is used too often. Hops behind the target do not count."""
        after = dict(uses)
        for hop in node.hops:
            if self.model.is_counted(hop):
                after[hop] = after.get(hop, 0) + 1
                if after[hop] > self.repeats:
                    return None
            if hop.landing == self.target and not self.repeated_target:
                break
        return after

    def is_goal(self, node: Node, uses: Uses) -> bool:
        arrivals = [hop for hop in node.hops if hop.landing == self.target]
        if not self.repeated_target:
            return bool(arrivals)
        return any(uses.get(hop, self.repeats) >= self.repeats for hop in arrivals)

    def extend(self, node: Node, uses: Uses) -> Iterator[tuple[Node, Uses]]:
        for choice in self.model.choices[node.state[0]]:
            following = self.model.take(node, choice)
            if following is not None:
                after = self.count(uses, following)
                if after is not None:
                    yield following, after


def _breadth_first(model: Model, key: Callable[[Node], Any], limits: Limits) -> Iterator[Node]:
    """Every node found, nearest first; of nodes with one key only the first is extended."""
    first = model.begin()
    known = {key(first)}
    waiting = deque([first])
    yield first
    while waiting:
        node = waiting.popleft()
        if node.depth >= limits.length_max:
            continue
        for choice in model.choices.get(node.state[0], ()):
            if model.step_count >= limits.step_count_max:
                return
            following = model.take(node, choice)
            if following is None:
                continue
            yield following
            if key(following) not in known:
                known.add(key(following))
                waiting.append(following)


def _place(model: Model, with_data: bool, with_edge: bool) -> Callable[[Node], Any]:
    """What tells two nodes of a search apart."""
    with_history = has_history(model.definition)

    def key(node: Node) -> Any:
        control, data, deep, shallow = node.state
        history = (tuple(sorted(deep.items())), tuple(sorted(shallow.items()))) if with_history else None
        return control, history, repr((data, node.memory)) if with_data else None, node.last if with_edge else None

    return key


def _cover(
    model: Model, items: Callable[[Node], Iterable[Any]], goal: Iterable[Any], limits: Limits | None, with_edge: bool
) -> Generation:
    """One shortest case for each node that reaches something new; first without regard to data, then with it."""
    limits = limits or Limits()
    open_items = set(goal)
    cases: list[Case] = []
    cut = False
    for with_data in (False, True) if model.depends_on_data() else (False,):
        model.step_count = 0
        for node in _breadth_first(model, _place(model, with_data, with_edge), limits):
            if not open_items.isdisjoint(items(node)):
                open_items.difference_update(items(node))
                cases.append(node.case())
            if not open_items or len(cases) >= limits.case_count_max:
                break
        cut = model.step_count >= limits.step_count_max or len(cases) >= limits.case_count_max
        if not open_items:
            return _finish(model, cases, False)
    return _finish(model, cases, cut)


def all_states(model: Model, limits: Limits | None = None) -> Generation:
    """A shortest case for every state."""
    return _cover(model, lambda node: [hop.landing for hop in node.hops], model.definition.tree.names, limits, False)


def all_transitions(model: Model, limits: Limits | None = None) -> Generation:
    """A shortest case for every edge: the shortest way to it, and the edge."""
    return _cover(model, lambda node: node.hops, model.edges(), limits, False)


def all_pairs(model: Model, limits: Limits | None = None) -> Generation:
    """A shortest case for every pair of edges that can follow each other."""
    edges = model.edges()
    goal = [(edge, after) for edge in edges for after in edges if edge.landing == after.leaf]
    return _cover(model, _pairs, goal, limits, True)


def _pairs(node: Node) -> list[tuple[Edge, Edge]]:
    hops = ([node.parent.last] if node.parent and node.parent.last else []) + list(node.hops)
    return list(pairwise(hops))


def _simple_paths(model: Model, start: Node, limits: Limits) -> Iterator[tuple[Node, bool]]:
    """Paths from ``start`` that rest in no state twice, except that they may come back to where they started (True).

    A path that cannot go on is given with False.
    """
    stack: list[tuple[Node, frozenset[str]]] = [(start, frozenset([start.state[0]]))]
    while stack and model.step_count < limits.step_count_max:
        node, rested = stack.pop()
        if node is not start and node.state[0] == start.state[0]:
            yield node, True
            continue
        found = [model.take(node, choice) for choice in model.choices.get(node.state[0], ())]
        loops_back = rested - {start.state[0]}
        further = [
            (following, rested | {following.state[0]})
            for following in found
            if following is not None and following.state[0] not in loops_back and following.depth <= limits.length_max
        ]
        if all(following.state[0] == start.state[0] for following, _ in further):
            yield node, False
        stack.extend(reversed(further))


def loop_free_paths(model: Model, limits: Limits | None = None) -> Generation:
    """Every path from the start that rests in no state twice and cannot be made longer."""
    limits = limits or Limits()
    model.step_count = 0
    cases: list[Case] = []
    for node, is_loop in _simple_paths(model, model.begin(), limits):
        if not is_loop and len(cases) < limits.case_count_max:
            cases.append(node.case())
    return _finish(model, cases, len(cases) >= limits.case_count_max or model.step_count >= limits.step_count_max)


def loops(model: Model, times: int = 1, limits: Limits | None = None) -> Generation:
    """Each simple loop once: the shortest way to it, then ``times`` rounds; ``times=1`` gives round trips.

    A loop that the machine leaves before the last round, because a guard changes its mind, gives no case.
    """
    limits = limits or Limits()
    model.step_count = 0
    cases: list[Case] = []
    known: set[frozenset[tuple[Any, ...]]] = set()
    doors: dict[str, Node] = {}
    for node in _breadth_first(model, _place(model, False, False), limits):
        doors.setdefault(node.state[0], node)
    for door in doors.values():
        for end, is_loop in _simple_paths(model, door, limits):
            around = end.line()[door.depth + 1 :]
            name = frozenset(tuple(node.hops) for node in around)
            if not is_loop or name in known or len(cases) >= limits.case_count_max:
                continue
            known.add(name)
            last = _rounds(model, end, around, times - 1)
            if last is not None:
                cases.append(last.case())
    return _finish(model, cases, len(cases) >= limits.case_count_max or model.step_count >= limits.step_count_max)


def _rounds(model: Model, node: Node, around: list[Node], times: int) -> Node | None:
    """Go ``times`` more rounds along ``around``; None where that is not possible."""
    for step in around * times:
        first = step.hops[0]
        choices = [choice for choice in model.choices[node.state[0]] if (choice.row.index, choice.branch) == first[:2]]
        following = model.take(node, choices[0]) if choices else None
        if following is None:
            return None
        node = following
    return node


def random_walks(model: Model, count: int, length: int, seed: int) -> Iterator[Case]:
    """``count`` walks of up to ``length`` inputs; walk i depends on ``seed`` and i only.

    Walks carry no edges, to be cheap: ``control_states`` are the states after each input.
    """
    begun = model.begin()
    for index in range(count):
        yield _walk(model, begun, length, SplitMix64(SplitMix64(seed).next() + index))


def _walk(model: Model, begun: Node, length: int, prng: SplitMix64) -> Case:
    state, memory = begun.state, begun.memory
    inputs: list[Any] = []
    answers: list[Any] = []
    rests = [INIT_STATE, state[0]]
    while len(inputs) < length:
        choices = list(model.choices.get(state[0], ()))
        taken = False
        while choices and not taken:
            choice = choices.pop(prng.below(len(choices)))
            payload = Payload(None) if choice.generator is None else choice.generator(state[1], memory)
            if payload is None:
                continue
            outcome, outputs, after = run(model.program, state, choice.row, payload.value, model.settings, None)
            taken = outcome is Outcome.TAKEN
            if taken:
                state, memory = after, payload.memory
                inputs.append({choice.row.event: payload.value})
                answers.append(outputs)
                rests.append(state[0])
        if not taken:
            break
    return Case(tuple(inputs), tuple(answers), tuple(rests))
