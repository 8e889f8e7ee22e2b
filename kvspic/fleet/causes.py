"""The words of the fleet: statuses, causes, actors, verdicts, error classes and error names. Pure; names only."""

from __future__ import annotations

import enum

__all__ = [
    "ALLOWED_ORDER",
    "FATAL_CLASSES",
    "FATAL_TEXT",
    "FINAL",
    "STATUSES",
    "Actor",
    "Cause",
    "ErrorClass",
    "ErrorName",
    "HandlerState",
    "RestartStatus",
    "Status",
    "Verdict",
    "is_fatal",
]


class Word(str, enum.Enum):
    """A member is its own text: in JSON, in the database and in comparisons."""

    def __str__(self) -> str:
        return str(self.value)


class Status(Word):
    """What a job is. The first six are what a reader can see; the last three stand in logs only."""

    PENDING = "pending"  # waits for a handler
    IN_PROGRESS = "in_progress"  # a handler carries it
    DONE = "done"  # ended well
    PAUSE = "pause"  # held back by a user
    CANCEL = "cancel"  # given up by a user
    FAILURE = "failure"  # its handler reported an error
    RESTART = "restart"  # on the way back to the queue
    HANDLER_LOST = "handler_lost"  # its handler was silent for a lease
    DELETED = "deleted"  # removed by a user


STATUSES = (Status.PENDING, Status.IN_PROGRESS, Status.DONE, Status.PAUSE, Status.CANCEL, Status.FAILURE)
"""The statuses that a job can be seen in."""
FINAL = frozenset({Status.DONE, Status.CANCEL})
"""Statuses that only a user's request leaves. A status that a client does not know is not final."""
ALLOWED_ORDER = (Status.PENDING, Status.PAUSE, Status.CANCEL)
"""The statuses that a user may ask for, in the order in which a refusal lists them."""


class Cause(Word):
    """Why a status changed; the column ``cause`` of a log record."""

    CREATE = "create"
    CLAIM = "claim"
    FINISHED = "finished"
    ERROR = "error"
    HANDBACK = "handback"
    LEASE = "lease"  # the handler was silent for a whole lease
    INCARNATION = "incarnation"  # the handler's process was replaced by a new one
    HANDLER_LOST = "handler_lost"  # what follows a loss
    AUTORESTART = "autorestart"
    PATCH = "patch"
    REPLACE = "replace"
    DELETE = "delete"


class Actor(Word):
    """Who caused a change."""

    USER = "user"
    HANDLER = "handler"
    SERVER = "server"


class Verdict(Word):
    """The answer to one report of a handler."""

    CONTINUE = "continue"  # go on: the lease is renewed
    STOP = "stop"  # let go of the job
    NOT_FOUND = "not_found"  # the job was deleted: let go, do not report it again


class HandlerState(Word):
    """What a handler is, as the server sees it."""

    READY = "ready"
    DRAINING = "draining"  # gets no jobs and hands back those that it has
    LOST = "lost"  # was seen longer ago than a lease


class RestartStatus(Word):
    """The status of a job's autorestart."""

    DISABLED = "disabled"
    ENABLED = "enabled"
    IN_PROGRESS = "in_progress"
    FAILED = "failed"
    DENIED = "denied"


class ErrorClass(Word):
    """The class of a failure that a handler reports; a class that is not listed counts as UNKNOWN."""

    ACCESS_DENIED = "access_denied"
    STREAM_UNUSABLE = "stream_unusable"
    MEDIA_UNSUPPORTED = "media_unsupported"
    FILE_MISSING = "file_missing"
    SOURCE_DENIED = "source_denied"
    BAD_JOB = "bad_job"
    SOURCE_UNREACHABLE = "source_unreachable"
    SOURCE_ENDED = "source_ended"
    SERVICE_UNREACHABLE = "service_unreachable"
    THROTTLED = "throttled"
    SERVICE_ERROR = "service_error"
    STALLED = "stalled"
    OVERLOADED = "overloaded"
    INTERNAL = "internal"
    UNKNOWN = "unknown"


FATAL_CLASSES = frozenset(
    {
        ErrorClass.ACCESS_DENIED,
        ErrorClass.STREAM_UNUSABLE,
        ErrorClass.MEDIA_UNSUPPORTED,
        ErrorClass.FILE_MISSING,
        ErrorClass.SOURCE_DENIED,
        ErrorClass.BAD_JOB,
    }
)
"""Classes that another attempt cannot mend: the job is not restarted by itself."""
FATAL_TEXT = "Failed to authorize in Luna Platform"
"""The error text that is fatal in any class; it must be equal, not similar."""


def is_fatal(error_class: str, error_text: str) -> bool:
    """Say whether a failure keeps its job from being restarted by itself."""
    return error_class in FATAL_CLASSES or error_text == FATAL_TEXT


class ErrorName(Word):
    """The value of ``error`` in an answer that refuses a request."""

    BAD_FIELD = "bad_field"
    NOT_FOUND = "not_found"
    NAME_TAKEN = "name_taken"
    STREAM_TAKEN = "stream_taken"
    TRANSITION = "transition"
    FILE_IN_PROGRESS = "file_in_progress"
    SUPERSEDED = "superseded"
    NAME_IN_USE = "name_in_use"
    HANDLER_BUSY = "handler_busy"
    BACKFILL_REFUSED = "backfill_refused"
    STORE_UNAVAILABLE = "store_unavailable"
    STORE_FULL = "store_full"
    STORE_UNUSABLE = "store_unusable"
