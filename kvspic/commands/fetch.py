"""Media of a stream back to a file: the stored fragments in order, joined to one Matroska file; or as they come.

The service answers with one Matroska document for each fragment; :class:`kvspic.join.Joiner` makes files of that. Parts
are opened when their first frame is there, so a stream without media leaves no file.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from kvspic.commands.exits import CliError, ExitCode
from kvspic.join import Joiner, JoinError, JoinReport, part_path
from kvspic.local.mkv_events import ClusterEnd, Tags
from kvspic.local.mkv_reader import MkvReader

if TYPE_CHECKING:
    from kvspic.provider.control import ControlPlane

__all__ = ["Fetcher", "Progress"]

FRAGMENT_NUMBER_TAG = "AWS_KINESISVIDEO_FRAGMENT_NUMBER"
PAUSE_S = 0.5

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


class _Writer:
    """Joins answers to files and keeps count of them."""

    def __init__(self, path: Path, progress: Progress) -> None:
        self._path = path
        self._progress = progress
        self._joiner = Joiner(self._open_part, app="kvspic")
        self._size = 0
        self.fragments = 0
        self.last_number = ""

    async def take(self, pieces: AsyncIterator[bytes]) -> None:
        """Take one answer of the service to its end."""
        reader = MkvReader()  # of its own: where fragments end, and their numbers
        number = ""
        async for piece in pieces:
            self._feed(piece)
            for event in reader.feed(piece):
                if isinstance(event, Tags):
                    numbers = [tag.value for tag in event.tags if tag.name == FRAGMENT_NUMBER_TAG]
                    number = numbers[-1] if numbers else number
                elif isinstance(event, ClusterEnd):
                    self.fragments += 1
                    self.last_number = number
            self._progress(self._size, self.fragments)

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
        path = part_path(self._path, number)
        try:
            return path.open("wb")
        except OSError as error:
            text = f"{path} cannot be written ({error.strerror}): name a file in a folder that you may write to."
            raise CliError(ExitCode.USAGE, text) from error
