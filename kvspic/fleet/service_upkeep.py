"""What servers do by themselves: sweep, automatic restarts, retention, master, check, export and import. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from kvspic.fleet import autorestart
from kvspic.fleet.causes import Cause, Status
from kvspic.fleet.errors import BadFieldError
from kvspic.fleet.lease import promised_ms, silence_notice
from kvspic.fleet.records import JobRow, Lease, LogFilter, LogRecord, Tx
from kvspic.fleet.service_core import CHANGED, guard_leases, lose, transition
from kvspic.fleet.statuses import NONE, PAIRS

__all__ = [
    "Checked",
    "Swept",
    "check_logs",
    "export_page",
    "import_rows",
    "keep_logs",
    "keep_master",
    "restart_due",
    "sweep",
]


MASTER_MS = 10_000
DAY_MS = 24 * 3600 * 1000
LOG_PAGE = 1000


@dataclass(frozen=True)
class Swept:
    """What a sweep found: jobs declared lost, whether there may be more, and why it declared no handler lost."""

    lost: list[str]
    has_more: bool = False
    notice: str = ""


@dataclass(frozen=True)
class Checked:
    """One batch of a check: faulty rows in words; ``next`` is ``after`` of the next one, None at the end."""

    jobs: int
    faults: list[str] = field(default_factory=list)
    next: str | None = None


def keep_master(tx: Tx, owner: str) -> bool:
    """Make this server the master for 10 s, unless another one is; say whether it is. Call it every 3 s."""
    return tx.take_master(owner, tx.now + MASTER_MS)


def sweep(tx: Tx, *, renew: bool = False, limit: int = 200) -> Swept:
    """Declare the handlers lost whose leases ended; once a second, by the master only.

    Args:
        renew: treat all leases as renewed now, because this server could not have heard the handlers or the clock
            stepped; :class:`kvspic.fleet.lease.SweepWatch` says when.
        limit: leases in one transaction.
    """
    if tx.are_leases_lost:
        guard_leases(tx)
        return Swept([])
    settings = tx.settings
    if renew:
        longest = promised_ms(settings.lease_s, settings.promise_ms)
        tx.renew_all(tx.now + longest)
        if settings.promise_ms:
            tx.put_settings({"promise_until": tx.now + longest})
        return Swept([])
    if settings.promise_ms and tx.now >= settings.promise_until:
        tx.put_settings({"promise_ms": 0})
    notice = silence_notice(tx.lease_ends(), tx.now, settings.lease_s)
    if notice:
        return Swept([], notice=notice)
    leases = tx.expired(tx.now, limit)
    lost = _lose_holders(tx, leases)
    if leases:
        tx.announce("work", "")  # released leases may have held jobs back
    return Swept([row.id for row in lost], has_more=len(leases) == limit)


def restart_due(tx: Tx, *, limit: int = 200) -> int:
    """Look at the jobs whose autorestart is due and restart those in failure; return how many were restarted."""
    rows = tx.due(tx.now, limit)
    failed = [row for row in rows if row.status == Status.FAILURE and row.ar_status == "in_progress"]
    settled = [row for row in rows if row not in failed]
    for row in settled:
        autorestart.window_ended(row, tx.now)
        tx.announce("job", row.id)
    rate = tx.settings.restart_rate
    count = tx.take_tokens("restart", len(failed), rate, max(1.0, rate)) if failed else 0
    records: list[LogRecord] = []
    for row in failed[:count]:
        records += transition(tx, row, "autorestart", Cause.AUTORESTART) or []
        autorestart.attempted(row, tx.now)
    tx.append_log(records)
    tx.save([*settled, *failed[:count]], CHANGED)
    return count


def keep_logs(tx: Tx, *, limit: int = 10_000) -> int:
    """Delete log records that are older than the setting keeps, and forget old idempotency keys and lost handlers."""
    tx.forget_idempotent(tx.now - DAY_MS)
    held = tx.held_counts()
    for handler in tx.handlers():
        if handler.seen < tx.now - DAY_MS and handler.id not in held and handler.state == "ready":
            tx.delete_handler(handler.id)
    days = tx.settings.logs_keep_days
    return tx.delete_logs(tx.now - round(days * DAY_MS), limit) if days else 0


def check_logs(tx: Tx, *, after: str = "", limit: int = 200) -> Checked:
    """Replay the logs of a batch of jobs: each must end in the job's status over allowed pairs only."""
    ids = tx.logged_jobs(after, limit)
    rows = tx.jobs(ids)
    faults = [fault for job_id in ids for fault in _check_job(tx, job_id, rows.get(job_id))]
    return Checked(len(ids), faults, ids[-1] if len(ids) == limit else None)


def export_page(tx: Tx, *, after: str = "", limit: int = 500) -> dict[str, Any]:
    """Return rows of the durable tables, JSON-ready: ``{"rows": [{"kind", ...}], "next": text or null}``.

    Sources are whole in them: who reads an export reads the passwords of cameras.
    """
    rows, position = tx.export_rows(after, limit)
    return {"rows": rows, "next": position}


def import_rows(tx: Tx, rows: Sequence[dict[str, Any]], *, is_first: bool = True) -> int:
    """Store what ``export_page`` returned; return how many rows. Handlers that carry jobs go on with them.

    Args:
        is_first: nothing was imported before: the store must be empty.

    Raises:
        BadFieldError: the store has jobs, or a row is not one of an export.
    """
    if is_first and not tx.is_empty():
        raise BadFieldError("", "the store has jobs already; import into an empty one")
    tx.import_rows(rows)
    tx.rebuild_leases(tx.now + promised_ms(tx.settings.lease_s, tx.settings.promise_ms))
    return len(rows)


def _lose_holders(tx: Tx, leases: Sequence[Lease]) -> list[JobRow]:
    rows = tx.jobs([lease.job_id for lease in leases], lock=True)
    lost: list[JobRow] = []
    records: list[LogRecord] = []
    for lease in leases:
        row = rows.get(lease.job_id)
        writer = (lease.epoch, lease.handler, lease.incarnation)
        if row is not None and row.status == Status.IN_PROGRESS and (row.epoch, row.handler, row.incarnation) == writer:
            records += lose(tx, row, Cause.LEASE)
            lost.append(row)
    tx.append_log(records)
    tx.save(lost, CHANGED)
    return lost


def _check_job(tx: Tx, job_id: str, row: JobRow | None) -> list[str]:
    """Replay one job's log; return what is wrong with it, in words."""
    records = _whole_log(tx, job_id)
    faults = []
    status = NONE if records[0].seq == 1 else records[0].status
    expected = records[0].seq
    for index, record in enumerate(records):
        after = NONE if record.status == Status.DELETED else record.status
        if record.seq != expected:
            faults.append(f"job {job_id}: record {expected} is missing before {record.seq}")
        elif (index or record.seq == 1) and (status, after) not in PAIRS:
            faults.append(f"job {job_id}: record {record.seq} goes from {status} to {after}, which is not allowed")
        status, expected = after, record.seq + 1
    stored = NONE if row is None else row.status
    if stored != status:
        faults.append(f"job {job_id}: its log ends in {status}, its status is {stored}")
    return faults


def _whole_log(tx: Tx, job_id: str) -> list[LogRecord]:
    found: list[LogRecord] = []
    while page := tx.logs(LogFilter(job_id=job_id, after=str(found[-1].seq if found else 0), limit=LOG_PAGE)):
        found += page
    return found
