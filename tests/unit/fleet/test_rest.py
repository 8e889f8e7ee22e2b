"""The REST interface on the wire. Goal: every call answers what docs/fleet.md says, every refusal has its name and
changes nothing, and a password of a camera is in no answer but that to a poll."""

import json
import logging
import threading
import time

import pytest

pytest.importorskip("sqlalchemy")
pytest.importorskip("aiohttp")
from unit.fleet.rest import CAMERA, Wire, serving

from kvspic.fleet.routes import BODY_MAX, ROUTES

JOB_MEMBERS = {
    "id", "name", "description", "stream", "endpoint", "region", "source", "group", "labels", "options", "live",
    "status", "status_since", "version", "epoch", "handler", "error", "autorestart", "fenced", "stats", "created",
    "updated",
}  # fmt: skip
PASSWORD = "Hunter2.s3cret"
SECRET = {"type": "rtsp", "url": f"rtsp://admin:{PASSWORD}@10.0.0.9/1?token={PASSWORD}"}


@pytest.fixture(scope="module")
def server():
    with serving() as running:
        yield running


@pytest.fixture
def wire(server):
    with Wire(server.url) as made:
        yield made
        for job in made("GET", "/v1/jobs?limit=1000").json["jobs"]:
            made("DELETE", f"/v1/jobs/{job['id']}")
        made.advance(30)  # leases of deleted jobs end


def refused(got, status, name):
    assert (got.status, got.json["error"]) == (status, name), got.text
    assert got.json["message"]
    return got.json


def test_a_job_is_created_with_every_default(wire):
    got = wire("POST", "/v1/jobs", {"name": "cam", "source": CAMERA})
    assert got.status == 201
    assert set(got.json) >= JOB_MEMBERS
    assert (got.json["stream"], got.json["status"], got.json["version"], got.json["epoch"]) == ("cam", "pending", 1, 0)
    assert got.json["handler"] is None
    assert got.headers["Content-Type"].startswith("application/json")
    assert got.headers["Cache-Control"] == "no-store"
    assert wire("GET", "/v1/jobs/@cam").json == wire("GET", f"/v1/jobs/{got.json['id']}").json == got.json


def test_a_repeated_key_returns_the_first_job(wire):
    body, key = {"name": "cam", "source": CAMERA}, {"Idempotency-Key": "k-1"}
    first, second = (wire("POST", "/v1/jobs", body, key) for _ in range(2))
    assert (first.status, second.status) == (201, 200)
    assert first.json["id"] == second.json["id"]
    assert wire.log(first.json["id"]) == [("pending", "create")]
    refused(wire("POST", "/v1/jobs", body, {"Idempotency-Key": "x" * 129}), 400, "bad_field")


def test_names_and_streams_are_unique(wire):
    job = wire.create("cam", stream="door")
    assert refused(wire("POST", "/v1/jobs", {"name": "cam", "source": CAMERA}), 409, "name_taken")["job"] == job
    body = {"name": "other", "stream": "door", "source": CAMERA}
    assert refused(wire("POST", "/v1/jobs", body), 409, "stream_taken")["job"] == job
    assert len(wire("GET", "/v1/jobs").json["jobs"]) == 1


def test_a_page_of_jobs_in_the_order_of_creation(wire):
    names = [f"cam-{number}" for number in range(5)]
    for name in names:
        wire.create(name, group="yard" if name < "cam-3" else "gate")
    first = wire("GET", "/v1/jobs?limit=3").json
    rest = wire("GET", f"/v1/jobs?limit=3&after={first['next']}").json
    assert [job["name"] for job in first["jobs"] + rest["jobs"]] == names
    assert rest["next"] is None
    assert [job["name"] for job in wire("GET", "/v1/jobs?group=gate").json["jobs"]] == names[3:]
    assert wire("GET", "/v1/jobs?status=done").json == {"jobs": [], "next": None}


@pytest.mark.parametrize("query", ["limit=0", "limit=1001", "limit=x", "status=broken", "after=x", "colour=red"])
def test_a_wrong_query_is_refused_by_its_field(wire, query):
    assert refused(wire("GET", f"/v1/jobs?{query}"), 400, "bad_field")["field"] == query.partition("=")[0]


def test_replace_begins_again_as_a_new_version(wire):
    job = wire.create("cam")
    assert [one["id"] for one in wire.poll()["jobs"]] == [job]
    got = wire("PUT", f"/v1/jobs/{job}", {"name": "cam", "source": CAMERA, "status": "pause"})
    assert (got.status, got.json["version"], got.json["status"]) == (200, 2, "pause")
    assert wire.report(job, 1)["verdict"] == "stop"
    assert wire.log(job)[-2:] == [("restart", "replace"), ("pause", "replace")]


