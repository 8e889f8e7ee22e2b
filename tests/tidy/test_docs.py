"""The map and the tree agree. Goal: who reads docs/architecture.md finds what it says, and finds everything."""

import re
from pathlib import Path

import pytest
from tidy.project import ROOT, files, report

MAP = "docs/architecture.md"
BUILT = {"kvspic/_enums.py", "kvspic/_native", "kvspic/testing/_internals"}  # not kept
PATH = re.compile(r"`((?:\.ci|csrc|docs|kvspic|tests)/[\w./*-]*)`")


def missing(text: str, root: Path) -> list[str]:
    """Paths that ``text`` names in backticks and ``root`` does not have."""
    named = sorted(set(PATH.findall(text)) - BUILT)
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


PAGES = [path.as_posix() for path in files() if path.suffix == ".md" and path.parts[0] not in ("tests", "kvspic")]
OWN_PAGES = re.compile(r"^ +- [^\[\n]*?: ([\w./-]+\.md)$", re.MULTILINE)


def headings(text: str) -> set[str]:
    """The anchors of a page, as forges and the site make them of its headings."""
    prose = re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)
    titles = re.findall(r"^#+ (.+)$", prose, re.MULTILINE)
    return {re.sub(r"[\s-]+", "-", re.sub(r"[^\w\s-]", "", title).strip().lower()) for title in titles}


def broken_links(page: str, text: str) -> list[str]:
    """Links of ``page`` to files and headings that do not exist."""
    prose = re.sub(r"^```.*?^```|`[^`\n]+`", "", text, flags=re.MULTILINE | re.DOTALL)
    findings = []
    for path, anchor in re.findall(r"\]\((?!\w+:)([^)#\s]*)#?([^)\s]*)\)", prose):
        target = (ROOT / page).parent / path if path else ROOT / page
        if not target.exists():
            findings.append(f"{page} links to {path}, which does not exist.")
        elif anchor and anchor not in headings(target.read_text(encoding="utf-8")):
            findings.append(f"{page} links to {path}#{anchor}, and there is no such heading.")
    return findings


def test_a_broken_link_is_caught():
    assert broken_links("docs/guide.md", "## Here\n[a](../README.md) [b](https://example.com) `[c](none.md)`") == []
    assert len(broken_links("docs/guide.md", "[a](none.md) [b](start.md#none) [c](#none)")) == 3


@pytest.mark.parametrize("page", PAGES)
def test_links_between_pages_lead_somewhere(page):
    report(broken_links(page, (ROOT / page).read_text(encoding="utf-8")))


def test_every_page_stands_in_the_menu_of_the_site():
    menu = set(OWN_PAGES.findall((ROOT / "mkdocs.yml").read_text(encoding="utf-8")))
    pages = {path.name for path in files() if path.parent.as_posix() == "docs" and path.suffix == ".md"}
    report([f"docs/{page} is in no menu: add it to nav in mkdocs.yml." for page in sorted(pages - menu)])


def test_make_commands_named_in_pages_exist():
    rules = "".join((ROOT / name).read_text(encoding="utf-8") for name in ("Makefile", "csrc/lib.mk"))
    targets = set(re.findall(r"^([\w-]+):", rules, re.MULTILINE))
    pages = (ROOT / "README.md").read_text(encoding="utf-8") + (ROOT / MAP).read_text(encoding="utf-8")
    named = set(re.findall(r"(?:`|^)make ([\w-]+)", pages, re.MULTILINE))
    assert named >= {"demo", "test"}
    assert named <= targets
