"""Natural mistakes. Goal: the error says what was given and what is wanted instead, and nothing has changed."""

import asyncio
import collections
import functools
import gc
import multiprocessing
import pickle
import sys
import time
from datetime import timedelta

import pytest

import kvspic
from kvspic import errors
from kvspic.mistakes import DURATIONS
from kvspic.sources import SourceError, open_source
from kvspic.types import TrackLike

NOTHING_LISTENS = "http://127.0.0.1:9"
TRACKS = [kvspic.H264Track()]


@pytest.fixture
def producer():
    made = kvspic.Producer(endpoint_url=NOTHING_LISTENS)
    yield made
    made.close(0)


@pytest.fixture
def stream(producer):
    return producer.open_stream("door", TRACKS, wait=False)


@pytest.mark.parametrize("url", ["127.0.0.1:8080", "localhost:8080", "127.0.0.1", "", "http://", "http://host:0", 8080])
@pytest.mark.parametrize("kind", [kvspic.Producer, kvspic.AsyncProducer])
def test_an_endpoint_without_a_scheme(kind, url):
    with pytest.raises(errors.UsageError, match=r"is no URL: write scheme, host and port, as in http://127"):
        kind(endpoint_url=url)


def test_a_variable_with_an_endpoint_without_a_scheme(monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL_KINESIS_VIDEO", "127.0.0.1:8080")
    with pytest.raises(errors.UsageError, match=r"AWS_ENDPOINT_URL_KINESIS_VIDEO '127\.0\.0\.1:8080' is no URL"):
        kvspic.Producer()


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ("abc", "data is a str: give the bytes of one encoded frame"),
        (None, "data is no contiguous bytes-like object"),
        (memoryview(bytes(20))[::2], "data is no contiguous bytes-like object"),
    ],
)
def test_data_that_is_no_bytes(stream, data, said):
    with pytest.raises(TypeError, match=said):
        stream.put_frame(data, pts=time.time_ns())
    assert stream.report.frames_offered == 0


@pytest.mark.parametrize(
    ("numbers", "said"),
    [
        ({"pts": 1.5}, r"pts is the float 1\.5: give nanoseconds as int, as in pts=time\.time_ns\(\)"),
        ({"pts": 1, "dts": 1.5}, "dts is the float"),
        ({"pts": 1, "duration": 0.04}, "duration is the float"),
        ({"pts": "1"}, "pts is '1': give an int"),
        ({"pts": timedelta(1)}, "pts is datetime"),
        ({"pts": 1, "track": "video"}, "track is 'video': give an int"),
    ],
)
def test_times_and_tracks_that_are_no_ints(stream, numbers, said):
    with pytest.raises(TypeError, match=said):
        stream.put_frame(b"abc", **numbers)
    assert stream.report.frames_offered == 0


@pytest.mark.parametrize("name", DURATIONS)
def test_a_duration_that_is_a_number(producer, name):
    said = rf"{name} is 2: give a datetime\.timedelta, as in {name}=timedelta\((hours|seconds)=2\)"
    with pytest.raises(TypeError, match=said):
        producer.open_stream("door", TRACKS, wait=False, **{name: 2})
    assert producer.reports == []


def test_the_durations_are_known():
    assert {"retention", "put_timeout", "buffer_duration", "pre_roll"} <= set(DURATIONS)


def test_a_tag_that_is_no_text(producer):
    with pytest.raises(TypeError, match=r"the tag 'floor': 3 is no text"):
        producer.open_stream("door", TRACKS, wait=False, tags={"floor": 3})


def test_one_track_alone_is_accepted(producer):
    stream = producer.open_stream("one", kvspic.H264Track(), wait=False)
    stream.put_frame(b"\0\0\0\1\x65abc", pts=time.time_ns(), key_frame=True)
    with open_source("testsrc:duration=1") as source:
        assert producer.open_stream("other", source.tracks[0], wait=False).report.frames_put == 0


def test_a_tuple_with_the_names_of_a_track_is_one(producer):
    with open_source("testsrc:duration=1") as source:
        track = source.tracks[0]
        names = [name for name in dir(TrackLike) if not name.startswith("_")]
        made = collections.namedtuple("Made", names)(*(getattr(track, name) for name in names))
        assert producer.open_stream("tuple", made, wait=False).report.frames_put == 0
        assert producer.open_stream("tuples", [made], wait=False).report.frames_put == 0


