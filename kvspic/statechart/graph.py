"""A machine's graph for test generation: edges, cases, coverage, and a model that takes one edge at a time.

An edge is (row, branch, leaf left, place entered): a row on a compound state is one edge per leaf inside it, a history
target one edge per place where it can land. The model runs the real interpreter, so an edge exists on a path only
where the machine itself would take it, and what it outputs there is the expected output.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, NamedTuple

from kvspic.statechart.definition import Definition
from kvspic.statechart.interpreter import CompiledRow, Outcome, State, program_of, run
from kvspic.statechart.model import INIT_EVENT, INIT_STATE, History, Settings

__all__ = [
    "Case",
    "Coverage",
    "Edge",
    "Generation",
    "Generator",
    "Limits",
    "Mismatch",
    "Missed",
    "Model",
    "Node",
    "Payload",
    "replay",
]


class Edge(NamedTuple):
    """One way through one branch; ``row`` is -1 for the implied initial row."""

    row: int
    branch: int
    leaf: str
    landing: str


class Payload(NamedTuple):
    """What a generator gives: the event's data, and what it wants to remember along this path."""

    value: Any
    memory: Any = None


Generator = Callable[[Any, Any], "Payload | None"]
"""``(extended state, memory) -> Payload``, or None when it can make no input here. It honours the branch's guard."""


@dataclass(frozen=True)
class Limits:
    """Bounds of a search: inputs per case, cases, and steps of the model."""

    length_max: int = 100
    case_count_max: int = 10_000
    step_count_max: int = 100_000


@dataclass(frozen=True)
class Case:
    """A sequence of inputs with the outputs that the machine gives for each, and the states on the way."""

    inputs: tuple[Any, ...]
    outputs: tuple[Any, ...]
    control_states: tuple[str, ...]
    edges: tuple[Edge, ...] = ()

    @property
    def events(self) -> tuple[str, ...]:
        """The names of the inputs."""
        return tuple(name for entry in self.inputs for name in entry)

    def __str__(self) -> str:
        return ",".join(self.events) or "start"

    def to_dict(self) -> dict[str, Any]:
        """The case as plain values."""
        return {"inputs": list(self.inputs), "outputs": list(self.outputs), "control_states": list(self.control_states)}


class Missed(NamedTuple):
    """Something that no case reaches, and why."""

    item: Any
    reason: str


@dataclass(frozen=True)
class Coverage:
    """What the cases reach: states, edges, pairs of consecutive edges; and what they miss."""

    states: frozenset[str]
    edges: frozenset[Edge]
    pairs: frozenset[tuple[Edge, Edge]]
    missed_states: tuple[Missed, ...]
    missed_edges: tuple[Missed, ...]
    missed_pairs: tuple[Missed, ...]


@dataclass(frozen=True)
class Generation:
    """The cases of one goal, in order, with their coverage. ``cut`` tells that a limit ended the search."""

    cases: tuple[Case, ...]
    coverage: Coverage
    cut: bool = False


@dataclass(frozen=True)
class Node:
    """A place in a search: the machine's state after ``parent`` took ``entry``."""

    parent: Node | None
    state: State
    entry: Any
    outputs: Any
    hops: tuple[Edge, ...]
    memory: Any
    depth: int

    def line(self) -> list[Node]:
        """The nodes from the start to here."""
        nodes: list[Node] = []
        node: Node | None = self
        while node is not None:
            nodes.append(node)
            node = node.parent
        return nodes[::-1]

    def case(self, until: str | None = None) -> Case:
        """The path as a case. States and edges end with the first arrival in ``until``, when given."""
        nodes = self.line()
        hops = [hop for node in nodes for hop in node.hops]
        if until is not None:
            arrivals = [
                index for index, hop in enumerate(hops) if hop.landing == until and index >= len(hops) - len(self.hops)
            ]
            hops = hops[: arrivals[0] + 1] if arrivals else hops
        return Case(
            tuple(node.entry for node in nodes[1:]),
            tuple(node.outputs for node in nodes[1:]),
            (INIT_STATE, *(hop.landing for hop in hops)),
            tuple(hops),
        )

    @property
    def last(self) -> Edge | None:
        """The edge taken last."""
        return self.hops[-1] if self.hops else None


class Choice(NamedTuple):
    """An edge that needs an input, before it is known where a history lands."""

    row: CompiledRow
    branch: int
    generator: Generator | None


