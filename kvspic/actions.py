"""What the core says: actions as they leave C, and the typed events that users see of them.

An action is a plain tuple, cheap to make by the thousand. Orders ask for a service call and are answered; notices say
what happened, and most of them become an event. Layout and numbers are those of kvspic.h; the boundary checks the size.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from kvspic._enums import AckType, ActionKind, DropReason, PressureKind, StreamState
from kvspic.errors import refusal_of

__all__ = [
    "ACTION_FORMAT",
    "NEVER_BUFFERED",
    "ORDERS",
    "AckReceived",
    "AckType",
    "Action",
    "ActionKind",
    "ConnectionBusy",
    "CredentialsRotated",
    "ErrorAck",
    "Event",
    "EventsLost",
    "FragmentEnded",
    "FragmentPersisted",
    "FragmentSplit",
    "FragmentUnconfirmed",
    "FrameTooLarge",
    "FramesDropped",
    "LateErrorAck",
    "MediaProblem",
    "NoKeyFrame",
    "Paused",
    "Pressure",
    "PressureKind",
    "Recovered",
    "Resumed",
    "RetentionDiffers",
    "RoomAvailable",
    "SpoolDamaged",
    "SpoolDropped",
    "SpoolFailed",
    "SpoolRecovered",
    "Spooling",
    "Stalled",
    "StateChanged",
    "StreamClosed",
    "StreamFailed",
    "StreamReady",
    "TagsSkipped",
    "TimesAnchored",
    "TimesJumped",
    "TimesRepeated",
    "TimesRestored",
    "TimesShifted",
    "TrackSilent",
    "Triggered",
    "event_of",
]

# Frames dropped for these reasons never were in the buffer; those dropped for any other reason were.
NEVER_BUFFERED = frozenset({DropReason.SKIPPED, DropReason.BACKWARD, DropReason.LATE})
ACTION_FORMAT = struct.Struct("@IIiI4Q3Q72s")
TIME_NONE = 2**64 - 1


# Orders that are answered; the others need no answer.
ORDERS = frozenset(kind for kind in ActionKind if ActionKind.GET_CREDENTIALS <= kind <= ActionKind.PUT_MEDIA)


class Action(NamedTuple):
    """``struct kvs_action``; what ``a``, ``b`` and ``c`` mean depends on ``kind`` and stands in kvspic.h."""

    kind: int
    result: int
    status: int
    attempt: int
    user: int
    request: int
    upload: int
    after_hns: int
    a: int
    b: int
    c: int
    raw_text: bytes

    @property
    def text(self) -> str:
        """The text up to its NUL."""
        return self.raw_text.partition(b"\0")[0].decode("utf-8", "replace")


@dataclass(frozen=True)
class Event:
    """Root of the events: ``stream`` is the name of the stream it is about."""

    stream: str


@dataclass(frozen=True)
class StateChanged(Event):
    """The stream's machine moved."""

    old: StreamState
    new: StreamState


@dataclass(frozen=True)
class StreamReady(Event):
    """The stream may stream; comes after each way through READY."""


@dataclass(frozen=True)
class StreamFailed(Event):
    """The core gave up for ``cause``; the stream keeps its frames and takes more. With ``is_final`` it does not
    try again unless ``stream.retry()`` is called; else the retry policy calls that."""

    status: int
    cause: str
    result: int
    state: StreamState
    is_final: bool


@dataclass(frozen=True)
class StreamClosed(Event):
    """The stream was stopped and everything buffered is done or dropped."""


@dataclass(frozen=True)
class AckReceived(Event):
    """A fragment ACK of the service. ``latency_ns`` counts from the fragment's first byte.

    ``timecode_ms`` is None when the ACK names no fragment; ``pts_ns`` and ``latency_ns`` are None when the stream does
    not hold the fragment that it names.
    """

    upload: int
    type: AckType
    timecode_ms: int | None
    pts_ns: int | None
    number: str
    latency_ns: int | None


@dataclass(frozen=True)
class FragmentPersisted(Event):
    """A fragment is done: the service keeps it (without retention: has received it)."""

    pts_ns: int
    frames: int
    size: int


@dataclass(frozen=True)
class FragmentUnconfirmed(Event):
    """The service persisted a later fragment and said nothing of the one at ``pts_ns``, for the ``count``-th time.

    It is sent again, more slowly; after the fourth time its frames are dropped (``DropReason.UNCONFIRMED``).
    """

    pts_ns: int
    count: int


@dataclass(frozen=True)
class ErrorAck(Event):
    """The service refused a fragment, ``count`` times; ``error_id`` and ``error_name`` as in its documentation of
    PutMedia (``docs/errors.md`` says what each is about).

    ``timecode_ms`` and ``pts_ns`` are None when the service does not say which fragment it was. The first time is an
    event at once; if the same error comes again soon, the others are one event when it is over, with the fragment of
    the last one.
    """

    upload: int
    error_id: int
    status: int
    timecode_ms: int | None
    pts_ns: int | None
    number: str
    error_name: str = ""
    count: int = 1


