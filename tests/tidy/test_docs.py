"""The map and the tree agree. Goal: who reads docs/architecture.md finds what it says, and finds everything."""

import re
from pathlib import Path

import pytest
from tidy.project import ROOT, files, report

MAP = "docs/architecture.md"
PATH = re.compile(r"`((?:\.ci|csrc|docs|kvspic|tests)/[\w./*-]*)`")


def missing(text: str, root: Path) -> list[str]:
    """Paths that ``text`` names in backticks and ``root`` does not have."""
    named = sorted(set(PATH.findall(text)) - {"kvspic/_native"})  # the extension is built, not kept
    gone = [path for path in named if not any(root.glob(path.rstrip("/")))]
    return [f"{MAP} names {path}, which does not exist. Correct the map." for path in gone]


def unmapped(text: str, paths: list[Path]) -> list[str]:
    """Folders of csrc and kvspic that ``text`` does not name."""
    deep = [path for path in paths if path.parts[0] in ("csrc", "kvspic") and len(path.parts) > 2]
    folders = {"/".join(path.parts[:2]) for path in deep}
    return [f"{MAP} does not name {name}/. Say what it is." for name in sorted(folders) if f"`{name}/" not in text]


def test_a_wrong_map_is_caught(tmp_path):
    (tmp_path / "csrc/base").mkdir(parents=True)
    assert missing("`csrc/base/` `csrc/base`", tmp_path) == []
    assert len(missing("`csrc/bas/`", tmp_path)) == 1
    assert unmapped("`csrc/base/`", [Path("csrc/base/a.c")]) == []
    assert len(unmapped("`csrc/base/`", [Path("csrc/store/a.c"), Path("csrc/a.c")])) == 1


def test_the_map_is_true():
    text = (ROOT / MAP).read_text(encoding="utf-8")
    report(missing(text, ROOT) + unmapped(text, files()))


PAGES = [
    "README.md",
    "docs/architecture.md",
    "docs/credentials.md",
    "docs/dependencies.md",
    "docs/faults.md",
    "docs/reliability.md",
]


@pytest.mark.parametrize("page", PAGES)
def test_links_between_pages_lead_somewhere(page):
    targets = re.findall(r"\]\((?!https?:)([^)#]+)\)", (ROOT / page).read_text(encoding="utf-8"))
    folder = (ROOT / page).parent
    report([f"{page} links to {to}, which does not exist." for to in targets if not (folder / to).exists()])


def test_make_commands_named_in_pages_exist():
    rules = "".join((ROOT / name).read_text(encoding="utf-8") for name in ("Makefile", "csrc/lib.mk"))
    targets = set(re.findall(r"^([\w-]+):", rules, re.MULTILINE))
    pages = (ROOT / "README.md").read_text(encoding="utf-8") + (ROOT / MAP).read_text(encoding="utf-8")
    named = set(re.findall(r"(?:`|^)make ([\w-]+)", pages, re.MULTILINE))
    assert named >= {"demo", "test"}
    assert named <= targets
