"""The SQLite index of the fragment store: which stream has which fragment in which file, at which offset.

One object is one connection, used by one thread at a time (its owner sees to that). ``seq`` grows in the order in which
fragments became durable; readers follow it, so a fragment that finishes late is never passed over.
"""

from __future__ import annotations

import contextlib
import json
import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kvspic.local.errors import StoreError
from kvspic.local.records import FragmentRecord, HeaderRecord
from kvspic.units import HNS_PER_S

__all__ = ["FragmentRow", "Index", "damaged_index_text"]

_SCHEMA_VERSION = 2
_LONGEST_HNS = 60 * HNS_PER_S  # no fragment is longer: what began before cannot contain a later time
_SCHEMA = """
CREATE TABLE IF NOT EXISTS streams(
    stream_id INTEGER PRIMARY KEY, fragment_count INTEGER NOT NULL, record TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS sessions(
    session_id INTEGER PRIMARY KEY, stream_id INTEGER NOT NULL, is_open INTEGER NOT NULL DEFAULT 1,
    ebml_size INTEGER, segment_offset INTEGER, header_end INTEGER, header_checksum INTEGER, size INTEGER);
CREATE TABLE IF NOT EXISTS fragments(
    seq INTEGER PRIMARY KEY AUTOINCREMENT, stream_id INTEGER NOT NULL, session_id INTEGER NOT NULL,
    number TEXT NOT NULL, timecode INTEGER NOT NULL, producer_hns INTEGER NOT NULL, server_hns INTEGER NOT NULL,
    duration_hns INTEGER NOT NULL, start INTEGER NOT NULL, size INTEGER NOT NULL, tags TEXT NOT NULL,
    checksum INTEGER);
CREATE INDEX IF NOT EXISTS fragments_by_seq ON fragments(stream_id, seq);
CREATE INDEX IF NOT EXISTS fragments_by_number ON fragments(stream_id, number);
CREATE INDEX IF NOT EXISTS fragments_by_server_time ON fragments(stream_id, server_hns, seq);
CREATE INDEX IF NOT EXISTS fragments_by_producer_time ON fragments(stream_id, producer_hns, seq);
CREATE INDEX IF NOT EXISTS fragments_by_session ON fragments(session_id);
CREATE TABLE IF NOT EXISTS counters(name TEXT PRIMARY KEY, value INTEGER NOT NULL);
"""
# What format 2 has more than format 1. A row that was written before has NULL there and is taken as it is.
_FROM_1 = (
    "ALTER TABLE sessions ADD COLUMN header_checksum INTEGER",
    "ALTER TABLE sessions ADD COLUMN size INTEGER",
    "ALTER TABLE fragments ADD COLUMN checksum INTEGER",
)
_PROBLEMS_MAX = 20
_COLUMNS = (
    "f.seq, f.session_id, s.ebml_size, s.segment_offset, s.header_end, s.header_checksum, f.checksum, "
    "f.stream_id, f.number, f.timecode, "
    "f.producer_hns, f.server_hns, f.duration_hns, f.start, f.size, f.tags"
)
# The plus keeps SQLite from walking by server time where another order is asked for.
_FROM = "FROM fragments f JOIN sessions s ON s.session_id = f.session_id WHERE f.stream_id = ? AND +f.server_hns >= ?"


@dataclass(frozen=True)
class FragmentRow:
    """A fragment with the file that holds it, and the CRC-32 of its header and of its tags and Cluster when they were
    stored; None of what an earlier format of the index did not keep."""

    seq: int
    session_id: int
    header: HeaderRecord
    fragment: FragmentRecord
    header_checksum: int | None = None
    checksum: int | None = None


def _row(values: Sequence[Any]) -> FragmentRow:
    *members, tags_text = values[7:]
    try:
        tags = tuple((offset, size) for offset, size in json.loads(tags_text))
    except (ValueError, TypeError) as error:
        raise sqlite3.DatabaseError("the row of a fragment cannot be read") from error
    fragment = FragmentRecord(*[*members, tags])
    return FragmentRow(values[0], values[1], HeaderRecord(*values[2:5]), fragment, values[5], values[6])


