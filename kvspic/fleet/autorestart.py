"""Automatic restart of failed jobs: a second machine beside the status, and its arithmetic. Pure.

The functions take a job's row, send the event that a fact means to the machine, and write what it orders into the
``ar_`` fields. ``ar_due`` is the moment at which the restart task has to look at the job: an attempt is due, or the
success window of the last attempt may end.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kvspic.fleet.causes import RestartStatus, Status, is_fatal
from kvspic.fleet.records import Chance, JobRow
from kvspic.statechart import Branch, Definition, Result, Row, Snapshot, out, step

__all__ = [
    "RESTART_COLUMNS",
    "RESTART_MACHINE",
    "attempted",
    "changed_settings",
    "claimed",
    "failed",
    "finished",
    "left_handler",
    "user_acted",
    "wait_ms",
    "window_ended",
]

EVENTS = (
    "failed_fatal",
    "failed_attempts_left",
    "failed_none_left",
    "due",
    "window_held",
    "job_done",
    "user",
    "restart_off",
    "restart_on",
    "attempts_raised",
)
RESTART_COLUMNS = ("ar_status", "ar_current", "ar_last", "ar_window_from", "ar_due")
SEED = "seed"
EXPONENT_MAX = 64  # 10 ** 64 s is beyond every delay_max


def is_failed_fatal(data: Any, payload: Mapping[str, Any], settings: Any) -> bool:
    """The job is in failure, for a reason that no attempt mends."""
    return bool(payload.get("is_failed") and payload.get("is_fatal"))


def is_failed_with_attempts(data: Any, payload: Mapping[str, Any], settings: Any) -> bool:
    """The job is in failure, and attempts are left."""
    return bool(payload.get("is_failed") and payload.get("has_left"))


def is_failed(data: Any, payload: Mapping[str, Any], settings: Any) -> bool:
    """The job is in failure."""
    return bool(payload.get("is_failed"))


SCHEDULE = out("schedule")
ATTEMPT = out("attempt")
RESET = out("reset")
STOP = out("stop")


def _go(target: RestartStatus, action: Result | None = None, **more: Any) -> Branch:
    return Branch(target, action=action, action_name=str(action.outputs[0]) if action else "", **more)


def _rows() -> list[Row]:
    disabled, enabled, in_progress, failed_, denied = RestartStatus
    rows = [
        Row(
            disabled,
            "restart_on",
            _go(denied, STOP, guard=is_failed_fatal),
            _go(in_progress, SCHEDULE, guard=is_failed_with_attempts),
            _go(failed_, STOP, guard=is_failed),
            _go(enabled),
        ),
        Row(in_progress, "due", _go(in_progress, ATTEMPT)),
        Row(in_progress, "window_held", _go(enabled, RESET)),
        Row(in_progress, "job_done", _go(enabled, RESET)),
        Row(failed_, "attempts_raised", _go(in_progress, SCHEDULE)),
    ]
    for state in (enabled, in_progress):
        rows += [
            Row(state, "failed_fatal", _go(denied, STOP)),
            Row(state, "failed_attempts_left", _go(in_progress, SCHEDULE)),
            Row(state, "failed_none_left", _go(failed_, STOP)),
        ]
    rows += [Row(state, "user", _go(enabled, RESET)) for state in (in_progress, failed_, denied)]
    return rows + [Row(state, "restart_off", _go(disabled, STOP)) for state in (enabled, in_progress, failed_, denied)]


RESTART_MACHINE: Definition[None] = Definition(
    states={status.value: "" for status in RestartStatus},
    events=EVENTS,
    rows=_rows(),
    initial=RestartStatus.ENABLED,
    name="autorestart",
    notes={
        RestartStatus.IN_PROGRESS.value: "an attempt is due, or its success window is open",
        RestartStatus.DENIED.value: "the last error is fatal",
    },
)
"""The definition. Event data of ``restart_on``: ``is_failed``, ``is_fatal``, ``has_left``. Outputs are orders."""


def _send(row: JobRow, event: str, **facts: Any) -> str | None:
    """Take one event; return what the machine orders, None where the event means nothing here."""
    snapshot: Snapshot[None] = Snapshot(row.ar_status, None, {}, {})
    taken = step(RESTART_MACHINE, snapshot, {event: facts})
    if taken.error is not None:
        raise taken.error
    row.ar_status = taken.snapshot.control
    return taken.outputs[0] if taken.outputs else None


def _obey(row: JobRow, order: str | None, now: int, chance: Chance | None = None) -> None:
    if order == "schedule":
        row.ar_window_from = None
        row.ar_due = now if row.ar_current == 0 else max(now, (row.ar_last or 0) + wait_ms(row, row.ar_current, chance))
    elif order == "reset":
        row.ar_current, row.ar_window_from, row.ar_due = 0, None, None
    elif order == "stop":
        row.ar_window_from, row.ar_due = None, None


def wait_ms(row: JobRow, attempt: int, chance: Chance | None = None) -> int:
    """Return the pause after an attempt (1 is the first), milliseconds: it grows by ``backoff`` up to ``delay_max``."""
    grown = row.ar_delay * row.ar_backoff ** min(max(attempt - 1, 0), EXPONENT_MAX)
    base = min(grown, max(row.ar_delay, row.ar_delay_max))
    return round(base * 1000 * (1 + (row.ar_jitter * chance.random() if chance is not None else 0)))


def _has_left(row: JobRow) -> bool:
    return row.ar_attempt_count is None or row.ar_current < row.ar_attempt_count


def failed(row: JobRow, now: int, chance: Chance) -> None:
    """The job's handler has reported a failure, whose class and text the row has already."""
    if is_fatal(row.error_class or "", row.error_text or ""):
        event = "failed_fatal"
    else:
        event = "failed_attempts_left" if _has_left(row) else "failed_none_left"
    _obey(row, _send(row, event), now, chance)


