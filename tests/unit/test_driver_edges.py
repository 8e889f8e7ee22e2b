"""What happens again and again. Goal: an event when it begins, a sum when it is over, nothing twice."""

import dataclasses

from kvspic.actions import ErrorAck, FramesDropped, NoKeyFrame, StateChanged, StreamReady, TimesRepeated, TimesShifted
from kvspic.driver.edges import KEY_FRAME_WAIT_HNS, KeyFrameWatch, RefusalWatch, RepeatWatch, Runs, ShownStates
from kvspic.types import DropReason, StreamMetrics, StreamState

S = 10_000_000


def shift(ns, track=1):
    return TimesShifted("door", track, ns)


def test_the_first_shift_is_told_and_the_others_of_its_run_in_sum():
    runs = Runs()
    assert runs.tells(shift(100), 0)
    assert not runs.tells(shift(50), 5 * S)
    assert not runs.tells(shift(7), 14 * S)
    assert list(runs.over(23 * S)) == []
    assert list(runs.over(24 * S)) == [TimesShifted("door", 1, 57, count=2)]
    assert runs.tells(shift(1), 24 * S)


def test_a_run_of_one_is_told_once():
    runs = Runs()
    assert runs.tells(shift(100), 0)
    assert list(runs.over(20 * S)) == []
    assert list(runs.over(None)) == []


def test_each_track_has_its_own_run_and_the_end_tells_them_all():
    runs = Runs()
    assert runs.tells(shift(1, track=1), 0)
    assert runs.tells(shift(1, track=2), 0)
    assert not runs.tells(shift(2, track=2), 1)
    assert list(runs.over(None)) == [TimesShifted("door", 2, 2, count=1)]


def test_other_events_are_told():
    assert Runs().tells(StreamReady("door"), 0)


def refusal(error_id, timecode=0):
    return ErrorAck("door", 1, error_id, -515, timecode, 0, "", f"E{error_id}")


def test_the_first_refusal_is_one_event_and_the_others_of_its_id_another():
    runs = Runs()
    assert runs.tells(refusal(5000), 0)
    assert not runs.tells(refusal(5000, 7), S)
    assert runs.tells(refusal(4501), S)
    assert not runs.tells(refusal(5000, 9), 2 * S)
    assert list(runs.over(11 * S)) == []
    assert list(runs.over(12 * S)) == [dataclasses.replace(refusal(5000, 9), count=2)]


def test_refusals_are_counted_until_a_fragment_is_done():
    watch = RefusalWatch()
    assert watch.words() == ""
    watch.refused(4501)
    assert watch.words() == "KMS_KEY_DISABLED (4501): the stream's KMS key is disabled; enable the key in KMS"
    watch.refused(4501)
    assert watch.words().startswith("KMS_KEY_DISABLED (4501, 2 times): ")
    watch.refused(5002)
    assert watch.words().startswith("UNKNOWN (5002): ")
    watch.done()
    assert watch.words() == ""


def test_repeated_times_are_told_at_once_then_every_ten_seconds_and_at_the_end():
    watch = RepeatWatch("door")
    assert watch.look(0, 0) is None
    assert watch.look(3, 0) == TimesRepeated("door", 3)
    assert watch.look(9, 9 * S) is None
    assert watch.look(10, 10 * S) == TimesRepeated("door", 7)
    assert watch.look(12, None) == TimesRepeated("door", 2)
    assert watch.look(12, None) is None


def metrics(skipped, fragments_put=0):
    names = [field.name for field in dataclasses.fields(StreamMetrics)]
    dropped = dict.fromkeys(DropReason, 0) | {DropReason.SKIPPED: skipped}
    blank = dict.fromkeys(names, 0) | {"state": StreamState.STREAMING, "dropped": dropped}
    return StreamMetrics(**(blank | {"fragments_put": fragments_put}))


def skipped(frames, reason=DropReason.SKIPPED):
    return FramesDropped("door", reason, 0, frames, frames * 10)


def test_a_key_frame_that_does_not_come_is_told_with_what_it_cost_and_a_remedy():
    watch = KeyFrameWatch("door")
    assert watch.begins(skipped(1), metrics(1), 0)
    assert watch.reason(metrics(100)) == ""
    event = watch.look(metrics(300), KEY_FRAME_WAIT_HNS)
    assert event == NoKeyFrame("door", 10_000_000_000, 300)
    assert "350 frames were skipped: ask the encoder" in watch.reason(metrics(350))
    assert watch.reason(metrics(360, fragments_put=1)) == ""


def test_a_key_frame_in_time_is_no_event():
    watch = KeyFrameWatch("door")
    assert watch.begins(skipped(1), metrics(1), 0)
    assert watch.look(metrics(200, fragments_put=1), KEY_FRAME_WAIT_HNS) is None
    assert watch.reason(metrics(200, fragments_put=1)) == ""


def test_one_wait_is_watched_once_and_the_next_anew():
    watch = KeyFrameWatch("door")
    assert watch.begins(skipped(1), metrics(1), 0)
    assert not watch.begins(skipped(20), metrics(21), S)
    assert watch.begins(skipped(1), metrics(22, fragments_put=3), 60 * S)
    assert watch.look(metrics(25, fragments_put=3), 61 * S) is None  # asked for the wait before
    assert watch.look(metrics(30, fragments_put=3), 70 * S).frames == 9


def test_frames_that_are_dropped_for_other_reasons_are_no_wait():
    watch = KeyFrameWatch("door")
    assert not watch.begins(skipped(5, DropReason.STORE_FULL), metrics(0), 0)
    assert not watch.begins(StreamReady("door"), metrics(0), 0)


def moved(old, new):
    return StateChanged("door", old, new)


def test_streaming_is_shown_once_the_service_has_accepted():
    shown, real = ShownStates(), StreamState.STREAMING
    put = moved(StreamState.READY, StreamState.PUT_STREAM)
    streaming = moved(StreamState.PUT_STREAM, StreamState.STREAMING)
    assert shown.of(put, False, False) == [put]
    assert shown.of(streaming, False, False) == []
    assert shown.state(real) == StreamState.PUT_STREAM
    assert shown.accepted() == [streaming]
    assert shown.state(real) == real
    assert shown.accepted() == []


def test_a_refusal_before_that_leaves_no_streaming_behind():
    shown = ShownStates()
    shown.of(moved(StreamState.PUT_STREAM, StreamState.STREAMING), False, False)
    events = shown.of(moved(StreamState.STREAMING, StreamState.DESCRIBE), False, False)
    assert events == [moved(StreamState.PUT_STREAM, StreamState.DESCRIBE)]
    assert shown.accepted() == []


def test_an_upload_that_is_accepted_already_is_shown_at_once():
    streaming = moved(StreamState.PUT_STREAM, StreamState.STREAMING)
    assert ShownStates().of(streaming, True, False) == [streaming]


def test_ready_is_told_at_once_the_first_time_and_later_with_the_upload_that_follows():
    shown, ready = ShownStates(), StreamReady("door")
    assert shown.of(ready, False, True) == [ready]
    assert shown.of(ready, False, True) == []
    assert shown.accepted() == [ready]
    assert shown.of(ready, False, False) == [ready]  # nothing waits, so no upload follows
