"""Signature version 4, the one place that signs: control-plane calls, media reads and PutMedia.

A thin subclass of botocore's signer. It takes the time as an argument (the service's clock, which may differ from
ours) and writes no log line: botocore's own debug lines show the canonical request, session token included.
Signed are Host, Content-Type and the x-amz headers; a proxy may rewrite the others.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Mapping, MutableMapping, Sequence
from typing import Any

import botocore.auth
import botocore.awsrequest
import botocore.credentials
from botocore.compat import HTTPHeaders

from kvspic.provider.credentials import Credentials
from kvspic.provider.putmedia import host_header

__all__ = ["SERVICE", "ServiceSigner", "sign_call", "sign_prepared", "sign_put_media", "text"]

SERVICE = "kinesisvideo"  # of every plane: control, media and archived media
UNSIGNED_PAYLOAD = "UNSIGNED-PAYLOAD"


class ServiceSigner(botocore.auth.SigV4Auth):
    """Signs one request at ``now_s`` seconds since 1970."""

    def __init__(self, credentials: Credentials, region: str, now_s: float) -> None:
        keys = botocore.credentials.Credentials(
            credentials.access_key, credentials.secret_key, credentials.session_token or None
        )
        super().__init__(keys, SERVICE, region)
        self._stamp = datetime.datetime.fromtimestamp(now_s, datetime.timezone.utc).strftime("%Y%m%dT%H%M%SZ")

    def add_auth(self, request: botocore.awsrequest.AWSRequest) -> None:
        request.context["timestamp"] = self._stamp
        self._modify_request_before_signing(request)  # type: ignore[attr-defined]
        to_sign = self.string_to_sign(request, self.canonical_request(request))
        self._inject_signature_to_request(request, self.signature(to_sign, request))  # type: ignore[attr-defined]

    def headers_to_sign(self, request: botocore.awsrequest.AWSRequest) -> HTTPHeaders:
        chosen = HTTPHeaders()
        for name, value in request.headers.items():
            lower = name.lower()
            if lower in ("host", "content-type") or lower.startswith(("x-amz-", "x-amzn-")):
                chosen[lower] = text(value)
        if "host" not in chosen:
            chosen["host"] = host_header(request.url or "")
        return chosen


def sign_put_media(
    url: str, headers: Sequence[tuple[str, str]], credentials: Credentials, region: str, now: float
) -> list[tuple[str, str]]:
    """``headers`` and the signature's own. The body is not signed: it does not exist yet.

    Args:
        url: the whole URL, ``/putMedia`` included. headers: with ``Host`` as it will be sent.
        now: seconds since 1970 by the service's clock.
    """
    with_payload = [*headers, ("x-amz-content-sha256", UNSIGNED_PAYLOAD)]
    return [*with_payload, *_signature(url, with_payload, b"", ServiceSigner(credentials, region, now))]


def sign_call(url: str, headers: Mapping[str, str], body: bytes, signer: ServiceSigner) -> dict[str, str]:
    """``headers`` and the signature's own, of a call with this body."""
    return {**headers, **dict(_signature(url, headers.items(), body, signer))}


def sign_prepared(request: Any, signer: ServiceSigner) -> None:
    """Sign a request that botocore has prepared, in place; a second time replaces the first signature."""
    for name in ("Authorization", "X-Amz-Date", "X-Amz-Security-Token"):
        _remove(request.headers, name)
    body = request.body if isinstance(request.body, (bytes, bytearray)) else str(request.body or "").encode()
    headers = [(name, text(value)) for name, value in request.headers.items()]
    for name, value in _signature(request.url, headers, bytes(body), signer):
        request.headers[name] = value


def _signature(
    url: str, headers: Iterable[tuple[str, str]], body: bytes, signer: ServiceSigner
) -> list[tuple[str, str]]:
    request = botocore.awsrequest.AWSRequest(method="POST", url=url, data=body)
    for name, value in headers:
        request.headers[name] = value
    signer.add_auth(request)
    names = ("X-Amz-Date", "X-Amz-Security-Token", "Authorization")
    return [(name, str(request.headers[name])) for name in names if name in request.headers]


def _remove(headers: MutableMapping[str, Any], name: str) -> None:
    if name in headers:
        del headers[name]


def text(value: object) -> str:
    """The value of a header as botocore has it."""
    return value.decode("latin-1") if isinstance(value, bytes) else str(value)
