"""Users and passwords of cameras, in a file of the worker's machine: a job names one, and the server never has it.

The file is YAML: ``door: {user: admin, password: "..."}``, or short ``door: "admin:..."``. It is read at each look-up,
so that a changed password needs no restart. No text of an error here has a password in it.
"""

from __future__ import annotations

import logging
import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

__all__ = ["SecretError", "Secrets"]

logger = logging.getLogger("kvspic.fleet")

SIZE_MAX = 1 << 20


class SecretError(Exception):
    """A secret is not there, or the file cannot be used; the text says which and what to do."""


@dataclass
class Secrets:
    """The secrets of one worker. ``path`` None: there are none."""

    path: Path | None = None
    _is_warned: bool = field(default=False, init=False, repr=False)

    def url_of(self, source: Mapping[str, object]) -> str:
        """Return a source's URL with the user and password that its ``secret`` names.

        Raises:
            SecretError: there is no such secret, or the file cannot be read.
        """
        url, name = str(source.get("url") or ""), source.get("secret")
        if not name:
            return url
        user, password = self._look_up(str(name))
        scheme, mark, rest = url.partition("://")
        if not mark:
            raise SecretError(f"The secret {name} is for a URL; the source has none: leave the secret out.")
        authority, slash, path = rest.partition("/")
        host = authority.rpartition("@")[2]
        return f"{scheme}://{quote(user, safe='')}:{quote(password, safe='')}@{host}{slash}{path}"

    def _look_up(self, name: str) -> tuple[str, str]:
        if self.path is None:
            raise SecretError(
                f"The job needs the secret {name}, and this worker has no file of secrets: give --secrets."
            )
        found = self._read(self.path).get(name)
        if found is None:
            raise SecretError(f"{self.path} has no secret {name}: add it, or correct the job.")
        if isinstance(found, str) and ":" in found:
            user, _, password = found.partition(":")
            return user, password
        if isinstance(found, Mapping) and set(found) == {"user", "password"}:
            return str(found["user"]), str(found["password"])
        raise SecretError(f"The secret {name} in {self.path} is neither user:password nor has user and password.")

    def _read(self, path: Path) -> Mapping[object, object]:
        import yaml

        try:
            if os.name == "posix" and path.stat().st_mode & (stat.S_IRGRP | stat.S_IROTH) and not self._is_warned:
                self._is_warned = True
                logger.warning("%s can be read by other users: run chmod 600 on it.", path)
            text = path.read_bytes()[:SIZE_MAX].decode()
            found = yaml.safe_load(text)
        except OSError as error:
            raise SecretError(f"The secrets {path} cannot be read ({error.strerror}): check --secrets.") from None
        except (yaml.YAMLError, UnicodeError, RecursionError):  # the parser's own text would quote the file
            raise SecretError(f"The secrets {path} are no YAML: correct the file.") from None
        if not isinstance(found, Mapping):
            raise SecretError(f"The secrets {path} are no mapping of names: write NAME: USER:PASSWORD.")
        return found
