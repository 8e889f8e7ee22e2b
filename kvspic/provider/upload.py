"""One upload as a machine without a socket, a task or a clock: bytes and moments in, bytes and the next step out.

A shell owns the connection and does what :attr:`PutMediaUpload.step` says: it opens a connection, sends what
:meth:`PutMediaUpload.next_bytes` gives, passes on what arrives, calls :meth:`PutMediaUpload.tick` at
:attr:`PutMediaUpload.deadline_hns`, and reads :attr:`PutMediaUpload.outcome` when it is over. The producer's shell is
:mod:`kvspic.provider.session`, the simulation has another one, so both keep the same rules:

- Until the answer's head is there, little of the body leaves: 64 KB, after three seconds without it 256 KB; 4 KB at
  first where the upload before this one was not accepted. A refusal costs little then, and the body can be sent once
  more from its first byte.
- Refused credentials are refreshed once, and the service's clock is learned.
- ``ConnectionLimitExceeded`` says that an older connection of the stream still counts at the service. It is no outage:
  the same upload waits and tries again, with 4 KB until the service accepts it.
- Every wait has a limit, but for two that belong to the owner: for more of the body, and for ACKs while it is open.
- What the service sends is limited: an answer is a few hundred bytes for each fragment, whatever is above that is a
  fault of the server and ends the upload.

Always: ``step`` goes OPEN, EXCHANGE, then OVER, or again OPEN (with other keys), or WAIT and then OPEN. After OVER
nothing changes any more.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Protocol

from kvspic._enums import ReadState
from kvspic.provider.clock import ServiceClock, server_time
from kvspic.provider.credentials import NoCredentialsError
from kvspic.provider.kept import Kept
from kvspic.provider.putmedia import End, Head, PutMediaConnection, chunk_of
from kvspic.provider.results import (
    UNTRUSTED,
    ServiceResult,
    classify,
    classify_transport,
    is_connection_limit,
    is_credential_problem,
    is_endpoint_doubtful,
    safe_text,
)
from kvspic.units import HNS_PER_S

__all__ = [
    "HEAD_WINDOWS",
    "LINGER_S",
    "NEVER_HNS",
    "EndedBy",
    "PutMediaOutcome",
    "PutMediaUpload",
    "ReadState",
    "SessionTimeouts",
    "Step",
    "UploadOwner",
    "result_of",
]

NEVER_HNS = 2**63
LINGER_S = 30.0  # the service itself gives up after 30 s without a byte
# With its chunk coding, eight TLS records. An upload that the kernel holds up may hold this many bytes in addition to
# the store.
READ_SIZE = 128 * 1024 - len(b"1fff7\r\n\r\n")
MORE, AWAITING_ACK, END = 0, 2, 3  # ReadState as plain numbers: each upload reads once for each frame
# Of the body, until the answer's head is there: after a connection that was not accepted, normally, and each WINDOW_S
# later the next one.
HEAD_WINDOWS = (4 * 1024, 64 * 1024, 256 * 1024)
WINDOW_S = 3.0
REFUSED_WAITS_S = (0.5, 1.0, 2.0, 4.0, 5.0)
# What the service may send: so much at once (ACKs of ten thousand fragments that a stall held back), so much in each
# second, and so many bytes for each byte of the body.
ANSWER_BURST = 4 * 1024 * 1024
ANSWER_PER_S = 1024 * 1024
ANSWER_PER_BYTE = 10


class Step(enum.Enum):
    """What the shell of an upload has to do."""

    OPEN = "open"  # close what is open; get keys, other ones if ``needs_refresh``; connect; then opened()
    EXCHANGE = "exchange"  # send next_bytes(), pass on what arrives
    WAIT = "wait"  # close what is open, until the deadline
    OVER = "over"  # close what is open; the outcome is there


class EndedBy(enum.Enum):
    """Who or what ended an upload."""

    BODY = "body"  # the body was complete and so was the answer
    SERVICE = "service"  # the answer ended in good order before the body did: idle, too old, after an error ACK
    REFUSED = "refused"  # the answer's status is not 200
    NETWORK = "network"  # the connection broke or never came about
    TIMEOUT = "timeout"  # the service was silent when it had to answer
    STOPPED = "stopped"  # PutMediaUpload.stop


@dataclass(frozen=True)
class PutMediaOutcome:
    """How an upload ended. ``result`` is what the core is given; ``message`` is for people, without secrets.

    ``bytes_sent`` counts body bytes that left with the last connection, without chunked coding. ``http_status`` is 0
    when no answer came. After NETWORK, TIMEOUT or SERVICE everything without its ACK has to be sent again.
    """

    result: ServiceResult
    error_name: str = ""
    message: str = ""
    bytes_sent: int = 0
    http_status: int = 0
    ended_by: EndedBy = EndedBy.NETWORK
    request_id: str = ""
    retry_after_s: float | None = None

    @property
    def endpoint_is_doubtful(self) -> bool:
        """Whether the service has to be asked again where uploads go: the stream may have moved or gone."""
        if self.ended_by is EndedBy.REFUSED:
            return is_endpoint_doubtful(self.http_status, self.result)
        return self.ended_by in (EndedBy.NETWORK, EndedBy.TIMEOUT) and self.http_status == 0


@dataclass(frozen=True)
class SessionTimeouts:
    """Limits in seconds.

    ``connect_s`` is for lookup, connection, proxy and TLS; ``open_s`` for these and for the credentials. ``head_s``
    runs from the first body byte (the service answers when it has read some) to the status line. ``refusal_s`` is for
    reading a refusal to its end, and for what is left to read after a write failed. ``write_s`` is how long the peer
    may take no byte of a piece: without acknowledgements nothing else distinguishes a peer that stopped
    reading from a slow one.
    """

    connect_s: float = 5.0
    open_s: float = 30.0
    head_s: float = 15.0
    refusal_s: float = 2.0
    write_s: float = 120.0


class UploadOwner(Protocol):
    """Whose upload it is. What these functions raise passes through the upload to the shell."""

    @property
    def is_careful(self) -> bool:
        """Whether the service did not accept the owner's upload before this one."""

    def read(self, size_max: int) -> tuple[memoryview | bytes, int, int]:
        """Give the next bytes of the body in chunked coding, which are sent or copied before anything else runs, how
        many they are without it (0: none, and no chunk), and a :class:`ReadState`."""

    def take(self, acks: bytes) -> None:
        """Take bytes of the ACK stream as they came."""

    def connected(self) -> None:
        """A first connection stands and the request is on its way; not an acceptance yet."""

    def accepted(self) -> None:
        """The service has answered 200."""

    def busy(self, message: str) -> float:
        """The service counts an older connection of the stream and refuses this one. Return for how many seconds it
        makes no sense to try again, because a connection of the owner's own is still to end."""

    def pace(self) -> float:
        """Return how many seconds to wait before the request is sent once more."""


