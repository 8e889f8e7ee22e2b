"""PutMedia as bytes: the request head, the chunked body, and the answer that arrives while the body goes up.

Pure: nothing here touches a socket. h11 does the HTTP/1.1 rules of the request, of the answer's head and of a refusal;
the chunks of an accepted answer, which come one to each acknowledgement, are taken apart here in a tenth of its calls.
The answer may come in any cut; what went out and what came in are independent, so the reading half goes on after the
writing half failed. Acknowledgements are passed on as bytes (one JSON object per line, cut anywhere); the core parses
them.
"""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

import h11

from kvspic.provider.clock import wait_asked_s
from kvspic.provider.results import safe_text, short_error_name

__all__ = ["End", "Event", "Head", "PutMediaConnection", "PutMediaHead", "chunk_of", "host_header", "put_media_url"]

INTERIM_MAX = 16  # answers such as 100 Continue before the real one
LINE_MAX = 4096  # of a chunk's size, or a trailer
TRAILERS_MAX = 16
REFUSAL_MAX = 64 * 1024  # bytes of an error answer that are kept; the rest is read and dropped

CHUNK_SIZE = re.compile(rb"[0-9A-Fa-f]{1,8}")
CHUNK_LINE = re.compile(CHUNK_SIZE.pattern + rb"\r\n")  # without extensions

Headers = Sequence[tuple[str, str]]


@dataclass(frozen=True)
class PutMediaHead:
    """What one upload says about itself before its first byte.

    ``start_timestamp_ms`` is the pts of the first cluster in milliseconds since 1970; the service ignores it when
    ``absolute``. ``want_acks`` asks for fragment ACKs.
    """

    stream_name: str
    start_timestamp_ms: int
    absolute: bool = True
    want_acks: bool = True
    user_agent: str = "kvspic"

    def headers(self, endpoint_url: str) -> list[tuple[str, str]]:
        """The request's headers without signature, in the order they are sent."""
        seconds, milliseconds = divmod(self.start_timestamp_ms, 1000)
        return [
            ("Host", host_header(endpoint_url)),
            ("User-Agent", self.user_agent),
            ("x-amzn-stream-name", self.stream_name),
            # Milliseconds are padded: "1234.5" would mean half a second, not five milliseconds.
            ("x-amzn-producer-start-timestamp", f"{seconds}.{milliseconds:03d}"),
            ("x-amzn-fragment-acknowledgment-required", "1" if self.want_acks else "0"),
            ("x-amzn-fragment-timecode-type", "ABSOLUTE" if self.absolute else "RELATIVE"),
            ("Transfer-Encoding", "chunked"),
            ("Connection", "keep-alive"),
        ]


@dataclass(frozen=True)
class Head:
    """The answer's status line and headers. For a refusal the name may still be empty; :class:`End` then has it."""

    status: int
    error_name: str = ""
    message: str = ""
    request_id: str = ""
    date: str = ""
    retry_after_s: float | None = None


@dataclass(frozen=True)
class End:
    """The answer is over. ``complete`` is False when the connection broke or spoke no HTTP; of a refusal the name
    and the message from its body are here."""

    complete: bool
    error_name: str = ""
    message: str = ""


Event = Head | bytes | End
"""Bytes are a piece of the ACK stream of an accepted upload."""


def chunk_of(piece: memoryview | bytes) -> bytes:
    """A copy of a piece of the body in chunked coding; b"" of none."""
    return b"".join((b"%x\r\n" % len(piece), piece, b"\r\n")) if piece else b""


def put_media_url(endpoint_url: str) -> str:
    """The URL of PutMedia under a data endpoint (which has no path of its own)."""
    return endpoint_url.rstrip("/") + "/putMedia"


@functools.lru_cache(maxsize=64)
def host_header(endpoint_url: str) -> str:
    """The Host header of a URL: IPv6 in brackets, the port unless it is the scheme's own."""
    parts = urlsplit(endpoint_url)
    name = parts.hostname or ""
    name = f"[{name}]" if ":" in name else name
    own_port = 443 if parts.scheme == "https" else 80
    return name if parts.port in (None, own_port) else f"{name}:{parts.port}"


