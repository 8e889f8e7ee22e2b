"""The media check over time. Goal: a finding ends with its cause, and what is right is never called wrong."""

import contextlib

import pytest

from kvspic.actions import TimesAnchored, TimesJumped, TimesShifted
from kvspic.media_check import CounterWatch, MediaCheck, MediaCounts
from kvspic.types import AacTrack, H264Track, Track

S = 1_000_000_000
BASE = 1_700_000_000 * S
SETS = b"\0\0\0\1\x67\x42\0\x1e\0\0\0\1\x68\xce"
IDR, P = b"\0\0\0\1\x65\x88\x80", b"\0\0\0\1\x41\x9a\x20"


class Clocked:
    """A watch that is asked once a second."""

    def __init__(self, **options):
        self.watch = CounterWatch(**({"has_times": True, "is_relative": False} | options))
        self.second = 0

    def look(self, *, ahead=0, **counts):
        self.second += 1
        now = BASE + self.second * S
        counts = {"newest_ns": now + ahead * S} | counts
        return self.watch.found(MediaCounts(**counts), now, now)


@pytest.mark.parametrize(("counter", "name"), [("times_bumped", "times-repeated"), ("times_shifted", "times-shifted")])
def test_a_handful_is_no_problem_and_more_of_them_are_forgotten_after_a_minute(counter, name):
    clocked = Clocked()
    assert clocked.look(**{counter: 5}) == {}
    assert clocked.look(**{counter: 6}) == {name: {"count": 6}}
    seconds = [bool(clocked.look(**{counter: 6})) for _ in range(70)]
    assert seconds == [True] * seconds.count(True) + [False] * seconds.count(False)
    assert 55 <= seconds.count(True) <= 60


