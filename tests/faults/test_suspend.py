"""Uploads that have to stop at once. Goal: not a byte more leaves, frames are kept, and it goes on where it was."""

import asyncio
import contextlib
import socket
import threading
import time

import pytest

import kvspic
from kvspic.types import StreamState

pytest.importorskip("aiohttp")
from kvspic.local.server import LocalEndpoint

SECOND_NS = 1_000_000_000
BASE_NS = 1_700_000_000 * SECOND_NS
TRACKS = [kvspic.Track("V_TEST", "video/x-test")]
FRAMES = 5


@pytest.fixture
def endpoint(tmp_path):
    with LocalEndpoint.run_in_thread(data_dir=tmp_path / "data") as made:
        yield made


class Camera:
    def __init__(self, stream):
        self.stream, self.count = stream, 0
        self.persisted = threading.Condition()
        stream.on_event(self._take)

    def _take(self, event):
        with self.persisted:
            self.persisted.notify_all()

    def put(self, fragments):
        for number in range(self.count * FRAMES, (self.count + fragments) * FRAMES):
            data = number.to_bytes(4, "big") + bytes(1000)
            self.stream.put_frame(data, pts=BASE_NS + number * SECOND_NS // FRAMES, key_frame=number % FRAMES == 0)
        self.count += fragments

    def wait(self, is_so):
        with self.persisted:
            assert self.persisted.wait_for(is_so, 20)

    def wait_for_health(self, is_so):
        end = time.monotonic() + 20
        while not is_so(self.stream.health()):
            assert time.monotonic() < end
            time.sleep(0.01)


def payloads(endpoint):
    return [int.from_bytes(block.payload[:4], "big") for part in endpoint.fragments("door") for block in part.blocks]


def test_a_suspended_stream_keeps_its_frames_and_goes_on_when_it_is_resumed(endpoint):
    with kvspic.Producer(endpoint_url=endpoint.url) as producer, producer.open_stream("door", TRACKS) as stream:
        camera = Camera(stream)
        camera.put(3)
        camera.wait(lambda: stream.metrics().fragments_done >= 2)
        stream.suspend()
        stream.suspend()
        sent = stream.metrics().bytes_sent
        camera.put(3)
        with pytest.raises(kvspic.KvsError):
            stream.flush(0.3)
        health = stream.health()
        assert not health.is_healthy
        assert "resume()" in health.reason
        assert stream.metrics().bytes_sent == sent
        stream.resume()
        camera.put(1)
        camera.wait(lambda: stream.metrics().fragments_done >= 6)
        assert stream.health().is_healthy
    assert stream.report.is_complete
    assert sorted(set(payloads(endpoint))) == list(range(7 * FRAMES))


def test_a_stream_that_is_suspended_before_it_ever_uploaded_goes_on_too(endpoint):
    with kvspic.Producer(endpoint_url=endpoint.url) as producer, producer.open_stream("door", TRACKS) as stream:
        stream.suspend()
        camera = Camera(stream)
        camera.put(2)
        with pytest.raises(kvspic.KvsError):
            stream.flush(0.2)
        stream.resume()
        stream.flush(10)
    assert payloads(endpoint) == list(range(2 * FRAMES))


def test_closing_a_suspended_stream_waits_for_nothing(endpoint):
    with kvspic.Producer(endpoint_url=endpoint.url) as producer:
        stream = producer.open_stream("door", TRACKS)
        stream.suspend()
        Camera(stream).put(1)
        report = stream.close(60)
    assert report.frames_buffered == FRAMES


def test_a_gate_that_shuts_suspends_the_stream_until_it_is_resumed(endpoint):
    is_open = threading.Event()
    is_open.set()
    with (
        kvspic.Producer(endpoint_url=endpoint.url) as producer,
        producer.open_stream("door", TRACKS, may_send=is_open.is_set) as stream,
    ):
        camera = Camera(stream)
        camera.put(3)
        camera.wait(lambda: stream.metrics().fragments_done >= 2)
        is_open.clear()
        stored = len(payloads(endpoint))
        camera.put(2)
        camera.wait_for_health(lambda health: "may_send" in health.reason)
        assert len(payloads(endpoint)) <= stored + FRAMES
        stream.resume()  # the gate is still shut
        camera.wait_for_health(lambda health: "may_send" in health.reason)
        is_open.set()
        stream.resume()
        stream.flush(10)
    assert stream.report.is_complete
    assert sorted(set(payloads(endpoint))) == list(range(5 * FRAMES))


def test_abort_frees_the_stream_at_once_and_resets_its_connection(endpoint, monkeypatch):
    made = []
    connect = socket.socket.setsockopt

    class Watched(socket.socket):
        def setsockopt(self, level, name, value):
            if name == socket.SO_LINGER:
                made.append(value)
            connect(self, level, name, value)

    monkeypatch.setattr(socket, "socket", Watched)
    with kvspic.Producer(endpoint_url=endpoint.url) as producer:
        stream = producer.open_stream("door", TRACKS)
        camera = Camera(stream)
        camera.put(3)
        camera.wait(lambda: stream.metrics().fragments_done >= 2)
        report = stream.abort()
        assert stream.abort() == report
        assert report.adds_up
        assert report.frames_buffered == FRAMES
        with pytest.raises(kvspic.KvsError):
            camera.put(1)
    assert [value[:4] for value in made] == [b"\x01\0\0\0"]


def test_the_asynchronous_facade_does_the_same(tmp_path):
    async def story():
        async with contextlib.AsyncExitStack() as stack:
            endpoint = await stack.enter_async_context(LocalEndpoint(tmp_path / "data"))
            return await play(await stack.enter_async_context(kvspic.AsyncProducer(endpoint_url=endpoint.url)))

    async def play(producer):
        stream = await producer.open_stream("door", TRACKS)
        camera = Camera(stream)
        camera.put(1)
        stream.suspend()
        camera.put(1)
        assert stream.health().state != StreamState.STREAMING
        stream.resume()
        await stream.flush(10)
        return stream.abort()

    assert asyncio.run(story()).is_complete


def test_a_spool_takes_on_while_the_stream_is_suspended(endpoint, tmp_path):
    options = {"spool": tmp_path / "spool", "store_size": 1 << 17}
    with kvspic.Producer(endpoint_url=endpoint.url) as producer:
        stream = producer.open_stream("door", TRACKS, **options)
        stream.suspend()
        Camera(stream).put(60)
        report = stream.abort()
        assert report.frames_spooled == 60 * FRAMES
        with producer.open_stream("door", TRACKS, **options) as again:
            again.flush(20)
    assert sorted(set(payloads(endpoint))) == list(range(60 * FRAMES))
