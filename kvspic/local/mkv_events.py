"""What the Matroska reader tells: one record per thing read, with its offset in the stream of bytes.

Offsets count from the first byte ever fed. Times are in units of the Segment's timestamp scale unless the name says
otherwise. The tag rule of the service lives here, in :func:`ends_fragment`, and nowhere else.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from kvspic.local.ebml import ProblemKind

__all__ = [
    "AUDIO",
    "END_OF_FRAGMENT",
    "VIDEO",
    "Block",
    "ClusterEnd",
    "ClusterStart",
    "DocumentStart",
    "Event",
    "Header",
    "Problem",
    "SimpleTag",
    "Tags",
    "Track",
    "ends_fragment",
]

VIDEO, AUDIO = 1, 2  # the kind of a track
END_OF_FRAGMENT = "AWS_KINESISVIDEO_END_OF_FRAGMENT"


@dataclass(frozen=True)
class Track:
    """A TrackEntry. ``kind`` is the Matroska track type: 1 video, 2 audio."""

    number: int
    uid: int = 0
    kind: int = 0
    codec_id: str = ""
    codec_private: bytes = b""
    name: str = ""
    width: int = 0
    height: int = 0
    sampling_frequency: float = 0.0
    channels: int = 0
    bit_depth: int = 0
    default_duration_ns: int = 0


@dataclass(frozen=True)
class DocumentStart:
    """An EBML header was read: ``offset`` is its first byte, ``end_offset`` one past its last."""

    offset: int
    end_offset: int
    doc_type: str


@dataclass(frozen=True)
class Header:
    """Info and Tracks are complete; sent at the first Cluster, the first Tags after Tracks, or the end.

    ``segment_offset`` is where the Segment's payload begins, ``end_offset`` where the element after the header does.
    """

    segment_offset: int
    end_offset: int
    tracks: tuple[Track, ...]
    timestamp_scale_ns: int = 1_000_000
    duration: float = 0.0
    title: str = ""
    muxing_app: str = ""
    writing_app: str = ""


@dataclass(frozen=True)
class ClusterStart:
    """A Cluster's head and Timestamp were read; ``offset`` is the first byte of the head."""

    offset: int
    timecode: int


@dataclass(frozen=True)
class ClusterEnd:
    """The Cluster that began at ``offset`` has no byte at or after ``end_offset``."""

    offset: int
    end_offset: int


@dataclass(slots=True)
class Block:
    """A whole SimpleBlock or BlockGroup. ``timecode`` is absolute; it may be negative or go back.

    Not frozen, because a frozen record of so many fields costs three times as much, and there is one for each frame.

    ``payload`` is None unless the reader was asked to keep payloads; ``duration`` is None when not written.
    """

    offset: int
    track: int
    timecode: int
    is_key_frame: bool
    is_discardable: bool
    is_invisible: bool
    payload_offset: int
    payload_size: int
    payload: bytes | None = field(default=None, repr=False)  # an assertion that fails shows fragments
    duration: int | None = None
    discard_padding_ns: int = 0


@dataclass(frozen=True)
class SimpleTag:
    """A name and value; ``group`` counts the Tag elements within one Tags element, since an event is one Tag."""

    name: str
    value: str
    group: int = 0


@dataclass(frozen=True)
class Tags:
    """A whole Tags element, bytes ``offset`` to ``end_offset``."""

    offset: int
    end_offset: int
    tags: tuple[SimpleTag, ...]


@dataclass(frozen=True)
class Problem:
    """The bytes at ``offset`` are not what they should be. Nothing follows a problem."""

    kind: ProblemKind
    offset: int

    @property
    def text(self) -> str:
        """One sentence for people."""
        return f"{self.kind.value} (offset {self.offset})"


Event = DocumentStart | Header | ClusterStart | ClusterEnd | Block | Tags | Problem


def ends_fragment(tags: Tags) -> bool:
    """Say whether ``tags`` belong to the Cluster before them, and end it; all other Tags belong to the next Cluster."""
    return any(tag.name == END_OF_FRAGMENT for tag in tags.tags)
