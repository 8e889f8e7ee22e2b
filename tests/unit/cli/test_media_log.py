"""Comparing. Goal: one changed byte, one missing frame, or a time off by more than a millisecond is seen."""

import pytest

from kvspic.commands.media_log import MediaLog, compare, length_prefixed, read_joined

MS = 1_000_000
FRAMES = [(1, b"key", 0), (2, b"sound", 20 * MS), (1, b"next", 40 * MS)]


def log(frames=FRAMES, shift_ns=0):
    made = MediaLog()
    for track, data, time_ns in frames:
        made.add(track, data, time_ns + shift_ns)
    return made


def test_the_same_frames_are_equal_whatever_their_zero_is():
    found = compare(log(), log(shift_ns=5_000 * MS))
    assert (found.is_equal, found.frames, found.shift_ns) == (True, 3, 5_000 * MS)


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ([*FRAMES[:2], (1, b"nexT", 40 * MS)], "other bytes"),
        (FRAMES[:2], "2 came back"),
        ([*FRAMES, (1, b"more", 80 * MS)], "4 came back"),
        ([*FRAMES[:2], (2, b"next", 40 * MS)], "by track"),
        ([*FRAMES[:2], (1, b"next", 41 * MS + 1)], "off its time"),
    ],
)
def test_a_difference_is_found(changed, words):
    found = compare(log(), log(changed))
    assert not found.is_equal
    assert words in found.problem


def test_a_millisecond_is_the_precision_of_the_file():
    assert compare(log(), log([*FRAMES[:2], (1, b"next", 41 * MS)])).is_equal


@pytest.mark.parametrize("start", [b"\0\0\1", b"\0\0\0\1", b"\0\0\0\0\0\1"])
def test_start_codes_of_any_length_become_lengths(start):
    assert length_prefixed(start + b"\x67ab" + start + b"\x68c\0") == b"\0\0\0\3\x67ab\0\0\0\2\x68c"


def test_a_file_is_read_wherever_it_is_cut(tmp_path):
    from unit import stored_media
    from unit.sources.clips import BASELINE

    from kvspic.sources import open_source

    with open_source(BASELINE) as source:
        answer, _, frames, _ = stored_media.stored(source)
    whole, pieces = MediaLog(), MediaLog()
    read_joined([answer], 0, whole)
    read_joined([answer[place : place + 999] for place in range(0, len(answer), 999)], 0, pieces)
    assert whole.count() == len(frames) == 200
    assert compare(whole, pieces).is_equal
