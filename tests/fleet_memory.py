"""A store in plain dicts for the explorer of interleavings: one stream, copies of rows, all or nothing.

Of the log it keeps what a replay needs: each job's last record; a pair that is not allowed is found when it is written.
``between`` is called inside ``expired``, between the look at the leases and their removal: another transaction may run
there, as it may on PostgreSQL.
"""

import random
from dataclasses import dataclass, field, replace

from kvspic.fleet.causes import Status
from kvspic.fleet.lease import KEPT_MS
from kvspic.fleet.records import HandlerRow, Held, Others, Reported, Settings
from kvspic.fleet.statuses import NONE, PAIRS


@dataclass
class Tables:
    """All rows."""

    jobs: dict = field(default_factory=dict)
    leases: dict = field(default_factory=dict)  # StreamKey -> Lease
    writers: dict = field(default_factory=dict)
    handlers: dict = field(default_factory=dict)
    last: dict = field(default_factory=dict)  # job -> (seq, status)
    claims: dict = field(default_factory=dict)  # (job, epoch) -> time
    settings: Settings = field(default_factory=lambda: Settings(spread_s=0))
    hold_until: int | None = None  # the sentinel

    def crash(self) -> None:
        """Lose what PostgreSQL keeps in UNLOGGED tables."""
        self.leases.clear()
        self.hold_until = None
        for row in self.handlers.values():
            row.seq, row.seen = None, 0


def run(tables, now, operation, *arguments, between=None, **more):
    """Run one operation at a time of the store's clock. What the explorer asks for is refused before it writes."""
    return operation(MemoryTx(tables, now, between), *arguments, **more)


