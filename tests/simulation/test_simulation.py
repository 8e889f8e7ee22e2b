"""The simulation of producer and service. Goal: under each seed every promise holds, and a broken one is noticed.

The named runs are faults that seeds have found, made small. A failing seed prints a small transcript by
``kvspic simulate --seeds SEED``.
"""

import pytest
from simulation.runs import plan

from kvspic.local.faults import PUT_MEDIA, Fault, FaultKind
from kvspic.testing import sim_shrink, simulation
from kvspic.testing.sim_checks import Accounts, Violation
from kvspic.testing.sim_plan import Burst, Deed, DeedKind, make_plan
from kvspic.types import BackwardPolicy
from kvspic.units import HNS_PER_MS, HNS_PER_S

SEEDS = 160
GROUP = 10
STORE = 4 * 65536
TWO_TRACKS = {"audio_hns": 150 * HNS_PER_MS, "gop": 5}


@pytest.mark.parametrize("first", range(0, SEEDS, GROUP))
def test_an_hour_under_each_seed_keeps_every_promise(first):
    for seed in range(first, first + GROUP):
        try:
            simulation.run_seed(seed, 1.0)
        except Violation as violation:
            pytest.fail(f"seed {seed}: {violation}\n" + "\n".join(violation.lines[-40:]))


def test_the_same_seed_gives_the_same_run():
    assert simulation.run_seed(3, 0.5) == simulation.run_seed(3, 0.5)
    assert make_plan(3) != make_plan(4)


def test_a_good_line_delivers_every_frame_in_one_session():
    figures = simulation.run_plan(plan())
    assert figures.frames == 151
    assert figures.sessions == 1


# ---- faults that were found


def test_a_silent_track_costs_no_fragment():
    """The service refuses the first fragment without audio; it is sent again in a session without that track."""
    bursts = (Burst(2 * HNS_PER_S, 32 * HNS_PER_S, False), Burst(33 * HNS_PER_S, 63 * HNS_PER_S, True))
    simulation.run_plan(plan(bursts=bursts, **TWO_TRACKS))


def test_a_track_comes_and_goes_with_key_frames_only():
    """Formats with and without the track alternate; a fragment's blocks fit its session's header."""
    bursts = tuple(Burst(at * HNS_PER_S, (at + 8) * HNS_PER_S, at % 20 == 0) for at in range(10, 200, 10))
    simulation.run_plan(plan(bursts=bursts, audio_hns=539 * HNS_PER_MS, gop=1))


def test_audio_in_the_millisecond_of_a_leading_picture_follows_the_key_frame():
    changes = {"video_hns": 560_653, "audio_hns": 1_520_282, "gop": 50, "leading": True, "offline": True}
    simulation.run_plan(plan(bursts=(Burst(HNS_PER_S, 90 * HNS_PER_S, False),), **changes))


def test_audio_later_than_the_order_window_is_dropped_alone():
    """Else each fragment is refused for a block before its predecessor's last, and the video is lost with it."""
    simulation.run_plan(plan(late_hns=625 * HNS_PER_MS, **TWO_TRACKS))


def test_a_half_open_connection_of_an_offline_stream_is_left():
    fault = Fault(FaultKind.SILENCE, PUT_MEDIA, end_hns=20 * HNS_PER_S, after_bytes=15_000)
    bursts = (Burst(10 * HNS_PER_S, 300 * HNS_PER_S, False),)
    simulation.run_plan(plan(fault, offline=True, bytes_per_s=100_000, bursts=bursts))


def test_silence_after_an_ack_is_noticed_without_new_frames():
    """All is sent, BUFFERING came, PERSISTED never does, and the camera pauses."""
    fault = Fault(FaultKind.SILENCE, PUT_MEDIA, end_hns=20 * HNS_PER_S, after_bytes=600)
    short = (Burst(2 * HNS_PER_S, 5 * HNS_PER_S, False),)
    simulation.run_plan(plan(fault, bursts=short, gop=3))


def test_an_offline_stream_that_waits_for_room_keeps_its_gop():
    """No idle deadline ends the fragment while a put waits, also not in the moment when there is room again."""
    fault = Fault(FaultKind.UNREACHABLE, PUT_MEDIA, end_hns=90 * HNS_PER_S)
    simulation.run_plan(plan(fault, offline=True, store_size=STORE, size_high=20_000))


def test_a_credential_source_that_fails_at_first_does_not_end_the_stream():
    fault = Fault(FaultKind.REFUSE, "GetToken", end_hns=30 * HNS_PER_S)
    simulation.run_plan(plan(fault))


