"""An upload without a socket. Goal: every step, limit and end of it, on a clock that the test sets."""

import h11
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from unit.provider.servers import ACCEPTED, LAST_CHUNK, ack, chunk, json_answer

from kvspic.provider.clock import ServiceClock
from kvspic.provider.putmedia import chunk_of
from kvspic.provider.results import ServiceResult
from kvspic.provider.upload import (
    ANSWER_BURST,
    HEAD_WINDOWS,
    NEVER_HNS,
    EndedBy,
    PutMediaUpload,
    ReadState,
    Step,
)

HNS_PER_S = 10_000_000
HEADERS = [("Host", "h"), ("Transfer-Encoding", "chunked")]
BUSY = json_answer(400, {"Message": "one connection"}, "x-amzn-ErrorType: ConnectionLimitExceededException")
EXPIRED = json_answer(403, {"message": "expired"}, "x-amzn-ErrorType: ExpiredTokenException")


class Bench:
    """An upload whose owner has ``body`` to give, and a clock."""

    def __init__(self, body: bytes = b"", *, is_over: bool = False, wait_s: float = 0.0) -> None:
        self.body, self.is_over, self.wait_s = body, is_over, wait_s
        self.pace_s = 0.0
        self.is_careful = False
        self.acks, self.said = bytearray(), []
        self.now_hns = 1_000 * HNS_PER_S
        self.clock = ServiceClock(lambda: 0.0)
        self.upload = PutMediaUpload(self, self.now_hns, clock=self.clock)

    # the owner

    def read(self, size_max):
        piece, self.body = self.body[:size_max], self.body[size_max:]
        state = ReadState.MORE if self.body else ReadState.END if self.is_over else ReadState.WAIT
        return chunk_of(piece), len(piece), state

    def take(self, acks):
        self.acks += acks

    def connected(self):
        self.said.append("connected")

    def accepted(self):
        self.said.append("accepted")

    def busy(self, message):
        self.said.append(message)
        return self.wait_s

    def pace(self):
        return self.pace_s

    # the shell

    def open(self):
        self.upload.request(HEADERS)
        self.upload.opened(self.now_hns)
        return self

    def send(self):
        """All that may leave now, without the chunks' coding."""
        server, sent, body = h11.Connection(h11.SERVER), b"", b""
        while data := self.upload.next_bytes(self.now_hns):
            sent += data
        server.receive_data(b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n" + sent)
        while (event := server.next_event()) not in (h11.NEED_DATA, h11.PAUSED):
            body += bytes(event.data) if isinstance(event, h11.Data) else b""
        return body

    def receive(self, data, error=None):
        self.upload.received(data, self.now_hns, error)
        return self

    def wait(self, seconds=None):
        """Until the deadline, or so long."""
        self.now_hns = self.upload.deadline_hns if seconds is None else self.now_hns + int(seconds * HNS_PER_S)
        self.upload.tick(self.now_hns)
        return self

    @property
    def left_s(self):
        return (self.upload.deadline_hns - self.now_hns) / HNS_PER_S


def test_an_upload_goes_from_open_to_the_end_of_its_answer():
    bench = Bench(b"media", is_over=True)
    assert bench.upload.step is Step.OPEN
    assert bench.left_s == 30.0
    assert bench.open().upload.step is Step.EXCHANGE
    assert bench.send() == b"media"
    bench.receive(ACCEPTED + chunk(ack("PERSISTED")))
    assert bench.acks == ack("PERSISTED")
    bench.receive(LAST_CHUNK)
    assert bench.upload.step is Step.OVER
    assert bench.upload.outcome.ended_by is EndedBy.BODY
    assert bench.upload.outcome.bytes_sent == 5
    assert bench.said == ["connected", "accepted"]


def test_little_of_the_body_leaves_before_the_answer_and_more_after_three_seconds():
    bench = Bench(bytes(1_000_000)).open()
    assert len(bench.send()) == HEAD_WINDOWS[1]
    assert bench.left_s == 3.0
    bench.wait()
    assert len(bench.send()) == HEAD_WINDOWS[2] - HEAD_WINDOWS[1]
    bench.wait(3)
    assert bench.send() == b""
    assert bench.left_s == 9.0  # the answer's head is awaited for 15 s from the first byte
    bench.receive(ACCEPTED)
    assert len(bench.send()) == 1_000_000 - HEAD_WINDOWS[2]
    assert bench.upload.deadline_hns == NEVER_HNS


def test_an_answer_that_does_not_come_ends_the_upload():
    bench = Bench(b"x").open()
    assert bench.upload.deadline_hns == NEVER_HNS  # the service answers when it has read some
    bench.send()
    bench.wait(15)
    assert bench.upload.outcome.ended_by is EndedBy.TIMEOUT
    assert bench.upload.outcome.endpoint_is_doubtful


@pytest.mark.parametrize("size", [0, 5, HEAD_WINDOWS[0] + 1, HEAD_WINDOWS[1], 300_000])
def test_refused_keys_are_refreshed_once_and_the_body_sent_from_its_first_byte(size):
    body = bytes(number % 251 for number in range(size))
    bench = Bench(body, is_over=True).open()
    first = bench.send()
    bench.receive(EXPIRED)
    assert bench.upload.step is Step.OPEN
    assert bench.upload.needs_refresh
    again = bench.open().send()
    assert again == first
    bench.receive(ACCEPTED)
    assert again + bench.send() == body
    assert bench.said == ["connected", "accepted"]


def test_keys_that_stay_refused_end_the_upload():
    bench = Bench(b"x").open().receive(EXPIRED).open().receive(EXPIRED)
    assert bench.upload.outcome.result is ServiceResult.FORBIDDEN
    assert bench.upload.outcome.endpoint_is_doubtful


def test_after_an_upload_that_was_not_accepted_four_kilobytes_leave_first():
    bench = Bench(bytes(500_000))
    bench.is_careful = True
    assert len(bench.open().send()) == HEAD_WINDOWS[0]
    bench.wait()
    assert len(bench.send()) == HEAD_WINDOWS[1] - HEAD_WINDOWS[0]
    bench.receive(ACCEPTED)
    assert len(bench.send()) == 500_000 - HEAD_WINDOWS[1]


def test_a_connection_that_still_counts_is_waited_for_with_four_kilobytes_a_try():
    body = bytes(number % 251 for number in range(500_000))
    bench, waits, sizes = Bench(body, is_over=True).open(), [], []
    for _ in range(7):
        sizes.append(len(bench.send()))
        bench.receive(BUSY)
        assert bench.upload.step is Step.WAIT
        waits.append(bench.left_s)
        bench.wait()
        assert bench.upload.step is Step.OPEN
        assert not bench.upload.needs_refresh
        bench.open()
    assert waits == [0.5, 1.0, 2.0, 4.0, 5.0, 5.0, 5.0]
    assert sizes == [HEAD_WINDOWS[1]] + [HEAD_WINDOWS[0]] * 6
    first = bench.send()
    bench.receive(ACCEPTED)
    assert first + bench.send() == body
    assert bench.said == ["connected"] + ["one connection"] * 7 + ["accepted"]


def test_a_try_waits_for_the_owners_own_connection_and_comes_when_that_ends():
    bench = Bench(b"x", wait_s=20.0).open().receive(BUSY)
    assert bench.left_s == 20.0
    bench.upload.hurry(bench.now_hns)
    assert bench.upload.step is Step.OPEN
    bench.open().upload.hurry(bench.now_hns)
    assert bench.upload.step is Step.EXCHANGE


@pytest.mark.parametrize("answer", [BUSY, EXPIRED], ids=["busy", "expired"])
def test_each_try_keeps_to_the_rate_of_calls(answer):
    bench = Bench(b"x").open()
    bench.pace_s = 7.0
    bench.receive(answer)
    if answer is BUSY:
        bench.upload.hurry(bench.now_hns)
    assert bench.upload.step is Step.WAIT
    assert bench.left_s == 7.0
    bench.upload.hurry(bench.now_hns)  # a turn is a turn
    assert bench.upload.step is Step.WAIT
    bench.wait()
    assert bench.upload.step is Step.OPEN
    assert bench.upload.needs_refresh == (answer is EXPIRED)


def test_twenty_refusals_cost_next_to_nothing():
    body = bytes(11_000_000)
    bench, sent = Bench(body, is_over=True).open(), 0
    for _ in range(20):
        sent += len(bench.send())
        bench.receive(BUSY).wait().open()
    bench.receive(ACCEPTED)
    sent += len(bench.send())
    assert sent <= 1.05 * len(body)


@pytest.mark.parametrize("state", ["open", "exchange", "wait", "over"])
def test_a_stop_ends_it_at_any_time(state):
    bench = Bench(b"x")
    if state != "open":
        bench.open()
    if state == "wait":
        bench.receive(BUSY)
    if state == "over":
        bench.receive(b"")
    bench.upload.stop()
    outcome = bench.upload.outcome
    bench.upload.opened(bench.now_hns)
    bench.receive(ACCEPTED).wait(100)
    assert bench.upload.step is Step.OVER
    assert bench.upload.outcome is outcome
    assert outcome.ended_by is (EndedBy.NETWORK if state == "over" else EndedBy.STOPPED)
    assert bench.send() == b""


def test_a_refusal_is_read_to_its_end_and_no_byte_leaves_meanwhile():
    bench = Bench(bytes(100_000)).open()
    bench.receive(b"HTTP/1.1 500 Oh\r\nContent-Length: 1000\r\n\r\n{")
    assert bench.send() == b""
    assert bench.left_s == 2.0
    assert bench.wait().upload.outcome.ended_by is EndedBy.REFUSED


def test_what_came_before_a_failed_write_is_read():
    bench = Bench(bytes(100_000)).open()
    bench.send()
    bench.upload.failed(BrokenPipeError("broken"), bench.now_hns)
    assert bench.send() == b""
    bench.receive(EXPIRED)
    assert bench.upload.step is Step.OPEN


def test_a_failed_write_without_an_answer_is_the_networks():
    bench = Bench(b"x").open()
    bench.upload.failed(BrokenPipeError("broken"), bench.now_hns)
    assert bench.wait().upload.outcome.ended_by is EndedBy.NETWORK


def test_a_connection_that_does_not_come_about_is_the_networks():
    bench = Bench(b"x")
    bench.upload.place = "http://h:1"
    bench.upload.failed(ConnectionRefusedError("refused"), bench.now_hns)
    assert bench.upload.outcome.message == "the upload to http://h:1 failed: refused"


def test_a_peer_that_takes_no_byte_is_left():
    bench = Bench(bytes(200_000)).open().receive(ACCEPTED)
    bench.upload.blocked(bench.now_hns)
    assert bench.left_s == 120.0
    bench.upload.unblocked()
    assert bench.upload.deadline_hns == NEVER_HNS
    bench.upload.blocked(bench.now_hns)
    assert bench.wait().upload.outcome.ended_by is EndedBy.TIMEOUT


def test_each_byte_after_the_body_gives_the_service_more_time():
    bench = Bench(b"x", is_over=True).open().receive(ACCEPTED)
    bench.send()
    for _ in range(5):
        bench.wait(29)
        bench.receive(chunk(ack("IDLE")))
    assert bench.upload.step is Step.EXCHANGE
    assert bench.wait().upload.outcome.ended_by is EndedBy.TIMEOUT


FLOODS = {
    "interim answers": (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
    "IDLE": (ACCEPTED, chunk(ack("IDLE"))),
    "garbage": (ACCEPTED, chunk(b"}{" * 500)),
    "ACKs of 1 MB": (ACCEPTED, chunk(b'{"x":"' + b"y" * 1_000_000 + b'"}')),
    "empty extensions": (ACCEPTED, b"1;" + b"e" * 4000 + b"\r\nx\r\n"),
    "trailers": (ACCEPTED + b"0\r\n", b"a: b\r\n"),
}


@pytest.mark.parametrize("name", FLOODS)
def test_a_flood_ends_the_upload_with_a_sentence(name):
    begin, again = FLOODS[name]
    bench = Bench(bytes(1000)).open()
    bench.send()
    if begin:
        bench.receive(begin)
    sent = 0
    while bench.upload.step is Step.EXCHANGE:
        bench.receive(again)
        bench.now_hns += HNS_PER_S // 1_000_000 * len(again) // 100  # 100 MB/s
        sent += len(again)
        assert sent <= 2 * ANSWER_BURST
    assert bench.upload.outcome.ended_by is EndedBy.NETWORK
    assert "the server" in bench.upload.outcome.message


def test_the_acks_of_many_small_fragments_are_no_flood():
    """2,000 fragments a second and three ACKs of each; a stall gives those of some seconds at once."""
    bench = Bench().open().receive(ACCEPTED)
    for _ in range(10):
        bench.body = bytes(2000 * 400)
        bench.send()
        bench.wait(1)
        for _ in range(2000):
            bench.receive(chunk(ack("BUFFERING")) + chunk(ack("RECEIVED")) + chunk(ack("PERSISTED")))
    assert bench.upload.step is Step.EXCHANGE


@settings(deadline=None)
@given(
    st.lists(st.sampled_from(["send", "tick", "ack", "busy", "expired", "end", "fail", "block", "open"]), max_size=30)
)
def test_whatever_comes_in_whatever_order_the_steps_are_the_promised_ones(events):
    bench = Bench(bytes(100_000), is_over=True)
    allowed = {
        Step.OPEN: {Step.EXCHANGE, Step.OVER},
        Step.EXCHANGE: {Step.OPEN, Step.WAIT, Step.OVER},
        Step.WAIT: {Step.OPEN, Step.OVER},
        Step.OVER: set(),
    }
    acts = {
        "send": bench.send,
        "tick": lambda: bench.wait() if bench.upload.deadline_hns < NEVER_HNS else None,
        "ack": lambda: bench.receive(ACCEPTED + chunk(ack("IDLE"))),
        "busy": lambda: bench.receive(BUSY),
        "expired": lambda: bench.receive(EXPIRED),
        "end": lambda: bench.receive(b""),
        "fail": lambda: bench.upload.failed(OSError("x"), bench.now_hns),
        "block": lambda: bench.upload.blocked(bench.now_hns) if bench.upload.step is Step.EXCHANGE else None,
        "open": lambda: bench.open() if bench.upload.step is Step.OPEN else None,
    }
    for event in events:
        before = bench.upload.step
        acts[event]()
        after = bench.upload.step
        assert after is before or after in allowed[before] or (before, after) == (Step.EXCHANGE, Step.EXCHANGE)
        assert (bench.upload.outcome is not None) == (after is Step.OVER)
