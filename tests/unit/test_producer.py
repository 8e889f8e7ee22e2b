"""The facades against the local endpoint. Goal: frames go up and are accounted for, and no call waits without end."""

import asyncio
import os
import socket
import threading
import time
from datetime import timedelta

import pytest

import kvspic
from kvspic import errors
from kvspic.local.server import LocalEndpoint
from kvspic.provider.credentials import StaticCredentials

SECOND_NS = 1_000_000_000
BASE_NS = 1_700_000_000 * SECOND_NS
NOTHING_LISTENS = "http://127.0.0.1:9"  # the discard port: nothing listens
TRACKS = [kvspic.Track("V_TEST", "video/x-test")]


@pytest.fixture(scope="module")
def url(tmp_path_factory):
    with LocalEndpoint.run_in_thread(data_dir=tmp_path_factory.mktemp("data")) as endpoint:
        yield endpoint.url


@pytest.fixture
def producer(url):
    with kvspic.Producer(endpoint_url=url) as made:
        yield made


def put_fragments(stream, count: int, *, first: int = 0, size: int = 100) -> None:
    """``count`` fragments of one second and five frames."""
    for number in range(first * 5, (first + count) * 5):
        data = number.to_bytes(4, "big") + bytes(size)
        stream.put_frame(data, pts=BASE_NS + number * SECOND_NS // 5, key_frame=number % 5 == 0)


def test_frames_are_persisted_and_the_ledger_adds_up(producer):
    events = []
    with producer.open_stream("door", TRACKS, retention=timedelta(hours=2), on_event=events.append) as stream:
        assert stream.health().is_healthy
        put_fragments(stream, 3)
    report = stream.report
    assert (report.frames_put, report.frames_done, report.frames_buffered, report.fragments_done) == (15, 15, 0, 3)
    assert report.adds_up
    assert report.is_complete
    assert report.ack_latency_ns_p50 <= report.ack_latency_ns_p99
    assert [type(event) for event in events].count(kvspic.FragmentPersisted) == 3
    assert isinstance(events[-1], kvspic.StreamClosed)


def test_persisted_is_seen_while_the_body_goes_on(producer):
    persisted = threading.Event()

    def watch(event) -> None:
        if isinstance(event, kvspic.FragmentPersisted):
            persisted.set()

    with producer.open_stream("early", TRACKS, on_event=watch) as stream:
        put_fragments(stream, 2)
        assert persisted.wait(10)
        put_fragments(stream, 1, first=2)
        assert stream.report.frames_buffered > 0
    assert stream.report.frames_done == 15


def test_frames_put_before_the_stream_is_ready_are_kept(producer):
    with producer.open_stream("soon", TRACKS, wait=False) as stream:
        put_fragments(stream, 2)
    assert stream.report.frames_done == 10


def test_an_outage_of_the_service_loses_nothing(tmp_path):
    class AtOnce:
        def decide(self, situation):
            return kvspic.RetryStream(0)

    with LocalEndpoint.run_in_thread(data_dir=tmp_path) as endpoint:
        port = int(endpoint.url.rsplit(":", 1)[1])
        producer = kvspic.Producer(endpoint_url=endpoint.url, retry_policy=AtOnce())
        stream = producer.open_stream("outage", TRACKS)
        put_fragments(stream, 3)
        stream.flush(10)
        put_fragments(stream, 2, first=3)
    put_fragments(stream, 2, first=5)
    stream.put_metadata("during", "the outage")
    stream.put_event(notification=True)
    with LocalEndpoint.run_in_thread(data_dir=tmp_path, port=port):
        put_fragments(stream, 1, first=7)
        report = stream.close(20)
        producer.close(0)
    assert (report.frames_put, report.frames_done, report.frames_dropped) == (40, 40, 0)
    assert stream.metrics().sessions >= 2


def test_flush_waits_for_the_open_fragment_too(producer):
    with producer.open_stream("flush", TRACKS) as stream:
        put_fragments(stream, 2)
        stream.flush(10)
        assert stream.report.frames_done == 10
        put_fragments(stream, 1, first=2)
    assert stream.report.frames_done == 15


def test_frames_come_from_many_threads(producer):
    with producer.open_stream("many", TRACKS, backward_policy=kvspic.BackwardPolicy.SHIFT) as stream:
        threads = [threading.Thread(target=put_fragments, args=(stream, 2)) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert stream.report.frames_put == 40
    assert stream.report.adds_up


def test_an_offline_put_waits_for_room_and_nothing_is_lost(url):
    with kvspic.Producer(endpoint_url=url, store_size=4 * 65536) as producer:
        with producer.open_stream("offline", TRACKS, offline=True) as stream:
            put_fragments(stream, 20, size=20_000)
            assert producer.metrics().store_used <= 4 * 65536
        report = stream.report
    assert (report.frames_put, report.frames_done) == (100, 100)
    assert stream.metrics().frames_refused > 0


def test_an_offline_put_waits_no_longer_than_it_may():
    with kvspic.Producer(endpoint_url=NOTHING_LISTENS, store_size=2 * 65536) as producer:
        stream = producer.open_stream("full", TRACKS, wait=False, offline=True, put_timeout=timedelta(milliseconds=20))
        with pytest.raises(errors.StoreFullError):
            put_fragments(stream, 4, size=20_000)
        report = stream.close(timeout=0)
    assert report.frames_buffered == report.frames_put > 0
    assert report.adds_up


def test_a_realtime_put_never_waits_and_drops_the_oldest():
    with kvspic.Producer(endpoint_url=NOTHING_LISTENS, store_size=2 * 65536) as producer:
        stream = producer.open_stream("live", TRACKS, wait=False)
        put_fragments(stream, 10, size=5000)
        report = stream.close(timeout=0)
    assert report.frames_put == 50
    assert report.dropped[kvspic.DropReason.STORE_FULL] > 0
    assert report.adds_up


def test_opening_ends_by_its_limit_when_nobody_answers():
    with kvspic.Producer(endpoint_url=NOTHING_LISTENS) as producer:
        with pytest.raises(errors.TimedOutError, match=r"not ready within 0\.05 s"):
            producer.open_stream("far", TRACKS, timeout=0.05)
        assert producer.reports == []


def test_a_stream_that_may_not_be_created_is_refused_with_the_cause(producer):
    with pytest.raises(errors.NotFoundError, match="DescribeStream"):
        producer.open_stream("missing", TRACKS, create=False, timeout=10)


def test_wrong_keys_are_refused_soon_and_are_not_told(tmp_path):
    credentials = StaticCredentials("AKIAIOSFODNN7EXAMPLE", "wrong-secret")
    with (
        LocalEndpoint.run_in_thread(data_dir=tmp_path, access_keys={"AKIAIOSFODNN7EXAMPLE": "right"}) as endpoint,
        kvspic.Producer(endpoint_url=endpoint.url, credentials=credentials) as producer,
    ):
        with pytest.raises(errors.NotAuthorizedError, match="credentials") as caught:
            producer.open_stream("keys", TRACKS, timeout=10)
        assert "wrong-secret" not in str(caught.value)
        assert "AKIAIOSFODNN7EXAMPLE" not in str(caught.value)


def test_right_keys_upload(tmp_path):
    credentials = StaticCredentials("AKIAIOSFODNN7EXAMPLE", "right")
    with (
        LocalEndpoint.run_in_thread(data_dir=tmp_path, access_keys={"AKIAIOSFODNN7EXAMPLE": "right"}) as endpoint,
        kvspic.Producer(endpoint_url=endpoint.url, credentials=credentials) as producer,
    ):
        with producer.open_stream("keys", TRACKS) as stream:
            put_fragments(stream, 2)
        assert stream.report.frames_done == 10


def test_closing_returns_by_its_limit_whatever_the_network_does():
    with kvspic.Producer(endpoint_url=NOTHING_LISTENS) as producer:
        stream = producer.open_stream("stuck", TRACKS, wait=False)
        put_fragments(stream, 1)
        start = time.monotonic()
        report = stream.close(timeout=0.05)
        assert time.monotonic() - start < 5
    assert (report.frames_put, report.frames_buffered) == (5, 5)


def test_closing_does_not_wait_for_a_service_that_never_answers():
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with kvspic.Producer(endpoint_url=url) as producer:
            stream = producer.open_stream("silent", TRACKS, wait=False)
            put_fragments(stream, 1)
            start = time.monotonic()
            producer.close(timeout=0.05)
            assert time.monotonic() - start < 3
    assert stream.report.frames_buffered == 5


@pytest.mark.parametrize("stops", [True, False], ids=["until refused", "for ever"])
@pytest.mark.parametrize("of", ["stream", "producer"])
def test_closing_returns_by_its_limit_while_threads_put_without_a_pause(url, of, stops):
    over = threading.Event()

    def put_on(stream, number):
        while not over.is_set():
            try:
                stream.put_frame(b"x" * 100, pts=BASE_NS + number, key_frame=True)
                number += 1_000_000
            except errors.KvsError:
                if stops:
                    return

    with kvspic.Producer(endpoint_url=url, store_size=4_000_000) as producer:
        stream = producer.open_stream(f"busy-{of}", TRACKS, fragment_duration=timedelta(seconds=1))
        threads = [threading.Thread(target=put_on, args=(stream, number)) for number in range(8)]
        for thread in threads:
            thread.start()
        start = time.monotonic()
        (stream if of == "stream" else producer).close(1.0)
        took_s = time.monotonic() - start
        over.set()
        for thread in threads:
            thread.join()
    assert took_s < 4
    assert stream.report.adds_up


def test_a_closed_stream_refuses_frames_and_keeps_its_report(producer):
    stream = producer.open_stream("closed", TRACKS)
    put_fragments(stream, 1)
    report = stream.close()
    with pytest.raises(errors.StreamStoppedError, match="closed"):
        put_fragments(stream, 1)
    assert stream.report == report == stream.close()
    assert stream.metrics().frames_put == 5


@pytest.mark.parametrize(
    ("error", "arguments"),
    [
        (errors.UnknownTrackError, {"track": 7}),
        (errors.FrameDataError, {"data": b""}),
        (errors.FrameTimestampRangeError, {"pts": -1}),
        (errors.FrameTimestampRangeError, {"pts": 2**80}),
        (TypeError, {"data": "text"}),
    ],
)
def test_a_wrong_frame_changes_nothing(producer, error, arguments):
    with producer.open_stream("wrong", TRACKS, clock=kvspic.ClockPolicy.GIVEN) as stream:
        with pytest.raises(error):
            stream.put_frame(**({"data": b"x", "pts": BASE_NS, "key_frame": True} | arguments))
        assert stream.report.frames_put == 0


@pytest.mark.parametrize("name", ["", "a b", "a" * 257])
def test_a_wrong_name_is_a_usage_error(producer, name):
    with pytest.raises(errors.StreamNameError):
        producer.open_stream(name, TRACKS)


def test_an_unknown_option_is_a_type_error(producer):
    with pytest.raises(TypeError):
        producer.open_stream("x", TRACKS, colour="red")


def test_a_closed_producer_opens_nothing_and_closes_twice(url):
    producer = kvspic.Producer(endpoint_url=url)
    assert producer.close() == []
    assert producer.close() == []
    with pytest.raises(errors.ClientStateError, match="closed"):
        producer.open_stream("x", TRACKS)


def test_closing_the_producer_closes_its_streams(url):
    producer = kvspic.Producer(endpoint_url=url)
    streams = [producer.open_stream(f"s{number}", TRACKS) for number in range(3)]
    for stream in streams:
        put_fragments(stream, 1)
    assert sorted(report.name for report in producer.close()) == ["s0", "s1", "s2"]
    assert [stream.report.frames_done for stream in streams] == [5, 5, 5]


def test_a_forgotten_producer_warns_and_frees(url):
    producer = kvspic.Producer(endpoint_url=url)
    thread = producer._thread
    producers = [producer]
    producer.open_stream("forgotten", TRACKS, wait=False)
    del producer
    with pytest.warns(ResourceWarning, match="never closed"):
        producers.clear()
    thread._thread.join(10)
    assert not thread._thread.is_alive()


def test_a_store_that_is_too_small_is_refused():
    with pytest.raises(errors.StoreSizeError):
        kvspic.Producer(store_size=1)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_forked_child_is_told_to_make_its_own(producer):
    with producer.open_stream("fork", TRACKS) as stream:
        child = os.fork()
        if child == 0:
            code = 1
            try:
                stream.put_frame(b"x", pts=BASE_NS, key_frame=True)
            except errors.StreamStoppedError as error:
                code = 0 if "forked" in str(error) else 2
            os._exit(code)
        _, status = os.waitpid(child, 0)
        assert os.waitstatus_to_exitcode(status) == 0
        put_fragments(stream, 1)
    assert stream.report.frames_done == 5


def test_metadata_events_and_ends_of_fragments_go_along(producer):
    with producer.open_stream("tags", TRACKS) as stream:
        put_fragments(stream, 1)
        stream.put_metadata("place", "hall")
        stream.put_event(notification=True, pairs={"who": "me"})
        put_fragments(stream, 1, first=1)
        stream.end_fragment()
        put_fragments(stream, 1, first=2)
        with pytest.raises(errors.MetadataNameError):
            stream.put_metadata("AWS_x", "1")
    assert stream.report.frames_done == 15


def test_metadata_that_comes_too_early_is_refused_by_the_name_of_the_state():
    with kvspic.Producer(endpoint_url=NOTHING_LISTENS, exit_timeout=0) as producer:
        stream = producer.open_stream("early", TRACKS, wait=False)
        for call in (lambda: stream.put_metadata("place", "hall"), lambda: stream.put_event(image=True)):
            with pytest.raises(errors.StreamStateError, match=r"early is in the state .* after the event StreamReady"):
                call()
        stream.close(0)


def test_the_asynchronous_facade_does_the_same(url):
    async def run():
        async with kvspic.AsyncProducer(endpoint_url=url) as producer:
            async with producer.open_stream("async", TRACKS) as stream:
                events = stream.events()
                put_fragments(stream, 2)
                await stream.flush(10)
                put_fragments(stream, 1, first=2)
            return stream.report, [type(event) async for event in events]

    report, events = asyncio.run(run())
    assert report.frames_done == 15
    assert events.count(kvspic.FragmentPersisted) == 3


def test_an_awaited_put_waits_for_room(url):
    async def run():
        async with kvspic.AsyncProducer(endpoint_url=url, store_size=4 * 65536) as producer:
            stream = await producer.open_stream("awaited", TRACKS, offline=True)
            for number in range(100):
                pts = BASE_NS + number * SECOND_NS // 5
                await stream.put(bytes(20_000), pts=pts, key_frame=number % 5 == 0)
            return await stream.close(), stream.metrics().frames_refused

    report, refused = asyncio.run(run())
    assert report.frames_done == 100
    assert refused > 0


def test_an_asynchronous_put_frame_never_waits():
    async def run():
        async with kvspic.AsyncProducer(endpoint_url=NOTHING_LISTENS, store_size=2 * 65536) as producer:
            stream = await producer.open_stream("full", TRACKS, wait=False, offline=True)
            with pytest.raises(errors.StoreFullError):
                put_fragments(stream, 4, size=20_000)
            assert not await stream.wait_for_room(0)
            await stream.close(0)

    asyncio.run(run())


def test_opening_that_fails_leaves_nothing_open(url):
    async def run():
        async with kvspic.AsyncProducer(endpoint_url=url) as producer:
            with pytest.raises(errors.NotFoundError):
                await producer.open_stream("missing", TRACKS, create=False, timeout=10)
            return producer.reports

    assert asyncio.run(run()) == []


def test_what_the_service_would_refuse_later_is_refused_at_the_call(url):
    with kvspic.Producer(endpoint_url=url) as producer:
        for options in ({"fragment_duration": timedelta(seconds=21)}, {"tags": {"aws:a": "b"}}):
            with pytest.raises(kvspic.UsageError):
                producer.open_stream("limits", TRACKS, wait=False, **options)
        with producer.open_stream("limits", TRACKS) as stream:
            stream.put_frame(b"frame", pts=BASE_NS, key_frame=True)
            with pytest.raises(kvspic.UsageError, match="AWS"):
                stream.put_metadata("aws-place", "hall")
            with pytest.raises(kvspic.UsageError, match="AWS"):
                stream.put_event(image=True, pairs={"awsome": "1"})
        assert stream.report.frames_done == 1
