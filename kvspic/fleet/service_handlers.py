"""The operations of handlers: poll, feedback, drain, rebalance, backfill. Each is one transaction. Pure."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from kvspic.fleet import autorestart, placement
from kvspic.fleet.causes import Cause, ErrorClass, ErrorName, HandlerState, Status, Verdict
from kvspic.fleet.errors import ConflictError, NotFoundError
from kvspic.fleet.jobs import (
    BACKFILL_FIELDS,
    FEEDBACK_FIELDS,
    POLL_FIELDS,
    REBALANCE_FIELDS,
    check_body,
    read_report_error,
    read_stats,
)
from kvspic.fleet.lease import feedback_s, silence_notice
from kvspic.fleet.records import (
    Backfill,
    HandlerRow,
    Held,
    JobRow,
    Lease,
    LogRecord,
    QueueFilter,
    Reported,
    Tx,
    time_text,
)
from kvspic.fleet.service_core import (
    CHANGED,
    LOSSES_MAX,
    check_handler,
    find,
    guard_leases,
    lose,
    transition,
    until,
)

__all__ = [
    "backfill",
    "delete_handler",
    "drain",
    "feedback",
    "list_handlers",
    "poll",
    "rebalance",
    "undrain",
]


PREVIOUS_MAX = 8
AVOID_MS = 60_000
MOVES_MAX = 5
"""So many jobs is a handler asked to hand back at a time, when jobs are moved."""
CLAIMED = (*CHANGED, "epoch", "error_class", "error_text")
ENDED = (*CHANGED, "avoid_handler", "avoid_until", "error_class", "error_text")
_ENDS = {
    "done": ("done", Cause.FINISHED),
    "failure": ("fail", Cause.ERROR),
    "handback": ("handback", Cause.HANDBACK),
}
_CONTINUE, _STOP, _NOT_FOUND = Verdict.CONTINUE.value, Verdict.STOP.value, Verdict.NOT_FOUND.value
Pair = tuple[str, int]  # job, epoch


def poll(
    tx: Tx, handler: str, body: Any, *, labels: frozenset[str] | None = None, is_again: bool = False
) -> dict[str, Any]:
    """Hand out jobs (POST /v1/handlers/H/poll), without waiting; ``wait_s`` is the caller's part.

    Args:
        labels: what the handler's token covers; None: all.
        is_again: a long poll looks again; its list ``carried`` is old by now, so it releases nothing.

    Returns:
        ``{"jobs": [{id, number, epoch, version, name, stream, endpoint, region, source, options, labels}],
        "stop": [id], "handback": [id], "lease_s", "feedback_s"}``; sources are whole here, and only here.

    Raises:
        BadFieldError: a field is wrong.
        ConflictError: ``superseded``, ``name_in_use``.
    """
    check_handler(handler)
    ask = check_body(POLL_FIELDS, body, is_open=True)
    guard_leases(tx)
    row = tx.handler_locked(handler)
    is_newer = _admit(tx, row, ask, labels)
    is_held_back = guard_leases(tx)  # the end of an incarnation may have released the last lease
    held = tx.held(handler)
    carried = None if ask["carried"] is None else {(found["id"], found["epoch"]) for found in ask["carried"]}
    mine = {(job.id, job.epoch): job for job in held}
    given: list[JobRow] = []
    if carried is not None and is_newer and not is_again:
        given = list(tx.jobs([job_id for job_id, epoch in mine if (job_id, epoch) not in carried]).values())
        if not is_held_back:
            _release_dropped(tx, row, carried | set(mine))
    is_current = is_newer or ask["seq"] is None or ask["seq"] == row.seq
    free = min(ask["free"], row.slots - len(held)) if is_current and not is_held_back else 0
    row.free = max(0, row.slots - len(mine) - len(given))
    if row.state == HandlerState.READY and free > 0:
        given += _claim(tx, row, free, held)
    else:
        tx.saw_handler(row)
    return {
        "jobs": [_hand_out(job) for job in given],
        "stop": [job_id for job_id, epoch in sorted(carried or ()) if (job_id, epoch) not in mine],
        "handback": _asked_back(row, held),
        **_periods(tx),
    }


def feedback(tx: Tx, handler: str, body: Any) -> dict[str, Any]:
    """Take the reports of a handler and renew its leases (POST /v1/handlers/H/feedback).

    Returns:
        ``{"verdicts": [{id, epoch, verdict, accepted, status, taken_ago_ms}], "stop": [id], "handback": [id],
        "lease_s", "feedback_s"}``. ``status`` is the job's now: pause asks for a polite end, cancel to drop what is
        buffered. ``taken_ago_ms``: how long ago another handler claimed the job; null if none did.

    Raises:
        BadFieldError: a field is wrong.
        ConflictError: ``superseded``.
    """
    check_handler(handler)
    ask = check_body(FEEDBACK_FIELDS, body, is_open=True)
    incarnation, reports = ask["incarnation"], ask["reports"]
    row, known = tx.heard(handler, {report["id"] for report in reports if "\x00" not in report["id"]})
    guard_leases(tx)
    if row is not None and incarnation in row.previous:
        raise _superseded(handler)
    seen = row if row is not None and row.incarnation == incarnation else None
    if seen is not None:
        seen.seen, seen.free = tx.now, max(0, seen.slots - len(reports))
    work = _Reports(tx, handler, incarnation)
    work.take(reports, known, seen)
    verdicts = [work.verdict(report) for report in reports]
    return {
        "verdicts": verdicts,
        "stop": [one["id"] for one in verdicts if one["verdict"] != _CONTINUE],
        "handback": [] if row is None else _asked_back(row, work.going_on()),
        **_periods(tx),
    }


def list_handlers(tx: Tx) -> dict[str, Any]:
    """Return ``{"handlers": [...], "notice": text or null}``; the notice says why no handler is declared lost."""
    counts = tx.held_counts()
    rows = tx.handlers()
    notice = silence_notice(tx.lease_ends(), tx.now, tx.settings.lease_s)
    return {"handlers": [_show(tx, row, counts.get(row.id, 0)) for row in rows], "notice": notice or None}


def drain(tx: Tx, handler: str) -> dict[str, Any]:
    """Let a handler get no more jobs and hand back its own; it is kept across restarts. Raises NotFoundError."""
    return _set_state(tx, handler, HandlerState.DRAINING)


def undrain(tx: Tx, handler: str) -> dict[str, Any]:
    """Let a handler get jobs again. Raises NotFoundError."""
    return _set_state(tx, handler, HandlerState.READY)


def delete_handler(tx: Tx, handler: str) -> None:
    """Forget a handler. Raises NotFoundError; ConflictError ``handler_busy`` while it carries jobs."""
    row = _known(tx, handler)
    if tx.held(row.id) or tx.leases_of(row.id):
        raise ConflictError(ErrorName.HANDLER_BUSY, f"The handler {handler!r} carries jobs; drain it first.")
    tx.delete_handler(row.id)
    tx.announce("handler", row.id)


def rebalance(tx: Tx, body: Any) -> dict[str, int]:
    """Ask the fullest handlers to hand back jobs, ``max`` at most: ``{"moving": n}``. Raises BadFieldError."""
    ask = check_body(REBALANCE_FIELDS, body)
    counts = tx.held_counts()
    ready = {row.id: row.slots for row in tx.handlers() if _state(tx, row) is HandlerState.READY}
    moving: list[JobRow] = []
    for handler, surplus in placement.surpluses(counts, ready, ask["max"]).items():
        held = [job for job in tx.held(handler) if not job.is_moving]
        chosen = tx.jobs([job.id for job in held[-surplus:]], lock=True).values()
        moving += [job for job in chosen if job.handler == handler]
        tx.announce("stop", handler)
    for job in moving:
        job.is_moving = True
    tx.save(moving, ("is_moving",))
    return {"moving": len(moving)}


def backfill(tx: Tx, body: Any) -> dict[str, Any]:
    """Grant a handler the upload of what it spooled of a job, one at a time: ``{"lease_s", "taken_ago_ms"}``.

    The grant holds for a lease, and is asked for again until then. What was spooled from ``taken_ago_ms`` on, when the
    job was claimed after ``epoch``, is another handler's. A handler that carries the job itself needs no grant, and
    learns that moment only. The upload gives way: it is refused while the job's own upload is not streaming, because
    the service allows a stream one connection.

    Raises:
        NotFoundError: the job is gone; ``deleted`` says whether it was there once.
        ConflictError: ``backfill_refused``.
    """
    ask = check_body(BACKFILL_FIELDS, body, is_open=True)
    handler, epoch = ask["handler"], ask["epoch"]
    try:
        job = find(tx, ask["job"], lock=True)
    except NotFoundError as error:
        error.details["deleted"] = tx.logged_job(ask["job"]) is not None
        raise
    if epoch > job.epoch or (epoch == job.epoch and job.status == Status.IN_PROGRESS and job.handler != handler):
        text = f"The job {job.name!r} has no ended epoch {epoch}; upload only what an earlier epoch spooled."
        raise ConflictError(ErrorName.BACKFILL_REFUSED, text)
    if job.status != Status.IN_PROGRESS or job.handler != handler:
        _grant_backfill(tx, job, handler)
    taken = tx.claimed_at(job.id, epoch + 1)
    return {"lease_s": tx.settings.lease_s, "taken_ago_ms": None if taken is None else max(0, tx.now - taken)}


def _grant_backfill(tx: Tx, job: JobRow, handler: str) -> None:
    other = tx.backfill(job.id)
    if other is not None and other.until > tx.now and other.handler != handler:
        text = f"The handler {other.handler!r} backfills the job {job.name!r}; ask again later."
        raise ConflictError(ErrorName.BACKFILL_REFUSED, text)
    if job.status == Status.IN_PROGRESS:
        epoch, _, stats = tx.stats([job.id]).get(job.id, (0, 0, "{}"))
        if epoch != job.epoch or json.loads(stats).get("state") != "streaming":
            text = f"The upload of the job {job.name!r} by {job.handler!r} is not streaming; ask again later."
            raise ConflictError(ErrorName.BACKFILL_REFUSED, text)
    tx.put_backfill(Backfill(job.id, handler, until(tx)))


def _known(tx: Tx, handler: str) -> HandlerRow:
    row = tx.handler(handler) if "\x00" not in handler else None
    if row is None:
        raise NotFoundError(f"There is no handler {handler!r}.", handler=handler)
    return tx.handler_locked(handler)


def _set_state(tx: Tx, handler: str, state: HandlerState) -> dict[str, Any]:
    row = _known(tx, handler)
    row.state = state.value
    tx.save_handler(row)
    tx.announce("stop", row.id)
    tx.announce("handler", row.id)
    return _show(tx, row, len(tx.held(row.id)))


def _state(tx: Tx, row: HandlerRow) -> HandlerState:
    if row.seen <= tx.now - round(tx.settings.lease_s * 1000):
        return HandlerState.LOST
    return HandlerState(row.state)


def _show(tx: Tx, row: HandlerRow, carried: int) -> dict[str, Any]:
    return {
        "id": row.id,
        "incarnation": row.incarnation,
        "generation": row.generation,
        "host": row.host,
        "version": row.version,
        "labels": list(row.labels),
        "slots": row.slots,
        "carried": carried,
        "state": _state(tx, row).value,
        "is_draining": row.state == HandlerState.DRAINING,
        "seen": time_text(row.seen) if row.seen else None,
    }


def _periods(tx: Tx) -> dict[str, float]:
    return {"lease_s": tx.settings.lease_s, "feedback_s": feedback_s(tx.settings.lease_s)}


def _superseded(handler: str) -> ConflictError:
    text = f"Another process runs as the handler {handler!r} now; end this one, or give it another name."
    return ConflictError(ErrorName.SUPERSEDED, text)


def _admit(tx: Tx, row: HandlerRow, ask: Mapping[str, Any], covered: frozenset[str] | None) -> bool:
    """Take note of who polls; say whether the poll is newer than all before.

    A new incarnation ends the one before it: its jobs are lost at once.
    """
    incarnation, host = ask["incarnation"], ask["host"]
    if incarnation in row.previous:
        raise _superseded(row.id)
    is_new = incarnation != row.incarnation
    if is_new:
        leases = [lease for lease in tx.leases_of(row.id) if lease.incarnation != incarnation]
        if leases and placement.is_other_host(row.host, host):
            text = f"The handler {row.id!r} runs on the host {row.host!r}; give each machine a name of its own."
            raise ConflictError(ErrorName.NAME_IN_USE, text, host=row.host)
        if row.incarnation:
            row.previous = [row.incarnation, *row.previous][:PREVIOUS_MAX]
        row.incarnation, row.seq = incarnation, None
        row.generation += 1
        _end_incarnations(tx, row, leases)
    is_newer = ask["seq"] is None or row.seq is None or ask["seq"] > row.seq
    row.seq = ask["seq"] if is_newer else row.seq
    labels = sorted(set(ask["labels"]) if covered is None else set(ask["labels"]) & covered)
    facts = (host or row.host, ask["version"], labels, ask["slots"])
    was_lost = _state(tx, row) is HandlerState.LOST
    if is_new or facts != (row.host, row.version, row.labels, row.slots):
        row.host, row.version, row.labels, row.slots = facts
        row.seen = tx.now
        tx.save_handler(row)
        tx.announce("handler", row.id)
    elif was_lost:
        tx.announce("handler", row.id)
    row.seen = tx.now
    return is_newer


def _end_incarnations(tx: Tx, row: HandlerRow, leases: Sequence[Lease]) -> None:
    for incarnation in {lease.incarnation for lease in leases}:
        ended = [(lease.job_id, lease.epoch) for lease in leases if lease.incarnation == incarnation]
        tx.release(row.id, incarnation, ended)
    held = tx.jobs([job.id for job in tx.held(row.id) if job.incarnation != row.incarnation], lock=True)
    lost = [job for job in held.values() if job.handler == row.id and job.incarnation != row.incarnation]
    records = [record for job in lost for record in lose(tx, job, Cause.INCARNATION)]
    tx.append_log(records)
    tx.save(lost, CHANGED)


def _release_dropped(tx: Tx, row: HandlerRow, kept: Collection[Pair]) -> None:
    """Release the leases of jobs that a handler neither carries nor is to carry."""
    dropped = [
        (lease.job_id, lease.epoch)
        for lease in tx.leases_of(row.id)
        if lease.incarnation == row.incarnation and (lease.job_id, lease.epoch) not in kept
    ]
    if dropped:
        tx.release(row.id, row.incarnation, dropped)
        tx.announce("work", "")


def _claim(tx: Tx, row: HandlerRow, free: int, held: Sequence[Held]) -> list[JobRow]:
    """Claim up to ``free`` jobs of the queue for a handler."""
    settings = tx.settings
    others = tx.others(row.id, tx.now - round(settings.lease_s * 1000))
    which = QueueFilter(
        labels=tuple(row.labels),
        limit=free,
        now=tx.now,
        since=tx.now - round(settings.spread_s * 1000),
        avoid_handler=row.id if others.free > 0 else None,
        without_suspects=LOSSES_MAX if _has_fresh_suspect(tx, held) else None,
    )
    found = tx.claimable(which)
    young = free - len(found)
    if young > 0 and tx.queue_heads(1):
        jobs = tx.count_jobs(Status.PENDING, Status.IN_PROGRESS)
        share = placement.fair_share(jobs, row.slots, row.slots + others.slots)
        found += _young(tx, which, found, min(young, share - len(held) - len(found)))
    found = placement.one_suspect(found, LOSSES_MAX)
    count = tx.take_tokens("handout", len(found), settings.handout_rate, settings.handout_burst) if found else 0
    if settings.in_progress_max and count:
        count = min(count, max(0, settings.in_progress_max - tx.count_jobs(Status.IN_PROGRESS)))
    return _start(tx, row, found[:count])


def _young(tx: Tx, which: QueueFilter, found: Sequence[JobRow], count: int) -> list[JobRow]:
    """Return so many jobs that were pending for a short while only, and are not found yet."""
    if count <= 0:
        return []
    taken = {job.id for job in found}
    wider = replace(which, since=None, limit=len(found) + count)
    return [job for job in tx.claimable(wider) if job.id not in taken][:count]


def _has_fresh_suspect(tx: Tx, held: Sequence[Held]) -> bool:
    return any(job.losses >= LOSSES_MAX and tx.now - job.status_since < job.ar_delay * 1000 for job in held)


def _start(tx: Tx, row: HandlerRow, jobs: list[JobRow]) -> list[JobRow]:
    records: list[LogRecord] = []
    for job in jobs:
        job.handler, job.incarnation = row.id, row.incarnation
        job.epoch += 1
        job.error_class = job.error_text = None
        records += transition(tx, job, "claim", Cause.CLAIM) or []
        autorestart.claimed(job, tx.now)
    end = until(tx)
    leases = [Lease(job.key, job.id, job.epoch, row.id, row.incarnation, end) for job in jobs]
    row.free = max(0, row.free - len(jobs))
    tx.claim(jobs, CLAIMED, leases, records, row)
    return jobs


def _hand_out(job: JobRow) -> dict[str, Any]:
    names = ("id", "number", "epoch", "version", "name", "stream", "endpoint", "region")
    plain = {name: getattr(job, name) for name in names}
    return {**plain, "source": dict(job.source), "options": dict(job.options), "labels": list(job.labels)}


def _asked_back(row: HandlerRow, held: Sequence[Held | Reported | JobRow]) -> list[str]:
    if row.state == HandlerState.DRAINING:
        return [job.id for job in held]
    return [job.id for job in held if job.is_moving][:MOVES_MAX]


@dataclass
class _Reports:
    """The reports of one request of feedback, and what became of them."""

    tx: Tx
    handler: str
    incarnation: str
    jobs: dict[str, Reported | JobRow] = field(default_factory=dict)
    renewed: set[str] = field(default_factory=set)
    accepted: set[Pair] = field(default_factory=set)

    def take(
        self, reports: Sequence[Mapping[str, Any]], known: Mapping[str, Reported], seen: HandlerRow | None
    ) -> None:
        """Renew the leases of what goes on, end what ended; ``seen``: the handler, if it is known."""
        tx = self.tx
        self.jobs.update(known)
        ended = [report for report in reports if report["status"] in _ENDS]
        released = [(report["id"], report["epoch"]) for report in ended if "\x00" not in report["id"]]
        if released:
            tx.release(self.handler, self.incarnation, released)
        mine = {
            (report["id"], report["epoch"]): read_stats(report["stats"], known[report["id"]].url)
            for report in reports
            if report["status"] not in _ENDS and self._is_mine(report, known)
        }
        self.renewed = tx.renew(self.handler, self.incarnation, mine, until(tx), seen)
        if released:
            self._end(ended)

    def _is_mine(self, report: Mapping[str, Any], jobs: Mapping[str, Reported | JobRow]) -> bool:
        job = jobs.get(report["id"])
        return (
            job is not None
            and job.status == Status.IN_PROGRESS
            and (job.epoch, job.handler, job.incarnation) == (report["epoch"], self.handler, self.incarnation)
        )

    def _end(self, reports: Sequence[Mapping[str, Any]]) -> None:
        tx = self.tx
        rows = tx.jobs({report["id"] for report in reports if report["id"] in self.jobs}, lock=True)
        self.jobs.update(rows)
        changed: dict[str, JobRow] = {}
        records: list[LogRecord] = []
        for report in reports:
            if self._is_mine(report, rows):
                job = rows[report["id"]]
                records += self._end_one(job, report)
                self.accepted.add((job.id, job.epoch))
                changed[job.id] = job
        tx.append_log(records)
        tx.save(list(changed.values()), ENDED)
        if reports:
            tx.announce("work", "")  # released leases may have held jobs back

    def _end_one(self, job: JobRow, report: Mapping[str, Any]) -> list[LogRecord]:
        tx = self.tx
        event, cause = _ENDS[report["status"]]
        error = read_report_error(report["error"], job.source["url"]) if event == "fail" else None
        records = transition(tx, job, event, cause, error=error) or []
        if error is not None:
            job.error_class, job.error_text = error
            if error[0] == ErrorClass.STALLED:
                job.avoid_handler, job.avoid_until = self.handler, tx.now + AVOID_MS
            autorestart.failed(job, tx.now, tx.chance)
        elif event == "done":
            autorestart.finished(job, tx.now)
        else:
            autorestart.left_handler(job)
        if event != "handback" or tx.now - job.status_since >= job.ar_delay * 1000:
            job.losses = 0
        return records

    def going_on(self) -> list[Reported | JobRow]:
        """Return the jobs whose leases were renewed."""
        return [job for job in self.jobs.values() if job.id in self.renewed]

    def verdict(self, report: Mapping[str, Any]) -> dict[str, Any]:
        """Return the answer to one report."""
        job_id, epoch = report["id"], report["epoch"]
        job = self.jobs.get(job_id)
        verdict, accepted, status, taken = _CONTINUE, True, None, None
        if job is None:
            verdict, accepted = _NOT_FOUND, False
        elif job_id not in self.renewed or job.epoch != epoch or report["status"] in _ENDS:
            accepted = report["status"] in _ENDS and (job_id, epoch) in self.accepted
            verdict, status = _STOP, job.status
            claimed = None if accepted else self.tx.claimed_at(job_id, epoch + 1)
            taken = None if claimed is None else max(0, self.tx.now - claimed)
        else:
            status = job.status
        return {
            "id": job_id, "epoch": epoch, "verdict": verdict, "accepted": accepted, "status": status,
            "taken_ago_ms": taken,
        }  # fmt: skip
