"""What happens again and again, told so that a reader is not flooded: when it begins, and in sum when it is over.

Pure: the caller says what time it is. Always: each occurrence is in exactly one event.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from kvspic.actions import Event, FramesDropped, NoKeyFrame, TimesRepeated, TimesShifted
from kvspic.types import DropReason, StreamMetrics

__all__ = ["KEY_FRAME_WAIT_HNS", "KeyFrameWatch", "RepeatWatch", "ShiftRuns"]

QUIET_HNS = 10 * 10_000_000  # after so long without another one a run is over
KEY_FRAME_WAIT_HNS = 10 * 10_000_000


@dataclass
class _Run:
    """Shifts of one track since the first of the run was told."""

    last_hns: int
    rest: TimesShifted


class ShiftRuns:
    """Runs of :class:`TimesShifted`, one for each track."""

    def __init__(self) -> None:
        self._runs: dict[int, _Run] = {}

    def tells(self, event: Event, now_hns: int) -> bool:
        """Whether an event is to be told now; a shift within a run is kept for its end."""
        if not isinstance(event, TimesShifted):
            return True
        run = self._runs.get(event.track)
        if run is None:
            self._runs[event.track] = _Run(now_hns, replace(event, shift_ns=0, count=0))
            return True
        run.last_hns = now_hns
        run.rest = replace(run.rest, shift_ns=run.rest.shift_ns + event.shift_ns, count=run.rest.count + 1)
        return False

    def over(self, now_hns: int | None) -> Iterator[Event]:
        """Give the sums of the runs that are over by now; None: all of them, because the stream ends."""
        for track, run in list(self._runs.items()):
            if now_hns is not None and now_hns < run.last_hns + QUIET_HNS:
                continue
            del self._runs[track]
            if run.rest.count:
                yield run.rest


class RepeatWatch:
    """Tells of a counter that rises, not more often than every ten seconds."""

    def __init__(self, stream_name: str) -> None:
        self._name = stream_name
        self._told = 0
        self._told_hns: int | None = None

    def look(self, times_bumped: int, now_hns: int | None) -> Event | None:
        """Return an event if it is time to tell; ``now_hns`` None: it is, because the stream ends."""
        count = times_bumped - self._told
        if not count or (now_hns is not None and self._told_hns is not None and now_hns < self._told_hns + QUIET_HNS):
            return None
        self._told, self._told_hns = times_bumped, now_hns
        return TimesRepeated(self._name, count)


class KeyFrameWatch:
    """Notices that frames are skipped for long because no key frame comes."""

    def __init__(self, stream_name: str) -> None:
        self._name = stream_name
        self._began_hns: int | None = None
        self._fragments_put = 0
        self._skipped = 0
        self._told: NoKeyFrame | None = None

    def begins(self, event: Event, metrics: StreamMetrics, now_hns: int) -> bool:
        """Whether a wait for a key frame begins with this event: then ask :meth:`look` when it has been too long."""
        if not isinstance(event, FramesDropped) or event.reason is not DropReason.SKIPPED:
            return False
        if self._began_hns is not None and metrics.fragments_put == self._fragments_put:
            return False
        self._began_hns, self._fragments_put, self._told = now_hns, metrics.fragments_put, None
        self._skipped = metrics.dropped[DropReason.SKIPPED] - event.frames
        return True

    def look(self, metrics: StreamMetrics, now_hns: int) -> Event | None:
        """Return an event if the wait that began is still not over; asked ``KEY_FRAME_WAIT_HNS`` after that."""
        if self._began_hns is None or now_hns < self._began_hns + KEY_FRAME_WAIT_HNS // 2:  # of a wait before
            return None
        if metrics.fragments_put != self._fragments_put:
            self._began_hns = None
            return None
        frames = metrics.dropped[DropReason.SKIPPED] - self._skipped
        self._told = NoKeyFrame(self._name, (now_hns - self._began_hns) * 100, frames)
        return self._told

    def reason(self, metrics: StreamMetrics) -> str:
        """What is wrong now, with its remedy; empty when a key frame has come."""
        if self._told is None or metrics.fragments_put != self._fragments_put:
            return ""
        frames = metrics.dropped[DropReason.SKIPPED] - self._skipped
        return (
            f"no key frame came for {self._told.after_ns // 1_000_000_000} s and {frames} frames were skipped: ask the "
            "encoder for a key frame, or let it make one every few seconds (its GOP or IDR interval)"
        )
