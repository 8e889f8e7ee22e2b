"""Ways to a data endpoint. Goal: where only a proxy leads to the service, uploads take it, as botocore's calls do."""

import asyncio
import base64
import socket
import ssl

import pytest
from unit.provider.proxies import proxy
from unit.provider.servers import ACCEPTED, LAST_CHUNK, ack, chunk, loopback_server, run_watched
from unit.provider.uploads import make_upload

from kvspic.provider import route
from kvspic.provider.control import ControlPlane
from kvspic.provider.credentials import StaticCredentials
from kvspic.provider.results import ServiceError
from kvspic.provider.route import DIRECT, ProxyError, Route, UntrustedCertificate, find_route, open_put_media
from kvspic.provider.transport import ConnectTimeout
from kvspic.provider.upload import EndedBy

NAME = "s-1.kinesisvideo.example"
PIECE = bytes(range(256)) * 400


@pytest.fixture(autouse=True)
def no_proxies(monkeypatch):
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


@pytest.mark.parametrize(
    ("variables", "url", "proxy_url"),
    [
        ({}, f"https://{NAME}", ""),
        ({"HTTPS_PROXY": "http://proxy:3128"}, f"https://{NAME}", "http://proxy:3128"),
        ({"https_proxy": "proxy:3128"}, f"https://{NAME}", "http://proxy:3128"),
        ({"HTTP_PROXY": "http://proxy:3128"}, f"https://{NAME}", ""),
        ({"HTTP_PROXY": "http://proxy:3128"}, f"http://{NAME}:8080", "http://proxy:3128"),
        ({"HTTPS_PROXY": "https://proxy"}, f"https://{NAME}", "https://proxy"),
        ({"HTTPS_PROXY": "socks5://proxy:1080"}, f"https://{NAME}", "socks5://proxy:1080"),
        ({"HTTPS_PROXY": "http://proxy", "NO_PROXY": "kinesisvideo.example"}, f"https://{NAME}", ""),
        ({"HTTPS_PROXY": "http://proxy", "NO_PROXY": "*"}, f"https://{NAME}", ""),
        ({"HTTPS_PROXY": "http://proxy", "HTTP_PROXY": "http://proxy"}, "https://127.0.0.1:8443", ""),
        ({"HTTPS_PROXY": "http://proxy", "HTTP_PROXY": "http://proxy"}, "http://localhost:8080", ""),
    ],
)
def test_the_variables_count_as_botocore_has_them_and_loopback_is_never_reached_by_a_proxy(
    monkeypatch, variables, url, proxy_url
):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert find_route(url).proxy_url == proxy_url


def test_a_user_and_a_password_become_a_header_and_are_never_shown(monkeypatch):
    monkeypatch.setenv("HTTPS_PROXY", "http://camera:se%20cret@proxy:3128")
    route = find_route(f"https://{NAME}")
    assert base64.b64decode(route.authorization.removeprefix("Basic ")) == b"camera:se cret"
    assert "se" not in repr(route).replace("Route", "")
    assert repr(DIRECT) == "Route(direct)"


async def script(peer):
    """Accepts, and acknowledges while the body goes up."""
    await peer.read_head()
    await peer.say(ACCEPTED)
    while await peer.read_chunk():
        await peer.say(chunk(ack("RECEIVED")))
    await peer.say(LAST_CHUNK)


def upload_through(tls_pair, *, endpoint_tls, proxy_tls, authorization="", route_authorization="", name=None):
    server_tls, client_tls = tls_pair

    async def story():
        async with loopback_server(script, server_tls if endpoint_tls else None) as real_url:
            port = int(real_url.rsplit(":", 1)[1])
            scheme, host = ("https", "localhost") if endpoint_tls else ("http", NAME)
            targets = {f"{host}:{port}": port}
            async with proxy(targets, tls=server_tls if proxy_tls else None, authorization=authorization) as (
                url,
                seen,
            ):
                route = Route(url, route_authorization)
                upload = make_upload(f"{scheme}://{name or host}:{port}", tls=client_tls, route=route, linger_s=5)
                upload.put(PIECE, None)
                return upload, await upload.session.run(), seen

    return run_watched(story())


@pytest.mark.parametrize("endpoint_tls", [False, True], ids=["http", "https"])
@pytest.mark.parametrize("proxy_tls", [False, True], ids=["plain proxy", "https proxy"])
def test_an_upload_goes_through_a_proxy_in_both_directions_at_once(tls_pair, endpoint_tls, proxy_tls):
    upload, outcome, seen = upload_through(tls_pair, endpoint_tls=endpoint_tls, proxy_tls=proxy_tls)
    assert outcome.ended_by is EndedBy.BODY
    assert outcome.bytes_sent == len(PIECE)
    assert b"RECEIVED" in upload.acks
    assert len(seen) == 1
    assert "Proxy-Authorization" not in seen[0]


def test_a_proxy_gets_its_credentials_and_the_service_does_not(tls_pair):
    wanted = "Basic Y2FtZXJhOnNlY3JldA=="
    _, outcome, _ = upload_through(
        tls_pair, endpoint_tls=True, proxy_tls=False, authorization=wanted, route_authorization=wanted
    )
    assert outcome.ended_by is EndedBy.BODY


