"""One line of time. Goal: times that can be true stay, and a clock that jumps goes on, all tracks together."""

from dataclasses import replace

import pytest

from kvspic.sources import SourceFrame
from kvspic.sources.timeline import Timeline

MS, S = 1_000_000, 1_000_000_000


def picture(time_ms, dts_ms=None, key=False, track=1, **more):
    dts = time_ms if dts_ms is None else dts_ms
    return SourceFrame(track, b"x", time_ms * MS, None if dts == "none" else dts * MS, 40 * MS, key, **more)


def sound(time_ms):
    return picture(time_ms, track=2)


def placed(*frames, leaps=True):
    said = []
    line = Timeline("film", leaps, said.append)
    found = list(line.place(frames))
    assert [frame.data for frame in found] == [frame.data for frame in frames]
    return [(frame.track, frame.pts_ns // MS) for frame in found], said


def test_times_that_rise_stay_the_very_frames():
    frames = [picture(time) for time in range(0, 400, 40)]
    assert list(Timeline("film", True, print).place(frames)) == frames


def test_a_clock_that_is_set_back_goes_on_for_all_tracks_by_the_same_distance():
    before = [picture(100_000), sound(100_010), picture(100_040), sound(100_050)]
    after = [picture(5000), sound(4990), picture(5040), sound(5030)]
    times, said = placed(*before, *after)
    end = 100_090  # of the sound
    assert times[4:] == [(1, end + 10), (2, end), (1, end + 50), (2, end + 40)]
    assert said == ["The clock of film jumps from 100.0 s to 5.0 s: what follows is placed after the last frame."]


def test_a_track_that_jumps_later_follows_the_one_that_jumped_first():
    times, said = placed(picture(9000), sound(9000), picture(0), sound(9040), picture(40), sound(0), sound(40))
    assert times[2:] == [(1, 9040), (2, 9040), (1, 9080), (2, 9040), (2, 9080)]
    assert len(said) == 1


def test_a_second_jump_is_placed_after_the_second_part():
    times, said = placed(*map(picture, (50_000, 20_000, 20_040, 0, 40)))
    assert [time for _, time in times] == [50_000, 50_040, 50_080, 50_120, 50_160]
    assert len(said) == 2


@pytest.mark.parametrize("leaps,wanted", [(True, [0, 40, 80]), (False, [0, 95_443_718, 95_443_758])])
def test_a_leap_ahead_is_a_jump_only_where_a_clock_may_wrap(leaps, wanted):
    times, _ = placed(picture(0), picture(95_443_718), picture(95_443_758), leaps=leaps)
    assert [time for _, time in times] == wanted


def test_jitter_is_left_to_the_core():
    times, said = placed(picture(1000), picture(960), picture(1080))
    assert ([time for _, time in times], said) == ([1000, 960, 1080], [])


def test_pictures_shown_before_others_are_no_jump_without_decoding_times():
    order = (0, 4000, 2000, 1000, 3000, 8000, 6000)
    frames = [replace(picture(time, "none", key=time == 0), duration_ns=S) for time in order]
    times, said = placed(*frames)
    assert ([time for _, time in times], said) == (list(order), [])


def test_a_key_frame_back_in_time_is_one_without_decoding_times_too():
    frames = [picture(time, "none", key=time in (5000, 0)) for time in (5000, 5080, 5040, 0, 80, 40)]
    times, _ = placed(*frames)
    assert [time for _, time in times] == [5000, 5080, 5040, 5120, 5200, 5160]


def test_a_hole_stays_and_is_reported_once_for_all_tracks():
    times, said = placed(picture(0), sound(0), picture(30_000), sound(30_000))
    assert times[2:] == [(1, 30_000), (2, 30_000)]
    assert said == [
        "film has a hole of 30.0 s after 0.0 s: nothing is recorded there, and the times of what follows are kept."
    ]


def test_what_an_edit_list_hides_moves_nothing():
    times, said = placed(picture(5000), picture(0, key=True, discard=True), picture(5040))
    assert ([time for _, time in times], said) == ([5000, 0, 5040], [])
