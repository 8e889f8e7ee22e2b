"""One stream's segments on disk: what is appended, what the core still has to get, what may go.

Not locked: :class:`kvspic.spool.spool.Spool` calls it under the stream's lock.
Always: segments lie in order of their numbers; the last one is written, the others only read; ``reader`` is where the
core has to go on (None: it has everything); a segment goes as soon as all frames in it are settled, or when the spool
is full and it is the oldest one.
"""

from __future__ import annotations

import errno
import functools
import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from kvspic import errors
from kvspic.spool.files import SpoolDir
from kvspic.spool.progress import (
    TRACKS_MAX,
    FragmentSpan,
    FragmentStarts,
    StoredFragment,
    TrackProgress,
    as_stored,
    latest_note,
    pack_note,
    spans,
    stored_prefix,
    whole_ends,
)
from kvspic.spool.records import (
    HEAD_SIZE,
    Record,
    RecordKind,
    SegmentHead,
    Step,
    UnknownFormat,
    pack_record,
    pack_segment_head,
)
from kvspic.spool.segments import Reader, Segment, frames, load_segment, records

__all__ = ["SEGMENT_HEAD_ROOM", "Journal", "JournalSetup", "Loss", "State"]

logger = logging.getLogger("kvspic.spool")

SEGMENT_SIZE_MAX = 8 * 1024 * 1024
SEGMENT_SIZE_MIN = 64 * 1024
SEGMENTS_WANTED = 16  # of a full spool: that much goes at once when it is full
SEGMENT_HEAD_ROOM = 4096
NO_SPACE = (errno.ENOSPC, errno.EDQUOT)


@dataclass(frozen=True)
class JournalSetup:
    """``tracks`` are the words that say what a track is; ``lead`` and ``is_sparse`` as in :class:`FragmentStarts`."""

    tracks: Sequence[Mapping[str, Any]]
    cpd: Sequence[bytes]
    size_max: int
    is_disk_durable: bool
    lead: int | None
    is_sparse: bool


@dataclass
class State:
    """What fragments depend on besides frames: codec private data per track, and metadata of every fragment."""

    cpd: list[bytes]
    persistent: dict[str, str] = field(default_factory=dict)


@dataclass
class Loss:
    """Frames that left the disk before the core had them, and frames that it has, which now live in memory only."""

    frames: int = 0
    size: int = 0
    frames_in_memory: int = 0


