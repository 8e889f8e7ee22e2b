"""One transaction over the fleet's tables: :class:`kvspic.fleet.records.Tx` in SQLAlchemy Core.

Where SQLite and PostgreSQL differ: SQLite has one writer at a time and needs no row locks. PostgreSQL passes over
locked rows, and its log is read in the order of transactions, because commits do not follow the numbers of records.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from functools import lru_cache
from typing import Any

from sqlalchemy import (
    Row,
    Select,
    and_,
    bindparam,
    delete,
    exists,
    func,
    insert,
    literal,
    or_,
    select,
    text,
    update,
)
from sqlalchemy.dialects import postgresql, sqlite

from kvspic.fleet.records import (
    Backfill,
    HandlerRow,
    Held,
    JobFilter,
    JobRow,
    Lease,
    LogRecord,
    Others,
    QueueFilter,
    Reported,
    Settings,
    StreamKey,
)
from kvspic.fleet.schema import (
    BACKFILLS,
    BUCKETS,
    HANDLERS,
    IDEMPOTENCY,
    JOBS,
    LEASES,
    MASTER,
    PRESENCE,
    SETTINGS,
    STATS,
    VOLATILE,
    WRITERS,
)
from kvspic.fleet.store_base import BEGIN_POSTGRES, BEGIN_SQLITE, chunks, given_rows, insert_given, upsert_given
from kvspic.fleet.store_leases import WRITER, SqlLeases, lease_rows, presence_row
from kvspic.fleet.store_log import INSERT_LOG, SqlLog, log_rows

__all__ = ["SqlTx"]

LOSSES_ANY = 2**31 - 1

_JOB = select(*(JOBS.c[name] for name in JobRow.__dataclass_fields__))
_JOB_COLUMNS = tuple(column.name for column in JOBS.columns)


def _job(row: Row[Any]) -> JobRow:
    return JobRow(*tuple(row))


class SqlTx(SqlLog, SqlLeases):
    """Made by the store, for one transaction."""

    # Jobs

    def job(self, ref: str, *, lock: bool = False) -> JobRow | None:
        """See Tx."""
        condition = JOBS.c.name == ref[1:] if ref.startswith("@") else JOBS.c.id == ref
        return self._first_job(_JOB.where(condition), lock)

    def _first_job(self, query: Select[Any], lock: bool) -> JobRow | None:
        row = self._connection.execute(query.with_for_update() if lock else query).first()
        return None if row is None else _job(row)

    def _jobs(self, query: Select[Any]) -> list[JobRow]:
        return [_job(row) for row in self._connection.execute(query)]

    def jobs(self, ids: Collection[str], *, lock: bool = False) -> dict[str, JobRow]:
        """See Tx."""
        found: dict[str, JobRow] = {}
        for chunk in chunks(sorted(ids)):
            query = _JOB.where(JOBS.c.id.in_(chunk)).order_by(JOBS.c.number)
            found |= {row.id: row for row in self._jobs(query.with_for_update() if lock else query)}
        return found

    def heard(self, handler: str, ids: Collection[str]) -> tuple[HandlerRow | None, dict[str, Reported]]:
        """See Tx."""
        statement = _HEARD_POSTGRES if self._is_postgres else _HEARD_SQLITE
        found = self._connection.execute(statement, {"handler": handler}).one()
        self._begin_with(found)
        row = None if found[3] is None else _handler_of(json.loads(found[3]))
        held = {job[0]: Reported(*job) for job in json.loads(found[4] or "[]")}
        others = self.jobs([job_id for job_id in ids if job_id not in held])
        return row, held | {job_id: _reported(job) for job_id, job in others.items()}

    def jobs_named(self, names: Collection[str]) -> dict[str, JobRow]:
        """See Tx."""
        found: dict[str, JobRow] = {}
        for chunk in chunks(sorted(set(names))):
            query = _JOB.where(JOBS.c.name.in_(chunk)).order_by(JOBS.c.number).with_for_update()
            found |= {row.name: row for row in self._jobs(query)}
        return found

    def jobs_of_streams(self, keys: Collection[StreamKey]) -> dict[StreamKey, JobRow]:
        """See Tx."""
        found: dict[StreamKey, JobRow] = {}
        for chunk in chunks(sorted({key.stream for key in keys})):
            found |= {row.key: row for row in self._jobs(_JOB.where(JOBS.c.stream.in_(chunk)))}
        return {key: found[key] for key in keys if key in found}

    def list_jobs(self, which: JobFilter) -> list[JobRow]:
        """See Tx."""
        query = _JOB.where(JOBS.c.number > which.after).order_by(JOBS.c.number).limit(which.limit)
        plain = {"status": which.status, "group_name": which.group, "handler": which.handler, "name": which.name}
        for name, value in plain.items():
            query = query if value is None else query.where(JOBS.c[name] == value)
        return self._jobs(query if which.label is None else query.where(self._has_label(which.label)))

    def _has_label(self, label: str) -> Any:
        if self._is_postgres:
            return JOBS.c.labels.op("@>")(func.jsonb_build_array(label))
        own = func.json_each(JOBS.c.labels).table_valued("value")
        return exists(select(1).select_from(own).where(own.c.value == label))

    def group(self, name: str | None, after: int, limit: int) -> list[JobRow]:
        """See Tx."""
        query = _JOB.where(JOBS.c.number > after).order_by(JOBS.c.number).limit(limit).with_for_update()
        return self._jobs(query if name is None else query.where(JOBS.c.group_name == name))

    def insert_jobs(self, rows: Sequence[JobRow]) -> None:
        """See Tx."""
        if rows:
            plain = [{name: getattr(row, name) for name in _JOB_COLUMNS if name != "number"} for row in rows]
            statement = insert(JOBS).returning(JOBS.c.number, sort_by_parameter_order=True)
            for row, number in zip(rows, self._connection.execute(statement, plain).scalars()):
                row.number = number

    def save(self, rows: Sequence[JobRow], columns: tuple[str, ...]) -> None:
        """See Tx."""
        if rows:
            if self._is_postgres:
                self._execute(_update_given(columns), given=_columns_of(rows, columns))
            else:
                plain = [{"row_id": row.id, **{name: getattr(row, name) for name in columns}} for row in rows]
                self._connection.execute(_update_of(columns), plain)

    def claim(
        self,
        jobs: Sequence[JobRow],
        columns: tuple[str, ...],
        leases: Sequence[Lease],
        records: Sequence[LogRecord],
        seen: HandlerRow,
    ) -> None:
        """See Tx."""
        granted = lease_rows(leases)
        if jobs and self._is_postgres:
            given, presence = _columns_of(jobs, columns), [presence_row(seen)]
            self._execute(_claim(columns), given=given, leases=granted, log=log_rows(records), seen=presence)
            return
        self.saw_handler(seen)
        if not jobs:
            return
        self._insert(LEASES, granted)
        self._upsert(WRITERS, [{name: row[name] for name in WRITER} for row in granted], WRITER[:3])
        self.save(jobs, columns)
        self.append_log(records)

    def delete_jobs(self, ids: Collection[str]) -> None:
        """See Tx."""
        for chunk in chunks(ids):
            self._connection.execute(delete(JOBS).where(JOBS.c.id.in_(chunk)))
            self._connection.execute(delete(STATS).where(STATS.c.job_id.in_(chunk)))
            self._connection.execute(delete(BACKFILLS).where(BACKFILLS.c.job_id.in_(chunk)))

    def http_endpoints(self, limit: int) -> list[str]:
        """See Tx."""
        is_http = JOBS.c.endpoint.like("http://%")
        return list(self._connection.execute(select(JOBS.c.endpoint).where(is_http).distinct().limit(limit)).scalars())

    def status_counts(self) -> dict[str, int]:
        """See Tx."""
        return dict(self._all(select(JOBS.c.status, func.count()).group_by(JOBS.c.status)))  # type: ignore[arg-type]

    def count_jobs(self, *statuses: str) -> int:
        """See Tx."""
        query = select(func.count()).select_from(JOBS).where(JOBS.c.status.in_(statuses))
        return self._connection.execute(query).scalar_one()

    def others(self, handler: str, seen_after: int) -> Others:
        """See Tx."""
        statement = _OTHERS_BEFORE_A_CLAIM if self._is_postgres else _OTHERS
        row = self._connection.execute(statement, {"handler": handler, "seen_after": seen_after}).one()
        return Others(int(row[0] or 0), int(row[1] or 0))

    def held(self, handler: str) -> list[Held]:
        """See Tx."""
        return [Held(*row) for row in self._connection.execute(_HELD, {"handler": handler})]

    def held_counts(self) -> dict[str, int]:
        """See Tx."""
        query = select(JOBS.c.handler, func.count()).where(_IN_PROGRESS).group_by(JOBS.c.handler)
        return dict(self._all(query))  # type: ignore[arg-type]

    def claimable(self, which: QueueFilter) -> list[JobRow]:
        """See Tx."""
        values: dict[str, Any] = {
            "labels": list(which.labels) if self._is_postgres else json.dumps(which.labels),
            "now": which.now,
            "since": which.now if which.since is None else which.since,
            "losses": LOSSES_ANY if which.without_suspects is None else which.without_suspects,
            "most": which.limit,
        }
        if which.avoid_handler is not None:
            values["avoid_handler"] = which.avoid_handler
        query = _queue(self._is_postgres, which.avoid_handler is not None)
        return [_job(row) for row in self._connection.execute(query, values)]

    def queue_heads(self, limit: int) -> list[JobRow]:
        """See Tx."""
        query = _JOB.where(_PENDING).order_by(JOBS.c.pending_since, JOBS.c.number).limit(limit)
        return self._jobs(query)

    def due(self, now: int, limit: int) -> list[JobRow]:
        """See Tx."""
        query = _JOB.where(JOBS.c.ar_due <= now).order_by(JOBS.c.ar_due, JOBS.c.number).limit(limit)
        return self._jobs(query.with_for_update(skip_locked=True))

    # Numbers of jobs, handlers

    def stats(self, ids: Collection[str]) -> dict[str, tuple[int, int, str]]:
        """See Tx."""
        found: dict[str, tuple[int, int, str]] = {}
        for chunk in chunks(ids):
            for job_id, epoch, at, body in self._connection.execute(select(STATS).where(STATS.c.job_id.in_(chunk))):
                found[job_id] = (epoch, at, body)
        return found

    def handler(self, name: str) -> HandlerRow | None:
        """See Tx."""
        row = self._connection.execute(_ONE_HANDLER, {"handler": name}).first()
        return None if row is None else _handler(row)

    def handler_locked(self, name: str) -> HandlerRow:
        """See Tx."""
        row = self._connection.execute(_LOCK_HANDLER, {"handler": name}).first()
        if row is not None:
            return _handler(row)
        new = HandlerRow(name)
        self._insert_from(HANDLERS, _HANDLER_COLUMNS, select(*_literals(new)).where(literal(True)))
        row = self._connection.execute(_LOCK_HANDLER, {"handler": name}).first()
        return new if row is None else _handler(row)

    def handlers(self) -> list[HandlerRow]:
        """See Tx."""
        return [_handler(row) for row in self._connection.execute(_HANDLER.order_by(HANDLERS.c.id))]

    def save_handler(self, row: HandlerRow) -> None:
        """See Tx."""
        self._upsert(HANDLERS, [{name: getattr(row, name) for name in _HANDLER_COLUMNS}], ("id",))

    def delete_handler(self, name: str) -> None:
        """See Tx."""
        self._connection.execute(delete(HANDLERS).where(HANDLERS.c.id == name))
        self._connection.execute(delete(PRESENCE).where(PRESENCE.c.id == name))

    # What servers share

    def take_tokens(self, bucket: str, wanted: int, rate: float, burst: float) -> int:
        """See Tx."""
        row = self._connection.execute(_BUCKET, {"bucket": bucket}).first()
        if row is None:
            full = select(literal(bucket), literal(float(burst)), literal(self.now)).where(literal(True))
            self._insert_from(BUCKETS, ("name", "tokens", "at"), full)
            row = self._connection.execute(_BUCKET, {"bucket": bucket}).one()
        passed_s = max(0, self.now - row.at) / 1000
        tokens = min(float(burst), row.tokens + passed_s * rate)
        taken = min(wanted, int(tokens + 1e-9))
        filled = {"tokens": tokens - taken, "at": max(self.now, row.at) if self.now >= row.at - 1000 else self.now}
        self._connection.execute(_FILL_BUCKET, {"bucket": bucket, **filled})
        return taken

    def take_master(self, owner: str, until: int) -> bool:
        """See Tx."""
        base: Any = postgresql.insert(MASTER) if self._is_postgres else sqlite.insert(MASTER)
        mine = or_(MASTER.c.owner == owner, MASTER.c.until <= self.now)
        statement = base.values(id=1, owner=owner, until=until).on_conflict_do_update(
            index_elements=["id"], set_={"owner": owner, "until": until}, where=mine
        )
        return self._connection.execute(statement.returning(MASTER.c.id)).first() is not None

    def idempotent(self, key: str) -> tuple[str, str] | None:
        """See Tx."""
        row = self._connection.execute(select(IDEMPOTENCY).where(IDEMPOTENCY.c.key == key)).first()
        return None if row is None else (row.job_id, row.answer)

    def keep_idempotent(self, key: str, job_id: str, answer: str) -> None:
        """See Tx."""
        plain = {"key": key, "job_id": job_id, "answer": answer, "at": self.now}
        self._connection.execute(insert(IDEMPOTENCY), plain)

    def forget_idempotent(self, before: int) -> None:
        """See Tx."""
        self._connection.execute(delete(IDEMPOTENCY).where(IDEMPOTENCY.c.at < before))

    def put_settings(self, values: Mapping[str, float]) -> None:
        """See Tx."""
        self._upsert(SETTINGS, [{"name": name, "value": float(value)} for name, value in values.items()], ("name",))
        self.settings = Settings(**{**self.settings.__dict__, **values})

    def backfill(self, job_id: str) -> Backfill | None:
        """See Tx."""
        row = self._connection.execute(select(BACKFILLS).where(BACKFILLS.c.job_id == job_id)).first()
        return None if row is None else Backfill(**row._mapping)

    def put_backfill(self, row: Backfill) -> None:
        """See Tx."""
        plain = {"job_id": row.job_id, "handler": row.handler, "until": row.until}
        self._upsert(BACKFILLS, [plain], ("job_id",))


_IN_PROGRESS = JOBS.c.status == text("'in_progress'")
_PENDING = JOBS.c.status == text("'pending'")
_HELD = (
    select(*(JOBS.c[name] for name in Held._fields))
    .where(_IN_PROGRESS, JOBS.c.handler == bindparam("handler"))
    .order_by(JOBS.c.number)
)
_FOLLOW_INDEX = func.set_config("enable_sort", "off", True)
"""Until the transaction ends. Of jobs that became pending just now the planner has no statistics: it would read and
sort all of them for a claim of a few, where the index has the order of the queue."""
_NO_LEASE = ~exists(
    select(1)
    .select_from(LEASES)
    .where(LEASES.c.stream == JOBS.c.stream, LEASES.c.endpoint == JOBS.c.endpoint, LEASES.c.region == JOBS.c.region)
)
_BUCKET = select(BUCKETS.c.tokens, BUCKETS.c.at).where(BUCKETS.c.name == bindparam("bucket")).with_for_update()
_FILL_BUCKET = (
    update(BUCKETS).where(BUCKETS.c.name == bindparam("bucket")).values(tokens=bindparam("tokens"), at=bindparam("at"))
)
_HANDLER_COLUMNS = tuple(column.name for column in HANDLERS.columns)
_HANDLER = select(HANDLERS, PRESENCE.c.seen, PRESENCE.c.seq, PRESENCE.c.free).select_from(
    HANDLERS.outerjoin(PRESENCE, PRESENCE.c.id == HANDLERS.c.id)
)
_ONE_HANDLER = _HANDLER.where(HANDLERS.c.id == bindparam("handler"))
_LOCK_HANDLER = _ONE_HANDLER.with_for_update(of=HANDLERS)
_HEARD_COLUMNS = ("id", "incarnation", "generation", "host", "version", "slots", "state", "seen", "seq", "free")
_HEARD = (
    ", (SELECT CAST({array}(h.id, h.incarnation, h.generation, h.host, h.version, h.slots, h.state,"
    " coalesce(p.seen, 0), p.seq, coalesce(p.free, 0), CAST(h.previous AS text), CAST(h.labels AS text)) AS text)"
    " FROM fleet_handlers AS h LEFT JOIN {volatile}fleet_presence AS p ON p.id = h.id WHERE h.id = :handler),"
    " (SELECT CAST({all}({array}(id, epoch, status, handler, incarnation, is_moving, {url})) AS text)"
    " FROM fleet_jobs WHERE status = 'in_progress' AND handler = :handler)"
)
_HEARD_POSTGRES = text(
    BEGIN_POSTGRES + _HEARD.format(array="json_build_array", all="json_agg", volatile="", url="source->>'url'")
)
_HEARD_SQLITE = text(
    BEGIN_SQLITE
    + _HEARD.format(
        array="json_array",
        all="json_group_array",
        volatile=f"{VOLATILE}.",
        url="json_extract(source, '$.url')",
    )
)
"""What a transaction begins with, a handler, and the jobs that it holds, in one row: JSON is read faster than rows."""
_OTHERS = (
    select(func.sum(HANDLERS.c.slots), func.sum(PRESENCE.c.free))
    .select_from(HANDLERS.join(PRESENCE, PRESENCE.c.id == HANDLERS.c.id))
    .where(
        HANDLERS.c.id != bindparam("handler"),
        HANDLERS.c.state == text("'ready'"),
        PRESENCE.c.seen > bindparam("seen_after"),
    )
)
_OTHERS_BEFORE_A_CLAIM = _OTHERS.add_columns(_FOLLOW_INDEX)


@lru_cache(maxsize=64)
def _update_of(columns: tuple[str, ...]) -> Any:
    values: dict[str, Any] = {name: bindparam(name) for name in columns}
    return update(JOBS).where(JOBS.c.id == bindparam("row_id")).values(values)


def _columns_of(rows: Sequence[JobRow], columns: tuple[str, ...]) -> list[dict[str, Any]]:
    return [{name: getattr(row, name) for name in ("id", *columns)} for row in rows]


@lru_cache(maxsize=64)
def _update_given(columns: tuple[str, ...]) -> str:
    changes = ", ".join(f"{name} = given.{name}" for name in columns)
    given = given_rows(JOBS, ("id", *columns))
    return f"UPDATE {JOBS.name} SET {changes} FROM {given} WHERE {JOBS.name}.id = given.id"


@lru_cache(maxsize=8)
def _claim(columns: tuple[str, ...]) -> str:
    """All that a claim writes as one statement, because the lock of the handout rate is held meanwhile."""
    granted = insert_given(LEASES, tuple(column.name for column in LEASES.columns), "leases")
    writers = upsert_given(WRITERS, WRITER[:3], "leases")
    seen = upsert_given(PRESENCE, ("id",), "seen")
    written = {"jobs": _update_given(columns), "leases": granted, "writers": writers, "seen": seen}
    return f"WITH {', '.join(f'{name} AS ({statement})' for name, statement in written.items())} {INSERT_LOG}"


def _literals(row: HandlerRow) -> list[Any]:
    return [literal(getattr(row, column.name), column.type) for column in HANDLERS.columns]


def _handler_of(columns: list[Any]) -> HandlerRow:
    *plain, previous, labels = columns
    return HandlerRow(**dict(zip(_HEARD_COLUMNS, plain)), previous=json.loads(previous), labels=json.loads(labels))


def _reported(job: JobRow) -> Reported:
    return Reported(job.id, job.epoch, job.status, job.handler, job.incarnation, job.is_moving, job.source["url"])


def _handler(row: Row[Any]) -> HandlerRow:
    plain = dict(row._mapping)
    plain["seen"], plain["free"] = plain["seen"] or 0, plain["free"] or 0
    return HandlerRow(**plain)


@lru_cache(maxsize=4)
def _queue(is_postgres: bool, does_avoid: bool) -> Any:
    """The queue's order over what a handler may get; the values are those of a QueueFilter."""
    fits: Any
    if is_postgres:
        fits = JOBS.c.labels.op("<@")(bindparam("labels", type_=postgresql.JSONB))
    else:
        own = func.json_each(JOBS.c.labels).table_valued("value")
        given = func.json_each(bindparam("labels")).table_valued("value")
        others = select(1).select_from(own).where(own.c.value.not_in(select(given.c.value)))
        fits = or_(JOBS.c.labels == text("'[]'"), ~exists(others))
    query = _JOB.where(
        _PENDING,
        _NO_LEASE,
        fits,
        JOBS.c.not_before <= bindparam("now"),
        JOBS.c.pending_since <= bindparam("since"),
        JOBS.c.losses < bindparam("losses"),
    )
    if does_avoid:
        avoided = and_(JOBS.c.avoid_handler == bindparam("avoid_handler"), JOBS.c.avoid_until > bindparam("now"))
        query = query.where(or_(JOBS.c.avoid_handler.is_(None), ~avoided))
    order = query.order_by(JOBS.c.pending_since, JOBS.c.number).limit(bindparam("most"))
    return order.with_for_update(skip_locked=True)
