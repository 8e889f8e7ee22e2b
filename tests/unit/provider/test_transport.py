"""Transport. Goal: both directions at once over TCP and TLS, buffers that may be reused, a close that never waits."""

import asyncio
import socket

import pytest
from unit.provider.servers import loopback_server, run_watched

from kvspic.provider.transport import ConnectTimeout, UnsupportedProtocol, default_ssl_context, open_put_media


async def echo(peer):
    while data := await peer.reader.read(65536):
        await peer.say(data)


async def receive_exactly(transport, size):
    got = bytearray()
    while len(got) < size:
        data = await transport.receive()
        assert data, "the server closed too early"
        got += data
    return bytes(got)


def test_both_directions_run_at_once_with_one_reused_buffer(wire):
    server_tls, client_tls = wire
    buffer = bytearray(100_000)

    async def story():
        async with loopback_server(echo, server_tls) as url:
            transport = await open_put_media(url, ssl_context=client_tls)

            async def send():
                for value in range(40):
                    buffer[:] = bytes([value]) * len(buffer)
                    await transport.send(memoryview(buffer))

            sending = asyncio.ensure_future(send())
            got = await receive_exactly(transport, 40 * len(buffer))
            await sending
            transport.close()
            return got

    got = run_watched(story())
    assert all(got[value * 100_000 : (value + 1) * 100_000] == bytes([value]) * 100_000 for value in range(40))


def test_the_end_of_the_servers_bytes_is_empty_and_stays_so(wire):
    server_tls, client_tls = wire

    async def script(peer):
        await peer.say(b"bye")

    async def story():
        async with loopback_server(script, server_tls) as url:
            transport = await open_put_media(url, ssl_context=client_tls)
            received = [await transport.receive() for _ in range(3)]
            transport.close()
            return received

    assert run_watched(story()) == [b"bye", b"", b""]


def test_a_cancelled_receive_loses_nothing(wire):
    server_tls, client_tls = wire

    async def story():
        async with loopback_server(echo, server_tls) as url:
            transport = await open_put_media(url, ssl_context=client_tls)
            for _ in range(3):
                receiving = asyncio.ensure_future(transport.receive())
                await asyncio.sleep(0)
                receiving.cancel()
                await asyncio.gather(receiving, return_exceptions=True)
            await transport.send(b"still here")
            data = await receive_exactly(transport, 10)
            transport.close()
            return data

    assert run_watched(story()) == b"still here"


def test_close_wakes_a_waiting_receive_and_may_be_repeated(wire):
    server_tls, client_tls = wire

    async def story():
        async with loopback_server(echo, server_tls) as url:
            transport = await open_put_media(url, ssl_context=client_tls)
            receiving = asyncio.ensure_future(transport.receive())
            await asyncio.sleep(0)
            transport.close()
            transport.close()
            woken = await asyncio.gather(receiving, return_exceptions=True)
            with pytest.raises(ConnectionAbortedError):
                await transport.send(b"x")
            return woken[0], transport._sock.fileno()

    woken, descriptor = run_watched(story())
    assert woken == b"" or isinstance(woken, OSError)
    assert descriptor == -1


def test_a_server_that_is_not_trusted_is_refused(tls_pair):
    async def story():
        async with loopback_server(echo, tls_pair[0]) as url:
            with pytest.raises(OSError, match="CERTIFICATE_VERIFY_FAILED"):
                await open_put_media(url)

    run_watched(story())


def test_the_certificate_must_name_the_host(tls_pair):
    async def story():
        async with loopback_server(echo, tls_pair[0]) as url:
            port = int(url.rsplit(":", 1)[1])

            async def resolver(host, asked_port):
                return [(socket.AF_INET, ("127.0.0.1", asked_port))]

            with pytest.raises(OSError, match="CERTIFICATE_VERIFY_FAILED"):
                await open_put_media(f"https://elsewhere.example:{port}", ssl_context=tls_pair[1], resolver=resolver)

    run_watched(story())