class Model:
    """A definition prepared for searches.

    Args:
        generators: by (origin, event, branch index); an edge without one is never taken. None: every event has no data.
        default_history: whether a history without a memory may be taken, which then means the entry row.
    """

    def __init__(
        self,
        definition: Definition[Any],
        generators: Mapping[tuple[str, str, int], Generator] | None = None,
        settings: Settings | None = None,
        *,
        default_history: bool = True,
    ) -> None:
        self.definition = definition
        self.program = program_of(definition)
        self.settings = definition.settings if settings is None else settings
        self.default_history = default_history
        self.step_count = 0
        self.seen: set[Edge] = set()
        self.seen_pairs: set[tuple[Edge, Edge]] = set()
        self.choices = {name: self._choices(name, generators) for name in definition.tree.names}

    def _choices(self, state: str, generators: Mapping[tuple[str, str, int], Generator] | None) -> list[Choice]:
        rows = sorted(self.program.table[state].values(), key=lambda row: row.index)
        return [
            Choice(
                row, way.number, None if generators is None else generators[(row.origin, row.event or "", way.number)]
            )
            for row in rows
            for way in row.ways
            if generators is None or (row.origin, row.event, way.number) in generators
        ]

    def begin(self) -> Node:
        """The node before the first input.

        Raises:
            MachineError: the machine does not start.
        """
        trace: list[Any] = []
        data = self.definition.data
        outcome, outputs, state = run(
            self.program, (INIT_STATE, data, {}, {}), self.program.initial_row, data, self.settings, trace
        )
        if outcome is Outcome.ERROR:
            raise outputs
        return self._note(Node(None, state, None, outputs, _hops(trace), None, 0))

    def take(self, node: Node, choice: Choice) -> Node | None:
        """The node after this edge, or None where the generator has no input or the machine does not take the edge."""
        payload = Payload(None) if choice.generator is None else choice.generator(node.state[1], node.memory)
        if payload is None:
            return None
        self.step_count += 1
        trace: list[Any] = []
        outcome, outputs, state = run(self.program, node.state, choice.row, payload.value, self.settings, trace)
        if outcome is not Outcome.TAKEN or trace[0][0].number != choice.branch:
            return None
        if not self.default_history and any(way.history and landing == way.target for way, _, landing, *_ in trace):
            return None
        entry = {choice.row.event: payload.value}
        return self._note(Node(node, state, entry, outputs, _hops(trace), payload.memory, node.depth + 1))

    def _note(self, node: Node) -> Node:
        """Remember what was seen, for the reasons in the coverage."""
        before = node.parent.last if node.parent else None
        for hop in node.hops:
            self.seen.add(hop)
            if before is not None:
                self.seen_pairs.add((before, hop))
            before = hop
        return node

    def depends_on_data(self) -> bool:
        """Whether the data can decide which edges are taken; without guards and generators it cannot."""
        choices = [choice for choices in self.choices.values() for choice in choices]
        guarded = any(branch.guard is not None for row in self.definition.rows for branch in row.branches)
        return guarded or any(choice.generator is not None for choice in choices)

    def is_counted(self, edge: Edge) -> bool:
        """Whether a limit of repetitions applies: to all edges but those of entry rows, which are forced."""
        return edge.row >= 0 and self.definition.rows[edge.row].event != INIT_EVENT

    def edges(self) -> list[Edge]:
        """Every edge of the definition, in its order."""
        rows = [self.program.initial_row] if self.program.initial_row.index < 0 else []
        rows += [row for row in self._all_rows() if row.index >= 0]
        return [
            Edge(row.index, way.number, leaf, landing)
            for row in rows
            for way in row.ways
            for leaf in self._leaves(row)
            for landing in self._landings(way)
        ]

    def _all_rows(self) -> list[CompiledRow]:
        found = {row.index: row for table in self.program.table.values() for row in table.values()}
        found.update({row.index: row for row in self.program.automatic.values()})
        return [found[index] for index in sorted(found)]

    def _leaves(self, row: CompiledRow) -> list[str]:
        if row.event is None or row.event == INIT_EVENT:
            return [row.origin]
        leaves = self.definition.tree.leaves(row.origin)
        return [leaf for leaf in leaves if self.program.table[leaf].get(row.event) is row]

    def _landings(self, way: Any) -> list[str]:
        if way.history is None:
            return [way.target]
        tree = self.definition.tree
        inner = tree.leaves(way.target) if way.history == "deep" else tree.children[way.target]
        return [way.target, *inner] if self.default_history else list(inner)


def _hops(trace: list[Any]) -> tuple[Edge, ...]:
    return tuple(Edge(way.row.index, way.number, before, landing) for way, before, landing, *_ in trace)


def coverage(model: Model, cases: Iterable[Case], cut: bool) -> Coverage:
    """What ``cases`` reach of the model's graph, and why the rest is not reached."""
    edges: set[Edge] = set()
    pairs: set[tuple[Edge, Edge]] = set()
    states: set[str] = set()
    for case in cases:
        edges.update(case.edges)
        pairs.update(pairwise(case.edges))
        states.update(case.control_states)
    everywhere = model.edges()
    leaving: dict[str, list[Edge]] = {}
    for edge in everywhere:
        leaving.setdefault(edge.leaf, []).append(edge)
    followed = [(edge, after) for edge in everywhere for after in leaving.get(edge.landing, [])]
    reached = {edge.landing for edge in model.seen}

    def missed(items: Iterable[Any], found: set[Any], seen: set[Any]) -> tuple[Missed, ...]:
        return tuple(Missed(item, _reason(item in seen, cut)) for item in items if item not in found)

    names = model.definition.tree.names
    return Coverage(
        frozenset(states),
        frozenset(edges),
        frozenset(pairs),
        missed(names, states, reached),
        missed(everywhere, edges, model.seen),
        missed(followed, pairs, model.seen_pairs),
    )


def _reason(was_seen: bool, cut: bool) -> str:
    if cut:
        return "limit reached"
    return "on no path to the target" if was_seen else "never feasible"


class Mismatch(NamedTuple):
    """An input to which the subject answered otherwise than the machine."""

    position: int
    entry: Any
    expected: Any
    actual: Any


def replay(case: Case, subject: Callable[[Any], Any]) -> tuple[Mismatch, ...]:
    """Feed the inputs of a case to a subject that was just started; list where its outputs differ."""
    found = []
    for index, (entry, expected) in enumerate(zip(case.inputs, case.outputs)):
        actual = subject(entry)
        if actual != expected:
            found.append(Mismatch(index, entry, expected, actual))
    return tuple(found)


def has_history(definition: Definition[Any]) -> bool:
    """Whether some branch targets a history; without one, history need not tell two states apart."""
    return any(isinstance(branch.target, History) for row in definition.rows for branch in row.branches)
