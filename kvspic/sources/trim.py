"""What an edit list hides: pictures that the owner of a file cut away without encoding it again.

A demuxer marks them, and hidden sound. Pictures before the last key frame at or before the first shown picture, and
those after the last shown one, are left out. What lies between must be decoded for the first shown picture, so it goes
out as hidden; or the file begins with the next key frame, if the user wants that. Of hidden sound the last packets
before the first that is heard are put, as many as encoders prime with.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace

from kvspic.sources.base import SourceFrame
from kvspic.units import NS_PER_S

__all__ = ["EditTrim", "Trim"]

HIDDEN_STEP_NS = 1_000_000  # one Matroska timecode
PRIMING_MAX = 4  # packets; AAC encoders prime with up to 2112 samples, and a decoder needs one packet more
HELD_MAX = 1000  # frames that wait for a sound that is heard


class Trim(enum.Enum):
    """What becomes of hidden pictures that a shown one needs: they go out as hidden, or the file begins later."""

    PREVIOUS_KEY = "previous-key"
    NEXT_KEY = "next-key"


@dataclass
class EditTrim:
    """Takes the frames of one medium whose pictures have the track number ``video`` (0: it has only sound), and gives
    what is to be put."""

    video: int
    trim: Trim
    say: Callable[[str], None]
    _held: list[SourceFrame] = field(default_factory=list)  # hidden pictures, from a key frame on
    _undecided: list[SourceFrame] = field(default_factory=list)  # from a shown key frame on, while it may have leaders
    _waiting: list[SourceFrame] | None = None  # sound, while the next key frame is waited for
    _waits_since_ns: int | None = None
    _last_shown_ns: int | None = None
    _hidden_ns: int = 0

    def frames(self, frames: Iterable[SourceFrame]) -> Iterator[SourceFrame]:
        """Give the frames; pictures that stay hidden have ``is_hidden``."""
        for frame in self._primed(frames):
            yield from self._take(frame)
        yield from self._decide()

    def _take(self, frame: SourceFrame) -> Iterator[SourceFrame]:
        if self._undecided:
            self._undecided.append(frame)
            if frame.track == self.video and (frame.key_frame or frame.pts_ns > self._undecided[0].pts_ns):
                yield from self._decide()
        elif frame.track != self.video:
            if self._waiting is None and self.trim is Trim.NEXT_KEY and self._is_lead_in:
                self._waiting = []
            if self._waiting is not None:
                self._waiting.append(frame)
            else:
                yield frame
        elif frame.discard:
            if frame.key_frame:
                self._held.clear()
            self._held.append(frame)
        elif self._held and frame.key_frame:
            self._undecided.append(frame)
        else:
            yield from self._shown(frame)

    def _primed(self, frames: Iterable[SourceFrame]) -> Iterator[SourceFrame]:
        """Give the frames in their order, of hidden sound only what the next heard sound is primed with."""
        held: list[SourceFrame] = []  # from hidden sound on, until sound is heard
        for frame in frames:
            if held or self._is_hidden_sound(frame):
                held.append(frame)
                if (frame.track == self.video or frame.discard) and len(held) < HELD_MAX:
                    continue
                surplus = max(0, sum(map(self._is_hidden_sound, held)) - PRIMING_MAX)
                yield from self._without_hidden(held, surplus)
                held.clear()
            else:
                yield frame
        yield from self._without_hidden(held, len(held))

    def _without_hidden(self, held: list[SourceFrame], count: int) -> Iterator[SourceFrame]:
        """Give frames without the first ``count`` of the hidden sound among them."""
        for frame in held:
            if count and self._is_hidden_sound(frame):
                count -= 1
            else:
                yield frame

    def _is_hidden_sound(self, frame: SourceFrame) -> bool:
        return frame.discard and frame.track != self.video

    def _decide(self) -> Iterator[SourceFrame]:
        """Give what was held up by a shown key frame. Pictures that are shown before it may need what is hidden."""
        frames, self._undecided = self._undecided, []
        if not frames:
            return
        key = frames[0]
        has_leaders = any(
            frame.track == self.video and not frame.discard and frame.pts_ns < key.pts_ns for frame in frames
        )
        if not has_leaders or self.trim is Trim.NEXT_KEY:
            self._held.clear()
        yield from self._shown(key)
        for frame in frames[1:]:
            is_leader = frame.track == self.video and frame.pts_ns < key.pts_ns
            if not (is_leader and (frame.discard or self.trim is Trim.NEXT_KEY)):
                yield from self._take(frame)

    def _shown(self, frame: SourceFrame) -> Iterator[SourceFrame]:
        """Give a shown picture, after what it needs."""
        if self._is_lead_in and self.trim is Trim.NEXT_KEY:
            self._waiting, self._waits_since_ns = self._waiting or [], frame.pts_ns
            self._held.clear()
        if self._waiting is not None:
            if not frame.key_frame:
                return
            yield from self._end_of_wait(frame)
        if self._held:
            yield from self._hidden(frame)
        self._last_shown_ns = max(self._last_shown_ns or frame.pts_ns, frame.pts_ns)
        yield frame

    @property
    def _is_lead_in(self) -> bool:
        """Whether the hidden pictures begin a shown part; else they end one, and a B frame of it needs them."""
        return bool(self._held) and self._held[0].key_frame

    def _hidden(self, shown: SourceFrame) -> Iterator[SourceFrame]:
        is_lead_in = self._is_lead_in
        held, self._held = self._held, []
        if is_lead_in:
            is_first = not self._hidden_ns
            self._hidden_ns += sum(frame.duration_ns for frame in held)
            if is_first:
                self.say(
                    f"{self._hidden_ns / NS_PER_S:.3f} s ({len(held)} pictures) are hidden by the file's edit list. "
                    "They go out all the same, marked as invisible, because the first shown picture cannot be decoded "
                    "without them: --trim next-key leaves them out and begins with the next key frame."
                )
        if self._last_shown_ns is not None:
            held = self._squeezed(held, self._last_shown_ns, shown.pts_ns)
        for frame in held:
            yield replace(frame, is_hidden=True)

    def _squeezed(self, held: list[SourceFrame], after_ns: int, before_ns: int) -> list[SourceFrame]:
        """Return hidden pictures of a later edit with times between what is shown before them and after them, a
        millisecond apart: their own lie where earlier pictures are shown."""
        begin_ns = max(after_ns + HIDDEN_STEP_NS, before_ns - len(held) * HIDDEN_STEP_NS)
        rank = {time: place for place, time in enumerate(sorted(frame.pts_ns for frame in held))}
        return [replace(frame, pts_ns=begin_ns + rank[frame.pts_ns] * HIDDEN_STEP_NS, dts_ns=None) for frame in held]

    def _end_of_wait(self, key: SourceFrame) -> Iterator[SourceFrame]:
        sounds, self._waiting = self._waiting or [], None
        since_ns, self._waits_since_ns = self._waits_since_ns, None
        if since_ns is not None:
            self.say(
                f"{(key.pts_ns - since_ns) / NS_PER_S:.3f} s are left out, from where the file's edit list begins to "
                "the next key frame (--trim next-key)."
            )
        yield from (sound for sound in sounds if sound.pts_ns + sound.duration_ns > key.pts_ns)
