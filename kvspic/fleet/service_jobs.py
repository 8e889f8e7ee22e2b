"""The operations of users on jobs, groups, logs and settings: each is one function in one transaction. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from kvspic.fleet import autorestart
from kvspic.fleet.causes import STATUSES, Cause, ErrorName, Status
from kvspic.fleet.errors import BadFieldError, ConflictError, FileInProgressError, FleetError, NotFoundError
from kvspic.fleet.jobs import (
    GROUP_FIELDS,
    JOB_QUERY,
    LOG_QUERY,
    PATCH_FIELDS,
    PRUNE_QUERY,
    SETTINGS_FIELDS,
    check_body,
    check_name,
    check_query,
    read_apply,
    read_job,
)
from kvspic.fleet.lease import promised_ms
from kvspic.fleet.records import JobFilter, JobRow, LogFilter, LogRecord, StreamKey, Tx
from kvspic.fleet.service_core import (
    CHANGED,
    find,
    read_time,
    show_job,
    show_jobs,
    show_log,
    transition,
)
from kvspic.fleet.statuses import EVENT_OF_STATUS, allowed

__all__ = [
    "Created",
    "GroupBatch",
    "apply_jobs",
    "create_job",
    "delete_job",
    "delete_logs",
    "get_job",
    "job_logs",
    "list_jobs",
    "list_logs",
    "patch_group",
    "patch_job",
    "put_settings",
    "replace_job",
    "show_queue",
    "show_settings",
]


KEY_MAX = 256
QUEUE_SHOWN = 100
PRUNE_BATCH = 10_000
SPEC = (
    "name",
    "description",
    "stream",
    "endpoint",
    "region",
    "source",
    "group_name",
    "labels",
    "options",
    "live",
    "ar_restart",
    "ar_attempt_count",
    "ar_delay",
    "ar_backoff",
    "ar_delay_max",
    "ar_jitter",
    "ar_success",
)
"""The columns that a body gives."""
REPLACED = (*SPEC, "version", *CHANGED)


@dataclass(frozen=True)
class Created:
    """The answer to a create: ``is_new`` is False where the key of an earlier request was repeated (200, not 201)."""

    job: dict[str, Any]
    is_new: bool


@dataclass(frozen=True)
class GroupBatch:
    """What one batch of a group's change did; ``next`` is the argument ``after`` of the next one, None at the end."""

    changed: int
    refused: list[dict[str, Any]]
    next: int | None


def create_job(tx: Tx, body: Any, *, key: str | None = None) -> Created:
    """Create a job (POST /v1/jobs).

    Args:
        key: the request's idempotency key, 1 to 256 characters.

    Raises:
        BadFieldError: a field is wrong.
        ConflictError: ``name_taken`` or ``stream_taken``; ``job`` is the id of the other job.
    """
    if key is not None and not 0 < len(key) <= KEY_MAX:
        raise BadFieldError("Idempotency-Key", f"must have 1 to {KEY_MAX} characters")
    earlier = tx.idempotent(key) if key is not None else None
    if earlier is not None:
        row = tx.job(earlier[0])
        return Created(json.loads(earlier[1]) if row is None else show_job(tx, row), is_new=False)
    spec = read_job(body)
    row = JobRow(id=tx.new_id(), created=tx.now, **_columns(spec))
    _refuse_taken(tx, row)
    records = transition(tx, row, "create", Cause.CREATE, wanted=spec["status"]) or []
    _start_restart(row)
    tx.insert_jobs([row])
    tx.append_log(records)
    answer = show_job(tx, row, {})
    if key is not None:
        tx.keep_idempotent(key, row.id, json.dumps(answer))
    return Created(answer, is_new=True)


def get_job(tx: Tx, ref: str) -> dict[str, Any]:
    """Return a job as answers show it. Raises NotFoundError. ``ref`` is an id or ``@name``, here and below."""
    return show_job(tx, find(tx, ref))


