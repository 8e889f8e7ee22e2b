"""Each promise has its test. Goal: who reads docs/reliability.md, or docs/fleet.md about the fleet, can run what holds
it, and nothing there has gone."""

import re
from pathlib import Path

from tidy.project import ROOT, report

PAGE = "docs/reliability.md"
FLEET = "docs/fleet.md"
PROMISES = "## Promises and their tests"
NAMED = re.compile(r"`(tests/[\w/.]+)::(\w+)`")
ROW = re.compile(r"^\| (?!promise|---)(.+?) \|", re.MULTILINE)


def missing(text: str, root: Path, page: str = PAGE) -> list[str]:
    """Tests that ``text`` names as FILE::NAME and ``root`` does not have."""
    findings = []
    for path, name in NAMED.findall(text):
        file = root / path
        source = file.read_text(encoding="utf-8") if file.is_file() else ""
        if not re.search(rf"(?:def|static void|int) {name}\(", source):
            findings.append(f"{page} names {path}::{name}, which does not exist. Correct the page.")
    return findings


def without_test(text: str, page: str = PAGE) -> list[str]:
    """Rows of the tables of ``text`` that name no test."""
    lines = [line for line in text.splitlines() if ROW.match(line)]
    return [f"{page}: no test is named for {line[:60]!r}. Name one." for line in lines if not NAMED.search(line)]


def test_a_promise_without_its_test_is_caught(tmp_path):
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests/test_a.py").write_text("def test_one(): ...\n", encoding="utf-8")
    assert missing("`tests/test_a.py::test_one`", tmp_path) == []
    assert len(missing("`tests/test_a.py::test_two` `tests/test_b.py::test_one`", tmp_path)) == 2
    assert without_test("| promise | test |\n|---|---|\n| one | `tests/test_a.py::test_one` |\n") == []
    assert len(without_test("| promise | test |\n|---|---|\n| two | none |\n")) == 1


def test_each_promise_names_a_test_that_exists():
    text = (ROOT / PAGE).read_text(encoding="utf-8")
    assert len(NAMED.findall(text)) > 50
    report(missing(text, ROOT) + without_test(text))


def test_each_promise_of_the_fleet_names_a_test_that_exists():
    text = (ROOT / FLEET).read_text(encoding="utf-8").partition(PROMISES)[2]
    assert len(NAMED.findall(text)) > 20
    report(missing(text, ROOT, FLEET) + without_test(text, FLEET))