def test_each_address_is_tried():
    async def story():
        async with loopback_server(echo) as url:
            port = int(url.rsplit(":", 1)[1])
            dead = socket.create_server(("127.0.0.1", 0))
            dead_port = dead.getsockname()[1]
            dead.close()

            async def resolver(host, asked_port):
                return [(socket.AF_INET, ("127.0.0.1", dead_port)), (socket.AF_INET, ("127.0.0.1", port))]

            transport = await open_put_media("http://two.example", resolver=resolver)
            await transport.send(b"hello")
            data = await receive_exactly(transport, 5)
            transport.close()
            return data

    assert run_watched(story()) == b"hello"


@pytest.mark.parametrize("name, value", [("TCP_KEEPIDLE", 15), ("TCP_USER_TIMEOUT", 10_000)])
def test_the_kernel_is_told_when_a_peer_is_dead(name, value):
    option = getattr(socket, name, None)
    if option is None:
        pytest.skip(f"this system has no {name}")

    async def story():
        async with loopback_server(echo) as url:
            transport = await open_put_media(url)
            found = transport._sock.getsockopt(socket.IPPROTO_TCP, option)
            transport.close()
            return found

    assert run_watched(story()) == value


def test_a_name_is_looked_up():
    async def story():
        async with loopback_server(echo) as url:
            transport = await open_put_media(url.replace("127.0.0.1", "localhost"))
            transport.close()

    run_watched(story())


def test_a_silent_name_server_ends_with_a_timeout():
    async def resolver(host, port):
        await asyncio.Event().wait()

    with pytest.raises(ConnectTimeout, match="within"):
        run_watched(open_put_media("http://slow.example", connect_timeout_s=0.05, resolver=resolver))


def test_a_silent_handshake_ends_with_a_timeout(tls_pair):
    async def silent(peer):
        await peer.reader.read()

    async def story():
        async with loopback_server(silent) as url:
            await open_put_media(url.replace("http:", "https:"), ssl_context=tls_pair[1], connect_timeout_s=0.1)

    with pytest.raises(ConnectTimeout):
        run_watched(story())


def test_a_closed_port_is_an_error_at_once():
    listener = socket.create_server(("127.0.0.1", 0))
    port = listener.getsockname()[1]
    listener.close()
    with pytest.raises(ConnectionRefusedError):
        run_watched(open_put_media(f"http://127.0.0.1:{port}"))


def test_a_host_without_address_is_an_error():
    async def resolver(host, port):
        return []

    with pytest.raises(OSError, match="no address"):
        run_watched(open_put_media("http://nowhere.example", resolver=resolver))


@pytest.mark.parametrize("url", ["ftp://host", "host:80", "", "http://"])
def test_what_is_no_endpoint_is_refused(url):
    with pytest.raises(UnsupportedProtocol):
        run_watched(open_put_media(url))


def test_a_cancelled_connect_leaves_no_socket(wire):
    server_tls, client_tls = wire

    async def story():
        async with loopback_server(echo, server_tls) as url:
            for steps in range(12):
                connecting = asyncio.ensure_future(open_put_media(url, ssl_context=client_tls))
                for _ in range(steps):
                    await asyncio.sleep(0)
                connecting.cancel()
                result = (await asyncio.gather(connecting, return_exceptions=True))[0]
                if not isinstance(result, BaseException):
                    result.close()
            for _ in range(20):
                await asyncio.sleep(0)

    run_watched(story())  # an open socket would be a ResourceWarning, which is an error here


def test_the_default_context_checks_certificates_and_wants_tls_1_2(monkeypatch):
    monkeypatch.delenv("AWS_CA_BUNDLE", raising=False)
    default_ssl_context.cache_clear()
    context = default_ssl_context()
    assert context.check_hostname
    assert context.verify_mode.name == "CERT_REQUIRED"
    assert context.minimum_version.name == "TLSv1_2"
    assert default_ssl_context() is context


def test_the_bundle_of_the_user_replaces_the_systems(monkeypatch, tmp_path):
    default_ssl_context.cache_clear()
    monkeypatch.setenv("AWS_CA_BUNDLE", str(tmp_path))
    assert default_ssl_context().get_ca_certs() == []
    default_ssl_context.cache_clear()
    monkeypatch.setenv("AWS_CA_BUNDLE", str(tmp_path / "missing.pem"))
    with pytest.raises(OSError, match="AWS_CA_BUNDLE"):
        default_ssl_context()
    default_ssl_context.cache_clear()
