"""A service that floods its answer. Goal: every public call keeps its bound, and the upload ends with a sentence.

The server is a process of its own, so that nothing but our own reading can hold our calls up.
"""

import json
import subprocess
import sys
import threading
import time

import pytest

import kvspic

pytest.importorskip("aiohttp")

SECOND_NS = 1_000_000_000
BASE_NS = 1_700_000_000 * SECOND_NS
TRACKS = [kvspic.Track("V_TEST", "video/x-test")]

SERVER = r"""
import json, socket, sys, threading
ACCEPTED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
chunk = lambda data: b"%x\r\n%s\r\n" % (len(data), data)
IDLE = b'{"EventType":"IDLE"}\n'
FLOODS = {
    "continue": (b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 100),
    "idle": (ACCEPTED, chunk(IDLE) * 300),
    "garbage": (ACCEPTED, chunk(b"}{\xff" * 3000)),
    "huge": (ACCEPTED, chunk(b'{"EventType":"' + b"x" * 1000000 + b'"}')),
    "unknown": (ACCEPTED, chunk(b'{"EventType":"PERSISTED","FragmentTimecode":5,"FragmentNumber":"9"}\n') * 100),
    "refusal": (b"HTTP/1.1 500 No\r\nContent-Length: 1000000000\r\n\r\n", b" " * 65536),
    "nothing": (ACCEPTED, b"1;" + b"e" * 3000 + b"\r\nx\r\n"),
}
begin, again = FLOODS[sys.argv[1]]
listener = socket.create_server(("127.0.0.1", 0))
port = listener.getsockname()[1]
print(port, flush=True)
ANSWERS = {
    "/describeStream": {"StreamInfo": {"StreamName": "door", "Status": "ACTIVE", "DataRetentionInHours": 2}},
    "/getDataEndpoint": {"DataEndpoint": f"http://127.0.0.1:{port}"},
}
def serve(sock):
    try:
        head = b""
        while b"\r\n\r\n" not in head:
            head += sock.recv(65536)
        path = head.split(b" ")[1].decode()
        if path in ANSWERS:
            body = json.dumps(ANSWERS[path]).encode()
            sock.sendall(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
            return
        drain = threading.Thread(target=lambda: [None for _ in iter(lambda: sock.recv(65536), b"")], daemon=True)
        drain.start()
        sock.sendall(begin)
        while True:
            sock.sendall(again)
    except OSError:
        pass
    finally:
        sock.close()
while True:
    threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()
"""


def timed(call, *args, **options):
    start = time.monotonic()
    result = call(*args, **options)
    return result, time.monotonic() - start


@pytest.fixture
def flooding(request):
    server = subprocess.Popen([sys.executable, "-c", SERVER, request.param], stdout=subprocess.PIPE, text=True)
    try:
        yield f"http://127.0.0.1:{int(server.stdout.readline())}"
    finally:
        server.kill()
        server.wait()
        server.stdout.close()


FLOODS = ["continue", "idle", "garbage", "huge", "unknown", "refusal", "nothing"]


@pytest.mark.parametrize("flooding", FLOODS, indirect=True)
def test_every_public_call_keeps_its_bound_under_a_flood(flooding):
    ended = threading.Event()

    def watch(event):
        if isinstance(event, kvspic.StateChanged) and event.old == kvspic.StreamState.STREAMING:
            ended.set()
        if isinstance(event, kvspic.StreamFailed):
            ended.set()

    producer = kvspic.Producer(endpoint_url=flooding)
    stream, took_s = timed(producer.open_stream, "door", TRACKS, timeout=10, on_event=watch)
    assert took_s < 5
    waits = []
    for number in range(30):
        waits.append(timed(stream.put_frame, bytes(1000), pts=BASE_NS + number * SECOND_NS // 5, key_frame=True)[1])
        time.sleep(0.02)
    assert max(waits) < 1
    for call in (stream.health, stream.metrics, lambda: stream.report):
        assert timed(call)[1] < 1
    other, took_s = timed(producer.open_stream, "door-2", TRACKS, timeout=10)
    assert took_s < 5
    assert timed(other.close, 0.2)[1] < 2
    with pytest.raises(kvspic.KvsError):
        timed(stream.flush, 0.5)
    report, took_s = timed(stream.close, 1.0)
    assert took_s < 3
    assert report.adds_up
    assert timed(producer.close, 1.0)[1] < 3
    assert json.dumps(str(report))
