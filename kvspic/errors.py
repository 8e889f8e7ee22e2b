"""The exceptions, one for each status of the C core: ``KvsError``, six classes of it, and one class per status below.

The status table in csrc/include/kvspic_status.h is the source: a name is the status in CamelCase plus "Error", its base
the status's class (STORE_FULL, RESOURCE: ``StoreFullError``, a ``ResourceError``). The boundary (_lib) reads the table
at import and gives each class its status and sentence; tests/unit/test_errors.py compares this list with the table.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from kvspic._enums import RefusalClass, StatusClass

__all__ = [
    "BY_CLASS",
    "BY_STATUS",
    "REFUSALS",
    "ROWS",
    "AacChannelsError",
    "AacCpdError",
    "AacFrequencyError",
    "AckDuplicateKeyError",
    "AckKeyStartError",
    "AckNestingError",
    "AckNoErrorIdError",
    "AckNotInViewError",
    "AckNumberError",
    "AckTokenSizeError",
    "AckTypeError",
    "AckValueEndError",
    "AckValueStartError",
    "AnnexbCpdError",
    "AnnexbFrameError",
    "AuthFailedError",
    "AvccFrameError",
    "BadAnswerError",
    "BadRequestError",
    "BihError",
    "BufferTooSmallError",
    "ClientIdSizeError",
    "ClientStateError",
    "ClientTokenFailedError",
    "ClusterDurationError",
    "CodecIdSizeError",
    "ConfigSizeError",
    "ConnectionLostError",
    "ContentTypeSizeError",
    "CpdFormatError",
    "CpdNullError",
    "CpdSizeError",
    "CpdTooShortError",
    "CreateDeviceFailedError",
    "CreateFailedError",
    "DescribeFailedError",
    "DoubleEofrError",
    "DuplicateEventError",
    "DuplicateStreamError",
    "DuplicateTrackError",
    "EndpointFailedError",
    "EofrNeedsKeyFragmentsError",
    "EofrOrderModeError",
    "ErrorAckError",
    "EventNameSizeError",
    "EventPairsError",
    "EventPrefixSizeError",
    "EventValueSizeError",
    "FrameDataError",
    "FrameOrderModeError",
    "FrameTimestampError",
    "FrameTimestampRangeError",
    "FrameTooLargeError",
    "HevcFormatError",
    "HevcNaluCountError",
    "HevcNaluSizeError",
    "HostError",
    "InternalError",
    "InvalidArgError",
    "KvsError",
    "LargeTimecodeError",
    "MachineError",
    "MediaError",
    "MetadataCountError",
    "MetadataNameError",
    "MetadataValueError",
    "MissingNalusError",
    "MissingPpsError",
    "MissingSpsError",
    "NalFlagsError",
    "NoFragmentError",
    "NomemError",
    "NotAuthorizedError",
    "NotFoundError",
    "NullArgError",
    "NumberTooBigError",
    "OfflineWithoutAcksError",
    "OrderFullError",
    "PcmCpdError",
    "ProvisionFailedError",
    "PutInterruptedError",
    "PutMediaFailedError",
    "Refusal",
    "RefusalClass",
    "ResourceError",
    "RetentionError",
    "SegmentUuidError",
    "ServiceError",
    "ServiceLimitError",
    "SessionLimitError",
    "SpsBitsError",
    "SpsChromaFormatError",
    "SpsHeightError",
    "SpsNaluError",
    "SpsReservedError",
    "SpsWidthError",
    "StaleAnswerError",
    "StateError",
    "StatusClass",
    "StatusRow",
    "StoreFullError",
    "StoreSizeError",
    "StreamCountError",
    "StreamDeletingError",
    "StreamNameError",
    "StreamStateError",
    "StreamStoppedError",
    "TagFailedError",
    "TagNameSizeError",
    "TagParentError",
    "TagValueSizeError",
    "TimecodeScaleError",
    "TimedOutError",
    "TokenExpiryError",
    "TokenFailedError",
    "TrackCountError",
    "TrackNameSizeError",
    "TrackUidError",
    "UnknownTrackError",
    "UnknownUploadError",
    "UploadStateError",
    "UsageError",
    "class_name",
    "define",
    "define_refusals",
    "from_status",
    "named",
    "refusal_of",
]


class StatusRow(NamedTuple):
    """One row of the status table."""

    status: int
    name: str
    status_class: StatusClass
    text: str


class Refusal(NamedTuple):
    """One row of the table of ERROR ACKs, csrc/include/kvspic_acks.h: id, name, what it is about, meaning, remedy."""

    error_id: int
    name: str
    about: RefusalClass
    text: str
    remedy: str


class KvsError(Exception):
    """Root of all errors of this package: ``status`` as in kvspic_status.h, and one sentence."""

    name = ""
    status_class = StatusClass.NONE

    def __init__(self, status: int, text: str) -> None:
        super().__init__(status, text)
        self.status = status
        self.text = text

    def __str__(self) -> str:
        return self.text


class UsageError(KvsError, ValueError):
    """An argument was wrong; nothing was changed."""

    status_class = StatusClass.USAGE


class StateError(KvsError):
    """Not now: the stream or client is in a state that does not allow it."""

    status_class = StatusClass.STATE


class MediaError(KvsError):
    """The bytes or times of a frame, of codec private data or of an ACK are wrong."""

    status_class = StatusClass.MEDIA


class ResourceError(KvsError):
    """Memory, the content store or another limit is used up, or a documented time has passed."""

    status_class = StatusClass.RESOURCE


class ServiceError(KvsError):
    """The service refused, failed or could not be reached."""

    name = "SERVICE_ERROR"
    status_class = StatusClass.SERVICE


class InternalError(KvsError):
    """A fault of this library; please report it."""

    name = "INTERNAL"
    status_class = StatusClass.INTERNAL


# One class for each status, in the order of the table; their documentation is the table's sentence (see define).
# fmt: off
class NullArgError(UsageError): ...
class InvalidArgError(UsageError): ...
class ConfigSizeError(UsageError): ...
class HostError(UsageError): ...
class StoreSizeError(UsageError): ...
class StreamNameError(UsageError): ...
class DuplicateStreamError(UsageError): ...
class RetentionError(UsageError): ...
class OfflineWithoutAcksError(UsageError): ...
class TrackCountError(UsageError): ...
class DuplicateTrackError(UsageError): ...
class UnknownTrackError(UsageError): ...
class TrackUidError(UsageError): ...
class CodecIdSizeError(UsageError): ...
class TrackNameSizeError(UsageError): ...
class CpdSizeError(UsageError): ...
class CpdNullError(UsageError): ...
class ContentTypeSizeError(UsageError): ...
class ClientIdSizeError(UsageError): ...
class SegmentUuidError(UsageError): ...
class TimecodeScaleError(UsageError): ...
class ClusterDurationError(UsageError): ...
class NalFlagsError(UsageError): ...
class MetadataNameError(UsageError): ...
class MetadataValueError(UsageError): ...
class TagNameSizeError(UsageError): ...
class TagValueSizeError(UsageError): ...
class EventPrefixSizeError(UsageError): ...
class EventNameSizeError(UsageError): ...
class EventValueSizeError(UsageError): ...
class EventPairsError(UsageError): ...
class EofrNeedsKeyFragmentsError(UsageError): ...
class EofrOrderModeError(UsageError): ...
class TagParentError(UsageError): ...
class BufferTooSmallError(UsageError): ...
class MachineError(UsageError): ...
class FrameOrderModeError(UsageError): ...
class ClientStateError(StateError): ...
class StreamStateError(StateError): ...
class StreamStoppedError(StateError): ...
class StaleAnswerError(StateError): ...
class UnknownUploadError(StateError): ...
class DoubleEofrError(StateError): ...
class NoFragmentError(StateError): ...
class DuplicateEventError(StateError): ...
class PutInterruptedError(StateError): ...
class UploadStateError(StateError): ...
class FrameDataError(MediaError): ...
class FrameTimestampError(MediaError): ...
class FrameTimestampRangeError(MediaError): ...
class LargeTimecodeError(MediaError): ...
class AnnexbFrameError(MediaError): ...
class AvccFrameError(MediaError): ...
class AnnexbCpdError(MediaError): ...
class CpdTooShortError(MediaError): ...
class CpdFormatError(MediaError): ...
class SpsNaluError(MediaError): ...
class SpsWidthError(MediaError): ...
class SpsHeightError(MediaError): ...
class SpsBitsError(MediaError): ...
class SpsChromaFormatError(MediaError): ...
class SpsReservedError(MediaError): ...
class MissingSpsError(MediaError): ...
class MissingPpsError(MediaError): ...
class MissingNalusError(MediaError): ...
class HevcNaluCountError(MediaError): ...
class HevcNaluSizeError(MediaError): ...
class HevcFormatError(MediaError): ...
class BihError(MediaError): ...
class AacCpdError(MediaError): ...
class AacFrequencyError(MediaError): ...
class AacChannelsError(MediaError): ...
class PcmCpdError(MediaError): ...
class NumberTooBigError(MediaError): ...
class AckKeyStartError(MediaError): ...
class AckDuplicateKeyError(MediaError): ...
class AckValueStartError(MediaError): ...
class AckValueEndError(MediaError): ...
class AckNumberError(MediaError): ...
class AckTypeError(MediaError): ...
class AckNoErrorIdError(MediaError): ...
class AckTokenSizeError(MediaError): ...
class AckNestingError(MediaError): ...
class AckNotInViewError(MediaError): ...
class NomemError(ResourceError): ...
class StoreFullError(ResourceError): ...
class FrameTooLargeError(ResourceError): ...
class StreamCountError(ResourceError): ...
class MetadataCountError(ResourceError): ...
class OrderFullError(ResourceError): ...
class TimedOutError(ResourceError): ...
class DescribeFailedError(ServiceError): ...
class CreateFailedError(ServiceError): ...
class TagFailedError(ServiceError): ...
class EndpointFailedError(ServiceError): ...
class TokenFailedError(ServiceError): ...
class PutMediaFailedError(ServiceError): ...
class NotAuthorizedError(ServiceError): ...
class BadRequestError(ServiceError): ...
class NotFoundError(ServiceError): ...
class StreamDeletingError(ServiceError): ...
class ServiceLimitError(ServiceError): ...
class BadAnswerError(ServiceError): ...
class TokenExpiryError(ServiceError): ...
class SessionLimitError(ServiceError): ...
class ErrorAckError(ServiceError): ...
class ConnectionLostError(ServiceError): ...
class AuthFailedError(ServiceError): ...
class ProvisionFailedError(ServiceError): ...
class ClientTokenFailedError(ServiceError): ...
class CreateDeviceFailedError(ServiceError): ...
# fmt: on

BY_CLASS: dict[StatusClass, type[KvsError]] = {
    StatusClass.USAGE: UsageError,
    StatusClass.STATE: StateError,
    StatusClass.MEDIA: MediaError,
    StatusClass.RESOURCE: ResourceError,
    StatusClass.SERVICE: ServiceError,
    StatusClass.INTERNAL: InternalError,
}
BY_STATUS: dict[int, type[KvsError]] = {}  # filled by define
ROWS: dict[int, StatusRow] = {}
REFUSALS: dict[int, Refusal] = {}  # filled by define_refusals


def class_name(status_name: str) -> str:
    """Return ``StoreFullError`` for ``STORE_FULL``; names that end in ERROR already get no second one."""
    camel = "".join(part.capitalize() for part in status_name.split("_"))
    return camel if camel.endswith("Error") else camel + "Error"


def define(rows: Iterable[StatusRow]) -> None:
    """Bind each status to its class; a status named like its base (INTERNAL, SERVICE_ERROR) is that base itself."""
    for row in rows:
        base = BY_CLASS[row.status_class]
        found = globals().get(class_name(row.name), base)  # a library newer than this file: the class of its kind
        ROWS[row.status] = row
        BY_STATUS[row.status] = found
        if found is not base:
            found.name = row.name
            found.__doc__ = row.text[:1].upper() + row.text[1:] + "."


def define_refusals(rows: Iterable[Refusal]) -> None:
    """Take the library's table of ERROR ACKs."""
    REFUSALS.update({row.error_id: row for row in rows})


