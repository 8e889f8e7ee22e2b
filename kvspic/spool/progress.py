"""Which frames of a spool are settled, so that nothing sends them again. Pure.

Three things say so: the note on disk, the core's counts in the spool's numbers, the service's list of what it has.

Frames have numbers per track that never come back. The core counts those that it took; what was never given to it
(dropped on disk, damaged) is a gap between the two.
"""

from __future__ import annotations

import struct
import zlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from kvspic.spool.records import Record, RecordKind
from kvspic.units import NS_PER_MS

__all__ = [
    "NOTE_SIZE",
    "TRACKS_MAX",
    "FragmentSpan",
    "FragmentStarts",
    "StoredFragment",
    "TrackProgress",
    "as_stored",
    "latest_note",
    "pack_note",
    "spans",
    "stored_prefix",
    "whole_ends",
]

TRACKS_MAX = 3
_NOTE = struct.Struct("<4sQ3Q")
_CRC = struct.Struct("<I")
_NOTE_MAGIC = b"kSpN"
NOTE_SIZE = 64
ORDER_WINDOW_NS = 500_000_000  # how long the core holds a key frame for other tracks
SPARSE_KEY_GAP_NS = 2_000_000_000  # how far apart the core flags key frames where every frame is one


def pack_note(sequence: int, settled: Sequence[int]) -> bytes:
    """Return the note that ``settled`` frames of each track need not be sent again; the highest ``sequence`` counts.

    Two notes take turns in the file, so that one cut while it is written leaves the one before.
    """
    body = _NOTE.pack(_NOTE_MAGIC, sequence, *settled)
    return (body + _CRC.pack(zlib.crc32(body))).ljust(NOTE_SIZE, b"\0")


def latest_note(data: bytes) -> tuple[int, list[int]]:
    """Return sequence and counts of the newest whole note in the file; (0, []) when there is none."""
    notes = [_note_at(data, at) for at in (0, NOTE_SIZE)]
    return max(notes)


def _note_at(data: bytes, at: int) -> tuple[int, list[int]]:
    piece = data[at : at + NOTE_SIZE]
    if len(piece) < NOTE_SIZE or zlib.crc32(piece[: _NOTE.size]) != _CRC.unpack_from(piece, _NOTE.size)[0]:
        return 0, []
    magic, sequence, *settled = _NOTE.unpack_from(piece)
    return (sequence, settled) if magic == _NOTE_MAGIC else (0, [])


@dataclass
class TrackProgress:
    """One track of a running stream.

    Always: settled <= fed <= the number of the next frame put. ``fed`` is the next frame that the core is to get.
    """

    settled: int
    fed: int
    _base: int = field(init=False)  # spool number = core's count + base, before the first gap that is still open
    _gaps: deque[tuple[int, int]] = field(default_factory=deque)  # (core's count where it lies, frames)
    _taken: int = 0  # by the core

    def __post_init__(self) -> None:
        self._base = self.fed

    def take(self) -> None:
        """The core took the next frame."""
        self.fed += 1
        self._taken += 1

    def skip(self, count: int) -> None:
        """The core will never get the next ``count`` frames."""
        if count > 0:
            self._gaps.append((self._taken, count))
            self.fed += count

    def settle(self, core_count: int) -> bool:
        """The first ``core_count`` frames that the core took are settled; return whether more are than before."""
        while self._gaps and self._gaps[0][0] <= core_count:
            self._base += self._gaps.popleft()[1]
        settled = core_count + self._base
        is_news, self.settled = settled > self.settled, max(settled, self.settled)
        return is_news


class FragmentStarts:
    """Which records begin a fragment, by the core's rule.

    Args:
        lead: the slot whose key frames count; None: any. is_sparse: every frame is a key frame, and the core cuts
            about every two seconds.
    """

    def __init__(self, lead: int | None, is_sparse: bool) -> None:
        self._lead = lead
        self._is_sparse = is_sparse
        self._last_pts_ns: int | None = None

    def is_start(self, kind: int, slot: int, flags: int, pts_ns: int) -> bool:
        """Whether this record begins a fragment; to be asked about each record once, in order."""
        if kind == RecordKind.END:
            self._last_pts_ns = None
        if kind != RecordKind.FRAME or self._lead not in (None, slot):
            return False
        if not self._is_sparse:
            return bool(flags & 1)
        is_due = self._last_pts_ns is None or pts_ns >= self._last_pts_ns + SPARSE_KEY_GAP_NS
        if is_due:
            self._last_pts_ns = pts_ns
        return is_due


