"""The leases of a transaction: who may write which stream until when, and the writers that they are rebuilt from."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from functools import lru_cache
from typing import Any

from sqlalchemy import Row, Table, and_, bindparam, case, delete, exists, func, literal, select, text, tuple_, update

from kvspic.fleet.records import Lease, StreamKey
from kvspic.fleet.schema import HANDLERS, LEASES, PRESENCE, WRITERS
from kvspic.fleet.store_base import IS_LEASE, SqlBase, chunks, given_texts

__all__ = ["WRITER", "SqlLeases", "lease_rows"]

_KEY = (LEASES.c.endpoint, LEASES.c.region, LEASES.c.stream)
_SENTINEL = {"endpoint": "", "region": "", "stream": "", "job_id": "", "handler": "", "incarnation": "", "epoch": 0}
WRITER = ("endpoint", "region", "stream", "job_id", "handler", "incarnation", "epoch")


def lease_rows(leases: Sequence[Lease]) -> list[dict[str, Any]]:
    """Return leases as rows of the table."""
    names = (*WRITER[3:], "until")
    return [{**lease.key._asdict(), **{name: getattr(lease, name) for name in names}} for lease in leases]


class SqlLeases(SqlBase):
    """Leases."""

    def rebuild_leases(self, until: int) -> None:
        """See Tx."""
        self._restore_leases(until)
        columns = ("id", "seen", "seq", "free")
        seen = select(HANDLERS.c.id, literal(self.now), literal(None), literal(0)).where(literal(True))
        self._insert_from(PRESENCE, columns, seen)
        sentinel = {**_SENTINEL, "until": until if self.has_leases() else 0}
        if self.are_leases_lost:
            self._insert_from(LEASES, tuple(sentinel), select(*map(literal, sentinel.values())).where(literal(True)))
        else:
            self._upsert(LEASES, [sentinel], WRITER[:3])
        # Another transaction may have rebuilt them meanwhile, and granted leases since: then its sentinel is there.
        self.hold_until = self._connection.execute(select(LEASES.c.until).where(~IS_LEASE)).scalar_one()
        self.are_leases_lost = False

    def _restore_leases(self, until: int) -> None:
        query = select(*(WRITERS.c[name] for name in WRITER), literal(until)).where(literal(True))
        self._insert_from(LEASES, (*WRITER, "until"), query)

    def has_leases(self) -> bool:
        """See Tx."""
        return self._connection.execute(select(1).where(exists(select(1).where(IS_LEASE)))).first() is not None

    def renew(self, handler: str, incarnation: str, jobs: Collection[tuple[str, int]], until: int) -> set[str]:
        """See Tx."""
        pairs = json.dumps(sorted(jobs))
        values = {"of_handler": handler, "of_incarnation": incarnation, "pairs": pairs, "later": until}
        return set(self._connection.execute(_renew(self._is_postgres), values).scalars())

    def renew_all(self, until: int) -> None:
        """See Tx."""
        self._connection.execute(update(LEASES).where(IS_LEASE).values(until=until))
        self._restore_leases(until)

    def leases_of(self, handler: str) -> list[Lease]:
        """See Tx."""
        return [_lease(row) for row in self._connection.execute(select(LEASES).where(LEASES.c.handler == handler))]

    def release(self, handler: str, incarnation: str, jobs: Collection[tuple[str, int]]) -> None:
        """See Tx."""
        for chunk in chunks(sorted(jobs)):
            for table in (LEASES, WRITERS):
                self._connection.execute(delete(table).where(_of_incarnation(table, handler, incarnation, chunk)))

    def expired(self, now: int, limit: int) -> list[Lease]:
        """See Tx."""
        ended = and_(IS_LEASE, LEASES.c.until <= now)
        first = select(*_KEY).where(ended).order_by(LEASES.c.until).limit(limit).with_for_update(skip_locked=True)
        # The condition stands twice: a lease that was renewed meanwhile is looked at again, and stays.
        statement = delete(LEASES).where(tuple_(*_KEY).in_(first), ended).returning(LEASES)
        leases = [_lease(row) for row in self._connection.execute(statement)]
        for chunk in chunks(leases):
            pairs = [(lease.job_id, lease.epoch) for lease in chunk]
            self._connection.execute(delete(WRITERS).where(tuple_(WRITERS.c.job_id, WRITERS.c.epoch).in_(pairs)))
        return leases

    def lease_ends(self) -> dict[str, int]:
        """See Tx."""
        query = select(LEASES.c.handler, func.max(LEASES.c.until)).where(IS_LEASE).group_by(LEASES.c.handler)
        return dict(self._all(query))  # type: ignore[arg-type]


@lru_cache(maxsize=2)
def _renew(is_postgres: bool) -> Any:
    part = "value::json->>{}" if is_postgres else "json_extract(value, '$[{}]')"
    pairs = f"SELECT {part.format(0)}, CAST({part.format(1)} AS bigint) FROM {given_texts('pairs', is_postgres)}"
    later = case((LEASES.c.until > bindparam("later"), LEASES.c.until), else_=bindparam("later"))
    mine = and_(LEASES.c.handler == bindparam("of_handler"), LEASES.c.incarnation == bindparam("of_incarnation"))
    is_given = tuple_(LEASES.c.job_id, LEASES.c.epoch).in_(text(pairs))
    return update(LEASES).where(mine, is_given).values(until=later).returning(LEASES.c.job_id)


def _of_incarnation(table: Table, handler: str, incarnation: str, pairs: Sequence[tuple[str, int]]) -> Any:
    mine = and_(table.c.handler == handler, table.c.incarnation == incarnation)
    return and_(mine, tuple_(table.c.job_id, table.c.epoch).in_(pairs))


def _lease(row: Row[Any]) -> Lease:
    key = StreamKey(row.endpoint, row.region, row.stream)
    return Lease(key, row.job_id, row.epoch, row.handler, row.incarnation, row.until)
