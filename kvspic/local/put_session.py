"""One PutMedia session: bytes and time in, effects out. Pure; all decisions of the service about a body are here.

Phases    STREAMING --end of body--> DRAINING --all PERSISTED--> CLOSED
          any --ERROR ACK, idle limit, cut body--> CLOSED
Fragment  opens when its Cluster's Timestamp is read (BUFFERING); is whole when the next Cluster starts, at the
          end-of-fragment tag or at the end of the body (RECEIVED); is PERSISTED when the owner says that it is durable.
          A real service waits for the same three, so a producer that waits for an ACK must send the tag.
After CLOSED every call returns nothing. Fragments that were whole before an ERROR stay stored, unacknowledged.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum

from kvspic.local.acks import Ack, AckError
from kvspic.local.mkv_events import (
    VIDEO,
    Block,
    ClusterEnd,
    ClusterStart,
    DocumentStart,
    Event,
    Header,
    Problem,
    SimpleTag,
    Tags,
    ends_fragment,
)
from kvspic.local.mkv_reader import UPLOAD_LIMITS, MkvReader
from kvspic.local.quotas import Beyond
from kvspic.local.records import (
    CloseSession,
    Effect,
    FragmentRecord,
    HeaderRecord,
    KeepFragment,
    KeepHeader,
    SendAck,
)
from kvspic.local.settings import Settings
from kvspic.local.streams import StreamRecord
from kvspic.units import HNS_PER_MS, HNS_PER_S

__all__ = ["Phase", "PutSession", "SessionStart"]

_EVENT_NAMES = ("AWS_KINESISVIDEO_NOTIFICATION", "AWS_KINESISVIDEO_IMAGE_GENERATION")
_OWN_NAMES = frozenset({*_EVENT_NAMES, "AWS_KINESISVIDEO_IMAGE_PREFIX"})
_TAG_NAME_MAX, _TAG_VALUE_MAX = 128, 256
_ROUNDED_HNS = 10 * HNS_PER_MS  # times are rounded to the timecode scale: a fragment may look that much shorter
_PRODUCER_MAX_HNS = 253_402_300_800 * HNS_PER_S  # the year 10000: later times cannot be meant


class Phase(Enum):
    """See the top of the file."""

    STREAMING = "streaming"
    DRAINING = "draining"
    CLOSED = "closed"


@dataclass(frozen=True)
class SessionStart:
    """What the request head said, and what the session asks of the service.

    Attributes:
        next_number: gives fragment numbers.
        is_stream_gone: whether the stream was deleted.
        key_trouble: what is wrong with the stream's KMS key, None for nothing.
        early_hns: counts a fragment that begins now; returns by how much it is too early for the quota.
    """

    stream: StreamRecord
    is_absolute: bool
    start_hns: int
    next_number: Callable[[int], str]
    is_stream_gone: Callable[[], bool]
    key_trouble: Callable[[], AckError | None]
    early_hns: Callable[[int], int]


@dataclass
class _Open:
    """The fragment that is coming in."""

    number: str
    timecode: int
    producer_hns: int
    server_hns: int
    offset: int
    tags: tuple[tuple[int, int], ...]
    is_dropped: bool = False
    """Silently: it earns no ACK any more and is not stored."""
    end_offset: int | None = None
    first: int | None = None
    last: int = 0
    block_duration: int = 0
    block_counts: dict[int, int] = field(default_factory=dict)

    def add(self, block: Block) -> int:
        """Count a block in; return the span then."""
        time, track = block.timecode, block.track
        if self.first is None:
            self.first = self.last = time
        elif time > self.last:
            self.last = time
        elif time < self.first:
            self.first = time
        if block.duration:
            self.block_duration = block.duration
        self.block_counts[track] = self.block_counts.get(track, 0) + 1
        return self.last - self.first

    @property
    def span(self) -> int:
        return 0 if self.first is None else self.last - self.first

    @property
    def duration(self) -> int:
        """The span and one frame more: the written duration, else the mean distance of the busiest track."""
        steps = max(self.block_counts.values(), default=1) - 1
        return self.span + (self.block_duration or (round(self.span / steps) if steps else 0))


class _Refused(Exception):
    """The body breaks a rule; becomes the ERROR ACK."""

    def __init__(self, error: AckError) -> None:
        super().__init__(error.name)
        self.error = error


class PutSession:
    """The service's side of one PutMedia call. Apply the returned effects in order."""

    def __init__(self, start: SessionStart, settings: Settings, now_hns: int) -> None:
        self._start = start
        self._settings = settings
        self._reader = MkvReader(limits=UPLOAD_LIMITS)
        self._elements_before = 0  # the open fragment
        self._phase = Phase.STREAMING
        self._now_hns = now_hns
        self._opened_hns = now_hns
        self._data_hns = now_hns
        self._idle_acks = 0
        self._ebml_size = 0
        self._header: Header | None = None
        self._scale_ns = 1_000_000
        self._track_numbers: frozenset[int] = frozenset()
        self._counted: frozenset[int] = frozenset()  # tracks of which a fragment's frames are counted
        self._open: _Open | None = None
        self._next_tags: list[Tags] = []
        self._previous_timecode = -1
        self._latest: int | None = None
        self._awaited: dict[str, Ack] = {}  # RECEIVED, not yet durable
        self._due: deque[tuple[int, Ack]] = deque()  # durable, the delay of `persist_delay_hns` runs
        self._effects: list[Effect] = []
        self.resume_hns = now_hns
        """The owner reads no more of the body before this time: the producer is slowed down."""
        self._paid_hns = now_hns  # when the bytes so far would have come at the rate of the quota
        self.breaches: dict[str, int] = {}
        """How often the producer went beyond which quota, in words."""

    @property
    def phase(self) -> Phase:
        """Where the session stands."""
        return self._phase

    @property
    def stream(self) -> StreamRecord:
        """The stream it writes to."""
        return self._start.stream

    @property
    def deadline_hns(self) -> int | None:
        """When :meth:`tick` has something to do, or None."""
        if self._phase is Phase.CLOSED:
            return None
        deadlines = [self._due[0][0]] if self._due else []
        if self._phase is Phase.STREAMING:
            idle = self._quiet_since_hns + (self._idle_acks + 1) * self._settings.idle_interval_hns
            deadlines += [idle, self._quiet_since_hns + self._settings.idle_max_hns]
            deadlines.append(self._opened_hns + self._settings.session_age_max_hns)
        return min(deadlines, default=None)

    @property
    def _quiet_since_hns(self) -> int:
        """A producer that is not read is not quiet."""
        return max(self._data_hns, self.resume_hns)

    def feed(self, data: bytes | bytearray | memoryview, now_hns: int) -> list[Effect]:
        """Take the next bytes of the body."""
        return self._guarded(self._feed, data, now_hns)

    def end_of_body(self, now_hns: int) -> list[Effect]:
        """The producer ended the body as it should."""
        return self._guarded(self._end_of_body, b"", now_hns)

    def tick(self, now_hns: int) -> list[Effect]:
        """Do what time asks for: delayed ACKs, IDLE, the idle limit, the age limit, a deleted stream."""
        return self._guarded(self._tick, b"", now_hns)

    def cut(self) -> list[Effect]:
        """The connection broke: whole fragments stay, the open one is dropped, no ACK can be sent."""
        self._phase = Phase.CLOSED
        return []

    def stored(self, number: str, now_hns: int) -> list[Effect]:
        """The fragment is durable."""
        if self._phase is Phase.CLOSED:
            return []
        self._now_hns, self._effects = now_hns, []
        ack = self._awaited.pop(number, None)
        if ack is not None:
            self._due.append((now_hns + self._settings.persist_delay_hns, ack))
        self._send_due()
        return self._effects

    def store_failed(self, number: str, now_hns: int) -> list[Effect]:
        """The fragment could not be stored: ERROR 5001."""
        if self._phase is Phase.CLOSED:
            return []
        self._effects = []
        ack = self._awaited.pop(number, None)
        self._error(AckError.ARCHIVAL_ERROR, ack.timecode if ack else None, number)
        return self._effects

    def _guarded(
        self, act: Callable[[bytes | bytearray | memoryview], None], data: bytes | bytearray | memoryview, now_hns: int
    ) -> list[Effect]:
        if self._phase is Phase.CLOSED:
            return []
        self._now_hns, self._effects = now_hns, []
        try:
            if self._start.is_stream_gone():
                raise _Refused(AckError.STREAM_NOT_ACTIVE)
            act(data)
        except _Refused as refused:
            fragment = self._open
            self._error(refused.error, fragment.timecode if fragment else None, fragment.number if fragment else None)
        return self._effects

    def _error(self, error: AckError, timecode: int | None, number: str | None) -> None:
        self._phase = Phase.CLOSED
        self._open = None
        self._effects += [SendAck(Ack("ERROR", timecode, number, error)), CloseSession(is_error=True)]

    def _feed(self, data: bytes | bytearray | memoryview) -> None:
        if self._phase is not Phase.STREAMING:
            raise AssertionError("bytes after the end of the body")
        self._data_hns, self._idle_acks = self._now_hns, 0
        for event in self._reader.feed(data):
            if type(event) is Block:  # nearly all
                self._take_block(event)
            else:
                self._take(event)
        self._check_sizes()
        self._check_bandwidth(len(data))

    def _check_bandwidth(self, size: int) -> None:
        rate = self._settings.quotas.bytes_per_s
        if not rate:
            return
        self._paid_hns = max(self._paid_hns, self._now_hns) + size * HNS_PER_S // rate
        early_hns = self._paid_hns - HNS_PER_S - self._now_hns  # a second's worth may come at once
        if early_hns > 0:
            self._slow_down(early_hns, f"{rate} bytes a second")

    def _slow_down(self, early_hns: int, quota: str) -> None:
        self.resume_hns = max(self.resume_hns, self._now_hns + early_hns)
        self.breaches[quota] = self.breaches.get(quota, 0) + 1

    def read_in_slices(self, elements: int) -> None:
        """Look at so many elements in a feed at most: while :attr:`has_more` is true, ``feed(b"")`` goes on."""
        self._reader.slice_max = elements

    @property
    def has_more(self) -> bool:
        """Whether bytes were fed that were not looked at yet."""
        return self._reader.has_more and self._phase is not Phase.CLOSED

    def _check_sizes(self) -> None:
        if self._reader.elements - self._elements_before > self._settings.elements_max:
            raise _Refused(AckError.INVALID_MKV_DATA)
        if self._open is not None:
            fed = self._reader.position if self._reader.has_more else self._reader.offset
            end = fed if self._open.end_offset is None else self._open.end_offset
            if end - self._open.offset > self._settings.fragment_size_max:
                raise _Refused(AckError.MAX_FRAGMENT_SIZE_REACHED)
        elif self._header is None and self._reader.offset > self._settings.header_size_max:
            raise _Refused(AckError.INVALID_MKV_DATA)

    def _end_of_body(self, _: bytes | bytearray | memoryview) -> None:
        for event in self._reader.close():
            self._take(event)
        self._finish_fragment()
        self._phase = Phase.DRAINING
        self._send_due()

    def _tick(self, _: bytes | bytearray | memoryview) -> None:
        self._send_due()
        if self._phase is not Phase.STREAMING:
            return
        if self._now_hns >= self._opened_hns + self._settings.session_age_max_hns:
            raise _Refused(AckError.MAX_CONNECTION_DURATION_REACHED)
        quiet_hns = self._now_hns - self._quiet_since_hns
        if quiet_hns >= self._settings.idle_max_hns:
            self._phase = Phase.CLOSED
            self._effects.append(CloseSession(is_error=False))
        elif quiet_hns >= (self._idle_acks + 1) * self._settings.idle_interval_hns:
            self._idle_acks = quiet_hns // self._settings.idle_interval_hns
            self._effects.append(SendAck(Ack("IDLE")))

    def _send_due(self) -> None:
        while self._due and self._due[0][0] <= self._now_hns:
            self._effects.append(SendAck(self._due.popleft()[1]))
        if self._phase is Phase.DRAINING and not self._due and not self._awaited:
            self._phase = Phase.CLOSED
            self._effects.append(CloseSession(is_error=False))

    # What the reader saw.

    def _take(self, event: Event) -> None:
        if isinstance(event, ClusterStart):
            self._take_cluster(event)
        elif isinstance(event, ClusterEnd):
            if self._open is not None:
                self._open.end_offset = event.end_offset
        elif isinstance(event, Tags):
            self._take_tags(event)
        elif isinstance(event, Header):
            self._take_header(event)
        elif isinstance(event, DocumentStart):
            if self._ebml_size:
                raise _Refused(AckError.INVALID_MKV_DATA)
            self._ebml_size = event.end_offset
        elif isinstance(event, Block):
            self._take_block(event)
        elif isinstance(event, Problem):
            raise _Refused(AckError.INVALID_MKV_DATA)

    def _take_header(self, header: Header) -> None:
        if not header.tracks or header.end_offset > self._settings.header_size_max:
            raise _Refused(AckError.INVALID_MKV_DATA)
        if len(header.tracks) > self._settings.tracks_max:
            raise _Refused(AckError.MORE_THAN_ALLOWED_TRACKS_FOUND)
        self._header, self._scale_ns = header, header.timestamp_scale_ns
        self._track_numbers = frozenset(track.number for track in header.tracks)
        video = frozenset(track.number for track in header.tracks if track.kind == VIDEO)
        self._counted = video or self._track_numbers
        kept = HeaderRecord(self._ebml_size, header.segment_offset, header.end_offset)
        self._effects.append(KeepHeader(kept))

    def _take_tags(self, tags: Tags) -> None:
        if ends_fragment(tags):
            self._finish_fragment()
        elif len(self._next_tags) <= 4 * self._settings.tags_max:
            self._next_tags.append(tags)  # more than that is refused at the Cluster anyway

    def _take_cluster(self, cluster: ClusterStart) -> None:
        self._finish_fragment(cluster.timecode)
        self._elements_before = self._reader.elements
        producer_hns = self._producer_hns(cluster.timecode)
        tags, self._next_tags = self._next_tags, []
        self._open = _Open(
            number=self._start.next_number(self._now_hns),
            timecode=cluster.timecode,
            producer_hns=producer_hns,
            server_hns=self._now_hns,
            offset=cluster.offset,
            tags=tuple((tag.offset, tag.end_offset - tag.offset) for tag in tags),
        )
        if producer_hns > _PRODUCER_MAX_HNS:
            raise _Refused(AckError.INVALID_PRODUCER_TIMESTAMP)
        if cluster.timecode <= self._previous_timecode:
            raise _Refused(AckError.FRAGMENT_TIMECODE_LESSER_THAN_PREVIOUS)
        self._check_tags(tags)
        self._previous_timecode = cluster.timecode
        early_hns = self._start.early_hns(self._now_hns)
        if early_hns:
            quota = f"{self._settings.quotas.fragments_per_s} fragments a second"
            self._go_beyond(self._open, early_hns, quota, AckError.INTERNAL_ERROR)
        if not self._may_leave_out:
            self._ack_fragment("BUFFERING")

    @property
    def _may_leave_out(self) -> bool:
        """Whether a fragment gets no ACK at all if it is short, so that its first one waits until it is whole."""
        quotas = self._settings.quotas
        return quotas.beyond is Beyond.DROP and quotas.fragment_duration_min_hns > 0

    def _go_beyond(self, fragment: _Open, early_hns: int, quota: str, error: AckError) -> None:
        """Do to a fragment beyond a quota what is set."""
        beyond = self._settings.quotas.beyond
        if beyond is Beyond.SLOW:
            self._slow_down(early_hns, quota)
            return
        self.breaches[quota] = self.breaches.get(quota, 0) + 1
        if beyond is Beyond.REFUSE:
            raise _Refused(error)
        fragment.is_dropped = True

    def _producer_hns(self, timecode: int) -> int:
        produced = self._scaled(timecode)
        return produced if self._start.is_absolute else produced + self._start.start_hns

    def _scaled(self, timecode: int) -> int:
        return timecode * self._scale_ns // 100

    def _check_tags(self, found: list[Tags]) -> None:
        """At most ten tags of the producer's own a fragment; each event may bring ten pairs of its own."""
        plain = 0
        for tags in found:
            groups: dict[int, list[SimpleTag]] = {}
            for tag in tags.tags:
                groups.setdefault(tag.group, []).append(tag)
            for group in groups.values():
                custom = sum(_is_custom(tag) for tag in group)
                is_event = any(tag.name in _EVENT_NAMES for tag in group)
                plain += 0 if is_event else custom
                if is_event and custom > self._settings.tags_max:
                    raise _Refused(AckError.FRAGMENT_METADATA_LIMIT_REACHED)
        if plain > self._settings.tags_max or len(found) > 4 * self._settings.tags_max:
            raise _Refused(AckError.FRAGMENT_METADATA_LIMIT_REACHED)

    def _take_block(self, block: Block) -> None:
        fragment = self._open
        if fragment is None:
            raise AssertionError("the reader gave a block outside a Cluster")
        if block.track not in self._track_numbers:
            raise _Refused(AckError.TRACK_NUMBER_MISMATCH)
        if self._latest is not None and block.timecode <= self._latest:
            raise _Refused(AckError.FRAGMENT_TIMECODE_LESSER_THAN_PREVIOUS)
        if fragment.add(block) * self._scale_ns // 100 > self._settings.fragment_duration_max_hns:
            raise _Refused(AckError.MAX_FRAGMENT_DURATION_REACHED)

    def _finish_fragment(self, next_timecode: int | None = None) -> None:
        """The open fragment is whole: check it, acknowledge it, hand it to the store."""
        fragment = self._open
        if fragment is None or fragment.end_offset is None:
            return
        self._check_sizes()
        if self._track_numbers - set(fragment.block_counts):
            raise _Refused(AckError.FRAMES_MISSING_FOR_TRACK)
        self._latest = fragment.last if self._latest is None else max(self._latest, fragment.last)
        self._check_length(fragment, next_timecode)
        trouble = self._start.key_trouble()
        if trouble is not None:
            raise _Refused(trouble)
        if fragment.is_dropped:
            self._open = None
            return
        if self._may_leave_out:
            self._ack_fragment("BUFFERING")
        self._ack_fragment("RECEIVED")
        if self.stream.retention_hours > 0:
            self._awaited[fragment.number] = Ack("PERSISTED", fragment.timecode, fragment.number)
        frames = max(fragment.block_counts[number] for number in self._counted)
        self._effects.append(KeepFragment(self._record(fragment, fragment.end_offset), frames))
        self._open = None

    def _check_length(self, fragment: _Open, next_timecode: int | None) -> None:
        """A fragment lasts until the next one; of one whose next is unknown the frames say how long it is."""
        ticks = fragment.duration if next_timecode is None else next_timecode - fragment.timecode
        missing_hns = self._settings.quotas.fragment_duration_min_hns - self._scaled(ticks)
        if missing_hns > _ROUNDED_HNS and (next_timecode is not None or ticks):
            self._go_beyond(fragment, missing_hns, "fragments of a second", AckError.MIN_FRAGMENT_DURATION_REACHED)

    def _record(self, fragment: _Open, end_offset: int) -> FragmentRecord:
        return FragmentRecord(
            stream_id=self.stream.stream_id,
            number=fragment.number,
            timecode=fragment.timecode,
            producer_hns=fragment.producer_hns,
            server_hns=fragment.server_hns,
            duration_hns=self._scaled(fragment.duration) // HNS_PER_MS * HNS_PER_MS,
            offset=fragment.offset,
            size=end_offset - fragment.offset,
            tags=fragment.tags,
        )

    def _ack_fragment(self, event: str) -> None:
        if self._open is not None and not self._open.is_dropped:
            self._effects.append(SendAck(Ack(event, self._open.timecode, self._open.number)))


def _is_custom(tag: SimpleTag) -> bool:
    """Whether the tag counts as the producer's own; a name or value that may not be is refused."""
    if tag.name in _OWN_NAMES:
        return False
    sizes_fit = 1 <= len(tag.name.encode()) <= _TAG_NAME_MAX and len(tag.value.encode()) <= _TAG_VALUE_MAX
    if not sizes_fit or tag.name.upper().startswith("AWS"):
        raise _Refused(AckError.FRAGMENT_METADATA_LIMIT_REACHED)
    return True
