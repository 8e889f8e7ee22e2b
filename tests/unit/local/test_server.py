"""Starting and stopping the endpoint. Goal: it starts in each of three ways, says clearly why it cannot, and leaves
nothing open behind it."""

import asyncio
import json
import logging
import os
import signal
import ssl
import subprocess
import sys
import threading
import urllib.error
import urllib.request

import pytest
from unit.local import mkv_bytes as mkv
from unit.local.aws import client
from unit.local.raw_client import Upload, put

from kvspic.local.errors import DataDirLockedError, LocalEndpointError, PortInUseError
from kvspic.local.server import LocalEndpoint
from kvspic.local.settings import Settings
from kvspic.units import HNS_PER_S


def create(url, name="cam"):
    control = client("kinesisvideo", url)
    control.create_stream(StreamName=name, DataRetentionInHours=1)
    control.close()


def names(url):
    control = client("kinesisvideo", url)
    found = [info["StreamName"] for info in control.list_streams()["StreamInfoList"]]
    control.close()
    return found


def test_it_runs_inside_a_loop(tmp_path):
    async def main():
        async with LocalEndpoint(data_dir=tmp_path, settings=Settings.unlimited()) as endpoint:
            await asyncio.to_thread(create, endpoint.url)
            return await asyncio.to_thread(names, endpoint.url)

    assert asyncio.run(main()) == ["cam"]


def test_it_runs_in_a_thread_that_is_gone_afterwards(tmp_path):
    before = set(threading.enumerate())
    with LocalEndpoint.run_in_thread(data_dir=tmp_path, settings=Settings.unlimited()) as endpoint:
        create(endpoint.url)
        assert set(threading.enumerate()) - before
    left = set(threading.enumerate()) - before
    assert not [thread.name for thread in left if thread.name.startswith("kvspic-local")]


def test_it_serves_until_it_is_cancelled(tmp_path):
    async def main():
        ready = asyncio.get_running_loop().create_future()
        serving = asyncio.create_task(
            LocalEndpoint(data_dir=tmp_path, settings=Settings.unlimited()).serve_forever(ready.set_result)
        )
        url = await ready
        found = await asyncio.to_thread(names, url)
        serving.cancel()
        await asyncio.gather(serving, return_exceptions=True)
        return url, found

    url, found = asyncio.run(main())
    assert (url.startswith("http://127.0.0.1:"), found) == (True, [])


def test_sigterm_ends_a_server_that_runs_for_ever(tmp_path):
    code = (
        "import asyncio, os, signal\n"
        "from kvspic.local.server import LocalEndpoint\n"
        f"endpoint = LocalEndpoint(data_dir={str(tmp_path)!r})\n"
        "asyncio.run(endpoint.serve_forever(lambda url: os.kill(os.getpid(), signal.SIGTERM)))\n"
        "print('ended')\n"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=False)
    assert (run.returncode, run.stdout, run.stderr) == (0, "ended\n", "")


def test_streams_and_fragments_survive_a_restart_and_numbers_go_on_growing(tmp_path):
    with LocalEndpoint.run_in_thread(data_dir=tmp_path, settings=Settings.unlimited()) as endpoint:
        create(endpoint.url)
        put(endpoint.url, mkv.body(2))
    with LocalEndpoint.run_in_thread(data_dir=tmp_path, settings=Settings.unlimited()) as endpoint:
        assert names(endpoint.url) == ["cam"]
        put(endpoint.url, mkv.body(1, start=1_700_000_000_000))
        numbers = [int(one.number) for one in endpoint.fragments("cam")]
        assert len(numbers) == 3
        assert numbers == sorted(numbers)


def test_a_port_in_use_is_named(tmp_path):
    with LocalEndpoint.run_in_thread(data_dir=tmp_path / "a", settings=Settings.unlimited()) as first:
        port = int(first.url.rpartition(":")[2])
        second = LocalEndpoint(data_dir=tmp_path / "b", port=port)
        with pytest.raises(PortInUseError, match=f"port {port} on 127.0.0.1 is in use"):
            asyncio.run(second.start())
    with LocalEndpoint.run_in_thread(data_dir=tmp_path / "b", port=port, settings=Settings.unlimited()) as second:
        assert second.url == first.url


def test_a_locked_data_directory_is_named_and_the_port_is_free_again(tmp_path):
    with LocalEndpoint.run_in_thread(data_dir=tmp_path, settings=Settings.unlimited()):
        second = LocalEndpoint(data_dir=tmp_path, settings=Settings.unlimited())
        with pytest.raises(DataDirLockedError, match="is in use by another endpoint"):
            asyncio.run(second.start())


def test_a_port_in_use_by_the_server_of_the_same_directory_names_that_server(tmp_path):
    with LocalEndpoint.run_in_thread(data_dir=tmp_path, settings=Settings.unlimited()) as first:
        second = LocalEndpoint(data_dir=tmp_path, port=int(first.url.rpartition(":")[2]))
        with pytest.raises(DataDirLockedError, match=f"in use by another endpoint at {first.url}"):
            asyncio.run(second.start())


def test_an_address_of_another_machine_is_refused(tmp_path):
    far = LocalEndpoint.run_in_thread(data_dir=tmp_path, host="192.0.2.1", is_insecure=True)
    with pytest.raises(LocalEndpointError, match="cannot listen on"), far:
        pass


def test_fragments_are_for_a_running_endpoint(tmp_path):
    with pytest.raises(LocalEndpointError, match="not running"):
        LocalEndpoint(data_dir=tmp_path, settings=Settings.unlimited()).fragments("cam")