def list_jobs(tx: Tx, query: Mapping[str, str]) -> dict[str, Any]:
    """Return a page of jobs in creation order: ``{"jobs", "next"}``. Raises BadFieldError."""
    ask = check_query(JOB_QUERY, query)
    after = _position(ask.pop("after"))
    rows = tx.list_jobs(JobFilter(**ask, after=after))
    return {"jobs": show_jobs(tx, rows), "next": str(rows[-1].number) if len(rows) == ask["limit"] else None}


def replace_job(tx: Tx, ref: str, body: Any) -> dict[str, Any]:
    """Replace a job by a whole new body: version + 1, restart, then the body's status (PUT /v1/jobs/REF).

    Raises:
        NotFoundError: before the body is looked at.
        BadFieldError, ConflictError: as for create.
    """
    row = find(tx, ref, lock=True)
    spec = read_job(body, before=row.source)
    columns = _columns(spec)
    _refuse_taken(tx, JobRow(id=row.id, **columns))
    tx.append_log(_replace(tx, row, columns, spec["status"]))
    tx.save([row], REPLACED)
    return show_job(tx, row)


def patch_job(tx: Tx, ref: str, body: Any) -> dict[str, Any]:
    """Change a job's status, or its name, description, group and autorestart (PATCH /v1/jobs/REF).

    Raises:
        NotFoundError: before the body is looked at.
        BadFieldError: a field is wrong, or status came with others.
        ConflictError: ``transition`` with from, to, allowed; ``name_taken``.
        FileInProgressError: a file in progress cannot be paused.
    """
    row = find(tx, ref, lock=True)
    ask = check_body(PATCH_FIELDS, body)
    if not body:
        raise BadFieldError("", "the body is empty; give status, or name, description, group or autorestart")
    if "status" in body:
        if len(body) > 1:
            raise BadFieldError("status", "must come alone; change the other fields in a request of their own")
        records = _user_asks(tx, row, ask["status"])
        if isinstance(records, FleetError):
            raise records
        tx.append_log(records)
        tx.save([row], CHANGED)
    else:
        _patch_fields(tx, row, body, ask)
    return show_job(tx, row)


def delete_job(tx: Tx, ref: str) -> None:
    """Remove a job; its log stays. Raises NotFoundError."""
    row = find(tx, ref, lock=True)
    tx.append_log(_delete(tx, row))
    tx.delete_jobs([row.id])


def patch_group(tx: Tx, group: str, body: Any, *, after: int = 0, limit: int = 200) -> GroupBatch:
    """Change the status of one batch of a group's jobs; the caller repeats with ``after`` until ``next`` is None.

    Raises:
        NotFoundError: no job is in the group.
        BadFieldError: a field is wrong.
    """
    ask = check_body(GROUP_FIELDS, body)
    rows = tx.group(group, after, limit)
    if not rows and not after:
        raise NotFoundError(f"No job is in the group {group!r}.", group=group)
    changed, refused, records = [], [], list[LogRecord]()
    for row in rows:
        made = _user_asks(tx, row, ask["status"])
        if isinstance(made, FleetError):
            refused.append({"id": row.id, "from": row.status})
        else:
            changed.append(row)
            records += made
    tx.append_log(records)
    tx.save(changed, CHANGED)
    return GroupBatch(len(changed), refused, rows[-1].number if len(rows) == limit else None)


def apply_jobs(tx: Tx, body: Any) -> dict[str, int]:
    """Make the jobs be as a list says, by name; all or nothing. Returns counts: created, replaced, unchanged, deleted.

    A job that is paused stays so, unless its body says otherwise. With ``prune`` the other jobs of the group (without a
    group: all others) are deleted.

    Raises:
        BadFieldError: with ``index`` of the job in the list.
        ConflictError: ``stream_taken`` with ``index``.
    """
    bodies, group, prune = read_apply(body)
    stored = tx.jobs_named([raw["name"] for raw in bodies if isinstance(raw, Mapping) and _is_name(raw.get("name"))])
    specs = [_read_at(index, raw, stored) for index, raw in enumerate(bodies)]
    _refuse_doubles(specs)
    deleted = _pruned(tx, group, {spec["name"] for spec in specs}) if prune else []
    work = _Applied(tx, deleted)
    for index, spec in enumerate(specs):
        work.add(index, spec, stored.get(spec["name"]), bodies[index])
    return work.store()


