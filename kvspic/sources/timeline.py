"""One line of time for a recording whose own clock jumps: parts that were joined, a camera that was started again.

Times go on as they are while they can be true. A clock that is set back cannot: what follows is placed after the last
frame, all tracks by the same distance. Formats whose clock wraps or starts anywhere (MPEG transport and program
streams, FLV) show the same as a leap ahead. A hole that can be true stays, and is reported with its length.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace

from kvspic.sources.base import SourceFrame
from kvspic.units import NS_PER_S

__all__ = ["Timeline"]

BACK_NS = NS_PER_S  # going back by less is jitter, which the core puts right for each track
LEAP_NS = 60 * NS_PER_S  # ahead, in a format whose clock may start anywhere
HOLE_NS = 2 * NS_PER_S
MAIN_TRACK = 1  # video, where there is any: a hole of it is a hole of the recording
REORDER_MAX = 17  # pictures that may be shown before one that was decoded before them, and that one (H.264 A.3.1)
SAME_NS = 10 * NS_PER_S  # tracks of one part lie no further apart
LOOK_AHEAD_MAX = 256  # frames that are looked at for the earliest one after a jump


@dataclass
class _Track:
    """Where a track stands. ``part`` is the index of the distance that is added to its times."""

    part: int
    last_ns: int  # its newest time, before anything is added
    end_ns: int  # when its last frame ends, as far as frames are shown in order


@dataclass
class Timeline:
    """Places the frames of one medium.

    Args:
        label: the medium's name, for sentences.
        clock_may_leap: the format's clock wraps, or starts anywhere.
        say: gets a sentence for the user.
    """

    label: str
    clock_may_leap: bool
    say: Callable[[str], None]
    end_ns: int = 0  # when the last frame of all ends
    _parts: list[int] = field(default_factory=lambda: [0])
    _tracks: dict[int, _Track] = field(default_factory=dict)
    _ahead: deque[SourceFrame] = field(default_factory=deque)
    _holes: list[tuple[int, int]] = field(default_factory=list)  # begin and length

    def place(self, frames: Iterable[SourceFrame]) -> Iterator[SourceFrame]:
        """Give the frames with times that go on, and say at the end what is missing between them."""
        rest = iter(frames)
        while (frame := self._next(rest)) is not None:
            if self._jumps(frame):
                self._join(frame, rest)
            yield self._placed(frame)
        self._report_holes()

    def _next(self, rest: Iterator[SourceFrame]) -> SourceFrame | None:
        return self._ahead.popleft() if self._ahead else next(rest, None)

    def _jumps(self, frame: SourceFrame) -> bool:
        track = self._tracks.get(frame.track)
        if track is None or frame.discard:  # what an edit list hides may lie before what it shows
            return False
        step_ns = frame.order_ns - track.last_ns
        if self.clock_may_leap and step_ns > LEAP_NS:
            return True
        # Without decoding times, pictures that are shown before others that came first are no jump.
        return step_ns < -BACK_NS and (frame.dts_ns is not None or frame.key_frame or step_ns < -SAME_NS)

    def _join(self, frame: SourceFrame, rest: Iterator[SourceFrame]) -> None:
        """Find the distance for a track whose clock jumped: that of a track that jumped before, or a new one."""
        track = self._tracks[frame.track]
        newest = len(self._parts) - 1
        if track.part < newest and abs(frame.order_ns + self._parts[newest] - self.end_ns) < SAME_NS:
            track.part = newest
        else:
            begin_ns = self._begin_of_part(frame, rest)
            self.say(
                f"The clock of {self.label} jumps from {_seconds(track.last_ns)} s to {_seconds(frame.order_ns)} s: "
                "what follows is placed after the last frame."
            )
            self._parts.append(self.end_ns - begin_ns)
            track.part = newest + 1
        track.last_ns = frame.order_ns

    def _begin_of_part(self, frame: SourceFrame, rest: Iterator[SourceFrame]) -> int:
        """Return when the first frame after a jump is shown; other tracks may begin before this one."""
        begin_ns = frame.pts_ns
        seen = {frame.track}
        for place in range(LOOK_AHEAD_MAX):
            if place == len(self._ahead):
                following = next(rest, None)
                if following is None:
                    break
                self._ahead.append(following)
            other = self._ahead[place]
            if abs(other.order_ns - frame.order_ns) < SAME_NS:
                begin_ns = min(begin_ns, other.pts_ns)
                seen.add(other.track)
            if seen >= set(self._tracks) and other.pts_ns > frame.pts_ns:
                break
        return begin_ns

    def _placed(self, frame: SourceFrame) -> SourceFrame:
        track = self._tracks.get(frame.track)
        if track is None:
            track = self._tracks[frame.track] = _Track(len(self._parts) - 1, frame.order_ns, frame.pts_ns)
        shift_ns = self._parts[track.part]
        pts_ns = frame.pts_ns + shift_ns
        if not frame.discard:
            self._note(frame, track, pts_ns)
        if not shift_ns:
            return frame
        dts_ns = None if frame.dts_ns is None else frame.dts_ns + shift_ns
        return replace(frame, pts_ns=pts_ns, dts_ns=dts_ns)

    def _note(self, frame: SourceFrame, track: _Track, pts_ns: int) -> None:
        """Note where a track stands after a frame."""
        gap_ns = pts_ns - track.end_ns
        if frame.track == MAIN_TRACK and frame.duration_ns and gap_ns > HOLE_NS + REORDER_MAX * frame.duration_ns:
            self._holes.append((track.end_ns, gap_ns))
        track.last_ns = max(track.last_ns, frame.order_ns)
        track.end_ns = max(track.end_ns, pts_ns + frame.duration_ns)
        self.end_ns = max(self.end_ns, track.end_ns)

    def _report_holes(self) -> None:
        if self._holes:
            count, (begin_ns, length_ns) = len(self._holes), max(self._holes, key=lambda hole: hole[1])
            holes = "a hole" if count == 1 else f"{count} holes, the longest"
            self.say(
                f"{self.label} has {holes} of {_seconds(length_ns)} s after {_seconds(begin_ns)} s: "
                "nothing is recorded there, and the times of what follows are kept."
            )


def _seconds(time_ns: int) -> str:
    return f"{time_ns / NS_PER_S:.1f}"
