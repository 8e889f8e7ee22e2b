"""The documentation site. Goal: links lead where they led in the repository, and the reference has everything.

``make docs-site`` builds it; here is what needs no mkdocs.
"""

import importlib
import re
import sys
from pathlib import Path

import pytest

import kvspic
import kvspic.sources

ROOT = Path(__file__).resolve().parents[2]
ALARM = re.compile(r"\bkvspic_[a-z_]+")


def tool(name):
    sys.path.insert(0, str(ROOT / "tools"))
    try:
        return importlib.import_module(name)
    finally:
        sys.path.remove(str(ROOT / "tools"))


reference = tool("docs_reference")
site = tool("docs_site")


@pytest.fixture(scope="module")
def pages():
    return reference.pages()


def test_every_public_name_stands_on_one_page(pages):
    named = [name for text in pages.values() for name in re.findall(r"^::: (\S+)$", text, re.M)]
    wanted = [f"kvspic.{name}" for name in kvspic.__all__ if name != "__version__" and name not in reference.ERRORS]
    wanted += [f"kvspic.sources.{name}" for name in kvspic.sources.__all__]
    assert sorted(named) == sorted([*wanted, *reference.FLEET_MODULES])


def test_errors_stand_on_their_own_page():
    text = (ROOT / "docs" / "errors.md").read_text(encoding="utf-8")
    assert [name for name in reference.ERRORS if f"`{name}`" not in text] == []


def test_every_command_is_there_with_its_options(pages):
    text = pages["reference/cli.md"]
    for command, option in (("put", "--spool DIR"), ("serve", "--quotas"), ("bench capacity", "--put-p99")):
        section = text.split(f" kvspic {command}\n")[1].split("\n#")[0]
        assert f"Usage: kvspic {command} " in section
        assert option in section


@pytest.mark.parametrize("name", ["kvspic", "pic"])
def test_a_header_is_there_to_the_last_line(pages, name):
    header = (ROOT / "csrc" / "include" / f"{name}.h").read_text(encoding="utf-8")
    shown = [line for line in pages[f"reference/{name}-h.md"].splitlines() if line]
    missing = [line for line in header.splitlines() if line and not line.startswith("/* ----") and line not in shown]
    assert missing == []


def test_metrics_that_the_documents_name_exist(pages):
    known = set(re.findall(r"`(kvspic_\w+)`", pages["reference/metrics.md"]))
    assert {"kvspic_frames_put_total", "kvspic_fleet_jobs", "kvspic_endpoint_uploads"} <= known
    for page in ("operations.md", "faq.md"):
        assert set(ALARM.findall((ROOT / "docs" / page).read_text(encoding="utf-8"))) - {"kvspic_endpoint"} <= known


@pytest.mark.parametrize(
    "home, link, moved",
    [
        ("docs/guide.md", "start.md#here", "start.md#here"),
        ("docs/guide.md", "../README.md#c", "index.md#c"),
        ("docs/guide.md", "../benchmarks/README.md", "benchmarks.md"),
        ("docs/guide.md", "../Makefile", "files/Makefile"),
        ("README.md", "docs/guide.md", "guide.md"),
        ("README.md", "docs/page-stream.png", "page-stream.png"),
        ("benchmarks/README.md", "../docs/bench.md", "bench.md"),
        ("docs/guide.md", "#here", "#here"),
        ("docs/guide.md", "https://example.com/a", "https://example.com/a"),
    ],
)
def test_a_link_of_the_repository_leads_to_the_same_on_the_site(home, link, moved):
    assert site.relink(f"a [b]({link}) c", home, set()) == f"a [b]({moved}) c"


def test_what_is_linked_outside_the_documents_is_copied():
    copied = set()
    site.relink("[a](../Makefile) [b](../README.md) [c](guide.md)", "docs/faq.md", copied)
    assert copied == {"Makefile"}


def test_code_is_no_link():
    text = "`[a](b.md)`\n```python\nx[0](y)\n```\n"
    assert site.relink(text, "docs/faq.md", set()) == text


def test_a_diagram_has_one_arrow_for_all_events_between_two_states():
    mermaid = 'stateDiagram-v2\n    state "A" as A\n    state "B C" as B\n    [*] --> A\n'
    mermaid += "    A --> B : GO / RUN\n    A --> B : AGAIN / RUN\n    B --> B : STAY / WAIT\n"
    drawn = site.dot_text(mermaid)
    assert drawn.count('"A" -> "B"') == 1
    assert '"B" -> "B"' not in drawn
    assert '[label="B C"]' in drawn
    assert '"[*]" -> "A"' in drawn


def test_without_graphviz_a_diagram_stays_as_text(monkeypatch):
    monkeypatch.setenv("PATH", "")
    assert site.draw("```mermaid\na\n```\n") == "```text\na\n```\n"
