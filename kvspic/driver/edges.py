"""Events of what happens again and again, so few that no reader is flooded: one when it begins, one in sum at its end.

Pure: the caller says what time it is. Always: each occurrence is in exactly one event.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from kvspic.actions import (
    ErrorAck,
    Event,
    FramesDropped,
    NoKeyFrame,
    StateChanged,
    StreamReady,
    TimesRepeated,
    TimesShifted,
)
from kvspic.errors import refusal_of
from kvspic.types import DropReason, StreamMetrics, StreamState
from kvspic.units import HNS_PER_S, NS_PER_S

__all__ = ["KEY_FRAME_WAIT_HNS", "KeyFrameWatch", "RefusalWatch", "RepeatWatch", "Runs", "ShownStates"]

QUIET_HNS = 10 * HNS_PER_S  # after so long without another one a run is over
KEY_FRAME_WAIT_HNS = 10 * HNS_PER_S


@dataclass
class _Run:
    """What came since the first event of the run; ``rest`` is the sum, its ``count`` how often."""

    last_hns: int
    rest: TimesShifted | ErrorAck


class Runs:
    """Runs of events that come in floods: :class:`TimesShifted` of one track, :class:`ErrorAck` of one id. ``runs`` is
    empty while there is none."""

    def __init__(self) -> None:
        self.runs: dict[tuple[type[Event], int], _Run] = {}

    def tells(self, event: Event, now_hns: int) -> bool:
        """Whether an event is to be passed on now; one within a run is kept for its end."""
        if not isinstance(event, TimesShifted | ErrorAck):
            return True
        key = type(event), event.track if isinstance(event, TimesShifted) else event.error_id
        run = self.runs.get(key)
        if run is None:
            self.runs[key] = _Run(now_hns, _nothing_of(event))
            return True
        run.last_hns, run.rest = now_hns, _sum(run.rest, event)
        return False

    def over(self, now_hns: int | None) -> Iterator[Event]:
        """Give the sums of the runs that are over by now; None: all of them, because the stream ends."""
        for key, run in list(self.runs.items()):
            if now_hns is not None and now_hns < run.last_hns + QUIET_HNS:
                continue
            del self.runs[key]
            if run.rest.count:
                yield run.rest


def _nothing_of(event: TimesShifted | ErrorAck) -> TimesShifted | ErrorAck:
    return replace(event, shift_ns=0, count=0) if isinstance(event, TimesShifted) else replace(event, count=0)


def _sum(rest: TimesShifted | ErrorAck, event: TimesShifted | ErrorAck) -> TimesShifted | ErrorAck:
    count = rest.count + event.count
    if isinstance(rest, TimesShifted) and isinstance(event, TimesShifted):
        return replace(rest, shift_ns=rest.shift_ns + event.shift_ns, count=count)
    return replace(event, count=count)


class RefusalWatch:
    """Counts the ERROR ACKs since a fragment was last done, and says what they are."""

    def __init__(self) -> None:
        self._error_id = 0
        self._count = 0

    def refused(self, error_id: int) -> None:
        """Note one more; another id than the last one begins a new count."""
        self._count = self._count + 1 if error_id == self._error_id else 1
        self._error_id = error_id

    def done(self) -> None:
        """A fragment is done: the service takes them again."""
        self._count = 0

    def words(self) -> str:
        """Which error, how often, what it means and what to do; empty when there was none."""
        if not self._count:
            return ""
        found = refusal_of(self._error_id)
        often = f", {self._count} times" if self._count > 1 else ""
        return f"{found.name} ({self._error_id}{often}): {found.text}; {found.remedy}"


class RepeatWatch:
    """Tells of a counter that rises, not more often than every ten seconds."""

    def __init__(self, stream_name: str) -> None:
        self._name = stream_name
        self._reported = 0
        self._reported_hns: int | None = None

    def look(self, times_bumped: int, now_hns: int | None) -> Event | None:
        """Return an event if it is time to tell; ``now_hns`` None: it is, because the stream ends."""
        count = times_bumped - self._reported
        if not count or (
            now_hns is not None and self._reported_hns is not None and now_hns < self._reported_hns + QUIET_HNS
        ):
            return None
        self._reported, self._reported_hns = times_bumped, now_hns
        return TimesRepeated(self._name, count)


class KeyFrameWatch:
    """Notices that frames are skipped for long because no key frame comes."""

    def __init__(self, stream_name: str) -> None:
        self._name = stream_name
        self._began_hns: int | None = None
        self._fragments_put = 0
        self._skipped = 0
        self._reported: NoKeyFrame | None = None

    def begins(self, event: Event, metrics: StreamMetrics, now_hns: int) -> bool:
        """Whether a wait for a key frame begins with this event: then ask :meth:`look` when it has been too long."""
        if not isinstance(event, FramesDropped) or event.reason is not DropReason.SKIPPED:
            return False
        if self._began_hns is not None and metrics.fragments_put == self._fragments_put:
            return False
        self._began_hns, self._fragments_put, self._reported = now_hns, metrics.fragments_put, None
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
        self._reported = NoKeyFrame(self._name, (now_hns - self._began_hns) * 100, frames)
        return self._reported

    def reason(self, metrics: StreamMetrics) -> str:
        """What is wrong now, with its remedy; empty when a key frame has come."""
        if self._reported is None or metrics.fragments_put != self._fragments_put:
            return ""
        frames = metrics.dropped[DropReason.SKIPPED] - self._skipped
        return (
            f"no key frame came for {self._reported.after_ns // NS_PER_S} s and {frames} frames were skipped: ask the "
            "encoder for a key frame, or let it make one every few seconds (its GOP or IDR interval)"
        )


class ShownStates:
    """What users see of the core's states: STREAMING once the service has accepted the upload.

    The core is in STREAMING as soon as a connection stands, because the service answers only after it has read some of
    the body; it may refuse then. A StreamReady that is not the first, with an upload to follow, waits for that too.
    """

    def __init__(self) -> None:
        self._held: StateChanged | None = None
        self._ready: StreamReady | None = None
        self._was_ready = False

    def state(self, real: StreamState) -> StreamState:
        """Return what is shown for a state of the core."""
        return StreamState.PUT_STREAM if self._held is not None and real == StreamState.STREAMING else real

    def of(self, event: Event, is_accepted: bool, has_frames: bool) -> list[Event]:
        """Return the events to tell now for one of the core's; with frames an upload follows a StreamReady."""
        if isinstance(event, StreamReady) and self._was_ready and has_frames:
            self._ready = event
            return []
        if isinstance(event, StreamReady):
            self._was_ready = True
        if not isinstance(event, StateChanged):
            return [event]
        if event.new == StreamState.STREAMING and not is_accepted:
            self._held = event
            return []
        held, self._held = self._held, None
        return [event if held is None else replace(event, old=held.old)]

    def accepted(self) -> list[Event]:
        """The service has accepted an upload: return what was kept for that."""
        ready, self._ready = self._ready, None
        held, self._held = self._held, None
        return [event for event in (ready, held) if event is not None]

    def forget(self) -> None:
        """The upload was given up."""
        self._held = self._ready = None
