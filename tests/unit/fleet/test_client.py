"""The clients. Goal: both make the same calls, go on to the next server, and never do twice what must be done once."""

import asyncio
import inspect
import socket
import threading

import pytest

pytest.importorskip("sqlalchemy")
pytest.importorskip("aiohttp")
from unit.fleet.rest import serving

from kvspic.fleet.calls import FleetUnreachableError, Job, LogRecord, server_urls, token_headers
from kvspic.fleet.client import AsyncFleetClient, FleetClient
from kvspic.fleet.errors import BadFieldError, FileInProgressError, FleetError, NotFoundError


@pytest.fixture
def server():
    with serving() as running:
        yield running


@pytest.fixture
def closed_url():
    """An address at which nothing listens."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{free.getsockname()[1]}"


def test_a_camera_from_its_creation_to_its_end(server):
    with FleetClient(server.url) as fleet:
        job = fleet.add("cam", "rtsp://10.0.0.9/1", group="yard", labels=["gpu"])
        assert (job.status, job.group, job.labels, job.is_final) == ("pending", "yard", ("gpu",), False)
        assert job.created.isoformat() == "2026-01-01T00:00:00+00:00"
        assert fleet.pause("cam").status == "pause"
        assert fleet.resume(job.id).status == "pending"
        assert fleet.cancel("@cam").is_final
        assert fleet.replace("cam", "rtsp://10.0.0.9/2").version == 2
        assert fleet.replace(job.id, "test").source["type"] == "test"
        assert fleet.update("cam", group="gate").group == "gate"
        assert fleet.set_group("gate", "pause") == {"changed": 1, "refused": []}
        assert [(one.status, one.cause) for one in fleet.logs("cam").logs][:2] == [
            ("pending", "create"),
            ("pause", "patch"),
        ]
        fleet.delete("cam")
        with pytest.raises(NotFoundError):
            fleet.get("cam")
        assert fleet.all_logs(job=job.id).logs[-1].status == "deleted"


def test_all_jobs_over_several_pages(server):
    with FleetClient(server.url) as fleet:
        jobs = [{"name": f"cam-{number}", "source": {"type": "test", "url": "testsrc"}} for number in range(7)]
        assert fleet.apply(jobs).created == 7
        assert [job.name for job in fleet.jobs(limit=3)] == [job["name"] for job in jobs]


def test_refusals_are_exceptions_with_what_the_server_said(server):
    with FleetClient(server.url) as fleet:
        fleet.add("cam", "test")
        with pytest.raises(FleetError) as refused:
            fleet.add("cam", "test")
        assert (refused.value.name, refused.value.http_status) == ("name_taken", 409)
        with pytest.raises(BadFieldError) as wrong:
            fleet.add("a b", "test")
        assert wrong.value.field == "name"
        with pytest.raises(ValueError, match="No worker carries"):
            fleet.add("x", "http://10.0.0.9")
        with pytest.raises(FleetError) as same:
            fleet.resume("cam")
        assert same.value.details == {"from": "pending", "to": "pending", "allowed": ["pause", "cancel"]}
        assert issubclass(FileInProgressError, FleetError)


def test_the_next_server_is_asked(server, closed_url):
    with FleetClient([closed_url, server.url]) as fleet:
        assert fleet.add("cam", "test").status == "pending"
    with FleetClient(f"{server.url},{closed_url}") as fleet:
        assert fleet.get("cam").name == "cam"


def test_no_server_is_a_sentence_with_the_addresses(closed_url):
    with FleetClient(closed_url) as fleet, pytest.raises(FleetUnreachableError, match=closed_url) as away:
        fleet.queue()
    assert away.value.http_status == 0


class Cutting:
    """A server that takes requests and hangs up without an answer."""

    def __init__(self, answers):
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self.requests, self._answers = [], answers
        self.has_closed = threading.Event()
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self):
        for answer in self._answers:
            line, _ = self._listener.accept()
            with line:
                self.requests.append(line.recv(65536).partition(b" ")[0])
                line.sendall(answer)
            self.has_closed.set()

    def close(self):
        self._thread.join(10)
        self._listener.close()


ANSWER = b'HTTP/1.1 200 OK\r\nContent-Length: 13\r\n\r\n{"moving": 1}'


def test_what_may_be_done_once_is_not_sent_again():
    cutting = Cutting([b""])
    with FleetClient(cutting.url) as fleet, pytest.raises(FleetUnreachableError):
        fleet.rebalance(1)
    assert cutting.requests == [b"POST"]
    cutting.close()


def test_what_changes_nothing_is_sent_again():
    cutting = Cutting([b"", b'HTTP/1.1 200 OK\r\nContent-Length: 13\r\n\r\n{"counts": 1}'])
    with FleetClient(cutting.url) as fleet:
        assert fleet.queue()["counts"] == 1
    assert cutting.requests == [b"GET", b"GET"]
    cutting.close()


@pytest.mark.parametrize(
    "answer, name",
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n<x/>", "no_fleet"),
        (b"HTTP/1.1 404 Not Found\r\nContent-Length: 4\r\n\r\n<x/>", "unknown"),
        (b"HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n", "unknown"),
    ],
)
def test_another_server_than_a_fleet_is_said_in_words(answer, name):
    cutting = Cutting([answer])
    with FleetClient(cutting.url) as fleet, pytest.raises(FleetError, match="fleet server") as refused:
        fleet.get("cam")
    assert refused.value.name == name
    cutting.close()


def test_a_connection_that_the_server_closed_meanwhile_is_opened_again():
    cutting = Cutting([ANSWER, ANSWER])
    with FleetClient(cutting.url) as fleet:
        assert fleet.rebalance(1) == 1
        cutting.has_closed.wait(10)
        assert fleet.rebalance(1) == 1
    cutting.close()


def test_wait_returns_when_the_status_is_there_and_says_what_it_is_when_not(server):
    with FleetClient(server.url) as fleet:
        fleet.add("cam", "test")
        assert fleet.wait("cam", "pending").name == "cam"
        assert fleet.wait("cam", lambda job: job.epoch == 0).name == "cam"
        with pytest.raises(TimeoutError, match="has not become done in 0 s: it is pending"):
            fleet.wait("cam", "done", timeout=0)


def test_the_asynchronous_client_does_the_same(server, closed_url):
    async def work():
        async with AsyncFleetClient([closed_url, server.url]) as fleet:
            job = await fleet.add("cam", "test")
            assert (await fleet.pause("cam")).status == "pause"
            assert (await fleet.page()).jobs[0].id == job.id
            assert (await fleet.wait("cam", "pause")).id == job.id
            assert (await fleet.queue())["counts"]["pause"] == 1
            with pytest.raises(FleetError) as refused:
                await fleet.pause("cam")
            assert refused.value.name == "transition"
        async with AsyncFleetClient(closed_url) as fleet:
            with pytest.raises(FleetUnreachableError):
                await fleet.queue()

    asyncio.run(work())


def test_both_have_the_same_methods_with_the_same_parameters():
    def methods(kind):
        return {
            name: list(inspect.signature(method).parameters)
            for name, method in vars(kind).items()
            if inspect.isfunction(method) and not name.startswith("_")
        }

    blocking, waiting = methods(FleetClient), methods(AsyncFleetClient)
    assert blocking.pop("jobs") == ["self", "query"]  # an iterator; page() is its part with await
    assert blocking.pop("call") == ["self", "call"]
    assert waiting.pop("call") == ["self", "call", "timeout"]
    assert blocking == waiting


@pytest.mark.parametrize("urls", ["", "fleet:8090", "ftp://fleet", "http://", [], ["http://a", "b"]])
def test_what_is_no_address_is_refused(urls):
    with pytest.raises(ValueError, match="http://fleet:8090"):
        server_urls(urls)


@pytest.mark.parametrize("token", ["", "a b", "a\nb", "ä"])
def test_a_token_that_no_header_can_have_is_refused_without_showing_it(token):
    with pytest.raises(ValueError, match="characters that a token cannot have"):
        token_headers(token)


def test_what_a_newer_server_adds_is_no_error():
    """A status that is not known here is shown and is not final (SS-47)."""
    job = Job.of({
        "id": "0" * 32, "name": "cam", "status": "sleeping", "stream": "cam", "source": {}, "version": 1, "epoch": 0,
        "dreams": 3,
    })  # fmt: skip
    assert (job.status, job.is_final, job.raw["dreams"]) == ("sleeping", False, 3)
    record = LogRecord.of({
        "job": "0" * 32, "name": "cam", "seq": 1, "time": "2026-01-01T00:00:00.000Z", "status": "sleeping",
        "cause": "night", "actor": "moon", "epoch": 0, "version": 1,
    })  # fmt: skip
    assert record.cause == "night"


def test_a_program_that_only_carries_cameras_loads_no_database():
    import subprocess
    import sys

    words = (
        "import sys, kvspic.fleet.client, kvspic.fleet.cameras; print([n for n in sys.modules if 'sqlalchemy' in n])"
    )
    ran = subprocess.run([sys.executable, "-c", words], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "[]"


def test_the_names_of_the_package_are_there():
    import kvspic.fleet

    assert [getattr(kvspic.fleet, name).__name__ for name in kvspic.fleet.__all__] == kvspic.fleet.__all__
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        kvspic.fleet.nothing  # noqa: B018