def test_a_patch_is_of_the_status_or_of_fields(wire):
    job = wire.create("cam")
    got = wire("PATCH", f"/v1/jobs/{job}", {"name": "gate", "group": "yard", "autorestart": {"delay": 5}})
    assert (got.json["name"], got.json["group"], got.json["autorestart"]["delay"]) == ("gate", "yard", 5)
    refused(wire("PATCH", f"/v1/jobs/{job}", {"status": "pause", "name": "x"}), 400, "bad_field")
    said = refused(wire("PATCH", f"/v1/jobs/{job}", {"status": "pending"}), 409, "transition")
    assert (said["from"], said["to"], said["allowed"]) == ("pending", "pending", ["pause", "cancel"])


def test_a_group_is_changed_and_says_what_was_refused(wire):
    ids = [wire.create(f"cam-{number}", group="yard") for number in range(3)]
    wire("PATCH", f"/v1/jobs/{ids[1]}", {"status": "pause"})
    got = wire("PATCH", "/v1/groups/yard", {"status": "pause"})
    assert (got.status, got.json["changed"]) == (200, 2)
    assert [(one["id"], one["from"]) for one in got.json["refused"]] == [(ids[1], "pause")]
    refused(wire("PATCH", "/v1/groups/nowhere", {"status": "pause"}), 404, "not_found")


def test_apply_is_all_or_nothing_and_a_trial_changes_nothing(wire):
    wire.create("a", group="yard")
    wire.create("gone", group="yard")
    body = {"jobs": [{"name": "a", "source": CAMERA}, {"name": "b", "source": CAMERA}], "group": "yard", "prune": True}
    expected = {"created": 1, "replaced": 0, "unchanged": 1, "deleted": 1}
    assert wire("POST", "/v1/apply?trial=true", body).json == expected
    assert [job["name"] for job in wire("GET", "/v1/jobs").json["jobs"]] == ["a", "gone"]
    wrong = {"jobs": [*body["jobs"], {"name": "c", "source": {"type": "rtsp", "url": "http://x"}}]}
    said = refused(wire("POST", "/v1/apply", wrong), 400, "bad_field")
    assert said["field"].endswith("source.url")
    assert "2" in said["field"] + str(said.get("index"))
    assert [job["name"] for job in wire("GET", "/v1/jobs").json["jobs"]] == ["a", "gone"]
    assert wire("POST", "/v1/apply", body).json == expected
    assert [job["name"] for job in wire("GET", "/v1/jobs").json["jobs"]] == ["a", "b"]


def test_the_log_of_a_deleted_job_stays(wire):
    job = wire.create("cam")
    assert wire("DELETE", f"/v1/jobs/{job}").status == 204
    refused(wire("DELETE", f"/v1/jobs/{job}"), 404, "not_found")
    assert wire.log(job) == [("pending", "create"), ("deleted", "delete")]
    refused(wire("GET", "/v1/jobs/@missing/logs"), 404, "not_found")


def test_logs_are_deleted_but_the_newest_of_each_job(wire):
    job = wire.create("cam")
    wire("PATCH", f"/v1/jobs/{job}", {"status": "pause"})
    refused(wire("DELETE", "/v1/logs"), 400, "bad_field")
    refused(wire("DELETE", "/v1/logs?before=yesterday"), 400, "bad_field")
    assert wire("DELETE", "/v1/logs?before=2100-01-01T00:00:00Z").json["deleted"] >= 1
    assert wire.log(job) == [("pause", "patch")]


def test_a_handler_is_drained_and_forgotten(wire):
    job = wire.create("cam")
    wire.poll("h-drain")
    assert wire("POST", "/v1/handlers/h-drain/drain").json["state"] == "draining"
    assert wire.poll("h-drain", carried=[{"id": job, "epoch": 1}])["handback"] == [job]
    refused(wire("DELETE", "/v1/handlers/h-drain"), 409, "handler_busy")
    assert wire.report(job, 1, "handback", "h-drain")["accepted"]
    assert wire("POST", "/v1/handlers/h-drain/undrain").json["state"] == "ready"
    wire("PATCH", f"/v1/jobs/{job}", {"status": "pause"})
    assert wire("DELETE", "/v1/handlers/h-drain").status == 204
    refused(wire("POST", "/v1/handlers/h-drain/drain"), 404, "not_found")
    refused(wire("POST", "/v1/handlers/no%20name/drain"), 400, "bad_field")


