"""Writes one seekable Matroska file: known sizes, SeekHead, Duration, Cues. For media that was received, not produced.

Clusters go out as they come; what is known only at the end (Segment size, SeekHead, Duration, Cues, a track that came
late) is patched in by :meth:`MkvFile.finish`. Until then the file has a Segment of unknown size and no index, which
players can read, so that a process that dies leaves a playable file. Times are milliseconds, and start at 0.

Layout   EBML, Segment, SeekHead, Info, Tracks, Void (room for tracks), then Clusters and Tags, then Cues (RFC 9559).
"""

from __future__ import annotations

import io
import operator
import struct
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import BinaryIO

from kvspic.local.ebml import Id, children, parse_head
from kvspic.local.mkv_events import Track
from kvspic.units import NS_PER_MS

__all__ = ["MkvCluster", "MkvError", "MkvFile", "MkvFrame", "TagList", "track_entries"]

_Bytes = bytes | memoryview

TagList = tuple[tuple[int, str, str], ...]  # group (one Tag element each), name, value

SEEK, SEEK_ID, SEEK_POSITION, TARGETS = 0x4DBB, 0x53AB, 0x53AC, 0x63C0
CUE_POINT, CUE_TIME, CUE_TRACK_POSITIONS, CUE_TRACK, CUE_CLUSTER = 0xBB, 0xB3, 0xB7, 0xF7, 0xF1
EBML_VERSION, DOC_TYPE_VERSION, DOC_TYPE_READ_VERSION = 0x4286, 0x4287, 0x4285
CHAPTER_ATOM, CHAPTER_UID, CHAPTER_START, CHAPTER_END = 0xB6, 0x73C4, 0x91, 0x92
EDITION_ENTRY, EDITION_DEFAULT, EDITION_ORDERED = 0x45B9, 0x45DB, 0x45DD
SEEK_HEAD_SIZE = 89  # four entries of 21 bytes and a head of 5
TRACKS_RESERVE = 4096  # room for tracks that only a later session brings, such as audio that was silent at first
VOID_SIZE_MIN = 2
UNKNOWN_SIZE = b"\x01" + b"\xff" * 7
VIDEO, AUDIO = 1, 2
MS_TO_2001 = 978_307_200_000  # DateUTC counts from here (RFC 9559 section 5.1.2.11)
RELATIVE_MIN, RELATIVE_MAX = -32768, 32767
SLACK_MS = 1  # of "ends before the first picture": every time was rounded down to a millisecond
AAC_SAMPLES, AAC_SHORT_SAMPLES = 1024, 960
KEY_FLAG, INVISIBLE_FLAG, DISCARDABLE_FLAG = 0x80, 0x08, 0x01
SIMPLE_BLOCK_ID = bytes((Id.SIMPLE_BLOCK,))
BLOCK_LEAD = struct.Struct(">hB")  # behind the track's number: the time relative to the cluster's, the flags


class MkvError(Exception):
    """The media cannot be written as Matroska."""


@dataclass(slots=True)
class MkvFrame:
    """One frame; ``time_ms`` counts from 1970, or from a session's start where its begin is not known.

    Not frozen, because making a frozen record costs three times as much. It is never changed.
    """

    track: int
    time_ms: int
    data: _Bytes
    is_key_frame: bool = False
    is_discardable: bool = False
    is_invisible: bool = False
    padding_ns: int = 0  # to be dropped by players: at the end of the frame, or at its beginning where negative

    @property
    def flags(self) -> int:
        """The bits that SimpleBlock and Block share."""
        return self.is_invisible * INVISIBLE_FLAG


@dataclass(frozen=True)
class MkvCluster:
    """Frames that belong together; some may lie before ``time_ms`` (leading pictures, sound before the picture).

    ``blocks`` are all of them as SimpleBlocks with times in milliseconds, where they came so.
    """

    time_ms: int
    frames: tuple[MkvFrame, ...]
    blocks: _Bytes = b""


