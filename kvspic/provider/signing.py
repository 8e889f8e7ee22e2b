"""Signature version 4, the one place that signs: control-plane calls, media reads and PutMedia.

A thin subclass of botocore's signer. It takes the time as an argument (the service's clock, which may differ from
ours) and writes no log line: botocore's own debug lines show the canonical request, session token included. It reads
headers as plain pairs, because botocore keeps headers in an e-mail message object, which was two thirds of what a
signature cost.
Signed are Host, Content-Type and the x-amz headers; a proxy may rewrite the others.
"""

from __future__ import annotations

import datetime
import functools
import hashlib
import hmac
from collections.abc import Iterable, Mapping, MutableMapping, Sequence
from types import SimpleNamespace
from typing import Any
from urllib.parse import urlsplit

import botocore.auth

from kvspic.provider.credentials import Credentials
from kvspic.provider.putmedia import host_header

__all__ = ["SERVICE", "ServiceSigner", "sign_call", "sign_prepared", "sign_put_media", "text"]

SERVICE = "kinesisvideo"  # of every plane: control, media and archived media
UNSIGNED_PAYLOAD = "UNSIGNED-PAYLOAD"


class ServiceSigner(botocore.auth.SigV4Auth):
    """Signs one request at ``now_s`` seconds since 1970."""

    def __init__(self, credentials: Credentials, region: str, now_s: float) -> None:
        super().__init__(credentials, SERVICE, region)  # type: ignore[arg-type]
        self._token = credentials.session_token
        self._stamp = datetime.datetime.fromtimestamp(now_s, datetime.timezone.utc).strftime("%Y%m%dT%H%M%SZ")
        self._key = _signing_key(credentials.secret_key, self._stamp[:8], region)
        self._made: Any = SimpleNamespace(context={"timestamp": self._stamp})  # botocore reads the time of it

    def signature_of(self, url: str, headers: Iterable[tuple[str, str]], body: bytes) -> list[tuple[str, str]]:
        """The headers that a POST with these needs besides."""
        added = [("X-Amz-Date", self._stamp)]
        if self._token:
            added.append(("X-Amz-Security-Token", self._token))
        signed = {"host": host_header(url)}
        for name, value in (*headers, *added):
            lower = name.lower()
            if lower in ("host", "content-type") or lower.startswith(("x-amz-", "x-amzn-")):
                signed[lower] = " ".join(value.split())
        names, parts = sorted(signed), urlsplit(url)
        lines = [
            "POST",
            self._normalize_url_path(parts.path),  # type: ignore[attr-defined]
            self._canonical_query_string_url(parts),  # type: ignore[attr-defined]
            *(f"{name}:{signed[name]}" for name in names),
            "",
            ";".join(names),
            signed.get("x-amz-content-sha256") or hashlib.sha256(body).hexdigest(),
        ]
        text_to_sign = self.string_to_sign(self._made, "\n".join(lines))
        signature = hmac.digest(self._key, text_to_sign.encode(), "sha256").hex()
        start = f"AWS4-HMAC-SHA256 Credential={self.scope(self._made)}"
        return [*added, ("Authorization", f"{start}, SignedHeaders={';'.join(names)}, Signature={signature}")]


@functools.lru_cache(maxsize=8)
def _signing_key(secret_key: str, day: str, region: str) -> bytes:
    """The key that signs for a day, because a process signs nearly always with the same one."""
    key = f"AWS4{secret_key}".encode()
    for part in (day, region, SERVICE, "aws4_request"):
        key = hmac.digest(key, part.encode(), "sha256")
    return key


def sign_put_media(
    url: str, headers: Sequence[tuple[str, str]], credentials: Credentials, region: str, now: float
) -> list[tuple[str, str]]:
    """``headers`` and the signature's own. The body is not signed: it does not exist yet.

    Args:
        url: the whole URL, ``/putMedia`` included. headers: with ``Host`` as it will be sent.
        now: seconds since 1970 by the service's clock.
    """
    with_payload = [*headers, ("x-amz-content-sha256", UNSIGNED_PAYLOAD)]
    return [*with_payload, *ServiceSigner(credentials, region, now).signature_of(url, with_payload, b"")]


def sign_call(url: str, headers: Mapping[str, str], body: bytes, signer: ServiceSigner) -> dict[str, str]:
    """``headers`` and the signature's own, of a call with this body."""
    return {**headers, **dict(signer.signature_of(url, headers.items(), body))}


def sign_prepared(request: Any, signer: ServiceSigner) -> None:
    """Sign a request that botocore has prepared, in place; a second time replaces the first signature."""
    for name in ("Authorization", "X-Amz-Date", "X-Amz-Security-Token"):
        _remove(request.headers, name)
    body = request.body if isinstance(request.body, (bytes, bytearray)) else str(request.body or "").encode()
    headers = [(name, text(value)) for name, value in request.headers.items()]
    for name, value in signer.signature_of(request.url, headers, bytes(body)):
        request.headers[name] = value


def _remove(headers: MutableMapping[str, Any], name: str) -> None:
    if name in headers:
        del headers[name]


def text(value: object) -> str:
    """The value of a header as botocore has it."""
    return value.decode("latin-1") if isinstance(value, bytes) else str(value)
