"""Rows of the fleet's tables as values, and ``Tx``: what the operations of ``service`` ask of a transaction. Pure.

Times are milliseconds of the store's clock, since the Unix epoch. A row that was read for a change is locked until the
transaction ends. Everything that an operation does through its ``Tx`` is committed together or not at all.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from typing import Any, Concatenate, NamedTuple, ParamSpec, Protocol, TypeVar

__all__ = [
    "Announcement",
    "Backfill",
    "Chance",
    "HandlerRow",
    "Held",
    "JobFilter",
    "JobRow",
    "Lease",
    "LogFilter",
    "LogRecord",
    "Others",
    "QueueFilter",
    "Reported",
    "Settings",
    "Store",
    "StreamKey",
    "Tx",
    "time_of",
    "time_text",
]

P = ParamSpec("P")
T = TypeVar("T")
_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)


def time_text(ms: int) -> str:
    """Return milliseconds since the Unix epoch as RFC 3339 in UTC, with milliseconds."""
    return (_EPOCH + timedelta(milliseconds=ms)).isoformat(timespec="milliseconds")[:-6] + "Z"


def time_of(text: str) -> int:
    """Return the milliseconds since the Unix epoch of an RFC 3339 time with its zone.

    Raises:
        ValueError: it is no such time.
    """
    found = datetime.fromisoformat(text.strip().upper().replace("Z", "+00:00"))
    if found.tzinfo is None:
        raise ValueError("the time has no zone")
    return (found - _EPOCH) // timedelta(milliseconds=1)


class StreamKey(NamedTuple):
    """What one writer at a time may write: a stream of one region at one endpoint; empty texts are defaults."""

    endpoint: str
    region: str
    stream: str


@dataclass(slots=True)
class JobRow:
    """One job. The fields that begin with ``ar_`` belong to its autorestart; ``not_before`` holds back its claim."""

    id: str
    name: str
    stream: str
    source: dict[str, Any]
    options: dict[str, Any]
    number: int = 0  # creation order
    endpoint: str = ""
    region: str = ""
    description: str = ""
    group_name: str | None = None
    labels: list[str] = field(default_factory=list)
    live: bool = True
    status: str = "none"
    status_since: int = 0
    pending_since: int = 0
    epoch: int = 0  # rises at each claim
    version: int = 1  # rises at each replace
    log_seq: int = 0  # of the newest log record
    handler: str | None = None
    incarnation: str | None = None
    is_moving: bool = False  # its handler is asked to hand it back
    avoid_handler: str | None = None
    avoid_until: int = 0
    losses: int = 0  # in a row, each soon after a claim
    not_before: int = 0
    error_class: str | None = None
    error_text: str | None = None
    ar_restart: bool = True
    ar_attempt_count: int | None = 10
    ar_delay: float = 60
    ar_backoff: float = 2
    ar_delay_max: float = 3600
    ar_jitter: float = 0.2
    ar_success: str = "held"
    ar_status: str = "enabled"
    ar_current: int = 0
    ar_last: int | None = None  # time of the last attempt
    ar_window_from: int | None = None
    ar_due: int | None = None  # when the restart task has to look at it
    created: int = 0
    updated: int = 0

    @property
    def key(self) -> StreamKey:
        """The stream that the job writes."""
        return StreamKey(self.endpoint, self.region, self.stream)


@dataclass(frozen=True, slots=True)
class LogRecord:
    """One change of a job's status, for ever."""

    job_id: str
    seq: int
    at: int
    name: str
    status: str
    cause: str
    actor: str
    epoch: int
    version: int
    handler: str | None = None
    error_class: str | None = None
    error_text: str | None = None
    position: str = ""  # where a reader goes on in the log of all jobs


@dataclass(slots=True)
class HandlerRow:
    """A worker. ``previous``: incarnations before. A crash of the store may lose ``seen``, ``seq`` and ``free``."""

    id: str
    incarnation: str = ""
    generation: int = 0
    previous: list[str] = field(default_factory=list)
    host: str | None = None
    version: str = ""
    labels: list[str] = field(default_factory=list)
    slots: int = 0
    state: str = "ready"  # ready | draining
    seen: int = 0
    seq: int | None = None
    free: int = 0


