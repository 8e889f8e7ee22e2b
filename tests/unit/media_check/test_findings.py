"""The table of findings. Goal: each name is documented, has a remedy, and is provoked by a test."""

import re
from pathlib import Path

import pytest

from kvspic.media_findings import FINDINGS

ROOT = Path(__file__).resolve().parents[3]


def test_the_page_has_a_row_for_each_name_and_no_other():
    page = (ROOT / "docs/sources.md").read_text(encoding="utf-8")
    table = page.partition("| name | what is seen | what to do |")[2].partition("\n\n")[0]
    assert re.findall(r"^\| `([\w-]+)` \|", table, re.MULTILINE) == list(FINDINGS)


@pytest.mark.parametrize("name", FINDINGS)
def test_each_finding_is_provoked_by_name(name):
    tests = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "tests/unit/media_check").glob("test_*.py"))
    assert f'"{name}"' in tests


@pytest.mark.parametrize("name", FINDINGS)
def test_each_finding_has_a_remedy_and_no_full_stop(name):
    finding = FINDINGS[name]
    assert finding.remedy
    assert not (finding.text + finding.remedy).endswith(".")
