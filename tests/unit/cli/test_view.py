"""Views. Goal: the same figures as a live table on a terminal, as plain lines elsewhere, and nothing when unwanted."""

import io

import pytest
from rich.console import Console

from kvspic.commands.upload import Upload, UploadPlan
from kvspic.commands.view import UploadView, figures
from kvspic.sources import open_source


@pytest.fixture(scope="module")
def status(endpoint):
    with open_source("testsrc:width=64,height=48,duration=1") as source:
        upload = Upload(UploadPlan(source, "view", endpoint_url=endpoint.url))
        before = upload.status()
        upload.run()
    return before, upload.status()


def shown(status, is_terminal, is_shown=True):
    out = io.StringIO()
    console = Console(file=out, force_terminal=is_terminal, width=100, markup=False)
    with UploadView(console, lambda: status, is_shown=is_shown):
        pass
    return out.getvalue()


def test_a_line_has_all_figures(status):
    line = figures(status[1]).line()
    for words in ("STOPPED", "25 frames", " fps", " MB/s", "buffer 0.0%", "1 persisted", "PERSISTED after", " ms"):
        assert words in line


def test_before_the_stream_is_open_there_is_a_line_too(status):
    assert figures(status[0]).line().startswith("CONNECTING")


def test_a_terminal_gets_a_table(status):
    text = shown(status[1], is_terminal=True)
    assert "STOPPED" in text
    assert "\x1b[" in text


def test_a_file_gets_no_control_characters(status):
    assert "\x1b" not in shown(status[1], is_terminal=False)


@pytest.mark.parametrize("is_terminal", [True, False])
def test_nothing_is_shown_when_it_is_not_wanted(status, is_terminal):
    assert shown(status[1], is_terminal, is_shown=False) == ""
