"""Refusals of the local endpoint: the service's error names with their HTTP status, and the endpoint's own failures.

A :class:`ServiceError` becomes an HTTP answer; a :class:`LocalEndpointError` reaches the program that starts the
endpoint. No text here ever holds a key, a token or a signature.
"""

from __future__ import annotations

__all__ = [
    "DataDirLockedError",
    "LocalEndpointError",
    "PortInUseError",
    "ServiceError",
    "StoreError",
]

_HTTP_STATUS = {
    "InvalidArgumentException": 400,
    "ClientLimitExceededException": 400,
    "ResourceInUseException": 400,
    "VersionMismatchException": 400,
    "TagsPerResourceExceededLimitException": 400,
    "ConnectionLimitExceededException": 400,
    "IncompleteSignature": 400,
    "SerializationException": 400,
    "ExpiredTokenException": 403,
    "MissingAuthenticationTokenException": 403,
    "UnrecognizedClientException": 403,
    "InvalidSignatureException": 403,
    "ResourceNotFoundException": 404,
    "UnknownOperationException": 404,
    "InternalFailure": 500,
    "NotImplementedException": 501,
}


class ServiceError(Exception):
    """A refusal in the service's words; ``name`` is what the client finds in ``x-amzn-ErrorType``."""

    def __init__(self, name: str, message: str) -> None:
        super().__init__(message)
        self.name = name
        self.message = message
        self.status = _HTTP_STATUS[name]


class LocalEndpointError(Exception):
    """The local endpoint cannot start or go on."""


class PortInUseError(LocalEndpointError):
    """Another program listens on the port that was asked for."""


class DataDirLockedError(LocalEndpointError):
    """Another endpoint has the data directory open."""


class StoreError(LocalEndpointError):
    """The data directory cannot be read or written."""
