"""docs/errors.md. Goal: the page says what the compiled library returns."""

from pathlib import Path

from kvspic import _lib, errors

PAGE = Path(__file__).resolve().parents[2] / "docs" / "errors.md"


def test_the_page_is_made_from_the_table():
    assert PAGE.read_text() == errors.page(), "docs/errors.md is stale: run `make docs`"


def test_every_status_stands_on_the_page_with_its_class():
    for status in _lib.status_rows():
        assert f"| `{status.name}` | {status.status} | `{errors.BY_STATUS[status.status].__name__}` |" in errors.page()
