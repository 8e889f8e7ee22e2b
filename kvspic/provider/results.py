"""Results of service calls: the field's numbers, and how an answer or a broken connection becomes one of them.

Pure: errors are recognised by name, so nothing here imports botocore, ssl or asyncio. The core knows results by
number only; people see :class:`ServiceError`, one sentence with cause and remedy. No text here ever holds a key,
a token or a signature: the service's own wording is cut and cleaned by :func:`safe_text` first.
"""

from __future__ import annotations

import re
from urllib.parse import urlsplit

from kvspic._enums import ServiceResult

__all__ = [
    "NOT_AWS",
    "NO_TLS",
    "SETTING_REMEDIES",
    "TRUST_REMEDY",
    "UNTRUSTED",
    "ServiceError",
    "ServiceResult",
    "classify",
    "classify_transport",
    "is_connection_limit",
    "is_credential_problem",
    "is_denial",
    "is_endpoint_doubtful",
    "is_throttling",
    "is_without_tls",
    "safe_text",
    "safe_url",
    "short_error_name",
    "without_secrets",
]

REGION_REMEDY = "pass region (--region on the command line), or set AWS_REGION or the profile's region"
TRUST_REMEDY = "name the file of its authority by AWS_CA_BUNDLE or ca_bundle, and check the system clock"
UNTRUSTED = "UntrustedCertificate"  # the name of that error; no service gives it
NO_TLS = "NoTls"  # no service gives this name either
NOT_AWS = "NotAws"  # nor this one
TEXT_MAX = 240  # of the service's own words; longer answers are canonical requests or HTML pages


R = ServiceResult

# Names are compared in lower case and without a trailing "exception". CLIENT_LIMIT ends a stream in the field's state
# machine, although waiting helps: throttling therefore becomes UNKNOWN, which every state retries with a backoff.
# IN_USE is retried too, and on CreateStream it means: somebody else made it, describe it.
# InvalidEndpoint becomes a timeout: that sends the machine to GetDataEndpoint.
BY_NAME: dict[str, ServiceResult] = {
    "accessdenied": R.FORBIDDEN,
    "accountchannellimitexceeded": R.STREAM_LIMIT,
    "accountstreamlimitexceeded": R.STREAM_LIMIT,
    "clientlimitexceeded": R.UNKNOWN,
    "connectionlimitexceeded": R.UNKNOWN,
    "devicestreamlimitexceeded": R.DEVICE_LIMIT,
    "expiredtoken": R.FORBIDDEN,
    "incompletesignature": R.FORBIDDEN,
    "internalfailure": R.INTERNAL_ERROR,
    "internalservererror": R.INTERNAL_ERROR,
    "invalidargument": R.INVALID_ARG,
    "invalidclienttokenid": R.FORBIDDEN,
    "invalidcodecprivatedata": R.INVALID_ARG,
    "invaliddevice": R.INVALID_ARG,
    "invalidendpoint": R.CONNECTION_TIMEOUT,
    "invalidmediaframe": R.INVALID_ARG,
    "invalidresourceformat": R.INVALID_ARG,
    "invalidsignature": R.FORBIDDEN,
    "limitexceeded": R.UNKNOWN,
    "missingauthenticationtoken": R.FORBIDDEN,
    "missingcodecprivatedata": R.INVALID_ARG,
    "nodataretention": R.INVALID_ARG,
    "notauthorized": R.NOT_AUTHORIZED,
    "notimplemented": R.NOT_IMPLEMENTED,
    "requestexpired": R.FORBIDDEN,
    "requestlimitexceeded": R.UNKNOWN,
    "requestthrottled": R.UNKNOWN,
    "requesttimeout": R.REQUEST_TIMEOUT,
    "resourceinuse": R.IN_USE,
    "resourcenotfound": R.NOT_FOUND,
    "serviceunavailable": R.UNAVAILABLE,
    "signaturedoesnotmatch": R.FORBIDDEN,
    "slowdown": R.UNKNOWN,
    "streamedgeconfigurationnotfound": R.NOT_FOUND,
    "tagsperresourceexceededlimit": R.INVALID_ARG,
    "throttled": R.UNKNOWN,
    "throttling": R.UNKNOWN,
    "toomanyrequests": R.UNKNOWN,
    "unrecognizedclient": R.FORBIDDEN,
    "unsupportedstreammediatype": R.INVALID_ARG,
    "validation": R.INVALID_ARG,
    "validationerror": R.INVALID_ARG,
    "versionmismatch": R.UNKNOWN,
}

BY_STATUS: dict[int, ServiceResult] = {
    200: R.OK,
    401: R.NOT_AUTHORIZED,
    403: R.FORBIDDEN,
    404: R.NOT_FOUND,
    406: R.INVALID_ARG,
    408: R.REQUEST_TIMEOUT,
    409: R.IN_USE,
    425: R.UNKNOWN,
    429: R.UNKNOWN,  # throttled by a proxy or a front layer that sends no error name
    501: R.NOT_IMPLEMENTED,
    503: R.UNAVAILABLE,
    504: R.GATEWAY_TIMEOUT,
    598: R.READ_TIMEOUT,
    599: R.CONNECTION_TIMEOUT,
}

