"""The status machine of a job, as a definition on ``kvspic.statechart``. Pure.

``restart`` and ``handler_lost`` are left in the step that enters them, so no reader ever sees them; ``removed`` is the
end of a deleted job. What the table does not list is refused, and nothing changes. Each micro-step outputs the log
record that belongs to it.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Any, NamedTuple

from kvspic.fleet.causes import ALLOWED_ORDER, Actor, Cause, Status
from kvspic.statechart import Branch, Definition, Result, Row, Snapshot, out, step

__all__ = ["ACTOR_OF", "EVENT_OF_STATUS", "PAIRS", "STATUS_MACHINE", "Change", "allowed", "change"]

NONE = "none"
"""The status of a job that does not exist: before its create, after its delete."""
JOB = "job"
REMOVED = "removed"
EVENTS = (
    "create",
    "claim",
    "done",
    "fail",
    "handback",
    "lost",
    "autorestart",
    "resume",
    "pause",
    "cancel",
    "replace",
    "delete",
)
EVENT_OF_STATUS = {Status.PENDING: "resume", Status.PAUSE: "pause", Status.CANCEL: "cancel"}
"""The event of a user's request for a status."""
ACTOR_OF = {
    Cause.CREATE: Actor.USER,
    Cause.PATCH: Actor.USER,
    Cause.REPLACE: Actor.USER,
    Cause.DELETE: Actor.USER,
    Cause.CLAIM: Actor.HANDLER,
    Cause.FINISHED: Actor.HANDLER,
    Cause.ERROR: Actor.HANDLER,
    Cause.HANDBACK: Actor.HANDLER,
    Cause.LEASE: Actor.SERVER,
    Cause.INCARNATION: Actor.SERVER,
    Cause.HANDLER_LOST: Actor.SERVER,
    Cause.AUTORESTART: Actor.SERVER,
}
_FOLLOWS = {Cause.LEASE: Cause.HANDLER_LOST, Cause.INCARNATION: Cause.HANDLER_LOST}


class Change(NamedTuple):
    """One micro-step of a job: the status that the log names, and why."""

    status: Status
    cause: Cause

    @property
    def actor(self) -> Actor:
        """Who caused it."""
        return ACTOR_OF[self.cause]


def is_live(data: Mapping[str, Any], payload: Any, settings: Any) -> bool:
    """The source is not a file."""
    return bool(data["live"])


def asks_for_pause(data: Any, payload: Mapping[str, Any], settings: Any) -> bool:
    """The body of the create or replace asks for the status pause."""
    return payload.get("wanted") == Status.PAUSE


def _log(status: Status, *, follows: bool = False) -> Any:
    def record(data: Any, payload: Mapping[str, Any], settings: Any) -> Result:
        cause = payload["cause"]
        return out(Change(status, _FOLLOWS.get(cause, cause) if follows else cause))

    record.__name__ = f"log {status}"
    return record


def _to(target: str, status: Status | None = None, **more: Any) -> Branch:
    follows = more.pop("follows", False)
    return Branch(target, action=_log(status or Status(target), follows=follows), **more)


def _row(origin: str, event: str | None, target: str, status: Status | None = None, **more: Any) -> Row:
    return Row(origin, event, _to(target, status, **more))


def _rows() -> list[Row]:
    rows = [
        Row(NONE, "create", _to(Status.PAUSE, guard=asks_for_pause), _to(Status.PENDING)),
        _row(Status.PENDING, "claim", Status.IN_PROGRESS),
        _row(Status.PENDING, "pause", Status.PAUSE),
        _row(Status.PENDING, "cancel", Status.CANCEL),
        _row(Status.IN_PROGRESS, "done", Status.DONE),
        _row(Status.IN_PROGRESS, "fail", Status.FAILURE),
        _row(Status.IN_PROGRESS, "handback", Status.PENDING),
        _row(Status.IN_PROGRESS, "lost", Status.HANDLER_LOST),
        _row(Status.IN_PROGRESS, "pause", Status.PAUSE, guard=is_live),
        _row(Status.IN_PROGRESS, "cancel", Status.CANCEL),
        _row(Status.PAUSE, "cancel", Status.CANCEL),
        _row(Status.PAUSE, "resume", Status.PENDING),
        _row(Status.FAILURE, "autorestart", Status.RESTART),
    ]
    for ended in (Status.DONE, Status.CANCEL, Status.FAILURE):
        rows += [_row(ended, "resume", Status.PENDING), _row(ended, "pause", Status.PAUSE)]
    return rows + [
        _row(JOB, "replace", Status.RESTART),
        _row(JOB, "delete", REMOVED, Status.DELETED),
        Row(
            Status.RESTART,
            None,
            _to(Status.PAUSE, guard=asks_for_pause, follows=True),
            _to(Status.PENDING, follows=True),
        ),
        _row(Status.HANDLER_LOST, None, Status.RESTART, follows=True),
    ]


def _states() -> dict[str, Any]:
    inner = (Status.PENDING, Status.IN_PROGRESS, Status.DONE, Status.PAUSE, Status.CANCEL, Status.FAILURE)
    return {
        NONE: "",
        JOB: {status.value: "" for status in inner},
        Status.RESTART.value: "",
        Status.HANDLER_LOST.value: "",
        REMOVED: "",
    }


STATUS_MACHINE: Definition[dict[str, Any]] = Definition(
    states=_states(),
    events=EVENTS,
    rows=[*_rows(), Row(JOB, "init", Status.PENDING)],
    initial=NONE,
    data={"live": True},
    name="job",
    notes={Status.RESTART.value: "never seen by a reader", Status.HANDLER_LOST.value: "never seen by a reader"},
)
"""The definition. Data: ``live``. Event data: ``cause``, and ``wanted``, the status that a body asks for."""


def change(status: str, event: str, cause: Cause, *, live: bool, wanted: str | None = None) -> list[Change] | None:
    """Take one event in a status; return the changes to be logged, the last of which is the new status.

    Args:
        status: ``none`` for a job that is being created.
        wanted: the status that the body of a create or replace asks for.

    Returns:
        None where the event is refused. DELETED last means that the job is removed.
    """
    snapshot: Snapshot[dict[str, Any]] = Snapshot(str(status), {"live": live}, {}, {})
    taken = step(STATUS_MACHINE, snapshot, {event: {"cause": cause, "wanted": wanted}})
    if taken.error is not None:
        raise taken.error
    return [found for found in taken.outputs or [] if found is not None] or None


def allowed(status: str, *, live: bool) -> list[str]:
    """Return the statuses that a user may ask for in this one, ordered pending, pause, cancel."""
    return [
        wanted.value
        for wanted in ALLOWED_ORDER
        if change(status, EVENT_OF_STATUS[wanted], Cause.PATCH, live=live) is not None
    ]


def _pairs() -> frozenset[tuple[str, str]]:
    found = set()
    cells = itertools.product((NONE, *_states()[JOB]), EVENTS, (None, Status.PAUSE.value))
    for before, event, wanted in cells:
        for made in change(before, event, Cause.CREATE, live=True, wanted=wanted) or []:
            after = NONE if made.status is Status.DELETED else made.status.value
            found.add((before, after))
            before = after
    return frozenset(found)


PAIRS = _pairs()
"""All pairs (status before, status after) that a log can hold, 34 of them; ``none`` stands for no job."""