def test_two_processes_with_one_name_cannot_steal_for_ever(wire):
    wire.poll("h-two", "first")
    wire.poll("h-two", "second")
    body = {"incarnation": "first", "slots": 1, "free": 1, "labels": []}
    refused(wire("POST", "/v1/handlers/h-two/poll", body), 409, "superseded")
    feedback = {"incarnation": "first", "reports": []}
    refused(wire("POST", "/v1/handlers/h-two/feedback", feedback), 409, "superseded")


def test_settings_are_changed_in_part(wire):
    assert wire("PUT", "/v1/settings", {"spread_s": 0}).json["spread_s"] == 0
    assert wire("GET", "/v1/settings").json["lease_s"] == 20
    refused(wire("PUT", "/v1/settings", {"lease_s": 1}), 400, "bad_field")
    refused(wire("PUT", "/v1/settings", {"lease": 20}), 400, "bad_field")


def test_queue_rebalance_and_backfill_answer(wire):
    job = wire.create("cam")
    queue = wire("GET", "/v1/queue").json
    assert (queue["length"], queue["counts"]["pending"], queue["jobs"][0]["id"]) == (1, 1, job)
    assert wire("POST", "/v1/rebalance", {"max": 5}).json == {"moving": 0}
    refused(wire("POST", "/v1/backfill", {"handler": "h1", "job": "f" * 32, "epoch": 1}), 404, "not_found")


def test_the_state_of_the_server_is_shown(wire):
    wire.create("cam")
    assert wire("GET", "/healthz").json == {"status": "ok"}
    assert wire("GET", "/readyz").json == {"status": "ready"}
    text = wire("GET", "/metrics").text
    assert "kvspic_fleet_queue_length 1.0" in text
    assert 'kvspic_fleet_requests_total{call="createJob",status="201"}' in text


# What is wrong with a request.


@pytest.mark.parametrize(
    "content, words",
    [
        (b"", "no JSON"),
        (b"{", "no JSON"),
        (b"\xff\xfe", "no JSON"),
        (b'{"name": NaN}', "NaN"),
        (b'{"name": Infinity}', "Infinity"),
        (b'{"name": "cam", "source": {"type": "test", "url": "testsrc"}, "autorestart": {"delay": 1e400}}', "finite"),
        (b'{"name": 1' + b"0" * 5000 + b"}", "no JSON"),
        (b"[" * 21 + b"]" * 21, "deeper than 20"),
        (b"[" * 100_000, "no JSON"),
        (b"[]", "must be an object"),
        (b'"text"', "must be an object"),
        (b"null", "must be an object"),
    ],
)
def test_a_body_that_is_no_object_is_refused(wire, content, words):
    assert words in refused(wire("POST", "/v1/jobs", content), 400, "bad_field")["message"]


def test_a_body_of_more_than_4_mb_is_refused(wire):
    refused(wire("POST", "/v1/jobs", b'"' + b"x" * BODY_MAX + b'"'), 413, "too_large")


@pytest.mark.parametrize("method", ["PUT", "PATCH"])
def test_that_a_job_is_not_there_is_said_before_its_body_is_read(wire, method):
    for body in ("{", "[]", '{"wrong": 1}'):
        refused(wire(method, "/v1/jobs/@missing", body), 404, "not_found")


BAD = [
    ("name", ""), ("name", "a" * 129), ("name", "a b"), ("name", 7), ("name", None), ("name", "f" * 32),
    ("stream", "a" * 257), ("stream", "ä"), ("description", "x" * 513), ("description", "\x00"), ("group", "a b"),
    ("labels", ["x"] * 33), ("labels", ["a" * 65]), ("labels", "gpu"), ("labels", [7]), ("endpoint", "ftp://x"),
    ("source", "rtsp://x"), ("source", {"type": "rtsp"}), ("source", {"type": "udp", "url": "udp://x"}),
    ("source", {"type": "rtsp", "url": "http://x"}), ("source", {"type": "rtsp", "url": "rtsp://" + "x" * 2048}),
    ("source", {"type": "file", "url": ""}), ("options", {"retention_hours": 87_601}), ("options", {"stall_s": 9}),
    ("options", {"retention_hours": -1}), ("options", {"spool": "yes"}),
    ("options", {"colour": 1}), ("autorestart", {"delay": 0.5}), ("autorestart", {"jitter": 1.5}),
    ("autorestart", {"attempt_count": 1001}), ("autorestart", {"attempt_count": 1.5}),
    ("autorestart", {"backoff": True}),
    ("status", "in_progress"), ("status", "done"), ("status", "restart"), ("status", "cancel"), ("colour", "red"),
]  # fmt: skip


