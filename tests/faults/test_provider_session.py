"""PutMedia under faults. Goal: whatever the server does, a session ends, says why, and reads what the server said."""

import asyncio
import logging

import pytest
from unit.provider.certificates import make_tls_pair
from unit.provider.servers import ACCEPTED, LAST_CHUNK, ack, chunk, json_answer, loopback_server, run_watched
from unit.provider.uploads import HEAD, QUICK, Upload, make_upload

from kvspic.provider.credentials import CallableCredentials, Credentials
from kvspic.provider.results import ServiceResult
from kvspic.provider.session import PutMediaSession, PutMediaTarget
from kvspic.provider.upload import HEAD_WINDOWS, EndedBy, SessionTimeouts

PIECE = b"m" * 65536
REFUSAL = json_answer(400, {"Message": "Too many."}, "x-amzn-ErrorType: ThrottlingException")
FORBIDDEN = json_answer(403, {"message": "The security token is expired"}, "x-amzn-ErrorType: ExpiredTokenException")


@pytest.fixture(scope="module")
def tls_pair(tmp_path_factory):
    return make_tls_pair(tmp_path_factory.mktemp("tls"))


@pytest.fixture(params=["plain", "tls"])
def wire(request):
    return (None, None) if request.param == "plain" else request.getfixturevalue("tls_pair")


def upload_to(script, *pieces, wire=(None, None), endless=False, **options):
    """Run one upload of ``pieces`` (``endless``: the last one again and again); (upload, outcome)."""

    async def story():
        async with loopback_server(script, wire[0]) as url:
            upload = make_upload(url, tls=wire[1], **options)
            upload.put(*pieces)
            upload.endless = pieces[-1] if endless else b""
            return upload, await upload.session.run()

    return run_watched(story())


@pytest.mark.parametrize("how", ["close", "reset"])
def test_an_early_refusal_is_read_although_the_body_was_going_up(wire, how):
    async def script(peer):
        await peer.read_head()
        await peer.read_chunk()
        await peer.say(REFUSAL)
        if how == "reset":
            peer.reset()

    upload, outcome = upload_to(script, PIECE, wire=wire, endless=True)
    assert outcome.ended_by is EndedBy.REFUSED
    assert outcome.http_status == 400
    assert outcome.error_name == "ThrottlingException"
    assert outcome.result is ServiceResult.UNKNOWN
    assert outcome.message == "Too many."
    assert upload.acks == b""


def test_refusals_are_never_lost_to_a_failed_write():
    """The server answers and closes with bytes unread: its kernel sends a reset behind the answer."""

    async def script(peer):
        await peer.read_head()
        await peer.say(REFUSAL)

    outcomes = [upload_to(script, PIECE, endless=True)[1] for _ in range(25)]
    assert [outcome.http_status for outcome in outcomes] == [400] * 25


def test_a_reset_in_the_middle_of_the_body_is_a_network_end(wire):
    async def script(peer):
        await peer.read_head()
        await peer.say(ACCEPTED + chunk(ack("BUFFERING")))
        await peer.read_chunk()
        peer.reset()

    _, outcome = upload_to(script, PIECE, wire=wire, endless=True)
    assert outcome.ended_by is EndedBy.NETWORK
    assert outcome.result is ServiceResult.UNKNOWN
    assert outcome.http_status == 200


def test_acks_sent_before_a_close_are_delivered(wire):
    async def script(peer):
        await peer.read_head()
        await peer.read_chunk()
        await peer.say(ACCEPTED + chunk(ack("PERSISTED", 7)))

    upload, outcome = upload_to(script, b"x", wire=wire)
    assert upload.acks == ack("PERSISTED", 7)
    assert outcome.ended_by is EndedBy.NETWORK


def test_a_server_that_ends_its_answer_first_ends_the_session_in_order(wire):
    async def script(peer):
        await peer.read_head()
        await peer.read_chunk()
        await peer.say(ACCEPTED + chunk(ack("IDLE")) + LAST_CHUNK)
        await peer.reader.read()

    _, outcome = upload_to(script, b"x", wire=wire)
    assert outcome.ended_by is EndedBy.SERVICE
    assert "the service ended the upload" in outcome.message
    assert outcome.result is ServiceResult.OK


