"""Keys from a file that another program keeps fresh. Three forms; the first character says which one.

Words, as Kinesis Video producers have long used them: ``CREDENTIALS key secret``, or with an expiry, which stands
before the secret: ``CREDENTIALS key 2030-01-01T00:00:00Z secret token``. ``[profile]`` sections, as the AWS command
line writes them. JSON, as a ``credential_process`` or AWS IoT answers. The file is read at every use; while it is half
written or gone, the last keys go on for as long as they are valid.
"""

from __future__ import annotations

import configparser
import datetime
import functools
import json
import logging
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kvspic.provider.clock import SERVICE_CLOCK, ServiceClock
from kvspic.provider.credentials import CredentialFetchError, Credentials
from kvspic.threads import in_thread

__all__ = ["FileCredentials", "parse_credentials", "parse_document", "parse_expiry"]

logger = logging.getLogger(__name__)

FILE_SIZE_MAX = 10_000  # more than any credentials, less than what another file by mistake would cost
FIRST_WORD = "CREDENTIALS"
PART_OF_A_TIME = re.compile(r"[0-9TZ:-]{1,20}")  # where a secret should be: the long form, cut while it is written
FORMS = "CREDENTIALS KEY SECRET, CREDENTIALS KEY EXPIRY SECRET TOKEN, a [profile], or JSON"


class FileCredentials:
    """Keys from ``path``; ``profile`` names the section of a file that has sections."""

    def __init__(
        self, path: str | os.PathLike[str], profile: str = "default", *, clock: ServiceClock = SERVICE_CLOCK
    ) -> None:
        self._path = Path(path)
        self._profile = profile
        self._clock = clock
        self._kept: Credentials | None = None

    async def get(self, *, refresh: bool = False) -> Credentials:
        """The keys in the file now. ``refresh`` asks for more than the kept ones: an unreadable file is an error.

        Raises:
            CredentialFetchError: there are none; the text names the file and the remedy, never a key.
        """
        return await in_thread(functools.partial(self._get_now, refresh))

    def _get_now(self, refresh: bool) -> Credentials:
        try:
            self._kept = self._read()
        except CredentialFetchError as error:
            kept = self._kept
            if kept is None or refresh or self._is_over(kept):
                raise
            logger.warning("the old credentials are kept: %s", error)
            return kept
        return self._kept

    def _read(self) -> Credentials:
        try:
            with self._path.open("rb") as file:
                data = file.read(FILE_SIZE_MAX + 1)
        except OSError as error:
            raise self._error(f"cannot be read ({error.strerror})", "check the path and its permissions") from None
        if len(data) > FILE_SIZE_MAX:
            raise self._error(f"is longer than {FILE_SIZE_MAX} bytes", "name a credentials file")
        try:
            keys = parse_credentials(data.decode("utf-8-sig"), self._profile)
        except ValueError:  # its text, or its cause's, may quote the file
            raise self._error("is in none of the known forms", f"write {FORMS}") from None
        if self._is_over(keys):
            raise self._error("holds keys that have expired", "have whatever writes it renew them")
        return keys

    def _is_over(self, keys: Credentials) -> bool:
        return keys.expiry_s is not None and self._clock.is_past(keys.expiry_s)

    def _error(self, what: str, remedy: str) -> CredentialFetchError:
        return CredentialFetchError(f"the credentials file {self._path} {what}: {remedy}")


def parse_credentials(text: str, profile: str = "default") -> Credentials:
    """Return the keys in the text of a credentials file.

    Raises:
        ValueError: it is in none of the three forms, or has no such profile. The text may quote the file.
    """
    start = text.lstrip()[:1]
    if start == "{":
        try:
            document = json.loads(text)
        except RecursionError:
            raise ValueError("JSON of that depth holds no credentials") from None
        return parse_document(document.get("credentials", document))
    if start in ("[", "#", ";"):
        return _parse_sections(text, profile)
    return _parse_words(text.split())


def parse_document(document: Any) -> Credentials:
    """Return the keys in a JSON object with AccessKeyId, SecretAccessKey, SessionToken and Expiration, in any case.

    Raises:
        ValueError: something is missing or is no text.
    """
    if not isinstance(document, Mapping):
        raise ValueError("credentials are a JSON object")
    fields = {str(name).lower(): value for name, value in document.items()}
    key, secret = fields.get("accesskeyid"), fields.get("secretaccesskey")
    token, expiry = fields.get("sessiontoken"), fields.get("expiration")
    if token is not None:
        token = _text(token)
    return Credentials(_text(key), _text(secret), token, None if expiry is None else parse_expiry(expiry))


def parse_expiry(text: Any) -> float:
    """Return a time such as ``2030-01-01T00:00:00Z`` in seconds since 1970.

    Raises:
        ValueError: it is no such time, or says no time zone.
    """
    if not isinstance(text, str):
        raise ValueError("an expiry is a text")
    moment = datetime.datetime.fromisoformat(text[:-1] + "+00:00" if text.endswith("Z") else text)
    if moment.tzinfo is None:
        raise ValueError("an expiry says its time zone, as the Z in 2030-01-01T00:00:00Z")
    return moment.timestamp()


def _parse_words(words: list[str]) -> Credentials:
    if words[:1] != [FIRST_WORD]:
        raise ValueError(f"the first word is {FIRST_WORD}")
    if len(words) == 3 and not PART_OF_A_TIME.fullmatch(words[2]):
        return Credentials(words[1], words[2])
    if len(words) == 5:
        return Credentials(words[1], words[3], words[4], parse_expiry(words[2]))
    raise ValueError(f"{FIRST_WORD} is followed by two or four words")


def _parse_sections(text: str, profile: str) -> Credentials:
    sections = configparser.RawConfigParser(default_section="", strict=False)
    try:
        sections.read_string(text)
        section = sections[profile]
    except (configparser.Error, KeyError):
        raise ValueError(f"there is no readable section [{profile}]") from None
    key, secret = section.get("aws_access_key_id"), section.get("aws_secret_access_key")
    if not key or not secret:
        raise ValueError(f"section [{profile}] lacks a key or a secret")
    expiry = section.get("aws_expiration") or section.get("x_security_token_expires")
    return Credentials(key, secret, section.get("aws_session_token"), parse_expiry(expiry) if expiry else None)


def _text(value: Any) -> str:
    if not isinstance(value, str) or not value:
        raise ValueError("credentials need AccessKeyId and SecretAccessKey, both texts")
    return value
