"""Connections. Goal: a client that does not use its connection loses it to those that do, and the log stays short."""

import asyncio
import socket
import subprocess
import sys
from urllib.parse import urlsplit

import pytest
from unit.local import mkv_bytes as mkv
from unit.local.aws import client
from unit.local.raw_client import Upload

from kvspic.local.gate import Gate, GateLimits, Guarded, connections_that_fit
from kvspic.local.server import LocalEndpoint
from kvspic.local.settings import Settings

HEAD = b"POST /listStreams HTTP/1.1\r\nhost: localhost\r\n"


@pytest.fixture
def gated(tmp_path):
    """``gated(connections_max=...)`` starts an endpoint with these limits."""
    running = []

    def start(**limits):
        found = LocalEndpoint.run_in_thread(
            data_dir=tmp_path / "data", settings=Settings.unlimited(), gate_limits=GateLimits(**limits)
        )
        running.append(found)
        return found.__enter__()

    yield start
    for found in running:
        found.__exit__(None, None, None)


@pytest.fixture
def connect():
    """``connect(url)`` opens a connection that says nothing."""
    made = []

    def begin(url):
        parts = urlsplit(url)
        made.append(socket.create_connection((parts.hostname, parts.port), timeout=10))
        return made[-1]

    yield begin
    for sock in made:
        sock.close()


def is_ended(sock):
    try:
        return sock.recv(1) == b""
    except ConnectionResetError:
        return True


def names(url):
    control = client("kinesisvideo", url)
    found = control.list_streams()["StreamInfoList"]
    control.close()
    return found


def test_there_is_room_for_as_many_as_there_are_descriptors_for():
    assert connections_that_fit() >= 8


@pytest.mark.skipif(sys.platform == "win32", reason="limits of POSIX")
def test_a_process_may_have_as_many_descriptors_as_its_user():
    code = (
        "import resource\n"
        "from kvspic.local.gate import allow_descriptors, connections_that_fit\n"
        "hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]\n"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))\n"
        "before = connections_that_fit()\n"
        "allow_descriptors()\n"
        "print(before, connections_that_fit() > before or hard == 256)\n"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=True)
    assert run.stdout.split() == ["96", "True"]


@pytest.mark.parametrize("sent", [b"", HEAD], ids=["nothing", "half a head"])
def test_a_connection_without_a_head_is_ended(gated, connect, sent):
    sock = connect(gated(head_timeout_s=0.2).url)
    sock.sendall(sent)
    assert is_ended(sock)


def test_silent_connections_give_their_places_to_those_that_ask(gated, connect, caplog):
    endpoint = gated(connections_max=4, head_timeout_s=60)
    silent = [connect(endpoint.url) for _ in range(40)]
    for _ in range(3):
        assert names(endpoint.url) == []
    assert is_ended(silent[0])
    assert len([record for record in caplog.records if "connections are taken" in record.message]) == 1


def test_those_that_work_keep_their_places_and_the_next_one_waits(gated, connect):
    endpoint = gated(connections_max=2)
    control = client("kinesisvideo", endpoint.url)
    control.create_stream(StreamName="cam", DataRetentionInHours=1)
    with Upload(endpoint.url) as upload:
        upload.send(mkv.header() + mkv.cluster(1000) + mkv.END)
        assert upload.head()[0] == 200
        waiting = connect(endpoint.url)
        waiting.sendall(HEAD + b"content-length: 2\r\n\r\n{}")
        waiting.settimeout(0.1)
        with pytest.raises(TimeoutError):
            waiting.recv(1)
        control.close()
        waiting.settimeout(10)
        assert waiting.recv(12) == b"HTTP/1.1 200"
        assert [upload.ack()["EventType"] for _ in range(3)] == ["BUFFERING", "RECEIVED", "PERSISTED"]


def test_an_address_has_so_many_connections(gated, connect):
    endpoint = gated(address_max=2, head_timeout_s=60)
    first, second, third = (connect(endpoint.url) for _ in range(3))
    assert is_ended(third)
    first.sendall(HEAD + b"content-length: 2\r\n\r\n{}")
    assert first.recv(12) == b"HTTP/1.1 200"
    second.close()


class Transport:
    """Says when it was ended."""

    def __init__(self):
        self.ended = asyncio.Event()

    def abort(self):
        self.ended.set()


@pytest.mark.parametrize("reads_again", [False, True])
def test_a_client_that_reads_nothing_of_its_answer_is_ended(reads_again):
    async def story():
        gate = Gate(GateLimits(stall_timeout_s=0.05), asyncio.Protocol, None)
        guarded, transport = Guarded(gate, asyncio.Protocol(), "127.0.0.1"), Transport()
        guarded.connection_made(transport)
        guarded.head_is_here()
        guarded.pause_writing()
        if reads_again:
            guarded.resume_writing()
        try:
            await asyncio.wait_for(transport.ended.wait(), 0.2 if reads_again else 10)
        except asyncio.TimeoutError:
            return False
        return True

    assert asyncio.run(story()) is not reads_again