def test_a_half_closed_server_still_gets_nothing_more_of_us(wire):
    async def script(peer):
        await peer.read_head()
        await peer.read_chunk()
        await peer.say(ACCEPTED)
        if peer.writer.can_write_eof():
            peer.writer.write_eof()
        else:
            peer.writer.close()
        await peer.reader.read()

    _, outcome = upload_to(script, b"x", wire=wire)
    assert outcome.ended_by is EndedBy.NETWORK


def test_a_server_that_never_answers_ends_with_a_timeout(wire):
    async def script(peer):
        await peer.reader.read()

    _, outcome = upload_to(script, b"x", wire=wire)
    assert outcome.ended_by is EndedBy.TIMEOUT
    assert outcome.result is ServiceResult.READ_TIMEOUT
    assert outcome.endpoint_is_doubtful


def test_a_server_that_never_reads_ends_with_a_timeout(wire):
    async def script(peer):
        await peer.read_head()
        await asyncio.Event().wait()

    _, outcome = upload_to(script, PIECE, wire=wire, endless=True)
    assert outcome.ended_by is EndedBy.TIMEOUT


def test_a_server_that_goes_silent_after_the_body_ends_with_a_timeout(wire):
    async def script(peer):
        await peer.read_head()
        await peer.read_chunks()
        await peer.say(ACCEPTED)
        await peer.reader.read()

    _, outcome = upload_to(script, b"x", None, wire=wire, linger_s=0.1)
    assert outcome.ended_by is EndedBy.TIMEOUT


def test_each_late_ack_after_the_body_gives_the_service_more_time():
    more = asyncio.Event()
    deadlines = []

    async def script(peer):
        await peer.read_head()
        await peer.read_chunks()
        await peer.say(ACCEPTED)
        for timecode in range(6):
            await peer.say(chunk(ack("PERSISTED", timecode)))
            await more.wait()
            more.clear()
        await peer.say(LAST_CHUNK)

    async def story():
        async with loopback_server(script) as url:
            upload = make_upload(url, linger_s=5.0)
            upload.put(b"x", None)

            def take(_):
                deadlines.append(upload.session.upload.deadline_hns)
                more.set()

            upload.take = take
            return await upload.session.run()

    assert run_watched(story()).ended_by is EndedBy.BODY
    assert len(deadlines) == 6
    assert deadlines == sorted(set(deadlines))


def test_a_refusal_that_never_ends_is_left():
    async def script(peer):
        await peer.read_head()
        await peer.say(b"HTTP/1.1 500 Oh\r\nContent-Length: 1000\r\n\r\n{")
        await peer.reader.read()

    _, outcome = upload_to(script, b"x")
    assert outcome.ended_by is EndedBy.REFUSED
    assert outcome.result is ServiceResult.INTERNAL_ERROR


def test_a_refusal_that_trickles_gets_no_more_time():
    async def script(peer):
        await peer.read_head()
        await peer.read_chunks()
        await peer.say(b"HTTP/1.1 500 Oh\r\nContent-Length: 1000000\r\n\r\n{")
        while True:
            await peer.say(b" ")
            await asyncio.sleep(0)

    _, outcome = upload_to(script, b"x", None, linger_s=60.0)
    assert outcome.ended_by is EndedBy.REFUSED


def test_what_is_not_http_is_a_network_end():
    async def script(peer):
        await peer.say(b"SSH-2.0-OpenSSH_9.6\r\n\r\n")
        await peer.reader.read()

    assert upload_to(script, b"x")[1].ended_by is EndedBy.NETWORK


@pytest.mark.parametrize("cut", range(0, len(ACCEPTED) + 60, 7))
def test_a_connection_cut_after_any_byte_of_the_answer_ends_the_session(cut):
    answer = (ACCEPTED + chunk(ack("BUFFERING")))[:cut]

    async def script(peer):
        await peer.read_head()
        await peer.say(answer)
        peer.writer.close()

    assert upload_to(script, b"x")[1].ended_by is EndedBy.NETWORK


# ---- stop, cancel, errors of the caller


