"""Control plane under faults. Goal: a call without an answer ends in time with one sentence, and no secret is shown."""

import asyncio
import json
import logging
import socket

import botocore.config
import pytest
from unit.provider.certificates import make_tls_pair
from unit.provider.servers import json_answer, loopback_server, run_watched

from kvspic.provider import clients
from kvspic.provider.control import ControlPlane
from kvspic.provider.credentials import CallableCredentials, StaticCredentials
from kvspic.provider.results import ServiceError, ServiceResult

KEYS = StaticCredentials("AKIDEXAMPLE", "SECRET-TEXT", "TOKEN-TEXT")


def refused(url, credentials=KEYS):
    async def question():
        await ControlPlane(endpoint_url=url, region="us-east-1", credentials=credentials).describe_stream("door")

    with pytest.raises(ServiceError) as caught:
        run_watched(question(), seconds=30)
    return caught.value


def refused_by(script, tls=None):
    async def story():
        async with loopback_server(script, tls) as url:
            control = ControlPlane(endpoint_url=url, region="us-east-1", credentials=KEYS)
            with pytest.raises(ServiceError) as caught:
                await control.describe_stream("door")
            return caught.value

    return run_watched(story(), seconds=30)


def test_a_closed_port_is_told_with_its_place():
    listener = socket.create_server(("127.0.0.1", 0))
    url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    listener.close()
    error = refused(url)
    assert error.is_unreachable
    assert error.result is ServiceResult.UNKNOWN
    assert url in str(error)


def test_a_silent_service_is_a_timeout(monkeypatch):
    """The real limits are 5 s and 10 s; the test shortens them on the way into botocore."""
    real = botocore.config.Config
    seen = {}

    def short(**options):
        seen.update(options)
        return real(**{**options, "read_timeout": 0.2})

    monkeypatch.setattr(botocore.config, "Config", short)
    monkeypatch.setattr(clients, "_clients", {})

    async def script(peer):
        await peer.reader.read()

    error = refused_by(script)
    assert error.result is ServiceResult.READ_TIMEOUT
    assert error.is_unreachable
    assert (seen["connect_timeout"], seen["read_timeout"]) == (5, 10)
    assert seen["retries"]["total_max_attempts"] == 1
    for made in clients._clients.values():
        made.close()


@pytest.mark.parametrize("answer", [b"", b"SSH-2.0-OpenSSH\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\n{"])
def test_a_broken_answer_is_an_error_without_traceback_text(answer):
    async def script(peer):
        await peer.read_head()
        await peer.read_body()
        await peer.say(answer)
        peer.writer.close()

    error = refused_by(script)
    assert error.result is ServiceResult.UNKNOWN
    assert "Traceback" not in str(error)


def test_an_answer_that_is_no_json_is_an_error():
    async def script(peer):
        await peer.read_head()
        await peer.read_body()
        await peer.say(json_answer(200, b"<html>"))

    assert refused_by(script).result is ServiceResult.UNKNOWN


def test_an_untrusted_server_is_a_matter_of_configuration(tmp_path):
    async def script(peer):
        await peer.read_head()

    assert refused_by(script, make_tls_pair(tmp_path)[0]).result is ServiceResult.NOT_AUTHORIZED


def test_an_impossible_name_is_an_invalid_argument():
    async def question():
        await ControlPlane(endpoint_url="http://127.0.0.1:9", credentials=KEYS).describe_stream("")

    with pytest.raises(ServiceError, match="Invalid length") as caught:
        run_watched(question(), seconds=30)
    assert caught.value.result is ServiceResult.INVALID_ARG


def test_a_source_of_the_users_that_fails_is_told_by_its_kind():
    def broken():
        raise RuntimeError("SECRET-TEXT")

    error = refused("http://127.0.0.1:9", CallableCredentials(broken))
    assert "SECRET-TEXT" not in str(error)
    assert error.result is ServiceResult.UNKNOWN


def test_no_keys_is_told_with_a_remedy(monkeypatch, tmp_path):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    for name in ("AWS_SHARED_CREDENTIALS_FILE", "AWS_CONFIG_FILE"):
        monkeypatch.setenv(name, str(tmp_path / name))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    error = refused("https://kvs.example:9", None)  # no name is looked up: keys come first
    assert error.result is ServiceResult.NOT_AUTHORIZED
    assert "AWS_ACCESS_KEY_ID" in str(error)


def test_a_call_may_be_cancelled_and_others_go_on():
    async def script(peer):
        while True:
            await peer.read_head()
            if json.loads(await peer.read_body())["StreamName"] == "slow":
                await asyncio.Event().wait()
            await peer.say(json_answer(200, {"StreamInfo": {"Status": "ACTIVE", "StreamARN": "arn"}}))

    async def story():
        async with loopback_server(script) as url:
            control = ControlPlane(endpoint_url=url, credentials=KEYS)
            slow = asyncio.ensure_future(control.describe_stream("slow"))
            assert (await control.describe_stream("door")).status == "ACTIVE"
            slow.cancel()
            with pytest.raises(asyncio.CancelledError):
                await slow
            return (await control.describe_stream("door")).status

    assert run_watched(story(), seconds=30) == "ACTIVE"


def test_no_secret_is_logged_even_at_debug_level(caplog):
    caplog.set_level(logging.DEBUG)
    canonical = "The request signature we calculated does not match.\n\nx-amz-security-token:TOKEN-TEXT"

    async def script(peer):
        while True:
            await peer.read_head()
            await peer.read_body()
            await peer.say(json_answer(403, {"message": canonical}, "x-amzn-ErrorType: InvalidSignatureException"))

    error = refused_by(script)
    assert "TOKEN-TEXT" not in str(error)
    for secret in ("SECRET-TEXT", "TOKEN-TEXT", "Signature="):
        assert secret not in caplog.text
