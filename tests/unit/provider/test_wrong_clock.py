"""A machine whose clock is hours off. Goal: it uploads like any other, with fixed keys and with keys that expire."""

import contextlib
import time

import pytest
from unit.provider.aws_doubles import container, no_aws

import kvspic
from kvspic.provider.clock import SERVICE_CLOCK
from kvspic.provider.control import ControlPlane
from kvspic.provider.credentials import BotocoreCredentials, StaticCredentials
from kvspic.provider.credentials_file import FileCredentials
from kvspic.provider.credentials_iot import IotCredentials, IotRole

pytest.importorskip("aiohttp")
from kvspic.local.server import LocalEndpoint

TRACKS = [kvspic.Track("V_TEST", "video/x-test")]
SECRETS = {"ASIA1": "s", "ASIA2": "s"}


@pytest.fixture(params=[-3 * 3600, 3 * 3600, -time.time()], ids=["behind", "ahead", "1970"])
def off_s(request, monkeypatch):
    """How far the clock is off that signatures and expiries go by."""
    monkeypatch.setattr(SERVICE_CLOCK, "_wall", lambda: time.time() + request.param)
    return request.param


def upload(folder, source):
    with (
        LocalEndpoint.run_in_thread(folder, access_keys=SECRETS) as endpoint,
        kvspic.Producer(endpoint_url=endpoint.url, credentials=source) as producer,
        producer.open_stream("door", TRACKS) as stream,
    ):
        for number in range(10):
            stream.put_frame(bytes(100), pts=time.time_ns() + number * 400_000_000, key_frame=number % 5 == 0)
    return stream.report


def test_there_is_one_clock_of_the_service_in_a_process():
    role = IotRole("x.example", "thing", "alias")
    iot = IotCredentials(role, "device.pem", "device.key")
    plane = ControlPlane(endpoint_url="http://127.0.0.1:1")
    clocks = (iot._clock, FileCredentials("keys")._clock, BotocoreCredentials()._clock, plane.clock)
    assert all(clock is SERVICE_CLOCK for clock in clocks)


def test_fixed_keys_upload(tmp_path, off_s):
    assert upload(tmp_path / "data", StaticCredentials("ASIA1", "s")).is_complete
    assert SERVICE_CLOCK.offset_s == pytest.approx(-off_s, abs=5)


def test_keys_that_live_an_hour_upload_and_are_not_asked_for_at_each_call(tmp_path, off_s, monkeypatch):
    bare = no_aws(monkeypatch, tmp_path)
    with contextlib.ExitStack() as stack:
        url, seen = stack.enter_context(container([3600, 3600]))
        bare.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", url)
        assert upload(tmp_path / "data", BotocoreCredentials()).is_complete
    assert len(seen) <= 2  # the first signature was refused, and other keys asked for with the right time
