"""The endpoint's data directory: layout, and the lock that keeps a second process out.

``index.sqlite3`` with its WAL, ``media/<session>.mkv`` for each PutMedia body, ``lock`` held for as long as the store
is open. The operating system drops the lock when the process ends, however it ends.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import IO

from kvspic.local.errors import DataDirLockedError, StoreError

__all__ = ["DataDir"]


def _lock(file: IO[bytes]) -> None:
    """Take the lock or raise OSError at once."""
    if sys.platform == "win32":
        import msvcrt

        msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
    else:
        import fcntl

        fcntl.flock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)


class DataDir:
    """A locked data directory."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.media = path / "media"
        try:
            self.media.mkdir(parents=True, exist_ok=True)
            self._lock_file = open(path / "lock", "ab")  # noqa: SIM115 - held until close
        except OSError as error:
            text = f"The data directory {path} cannot be used ({error.strerror}); name one that you may write to."
            raise StoreError(text) from error
        try:
            _lock(self._lock_file)
        except OSError as error:
            self._lock_file.close()
            text = f"The data directory {path} is in use by another endpoint; stop that one or name another directory."
            raise DataDirLockedError(text) from error

    def media_file(self, session_id: int) -> Path:
        """Return the path of a session's body."""
        return self.media / f"{session_id:08d}.mkv"

    def remove_media(self, session_id: int) -> None:
        """Remove a session's body, if it is there."""
        self.media_file(session_id).unlink(missing_ok=True)

    def sync_media_names(self) -> None:
        """Make the names of new files durable, where the platform can."""
        if sys.platform == "win32":
            return
        handle = os.open(self.media, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)

    def close(self) -> None:
        """Give the lock back."""
        self._lock_file.close()
