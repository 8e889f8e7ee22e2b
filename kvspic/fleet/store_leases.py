"""The leases of a transaction: who may write which stream until when, and the writers that they are rebuilt from."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from json.encoder import encode_basestring_ascii
from typing import Any

from sqlalchemy import Row, Table, and_, delete, exists, func, literal, select, text, tuple_, update

from kvspic.fleet.lease import KEPT_MS
from kvspic.fleet.records import HandlerRow, Lease, StreamKey
from kvspic.fleet.schema import HANDLERS, LEASES, PRESENCE, VOLATILE, WRITERS
from kvspic.fleet.store_base import IS_LEASE, SqlBase, chunks

__all__ = ["WRITER", "SqlLeases", "lease_rows", "presence_row"]

_KEY = (LEASES.c.endpoint, LEASES.c.region, LEASES.c.stream)
_SENTINEL = {"endpoint": "", "region": "", "stream": "", "job_id": "", "handler": "", "incarnation": "", "epoch": 0}
WRITER = ("endpoint", "region", "stream", "job_id", "handler", "incarnation", "epoch")


def lease_rows(leases: Sequence[Lease]) -> list[dict[str, Any]]:
    """Return leases as rows of the table."""
    names = (*WRITER[3:], "until")
    return [{**lease.key._asdict(), **{name: getattr(lease, name) for name in names}} for lease in leases]


def presence_row(row: HandlerRow) -> dict[str, Any]:
    """Return what is written of a handler all the time, as a row of its table."""
    return {"id": row.id, "seen": row.seen, "seq": row.seq, "free": row.free}


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

    def renew(
        self,
        handler: str,
        incarnation: str,
        jobs: Mapping[tuple[str, int], str | None],
        until: int,
        seen: HandlerRow | None = None,
    ) -> set[str]:
        """See Tx."""
        values = {"handler": handler, "incarnation": incarnation, "until": until, "given": _given(jobs)}
        if self._is_postgres:
            values |= {"now": self.now, "is_seen": seen is not None, "free": 0 if seen is None else seen.free}
            return set(self._connection.execute(_RENEW_AND_KEEP, values).scalars())
        if seen is not None:
            self.saw_handler(seen)
        if not jobs:
            return set()
        renewed = set(self._connection.execute(_RENEW, values).scalars())
        kept = {pair: body for pair, body in jobs.items() if body is not None and pair[0] in renewed}
        if kept:
            self._connection.execute(_KEEP, {"now": self.now, "given": _given(kept)})
        return renewed

    def saw_handler(self, row: HandlerRow) -> None:
        """See Tx."""
        self._upsert(PRESENCE, [presence_row(row)], ("id",))

    def renew_all(self, until: int) -> None:
        """See Tx."""
        is_kept = LEASES.c.until.between(until, until + KEPT_MS)
        self._connection.execute(update(LEASES).where(IS_LEASE, ~is_kept).values(until=until))
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


def _given(jobs: Mapping[tuple[str, int], str | None]) -> str:
    """Jobs as the JSON text ``[{job_id, epoch, body}]``. The numbers are a text in it: PostgreSQL would refuse them as
    JSON where a name in them has a NUL or a lone surrogate."""
    as_json = encode_basestring_ascii
    rows = (
        f'{{"job_id":{as_json(job_id)},"epoch":{epoch},"body":{as_json(body) if body else "null"}}}'
        for (job_id, epoch), body in jobs.items()
    )
    return f"[{','.join(rows)}]"


_SET_STATS = "ON CONFLICT (job_id) DO UPDATE SET epoch = excluded.epoch, at = excluded.at, body = excluded.body"
_RENEW_AND_KEEP = text(
    "WITH given AS (SELECT * FROM json_to_recordset(CAST(:given AS json))"
    " AS given (job_id text, epoch bigint, body text)),"
    " renewed AS (UPDATE fleet_leases AS lease SET until = greatest(until, CAST(:until AS bigint)) FROM given"
    " WHERE lease.job_id = given.job_id AND lease.epoch = given.epoch"
    " AND handler = :handler AND incarnation = :incarnation RETURNING given.*),"
    " kept AS (INSERT INTO fleet_stats (job_id, epoch, at, body)"
    f" SELECT job_id, epoch, CAST(:now AS bigint), body FROM renewed WHERE body IS NOT NULL {_SET_STATS}),"
    " seen AS (INSERT INTO fleet_presence (id, seen, free)"
    " SELECT :handler, CAST(:now AS bigint), CAST(:free AS integer) WHERE :is_seen"
    " ON CONFLICT (id) DO UPDATE SET seen = excluded.seen, free = excluded.free)"
    " SELECT job_id FROM renewed"
)
"""For PostgreSQL: all that a feedback of jobs that go on writes, in one statement. ``seq``, which it read before, stays
as it is: a poll may have overtaken it."""
_RENEW = text(
    f"UPDATE {VOLATILE}.fleet_leases SET until = max(until, :until) WHERE handler = :handler"
    " AND incarnation = :incarnation AND (job_id, epoch) IN (SELECT json_extract(value, '$.job_id'),"
    " json_extract(value, '$.epoch') FROM json_each(:given)) RETURNING job_id"
)
_KEEP = text(
    f"INSERT INTO {VOLATILE}.fleet_stats (job_id, epoch, at, body) SELECT json_extract(value, '$.job_id'),"
    " json_extract(value, '$.epoch'), :now, json_extract(value, '$.body') FROM json_each(:given)"
    f" WHERE true {_SET_STATS}"
)
"""For SQLite; what WHERE says there lets it tell ON CONFLICT from the condition of a join."""


def _of_incarnation(table: Table, handler: str, incarnation: str, pairs: Sequence[tuple[str, int]]) -> Any:
    mine = and_(table.c.handler == handler, table.c.incarnation == incarnation)
    return and_(mine, tuple_(table.c.job_id, table.c.epoch).in_(pairs))


def _lease(row: Row[Any]) -> Lease:
    key = StreamKey(row.endpoint, row.region, row.stream)
    return Lease(key, row.job_id, row.epoch, row.handler, row.incarnation, row.until)
