"""Who may call a running server. Goal: without the right token nothing is said and nothing is done, and a server that
everybody could command does not start."""

import ssl
from dataclasses import replace

import pytest

pytest.importorskip("sqlalchemy")
pytest.importorskip("aiohttp")
from unit.fleet.rest import CAMERA, Wire, serving

from kvspic.fleet import calls
from kvspic.fleet.auth import read_tokens
from kvspic.fleet.calls import NotAllowedError
from kvspic.fleet.client import FleetClient
from kvspic.fleet.errors import FleetServerError
from kvspic.fleet.routes import ROUTES

ADMIN, VIEWER, HANDLER = "a" * 20, "v" * 20, "h" * 20
TOKENS = read_tokens(f"{ADMIN} admin\n{VIEWER} viewer\n{HANDLER} handler yard name=gw-")
MAY = {ADMIN: {"read", "write", "handle"}, VIEWER: {"read"}, HANDLER: {"handle"}}
OWN = [("GET", "/metrics", "read"), ("GET", "/v1/openapi.json", "read"), ("POST", "/v1/test/clock", "write"),
       ("POST", "/page/play", "read"), ("POST", "/page/picture", "read")]  # fmt: skip


@pytest.fixture(scope="module")
def server():
    with serving(tokens=TOKENS) as running:
        yield running


def every_call():
    names = {"ref": "@cam", "handler": "gw-1", "group": "yard"}
    yield from ((route.method, route.path.format(**names), route.need) for route in ROUTES)
    yield from OWN


@pytest.mark.parametrize("token", [None, "x" * 20, ADMIN, VIEWER, HANDLER])
def test_each_call_asks_for_its_role(server, token):
    with Wire(server.url, token) as wire:
        for method, path, need in every_call():
            got = wire(method, path, {})
            if token not in MAY:
                assert (got.status, got.json["error"], got.headers["WWW-Authenticate"]) == (
                    401,
                    "not_allowed",
                    "Bearer",
                )
            elif need not in MAY[token]:
                assert (got.status, got.json["error"]) == (403, "not_allowed")
            else:
                assert got.status not in (401, 403), (method, path, got.text)


def test_what_says_whether_the_server_works_and_the_page_need_no_token(server):
    with Wire(server.url) as wire:
        assert [wire("GET", path).status for path in ("/healthz", "/readyz", "/", "/web/lib/dom.js")] == [200] * 4


def test_a_handler_token_bounds_names_and_jobs(server):
    with Wire(server.url, ADMIN) as admin, Wire(server.url, HANDLER) as wire:
        yard, other = (admin.create(f"cam-{label}", labels=[label]) for label in ("yard", "gate"))
        body = {"incarnation": "i1", "slots": 9, "free": 9, "labels": ["yard", "gate"]}
        assert wire("POST", "/v1/handlers/south-1/poll", body).status == 403
        assert wire("POST", "/v1/handlers/south-1/feedback", {"incarnation": "i1", "reports": []}).status == 403
        assert wire("POST", "/v1/backfill", {"handler": "south-1", "job": yard, "epoch": 1}).status == 403
        assert [job["id"] for job in wire("POST", "/v1/handlers/gw-1/poll", body).json["jobs"]] == [yard]
        assert admin("GET", f"/v1/jobs/{other}").json["status"] == "pending"
        assert wire("GET", f"/v1/jobs/{yard}").status == 403


def test_pages_of_other_sites_cannot_call_a_server_without_tokens():
    with serving() as server, Wire(server.url) as wire:
        body = {"name": "cam", "source": CAMERA}
        assert wire("POST", "/v1/jobs", body, {"Origin": "http://evil.example"}).status == 403
        assert wire("GET", "/v1/jobs", None, {"Host": "evil.example"}).json["error"] == "not_allowed"
        assert wire("POST", "/v1/jobs", body, {"Origin": server.url}).status == 201


@pytest.mark.parametrize("host", ["0.0.0.0", "::"])
def test_beyond_loopback_a_server_without_tokens_does_not_start(host):
    with pytest.raises(FleetServerError, match="--tokens") as refused, serving(host=host):
        pass
    assert refused.value.is_usage


def test_a_port_in_use_is_a_sentence():
    with serving() as server:
        port = int(server.url.rpartition(":")[2])
        with pytest.raises(FleetServerError, match=f"port {port}.*choose another"), serving(port=port):
            pass


def test_tls(tmp_path):
    pytest.importorskip("cryptography")
    from datetime import datetime, timezone

    from kvspic.local.certificates import self_signed

    made = self_signed(tmp_path, "host", datetime.now(timezone.utc))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(made.certificate, made.key)
    trusted = ssl.create_default_context(cafile=str(tmp_path / "ca.pem"))
    with serving(tokens=TOKENS, ssl_context=context) as server:
        assert server.url.startswith("https://")
        with FleetClient(server.url, token=ADMIN, tls=trusted) as fleet:
            assert fleet.add("cam", "test").status == "pending"
        with FleetClient(server.url, token=VIEWER, tls=trusted) as fleet:
            assert fleet.get("cam").name == "cam"
            with pytest.raises(NotAllowedError, match="viewer"):
                fleet.pause("cam")
        with FleetClient(server.url, token="wrong" * 5, tls=trusted) as fleet, pytest.raises(NotAllowedError):
            fleet.get("cam")


def test_a_call_that_needs_no_token_is_made_without():
    call = replace(calls.queue(), path="/healthz", read=dict)
    with serving(tokens=TOKENS) as server, FleetClient(server.url) as fleet:
        assert fleet.call(call) == {"status": "ok"}
