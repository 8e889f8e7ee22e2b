"""What is in a media file: tracks, clusters, blocks, times, and what is wrong with them; as data and as plain text.

Matroska is read element by element and judged as the service would judge it: :class:`Finding` names each thing that a
PutMedia upload would be refused for, or that players stumble over. Anything else that PyAV can read is described by its
tracks and frames. Memory is bounded by the number of clusters, or of blocks if they are asked for.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from kvspic.codec_table import CODECS
from kvspic.local.mkv_events import Block, ClusterEnd, ClusterStart, DocumentStart, Event, Header, Problem, Tags, Track
from kvspic.local.mkv_reader import MkvReader
from kvspic.sources import Source, SourceError, open_source
from kvspic.sources.sniff import SNIFF_SIZE, sniff
from kvspic.units import NS_PER_MS

__all__ = ["BlockInfo", "ClusterInfo", "Finding", "Inspection", "TrackInfo", "inspect_bytes", "inspect_file", "render"]

CHUNK_SIZE = 1 << 20
FINDINGS_MAX = 100
KINDS = {1: "video", 2: "audio", 17: "subtitle"}
VIDEO = 1

# Limits of PutMedia: AWS developer guide, "Amazon Kinesis Video Streams service quotas".
TRACKS_MAX = 3
FRAGMENT_MS_MAX = 20_000
FRAGMENT_SIZE_MAX = 50_000_000
NEEDS_PRIVATE = frozenset(codec.codec_id for codec in CODECS.values() if codec.needs_private)
HAS_NAL_UNITS = (CODECS["h264"].codec_id, CODECS["hevc"].codec_id)


@dataclass(frozen=True)
class TrackInfo:
    """A track. ``first_ms`` and ``last_ms`` are the least and the greatest time of its frames; None if it has none."""

    number: int
    kind: str
    codec_id: str
    name: str
    private_size: int
    detail: str
    frames: int
    key_frames: int
    payload_size: int
    first_ms: int | None
    last_ms: int | None


@dataclass(frozen=True)
class BlockInfo:
    """A block: where it lies, whose it is, when it is shown."""

    offset: int
    track: int
    time_ms: int
    size: int
    is_key_frame: bool


@dataclass(frozen=True)
class ClusterInfo:
    """A cluster, which the service calls a fragment. ``span_ms`` is from its least block time to its greatest."""

    offset: int
    size: int
    time_ms: int
    span_ms: int
    frames: dict[int, int]  # by track
    is_key_first: bool
    blocks: tuple[BlockInfo, ...] = ()


@dataclass(frozen=True)
class Finding:
    """Something wrong, in one sentence; ``offset`` is the byte where it shows, None for the whole file."""

    offset: int | None
    text: str


@dataclass(frozen=True)
class Inspection:
    """All that was found. ``form`` is ``matroska`` or the word for another container; that has no clusters."""

    form: str
    size: int
    documents: int
    tracks: tuple[TrackInfo, ...]
    clusters: tuple[ClusterInfo, ...]
    tags: tuple[tuple[str, str], ...]
    findings: tuple[Finding, ...]

    @property
    def frames(self) -> int:
        """Frames of all tracks."""
        return sum(track.frames for track in self.tracks)


def inspect_file(path: Path, *, with_blocks: bool = False) -> Inspection:
    """Read a file through and describe it.

    Raises:
        SourceError: it is missing, unreadable, or no media.
    """
    try:
        with path.open("rb") as file:
            if sniff(file.read(SNIFF_SIZE)) == "matroska":
                file.seek(0)
                return inspect_bytes(iter(lambda: file.read(CHUNK_SIZE), b""), with_blocks=with_blocks)
    except OSError:
        pass  # open_source has the words for it
    with open_source(path) as source:
        return _inspect_source(source, path.stat().st_size)


def inspect_bytes(chunks: Iterable[bytes], *, with_blocks: bool = False) -> Inspection:
    """Describe Matroska that comes in pieces, cut anywhere; several documents may follow each other."""
    reader = MkvReader(keep_payload=True)
    collector = _Collector(with_blocks)
    size = 0
    for chunk in chunks:
        size += len(chunk)
        for event in reader.feed(chunk):
            collector.take(event)
    for event in reader.close():
        collector.take(event)
    return collector.result(size)


def render(inspection: Inspection) -> str:
    """Return the description as plain text, ending with the problems, or with the word that there are none."""
    return "\n".join(_lines(inspection)) + "\n"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _lines(inspection: Inspection) -> Iterator[str]:
    documents = f", {inspection.documents} documents" if inspection.documents > 1 else ""
    yield (
        f"{inspection.form}, {inspection.size} bytes{documents}, {_count(len(inspection.tracks), 'track')}, "
        f"{_count(len(inspection.clusters), 'cluster')}, {_count(inspection.frames, 'frame')}"
    )
    yield "Tracks"
    for track in inspection.tracks:
        yield f"  {track.number} {track.kind} {track.codec_id} {track.detail}".rstrip()
        times = "" if track.first_ms is None else f", {_seconds(track.first_ms)} to {_seconds(track.last_ms or 0)} s"
        yield (
            f"    {track.frames} frames ({track.key_frames} key), {track.payload_size} bytes{times}, "
            f"codec private data {track.private_size} bytes"
        )
    if inspection.clusters:
        yield "Clusters"
    for number, cluster in enumerate(inspection.clusters, start=1):
        counts = " ".join(f"{track}:{count}" for track, count in sorted(cluster.frames.items()))
        yield (
            f"  {number} at {cluster.offset}: {cluster.size} bytes, time {_seconds(cluster.time_ms)} s, "
            f"span {cluster.span_ms} ms, frames {counts}, {'key' if cluster.is_key_first else 'no key'} frame first"
        )
        for block in cluster.blocks:
            key = " key" if block.is_key_frame else ""
            times = f"{_seconds(block.time_ms)} s"
            yield f"    block at {block.offset}: track {block.track}, {times}, {block.size} bytes{key}"
    if inspection.tags:
        yield "Tags"
    yield from (f"  {name} = {value}" for name, value in inspection.tags)
    yield "Problems" if inspection.findings else "Problems: none"
    for finding in inspection.findings:
        yield f"  {finding.text}" + (f" (offset {finding.offset})" if finding.offset is not None else "")


def _seconds(time_ms: int) -> str:
    sign = "-" if time_ms < 0 else ""
    return f"{sign}{abs(time_ms) // 1000}.{abs(time_ms) % 1000:03}"


@dataclass
class _Sum:
    """What is added up for one track."""

    track: Track
    frames: int = 0
    key_frames: int = 0
    payload_size: int = 0
    first_ms: int | None = None
    last_ms: int | None = None

    def add(self, time_ms: int, size: int, is_key_frame: bool) -> None:
        """Count a frame."""
        self.frames += 1
        self.key_frames += is_key_frame
        self.payload_size += size
        self.first_ms = time_ms if self.first_ms is None else min(self.first_ms, time_ms)
        self.last_ms = time_ms if self.last_ms is None else max(self.last_ms, time_ms)

    def info(self, detail: str) -> TrackInfo:
        """Return what is known."""
        track = self.track
        return TrackInfo(
            track.number,
            KINDS.get(track.kind, f"type {track.kind}"),
            track.codec_id,
            track.name,
            len(track.codec_private),
            detail,
            self.frames,
            self.key_frames,
            self.payload_size,
            self.first_ms,
            self.last_ms,
        )


@dataclass
class _Open:
    """The cluster being read."""

    start: ClusterStart
    blocks: list[BlockInfo] = field(default_factory=list)


class _Collector:
    """Turns the reader's events into an :class:`Inspection`."""

    def __init__(self, with_blocks: bool) -> None:
        self._with_blocks = with_blocks
        self._documents = 0
        self._scale_ns = NS_PER_MS
        self._tracks: dict[int, Track] = {}
        self._sums: dict[int, _Sum] = {}
        self._clusters: list[ClusterInfo] = []
        self._open: _Open | None = None
        self._tags: dict[tuple[str, str], None] = {}
        self._findings: list[Finding] = []
        self._checked: set[int] = set()
        self._last_ms: int | None = None

    def take(self, event: Event) -> None:
        """Take the reader's next event."""
        if isinstance(event, Block):
            self._take_block(event)
        elif isinstance(event, ClusterStart):
            self._open = _Open(event)
        elif isinstance(event, ClusterEnd):
            self._end_cluster(event)
        elif isinstance(event, Header):
            self._take_header(event)
        elif isinstance(event, Tags):
            self._tags.update(dict.fromkeys((tag.name, tag.value) for tag in event.tags))
        elif isinstance(event, DocumentStart):
            self._documents += 1
        elif isinstance(event, Problem):
            self._find(event.offset, f"The rest cannot be read: {event.kind.value}.")

    def result(self, size: int) -> Inspection:
        """Return everything, once the bytes are over."""
        if self._documents > 1:
            text = f"{self._documents} documents follow each other; most players read only the first."
            self._findings.insert(0, Finding(None, text))
        for number, summed in self._sums.items():
            if summed.frames == 0:
                self._find(None, f"Track {number} has no frame.")
        if not self._clusters:
            self._find(None, "There is no cluster, so there is no media.")
        tracks = tuple(summed.info(_detail(summed.track)) for summed in self._sums.values())
        findings = tuple(self._findings[:FINDINGS_MAX])
        return Inspection("matroska", size, self._documents, tracks, tuple(self._clusters), tuple(self._tags), findings)

    def _find(self, offset: int | None, text: str) -> None:
        if len(self._findings) < FINDINGS_MAX:
            self._findings.append(Finding(offset, text))

    def _ms(self, timecode: int) -> int:
        return timecode * self._scale_ns // NS_PER_MS

    def _take_header(self, header: Header) -> None:
        self._scale_ns = header.timestamp_scale_ns
        self._tracks = {track.number: track for track in header.tracks}
        is_first = self._documents <= 1
        if is_first and len(header.tracks) > TRACKS_MAX:
            self._find(header.segment_offset, f"There are {len(header.tracks)} tracks; PutMedia takes {TRACKS_MAX}.")
        for track in header.tracks:
            known = self._sums.setdefault(track.number, _Sum(track))
            if (known.track.codec_id, known.track.codec_private) != (track.codec_id, track.codec_private):
                self._find(
                    header.segment_offset, f"The codec or codec private data of track {track.number} changes here."
                )
                known.track = track
                self._checked.discard(track.number)
            if is_first and track.codec_id in NEEDS_PRIVATE and not track.codec_private:
                self._find(header.segment_offset, f"Track {track.number} ({track.codec_id}) has no codec private data.")

    def _take_block(self, block: Block) -> None:
        time_ms = self._ms(block.timecode)
        if self._open is not None:
            self._open.blocks.append(
                BlockInfo(block.offset, block.track, time_ms, block.payload_size, block.is_key_frame)
            )
        track = self._tracks.get(block.track)
        if track is None:
            self._find(block.offset, f"A block names track {block.track}, which Tracks does not describe.")
            return
        self._sums[block.track].add(time_ms, block.payload_size, block.is_key_frame)
        if block.payload_size == 0:
            self._find(block.offset, f"A block of track {block.track} is empty.")
        if track.codec_id in HAS_NAL_UNITS and block.track not in self._checked and block.payload:
            self._checked.add(block.track)
            if not _is_length_prefixed(block.payload):
                self._find(
                    block.offset, f"The frames of track {block.track} are not length-prefixed; players need that."
                )

    def _end_cluster(self, event: ClusterEnd) -> None:
        opened, self._open = self._open, None
        if opened is None:
            return
        blocks = opened.blocks
        counts: dict[int, int] = {}
        for block in blocks:
            counts[block.track] = counts.get(block.track, 0) + 1
        pictures = [block for block in blocks if block.track in self._tracks and self._is_video(block.track)]
        first = (pictures or blocks)[:1]
        times = [block.time_ms for block in blocks] or [0]
        cluster = ClusterInfo(
            event.offset,
            event.end_offset - event.offset,
            self._ms(opened.start.timecode),
            max(times) - min(times),
            counts,
            bool(first) and first[0].is_key_frame,
            tuple(blocks) if self._with_blocks else (),
        )
        self._clusters.append(cluster)
        self._judge(cluster, bool(pictures))

    def _is_video(self, number: int) -> bool:
        return self._tracks[number].kind == VIDEO

    def _judge(self, cluster: ClusterInfo, has_video: bool) -> None:
        """Say what the service or a player would not like about a cluster."""
        if self._last_ms is not None and cluster.time_ms <= self._last_ms:
            self._find(cluster.offset, "A cluster is no later than the one before it (PutMedia error 4004).")
        self._last_ms = cluster.time_ms
        if not cluster.frames:
            self._find(cluster.offset, "A cluster has no block.")
            return
        for number in sorted(set(self._tracks) - set(cluster.frames)):
            self._find(cluster.offset, f"A cluster has no block of track {number} (PutMedia error 4011).")
        if has_video and not cluster.is_key_first:
            self._find(cluster.offset, "A cluster does not begin with a key frame, so it cannot be played alone.")
        if cluster.span_ms > FRAGMENT_MS_MAX:
            self._find(cluster.offset, f"A cluster is longer than {FRAGMENT_MS_MAX // 1000} s (PutMedia error 4002).")
        if cluster.size > FRAGMENT_SIZE_MAX:
            self._find(cluster.offset, f"A cluster is larger than {FRAGMENT_SIZE_MAX} bytes (PutMedia error 4001).")