class MemoryTx:
    """See :class:`kvspic.fleet.records.Tx`; what the explored operations do not use is missing."""

    def __init__(self, tables, now, between):
        self.tables, self.now, self.between = tables, now, between
        self.settings = tables.settings
        self.chance = random.Random(0)
        self.are_leases_lost = tables.hold_until is None
        self.hold_until = tables.hold_until or 0

    def new_id(self):
        return f"{len(self.tables.last) + 1:032x}"

    @staticmethod
    def copy_of(row):
        return None if row is None else replace(row)

    def job(self, ref, *, lock=False):
        return self.copy_of(self.tables.jobs.get(ref))

    def jobs(self, ids, *, lock=False):
        return {job_id: replace(self.tables.jobs[job_id]) for job_id in sorted(ids) if job_id in self.tables.jobs}

    def heard(self, handler, ids):
        columns = ("id", "epoch", "status", "handler", "incarnation", "is_moving")
        rows = self.jobs(ids).values()
        found = {row.id: Reported(*(getattr(row, name) for name in columns), row.source["url"]) for row in rows}
        return self.handler(handler), found

    def jobs_named(self, names):
        return {row.name: row for row in self.tables.jobs.values() if row.name in names}

    def jobs_of_streams(self, keys):
        return {row.key: row for row in self.tables.jobs.values() if row.key in keys}

    def insert_jobs(self, rows):
        for row in rows:
            row.number = len(self.tables.last)
            self.tables.jobs[row.id] = replace(row)

    def save(self, rows, columns):
        for row in rows:
            stored = self.tables.jobs[row.id]
            for name in columns:
                setattr(stored, name, getattr(row, name))

    def delete_jobs(self, ids):
        for job_id in ids:
            del self.tables.jobs[job_id]

    def count_jobs(self, *statuses):
        return sum(row.status in statuses for row in self.tables.jobs.values())

    def others(self, handler, seen_after):
        return Others(0, 0)

    def held(self, handler):
        rows = [row for row in self.tables.jobs.values() if row.status == "in_progress" and row.handler == handler]
        return [Held(*(getattr(row, name) for name in Held._fields)) for row in rows]

    def claimable(self, which):
        return [
            replace(row)
            for row in self.tables.jobs.values()
            if row.status == "pending" and row.not_before <= which.now and not self.holds_back(row)
        ][: which.limit]

    def queue_heads(self, limit):
        return [replace(row) for row in self.tables.jobs.values() if row.status == "pending"][:limit]

    def holds_back(self, row):
        """A lease of the row's stream is there, whatever its end."""
        return row.key in self.tables.leases

    def append_log(self, records):
        for record in records:
            seq, status = self.tables.last.get(record.job_id, (0, NONE))
            after = NONE if record.status == Status.DELETED else record.status
            assert record.seq == seq + 1
            assert (status, after) in PAIRS, (status, after)
            self.tables.last[record.job_id] = (record.seq, after)
            if after == "in_progress":
                self.tables.claims[record.job_id, record.epoch] = record.at

    def claimed_at(self, job_id, epoch):
        return self.tables.claims.get((job_id, epoch))

    def rebuild_leases(self, until):
        self.restore(until)
        self.tables.hold_until = self.hold_until = until if self.has_leases() else 0
        self.are_leases_lost = False

    def restore(self, until):
        for key, writer in self.tables.writers.items():
            self.tables.leases.setdefault(key, replace(writer, until=until))

    def has_leases(self):
        return bool(self.tables.leases)

    def claim(self, jobs, columns, leases, records, seen):
        self.saw_handler(seen)
        self.save(jobs, columns)
        self.append_log(records)
        for lease in leases:
            assert self.tables.leases.get(lease.key) is None or self.overwrites
            self.tables.leases[lease.key] = self.tables.writers[lease.key] = lease

    overwrites = False

    def renew(self, handler, incarnation, jobs, until, seen=None):
        renewed = set()
        if seen is not None:
            self.saw_handler(seen)
        for key, lease in self.of(handler, incarnation, jobs):
            self.tables.leases[key] = replace(lease, until=self.later(lease.until, until))
            renewed.add(lease.job_id)
        return renewed

    def later(self, old, new):
        """The end of a lease that is renewed: a promise is never taken back."""
        return max(old, new)

    def of(self, handler, incarnation, jobs):
        found = list(self.tables.leases.items())
        return [
            (key, lease)
            for key, lease in found
            if (lease.handler, lease.incarnation) == (handler, incarnation) and (lease.job_id, lease.epoch) in jobs
        ]

    def renew_all(self, until):
        for key, lease in self.tables.leases.items():
            if not until <= lease.until <= until + KEPT_MS:
                self.tables.leases[key] = replace(lease, until=until)
        self.restore(until)

    def leases_of(self, handler):
        return [lease for lease in self.tables.leases.values() if lease.handler == handler]

    def release(self, handler, incarnation, jobs):
        for table in (self.tables.leases, self.tables.writers):
            for key, lease in list(table.items()):
                mine = (lease.handler, lease.incarnation) == (handler, incarnation)
                if mine and (lease.job_id, lease.epoch) in jobs:
                    del table[key]

    def expired(self, now, limit):
        found = [key for key, lease in self.tables.leases.items() if lease.until <= now]
        if self.between is not None:
            self.between()
        found = [key for key in found if self.is_still_over(key, now)]
        gone = [self.tables.leases.pop(key) for key in found]
        for lease in gone:
            self.tables.writers.pop(lease.key, None)
        return gone

    def is_still_over(self, key, now):
        """The lease ended, looked at again when it is removed."""
        return key in self.tables.leases and self.tables.leases[key].until <= now

    def lease_ends(self):
        return {lease.handler: lease.until for lease in self.tables.leases.values()}

    def stats(self, ids):
        return {}

    def handler(self, name):
        return self.copy_of(self.tables.handlers.get(name))

    def handler_locked(self, name):
        return self.copy_of(self.tables.handlers.get(name)) or HandlerRow(name)

    def save_handler(self, row):
        self.tables.handlers[row.id] = replace(row)

    def saw_handler(self, row):
        if row.id in self.tables.handlers:
            stored = self.tables.handlers[row.id]
            stored.seen, stored.seq, stored.free = row.seen, row.seq, row.free

    def take_tokens(self, bucket, wanted, rate, burst):
        return wanted

    def put_settings(self, values):
        self.tables.settings = self.settings = Settings(**{**self.settings.__dict__, **values})

    def announce(self, kind, name):
        pass
