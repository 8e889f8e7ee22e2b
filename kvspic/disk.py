"""Files on a disk where the systems differ: writes of many pieces, what survives a power cut, removal of open files."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import IO

__all__ = ["Removals", "sync", "sync_names", "write_all"]

_PIECES_MAX = 64  # of one write; systems take 1,024

STILL_OPEN = {5, 32}  # Windows: access denied (to be deleted once it is closed), sharing violation


def sync(descriptor: int) -> None:
    """Return once the bytes of an open file are on the disk. macOS's fsync leaves them in the drive's own cache, so
    F_FULLFSYNC is asked for there; file systems without it (of a network, mostly) get fsync.

    Raises:
        OSError: the system could not write them.
    """
    if sys.platform != "win32":
        import fcntl

        full = getattr(fcntl, "F_FULLFSYNC", None)
        if full is not None:
            with contextlib.suppress(OSError):
                fcntl.fcntl(descriptor, full)
                return
    getattr(os, "fdatasync", os.fsync)(descriptor)


def write_all(file: IO[bytes], pieces: Sequence[bytes]) -> None:
    """Write pieces one after the other to a file without a buffer; in one call, where the system has one for that.

    Raises:
        OSError: the system could not write all of them.
    """
    written = 0
    if hasattr(os, "writev") and 1 < len(pieces) <= _PIECES_MAX:  # not on Windows, nor on PyPy
        written = os.writev(file.fileno(), pieces)
        if written == sum(map(len, pieces)):
            return
    left = memoryview(b"".join(pieces))[written:]
    while left:
        left = left[file.write(left) :]


def sync_names(folder: Path) -> None:
    """Return once the names of a folder's files are on the disk, where the platform can: Windows cannot.

    Raises:
        OSError: the system could not write them.
    """
    if sys.platform == "win32":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        sync(handle)
    finally:
        os.close(handle)


class Removals:
    """Removes files, also those that are still read. Windows refuses that: such a file is removed with a later one."""

    def __init__(self) -> None:
        self._left: set[Path] = set()

    def remove(self, path: Path) -> None:
        """Remove a file, if it is there, and those that were open before."""
        self._left.add(path)
        for one in tuple(self._left):
            try:
                one.unlink(missing_ok=True)
            except PermissionError as error:
                if getattr(error, "winerror", None) in STILL_OPEN:
                    continue
                self._left.discard(one)
                raise
            self._left.discard(one)