def refusal_of(error_id: int) -> Refusal:
    """Return what an ERROR ACK of this id means; for an id that is not in the table one of the class SESSION."""
    known = REFUSALS.get(error_id)
    if known is not None:
        return known
    text = "the service refused for a reason that this library does not know"
    return Refusal(error_id, "UNKNOWN", RefusalClass.SESSION, text, "look the id up in the documentation of PutMedia")


def page() -> str:
    """Return docs/errors.md: every status with its number, class and sentence; every ERROR ACK with its remedy."""
    lines = [
        "# Errors",
        "",
        "Made from the status table of the library by `make docs`; a test fails when this page is older.",
        "A C function returns the number, Python raises the class; every class is also one of its kind's",
        "(`UsageError`, `StateError`, `MediaError`, `ResourceError`, `ServiceError`, `InternalError`) and a",
        "`KvsError`; usage errors are also `ValueError`.",
    ]
    for kind in sorted({row.status_class for row in ROWS.values()}):
        lines += ["", f"## {StatusClass(kind).name.capitalize()}", ""]
        lines += ["| status | number | Python | meaning |", "|---|---|---|---|"]
        rows = sorted((row for row in ROWS.values() if row.status_class == kind), key=lambda row: -row.status)
        lines += [f"| `{row.name}` | {row.status} | `{BY_STATUS[row.status].__name__}` | {row.text} |" for row in rows]
    lines += [
        "",
        "## ERROR ACKs",
        "",
        "What the service says of a fragment (developer guide, PutMedia, error codes of acknowledgements), and what is",
        "done: `FRAGMENT`, the fragment is dropped and the others go on; `SESSION`, another session sends it again;",
        "`STREAM`, everything is kept, the stream is FAILED after six tries, and it is tried again every 5 to 60 s.",
        "",
        "| id | name | about | meaning | remedy |",
        "|---|---|---|---|---|",
    ]
    for refusal in REFUSALS.values():
        about = f"{refusal.about.name} | {refusal.text} | {refusal.remedy}"
        lines.append(f"| {refusal.error_id} | `{refusal.name}` | {about} |")
    return "\n".join(lines) + "\n"


def from_status(status: int, detail: str = "") -> KvsError:
    """Return the exception of a negative status, with the table's sentence and ``detail`` behind it."""
    row = ROWS.get(status)
    text = row.text if row else f"unknown status {status}"
    return BY_STATUS.get(status, InternalError)(status, f"{text}: {detail}" if detail else text)


def named(name: str, text: str = "") -> KvsError:
    """Return the exception of the status ``name``, e.g. "TIMED_OUT", with ``text`` instead of the table's sentence."""
    row = next(row for row in ROWS.values() if row.name == name)
    return BY_STATUS[row.status](row.status, text or row.text)