def test_what_happens_now_and_then_is_no_problem():
    clocked = Clocked()
    assert all(clocked.look(times_shifted=second // 20) == {} for second in range(3600))


def test_media_in_the_future_is_one_until_the_clock_is_there():
    clocked = Clocked()
    assert clocked.look(ahead=59) == {}
    assert clocked.look(ahead=7200) == {"times-in-the-future": {"ahead": 7200}}
    assert clocked.look(ahead=10) == {}


def test_times_of_a_stream_that_counts_from_any_zero_are_left_alone():
    assert Clocked(is_relative=True).look(newest_ns=5 * S) == {}
    assert Clocked().look(newest_ns=5 * S) == {"times-long-past": {}}
    assert Clocked(has_times=False).look(ahead=7200, times_bumped=100) == {}


def test_a_machine_that_does_not_know_the_time_accuses_no_camera():
    watch = CounterWatch(has_times=True, is_relative=False)
    assert watch.found(MediaCounts(newest_ns=BASE), BASE, 5 * S) == {}


@pytest.mark.parametrize(
    ("event", "found"),
    [
        (TimesJumped("s", 1, 2 * 86_400 * S), {"times-far-apart": {"days": "2", "where": "ahead"}}),
        (TimesShifted("s", 1, 3 * 86_400 * S), {"times-far-apart": {"days": "3", "where": "back"}}),
        (TimesJumped("s", 1, 3600 * S), {}),
        (TimesAnchored("s", 1, 86_400 * 10_000 * S), {}),
    ],
)
def test_a_jump_of_days_is_a_problem_for_a_minute(event, found):
    clocked = Clocked()
    clocked.look()
    clocked.watch.note(event, BASE + 2 * S)
    assert clocked.look() == found
    for _ in range(60):
        clocked.look()
    assert clocked.look() == {}


@pytest.mark.parametrize(
    ("per_second", "names"),
    [(1, []), (1.05, []), (2, ["fragments-short"]), (5, ["fragments-short"]), (8, ["fragments-too-many"])],
)
def test_fragments_are_counted_over_ten_seconds_of_media(per_second, names):
    clocked = Clocked()
    found = [list(clocked.look(fragments_put=int(second * per_second))) for second in range(1, 13)]
    assert found == [[]] * 10 + [names] * 2


def test_fragments_that_are_long_enough_again_are_no_problem():
    clocked = Clocked()
    counts = [second * 8 if second < 20 else 160 + second for second in range(60)]
    found = [bool(clocked.look(fragments_put=count)) for count in counts]
    assert found[15]
    assert not found[-1]


def test_a_file_that_goes_up_at_once_is_measured_by_its_own_times():
    watch = CounterWatch(has_times=True, is_relative=False)
    watch.begin = MediaCounts(fragments_put=1, newest_ns=BASE)
    hour = MediaCounts(fragments_put=1800, newest_ns=BASE + 3600 * S)
    assert watch.found(hour, BASE + 3601 * S, BASE + 3601 * S) == {}


# ---- the whole check


def new_check(*tracks):
    return MediaCheck("door", tracks, contextlib.nullcontext())


def put(check, frames, first=0):
    found = []
    for number, (data, is_key) in enumerate(frames, first):
        found += check.look(data, BASE + number * S // 25, 1, is_key)
    return [problem.name for problem in found]


def test_a_bad_verdict_is_looked_at_again_every_ten_seconds():
    check = new_check(H264Track())
    assert put(check, [(IDR, True), *[(P, False)] * 310]) == ["no-codec-private-data"]
    assert not check.is_watching
    assert check.reason
    check.look_at_counters(MediaCounts(), BASE, BASE)
    assert check.is_watching
    assert put(check, [(IDR, True), *[(P, False)] * 310], 400) == []
    check.look_at_counters(MediaCounts(), BASE + 5 * S, BASE)
    assert not check.is_watching
    check.look_at_counters(MediaCounts(), BASE + 11 * S, BASE)
    assert put(check, [(SETS + IDR, True), *[(P, False)] * 20, (IDR, True)], 800) == []
    assert (check.reason, check.is_watching, check.count) == ("", False, 1)


def test_a_group_without_a_key_frame_is_no_good_verdict():
    check = new_check(H264Track())
    put(check, [(IDR, True), *[(P, False)] * 310])
    check.look_at_counters(MediaCounts(), BASE, BASE)
    put(check, [(P, False)] * 310, 400)
    assert "no-codec-private-data" in check.reason


def test_a_watch_ends_after_ten_seconds_of_media_or_three_hundred_frames():
    check = new_check(H264Track())
    put(check, [(SETS + IDR, True)])
    for number in range(1, 12):
        check.look(P, BASE + number * S, 1, 0)
    assert not check.is_watching
    check = new_check(H264Track())
    put(check, [(SETS + IDR, True), *[(P, False)] * 298])
    assert not check.is_watching


def test_a_track_of_an_unknown_codec_is_not_watched():
    assert not new_check(Track("V_TEST", "video/x-test")).is_watching
    check = new_check(Track("V_TEST", "video/x-test"), AacTrack(sample_rate=8000, channels=1))
    assert check.is_watching
    assert check.look(b"x", BASE, 1, 0) == []


def test_what_follows_from_a_finding_is_no_finding_of_its_own():
    check = new_check(H264Track())
    found = put(check, [(SETS + IDR, True), *[(P, True)] * 30])
    counts = MediaCounts(fragments_put=300, newest_ns=BASE + 12 * S)
    check.begin(MediaCounts(newest_ns=BASE))
    found += [problem.name for problem in check.look_at_counters(counts, BASE + 12 * S, BASE + 12 * S)]
    assert found == ["key-frame-flag-wrong"]


def test_the_gravest_of_several_problems_is_the_reason():
    check = new_check(H264Track())
    check.look_at_counters(MediaCounts(newest_ns=BASE + 7200 * S), BASE, BASE)
    assert "future" in check.reason
    put(check, [(IDR, True), *[(P, False)] * 20])
    assert "parameter sets" in check.reason


def test_the_end_gives_a_verdict_on_what_there_is():
    check = new_check(H264Track())
    assert put(check, [(b"\xff\xd8\xff\xe0" * 9, True)]) == []
    problems = check.conclude(MediaCounts(newest_ns=BASE), BASE, BASE)
    assert [problem.name for problem in problems] == ["other-codec"]