class Journal:
    """See the top of the file. Opening one reads the heads of its segments and the last of them."""

    def __init__(self, directory: SpoolDir, setup: JournalSetup) -> None:
        self._dir = directory
        self._setup = setup
        self._segment_size = max(SEGMENT_SIZE_MIN, min(SEGMENT_SIZE_MAX, setup.size_max // SEGMENTS_WANTED))
        self.segments: list[Segment] = []
        self.size = 0  # bytes on disk
        self.frames_missing = 0  # put by an earlier process and not found
        self.segments_unreadable = 0  # of an earlier process, removed: nothing in them says what they held
        self.written = State(list(setup.cpd))
        self.reader: Reader | None = None
        self._reading: Segment | None = None
        self._head: Segment | None = None  # None: the next record begins a segment
        self._must_roll = False
        self._wants_sync = False
        self.is_new_run = True  # nothing has been written yet
        self._starts = self._new_starts()
        self._note_sequence, settled = latest_note(directory.read_notes())
        self._load(settled or [0] * TRACKS_MAX)
        self._check_tracks()

    # ---- what a process before this one left

    def _check_tracks(self) -> None:
        """What is left has to be of the tracks that the stream has now."""
        heads = [segment.head for segment in self.segments if segment.head is not None]
        if heads and list(heads[0].tracks) != list(self._setup.tracks):
            self._dir.close()
            codecs = ", ".join(str(track.get("codec_id")) for track in heads[0].tracks)
            text = (
                f"{self._dir.path} holds frames of other tracks ({codecs}): open the stream with those tracks once, "
                "so that they are sent, or move the directory away"
            )
            raise errors.named("INVALID_ARG", text)

    def _load(self, settled: list[int]) -> None:
        numbers = self._dir.numbers()
        before = [0] * TRACKS_MAX
        for number in numbers:
            segment = self._load_one(number, before, is_last=number == numbers[-1])
            if self.segments:
                self._close_with(self.segments[-1], segment)
            if segment.head is None:
                self._place_behind(segment)
            self.segments.append(segment)
            self.size += segment.size
            before = segment.end
        self._number = (numbers[-1] if numbers else 0) + 1
        self._next = [max(pair) for pair in zip(before, settled)]
        start = [min(pair) for pair in zip(self._next, settled)]
        self.tracks = [TrackProgress(index, index) for index in start]
        self._payload = self._payload_before_next()
        unknown = [
            segment
            for segment in self.segments
            if segment.head is None and segment.end == segment.first and not segment.is_cut
        ]
        self._drop_settled()
        self.segments_unreadable = sum(segment not in self.segments for segment in unknown)
        for segment in self.segments:
            segment.waiting = self._unsettled_payload(segment)
        self.rewind()

    def _load_one(self, number: int, before: Sequence[int], *, is_last: bool) -> Segment:
        try:
            read = functools.partial(self._dir.read, number)
            return load_segment(number, read, self._dir.size(number), before, is_last=is_last)
        except UnknownFormat as error:
            self._dir.close()
            text = f"{self._dir.path} cannot be read: {error}; open it with the version that wrote it, or move it away"
            raise errors.named("INVALID_ARG", text) from error

    def _close_with(self, segment: Segment, following: Segment) -> None:
        """Only the last segment was read whole: of the others the next head tells the end."""
        if segment.head is not None and following.head is not None:
            segment.payload = max(0, following.head.payload_before - segment.head.payload_before)
        elif segment.head is not None:
            for record in frames(functools.partial(self._dir.read, segment.number), segment):
                segment.end[record.slot] = max(segment.end[record.slot], record.number + 1)
                segment.payload += record.payload_size
        if following.head is not None:
            segment.end = [max(pair) for pair in zip(segment.end, following.head.first)]

    def _place_behind(self, segment: Segment) -> None:
        """A segment without a head begins where the one before it ends, which is known by now."""
        if self.segments:
            segment.first = list(self.segments[-1].end)
            segment.end = [max(pair) for pair in zip(segment.first, segment.end)]

    def _payload_before_next(self) -> int:
        heads = [segment for segment in self.segments if segment.head is not None]
        if not heads or heads[-1].head is None:
            return 0
        return heads[-1].head.payload_before + heads[-1].payload

    def _unsettled_payload(self, segment: Segment) -> int:
        if all(first >= track.settled for first, track in zip(segment.first, self.tracks)):
            return segment.payload
        found = frames(functools.partial(self._dir.read, segment.number), segment)
        return sum(record.payload_size for record in found if record.number >= self.tracks[record.slot].settled)

    def rewind(self) -> None:
        """Let the core begin with the oldest frame that is not settled."""
        self._reading = self.reader = None
        if not self.segments:
            return
        self._enter(self.segments[0])
        for slot, first in enumerate(self.segments[0].first):
            missing = first - self.tracks[slot].settled
            if missing > 0:  # their files are gone, or never were written
                self.frames_missing += missing
                self.tracks[slot] = TrackProgress(first, first)

    # These two only read, and only this spool's files: they need no lock until the core is fed.

    def left_span_ns(self) -> tuple[int, int] | None:
        """Least and greatest time of the frames that are left, as the first and the last segment have it."""
        edges = {id(segment): segment for segment in self.segments[:1] + self.segments[-1:]}
        settled = [track.settled for track in self.tracks]
        times = [
            record.pts_ns
            for segment in edges.values()
            for record in frames(functools.partial(self._dir.read_apart, segment.number), segment)
            if record.number >= settled[record.slot]
        ]
        return (min(times), max(times)) if times else None

    def stored_ends(self, stored: Mapping[int, StoredFragment]) -> list[int] | None:
        """Where the leading fragments end that the service has whole, per track; None when it has none.

        ``stored`` maps a fragment's start in ms to what the service says of it.
        """
        first, lead = [track.settled for track in self.tracks], self._setup.lead

        def is_whole(span: FragmentSpan) -> bool:
            known = stored[span.start_ns // 1_000_000]
            return known.size >= span.payload and known.duration_ms >= (span.last_ns - span.start_ns) // 1_000_000

        found = spans(self._left(), first, self._new_starts(), lead)
        last, following = stored_prefix(as_stored(found, stored), stored, is_whole)
        if last is None:
            return None
        return last.ends if following is None else whole_ends(self._left(), first, following, lead)

    def _left(self) -> Iterator[Record]:
        for segment in list(self.segments):
            yield from records(functools.partial(self._dir.read_apart, segment.number), segment)

    def skip_to(self, ends: Sequence[int]) -> None:
        """Settle the frames before these; before the core is fed."""
        for slot, end in enumerate(ends):
            settled = max(end, self.tracks[slot].fed)
            self.tracks[slot] = TrackProgress(settled, settled)
        self._note()
        self._drop_settled()
        for segment in self.segments:
            segment.waiting = self._unsettled_payload(segment)
        self.rewind()

    def _new_starts(self) -> FragmentStarts:
        return FragmentStarts(self._setup.lead, self._setup.is_sparse)

    # ---- figures

    @property
    def frames_waiting(self) -> int:
        """Frames that are on disk only."""
        if self.reader is None:
            return 0
        return sum(end - track.fed for end, track in zip(self._next, self.tracks))

    @property
    def bytes_waiting(self) -> int:
        """Payload bytes of the frames that are on disk only."""
        return sum(segment.waiting for segment in self.segments)

    @property
    def frame_size_max(self) -> int:
        """The largest frame that is taken."""
        return self._setup.size_max // 4

    # ---- writing

    def append(self, kind: int, flags: int, slot: int, times: tuple[int, int, int], payload: Any) -> None:
        """Write one record; OSError when it cannot be, and then nothing was written.

        A frame takes the next number of its track; with a reader it waits for the core, else the core has it.
        """
        index = self._next[slot] if kind == RecordKind.FRAME else 0
        head = pack_record(kind, flags, slot, index, times, payload)
        size = len(head) + (len(payload) if type(payload) is bytes else memoryview(payload).nbytes)
        segment = self._segment_for(size, self._starts.is_start(kind, slot, flags, times[0]))
        self._dir.append(head, payload)
        segment.size += size
        self.size += size
        if kind == RecordKind.FRAME:
            self._count(segment, slot, size - HEAD_SIZE)

    def _count(self, segment: Segment, slot: int, size: int) -> None:
        self._next[slot] += 1
        segment.end[slot] = self._next[slot]
        segment.payload += size
        self._payload += size
        if self.reader is not None:
            segment.waiting += size

    def pass_by(self, slot: int) -> None:
        """The core took a frame that could not be written: its number is used up."""
        self._next[slot] += 1
        self.tracks[slot].take()
        self._must_roll = True  # so that the next segment's head says where numbers go on

    def go_behind(self) -> None:
        """The core does not take what comes next: it will read it from here."""
        if self.reader is None:
            if self._head is None:
                self._head = self._create()
            self._reading = self._head
            self.reader = self._open_reader(self._head, self._head.size)

    def _segment_for(self, size: int, begins: bool) -> Segment:
        head = self._head
        self._wants_sync = self._wants_sync or (begins and self._setup.is_disk_durable)
        limit = self._segment_size if begins else 2 * self._segment_size
        if head is None or self._must_roll or head.size + size > limit:
            head = self._head = self._create()
        return head

    def _create(self) -> Segment:
        setup = self._setup
        head = SegmentHead(
            setup.tracks, list(self._next), self._payload, self.is_new_run, list(self.written.cpd),
            dict(self.written.persistent),
        )  # fmt: skip
        packed = pack_segment_head(head)
        self._dir.create(self._number, packed, is_durable=setup.is_disk_durable)
        size = len(packed)
        made = Segment(self._number, head, size, size, list(self._next), list(self._next))
        self._number += 1
        self._must_roll = self.is_new_run = False
        self.segments.append(made)
        self.size += size
        return made

    def to_sync(self) -> int | None:
        """A descriptor to sync now, if a fragment became complete that should survive a power cut."""
        if not self._wants_sync or self._head is None:
            return None
        self._wants_sync = False
        return self._dir.to_sync()

    def roll(self) -> None:
        """Let the next record begin a segment."""
        self._must_roll = True

    # ---- room

    def has_room(self, size: int) -> bool:
        """Whether a record with so many payload bytes fits."""
        return self.size + size + HEAD_SIZE + SEGMENT_HEAD_ROOM <= self._setup.size_max

    def drop_oldest(self) -> Loss | None:
        """Remove the oldest segment that is not being written; None when there is none."""
        oldest = self.segments[0] if self.segments else None
        if oldest is None or oldest is self._head:
            return None
        loss = Loss(size=oldest.waiting)
        for track, first, end in zip(self.tracks, oldest.first, oldest.end):
            fed = min(track.fed, end)
            loss.frames_in_memory += max(0, fed - max(first, track.settled))
            loss.frames += end - fed
            track.skip(end - fed)
        if self._reading is oldest:
            self._reading, self.reader = None, None
            if len(self.segments) > 1:
                self._enter(self.segments[1])
        self._remove(oldest)
        return loss

    # ---- reading on

    @property
    def reading(self) -> Segment | None:
        """The segment that the core has to go on with."""
        return self._reading

    def peek(self) -> Step | None:
        """What the core has to get next, of this segment."""
        if self.reader is None or self._reading is None:
            return None
        return self.reader.peek(self._reading.size)

    def leave_segment(self) -> tuple[int, int]:
        """Go on with the next segment, or (the last one) be done: ``reader`` is None then. Return frames and bytes
        that could not be read."""
        segment = self._reading
        if segment is None:
            return 0, 0
        frames_lost, size = self._pass_over(segment.end), segment.waiting
        segment.waiting = 0
        following = self.segments[self.segments.index(segment) + 1 :]
        self._reading, self.reader = None, None
        if following:
            self._enter(following[0])
            frames_lost += self._pass_over(following[0].first)
        return frames_lost, size

    def _pass_over(self, ends: Sequence[int]) -> int:
        count = 0
        for track, end in zip(self.tracks, ends):
            count += max(0, end - track.fed)
            track.skip(end - track.fed)
        return count

    def _enter(self, segment: Segment) -> None:
        self._reading = segment
        self.reader = self._open_reader(segment, segment.start)

    def _open_reader(self, segment: Segment, offset: int) -> Reader:
        return Reader(functools.partial(self._dir.read, segment.number), offset)

    # ---- what is settled

    def settle(self, core_counts: Sequence[int]) -> bool:
        """Take the core's counts; remove what is all settled. Return whether files went."""
        is_news = [track.settle(count) for track, count in zip(self.tracks, core_counts)]
        if not any(is_news):
            return False
        if self.segments:
            self._note()
        return self._drop_settled()

    def _note(self) -> None:
        self._note_sequence += 1
        try:
            note = pack_note(self._note_sequence, [track.settled for track in self.tracks])
            self._dir.write_note(self._note_sequence % 2, note)
        except OSError as error:  # what it would have said is sent again after a restart
            logger.warning("%s: what is settled cannot be noted: %s", self._dir.path, error.strerror)

    def _drop_settled(self) -> bool:
        count = len(self.segments)
        while self.segments and self.segments[0] not in (self._head, self._reading):
            if any(end > track.settled for end, track in zip(self.segments[0].end, self.tracks)):
                break
            self._remove(self.segments[0])
        return len(self.segments) < count

    def _remove(self, segment: Segment) -> None:
        self.segments.remove(segment)
        self.size -= segment.size
        try:
            self._dir.remove(segment.number)
        except OSError as error:
            logger.warning("%s: segment %d cannot be removed: %s", self._dir.path, segment.number, error.strerror)

    def frames_on_disk(self) -> int:
        """How many frames that are not settled lie in the files."""
        total = 0
        for segment in self.segments:
            for first, end, track in zip(segment.first, segment.end, self.tracks):
                total += max(0, end - max(first, track.settled))
        return total

    def finish(self) -> None:
        """Close the files; where every frame is settled none is left but the lock."""
        self._dir.close_head()
        self._head = self._reading = self.reader = None
        self._drop_settled()
        if not self.segments:
            self._dir.remove_notes()
        self._dir.close()

    def leave(self) -> None:
        """Close the files as they are."""
        self._dir.close()
