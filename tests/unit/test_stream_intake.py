"""Sources that misbehave, through the facade to the local endpoint. Goal: the data stays, and changes are reported."""

import asyncio
import contextlib
import dataclasses
import os
import threading
import time
from datetime import timedelta

import boto3
import pytest

import kvspic
from kvspic import errors
from kvspic.local.server import LocalEndpoint

S = 1_000_000_000
TRACKS = [kvspic.Track("V_TEST", "video/x-test")]
TWO_TRACKS = [*TRACKS, kvspic.AacTrack(sample_rate=16000, channels=1)]


@pytest.fixture(scope="module")
def url(tmp_path_factory):
    with LocalEndpoint.run_in_thread(data_dir=tmp_path_factory.mktemp("data")) as endpoint:
        yield endpoint.url


@pytest.fixture
def producer(url):
    with kvspic.Producer(endpoint_url=url, store_size=8 << 20) as made:
        yield made


class Events(list):
    """The events of a stream, and a wait for one of a kind."""

    def __init__(self):
        super().__init__()
        self._came = threading.Condition()

    def append(self, event):
        with self._came:
            super().append(event)
            self._came.notify_all()

    def of(self, kind):
        return [event for event in self if isinstance(event, kind)]

    def wait(self, kind):
        with self._came:
            assert self._came.wait_for(lambda: self.of(kind), 10), f"no {kind.__name__}"
            return self.of(kind)[0]


@contextlib.contextmanager
def opened(producer, name, tracks=TRACKS, **options):
    events = Events()
    with producer.open_stream(name, tracks, on_event=events.append, **options) as stream:
        yield stream, events


