"""The schedule. Goal: frames are due at an even pace, the same for the same seed; a window has exactly its own."""

from fractions import Fraction

import pytest

from kvspic.bench.pace import NS, Lane, Window, count_before, due_ns, lanes_of


@pytest.mark.parametrize("fps", [Fraction(1), Fraction(10), Fraction(30), Fraction(30000, 1001), Fraction(240)])
def test_the_count_before_a_moment_is_the_inverse_of_when_frames_are_due(fps):
    for count in (0, 1, 2, 29, 30, 31, 1000, 12_345):
        due = due_ns(77, count, fps)
        assert count_before(due, 77, fps) == count
        assert count_before(due + 1, 77, fps) == count + 1


@pytest.mark.parametrize("offset", [0, 1, 12_345_678, 33_333_333])
def test_a_window_of_whole_seconds_has_exactly_its_frames_wherever_it_begins(offset):
    window = Window(1000, 0, Fraction(30), 5 * NS + offset, 7 * NS + offset)
    assert window.offered == 60


def test_streams_are_spread_and_the_same_for_the_same_seed():
    lanes = lanes_of(range(50), Fraction(30), 60, "spread", 1)
    assert lanes == lanes_of(range(50), Fraction(30), 60, "spread", 1)
    assert lanes != lanes_of(range(50), Fraction(30), 60, "spread", 2)
    assert lanes[10:20] == lanes_of(range(10, 20), Fraction(30), 60, "spread", 1)
    assert len({lane.phase_ns for lane in lanes}) == 50
    assert all(0 <= lane.phase_ns < NS / 30 and 1 <= lane.first <= 60 for lane in lanes)


def test_aligned_streams_have_their_key_frames_at_once():
    assert lanes_of(range(3), Fraction(30), 60, "aligned", 1) == [Lane(0, 60)] * 3


def test_a_first_group_that_is_cut_short_is_followed_by_whole_ones():
    assert [Lane(0, 2).picture(count, 4) for count in range(9)] == [0, 1, 0, 1, 2, 3, 0, 1, 2]


@pytest.fixture
def window():
    """Of a stream that begins at 100 s with the time stamp 5000 s: its frames 10 to 19 at ten frames a second."""
    return Window(100 * NS, 5000 * NS, Fraction(10), 101 * NS, 102 * NS)


def test_a_fragment_that_begins_before_the_window_counts_by_its_frames_inside(window):
    assert (window.first, window.end) == (10, 20)
    assert window.inside(5000 * NS + 8 * NS // 10, 4) == 2
    assert window.inside(5000 * NS, 10) == 0
    assert window.inside(5002 * NS - 1, 5) == 0
    assert window.inside(5000 * NS, 100) == 10


def test_a_time_stamp_cut_to_ticks_is_still_its_frame():
    window = Window(0, 1_000_000_033, Fraction(30), 0, NS)
    for count in range(100):
        pts = 1_000_000_033 + due_ns(0, count, Fraction(30))
        assert window.index_of(pts // 100 * 100) == count


def test_the_newest_frames_are_the_ones_that_are_buffered(window):
    window.put = 10
    assert [window.buffered(count) for count in (0, 3, 25)] == [0, 3, 10]
