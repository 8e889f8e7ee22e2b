"""What ended a job, as a class that the server's autorestart understands, and a text for people. Pure."""

from __future__ import annotations

from kvspic import errors
from kvspic.fleet.holding import Outcome
from kvspic.fleet.secrets import SecretError
from kvspic.sources.base import MissingDependencyError, SourceError, SourceOptionError, UnsupportedCodecError

__all__ = ["FATAL_STATUSES", "failure_of", "failure_of_source", "failure_of_status"]

TEXT_MAX = 2000
DENIED_WORDS = ("401", "Unauthorized", "403", "Forbidden")
NO_REGION = "Finding the AWS region"
REGION_REMEDY = "Start the worker with --region, set AWS_REGION there, or give the job a region."
FILE_GONE = ("does not exist", "is a directory", "is empty", "is a text file")

# What trying again does not cure until somebody changes a setting or a permission.
FATAL_STATUSES = {
    "NOT_AUTHORIZED": "access_denied",
    "AUTH_FAILED": "access_denied",
    "BAD_REQUEST": "stream_unusable",
    "NOT_FOUND": "stream_unusable",
    "STREAM_DELETING": "stream_unusable",
}


def failure_of(error: BaseException, source_type: str) -> Outcome:
    """Return the failure that an exception of a carrier means."""
    if isinstance(error, SecretError):
        return _failure("bad_job", str(error))
    if isinstance(error, SourceError):
        return failure_of_source(error, source_type)
    if isinstance(error, errors.KvsError):
        return failure_of_status(error.name, str(error))
    return _failure("internal", f"{type(error).__name__}: {error}")


def failure_of_source(error: SourceError, source_type: str) -> Outcome:
    """The same of a source that cannot be read."""
    text = str(error)
    if isinstance(error, UnsupportedCodecError):
        return _failure("media_unsupported", text)
    if isinstance(error, SourceOptionError):
        return _failure("bad_job", text)
    if isinstance(error, MissingDependencyError):
        return _failure("internal", text)
    if source_type == "file":
        return _failure("file_missing" if any(words in text for words in FILE_GONE) else "media_unsupported", text)
    is_denied = any(word in text for word in DENIED_WORDS)
    return _failure("source_denied" if is_denied else "source_unreachable", text)


def failure_of_status(name: str, text: str) -> Outcome:
    """The same of a status of the core, such as ``NOT_AUTHORIZED``."""
    if name in FATAL_STATUSES:
        return _failure(FATAL_STATUSES[name], text)
    if name == "SERVICE_LIMIT":
        return _failure("throttled", text)
    if NO_REGION in text:  # the worker's trouble, not the job's: another worker may have one
        return _failure("service_unreachable", f"{text}. {REGION_REMEDY}")
    kind = next((row.status_class for row in errors.ROWS.values() if row.name == name), None)
    by_kind = {
        errors.StatusClass.USAGE: "bad_job",
        errors.StatusClass.MEDIA: "media_unsupported",
        errors.StatusClass.SERVICE: "service_error",
        errors.StatusClass.RESOURCE: "overloaded",
    }
    return _failure(by_kind.get(kind, "internal") if kind is not None else "internal", text)


def _failure(error_class: str, text: str) -> Outcome:
    return Outcome("failure", error_class, text[:TEXT_MAX])
