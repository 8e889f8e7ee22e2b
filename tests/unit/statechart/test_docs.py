"""The page on state machines. Goal: its code runs, and its pictures and runs are those of the example."""

import runpy
import sys
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[3] / "docs"
PAGE = (DOCS / "statechart.md").read_text(encoding="utf-8")
EXAMPLE = DOCS / "examples" / "cd_player.py"


def blocks(language):
    return [part.split("```")[0] for part in PAGE.split(f"```{language}\n")[1:]]


def printed(monkeypatch, capsys, *arguments):
    """What the example prints."""
    monkeypatch.setattr(sys, "argv", [str(EXAMPLE), *arguments])
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(str(EXAMPLE), run_name="__main__")
    assert ended.value.code == 0
    return capsys.readouterr().out


def test_the_code_on_the_page_runs_from_top_to_bottom():
    names = {}
    for block in blocks("python"):
        exec(compile(block, "statechart.md", "exec"), names)
    assert names["lamp"].control == "broken"


def test_the_run_on_the_page_is_the_one_of_the_example(monkeypatch, capsys):
    lines = [line.rstrip() for line in printed(monkeypatch, capsys).splitlines()]
    assert blocks("text") == ["\n".join(lines) + "\n"]


def test_the_diagram_on_the_page_is_the_one_of_the_example(monkeypatch, capsys):
    assert blocks("mermaid") == [printed(monkeypatch, capsys, "--format", "mermaid")]


def test_the_example_prints_generated_tests(monkeypatch, capsys):
    text = printed(monkeypatch, capsys, "--tests")
    assert "eject,eject,play: [['open drawer'], ['close drawer'], ['play track 1']]" in text
    assert "not covered: closing_cd_drawer to cd_drawer_closed, never feasible" in text
