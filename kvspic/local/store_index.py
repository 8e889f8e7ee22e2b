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

__all__ = ["FragmentRow", "Index"]

_SCHEMA_VERSION = 1
_SCHEMA = """
CREATE TABLE IF NOT EXISTS streams(
    stream_id INTEGER PRIMARY KEY, fragment_count INTEGER NOT NULL, record TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS sessions(
    session_id INTEGER PRIMARY KEY, stream_id INTEGER NOT NULL, is_open INTEGER NOT NULL DEFAULT 1,
    ebml_size INTEGER, segment_offset INTEGER, header_end INTEGER);
CREATE TABLE IF NOT EXISTS fragments(
    seq INTEGER PRIMARY KEY AUTOINCREMENT, stream_id INTEGER NOT NULL, session_id INTEGER NOT NULL,
    number TEXT NOT NULL, timecode INTEGER NOT NULL, producer_hns INTEGER NOT NULL, server_hns INTEGER NOT NULL,
    duration_hns INTEGER NOT NULL, start INTEGER NOT NULL, size INTEGER NOT NULL, tags TEXT NOT NULL);
CREATE INDEX IF NOT EXISTS fragments_by_seq ON fragments(stream_id, seq);
CREATE INDEX IF NOT EXISTS fragments_by_number ON fragments(stream_id, number);
CREATE INDEX IF NOT EXISTS fragments_by_session ON fragments(session_id);
CREATE TABLE IF NOT EXISTS counters(name TEXT PRIMARY KEY, value INTEGER NOT NULL);
"""
_COLUMNS = (
    "f.seq, f.session_id, s.ebml_size, s.segment_offset, s.header_end, f.stream_id, f.number, f.timecode, "
    "f.producer_hns, f.server_hns, f.duration_hns, f.start, f.size, f.tags"
)
_FROM = "FROM fragments f JOIN sessions s ON s.session_id = f.session_id WHERE f.stream_id = ? AND f.server_hns >= ?"


@dataclass(frozen=True)
class FragmentRow:
    """A fragment with the file that holds it."""

    seq: int
    session_id: int
    header: HeaderRecord
    fragment: FragmentRecord


def _row(values: Sequence[Any]) -> FragmentRow:
    *members, tags_text = values[5:]
    tags = tuple((offset, size) for offset, size in json.loads(tags_text))
    fragment = FragmentRecord(*[*members, tags])
    return FragmentRow(values[0], values[1], HeaderRecord(*values[2:5]), fragment)


class Index:
    """One connection to the index."""

    def __init__(self, path: Path, *, is_disk_durable: bool, is_writer: bool) -> None:
        try:
            with contextlib.ExitStack() as undo:
                self._db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
                undo.callback(self._db.close)
                self._db.execute("PRAGMA journal_mode=WAL")
                self._db.execute(f"PRAGMA synchronous={'FULL' if is_disk_durable else 'NORMAL'}")
                if is_writer:
                    self._create()
                undo.pop_all()
        except sqlite3.DatabaseError as error:
            text = f"The index {path} cannot be opened ({error}); name another data directory or remove this one."
            raise StoreError(text) from error

    def _create(self) -> None:
        version = self._db.execute("PRAGMA user_version").fetchone()[0]
        if version not in (0, _SCHEMA_VERSION):
            raise sqlite3.DatabaseError(f"it has the format {version}, this program knows {_SCHEMA_VERSION}")
        self._db.executescript(_SCHEMA)
        self._db.execute(f"PRAGMA user_version={_SCHEMA_VERSION}")

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
        return [{**json.loads(record), "fragment_count": count} for count, record in rows]

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

    def set_header(self, session_id: int, header: HeaderRecord) -> None:
        """Note where the header is."""
        values = (header.ebml_size, header.segment_offset, header.end_offset, session_id)
        sql = "UPDATE sessions SET ebml_size = ?, segment_offset = ?, header_end = ? WHERE session_id = ?"
        self._db.execute(sql, values)

    def end_session(self, session_id: int) -> int:
        """Mark it closed and return where its last fragment ends."""
        self._db.execute("UPDATE sessions SET is_open = 0 WHERE session_id = ?", (session_id,))
        row = self._db.execute("SELECT max(start + size) FROM fragments WHERE session_id = ?", (session_id,)).fetchone()
        return int(row[0] or 0)

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

    def add_fragment(self, session_id: int, fragment: FragmentRecord, count: int) -> None:
        """Add a fragment; ``count`` is the stream's counter inside its number. StoreError if the stream is gone."""
        sql = "UPDATE streams SET fragment_count = max(fragment_count, ?) WHERE stream_id = ?"
        if self._db.execute(sql, (count, fragment.stream_id)).rowcount == 0:
            raise StoreError("The stream of this fragment was deleted.")
        values = (
            fragment.stream_id, session_id, fragment.number, fragment.timecode, fragment.producer_hns,
            fragment.server_hns, fragment.duration_hns, fragment.offset, fragment.size, json.dumps(fragment.tags),
        )  # fmt: skip
        names = "stream_id,session_id,number,timecode,producer_hns,server_hns,duration_hns,start,size,tags"
        self._db.execute(f"INSERT INTO fragments({names}) VALUES(?,?,?,?,?,?,?,?,?,?)", values)

    def drop_fragments_past(self, session_id: int, size: int) -> int:
        """Drop what the index says of bytes that the file does not have; return how many fragments that were."""
        sql = "DELETE FROM fragments WHERE session_id = ? AND start + size > ?"
        return self._db.execute(sql, (session_id, size)).rowcount

    def expire(self, stream_id: int, oldest_hns: int) -> None:
        """Drop the stream's fragments that came before ``oldest_hns``."""
        self._db.execute("DELETE FROM fragments WHERE stream_id = ? AND server_hns < ?", (stream_id, oldest_hns))

    def after(self, stream_id: int, oldest_hns: int, seq: int, limit: int) -> list[FragmentRow]:
        """Return the next fragments after ``seq``."""
        sql = f"SELECT {_COLUMNS} {_FROM} AND f.seq > ? ORDER BY f.seq LIMIT ?"
        return [_row(values) for values in self._db.execute(sql, (stream_id, oldest_hns, seq, limit))]

    def numbered(self, stream_id: int, oldest_hns: int, numbers: Iterable[str]) -> dict[str, FragmentRow]:
        """Return those of ``numbers`` that exist."""
        sql = f"SELECT {_COLUMNS} {_FROM} AND f.number = ?"
        found: dict[str, FragmentRow] = {}
        for number in numbers:
            for values in self._db.execute(sql, (stream_id, oldest_hns, number)):
                found[number] = _row(values)
        return found

    def in_range(self, query: tuple[int, int, int, int, int], *, by_producer: bool, limit: int) -> list[FragmentRow]:
        """Return fragments by start time; ``query`` is stream, oldest, first and last tick, the seq to go on after."""
        column = "f.producer_hns" if by_producer else "f.server_hns"
        sql = f"SELECT {_COLUMNS} {_FROM} AND {column} BETWEEN ? AND ? AND f.seq > ? ORDER BY f.seq LIMIT ?"
        return [_row(values) for values in self._db.execute(sql, (*query, limit))]

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
        sql = f"SELECT min(seq) FROM fragments WHERE stream_id = ? AND {column} + max(duration_hns, 1) > ?"
        found = self._db.execute(sql, (stream_id, time_hns)).fetchone()[0]
        return self._last_seq() if found is None else int(found) - 1

    def _last_seq(self) -> int:
        return int(self._db.execute("SELECT max(seq) FROM fragments").fetchone()[0] or 0)
