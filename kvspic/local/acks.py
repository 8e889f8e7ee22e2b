"""Fragment ACKs as the service writes them: one JSON object a line, and the table of error ids. Pure.

Names and ids are those of the AWS developer guide ("PutMedia", error codes). Of MIN_FRAGMENT_DURATION_REACHED the guide
has the name alone (quotas page), and 4013 is our own number. ``FragmentTimecode`` echoes the number of
the Cluster as it was sent, never a sum.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from enum import IntEnum

__all__ = ["Ack", "AckError"]

_encode = json.JSONEncoder(separators=(",", ":")).encode


class AckError(IntEnum):
    """``ErrorId`` with ``ErrorCode`` as its name."""

    STREAM_READ_ERROR = 4000
    MAX_FRAGMENT_SIZE_REACHED = 4001
    MAX_FRAGMENT_DURATION_REACHED = 4002
    MAX_CONNECTION_DURATION_REACHED = 4003
    FRAGMENT_TIMECODE_LESSER_THAN_PREVIOUS = 4004
    MORE_THAN_ONE_TRACK_FOUND = 4005
    INVALID_MKV_DATA = 4006
    INVALID_PRODUCER_TIMESTAMP = 4007
    STREAM_NOT_ACTIVE = 4008
    FRAGMENT_METADATA_LIMIT_REACHED = 4009
    TRACK_NUMBER_MISMATCH = 4010
    FRAMES_MISSING_FOR_TRACK = 4011
    MORE_THAN_ALLOWED_TRACKS_FOUND = 4012
    MIN_FRAGMENT_DURATION_REACHED = 4013
    KMS_KEY_ACCESS_DENIED = 4500
    KMS_KEY_DISABLED = 4501
    KMS_KEY_VALIDATION_ERROR = 4502
    KMS_KEY_UNAVAILABLE = 4503
    KMS_KEY_INVALID_USAGE = 4504
    KMS_KEY_INVALID_STATE = 4505
    KMS_KEY_NOT_FOUND = 4506
    STREAM_DELETED = 4507
    INTERNAL_ERROR = 5000
    ARCHIVAL_ERROR = 5001


@dataclass(frozen=True)
class Ack:
    """One acknowledgement. ``event`` is BUFFERING, RECEIVED, PERSISTED, ERROR or IDLE."""

    event: str
    timecode: int | None = None
    number: str | None = None
    error: AckError | None = None

    def line(self) -> bytes:
        """Return the JSON line, newline included."""
        members: dict[str, str | int] = {"EventType": self.event}
        if self.timecode is not None:
            members["FragmentTimecode"] = self.timecode
        if self.number is not None:
            members["FragmentNumber"] = self.number
        if self.error is not None:
            members["ErrorCode"] = self.error.name
            members["ErrorId"] = int(self.error)
        return _encode(members).encode() + b"\n"
