"""Keys for a device that has an X.509 certificate: AWS IoT's credential provider exchanges it for temporary ones.

One GET with mutual TLS to ``https://ENDPOINT/role-aliases/ALIAS/credentials``, as the AWS IoT developer guide says
under "Authorizing direct calls to AWS services". The answer is kept and renewed before it expires; while a renewal
fails, the old keys go on for as long as they are valid. What is asked and what fails is logged, without a key in it.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import json
import logging
import os
import re
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kvspic.provider.clock import SERVICE_CLOCK, ServiceClock, date_of
from kvspic.provider.credentials import CredentialFetchError, Credentials
from kvspic.provider.credentials_file import parse_document
from kvspic.provider.results import classify, is_denial, is_throttling
from kvspic.provider.trust import ca_bundle
from kvspic.threads import shared_executor

__all__ = ["IotCredentials", "IotRole"]

logger = logging.getLogger(__name__)

CONNECT_TIMEOUT_S = 3.0
TIMEOUT_S = 5.0
RENEW_BEFORE_MIN_S = 38.0  # a stream refuses a token with less than 30 s left, and rotates 3 s before the end
RENEW_BEFORE_MAX_S = 300.0
PAUSE_AFTER_FAILURE_S = 5.0  # while old keys are still valid
ANSWER_SIZE_MAX = 10_000
ALIAS = re.compile(r"[\w=,@-]{1,128}", re.ASCII)
THING = re.compile(r"[A-Za-z0-9:_-]{1,128}")
HOST = re.compile(r"[A-Za-z0-9.-]+(:\d{1,5})?|\[[0-9a-fA-F:]+\](:\d{1,5})?")

StrPath = str | os.PathLike[str]


@dataclass(frozen=True)
class IotRole:
    """Who asks and for what: ``endpoint`` is the host that ``aws iot describe-endpoint --endpoint-type
    iot:CredentialProvider`` prints, without ``https://``."""

    endpoint: str
    thing_name: str
    role_alias: str

    def __post_init__(self) -> None:
        if not HOST.fullmatch(self.endpoint):
            raise ValueError(f"{self.endpoint!r} is not a host name: give the endpoint without https:// and path")
        if not THING.fullmatch(self.thing_name):
            raise ValueError(f"{self.thing_name!r} is not a thing name: 1 to 128 of a-z A-Z 0-9 : _ -")
        if not ALIAS.fullmatch(self.role_alias):
            raise ValueError(f"{self.role_alias!r} is not a role alias: 1 to 128 of a-z A-Z 0-9 _ = , @ -")

    @property
    def url(self) -> str:
        return f"https://{self.endpoint}/role-aliases/{self.role_alias}/credentials"


