"""The server's calls as values, for clients: method, path, query and body go in, typed data come out. Pure.

The same calls serve :class:`~kvspic.fleet.client.FleetClient` and its asynchronous twin. What a newer server adds to an
answer is ignored; a status that is not known here is kept as it is, and is not final.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Generic, TypedDict, TypeVar
from urllib.parse import quote, urlencode, urlsplit

from kvspic.fleet.causes import FINAL, ErrorName
from kvspic.fleet.errors import BadFieldError, FileInProgressError, FleetError, NotFoundError, StoreFullError

__all__ = [
    "Applied",
    "Call",
    "FleetUnreachableError",
    "HandlerInfo",
    "Job",
    "JobFields",
    "JobPage",
    "LogPage",
    "LogRecord",
    "NotAllowedError",
    "Queue",
    "answer_of",
    "server_urls",
    "token_headers",
]

T = TypeVar("T")


class FleetUnreachableError(FleetError):
    """No server answered (``http_status`` 0), or one answered that it cannot now (502 to 504)."""

    name = "unreachable"
    http_status = 0


class NotAllowedError(FleetError):
    """The token is missing or not known (401), or its role may not do this (403)."""

    name = "not_allowed"
    http_status = 401


class JobFields(TypedDict, total=False):
    """What a job may have besides its name and source; docs/fleet.md has the limits of each."""

    description: str
    stream: str
    endpoint: str
    region: str
    group: str
    labels: list[str]
    options: Mapping[str, Any]
    autorestart: Mapping[str, Any]
    status: str


def _moment(text: Any) -> datetime | None:
    """RFC 3339 as the server writes it; Python 3.10 does not read the Z."""
    return datetime.fromisoformat(text.replace("Z", "+00:00")) if isinstance(text, str) else None


@dataclass(frozen=True)
class Job:
    """One camera upload as the server has it. Times are UTC.

    Attributes:
        status: pending, in_progress, done, pause, cancel or failure; a newer server may know others.
        source: with ``type`` and ``url``; a password in the URL is shown as ``***``.
        handler: who carries it; None unless in_progress.
        error: class and text of the last failure; None after a claim.
        stats: the newest figures of its worker.
        fenced: False where ``on_server_loss`` is ``keep``.
        raw: the whole answer.
    """

    id: str
    name: str
    status: str
    stream: str
    source: Mapping[str, Any]
    version: int
    epoch: int
    group: str | None = None
    labels: tuple[str, ...] = ()
    options: Mapping[str, Any] = field(default_factory=dict)
    live: bool = True
    fenced: bool = True
    description: str = ""
    handler: str | None = None
    error: Mapping[str, str] | None = None
    autorestart: Mapping[str, Any] = field(default_factory=dict)
    stats: Mapping[str, Any] | None = None
    status_since: datetime | None = None
    created: datetime | None = None
    updated: datetime | None = None
    raw: Mapping[str, Any] = field(default_factory=dict, repr=False, compare=False)

    @property
    def is_final(self) -> bool:
        """Whether only a request can change the job: a failure may be restarted, an unknown status may change."""
        return self.status in FINAL

    @classmethod
    def of(cls, answer: Mapping[str, Any]) -> Job:
        """Make one of the server's JSON."""
        known = {name: answer[name] for name in cls.__dataclass_fields__ if name in answer and name != "raw"}
        for name in ("status_since", "created", "updated"):
            known[name] = _moment(answer.get(name))
        known["labels"] = tuple(answer.get("labels") or ())
        return cls(**known, raw=answer)


@dataclass(frozen=True)
class JobPage:
    """Jobs in the order of their creation; ``next`` is where the following page begins, None at the end."""

    jobs: tuple[Job, ...]
    next: str | None


@dataclass(frozen=True)
class LogRecord:
    """One change of a job. ``seq`` counts from 1 within the job; ``error`` is class and text of a failure."""

    job: str
    name: str
    seq: int
    time: datetime | None
    status: str
    cause: str
    actor: str
    epoch: int
    version: int
    handler: str | None = None
    error: Mapping[str, str] | None = None
    raw: Mapping[str, Any] = field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def of(cls, answer: Mapping[str, Any]) -> LogRecord:
        """Make one of the server's JSON."""
        known = {name: answer[name] for name in cls.__dataclass_fields__ if name in answer and name != "raw"}
        return cls(**{**known, "time": _moment(answer.get("time"))}, raw=answer)


@dataclass(frozen=True)
class LogPage:
    """Records in order; ``next`` is where the following page begins, None at the end.

    ``last`` is where a reader goes on that waits for what comes; None where nothing is there at all.
    """

    logs: tuple[LogRecord, ...]
    next: str | None
    last: str | None = None


