"""Streams with a spool against the local endpoint. Goal: what one producer leaves, the next one sends, once."""

import asyncio
import os
import threading
from datetime import timedelta

import pytest

import kvspic
from kvspic import errors
from kvspic.local.server import LocalEndpoint
from kvspic.provider.results import ServiceError, ServiceResult

SECOND_NS = 1_000_000_000
BASE_NS = 1_700_000_000 * SECOND_NS
NOTHING_LISTENS = "http://127.0.0.1:9"  # the discard port: nothing listens
TRACKS = [kvspic.Track("V_TEST", "video/x-test")]
PICTURE_AND_SOUND = [*TRACKS, kvspic.Track("A_TEST", "audio/x-test", kvspic.TrackType.AUDIO)]
SMALL = 4 * 65536


class AtOnce:
    def decide(self, situation):
        return kvspic.RetryStream(0)


@pytest.fixture(scope="module")
def endpoint(tmp_path_factory):
    with LocalEndpoint.run_in_thread(data_dir=tmp_path_factory.mktemp("data")) as found:
        yield found


def put_fragments(stream, first, count, size=100):
    """``count`` fragments of one second and five frames."""
    for number in range(first * 5, (first + count) * 5):
        data = number.to_bytes(4, "big") + bytes(size)
        stream.put_frame(data, pts=BASE_NS + number * SECOND_NS // 5, key_frame=number % 5 == 0)


def leave(name, path, first, count, **options):
    """A producer that reaches no service leaves frames behind."""
    with kvspic.Producer(endpoint_url=NOTHING_LISTENS) as producer:
        stream = producer.open_stream(
            name, TRACKS, wait=False, spool=path, fragment_duration_min=timedelta(0), **options
        )
        put_fragments(stream, first, count)
        return stream.close(0)


def seconds(endpoint, name):
    """When the stored fragments began, and how many frames they have, in the order of their numbers."""
    found = sorted(endpoint.fragments(name), key=lambda one: int(one.number))
    return [((one.producer_hns * 100 - BASE_NS) // SECOND_NS, len(one.blocks)) for one in found]


def test_a_stream_with_a_spool_is_a_stream(endpoint, tmp_path):
    with kvspic.Producer(endpoint_url=endpoint.url) as producer:
        with producer.open_stream("plain", TRACKS, spool=tmp_path, fragment_duration_min=timedelta(0)) as stream:
            put_fragments(stream, 0, 3)
            assert stream.metrics().spool_used > 1500
            stream.flush(10)
            assert stream.health().is_healthy
        report = stream.report
    assert (report.frames_put, report.frames_done, report.frames_spooled, report.adds_up) == (15, 15, 0, True)
    assert [found.name for found in (tmp_path / "plain").iterdir()] == ["lock"]
    with pytest.raises(errors.StreamStoppedError, match="open it again"):
        put_fragments(stream, 3, 1)


def test_closing_too_soon_leaves_frames_for_the_next_start(endpoint, tmp_path):
    report = leave("later", tmp_path, 0, 3)
    assert (report.frames_put, report.frames_spooled, report.frames_buffered, report.adds_up) == (15, 15, 0, True)
    events = []
    with kvspic.Producer(endpoint_url=endpoint.url) as producer:
        with producer.open_stream(
            "later", TRACKS, spool=tmp_path, fragment_duration_min=timedelta(0), on_event=events.append
        ) as stream:
            put_fragments(stream, 10, 2)
        report = stream.report
    assert (report.frames_put, report.frames_done, report.frames_recovered) == (25, 25, 15)
    assert seconds(endpoint, "later") == [(0, 5), (1, 5), (2, 5), (10, 5), (11, 5)]
    assert kvspic.SpoolRecovered("later", 15, 15 * 104, 0, 0, True) in events


def test_fragments_that_the_service_has_are_not_sent_again(endpoint, tmp_path):
    """What was sent and not seen acknowledged: here a plain stream sent it."""
    with (
        kvspic.Producer(endpoint_url=endpoint.url) as producer,
        producer.open_stream("had", TRACKS, fragment_duration_min=timedelta(0)) as stream,
    ):
        put_fragments(stream, 0, 2)
    leave("had", tmp_path, 0, 5)
    events = []
    with kvspic.Producer(endpoint_url=endpoint.url) as producer:
        producer.open_stream(
            "had", TRACKS, spool=tmp_path, fragment_duration_min=timedelta(0), on_event=events.append
        ).close()
    assert seconds(endpoint, "had") == [(0, 5), (1, 5), (2, 5), (3, 5), (4, 5)]
    assert kvspic.SpoolRecovered("had", 15, 15 * 104, 10, 0, True) in events


def test_a_fragment_that_the_service_has_in_part_is_sent_again(endpoint, tmp_path):
    with (
        kvspic.Producer(endpoint_url=endpoint.url) as producer,
        producer.open_stream("part", TRACKS, fragment_duration_min=timedelta(0)) as stream,
    ):
        put_fragments(stream, 0, 1)
        stream.put_frame(bytes(104), pts=BASE_NS + SECOND_NS, key_frame=True)
    leave("part", tmp_path, 0, 3)
    with kvspic.Producer(endpoint_url=endpoint.url) as producer:
        producer.open_stream("part", TRACKS, spool=tmp_path, fragment_duration_min=timedelta(0)).close()
    assert seconds(endpoint, "part") == [(0, 5), (1, 1), (1, 5), (2, 5)]


def test_a_service_that_does_not_say_gets_everything(endpoint, tmp_path, monkeypatch):
    async def refused(self, name, produced_hns=None):
        raise ServiceError("ListFragments", ServiceResult.FORBIDDEN, detail="not allowed")

    leave("mute", tmp_path, 0, 2)
    monkeypatch.setattr("kvspic.provider.control.ControlPlane.list_fragments", refused)
    events = []
    with kvspic.Producer(endpoint_url=endpoint.url) as producer:
        producer.open_stream(
            "mute", TRACKS, spool=tmp_path, fragment_duration_min=timedelta(0), on_event=events.append
        ).close()
    assert kvspic.SpoolRecovered("mute", 10, 1040, 0, 0, False) in events
    assert seconds(endpoint, "mute") == [(0, 5), (1, 5)]


def test_an_outage_longer_than_memory_loses_nothing(tmp_path):
    with LocalEndpoint.run_in_thread(data_dir=tmp_path / "data") as endpoint:
        port = int(endpoint.url.rpartition(":")[2])
        events = []
        producer = kvspic.Producer(endpoint_url=endpoint.url, store_size=SMALL, retry_policy=AtOnce())
        stream = producer.open_stream(
            "outage", TRACKS, spool=tmp_path / "spool", fragment_duration_min=timedelta(0), on_event=events.append
        )
        put_fragments(stream, 0, 2)
        stream.flush(10)
    put_fragments(stream, 2, 20, size=20_000)
    found = stream.metrics()
    assert found.frames_spooled > 50
    assert found.adds_up
    with LocalEndpoint.run_in_thread(data_dir=tmp_path / "data", port=port) as endpoint:
        put_fragments(stream, 22, 3, size=20_000)
        report = stream.close(30)
        producer.close(0)
        assert seconds(endpoint, "outage") == [(second, 5) for second in range(25)]
    assert (report.frames_put, report.frames_done, report.frames_dropped) == (125, 125, 0)
    edges = [event.begins for event in events if isinstance(event, kvspic.Spooling)]
    assert edges[:1] + edges[-1:] == [True, False]


def test_picture_and_sound_come_back_in_their_order(endpoint, tmp_path):
    def put(stream, first, last):
        for number in range(first, last):
            time_ns = BASE_NS + number * SECOND_NS // 5
            stream.put_frame(number.to_bytes(4, "big"), pts=time_ns, key_frame=number % 5 == 0)
            stream.put_frame(number.to_bytes(5, "big"), pts=time_ns + 7_000_000, track=2)

    with kvspic.Producer(endpoint_url=NOTHING_LISTENS) as producer:
        stream = producer.open_stream(
            "both", PICTURE_AND_SOUND, wait=False, spool=tmp_path, fragment_duration_min=timedelta(0)
        )
        put(stream, 0, 25)
        assert stream.close(0).frames_spooled == 50
    with kvspic.Producer(endpoint_url=endpoint.url) as producer:
        with producer.open_stream(
            "both", PICTURE_AND_SOUND, spool=tmp_path, fragment_duration_min=timedelta(0)
        ) as stream:
            put(stream, 25, 40)
        report = stream.report
    assert (report.frames_put, report.frames_done, report.adds_up) == (80, 80, True)
    assert seconds(endpoint, "both") == [(second, 10) for second in range(8)]


def test_offline_puts_wait_for_room_in_the_spool(endpoint, tmp_path):
    with kvspic.Producer(endpoint_url=endpoint.url, store_size=SMALL) as producer:
        options = {"offline": True, "spool": tmp_path, "spool_size": 1 << 20}
        with producer.open_stream("offline", TRACKS, **options) as stream:
            put_fragments(stream, 0, 30, size=20_000)
            assert stream.metrics().spool_used <= 1 << 20
        report = stream.report
    assert (report.frames_put, report.frames_done, report.frames_dropped) == (150, 150, 0)


def test_an_asynchronous_stream_has_a_spool_too(endpoint, tmp_path):
    async def run():
        async with kvspic.AsyncProducer(endpoint_url=endpoint.url, store_size=SMALL) as producer:
            async with producer.open_stream(
                "async", TRACKS, spool=tmp_path, fragment_duration_min=timedelta(0), spool_durability="disk"
            ) as stream:
                put_fragments(stream, 0, 10, size=20_000)
                stream.put_frame(bytearray(b"view"), pts=BASE_NS + 10 * SECOND_NS, key_frame=True)
            return stream.report

    report = asyncio.run(run())
    assert (report.frames_put, report.frames_done) == (51, 51)


def test_a_pause_ends_the_fragment(endpoint, tmp_path):
    done = threading.Event()

    def watch(event):
        if isinstance(event, kvspic.FragmentPersisted):
            done.set()

    with kvspic.Producer(endpoint_url=endpoint.url) as producer:
        idle = timedelta(milliseconds=40)
        with producer.open_stream(
            "idle", TRACKS, spool=tmp_path, fragment_duration_min=timedelta(0), end_idle_fragment=idle, on_event=watch
        ) as stream:
            put_fragments(stream, 0, 1)
            assert done.wait(10)
            assert stream.report.frames_done == 5


def test_what_can_not_be_used_is_refused_when_the_stream_is_opened(endpoint, tmp_path):
    with kvspic.Producer(endpoint_url=endpoint.url) as producer:
        for name, options in [
            ("..", {}), ("a/b", {}), ("small", {"spool_size": 1000}), ("words", {"spool_durability": "much"}),
        ]:  # fmt: skip
            with pytest.raises(errors.UsageError):
                producer.open_stream(name, TRACKS, spool=tmp_path, fragment_duration_min=timedelta(0), **options)
        with pytest.raises(errors.UsageError):
            producer.open_stream("none", [], spool=tmp_path, fragment_duration_min=timedelta(0))
        with (
            producer.open_stream("twice", TRACKS, spool=tmp_path, fragment_duration_min=timedelta(0)),
            pytest.raises(errors.UsageError, match="in use"),
        ):
            producer.open_stream("twice", TRACKS, spool=tmp_path, fragment_duration_min=timedelta(0))
    leave("other", tmp_path, 0, 1)
    with kvspic.Producer(endpoint_url=endpoint.url) as producer, pytest.raises(errors.UsageError, match="other tracks"):
        producer.open_stream("other", PICTURE_AND_SOUND, spool=tmp_path, fragment_duration_min=timedelta(0))


def test_a_disk_that_fails_is_in_the_health(endpoint, tmp_path, monkeypatch):
    def fail(self, head, payload):
        raise OSError(5, "Input/output error")

    events = []
    with kvspic.Producer(endpoint_url=endpoint.url) as producer:
        with producer.open_stream(
            "sick", TRACKS, spool=tmp_path, fragment_duration_min=timedelta(0), on_event=events.append
        ) as stream:
            monkeypatch.setattr("kvspic.spool.files.SpoolDir.append", fail)
            put_fragments(stream, 0, 2)
            assert "Input/output error" in stream.health().reason
            assert stream.metrics().spool_failures == 1
        assert stream.report.frames_done == 10
    assert any(isinstance(event, kvspic.SpoolFailed) for event in events)


def test_each_run_is_sent_with_its_own_codec_private_data(endpoint, tmp_path):
    def tracks(cpd):
        return [kvspic.Track("V_TEST", "video/x-test", cpd=cpd)]

    with kvspic.Producer(endpoint_url=NOTHING_LISTENS) as producer:
        stream = producer.open_stream(
            "cpd", tracks(b"first"), wait=False, spool=tmp_path, fragment_duration_min=timedelta(0)
        )
        put_fragments(stream, 0, 2)
        stream.set_codec_private(1, b"second")
        put_fragments(stream, 2, 2)
        stream.close(0)
    with kvspic.Producer(endpoint_url=endpoint.url) as producer:
        with producer.open_stream(
            "cpd", tracks(b"third"), spool=tmp_path, fragment_duration_min=timedelta(0)
        ) as stream:
            put_fragments(stream, 4, 2)
        assert stream.report.frames_done == 30
    found = sorted(endpoint.fragments("cpd"), key=lambda one: int(one.number))
    assert [one.tracks[0].codec_private for one in found] == [b"first"] * 2 + [b"second"] * 2 + [b"third"] * 2


def test_a_clock_that_was_never_set_is_put_right_before_frames_are_kept(endpoint, tmp_path):
    with kvspic.Producer(endpoint_url=NOTHING_LISTENS) as producer:
        stream = producer.open_stream("clock", TRACKS, wait=False, spool=tmp_path, fragment_duration_min=timedelta(0))
        for number in range(10):
            stream.put_frame(bytes(10), pts=number * SECOND_NS // 5, key_frame=number % 5 == 0)
        stream.close(0)
    with kvspic.Producer(endpoint_url=endpoint.url) as producer:
        producer.open_stream("clock", TRACKS, spool=tmp_path, fragment_duration_min=timedelta(0)).close()
    assert all(second > 0 for second, _ in seconds(endpoint, "clock"))


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_fork_leaves_the_spool_to_its_parent(endpoint, tmp_path):
    with kvspic.Producer(endpoint_url=endpoint.url) as producer:
        with producer.open_stream("fork", TRACKS, spool=tmp_path, fragment_duration_min=timedelta(0)) as stream:
            put_fragments(stream, 0, 1)
            reading, writing = os.pipe()
            child = os.fork()
            if not child:
                try:
                    put_fragments(stream, 9, 1)
                except errors.StreamStoppedError as error:
                    os.write(writing, str(error).encode())
                finally:
                    os._exit(0)
            os.close(writing)
            said = os.read(reading, 4096)
            os.close(reading)
            os.waitpid(child, 0)
            put_fragments(stream, 1, 1)
        assert b"forked" in said
        assert stream.report.frames_done == 10
