"""Who may call the server, and for what: tokens with roles, and the site check of a server without tokens. Pure.

A tokens file has one token a line: ``TOKEN ROLE [LABEL,LABEL...] [name=PREFIX]``; # begins a comment. Roles: ``admin``
may do everything, ``viewer`` reads, ``handler`` polls and reports. The labels of a handler token bound the jobs that
it is given: it may only name labels of the list; the prefix bounds the names that its handlers may have.

Without tokens the server takes every call, so it listens on loopback only, and pages of other sites must not reach
it: one that a browser shows (Origin), or one with a name that was made to lead here (Host, "DNS rebinding").
"""

from __future__ import annotations

import enum
import hashlib
import hmac
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from kvspic.loopback import is_loopback

__all__ = ["NO_TOKENS", "AuthError", "Caller", "Refused", "Role", "Tokens", "check_site", "read_tokens"]

_TOKEN = re.compile(r"[!-~]{16,512}")
_LABEL = re.compile(r"[A-Za-z0-9_-]{1,64}")
_PREFIX = re.compile(r"[A-Za-z0-9_.-]{1,128}")


class AuthError(Exception):
    """A tokens file cannot be used; the text names the line and the remedy, and never a token."""


class Refused(Exception):
    """A caller may not do what it asks for: ``status`` 401 without a valid token, 403 with one of another role."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


class Role(enum.Enum):
    """What a token is for."""

    ADMIN = "admin"
    VIEWER = "viewer"
    HANDLER = "handler"


@dataclass(frozen=True)
class Caller:
    """Who calls.

    Attributes:
        role: what the caller may do.
        labels: what the labels of a job must be among for its handlers to get it; None bounds nothing.
        prefix: what the names of its handlers begin with.
    """

    role: Role
    labels: frozenset[str] | None = None
    prefix: str = ""

    def check_handler(self, name: str) -> None:
        """Refuse a handler's name that is not of this token.

        Raises:
            Refused: 403.
        """
        if not name.startswith(self.prefix):
            text = f"This token is for handlers with names that begin with {self.prefix!r}, not for {name!r}."
            raise Refused(403, text)


_ANYBODY = Caller(Role.ADMIN)
_MAY = {
    Role.ADMIN: frozenset({"read", "write", "handle"}),
    Role.VIEWER: frozenset({"read"}),
    Role.HANDLER: frozenset({"handle"}),
}


@dataclass(frozen=True)
class Tokens:
    """The tokens of a server, kept as digests: a dump of the process shows none. Without tokens everybody is admin."""

    by_digest: Mapping[bytes, Caller] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.by_digest)

    def caller(self, authorization: str | None, need: str) -> Caller:
        """Return who sent an ``Authorization`` header.

        Args:
            need: ``read``, ``write`` or ``handle``.

        Raises:
            Refused: 401 without a known token, 403 with one of a role that may not.
        """
        if not self.by_digest:
            return _ANYBODY
        scheme, _, token = (authorization or "").partition(" ")
        if scheme.lower() != "bearer" or not token:
            raise Refused(401, "A token is needed: send it as 'Authorization: Bearer TOKEN' (kvspic: --token-file).")
        digest, found = _digest(token.strip()), None
        for known, caller in self.by_digest.items():
            if hmac.compare_digest(known, digest):
                found = caller
        if found is None:
            raise Refused(401, "This token is not known here: ask who runs the server for one.")
        if need not in _MAY[found.role]:
            raise Refused(403, f"A token of the role {found.role.value!r} may not do this; it needs another role.")
        return found


NO_TOKENS = Tokens()


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()


def read_tokens(text: str) -> Tokens:
    """Read a tokens file.

    Raises:
        AuthError: a line that is wrong, by its number; also a file without any token.
    """
    found: dict[bytes, Caller] = {}
    for number, line in enumerate(text.splitlines(), 1):
        words = line.partition("#")[0].split()
        if not words:
            continue
        try:
            digest, caller = _entry(words)
        except ValueError as error:
            raise AuthError(f"Line {number}: {error}") from None
        if digest in found:
            raise AuthError(f"Line {number}: this token stands in an earlier line already; remove one of the two.")
        found[digest] = caller
    if not found:
        raise AuthError("The file has no token; write at least one line: TOKEN admin")
    return Tokens(found)


def _entry(words: list[str]) -> tuple[bytes, Caller]:
    if not _TOKEN.fullmatch(words[0]):
        raise ValueError("a token has 16 to 512 characters without spaces; make one with `openssl rand -hex 24`.")
    try:
        role = Role(words[1] if len(words) > 1 else "")
    except ValueError:
        raise ValueError("after the token comes its role: admin, viewer or handler.") from None
    labels: set[str] | None = None
    prefix = ""
    for word in words[2:]:
        if role is not Role.HANDLER:
            raise ValueError("labels and name= are for handler tokens only.")
        if word.startswith("name="):
            prefix = word.removeprefix("name=")
            if not _PREFIX.fullmatch(prefix):
                raise ValueError("name= takes letters, digits, '_', '.' and '-'.")
            continue
        labels = (labels or set()) | set(word.split(","))
    if labels is not None and not all(map(_LABEL.fullmatch, labels)):
        raise ValueError("labels are letters, digits, '_' and '-', with commas between them.")
    return _digest(words[0]), Caller(role, None if labels is None else frozenset(labels), prefix)


def check_site(host: str, origin: str | None, scheme: str) -> None:
    """Refuse what a page of another site has a browser ask a server that has no tokens.

    Args:
        host: the request's Host header, with its port.
        origin: its Origin header.
        scheme: http or https, as the server speaks it.

    Raises:
        Refused: 403.
    """
    try:
        name = urlsplit(f"//{host}").hostname or ""
    except ValueError:  # such as [::1
        name = "unreadable"
    if name and not is_loopback(name):
        raise Refused(403, f"The Host {host[:200]!r} is not this server's: it has no tokens and serves loopback only.")
    if origin is not None and origin != f"{scheme}://{host}":
        raise Refused(403, f"Pages of {origin[:200]!r} may not call this server.")