class IotCredentials:
    """Temporary keys from AWS IoT.

    Args:
        role: endpoint, thing name and role alias.
        certificate, private_key: PEM files; the key without a passphrase.
        ca: PEM file of the authority that signed the endpoint's certificate; default: the usual public ones.
        clock: the service's; a device whose clock is wrong learns the time from the ``Date`` of the answers.

    Files are read at each exchange, so a renewed certificate is used without a restart.
    """

    def __init__(
        self,
        role: IotRole,
        certificate: StrPath,
        private_key: StrPath,
        ca: StrPath | None = None,
        *,
        clock: ServiceClock = SERVICE_CLOCK,
    ) -> None:
        self._role = role
        self._files = {"certificate": Path(certificate), "private key": Path(private_key)}
        if ca is not None:
            self._files["CA file"] = Path(ca)
        self._clock = clock
        self._lock = threading.Lock()
        self._running: concurrent.futures.Future[Credentials] | None = None  # one exchange at a time, shared by all
        self._kept: Credentials | None = None
        self._renew_at_s = 0.0

    async def get(self, *, refresh: bool = False) -> Credentials:
        """The keys that are valid now.

        Raises:
            CredentialFetchError: there are none; the text names cause and remedy.
        """
        kept = self._kept
        now_s = self._clock.now()
        if kept is not None and not refresh and now_s < self._renew_at_s:
            return kept
        try:
            return await asyncio.shield(asyncio.wrap_future(self._start()))
        except CredentialFetchError as error:
            if kept is None or refresh or self._is_over(kept):
                raise
            logger.warning("the old credentials are kept: %s", error)
            self._renew_at_s = now_s + PAUSE_AFTER_FAILURE_S
            return kept

    def _start(self) -> concurrent.futures.Future[Credentials]:
        """The exchange that is running, or a new one."""
        with self._lock:
            if self._running is None or self._running.done():
                self._running = shared_executor().submit(self._exchange)
            return self._running

    def _exchange(self) -> Credentials:
        """Ask the service, blocking, and keep the answer."""
        self._check_files()
        deadline = time.monotonic() + TIMEOUT_S
        response = self._request()
        with contextlib.closing(response):
            self._clock.learn(date_of(response.headers.get("Date", "")))
            if response.status_code != 200:
                raise self._refused(response.status_code)
            keys = self._parse(self._read(response, deadline))
        now_s = self._clock.now()
        if keys.expiry_s is None or self._is_over(keys):
            raise self._error("gave keys that have expired already", "set the clock of this machine")
        before_s = min(RENEW_BEFORE_MAX_S, max(RENEW_BEFORE_MIN_S, (keys.expiry_s - now_s) / 10))
        self._kept, self._renew_at_s = keys, keys.expiry_s - before_s
        logger.debug("IoT role alias %s: new keys for %.0f s", self._role.role_alias, keys.expiry_s - now_s)
        return keys

    def _check_files(self) -> None:
        """What OpenSSL says about a file that it cannot read names neither the file nor the reason; and for a key
        with a passphrase it would ask on the terminal."""
        for what, path in self._files.items():
            try:
                text = path.read_bytes()
            except OSError as error:
                raise CredentialFetchError(
                    f"the {what} {path} cannot be read ({error.strerror}): check the path and its permissions"
                ) from None
            if b"-----BEGIN" not in text:
                raise CredentialFetchError(f"the {what} {path} is not a PEM file: convert it with openssl")
            if what == "private key" and b"ENCRYPTED" in text:
                raise CredentialFetchError(f"the private key {path} has a passphrase: remove it with openssl pkey")

    def _request(self) -> Any:
        import requests

        files = {what: str(path) for what, path in self._files.items()}
        try:
            return requests.get(
                self._role.url,
                headers={"x-amzn-iot-thingname": self._role.thing_name},
                cert=(files["certificate"], files["private key"]),
                verify=files.get("CA file") or ca_bundle() or True,
                auth=lambda request: request,  # else a .netrc of the machine would be sent along
                timeout=(CONNECT_TIMEOUT_S, TIMEOUT_S),
                allow_redirects=False,
                stream=True,
            )
        except (requests.RequestException, OSError) as error:
            raise self._unreached(error) from None

    def _read(self, response: Any, deadline: float) -> bytes:
        import requests

        body = bytearray()
        try:
            for piece in response.iter_content(1024):
                body += piece
                if len(body) > ANSWER_SIZE_MAX or time.monotonic() > deadline:
                    raise self._error("answers too much or too slowly", "check the endpoint")
        except (requests.RequestException, OSError) as error:
            raise self._unreached(error) from None
        return bytes(body)

    def _parse(self, body: bytes) -> Credentials:
        try:
            return parse_document(json.loads(body)["credentials"])
        except (ValueError, KeyError, TypeError, RecursionError):  # the cause may quote the answer
            raise self._error("gave an answer that holds no credentials", "check the endpoint") from None

    def _unreached(self, error: Exception) -> CredentialFetchError:
        text = f"{type(error).__name__} {error}".lower()
        if "timeout" in text or "timed out" in text:
            return self._error("does not answer in time", "check the network; it is asked again")
        if "certificate_verify_failed" in text or "hostname" in text:
            return self._error(f"is not trusted{_why_untrusted(error)}", "check the CA file and the endpoint's name")
        if "ssl" in text or "alert" in text:
            return self._error(
                "refused the TLS connection", "check that certificate and key belong together and are active"
            )
        return self._error("cannot be reached", "check the endpoint's name and the network")

    def _refused(self, status: int) -> CredentialFetchError:
        if is_denial(classify(status, "")):
            return self._error(
                f"refused (HTTP {status})",
                "check that the certificate is active, attached to the thing, and has a policy that allows "
                f"iot:AssumeRoleWithCertificate on the role alias {self._role.role_alias}",
            )
        if status in (400, 404):
            return self._error(f"does not know what was asked (HTTP {status})", "check role alias and thing name")
        if is_throttling(status, "") or status in (500, 502, 503, 504):
            return self._error(f"is busy or out of order (HTTP {status})", "nothing to do; it is asked again")
        return self._error(f"answered HTTP {status}", "check the endpoint")

    def _error(self, what: str, remedy: str) -> CredentialFetchError:
        return CredentialFetchError(f"the IoT credential provider {self._role.endpoint} {what}: {remedy}")

    def _is_over(self, keys: Credentials) -> bool:
        return keys.expiry_s is not None and self._clock.is_past(keys.expiry_s)


def _why_untrusted(error: BaseException) -> str:
    """What OpenSSL found wrong with the certificate, in parentheses. requests and urllib3 wrap OpenSSL's error."""
    wrapped = [error]
    while wrapped:
        found = wrapped.pop()
        message = getattr(found, "verify_message", "")
        if message:
            return f" ({message})"
        inner = (*found.args, getattr(found, "reason", None))
        wrapped.extend(part for part in inner if isinstance(part, BaseException))
    return ""