def put(stream, count, *, base=None, first=0, gop=5):
    base = time.time_ns() if base is None else base
    for number in range(first, first + count):
        data = number.to_bytes(4, "big") + bytes(100)
        stream.put_frame(data, pts=base + number * S // 5, key_frame=number % gop == 0)


def fragments(url, name):
    """What the endpoint has: producer times in seconds, sorted."""
    keys = {"aws_access_key_id": "a", "aws_secret_access_key": "b", "region_name": "us-east-1"}
    control = boto3.client("kinesisvideo", endpoint_url=url, **keys)
    data_url = control.get_data_endpoint(StreamName=name, APIName="LIST_FRAGMENTS")["DataEndpoint"]
    archived = boto3.client("kinesis-video-archived-media", endpoint_url=data_url, **keys)
    span = {"StartTimestamp": 0, "EndTimestamp": 8_000_000_000}
    selector = {"FragmentSelectorType": "PRODUCER_TIMESTAMP", "TimestampRange": span}
    pages = archived.get_paginator("list_fragments").paginate(StreamName=name, FragmentSelector=selector)
    found = [fragment for page in pages for fragment in page["Fragments"]]
    return sorted(fragment["ProducerTimestamp"].timestamp() for fragment in found)


# ---- clocks


@pytest.mark.parametrize("base", [0, 5 * S, 4_000_000_000 * S])
def test_a_camera_without_a_clock_is_placed_now(producer, url, base):
    name = f"clock-{base // S}"
    began = time.time()
    with opened(producer, name) as (stream, events):
        put(stream, 15, base=base)
        anchored = events.wait(kvspic.TimesAnchored)
        assert stream.health().time_offset_ns == stream.report.time_offset_ns == anchored.offset_ns
    assert (stream.report.frames_put, stream.report.frames_done) == (15, 15)
    times = fragments(url, name)
    assert began - 0.01 <= times[0] <= time.time()
    assert [round(one - times[0], 3) for one in times] == [0, 1, 2]


def test_a_camera_whose_clock_is_set_while_it_runs_goes_on_with_the_right_time(producer, url):
    with opened(producer, "set", fragment_duration_min=timedelta(0)) as (stream, events):
        put(stream, 10, base=0)
        now = time.time_ns()
        put(stream, 10, base=now, first=10)
        events.wait(kvspic.TimesAnchored)
    assert stream.report.frames_done == 20
    assert stream.report.time_offset_ns == 0
    assert fragments(url, "set")[2:] == pytest.approx([now / S + 2, now / S + 3], abs=0.002)


def test_one_glimpse_of_the_future_does_not_spoil_what_follows(producer, url):
    now = time.time_ns()
    with opened(producer, "glimpse") as (stream, _):
        put(stream, 5, base=now)
        put(stream, 1, base=now + 40 * 366 * 86_400 * S, first=5)
        put(stream, 9, base=now, first=6)
    assert stream.report.frames_done == 15
    assert max(fragments(url, "glimpse")) < time.time() + 5


def test_times_are_given_as_they_are_where_that_is_asked_for_and_offline(producer, url):
    for name, options in (("given", {"clock": kvspic.ClockPolicy.GIVEN}), ("offline", {"offline": True})):
        with opened(producer, name, fragment_duration_min=timedelta(0), **options) as (stream, events):
            put(stream, 10, base=100_000 * S)
        assert stream.report.frames_done == 10
        assert events.of(kvspic.TimesAnchored) == []
        assert fragments(url, name) == [100_000, 100_001]


def test_frames_that_are_stamped_when_they_arrive_need_no_times(producer, url):
    began = time.time()
    with opened(producer, "arrival", clock=kvspic.ClockPolicy.ARRIVAL) as (stream, _):
        stream.put_frame(b"first", pts=0, key_frame=True)
        stream.put_frame(b"second", pts=0)
    assert stream.report.frames_done == 2
    assert began - 0.01 <= fragments(url, "arrival")[0] <= time.time()


def test_sound_and_picture_of_a_wrong_clock_stay_together(producer):
    with opened(producer, "both", TWO_TRACKS) as (stream, events):
        for number in range(30):
            stream.put_frame(b"v", pts=number * S // 10, key_frame=number % 10 == 0)
            stream.put_frame(b"a", pts=number * S // 10, track=2)
    offsets = {event.offset_ns for event in events.of(kvspic.TimesAnchored)}
    assert len(offsets) == 1
    assert stream.report.frames_done == 60


def test_times_that_go_back_again_and_again_are_told_at_the_beginning_and_at_the_end(producer):
    now = time.time_ns()
    with opened(producer, "back") as (stream, events):
        for number in range(40):
            stream.put_frame(b"x", pts=now + number % 10 * S // 10, key_frame=number % 10 == 0)
    assert stream.report.frames_done == 40
    assert stream.report.times_shifted == 3
    assert [event.count for event in events.of(kvspic.TimesShifted)] == [1, 2]


def test_times_that_repeat_are_told_in_sum(producer, url):
    now = time.time_ns()
    with opened(producer, "repeat") as (stream, events):
        for number in range(20):
            stream.put_frame(b"x", pts=now + number // 2 * S // 10, key_frame=number % 10 == 0)
    assert (stream.report.times_bumped, stream.report.frames_done) == (10, 20)
    assert sum(event.count for event in events.of(kvspic.TimesRepeated)) == 10
    assert len(events.of(kvspic.TimesRepeated)) <= 2


# ---- long groups of pictures


def test_a_minute_without_a_key_frame_is_persisted_in_fragments_that_the_service_takes(producer, url):
    now = time.time_ns()
    with opened(producer, "long") as (stream, events):
        put(stream, 300, base=now - 60 * S, gop=1000)
    report = stream.report
    assert (report.frames_put, report.frames_done, report.fragments_split) == (300, 300, 2)
    assert len(events.of(kvspic.FragmentSplit)) == 2
    assert [round(one - now / S) for one in fragments(url, "long")] == [-60, -40, -20]


def test_a_long_group_that_is_kept_is_refused_by_the_service(producer):
    with opened(producer, "kept", long_gop=kvspic.LongGop.KEEP) as (stream, events):
        put(stream, 150, base=time.time_ns() - 30 * S, gop=1000)
        assert events.wait(kvspic.ErrorAck).error_id == 4002


def test_an_hour_between_two_frames_of_a_group_is_no_fragment_of_an_hour(producer, url):
    now = time.time_ns()
    with opened(producer, "gap") as (stream, events):
        put(stream, 3, base=now - 3600 * S, gop=1000)
        put(stream, 3, base=now, first=3, gop=1000)
        jump = events.wait(kvspic.TimesJumped)
    assert jump.ahead_ns == pytest.approx(3600.2 * S, abs=S // 1000)
    assert (stream.report.frames_done, stream.report.times_jumped) == (6, 1)
    assert len(fragments(url, "gap")) == 2


# ---- frames that do not fit


def test_a_frame_that_does_not_fit_is_told_with_sizes_and_the_stream_goes_on(producer):
    with opened(producer, "large", store_size=1 << 20) as (stream, events):
        put(stream, 5)
        with pytest.raises(errors.FrameTooLargeError, match=r"2000000 bytes .* store of 1048576 bytes: give a larger"):
            stream.put_frame(bytes(2_000_000), pts=time.time_ns() + S, key_frame=True)
        put(stream, 5, first=10)
        event = events.wait(kvspic.FrameTooLarge)
    assert (event.size, event.store_size, event.count) == (2_000_000, 1 << 20, 1)
    report = stream.report
    assert (report.frames_too_large, report.frames_put, report.frames_done) == (1, 10, 10)


def test_what_follows_a_frame_that_does_not_fit_is_skipped_until_the_next_key_frame(producer):
    now = time.time_ns()
    with opened(producer, "follows", store_size=1 << 20) as (stream, _):
        put(stream, 7, base=now)
        with pytest.raises(errors.FrameTooLargeError):
            stream.put_frame(bytes(2_000_000), pts=now + 7 * S // 5)
        put(stream, 7, base=now, first=8)
    report = stream.report
    assert report.dropped[kvspic.DropReason.SKIPPED] == 2  # 8 and 9
    assert (report.frames_put, report.frames_done) == (14, 12)


def test_a_silent_track_is_left_out_and_counted(producer):
    now = time.time_ns()
    with opened(producer, "silent", TWO_TRACKS, order_window=timedelta(milliseconds=1)) as (stream, events):
        for number in range(80):
            stream.put_frame(b"v", pts=now + number * S // 10, key_frame=number % 10 == 0)
            if number < 15 or number >= 50:
                stream.put_frame(b"a", pts=now + number * S // 10, track=2)
            if number == 49:
                events.wait(kvspic.TrackSilent)  # for as long as frames are held for sound
    assert [event.is_left_out for event in events.of(kvspic.TrackSilent)] == [True, False]
    assert stream.report.tracks_silent == 1
    assert stream.report.frames_done == stream.report.frames_put == 125


def test_sixty_megabytes_in_one_group_are_persisted_in_fragments_that_the_service_takes(url):
    now = time.time_ns() - 15 * S
    with kvspic.Producer(endpoint_url=url, store_size=128 << 20) as producer:
        with opened(producer, "heavy") as (stream, events):
            for number in range(15):
                stream.put_frame(number.to_bytes(4, "big") * 1_000_000, pts=now + number * S, key_frame=number == 0)
        report = stream.report
    assert (report.frames_done, report.fragments_split) == (15, 1)
    assert [event.count for event in events.of(kvspic.FragmentSplit)] == [1]
    assert [round(one - now / S) for one in fragments(url, "heavy")] == [0, 11]


def test_whatever_many_threads_do_each_frame_offered_is_somewhere(producer):
    now = time.time_ns()
    with opened(producer, "threads", pre_roll=timedelta(hours=1), pre_roll_size=20_000) as (stream, _):
        threads = [threading.Thread(target=put, args=(stream, 300), kwargs={"base": now}) for _ in range(3)]
        for thread in threads:
            thread.start()
        while any(thread.is_alive() for thread in threads):
            stream.trigger(timedelta(milliseconds=1))
            stream.pause()
            stream.resume()
        for thread in threads:
            thread.join()
        report = stream.report
    assert report.frames_offered == 900
    assert report.adds_up
    assert stream.report.frames_offered == 900


# ---- pause, resume, pre-roll


def test_what_came_before_a_pause_is_persisted_and_what_came_meanwhile_is_counted(producer, url):
    now = time.time_ns()
    with opened(producer, "pause", fragment_duration_min=timedelta(0)) as (stream, events):
        put(stream, 7, base=now)
        stream.pause()
        events.wait(kvspic.Paused)
        stream.flush(10, end_fragment=False)
        assert stream.report.frames_done == 7
        put(stream, 5, base=now, first=7)
        assert "paused" in stream.health().reason
        assert stream.health().is_healthy
        stream.resume()
        put(stream, 8, base=now, first=12)
        events.wait(kvspic.Resumed)
    report = stream.report
    assert report.frames_expired == 5
    assert report.dropped[kvspic.DropReason.SKIPPED] == 3  # 12, 13, 14: no key frame yet
    assert report.frames_offered == 20
    assert report.adds_up
    assert [round(one - now / S) for one in fragments(url, "pause")] == [0, 1, 3]


def test_a_trigger_sends_what_was_before_it(producer, url):
    now = time.time_ns()
    with opened(producer, "door", pre_roll=timedelta(hours=1)) as (stream, events):
        put(stream, 12, base=now)
        assert (stream.report.frames_put, stream.report.frames_held) == (0, 12)
        stream.trigger(timedelta(hours=1))
        put(stream, 8, base=now, first=12)
        assert events.wait(kvspic.Triggered).frames == 12
        stream.pause()
        put(stream, 5, base=now, first=20)
        assert stream.report.frames_held == 5
    report = stream.report
    assert (report.frames_done, report.frames_held, report.frames_expired, report.frames_offered) == (20, 0, 5, 25)
    assert [round(one - now / S) for one in fragments(url, "door")] == [0, 1, 2, 3]


def test_the_ring_keeps_within_its_size(producer):
    with opened(producer, "ring", pre_roll=timedelta(hours=1), pre_roll_size=2000) as (stream, _):
        put(stream, 100)
        report = stream.report
        assert report.frames_held <= 20
        assert report.frames_held + report.frames_expired == 100


def test_frames_of_a_wrong_clock_are_held_with_the_time_they_came(producer, url):
    began = time.time()
    with opened(producer, "held", pre_roll=timedelta(hours=1)) as (stream, _):
        put(stream, 5, base=0)
        stream.trigger(timedelta(seconds=1))
    assert began - 0.01 <= fragments(url, "held")[0] <= time.time()


def test_a_trigger_goes_with_a_spool(producer, url, tmp_path):
    with opened(producer, "kept-door", pre_roll=timedelta(hours=1), spool=tmp_path) as (stream, _):
        put(stream, 10, base=0)
        stream.trigger(timedelta(hours=1))
        put(stream, 10, base=0, first=10)
        stream.pause()
        put(stream, 3, base=0, first=20)
    report = stream.report
    assert (report.frames_done, report.frames_expired, report.frames_offered) == (20, 3, 23)
    assert fragments(url, "kept-door")[0] > 1_500_000_000


@pytest.mark.parametrize(
    "options", [{"pre_roll": timedelta(seconds=1), "offline": True}, {"pre_roll": timedelta(seconds=-1)},
                {"pre_roll_size": 0}, {"pre_roll": timedelta(minutes=5), "buffer_duration": timedelta(minutes=5)}]
)  # fmt: skip
def test_a_ring_that_makes_no_sense_is_refused(producer, options):
    with pytest.raises(errors.InvalidArgError, match="pre_roll"):
        producer.open_stream("senseless", TRACKS, **options)


def test_a_long_ring_over_a_small_store_loses_nothing_of_what_it_holds(url):
    now = time.time_ns() - 900 * S
    with kvspic.Producer(endpoint_url=url, store_size=1 << 20) as producer:
        with opened(producer, "long-ring", pre_roll=timedelta(minutes=10)) as (stream, _):
            for number in range(90):
                stream.put_frame(bytes(20_000), pts=now + number * 10 * S, key_frame=True)
            held = stream.report.frames_held
            assert 30 < held < 40  # three quarters of the store
            stream.trigger(timedelta(seconds=1))
        report = stream.report
    assert (report.frames_put, report.frames_done, report.frames_dropped) == (held, held, 0)


def test_the_asynchronous_stream_pauses_too(url):
    async def run():
        now = time.time_ns()
        async with kvspic.AsyncProducer(endpoint_url=url) as producer:
            async with producer.open_stream("async", TRACKS, pre_roll=timedelta(hours=1)) as stream:
                queue = stream.events()
                put(stream, 5, base=now)
                stream.trigger(timedelta(hours=1))
                stream.pause()
                stream.resume()
                put(stream, 5, base=now, first=5)
            names = [type(event).__name__ async for event in queue]
        assert stream.report.frames_done == 10
        expected = ["Triggered", "Paused", "Resumed"]
        assert [name for name in names if name in expected] == expected

    asyncio.run(run())


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_forked_child_is_refused_whatever_the_stream_waits_for(producer):
    with opened(producer, "forked", pre_roll=timedelta(hours=1)) as (stream, _):
        child = os.fork()
        if child == 0:
            try:
                stream.put_frame(b"x", pts=time.time_ns(), key_frame=True)
            except errors.StreamStoppedError:
                os._exit(0)
            os._exit(1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_a_trigger_needs_a_ring_and_a_duration(producer):
    with opened(producer, "plain") as (stream, _), pytest.raises(errors.InvalidArgError, match="pre_roll"):
        stream.trigger(timedelta(seconds=5))


def test_a_closed_stream_can_not_be_paused_and_refuses_frames_whatever_its_way(producer):
    with opened(producer, "closed", pre_roll=timedelta(seconds=5)) as (stream, _):
        put(stream, 3)
    for call in (stream.pause, stream.resume, lambda: put(stream, 1)):
        with pytest.raises(errors.StreamStoppedError):
            call()


def test_every_counter_of_the_report_is_there(producer):
    with opened(producer, "report") as (stream, _):
        names = {field.name for field in dataclasses.fields(stream.report)}
    assert names >= {"frames_held", "frames_expired", "frames_too_large", "times_shifted", "times_bumped"}
