"""Rotation. Goal: with keys that live for a minute, the store has each fragment once and no gap, whatever their number.

The endpoint checks each signature; the core's clock is moved on by the length of each fragment, so minutes take
milliseconds and no timer of a real stream is skipped.
"""

import asyncio
import time
from dataclasses import replace

import pytest
from unit.provider.iot_double import ALIAS, THING, iot_double, make_files
from unit.provider.servers import run_watched

import kvspic
from kvspic.provider.credentials import CallableCredentials, Credentials
from kvspic.provider.credentials_file import FileCredentials
from kvspic.provider.credentials_iot import IotCredentials, IotRole

pytest.importorskip("aiohttp")
from kvspic.local.quotas import Quotas
from kvspic.local.server import LocalEndpoint
from kvspic.local.settings import Settings

SECOND_HNS = 10_000_000
FRAGMENT_S = 2
LIFE_S = 60
FRAMES = 4  # of each fragment
PERSISTED = kvspic.AckType.PERSISTED
TRACKS = [kvspic.Track("V_TEST", "video/x-test")]


class MinuteKeys:
    """New keys at each call, which live for a minute."""

    def __init__(self):
        self.given_count = 0
        self.secrets = {f"ASIA{number:04}": f"secret-{number}" for number in range(2000)}

    def __call__(self):
        key = f"ASIA{self.given_count % 2000:04}"
        self.given_count += 1
        return Credentials(key, self.secrets[key], "token", time.time() + LIFE_S)


class Camera:
    """Puts fragments and moves the core's clock on by their length."""

    def __init__(self, producer, stream, events):
        self._work = producer._work
        self._stream = stream
        self._events = events
        (opened,) = self._work.streams.values()
        self._core = opened.core
        self._now_ns = self._work.clock.now_hns() * 100
        self.put_count = 0

    async def put_fragment(self):
        for frame in range(FRAMES):
            pts = self._now_ns + frame * FRAGMENT_S * 1_000_000_000 // FRAMES
            data = (self.put_count * FRAMES + frame).to_bytes(8, "big")
            self._stream.put_frame(data, pts=pts, key_frame=frame == 0)
        self.put_count += 1
        self._now_ns += FRAGMENT_S * 1_000_000_000
        self._work.clock.offset_hns += FRAGMENT_S * SECOND_HNS
        self._core.set_clock(self._work.clock.offset_hns)
        self._work._driver.take_turn()
        await self._persisted(self.put_count - 1)  # the last one is open until the next begins

    async def _persisted(self, count):
        while sum(isinstance(event, kvspic.FragmentPersisted) for event in self._events) < count:
            self._events.news.clear()
            await asyncio.wait_for(self._events.news.wait(), 10)


class Events(list):
    """All events, and a bell for the test that waits for the next."""

    def __init__(self):
        super().__init__()
        self.news = asyncio.Event()

    def take(self, event):
        self.append(event)
        self.news.set()


async def record(folder, keys, fragment_count, sessions_max):
    """Upload fragments under rotating keys; return the stored fragments, the events and the report."""
    settings = Settings(quotas=replace(Quotas(), sessions_max=sessions_max))
    events = Events()
    async with LocalEndpoint(folder, access_keys=keys.secrets, settings=settings) as endpoint:
        async with kvspic.AsyncProducer(endpoint_url=endpoint.url, credentials=CallableCredentials(keys)) as producer:
            stream = await producer.open_stream("door", TRACKS, on_event=events.take)
            camera = Camera(producer, stream, events)
            for _ in range(fragment_count):
                await camera.put_fragment()
            report = await stream.close()
        return endpoint.fragments("door"), events, report


@pytest.mark.parametrize("sessions_max", [0, 1])
def test_rotation_of_minute_keys_leaves_no_gap_and_no_duplicate(tmp_path, sessions_max):
    keys = MinuteKeys()
    count = 5 * LIFE_S // FRAGMENT_S
    stored, events, report = run_watched(record(tmp_path, keys, count, sessions_max), seconds=60)
    payloads = [int.from_bytes(block.payload, "big") for fragment in stored for block in fragment.blocks]
    assert payloads == list(range(count * FRAMES))
    assert len(stored) == count
    assert len({fragment.producer_hns for fragment in stored}) == count
    assert sum(isinstance(event, kvspic.CredentialsRotated) for event in events) >= 4
    assert report.is_complete
    persisted = [event for event in events if isinstance(event, kvspic.AckReceived) and event.type == PERSISTED]
    assert len(persisted) == count  # a fragment that went up twice would be acknowledged twice
    assert not [event for event in events if isinstance(event, kvspic.ErrorAck | kvspic.FramesDropped | kvspic.Stalled)]


def upload_with(folder, source, secrets):
    """Two fragments under the keys of ``source``, which the endpoint checks; the report."""
    with (
        LocalEndpoint.run_in_thread(folder, access_keys=secrets) as endpoint,
        kvspic.Producer(endpoint_url=endpoint.url, credentials=source) as producer,
        producer.open_stream("door", TRACKS) as stream,
    ):
        for number in range(10):
            stream.put_frame(bytes(100), pts=time.time_ns() + number * 400_000_000, key_frame=number % 5 == 0)
    return stream.report


def test_a_producer_takes_keys_by_certificate(tmp_path):
    files = make_files(tmp_path)
    with iot_double(files, time.time) as double:
        role = IotRole(double.endpoint, THING, ALIAS)
        source = IotCredentials(role, files / "device.pem", files / "device.key", files / "ca.pem")
        report = upload_with(tmp_path / "data", source, {"ASIADOUBLE1": "top-secret-1"})
    assert report.is_complete
    assert report.fragments_done == 2


def test_a_producer_takes_keys_from_a_file(tmp_path):
    (tmp_path / "keys").write_text("CREDENTIALS AKIDFILE the-secret")
    report = upload_with(tmp_path / "data", FileCredentials(tmp_path / "keys"), {"AKIDFILE": "the-secret"})
    assert report.is_complete
