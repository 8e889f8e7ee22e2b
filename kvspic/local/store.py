"""Fragments on disk: each PutMedia body in an append-only file, an SQLite index (WAL) that points into them.

One writer thread does every write: it takes all jobs that wait, appends the bytes, commits the index once, then reports
them done. So a fragment reported done has its bytes written ("process": survives SIGKILL) or synced ("disk": survives a
power cut) before its row was committed, and the index never points past a file. A start repairs what a kill left.
The index has a CRC-32 of each header and fragment, which :meth:`Store.verify` compares before anything is given out.
"""

from __future__ import annotations

import contextlib
import logging
import os
import queue
import sqlite3
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO, Any, Literal

from kvspic.disk import sync, write_all
from kvspic.local.checksums import checksum_of, fragment_ranges, header_ranges, trouble_of
from kvspic.local.data_dir import DataDir
from kvspic.local.errors import StoreError
from kvspic.local.model import fragment_counter
from kvspic.local.records import FragmentRecord, HeaderRecord
from kvspic.local.store_index import FragmentRow, Index, damaged_index_text
from kvspic.threads import join

__all__ = ["Done", "Durability", "SessionFile", "Store"]

_log = logging.getLogger(__name__)

Durability = Literal["process", "disk"]
Done = Callable[[Exception | None], None]

_BATCH_MAX = 512
_SHORT_MAX = 10  # files that a start names
_REPORTED_MAX = 10_000


@dataclass(frozen=True)
class _Job:
    run: Callable[[], None]
    done: Done | None = None


@dataclass
class SessionFile:
    """A body being written. Only the writer thread looks at what begins with an underscore."""

    session_id: int
    stream_id: int
    _file: IO[bytes] | None = None
    _failure: OSError | None = None