@pytest.mark.parametrize("steps", [0, 1, 2, 3, 5, 8, 13, 21, 34])
def test_stop_ends_a_session_at_any_moment(wire, steps):
    async def script(peer):
        await peer.read_head()
        await peer.say(ACCEPTED)
        await peer.reader.read()

    async def story():
        async with loopback_server(script, wire[0]) as url:
            upload = make_upload(url, tls=wire[1])
            upload.put(b"x")
            running = asyncio.ensure_future(upload.session.run())
            for _ in range(steps):
                await asyncio.sleep(0)
            upload.session.stop()
            return await running

    assert run_watched(story()).ended_by is EndedBy.STOPPED


@pytest.mark.parametrize("steps", [1, 2, 3, 5, 8, 13, 21, 34])
def test_a_cancelled_session_leaves_nothing_behind(wire, steps):
    async def script(peer):
        await peer.read_head()
        await peer.say(ACCEPTED)
        await peer.reader.read()

    async def story():
        async with loopback_server(script, wire[0]) as url:
            upload = make_upload(url, tls=wire[1])
            upload.put(PIECE)
            running = asyncio.ensure_future(upload.session.run())
            for _ in range(steps):
                await asyncio.sleep(0)
            running.cancel()
            with pytest.raises(asyncio.CancelledError):
                await running
            for _ in range(10):
                await asyncio.sleep(0)
            return [task for task in asyncio.all_tasks() if "provider" in str(task.get_coro())]

    assert run_watched(story()) == []


@pytest.mark.parametrize("place", ["read", "take", "connected", "accepted"])
def test_an_error_of_the_caller_comes_back_to_the_caller(place):
    async def script(peer):
        await peer.read_head()
        await peer.say(ACCEPTED + chunk(ack("BUFFERING")))
        await peer.reader.read()

    def fail(*_):
        raise ZeroDivisionError("a bug of the caller")

    async def story():
        async with loopback_server(script) as url:
            upload = make_upload(url)
            upload.pieces.append(b"x")
            setattr(upload, place, fail)
            with pytest.raises(ZeroDivisionError):
                await upload.session.run()

    run_watched(story())


# ---- no connection at all


def test_a_closed_port_ends_the_session_at_once():
    async def story():
        async with loopback_server(None) as url:
            pass
        upload = make_upload(url)
        return upload, await upload.session.run()

    upload, outcome = run_watched(story())
    assert outcome.ended_by is EndedBy.NETWORK
    assert outcome.endpoint_is_doubtful
    assert upload.connected_count == 0
    assert "127.0.0.1" in outcome.message


def test_an_untrusted_server_is_a_matter_of_configuration(tls_pair):
    async def script(peer):
        await peer.reader.read()

    _, outcome = upload_to(script, b"x", wire=(tls_pair[0], None))
    assert outcome.result is ServiceResult.NOT_AUTHORIZED


def test_an_impossible_header_is_an_invalid_argument():
    async def script(peer):
        await peer.reader.read()

    async def story():
        async with loopback_server(script) as url:
            upload = make_upload(url)
            upload.session.head = type(HEAD)("door\r\nx-evil: 1", 0)
            return await upload.session.run()

    assert run_watched(story()).result is ServiceResult.INVALID_ARG


# ---- credentials


class Rotating:
    """Old keys first; new ones once they were asked for."""

    def __init__(self):
        self.refresh_count = 0

    async def get(self, *, refresh=False):
        self.refresh_count += refresh
        return Credentials("NEWKEY" if self.refresh_count else "OLDKEY", "SECRET-TEXT", "TOKEN-TEXT")


def accept_new_keys_only(bodies):
    async def script(peer):
        headers = await peer.read_head()
        if "OLDKEY" in headers["authorization"]:
            await peer.read_chunk()
            await peer.say(FORBIDDEN)
            return
        bodies.append(await peer.read_chunks())
        await peer.say(ACCEPTED + LAST_CHUNK)

    return script


def test_expired_keys_are_refreshed_and_the_upload_repeated_from_its_first_byte(wire):
    bodies, keys = [], Rotating()
    upload, outcome = upload_to(accept_new_keys_only(bodies), b"one", b"two", None, wire=wire, credentials=keys)
    assert outcome.ended_by is EndedBy.BODY
    assert bodies == [b"onetwo"]
    assert outcome.bytes_sent == len(b"onetwo")
    assert upload.connected_count == 1
    assert keys.refresh_count == 1


