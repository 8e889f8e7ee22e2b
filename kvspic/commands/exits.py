"""Exit codes, and which of them a failure ends with: one code for each kind of trouble that a script can act on.

Pure: errors of other parts are recognised by their classes, which need none of the optional packages.
"""

from __future__ import annotations

import enum

from kvspic import errors
from kvspic.fleet.errors import FleetError, FleetServerError
from kvspic.local.errors import DataDirLockedError, LocalEndpointError, StoreError
from kvspic.provider.results import ServiceError
from kvspic.sources.base import MissingDependencyError, SourceError

__all__ = ["CliError", "ExitCode", "explain"]


class ExitCode(enum.IntEnum):
    """What a command ends with."""

    OK = 0
    INCOMPLETE = 1  # not everything was persisted, or came back
    USAGE = 2
    MEDIA = 3
    UNREACHABLE = 4  # the service, or the port to listen on
    REFUSED = 5  # the service said no: credentials, permissions, an unknown stream
    STORE = 6  # the content store, or the data directory
    NOT_COMPARABLE = 7  # a benchmark whose agents did not begin together
    INTERNAL = 70
    INTERRUPTED = 130


class CliError(Exception):
    """Ends a command with ``code``; the text is one sentence with cause and remedy."""

    def __init__(self, code: ExitCode, text: str) -> None:
        super().__init__(text)
        self.code = code


def explain(error: BaseException) -> CliError | None:
    """Return the failure in the command line's words; None for an unexpected one."""
    if isinstance(error, CliError):
        return error
    code = _code_of(error)
    if code is None:
        return None
    text = str(error)
    return CliError(code, _capitalized(text) if isinstance(error, errors.KvsError) else text)


def _code_of(error: BaseException) -> ExitCode | None:
    if isinstance(error, MissingDependencyError):
        return ExitCode.USAGE
    if isinstance(error, SourceError):
        return ExitCode(error.exit_code)
    if isinstance(error, ServiceError):
        return ExitCode.UNREACHABLE if error.is_unreachable else ExitCode.REFUSED
    if isinstance(error, (DataDirLockedError, StoreError)):
        return ExitCode.STORE
    if isinstance(error, LocalEndpointError):
        return ExitCode.UNREACHABLE
    if isinstance(error, FleetServerError):
        return ExitCode.USAGE if error.is_usage else ExitCode.UNREACHABLE
    if isinstance(error, FleetError):
        return _code_of_fleet(error)
    return _code_of_status(error) if isinstance(error, errors.KvsError) else None


def _code_of_fleet(error: FleetError) -> ExitCode:
    """What a fleet server answered, or what is wrong with its store."""
    if error.name in ("store_full", "store_unusable"):
        return ExitCode.STORE
    if error.http_status in (0, 502, 503, 504):
        return ExitCode.UNREACHABLE
    if error.http_status >= 500:
        return ExitCode.INTERNAL
    return ExitCode.USAGE if error.http_status in (400, 413) else ExitCode.REFUSED


def _code_of_status(error: errors.KvsError) -> ExitCode | None:
    if isinstance(error, (errors.TimedOutError, errors.ConnectionLostError)):
        return ExitCode.UNREACHABLE
    by_class = {
        errors.StatusClass.USAGE: ExitCode.USAGE,
        errors.StatusClass.MEDIA: ExitCode.MEDIA,
        errors.StatusClass.RESOURCE: ExitCode.STORE,
        errors.StatusClass.SERVICE: ExitCode.REFUSED,
    }
    return by_class.get(error.status_class)


def _capitalized(text: str) -> str:
    text = text[:1].upper() + text[1:]
    return text if text.endswith(".") else text + "."
