"""boto3's clients. Goal: one client per endpoint, signed with the keys of the call, and errors without secrets."""

import http.client
import io
import socket
import ssl
from types import SimpleNamespace

import botocore
import botocore.exceptions
import pytest
import urllib3
from botocore.awsrequest import AWSResponse
from botocore.config import Config
from unit.provider.servers import run_watched

from kvspic.loopback import is_loopback_url
from kvspic.provider import clients
from kvspic.provider.clients import Plane, configured_region, read_piece, translate
from kvspic.provider.results import ServiceError, ServiceResult
from kvspic.threads import in_thread


@pytest.mark.parametrize(
    "url, is_here",
    [
        ("http://127.0.0.1:4567", True),
        ("http://127.8.8.8", True),
        ("http://[::1]:80", True),
        ("http://localhost:1", True),
        ("http://kvs.localhost", True),
        ("https://127.0.0.1", True),
        ("http://192.168.1.5", False),
        ("http://localhost.example", False),
        ("http://", False),
        (None, False),
    ],
)
def test_only_an_endpoint_of_this_machine_needs_no_configuration(url, is_here):
    assert is_loopback_url(url) is is_here


def test_there_is_one_client_per_plane():
    first = Plane("kinesisvideo", "us-east-1", "http://127.0.0.1:1")
    again = Plane("kinesisvideo", "us-east-1", "http://127.0.0.1:1")
    other = Plane("kinesisvideo", "us-east-1", "http://127.0.0.1:2")

    async def ask():
        return [await in_thread(lambda plane=plane: clients._client(plane)) for plane in (first, again, other)]

    made = run_watched(ask(), seconds=30)
    assert made[0] is made[1]
    assert made[0] is not made[2]


@pytest.mark.parametrize("service", ["kinesisvideo", "kinesis-video-media", "kinesis-video-archived-media"])
@pytest.mark.parametrize("region, domain", [("eu-west-1", "amazonaws.com"), ("cn-north-1", "amazonaws.com.cn")])
def test_the_endpoints_that_are_kept_are_ours(monkeypatch, service, region, domain):
    monkeypatch.setattr(clients, "_clients", {})
    made = clients._client(Plane(service, region)).made
    assert made.meta.endpoint_url == f"https://kinesisvideo.{region}.{domain}"
    made.close()


@pytest.mark.parametrize(
    ("settings", "region", "url"),
    [
        ({}, "eu-west-1", "https://kinesisvideo.eu-west-1.amazonaws.com"),
        ({"AWS_USE_FIPS_ENDPOINT": "true"}, "us-gov-west-1", "https://kinesisvideo-fips.us-gov-west-1.amazonaws.com"),
        ({"AWS_USE_DUALSTACK_ENDPOINT": "true"}, "eu-west-1", "https://kinesisvideo.eu-west-1.api.aws"),
        ({"AWS_ENDPOINT_URL_KINESIS_VIDEO": "http://127.0.0.1:9/base"}, "eu-west-1", "http://127.0.0.1:9/base"),
    ],
)
def test_calls_of_the_control_plane_go_where_botocore_sends_them(monkeypatch, tmp_path, settings, region, url):
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    clients._session.cache_clear()
    made = clients._make_client(Plane("kinesisvideo", region, None, "camera/1"))
    made.close()
    clients._session.cache_clear()
    assert made.url == url
    assert made.headers["User-Agent"].endswith("camera/1")
    assert made.headers["Content-Type"] == "application/json"
    assert set(made.headers) == {"User-Agent", "Content-Type"}


@pytest.mark.parametrize("is_changed", [False, True])
def test_the_form_of_calls_is_taken_from_a_botocore_that_has_the_parts_it_relies_on(is_changed):
    unsigned = Config(signature_version=botocore.UNSIGNED)
    place = {"region_name": "eu-west-1", "endpoint_url": "http://127.0.0.1:3"}
    made = clients._session().create_client("kinesisvideo", **place, config=unsigned)
    made.meta.events.register("before-send", lambda request, **_: AWSResponse(request.url, 500, {}, None))
    session = made._endpoint.http_session
    if is_changed:
        del made._endpoint.http_session
    url, headers = clients._form(made)
    made._endpoint.http_session = session
    made.close()
    assert url == ("" if is_changed else "http://127.0.0.1:3")
    assert bool(headers) is not is_changed


