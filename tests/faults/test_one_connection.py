"""The published quota: one PutMedia connection of a stream, the newest refused. Goal: a refusal for an older connection
is no outage, costs next to nothing, and nothing is lost or reported failed."""

import asyncio
import contextlib
from dataclasses import replace
from datetime import timedelta

import pytest
from unit.provider.servers import run_watched

import kvspic

pytest.importorskip("aiohttp")
from kvspic.local.quotas import Quotas
from kvspic.local.server import LocalEndpoint
from kvspic.local.settings import Settings

SECOND_NS = 1_000_000_000
BASE_NS = 1_700_000_000 * SECOND_NS
HNS_PER_S = 10_000_000
TRACKS = [kvspic.Track("V_TEST", "video/x-test")]
FRAMES = 5


class Camera:
    """Puts fragments of a second, each with its number in the payload."""

    def __init__(self, stream, size=1000):
        self.stream, self.size, self.count = stream, size, 0

    def put(self, fragments=1):
        for number in range(self.count * FRAMES, (self.count + fragments) * FRAMES):
            data = number.to_bytes(4, "big") + bytes(self.size)
            self.stream.put_frame(data, pts=BASE_NS + number * SECOND_NS // FRAMES, key_frame=number % FRAMES == 0)
        self.count += fragments


def payloads(endpoint, name="door"):
    return [int.from_bytes(block.payload[:4], "big") for part in endpoint.fragments(name) for block in part.blocks]


def kinds(events):
    return [type(event) for event in events]


async def until(is_so, seconds=10.0):
    async with asyncio.timeout(seconds) if hasattr(asyncio, "timeout") else contextlib.AsyncExitStack():
        while not is_so():
            await asyncio.sleep(0.005)


@contextlib.asynccontextmanager
async def producing(folder, events, *, sessions_max=1, persist_s=0.1, **options):
    quotas = replace(Quotas.off(), sessions_max=sessions_max)
    settings = Settings.unlimited(quotas=quotas, persist_delay_hns=int(persist_s * HNS_PER_S))
    async with contextlib.AsyncExitStack() as stack:
        endpoint = await stack.enter_async_context(LocalEndpoint(folder, settings=settings))
        producer = await stack.enter_async_context(kvspic.AsyncProducer(endpoint_url=endpoint.url))
        yield endpoint, await producer.open_stream("door", TRACKS, on_event=events.append, **options)


@pytest.mark.parametrize("sessions_max", [0, 1])
def test_rotations_are_never_refused_and_lose_and_repeat_nothing(tmp_path, sessions_max):
    events, healths = [], []

    async def story():
        async with producing(tmp_path, events, sessions_max=sessions_max, persist_s=0.5) as (endpoint, stream):
            camera = Camera(stream, size=10_000)
            for number in range(4):
                camera.put(2)
                await until(lambda done=2 * number + 1: stream.metrics().fragments_done >= done)
                stream.set_codec_private(1, bytes([number]))  # the next key frame wants a connection of its own
                healths.append(stream.health().is_healthy)
            camera.put(1)
            report = await stream.close()
            return report, payloads(endpoint)

    report, stored = run_watched(story(), 40)
    assert report.is_complete
    assert report.bytes_sent <= 1.02 * report.bytes_put
    assert stored == list(range(9 * FRAMES))
    assert kinds(events).count(kvspic.StreamFailed) == 0
    assert kinds(events).count(kvspic.StreamReady) == 1
    assert all(healths)
    assert kinds(events).count(kvspic.ConnectionBusy) == 0  # each connection waits for the one before it


def test_a_connection_of_somebody_else_is_waited_for(tmp_path):
    events, others = [], []

    async def story():
        async with producing(tmp_path, others) as (endpoint, other):
            Camera(other).put(2)
            await until(lambda: other.metrics().fragments_done >= 1)
            async with kvspic.AsyncProducer(endpoint_url=endpoint.url) as producer:
                stream = await producer.open_stream("door", TRACKS, on_event=events.append)
                camera = Camera(stream)
                camera.count = 100
                camera.put(2)
                await until(lambda: kvspic.ConnectionBusy in kinds(events))
                await asyncio.sleep(1.0)
                state_while_refused = stream.health().state
                assert kvspic.StreamState.STREAMING not in [getattr(event, "new", None) for event in events]
                await other.close(5)
                await until(lambda: stream.metrics().fragments_done >= 1)
                assert kvspic.StreamState.STREAMING in [getattr(event, "new", None) for event in events]
                return state_while_refused, await stream.close(), payloads(endpoint)

    state, report, stored = run_watched(story(), 40)
    assert state == kvspic.StreamState.PUT_STREAM
    assert report.is_complete
    assert stored[-2 * FRAMES :] == list(range(100 * FRAMES, 102 * FRAMES))
    assert kinds(events).count(kvspic.ConnectionBusy) == 1
    assert kinds(events).count(kvspic.StreamFailed) == 0
    assert kinds(events).count(kvspic.StreamReady) == 1
    described = [event for event in events if getattr(event, "new", None) == kvspic.StreamState.DESCRIBE]
    assert len(described) <= 1


def test_a_first_connection_opens_before_frames_and_a_close_ends_the_wait(tmp_path):
    events, others = [], []

    async def story():
        async with producing(tmp_path, others) as (endpoint, other):
            Camera(other).put(1)
            await until(lambda: other.metrics().bytes_sent > 0)
            async with kvspic.AsyncProducer(endpoint_url=endpoint.url) as producer:
                stream = await producer.open_stream(
                    "door", TRACKS, on_event=events.append, retention=timedelta(hours=1)
                )
                Camera(stream).put(1)
                await until(lambda: kvspic.ConnectionBusy in kinds(events))
                return await stream.close(0.1)

    report = run_watched(story(), 20)
    assert report.frames_buffered == FRAMES
    assert report.adds_up
