"""Check of AWS Signature Version 4 on incoming requests, as the AWS General Reference describes the signature.

Pure: the time is an argument. It follows the request's ``SignedHeaders`` and nothing else, and takes the payload hash
from ``x-amz-content-sha256`` where that is sent. Clients sign with other code than this. Keys never reach a message.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from urllib.parse import parse_qsl, quote, unquote_to_bytes

from kvspic.local.errors import ServiceError

__all__ = ["SignedRequest", "signing_region", "verify"]

_ALGORITHM = "AWS4-HMAC-SHA256"
_SKEW_SECONDS = 5 * 60
_EMPTY_HASH = hashlib.sha256(b"").hexdigest()
_UNSIGNED = "UNSIGNED-PAYLOAD"
_CREDENTIAL = re.compile(r"Credential=([^,\s]+)")
_REGION = re.compile(r"[a-z0-9-]{1,32}")
_FIELD = re.compile(r"(Credential|SignedHeaders|Signature)=([^,\s]+)")


@dataclass(frozen=True)
class SignedRequest:
    """An incoming request. Header names in lower case; ``body`` is None for PutMedia, whose body is not signed."""

    method: str
    path: str
    query: str
    headers: Mapping[str, str]
    body: bytes | None


@dataclass(frozen=True)
class _Claim:
    """What the request says about its signature."""

    key: str
    scope: str
    signed_headers: tuple[str, ...]
    signature: str
    time: str
    signed_seconds: float
    expires_seconds: int | None


def verify(request: SignedRequest, access_keys: Mapping[str, str], now_seconds: float) -> None:
    """Return if one of ``access_keys`` signed the request within five minutes of now; raise ServiceError otherwise."""
    claim = _claim(request)
    secret = access_keys.get(claim.key)
    if secret is None:
        text = "The security token included in the request is invalid."
        raise ServiceError("UnrecognizedClientException", text)
    _check_time(claim, now_seconds)
    if not _body_matches(request):
        raise _bad_signature("The body is not the one that x-amz-content-sha256 was made of.")
    signature = _signature(request, claim, secret)
    if not hmac.compare_digest(signature.encode(), _bytes(claim.signature)):
        raise _bad_signature(
            "The request signature we calculated does not match the signature you provided. "
            "Check your AWS Secret Access Key and signing method."
        )


def signing_region(request: SignedRequest) -> str | None:
    """Return the region that the request says it is signed for, None for one that is not signed."""
    found = _CREDENTIAL.search(request.headers.get("authorization", ""))
    credential = dict(parse_qsl(request.query)).get("X-Amz-Credential", "") if found is None else found[1]
    parts = credential.split("/")
    return parts[2] if len(parts) == 5 and _REGION.fullmatch(parts[2]) else None


def _bad_signature(text: str) -> ServiceError:
    return ServiceError("InvalidSignatureException", text)


def _claim(request: SignedRequest) -> _Claim:
    header = request.headers.get("authorization", "")
    query = dict(parse_qsl(request.query, keep_blank_values=True))
    if not header and "X-Amz-Signature" not in query:
        raise ServiceError("MissingAuthenticationTokenException", "Missing Authentication Token")
    if header:
        found = dict(_FIELD.findall(header)) if header.startswith(_ALGORITHM + " ") else {}
        claimed_time, expires = request.headers.get("x-amz-date", ""), None
    else:
        found = {name: query.get(f"X-Amz-{name}", "") for name in ("Credential", "SignedHeaders", "Signature")}
        claimed_time, expires = query.get("X-Amz-Date", ""), query.get("X-Amz-Expires", "0")
    key, _, scope = found.get("Credential", "").partition("/")
    parts = scope.split("/")
    names = tuple(found.get("SignedHeaders", "").split(";"))
    is_whole = len(parts) == 4 and parts[3] == "aws4_request" and bool(found.get("Signature"))
    signed_seconds = _seconds(claimed_time)
    if not is_whole or "host" not in names or signed_seconds is None:
        text = "Authorization needs Credential, SignedHeaders with host, Signature, and an x-amz-date header."
        raise ServiceError("IncompleteSignature", text)
    if parts[2] != "kinesisvideo" or parts[0] != claimed_time[:8]:
        raise _bad_signature("Credential should be scoped to the date of the request and to service: 'kinesisvideo'.")
    lifetime = None if expires is None else int(expires) if re.fullmatch(r"[0-9]{1,9}", expires) else 0
    return _Claim(key, scope, names, found["Signature"], claimed_time, signed_seconds, lifetime)


def _check_time(claim: _Claim, now_seconds: float) -> None:
    signed = claim.signed_seconds
    late = _SKEW_SECONDS if claim.expires_seconds is None else max(_SKEW_SECONDS, min(claim.expires_seconds, 604_800))
    now = _stamp(now_seconds)
    if signed < now_seconds - late:
        edge = _stamp(now_seconds - late)
        raise _bad_signature(f"Signature expired: {claim.time} is now earlier than {edge} ({now} - {late // 60} min.)")
    if signed > now_seconds + _SKEW_SECONDS:
        edge = _stamp(now_seconds + _SKEW_SECONDS)
        raise _bad_signature(f"Signature not yet current: {claim.time} is still later than {edge} ({now} + 5 min.)")


def _seconds(stamp: str) -> float | None:
    """Seconds since 1970 of a time as SigV4 writes it, None when it is none."""
    if re.fullmatch(r"[0-9]{8}T[0-9]{6}Z", stamp) is None:
        return None
    try:
        return datetime.strptime(stamp, "%Y%m%dT%H%M%SZ").replace(tzinfo=timezone.utc).timestamp()
    except ValueError:
        return None


def _stamp(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, timezone.utc).strftime("%Y%m%dT%H%M%SZ")


def _body_matches(request: SignedRequest) -> bool:
    said = request.headers.get("x-amz-content-sha256", _UNSIGNED)
    if request.body is None or said == _UNSIGNED:
        return True
    return said == hashlib.sha256(request.body).hexdigest()


def _payload_hash(request: SignedRequest) -> str:
    said = request.headers.get("x-amz-content-sha256")
    if said is not None:
        return said
    return _EMPTY_HASH if request.body is None else hashlib.sha256(request.body).hexdigest()


def _bytes(text: str) -> bytes:
    """Headers, paths and queries may hold bytes that are no UTF-8."""
    return text.encode("utf-8", "surrogateescape")


def _canonical_query(query: str) -> str:
    pairs = [part.partition("=") for part in query.split("&") if part]
    encoded = [(_encode(name), _encode(value)) for name, _, value in pairs]
    return "&".join(f"{name}={value}" for name, value in sorted(encoded) if name != "X-Amz-Signature")


def _encode(text: str) -> str:
    return quote(unquote_to_bytes(_bytes(text)), safe="-_.~")


def _signature(request: SignedRequest, claim: _Claim, secret: str) -> str:
    values = [(name, " ".join(request.headers.get(name, "").split())) for name in claim.signed_headers]
    canonical = "\n".join([
        request.method,
        quote(_bytes(request.path), safe="/-_.~"),
        _canonical_query(request.query),
        *(f"{name}:{value}" for name, value in values),
        "",
        ";".join(claim.signed_headers),
        _payload_hash(request),
    ])  # fmt: skip
    digest = hashlib.sha256(_bytes(canonical)).hexdigest()
    to_sign = "\n".join([_ALGORITHM, claim.time, claim.scope, digest])
    key = ("AWS4" + secret).encode()
    for part in claim.scope.split("/"):
        key = hmac.new(key, _bytes(part), hashlib.sha256).digest()
    return hmac.new(key, _bytes(to_sign), hashlib.sha256).hexdigest()