def test_audio_after_a_pause_does_not_stretch_the_fragment_before_it():
    """An open GOP's key frame is shown later than the audio that came with it; the pause is longer than a fragment."""
    bursts = (Burst(2 * HNS_PER_S, 30 * HNS_PER_S, False), Burst(50 * HNS_PER_S, 90 * HNS_PER_S, False))
    changes = {"video_hns": 1288 * HNS_PER_MS, "audio_hns": 200 * HNS_PER_MS, "gop": 3, "leading": True}
    simulation.run_plan(plan(bursts=bursts, **changes))


def test_a_dropped_open_fragment_that_is_cut_by_time_takes_no_more_frames():
    """The service refuses the fragment while it is open; the next key frame opens another before its time is up."""
    fault = Fault(FaultKind.ERROR_ACK, PUT_MEDIA, error_id=4004, fragment=1)
    simulation.run_plan(plan(fault, video_hns=0, audio_hns=280 * HNS_PER_MS, gop=1, fragment_s=2))


def test_a_silent_session_is_left_after_a_rotation_too():
    """The token is renewed while the old session holds all that is buffered, so no new session stands beside it."""
    fault = Fault(FaultKind.SILENCE, PUT_MEDIA, end_hns=20 * HNS_PER_S, after_bytes=600)
    bursts = (Burst(2 * HNS_PER_S, 5 * HNS_PER_S, False),)
    run = plan(fault, bursts=bursts, gop=50, fragment_s=6, token_life_hns=100 * HNS_PER_S)
    simulation.run_plan(run)


def test_reconnects_without_acks_wait_longer_each_time():
    """A connection that takes bytes and is cut is no progress, as long as nothing is acknowledged."""
    fault = Fault(FaultKind.CUT, PUT_MEDIA, end_hns=90 * HNS_PER_S, after_bytes=1)
    simulation.run_plan(plan(fault, want_acks=False))


def test_sound_alone_that_steps_back_after_an_end_of_fragment_is_kept():
    """The first sound of the new fragment lies before the last of the old one, but not before it began (seed 129)."""
    back = Burst(9_138_000_000, 9_168_000_000, jump_hns=-24_840_000)
    bursts = (Burst(9_031_370_000, 9_130_120_000), back)
    simulation.run_plan(plan(bursts=bursts, video_hns=0, audio_hns=7_990_914, gop=1, offline=True))


def test_a_long_group_that_is_split_can_be_decoded_from_its_second_fragment_on():
    """Its key frame brought a set that the header lacks; a new session begins behind it (seed 151)."""
    cut = Fault(FaultKind.CUT, PUT_MEDIA, end_hns=90 * HNS_PER_S, after_bytes=2500)
    bursts = (Burst(2 * HNS_PER_S, 120 * HNS_PER_S),)
    for seed in range(6):
        simulation.run_plan(plan(cut, seed=seed, bursts=bursts, video_hns=6_410_585, gop=36, is_coded=True))


@pytest.mark.parametrize("policy", [BackwardPolicy.ERROR, BackwardPolicy.DROP])
def test_frames_of_a_refused_key_frame_do_not_join_the_fragment_before(policy):
    """The source's clock went back a little between two bursts: the key frame is refused, its GOP can not be shown."""
    bursts = (Burst(2 * HNS_PER_S, 30 * HNS_PER_S, False), Burst(32 * HNS_PER_S, 60 * HNS_PER_S, False, -3 * HNS_PER_S))
    simulation.run_plan(plan(bursts=bursts, video_hns=700 * HNS_PER_MS, gop=17, backward_policy=policy))


def test_audio_does_not_stretch_a_fragment_whose_video_is_refused():
    """The video's clock went back and its frames are refused for long; the audio goes on (seeds 101083, 101904)."""
    back = Burst(15 * HNS_PER_S, 65 * HNS_PER_S, False, jump_hns=-40 * HNS_PER_S)
    bursts = (Burst(2 * HNS_PER_S, 12 * HNS_PER_S, False), back)
    changes = {"video_hns": 458 * HNS_PER_MS, "gop": 26, "backward_policy": BackwardPolicy.ERROR, "fragment_s": 6}
    simulation.run_plan(plan(bursts=bursts, audio_hns=399 * HNS_PER_MS, **changes))


def test_a_frame_released_by_the_order_deadline_is_announced():
    """The reader waits, and no further put tells it of the last audio of a burst (seed 1304)."""
    restart = Fault(FaultKind.RESTART, begin_hns=1_991_980_000, end_hns=2_001_980_000, delay_hns=10_000)
    silence = Fault(FaultKind.SILENCE, PUT_MEDIA, begin_hns=1_991_980_000, end_hns=2_211_980_000, after_bytes=300)
    bursts = (Burst(1_885_729_551, 1_999_909_326),)
    changes = {"video_hns": 1_410_807, "audio_hns": 1_900_741, "gop": 3, "fragment_s": 5}
    simulation.run_plan(plan(restart, silence, seed=1304, duration_hns=4_915_200_000, bursts=bursts, **changes))


