"""One call over a connection that botocore's HTTP session keeps idle: the request as bytes, the answer from bytes.

botocore opens connections, because it knows the user's proxies, certificates and limits of time. A call over one that
is open needs none of that, and urllib3 and http.client cost several times as much as the exchange itself. h11 does the
rules of the answer; to let it look at our own headers too would cost as much again. Where there is no idle connection,
or a call is unusual, nothing is sent and botocore has to make it.
"""

from __future__ import annotations

import queue
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import h11

from kvspic.provider.putmedia import host_header
from kvspic.provider.results import safe_text

__all__ = ["Answer", "idle_pool", "over_idle"]

RECEIVE_SIZE = 64 * 1024
BODY_MAX = 4 * 1024 * 1024  # no answer of the control plane comes near it
INTERIM_MAX = 16
ANY_POST = h11.Request(method="POST", target="/", headers=[("Host", "any")])  # what an answer answers, for h11
DONE = {h11.CLIENT: h11.DONE, h11.SERVER: h11.DONE}


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
    except Exception:  # a proxy that is no URL, or other names: a call by the session itself says what is wrong
        return None
    is_tunnel = not proxy_url or url.startswith("https:")
    is_known = hasattr(pool, "_put_conn") and hasattr(getattr(pool, "pool", None), "get_nowait")
    return pool if is_tunnel and is_known else None


def over_idle(pool: Any, url: str, headers: Mapping[str, str], body: bytes) -> Answer | None:
    """Make a call over an idle connection of a pool; blocks. None: nothing was sent.

    Raises:
        OSError: the connection broke, or what came is no answer.
    """
    request = _request(url, headers, body)
    connection = _taken(pool) if request else None
    if connection is None:
        return None
    http, is_reusable = h11.Connection(h11.CLIENT), False
    http.send(ANY_POST)
    http.send(h11.EndOfMessage())
    try:
        connection.sock.sendall(request)
        answer = _read_answer(http, connection.sock)
        is_reusable = http.states == DONE and http.trailing_data == (b"", False)
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


def _request(url: str, headers: Mapping[str, str], body: bytes) -> bytes:
    """A request ready to send; b"" where a header or the path has what HTTP does not allow, or the URL has a query."""
    values = {"Host": host_header(url), "Accept-Encoding": "identity", **headers}
    lines = [f"{name}: {value}" for name, value in values.items()]
    target = urlsplit(url)
    is_plain = all(line.isascii() and line.isprintable() for line in (target.path, *lines))
    if not is_plain or " " in target.path or target.query or target.fragment:
        return b""
    return "\r\n".join((f"POST {target.path} HTTP/1.1", *lines, "", "")).encode() + body


def _read_answer(http: h11.Connection, sock: Any) -> Answer:
    response, body, interim_count, is_at_end = None, b"", 0, False
    while True:
        try:
            event = http.next_event()
        except h11.RemoteProtocolError as error:
            if is_at_end:
                raise ConnectionError("the server closed the connection before its answer was whole") from None
            raise OSError(f"what answers does not speak HTTP: {safe_text(str(error))}") from None
        if event is h11.NEED_DATA:
            data = sock.recv(RECEIVE_SIZE)
            is_at_end = not data
            http.receive_data(data)
        elif isinstance(event, h11.Response):
            response = event
        elif isinstance(event, h11.Data):
            body += bytes(event.data)
            if len(body) > BODY_MAX:
                raise OSError("the server sent an answer without end")
        elif isinstance(event, h11.InformationalResponse) and interim_count < INTERIM_MAX:
            interim_count += 1
        elif isinstance(event, h11.EndOfMessage) and response is not None:
            headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in response.headers}
            return Answer(response.status_code, headers, body)
        elif isinstance(event, h11.ConnectionClosed):
            raise ConnectionError("the server closed the connection before its answer was whole")
        else:
            raise OSError("the server sent interim answers without end")