def attempted(row: JobRow, now: int) -> None:
    """The job in failure was restarted: one more attempt was made."""
    if _send(row, "due") is not None:
        row.ar_current += 1
        row.ar_last = now
        row.ar_window_from = None
        row.ar_due = now + round(row.ar_delay * 1000) if row.ar_success == SEED else None


def claimed(row: JobRow, now: int) -> None:
    """A handler has begun to carry the job: the success window opens, if an attempt was made."""
    if row.ar_status == RestartStatus.IN_PROGRESS and row.ar_success != SEED:
        row.ar_window_from = now
        row.ar_due = now + round(row.ar_delay * 1000)


def left_handler(row: JobRow) -> None:
    """The job went back to the queue without a failure (loss, handback): its window is closed, no attempt counted."""
    if row.ar_status == RestartStatus.IN_PROGRESS and row.ar_success != SEED:
        row.ar_window_from = row.ar_due = None


def finished(row: JobRow, now: int) -> None:
    """The job is done."""
    _obey(row, _send(row, "job_done"), now)


def user_acted(row: JobRow, now: int) -> None:
    """A user asked for a status or replaced the job: the count of attempts begins at zero again."""
    _obey(row, _send(row, "user"), now)


def window_ended(row: JobRow, now: int) -> bool:
    """Close the success window of a job that is due and not in failure; say whether that was a success."""
    row.ar_due = None
    if row.status == Status.FAILURE or (row.ar_success != SEED and row.status != Status.IN_PROGRESS):
        return False
    order = _send(row, "window_held")
    _obey(row, order, now)
    return order is not None


def changed_settings(row: JobRow, was_on: bool, now: int, chance: Chance) -> None:
    """The settings in the row are new: take note of ``restart`` switched, and of attempts that a change allows."""
    facts = {
        "is_failed": row.status == Status.FAILURE,
        "is_fatal": is_fatal(row.error_class or "", row.error_text or ""),
        "has_left": _has_left(row),
    }
    order = None
    if row.ar_restart != was_on:
        order = _send(row, "restart_on" if row.ar_restart else "restart_off", **facts)
    elif facts["is_failed"] and facts["has_left"] and row.ar_status == RestartStatus.FAILED:
        order = _send(row, "attempts_raised")
    _obey(row, order, now, chance)
