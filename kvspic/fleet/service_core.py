"""What the operations share: finding and showing jobs, and one way to change a job's status. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping
from typing import Any

from kvspic.fleet import autorestart
from kvspic.fleet.causes import Cause, Status
from kvspic.fleet.errors import BadFieldError, NotFoundError
from kvspic.fleet.jobs import HANDLER_NAME, show_source
from kvspic.fleet.lease import promised_ms
from kvspic.fleet.records import JobRow, LogRecord, Tx, time_of, time_text
from kvspic.fleet.statuses import Change, change

__all__ = [
    "CHANGED",
    "check_handler",
    "find",
    "guard_leases",
    "lose",
    "read_time",
    "restart_settings",
    "show_job",
    "show_jobs",
    "show_log",
    "transition",
    "until",
]

CHANGED = (
    "status",
    "status_since",
    "pending_since",
    "log_seq",
    "handler",
    "incarnation",
    "is_moving",
    "losses",
    "not_before",
    "updated",
    *autorestart.RESTART_COLUMNS,
)
"""The columns that a change of the status may touch."""
LOSSES_MAX = 3
"""A job that lost so many handlers in a row, each soon after its claim, waits before the next claim."""
_RESTART_FIELDS = ("restart", "attempt_count", "delay", "backoff", "delay_max", "jitter", "success")


def find(tx: Tx, ref: str, *, lock: bool = False) -> JobRow:
    """Return the job that ``ref`` names. Raises NotFoundError."""
    row = tx.job(ref, lock=lock) if ref and "\x00" not in ref else None
    if row is None:
        raise NotFoundError(f"There is no job {ref!r}; name one by its id, or by its name after @.", job=ref)
    return row


def check_handler(name: str) -> None:
    """Raise BadFieldError for what cannot be the name of a handler."""
    if not re.fullmatch(HANDLER_NAME, name):
        raise BadFieldError("handler", f"must match {HANDLER_NAME}")


def read_time(text: str, field: str) -> int:
    """Return the milliseconds of an RFC 3339 time. Raises BadFieldError."""
    try:
        return time_of(text)
    except (ValueError, OverflowError):
        raise BadFieldError(field, "must be a time such as 2026-01-01T00:00:00Z") from None


def transition(
    tx: Tx, row: JobRow, event: str, cause: Cause, *, wanted: str | None = None, error: tuple[str, str] | None = None
) -> list[LogRecord] | None:
    """Take one event of the status machine: change the row, and return the log records of it, which are not stored yet.

    The caller stores both in the same transaction. On a claim ``row.handler`` is set before.

    Args:
        wanted: the status that the body of a create or replace asks for.
        error: class and text of a failure.

    Returns:
        None where the event is refused; the row is as before.
    """
    made = change(row.status, event, cause, live=row.live, wanted=wanted)
    if made is None:
        return None
    was, handler = row.status, row.handler
    records = [_record(tx, row, step, handler if index == 0 else None, error) for index, step in enumerate(made)]
    row.status, row.status_since, row.updated = made[-1].status.value, tx.now, tx.now
    if row.status == Status.PENDING:
        row.pending_since = tx.now
        tx.announce("work", row.id)
    if was == Status.IN_PROGRESS:
        row.handler, row.incarnation, row.is_moving = None, None, False
        tx.announce("stop", handler or "")
    tx.announce("job", row.id)
    return records


def _record(tx: Tx, row: JobRow, step: Change, handler: str | None, error: tuple[str, str] | None) -> LogRecord:
    row.log_seq += 1
    error_class, error_text = error or (None, None)
    return LogRecord(
        job_id=row.id,
        seq=row.log_seq,
        at=tx.now,
        name=row.name,
        status=step.status.value,
        cause=step.cause.value,
        actor=step.actor.value,
        epoch=row.epoch,
        version=row.version,
        handler=handler,
        error_class=error_class,
        error_text=error_text,
    )


def lose(tx: Tx, row: JobRow, cause: Cause) -> list[LogRecord]:
    """Take a locked job in progress from a handler that is lost; return its log records, which are not stored yet."""
    was_short = tx.now - row.status_since < row.ar_delay * 1000
    row.losses = row.losses + 1 if was_short else 1
    if row.losses >= LOSSES_MAX:
        row.not_before = tx.now + autorestart.wait_ms(row, row.losses - LOSSES_MAX + 1, tx.chance)
    autorestart.left_handler(row)
    return transition(tx, row, "lost", cause) or []


def until(tx: Tx) -> int:
    """Return the end of a lease that is granted or renewed now."""
    return tx.now + round(tx.settings.lease_s * 1000)


def guard_leases(tx: Tx) -> bool:
    """Rebuild the leases if a crash of the store has lost them; say whether claims are held back.

    After a rebuild nothing is handed out for one lease, unless no lease is left before.
    """
    if tx.are_leases_lost:
        tx.rebuild_leases(tx.now + promised_ms(tx.settings.lease_s, tx.settings.promise_ms))
        return tx.has_leases()
    return tx.hold_until > tx.now and tx.has_leases()


def show_jobs(tx: Tx, rows: Collection[JobRow]) -> list[dict[str, Any]]:
    """Return jobs as answers show them."""
    stats = tx.stats([row.id for row in rows])
    return [show_job(tx, row, stats) for row in rows]


def show_job(tx: Tx, row: JobRow, stats: Mapping[str, tuple[int, int, str]] | None = None) -> dict[str, Any]:
    """Return one job as answers show it: no password, times as text."""
    stats = tx.stats([row.id]) if stats is None else stats
    epoch, at, text = stats.get(row.id, (0, 0, ""))
    is_fresh = bool(text) and epoch == row.epoch
    waits = row.not_before if row.status == Status.PENDING and row.not_before > tx.now else None
    return {
        "id": row.id,
        "name": row.name,
        "description": row.description,
        "stream": row.stream,
        "endpoint": row.endpoint,
        "region": row.region,
        "source": show_source(row.source),
        "group": row.group_name,
        "labels": list(row.labels),
        "options": dict(row.options),
        "live": row.live,
        "status": row.status,
        "status_since": time_text(row.status_since),
        "version": row.version,
        "epoch": row.epoch,
        "handler": row.handler,
        "error": None if row.error_class is None else {"class": row.error_class, "text": row.error_text or ""},
        "autorestart": _show_restart(row),
        "fenced": row.options.get("on_server_loss") != "keep",
        "waits_until": None if waits is None else time_text(waits),
        "stats": json.loads(text) if is_fresh else None,
        "stats_at": time_text(at) if is_fresh else None,
        "created": time_text(row.created),
        "updated": time_text(row.updated),
    }


def restart_settings(row: JobRow) -> dict[str, Any]:
    """Return the settings of a job's autorestart."""
    return {name: getattr(row, f"ar_{name}") for name in _RESTART_FIELDS}


def _show_restart(row: JobRow) -> dict[str, Any]:
    return {
        **restart_settings(row),
        "status": row.ar_status,
        "current_attempt": row.ar_current,
        "last_attempt_time": None if row.ar_last is None else time_text(row.ar_last),
    }


def show_log(record: LogRecord) -> dict[str, Any]:
    """Return a log record as answers show it."""
    has_error = record.error_class is not None
    return {
        "job": record.job_id,
        "name": record.name,
        "seq": record.seq,
        "time": time_text(record.at),
        "status": record.status,
        "cause": record.cause,
        "actor": record.actor,
        "epoch": record.epoch,
        "version": record.version,
        "handler": record.handler,
        "error": {"class": record.error_class, "text": record.error_text or ""} if has_error else None,
    }
