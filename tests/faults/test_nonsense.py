"""A service that answers nonsense. Goal: whatever it answers for one stream, that stream alone has the trouble and says
so, and the streams beside it go on."""

import contextlib
import http.server
import json
import socketserver
import threading
import time
import urllib.error
import urllib.request

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import kvspic

pytest.importorskip("aiohttp")
from kvspic.local.server import LocalEndpoint
from kvspic.local.settings import Settings

SECOND_NS = 1_000_000_000
BASE_NS = 1_700_000_000 * SECOND_NS
TRACKS = [kvspic.Track("V_TEST", "video/x-test")]
WAIT_S = 20.0


class Nonsense:
    """Passes calls on to a real endpoint, but answers those about a stream ``bad...`` as a test says."""

    def __init__(self, real_url: str) -> None:
        self.real_url = real_url
        self.answers: dict[str, object] = {}  # path -> what is answered; else the real answer
        self.raw = b""  # what the data endpoint of a bad stream says
        self.asked = threading.Event()  # the nonsense was given out

    def answer(self, path: str, body: bytes, headers) -> tuple[int, bytes]:
        name = json.loads(body or b"{}").get("StreamName", "")
        if name.startswith("bad") and path in self.answers:
            self.asked.set()
            found = self.answers[path]
            found = found() if callable(found) else found
            return 200, found if isinstance(found, bytes) else json.dumps(found).encode()
        asked = urllib.request.Request(self.real_url + path, body, {"Content-Type": "application/json"})
        try:
            with urllib.request.urlopen(asked) as answer:
                return answer.status, answer.read()
        except urllib.error.HTTPError as error:
            return error.code, error.read()


@contextlib.contextmanager
def serving(server):
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def control_server(nonsense):
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            status, answer = nonsense.answer(self.path, body, self.headers)
            self.send_response(status)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_):
            pass

    return http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)


def data_server(nonsense):
    class Handler(socketserver.BaseRequestHandler):
        def handle(self):
            with contextlib.suppress(OSError):
                self.request.recv(65536)
                self.request.sendall(nonsense.raw)
                nonsense.asked.set()

    class Server(socketserver.ThreadingTCPServer):
        allow_reuse_address = daemon_threads = True

    return Server(("127.0.0.1", 0), Handler)


@pytest.fixture(scope="module")
def bench(tmp_path_factory):
    """A producer with a good stream over a service that can answer nonsense."""
    with contextlib.ExitStack() as stack:
        endpoint = stack.enter_context(
            LocalEndpoint.run_in_thread(tmp_path_factory.mktemp("data"), settings=Settings.unlimited())
        )
        nonsense = Nonsense(endpoint.url)
        nonsense.data_url = stack.enter_context(serving(data_server(nonsense)))
        url = stack.enter_context(serving(control_server(nonsense)))
        producer = stack.enter_context(kvspic.Producer(endpoint_url=url))
        yield nonsense, producer, stack.enter_context(producer.open_stream("good", TRACKS))


def check_good_goes_on(good):
    number = good.metrics().frames_put
    good.put_frame(b"frame", pts=BASE_NS + number * SECOND_NS, key_frame=True)
    good.flush(WAIT_S)
    assert good.health().is_healthy
    assert good.report.frames_done == number + 1


def play(bench, answers, raw=b""):
    """Open a stream that gets these answers, and see that the other one works after them; the bad one's report."""
    nonsense, producer, good = bench
    nonsense.answers, nonsense.raw = answers, raw
    nonsense.asked.clear()
    bad = producer.open_stream("bad", TRACKS, wait=False)
    bad.put_frame(b"frame", pts=BASE_NS, key_frame=True)
    assert nonsense.asked.wait(WAIT_S)
    check_good_goes_on(good)
    return bad.close(0)


ACTIVE = {"StreamInfo": {"StreamName": "bad", "Status": "ACTIVE", "DataRetentionInHours": 2}}
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=40)
JSON = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner))
FEW = settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))


@FEW
@given(field=st.sampled_from(["Status", "DataRetentionInHours", "CreationTime", "StreamARN", "StreamName"]), value=JSON)
def test_nonsense_in_a_field_of_a_description_is_that_streams_trouble(bench, field, value):
    play(bench, {"/describeStream": {"StreamInfo": {**ACTIVE["StreamInfo"], field: value}}})


@pytest.mark.parametrize("hours", [-1, 10**12, 10**400, "many", 1e300])
def test_a_retention_that_cannot_be_is_that_streams_trouble(bench, hours):
    play(bench, {"/describeStream": {"StreamInfo": {**ACTIVE["StreamInfo"], "DataRetentionInHours": hours}}})


@FEW
@given(JSON | st.binary(max_size=60))
def test_a_description_that_is_nonsense_is_that_streams_trouble(bench, answer):
    play(bench, {"/describeStream": answer})


