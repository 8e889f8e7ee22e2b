"""The check of a data directory that no endpoint uses: the whole index, and each fragment against its checksum."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from kvspic.local.checksums import trouble_of
from kvspic.local.data_dir import DataDir
from kvspic.local.errors import StoreError
from kvspic.local.store_index import Index

__all__ = ["CheckReport", "check"]


@dataclass
class CheckReport:
    """What was looked at, and how much of it is damaged."""

    files: int = 0
    fragments: int = 0
    damaged: int = 0
    without_checksum: int = 0
    index_problems: int = 0


def check(path: Path, say: Callable[[str], None]) -> CheckReport:
    """Read everything below ``path``; ``say`` gets one line for each thing that is damaged.

    Raises:
        StoreError: there is no index, or it cannot be opened.
        DataDirLockedError: an endpoint uses the directory.
    """
    if not (path / "index.sqlite3").exists():
        raise StoreError(f"{path} holds no index, so it is no data directory: name the one that was given to serve.")
    report = CheckReport()
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(contextlib.closing(DataDir(path)))
        index = stack.enter_context(contextlib.closing(Index(folder.index, is_disk_durable=False, is_writer=True)))
        for problem in index.problems():
            report.index_problems += 1
            say(f"{folder.index}: {problem}")
        try:
            _check_fragments(folder, index, report, say)
        except sqlite3.DatabaseError as error:
            report.index_problems += 1
            say(f"{folder.index}: {error}; what it has after that was not looked at")
    return report


def _check_fragments(folder: DataDir, index: Index, report: CheckReport, say: Callable[[str], None]) -> None:
    names = {stream["stream_id"]: stream["name"] for stream in index.streams()}
    for session_id in sorted(index.sessions()):
        path = folder.media_file(session_id)
        report.files += 1
        for row in index.of_session(session_id):
            report.fragments += 1
            report.without_checksum += row.checksum is None
            trouble = trouble_of(path, row)
            if trouble is not None:
                report.damaged += 1
                fragment, stream = row.fragment, names.get(row.fragment.stream_id, "a stream that is gone")
                place = f"{fragment.size} bytes at {fragment.offset}"
                say(f"{path}: fragment {fragment.number} of {stream}, {place}: {trouble}")
