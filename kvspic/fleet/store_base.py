"""What each transaction over the fleet's tables begins with, and the statements that SQLite and PostgreSQL share."""

from __future__ import annotations

import json
import random
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any

from sqlalchemy import Connection, Row, Table, TextClause, insert, text
from sqlalchemy.dialects import postgresql, sqlite

from kvspic.fleet.records import Announcement, Chance, Settings
from kvspic.fleet.schema import LEASES, VOLATILE

__all__ = [
    "BEGIN_POSTGRES",
    "BEGIN_SQLITE",
    "IS_LEASE",
    "SqlBase",
    "chunks",
    "given_rows",
    "given_texts",
    "insert_given",
    "upsert_given",
]

CHUNK = 500  # values in one IN list
IS_LEASE = LEASES.c.stream != ""
_POSTGRES = postgresql.dialect()  # type: ignore[no-untyped-call]
_WHOLE_SETTINGS = ("in_progress_max", "handout_burst", "promise_ms", "promise_until")
_SENTINEL_KEY = "endpoint = '' AND region = '' AND stream = ''"  # the whole key: each transaction looks for it
BEGIN_POSTGRES = (
    "SELECT CAST(extract(epoch FROM clock_timestamp()) * 1000 AS bigint),"
    f" (SELECT until FROM fleet_leases WHERE {_SENTINEL_KEY}),"
    " (SELECT CAST(json_object_agg(name, value) AS text) FROM fleet_settings)"
)
BEGIN_SQLITE = (
    f"SELECT 0, (SELECT until FROM {VOLATILE}.fleet_leases WHERE {_SENTINEL_KEY}),"
    " (SELECT json_group_object(name, value) FROM fleet_settings)"
)
_BEGIN_POSTGRES, _BEGIN_SQLITE = text(BEGIN_POSTGRES), text(BEGIN_SQLITE)


def chunks(values: Iterable[Any]) -> Iterable[list[Any]]:
    """Split values into lists that one statement takes."""
    every = list(values)
    return (every[at : at + CHUNK] for at in range(0, len(every), CHUNK))


def given_rows(table: Table, columns: Sequence[str], parameter: str = "given") -> str:
    """Return what stands behind FROM for rows that are given, on PostgreSQL: the table ``given``.

    The parameter has the rows as one JSON text (:func:`as_given`): one statement and one round trip for any number.
    """
    types = ", ".join(f"{name} {table.c[name].type.compile(_POSTGRES)}" for name in columns)
    return f"json_to_recordset(CAST(:{parameter} AS json)) AS given ({types})"


def given_texts(parameter: str, is_postgres: bool) -> str:
    """Return what stands behind FROM for texts, or JSON arrays as text, of which the parameter is a JSON array."""
    name = "json_array_elements_text" if is_postgres else "json_each"
    return f"{name}(CAST(:{parameter} AS {'json' if is_postgres else 'text'})) AS given"


def as_given(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return the parameter of :func:`given_rows`."""
    return json.dumps(rows, ensure_ascii=False)


@lru_cache(maxsize=64)
def insert_given(table: Table, columns: tuple[str, ...], parameter: str = "given", **expressions: str) -> str:
    """Return the insertion of given rows, on PostgreSQL; ``expressions``: more columns, in SQL."""
    names, values = ", ".join([*columns, *expressions]), ", ".join([*columns, *expressions.values()])
    return f"INSERT INTO {table.name} ({names}) SELECT {values} FROM {given_rows(table, columns, parameter)}"


@lru_cache(maxsize=64)
def upsert_given(table: Table, keys: tuple[str, ...], parameter: str = "given") -> str:
    """Return what inserts given rows of all columns, or sets the other columns of those that are there."""
    columns = tuple(column.name for column in table.columns)
    others = ", ".join(f"{name} = excluded.{name}" for name in columns if name not in keys)
    return f"{insert_given(table, columns, parameter)} ON CONFLICT ({', '.join(keys)}) DO UPDATE SET {others}"


class SqlBase:
    """One transaction; ``announced`` is what it has to announce after the commit."""

    def __init__(self, connection: Connection, now: int | None, chance: random.Random) -> None:
        self._connection = connection
        self._is_postgres = connection.dialect.name == "postgresql"
        self._rng = chance
        self.chance: Chance = chance
        self.announced: dict[Announcement, None] = {}
        self._given_now = now

    now: int
    settings: Settings
    are_leases_lost: bool
    hold_until: int

    def __getattr__(self, name: str) -> Any:
        """Begin, when the first of these attributes is asked for, unless another statement has read them before."""
        if name not in ("now", "settings", "are_leases_lost", "hold_until"):
            raise AttributeError(name)
        self._begin_with(self._connection.execute(_BEGIN_POSTGRES if self._is_postgres else _BEGIN_SQLITE).one())
        return getattr(self, name)

    def _begin_with(self, found: Sequence[Any]) -> None:
        """Take what the first columns of a row have: those of BEGIN_POSTGRES or BEGIN_SQLITE."""
        at, sentinel, settings = found[:3]
        self.now = at if self._given_now is None else self._given_now
        self.settings = _settings(settings or "{}")
        self.are_leases_lost, self.hold_until = sentinel is None, sentinel or 0

    def _all(self, statement: Any, values: Any = None) -> Sequence[Row[Any]]:
        return self._connection.execute(statement, values).all()

    def _insert(self, table: Table, rows: Sequence[Mapping[str, Any]]) -> None:
        if rows:
            self._connection.execute(insert(table), list(rows))

    def _upsert(self, table: Table, rows: Sequence[Mapping[str, Any]], keys: tuple[str, ...]) -> None:
        """Insert rows of all columns, or set the other columns of those that are there; their keys differ."""
        if rows and self._is_postgres:
            self._execute(upsert_given(table, keys), given=rows)
        elif rows:
            self._connection.execute(_upsert_of(table, keys), list(rows))

    def _execute(self, statement: str, **given: Sequence[Mapping[str, Any]]) -> None:
        """Execute a statement of PostgreSQL over given rows."""
        self._connection.execute(_text_of(statement), {name: as_given(rows) for name, rows in given.items()})

    def new_id(self) -> str:
        """See Tx."""
        return f"{self._rng.getrandbits(128):032x}"

    def _insert_from(self, table: Table, columns: Sequence[str], query: Any) -> None:
        base: Any = postgresql.insert(table) if self._is_postgres else sqlite.insert(table)
        self._connection.execute(base.from_select(list(columns), query).on_conflict_do_nothing())

    def announce(self, kind: str, name: str) -> None:
        """See Tx."""
        self.announced[Announcement(kind, name)] = None


@lru_cache(maxsize=8)
def _settings(text: str) -> Settings:
    """Settings as the database has them, of a JSON object."""
    plain = json.loads(text)
    known = {name: plain[name] for name in Settings.__dataclass_fields__ if name in plain}
    return Settings(**{**known, **{name: int(known[name]) for name in _WHOLE_SETTINGS if name in known}})


@lru_cache(maxsize=64)
def _upsert_of(table: Table, keys: tuple[str, ...]) -> Any:
    base = sqlite.insert(table)
    others = {column.name: base.excluded[column.name] for column in table.columns if column.name not in keys}
    return base.on_conflict_do_update(index_elements=list(keys), set_=others)


@lru_cache(maxsize=64)
def _text_of(statement: str) -> TextClause:
    return text(statement)