@pytest.mark.parametrize("field, value", BAD)
def test_a_field_past_its_bound_is_refused_and_nothing_is_stored(wire, field, value):
    body = {"name": "cam", "source": CAMERA, field: value}
    said = refused(wire("POST", "/v1/jobs", body), 400, "bad_field")
    assert said["field"].startswith(field)
    assert wire("GET", "/v1/jobs").json["jobs"] == []


GOOD = [
    ("name", "a" * 128), ("stream", "a" * 256), ("description", "x" * 512), ("labels", [f"{n:064}" for n in range(32)]),
    ("options", {"retention_hours": 87_600}), ("options", {"stall_s": 10}), ("autorestart", {"attempt_count": None}),
    ("autorestart", {"delay": 86_400, "jitter": 1, "backoff": 10}), ("source", {"type": "test", "url": "testsrc"}),
    ("source", {"type": "rtsp", "url": "rtsps://" + "x" * 2040}), ("group", "a" * 128),
]  # fmt: skip


@pytest.mark.parametrize("field, value", GOOD)
def test_a_field_at_its_bound_is_taken(wire, field, value):
    assert wire("POST", "/v1/jobs", {"name": "cam", "source": CAMERA, field: value}).status == 201


@pytest.mark.parametrize("method, path", [("GET", "/v2/jobs"), ("GET", "/v1/"), ("GET", "/web/local/../../x")])
def test_an_unknown_path_is_404_in_words(wire, method, path):
    refused(wire(method, path), 404, "not_found")


def test_a_method_that_a_path_has_not_is_405(wire):
    got = wire("DELETE", "/v1/queue")
    refused(got, 405, "method_not_allowed")
    assert "GET" in got.headers["Allow"]


def test_there_is_no_test_clock_without_the_option():
    with serving(has_test_clock=False) as server, Wire(server.url) as wire:
        refused(wire("POST", "/v1/test/clock", {"advance_s": 1}), 404, "not_found")


# Passwords.


def test_a_password_is_in_the_answer_to_a_poll_and_nowhere_else(server, wire, caplog):
    caplog.set_level(logging.DEBUG)
    said = []

    def call(method, path, body=None):
        got = wire(method, path, body)
        said.append(got.text + str(got.headers))
        return got

    job = call("POST", "/v1/jobs", {"name": "cam", "source": SECRET, "group": "yard"}).json["id"]
    call("POST", "/v1/jobs", {"name": "cam", "source": SECRET})
    call("POST", "/v1/jobs", {"name": "x", "source": {**SECRET, "type": "file"}})
    call("POST", "/v1/apply", {"jobs": [{"name": "y", "source": {**SECRET, "type": "device"}}]})
    handed = wire.poll()["jobs"][0]
    assert handed["source"]["url"] == SECRET["url"]
    error = {"class": "source_unreachable", "text": f"cannot open {SECRET['url']} with {PASSWORD}"}
    stats = {"source": f"away: {SECRET['url']}", "fps": 25}
    assert wire.report(job, handed["epoch"], stats=stats)["accepted"]
    call("GET", f"/v1/jobs/{job}")
    assert wire.report(job, handed["epoch"], "failure", error=error)["accepted"]
    for path in ("/v1/jobs", f"/v1/jobs/{job}", "/v1/jobs/@cam/logs", f"/v1/logs?job={job}"):
        call("GET", path)
    for path in ("/v1/queue", "/v1/handlers", "/metrics", "/v1/settings", "/v1/openapi.json", "/"):
        call("GET", path)
    shown = call("GET", "/v1/jobs/@cam").json
    assert shown["error"]["class"] == "source_unreachable"
    assert "***" in shown["source"]["url"]
    call("PUT", f"/v1/jobs/{job}", {"name": "cam", "source": shown["source"]})
    call("DELETE", f"/v1/jobs/{job}/logs")
    assert [one for one in said if PASSWORD in one] == []
    assert PASSWORD not in caplog.text
    wire.advance(30)
    assert wire.poll()["jobs"][0]["source"]["url"] == SECRET["url"], "what was shown as *** is as before"


