"""Who a worker is: its clock, its machine, its incarnation, and the lock on its name."""

from __future__ import annotations

import hashlib
import os
import re
import secrets
import socket
import sys
import tempfile
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import IO

from kvspic.spool.files import lock_file

__all__ = [
    "NameLock",
    "NameTakenError",
    "default_name",
    "host_id",
    "lease_clock",
    "new_incarnation",
    "plain_name",
    "state_folder",
]

BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


class NameTakenError(Exception):
    """Another worker with this name runs on this machine."""


def lease_clock() -> Callable[[], float]:
    """Return the clock that leases are counted on: seconds that go on while the machine sleeps, where the system has
    such a clock, because the server's lease goes on too."""
    name = "CLOCK_BOOTTIME" if hasattr(time, "CLOCK_BOOTTIME") else "CLOCK_MONOTONIC"
    number = getattr(time, name, None)
    if number is None or not hasattr(time, "clock_gettime"):
        return time.monotonic
    return lambda: time.clock_gettime(number)


def host_id() -> str:
    """Name this machine apart from each other one, two that were started from one disk image included: by the id of its
    boot where there is one, else by its network address."""
    try:
        machine = BOOT_ID.read_text(encoding="ascii").strip()
    except (OSError, UnicodeError):
        machine = f"{uuid.getnode():x}"
    return hashlib.sha256(f"{socket.gethostname()} {machine}".encode()).hexdigest()[:32]


def new_incarnation() -> str:
    """Name this process, apart from each earlier one with the same name."""
    return secrets.token_hex(16)


def plain_name(text: str) -> str:
    """Make a name of a handler of a text: letters that it may not have become ``-``."""
    return re.sub(r"[^A-Za-z0-9_.-]", "-", text)[:100] or "worker"


def default_name() -> str:
    """The host's name."""
    return plain_name(socket.gethostname().partition(".")[0])


def state_folder() -> Path:
    """Where a worker keeps what has to survive it, when it is given no other folder."""
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or tempfile.gettempdir()) / "kvspic" / "fleet"
    base = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(base) / "kvspic" / "fleet"


class NameLock:
    """Holds a worker's name on this machine; the system drops it when the process ends, however it ends.

    Raises:
        NameTakenError: another process holds it. OSError: the folder cannot be written.
    """

    def __init__(self, folder: Path, name: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{name}.lock"
        self._file: IO[bytes] = open(path, "ab")  # noqa: SIM115 - held until close
        try:
            lock_file(self._file)
        except OSError:
            self._file.close()
            text = f"A worker named {name} runs on this machine already: stop it, or give this one another --name."
            raise NameTakenError(text) from None

    def close(self) -> None:
        """Give the name back."""
        self._file.close()
