"""Diagrams and tables: text for PlantUML, Mermaid, Graphviz DOT and Markdown, made from the definition that runs.

Every writer is a function from a definition to text, so a page built with them cannot drift from the code. A compound
state is drawn around its children, a history as a small state H or H* inside its compound, an entry row as an arrow
from the start mark. Guards stand in brackets, actions behind a slash; unnamed ones appear as ``lambda``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from kvspic.statechart.definition import Definition
from kvspic.statechart.model import INIT_EVENT, INIT_STATE, Branch, History, Row

__all__ = ["FORMATS", "dot", "mermaid", "plantuml", "render", "table", "visualizer"]


def _identifier(name: str) -> str:
    """A name that all three languages accept; other characters are written as their code."""
    return re.sub(r"[^A-Za-z0-9_]", lambda found: f"_x{ord(found.group()):x}_", name)


def _history_identifier(history: History) -> str:
    return f"{_identifier(history.state)}__{history.kind}"


def _target_identifier(target: str | History) -> str:
    return _history_identifier(target) if isinstance(target, History) else _identifier(target)


def _label(name: str) -> str:
    return name.replace("_", " ").replace('"', "'")


def _caption(row: Row, branch: Branch) -> str:
    """``event [guard] / action``, each part only when there is one."""
    event = "" if row.event in (None, INIT_EVENT) else str(row.event)
    guard = f" [{branch.guard_name or 'guard'}]" if branch.guard is not None else ""
    action = f" / {branch.action_name}" if branch.action is not None and branch.action_name else ""
    return f"{event}{guard}{action}".replace("\n", " ").replace('"', "'")


class _Drawing:
    """A definition sorted for drawing."""

    def __init__(self, definition: Definition[Any]) -> None:
        self.definition = definition
        self.tree = definition.tree
        self.arrows = [(row, branch) for row in definition.rows for branch in row.branches]
        self.histories = list(
            dict.fromkeys(branch.target for _, branch in self.arrows if isinstance(branch.target, History))
        )

    def entries(self, state: str) -> Iterator[tuple[str, str]]:
        """Target and caption of the entry arrows inside a compound."""
        if state == INIT_STATE and self.definition.initial is not None:
            yield _identifier(self.definition.initial), ""
        for row, branch in self.arrows:
            if row.origin == state and row.event == INIT_EVENT:
                yield _target_identifier(branch.target), _caption(row, branch)

    def leaving(self, state: str) -> Iterator[tuple[Row, Branch]]:
        """The arrows that start at a state, without its entry arrows."""
        return ((row, branch) for row, branch in self.arrows if row.origin == state and row.event != INIT_EVENT)

    def inside(self, state: str) -> Iterator[History]:
        return (history for history in self.histories if history.state == state)

    def scope(self, row: Row, branch: Branch) -> str:
        """The innermost compound around both ends of an arrow."""
        target = branch.target
        end = target.state if isinstance(target, History) else target
        around = [end, *self.tree.ancestors(end)] if isinstance(target, History) else self.tree.ancestors(end)
        return next((name for name in self.tree.ancestors(row.origin) if name in around), INIT_STATE)


def plantuml(definition: Definition[Any]) -> str:
    """PlantUML text: nested states, the rows of a state right behind it."""
    drawing = _Drawing(definition)
    lines = [
        "@startuml",
        f'state "{INIT_STATE}" as {INIT_STATE} <<NoContent>> {{',
        *_plantuml_inside(drawing, INIT_STATE, "  "),
        "}",
        "@enduml",
    ]
    return "\n".join(lines) + "\n"


def _plantuml_inside(drawing: _Drawing, state: str, indent: str) -> Iterator[str]:
    for child in drawing.tree.children[state]:
        head = f'{indent}state "{_label(child)}" as {_identifier(child)} <<NoContent>>'
        if drawing.tree.is_compound(child):
            yield head + " {"
            yield from _plantuml_inside(drawing, child, indent + "  ")
            yield indent + "}"
        else:
            yield head
        for row, branch in drawing.leaving(child):
            yield f"{indent}{_identifier(child)} --> {_target_identifier(branch.target)} : {_caption(row, branch)}"
        if child in drawing.definition.notes:
            yield f"{indent}note right of {_identifier(child)} : {drawing.definition.notes[child]}"
    for history in drawing.inside(state):
        yield f'{indent}state "{history.mark}" as {_history_identifier(history)} <<NoContent>>'
    for target, caption in drawing.entries(state):
        yield f"{indent}[*] --> {target}" + (f" : {caption}" if caption else "")


def mermaid(definition: Definition[Any]) -> str:
    """Mermaid ``stateDiagram-v2`` text, as shown by code hosts and documentation builders."""
    drawing = _Drawing(definition)
    return "\n".join(["stateDiagram-v2", *_mermaid_inside(drawing, INIT_STATE, "    ")]) + "\n"


def _mermaid_text(text: str) -> str:
    """Text without the characters that end a Mermaid description."""
    return text.strip().replace(":", ",").replace(";", ",")


def _mermaid_inside(drawing: _Drawing, state: str, indent: str) -> Iterator[str]:
    for child in drawing.tree.children[state]:
        head = f'{indent}state "{_label(child)}" as {_identifier(child)}'
        if drawing.tree.is_compound(child):
            yield head + " {"
            yield from _mermaid_inside(drawing, child, indent + "    ")
            yield indent + "}"
        else:
            yield head
    for history in drawing.inside(state):
        yield f'{indent}state "{history.mark}" as {_history_identifier(history)}'
    for target, caption in drawing.entries(state):
        yield f"{indent}[*] --> {target}" + (f" : {_mermaid_text(caption)}" if caption else "")
    for row, branch in drawing.arrows:
        if row.event != INIT_EVENT and drawing.scope(row, branch) == state:
            caption = _mermaid_text(_caption(row, branch))
            yield f"{indent}{_identifier(row.origin)} --> {_target_identifier(branch.target)}" + (
                f" : {caption}" if caption else ""
            )
    for child in drawing.tree.children[state]:
        if child in drawing.definition.notes:
            yield f"{indent}note right of {_identifier(child)} : {_mermaid_text(drawing.definition.notes[child])}"


def dot(definition: Definition[Any]) -> str:
    """Graphviz text; ``dot -Tsvg`` draws compound states as boxes around their children."""
    drawing = _Drawing(definition)
    lines = [
        f'digraph "{_label(definition.name)}" {{',
        "  compound=true;",
        '  node [shape=box, style=rounded, fontname="sans-serif"];',
        '  edge [fontname="sans-serif", fontsize=10];',
        *_dot_inside(drawing, INIT_STATE, "  "),
        *_dot_arrows(drawing),
        "}",
    ]
    return "\n".join(lines) + "\n"


def _dot_inside(drawing: _Drawing, state: str, indent: str) -> Iterator[str]:
    yield f'{indent}{_identifier(state)}__start [shape=point, label=""];'
    for history in drawing.inside(state):
        yield f'{indent}{_history_identifier(history)} [shape=circle, label="{history.mark}"];'
    for child in drawing.tree.children[state]:
        note = drawing.definition.notes.get(child)
        text = _label(child) + ("\\n" + note.replace('"', "'") if note else "")
        if drawing.tree.is_compound(child):
            yield f"{indent}subgraph cluster_{_identifier(child)} {{"
            yield f'{indent}  label="{text}"; style=rounded; fontname="sans-serif";'
            yield from _dot_inside(drawing, child, indent + "  ")
            yield indent + "}"
        else:
            yield f'{indent}{_identifier(child)} [label="{text}"];'


def _dot_arrows(drawing: _Drawing) -> Iterator[str]:
    for state in (INIT_STATE, *filter(drawing.tree.is_compound, drawing.tree.names)):
        for target, caption in drawing.entries(state):
            yield _dot_arrow(drawing, f"{_identifier(state)}__start", target, caption)
    for row, branch in drawing.arrows:
        if row.event != INIT_EVENT:
            yield _dot_arrow(drawing, _identifier(row.origin), _target_identifier(branch.target), _caption(row, branch))


def _dot_arrow(drawing: _Drawing, tail: str, head: str, caption: str) -> str:
    """An arrow; one that starts or ends at a compound is clipped at its border."""
    compounds = {_identifier(name) for name in drawing.tree.names if drawing.tree.is_compound(name)}
    marks = [f'label="{caption.strip()}"'] if caption.strip() else []
    if tail in compounds:
        marks.append(f"ltail=cluster_{tail}")
    if head in compounds:
        marks.append(f"lhead=cluster_{head}")
    ends = [f"{end}__start" if end in compounds else end for end in (tail, head)]
    return f"  {ends[0]} -> {ends[1]}" + (f" [{', '.join(marks)}]" if marks else "") + ";"


def table(definition: Definition[Any]) -> str:
    """A Markdown table, one line per branch in definition order."""
    rows = [Row(INIT_STATE, INIT_EVENT, definition.initial)] if definition.initial is not None else []
    lines = ["| state | event | guard | next | action | note |", "|---|---|---|---|---|---|"]
    noted: set[str] = set()
    for row in (*rows, *definition.rows):
        for branch in row.branches:
            note = "" if row.origin in noted else definition.notes.get(row.origin, "")
            noted.add(row.origin)
            cells = (row.origin, row.event or "", branch.guard_name, str(branch.target), branch.action_name, note)
            lines.append("| " + " | ".join(str(cell).replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(lines) + "\n"


def visualizer(definition: Definition[Any]) -> str:
    """JSON text with the states as nested arrays and the rows with function names, for graph viewers."""
    plain = definition.to_dict()
    rows = plain["transitions"]
    if definition.initial is not None:
        rows = [*rows, {"from": INIT_STATE, "event": INIT_EVENT, "to": definition.initial, "action": "IDENTITY"}]
    return json.dumps({"states": [INIT_STATE, _arrays(definition, INIT_STATE)], "transitions": rows})


def _arrays(definition: Definition[Any], state: str) -> list[Any]:
    tree = definition.tree
    return [[child, _arrays(definition, child)] if tree.is_compound(child) else child for child in tree.children[state]]


FORMATS = {"dot": dot, "mermaid": mermaid, "plantuml": plantuml, "table": table}
"""The writers by the name of their format."""


def render(definition: Definition[Any], format: str) -> str:
    """The definition in one of ``FORMATS``.

    Raises:
        ValueError: the format is not known.
    """
    if format not in FORMATS:
        raise ValueError(f"The format {format!r} is unknown; take one of {', '.join(FORMATS)}.")
    return FORMATS[format](definition)