@dataclass
class FragmentSpan:
    """One fragment as it lies in the spool: from its key frame to the next. ``ends`` are frame numbers per track."""

    start_ns: int
    start_number: int
    ends: list[int]
    last_ns: int
    payload: int = 0
    frames: int = 0


def spans(
    records: Iterable[Record], first: Sequence[int], starts: FragmentStarts, lead: int | None
) -> Iterator[FragmentSpan]:
    """Yield the fragments that frames from ``first`` on form, each when the next one begins; the last one too."""
    span: FragmentSpan | None = None
    ends = list(first)
    for record in records:
        begins = starts.is_start(record.kind, record.slot, record.flags, record.pts_ns)
        if record.kind != RecordKind.FRAME or record.number < first[record.slot]:
            continue
        if begins:
            if span is not None:
                yield span
            span = FragmentSpan(record.pts_ns, record.number, list(ends), record.pts_ns)
        ends[record.slot] = record.number + 1
        if span is None:
            if lead in (None, record.slot):
                return  # what is left begins in the middle of a fragment, and nothing says of which
            continue
        span.ends[record.slot] = record.number + 1
        span.last_ns = max(span.last_ns, record.pts_ns)
        span.payload += record.payload_size
        span.frames += 1
    if span is not None:
        yield span


def as_stored(found: Iterable[FragmentSpan], stored: Mapping[int, StoredFragment]) -> Iterator[FragmentSpan]:
    """Join spans that the service has in one fragment: those whose begin lies inside of a stored one.

    Key frames that come soon, and what was sent late, go out in one cluster, whose begin is all that the service says.
    """
    whole: FragmentSpan | None = None
    for span in found:
        if whole is not None and _is_inside(span, whole, stored):
            whole.ends, whole.last_ns = span.ends, max(whole.last_ns, span.last_ns)
            whole.payload, whole.frames = whole.payload + span.payload, whole.frames + span.frames
            continue
        if whole is not None:
            yield whole
        whole = span
    if whole is not None:
        yield whole


def _is_inside(span: FragmentSpan, whole: FragmentSpan, stored: Mapping[int, StoredFragment]) -> bool:
    start_ms, begin_ms = span.start_ns // NS_PER_MS, whole.start_ns // NS_PER_MS
    known = stored.get(begin_ms)
    return known is not None and start_ms not in stored and begin_ms <= start_ms < begin_ms + known.duration_ms


@dataclass(frozen=True)
class StoredFragment:
    """A fragment that the service has."""

    size: int
    duration_ms: int


def stored_prefix(
    found: Iterable[FragmentSpan], stored: Mapping[int, StoredFragment], is_whole: Callable[[FragmentSpan], bool]
) -> tuple[FragmentSpan | None, FragmentSpan | None]:
    """Return the last of the leading fragments that the service has whole, and the fragment after it, if there is one.

    ``stored`` is by start in ms. A fragment is whole when the service has the next one too, or when ``is_whole``.
    """
    last: FragmentSpan | None = None
    candidate: FragmentSpan | None = None
    for span in found:
        if candidate is not None and span.start_ns // NS_PER_MS not in stored:
            return (candidate, span) if is_whole(candidate) else (last, candidate)
        if candidate is None and span.start_ns // NS_PER_MS not in stored:
            return None, None
        last, candidate = candidate, span
    if candidate is not None and is_whole(candidate):
        return candidate, None
    return last, candidate


def whole_ends(records: Iterable[Record], first: Sequence[int], following: FragmentSpan, lead: int | None) -> list[int]:
    """Return, per track, where the fragments before ``following`` end.

    Frames of other tracks are put around a key frame in any order; the core gives those that lie before the least time
    of it and its leading pictures to the fragment before.
    """
    lead_slot = lead or 0
    ends = list(first)
    ends[lead_slot] = following.start_number
    cut_ns = following.start_ns
    others: list[Record] = []
    for record in records:
        if record.kind != RecordKind.FRAME:
            continue
        if record.slot != lead_slot:
            others.append(record)
        elif record.number > following.start_number:
            if record.pts_ns > following.start_ns + ORDER_WINDOW_NS:
                break
            cut_ns = min(cut_ns, record.pts_ns)
    for record in others:
        if record.pts_ns < cut_ns:
            ends[record.slot] = max(ends[record.slot], record.number + 1)
    return ends
