"""The calls of the REST interface as one table: method, path, who may, and the operation behind it. Pure.

The table makes the router, the check of roles and the OpenAPI document (:mod:`kvspic.fleet.openapi`). A body is JSON of
at most 4 MB, 20 levels deep, without the numbers that JSON does not have.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from kvspic.fleet import jobs, service
from kvspic.fleet.auth import Caller
from kvspic.fleet.errors import BadFieldError, FleetError
from kvspic.fleet.fields import Field, check_query
from kvspic.fleet.records import Tx

__all__ = ["BODY_MAX", "ROUTES", "Answer", "Asked", "Route", "Trial", "read_body"]

BODY_MAX = 4 * 1024 * 1024
DEPTH_MAX = 20
NAME = re.compile(jobs.NAME)
TRIAL_QUERY = (Field("trial", "flag", False, text="Count what would change, and change nothing."),)
_KEY = re.compile(r"[!-~]{1,128}")
_CONTAINERS = (dict, list)


class Trial(FleetError):
    """Ends a transaction of which only the answer is wanted: nothing is committed."""

    def __init__(self, answer: Any) -> None:
        super().__init__("This was a trial.")
        self.answer = answer


@dataclass(frozen=True)
class Asked:
    """One request, as the operations need it: parts of the path, parameters, body, who asks."""

    parts: Mapping[str, str]
    query: Mapping[str, str]
    body: Any
    caller: Caller
    key: str | None = None
    is_again: bool = False  # a long poll looks again


@dataclass(frozen=True)
class Answer:
    """What goes back; None as content is an answer without one."""

    content: Any
    status: int = 200


@dataclass(frozen=True)
class Route:
    """One call.

    Attributes:
        path: with ``{names}``.
        need: ``read``, ``write`` or ``handle``; empty: anybody.
        run: the operation, in one transaction.
        name: of the call, for figures and as operationId.
        body, query: the fields of both; None: the call has no body.
        errors: what it may answer besides what every call may.
        success: status of the answer.
    """

    method: str
    path: str
    need: str
    run: Callable[[Tx, Asked], Answer]
    name: str
    text: str
    body: tuple[Field, ...] | None = None
    query: tuple[Field, ...] = ()
    errors: Mapping[int, str] = field(default_factory=dict)
    success: tuple[int, ...] = (200,)


def read_body(content: bytes) -> Any:
    """Return what a body holds.

    Raises:
        BadFieldError: it is no JSON, or nested too deep.
    """
    try:
        body = json.loads(content, parse_constant=_no_number)
    except (ValueError, RecursionError) as error:
        raise BadFieldError("", f"The body is no JSON ({str(error)[:200]}).") from None
    level, depth = [body] if type(body) in _CONTAINERS else [], 0
    while level:
        depth += 1
        if depth > DEPTH_MAX:
            raise BadFieldError("", f"The body is nested deeper than {DEPTH_MAX}.")
        level = [member for one in level for member in _members(one) if type(member) in _CONTAINERS]
    return body


def _no_number(text: str) -> None:
    raise ValueError(f"{text} is no number of JSON")


def _members(value: dict[str, Any] | list[Any]) -> Iterable[Any]:
    return value.values() if isinstance(value, dict) else value


def _create(tx: Tx, asked: Asked) -> Answer:
    if asked.key is not None and not _KEY.fullmatch(asked.key):
        raise BadFieldError("Idempotency-Key", "has 1 to 128 printable characters without spaces")
    made = service.create_job(tx, asked.body, key=asked.key)
    return Answer(made.job, 201 if made.is_new else 200)


def _apply(tx: Tx, asked: Asked) -> Answer:
    is_trial = check_query(TRIAL_QUERY, asked.query)["trial"]
    counts = service.apply_jobs(tx, asked.body)
    if is_trial:
        raise Trial(counts)
    return Answer(counts)


def _delete_job(tx: Tx, asked: Asked) -> Answer:
    service.delete_job(tx, asked.parts["ref"])
    return Answer(None, 204)


def _handler(asked: Asked) -> str:
    name = asked.parts["handler"]
    if not NAME.fullmatch(name):
        raise BadFieldError("handler", f"must match {jobs.NAME}")
    return name


def _own_handler(asked: Asked) -> str:
    name = _handler(asked)
    asked.caller.check_handler(name)
    return name


def _poll(tx: Tx, asked: Asked) -> Answer:
    handler = _own_handler(asked)
    return Answer(service.poll(tx, handler, asked.body, labels=asked.caller.labels, is_again=asked.is_again))


def _feedback(tx: Tx, asked: Asked) -> Answer:
    return Answer(service.feedback(tx, _own_handler(asked), asked.body))


def _backfill(tx: Tx, asked: Asked) -> Answer:
    if isinstance(asked.body, dict) and isinstance(asked.body.get("handler"), str):
        asked.caller.check_handler(asked.body["handler"])
    return Answer(service.backfill(tx, asked.body))


def _delete_handler(tx: Tx, asked: Asked) -> Answer:
    service.delete_handler(tx, _handler(asked))
    return Answer(None, 204)


def _group(tx: Tx, asked: Asked) -> Answer:
    """One batch; the server repeats with ``after`` of the query, which is its own."""
    batch = service.patch_group(tx, asked.parts["group"], asked.body, after=int(asked.query["after"]))
    return Answer(batch)


_TRANSITION = "`transition`: {from, to, allowed}."
_TAKEN = "`name_taken`, `stream_taken`: {job}."
_GONE = {404: "`not_found`."}
_SUPERSEDED = {409: "`superseded`: a newer process has this handler's name; `name_in_use`: another machine has it."}

ROUTES = (
    Route("POST", "/v1/jobs", "write", _create, "createJob",
          "Create a job. A repeated Idempotency-Key returns the first.",
          body=jobs.JOB_FIELDS, errors={409: _TAKEN}, success=(200, 201)),
    Route("GET", "/v1/jobs", "read", lambda tx, a: Answer(service.list_jobs(tx, a.query)), "listJobs",
          "A page of jobs in the order of their creation.", query=jobs.JOB_QUERY),
    Route("GET", "/v1/jobs/{ref}", "read", lambda tx, a: Answer(service.get_job(tx, a.parts["ref"])), "getJob",
          "One job.", errors=_GONE),
    Route("PUT", "/v1/jobs/{ref}", "write", lambda tx, a: Answer(service.replace_job(tx, a.parts["ref"], a.body)),
          "replaceJob", "Replace a job: version + 1, and it begins again.", body=jobs.JOB_FIELDS,
          errors={**_GONE, 409: _TAKEN}),
    Route("PATCH", "/v1/jobs/{ref}", "write", lambda tx, a: Answer(service.patch_job(tx, a.parts["ref"], a.body)),
          "patchJob", "Change the status, or name, description, group and autorestart; not both.",
          body=jobs.PATCH_FIELDS, errors={**_GONE, 409: f"{_TRANSITION} {_TAKEN}", 422: "`file_in_progress`."}),
    Route("DELETE", "/v1/jobs/{ref}", "write", _delete_job, "deleteJob", "Remove a job; its log stays.",
          errors=_GONE, success=(204,)),
    Route("GET", "/v1/jobs/{ref}/logs", "read", lambda tx, a: Answer(service.job_logs(tx, a.parts["ref"], a.query)),
          "listJobLogs", "A job's log.", query=jobs.LOG_QUERY, errors=_GONE),
    Route("GET", "/v1/logs", "read", lambda tx, a: Answer(service.list_logs(tx, a.query)), "listLogs",
          "The log of all jobs, or of one, also of a deleted one.", query=jobs.LOG_QUERY, errors=_GONE),
    Route("DELETE", "/v1/logs", "write", lambda tx, a: Answer(service.delete_logs(tx, a.query)), "deleteLogs",
          "Delete older records; each job's newest stays.", query=jobs.PRUNE_QUERY),
    Route("PATCH", "/v1/groups/{group}", "write", _group, "patchGroup", "Change the status of a group's jobs.",
          body=jobs.GROUP_FIELDS, errors=_GONE),
    Route("POST", "/v1/apply", "write", _apply, "applyJobs",
          "Make the jobs be as a list says, by name; all or nothing.", body=jobs.APPLY_FIELDS, query=TRIAL_QUERY,
          errors={409: _TAKEN}),
    Route("POST", "/v1/handlers/{handler}/poll", "handle", _poll, "poll",
          "Ask for jobs; waits up to wait_s for some.", body=jobs.POLL_FIELDS, errors=_SUPERSEDED),
    Route("POST", "/v1/handlers/{handler}/feedback", "handle", _feedback, "feedback",
          "Report on carried jobs; renews their leases.", body=jobs.FEEDBACK_FIELDS, errors=_SUPERSEDED),
    Route("POST", "/v1/handlers/{handler}/drain", "write", lambda tx, a: Answer(service.drain(tx, _handler(a))),
          "drain", "Let a handler hand back its jobs and get no more.", errors=_GONE),
    Route("POST", "/v1/handlers/{handler}/undrain", "write", lambda tx, a: Answer(service.undrain(tx, _handler(a))),
          "undrain", "Let a handler get jobs again.", errors=_GONE),
    Route("DELETE", "/v1/handlers/{handler}", "write", _delete_handler, "deleteHandler",
          "Forget a handler that carries nothing.", errors={**_GONE, 409: "`handler_busy`."}, success=(204,)),
    Route("GET", "/v1/handlers", "read", lambda tx, _: Answer(service.list_handlers(tx)), "listHandlers",
          "All handlers."),
    Route("GET", "/v1/queue", "read", lambda tx, _: Answer(service.show_queue(tx)), "showQueue", "What waits."),
    Route("GET", "/v1/settings", "read", lambda tx, _: Answer(service.show_settings(tx)), "showSettings",
          "All settings."),
    Route("PUT", "/v1/settings", "write", lambda tx, a: Answer(service.put_settings(tx, a.body)), "putSettings",
          "Change some settings.", body=jobs.SETTINGS_FIELDS),
    Route("POST", "/v1/rebalance", "write", lambda tx, a: Answer(service.rebalance(tx, a.body)), "rebalance",
          "Move jobs from the fullest handlers.", body=jobs.REBALANCE_FIELDS),
    Route("POST", "/v1/backfill", "handle", _backfill, "backfill", "Ask to upload what was spooled of a job.",
          body=jobs.BACKFILL_FIELDS, errors={**_GONE, 409: "`backfill_refused`."}),
)  # fmt: skip
"""Every call that is one transaction; the server adds those that wait, stream or show the server itself."""
