"""PutMedia sessions. Goal: the body goes up while ACKs come down, over TCP and TLS, and each end has its outcome."""

import asyncio
import socket
from dataclasses import replace

from unit.provider.servers import ACCEPTED, LAST_CHUNK, ack, chunk, loopback_server, run_watched
from unit.provider.uploads import make_upload

from kvspic.provider.putmedia import chunk_of
from kvspic.provider.results import ServiceResult
from kvspic.provider.route import open_put_media
from kvspic.provider.upload import EndedBy, ReadState, SessionTimeouts


def test_acks_arrive_while_the_body_is_still_going_up(wire):
    server_tls, client_tls = wire

    async def script(peer):
        await peer.read_head()
        assert await peer.read_chunk() == b"first"
        await peer.say(ACCEPTED + chunk(ack("BUFFERING", 1)))
        assert await peer.read_chunks() == b"second"
        await peer.say(chunk(ack("PERSISTED", 1)) + LAST_CHUNK)

    async def story():
        async with loopback_server(script, server_tls) as url:
            upload = make_upload(url, tls=client_tls)
            upload.put(b"first")
            running = asyncio.ensure_future(upload.session.run())
            await upload.wait_for_ack(b"BUFFERING")
            upload.put(b"second", None)
            return upload, await running

    upload, outcome = run_watched(story())
    assert upload.acks == ack("BUFFERING", 1) + ack("PERSISTED", 1)
    assert upload.connected_count == 1
    assert outcome.result is ServiceResult.OK
    assert outcome.ended_by is EndedBy.BODY
    assert outcome.bytes_sent == len(b"firstsecond")
    assert outcome.request_id == "r-1"


def test_the_request_head_says_what_the_service_needs():
    seen = {}

    async def script(peer):
        seen.update(await peer.read_head(), line=peer.request_line)
        await peer.read_chunks()
        await peer.say(ACCEPTED + LAST_CHUNK)

    async def story():
        async with loopback_server(script) as url:
            upload = make_upload(url)
            upload.put(None)
            outcome = await upload.session.run()
            return url, outcome

    url, outcome = run_watched(story())
    assert outcome.ended_by is EndedBy.BODY
    assert seen["line"] == "POST /putMedia HTTP/1.1"
    assert seen["host"] == url.removeprefix("http://")
    assert seen["x-amzn-stream-name"] == "front-door"
    assert seen["x-amzn-producer-start-timestamp"] == "1511852108.005"
    assert seen["x-amzn-fragment-timecode-type"] == "ABSOLUTE"
    assert seen["x-amzn-fragment-acknowledgment-required"] == "1"
    assert seen["transfer-encoding"] == "chunked"
    assert seen["authorization"].startswith("AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/")
    assert "expect" not in seen


def test_megabytes_go_up_unchanged_while_acks_flow(wire):
    server_tls, client_tls = wire
    piece = bytes(range(256)) * 1024

    async def script(peer):
        await peer.read_head()
        await peer.say(ACCEPTED)
        received = 0
        while data := await peer.read_chunk():
            assert data == (piece * 2)[received % len(piece) :][: len(data)]
            received += len(data)
            await peer.say(chunk(ack("RECEIVED", received)))
        assert received == 32 * len(piece)
        await peer.say(LAST_CHUNK)

    async def story():
        async with loopback_server(script, server_tls) as url:
            upload = make_upload(url, tls=client_tls)
            upload.put(*[piece] * 32, None)
            return upload, await upload.session.run()

    upload, outcome = run_watched(story())
    assert outcome.ended_by is EndedBy.BODY
    assert outcome.bytes_sent == 32 * len(piece)
    assert upload.acks.count(b"RECEIVED") >= 32


def test_uploads_that_share_one_buffer_never_mix_or_change_their_bytes(wire):
    """The kernel takes little at once, so pieces are sent in parts; the buffer is filled again meanwhile."""
    server_tls, client_tls = wire
    shared, size = bytearray(50_100), 50_000
    count, bodies, waits = 100, {}, []

    def piece_of(stream, number):
        return bytes([stream, number, stream ^ number, 255 - number]) * (size // 4)

    async def script(peer):
        await peer.read_head()
        await peer.say(ACCEPTED)
        body = await peer.read_chunks()
        bodies[body[0]] = body
        await peer.say(LAST_CHUNK)

    def filler(stream):
        numbers = iter(range(count))

        left = b""

        def read(size_max):
            nonlocal left
            if not left:
                number = next(numbers, None)
                if number is None:
                    return b"", 0, ReadState.END
                left = piece_of(stream, number)
            size = min(size_max, len(left))
            chunk, left = chunk_of(left[:size]), left[size:]
            shared[: len(chunk)] = chunk
            return memoryview(shared)[: len(chunk)], size, ReadState.MORE

        return read

    def narrow(url, tls):
        async def connect():
            transport = await open_put_media(url, ssl_context=tls)
            transport._sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
            when_sent = transport.when_sent
            transport.when_sent = lambda call: waits.append(1) or when_sent(call)
            return transport

        return connect

    async def story():
        async with loopback_server(script, server_tls) as url:
            uploads = [make_upload(url, tls=client_tls, linger_s=5, timeouts=SessionTimeouts()) for _ in (1, 2)]
            for stream, upload in enumerate(uploads, 1):
                upload.read = filler(stream)
                upload.session.target = replace(upload.session.target, open_transport=narrow(url, client_tls))
            return await asyncio.gather(*(upload.session.run() for upload in uploads))

    outcomes = run_watched(story(), 30)
    assert len(waits) >= 10  # the kernel took a part of a piece, and the rest was waited for
    for outcome in outcomes:
        assert outcome.ended_by is EndedBy.BODY
        assert outcome.bytes_sent == count * size
    for stream in (1, 2):
        assert bodies[stream] == b"".join(piece_of(stream, number) for number in range(count))


def test_what_comes_while_the_session_waits_is_with_the_kernel_before_more_returns(wire):
    server_tls, client_tls = wire

    async def script(peer):
        await peer.read_head()
        await peer.say(ACCEPTED)
        await peer.read_chunks()
        await peer.say(LAST_CHUNK)

    async def story():
        async with loopback_server(script, server_tls) as url:
            upload = make_upload(url, tls=client_tls)
            running = asyncio.ensure_future(upload.session.run())
            upload.put(b"first")
            while not upload.accepted_count:
                await asyncio.sleep(0)
            sent = []
            transport = upload.session._transport
            send_now = transport.send_now
            transport.send_now = lambda view: sent.append(len(view)) or send_now(view)
            upload.put(b"second")
            assert len(sent) == 1
            assert not transport._rest
            upload.put(None)
            return await running

    outcome = run_watched(story())
    assert outcome.bytes_sent == 11
    assert outcome.ended_by is EndedBy.BODY
