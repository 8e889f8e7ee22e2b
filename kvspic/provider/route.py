"""How a data endpoint is reached: directly, or through the proxy that botocore would take for it.

HTTPS_PROXY, HTTP_PROXY and NO_PROXY count as botocore has them. The proxy is asked for a tunnel (CONNECT) and resolves
the name itself; with a user and a password in its URL they are sent along; one that is reached by https has a layer of
TLS of its own. What is on this machine is never reached by a proxy.
"""

from __future__ import annotations

import asyncio
import ipaddress
import re
import socket
import ssl
from collections.abc import Sequence
from dataclasses import dataclass

import h11

from kvspic.loopback import is_loopback_url
from kvspic.provider.results import TRUST_REMEDY, safe_text, safe_url
from kvspic.provider.transport import (
    Address,
    ConnectTimeout,
    MaySend,
    Resolver,
    Transport,
    UnsupportedProtocol,
    connect_socket,
    endpoint_parts,
    look_up,
)
from kvspic.provider.trust import default_ssl_context, untrusted

__all__ = ["DIRECT", "ProxyError", "Route", "UntrustedCertificate", "find_route", "find_way", "open_put_media"]

ANSWER_MAX = 16 * 1024  # of a proxy's answer
INTERIM_MAX = 10  # answers of a proxy before its answer: more than a proxy has reason for


class ProxyError(OSError):
    """The proxy does not make a tunnel; the text says which proxy and why."""


class UntrustedCertificate(OSError):
    """The other end shows a certificate that is not trusted; the text names the host and the reason."""


@dataclass(frozen=True)
class Route:
    """``proxy_url`` may hold a user and a password, so it is never shown. ``authorization`` is what they become."""

    proxy_url: str = ""
    authorization: str = ""

    def __repr__(self) -> str:
        return f"Route({safe_url(self.proxy_url) if self.proxy_url else 'direct'})"


DIRECT = Route()
OTHER_KIND = re.compile(r"^http://(?=[\w+.-]+://)")  # what botocore writes before socks5://HOST:PORT


def find_route(endpoint_url: str) -> Route:
    """Return how botocore would reach a URL. Blocks where the system has to be asked for its proxies."""
    from botocore.httpsession import ProxyConfiguration
    from botocore.utils import get_environ_proxies

    if is_loopback_url(endpoint_url):
        return DIRECT
    found = ProxyConfiguration(get_environ_proxies(endpoint_url))
    proxy_url = found.proxy_url_for(endpoint_url)
    if not proxy_url:
        return DIRECT
    proxy_url = OTHER_KIND.sub("", proxy_url)
    return Route(proxy_url, found.proxy_headers_for(proxy_url).get("Proxy-Authorization", ""))


def find_way(endpoint_url: str) -> tuple[Route, ssl.SSLContext | None]:
    """Return how a URL is reached, and the certificates that are trusted there if any are looked at; blocks.

    Raises:
        OSError: the bundle of certificates that the user names cannot be read.
    """
    route = find_route(endpoint_url)
    needs_tls = endpoint_url.lower().startswith("https:") or route.proxy_url.lower().startswith("https:")
    return route, default_ssl_context() if needs_tls else None


async def open_put_media(
    endpoint_url: str,
    *,
    ssl_context: ssl.SSLContext | None = None,
    connect_timeout_s: float = 5.0,
    resolver: Resolver | None = None,
    route: Route = DIRECT,
    may_send: MaySend | None = None,
) -> Transport:
    """Connect to a data endpoint, by the address that answers first.

    Args:
        endpoint_url: http or https; only scheme, host and port count.
        ssl_context: for https, of the endpoint and of the proxy; default :func:`default_ssl_context`, which blocks.
        connect_timeout_s: for everything: lookup, all addresses, proxy, TLS handshakes.
        resolver: ``await resolver(host, port)`` gives addresses; default the system's.
        route: by which proxy. may_send: a gate, see :class:`Transport`.

    Raises:
        ConnectTimeout: no connection in time. ProxyError: the proxy does not let us through.
        UntrustedCertificate, OSError: lookup, connection or TLS failed. SendingForbidden: the gate is shut.
        UnsupportedProtocol: not a URL of an endpoint.
    """
    _, host, port = endpoint_parts(endpoint_url)
    way = _Way(endpoint_url, route, ssl_context, resolver, may_send)
    connecting = asyncio.ensure_future(_connect(way))
    try:
        # Not wait_for: before Python 3.12 it may swallow a cancellation that comes together with the result.
        await asyncio.wait({connecting}, timeout=connect_timeout_s)
        if connecting.done():
            return connecting.result()
        raise ConnectTimeout(f"no connection to {host}:{port}{_through(route)} within {connect_timeout_s:g} s")
    except BaseException:
        connecting.add_done_callback(_discard)
        connecting.cancel()
        raise