def test_a_key_frame_dropped_behind_a_held_one_takes_its_own_group_along():
    """The large key frame finds no room while the one before it is still held for the audio (seed 2128)."""
    changes = {"video_hns": 470_836, "audio_hns": 730_574, "gop": 5, "late_hns": 239 * HNS_PER_MS, "size_low": 27}
    simulation.run_plan(plan(seed=2128, bursts=(Burst(2_210_000, 689_363_674),), store_size=STORE, huge=154, **changes))


def test_a_clock_that_goes_back_while_a_fragment_is_open_begins_a_session_with_a_key_frame():
    """Audio alone, cut by time: the source pauses with its fragment open and comes back 31 s earlier (seed 110333)."""
    bursts = (Burst(10 * HNS_PER_S, 13 * HNS_PER_S, jump_hns=132 * HNS_PER_S), Burst(114 * HNS_PER_S, 117 * HNS_PER_S))
    changes = {"video_hns": 0, "audio_hns": 985 * HNS_PER_MS, "backward_policy": BackwardPolicy.SESSION}
    simulation.run_plan(plan(bursts=bursts, fragment_s=4, **changes))


def test_a_long_group_of_pictures_is_split_where_the_sound_lets_it():
    """Sound from before the picture that splits begins the new fragment, whose span counts from there (seed 500)."""
    changes = {"video_hns": 1281 * HNS_PER_MS, "audio_hns": 269 * HNS_PER_MS, "gop": 50, "relative": True}
    simulation.run_plan(plan(bursts=(Burst(2 * HNS_PER_S, 150 * HNS_PER_S),), **changes))


@pytest.mark.parametrize("changes", [{"gop": 84, "leading": True}, {"repeats": 20}], ids=["long", "repeated times"])
def test_fragments_that_are_cut_by_time_are_split_too(changes):
    """No key frame comes in time, or one after a pause that the fragment does not survive (seeds 200126, 200388)."""
    bursts = (Burst(2 * HNS_PER_S, 42 * HNS_PER_S), Burst(61 * HNS_PER_S, 80 * HNS_PER_S, is_headless=True))
    simulation.run_plan(plan(bursts=bursts, fragment_s=5, audio_hns=540 * HNS_PER_MS, **changes))


def test_a_long_group_is_split_although_the_sound_went_back():
    """The sound's step back asks for a new session, which the next key frame would begin (seed 400954)."""
    bursts = (Burst(1_325_290_000, 1_355_290_000), Burst(1_521_470_000, 1_551_470_000))
    changes = {"audio_hns": 4_180_287, "gop": 90, "leading": True, "offline": True, "relative": True}
    simulation.run_plan(plan(seed=400954, bursts=bursts, backward_policy=BackwardPolicy.SESSION, **changes))


def test_sound_without_pictures_does_not_stretch_a_fragment_when_it_ends():
    """What waited for a key frame in vain leaves at the end of the fragment: too far from its begin (seed 500653)."""
    bursts = (Burst(583 * HNS_PER_S, 586 * HNS_PER_S), Burst(595 * HNS_PER_S, 615 * HNS_PER_S, is_dark=True))
    changes = {"video_hns": 11_700_611, "audio_hns": 2_900_069, "leading": True, "relative": True}
    simulation.run_plan(plan(bursts=bursts, backward_policy=BackwardPolicy.SESSION, **changes))


def test_sound_that_comes_when_the_fragment_is_full_does_not_stretch_it_backwards():
    """The pictures of a long group came first, as fast as they could be read; the sound was silent (seed 200523)."""
    bursts = (Burst(2 * HNS_PER_S, 32 * HNS_PER_S, is_silent=True), Burst(36 * HNS_PER_S, 66 * HNS_PER_S))
    changes = {"audio_hns": 1_050_613, "gop": 208, "leading": True, "offline": True}
    simulation.run_plan(plan(seed=200523, bursts=bursts, **changes))


def test_sound_that_waited_in_vain_leaves_room_behind():
    """It fills the store before a first key frame comes; once it is dropped, waiting puts get room (seed 810578)."""
    bursts = (Burst(780_000, 473_385_066, is_dark=True),)
    simulation.run_plan(plan(seed=810578, bursts=bursts, audio_hns=295_378, offline=True, store_size=131_072))