@dataclass(frozen=True)
class HandlerInfo:
    """One worker process. ``state`` is ready, draining or lost; ``seen`` is when it called last."""

    id: str
    state: str
    slots: int
    carried: int
    host: str | None = None
    version: str | None = None
    labels: tuple[str, ...] = ()
    seen: datetime | None = None
    raw: Mapping[str, Any] = field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def of(cls, answer: Mapping[str, Any]) -> HandlerInfo:
        """Make one of the server's JSON."""
        known = {name: answer[name] for name in cls.__dataclass_fields__ if name in answer and name != "raw"}
        return cls(**{**known, "seen": _moment(answer.get("seen")), "labels": tuple(answer["labels"])}, raw=answer)


@dataclass(frozen=True)
class Queue:
    """Whole numbers about the fleet, by name; see ``GET /v1/queue``."""

    raw: Mapping[str, Any]

    def __getitem__(self, name: str) -> Any:
        return self.raw[name]


@dataclass(frozen=True)
class Applied:
    """How many jobs a file created, replaced, left as they were, and deleted."""

    created: int
    replaced: int
    unchanged: int
    deleted: int


@dataclass(frozen=True)
class Call(Generic[T]):
    """One request, and how its answer is read. ``is_repeatable``: to send it twice does what once does."""

    method: str
    path: str
    read: Callable[[Any], T]
    body: Any = None
    query: Mapping[str, Any] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    is_repeatable: bool = False

    @property
    def target(self) -> str:
        """Path and query as they are sent."""
        words = {name: value for name, value in self.query.items() if value is not None}
        return f"{self.path}?{urlencode(words)}" if words else self.path

    def content(self) -> bytes | None:
        """The body as it is sent."""
        return None if self.body is None else json.dumps(self.body, separators=(",", ":")).encode()


def answer_of(call: Call[T], status: int, content: bytes) -> T:
    """Read an answer.

    Raises:
        FleetError: the server's refusal, as one of the classes of :mod:`kvspic.fleet.errors`.
    """
    try:
        answer = json.loads(content) if content else None
    except (ValueError, RecursionError):
        answer = None
    if 200 <= status < 300:
        if status != 204 and answer is None:
            raise _refusal(502, "no_fleet", "The answer is not JSON: does the URL lead to a fleet server?", {})
        return call.read(answer)
    if not isinstance(answer, dict) or "error" not in answer:
        text = f"The server answered {status} without a reason: does the URL lead to a fleet server?"
        answer = {"error": "unknown", "message": text}
    details = {name: value for name, value in answer.items() if name not in ("error", "message")}
    raise _refusal(status, str(answer["error"]), str(answer.get("message", "")), details)


def _refusal(status: int, name: str, text: str, details: dict[str, Any]) -> FleetError:
    made: FleetError
    if name == ErrorName.BAD_FIELD:
        made = BadFieldError(str(details.pop("field", "")), "", **details)
    elif name == ErrorName.STORE_UNAVAILABLE or status in (502, 503, 504):
        made = FleetUnreachableError(text, **details)
    elif status in (401, 403):
        made = NotAllowedError(text, **details)
    else:
        kinds: dict[int, type[FleetError]] = {404: NotFoundError, 422: FileInProgressError, 507: StoreFullError}
        made = kinds.get(status, FleetError)(text, **details)
    made.args = (text,)
    made.message = text
    made.name = name
    made.http_status = status
    return made


def server_urls(urls: str | Iterable[str]) -> tuple[str, ...]:
    """Return the servers' addresses, of one URL, several with commas between them, or a list.

    Raises:
        ValueError: one is not the address of a server.
    """
    given = urls.split(",") if isinstance(urls, str) else list(urls)
    found = tuple(url.strip().rstrip("/") for url in given if url.strip())
    for url in found:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(f"{url!r} is no address of a fleet server; give one such as http://fleet:8090.")
    if not found:
        raise ValueError("No fleet server is named; give an address such as http://fleet:8090.")
    return found


def token_headers(token: str | None) -> dict[str, str]:
    """Return the headers of every call.

    Raises:
        ValueError: the token has characters that no header may have.
    """
    headers = {"Accept": "application/json", "Content-Type": "application/json"}
    if token is not None:
        if not (token.isascii() and token.isprintable() and token and " " not in token):
            raise ValueError("The token has characters that a token cannot have; take it from the tokens file again.")
        headers["Authorization"] = f"Bearer {token}"
    return headers


# The calls of docs/fleet.md, in its order.


def _job_path(ref: str) -> str:
    """The path of a job that is named by its id, or by @ and its name."""
    return f"/v1/jobs/{quote(ref, safe='@')}"


def add(body: Mapping[str, Any], key: str) -> Call[Job]:
    """``POST /v1/jobs``; the key makes a repeated call return the first job."""
    return Call("POST", "/v1/jobs", Job.of, body, headers={"Idempotency-Key": key}, is_repeatable=True)