@dataclass(frozen=True)
class _Way:
    endpoint_url: str
    route: Route
    ssl_context: ssl.SSLContext | None
    resolver: Resolver | None
    may_send: MaySend | None


def _discard(connecting: asyncio.Future[Transport]) -> None:
    if not connecting.cancelled() and connecting.exception() is None:
        connecting.result().close()


def _through(route: Route) -> str:
    return f" through the proxy {safe_url(route.proxy_url)}" if route.proxy_url else ""


async def _connect(way: _Way) -> Transport:
    scheme, host, port = endpoint_parts(way.endpoint_url)
    route = way.route
    first_scheme, first_host, first_port = _proxy_parts(route) if route.proxy_url else (scheme, host, port)
    try:
        sock = await connect_socket(first_host, first_port, way.resolver or _addresses)
    except OSError as error:
        if not route.proxy_url:
            raise
        text = f"the proxy {safe_url(route.proxy_url)} is not reached: {error.strerror or error}; check HTTPS_PROXY"
        raise ProxyError(text) from error
    transport = Transport(sock, way.may_send)
    try:
        if route.proxy_url:
            if first_scheme == "https":
                await _start_tls(transport, way.ssl_context or default_ssl_context(), first_host)
            await _ask_for_tunnel(transport, route, f"[{host}]:{port}" if ":" in host else f"{host}:{port}")
        if scheme == "https":
            await _start_tls(transport, way.ssl_context or default_ssl_context(), host)
    except BaseException:  # cancelled included: no one else has the socket
        transport.close()
        raise
    return transport


async def _addresses(host: str, port: int) -> Sequence[Address]:
    """The addresses of a host. What is an address already is not looked up, which would take a thread."""
    try:
        version = 0 if "%" in host else ipaddress.ip_address(host).version  # the system knows what is behind a %
    except ValueError:
        version = 0
    if version == 0:
        return await look_up(host, port)
    return [(socket.AF_INET, (host, port)) if version == 4 else (socket.AF_INET6, (host, port, 0, 0))]


async def _start_tls(transport: Transport, context: ssl.SSLContext, host: str) -> None:
    try:
        await transport.start_tls(context, host)
    except ssl.SSLError as error:
        text = untrusted(error, host)
        if not text:
            raise
        raise UntrustedCertificate(f"{text}; {TRUST_REMEDY}") from error


def _proxy_parts(route: Route) -> tuple[str, str, int]:
    try:
        return endpoint_parts(route.proxy_url)
    except UnsupportedProtocol:
        scheme = route.proxy_url.partition(":")[0]
        if scheme in ("http", "https"):
            text = "what HTTPS_PROXY or HTTP_PROXY names is no URL of a proxy; correct it"  # it may hold a password
        else:
            text = f"a proxy of the kind {scheme[:80]!r} is not supported: name an http or https proxy"
        raise ProxyError(text) from None


async def _ask_for_tunnel(transport: Transport, route: Route, authority: str) -> None:
    headers = [("Host", authority)]
    if route.authorization:
        headers.append(("Proxy-Authorization", route.authorization))
    http = h11.Connection(h11.CLIENT, max_incomplete_event_size=ANSWER_MAX)
    await transport.send(http.send(h11.Request(method="CONNECT", target=authority, headers=headers)) or b"")
    http.send(h11.EndOfMessage())
    proxy, interim_count = safe_url(route.proxy_url), 0
    while True:
        try:
            answer = http.next_event()
            if answer is h11.NEED_DATA:
                http.receive_data(await transport.receive())
                continue
        except h11.RemoteProtocolError as error:
            raise ProxyError(f"the proxy {proxy} does not answer as a proxy: {safe_text(str(error))}") from None
        if not isinstance(answer, h11.InformationalResponse):
            break
        interim_count += 1
        if interim_count > INTERIM_MAX:  # whatever is there is read without a pause: a flood would stop everything
            raise ProxyError(f"the proxy {proxy} sends interim answers without end; check its address")
    if not isinstance(answer, h11.Response):
        raise ProxyError(f"the proxy {proxy} ended the connection without an answer; check its address and its log")
    if not 200 <= answer.status_code < 300:
        reason = safe_text(answer.reason.decode("latin-1"))
        remedy = "give a user and a password in HTTPS_PROXY" if answer.status_code == 407 else "check its rules"
        text = f"the proxy {proxy} refuses the way to {authority} with {answer.status_code} {reason}".rstrip()
        raise ProxyError(f"{text}; {remedy}")
    transport.give_back(http.trailing_data[0])