class PutMediaUpload:
    """One upload; see the top of the file. All times are ticks of 100 ns of one steady clock."""

    def __init__(
        self,
        owner: UploadOwner,
        now_hns: int,
        *,
        clock: ServiceClock,
        timeouts: SessionTimeouts | None = None,
        linger_s: float = LINGER_S,
    ) -> None:
        self.owner = owner
        self.step = Step.OPEN
        self.needs_refresh = False
        self.outcome: PutMediaOutcome | None = None
        self.deadline_hns = NEVER_HNS
        self.place = ""  # where the connection goes, for people
        self._clock = clock
        self._timeouts = timeouts or SessionTimeouts()
        self._linger_s = linger_s
        self._kept: Kept | None = Kept(HEAD_WINDOWS[-1])  # the body so far, while it may have to be sent again
        self.has_more = True  # next_bytes() may give more although nothing happened
        self._state = int(ReadState.MORE)  # of the last read
        self._is_connected = self._was_refreshed = False
        self._is_paced = False  # of a wait: it is for the rates of calls
        self._refusals = 0  # for the number of connections
        self._answer_room = float(ANSWER_BURST)
        self._answer_hns = now_hns  # when the room was counted last
        self._reset(now_hns)

    def _reset(self, now_hns: int) -> None:
        """Before each connection."""
        self._http = PutMediaConnection()
        self._answer: Head | None = None
        self._end: End | None = None
        self._failure: Exception | None = None
        self._sent = self._counted = 0  # bytes of the body; those that the answer's room knows of
        self._first_hns: int | None = None  # when the first byte of the body left
        self._is_ended = False  # the body's end was given out
        self._timer_ended_by = EndedBy.TIMEOUT
        self._timer_hns = self._write_hns = self._window_hns = NEVER_HNS
        self._arm(now_hns, self._timeouts.open_s, EndedBy.TIMEOUT)

    # ---- what the shell says

    def request(self, headers: list[tuple[str, str]]) -> bytes:
        """Return the request's head, ready to send."""
        return self._http.request(headers)

    def opened(self, now_hns: int) -> None:
        """The connection stands, and the head of the request is on its way."""
        if self.step is not Step.OPEN:
            return
        self.step, self.needs_refresh = Step.EXCHANGE, False
        self._disarm()
        if not self._is_connected:
            self._is_connected = True
            self.owner.connected()

    def failed(self, error: Exception, now_hns: int) -> None:
        """No connection came about, or a write failed. In the second case the reason may still be on its way."""
        if self.step is Step.OPEN:
            self._failure = error
            self._finish(EndedBy.NETWORK)
        elif self.step is Step.EXCHANGE:
            self._failure = self._failure or error
            self._write_hns = NEVER_HNS
            self._arm(now_hns, self._timeouts.refusal_s, EndedBy.NETWORK)

    def next_bytes(self, now_hns: int) -> memoryview | bytes:
        """Return bytes to send in chunked coding, b"" when there are none now; they may be in the owner's buffer."""
        if self.step is not Step.EXCHANGE or self._is_ended or self._failure is not None:
            return b""
        if self._answer is None:
            size_max = self._window(now_hns)
            if size_max <= 0:
                return b""
        elif self._answer.status != 200:
            return b""  # not a byte more goes to a service that has refused
        else:
            size_max = READ_SIZE
        kept = self._kept
        if kept is not None and self._sent < len(kept):
            piece = bytes(kept[self._sent : self._sent + size_max])
            return self._leaving(chunk_of(piece), len(piece), now_hns)
        if self._state == END:
            return self._leaving(b"", 0, now_hns)
        chunk, size, state = self.owner.read(size_max)
        self._state, self.has_more = state, state == MORE
        if self.outcome is not None:  # the owner stopped it
            return b""
        if kept is None and size and state != END:  # nearly always
            self._sent += size
            return chunk
        if kept is not None and self._answer is None:
            kept += chunk[len(chunk) - size - 2 : -2]
        return self._leaving(chunk, size, now_hns)

    def _leaving(self, chunk: memoryview | bytes, size: int, now_hns: int) -> memoryview | bytes:
        if size:
            if self._first_hns is None:
                self._begin(now_hns)
            self._sent += size
        if self._answer is not None and (self._kept is None or self._sent >= len(self._kept)):
            self._kept = None
        is_sent = self._kept is None or self._sent >= len(self._kept)
        self.has_more = not is_sent or self._state == MORE
        if is_sent and self._state == END:
            self._is_ended = True
            self._arm(now_hns, self._linger_s, EndedBy.TIMEOUT)
            return bytes(chunk) + self._http.end_of_body()
        return chunk

    def blocked(self, now_hns: int) -> None:
        """The kernel took a part of what was to be sent."""
        self._write_hns = now_hns + int(self._timeouts.write_s * HNS_PER_S)
        self._set_deadline()

    def unblocked(self) -> None:
        """The kernel has the rest."""
        self._write_hns = NEVER_HNS
        self._set_deadline()

    def received(self, data: bytes, now_hns: int, error: Exception | None = None) -> None:
        """Bytes that arrived; b"" when no more will come, with the error that says so if there is one."""
        if self.step is not Step.EXCHANGE:
            return
        if error is not None:
            self._failure = self._failure or error
        if data and self._is_flood(len(data), now_hns):
            self._failure = ConnectionError("the server sends far more than acknowledgements, so the upload was ended")
            self._finish(EndedBy.NETWORK)
            return
        is_refused = self._answer is not None and self._answer.status != 200
        if data and self._is_ended and self._failure is None and not is_refused:
            self._arm(now_hns, self._linger_s, EndedBy.TIMEOUT)  # each byte is a sign of life
        for event in self._http.receive(data):
            if isinstance(event, bytes):
                self.owner.take(event)
                self.has_more = self.has_more or self._state == AWAITING_ACK
            elif isinstance(event, Head):
                self._take_head(event, now_hns)
            else:
                self._end = event
            if self.outcome is not None:
                return
        if self._end is not None:
            self._finish_answer(self._end, now_hns)

    def tick(self, now_hns: int) -> None:
        """The deadline has come."""
        if now_hns < self.deadline_hns or self.step is Step.OVER:
            return
        if self.step is Step.WAIT and self._is_paced:
            self.step = Step.OPEN
            self._reset(now_hns)
        elif self.step is Step.WAIT:
            self._try_again(now_hns)
        elif now_hns >= self._timer_hns and self._timer_ended_by is EndedBy.REFUSED:
            self._refused(now_hns)
        elif now_hns >= min(self._timer_hns, self._write_hns):
            self._finish(EndedBy.TIMEOUT if now_hns >= self._write_hns else self._timer_ended_by)
        else:  # the window is wider now
            self._window_hns = NEVER_HNS
            self._set_deadline()

    def hurry(self, now_hns: int) -> None:
        """Another connection of the owner's has ended: a try that waits for that is made now."""
        if self.step is Step.WAIT and not self._is_paced:
            self._try_again(now_hns)

    def stop(self) -> None:
        """End the upload now."""
        self._finish(EndedBy.STOPPED)

    # ---- the body before an answer

    def _begin(self, now_hns: int) -> None:
        self._first_hns = now_hns
        if self._answer is None and self._failure is None:
            self._arm(now_hns, self._timeouts.head_s, EndedBy.TIMEOUT)

    def _window(self, now_hns: int) -> int:
        """How much of the body may still leave."""
        first = index = 0 if self._refusals or self.owner.is_careful else 1
        if self._first_hns is not None:
            index = min(index + (now_hns - self._first_hns) // int(WINDOW_S * HNS_PER_S), len(HEAD_WINDOWS) - 1)
            if HEAD_WINDOWS[index] <= self._sent and index + 1 < len(HEAD_WINDOWS):
                steps = index + 1 - first
                self._window_hns = self._first_hns + steps * int(WINDOW_S * HNS_PER_S)
                self._set_deadline()
        return HEAD_WINDOWS[index] - self._sent

    # ---- the answer

    def _is_flood(self, size: int, now_hns: int) -> bool:
        """Whether the server has sent more than any answer can be; taking it all would leave others no time."""
        earned = (now_hns - self._answer_hns) * ANSWER_PER_S / HNS_PER_S
        earned += (self._sent - self._counted) * ANSWER_PER_BYTE
        self._answer_hns, self._counted = now_hns, self._sent
        self._answer_room = min(self._answer_room + earned, float(ANSWER_BURST)) - size
        return self._answer_room < 0

    def _take_head(self, head: Head, now_hns: int) -> None:
        self._answer = head
        self._window_hns = self._write_hns = NEVER_HNS
        if head.status != 200:
            self._arm(now_hns, self._timeouts.refusal_s, EndedBy.REFUSED)
            return
        if self._kept is not None and self._sent >= len(self._kept):
            self._kept = None
        if not self._is_ended and self._failure is None:
            self._disarm()
        self._refusals, self.has_more = 0, True
        self.owner.accepted()

    def _finish_answer(self, end: End, now_hns: int) -> None:
        if self._answer is not None and self._answer.status != 200:
            self._refused(now_hns)
        elif not end.complete:
            self._finish(EndedBy.NETWORK)
        else:
            self._finish(EndedBy.BODY if self._is_ended else EndedBy.SERVICE)

    def _refused(self, now_hns: int) -> None:
        answer, end = self._answer or Head(0), self._end or End(False)
        error_name = answer.error_name or end.error_name
        if is_connection_limit(error_name):
            self._wait(now_hns, safe_text(end.message))
        elif not is_credential_problem(answer.status, error_name):
            self._finish(EndedBy.REFUSED)
        else:
            self._clock.learn(server_time(answer.date, end.message))
            if self._was_refreshed:
                self._finish(EndedBy.REFUSED)
                return
            self._was_refreshed = self.needs_refresh = True
            self._try_again(now_hns)

    def _wait(self, now_hns: int, message: str) -> None:
        least_s = self.owner.busy(message or "the service counts an older connection of this stream")
        wait_s = max(least_s, REFUSED_WAITS_S[min(self._refusals, len(REFUSED_WAITS_S) - 1)])
        self._refusals += 1
        if self.outcome is None:
            self._wait_until(now_hns + int(wait_s * HNS_PER_S), is_paced=False)

    def _try_again(self, now_hns: int) -> None:
        """Open another connection, or wait for the turn that the caller's rates leave to it."""
        wait_s = self.owner.pace()
        if wait_s > 0:
            self._wait_until(now_hns + int(wait_s * HNS_PER_S), is_paced=True)
        else:
            self.step = Step.OPEN
            self._reset(now_hns)

    def _wait_until(self, at_hns: int, *, is_paced: bool) -> None:
        self.step, self._is_paced = Step.WAIT, is_paced
        self._timer_hns = self._write_hns = self._window_hns = NEVER_HNS
        self.deadline_hns = at_hns

    # ---- timers and the outcome

    def _arm(self, now_hns: int, seconds: float, ended_by: EndedBy) -> None:
        self._timer_hns, self._timer_ended_by = now_hns + int(seconds * HNS_PER_S), ended_by
        self._set_deadline()

    def _disarm(self) -> None:
        self._timer_hns = NEVER_HNS
        self._set_deadline()

    def _set_deadline(self) -> None:
        self.deadline_hns = min(self._timer_hns, self._write_hns, self._window_hns)

    def _finish(self, ended_by: EndedBy) -> None:
        """For the first reason that comes; later ones do not count."""
        if self.step is Step.OVER:
            return
        answer, end = self._answer or Head(0), self._end or End(False)
        error_name = answer.error_name or end.error_name
        if type(self._failure).__name__ == UNTRUSTED:
            error_name = UNTRUSTED
        self.outcome = PutMediaOutcome(
            result=result_of(ended_by, answer.status, error_name, self._failure),
            error_name=error_name,
            message=safe_text(end.message) or self._explain(ended_by, answer.status),
            bytes_sent=self._sent,
            http_status=answer.status,
            ended_by=ended_by,
            request_id=answer.request_id,
            retry_after_s=answer.retry_after_s,
        )
        self.step, self.deadline_hns = Step.OVER, NEVER_HNS
        self._kept = self._failure = None  # an error holds the frames that raised it, and they hold this

    def _explain(self, ended_by: EndedBy, status: int) -> str:
        if ended_by is EndedBy.REFUSED:
            return f"the service refused the upload with HTTP status {status}"
        if ended_by is EndedBy.TIMEOUT:
            return "the service did not answer in time"
        if ended_by is EndedBy.SERVICE:
            return "the service ended the upload before its last frame"
        to = f" to {self.place}" if self.place else ""
        return f"the upload{to} failed: {_cause(self._failure)}" if ended_by is EndedBy.NETWORK else ""


def result_of(ended_by: EndedBy, status: int, error_name: str, failure: Exception | None) -> ServiceResult:
    """Return what the core is given of an upload that ended so."""
    if ended_by is EndedBy.REFUSED:
        return classify(status, error_name)
    if ended_by is EndedBy.NETWORK:
        return classify_transport(failure) if failure is not None else ServiceResult.UNKNOWN
    return ServiceResult.READ_TIMEOUT if ended_by is EndedBy.TIMEOUT else ServiceResult.OK


def _cause(failure: Exception | None) -> str:
    """What may be shown of an error. One of a user's credential source may quote keys: then only its kind is named."""
    if failure is None:
        return "the connection ended in the middle of the answer"
    if isinstance(failure, (OSError, NoCredentialsError)) or type(failure).__name__ == "UnsupportedProtocol":
        return safe_text(str(failure)) or type(failure).__name__
    return type(failure).__name__
