"""The fleet's database: SQLite in a file for one server, PostgreSQL 13 or later for many. Each call blocks.

SQLite has one connection, used by one thread at a time; leases and newest numbers lie in memory, so that flash does not
wear and a full disk stops no camera. A second server on the same file is refused. PostgreSQL has a pool of connections.
"""

from __future__ import annotations

import functools
import json
import logging
import random
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Concatenate, ParamSpec, TypeVar

from sqlalchemy import Connection, Engine, create_engine, event, exc
from sqlalchemy.engine import URL, make_url
from sqlalchemy.pool import QueuePool, StaticPool

from kvspic.fleet.errors import FleetError, StoreFullError, StoreUnavailableError, StoreUnusableError
from kvspic.fleet.records import Announcement, Store, Tx
from kvspic.fleet.schema import VOLATILE, prepare
from kvspic.fleet.store_tx import SqlTx

__all__ = ["SqlStore", "open_store"]

P = ParamSpec("P")
T = TypeVar("T")
logger = logging.getLogger("kvspic.fleet")

TRIES = 5
CHANNEL = "kvspic_fleet"
PAYLOAD_MAX = 7000  # PostgreSQL takes 8,000 bytes
PAYLOADS_MAX = 10
POOL_SIZE = 8
CONNECT_S = 5
STATEMENT_MS = 15_000
IDLE_MS = 10_000
IDLE_CHECK_S = 1.0
TCP_MS = 10_000
SQLITE_WAIT_S = 5.0
LISTEN_PAUSE_S = 1.0
FLAGS = ("pgbouncer", "listen")
_AGAIN = ("40001", "40P01", "55P03")  # serialization, deadlock, lock timeout
_FULL = ("53100",)
_READ_ONLY = ("25006",)
_REMEDY = "name a fleet's database, or a new file, where this user may write and the disk has room."


def open_store(
    url: str,
    *,
    clock: Callable[[], int] | None = None,
    chance: random.Random | None = None,
    is_server: bool = True,
) -> SqlStore:
    """Open a database and make its tables where there are none.

    Args:
        url: ``sqlite:///fleet.db``, ``sqlite://`` (in memory) or ``postgresql+psycopg://user:password@host/name``, as
            SQLAlchemy reads it. Behind pgbouncer add ``?pgbouncer=true&listen=postgresql://...``, where ``listen``
            leads to the server itself and may be left out: servers then look for news once a second.
        clock: milliseconds since the Unix epoch, instead of the database's own clock; for tests.
        chance: the generator of ids and jitter; default: the operating system's.
        is_server: refuse a SQLite file that another server has open; False is for looking into it only.

    Raises:
        StoreUnusableError: no such database, not a fleet's, of another version, read-only, or in use.
        StoreUnavailableError: it does not answer.
    """
    try:
        parsed = make_url(url)
    except (exc.ArgumentError, ValueError):
        raise StoreUnusableError("The store must be sqlite:///FILE or postgresql+psycopg://USER@HOST/NAME.") from None
    if "\x00" in (parsed.database or ""):
        raise StoreUnusableError("The name of the store holds a NUL character; name another file.")
    kinds: dict[str, type[SqlStore]] = {"sqlite": _SqliteStore, "postgresql": _PostgresStore}
    kind = kinds.get(parsed.get_backend_name())
    if kind is None:
        text = f"The store is {parsed.get_backend_name()}, which a fleet does not use; choose sqlite or postgresql."
        raise StoreUnusableError(text)
    return kind(parsed, clock, chance or random.SystemRandom(), is_server)


