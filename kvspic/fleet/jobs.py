"""What a job is made of: the fields of every body of REST as tables, and what of a source may be shown. Pure.

The tables check requests (:func:`kvspic.fleet.fields.check_body`) and make the OpenAPI document. A password in a
source's address is stored and sent to the handler that carries the job. It is shown nowhere: in its place stands
``***``. The same ``***`` sent back means "as before".
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache
from typing import Any
from urllib.parse import unquote

from kvspic.fleet.causes import Status
from kvspic.fleet.errors import BadFieldError
from kvspic.fleet.fields import WHOLE_MAX, Field, check_body, check_query, schema_of, storable

__all__ = [
    "APPLY_FIELDS",
    "APPLY_JOBS_MAX",
    "AUTORESTART_FIELDS",
    "BACKFILL_FIELDS",
    "FEEDBACK_FIELDS",
    "GROUP_FIELDS",
    "HANDLER_NAME",
    "HIDDEN",
    "JOB_FIELDS",
    "JOB_QUERY",
    "LABEL",
    "LABELS_MAX",
    "LOG_QUERY",
    "PATCH_FIELDS",
    "PATCH_STATUSES",
    "POLL_FIELDS",
    "PRUNE_QUERY",
    "REBALANCE_FIELDS",
    "SETTINGS_FIELDS",
    "SOURCE_FIELDS",
    "STATS_BYTES_MAX",
    "Field",
    "check_body",
    "check_name",
    "check_query",
    "hide",
    "hide_in_text",
    "looks_like_id",
    "read_apply",
    "read_job",
    "read_report_error",
    "read_stats",
    "schema_of",
    "show_source",
    "source_of",
]

HIDDEN = "***"
APPLY_JOBS_MAX = 10_000
STATS_BYTES_MAX = 4096
HANDLER_NAME = r"[A-Za-z0-9_.-]{1,128}"
"""What the name of a handler must match."""
NAME = r"[A-Za-z0-9_.-]{1,128}"
WORD = r"[a-zA-Z0-9_-]{1,128}"
LABEL = r"[a-zA-Z0-9_-]{1,64}"
LABELS_MAX = 32
ID = re.compile(r"[0-9a-f]{32}")
PATCH_STATUSES = (Status.PENDING.value, Status.PAUSE.value, Status.CANCEL.value)

LABELS = Field(
    "labels",
    "list",
    (),
    size_max=LABELS_MAX,
    item=Field("label", pattern=LABEL),
    text="All of them must be among the handler's.",
)
GROUP = Field("group", default=None, pattern=WORD, is_nullable=True, text="A site or another set of jobs.")
DESCRIPTION = Field("description", default="", size_max=512)
SOURCE_FIELDS = (
    Field("type", choices=("rtsp", "device", "file", "test")),
    Field("url", size_max=2048, text="Its scheme fits the type. A password in it is shown as ***."),
    Field("secret", default=None, pattern=WORD, is_nullable=True, text="A name in the worker's file of secrets."),
)
OPTION_FIELDS = (
    Field("retention_hours", "whole", 24, high=87_600, text="Retention of a stream that the producer creates; hours."),
    Field("spool", "flag", False, text="Keep frames in files until they are persisted."),
    Field("stall_s", "whole", None, low=10, high=3600, is_nullable=True, text="Seconds without a persisted fragment."),
    Field("mode", default=None, choices=("realtime", "offline"), is_nullable=True, text="A file's default is offline."),
    Field("on_server_loss", default="fence", choices=("fence", "keep"), text="keep: go on without a lease."),
)
AUTORESTART_FIELDS = (
    Field("restart", "flag", True),
    Field("attempt_count", "whole", 10, high=1000, is_nullable=True, text="null: no limit."),
    Field("delay", "number", 60, low=1, high=86_400, text="Seconds between attempts; also the success window."),
    Field("backoff", "number", 2, low=1, high=10),
    Field("delay_max", "number", 3600, low=1, high=86_400 * 30, text="Seconds."),
    Field("jitter", "number", 0.2, high=1, text="Part of the delay that is added at random at most."),
    Field("success", default="held", choices=("held", "seed")),
)
JOB_FIELDS = (
    Field("name", pattern=NAME),
    DESCRIPTION,
    Field("stream", default=None, pattern=r"[a-zA-Z0-9_.-]{1,256}", is_nullable=True, text="Default: the name."),
    Field("endpoint", default="", size_max=2048, text="URL of the service; empty: the one of the region."),
    Field("region", default="", pattern=r"[a-z0-9-]{0,64}", text="Empty: the worker's."),
    Field("source", "object", fields=SOURCE_FIELDS),
    GROUP,
    LABELS,
    Field("options", "object", {}, fields=OPTION_FIELDS),
    Field("autorestart", "object", {}, fields=AUTORESTART_FIELDS),
    Field("status", default="pending", choices=("pending", "pause")),
)
PATCH_FIELDS = (
    Field("status", default=None, choices=PATCH_STATUSES),
    Field("name", default=None, pattern=NAME),
    Field("description", default=None, size_max=512),
    Field("group", default=None, pattern=WORD, is_nullable=True),
    Field(
        "autorestart",
        "object",
        None,
        fields=tuple(replace(field, default=None) for field in AUTORESTART_FIELDS),
    ),
)
GROUP_FIELDS = (Field("status", choices=PATCH_STATUSES),)
APPLY_FIELDS = (
    Field("jobs", "list", size_max=APPLY_JOBS_MAX),
    Field("group", default=None, pattern=WORD, is_nullable=True, text="The group of each job that names none."),
    Field("prune", "flag", False, text="Delete the other jobs of the group; without a group: all others."),
)
REBALANCE_FIELDS = (Field("max", "whole", low=1, high=10_000),)
BACKFILL_FIELDS = (
    Field("handler", pattern=NAME),
    Field("job", size_max=256, text="Id of the job whose spool was found."),
    Field("epoch", "whole", low=1),
)
CARRIED = Field("carried", "object", fields=(Field("id", size_max=256), Field("epoch", "whole")), is_open=True)
INCARNATION = Field("incarnation", pattern=r"[A-Za-z0-9_.-]{1,64}", text="Random, one for each process.")
POLL_FIELDS = (
    INCARNATION,
    Field("slots", "whole", high=10_000),
    Field("free", "whole", high=10_000),
    LABELS,
    Field("wait_s", "number", 0, high=25),
    Field("host", default=None, size_max=128, is_nullable=True, text="Id of the machine."),
    Field("version", default="", size_max=64),
    Field("seq", "whole", None, is_nullable=True, text="Rises with each poll of an incarnation."),
    Field("carried", "list", None, size_max=10_000, item=CARRIED, is_nullable=True),
)
REPORT_FIELDS = (
    Field("id", size_max=256),
    Field("epoch", "whole"),
    Field("status", choices=("in_progress", "done", "failure", "handback")),
    Field(
        "error",
        "object",
        None,
        is_nullable=True,
        is_open=True,
        fields=(
            Field("class", default="unknown", size_max=64, cut=True),
            Field("text", default="", size_max=2000, cut=True),
        ),
    ),
    Field("stats", "object", None, is_nullable=True),
)
FEEDBACK_FIELDS = (
    INCARNATION,
    Field("reports", "list", size_max=1000, item=Field("report", "object", fields=REPORT_FIELDS, is_open=True)),
)
SETTINGS_FIELDS = (
    Field("lease_s", "number", 20, low=2, high=3600, text="Silence after which a handler's jobs are lost; seconds."),
    Field("spread_s", "number", 3, high=60, text="Age up to which a job goes to handlers with a fair share only."),
    Field("in_progress_max", "whole", 0, high=1_000_000, text="Jobs in progress at once; 0: no limit."),
    Field("handout_rate", "number", 100, low=0.1, high=100_000, text="Jobs handed out in a second."),
    Field("handout_burst", "whole", 200, low=1, high=100_000),
    Field("restart_rate", "number", 10, low=0.1, high=10_000, text="Automatic restarts in a second."),
    Field("logs_keep_days", "number", 0, high=36_500, text="0: for ever."),
    Field("logs_check_s", "number", 180, low=1, high=86_400),
)
LIMIT = Field("limit", "whole", 100, low=1, high=1000)
AFTER = Field("after", default=None, size_max=64, text="The value of next of the page before.")
JOB_QUERY = (
    Field("status", default=None, choices=tuple(status.value for status in Status)),
    Field("group", default=None, pattern=WORD),
    Field("label", default=None, pattern=LABEL),
    Field("handler", default=None, pattern=NAME),
    Field("name", default=None, pattern=NAME),
    AFTER,
    LIMIT,
)
LOG_QUERY = (
    Field("job", default=None, size_max=256, text="Id of a job, also of a deleted one."),
    Field("status", default=None, choices=tuple(status.value for status in Status)),
    Field("since", default=None, size_max=40, text="Time, RFC 3339."),
    AFTER,
    LIMIT,
)
PRUNE_QUERY = (Field("before", size_max=40, text="Time, RFC 3339."),)

SCHEMES = {"rtsp": ("rtsp", "rtsps"), "device": ("", "device"), "file": ("", "file"), "test": ("", "test")}
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")
_USER = re.compile(r"(?<=://)([^/?#\s@]*?):([^/?#\s]*)@")
_PARAMETER = re.compile(
    r"(?i)(?<![a-z])((?:password|passwd|passwort|pwd|pass|token|secret|apikey|api_key|auth)=)"
    r"([^&;#\s]*?)(?=[_/][A-Za-z0-9]+=|[&;#\s]|$)"
)
_COMPACT = json.JSONEncoder(separators=(",", ":")).encode
BOUNDED_MAX = 6  # a shorter password is replaced in texts only where it stands alone


def looks_like_id(text: str) -> bool:
    """Say whether a text has the form of a job's id, which names may not have."""
    return ID.fullmatch(text) is not None


