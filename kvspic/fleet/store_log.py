"""The log of a transaction, and export and import: of :class:`kvspic.fleet.records.Tx` what is of plain rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Row, Select, delete, exists, insert, literal, or_, select, text, tuple_

from kvspic.fleet.causes import Status
from kvspic.fleet.records import LogFilter, LogRecord
from kvspic.fleet.schema import HANDLERS, JOBS, LOG, SETTINGS, WRITERS
from kvspic.fleet.store_base import SqlBase, insert_given

__all__ = ["INSERT_LOG", "SqlLog", "log_rows"]

_EXPORTED = (SETTINGS, HANDLERS, JOBS, LOG, WRITERS)
_LOG_COLUMNS = tuple(column.name for column in LOG.columns if column.name not in ("number", "tx"))


INSERT_LOG = insert_given(LOG, _LOG_COLUMNS, "log", tx="pg_current_xact_id()::text::bigint")
"""Appends the rows of the parameter ``log``, on PostgreSQL."""


def log_rows(records: Sequence[LogRecord]) -> list[dict[str, Any]]:
    """Return records as rows of the table."""
    return [{name: getattr(record, name) for name in _LOG_COLUMNS} for record in records]


class SqlLog(SqlBase):
    """The log, export and import."""

    def append_log(self, records: Sequence[LogRecord]) -> None:
        """See Tx."""
        if records:
            self._append(log_rows(records))

    def _append(self, plain: list[dict[str, Any]]) -> None:
        if self._is_postgres:
            self._execute(INSERT_LOG, log=plain)
        else:
            self._insert(LOG, [{**row, "tx": 0} for row in plain])

    def logs(self, which: LogFilter) -> list[LogRecord]:
        """See Tx."""
        query = select(LOG).limit(which.limit)
        if which.job_id is not None:
            query = query.where(LOG.c.job_id == which.job_id, LOG.c.seq > int(which.after or 0)).order_by(LOG.c.seq)
        else:
            tx, _, number = (which.after or "0-0").rpartition("-")
            query = query.where(tuple_(LOG.c.tx, LOG.c.number) > tuple_(literal(int(tx or 0)), literal(int(number))))
            query = query.order_by(LOG.c.tx, LOG.c.number)
            if self._is_postgres:
                query = query.where(LOG.c.tx < text("pg_snapshot_xmin(pg_current_snapshot())::text::bigint"))
        query = query if which.status is None else query.where(LOG.c.status == which.status)
        query = query if which.since is None else query.where(LOG.c.at >= which.since)
        return [_log_record(row) for row in self._connection.execute(query)]

    def logged_job(self, ref: str) -> str | None:
        """See Tx."""
        condition = LOG.c.name == ref[1:] if ref.startswith("@") else LOG.c.job_id == ref
        return self._connection.execute(
            select(LOG.c.job_id).where(condition).order_by(LOG.c.number.desc()).limit(1)
        ).scalar()

    def logged_jobs(self, after: str, limit: int) -> list[str]:
        """See Tx."""
        query = select(LOG.c.job_id).where(LOG.c.job_id > after).group_by(LOG.c.job_id).order_by(LOG.c.job_id)
        return list(self._connection.execute(query.limit(limit)).scalars())

    def claimed_at(self, job_id: str, epoch: int) -> int | None:
        """See Tx."""
        query = select(LOG.c.at).where(LOG.c.job_id == job_id, LOG.c.epoch == epoch, LOG.c.status == Status.IN_PROGRESS)
        return self._connection.execute(query).scalar()

    def delete_logs(self, before: int, limit: int) -> int:
        """See Tx."""
        newer = LOG.alias()
        old = select(LOG.c.number).where(
            LOG.c.at < before,
            exists(select(1).select_from(newer).where(newer.c.job_id == LOG.c.job_id, newer.c.seq > LOG.c.seq)),
        )
        return self._connection.execute(delete(LOG).where(LOG.c.number.in_(old.limit(limit)))).rowcount

    def export_rows(self, after: str, limit: int) -> tuple[list[dict[str, Any]], str | None]:
        """See Tx."""
        name, _, at = after.partition(":")
        tables = {table.name: table for table in _EXPORTED}
        order = list(tables)
        here = name or order[0]
        table = tables[here]
        query: Select[Any] = select(table).order_by(*table.primary_key.columns).limit(limit).offset(int(at or 0))
        if "number" in table.columns:
            query = select(table).where(table.c.number > int(at or 0)).order_by(table.c.number).limit(limit)
        rows = [dict(row._mapping) for row in self._connection.execute(query)]
        if len(rows) == limit:
            position = f"{here}:{rows[-1]['number'] if 'number' in table.columns else int(at or 0) + limit}"
        elif here != order[-1]:
            position = f"{order[order.index(here) + 1]}:"
        else:
            position = ""
        return [{"kind": here, **row} for row in rows], position or None

    def import_rows(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """See Tx."""
        tables = {table.name: table for table in _EXPORTED}
        for name, table in tables.items():
            plain = [
                {key: value for key, value in row.items() if key not in ("kind", "number", "tx")}
                for row in rows
                if row["kind"] == name
            ]
            if plain and table is LOG:
                self._append(plain)
            elif plain:
                self._connection.execute(insert(table), plain)

    def is_empty(self) -> bool:
        """See Tx."""
        anything = or_(exists(select(1).select_from(JOBS)), exists(select(1).select_from(LOG)))
        return self._connection.execute(select(1).where(anything)).first() is None


def _log_record(row: Row[Any]) -> LogRecord:
    plain = {name: value for name, value in row._mapping.items() if name not in ("number", "tx")}
    return LogRecord(**plain, position=f"{row.tx}-{row.number}")