def jobs(**query: Any) -> Call[JobPage]:
    """``GET /v1/jobs``."""

    def read(answer: Any) -> JobPage:
        return JobPage(tuple(map(Job.of, answer["jobs"])), answer["next"])

    return Call("GET", "/v1/jobs", read, query=query, is_repeatable=True)


def job(ref: str) -> Call[Job]:
    """``GET /v1/jobs/REF``."""
    return Call("GET", _job_path(ref), Job.of, is_repeatable=True)


def replace(ref: str, body: Mapping[str, Any]) -> Call[Job]:
    """``PUT /v1/jobs/REF``."""
    return Call("PUT", _job_path(ref), Job.of, body)


def patch(ref: str, body: Mapping[str, Any]) -> Call[Job]:
    """``PATCH /v1/jobs/REF``."""
    return Call("PATCH", _job_path(ref), Job.of, body)


def delete(ref: str) -> Call[None]:
    """``DELETE /v1/jobs/REF``."""
    return Call("DELETE", _job_path(ref), lambda _: None)


def _read_logs(answer: Any) -> LogPage:
    return LogPage(tuple(map(LogRecord.of, answer["logs"])), answer["next"], answer.get("last"))


def job_logs(ref: str, **query: Any) -> Call[LogPage]:
    """``GET /v1/jobs/REF/logs``."""
    return Call("GET", f"{_job_path(ref)}/logs", _read_logs, query=query, is_repeatable=True)


def logs(**query: Any) -> Call[LogPage]:
    """``GET /v1/logs``."""
    return Call("GET", "/v1/logs", _read_logs, query=query, is_repeatable=True)


def delete_logs(before: str) -> Call[int]:
    """``DELETE /v1/logs``."""
    return Call("DELETE", "/v1/logs", lambda answer: int(answer["deleted"]), query={"before": before})


def patch_group(name: str, status: str) -> Call[dict[str, Any]]:
    """``PATCH /v1/groups/NAME``."""
    return Call("PATCH", f"/v1/groups/{quote(name, safe='')}", dict, {"status": status})


def apply(bodies: list[Mapping[str, Any]], *, group: str | None, prune: bool, is_trial: bool) -> Call[Applied]:
    """``POST /v1/apply``; a trial counts what would change."""
    body: dict[str, Any] = {"jobs": bodies, "prune": prune}
    if group is not None:
        body["group"] = group

    def read(answer: Any) -> Applied:
        return Applied(**{name: answer[name] for name in Applied.__dataclass_fields__})

    return Call("POST", "/v1/apply", read, body, {"trial": "true"} if is_trial else {})


def poll(handler: str, body: Mapping[str, Any]) -> Call[dict[str, Any]]:
    """``POST /v1/handlers/H/poll``."""
    return Call("POST", f"/v1/handlers/{quote(handler, safe='')}/poll", dict, body)


def feedback(handler: str, body: Mapping[str, Any]) -> Call[dict[str, Any]]:
    """``POST /v1/handlers/H/feedback``."""
    return Call("POST", f"/v1/handlers/{quote(handler, safe='')}/feedback", dict, body)


def drain(handler: str, *, is_on: bool) -> Call[HandlerInfo]:
    """``POST /v1/handlers/H/drain`` and ``/undrain``."""
    word = "drain" if is_on else "undrain"
    return Call("POST", f"/v1/handlers/{quote(handler, safe='')}/{word}", HandlerInfo.of, is_repeatable=True)


def delete_handler(handler: str) -> Call[None]:
    """``DELETE /v1/handlers/H``."""
    return Call("DELETE", f"/v1/handlers/{quote(handler, safe='')}", lambda _: None)


def handlers() -> Call[tuple[HandlerInfo, ...]]:
    """``GET /v1/handlers``."""
    return Call("GET", "/v1/handlers", lambda a: tuple(map(HandlerInfo.of, a["handlers"])), is_repeatable=True)


def queue() -> Call[Queue]:
    """``GET /v1/queue``."""
    return Call("GET", "/v1/queue", Queue, is_repeatable=True)


def settings(changes: Mapping[str, Any] | None = None) -> Call[dict[str, Any]]:
    """``GET`` and ``PUT /v1/settings``."""
    if changes is None:
        return Call("GET", "/v1/settings", dict, is_repeatable=True)
    return Call("PUT", "/v1/settings", dict, dict(changes), is_repeatable=True)


def rebalance(limit: int) -> Call[int]:
    """``POST /v1/rebalance``."""
    return Call("POST", "/v1/rebalance", lambda answer: int(answer["moving"]), {"max": limit})


def backfill(body: Mapping[str, Any]) -> Call[dict[str, Any]]:
    """``POST /v1/backfill``."""
    return Call("POST", "/v1/backfill", dict, body)


def advance(seconds: float) -> Call[float]:
    """``POST /v1/test/clock``."""
    return Call("POST", "/v1/test/clock", lambda answer: float(answer["now_s"]), {"advance_s": seconds})