@dataclass(frozen=True, slots=True)
class Lease:
    """The right of one handler to write one stream until a moment."""

    key: StreamKey
    job_id: str
    epoch: int
    handler: str
    incarnation: str
    until: int


@dataclass(frozen=True, slots=True)
class Backfill:
    """The right of one handler to upload what it had spooled of a job."""

    job_id: str
    handler: str
    until: int


@dataclass(frozen=True)
class Settings:
    """Settings of the whole fleet; units are in the names, rates are per second."""

    lease_s: float = 20
    spread_s: float = 3
    in_progress_max: int = 0
    handout_rate: float = 100
    handout_burst: int = 200
    restart_rate: float = 10
    logs_keep_days: float = 0
    logs_check_s: float = 180
    promise_ms: int = 0  # a longer lease that was in force before, on which handlers may still rely,
    promise_until: int = 0  # until a sweep finds this moment passed


@dataclass(frozen=True)
class JobFilter:
    """Which jobs a page shows, in creation order; None: any."""

    status: str | None = None
    group: str | None = None
    label: str | None = None
    handler: str | None = None
    name: str | None = None
    after: int = 0  # creation number
    limit: int = 100


@dataclass(frozen=True)
class LogFilter:
    """Which log records a page shows; of one job by their sequence, of all jobs in the order of commits."""

    job_id: str | None = None
    status: str | None = None
    since: int | None = None
    after: str = ""
    limit: int = 100


@dataclass(frozen=True)
class QueueFilter:
    """Which pending jobs a handler may get: those whose labels are all among its own, that no lease holds back."""

    labels: tuple[str, ...]
    limit: int
    now: int
    since: int | None = None  # pending since then or longer; None: any
    avoid_handler: str | None = None  # leave out the jobs that avoid this handler
    without_suspects: int | None = None  # leave out jobs with so many losses or more


class Announcement(NamedTuple):
    """What a commit changed, for those who wait: ``kind`` is work, job, stop or handler; ``name`` its id."""

    kind: str
    name: str


class Held(NamedTuple):
    """What a poll has to know of a job that its handler carries."""

    id: str
    epoch: int
    incarnation: str | None
    is_moving: bool
    losses: int
    status_since: int
    ar_delay: float


class Reported(NamedTuple):
    """What a feedback has to know of a job that goes on; ``url`` is its source's."""

    id: str
    epoch: int
    status: str
    handler: str | None
    incarnation: str | None
    is_moving: bool
    url: str


class Chance(Protocol):
    """A generator of random numbers, such as ``random.Random``."""

    def random(self) -> float:
        """Return a number of at least 0, less than 1."""


class Others(NamedTuple):
    """What all other ready handlers have: those that were seen within a lease and do not drain."""

    slots: int
    free: int


