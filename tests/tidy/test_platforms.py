"""The page of platforms. Goal: it is what tools/platforms.py makes of what ran, and no wheel is missing in it."""

import runpy

from tidy.project import ROOT

PLATFORMS = runpy.run_path(str(ROOT / "tools" / "platforms.py"))
CROSSWHEEL = runpy.run_path(str(ROOT / "tools" / "crosswheel.py"))


def test_the_page_is_made_from_what_ran():
    lines = PLATFORMS["read"](PLATFORMS["KEPT"])
    assert lines, "docs/platforms.tsv is empty: make wheels cross-test wheel-test platforms"
    assert PLATFORMS["PAGE"].read_text(encoding="utf-8") == PLATFORMS["page"](lines)


def test_every_wheel_that_is_built_has_a_row():
    rows = {tag for _, tag, _ in PLATFORMS["PLATFORMS"] if tag}
    assert rows == {tags.split(".")[-1] for tags in CROSSWHEEL["TARGETS"]}


def test_a_result_stands_in_the_row_and_column_of_what_ran():
    text = PLATFORMS["page"]({("armhf", "demo"): ("every frame came back", "2026-11-30")})
    (row,) = [line for line in text.splitlines() if "every frame came back" in line]
    assert row.startswith("| Linux ARMv7, glibc")
    assert row.endswith("| — | — | — | every frame came back (2026-11-30) |")