def test_no_password_is_in_the_events(server, wire):
    with Wire(server.url, timeout=20) as other:
        other._line.request("GET", "/v1/events")
        stream = other._line.getresponse()
        assert stream.headers["Content-Type"] == "text/event-stream"
        job = wire.create("cam", source=SECRET)
        text = ""
        while f'"id":"{job}"' not in text:
            text += stream.readline().decode()
        assert "event: job" in text
        assert PASSWORD not in text
        stream.close()


# What readers see.


def test_a_reader_at_full_speed_never_sees_a_transient_status(server, wire):
    """SS-25: what leads through restart and handler_lost is one commit."""
    job = wire.create("cam")
    seen, ended = set(), threading.Event()

    def read():
        with Wire(server.url) as other:
            while not ended.is_set():
                seen.add(other("GET", f"/v1/jobs/{job}").json["status"])

    reading = threading.Thread(target=read)
    reading.start()
    body = {"name": "cam", "source": CAMERA}
    for number in range(60):
        assert wire("PUT", f"/v1/jobs/{job}", {**body, "status": "pause" if number % 2 else "pending"}).status == 200
        if number % 10 == 0:
            wire.poll(f"h-{number}", carried=[])
            wire.advance(25)  # its handler is lost
    ended.set()
    reading.join(30)
    assert seen <= {"pending", "pause", "in_progress"}
    assert {"restart", "handler_lost"} <= {status for status, _ in wire.log(job)}


# Waiting.


def test_a_long_poll_returns_when_there_is_work(server, wire):
    got = {}
    began = time.monotonic()

    def wait():
        with Wire(server.url, timeout=60) as other:
            got.update(other.poll("h-wait", wait_s=25))
            got["after_s"] = time.monotonic() - began

    waiting = threading.Thread(target=wait)
    waiting.start()
    while "kvspic_fleet_polls_waiting 1.0" not in wire("GET", "/metrics").text:
        pass
    job = wire.create("cam")
    waiting.join(30)
    assert [one["id"] for one in got["jobs"]] == [job]
    assert got["after_s"] < 20


def test_a_long_poll_returns_when_a_carried_job_was_stopped(server, wire):
    job = wire.create("cam")
    wire.poll("h-stop")
    got = {}

    def wait():
        with Wire(server.url, timeout=60) as other:
            got.update(other.poll("h-stop", wait_s=25, carried=[{"id": job, "epoch": 1}]))

    waiting = threading.Thread(target=wait)
    waiting.start()
    while "kvspic_fleet_polls_waiting 1.0" not in wire("GET", "/metrics").text:
        pass
    assert wire("PATCH", f"/v1/jobs/{job}", {"status": "cancel"}).status == 200
    waiting.join(30)
    assert got["stop"] == [job]


def test_a_server_that_stops_answers_its_polls():
    got = []
    with serving() as server, Wire(server.url) as wire:

        def wait():
            with Wire(server.url, timeout=60) as other:
                got.append(other.poll("h1", wait_s=25))

        waiting = threading.Thread(target=wait)
        waiting.start()
        while "kvspic_fleet_polls_waiting 1.0" not in wire("GET", "/metrics").text:
            pass
    waiting.join(30)
    assert got[0]["jobs"] == []


def test_jobs_that_only_time_makes_free_are_handed_to_who_waits():
    """No announcement says that a job's spread has passed: the server looks at the queue once a second."""
    with serving(has_test_clock=False) as server, Wire(server.url, timeout=60) as wire:
        wire("PUT", "/v1/settings", {"spread_s": 1})
        with Wire(server.url) as other:
            other.poll("idle", slots=100)  # the fair share of the other is then nothing
            for number in range(3):
                other.create(f"cam-{number}")
        handed = []
        while len(handed) < 3:
            handed += wire.poll("busy", wait_s=25)["jobs"]
        assert {job["name"] for job in handed} == {"cam-0", "cam-1", "cam-2"}


def test_every_call_has_a_name_of_its_own():
    assert len({route.name for route in ROUTES}) == len(ROUTES) == len({(one.method, one.path) for one in ROUTES})


def test_json_of_answers_has_no_number_that_json_has_not(wire):
    job = wire.create("cam")
    wire.poll()
    got = wire("POST", "/v1/handlers/h1/feedback", json.dumps({
        "incarnation": "i1", "reports": [{"id": job, "epoch": 1, "status": "in_progress", "stats": {"fps": 1e308}}],
    }))  # fmt: skip
    assert got.status in (200, 400)
    json.loads(wire("GET", f"/v1/jobs/{job}").text, parse_constant=pytest.fail)