def test_it_stops_soon_with_an_upload_open_and_keeps_its_whole_fragments(tmp_path):
    with LocalEndpoint.run_in_thread(data_dir=tmp_path, settings=Settings.unlimited()) as endpoint:
        create(endpoint.url)
        upload = Upload(endpoint.url)
        upload.send(mkv.header() + mkv.cluster(5) + mkv.END + mkv.cluster(1005))
        assert upload.head()[0] == 200
        assert sorted(upload.ack()["EventType"] for _ in range(4))[2:] == ["PERSISTED", "RECEIVED"]
    upload.close()
    with LocalEndpoint.run_in_thread(data_dir=tmp_path, settings=Settings.unlimited()) as endpoint:
        assert [one.timecode for one in endpoint.fragments("cam")] == [5]


def test_a_new_stream_is_creating_for_as_long_as_was_set(tmp_path):
    settings = Settings.unlimited(creating_hns=3600 * HNS_PER_S)
    with LocalEndpoint.run_in_thread(data_dir=tmp_path, settings=settings) as endpoint:
        create(endpoint.url)
        control = client("kinesisvideo", endpoint.url)
        assert control.describe_stream(StreamName="cam")["StreamInfo"]["Status"] == "CREATING"
        control.close()
        with Upload(endpoint.url) as upload:
            assert upload.refusal()[1] == "ResourceNotFoundException"


def test_it_speaks_tls(tmp_path, certificate):
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(certificate)
    with LocalEndpoint.run_in_thread(
        data_dir=tmp_path / "data", ssl_context=server, settings=Settings.unlimited()
    ) as endpoint:
        assert endpoint.url.startswith("https://127.0.0.1:")
        control = client("kinesisvideo", endpoint.url, verify=str(certificate))
        control.create_stream(StreamName="cam")
        assert control.get_data_endpoint(StreamName="cam", APIName="GET_MEDIA")["DataEndpoint"] == endpoint.url
        control.close()
        trusting = ssl.create_default_context(cafile=certificate)
        with Upload(endpoint.url, tls=trusting) as upload:
            upload.send(mkv.header() + mkv.cluster(5) + mkv.END)
            assert upload.head()[0] == 200
            assert [upload.ack()["EventType"] for _ in range(2)] == ["BUFFERING", "RECEIVED"]
            upload.end()
            assert upload.acks() == []


def read(url, path):
    with urllib.request.urlopen(url + path, timeout=10) as answer:
        return answer.read().decode()


def test_it_says_that_it_works_and_what_it_counts(tmp_path, caplog):
    caplog.set_level(logging.INFO, "kvspic.local.app")
    with LocalEndpoint.run_in_thread(data_dir=tmp_path, settings=Settings.unlimited()) as endpoint:
        create(endpoint.url)
        put(endpoint.url, mkv.body(2))
        with pytest.raises(urllib.error.HTTPError) as caught:
            read(endpoint.url, "/nothing")
        caught.value.close()
        assert json.loads(read(endpoint.url, "/healthz")) == {"status": "ok"}
        lines = read(endpoint.url, "/metrics").splitlines()
    assert 'kvspic_endpoint_requests_total{operation="createStream",outcome="200"} 1' in lines
    assert 'kvspic_endpoint_requests_total{operation="putMedia",outcome="200"} 1' in lines
    assert 'kvspic_endpoint_requests_total{operation="other",outcome="UnknownOperationException"} 1' in lines
    assert 'kvspic_endpoint_acks_total{event="PERSISTED"} 2' in lines
    assert f"kvspic_endpoint_received_bytes_total {len(mkv.body(2))}" in lines
    assert {"kvspic_endpoint_streams 1", "kvspic_endpoint_uploads 0"} <= set(lines)
    assert any("POST /createStream 200" in record.getMessage() for record in caplog.records)


def test_it_lets_an_upload_end_before_it_stops(tmp_path):
    async def main():
        endpoint = LocalEndpoint(data_dir=tmp_path, settings=Settings.unlimited())
        ready = asyncio.get_running_loop().create_future()
        serving = asyncio.create_task(endpoint.serve_forever(ready.set_result))
        url = await ready
        await asyncio.to_thread(create, url)
        upload = await asyncio.to_thread(Upload, url)
        upload.send(mkv.header() + mkv.cluster(5))
        assert (await asyncio.to_thread(upload.head))[0] == 200
        os.kill(os.getpid(), signal.SIGTERM)
        assert (await asyncio.to_thread(upload.ack))["EventType"] == "BUFFERING"
        upload.send(mkv.END)
        upload.end()
        events = await asyncio.to_thread(upload.events)
        await serving
        upload.close()
        return events

    assert asyncio.run(main()) == ["RECEIVED", "PERSISTED"]


def test_media_that_retention_does_not_cover_is_deleted_while_it_runs(tmp_path):
    settings = Settings.unlimited(host_buffer_hns=0)
    running = LocalEndpoint.run_in_thread(data_dir=tmp_path, settings=settings, expire_seconds=0.05)
    with running as endpoint:
        control = client("kinesisvideo", endpoint.url)
        control.create_stream(StreamName="cam", DataRetentionInHours=1)
        put(endpoint.url, mkv.body(2))
        assert sum(path.stat().st_size for path in (tmp_path / "media").iterdir()) > 0
        endpoint._hub.service.streams.find({"StreamName": "cam"}, 0).retention_hours = 0  # an hour has passed
        while list((tmp_path / "media").iterdir()):
            pass
        control.close()
        assert endpoint.fragments("cam") == []
