"""Calls over idle connections. Goal: the same answers as botocore's, however they are cut, and nothing sent twice."""

import queue
from types import SimpleNamespace

import pytest
import urllib3.util
from unit.provider.servers import json_answer, loopback_server, run_watched

from kvspic.provider import exchange
from kvspic.provider.control import ControlPlane
from kvspic.provider.credentials import StaticCredentials
from kvspic.provider.exchange import idle_pool, over_idle
from kvspic.provider.results import ServiceError, ServiceResult

URL = "http://127.0.0.1:9/describeStream"
KEYS = StaticCredentials("AKIDEXAMPLE", "SECRET-TEXT", "TOKEN-TEXT")
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n1;a=b\r\n \r\n0\r\n\r\n"
ANSWERS = [
    (json_answer(200, b"{}"), 200, b"{}", True),
    (b"HTTP/1.1 100 Continue\r\n\r\n" + json_answer(404, b"no"), 404, b"no", True),
    (CHUNKED, 200, b"{} ", True),
    (b"HTTP/1.1 204 None\r\n\r\n", 204, b"", True),
    (b"HTTP/1.1 200\r\n\r\nto the end", 200, b"to the end", False),
    (json_answer(200, b"{}", "Connection: Close"), 200, b"{}", False),
    (json_answer(200, b"{}").replace(b"HTTP/1.1", b"HTTP/1.0"), 200, b"{}", False),
]


class Connection:
    """A connection that gives an answer in pieces of ``size`` bytes; it is its own socket."""

    def __init__(self, answer, size=1 << 20):
        self.sock = self
        self.sent = b""
        self.is_closed = False
        self._pieces = [answer[start : start + size] for start in range(0, len(answer), size)]

    def sendall(self, data):
        self.sent += data

    def recv(self, size):
        piece = self._pieces.pop(0) if self._pieces else b""
        assert len(piece) <= size
        return piece

    def close(self):
        self.is_closed = True


class Pool:
    def __init__(self, *idle):
        self.pool = queue.LifoQueue()
        for connection in idle:
            self.pool.put(connection)

    def _put_conn(self, connection):
        self.pool.put(connection)


@pytest.fixture(autouse=True)
def _open(monkeypatch):
    monkeypatch.setattr(urllib3.util, "is_connection_dropped", lambda connection: connection.sock is None)


@pytest.mark.parametrize(("answer", "status", "body", "is_kept"), ANSWERS)
@pytest.mark.parametrize("size", [1, 7, 1 << 20])
def test_an_answer_is_read_however_it_is_cut(answer, status, body, is_kept, size):
    connection = Connection(answer, size)
    pool = Pool(connection)
    found = over_idle(pool, URL, {"X-A": "b", "Content-Length": "2"}, b"{}")
    assert (found.status_code, found.content) == (status, body)
    assert connection.is_closed is not is_kept
    assert pool.pool.get_nowait() is connection
    start = b"POST /describeStream HTTP/1.1\r\nHost: 127.0.0.1:9\r\nAccept-Encoding: identity\r\n"
    assert connection.sent == start + b"X-A: b\r\nContent-Length: 2\r\n\r\n{}"


def test_what_comes_behind_an_answer_is_not_the_next_one():
    connection = Connection(json_answer(200, b"{}") + b"HTTP/1.1 200 OK\r\n")
    assert over_idle(Pool(connection), URL, {}, b"").content == b"{}"
    assert connection.is_closed


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (b"", "before its answer was whole"),
        (json_answer(200, b"{}")[:-1], "before its answer was whole"),
        (CHUNKED[:-9], "before its answer was whole"),
        (b"SSH-2.0-OpenSSH\r\n\r\n", "does not speak HTTP"),
        (b"HTTP/1.1 200 OK\r\nfolded\r\n\r\n", "does not speak HTTP"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", "conflicting Content-Length"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", "bad Content-Length"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 99999999\r\n\r\n", "before its answer was whole"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n", "Transfer-Encoding"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n", "does not speak HTTP"),
        (b"HTTP/1.1 100 Continue\r\n\r\n" * 20, "without end"),
        (b"HTTP/1.1 200 OK\r\nX: " + b"x" * 200_000, "does not speak HTTP"),
        (b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * (5 << 20), "without end"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n500000\r\n" + b"x" * (5 << 20), "without end"),
    ],
)
def test_what_is_no_answer_is_an_error_and_ends_the_connection(answer, words):
    connection = Connection(answer, exchange.RECEIVE_SIZE)
    with pytest.raises(OSError, match=words):
        over_idle(Pool(connection), URL, {}, b"")
    assert connection.is_closed


