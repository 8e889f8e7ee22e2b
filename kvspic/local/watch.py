"""What the page shows of each stream: sessions, fragments as they came, ACK latency and errors. Pure.

It counts what uploads do while the endpoint runs and keeps the newest of it, so memory is bounded: per stream 600
fragments, 50 sessions, 50 errors. Nothing here decides anything, and nothing of it is stored. Times come as server
times in ticks of 100 ns and go out in milliseconds since 1970.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Any

from kvspic.local.acks import Ack
from kvspic.local.records import KeepFragment
from kvspic.units import HNS_PER_MS

__all__ = ["SessionWatch", "StreamWatch", "Watch"]

_POINTS_MAX, _SESSIONS_MAX, _ERRORS_MAX = 600, 50, 50
_PENDING_MAX = 100  # fragments of a session that wait for PERSISTED; of a stream without retention none comes
_RATE_SPAN_MS = 10_000  # rates are means over the fragments of so much media
_ERROR_SHOWN_MS = 60_000
_LONGEST_MS = 20_000  # no fragment of the service is longer


@dataclass
class Point:
    """One fragment as it came. ``ack_ms`` is the time from its last byte here to its PERSISTED ACK."""

    number: str
    at_ms: int
    producer_ms: int
    duration_ms: int
    size: int
    frames: int
    ack_ms: float | None = None

    @property
    def delay_ms(self) -> int:
        """How far the fragment's end lay behind the clock when it was here."""
        return self.at_ms - self.producer_ms - self.duration_ms


