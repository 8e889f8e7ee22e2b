"""What the page shows of a stream. Goal: state and rates say what a person would say who looks at the camera."""

from kvspic.local.acks import Ack, AckError
from kvspic.local.records import FragmentRecord, KeepFragment
from kvspic.local.watch import Watch
from kvspic.units import HNS_PER_MS, HNS_PER_S

NOW = 1_700_000_000 * HNS_PER_S


def kept(number, at_hns, *, seconds=2, size=50_000, frames=50):
    produced = at_hns - seconds * HNS_PER_S
    record = FragmentRecord(1, str(number), 0, produced, at_hns, seconds * HNS_PER_S, 0, size)
    return KeepFragment(record, frames)


def ms(hns):
    return hns // HNS_PER_MS


def upload(session, count, begin_hns=NOW, ack_ms=3):
    """``count`` fragments of 2 s that come when they are over; returns the time of the last one."""
    for number in range(1, count + 1):
        at = begin_hns + 2 * number * HNS_PER_S
        for event in ("BUFFERING", "RECEIVED"):
            session.ack(Ack(event, 0, str(number)), at)
        session.fragment(kept(number, at), at)
        session.ack(Ack("PERSISTED", 0, str(number)), at + ack_ms * HNS_PER_MS)
    return begin_hns + 2 * count * HNS_PER_S


def test_a_stream_is_empty_starting_live_quiet_and_stopped():
    watch = Watch()
    stream = watch.stream(1)
    assert stream.state(ms(NOW)) == "empty"
    session = watch.open(1, "camera", NOW)
    assert stream.state(ms(NOW) + 1) == "starting"
    end = upload(session, 3)
    assert stream.state(ms(end) + 9_000) == "live"
    assert stream.state(ms(end) + 11_000) == "quiet"
    session.end(end)
    assert stream.state(ms(end)) == "stopped"


def test_a_session_without_a_fragment_is_quiet_after_ten_seconds():
    watch = Watch()
    watch.open(1, "camera", NOW)
    assert watch.stream(1).state(ms(NOW) + 10_000) == "quiet"


def test_rates_are_means_over_the_newest_ten_seconds():
    watch = Watch()
    end = upload(watch.open(1, "camera", NOW), 20)
    numbers = watch.stream(1).numbers(ms(end))
    assert (numbers["fps"], numbers["bits_per_s"], numbers["ack_ms"], numbers["delay_ms"]) == (25.0, 200_000, 3.0, 0)
    assert watch.stream(1).numbers(ms(end) + 60_000)["fps"] is None  # a camera that stopped has no rate


def test_a_camera_with_one_frame_a_fragment_has_a_rate_too():
    session = Watch().open(1, "camera", NOW)
    for number in range(6):
        at = NOW + number * HNS_PER_S
        session.fragment(kept(number, at, seconds=0, size=1000, frames=1), at)
    numbers = session.stream.numbers(ms(NOW) + 5000)
    assert (numbers["fps"], numbers["bits_per_s"]) == (1.2, 9600)  # the newest one's length is not known yet


def test_the_ledger_counts_each_acknowledgement():
    watch = Watch()
    session = watch.open(1, "<b>camera</b>", NOW)
    upload(session, 4)
    session.ack(Ack("ERROR", 7, "5", AckError.ARCHIVAL_ERROR), NOW)
    session.end(NOW + HNS_PER_S)
    row = session.row()
    assert (row["buffering"], row["received"], row["persisted"], row["errors"], row["frames"]) == (4, 4, 4, 1, 200)
    assert (row["client"], row["ended_ms"] - row["began_ms"]) == ("<b>camera</b>", 1000)


def test_an_error_is_shown_for_a_minute_and_counted_for_ever():
    watch = Watch()
    session = watch.open(1, "camera", NOW)
    session.ack(Ack("ERROR", None, None, AckError.INVALID_MKV_DATA), NOW)
    stream = watch.stream(1)
    assert stream.numbers(ms(NOW) + 59_000)["is_in_error"]
    later = stream.numbers(ms(NOW) + 60_000)
    assert (later["is_in_error"], later["errors"], later["error"]["id"]) == (False, 1, 4006)


def test_memory_is_bounded():
    watch = Watch()
    for number in range(200):
        session = watch.open(1, "camera", NOW)
        upload(session, 20, NOW + number)
        session.ack(Ack("ERROR", None, None, AckError.INTERNAL_ERROR), NOW)
        session.end(NOW)
    stream = watch.stream(1)
    assert (len(stream.points), len(stream.sessions), len(stream.errors)) == (600, 50, 50)
    assert (stream.session_count, stream.error_count, stream.open_count) == (200, 200, 0)


def test_fragments_that_are_never_persisted_are_not_kept_waiting():
    session = Watch().open(1, "camera", NOW)
    for number in range(1000):
        session.fragment(kept(number, NOW), NOW)
    assert len(session._pending) == 100


def test_a_deleted_stream_is_forgotten_and_its_open_session_ends_quietly():
    watch = Watch()
    session = watch.open(1, "camera", NOW)
    watch.forget(1)
    session.end(NOW)
    assert watch.stream(1).session_count == 0