# A refreshed key or a corrected clock can cure these; a missing permission (AccessDenied) it cannot.
CREDENTIAL_PROBLEMS = frozenset(
    {
        "expiredtoken",
        "incompletesignature",
        "invalidclienttokenid",
        "invalidsignature",
        "missingauthenticationtoken",
        "requestexpired",
        "signaturedoesnotmatch",
        "unrecognizedclient",
    }
)

# The caller asks too often, whatever it asks for; a limit of one stream (ConnectionLimitExceeded) is not meant.
THROTTLING = frozenset(
    {
        "clientlimitexceeded",
        "requestlimitexceeded",
        "requestthrottled",
        "slowdown",
        "throttled",
        "throttling",
        "toomanyrequests",
    }
)

# Class names of botocore, ssl and the standard library, most telling first.
TRANSPORT_BY_CLASS: tuple[tuple[str, ServiceResult], ...] = (
    ("SSLCertVerificationError", R.NOT_AUTHORIZED),
    ("CertificateError", R.NOT_AUTHORIZED),
    (UNTRUSTED, R.NOT_AUTHORIZED),
    ("NoCredentialsError", R.NOT_AUTHORIZED),
    ("PartialCredentialsError", R.NOT_AUTHORIZED),
    ("CredentialRetrievalError", R.NOT_AUTHORIZED),
    ("TokenRetrievalError", R.NOT_AUTHORIZED),
    ("SSOError", R.NOT_AUTHORIZED),
    ("ProfileNotFound", R.NOT_AUTHORIZED),
    ("ConnectTimeout", R.CONNECTION_TIMEOUT),
    ("ConnectTimeoutError", R.CONNECTION_TIMEOUT),
    ("ReadTimeoutError", R.READ_TIMEOUT),
    ("TimeoutError", R.READ_TIMEOUT),
    ("NoRegionError", R.INVALID_ARG),
    ("InvalidRegionError", R.INVALID_ARG),
    ("ParamValidationError", R.INVALID_ARG),
    ("InvalidEndpointURL", R.INVALID_ARG),
    ("UnsupportedProtocol", R.INVALID_ARG),
    ("LocalProtocolError", R.INVALID_ARG),  # h11: a header value that HTTP does not allow
)

REMEDIES: dict[ServiceResult, str] = {
    R.BAD_REQUEST: "check the request's values",
    R.NOT_AUTHORIZED: "check the AWS credentials and the permission for this operation",
    R.FORBIDDEN: "check the AWS credentials, the permission for this operation and the system clock",
    R.NOT_FOUND: "create the stream, or check its name and the region",
    R.INVALID_ARG: "check the stream's name and settings",
    R.NOT_IMPLEMENTED: "the endpoint does not offer this operation; use another endpoint",
    R.DEVICE_LIMIT: "delete unused streams or ask for a higher quota",
    R.STREAM_LIMIT: "delete unused streams or ask for a higher quota",
    R.IN_USE: "use the stream as it is, or try again when it is no longer being changed",
}
# These also answer ResourceNotFoundException where the stream is there, and has no media of the time asked for.
ARCHIVE_OPERATIONS = frozenset({"GetClip", "GetDASHStreamingSessionURL", "GetHLSStreamingSessionURL", "GetImages"})
NO_MEDIA_REMEDY = "name a time that has media (a live one: while the stream uploads), or check the stream's name"
# Settings of the user that botocore finds fault with; each by the name of its error.
SETTING_REMEDIES = {
    "NoRegion": REGION_REMEDY,
    "InvalidRegionError": REGION_REMEDY,
    "ProfileNotFound": "correct AWS_PROFILE, or add that profile to the AWS configuration",
    "ConfigParseError": "correct that file",
    UNTRUSTED: TRUST_REMEDY,
    NO_TLS: "write http:// instead of https:// if it speaks plain HTTP, or check host and port",
    NOT_AWS: "a proxy or a login page of the network answers instead: check HTTPS_PROXY, or open a web page here",
}
UNREACHABLE_REMEDY = "check the endpoint and the network, then try again"
REFUSED_REMEDY = "try again later"

SECRETS = re.compile(
    r"(?i)(signature\s*[=:]\s*|credential\s*[=:]\s*|security-token\s*[=:]\s*|aws_secret_access_key\s*[=:]\s*"
    r"|authorization\s*[=:]\s*)\S+"
)
USER_OF_URL = re.compile(r"(?<=://)[^/\s@]*@")
ACCESS_KEY = re.compile(r"\b(?:AKIA|ASIA)[A-Z0-9]{8,}\b")