@pytest.mark.parametrize(
    ("tracks", "said"),
    [
        ("h264", "tracks is 'h264'"),
        (5, "tracks is 5"),
        (kvspic.H264Track, "tracks is <class"),
        ([kvspic.H264Track], r"write H264Track\(\) with brackets"),
        ([kvspic.AacTrack(48000, 2)], "codec_id of a track is 48000: name its fields"),
        (["h264"], r"a track is 'h264': give what open_stream wants"),
    ],
)
def test_tracks_that_are_none(producer, tracks, said):
    with pytest.raises(TypeError, match=said):
        producer.open_stream("door", tracks, wait=False)


@pytest.mark.parametrize("options", [{}, {"pre_roll": timedelta(seconds=5)}], ids=["plain", "ring"])
def test_a_track_that_was_not_declared(producer, options):
    tracks = [*TRACKS, kvspic.AacTrack(sample_rate=48000, channels=2)]
    stream = producer.open_stream("two", tracks, wait=False, **options)
    with pytest.raises(errors.UnknownTrackError, match=r"track 0 was not declared .*which has 1, 2"):
        stream.put_frame(b"abc", pts=time.time_ns(), track=0)
    assert stream.report.frames_offered == 0


def test_a_producer_does_not_go_to_another_process(producer, stream):
    for what in (producer, stream):
        with pytest.raises(TypeError, match=r"cannot be sent to another process.* Make a producer in the process"):
            pickle.dumps(what)
    with pytest.raises(TypeError, match="cannot be sent to another process"):
        multiprocessing.get_context("spawn").Process(target=print, args=(producer,)).start()


def test_a_forgotten_await():
    async def main():
        producer = kvspic.AsyncProducer(endpoint_url=NOTHING_LISTENS)
        stream = producer.open_stream("door", TRACKS, wait=False)
        with pytest.raises(AttributeError, match=r"no put_frame yet.*stream = await producer\.open_stream"):
            stream.put_frame(b"abc", pts=1)
        with pytest.raises(TypeError, match="`async with`"), stream:
            pass
        with pytest.raises(TypeError, match="`async with`"), producer:
            pass
        await producer.close(0)

    asyncio.run(main())


def test_async_with_of_the_blocking_kind(producer):
    async def main():
        async with producer:
            pass

    with pytest.raises(TypeError, match="used with `with`"):
        asyncio.run(main())


def test_sentences_are_joined_with_one_full_stop(producer):
    for timeout in (0.5, 4, 20):  # a slow machine loads botocore during the first try
        with pytest.raises(errors.TimedOutError) as caught:
            producer.open_stream("never", TRACKS, timeout=timeout)
        text = str(caught.value)
        if "DescribeStream" in text:
            break
    assert ".;" not in text
    assert ".." not in text.replace("...", "")
    assert text.count("check the endpoint and the network") == 1
    assert text.endswith("or allow more time")


def test_seconds_and_durations_that_are_mixed_up(producer):
    five = timedelta(seconds=5)
    stream = producer.open_stream("ring", TRACKS, wait=False, pre_roll=five)
    said = r"timeout is datetime\.timedelta\(seconds=5\): give seconds as a number, as in timeout=10"
    opening = functools.partial(producer.open_stream, "other", TRACKS)
    for call in (stream.flush, stream.close, producer.close, opening):
        with pytest.raises(TypeError, match=said):
            call(timeout=five)
    with pytest.raises(TypeError, match=r"duration is 30: give a datetime\.timedelta"):
        stream.trigger(30)
    with pytest.raises(TypeError, match="exit_timeout is"):
        kvspic.Producer(endpoint_url=NOTHING_LISTENS, exit_timeout=five)


def test_a_name_that_is_no_text(producer):
    with pytest.raises(TypeError, match="the name of a stream is 5: give a str"):
        producer.open_stream(5, TRACKS, wait=False)
    assert producer.reports == []


def test_codec_private_data_that_is_no_bytes(stream):
    with pytest.raises(TypeError, match="cpd is 'avcC': give the codec private data as bytes"):
        stream.set_codec_private(1, "avcC")


def test_a_source_that_is_no_medium():
    with pytest.raises(TypeError, match="spec is 5: give a path, a URL"):
        open_source(5)


@pytest.mark.parametrize("kind", [kvspic.Producer, kvspic.AsyncProducer])
def test_an_argument_that_there_is_not_leaves_one_error_only(kind, monkeypatch):
    unraisable = []
    monkeypatch.setattr(sys, "unraisablehook", unraisable.append)
    with pytest.raises(TypeError, match="unexpected keyword argument 'endpoint'"):
        kind(endpoint=NOTHING_LISTENS)
    gc.collect()
    assert unraisable == []


def test_a_url_that_does_not_answer_is_no_damaged_file():
    with pytest.raises(SourceError, match=r"cannot be read as video or audio \(.*\): check the address"):
        open_source(f"{NOTHING_LISTENS}/clip.mp4")
