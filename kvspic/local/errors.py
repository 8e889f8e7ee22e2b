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

# The errors of the service's published models with their statuses, then those of its front layer.
_HTTP_STATUS = {
    "AccessDeniedException": 401,
    "AccountChannelLimitExceededException": 400,
    "AccountStreamLimitExceededException": 400,
    "ClientLimitExceededException": 400,
    "ConnectionLimitExceededException": 400,
    "DeviceStreamLimitExceededException": 400,
    "InvalidArgumentException": 400,
    "InvalidCodecPrivateDataException": 400,
    "InvalidDeviceException": 400,
    "InvalidEndpointException": 400,
    "InvalidMediaFrameException": 400,
    "InvalidResourceFormatException": 400,
    "MissingCodecPrivateDataException": 400,
    "NoDataRetentionException": 400,
    "NotAuthorizedException": 401,
    "ResourceInUseException": 400,
    "ResourceNotFoundException": 404,
    "StreamEdgeConfigurationNotFoundException": 404,
    "TagsPerResourceExceededLimitException": 400,
    "UnsupportedStreamMediaTypeException": 400,
    "VersionMismatchException": 400,
    "ExpiredTokenException": 403,
    "IncompleteSignature": 400,
    "InternalFailure": 500,
    "InvalidSignatureException": 403,
    "MissingAuthenticationTokenException": 403,
    "NotImplementedException": 501,
    "SerializationException": 400,
    "UnknownOperationException": 404,
    "UnrecognizedClientException": 403,
}


class ServiceError(Exception):
    """A refusal in the service's words; ``name`` is what the client finds in ``x-amzn-ErrorType``."""

    def __init__(self, name: str, message: str, *, status: int | None = None) -> None:
        super().__init__(message)
        self.name = name
        self.message = message
        self.status = _HTTP_STATUS[name] if status is None else status


class LocalEndpointError(Exception):
    """The local endpoint cannot start or go on."""


class PortInUseError(LocalEndpointError):
    """Another program listens on the port that was asked for."""


class DataDirLockedError(LocalEndpointError):
    """Another endpoint has the data directory open.

    ``url`` is where it listens, empty while it starts; ``lasts``: it goes on until it is stopped by hand.
    """

    def __init__(self, text: str, url: str = "", lasts: bool = False) -> None:
        super().__init__(text)
        self.url = url
        self.lasts = lasts


class StoreError(LocalEndpointError):
    """The data directory cannot be read or written."""