def _detail(track: Track) -> str:
    """Return what a track's picture or sound is like."""
    if track.width:
        return f"{track.width}x{track.height}"
    if track.sampling_frequency:
        depth = f", {track.bit_depth} bits" if track.bit_depth else ""
        return f"{track.sampling_frequency:g} Hz, {track.channels or 1} channels{depth}"
    return ""


def _is_length_prefixed(data: bytes) -> bool:
    """Tell whether a frame is NAL units, each after its length in four bytes, and ends where the last one does."""
    place = 0
    while place + 4 <= len(data):
        place += 4 + int.from_bytes(data[place : place + 4], "big")
    return place == len(data)


def _inspect_source(source: Source, size: int) -> Inspection:
    """Describe a container other than Matroska by what PyAV gives out of it."""
    tracks = [
        Track(
            track.number,
            kind=1 if track.kind == "video" else 2,
            codec_id=track.codec_id,
            codec_private=track.codec_private or b"",
            name=track.name,
            width=track.width,
            height=track.height,
            sampling_frequency=float(track.sample_rate),
            channels=track.channels,
            bit_depth=track.bit_depth,
        )
        for track in source.tracks
    ]
    sums = {track.number: _Sum(track) for track in tracks}
    findings = []
    try:
        for frame in source.frames():
            sums[frame.track].add(frame.pts_ns // NS_PER_MS, memoryview(frame.data).nbytes, frame.key_frame)
    except SourceError as error:
        findings.append(Finding(None, str(error)))
    findings[:0] = [Finding(None, text) for text in source.notices]  # some come while frames are read
    infos = tuple(summed.info(_detail(summed.track)) for summed in sums.values())
    return Inspection(source.content_type, size, 0, infos, (), (), tuple(findings))