class SqlStore(Store):
    """A database of jobs; see :class:`kvspic.fleet.records.Store`. Made by :func:`open_store`."""

    def __init__(self, url: URL, clock: Callable[[], int] | None, chance: random.Random, is_server: bool) -> None:
        self._place = url.render_as_string(hide_password=True)
        self._clock = clock
        self._chance = chance
        try:
            self._engine = self._connect(url, is_server)
            with self._errors(), self._transaction() as connection:
                self._check(connection)
                prepare(connection, self._place)
        except BaseException:
            self.close()
            raise

    def _connect(self, url: URL, is_server: bool) -> Engine:
        raise NotImplementedError

    def _check(self, connection: Connection) -> None:
        """Raise StoreUnusableError where this connection cannot be used for writing."""

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except exc.DBAPIError as error:
            raise self._translate(error) from error
        except exc.TimeoutError as error:  # of the pool
            raise StoreUnavailableError(f"The database {self._place} has no free connection; try again.") from error

    @contextmanager
    def _transaction(self) -> Iterator[Connection]:
        try:
            connection = self._engine.connect()
        except exc.InvalidRequestError as error:  # of the pool: each connection that it tried broke
            raise StoreUnavailableError(f"The database {self._place} ends each connection; try again.") from error
        with connection, connection.begin():
            yield connection

    def _translate(self, error: exc.DBAPIError) -> FleetError:
        raise NotImplementedError

    def run(self, operation: Callable[Concatenate[Tx, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """See Store."""
        for left in reversed(range(TRIES)):
            try:
                with self._errors():
                    return self._once(operation, args, kwargs)
            except FleetError as error:
                cause = error.__cause__
                if not left or not isinstance(cause, exc.DBAPIError) or not self._is_worth_repeating(cause):
                    raise
        raise AssertionError("the last try returns or raises")

    def _is_worth_repeating(self, error: exc.DBAPIError) -> bool:
        return isinstance(error, exc.IntegrityError) or getattr(error.orig, "sqlstate", None) in _AGAIN

    def _once(self, operation: Callable[..., T], args: Any, kwargs: Any) -> T:
        with self._transaction() as connection:
            tx = SqlTx(connection, None if self._clock is None else self._clock(), self._chance)
            result = operation(tx, *args, **kwargs)
            self._announce(connection, list(tx.announced))
        self._announced(list(tx.announced))
        return result

    def _announce(self, connection: Connection, news: list[Announcement]) -> None:
        """Say what changed, as a part of the transaction."""

    def _announced(self, news: list[Announcement]) -> None:
        """Say what changed, after the commit."""

    def close(self) -> None:
        """See Store."""
        engine = getattr(self, "_engine", None)
        if engine is not None:
            engine.dispose()


class _SqliteStore(SqlStore):
    is_shared = False

    def __init__(self, url: URL, clock: Callable[[], int] | None, chance: random.Random, is_server: bool) -> None:
        self._one_at_a_time = threading.RLock()
        self._listeners: dict[object, Callable[[list[Announcement]], None]] = {}
        self._server_lock: sqlite3.Connection | None = None
        super().__init__(url, clock or _wall_clock, chance, is_server)

    def _connect(self, url: URL, is_server: bool) -> Engine:
        if is_server and url.database not in (None, "", ":memory:"):
            self._take_file(str(url.database))
        arguments = {"check_same_thread": False, "timeout": SQLITE_WAIT_S}
        engine = create_engine(url, poolclass=StaticPool, connect_args=arguments)
        event.listen(engine, "connect", _prepare_sqlite)
        event.listen(engine, "begin", lambda connection: connection.exec_driver_sql("BEGIN IMMEDIATE"))
        return engine

    def _take_file(self, path: str) -> None:
        """Hold a lock beside the file for as long as the process lives."""
        try:
            lock = sqlite3.connect(f"{path}-server", timeout=0, isolation_level=None, check_same_thread=False)
            self._server_lock = lock
            lock.execute("BEGIN EXCLUSIVE")
        except sqlite3.Error as error:
            if "locked" in str(error):
                text = f"The database {self._place} is in use by another server; end that one, or name another file."
                raise StoreUnusableError(text) from error
            text = f"The database {self._place} cannot be opened for writing ({error}): {_REMEDY}"
            raise StoreUnusableError(text) from error

    def _check(self, connection: Connection) -> None:
        connection.exec_driver_sql("PRAGMA user_version = 0")  # a write: a read-only file is found now

    def run(self, operation: Callable[Concatenate[Tx, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """See Store."""
        with self._one_at_a_time:
            return super().run(operation, *args, **kwargs)

    def _announced(self, news: list[Announcement]) -> None:
        for listener in list(self._listeners.values()) if news else ():
            listener(news)

    def listen(self, on_commit: Callable[[list[Announcement]], None]) -> Callable[[], None]:
        """See Store."""
        key = object()
        self._listeners[key] = on_commit
        return lambda: self._listeners.pop(key, None) and None

    def _translate(self, error: exc.DBAPIError) -> FleetError:
        said = str(error.orig)
        if "full" in said:
            return StoreFullError(f"The disk of the database {self._place} is full; make room, then send this again.")
        if any(
            word in said for word in ("readonly", "not a database", "malformed", "unable to open", "file is encrypted")
        ):
            return StoreUnusableError(f"The database {self._place} cannot be used ({said}): {_REMEDY}")
        return StoreUnavailableError(f"The database {self._place} failed: {said}.")

    def close(self) -> None:
        """See Store."""
        with self._one_at_a_time:
            super().close()
            if self._server_lock is not None:
                self._server_lock.close()
                self._server_lock = None


def _wall_clock() -> int:
    return time.time_ns() // 1_000_000


def _prepare_sqlite(connection: sqlite3.Connection, record: Any) -> None:
    connection.isolation_level = None  # BEGIN is ours
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")  # a write is on the disk before its answer
    connection.execute(f"ATTACH ':memory:' AS {VOLATILE}")


class _PostgresStore(SqlStore):
    is_shared = True

    def _connect(self, url: URL, is_server: bool) -> Engine:
        flags = {name: str(url.query[name]) for name in FLAGS if name in url.query}
        url = url.difference_update_query(FLAGS).set(drivername="postgresql+psycopg")
        is_pooled = flags.get("pgbouncer") == "true"
        self._listen_url = flags.get(
            "listen", "" if is_pooled else url.set(drivername="postgresql").render_as_string(False)
        )
        arguments: dict[str, Any] = {
            "connect_timeout": CONNECT_S,
            "target_session_attrs": "read-write",
            "tcp_user_timeout": TCP_MS,
        }
        if is_pooled:
            arguments["prepare_threshold"] = None
        else:
            limits = {"statement_timeout": STATEMENT_MS, "idle_in_transaction_session_timeout": IDLE_MS}
            arguments["options"] = " ".join(f"-c {name}={value}" for name, value in limits.items())
        try:
            engine = create_engine(
                url, poolclass=QueuePool, pool_size=POOL_SIZE, pool_timeout=CONNECT_S, pool_use_lifo=True,
                connect_args=arguments, execution_options={"schema_translate_map": {VOLATILE: None}},
            )  # fmt: skip
        except ModuleNotFoundError as error:
            text = "A store on PostgreSQL needs psycopg, which is not installed: run `pip install 'kvspic[postgres]'`."
            raise StoreUnusableError(text) from error
        event.listen(engine, "checkin", _note_use)
        event.listen(engine, "checkout", functools.partial(_check_idle, engine.dialect))
        self._ended = threading.Event()
        return engine

    def _announce(self, connection: Connection, news: list[Announcement]) -> None:
        for payload in _payloads(news):
            connection.exec_driver_sql("SELECT pg_notify(%s, %s)", (CHANNEL, payload))

    def _translate(self, error: exc.DBAPIError) -> FleetError:
        state = getattr(error.orig, "sqlstate", None)
        said = str(error.orig).strip().splitlines()[0] if str(error.orig).strip() else type(error.orig).__name__
        if state in _FULL:
            return StoreFullError(f"The disk of the database {self._place} is full; make room, then send this again.")
        if state in _READ_ONLY:
            return StoreUnavailableError(f"The database {self._place} is read-only, as a standby is.")
        if state in ("28P01", "28000", "3D000", "42501") or "authentication failed" in said or "does not exist" in said:
            return StoreUnusableError(f"The database {self._place} cannot be used: {said}")
        return StoreUnavailableError(f"The database {self._place} failed: {said}")

    def listen(self, on_commit: Callable[[list[Announcement]], None]) -> Callable[[], None]:
        """See Store."""
        ended = threading.Event()
        if self._listen_url:
            name = "kvspic-fleet-listen"
            threading.Thread(target=self._hear, args=(on_commit, ended), name=name, daemon=True).start()
        return ended.set

    def _hear(self, on_commit: Callable[[list[Announcement]], None], ended: threading.Event) -> None:
        while not (ended.is_set() or self._ended.is_set()):
            try:
                self._hear_until_broken(on_commit, ended)
            except Exception as error:
                logger.debug("the connection for announcements broke: %s", type(error).__name__)
                ended.wait(LISTEN_PAUSE_S)

    def _hear_until_broken(self, on_commit: Callable[[list[Announcement]], None], ended: threading.Event) -> None:
        import psycopg

        with psycopg.connect(self._listen_url, autocommit=True, connect_timeout=CONNECT_S) as connection:
            connection.execute(f"LISTEN {CHANNEL}")
            on_commit([])  # some may have been missed
            while not (ended.is_set() or self._ended.is_set()):
                for heard in connection.notifies(timeout=LISTEN_PAUSE_S):
                    on_commit([Announcement(*one) for one in json.loads(heard.payload)])
                    if ended.is_set():
                        return

    def close(self) -> None:
        """See Store."""
        if hasattr(self, "_ended"):
            self._ended.set()
        super().close()


def _note_use(connection: Any, record: Any) -> None:
    record.info["used_s"] = time.monotonic()


def _check_idle(dialect: Any, connection: Any, record: Any, fairy: Any) -> None:
    """Ask a connection that was idle for a while whether it still is one; each use of a busy one would pay for that.

    A fresh one is not asked: the pool gives up after a few that fail.
    """
    used_s = record.info.get("used_s")
    if used_s is None or time.monotonic() - used_s < IDLE_CHECK_S:
        return
    try:
        dialect.do_ping(connection)
    except dialect.loaded_dbapi.Error as error:
        raise exc.InvalidatePoolError("the connection broke while it was idle") from error


def _payloads(news: list[Announcement]) -> list[str]:
    """Announcements as a few JSON texts; an empty list stands for too many of them."""
    texts: list[str] = []
    part: list[str] = []
    size = 2
    for one in news:
        item = json.dumps(list(one))
        if size + len(item) > PAYLOAD_MAX:
            texts.append(f"[{','.join(part)}]")
            part, size = [], 2
        part.append(item)
        size += len(item) + 1
    texts += [f"[{','.join(part)}]"] if part else []
    return texts if len(texts) <= PAYLOADS_MAX else ["[]"]