class Store:
    """See the top of the file. All methods may be called from any thread; writes return at once.

    ``post`` carries completions to where they should run (an event loop's ``call_soon_threadsafe``); without it they
    run in the writer thread.
    """

    def __init__(
        self, path: Path, durability: Durability = "process", post: Callable[[Callable[[], None]], Any] | None = None
    ) -> None:
        self._dir = DataDir(path)
        self._is_disk_durable = durability == "disk"
        self._post = post or (lambda call: call())
        index = self._dir.index
        with contextlib.ExitStack() as undo:
            undo.callback(self._dir.close)
            self._index = Index(index, is_disk_durable=self._is_disk_durable, is_writer=True)
            undo.callback(self._index.close)
            try:
                self._recover()
            except sqlite3.DatabaseError as error:
                raise StoreError(damaged_index_text(index, error)) from error
            self._reader = Index(index, is_disk_durable=False, is_writer=False)
            undo.pop_all()
        self._reported: set[int] = set()
        self._read_lock = threading.Lock()
        self._next_session = self._index.counter("session_id") + 1
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._unsynced: dict[int, SessionFile] = {}
        self._must_sync = False
        self._open_files: dict[int, SessionFile] = {}
        self._thread = threading.Thread(target=self._work, name="kvspic-local-store", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Write what waits, close all files and give the lock back. A second call does nothing."""
        if not self._thread.is_alive():
            return
        self._jobs.put(None)
        join(self._thread)
        self._reader.close()
        self._index.close()
        self._dir.close()

    def name_endpoint(self, url: str, *, lasts: bool) -> None:
        """Say in the directory who serves it; ``lasts``: until it is stopped by hand."""
        self._dir.name_endpoint(url, lasts=lasts)

    # Writing.

    def save_stream(self, record: dict[str, Any], done: Done | None = None) -> None:
        """Keep a stream."""
        self._jobs.put(_Job(lambda: self._index.save_stream(record), done))

    def delete_stream(self, stream_id: int, done: Done | None = None) -> None:
        """Forget a stream, its fragments and its files."""

        def run() -> None:
            self._index.delete_stream(stream_id)
            self._remove_empty()

        self._jobs.put(_Job(run, done))

    def expire(self, oldest_hns: Mapping[int, int]) -> None:
        """Drop fragments that came before the time given for their stream, and the files that this empties."""

        def run() -> None:
            for stream_id, before_hns in oldest_hns.items():
                self._index.expire(stream_id, before_hns)
            self._remove_empty()

        self._jobs.put(_Job(run))

    def open_session(self, stream_id: int) -> SessionFile:
        """Begin a body."""
        with self._read_lock:
            session = SessionFile(self._next_session, stream_id)
            self._next_session += 1
        self._jobs.put(_Job(lambda: self._open(session)))
        return session

    def append(self, session: SessionFile, pieces: Sequence[bytes], done: Done | None = None) -> None:
        """Append bytes to the body."""
        self._jobs.put(_Job(lambda: self._write(session, pieces), done))

    def keep_header(self, session: SessionFile, header: HeaderRecord) -> None:
        """Note where the header is; before the first fragment."""
        self._jobs.put(_Job(lambda: self._keep_header(session, header)))

    def keep_fragment(self, session: SessionFile, fragment: FragmentRecord, done: Done | None = None) -> None:
        """Make a fragment durable whose bytes were appended before."""
        self._jobs.put(_Job(lambda: self._keep(session, fragment), done))

    def close_session(self, session: SessionFile, done: Done | None = None) -> None:
        """End the body; bytes after its last whole fragment are cut off."""
        self._jobs.put(_Job(lambda: self._end(session), done))

    # The writer thread.

    def _work(self) -> None:
        is_running = True
        while is_running:
            batch = [self._jobs.get()]
            while len(batch) < _BATCH_MAX and not self._jobs.empty():
                batch.append(self._jobs.get())
            is_running = None not in batch
            self._run_batch([job for job in batch if job is not None])
        self._run_batch([_Job(partial(self._end, session)) for session in self._open_files.values()])

    def _run_batch(self, jobs: list[_Job]) -> None:
        errors: list[Exception | None] = []
        try:
            self._index.begin()
            for job in jobs:
                errors.append(_attempt(job.run))
            self._sync()
            self._index.commit()
        except (OSError, sqlite3.Error) as error:
            _log.error("the store cannot write: %s", error)
            self._index.rollback()
            for session in self._open_files.values():
                session._failure = session._failure or OSError("the index could not be written")
            errors = [error] * len(jobs)
        completions = [(job.done, error) for job, error in zip(jobs, errors) if job.done is not None]
        if completions:
            self._post_safely(lambda: _complete(completions))

    def _post_safely(self, call: Callable[[], None]) -> None:
        try:
            self._post(call)
        except RuntimeError:
            _log.debug("the event loop is closed; completions of the store are dropped")

    def _sync(self) -> None:
        """With "disk": everything that the commit is about to point at is on the disk first."""
        if self._is_disk_durable and self._must_sync:
            for session in self._unsynced.values():
                if session._file is not None:
                    sync(session._file.fileno())
            self._dir.sync_media_names()
        if self._must_sync or not self._is_disk_durable:
            self._unsynced.clear()
            self._must_sync = False

    def _open(self, session: SessionFile) -> None:
        self._index.add_session(session.session_id, session.stream_id)
        try:
            session._file = open(self._dir.media_file(session.session_id), "w+b", buffering=0)  # noqa: SIM115
            self._open_files[session.session_id] = session
        except OSError as error:
            session._failure = error

    def _write(self, session: SessionFile, pieces: Sequence[bytes]) -> None:
        if session._file is None or session._failure is not None:
            return
        try:
            write_all(session._file, pieces)
        except OSError as error:
            session._failure = error
            raise
        self._unsynced[session.session_id] = session

    def _keep_header(self, session: SessionFile, header: HeaderRecord) -> None:
        self._index.set_header(session.session_id, header, self._checksum(session, header_ranges(header)))

    def _keep(self, session: SessionFile, fragment: FragmentRecord) -> None:
        checksum = self._checksum(session, fragment_ranges(fragment))
        self._must_sync = True
        self._index.add_fragment(session.session_id, fragment, fragment_counter(fragment.number), checksum)

    def _checksum(self, session: SessionFile, ranges: Sequence[tuple[int, int]]) -> int:
        """Of bytes that were just written: they come from the system's memory, not from the disk."""
        if session._failure is not None or session._file is None:
            raise StoreError("The body of this fragment could not be written.") from session._failure
        checksum = checksum_of(session._file, ranges)
        session._file.seek(0, os.SEEK_END)
        if checksum is None:
            raise StoreError("The bytes of this fragment are not in its file.")
        return checksum

    def _end(self, session: SessionFile) -> None:
        self._open_files.pop(session.session_id, None)
        self._unsynced.pop(session.session_id, None)
        end = self._index.end_session(session.session_id)
        if session._file is not None:
            if end:
                session._file.truncate(end)
            session._file.close()
            session._file = None
        if not end:
            self._remove_empty()

    def _remove_empty(self) -> None:
        for session_id in self._index.empty_sessions():
            self._dir.remove_media(session_id)

    def _recover(self) -> None:
        """Cut tails that no fragment covers, drop rows that point past their file, remove files without a row."""
        self._index.begin()
        for session_id in self._index.open_sessions():
            path = self._dir.media_file(session_id)
            size = path.stat().st_size if path.exists() else 0
            lost = self._index.drop_fragments_past(session_id, size)
            if lost:
                _log.warning("%d fragments of %s are lost: the file is shorter than the index says", lost, path)
            end = self._index.end_session(session_id)
            if end < size:
                os.truncate(path, end)
        self._remove_empty()
        self._index.commit()
        found = self._dir.media_sizes()
        self._remove_unknown(found)
        self._report_short(found)

    def _remove_unknown(self, found: dict[int, int]) -> None:
        """Remove files whose row is gone. One that is newer than the index belongs to another index, as after an old
        copy was put back: it is moved away, because an upload will use its name."""
        last = self._index.counter("session_id")
        for session_id in found.keys() - self._index.sessions():
            if session_id <= last or found[session_id] == 0:
                self._dir.remove_media(session_id)
            else:
                moved = self._dir.set_aside(session_id)
                _log.warning("%s: the index knows nothing of this body, so its file was moved here", moved)

    def _report_short(self, found: dict[int, int]) -> None:
        """Name the files that have lost bytes; their fragments stay in the index, so that a copy can be put back."""
        short = [(one, size) for one, size in self._index.sizes().items() if found.get(one, -1) < size]
        for session_id, size in short[:_SHORT_MAX]:
            path = self._dir.media_file(session_id)
            state = f"has {found[session_id]} of {size} bytes" if session_id in found else "is missing"
            text = "%s %s: the fragments in it are left out; put back a copy, or see kvspic serve --check %s"
            _log.warning(text, path, state, self._dir.path)
        if len(short) > _SHORT_MAX:
            _log.warning("%d more media files are missing or short", len(short) - _SHORT_MAX)

    # Reading: one connection behind a lock; called from threads that may wait.

    def streams(self) -> list[dict[str, Any]]:
        """Return the streams that were kept."""
        streams: list[dict[str, Any]] = self.query(lambda index: index.streams())
        return streams

    def stream_id_max(self) -> int:
        """Return the highest stream id ever used."""
        return int(self.query(lambda index: index.counter("stream_id")))

    def query(self, ask: Callable[[Index], Any]) -> Any:
        """Run ``ask`` on the reading connection; StoreError if the index cannot be read."""
        with self._read_lock:
            try:
                return ask(self._reader)
            except sqlite3.DatabaseError as error:
                raise StoreError(damaged_index_text(self._dir.index, error)) from error

    def read(self, row: FragmentRow, offset: int, size: int) -> bytes:
        """Read bytes of the body that holds ``row``; StoreError if they are gone, as after DeleteStream."""
        try:
            with open(self._dir.media_file(row.session_id), "rb") as file:
                file.seek(offset)
                data = file.read(size)
        except OSError as error:
            raise StoreError(f"The fragment {row.fragment.number} cannot be read.") from error
        if len(data) != size:
            raise StoreError(f"The fragment {row.fragment.number} cannot be read whole.")
        return data

    def verify(self, row: FragmentRow) -> None:
        """Read the fragment and its header once and compare them with what was stored.

        Raises:
            StoreError: the bytes have changed or are gone; the log names the file, once for each fragment.
        """
        path, fragment = self._dir.media_file(row.session_id), row.fragment
        trouble = trouble_of(path, row)
        if trouble is None:
            return
        if row.seq not in self._reported and len(self._reported) < _REPORTED_MAX:
            self._reported.add(row.seq)
            _log.warning("%s: the fragment %s is left out: %s", path, fragment.number, trouble)
        raise StoreError(f"The fragment {fragment.number} is damaged in the store: {trouble}.")


def _attempt(run: Callable[[], None]) -> Exception | None:
    try:
        run()
    except sqlite3.OperationalError:
        raise  # the whole transaction is in doubt
    except Exception as error:  # one job's failure is that job's answer
        return error
    return None


def _complete(completions: list[tuple[Done, Exception | None]]) -> None:
    for done, error in completions:
        done(error)
