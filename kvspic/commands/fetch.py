"""Media of a stream back to a file: the stored fragments by producer time, joined; or as they come.

The service answers with one Matroska document for each fragment; :class:`kvspic.join.Joiner` makes files of that. Parts
are opened when their first frame is there, so a stream without media leaves no file.
"""

from __future__ import annotations

import asyncio
import io
import sys
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from kvspic.commands.exits import CliError, ExitCode
from kvspic.join import Joiner, JoinError, JoinReport, part_path

if TYPE_CHECKING:
    from kvspic.provider.control import ControlPlane

__all__ = ["STANDARD_OUTPUT", "Fetcher", "Progress"]

PAUSE_S = 0.5

STANDARD_OUTPUT = Path("-")

Progress = Callable[[int, int], None]
"""Called with the bytes and fragments that have come."""


class Fetcher:
    """Brings one stream back to ``path`` and the parts after it. ``report`` says what was written, however it ended."""

    def __init__(self, stream: str, path: Path, progress: Progress) -> None:
        self._stream = stream
        self._writer = _Writer(path, progress)
        self.report: JoinReport | None = None

    async def fetch(self, plane: ControlPlane) -> None:
        """Write every stored fragment.

        Raises:
            ServiceError: the service could not be reached, or refused.
            CliError: there is nothing to fetch, or the file cannot be written.
        """
        fragments = await plane.list_fragments(self._stream)
        if not fragments:
            text = f"The stream {self._stream} holds no fragment: put something into it first."
            raise CliError(ExitCode.INCOMPLETE, text)
        try:
            fragments.sort(key=lambda fragment: (fragment.producer_time_hns, int(fragment.number)))
            numbers = [fragment.number for fragment in fragments]
            await self._writer.take(plane.get_media_for_fragment_list(self._stream, numbers))
        finally:
            self.report = self._writer.close()

    async def follow(self, plane: ControlPlane, idle_s: float | None) -> None:
        """Write what is stored and then what comes, until cancelled or nothing new came for ``idle_s`` seconds."""
        writer = self._writer
        selector = {"StartSelectorType": "EARLIEST"}
        last_s = time.monotonic()
        try:
            while idle_s is None or time.monotonic() - last_s < idle_s:
                seen = writer.fragments
                await writer.take(plane.get_media(self._stream, selector))
                if writer.fragments != seen:
                    last_s = time.monotonic()
                    selector = {"StartSelectorType": "FRAGMENT_NUMBER", "AfterFragmentNumber": writer.last_number}
                await asyncio.sleep(PAUSE_S)
        finally:
            self.report = writer.close()


class _Live(io.BytesIO):
    """A file whose reader sees each byte once, as it is appended. What is written into its middle later (sizes, the
    index) is left out: until then a file has a Segment of unknown size, which players can read."""

    def __init__(self, out: BinaryIO) -> None:
        super().__init__()
        self._out = out
        self._at = self._end = 0

    def write(self, data: Any, /) -> int:
        size = memoryview(data).nbytes
        if self._at == self._end:
            self._out.write(data)
            self._out.flush()
            self._end += size
        self._at += size
        return size

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        self._at = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._end}[whence]
        return self._at

    def tell(self) -> int:
        return self._at


def _live_part(number: int) -> BinaryIO:
    if number > 1:
        text = "The codec changes here, and a player cannot follow that on standard output: name a file with -o."
        raise CliError(ExitCode.INCOMPLETE, text)
    return _Live(sys.stdout.buffer)


class _Writer:
    """Joins answers to files and keeps count of them."""

    def __init__(self, path: Path, progress: Progress) -> None:
        self._path = path
        self._progress = progress
        self._joiner = Joiner(self._open_part, app="kvspic")
        self._size = 0

    async def take(self, pieces: AsyncIterator[bytes]) -> None:
        """Take one answer of the service to its end."""
        async for piece in pieces:
            self._feed(piece)
            self._progress(self._size, self.fragments)

    @property
    def fragments(self) -> int:
        """How many have come whole."""
        return self._joiner.fragments

    @property
    def last_number(self) -> str:
        """The newest one's, by which the service is asked for those after it."""
        return self._joiner.last_number

    def close(self) -> JoinReport:
        """Finish the files."""
        return self._joiner.close()

    def _feed(self, piece: bytes) -> None:
        self._size += len(piece)
        try:
            self._joiner.feed(piece)
        except JoinError as error:
            raise CliError(ExitCode.INCOMPLETE, str(error)) from error
        except OSError as error:
            text = f"{self._path} cannot be written further ({error.strerror}): make room, or name another file."
            raise CliError(ExitCode.STORE, text) from error

    def _open_part(self, number: int) -> BinaryIO:
        if self._path == STANDARD_OUTPUT:
            return _live_part(number)
        path = part_path(self._path, number)
        try:
            return path.open("wb")
        except OSError as error:
            text = f"{path} cannot be written ({error.strerror}): name a file in a folder that you may write to."
            raise CliError(ExitCode.USAGE, text) from error
