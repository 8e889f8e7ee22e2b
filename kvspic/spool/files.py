"""The files of one stream's spool: ``<number>.seg``, ``settled`` and ``lock`` in a folder of its own.

A process that holds a :class:`SpoolDir` is alone: the lock is the operating system's, which drops it when the process
ends, however it ends. What :meth:`SpoolDir.append` wrote survives SIGKILL; what :func:`sync_and_close` covered survives
a power cut.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import sys
from pathlib import Path
from typing import IO, Any

from kvspic import errors
from kvspic.disk import Removals, sync, sync_names
from kvspic.spool.progress import NOTE_SIZE

__all__ = ["SpoolDir", "lock_file", "stream_folder", "sync_and_close"]

PLAIN_MAX, DIGEST_SIZE = 100, 16
DEVICE = re.compile(r"con|prn|aux|nul|com[0-9]|lpt[0-9]")
READ_ONLY = os.O_RDONLY | getattr(os, "O_BINARY", 0)
_NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)


def lock_file(file: IO[bytes]) -> None:
    """Take the lock of an open file, which ends with the process; raise OSError at once where another one has it."""
    if sys.platform == "win32":
        import msvcrt

        msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
    else:
        import fcntl

        fcntl.flock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)


def stream_folder(spool: Path, name: str) -> Path:
    """Return the folder of a stream in a spool.

    It is named like the stream where every file system keeps that name apart from all others; else by a part of it and
    a digest. Not kept apart are names that differ in case, the devices of Windows (CON, nul.h264), a dot at either end,
    and long names. A folder with the stream's plain name, as earlier versions made them, is used where it is.
    """
    with contextlib.suppress(OSError):
        if name in os.listdir(spool):  # a file system that ignores case would say yes to another stream's
            return spool / name
    is_plain = name == name.lower() and len(name) <= PLAIN_MAX and name.strip(".") == name
    if is_plain and not DEVICE.fullmatch(name.partition(".")[0]):
        return spool / name
    digest = hashlib.sha256(name.encode()).hexdigest()[:DIGEST_SIZE]
    return spool / f"~{name.lower()[:PLAIN_MAX].strip('.')}~{digest}"  # no stream's name has a ~


class SpoolDir:
    """A locked folder. One thread at a time; methods raise OSError as the system does."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            path.mkdir(parents=True, exist_ok=True)
            self._removals = Removals()
            self._lock_file = open(path / "lock", "ab")  # noqa: SIM115 - held until close
        except OSError as error:
            text = f"the spool {path} cannot be used ({error.strerror}): name a directory that you may write to"
            raise errors.named("INVALID_ARG", text) from error
        try:
            lock_file(self._lock_file)
        except OSError as error:
            self._lock_file.close()
            text = f"the spool {path} is in use by another stream: close that one, or name another directory"
            raise errors.named("INVALID_ARG", text) from error
        self._head = self._note = -1
        self._reading = (-1, -1)  # number and descriptor
        self._size = 0

    def numbers(self) -> list[int]:
        """The segments that are there, in order."""
        return sorted(int(path.stem) for path in self.path.glob("*.seg") if path.stem.isdigit())

    def size(self, number: int) -> int:
        """Bytes of a segment."""
        return self._file(number).stat().st_size

    def create(self, number: int, head: bytes, *, is_durable: bool) -> None:
        """Begin a segment; :meth:`append` writes to it from now on. A failure leaves none."""
        if is_durable and self._head >= 0:
            sync(self._head)
        made = os.open(self._file(number), _NEW_FILE, 0o600)
        try:
            if os.write(made, head) != len(head):
                raise OSError(28, "No space left on device")
            if is_durable:
                sync_names(self.path)
        except OSError:
            os.close(made)
            self.remove(number)
            raise
        self.close_head()
        self._head, self._size = made, len(head)

    def append(self, head: bytes, payload: Any) -> None:
        """Write a record whole; after a failure the segment is as before."""
        try:
            self._write(head, payload)
        except OSError:
            with contextlib.suppress(OSError):
                os.ftruncate(self._head, self._size)
                os.lseek(self._head, self._size, os.SEEK_SET)
            raise

    def _write(self, head: bytes, payload: Any) -> None:
        if hasattr(os, "writev"):
            done = os.writev(self._head, (head, payload))
        else:
            done = os.write(self._head, head + bytes(payload))
        size = len(head) + (len(payload) if type(payload) is bytes else memoryview(payload).nbytes)
        if done != size:  # a full disk takes a part; asking again says why
            rest = memoryview(head + bytes(payload))[done:]
            while rest:
                rest = rest[os.write(self._head, rest) :]
        self._size += size

    def to_sync(self) -> int:
        """A descriptor for :func:`sync_and_close`, which may then run beside everything else."""
        return os.dup(self._head)

    def read(self, number: int, offset: int, size: int) -> bytes:
        """Up to ``size`` bytes of a segment; fewer at its end."""
        if self._reading[0] != number:
            self._close_reading()
            self._reading = (number, os.open(self._file(number), READ_ONLY))
        descriptor = self._reading[1]
        if hasattr(os, "pread"):
            return os.pread(descriptor, size, offset)
        os.lseek(descriptor, offset, os.SEEK_SET)
        return os.read(descriptor, size)

    def read_apart(self, number: int, offset: int, size: int) -> bytes:
        """The same beside everything else, which may even remove the segment: OSError then."""
        with open(self._file(number), "rb", buffering=0) as file:
            file.seek(offset)
            return file.read(size)

    def truncate(self, number: int, size: int) -> None:
        """Shorten a segment that is not being written."""
        os.truncate(self._file(number), size)

    def remove(self, number: int) -> None:
        """Remove a segment."""
        if self._reading[0] == number:
            self._close_reading()
        self._removals.remove(self._file(number))

    def read_notes(self) -> bytes:
        """Both notes about what is settled."""
        with contextlib.suppress(FileNotFoundError):
            return (self.path / "settled").read_bytes()
        return b""

    def write_note(self, place: int, note: bytes) -> None:
        """Write a note to place 0 or 1."""
        if self._note < 0:
            self._note = os.open(self.path / "settled", os.O_WRONLY | os.O_CREAT | getattr(os, "O_BINARY", 0), 0o600)
        os.lseek(self._note, place * NOTE_SIZE, os.SEEK_SET)
        os.write(self._note, note)

    def remove_notes(self) -> None:
        """Nothing is left that they would be about."""
        self._close_note()
        (self.path / "settled").unlink(missing_ok=True)

    def close_head(self) -> None:
        """End the segment that is being written."""
        self._head = _closed(self._head)

    def close(self) -> None:
        """Close all files and give the lock back. Twice is harmless."""
        self.close_head()
        self._close_reading()
        self._close_note()
        self._lock_file.close()

    def _file(self, number: int) -> Path:
        return self.path / f"{number:08d}.seg"

    def _close_reading(self) -> None:
        self._reading = (-1, _closed(self._reading[1]))

    def _close_note(self) -> None:
        self._note = _closed(self._note)


def sync_and_close(descriptor: int) -> None:
    """Let a segment's bytes reach the disk."""
    try:
        sync(descriptor)
    finally:
        os.close(descriptor)


def _closed(descriptor: int) -> int:
    if descriptor >= 0:
        os.close(descriptor)
    return -1