class PutMediaConnection:
    """One PutMedia request and its answer. Give received bytes to :meth:`receive`, b"" at the end of the input.

    Always: at most one :class:`Head`, then bytes of ACKs, then exactly one :class:`End`, after which nothing.
    """

    def __init__(self) -> None:
        self._http = h11.Connection(h11.CLIENT)
        self._status = 0
        self._refusal = bytearray()
        self._interim_count = 0
        self._chunks: _Chunks | None = None
        self._is_over = False

    @property
    def is_over(self) -> bool:
        """Whether :class:`End` was given out."""
        return self._is_over

    def request(self, headers: Headers) -> bytes:
        """The request line and headers, ready to send."""
        data = self._http.send(h11.Request(method="POST", target="/putMedia", headers=list(headers)))
        return data or b""

    def end_of_body(self) -> bytes:
        """The terminating chunk; the answer goes on. h11 keeps no account of chunks, so they go past it."""
        return b"0\r\n\r\n"

    def receive(self, data: bytes) -> list[Event]:
        """The events that ``data`` completes; b"" says that the server sends no more."""
        if self._is_over:
            return []
        if self._chunks is not None:
            return self._take_chunks(self._chunks, data)
        events: list[Event] = []
        try:
            self._http.receive_data(data)
            while self._chunks is None and not isinstance(events[-1] if events else None, End):
                event = self._http.next_event()
                if event is h11.NEED_DATA or event is h11.PAUSED:
                    break
                self._translate(event, events)
        except h11.RemoteProtocolError as error:
            events.append(self._end(complete=False, fault="" if not data else str(error)))
        events += self._take_rest()
        return events

    def _take_rest(self) -> list[Event]:
        """What came behind the head of an answer in chunks."""
        if self._chunks is None:
            return []
        rest, is_closed = self._http.trailing_data
        events = self._take_chunks(self._chunks, rest) if rest else []
        return events + (self._take_chunks(self._chunks, b"") if is_closed and not self._is_over else [])

    def _take_chunks(self, chunks: _Chunks, data: bytes) -> list[Event]:
        if not data:
            return [self._end(complete=False)]
        acks = chunks.take(data)
        events: list[Event] = [acks] if acks else []
        if chunks.fault or chunks.is_over:
            events.append(self._end(complete=not chunks.fault, fault=chunks.fault))
        return events

    def _translate(self, event: object, events: list[Event]) -> None:
        if isinstance(event, h11.InformationalResponse):
            self._interim_count += 1
            if self._interim_count > INTERIM_MAX:
                events.append(self._end(complete=False, fault="the server sent interim answers without end"))
        elif isinstance(event, h11.Response):
            self._status = event.status_code
            events.append(_head(event))
            if self._status == 200 and (b"transfer-encoding", b"chunked") in event.headers:
                self._chunks = _Chunks()
        elif isinstance(event, h11.Data):
            self._take_body(bytes(event.data), events)
        elif isinstance(event, h11.EndOfMessage):
            events.append(self._end(complete=True))
        elif isinstance(event, h11.ConnectionClosed):
            events.append(self._end(complete=False))

    def _take_body(self, data: bytes, events: list[Event]) -> None:
        if self._status == 200:
            events.append(data)
        else:
            self._refusal += data[: REFUSAL_MAX - len(self._refusal)]

    def _end(self, *, complete: bool, fault: str = "") -> End:
        self._is_over = True
        name, message = _refusal(bytes(self._refusal))
        return End(complete, name, message or safe_text(fault))


class _Chunks:
    """Takes a chunked body apart, cut anywhere. ``fault`` says what is no chunk; ``is_over`` after the last one."""

    def __init__(self) -> None:
        self._rest = b""  # a line that is not whole
        self._left = 0  # of the chunk: its bytes that are still to come
        self._trailer_count = -1  # of what follows the last chunk; -1 before that
        self._is_after_chunk = False  # the line end behind a chunk is to come
        self.fault = ""
        self.is_over = False

    def take(self, data: bytes) -> bytes:
        """Return the bytes of the body that are in ``data``."""
        data, at = self._rest + data, 0
        self._rest = b""
        pieces: list[bytes] = []
        while at < len(data) and not (self.is_over or self.fault):
            if self._left:
                pieces.append(data[at : at + self._left])
                at += len(pieces[-1])
                self._left -= len(pieces[-1])
                self._is_after_chunk = not self._left
                continue
            end = data.find(b"\n", at)
            if not (self._is_after_chunk or self._trailer_count >= 0) and CHUNK_LINE.fullmatch(data, at, end + 1):
                self._left = int(data[at:end], 16)  # nearly always
                if self._left:
                    at = end + 1
                    continue
            elif self._is_after_chunk and data.startswith(b"\r\n", at):
                self._is_after_chunk = False
                at += 2
                continue
            if end < 0:
                self._rest = data[at:]
                self._check_length(len(self._rest))
                break
            self._take_line(data[at:end].removesuffix(b"\r"))
            at = end + 1
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def _check_length(self, size: int) -> None:
        if size > (2 if self._is_after_chunk else LINE_MAX):
            self.fault = "the server sent a chunk that has no end"

    def _take_line(self, line: bytes) -> None:
        self._check_length(len(line) + 1)
        if self._is_after_chunk:
            self._is_after_chunk = False
            self.fault = self.fault or ("the server sent a longer chunk than it announced" if line else "")
        elif self._trailer_count >= 0:
            self._trailer_count += 1
            self.is_over = not line
            self.fault = "the server sent trailers without end" if self._trailer_count > TRAILERS_MAX else self.fault
        else:
            size = line.partition(b";")[0].strip()
            if not CHUNK_SIZE.fullmatch(size):
                self.fault = "the server sent a chunk without its size"
                return
            self._left = int(size, 16)
            self._trailer_count = -1 if self._left else 0


def _head(response: h11.Response) -> Head:
    headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in response.headers}
    raw_name = headers.get("x-amzn-errortype") or headers.get("x-amz-errortype") or ""
    return Head(
        status=response.status_code,
        error_name=short_error_name(raw_name),
        request_id=headers.get("x-amzn-requestid") or headers.get("x-amz-requestid") or "",
        date=headers.get("date", ""),
        retry_after_s=wait_asked_s(headers.get("retry-after", ""), headers.get("date", "")),
    )


def _refusal(body: bytes) -> tuple[str, str]:
    """Name and message from an error answer's JSON; both empty when it has none.

    Modelled errors say ``Message``, the authentication layer says ``message``.
    """
    try:
        answer = json.loads(body)
    except (ValueError, RecursionError):
        return "", ""
    if not isinstance(answer, dict):
        return "", ""
    name = answer.get("__type") or answer.get("code") or ""
    message = answer.get("Message") or answer.get("message") or ""
    return short_error_name(str(name)), safe_text(str(message))
