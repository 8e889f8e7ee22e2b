"""Diagrams. Goal: every state, arrow and history of a definition is drawn, once, in each format."""

import json

import pytest
from unit.statechart import machines

from kvspic.statechart import Branch, Definition, Row, deep, out
from kvspic.statechart.diagram import FORMATS, render, visualizer


def fatal(data, payload, settings):
    return True


def net():
    rows = [
        Row("net_up", "init", "wait_ready"),
        Row("wait_ready", "ready", "send"),
        Row("net_up", "drop", Branch("off", fatal, out("giveUp")), Branch("off", action=out("retry"))),
        Row("off", "again", Branch(deep("net_up"), action=out("resume"))),
    ]
    return Definition(
        {"net_up": {"wait_ready": "", "send": ""}, "off": ""},
        ["ready", "drop", "again"],
        rows,
        initial="net_up",
        notes={"off": "5 retries: then END"},
        name="net",
    )


PLANTUML = """\
@startuml
state "nok" as nok <<NoContent>> {
  state "net up" as net_up <<NoContent>> {
    state "wait ready" as wait_ready <<NoContent>>
    wait_ready --> send : ready
    state "send" as send <<NoContent>>
    state "H*" as net_up__deep <<NoContent>>
    [*] --> wait_ready
  }
  net_up --> off : drop [fatal] / giveUp
  net_up --> off : drop / retry
  state "off" as off <<NoContent>>
  off --> net_up__deep : again / resume
  note right of off : 5 retries: then END
  [*] --> net_up
}
@enduml
"""

MERMAID = """\
stateDiagram-v2
    state "net up" as net_up {
        state "wait ready" as wait_ready
        state "send" as send
        state "H*" as net_up__deep
        [*] --> wait_ready
        wait_ready --> send : ready
    }
    state "off" as off
    [*] --> net_up
    net_up --> off : drop [fatal] / giveUp
    net_up --> off : drop / retry
    off --> net_up__deep : again / resume
    note right of off : 5 retries, then END
"""

TABLE = """\
| state | event | guard | next | action | note |
|---|---|---|---|---|---|
| nok | init |  | net_up |  |  |
| net_up | init |  | wait_ready |  |  |
| wait_ready | ready |  | send |  |  |
| net_up | drop | fatal | off | giveUp |  |
| net_up | drop |  | off | retry |  |
| off | again |  | H*(net_up) | resume | 5 retries: then END |
"""


@pytest.mark.parametrize(("form", "text"), [("plantuml", PLANTUML), ("mermaid", MERMAID), ("table", TABLE)])
def test_sc_55_the_text_of_a_small_machine(form, text):
    assert render(net(), form) == text


def test_dot_draws_compounds_as_clusters_and_clips_arrows_at_them():
    text = render(net(), "dot")
    assert "subgraph cluster_net_up {" in text
    assert '  net_up__start -> off [label="drop [fatal] / giveUp", ltail=cluster_net_up];' in text
    assert "  nok__start -> net_up__start [lhead=cluster_net_up];" in text
    assert '  off -> net_up__deep [label="again / resume"];' in text
    assert text.count("{") == text.count("}")


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("name", ["lamp", "box", "scale", "house", "near", "chain", "session", "hist", "err"])
def test_every_branch_of_every_machine_is_drawn_once(form, name):
    definition = getattr(machines, name)()
    text = render(definition, form)
    branches = sum(len(row.branches) for row in definition.rows) + (definition.initial is not None)
    arrows = {"plantuml": " --> ", "mermaid": " --> ", "dot": " -> ", "table": "\n| "}[form]
    assert text.count(arrows) == branches
    assert all(state in text for state in definition.tree.names if definition.tree.ancestors(state) or form != "table")


def test_names_with_odd_characters_stay_apart():
    rows = [Row("a b", "e", Branch("a-b", action=out('say "x"'))), Row("a-b", "e", "a b")]
    text = render(Definition(["a b", "a-b"], ["e"], rows, initial="a b"), "dot")
    assert "a_x20_b -> a_x2d_b" in text
    assert "say 'x'" in text


def test_an_unknown_format_is_named_with_its_remedy():
    with pytest.raises(ValueError, match="take one of dot, mermaid, plantuml, table"):
        render(net(), "png")


def test_the_visualizer_gets_nested_arrays_and_function_names():
    plain = json.loads(visualizer(net()))
    assert plain["states"] == ["nok", [["net_up", ["wait_ready", "send"]], "off"]]
    assert plain["transitions"][2] == {
        "from": "net_up",
        "event": "drop",
        "guards": [{"predicate": "fatal", "to": "off", "action": "giveUp"}, {"to": "off", "action": "retry"}],
    }
    assert plain["transitions"][-1]["from"] == "nok"