@dataclass
class _Written:
    """Where a cluster lies, by its time: enough to put a later version of it in its place."""

    position: int
    size: int
    tracks: frozenset[int]
    frame_count: int
    cue: tuple[int, int] | None  # time in the file and track of the frame to seek to
    name: str
    epoch: int
    hidden: tuple[int, int] | None  # the times in the file between which no picture is shown

    def counts_before(self, earlier: _Written) -> bool:
        """Tell whether this cluster takes the place of one that was written earlier."""
        if self.epoch != earlier.epoch:
            return self.epoch > earlier.epoch
        return not self.tracks < earlier.tracks


@dataclass
class _Track:
    """A track of the file, its TrackEntry's payload, and the two latest times, which give its Duration."""

    track: Track
    entry: bytes
    last_ms: int = -1
    last_but_one_ms: int = -1
    frame_ns: int = 0

    def see(self, time_ms: int) -> None:
        """Note a frame's time; with B frames they do not come in order."""
        if time_ms > self.last_ms:
            self.last_ms, self.last_but_one_ms = time_ms, self.last_ms
        elif self.last_but_one_ms < time_ms < self.last_ms:
            self.last_but_one_ms = time_ms

    @property
    def end_ms(self) -> int:
        """When the last frame ends: by its codec, else as long after its start as the one before lies before it."""
        if self.frame_ns:
            return self.last_ms - (-self.frame_ns // NS_PER_MS)
        return self.last_ms + (self.last_ms - self.last_but_one_ms if self.last_but_one_ms >= 0 else 0)


@dataclass
class MkvFile:
    """One file being written. ``begin`` first, then clusters and tags, ``finish`` last; it owns the file object."""

    file: BinaryIO
    app: str = "kvspic"
    start_ms: int | None = None
    _zero_ms: int = 0
    _tracks: dict[int, _Track] = field(default_factory=dict)
    _numbers: dict[int, int] = field(default_factory=dict)  # the present document's track number -> ours
    _clusters: dict[int, list[_Written]] = field(default_factory=dict)
    _first_ms: int = 0
    _end_ms: int = 0
    _tag_marks: set[tuple[int | None, int]] = field(default_factory=set)
    _places: dict[int, int] = field(default_factory=dict)
    _segment: int = 0
    _tracks_place: tuple[int, int] = (0, 0)
    _duration_place: int = 0

    @property
    def tracks(self) -> tuple[Track, ...]:
        """The file's tracks."""
        return tuple(track.track for track in self._tracks.values())

    @property
    def cluster_count(self) -> int:
        """Clusters that count: a replaced one does not."""
        return sum(len(same) for same in self._clusters.values())

    @property
    def frame_count(self) -> int:
        """Frames in these clusters."""
        return sum(written.frame_count for same in self._clusters.values() for written in same)

    @property
    def duration_ms(self) -> int:
        """From time 0 to the end of the last frame."""
        return max((track.end_ms for track in self._tracks.values() if track.last_ms >= 0), default=0)

    @property
    def hidden_ms(self) -> int:
        """How long nothing is shown, because the pictures are only there to be decoded."""
        return sum(end - begin for begin, end in self._hidden_spans())

    def begin(self, first: MkvCluster, tracks: Iterable[Track], entries: dict[int, bytes]) -> None:
        """Write everything before the first cluster, whose earliest frame is time 0 of the file."""
        self._first_ms = first.time_ms
        self._zero_ms = min(first.time_ms, *(frame.time_ms for frame in first.frames))
        self.start_ms = self._zero_ms if self._zero_ms >= MS_TO_2001 else None
        for track in tracks:
            self._tracks[track.number] = _Track(track, entries[track.number])
            self._numbers[track.number] = track.number
        self.file.write(_ebml_head())
        self.file.write(_id(Id.SEGMENT) + UNKNOWN_SIZE)
        self._segment = self.file.tell()
        self.file.write(_void(SEEK_HEAD_SIZE))
        self._places[Id.INFO] = self.file.tell()
        self.file.write(self._info())
        self._places[Id.TRACKS] = self.file.tell()
        body = self._tracks_element()
        self._tracks_place = (self.file.tell(), len(body) + TRACKS_RESERVE)
        self.file.write(body + _void(TRACKS_RESERVE))

    def admit(self, cluster: MkvCluster, tracks: tuple[Track, ...], entries: dict[int, bytes]) -> str | None:
        """Make room for a cluster's tracks; return why it cannot go into this file, or None if it can."""
        if min(cluster.time_ms, *(frame.time_ms for frame in cluster.frames)) < self._zero_ms:
            return "it is older than the beginning of the file"
        numbers: dict[int, int] = {}
        for track in tracks:
            number = self._number_of(track, set(numbers.values()))
            if number is None:
                return f"the codec or the codec private data of track {track.number} changed"
            numbers[track.number] = number
            if number not in self._tracks and not self._add_track(number, track, entries[track.number]):
                return f"track {track.number} is new and there is no room left to describe it"
        self._numbers = numbers
        return None

    def overlaps(self, cluster: MkvCluster) -> bool:
        """Tell whether a cluster lies before the end of what was written, other than in the place of an earlier one."""
        return cluster.time_ms < self._end_ms and cluster.time_ms not in self._clusters

    def write_tags(self, tags: TagList, *, owner_ms: int | None) -> None:
        """Write a Tags element where the file stands, unless the same was written before for the same owner.

        The owner is the cluster of a time, which may come twice, or None for the file, whose header each document has.
        """
        mark = (owner_ms, hash(tags))
        if mark in self._tag_marks:
            return
        self._tag_marks.add(mark)
        groups: dict[int, bytes] = {}
        for group, name, value in tags:
            pair = _element(Id.TAG_NAME, name.encode()) + _element(Id.TAG_STRING, value.encode())
            groups[group] = groups.get(group, _element(TARGETS, b"")) + _element(Id.SIMPLE_TAG, pair)
        self.file.write(_element(Id.TAGS, b"".join(_element(Id.TAG, group) for group in groups.values())))

    def write_cluster(self, cluster: MkvCluster, name: str = "", epoch: int = 0) -> tuple[bool, list[str]]:
        """Write a cluster, unless one of the same time, with a track in common, counts more: that of the higher epoch,
        of equal ones that with all tracks of the other, else the later. Return whether this one counts, and the names
        of those that do not."""
        frames = self._renumbered(cluster)
        if cluster.time_ms == self._first_ms:
            frames = self._without_early_sound(frames)
        is_as_it_came = all(map(operator.is_, frames, cluster.frames))
        head, blocks = self._cluster_element(cluster.time_ms, frames, cluster.blocks if is_as_it_came else b"")
        size = len(head) + len(blocks)
        tracks = frozenset(frame.track for frame in frames)
        new = _Written(0, size, tracks, len(frames), self._cue(frames), name, epoch, self._hidden(frames))
        same = self._clusters.setdefault(cluster.time_ms, [])
        rivals = [written for written in same if written.tracks & tracks]
        if any(not new.counts_before(rival) for rival in rivals):
            return False, [name]
        for frame in frames:
            self._see(frame)
        for rival in rivals:
            same.remove(rival)
        new.position = self._put(head, blocks, rivals)
        same.append(new)
        return True, [rival.name for rival in rivals]

    def finish(self) -> int:
        """Write Cues, patch what was left open, and return the size; the file is closed, whatever happens."""
        with self.file:
            return self._finish()

    def _finish(self) -> int:
        cues = self._cues()
        self.file.seek(0, io.SEEK_END)
        if cues:
            self._places[Id.CUES] = self.file.tell()
            self.file.write(cues)
        if chapters := self._chapters():
            self._places[Id.CHAPTERS] = self.file.tell()
            self.file.write(chapters)
        end = self.file.tell()
        self.file.seek(self._segment - 8)
        self.file.write(_size(end - self._segment, 8))
        self.file.seek(self._segment)
        self.file.write(self._seek_head())
        self.file.seek(self._duration_place)
        self.file.write(struct.pack(">d", float(self.duration_ms)))
        return end

    def _info(self) -> bytes:
        body = _element(Id.TIMESTAMP_SCALE, _uint(NS_PER_MS))
        body += _element(Id.MUXING_APP, self.app.encode()) + _element(Id.WRITING_APP, self.app.encode())
        if self.start_ms is not None:
            body += _element(Id.DATE_UTC, struct.pack(">q", (self.start_ms - MS_TO_2001) * NS_PER_MS))
        body += _element(Id.DURATION, struct.pack(">d", 0.0))
        info = _element(Id.INFO, body)
        self._duration_place = self.file.tell() + len(info) - 8
        return info

    def _tracks_element(self) -> bytes:
        return _element(Id.TRACKS, b"".join(_element(Id.TRACK_ENTRY, track.entry) for track in self._tracks.values()))

    def _number_of(self, track: Track, taken: set[int]) -> int | None:
        """Return the file's number for a document's track: the same one, a like one, a new one; None if it changed."""
        for number in (track.number, *self._tracks):
            if number in self._tracks and number not in taken and _is_like(self._tracks[number].track, track):
                return number
        if any(known.track.kind == track.kind for known in self._tracks.values()):
            return None
        return track.number if track.number not in self._tracks else max(self._tracks) + 1

    def _add_track(self, number: int, track: Track, entry: bytes) -> bool:
        """Describe one more track in the room after Tracks; False, and nothing changed, if that is too small."""
        added = _Track(replace(track, number=number), _with_number(entry, number))
        self._tracks[number] = added
        place, room = self._tracks_place
        body = self._tracks_element()
        if len(body) + VOID_SIZE_MIN > room:
            del self._tracks[number]
            return False
        self.file.seek(place)
        self.file.write(body + _void(room - len(body)))
        self.file.seek(0, io.SEEK_END)
        return True

    def _renumbered(self, cluster: MkvCluster) -> list[MkvFrame]:
        if all(number == own for number, own in self._numbers.items()):  # nearly always
            return list(cluster.frames)
        return [replace(frame, track=self._numbers[frame.track]) for frame in cluster.frames]

    def _without_early_sound(self, frames: list[MkvFrame]) -> list[MkvFrame]:
        """Mark sound that ends before the first picture as not to be played: an encoder's priming, which its decoder
        needs and no listener should hear. Without the mark, decoding gives more samples than the source has."""
        videos = [frame.time_ms for frame in frames if self._tracks[frame.track].track.kind == VIDEO]
        if not videos:
            return frames
        limit_ns = (min(videos) + SLACK_MS) * NS_PER_MS
        marked = []
        for frame in frames:
            track = self._tracks[frame.track].track
            length = _frame_ns(track, frame.data) if track.kind == AUDIO else 0
            is_early = length > 0 and frame.time_ms * NS_PER_MS + length <= limit_ns
            marked.append(replace(frame, padding_ns=-length) if is_early else frame)
        return marked

    def _see(self, frame: MkvFrame) -> None:
        track = self._tracks[frame.track]
        track.see(frame.time_ms - self._zero_ms)
        if track.track.kind == AUDIO:
            track.frame_ns = _frame_ns(track.track, frame.data)
        self._end_ms = max(self._end_ms, frame.time_ms)

    def _cluster_element(self, time_ms: int, frames: list[MkvFrame], blocks: _Bytes) -> tuple[bytes, _Bytes]:
        """Return a cluster up to its blocks, and these: ``blocks`` if there are any, else those of the frames."""
        timestamp = _element(Id.TIMESTAMP, _uint(time_ms - self._zero_ms))
        blocks = blocks or b"".join(piece for frame in frames for piece in _block(frame, time_ms))
        return _id(Id.CLUSTER) + _size(len(timestamp) + len(blocks), 8) + timestamp, blocks

    def _cue(self, frames: list[MkvFrame]) -> tuple[int, int] | None:
        """Return time and track of the frame to seek to: the first key picture, or where there is none, any sound."""
        videos = [frame for frame in frames if self._tracks[frame.track].track.kind == VIDEO]
        starts = [frame for frame in videos if frame.is_key_frame] if videos else frames
        return (starts[0].time_ms - self._zero_ms, starts[0].track) if starts else None

    def _hidden(self, frames: list[MkvFrame]) -> tuple[int, int] | None:
        """Return from when to when a cluster's first pictures are decoded and not shown; None if all are shown."""
        videos = [frame for frame in frames if self._tracks[frame.track].track.kind == VIDEO]
        hidden = [frame.time_ms for frame in videos if frame.is_invisible]
        if not hidden:
            return None
        shown = [frame.time_ms for frame in videos if not frame.is_invisible]
        return min(hidden) - self._zero_ms, (min(shown) if shown else max(hidden)) - self._zero_ms

    def _put(self, head: bytes, blocks: _Bytes, old: list[_Written]) -> int:
        """Write a cluster over the first earlier version in which it fits, else at the end; blot the others out."""
        position = None
        for written in old:
            left = written.size - len(head) - len(blocks)
            fits = position is None and (left == 0 or left >= VOID_SIZE_MIN)
            self.file.seek(written.position)
            self.file.write(head + blocks + (_void(left) if left else b"") if fits else _void(written.size))
            position = written.position if fits else position
        self.file.seek(0, io.SEEK_END)
        if position is None:
            position = self.file.tell()
            self.file.write(head)
            self.file.write(blocks)
        return position

    def _chapters(self) -> bytes:
        """Return an edition that plays only what is shown, where something is hidden (RFC 9559, section 20). Players
        that know ordered editions leave the rest out; all others show the hidden pictures too."""
        hidden = self._hidden_spans()
        if not hidden:
            return b""
        edges = [0, *(edge for span in hidden for edge in span), self.duration_ms]
        atoms = b"".join(
            _element(
                CHAPTER_ATOM,
                _element(CHAPTER_UID, _uint(place + 1))
                + _element(CHAPTER_START, _uint(begin * NS_PER_MS))
                + _element(CHAPTER_END, _uint(end * NS_PER_MS)),
            )
            for place, (begin, end) in enumerate(zip(edges[::2], edges[1::2]))
            if end > begin
        )
        flags = _element(EDITION_DEFAULT, b"\1") + _element(EDITION_ORDERED, b"\1")
        return _element(Id.CHAPTERS, _element(EDITION_ENTRY, flags + atoms)) if atoms else b""

    def _hidden_spans(self) -> list[tuple[int, int]]:
        return sorted(written.hidden for same in self._clusters.values() for written in same if written.hidden)

    def _cues(self) -> bytes:
        points = sorted(
            (*written.cue, written.position)
            for same in self._clusters.values()
            for written in same
            if written.cue is not None and written.cue[0] >= 0
        )
        body = b"".join(
            _element(
                CUE_POINT,
                _element(CUE_TIME, _uint(time))
                + _element(
                    CUE_TRACK_POSITIONS,
                    _element(CUE_TRACK, _uint(track)) + _element(CUE_CLUSTER, _uint(place - self._segment)),
                ),
            )
            for time, track, place in points
        )
        return _element(Id.CUES, body) if points else b""

    def _seek_head(self) -> bytes:
        entries = b"".join(
            _element(
                SEEK,
                _element(SEEK_ID, _id(ident)) + _element(SEEK_POSITION, struct.pack(">Q", place - self._segment)),
            )
            for ident, place in self._places.items()
        )
        head = _element(Id.SEEK_HEAD, entries)
        return head if len(head) == SEEK_HEAD_SIZE else head + _void(SEEK_HEAD_SIZE - len(head))


def track_entries(header: bytes) -> dict[int, bytes]:
    """Return the payload of each TrackEntry by its number, from the bytes between Segment and the first Cluster.

    The entries are kept as bytes, because they say more than is read here (colours, delays, output rates).
    """
    position = 0
    while (head := parse_head(header, position, position)) is not None:
        end = position + head.width + head.size
        if head.id == Id.TRACKS:
            entries = [
                child.body for child in children(header[position + head.width : end], 0) if child.id == Id.TRACK_ENTRY
            ]
            return {_number(entry): entry for entry in entries}
        position = end
    return {}


def _number(entry: bytes) -> int:
    """Return the TrackNumber in a TrackEntry's payload; the reader has checked that it is there."""
    return next(int.from_bytes(child.body, "big") for child in children(entry, 0) if child.id == Id.TRACK_NUMBER)


def _with_number(entry: bytes, number: int) -> bytes:
    """Return a TrackEntry's payload with another TrackNumber."""
    kept = [(child.id, child.body) for child in children(entry, 0)]
    return b"".join(_element(ident, _uint(number) if ident == Id.TRACK_NUMBER else body) for ident, body in kept)


def _is_like(one: Track, other: Track) -> bool:
    """Tell whether two tracks can share one TrackEntry: a decoder that was set up for one can go on with the other."""
    sound = (one.sampling_frequency, one.channels, one.bit_depth) == (
        other.sampling_frequency, other.channels, other.bit_depth,
    )  # fmt: skip
    codec = (one.kind, one.codec_id, one.codec_private) == (other.kind, other.codec_id, other.codec_private)
    return codec and (sound or one.kind != AUDIO)


def _frame_ns(track: Track, data: _Bytes) -> int:
    """Return how long an audio frame sounds, exactly, or 0 where that takes more than its codec's fixed numbers."""
    private = track.codec_private
    if track.codec_id == "A_AAC" and track.sampling_frequency > 0:
        is_short = len(private) > 1 and private[0] >> 3 != 31 and bool(private[1] & 4)
        return round((AAC_SHORT_SAMPLES if is_short else AAC_SAMPLES) * 1_000_000_000 / track.sampling_frequency)
    if track.codec_id == "A_MS/ACM" and len(private) >= 16:
        bytes_per_second = int.from_bytes(private[4:8], "little") * max(1, int.from_bytes(private[2:4], "little"))
        return len(data) * 1_000_000_000 // bytes_per_second if bytes_per_second else 0
    if track.codec_id.startswith("A_PCM/") and track.bit_depth and track.sampling_frequency > 0:
        return round(len(data) * 8_000_000_000 / (track.bit_depth * max(1, track.channels) * track.sampling_frequency))
    return 0


def _block(frame: MkvFrame, cluster_ms: int) -> list[_Bytes]:
    """Return a SimpleBlock, or a BlockGroup where something must be said that a SimpleBlock cannot."""
    relative = frame.time_ms - cluster_ms
    if not RELATIVE_MIN <= relative <= RELATIVE_MAX:
        raise MkvError(f"a frame lies {relative} ms from its cluster, and 32767 ms are the limit")
    track = _size(frame.track, None)
    if frame.padding_ns == 0 or (not frame.is_key_frame and frame.padding_ns > 0):
        flags = frame.flags | frame.is_key_frame * KEY_FLAG | frame.is_discardable * DISCARDABLE_FLAG
        size = _size(len(track) + BLOCK_LEAD.size + len(frame.data), None)
        return [SIMPLE_BLOCK_ID + size + track + BLOCK_LEAD.pack(relative, flags), frame.data]
    block = _element(Id.BLOCK, track + BLOCK_LEAD.pack(relative, frame.flags) + frame.data)
    return [_element(Id.BLOCK_GROUP, block + _element(Id.DISCARD_PADDING, struct.pack(">q", frame.padding_ns)))]


def _ebml_head() -> bytes:
    body = _element(EBML_VERSION, b"\1") + _element(Id.EBML_READ_VERSION, b"\1")
    body += _element(Id.EBML_ID_MAX, b"\4") + _element(Id.EBML_SIZE_MAX, b"\x08")
    body += _element(Id.DOC_TYPE, b"matroska") + _element(DOC_TYPE_VERSION, b"\4")
    return _element(Id.EBML, body + _element(DOC_TYPE_READ_VERSION, b"\2"))


def _id(ident: int) -> bytes:
    return ident.to_bytes((ident.bit_length() + 7) // 8, "big")


def _size(value: int, width: int | None) -> bytes:
    """Return an EBML number in ``width`` bytes, or in the fewest that hold it (the all-ones value is reserved)."""
    if width is None:
        width = ((value + 1).bit_length() + 6) // 7
    return (value | 1 << 7 * width).to_bytes(width, "big")


def _uint(value: int) -> bytes:
    return value.to_bytes(max(1, (value.bit_length() + 7) // 8), "big")


def _element(ident: int, body: bytes) -> bytes:
    return _id(ident) + _size(len(body), None) + body


def _void(size: int) -> bytes:
    """Return a Void element of a size in all, 2 or more; above 127 its size field takes 8 bytes."""
    if size < 128:
        return _id(Id.VOID) + _size(size - 2, 1) + bytes(size - 2)
    return _id(Id.VOID) + _size(size - 9, 8) + bytes(size - 9)