def test_the_endpoints_of_other_services_are_not_held():
    data = clients._session().get_component("data_loader").load_data("endpoints")
    assert {name for partition in data["partitions"] for name in partition["services"]} == {"kinesisvideo"}


def test_the_number_of_clients_is_bounded(monkeypatch):
    monkeypatch.setattr(clients, "_clients", {})
    closed = []
    monkeypatch.setattr(clients, "_make_client", lambda plane: SimpleNamespace(close=lambda: closed.append(plane)))
    planes = [Plane("kinesisvideo", "us-east-1", f"http://127.0.0.1:{port}") for port in range(clients.CLIENTS_MAX + 5)]
    for plane in planes:
        clients._client(plane)
    assert len(clients._clients) == clients.CLIENTS_MAX
    assert closed == planes[:5]


def test_the_region_comes_from_the_environment(monkeypatch, tmp_path):
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION", "AWS_PROFILE", "AWS_DEFAULT_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    assert configured_region() is None
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
    assert configured_region() == "eu-west-1"
    monkeypatch.setenv("AWS_REGION", "eu-north-1")
    assert configured_region() == "eu-north-1"


@pytest.mark.parametrize(
    ("error", "remedy"),
    [
        (botocore.exceptions.ProfileNotFound(profile="yard"), "correct AWS_PROFILE"),
        (botocore.exceptions.InvalidRegionError(region_name="yard"), "pass region"),
        (botocore.exceptions.ConfigParseError(path="yard"), "correct that file"),
    ],
)
def test_a_setting_that_botocore_refuses_is_named_with_its_own_remedy(error, remedy):
    text = str(translate("DescribeStream", "AWS", error))
    assert "yard" in text
    assert f"; {remedy}" in text


def test_a_client_that_cannot_be_made_is_an_error_of_ours():
    with pytest.raises(ServiceError, match=r"eu central.*AWS_REGION"):
        clients.endpoint_of(Plane("kinesisvideo", "eu central"))


def test_an_error_of_an_unknown_kind_shows_its_kind_only():
    error = translate("DescribeStream", "the credential source", RuntimeError("SECRET"))
    assert "SECRET" not in str(error)
    assert "RuntimeError" in str(error)
    assert error.result is ServiceResult.UNKNOWN


def test_a_piece_is_read_without_waiting_for_more():
    class Payload:
        _raw_stream = io.BytesIO(b"abc")

    assert read_piece(Payload()) == b"abc"
    assert read_piece(Payload()) == b""
    assert read_piece(io.BytesIO(b"older urllib3")) == b"older urllib3"


def test_a_piece_has_all_that_has_arrived():
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        theirs.sendall(b"".join(b"3e8\r\n" + bytes([number]) * 1000 + b"\r\n" for number in range(40)))
        answer = http.client.HTTPResponse(ours)
        answer.begin()
        raw = urllib3.HTTPResponse(answer, preload_content=False)

        class Payload:
            _raw_stream = raw

        first = read_piece(Payload())
        assert len(first) == 40_000
        theirs.sendall(b"0\r\n\r\n")
        rest = list(iter(lambda: read_piece(Payload()), b""))
        assert first + b"".join(rest) == b"".join(bytes([number]) * 1000 for number in range(40))


def test_an_endpoint_without_tls_is_named_as_such():
    error = ssl.SSLError(1, "[SSL: WRONG_VERSION_NUMBER] wrong version number (_ssl.c:1000)")
    text = str(translate("DescribeStream", "https://localhost:8080", error))
    assert text == (
        "DescribeStream failed (NoTls): https://localhost:8080 does not speak TLS; "
        "write http:// instead of https:// if it speaks plain HTTP, or check host and port."
    )
    text = str(translate("DescribeStream", Plane("kinesisvideo", "eu-west-1").place, error))
    assert text == (
        "DescribeStream failed (NotAws): AWS in eu-west-1 does not speak TLS; "
        "a proxy or a login page of the network answers instead: check HTTPS_PROXY, or open a web page here."
    )
