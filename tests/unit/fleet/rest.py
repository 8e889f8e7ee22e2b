"""A fleet server for tests of the REST interface, and calls to it as they are on the wire."""

import contextlib
import http.client
import json
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from kvspic.fleet.server import FleetServer
from kvspic.fleet.store import open_store
from kvspic.fleet.tasks import TestClock

CAMERA = {"type": "rtsp", "url": "rtsp://10.0.0.9/1"}


@dataclass(frozen=True)
class Got:
    """An answer: its status, what it holds, its headers, and its bytes as text."""

    status: int
    json: Any
    headers: dict
    text: str


class Wire:
    """One connection to a server, kept between calls."""

    def __init__(self, url, token=None, timeout=20):
        self.url = url
        parts = urlsplit(url)
        self._line = http.client.HTTPConnection(parts.hostname, parts.port, timeout=timeout)
        self._headers = {} if token is None else {"Authorization": f"Bearer {token}"}

    def __call__(self, method, path, body=None, headers=None):
        content = body if body is None or isinstance(body, (bytes, str)) else json.dumps(body)
        self._line.request(method, path, content, {**self._headers, **(headers or {})})
        answer = self._line.getresponse()
        text = answer.read().decode()
        is_json = answer.headers.get_content_type() == "application/json"
        return Got(answer.status, json.loads(text) if is_json else None, dict(answer.headers), text)

    def begin(self, method, path, body):
        """Send a request and do not wait for its answer, as a client whose server dies under it."""
        self._line.request(method, path, json.dumps(body), self._headers)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._line.close()

    # What most tests need.

    def create(self, name, **fields):
        got = self("POST", "/v1/jobs", {"name": name, "source": CAMERA, **fields})
        assert got.status == 201, got.text
        return got.json["id"]

    def poll(self, handler="h1", incarnation="i1", slots=10, **fields):
        body = {"incarnation": incarnation, "slots": slots, "free": slots, "labels": [], **fields}
        got = self("POST", f"/v1/handlers/{handler}/poll", body)
        assert got.status == 200, got.text
        return got.json

    def report(self, job, epoch, status="in_progress", handler="h1", incarnation="i1", **fields):
        report = {"id": job, "epoch": epoch, "status": status, **fields}
        got = self("POST", f"/v1/handlers/{handler}/feedback", {"incarnation": incarnation, "reports": [report]})
        assert got.status == 200, got.text
        return got.json["verdicts"][0]

    def advance(self, seconds):
        got = self("POST", "/v1/test/clock", {"advance_s": seconds})
        assert got.status == 200, got.text
        return got.json["now_s"]

    def log(self, job):
        return [(one["status"], one["cause"]) for one in self("GET", f"/v1/logs?job={job}&limit=1000").json["logs"]]


@contextlib.contextmanager
def serving(store_url="sqlite://", *, has_test_clock=True, **options):
    """A server over a store of its own; with the test clock time stands."""
    clock = TestClock() if has_test_clock else None
    store = open_store(store_url, clock=None if clock is None else lambda: clock.ms)
    try:
        with FleetServer.run_in_thread(store, test_clock=clock, **options) as server:
            yield server
    finally:
        store.close()