class ServiceError(Exception):
    """A service call that failed: which one, why, and what to do, in one sentence without secrets.

    ``http_status`` is 0 when no answer arrived at all. ``retry_after_s`` is the wait the service asked for, if it did.
    """

    def __init__(
        self,
        operation: str,
        result: ServiceResult,
        *,
        error_name: str = "",
        http_status: int = 0,
        retry_after_s: float | None = None,
        detail: str = "",
    ) -> None:
        self.operation = operation
        self.result = result
        self.error_name = error_name
        self.http_status = http_status
        self.retry_after_s = retry_after_s
        super().__init__(self._sentence(safe_text(detail)))

    @property
    def is_unreachable(self) -> bool:
        """No answer came: the endpoint could not be reached, or the connection broke before it answered."""
        return self.http_status == 0 and self.result not in (R.INVALID_ARG, R.NOT_AUTHORIZED)

    @property
    def is_denied(self) -> bool:
        """The service answered and refused: these keys are wrong, or do not allow this call."""
        return self.http_status != 0 and is_denial(self.result)

    def _sentence(self, detail: str) -> str:
        known = [self.error_name] if self.error_name else []
        if self.http_status:
            known.append(f"HTTP {self.http_status}")
        cause = f" ({', '.join(known)})" if known else ""
        why = f": {detail.rstrip('.')}" if detail else ""
        other = REFUSED_REMEDY if self.http_status else UNREACHABLE_REMEDY
        remedy = SETTING_REMEDIES.get(self.error_name) or REMEDIES.get(self.result, other)
        if self.result == R.NOT_FOUND and self.operation in ARCHIVE_OPERATIONS:
            remedy = NO_MEDIA_REMEDY
        return f"{self.operation} failed{cause}{why}; {remedy}."


def short_error_name(raw: str) -> str:
    """``Name:http://internal/...`` and ``com.amazon.service#Name`` both mean ``Name``."""
    return raw.split(":", 1)[0].rsplit("#", 1)[-1].strip()


def _key(error_name: str) -> str:
    return short_error_name(error_name).lower().removesuffix("exception")


def classify(http_status: int, error_name: str) -> ServiceResult:
    """The result of an answer: by the error's name where the service gave one, else by the HTTP status."""
    if error_name:
        named = BY_NAME.get(_key(error_name))
        if named is R.FORBIDDEN and http_status == 401:
            return R.NOT_AUTHORIZED
        if named is not None:
            return named
    if http_status in BY_STATUS:
        return BY_STATUS[http_status]
    if 400 <= http_status < 500:
        return R.BAD_REQUEST
    return R.INTERNAL_ERROR if 500 <= http_status < 600 else R.UNKNOWN


def is_credential_problem(http_status: int, error_name: str) -> bool:
    """Whether fresh credentials or a corrected clock may cure the refusal, so that one repetition is worth it."""
    if error_name:
        return _key(error_name) in CREDENTIAL_PROBLEMS
    return is_denial(classify(http_status, ""))


def is_denial(result: ServiceResult) -> bool:
    """Whether the keys are wrong, or do not allow the call."""
    return result in (R.NOT_AUTHORIZED, R.FORBIDDEN)


def is_endpoint_doubtful(http_status: int, result: ServiceResult) -> bool:
    """Whether a refused upload may have gone to the wrong endpoint, because the stream moved or was deleted."""
    return http_status in (403, 404) or result is R.CONNECTION_TIMEOUT


def is_connection_limit(error_name: str) -> bool:
    """Whether the service refuses an upload because it counts another connection of the same stream."""
    return _key(error_name) == "connectionlimitexceeded"


def is_throttling(http_status: int, error_name: str) -> bool:
    """Whether the service says that this process calls it too often."""
    return _key(error_name) in THROTTLING if error_name else http_status == 429


def classify_transport(exc: BaseException) -> ServiceResult:
    """The result of a call that got no answer: timeouts, trust, configuration; everything else is UNKNOWN."""
    names = {base.__name__ for base in type(exc).__mro__}
    if "CERTIFICATE_VERIFY_FAILED" in str(exc):  # botocore wraps the ssl error and keeps only its text
        return R.NOT_AUTHORIZED
    for name, result in TRANSPORT_BY_CLASS:
        if name in names:
            return result
    return R.UNKNOWN


def is_without_tls(error: BaseException) -> bool:
    """Whether the other end answered a TLS handshake with something else, as a server of plain HTTP does."""
    return any(name in str(error) for name in ("WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE"))


def safe_text(text: str) -> str:
    """The first line of the service's own words, printable, short, and without anything that looks like a secret.

    A refused signature is answered with the whole canonical request, session token included: only its first line
    may be shown.
    """
    lines = text.strip().splitlines()
    first = lines[0] if lines else ""
    printable = "".join(char if char.isprintable() else " " for char in first)
    cleaned = without_secrets(printable)
    return cleaned if len(cleaned) <= TEXT_MAX else cleaned[:TEXT_MAX] + "..."


def without_secrets(text: str) -> str:
    """Return the text without access keys, the values of signatures and tokens, and the user and password of URLs."""
    return USER_OF_URL.sub("", ACCESS_KEY.sub("<access key>", SECRETS.sub(r"\1<redacted>", text)))


def safe_url(url: str) -> str:
    """Scheme, host and port of a URL; user, path and query may hold secrets. Anything may be given."""
    try:
        parts = urlsplit(url)
    except ValueError:  # such as http://[::1
        return "an address that is no URL"
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"
