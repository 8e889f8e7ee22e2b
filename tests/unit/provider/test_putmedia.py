"""PutMedia as bytes. Goal: an answer means the same however the network cut it, and the body leaves in chunks that
any HTTP/1.1 server reads."""

import h11
import pytest
from hypothesis import given
from hypothesis import strategies as st
from unit.provider.servers import ACCEPTED, LAST_CHUNK, ack, chunk, json_answer

from kvspic.provider.putmedia import (
    End,
    Head,
    PutMediaConnection,
    PutMediaHead,
    chunk_of,
    host_header,
    put_media_url,
)

ANSWERS = {
    "accepted": ACCEPTED + chunk(ack("BUFFERING")) + chunk(ack("PERSISTED") * 3) + LAST_CHUNK,
    "refused": json_answer(
        400,
        {"Message": "Too many connections."},
        "x-amzn-ErrorType: ConnectionLimitExceededException:http://internal/coral/",
        "x-amzn-RequestId: r-2",
        "Retry-After: 7",
        "Connection: close",
    ),
    "named in the body": json_answer(403, {"__type": "com.amazon#ExpiredTokenException", "message": "expired"}),
    "no JSON": json_answer(502, b"<html>bad gateway</html>"),
    "continue first": b"HTTP/1.1 100 Continue\r\n\r\n" + ACCEPTED + LAST_CHUNK,
    "cut": ACCEPTED + chunk(ack("BUFFERING")) + b"40\r\n{",
    "no HTTP": b"SSH-2.0-OpenSSH_9.6\r\n",
    "nothing": b"",
}


def upload():
    connection = PutMediaConnection()
    connection.request(PutMediaHead("door", 5).headers("http://127.0.0.1:1"))
    return connection


def events_of(*pieces):
    """What the pieces mean, ACK bytes joined: how they are cut has no meaning."""
    connection, events, acks = upload(), [], b""
    for piece in [*[piece for piece in pieces if piece], b"", b""]:
        for event in connection.receive(piece):
            if isinstance(event, bytes):
                acks += event
            else:
                events.append(event)
    return events, acks


@pytest.mark.parametrize("name", ANSWERS)
def test_an_answer_is_the_same_byte_by_byte(name):
    answer = ANSWERS[name]
    pieces = [answer[index : index + 1] for index in range(len(answer))]
    whole, single = events_of(answer), events_of(*pieces)
    assert single[1] == whole[1]
    assert [type(event) for event in single[0]] == [type(event) for event in whole[0]]
    if name != "no HTTP":  # h11 words the same fault by how much of it has come
        assert single == whole


@given(name=st.sampled_from([name for name in ANSWERS if name != "no HTTP"]), data=st.data())
def test_an_answer_is_the_same_wherever_it_is_cut(name, data):
    answer = ANSWERS[name]
    cuts = sorted(data.draw(st.lists(st.integers(0, len(answer)), max_size=8)))
    pieces = [answer[start:end] for start, end in zip([0, *cuts], [*cuts, len(answer)])]
    assert events_of(*pieces) == events_of(answer)


@given(st.binary(max_size=400), st.integers(0, 400))
def test_any_bytes_give_one_end_and_nothing_after_it(data, cut):
    events, _ = events_of(data[:cut], data[cut:])
    assert [type(event) for event in events].count(End) == 1
    assert isinstance(events[-1], End)


def test_an_accepted_upload_gives_head_acks_and_end():
    events, acks = events_of(ANSWERS["accepted"])
    assert events == [Head(200, request_id="r-1"), End(True)]
    assert acks == ack("BUFFERING") + ack("PERSISTED") * 3


def test_a_refusal_gives_its_name_and_message_and_no_acks():
    events, acks = events_of(ANSWERS["refused"])
    assert events == [
        Head(400, "ConnectionLimitExceededException", request_id="r-2", retry_after_s=7.0),
        End(True, message="Too many connections."),
    ]
    assert acks == b""


