"""The endpoint's data directory: layout, and the lock that keeps a second process out.

``index.sqlite3`` with its WAL, ``media/<session>.mkv`` for each PutMedia body, ``lock`` held for as long as the store
is open, ``endpoint`` with the URL of the endpoint that holds it, ``set-aside/`` for bodies of another index. The
operating system drops the lock when the process ends, however it ends.
"""

from __future__ import annotations

import contextlib
import os
import sys
from pathlib import Path
from typing import IO

from kvspic.disk import Removals, sync_names
from kvspic.local.errors import DataDirLockedError, StoreError

__all__ = ["DataDir"]

LASTS = "until it is stopped"


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
        self.index = path / "index.sqlite3"
        self._removals = Removals()
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
            url, lasts = self._holder()
            where = f" at {url}" if url else ""
            text = (
                f"The data directory {path} is in use by another endpoint{where}; "
                "use that one, stop it, or name another directory."
            )
            raise DataDirLockedError(text, url, lasts) from error

    def name_endpoint(self, url: str, *, lasts: bool) -> None:
        """Let other programs know who serves the directory, and whether that goes on until it is stopped by hand."""
        made = self.path / "endpoint.new"
        made.write_text(f"{url}\n{LASTS if lasts else ''}\n", encoding="utf-8")
        made.replace(self.path / "endpoint")

    def _holder(self) -> tuple[str, bool]:
        try:
            url, lasts, *_ = [*(self.path / "endpoint").read_text(encoding="utf-8").split("\n"), "", ""]
        except (OSError, UnicodeDecodeError):
            return "", False
        return url, lasts == LASTS

    def media_file(self, session_id: int) -> Path:
        """Return the path of a session's body."""
        return self.media / f"{session_id:08d}.mkv"

    def media_sizes(self) -> dict[int, int]:
        """Return the size in bytes of each body that is there, by its session."""
        with os.scandir(self.media) as found:
            bodies = [(entry.name[:-4], entry) for entry in found if entry.name.endswith(".mkv")]
        return {int(name): entry.stat().st_size for name, entry in bodies if name.isascii() and name.isdigit()}

    def remove_media(self, session_id: int) -> None:
        """Remove a session's body, if it is there. One that is still read may outlive the call on Windows: it goes with
        a later one, or when the directory is opened again."""
        self._removals.remove(self.media_file(session_id))

    def set_aside(self, session_id: int) -> Path:
        """Move a session's body to ``set-aside/`` and return where it is; nothing there is ever overwritten."""
        folder, path = self.path / "set-aside", self.media_file(session_id)
        folder.mkdir(exist_ok=True)
        moved, count = folder / path.name, 1
        while moved.exists():
            count += 1
            moved = folder / f"{path.stem}-{count}.mkv"
        return path.rename(moved)

    def sync_media_names(self) -> None:
        """Make the names of new files durable, where the platform can."""
        sync_names(self.media)

    def close(self) -> None:
        """Give the lock back."""
        with contextlib.suppress(OSError):
            (self.path / "endpoint").unlink(missing_ok=True)
        self._lock_file.close()
