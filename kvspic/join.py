"""Joins stored fragments into one Matroska file that players like: one Segment, known sizes, Duration, Cues.

GetMedia and GetMediaForFragmentList answer with one EBML document for each fragment. ffmpeg reads that with an error
line for each and breaks where a session restarted its times; mkvmerge stops after the first. :class:`Joiner` takes such
an answer, cut anywhere, and writes seekable files. It holds one fragment and an index entry for each, never the media.

Times start at 0; when that was goes to DateUTC. A fragment's place is its producer time, so relative times of several
sessions come out right. A fragment that is stored twice (same producer time, a track in common) counts once: the one of
the later producer, by the number that it gives itself in the tag ``kvspic-epoch``; of one producer the one with more
tracks, then the later one. What the file's Tracks cannot describe (another codec or codec private data) starts the next
part. Element layout: RFC 8794, RFC 9559.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import BinaryIO

from kvspic.local.ebml import Id, ProblemKind
from kvspic.local.mkv_events import (
    AUDIO,
    Block,
    ClusterEnd,
    ClusterStart,
    DocumentStart,
    Event,
    Header,
    Problem,
    Tags,
    Track,
)
from kvspic.local.mkv_reader import MkvReader
from kvspic.mkv_file import KEY_FLAG, MkvCluster, MkvError, MkvFile, MkvFrame, TagList, track_entries
from kvspic.units import NS_PER_MS

__all__ = ["JoinError", "JoinReport", "JoinedPart", "Joiner", "part_path"]

AWS_PREFIX = "AWS_KINESISVIDEO_"
FRAGMENT_NUMBER_TAG = AWS_PREFIX + "FRAGMENT_NUMBER"
PRODUCER_TIME_TAGS = (AWS_PREFIX + "PRODUCER_TIMESTAMP", AWS_PREFIX + "PRODUCER_SIDE_TIMESTAMP")
EPOCH_TAG = "kvspic-epoch"
ERROR_TAGS = (AWS_PREFIX + "ERROR_CODE", AWS_PREFIX + "EXCEPTION_ERROR_CODE")
ERROR_TEXT_TAGS = (AWS_PREFIX + "ERROR_ID", AWS_PREFIX + "EXCEPTION_MESSAGE")


class JoinError(Exception):
    """The bytes are no fragments, or end inside one. What was complete before is in the file once it is closed."""


@dataclass(frozen=True)
class JoinedPart:
    """One file: what it holds. ``start_ms`` is its time 0 as milliseconds since 1970, None if it is not known."""

    number: int
    tracks: tuple[Track, ...]
    fragments: int
    frames: int
    duration_ms: int
    start_ms: int | None
    size: int
    hidden_ms: int = 0  # of pictures that are decoded and not shown


@dataclass(frozen=True)
class JoinReport:
    """The parts that were written, what the user should know about them, and the errors that came instead of media.

    ``left_out`` are the fragments that were stored twice and do not count, by their numbers.
    """

    parts: tuple[JoinedPart, ...]
    left_out: tuple[str, ...]
    notices: tuple[str, ...]
    errors: tuple[str, ...]


def part_path(path: Path, number: int) -> Path:
    """Return where part ``number`` goes: ``FILE.mkv``, then ``FILE-2.mkv``, ``FILE-3.mkv``."""
    return path if number == 1 else path.with_name(f"{path.stem}-{number}{path.suffix}")


class Joiner:
    """Takes fragments as bytes and writes parts.

    Args:
        open_part: gives a binary file, open for writing and seekable, for the part of a number; the joiner closes it.
        app: what goes to MuxingApp and WritingApp.

    Ownership: a part is closed when the next one starts or on :meth:`close`, whatever happened before.
    """

    def __init__(self, open_part: Callable[[int], BinaryIO], *, app: str = "kvspic") -> None:
        self._open_part = open_part
        self._app = app
        self._reader = MkvReader()
        self._held: deque[bytes] = deque()  # what came, from the first byte that a later event can point into
        self._held_base = 0
        self._header = b""  # of the newest document that has one
        self._entries: dict[int, bytes] = {}  # its TrackEntries
        self._next_offset: int | None = None  # where the document after one without Tracks begins
        self._document = _Document()
        self._cluster: _Cluster | None = None
        self._file: MkvFile | None = None
        self._parts: list[JoinedPart] = []
        self._notices: list[str] = []
        self._errors: list[str] = []
        self._left_out: list[str] = []
        self.fragments = 0  # those that came whole
        self.last_number = ""  # of the newest of them, as the service calls it

    def feed(self, data: bytes | bytearray | memoryview) -> None:
        """Take the next bytes, cut anywhere.

        Raises:
            JoinError: the bytes are not Matroska. Fragments before are safe; call :meth:`close`.
        """
        self._hold(bytes(data))
        while self._passes_over_tags():
            pass

    def close(self) -> JoinReport:
        """Finish the open part and say what was written. A fragment that was cut is left out, with a notice."""
        try:
            self._take(self._reader.close())
        except JoinError as error:
            self._notices.append(str(error))
        self._end_document()
        self._finish_part()
        return JoinReport(tuple(self._parts), tuple(self._left_out), tuple(self._notices), tuple(self._errors))

    def _hold(self, data: bytes) -> None:
        self._held.append(data)
        self._take(self._reader.feed(data))

    def _take(self, events: Iterable[Event]) -> None:
        try:
            for event in events:
                self._take_one(event)
        except MkvError as error:
            raise JoinError(f"The media cannot be joined after {self._count()} fragments: {error}.") from error

    def _take_one(self, event: Event) -> None:
        if isinstance(event, Block):
            if self._cluster is not None:
                self._cluster.blocks.append(event)
        elif isinstance(event, ClusterStart):
            self._cluster = _Cluster(event.timecode)
        elif isinstance(event, ClusterEnd):
            self.fragments += 1
            self.last_number = self._document.aws.get(FRAGMENT_NUMBER_TAG, self.last_number)
            self._end_cluster(event.end_offset)
            self._release(event.end_offset)
        elif isinstance(event, Tags):
            self._take_tags(event)
        elif isinstance(event, Header):
            self._document.scale_ns = event.timestamp_scale_ns
            self._document.tracks = event.tracks
            self._document.entries = self._entries_of(bytes(self._bytes(event.segment_offset, event.end_offset)))
            self._release(event.end_offset)
        elif isinstance(event, DocumentStart):
            self._end_document()
        elif isinstance(event, Problem) and event.kind is ProblemKind.NO_TRACKS and self._document.aws:
            self._next_offset = event.offset
        elif isinstance(event, Problem):
            self._write_cluster()
            raise JoinError(f"The media is broken after {self._count()} fragments: {event.text}; fetch it again.")

    def _passes_over_tags(self) -> bool:
        """Begin again behind a document that had tags of the service and nothing else; tell whether there was one.

        That is how the service says that a fragment cannot be had, and what it sends at the live edge. To the reader a
        document without Tracks is broken, and it reads nothing after it.
        """
        if self._next_offset is None:
            return False
        self._end_document()
        rest = bytes(self._bytes(self._next_offset, self._held_base + sum(map(len, self._held))))
        self._held.clear()
        self._held_base, self._next_offset = 0, None
        self._reader = MkvReader()
        self._hold(rest)
        return True

    def _count(self) -> int:
        return sum(part.fragments for part in self._parts) + (self._file.cluster_count if self._file else 0)

    def _bytes(self, begin: int, end: int) -> bytearray:
        pieces, base = [], self._held_base
        for piece in self._held:
            if begin < base + len(piece) and base < end:
                pieces.append(memoryview(piece)[max(0, begin - base) : end - base])
            base += len(piece)
        return bytearray().join(pieces)

    def _entries_of(self, header: bytes) -> dict[int, bytes]:
        """Return the TrackEntries of a document's header, which is mostly that of the document before it."""
        if header != self._header:
            self._header, self._entries = header, track_entries(header)
        return self._entries

    def _release(self, end: int) -> None:
        """Forget what came before a place that no later event points behind."""
        while self._held and self._held_base + len(self._held[0]) <= end:
            self._held_base += len(self._held.popleft())

    def _end_document(self) -> None:
        """A document that brought no Cluster is how the service says that a fragment cannot be had."""
        self._write_cluster()
        if error := self._document.error():
            self._errors.append(error)
        self._document = _Document()

    def _take_tags(self, event: Tags) -> None:
        document = self._document
        document.aws.update((tag.name, tag.value) for tag in event.tags if tag.name.startswith(AWS_PREFIX))
        kept = tuple((tag.group, tag.name, tag.value) for tag in event.tags if not tag.name.startswith(AWS_PREFIX))
        for _, name, value in kept:
            if name == EPOCH_TAG and value.isdecimal():
                document.epoch = int(value)
        is_of_header = document.placed is None and FRAGMENT_NUMBER_TAG not in document.aws
        if kept:
            document.tags.append((is_of_header, kept))

    def _end_cluster(self, end_offset: int) -> None:
        """Take a whole cluster. It is written when the document ends, because tags may follow that say whose it is."""
        self._write_cluster()
        cluster, self._cluster = self._cluster, None
        document = self._document
        if cluster is None or not cluster.blocks:
            return
        unknown = {block.track for block in cluster.blocks} - {track.number for track in document.tracks}
        if unknown:
            raise MkvError(f"a block names track {min(unknown)}, which Tracks does not describe")
        if document.shift_ms is None:
            document.shift_ms = document.find_shift_ms(cluster.timecode)
        document.placed = self._place(cluster, document.shift_ms, end_offset)

    def _write_cluster(self) -> None:
        document = self._document
        placed, document.placed = document.placed, None
        if placed is None:
            return
        file = self._file_for(placed)
        if file.overlaps(placed):
            self._notices.append(
                f"Fragment {document.name()} begins before the one before it has ended: two uploads cover the same "
                "time, so give each recording its own --start, or a stream of its own."
            )
        counts, left_out = file.write_cluster(placed, document.name(), document.epoch)
        self._left_out += left_out
        for is_of_header, tags in document.tags if counts else ():
            file.write_tags(tags, owner_ms=None if is_of_header else placed.time_ms)
        document.tags.clear()

    def _place(self, cluster: _Cluster, shift_ms: int, end_offset: int) -> MkvCluster:
        """Return a cluster as a file has it. Any sound can be decoded alone, and players seek to what is flagged;
        producers flag only pictures, because flags open fragments."""
        scale, blocks = self._document.scale_ns, cluster.blocks
        sounds = {track.number for track in self._document.tracks if track.kind == AUDIO}
        begin = blocks[0].offset
        data = self._bytes(begin, end_offset)
        media = memoryview(data)
        frames = []
        for block in blocks:
            place = block.payload_offset - begin
            if block.track in sounds:
                block.is_key_frame = True
                data[place - 1] |= KEY_FLAG
            frames.append(
                MkvFrame(
                    block.track,
                    block.timecode * scale // NS_PER_MS + shift_ms,
                    media[place : place + block.payload_size],
                    is_key_frame=block.is_key_frame,
                    is_discardable=block.is_discardable,
                    is_invisible=block.is_invisible,
                    padding_ns=block.discard_padding_ns,
                )
            )
        is_plain = scale == NS_PER_MS and _are_simple(blocks, data)
        time_ms = cluster.timecode * scale // NS_PER_MS + shift_ms
        return MkvCluster(time_ms, tuple(frames), media if is_plain else b"")

    def _file_for(self, cluster: MkvCluster) -> MkvFile:
        """Return the part that takes the cluster: the open one if its Tracks can say what the cluster is."""
        document = self._document
        if self._file is not None:
            used = {frame.track for frame in cluster.frames}
            tracks = tuple(track for track in document.tracks if track.number in used)
            reason = self._file.admit(cluster, tracks, document.entries)
            if reason is None:
                return self._file
            self._notices.append(f"Part {len(self._parts) + 2} begins at fragment {document.name()}, because {reason}.")
            self._finish_part()
        file = self._open_part(len(self._parts) + 1)
        self._file = MkvFile(file, app=self._app)
        self._file.begin(cluster, document.tracks, document.entries)
        return self._file

    def _finish_part(self) -> None:
        if self._file is None:
            return
        file, self._file = self._file, None
        size = file.finish()
        counts = (file.cluster_count, file.frame_count)
        part = JoinedPart(len(self._parts) + 1, file.tracks, *counts, file.duration_ms, file.start_ms, size)
        self._parts.append(replace(part, hidden_ms=file.hidden_ms))