def test_a_proxy_that_wants_credentials_is_a_sentence(tls_pair):
    _, outcome, _ = upload_through(tls_pair, endpoint_tls=True, proxy_tls=False, authorization="Basic x")
    assert outcome.ended_by is EndedBy.NETWORK
    assert "407" in outcome.message
    assert "user and a password in HTTPS_PROXY" in outcome.message


def test_a_proxy_that_refuses_the_way_is_a_sentence(tls_pair):
    _, outcome, _ = upload_through(tls_pair, endpoint_tls=True, proxy_tls=False, name="elsewhere.example")
    assert outcome.endpoint_is_doubtful
    assert "refuses the way to elsewhere.example" in outcome.message
    assert "403 Filtered" in outcome.message


@pytest.mark.parametrize("answer", [b"", b"SSH-2.0\r\n\r\n", b"\0" * 20_000, b"HTTP/1.1 200 OK\r\n"])
def test_what_is_no_proxy_is_a_sentence(answer):
    async def mute(peer):
        await peer.read_head()
        await peer.say(answer)

    async def story():
        async with loopback_server(mute) as url:
            with pytest.raises(ProxyError, match="the proxy"):
                await open_put_media(f"https://{NAME}", route=Route(url))

    run_watched(story())


def test_a_proxy_that_is_not_there_is_a_sentence():
    with pytest.raises(ProxyError, match="is not reached"):
        run_watched(open_put_media(f"https://{NAME}", route=Route("http://127.0.0.1:9")))


def test_a_proxy_of_another_kind_is_refused():
    with pytest.raises(ProxyError, match="'socks5' is not supported"):
        run_watched(open_put_media(f"https://{NAME}", route=Route("socks5://127.0.0.1:9")))


@pytest.mark.parametrize("url", ["http://[::1", "http://camera:secret", "https://", "http://host:99999"])
def test_what_is_no_url_of_a_proxy_is_a_sentence_without_its_password(url):
    with pytest.raises(ProxyError, match="no URL of a proxy") as raised:
        run_watched(open_put_media(f"https://{NAME}", route=Route(url)))
    assert "secret" not in str(raised.value)


@pytest.mark.parametrize("url", ["http://[::1", "http://camera:secret"])
def test_a_proxy_of_the_environment_that_is_no_url_is_a_sentence_without_its_password(url, monkeypatch):
    monkeypatch.setenv("HTTPS_PROXY", url)

    async def story():
        plane = ControlPlane(region="eu-west-1", credentials=StaticCredentials("key", "secret"))
        target = await plane.put_media_target(f"https://{NAME}")
        await target.connect()

    with pytest.raises((ProxyError, ServiceError), match="no URL of a proxy") as raised:
        run_watched(story())
    assert "secret" not in str(raised.value)


def test_a_bundle_of_certificates_that_cannot_be_read_just_now_is_a_failed_call(monkeypatch, tmp_path):
    monkeypatch.setenv("AWS_CA_BUNDLE", str(tmp_path / "gone.pem"))

    async def story():
        plane = ControlPlane(region="eu-west-1", credentials=StaticCredentials("key", "secret"))
        await plane.put_media_target(f"https://{NAME}")

    with pytest.raises(ServiceError, match=r"gone\.pem"):
        run_watched(story())


def test_interim_answers_of_a_proxy_without_end_are_left():
    async def flood(peer):
        await peer.read_head()
        await peer.say(b"HTTP/1.1 100 Continue\r\n\r\n" * 100)
        await peer.reader.read()

    async def story():
        async with loopback_server(flood) as url:
            await open_put_media(f"https://{NAME}", route=Route(url))

    with pytest.raises(ProxyError, match="interim answers without end"):
        run_watched(story())


def test_a_proxy_that_never_answers_ends_with_a_timeout():
    async def silent(peer):
        await peer.reader.read()
        await asyncio.Event().wait()

    async def story():
        async with loopback_server(silent) as url:
            await open_put_media(f"https://{NAME}", route=Route(url), connect_timeout_s=0.1)

    with pytest.raises(ConnectTimeout, match="through the proxy"):
        run_watched(story())


def test_an_https_proxy_that_is_not_trusted_is_called_that(tls_pair):
    async def story():
        async with proxy({}, tls=tls_pair[0]) as (url, _):
            await open_put_media(f"https://{NAME}", route=Route(url), ssl_context=ssl.create_default_context())

    with pytest.raises(UntrustedCertificate, match=r"127\.0\.0\.1 is not trusted"):
        run_watched(story())


@pytest.mark.parametrize(
    ("host", "found"),
    [
        ("127.0.0.1", [(socket.AF_INET, ("127.0.0.1", 9))]),
        ("::1", [(socket.AF_INET6, ("::1", 9, 0, 0))]),
        ("fe80::1%lo", ["looked up"]),
        ("camera.example", ["looked up"]),
        ("127.1", ["looked up"]),  # the system reads more forms than the usual one
    ],
)
def test_only_what_is_no_address_is_looked_up(host, found, monkeypatch):
    async def look_up(host, port):
        return ["looked up"]

    monkeypatch.setattr(route, "look_up", look_up)
    assert run_watched(route._addresses(host, 9)) == found