@dataclass(frozen=True)
class LateErrorAck(Event):
    """The service refused a fragment that it had already acknowledged."""

    error_id: int


@dataclass(frozen=True)
class FramesDropped(Event):
    """Frames left the buffer without being done."""

    reason: DropReason
    pts_ns: int
    frames: int
    size: int


@dataclass(frozen=True)
class RoomAvailable(Event):
    """A put was refused for lack of room, and now there is some."""


@dataclass(frozen=True)
class Pressure(Event):
    """A limit is near (``begins``), or no longer; ``value`` is the core's measure: bytes, or ticks of 100 ns."""

    kind: PressureKind
    begins: bool
    value: int


@dataclass(frozen=True)
class Stalled(Event):
    """Bytes were sent, and no ACK came for ``silent_ns``."""

    silent_ns: int


@dataclass(frozen=True)
class Recovered(Event):
    """After a failure, a stall or a refusal: fragments are done again, or the stream is ready and nothing waits."""


@dataclass(frozen=True)
class ConnectionBusy(Event):
    """The service still counts another connection of this stream and refuses a second one (``cause`` is what it says).

    The upload waits and tries again by itself, and nothing is lost; the event comes once for each upload.
    """

    cause: str


@dataclass(frozen=True)
class CredentialsRotated(Event):
    """Uploads go on with new credentials."""


@dataclass(frozen=True)
class TimesRestored(Event):
    """A shifted track's times go out as they are given again; ``shift_ns`` is added no more."""

    track: int
    shift_ns: int


@dataclass(frozen=True)
class TimesShifted(Event):
    """A track's times went back so far that they could not be true, ``count`` times; ``shift_ns`` was added to them.
    It is added from then on, until :class:`TimesRestored`.

    The first time is reported at once; if it happens again soon, the others are reported together when they are over.
    """

    track: int
    shift_ns: int
    count: int = 1


@dataclass(frozen=True)
class TimesRepeated(Event):
    """``count`` frames had the time of the one before in their track; each was moved to the next millisecond.

    Reported at most every ten seconds.
    """

    count: int


@dataclass(frozen=True)
class TimesAnchored(Event):
    """A track's times cannot be true, or can again: from now on ``offset_ns`` is added to them."""

    track: int
    offset_ns: int


@dataclass(frozen=True)
class NoKeyFrame(Event):
    """For ``after_ns`` no key frame came, and ``frames`` were skipped, because nothing can be decoded without one."""

    after_ns: int
    frames: int


@dataclass(frozen=True)
class FrameTooLarge(Event):
    """A frame of ``size`` bytes does not fit into a store of ``store_size``; so ``count`` times since the last event.

    What follows it is skipped until a key frame comes, because it cannot be decoded without it. The first is reported
    at once, others at most every ten seconds.
    """

    track: int
    size: int
    store_size: int
    count: int = 1


@dataclass(frozen=True)
class MediaProblem(Event):
    """The media check found that what is put cannot be decoded, or lies at wrong times.

    ``name`` is stable and stands in docs/sources.md, as ``other-codec``; ``track`` is 0 when it is about the whole
    stream; ``text`` says what was seen, ``remedy`` what to do. With ``is_undecodable`` players show nothing of it, or
    garbage. It comes once, and again only after a good verdict in between.
    """

    name: str
    track: int
    text: str
    remedy: str
    is_undecodable: bool

    def __str__(self) -> str:
        return f"{f'track {self.track}: ' if self.track else ''}{self.text}; {self.remedy} ({self.name})"


@dataclass(frozen=True)
class Paused(Event):
    """Nothing is uploaded from now on."""


@dataclass(frozen=True)
class Resumed(Event):
    """Uploads go on, with the ``frames`` that were held meanwhile."""

    frames: int


@dataclass(frozen=True)
class Triggered(Event):
    """The ``frames`` that were held, and what comes within ``duration_ns``, are uploaded."""

    duration_ns: int
    frames: int


@dataclass(frozen=True)
class RetentionDiffers(Event):
    """The stream existed with another retention than asked for; the existing one counts."""

    asked_ns: int
    described_ns: int


@dataclass(frozen=True)
class TagsSkipped(Event):
    """The stream goes on without its tags; ``result`` is the service's."""

    result: int


@dataclass(frozen=True)
class TrackSilent(Event):
    """A track without frames was left out of the upload (``is_left_out``), or is back."""

    track: int
    is_left_out: bool


@dataclass(frozen=True)
class FragmentEnded(Event):
    """The idle deadline ended the fragment that began at ``pts_ns``."""

    pts_ns: int


@dataclass(frozen=True)
class TimesJumped(Event):
    """A frame lies more than 20 s ahead of the last one of its track: a pause, or a clock that was set.

    Nothing is lost; the frames go on in another fragment.
    """

    track: int
    ahead_ns: int