@dataclass
class _Document:
    """What one document said so far. ``placed`` is its cluster until it is written, and ``tags`` go where that goes."""

    scale_ns: int = NS_PER_MS
    tracks: tuple[Track, ...] = ()
    entries: dict[int, bytes] = field(default_factory=dict)
    aws: dict[str, str] = field(default_factory=dict)
    tags: list[tuple[bool, TagList]] = field(default_factory=list)
    placed: MkvCluster | None = None
    epoch: int = 0  # which of several producers this one was
    shift_ms: int | None = None

    def find_shift_ms(self, timecode: int) -> int:
        """Return what is to be added to the document's times, so that its first cluster lies at its producer time.

        The service writes that as seconds with three decimals; without it, times are taken as they are.
        """
        for name in PRODUCER_TIME_TAGS:
            seconds, _, decimals = self.aws.get(name, "").partition(".")
            if seconds.isdecimal() and (decimals or "0").isdecimal():
                return int(seconds) * 1000 + int((decimals + "000")[:3]) - timecode * self.scale_ns // NS_PER_MS
        return 0

    def name(self) -> str:
        """Return what the service calls the fragment."""
        return self.aws.get(FRAGMENT_NUMBER_TAG, "without a number")

    def error(self) -> str | None:
        """Return the service's words if the document stands for a fragment that could not be had."""
        code = next((self.aws[name] for name in ERROR_TAGS if name in self.aws), None)
        if code is None:
            return None
        text = next((self.aws[name] for name in ERROR_TEXT_TAGS if name in self.aws), "")
        return f"Fragment {self.name()}: {code} {text}".rstrip()


@dataclass
class _Cluster:
    """A cluster as it came, until it is whole."""

    timecode: int
    blocks: list[Block] = field(default_factory=list)


def _are_simple(blocks: list[Block], data: bytearray) -> bool:
    """Tell whether ``data``, which begins with the first block, is these blocks, all of them SimpleBlocks."""
    begin = end = blocks[0].offset
    for block in blocks:
        if block.offset != end or data[end - begin] != Id.SIMPLE_BLOCK:
            return False
        end = block.payload_offset + block.payload_size
    return end - begin == len(data)