def job_logs(tx: Tx, ref: str, query: Mapping[str, str]) -> dict[str, Any]:
    """Return a page of one job's log: ``{"logs", "next"}``. Raises NotFoundError where neither job nor log is there."""
    row = tx.job(ref) if "\x00" not in ref else None
    job_id = row.id if row is not None else tx.logged_job(ref)
    if job_id is None:
        raise NotFoundError(f"There is neither a job nor a log of {ref!r}.", job=ref)
    return list_logs(tx, {**query, "job": job_id})


def list_logs(tx: Tx, query: Mapping[str, str]) -> dict[str, Any]:
    """Return a page of the log of all jobs, or of job ``job``, in the order of commits: ``{"logs", "next", "last"}``.

    ``last`` is where a reader goes on that has read to the end and waits for what comes.
    """
    ask = check_query(LOG_QUERY, query)
    since = None if ask["since"] is None else read_time(ask["since"], "since")
    after = ask["after"] or ""
    if not all(part.isdecimal() for part in after.split("-") if part) or len(after.split("-")) > 2:
        raise BadFieldError("after", "must be the value of next of the page before")
    which = LogFilter(job_id=ask["job"], status=ask["status"], since=since, after=after, limit=ask["limit"])
    records = tx.logs(which)
    is_full = len(records) == which.limit
    last = (str(records[-1].seq) if which.job_id is not None else records[-1].position) if records else None
    shown = [show_log(record) for record in records]
    return {"logs": shown, "next": last if is_full else None, "last": last or ask["after"]}


def delete_logs(tx: Tx, query: Mapping[str, str], *, limit: int = 10_000) -> dict[str, int]:
    """Delete log records older than ``before``, but each job's newest: ``{"deleted": n}``. Raises BadFieldError.

    It deletes ``limit`` at most; the caller repeats it while ``deleted`` is the limit.
    """
    before = read_time(check_query(PRUNE_QUERY, query)["before"], "before")
    return {"deleted": tx.delete_logs(before, limit)}


def show_queue(tx: Tx) -> dict[str, Any]:
    """Return ``{"length", "jobs", "counts"}``: the first 100 pending jobs in order, and how many each status has."""
    counts = tx.status_counts()
    heads = show_jobs(tx, tx.queue_heads(QUEUE_SHOWN))
    every = {status.value: counts.get(status.value, 0) for status in STATUSES}
    return {"length": every[Status.PENDING.value], "jobs": heads, "counts": every}


def show_settings(tx: Tx) -> dict[str, Any]:
    """Return all settings."""
    plain = asdict(tx.settings)
    return {field.name: plain[field.name] for field in SETTINGS_FIELDS}


def put_settings(tx: Tx, body: Any) -> dict[str, Any]:
    """Change some settings and return all. Raises BadFieldError."""
    ask = check_body(SETTINGS_FIELDS, body)
    values: dict[str, float] = {name: ask[name] for name in body}
    old = tx.settings
    if values.get("lease_s", old.lease_s) < old.lease_s:
        old_ms = promised_ms(old.lease_s, old.promise_ms)
        values |= {"promise_ms": old_ms, "promise_until": tx.now + old_ms}
    tx.put_settings(values)
    return show_settings(tx)


def _position(after: str | None) -> int:
    if after is not None and not (after.isdecimal() and len(after) < 19):
        raise BadFieldError("after", "must be the value of next of the page before")
    return int(after or 0)