def read_job(raw: Any, where: str = "", before: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Check the body of a job and return it with defaults; ``stream`` is filled in, labels are sorted and unique.

    Args:
        before: the stored source of the job that is replaced; what is ``***`` in the new one comes from it.

    Raises:
        BadFieldError: by the dotted name of the field.
    """
    body = check_body(JOB_FIELDS, raw, where)
    prefix = f"{where}." if where else ""
    check_name(body["name"], f"{prefix}name")
    body["stream"] = body["stream"] or body["name"]
    if body["endpoint"] and not re.fullmatch(r"https?://[^\s/]+\S*", body["endpoint"]):
        raise BadFieldError(f"{prefix}endpoint", "must be an http or https URL")
    body["labels"] = sorted(set(body["labels"]))
    body["source"] = _read_source(body["source"], f"{prefix}source", before)
    body["options"]["mode"] = body["options"]["mode"] or ("offline" if body["source"]["type"] == "file" else "realtime")
    return body


def check_name(name: str, where: str) -> None:
    """Raise BadFieldError for a name that looks like an id."""
    if looks_like_id(name):
        raise BadFieldError(where, "looks like the id of a job; choose another name")


def read_apply(raw: Any) -> tuple[list[Any], str | None, bool]:
    """Check the frame of an ``apply``: (bodies, as they came but with the group filled in; group; prune).

    Raises:
        BadFieldError: a field of the frame is wrong.
    """
    body = check_body(APPLY_FIELDS, raw)
    jobs = body["jobs"]
    if body["group"] is not None:
        jobs = [{"group": body["group"], **job} if isinstance(job, Mapping) else job for job in jobs]
    return jobs, body["group"], body["prune"]


def _read_source(source: dict[str, Any], where: str, before: Mapping[str, Any] | None) -> dict[str, Any]:
    url = source["url"]
    if not url.strip():
        raise BadFieldError(f"{where}.url", "is empty")
    found = _SCHEME.match(url)
    scheme = found[1].lower() if found else ""
    if scheme not in SCHEMES[source["type"]]:
        fitting = " or ".join(f"{name}://" if name else "no scheme" for name in SCHEMES[source["type"]])
        raise BadFieldError(f"{where}.url", f"must have {fitting}, as a source of type {source['type']} has")
    if HIDDEN in _secrets(url):
        if before is None or hide(before["url"]) != hide(url):
            raise BadFieldError(f"{where}.url", f"has {HIDDEN} where the password stands; send the password")
        source["url"] = before["url"]
    return source


def source_of(text: str) -> dict[str, Any]:
    """Return the source that a plain text names: its type follows from the scheme or the path."""
    scheme = _SCHEME.match(text)
    name = scheme[1].lower() if scheme else ""
    if name in SCHEMES["rtsp"]:
        kind = "rtsp"
    elif name == "test" or re.match(r"testsrc(?::|$)", text):
        kind = "test"
    elif name == "device" or text.startswith("/dev/"):
        kind = "device"
    else:
        kind = "file"
    return {"type": kind, "url": text}


def _secrets(url: str) -> list[str]:
    return [found[2] for found in _USER.finditer(url)] + [found[2] for found in _PARAMETER.finditer(url)]


def hide(url: str) -> str:
    """Return an address with ``***`` in place of each password and token in it."""
    return _PARAMETER.sub(rf"\g<1>{HIDDEN}", _USER.sub(rf"\g<1>:{HIDDEN}@", url))


def hide_in_text(text: str, url: str = "") -> str:
    """Return a text, such as an error, without passwords: those of addresses in it, and those of ``url``."""
    if "@" in text or "=" in text:  # what an address with a password has
        text = hide(text)
    for secret in _bare_secrets(url):
        text = secret.sub(HIDDEN, text)
    return text


@lru_cache(20_000)
def _bare_secrets(url: str) -> tuple[re.Pattern[str], ...]:
    """The passwords of an address, as they may stand in a text; remembered, because each report asks for them."""
    found = {part for one in _secrets(url) for part in (one, unquote(one)) if part not in ("", HIDDEN)}
    bound = r"(?<!\w){}(?!\w)"
    return tuple(re.compile((bound if len(one) < BOUNDED_MAX else "{}").format(re.escape(one))) for one in found)


def show_source(source: Mapping[str, Any]) -> dict[str, Any]:
    """Return a source as answers show it."""
    return {**source, "url": hide(source["url"])}


def read_report_error(error: Mapping[str, Any] | None, url: str) -> tuple[str, str]:
    """Return class and text of a report's error, without the passwords of ``url``."""
    if error is None:
        return "unknown", ""
    return error["class"] or "unknown", hide_in_text(error["text"], url)


def read_stats(stats: Mapping[str, Any] | None, url: str) -> str | None:
    """Return a report's numbers as JSON text of at most STATS_BYTES_MAX bytes, without the passwords of ``url``.

    Raises:
        BadFieldError: a number is not finite, negative or 2**63 or more; the text is too long.
    """
    if stats is None:
        return None
    has_secrets = bool(_bare_secrets(url))
    changed = {}
    for key, value in stats.items():
        kind = type(value)
        if (kind is int or kind is float) and 0 <= value <= WHOLE_MAX:
            continue
        if kind is bool or (kind is str and value.isidentifier() and not has_secrets):
            continue
        changed[key] = _stat(key, value, url)
    text = _COMPACT({**stats, **changed} if changed else stats)
    if len(text) > STATS_BYTES_MAX:
        raise BadFieldError("stats", f"is longer than {STATS_BYTES_MAX} bytes")
    return text


def _stat(name: str, value: Any, url: str) -> Any:
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return hide_in_text(storable(value), url)
    if isinstance(value, (int, float)):
        return check_body((Field(name, "number"),), {name: value}, "stats")[name]
    raise BadFieldError(f"stats.{name}", "must be a number, a text, true, false or null")
