"""What the fleet refuses, and what its store cannot do: one class each, with its name and HTTP status in REST. Pure.

No text here holds a password of a source.
"""

from __future__ import annotations

from typing import Any

from kvspic.fleet.causes import ErrorName

__all__ = [
    "BadFieldError",
    "ConflictError",
    "FileInProgressError",
    "FleetError",
    "FleetServerError",
    "NotFoundError",
    "StoreFullError",
    "StoreUnavailableError",
    "StoreUnusableError",
]


class FleetError(Exception):
    """A request that was refused, or a store that failed; nothing was changed.

    Attributes:
        name: one of :class:`kvspic.fleet.causes.ErrorName`.
        http_status: the status of the HTTP answer.
        details: further members of the answer's body, JSON-ready.
    """

    name: str = "error"
    http_status = 500

    def __init__(self, message: str, **details: Any) -> None:
        super().__init__(message)
        self.message = message
        self.details = details

    def to_dict(self) -> dict[str, Any]:
        """Return the body of the HTTP answer."""
        return {"error": str(self.name), "message": self.message, **self.details}


class BadFieldError(FleetError):
    """A field of a body or a query has a value that is not allowed; ``field`` is its dotted name."""

    name = ErrorName.BAD_FIELD
    http_status = 400

    def __init__(self, field: str, message: str, **details: Any) -> None:
        super().__init__(f"{field}: {message}" if field else message, field=field, **details)
        self.field = field


class NotFoundError(FleetError):
    """No job, handler or group has that name or id."""

    name = ErrorName.NOT_FOUND
    http_status = 404


class ConflictError(FleetError):
    """The request does not fit the present state; ``name`` says which conflict it is."""

    http_status = 409

    def __init__(self, name: ErrorName, message: str, **details: Any) -> None:
        super().__init__(message, **details)
        self.name = name


class FileInProgressError(FleetError):
    """A file in progress cannot be paused."""

    name = ErrorName.FILE_IN_PROGRESS
    http_status = 422


class StoreUnavailableError(FleetError):
    """The database does not answer now; the same request may be sent again."""

    name = ErrorName.STORE_UNAVAILABLE
    http_status = 503


class StoreFullError(FleetError):
    """The database's disk is full; reading and the renewal of leases go on."""

    name = ErrorName.STORE_FULL
    http_status = 507


class StoreUnusableError(FleetError):
    """The database cannot be used at all: it is of a newer or older version, not ours, or read-only."""

    name = ErrorName.STORE_UNUSABLE
    http_status = 500


class FleetServerError(Exception):
    """A server cannot start: one sentence with the remedy. ``is_usage``: by what it was given, not by the machine."""

    def __init__(self, text: str, *, is_usage: bool = False) -> None:
        super().__init__(text)
        self.is_usage = is_usage