def _columns(spec: Mapping[str, Any]) -> dict[str, Any]:
    """The columns of a row that a checked body gives."""
    plain = {name: spec[name] for name in ("name", "description", "stream", "endpoint", "region", "source", "labels")}
    restart = {f"ar_{name}": value for name, value in spec["autorestart"].items()}
    live = spec["source"]["type"] != "file"
    return {**plain, "group_name": spec["group"], "options": spec["options"], "live": live, **restart}


def _start_restart(row: JobRow) -> None:
    row.ar_status = "enabled" if row.ar_restart else "disabled"


def _refuse_taken(tx: Tx, row: JobRow) -> None:
    named = tx.jobs_named([row.name]).get(row.name)
    if named is not None and named.id != row.id:
        raise ConflictError(ErrorName.NAME_TAKEN, f"The name {row.name!r} is taken by another job.", job=named.id)
    writer = tx.jobs_of_streams([row.key]).get(row.key)
    if writer is not None and writer.id != row.id:
        raise _stream_taken(row.stream, writer)


def _stream_taken(stream: str, writer: JobRow, **more: Any) -> ConflictError:
    text = (
        f"The stream {stream!r} is written by the job {writer.name!r} already; give another stream, or delete that job."
    )
    return ConflictError(ErrorName.STREAM_TAKEN, text, job=writer.id, **more)


def _replace(tx: Tx, row: JobRow, columns: Mapping[str, Any], wanted: str) -> list[LogRecord]:
    """Put new columns into a locked row; return the log records of its restart."""
    was_on = row.ar_restart
    for name, value in columns.items():
        setattr(row, name, value)
    row.version += 1
    row.losses, row.not_before = 0, 0
    autorestart.user_acted(row, tx.now)
    records = transition(tx, row, "replace", Cause.REPLACE, wanted=wanted) or []
    autorestart.changed_settings(row, was_on, tx.now, tx.chance)
    return records


def _user_asks(tx: Tx, row: JobRow, wanted: str) -> list[LogRecord] | FleetError:
    """Change a locked row to the status that a user asks for; return the log records, or the refusal."""
    status = Status(wanted)
    records = transition(tx, row, EVENT_OF_STATUS[status], Cause.PATCH)
    if records is not None:
        row.losses, row.not_before = 0, 0
        autorestart.user_acted(row, tx.now)
        return records
    if status is Status.PAUSE and row.status == Status.IN_PROGRESS:
        return FileInProgressError(f"The job {row.name!r} reads a file and is in progress; it cannot be paused.")
    may = allowed(row.status, live=row.live)
    listed = ", ".join(may) if may else "none"
    text = f"The job {row.name!r} is in status {row.status}, which {wanted} cannot follow; allowed: {listed}."
    return ConflictError(ErrorName.TRANSITION, text, **{"from": row.status, "to": wanted, "allowed": may})


def _patch_fields(tx: Tx, row: JobRow, given: Mapping[str, Any], ask: Mapping[str, Any]) -> None:
    if "name" in given:
        check_name(ask["name"], "name")
        row.name = ask["name"]
        _refuse_taken(tx, row)
    if "description" in given:
        row.description = ask["description"]
    if "group" in given:
        row.group_name = ask["group"]
    was_on = row.ar_restart
    for name in given.get("autorestart", ()):
        setattr(row, f"ar_{name}", ask["autorestart"][name])
    autorestart.changed_settings(row, was_on, tx.now, tx.chance)
    row.updated = tx.now
    tx.save([row], (*SPEC, "updated", *autorestart.RESTART_COLUMNS))
    tx.announce("job", row.id)


def _delete(tx: Tx, row: JobRow) -> list[LogRecord]:
    return transition(tx, row, "delete", Cause.DELETE) or []


def _is_name(name: Any) -> bool:
    return isinstance(name, str) and "\x00" not in name and len(name) <= KEY_MAX


def _read_at(index: int, raw: Any, stored: Mapping[str, JobRow]) -> dict[str, Any]:
    name = raw.get("name") if isinstance(raw, Mapping) else None
    before = stored.get(name) if isinstance(name, str) else None
    try:
        return read_job(raw, f"jobs[{index}]", None if before is None else before.source)
    except BadFieldError as error:
        error.details["index"] = index
        raise