def test_keys_that_stay_refused_end_the_session_after_one_repetition():
    keys, calls = Rotating(), []

    async def script(peer):
        calls.append(await peer.read_head())
        await peer.say(FORBIDDEN)

    _, outcome = upload_to(script, b"x", credentials=keys)
    assert len(calls) == 2
    assert outcome.result is ServiceResult.FORBIDDEN
    assert outcome.ended_by is EndedBy.REFUSED


def test_a_missing_permission_is_not_repeated():
    calls = []

    async def script(peer):
        calls.append(await peer.read_head())
        await peer.say(json_answer(403, {"Message": "not allowed"}, "x-amzn-ErrorType: AccessDeniedException"))

    _, outcome = upload_to(script, b"x", credentials=Rotating())
    assert len(calls) == 1
    assert outcome.result is ServiceResult.FORBIDDEN


def test_no_more_leaves_before_an_answer_than_can_be_repeated():
    keys, bodies = Rotating(), []

    async def script(peer):
        headers = await peer.read_head()
        received = 0
        while received < HEAD_WINDOWS[1]:
            received += len(await peer.read_chunk())
        bodies.append(received)
        if "OLDKEY" in headers["authorization"]:
            await peer.say(FORBIDDEN)
            return
        await peer.say(ACCEPTED)
        while received < 10 * len(PIECE):
            received += len(await peer.read_chunk())
        await peer.say(LAST_CHUNK)

    _, outcome = upload_to(script, PIECE, endless=True, credentials=keys, timeouts=SessionTimeouts())
    assert outcome.ended_by is EndedBy.SERVICE
    assert bodies == [HEAD_WINDOWS[1]] * 2
    assert keys.refresh_count == 1


def test_a_wrong_clock_is_corrected_by_the_refusal():
    dates = []

    async def script(peer):
        dates.append((await peer.read_head())["x-amz-date"])
        text = f"Signature expired: {dates[0]} is now earlier than X (20990101T000000Z - 5 min.)"
        text = text.replace("X", "20981231T235500Z")
        await peer.say(json_answer(403, {"message": text}, "x-amzn-ErrorType: InvalidSignatureException"))

    upload, _ = upload_to(script, b"x")
    assert dates[1].startswith("20990101T0000")
    assert upload.session.target.clock.offset_s > 0


def test_a_source_that_never_answers_ends_with_a_timeout():
    async def never():
        await asyncio.Event().wait()

    async def story():
        limits = SessionTimeouts(open_s=0.05)
        return await make_upload(
            "http://127.0.0.1:9", credentials=CallableCredentials(never), timeouts=limits
        ).session.run()

    assert run_watched(story()).ended_by is EndedBy.TIMEOUT


def test_a_source_without_keys_is_told_and_quotes_nothing():
    def broken():
        raise RuntimeError("SECRET-TEXT")

    async def story():
        session = PutMediaSession(
            target=PutMediaTarget("http://127.0.0.1:9", "us-east-1", CallableCredentials(broken), timeouts=QUICK),
            head=HEAD,
            owner=Upload(),
        )
        return await session.run()

    outcome = run_watched(story())
    assert outcome.ended_by is EndedBy.NETWORK
    assert "SECRET-TEXT" not in outcome.message
    assert "RuntimeError" in outcome.message


def test_no_secret_is_logged_or_told(caplog, wire):
    caplog.set_level(logging.DEBUG)
    bodies = []
    _, outcome = upload_to(accept_new_keys_only(bodies), b"one", None, wire=wire, credentials=Rotating())
    for secret in ("SECRET-TEXT", "TOKEN-TEXT", "Signature="):
        assert secret not in caplog.text
        assert secret not in repr(outcome)


@pytest.mark.parametrize("count", [0, 1, 7, 50, 200, 400, 600, 700, 5_000, 64_000])
@pytest.mark.parametrize("how", ["close", "reset"])
def test_a_connection_cut_after_any_byte_of_the_request_ends_the_session(wire, count, how):
    async def script(peer):
        await peer.reader.readexactly(count)
        if how == "reset":
            peer.reset()
        else:
            peer.writer.close()

    _, outcome = upload_to(script, PIECE, wire=wire, endless=True)
    assert outcome.ended_by is EndedBy.NETWORK
    assert outcome.http_status == 0
    assert outcome.endpoint_is_doubtful