def test_sessions_that_are_refused_in_alternation_wait_their_turn():
    """Each fragment needs a session of its own, and the new stream takes none for eight seconds (seed 400671)."""
    changes = {"video_hns": 1_530_728, "gop": 1, "offline": True, "exists_hours": None, "repeats": 8}
    run = plan(
        seed=400671,
        latency_hns=30_000,
        creating_hns=8 * HNS_PER_S,
        bursts=(Burst(60_000, 30_060_000),),
        backward_policy=BackwardPolicy.ERROR,
        **changes,
    )
    simulation.run_plan(run)


def test_a_peer_that_takes_no_byte_is_left_also_when_it_has_answered_before():
    """The socket's buffer is full and no upload waits for ACKs (seed 113934)."""
    silence = Fault(FaultKind.SILENCE, PUT_MEDIA, end_hns=20 * HNS_PER_S, after_bytes=4422)
    simulation.run_plan(plan(silence, want_acks=False, size_high=20_000, gop=1))


def test_late_sound_does_not_enter_a_fragment_because_the_one_before_was_dropped():
    """The dropped one began a session and was sent; what follows it is in the same session (seed 121291)."""
    bursts = (
        Burst(2_273_610_000, 2_303_610_000),
        Burst(2_421_600_000, 2_591_600_000, is_silent=True),
        Burst(2_644_100_000, 2_815_221_053),
    )
    changes = {"video_hns": 9_500_687, "audio_hns": 3_770_273, "gop": 6, "late_hns": 5_860_000, "leading": True}
    simulation.run_plan(
        plan(
            seed=121291,
            latency_hns=740_000,
            bytes_per_s=56_708,
            persist_hns=8_570_000,
            bursts=bursts,
            buffer_s=5,
            backward_policy=BackwardPolicy.ERROR,
            **changes,
        )
    )


def test_an_upload_ends_when_what_it_waits_for_was_dropped():
    """It has read its end, its connection is half-open, and its only fragment is too old meanwhile (seed 121134)."""
    silence = Fault(FaultKind.SILENCE, PUT_MEDIA, begin_hns=192_010_000, skip=2, count=1, after_bytes=300)
    restart = Fault(FaultKind.RESTART, begin_hns=192_010_000, end_hns=202_010_000, delay_hns=10_000)
    bursts = (Burst(168_530_000, 198_530_000), Burst(317_040_000, 517_040_000, is_silent=True))
    changes = {"video_hns": 6_860_999, "audio_hns": 1_210_104, "gop": 17, "size_low": 9, "size_high": 200}
    simulation.run_plan(
        plan(silence, restart, bursts=bursts, buffer_s=5, retention_hours=0, exists_hours=None, **changes)
    )


# ---- deeds of the user


@pytest.mark.parametrize("kind", list(DeedKind))
@pytest.mark.parametrize("at_s", [1, 3, 20, 61])
def test_the_user_may_do_anything_at_any_moment(kind, at_s):
    simulation.run_plan(plan(deeds=[Deed(at_s * HNS_PER_S, 0, kind)]))


# ---- the checks themselves


def broken(monkeypatch, name, change):
    """The rule that a run breaks when the judge's ``name`` gets other things than happened."""
    original = getattr(Accounts, name)
    monkeypatch.setattr(Accounts, name, lambda self, *args: original(self, *change(*args)) if change(*args) else None)
    with pytest.raises(Violation) as caught:
        simulation.run_plan(plan())
    assert caught.value.lines
    return caught.value.rule


def test_a_frame_freed_without_its_ack_is_noticed(monkeypatch):
    assert broken(monkeypatch, "acked", lambda log, ack: None) == "freed before its persisted ACK"


def test_a_drop_without_a_notice_is_noticed(monkeypatch):
    monkeypatch.setattr(simulation.SimStream, "_dropped", lambda self, action: None)
    run = plan(buffer_s=5, deeds=[Deed(20 * HNS_PER_S, 0, DeedKind.RESET)])
    with pytest.raises(Violation, match="drops without a notice"):
        simulation.run_plan(run)


def test_a_stream_that_stops_moving_is_noticed(monkeypatch):
    monkeypatch.setattr(simulation.SimStream, "_put_media", lambda self, action: None)
    with pytest.raises(Violation, match="make a stream go on"):
        simulation.run_plan(plan())


def test_a_failing_plan_is_made_small(monkeypatch):
    monkeypatch.setattr(simulation.SimStream, "_put_media", lambda self, action: None)
    noise = [Fault(FaultKind.REFUSE, "TagStream", begin_hns=at * HNS_PER_S) for at in range(5)]
    found = sim_shrink.shrink(plan(*noise), "nothing would make a stream go on")
    assert found is not None
    assert found.plan.faults == ()
    assert found.violation.lines