def test_the_wait_may_be_asked_for_by_a_date():
    dates = "Date: Tue, 07 Nov 2023 04:58:05 GMT", "Retry-After: Tue, 07 Nov 2023 04:58:25 GMT"
    head = events_of(json_answer(503, b"", *dates))[0][0]
    assert head.retry_after_s == 20.0


def test_the_name_may_be_in_the_body():
    assert events_of(ANSWERS["named in the body"])[0] == [Head(403), End(True, "ExpiredTokenException", "expired")]


@pytest.mark.parametrize("name", ["cut", "no HTTP", "nothing"])
def test_a_broken_answer_is_not_complete(name):
    assert not events_of(ANSWERS[name])[0][-1].complete


def test_bytes_after_the_end_are_ignored():
    assert events_of(ANSWERS["accepted"] + b"more")[0] == events_of(ANSWERS["accepted"])[0]


def test_a_huge_refusal_is_not_kept_whole():
    events, _ = events_of(json_answer(500, b"x" * 1_000_000))
    assert events == [Head(500), End(True)]


@given(st.lists(st.binary(max_size=5000), max_size=8))
def test_the_body_arrives_as_it_was_given(pieces):
    connection, server, received = PutMediaConnection(), h11.Connection(h11.SERVER), b""
    sent = connection.request(PutMediaHead("door", 5).headers("http://127.0.0.1:1"))
    for piece in pieces:
        sent += chunk_of(memoryview(piece))
    server.receive_data(sent + connection.end_of_body())
    while not isinstance(event := server.next_event(), h11.EndOfMessage):
        received += bytes(event.data) if isinstance(event, h11.Data) else b""
    assert received == b"".join(pieces)


def test_the_body_goes_on_after_a_refusal_was_read():
    connection = upload()
    connection.receive(ANSWERS["refused"])
    assert chunk_of(b"abc") == b"3\r\nabc\r\n"


def test_the_coded_body_is_a_copy():
    piece = bytearray(b"x" * 1000)
    coded = chunk_of(memoryview(piece))
    piece[:] = bytes(1000)
    assert coded == b"3e8\r\n" + b"x" * 1000 + b"\r\n"


@pytest.mark.parametrize(
    "milliseconds, text", [(1_234_005, "1234.005"), (1_511_852_108_513, "1511852108.513"), (0, "0.000"), (7, "0.007")]
)
def test_the_milliseconds_of_the_start_are_padded(milliseconds, text):
    headers = dict(PutMediaHead("door", milliseconds).headers("https://s-1.example"))
    assert headers["x-amzn-producer-start-timestamp"] == text


def test_relative_times_and_no_acks_are_said_in_the_head():
    headers = dict(PutMediaHead("door", 0, absolute=False, want_acks=False).headers("https://s-1.example"))
    assert headers["x-amzn-fragment-timecode-type"] == "RELATIVE"
    assert headers["x-amzn-fragment-acknowledgment-required"] == "0"


@pytest.mark.parametrize(
    "url, host",
    [
        ("https://s-1.kinesisvideo.us-west-2.amazonaws.com", "s-1.kinesisvideo.us-west-2.amazonaws.com"),
        ("https://host:443", "host"),
        ("http://host:80/", "host"),
        ("http://host:443", "host:443"),
        ("http://[::1]:8080", "[::1]:8080"),
        ("http://user:pw@host:1", "host:1"),
    ],
)
def test_the_host_header_names_the_port_unless_it_is_the_schemes_own(url, host):
    assert host_header(url) == host


def test_put_media_is_one_path_below_the_endpoint():
    assert put_media_url("https://s-1/") == put_media_url("https://s-1") == "https://s-1/putMedia"


def test_a_stream_name_cannot_smuggle_a_header():
    with pytest.raises(h11.LocalProtocolError):
        PutMediaConnection().request(PutMediaHead("door\r\nx-evil: 1", 0).headers("http://h"))
