"""Views. Goal: the same figures as a live table on a terminal, as plain lines elsewhere, and nothing when unwanted."""

import dataclasses
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
    assert line.startswith("STOPPED")
    for words in ("100%", "25 frames", "all read", " MB/s", "buffer 0.0%", "1 persisted", "PERSISTED after", " ms"):
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


def metrics_at(status, seconds, **changes):
    return dataclasses.replace(status, seconds=seconds, **changes)


class Ticks:
    """Stands for the event that ends a view: so many looks, and no time passes."""

    def __init__(self, count):
        self.count = count

    def wait(self, seconds):
        self.count -= 1
        return self.count < 0


def test_lines_come_once_a_minute_and_when_something_changes(status):
    states = [metrics_at(status[1], second) for second in range(100)]
    states += [metrics_at(status[1], second, trouble=f"no frame for {second} s") for second in range(100, 105)]
    states += [metrics_at(status[1], 105)]
    out = io.StringIO()
    view = UploadView(Console(file=out, width=200), iter(states).__next__, is_shown=False)
    view._ended = Ticks(len(states))
    view._print_lines()
    lines = out.getvalue().splitlines()
    assert len(lines) == 4
    assert "(no frame for 100 s)" in lines[2]
    assert "no frame" not in lines[3]


def test_a_file_has_percent_and_time_left(status):
    line = figures(metrics_at(status[1], 10.0, progress=0.25, left_s=30.0)).line()
    assert "25%, 30 s left, " in line
    assert "left" not in figures(metrics_at(status[1], 10.0, progress=1.0, left_s=0.0)).line()


def test_an_upload_that_is_read_waits_for_the_link_and_shows_no_rate(status):
    assert " fps" not in figures(metrics_at(status[1], 10.0, is_read=True)).line()


def test_progress_counts_what_is_persisted(endpoint):
    with open_source("testsrc:width=64,height=48,duration=1") as source:
        upload = Upload(UploadPlan(source, "progress", endpoint_url=endpoint.url))
        assert upload.status().progress is None
        upload.run()
    assert upload.status().progress == 1.0
    assert upload.status().is_read


def test_which_end_is_slow_is_said(endpoint, monkeypatch):
    with open_source("testsrc:width=64,height=48,duration=1") as source:
        upload = Upload(UploadPlan(source, "slow", endpoint_url=endpoint.url, is_live=True))
        upload._is_reading = True
        assert upload._slow_part(0.1) == ""
        assert "the link is slower than the source" in upload._slow_part(0.9)
        upload._read_s -= 7
        assert upload._slow_part(0.1) == "no frame has come from the source for 7 s"