@pytest.mark.parametrize("value", ["two\r\nlines", "two\nlines", "caf\u00e9"])
def test_headers_that_http_does_not_allow_are_not_sent(value):
    connection = Connection(b"")
    assert over_idle(Pool(connection), URL, {"X-A": value}, b"") is None
    assert connection.sent == b""


def test_without_an_open_connection_nothing_is_sent():
    dropped = Connection(b"")
    dropped.sock = None
    closed = SimpleNamespace(pool=None)
    for pool in (Pool(), Pool(None), Pool(dropped), closed):
        assert over_idle(pool, URL, {}, b"") is None


@pytest.mark.parametrize(
    ("proxy_url", "url", "is_found"),
    [
        (None, "http://camera.example", True),
        ("http://proxy.example", "https://camera.example", True),
        ("http://proxy.example", "http://camera.example", False),  # the proxy has to be asked for a whole URL
    ],
)
def test_connections_of_tunnels_are_used_too(proxy_url, url, is_found):
    found = Pool()
    session = SimpleNamespace(
        _proxy_config=SimpleNamespace(proxy_url_for=lambda url: proxy_url),
        _get_connection_manager=lambda url, proxy: SimpleNamespace(connection_from_url=lambda url: found),
    )
    assert idle_pool(session, url) is (found if is_found else None)
    assert idle_pool(SimpleNamespace(), url) is None


def test_a_proxy_that_is_no_url_is_left_to_the_session():
    """Which says what is wrong with it."""

    def no_url(url, proxy):
        raise ValueError("http://u:secret@host:99999")

    proxies = SimpleNamespace(proxy_url_for=lambda url: "http://u:secret@host:99999")
    assert idle_pool(SimpleNamespace(_proxy_config=proxies, _get_connection_manager=no_url), URL) is None


@pytest.mark.parametrize("url", [URL + "?a=b", URL + "#a", "http://127.0.0.1:9/a b", "http://127.0.0.1:9/caf\u00e9"])
def test_addresses_that_botocore_writes_in_another_way_are_left_to_it(url):
    connection = Connection(b"")
    assert over_idle(Pool(connection), url, {}, b"") is None
    assert connection.sent == b""


def test_the_second_call_goes_over_the_connection_of_the_first():
    """The first one is made by botocore: both ask for the same, and errors are read alike."""
    heads = []

    async def script(peer):
        while True:
            heads.append((dict(await peer.read_head()), peer.request_line, await peer.read_body()))
            name = "x-amzn-ErrorType: ResourceNotFoundException"
            await peer.say(json_answer(404, {"Message": "not found"}, name))

    async def story():
        async with loopback_server(script) as url:
            control = ControlPlane(endpoint_url=url, region="us-east-1", credentials=KEYS)
            texts = []
            for _ in range(3):
                with pytest.raises(ServiceError) as caught:
                    await control.describe_stream("door")
                assert caught.value.result is ServiceResult.NOT_FOUND
                texts.append(str(caught.value))
            assert len(set(texts)) == 1

    run_watched(story(), seconds=30)
    (first, *rest), changing = heads, ("x-amz-date", "authorization")
    for headers, line, body in rest:
        assert (line, body) == first[1:]
        assert set(headers) == set(first[0])
        assert all(headers[name] == first[0][name] for name in headers if name not in changing)


def test_an_idle_connection_that_breaks_is_an_error_without_an_answer(monkeypatch):
    count = 0

    async def script(peer):
        nonlocal count
        count += 1
        await peer.read_head()
        await peer.read_body()
        await peer.say(json_answer(200, {"StreamInfo": {"Status": "ACTIVE", "DataRetentionInHours": 1}}))
        await peer.read_head()

    async def story():
        async with loopback_server(script) as url:
            control = ControlPlane(endpoint_url=url, region="us-east-1", credentials=KEYS)
            assert (await control.describe_stream("door")).status == "ACTIVE"
            with pytest.raises(ServiceError, match="before its answer was whole") as caught:
                await control.describe_stream("door")
            assert caught.value.is_unreachable
            assert (await control.describe_stream("door")).status == "ACTIVE"

    run_watched(story(), seconds=30)
    assert count == 2


def test_a_read_that_takes_too_long_is_a_timeout():
    class Silent(Connection):
        def recv(self, size):
            raise TimeoutError("The read operation timed out")

    with pytest.raises(TimeoutError):
        over_idle(Pool(Silent(b"")), URL, {}, b"")
