"""One call over a connection that botocore's HTTP session keeps idle: the request as bytes, the answer from bytes.

botocore opens connections, because it knows the user's proxies, certificates and limits of time. A call over one that
is open needs none of that, and urllib3 and http.client cost several times as much as the exchange itself. Pure: sockets
are given. Where there is no idle connection, or a call is unusual, nothing is sent and botocore has to make the call.
"""

from __future__ import annotations

import queue
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from kvspic.provider.putmedia import Chunks, host_header

__all__ = ["Answer", "idle_pool", "over_idle"]

RECEIVE_SIZE = 64 * 1024
HEAD_MAX = 64 * 1024
BODY_MAX = 4 * 1024 * 1024  # no answer of the control plane comes near it
LENGTH = re.compile(r"[0-9]{1,9}")
INTERIM_MAX = 16
STATUS_LINE = re.compile(r"HTTP/1\.([01]) ([1-9]\d\d)(?: .*)?")


@dataclass(frozen=True)
class Answer:
    """The answer of a call; names of headers in lower case."""

    status_code: int
    headers: Mapping[str, str]
    content: bytes


def idle_pool(session: Any, url: str) -> Any:
    """The connections that a session of botocore keeps for a URL. None where there are none of the form that
    :func:`over_idle` relies on, or where requests go to a proxy in another form."""
    try:
        proxy_url = session._proxy_config.proxy_url_for(url)
        pool = session._get_connection_manager(url, proxy_url).connection_from_url(url)
    except AttributeError:
        return None
    is_tunnel = not proxy_url or url.startswith("https:")
    is_known = hasattr(pool, "_put_conn") and hasattr(getattr(pool, "pool", None), "get_nowait")
    return pool if is_tunnel and is_known else None


def over_idle(pool: Any, url: str, headers: Mapping[str, str], body: bytes) -> Answer | None:
    """Make a call over an idle connection of a pool; blocks. None: nothing was sent.

    Raises:
        OSError: the connection broke, or what came is no answer.
    """
    head = _head_of(url, headers)
    connection = _taken(pool) if head else None
    if connection is None:
        return None
    is_reusable = False
    try:
        connection.sock.sendall(head + body)
        answer, is_reusable = _read_answer(connection.sock)
    finally:
        if not is_reusable:
            connection.close()
        pool._put_conn(connection)
    return answer


def _taken(pool: Any) -> Any:
    """An idle connection that is open; None without one. Never a new one, because botocore has settings for those."""
    from urllib3.util import is_connection_dropped

    try:
        connection = pool.pool.get_nowait()
    except (AttributeError, queue.Empty):  # the pool was closed meanwhile, or all are in use
        return None
    if connection is not None and not is_connection_dropped(connection):
        return connection
    pool._put_conn(connection)
    return None


def _head_of(url: str, headers: Mapping[str, str]) -> bytes:
    """The head of a request; b"" where a header has what HTTP does not allow."""
    values = {"Host": host_header(url), "Accept-Encoding": "identity", **headers}
    lines = [f"{name}: {value}" for name, value in values.items()]
    if not all(line.isascii() and line.isprintable() for line in lines):
        return b""
    return "\r\n".join([f"POST {urlsplit(url).path} HTTP/1.1", *lines, "", ""]).encode()


def _read_answer(sock: Any) -> tuple[Answer, bool]:
    """The answer, and whether the connection can be used again."""
    rest = b""
    for _ in range(INTERIM_MAX):
        head, rest = _read_head(sock, rest)
        version, status, headers = _parsed(head)
        if status >= 200:
            break
    else:
        raise OSError("the server sent interim answers without end")
    body, has_end = _read_body(sock, rest, headers, is_empty=status in (204, 304))
    is_kept = version == "1" and "close" not in headers.get("connection", "").lower()
    return Answer(status, headers, body), has_end and is_kept


def _read_head(sock: Any, data: bytes) -> tuple[bytes, bytes]:
    """The next head, and what came behind it."""
    while (end := data.find(b"\r\n\r\n")) < 0:
        if len(data) > HEAD_MAX:
            raise OSError("the server sent an answer whose head has no end")
        data += _received(sock)
    return data[:end], data[end + 4 :]


def _parsed(head: bytes) -> tuple[str, int, dict[str, str]]:
    first, *lines = head.decode("latin-1").split("\r\n")
    status_line = STATUS_LINE.fullmatch(first)
    if status_line is None:
        raise OSError("what answers does not speak HTTP")
    headers: dict[str, str] = {}
    for line in lines:
        name, colon, value = line.partition(":")
        name = name.lower()
        if not colon or name != name.strip() or (name == "content-length" and name in headers):
            raise OSError("the server sent a header that makes no sense")
        headers[name] = value.strip()
    return status_line[1], int(status_line[2]), headers


def _read_body(sock: Any, data: bytes, headers: Mapping[str, str], *, is_empty: bool) -> tuple[bytes, bool]:
    """The body, and whether it ended where it was announced to end, with nothing behind it."""
    coding, length = headers.get("transfer-encoding", "").lower(), headers.get("content-length")
    if coding:
        if coding != "chunked":
            raise OSError("the server sent an answer in a coding that was not asked for")
        return _read_chunks(sock, data), True
    if is_empty:
        return b"", not data
    if length is None:
        return _read_rest(sock, data), False
    if not LENGTH.fullmatch(length) or int(length) > BODY_MAX:
        raise OSError("the server sent an answer of a length that makes no sense")
    while len(data) < int(length):
        data += _received(sock)
    return data[: int(length)], len(data) == int(length)


def _read_chunks(sock: Any, data: bytes) -> bytes:
    chunks = Chunks()
    body = chunks.take(data)
    while not (chunks.is_over or chunks.fault):
        body += _bounded(chunks.take(_received(sock)), len(body))
    if chunks.fault:
        raise OSError(chunks.fault)
    return body


def _read_rest(sock: Any, data: bytes) -> bytes:
    while piece := sock.recv(RECEIVE_SIZE):
        data += _bounded(piece, len(data))
    return data


def _bounded(piece: bytes, size: int) -> bytes:
    if size > BODY_MAX:
        raise OSError("the server sent an answer without end")
    return piece


def _received(sock: Any) -> bytes:
    piece = sock.recv(RECEIVE_SIZE)
    if not piece:
        raise ConnectionError("the server closed the connection before its answer was whole")
    return bytes(piece)