@pytest.mark.parametrize(
    "url", ["http://[::1", "http://", "nonsense", "ftp://host", "http://h:99999", "http://h:x", "http://a b", 7, "//h"]
)
def test_an_endpoint_that_is_no_url_is_that_streams_trouble(bench, url):
    play(bench, {"/describeStream": ACTIVE, "/getDataEndpoint": {"DataEndpoint": url}})


@FEW
@given(JSON)
def test_an_endpoint_that_is_nonsense_is_that_streams_trouble(bench, url):
    play(bench, {"/describeStream": ACTIVE, "/getDataEndpoint": {"DataEndpoint": url}})


HEADS = [
    b"",
    b"\0" * 5000,
    b"HTTP/1.1 100 Continue\r\n\r\n" * 5000,
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-5\r\n",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"f" * 5000,
    b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n\xff\xfe\xfd\xfc\xfb",
    b"HTTP/1.1 503 No\r\nRetry-After: -1\r\nDate: Foo, 99 Bar 99999\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.1 403 No\r\nContent-Length: 99\r\n\r\n"
    b'{"message":"Signature expired: 20200101T000000Z x 20200101T000000Z (99999999T999999Z"}'.ljust(99),
    b"HTTP/1.1 403 No\r\nDate: Fri, 31 Dec 9999 23:59:59 GMT\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.1 403 No\r\nContent-Length: 3\r\n\r\n[1]",
    b"HTTP/9.9 999 \r\n\r\n",
]


@pytest.mark.parametrize("raw", HEADS, ids=range(len(HEADS)))
def test_an_answer_to_an_upload_that_is_nonsense_is_that_streams_trouble(bench, raw):
    endpoint = {"DataEndpoint": bench[0].data_url}
    play(bench, {"/describeStream": ACTIVE, "/getDataEndpoint": endpoint}, raw)


@FEW
@given(st.binary(max_size=300), st.sampled_from([b"", b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 403 No\r\n", HEADS[3][:-4]]))
def test_any_bytes_as_an_answer_to_an_upload_are_that_streams_trouble(bench, raw, before):
    endpoint = {"DataEndpoint": bench[0].data_url}
    play(bench, {"/describeStream": ACTIVE, "/getDataEndpoint": endpoint}, before + raw)


@pytest.mark.parametrize("headers", ["Connection: close", "Content-Encoding: gzip"])
def test_a_service_that_ends_each_upload_at_once_is_named_by_the_health(bench, headers):
    nonsense, producer, good = bench
    nonsense.answers = {"/describeStream": ACTIVE, "/getDataEndpoint": {"DataEndpoint": nonsense.data_url}}
    nonsense.raw = f"HTTP/1.1 200 OK\r\n{headers}\r\nContent-Length: 0\r\n\r\n".encode()
    bad = producer.open_stream("bad", TRACKS, wait=False)
    bad.put_frame(b"frame", pts=BASE_NS, key_frame=True)
    end = time.monotonic() + WAIT_S
    while "the service ended the upload" not in bad.health().reason:
        assert time.monotonic() < end
        time.sleep(0.01)
    check_good_goes_on(good)
    bad.close(0)


def test_a_data_endpoint_that_moved_is_asked_for_after_the_first_connection_that_fails(bench):
    """The old address refuses connections: one upload goes there, and the next one where the service says."""
    nonsense, producer, good = bench
    answers = [{"DataEndpoint": "http://127.0.0.1:9"}]

    def endpoint():
        return answers.pop() if answers else {"DataEndpoint": nonsense.real_url}

    nonsense.answers = {"/getDataEndpoint": endpoint}
    events = []
    with producer.open_stream("bad-moved", TRACKS, on_event=events.append) as stream:
        stream.put_frame(b"frame", pts=BASE_NS, key_frame=True)
        stream.flush(WAIT_S)
    assert stream.report.is_complete
    assert kvspic.StreamFailed not in [type(event) for event in events]
    described = [event for event in events if getattr(event, "new", None) == kvspic.StreamState.DESCRIBE]
    assert len(described) == 1
    check_good_goes_on(good)


def test_a_control_plane_that_does_not_say_leaves_the_address_that_was_known(bench):
    nonsense, producer, good = bench
    calls = []

    def endpoint():
        calls.append(1)
        return {"DataEndpoint": nonsense.real_url} if len(calls) == 1 else b"{}"

    nonsense.answers = {"/getDataEndpoint": endpoint}
    with producer.open_stream("bad-away", TRACKS) as stream:
        stream.put_frame(b"frame", pts=BASE_NS, key_frame=True)
        stream.flush(WAIT_S)
        stream._work._orders.rules._endpoints.doubt("bad-away")
        stream.set_codec_private(1, b"new")
        stream.put_frame(b"frame", pts=BASE_NS + SECOND_NS, key_frame=True)
        stream.flush(WAIT_S)
    assert stream.report.is_complete
    assert len(calls) >= 2
    check_good_goes_on(good)