def _refuse_doubles(specs: Sequence[Mapping[str, Any]]) -> None:
    """Raise for two bodies with one name or one stream."""
    names: dict[str, int] = {}
    streams: dict[StreamKey, int] = {}
    for index, spec in enumerate(specs):
        first = names.setdefault(spec["name"], index)
        if first != index:
            raise BadFieldError(f"jobs[{index}].name", f"is {spec['name']!r}, as that of jobs[{first}] is", index=index)
        first = streams.setdefault(StreamKey(spec["endpoint"], spec["region"], spec["stream"]), index)
        if first != index:
            other = specs[first]["name"]
            text = f"is {spec['stream']!r}, into which {other!r} (jobs[{first}]) goes already"
            raise BadFieldError(f"jobs[{index}].stream", text, index=index)


def _pruned(tx: Tx, group: str | None, names: set[str]) -> list[JobRow]:
    found: list[JobRow] = []
    after = 0
    while rows := tx.group(group, after, PRUNE_BATCH):
        found += [row for row in rows if row.name not in names]
        after = rows[-1].number
    return found


class _Applied:
    """Collects what an ``apply`` does, then stores it: streams that change hands are let go of first."""

    def __init__(self, tx: Tx, deleted: list[JobRow]) -> None:
        self._tx = tx
        self._deleted = deleted
        self._created: list[JobRow] = []
        self._replaced: list[tuple[int, JobRow]] = []
        self._unchanged = 0
        self._moved: list[JobRow] = []
        self._records: list[LogRecord] = []
        self._index_of: dict[str, int] = {}

    def add(self, index: int, spec: Mapping[str, Any], row: JobRow | None, raw: Mapping[str, Any]) -> None:
        """Take one checked body and the stored job of its name."""
        columns = _columns(spec)
        if row is None:
            row = JobRow(id=self._tx.new_id(), created=self._tx.now, **columns)
            self._records += transition(self._tx, row, "create", Cause.CREATE, wanted=spec["status"]) or []
            _start_restart(row)
            self._created.append(row)
        elif all(getattr(row, name) == value for name, value in columns.items()):
            self._unchanged += 1
        else:
            if row.key != StreamKey(columns["endpoint"], columns["region"], columns["stream"]):
                self._moved.append(row)
            stays = "status" not in raw and row.status == Status.PAUSE
            self._records += _replace(self._tx, row, columns, Status.PAUSE if stays else spec["status"])
            self._replaced.append((index, row))
        self._index_of[row.id] = index

    def store(self) -> dict[str, int]:
        """Store all; return the counts."""
        tx = self._tx
        for row in self._deleted:
            self._records += _delete(tx, row)
        tx.delete_jobs([row.id for row in self._deleted])
        self._let_go_of_streams()
        tx.save([row for _, row in self._replaced], REPLACED)
        self._refuse_taken(self._created)
        tx.insert_jobs(self._created)
        tx.append_log(self._records)
        return {
            "created": len(self._created),
            "replaced": len(self._replaced),
            "unchanged": self._unchanged,
            "deleted": len(self._deleted),
        }

    def _let_go_of_streams(self) -> None:
        wanted = [row.stream for row in self._moved]
        for row in self._moved:
            row.stream = f"~{row.id}"  # no stream has such a name
        self._tx.save(self._moved, ("stream",))
        for row, stream in zip(self._moved, wanted):
            row.stream = stream
        self._refuse_taken(self._moved)

    def _refuse_taken(self, rows: Sequence[JobRow]) -> None:
        writers = self._tx.jobs_of_streams([row.key for row in rows])
        for row in rows:
            writer = writers.get(row.key)
            if writer is not None and writer.id != row.id:
                raise _stream_taken(row.stream, writer, index=self._index_of[row.id])