@dataclass
class SessionWatch:
    """One PutMedia session of a stream, from its head to its end."""

    stream: StreamWatch
    number: int
    client: str
    began_ms: int
    ended_ms: int | None = None
    bytes: int = 0
    frames: int = 0
    buffering: int = 0
    received: int = 0
    persisted: int = 0
    errors: int = 0
    _last: Point | None = None
    _pending: dict[str, tuple[int, Point]] = field(default_factory=dict)

    def fragment(self, kept: KeepFragment, now_hns: int) -> None:
        """A fragment is whole."""
        record, now_ms = kept.fragment, now_hns // HNS_PER_MS
        producer_ms, duration_ms = record.producer_hns // HNS_PER_MS, record.duration_hns // HNS_PER_MS
        point = Point(record.number, now_ms, producer_ms, duration_ms, record.size, kept.frames)
        if self._last is not None and not self._last.duration_ms:
            distance_ms = producer_ms - self._last.producer_ms  # a fragment of one frame does not say how long it is
            self._last.duration_ms = distance_ms if 0 < distance_ms <= _LONGEST_MS else 0
        self._last = point
        self.stream.points.append(point)
        self.frames += kept.frames
        self._pending[record.number] = (now_hns, point)
        if len(self._pending) > _PENDING_MAX:
            del self._pending[next(iter(self._pending))]

    def ack(self, ack: Ack, now_hns: int) -> None:
        """An ACK goes out."""
        if ack.event == "BUFFERING":
            self.buffering += 1
        elif ack.event == "RECEIVED":
            self.received += 1
        elif ack.event == "PERSISTED":
            self.persisted += 1
            waited = self._pending.pop(ack.number or "", None)
            if waited is not None:
                waited[1].ack_ms = (now_hns - waited[0]) / HNS_PER_MS
        elif ack.event == "ERROR":
            self.errors += 1
            self.stream.error_count += 1
            name = ack.error.name if ack.error is not None else "ERROR"
            number = int(ack.error) if ack.error is not None else 0
            error = {"at_ms": now_hns // HNS_PER_MS, "name": name, "id": number, "session": self.number}
            self.stream.errors.append({**error, "timecode": ack.timecode})

    def end(self, now_hns: int) -> None:
        """The session is over."""
        self.ended_ms = now_hns // HNS_PER_MS
        self._pending.clear()
        self.stream.open_count -= 1

    def row(self) -> dict[str, Any]:
        """Return its line of the ledger."""
        names = ("number", "client", "began_ms", "ended_ms", "bytes", "frames", "buffering", "received", "persisted")
        return {**{name: getattr(self, name) for name in names}, "errors": self.errors}


@dataclass
class StreamWatch:
    """What is known of one stream since the endpoint began."""

    points: deque[Point] = field(default_factory=lambda: deque(maxlen=_POINTS_MAX))
    sessions: deque[SessionWatch] = field(default_factory=lambda: deque(maxlen=_SESSIONS_MAX))
    errors: deque[dict[str, Any]] = field(default_factory=lambda: deque(maxlen=_ERRORS_MAX))
    session_count: int = 0
    open_count: int = 0
    error_count: int = 0
    before: Point | None = None
    """The newest fragment that was stored before the endpoint began."""
    is_read: bool = False
    """Whether the store was asked for ``before``."""

    def last(self) -> Point | None:
        """Return the newest fragment."""
        return self.points[-1] if self.points else self.before

    def state(self, now_ms: int) -> str:
        """Return live, starting, quiet (connected without fragments), stopped, or empty (never a fragment)."""
        last = self.last()
        if not self.open_count:
            return "empty" if last is None else "stopped"
        began_ms = self.sessions[-1].began_ms
        if last is not None and now_ms - last.at_ms <= max(10_000, 3 * last.duration_ms):
            return "live"
        return "starting" if now_ms - began_ms < 10_000 else "quiet"

    def numbers(self, now_ms: int) -> dict[str, Any]:
        """Return state, rates and counts for the list of streams; rates are None for a stream that is not live."""
        last, state = self.last(), self.state(now_ms)
        found: dict[str, Any] = {"fps": None, "bits_per_s": None, "ack_ms": None, "delay_ms": None}
        if state == "live" and self.points:
            found = self._rates()
        error = self.errors[-1] if self.errors else None
        return {
            **found,
            "state": state,
            "last_ms": None if last is None else last.at_ms,
            "last_producer_ms": None if last is None else last.producer_ms,
            "sessions": self.session_count,
            "open": self.open_count,
            "errors": self.error_count,
            "error": error,
            "is_in_error": error is not None and now_ms - error["at_ms"] < _ERROR_SHOWN_MS,
        }

    def _rates(self) -> dict[str, Any]:
        recent: list[Point] = []
        span_ms = 0
        for point in reversed(self.points):
            recent.append(point)
            span_ms += point.duration_ms
            if span_ms >= _RATE_SPAN_MS:
                break
        whole_ms = recent[0].producer_ms + recent[0].duration_ms - recent[-1].producer_ms
        span_ms = min(span_ms, whole_ms) if whole_ms > 0 else span_ms  # with sound, fragments overlap a little
        acks = [point.ack_ms for point in recent if point.ack_ms is not None]
        return {
            "fps": round(sum(point.frames for point in recent) * 1000 / span_ms, 2) if span_ms else None,
            "bits_per_s": sum(point.size for point in recent) * 8000 // span_ms if span_ms else None,
            "ack_ms": round(sum(acks) / len(acks), 1) if acks else None,
            "delay_ms": recent[0].delay_ms,
        }

    def history(self) -> list[dict[str, Any]]:
        """Return the fragments as they came, oldest first, for plots."""
        return [{**vars(point), "delay_ms": point.delay_ms} for point in self.points]


class Watch:
    """All streams of the endpoint, by id."""

    def __init__(self) -> None:
        self._streams: dict[int, StreamWatch] = {}

    def stream(self, stream_id: int) -> StreamWatch:
        """Return what is known of a stream."""
        return self._streams.setdefault(stream_id, StreamWatch())

    def open(self, stream_id: int, client: str, now_hns: int) -> SessionWatch:
        """A session begins; ``client`` says who it is, such as the user agent."""
        stream = self.stream(stream_id)
        stream.session_count += 1
        stream.open_count += 1
        session = SessionWatch(stream, stream.session_count, client[:200], now_hns // HNS_PER_MS)
        stream.sessions.append(session)
        return session

    def forget(self, stream_id: int) -> None:
        """The stream was deleted; sessions that are still open go on counting for themselves."""
        self._streams.pop(stream_id, None)