def _columns(db: sqlite3.Connection) -> dict[str, set[str]]:
    """The columns of each table."""
    names = [row[0] for row in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
    return {name: {row[0] for row in db.execute("SELECT name FROM pragma_table_info(?)", (name,))} for name in names}


def _expected_columns() -> dict[str, set[str]]:
    with contextlib.closing(sqlite3.connect(":memory:")) as db:
        db.executescript(_SCHEMA)
        return _columns(db)


def damaged_index_text(path: Path, error: Exception) -> str:
    """Say that the index cannot be used, and what helps."""
    return (
        f"The index {path} cannot be opened ({error}). Put back a copy of it, or name another data directory; each "
        f"file in {path.parent / 'media'} is a Matroska file that can be saved without the index."
    )


class Index:
    """One connection to the index."""

    def __init__(self, path: Path, *, is_disk_durable: bool, is_writer: bool) -> None:
        try:
            with contextlib.ExitStack() as undo:
                self._db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
                undo.callback(self._db.close)
                self._db.execute("PRAGMA journal_mode=WAL")
                self._db.execute(f"PRAGMA synchronous={'FULL' if is_disk_durable else 'NORMAL'}")
                self._db.execute(f"PRAGMA fullfsync={int(is_disk_durable)}")  # macOS: past the drive's own cache
                if is_writer:
                    self._create()
                undo.pop_all()
        except sqlite3.DatabaseError as error:
            raise StoreError(damaged_index_text(path, error)) from error

    def _create(self) -> None:
        version = self._db.execute("PRAGMA user_version").fetchone()[0]
        if version not in (0, 1, _SCHEMA_VERSION):
            raise sqlite3.DatabaseError(f"it has the format {version}, this program knows {_SCHEMA_VERSION}")
        if version == 1:
            for change in _FROM_1:
                self._db.execute(change)
        found = _columns(self._db)
        if version == 0 and found:
            raise sqlite3.DatabaseError("it is the database of another program")
        for table, columns in _expected_columns().items() if version else ():
            if missing := columns - found.get(table, set()):
                raise sqlite3.DatabaseError(f"its table {table} lacks {', '.join(sorted(missing))}")
        self._db.executescript(_SCHEMA)
        self._db.execute(f"PRAGMA user_version={_SCHEMA_VERSION}")

    def problems(self) -> list[str]:
        """Read the whole index and return what SQLite finds wrong in it, at most 20 lines."""
        try:
            lines = [row[0] for row in self._db.execute(f"PRAGMA integrity_check({_PROBLEMS_MAX})")]
        except sqlite3.DatabaseError as error:
            return [str(error)]
        return [] if lines == ["ok"] else lines

    def close(self) -> None:
        """Close the connection."""
        self._db.close()

    def begin(self) -> None:
        """Start a transaction."""
        self._db.execute("BEGIN IMMEDIATE")

    def commit(self) -> None:
        """End it; after this the rows survive the process."""
        self._db.execute("COMMIT")

    def rollback(self) -> None:
        """Give it up, if one is open."""
        if self._db.in_transaction:
            self._db.execute("ROLLBACK")

    # Streams.

    def save_stream(self, record: dict[str, Any]) -> None:
        """Insert or replace a stream."""
        values = (record["stream_id"], record["fragment_count"], json.dumps(record))
        self._db.execute("INSERT OR REPLACE INTO streams VALUES(?,?,?)", values)
        self._raise_counter("stream_id", record["stream_id"])

    def delete_stream(self, stream_id: int) -> None:
        """Forget a stream and its fragments; its files go with :meth:`empty_sessions`."""
        self._db.execute("DELETE FROM fragments WHERE stream_id = ?", (stream_id,))
        self._db.execute("DELETE FROM streams WHERE stream_id = ?", (stream_id,))

    def streams(self) -> list[dict[str, Any]]:
        """Return all streams as they were saved, with the count of fragment numbers brought up to date."""
        rows = self._db.execute("SELECT fragment_count, record FROM streams ORDER BY stream_id").fetchall()
        try:
            return [{**json.loads(record), "fragment_count": count} for count, record in rows]
        except (ValueError, TypeError) as error:
            raise sqlite3.DatabaseError("the record of a stream cannot be read") from error

    def counter(self, name: str) -> int:
        """Return the highest id ever given out."""
        row = self._db.execute("SELECT value FROM counters WHERE name = ?", (name,)).fetchone()
        return int(row[0]) if row else 0

    def _raise_counter(self, name: str, value: int) -> None:
        sql = "INSERT INTO counters VALUES(?,?) ON CONFLICT(name) DO UPDATE SET value = max(value, excluded.value)"
        self._db.execute(sql, (name, value))

    # Sessions: one file each.

    def add_session(self, session_id: int, stream_id: int) -> None:
        """Note a session before its file exists."""
        self._db.execute("INSERT INTO sessions(session_id, stream_id) VALUES(?,?)", (session_id, stream_id))
        self._raise_counter("session_id", session_id)

    def set_header(self, session_id: int, header: HeaderRecord, checksum: int) -> None:
        """Note where the header is, and its checksum."""
        values = (header.ebml_size, header.segment_offset, header.end_offset, checksum, session_id)
        names = "ebml_size = ?, segment_offset = ?, header_end = ?, header_checksum = ?"
        self._db.execute(f"UPDATE sessions SET {names} WHERE session_id = ?", values)

    def end_session(self, session_id: int) -> int:
        """Mark it closed and return where its last fragment ends."""
        row = self._db.execute("SELECT max(start + size) FROM fragments WHERE session_id = ?", (session_id,)).fetchone()
        size = int(row[0] or 0)
        self._db.execute("UPDATE sessions SET is_open = 0, size = ? WHERE session_id = ?", (size, session_id))
        return size

    def sizes(self) -> dict[int, int]:
        """The size that the file of each closed session must have at least; 0 where it is not known."""
        return dict(self._db.execute("SELECT session_id, coalesce(size, 0) FROM sessions WHERE is_open = 0"))

    def open_sessions(self) -> list[int]:
        """Sessions that were not closed: after a start, those that a kill interrupted."""
        return [row[0] for row in self._db.execute("SELECT session_id FROM sessions WHERE is_open = 1")]

    def sessions(self) -> set[int]:
        """All sessions."""
        return {row[0] for row in self._db.execute("SELECT session_id FROM sessions")}

    def empty_sessions(self) -> list[int]:
        """Forget the closed sessions that hold no fragment and return them, so that their files can go."""
        condition = "is_open = 0 AND NOT EXISTS(SELECT 1 FROM fragments f WHERE f.session_id = sessions.session_id)"
        found = [row[0] for row in self._db.execute(f"SELECT session_id FROM sessions WHERE {condition}")]
        self._db.executemany("DELETE FROM sessions WHERE session_id = ?", [(one,) for one in found])
        return found

    # Fragments.

    def add_fragment(self, session_id: int, fragment: FragmentRecord, count: int, checksum: int) -> None:
        """Add a fragment; ``count`` is the stream's counter inside its number. StoreError if the stream is gone."""
        sql = "UPDATE streams SET fragment_count = max(fragment_count, ?) WHERE stream_id = ?"
        if self._db.execute(sql, (count, fragment.stream_id)).rowcount == 0:
            raise StoreError("The stream of this fragment was deleted.")
        values = (
            fragment.stream_id, session_id, fragment.number, fragment.timecode, fragment.producer_hns,
            fragment.server_hns, fragment.duration_hns, fragment.offset, fragment.size, json.dumps(fragment.tags),
            checksum,
        )  # fmt: skip
        names = "stream_id,session_id,number,timecode,producer_hns,server_hns,duration_hns,start,size,tags,checksum"
        self._db.execute(f"INSERT INTO fragments({names}) VALUES(?,?,?,?,?,?,?,?,?,?,?)", values)

    def drop_fragments_past(self, session_id: int, size: int) -> int:
        """Drop what the index says of bytes that the file does not have; return how many fragments that were."""
        sql = "DELETE FROM fragments WHERE session_id = ? AND start + size > ?"
        return self._db.execute(sql, (session_id, size)).rowcount

    def expire(self, stream_id: int, oldest_hns: int) -> None:
        """Drop the stream's fragments that came before ``oldest_hns``."""
        self._db.execute("DELETE FROM fragments WHERE stream_id = ? AND server_hns < ?", (stream_id, oldest_hns))

    def of_session(self, session_id: int) -> list[FragmentRow]:
        """Return the fragments in a session's file."""
        tables = "fragments f JOIN sessions s ON s.session_id = f.session_id"
        sql = f"SELECT {_COLUMNS} FROM {tables} WHERE f.session_id = ? ORDER BY f.seq"
        return [_row(values) for values in self._db.execute(sql, (session_id,))]

    def after(self, stream_id: int, oldest_hns: int, seq: int, limit: int) -> list[FragmentRow]:
        """Return the next fragments after ``seq``."""
        sql = f"SELECT {_COLUMNS} {_FROM} AND f.seq > ? ORDER BY f.seq LIMIT ?"
        return [_row(values) for values in self._db.execute(sql, (stream_id, oldest_hns, seq, limit))]

    def newest(self, stream_id: int, oldest_hns: int, first: int, limit: int) -> list[FragmentRow]:
        """Return the newest fragments, at most ``limit``, none before the place ``first``; oldest first."""
        sql = f"SELECT {_COLUMNS} {_FROM} AND f.seq >= ? ORDER BY f.seq DESC LIMIT ?"
        return [_row(values) for values in self._db.execute(sql, (stream_id, oldest_hns, first, limit))][::-1]

    def numbered(self, stream_id: int, oldest_hns: int, numbers: Iterable[str]) -> dict[str, FragmentRow]:
        """Return those of ``numbers`` that exist."""
        sql = f"SELECT {_COLUMNS} {_FROM} AND f.number = ?"
        found: dict[str, FragmentRow] = {}
        for number in numbers:
            for values in self._db.execute(sql, (stream_id, oldest_hns, number)):
                found[number] = _row(values)
        return found

    def in_range(
        self,
        query: tuple[int, int, int, int, int],
        after: tuple[int, int] = (-1, 0),
        *,
        by_producer: bool,
        limit: int,
    ) -> list[FragmentRow]:
        """Return fragments in the order of their start times; ``query`` is stream, oldest, first and last tick, and
        the seq that all are above; ``after`` the time and the seq of the last one that the caller has.
        """
        column = "f.producer_hns" if by_producer else "f.server_hns"
        stream_id, oldest_hns, first_hns, last_hns, above = query
        begin = max((first_hns, 0), after)  # one bound for the index to start at
        sql = (
            f"SELECT {_COLUMNS} {_FROM} AND ({column}, f.seq) > (?, ?) AND {column} <= ? AND +f.seq > ? "
            f"ORDER BY {column}, f.seq LIMIT ?"
        )
        values = (stream_id, oldest_hns, *begin, last_hns, above, limit)
        return [_row(found) for found in self._db.execute(sql, values)]

    def seq_before_newest(self, stream_id: int) -> int:
        """Return the place just before the newest fragment."""
        sql = "SELECT max(seq) FROM fragments WHERE stream_id = ?"
        return int(self._db.execute(sql, (stream_id,)).fetchone()[0] or 1) - 1

    def seq_before_number(self, stream_id: int, number: str) -> int:
        """Return the place just after the fragment ``number``, or where it would be."""
        number = number.lstrip("0") or "0"
        row = self._db.execute(
            "SELECT seq FROM fragments WHERE stream_id = ? AND number = ?", (stream_id, number)
        ).fetchone()
        if row is not None:
            return int(row[0])
        sql = "SELECT min(seq) FROM fragments WHERE stream_id = ? AND (length(number), number) > (?, ?)"
        found = self._db.execute(sql, (stream_id, len(number), number)).fetchone()[0]
        return self._last_seq() if found is None else int(found) - 1

    def seq_before_time(self, stream_id: int, time_hns: int, *, by_producer: bool) -> int:
        """Return the place just before the fragment that contains the time, else before the next one."""
        column = "producer_hns" if by_producer else "server_hns"
        sql = (
            f"SELECT seq FROM fragments WHERE stream_id = ? AND {column} > ? "
            f"AND {column} + max(duration_hns, 1) > ? ORDER BY {column}, seq LIMIT 1"
        )
        found = self._db.execute(sql, (stream_id, time_hns - _LONGEST_HNS, time_hns)).fetchone()
        return self._last_seq() if found is None else int(found[0]) - 1

    def _last_seq(self) -> int:
        return int(self._db.execute("SELECT max(seq) FROM fragments").fetchone()[0] or 0)
