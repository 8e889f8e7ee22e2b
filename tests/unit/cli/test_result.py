"""The report of an upload. Goal: its figures add up, and success means that everything offered is persisted."""

import json
from dataclasses import replace

import pytest
from unit.cli.commands import KEYS

from kvspic.commands.exits import CliError, ExitCode
from kvspic.commands.result import UploadResult, quantile

DONE = UploadResult(
    frames_offered=10, frames_put=10, frames_persisted=10, fragments_persisted=2, bytes_sent=3_000_000,
    put_ns_p50=1500, put_ns_p99=2500, ack_persisted_ms_p50=3.25, ack_persisted_ms_p99=4.0, seconds=2.0, state="STOPPED",
)  # fmt: skip


def test_everything_persisted_is_success():
    assert DONE.is_complete
    assert DONE.failure() is None
    assert list(json.loads(DONE.to_json())) == KEYS


@pytest.mark.parametrize(
    "changes",
    [
        {"frames_persisted": 9, "frames_dropped": 1},
        {"frames_persisted": 9, "frames_buffered": 1},
        {"frames_offered": 11},
        {"adds_up": False},
    ],
)
def test_anything_less_is_not(changes):
    result = replace(DONE, **changes)
    assert not result.is_complete
    assert result.failure().code == ExitCode.INCOMPLETE
    assert "error" in json.loads(result.to_json())


def test_what_a_spool_held_counts_and_what_it_holds_is_named():
    assert replace(DONE, frames_put=13, frames_persisted=13, frames_recovered=3, frames_spooled=0).is_complete
    left = replace(DONE, frames_put=13, frames_persisted=9, frames_recovered=3, frames_spooled=4)
    assert "4 of 13 frames were not persisted: 4 are in the spool" in str(left.failure())
    shown = json.loads(left.to_json())
    assert (shown["frames_spooled"], shown["frames_recovered"]) == (4, 3)
    assert left.lines()[0].endswith("+ 0 buffered + 4 spooled (3 recovered)")


def test_a_problem_comes_before_what_it_led_to():
    problem = CliError(ExitCode.UNREACHABLE, "Nothing was there.")
    assert replace(DONE, frames_persisted=0, problem=problem).failure() is problem


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"dropped": {"skipped": 3}, "frames_dropped": 3}, "3 came without the key frame that they need"),
        ({"dropped": {"store_full": 3}, "frames_dropped": 3}, "--offline, or give a larger --store-size"),
        ({"dropped": {"buffer_duration": 3}, "frames_dropped": 3}, "put the input with --offline"),
        ({"dropped": {"error_ack": 3}, "frames_dropped": 3}, "refused by the service"),
        ({"frames_offered": 13, "frames_persisted": 10}, "3 were refused or never put"),
    ],
)
def test_the_remedy_fits_the_reason(changes, words):
    failure = replace(DONE, **({"frames_persisted": 7} | changes)).failure()
    assert words in str(failure)
    assert "again" not in str(failure)


def test_frames_that_were_still_to_be_sent_are_put_again():
    assert "put the input again" in str(replace(DONE, frames_persisted=7, frames_buffered=3).failure())


def test_media_that_cannot_be_decoded_wins_over_what_is_missing():
    problem = CliError(ExitCode.INCOMPLETE, "Nothing moved.")
    for changes in ({}, {"frames_persisted": 9}, {"problem": problem}):
        failure = replace(DONE, undecodable="the frames are JPEG", **changes).failure()
        assert failure.code == ExitCode.MEDIA
        assert "cannot be decoded: the frames are JPEG." in str(failure)
    unreachable = CliError(ExitCode.UNREACHABLE, "Nothing was there.")
    assert replace(DONE, undecodable="JPEG", problem=unreachable).failure() is unreachable


def test_the_lines_show_the_ledger_and_why_frames_were_dropped():
    lines = replace(DONE, frames_persisted=9, frames_dropped=1, dropped={"store_full": 1, "late": 0}).lines()
    assert "10 frames put = 9 persisted + 1 dropped (store_full 1) + 0 buffered" in lines[0]
    assert "3000000 bytes in 2.00 s (1.50 MB/s)" in lines[2]


def test_an_upload_that_never_began_has_lines_too():
    assert "- (p50)" in UploadResult().lines()[3]


@pytest.mark.parametrize(("fraction", "value"), [(0.0, 0), (0.5, 50), (0.99, 99), (1.0, 99)])
def test_a_quantile_is_one_of_the_samples(fraction, value):
    assert quantile(range(100), fraction) == value


def test_no_samples_have_no_quantile():
    assert quantile([], 0.5) is None