@dataclass(frozen=True)
class FragmentSplit(Event):
    """No key frame came before the fragment reached its limit: another one begins at ``pts_ns``, without a key frame.

    ``count``: how often so far.
    """

    pts_ns: int
    count: int


@dataclass(frozen=True)
class EventsLost(Event):
    """So many events found no room: the reader was too slow, or the core's queue was full."""

    count: int


@dataclass(frozen=True)
class Spooling(Event):
    """Memory is full: frames go to the spool's files only (``begins``), or everything there has been read again."""

    begins: bool


@dataclass(frozen=True)
class SpoolRecovered(Event):
    """An earlier process left frames in the spool, and they are being sent now.

    ``frames_stored`` of what it left were not sent again, because the service has them; ``is_checked`` False: it could
    not be asked, so some may be sent twice, with the same times. ``frames_missing`` were put and are in no file.
    """

    frames: int
    size: int
    frames_stored: int
    frames_missing: int
    is_checked: bool


@dataclass(frozen=True)
class SpoolDropped(Event):
    """The spool was full, and its oldest file went: ``frames`` are lost, ``frames_in_memory`` are only there now."""

    frames: int
    size: int
    frames_in_memory: int


@dataclass(frozen=True)
class SpoolDamaged(Event):
    """So many frames of the spool could not be read back, or were refused when they were."""

    frames: int


@dataclass(frozen=True)
class SpoolFailed(Event):
    """The spool cannot be written: the stream goes on in memory, and the spool is tried again."""

    cause: str


def _ns(ticks: int) -> int:
    return ticks * 100


ACK_TYPES = tuple(AckType)


def _known(value: int, factor: int = 1) -> int | None:
    return None if value == TIME_NONE else value * factor


def _ack(action: Action, name: str) -> AckReceived:
    when, pts, latency = action.a, action.b, action.c
    return AckReceived(
        name,
        action.upload,
        ACK_TYPES[action.result],
        None if when == TIME_NONE else when,
        None if pts == TIME_NONE else pts * 100,
        action.text,
        None if latency == TIME_NONE else latency * 100,
    )


def _error_ack(action: Action, name: str) -> ErrorAck:
    when, pts, error = _known(action.a), _known(action.b, 100), refusal_of(action.result).name
    return ErrorAck(name, action.upload, action.result, action.status, when, pts, action.text, error)


def _dropped(action: Action, name: str) -> FramesDropped:
    return FramesDropped(name, DropReason(action.result), _ns(action.a), action.b, action.c)


K = ActionKind
# FAILED is not here: whether it is final is for the retry policy to say.
EVENTS: dict[int, Callable[[Action, str], Event]] = {
    K.STATE: lambda action, name: StateChanged(name, StreamState(action.a), StreamState(action.b)),
    K.READY: lambda action, name: StreamReady(name),
    K.CLOSED: lambda action, name: StreamClosed(name),
    K.TOKEN_ROTATED: lambda action, name: CredentialsRotated(name),
    K.ACK: _ack,
    K.FRAGMENT_DONE: lambda action, name: FragmentPersisted(name, _ns(action.a), action.b, action.c),
    K.ERROR_ACK: _error_ack,
    K.UNCONFIRMED: lambda action, name: FragmentUnconfirmed(name, _ns(action.a), action.b),
    K.DROPPED: _dropped,
    K.ROOM: lambda action, name: RoomAvailable(name),
    K.PRESSURE: lambda action, name: Pressure(name, PressureKind(action.result), bool(action.a), action.b),
    K.STALE: lambda action, name: Stalled(name, _ns(action.a)),
    K.TIME_SHIFTED: lambda action, name: TimesShifted(name, action.a, _ns(action.b)),
    K.RETENTION_DIFFERS: lambda action, name: RetentionDiffers(name, _ns(action.a), _ns(action.b)),
    K.TAG_SKIPPED: lambda action, name: TagsSkipped(name, action.result),
    K.TRACK_SILENT: lambda action, name: TrackSilent(name, action.a, bool(action.b)),
    K.LATE_ERROR_ACK: lambda action, name: LateErrorAck(name, action.result),
    K.FRAGMENT_ENDED: lambda action, name: FragmentEnded(name, _ns(action.a)),
    K.TIME_SHIFT_ENDED: lambda action, name: TimesRestored(name, action.a, _ns(action.b)),
    K.TIMES_JUMPED: lambda action, name: TimesJumped(name, action.a, _ns(action.b)),
    K.FRAGMENT_SPLIT: lambda action, name: FragmentSplit(name, _ns(action.a), action.b),
    K.NOTICES_LOST: lambda action, name: EventsLost(name, action.a),
}


def event_of(action: Action, stream_name: str) -> Event | None:
    """Return the event of a notice; None for orders and for what users do not see."""
    make = EVENTS.get(action.kind)
    return make(action, stream_name) if make else None
