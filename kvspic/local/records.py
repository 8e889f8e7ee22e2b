"""What the model asks its owner to do, and what the store keeps of a session and a fragment. Pure, frozen.

Offsets count bytes of the PutMedia body from its first one. The store keeps each body as it came, in a file of its
own, so an offset in the body is an offset in the file.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from kvspic.local.acks import Ack
from kvspic.local.mkv_events import Block, Track

__all__ = [
    "CloseSession",
    "Effect",
    "FragmentRecord",
    "HeaderRecord",
    "KeepFragment",
    "KeepHeader",
    "SendAck",
    "StoredFragment",
]


@dataclass(frozen=True)
class HeaderRecord:
    """Where a body has its EBML header (up to ``ebml_size``) and the Segment's children before the first Cluster."""

    ebml_size: int
    segment_offset: int
    end_offset: int


@dataclass(frozen=True)
class FragmentRecord:
    """A whole fragment: bytes ``offset`` to ``offset + size``, and the ranges of the Tags that belong to it."""

    stream_id: int
    number: str
    timecode: int
    producer_hns: int
    server_hns: int
    duration_hns: int
    offset: int
    size: int
    tags: tuple[tuple[int, int], ...] = ()


@dataclass(frozen=True)
class StoredFragment:
    """A fragment read back from the store, for tests and tools."""

    number: str
    producer_hns: int
    server_hns: int
    duration_hns: int
    timecode: int
    tracks: tuple[Track, ...]
    blocks: tuple[Block, ...]
    tags: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class SendAck:
    """Send this ACK now, after all earlier ones."""

    ack: Ack


@dataclass(frozen=True)
class KeepHeader:
    """The session's header is complete."""

    header: HeaderRecord


@dataclass(frozen=True)
class KeepFragment:
    """Make this fragment durable, then call ``PutSession.stored``. ``frames`` counts pictures or blocks of sound."""

    fragment: FragmentRecord
    frames: int = field(default=0, compare=False)


@dataclass(frozen=True)
class CloseSession:
    """End the response, with its terminator; nothing follows. ``is_error`` says that an ERROR ACK was the last."""

    is_error: bool


Effect = SendAck | KeepHeader | KeepFragment | CloseSession
