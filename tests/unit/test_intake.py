"""The way of a frame before the core. Goal: a wrong clock, a pause or a trigger loses no frame that is not counted."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kvspic import errors
from kvspic.actions import FrameTooLarge, Paused, Resumed, TimesAnchored, Triggered
from kvspic.intake import Intake, IntakeRules, IntakeWorld, PreRoll, SourceClocks, believable

S = 1_000_000_000
DAY = 86_400 * S
NOW = 1_790_000_000 * S  # in 2026
MB = 1024 * 1024
KEY = 1


class Core:
    """What gets to the core, on a clock that the test moves."""

    def __init__(self, **rules):
        self.now = NOW
        self.wall = NOW
        self.frames = []
        self.ends = 0
        self.events = []
        self.range = None
        self.refused = None
        world = IntakeWorld(
            put=self.put,
            end_fragment=self.end,
            tell=self.events.append,
            believe=lambda first, last: setattr(self, "range", (first, last)),
            wall_ns=lambda: self.wall,
            steady_ns=lambda: self.now,
            lock=contextlib.nullcontext(),
        )
        self.intake = Intake(IntakeRules("door", **{"key_tracks": frozenset([1]), **rules}), world)

    def put(self, data, pts, dts, duration, track, flags):
        if self.refused is not None:
            raise self.refused
        self.frames.append((bytes(data), pts, dts, track))

    def end(self):
        self.ends += 1

    def pass_time(self, seconds):
        self.now += int(seconds * S)
        self.wall += int(seconds * S)

    def offer(self, count=1, *, gop=5, first=0, size=1, step_s=1.0):
        """``count`` frames, one a second, a key frame every ``gop``; data is the number."""
        for number in range(first, first + count):
            data = number.to_bytes(2, "big") + bytes(size)
            self.intake.put(data, self.now, self.now, 0, 1, KEY if number % gop == 0 else 0)
            self.pass_time(step_s)

    @property
    def numbers(self):
        return [int.from_bytes(data[:2], "big") for data, *_ in self.frames]


# ---- clocks


def test_a_machine_that_does_not_know_the_time_takes_what_is_given_until_it_does():
    core = Core(keeps_clock=True)
    core.wall = 60 * S
    for time_ns in (60 * S, NOW, 5 * S):
        core.intake.put_unbelievable(b"x", time_ns, time_ns, 0, 1, KEY)
    assert [pts for _, pts, _, _ in core.frames] == [60 * S, NOW, 5 * S]
    first, last = core.range
    assert first > last  # every frame comes this way, for as long as nothing is known
    core.wall = NOW
    core.intake.put_unbelievable(b"x", 6 * S, 6 * S, 0, 1, KEY)
    assert core.frames[-1][1] == NOW
    assert core.range == (NOW - 3653 * DAY, NOW + DAY)


def test_what_is_believed_begins_ten_years_ago_but_not_before_2000():
    assert believable(NOW) == (NOW - 3653 * DAY, NOW + DAY)
    assert believable(950_000_000 * S)[0] == 946_684_800 * S


def test_times_that_can_be_true_go_out_as_they_are():
    core = Core(keeps_clock=True)
    for time_ns in (NOW, NOW - 3 * DAY, NOW - 365 * DAY, NOW + 3600 * S):
        core.intake.put(b"x", time_ns, time_ns, 0, 1, KEY)
        assert core.frames[-1][1] == time_ns
    assert core.events == []
    assert not core.intake.is_needed


def test_a_decoding_time_that_is_not_known_stays_so_and_the_time_to_show_is_placed():
    core = Core(keeps_clock=True)
    core.intake.put(b"x", 0, None, 0, 1, KEY)
    core.intake.put(b"y", 120 * S // 1000, None, 0, 1, 0)
    core.intake.put(b"z", 40 * S // 1000, None, 0, 1, 0)
    offset = core.events[0].offset_ns
    shown = [pts - offset for _, pts, _, _ in core.frames]
    assert (shown, [dts for _, _, dts, _ in core.frames]) == ([0, S * 12 / 100, S / 25], [None] * 3)


@pytest.mark.parametrize("first", [0, 5 * S, 946_684_000 * S, 1_262_304_000 * S, NOW + 2 * DAY, NOW + 50 * 366 * DAY])
def test_a_first_frame_whose_time_cannot_be_true_is_now_and_the_others_keep_their_distance(first):
    core = Core(keeps_clock=True)
    for number in range(3):
        time_ns = first + number * S // 25
        core.intake.put(b"x", time_ns + 2000, time_ns, 0, 1, KEY)
        core.pass_time(0.04)
    offset = core.events[0].offset_ns
    assert core.events == [TimesAnchored("door", 1, offset)]
    assert abs(first + offset - NOW) < S // 1000
    assert [pts - offset - first for _, pts, _, _ in core.frames] == [2000, S // 25 + 2000, 2 * S // 25 + 2000]
    assert core.intake.is_needed
    assert core.intake.counts().time_offset_ns == offset


def test_a_source_that_begins_below_zero_is_now_too():
    core = Core(keeps_clock=True)
    core.intake.put(b"x", 0, -40_000_000, 0, 1, KEY)
    assert core.frames[0][1] - core.frames[0][2] == 40_000_000


def test_a_clock_that_becomes_right_is_believed_from_then_on():
    core = Core(keeps_clock=True)
    core.intake.put(b"x", 10 * S, 10 * S, 0, 1, KEY)
    core.pass_time(1)
    core.intake.put(b"x", core.now, core.now, 0, 1, 0)
    assert core.frames[1][1] == NOW + S
    assert core.events[-1] == TimesAnchored("door", 1, 0)
    assert not core.intake.is_needed


@pytest.mark.parametrize("step_s", [3600, -3600, 30 * 86_400])
def test_a_step_of_a_wrong_clock_is_put_right(step_s):
    core = Core(keeps_clock=True)
    begin = 100 * DAY
    for number in range(4):
        time_ns = begin + number * S + (step_s * S if number > 1 else 0)
        core.intake.put(b"x", time_ns, time_ns, 0, 1, KEY)
        core.pass_time(1)
    assert [pts - NOW for _, pts, _, _ in core.frames] == pytest.approx([0, S, 2 * S, 3 * S], abs=2_000_000)
    assert len(core.events) == 2


def test_a_burst_after_a_stall_keeps_its_own_distances():
    core = Core(keeps_clock=True)
    core.intake.put(b"x", 0, 0, 0, 1, KEY)
    core.pass_time(15)
    for number in range(1, 15):
        core.intake.put(b"x", number * S, number * S, 0, 1, 0)
    assert [pts - NOW for _, pts, _, _ in core.frames] == [number * S for number in range(15)]


def test_a_clock_that_stood_still_for_an_hour_is_put_right():
    core = Core(keeps_clock=True)
    core.intake.put(b"x", 0, 0, 0, 1, KEY)
    core.pass_time(3600)
    core.intake.put(b"x", S, S, 0, 1, KEY)
    assert core.frames[1][1] == NOW + 3600 * S


def test_tracks_of_one_clock_stay_together():
    core = Core(keeps_clock=True)
    core.intake.put(b"v", 1000 * S, 1000 * S, 0, 1, KEY)
    core.pass_time(0.5)
    core.intake.put(b"a", 1000 * S + 7, 1000 * S + 7, 0, 2, 0)
    assert core.frames[1][1] - core.frames[0][1] == 7


def test_a_step_of_our_own_clock_does_not_disturb():
    core = Core(keeps_clock=True)
    core.intake.put(b"x", 0, 0, 0, 1, KEY)
    core.pass_time(1)
    core.wall -= 3600 * S
    core.intake.put(b"x", S, S, 0, 1, 0)
    core.wall += 7200 * S
    core.intake.put(b"x", 2 * S, 2 * S, 0, 1, 0)
    assert [pts - NOW for _, pts, _, _ in core.frames] == [0, S, 2 * S]


def test_our_own_clock_that_was_set_makes_more_believable():
    core = Core(keeps_clock=True)
    late = NOW + 400 * DAY
    assert core.range[1] < late
    core.wall = late
    core.intake.put_unbelievable(b"x", late, late, 0, 1, KEY)
    assert core.frames[0][1] == late
    assert core.range[1] == late + DAY


def test_times_that_are_given_are_left_alone():
    core = Core(keeps_clock=False)
    core.intake.put(b"x", 5, 5, 0, 1, KEY)
    assert core.frames[0][1] == 5
    assert core.range is None


@given(st.lists(st.tuples(st.integers(1, 3), st.integers(0, 2**63), st.integers(0, 100 * DAY)), max_size=40))
def test_whatever_a_clock_says_its_frames_can_be_true_or_go_on_from_some_that_could(arrivals):
    clocks = SourceClocks()
    now = NOW
    for track, dts, passed in arrivals:
        now += passed
        shift, is_new = clocks.place(track, dts, now, now)
        first, last = believable(now)
        assert first - 10 * S <= dts + shift <= last + 10 * S or not is_new


# ---- pause, resume


def test_a_pause_without_a_ring_lets_frames_expire_and_counts_them():
    core = Core()
    core.offer(7)
    core.intake.pause()
    core.offer(6, first=7)
    core.intake.resume()
    core.offer(2, first=15)
    assert core.numbers == [*range(7), 15, 16]
    assert core.ends == 1
    assert core.intake.counts().frames_expired == 6
    assert core.events == [Paused("door"), Resumed("door", 0)]


def test_a_pause_with_a_ring_holds_the_newest_whole_groups():
    core = Core(pre_roll_ns=8 * S, pre_roll_size=MB)
    core.intake.resume()
    core.offer(5)
    core.intake.pause()
    core.offer(20, first=5)
    assert core.intake.counts().frames_held == 15 - 5
    core.intake.resume()
    assert core.numbers == [*range(5), *range(15, 25)]
    assert core.events[-1] == Resumed("door", 10)


def test_health_says_why_nothing_goes_out():
    core = Core(pre_roll_ns=S, pre_roll_size=MB)
    assert "waiting for a trigger" in core.intake.counts().note
    core.intake.pause()
    assert "paused" in core.intake.counts().note
    core.intake.resume()
    assert core.intake.counts().note == ""


def test_the_stream_is_told_when_frames_need_not_come_this_way_any_more():
    core = Core()
    seen = []
    core.intake.on_change = lambda: seen.append(core.intake.is_needed)
    core.intake.pause()
    core.intake.resume()
    assert seen == [True, False]


# ---- pre-roll, trigger


def test_nothing_is_uploaded_before_a_trigger_and_then_the_ring_first():
    core = Core(pre_roll_ns=10 * S, pre_roll_size=MB)
    core.offer(23)
    assert core.numbers == []
    core.intake.trigger(5 * S)
    assert core.numbers == [*range(10, 23)]
    assert core.events == [Triggered("door", 5 * S, 13)]
    core.offer(20, first=23)
    assert core.numbers == [*range(10, 30)]  # 5 s are over at 28; the group ends at 30
    assert core.ends == 1
    counts = core.intake.counts()
    assert len(core.frames) + counts.frames_held + counts.frames_expired == 43


def test_another_trigger_makes_it_longer():
    core = Core(pre_roll_ns=5 * S, pre_roll_size=MB)
    core.offer(5)
    core.intake.trigger(5 * S)
    core.offer(3, first=5)
    core.intake.trigger(10 * S)
    core.intake.trigger(1 * S)
    core.offer(20, first=8)
    assert core.numbers == [*range(20)]


def test_a_trigger_ends_even_if_no_key_frame_comes():
    core = Core(pre_roll_ns=5 * S, pre_roll_size=MB)
    core.offer(1, gop=1000)
    core.intake.trigger(2 * S)
    core.offer(60, first=1, gop=1000)
    assert core.numbers[-1] == 22
    assert core.intake.counts().frames_expired == 61 - 23


def test_sound_alone_may_begin_anywhere():
    core = Core(pre_roll_ns=3 * S, pre_roll_size=MB, key_tracks=frozenset())
    core.offer(10, gop=1000)
    core.intake.trigger(S)
    assert core.numbers == [6, 7, 8, 9]


def test_what_the_core_refuses_of_the_ring_has_expired():
    core = Core(pre_roll_ns=9 * S, pre_roll_size=MB)
    core.offer(4)
    core.refused = errors.MediaError(-301, "refused")
    core.intake.trigger(S)
    assert core.intake.counts().frames_expired == 4


def test_the_end_lets_go_of_the_ring_and_later_frames_meet_the_core():
    core = Core(pre_roll_ns=9 * S, pre_roll_size=MB)
    core.offer(4)
    core.intake.end()
    assert core.intake.counts().frames_expired == 4
    core.refused = errors.NullArgError(-100, "closed")
    with pytest.raises(errors.NullArgError):
        core.offer(1)


@given(
    st.lists(st.tuples(st.booleans(), st.integers(1, 400), st.integers(0, 5)), max_size=60),
    st.integers(1, 20),
    st.integers(1, 2000),
)
def test_the_ring_keeps_within_its_bounds_and_begins_with_a_key_frame(frames, seconds, size_max):
    ring, now = PreRoll(seconds * S, size_max, lambda frame: False), 0
    for number, (opens, size, passed) in enumerate(frames):
        now += passed * S
        frame = (bytes(size), number, number, 0, 1, KEY * opens)
        ring.add(intake_frame(frame), opens, now)
        assert ring.frames_held + ring.frames_expired == number + 1
    held = ring.take()
    assert sum(len(frame.data) for frame in held) <= size_max
    assert not held or held[0].flags & KEY
    assert [frame.pts for frame in held] == [*range(held[0].pts, len(frames))] if held else True


def intake_frame(fields):
    from kvspic.intake import Frame

    return Frame(*fields)


ACTS = st.one_of(
    st.tuples(st.just("offer"), st.integers(1, 12)),
    st.tuples(st.just("trigger"), st.integers(1, 12)),
    st.tuples(st.sampled_from(["pause", "resume"]), st.just(0)),
    st.tuples(st.just("wait"), st.integers(0, 60)),
)


@given(st.lists(ACTS, max_size=40), st.integers(0, 8), st.integers(1, 60))
def test_whatever_is_done_each_frame_is_somewhere_and_in_order(acts, pre_roll_s, size_max):
    core = Core(pre_roll_ns=pre_roll_s * S, pre_roll_size=size_max)
    offered = 0
    for act, amount in acts:
        if act == "offer":
            core.offer(amount, first=offered, step_s=0.7)
            offered += amount
        elif act == "trigger":
            core.intake.trigger(amount * S)
        elif act == "wait":
            core.pass_time(amount)
        else:
            getattr(core.intake, act)()
        counts = core.intake.counts()
        assert len(core.frames) + counts.frames_held + counts.frames_expired == offered
        assert core.numbers == sorted(set(core.numbers))
    core.intake.end()
    assert len(core.frames) + core.intake.counts().frames_expired == offered


def test_the_ring_keeps_what_it_was_given_even_if_the_buffer_is_used_again():
    core = Core(pre_roll_ns=9 * S, pre_roll_size=MB)
    buffer = bytearray(b"\0\7")
    core.intake.put(memoryview(buffer), NOW, NOW, 0, 1, KEY)
    buffer[:] = b"\0\0"
    core.intake.trigger(S)
    assert core.numbers == [7]


# ---- frames that do not fit


def test_frames_that_do_not_fit_are_counted_and_told_now_and_then():
    core = Core()
    for _ in range(25):
        core.intake.refuse_size(1, 900, 500)
        core.pass_time(1)
    assert core.events == [
        FrameTooLarge("door", 1, 900, 500, 1),
        FrameTooLarge("door", 1, 900, 500, 10),
        FrameTooLarge("door", 1, 900, 500, 10),
    ]