class Tx(Protocol):
    """One transaction of a store. ``now``, ``settings`` and ``are_leases_lost`` are as of its begin.

    Locks are taken in one order: leases, then jobs, then buckets.
    """

    now: int
    settings: Settings
    chance: Chance
    are_leases_lost: bool
    """The leases have been lost with their sentinel, by a crash of the store."""
    hold_until: int
    """The moment up to which rebuilt leases hold back claims; 0: there are none."""

    def new_id(self) -> str:
        """Return 32 random hexadecimal digits."""

    def job(self, ref: str, *, lock: bool = False) -> JobRow | None:
        """Return the job with that id, or with the name that stands after ``@``."""

    def jobs(self, ids: Collection[str], *, lock: bool = False) -> dict[str, JobRow]:
        """Return the jobs with these ids, as far as they exist; locked in the order of their numbers."""

    def heard(self, handler: str, ids: Collection[str]) -> tuple[HandlerRow | None, dict[str, Reported]]:
        """Return a handler, and what a feedback has to know of jobs: its own, and those with these ids, if they exist.

        Nothing is locked. As the first call of a transaction it costs one statement, with what begins the transaction.
        """

    def jobs_named(self, names: Collection[str]) -> dict[str, JobRow]:
        """Return the jobs with these names by name, locked."""

    def jobs_of_streams(self, keys: Collection[StreamKey]) -> dict[StreamKey, JobRow]:
        """Return the jobs that write these streams, not locked."""

    def list_jobs(self, which: JobFilter) -> list[JobRow]:
        """Return a page of jobs in creation order, at most ``which.limit``."""

    def group(self, name: str | None, after: int, limit: int) -> list[JobRow]:
        """Return and lock jobs of a group (None: of all) with a number above ``after``, in creation order."""

    def insert_jobs(self, rows: Sequence[JobRow]) -> None:
        """Store new jobs and fill in their numbers."""

    def save(self, rows: Sequence[JobRow], columns: tuple[str, ...]) -> None:
        """Store these columns of jobs that were locked."""

    def claim(
        self,
        jobs: Sequence[JobRow],
        columns: tuple[str, ...],
        leases: Sequence[Lease],
        records: Sequence[LogRecord],
        seen: HandlerRow,
    ) -> None:
        """Store these columns of jobs that were locked, new leases with their writers, log records, and ``seen``.

        No stream of the leases may have a lease.
        """

    def delete_jobs(self, ids: Collection[str]) -> None:
        """Remove jobs, with their numbers of ``stats`` and their backfills."""

    def http_endpoints(self, limit: int) -> list[str]:
        """Return the different endpoints of jobs that begin with ``http://``, at most ``limit``."""

    def status_counts(self) -> dict[str, int]:
        """Return how many jobs each status has."""

    def count_jobs(self, *statuses: str) -> int:
        """Return how many jobs have one of these statuses; reads all of them."""

    def others(self, handler: str, seen_after: int) -> Others:
        """Return what the ready handlers but this one have."""

    def held(self, handler: str) -> list[Held]:
        """Return the jobs in progress of a handler, not locked, in creation order."""

    def held_counts(self) -> dict[str, int]:
        """Return how many jobs in progress each handler has."""

    def claimable(self, which: QueueFilter) -> list[JobRow]:
        """Return and lock pending jobs in the queue's order, passing over those that another claim has locked."""

    def queue_heads(self, limit: int) -> list[JobRow]:
        """Return the first pending jobs in the queue's order, not locked."""

    def due(self, now: int, limit: int) -> list[JobRow]:
        """Return and lock jobs whose autorestart is due, oldest due first, passing over what is locked."""

    def append_log(self, records: Sequence[LogRecord]) -> None:
        """Append to the log."""

    def logs(self, which: LogFilter) -> list[LogRecord]:
        """Return a page of log records."""

    def logged_job(self, ref: str) -> str | None:
        """Return the id of the job that the log knows by this id, or by the name after ``@`` (the newest one)."""

    def logged_jobs(self, after: str, limit: int) -> list[str]:
        """Return ids of jobs that the log knows, above ``after``, in their order."""

    def claimed_at(self, job_id: str, epoch: int) -> int | None:
        """Return when the log says that a job was claimed for an epoch."""

    def delete_logs(self, before: int, limit: int) -> int:
        """Delete up to ``limit`` log records older than ``before``, never a job's newest; return how many."""

    def rebuild_leases(self, until: int) -> None:
        """Write a lease until then for each writer, and the sentinel, which holds back claims if there was a writer."""

    def has_leases(self) -> bool:
        """Say whether any stream has a lease."""

    def renew(
        self,
        handler: str,
        incarnation: str,
        jobs: Mapping[tuple[str, int], str | None],
        until: int,
        seen: HandlerRow | None = None,
    ) -> set[str]:
        """Renew leases of (job, epoch) of an incarnation, never to an earlier moment; return the jobs that had one.

        Of these the newest numbers are kept, which are given as JSON text; None: none are given. ``seen``: the handler;
        its ``seen`` and ``free`` are stored, and not ``seq``, which a poll may have raised meanwhile.
        """

    def renew_all(self, until: int) -> None:
        """Set every lease to this moment, but for those that end within the minute after it: a promise is kept."""

    def leases_of(self, handler: str) -> list[Lease]:
        """Return a handler's leases."""

    def release(self, handler: str, incarnation: str, jobs: Collection[tuple[str, int]]) -> None:
        """Delete leases of (job, epoch) of an incarnation, and their writers."""

    def expired(self, now: int, limit: int) -> list[Lease]:
        """Delete up to ``limit`` leases that ended at ``now`` or before, with their writers, and return them."""

    def lease_ends(self) -> dict[str, int]:
        """Return the latest end of the leases of each handler that has any."""

    def stats(self, ids: Collection[str]) -> dict[str, tuple[int, int, str]]:
        """Return the newest numbers of jobs: (epoch, time, JSON text) by job."""

    def handler(self, name: str) -> HandlerRow | None:
        """Return a handler, not locked."""

    def handler_locked(self, name: str) -> HandlerRow:
        """Return a handler, locked; one that is not known yet is made under the lock of its name."""

    def handlers(self) -> list[HandlerRow]:
        """Return all handlers by name."""

    def save_handler(self, row: HandlerRow) -> None:
        """Store a handler without ``seen``, ``seq`` and ``free``."""

    def saw_handler(self, row: HandlerRow) -> None:
        """Store ``seen``, ``seq`` and ``free`` only, which a crash of the store may lose."""

    def delete_handler(self, name: str) -> None:
        """Remove a handler."""

    def take_tokens(self, bucket: str, wanted: int, rate: float, burst: float) -> int:
        """Take up to ``wanted`` tokens of a shared bucket that fills by ``rate`` a second; lock it; return how many."""

    def take_master(self, owner: str, until: int) -> bool:
        """Make ``owner`` the master until then, unless another still is; say whether it is."""

    def idempotent(self, key: str) -> tuple[str, str] | None:
        """Return job id and answer (JSON text) of the request that had this key."""

    def keep_idempotent(self, key: str, job_id: str, answer: str) -> None:
        """Remember what a request with this key was answered."""

    def forget_idempotent(self, before: int) -> None:
        """Forget the keys that were used before."""

    def put_settings(self, values: Mapping[str, float]) -> None:
        """Store settings."""

    def backfill(self, job_id: str) -> Backfill | None:
        """Return a job's backfill."""

    def put_backfill(self, row: Backfill) -> None:
        """Store a job's backfill."""

    def export_rows(self, after: str, limit: int) -> tuple[list[dict[str, Any]], str | None]:
        """Return rows of the durable tables, with the position of the next ones."""

    def import_rows(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Store rows that ``export_rows`` of any store returned."""

    def is_empty(self) -> bool:
        """Say whether neither a job nor a log record is stored."""

    def announce(self, kind: str, name: str) -> None:
        """Announce a change when the transaction has been committed."""


class Store(Protocol):
    """A database of jobs; made by :func:`kvspic.fleet.store.open_store`. Any thread may call it; calls block."""

    is_shared: bool
    """Several servers may use it at a time: one of them must be made the master for what servers do by themselves."""

    def run(self, operation: Callable[Concatenate[Tx, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run an operation in one transaction and commit it; repeat it where the database asks for that.

        Raises:
            FleetError: what the operation raised, and nothing was changed.
            StoreUnavailableError, StoreFullError: the database failed, and nothing was changed.
        """

    def listen(self, on_commit: Callable[[list[Announcement]], None]) -> Callable[[], None]:
        """Call ``on_commit`` with the announcements of each commit, of every server; return what ends that.

        It is called on any thread and must not block. An empty list means that announcements may have been missed.
        """

    def close(self) -> None:
        """Let go of the database."""
