"""What frames go through on their way to the core when something asks for it: a wrong clock, a pause, a trigger.

Most streams never need it: ``put_frame`` goes straight to the core, which refuses a time that cannot be true, and only
then is the clock looked at here. Pure: what the time is, where frames and events go are arguments, and a lock is one,
because frames come from any thread. Always: every frame offered is with the core, held here, or counted as expired.
"""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import NamedTuple

from kvspic import errors
from kvspic.actions import Event, FrameTooLarge, Paused, Resumed, TimesAnchored, Triggered
from kvspic.types import Buffer
from kvspic.units import NS_PER_S

__all__ = ["Frame", "Intake", "IntakeCounts", "IntakeRules", "IntakeWorld", "PreRoll", "SourceClocks", "believable"]

KEY = 1
DAY_NS = 86_400 * NS_PER_S
YEAR_2000_NS = 946_684_800 * NS_PER_S  # a clock that shows less was never set
PAST_MAX_NS = 3653 * DAY_NS  # ten years
AHEAD_MAX_NS = DAY_NS  # time zones and clocks that are a little wrong are left alone
JUMP_NS = 10 * NS_PER_S  # of a source's clock against ours, from one frame to the next
LAG_NS = 60 * NS_PER_S  # a source whose clock stood still for longer is put right
GROUP_END_NS = 20 * NS_PER_S  # a trigger ends at a key frame, but not later than this: no fragment is longer
TELL_NS = 10 * NS_PER_S
CONFIGURATIONS_MAX = 8  # VPS, SPS and PPS may come in a call each, for each of two tracks
CONFIGURATION_SIZE_MAX = 4096
FOR_EVER_NS = 1 << 63


class Frame(NamedTuple):
    """What a put takes; times in nanoseconds, ``dts`` None where it is not known."""

    data: Buffer
    pts: int
    dts: int | None
    duration: int
    track: int
    flags: int


def believable(wall_ns: int) -> tuple[int, int]:
    """Return the first and the last time that a live frame can truly have at ``wall_ns``; no time is between them while
    our own clock was never set."""
    return max(YEAR_2000_NS, wall_ns - PAST_MAX_NS), wall_ns + AHEAD_MAX_NS


@dataclass
class _Seen:
    """The clock of one track at its last frame."""

    shift_ns: int
    dts_ns: int
    steady_ns: int


class SourceClocks:
    """Decides what is added to the times of each track: nothing while they can be true, else what makes a track's first
    frame now. A step of the source's clock is put right in the same way."""

    def __init__(self) -> None:
        self._seen: dict[int, _Seen] = {}

    @property
    def shift_ns(self) -> int:
        """What is added now; of several tracks, to the one that comes first. 0: nothing to any of them."""
        return next((seen.shift_ns for _, seen in sorted(self._seen.items()) if seen.shift_ns), 0)

    def place(self, track: int, dts_ns: int, wall_ns: int, steady_ns: int) -> tuple[int, bool]:
        """Return what to add to a frame's times, and whether that has changed for its track.

        ``wall_ns`` is the wall clock, which a shift is made from; ``steady_ns`` never steps, and shows whether
        the source stepped or this machine.
        """
        seen = self._seen.get(track)
        if seen is not None and self._goes_on(seen, dts_ns, wall_ns, steady_ns):
            seen.dts_ns, seen.steady_ns = dts_ns, steady_ns
            return seen.shift_ns, False
        before_ns = seen.shift_ns if seen is not None else 0
        shift_ns = self._new_shift(dts_ns, wall_ns)
        self._seen[track] = _Seen(shift_ns, dts_ns, steady_ns)
        return shift_ns, shift_ns != before_ns

    def _goes_on(self, seen: _Seen, dts_ns: int, wall_ns: int, steady_ns: int) -> bool:
        if not seen.shift_ns:
            return _is_believable(dts_ns, wall_ns)
        step_ns, passed_ns = dts_ns - seen.dts_ns, steady_ns - seen.steady_ns
        return step_ns >= -JUMP_NS and -LAG_NS <= step_ns - passed_ns <= JUMP_NS

    def _new_shift(self, dts_ns: int, wall_ns: int) -> int:
        """Tracks that share a clock get the same shift, so that sound and picture stay together."""
        if _is_believable(dts_ns, wall_ns):
            return 0
        for seen in self._seen.values():
            if seen.shift_ns and abs(dts_ns + seen.shift_ns - wall_ns) <= JUMP_NS:
                return seen.shift_ns
        return (wall_ns - dts_ns) // 1_000_000 * 1_000_000


def _is_believable(dts_ns: int, wall_ns: int) -> bool:
    first_ns, last_ns = believable(wall_ns)
    return wall_ns < YEAR_2000_NS or first_ns <= dts_ns <= last_ns  # a machine without the time believes others


@dataclass
class _Group:
    """Frames from a key frame on."""

    arrived_ns: int
    frames: list[Frame] = field(default_factory=list)
    size: int = 0


class PreRoll:
    """The last frames, in whole groups of pictures: at least ``duration_ns`` of them, at most ``size_max`` bytes.

    With no duration nothing is kept. Frames before the first key frame expire at once. Calls with parameter sets alone
    (``is_configuration``) are needed by all that follows: the newest of those that expired are given away first.
    """

    def __init__(self, duration_ns: int, size_max: int, is_configuration: Callable[[Frame], bool]) -> None:
        self._duration_ns = duration_ns
        self._size_max = size_max
        self._is_configuration = is_configuration
        self._configurations: deque[Frame] = deque(maxlen=CONFIGURATIONS_MAX)
        self._groups: deque[_Group] = deque()
        self._size = 0
        self.frames_held = 0
        self.frames_expired = 0

    def add(self, frame: Frame, opens: bool, now_ns: int) -> None:
        """Keep a frame, and let go of what became too old. ``opens``: decoding can begin with it."""
        if opens and self._duration_ns:
            self._groups.append(_Group(now_ns))
        if not self._groups:
            self._note_expired(frame)
            return
        data = bytes(frame.data)  # the caller may use the buffer again
        group = self._groups[-1]
        group.frames.append(frame._replace(data=data))
        group.size += len(data)
        self._size += len(data)
        self.frames_held += 1
        while len(self._groups) > 1 and self._groups[1].arrived_ns <= now_ns - self._duration_ns:
            self._expire_oldest()
        while self._size > self._size_max:
            self._expire_oldest()

    def take_configurations(self) -> list[Frame]:
        """Give away the calls with parameter sets that expired, oldest first, with the time of the oldest frame."""
        configurations = list(self._configurations)
        self._configurations.clear()
        oldest = self._groups[0].frames[0] if self._groups else None
        return [frame if oldest is None else frame._replace(pts=oldest.pts, dts=oldest.dts) for frame in configurations]

    def take(self) -> list[Frame]:
        """Give everything away, oldest first."""
        frames = [frame for group in self._groups for frame in group.frames]
        self._groups.clear()
        self._size = self.frames_held = 0
        return frames

    def expire(self) -> None:
        """Let go of everything."""
        self.frames_expired += len(self.take())

    def _expire_oldest(self) -> None:
        group = self._groups.popleft()
        self._size -= group.size
        self.frames_held -= len(group.frames)
        for frame in group.frames:
            self._note_expired(frame)

    def _note_expired(self, frame: Frame) -> None:
        self.frames_expired += 1
        if memoryview(frame.data).nbytes <= CONFIGURATION_SIZE_MAX and self._is_configuration(frame):
            self._configurations.append(frame._replace(data=bytes(frame.data)))


@dataclass
class _TooLarge:
    """Frames that do not fit: the first of a run is reported at once, then not more often than every ten seconds."""

    count: int = 0
    reported: int = 0
    reported_ns: int = -FOR_EVER_NS

    def happened(self, now_ns: int) -> int:
        """Count one; return how many there were since the last report if another one is due, else 0."""
        self.count += 1
        if now_ns < self.reported_ns + TELL_NS:
            return 0
        since, self.reported, self.reported_ns = self.count - self.reported, self.count, now_ns
        return since


@dataclass(frozen=True)
class IntakeRules:
    """What a stream's options ask for.

    ``is_configuration``: whether a call has parameter sets and no picture.
    ``key_tracks``: those whose key frames decoding begins with; none: it can begin with any frame.
    """

    stream_name: str
    keeps_clock: bool = False  # times that cannot be true are put right
    is_only_way: bool = False  # no gate asks about times before
    pre_roll_ns: int = 0
    pre_roll_size: int = 0
    key_tracks: frozenset[int] = frozenset()
    is_configuration: Callable[[Frame], bool] = lambda frame: False


@dataclass(frozen=True)
class IntakeWorld:
    """What the intake uses; functions that never wait, of any thread."""

    put: Callable[[Buffer, int, int | None, int, int, int], None]
    end_fragment: Callable[[], None]
    tell: Callable[[Event], None]
    believe: Callable[[int, int], None]  # times between these two need not come this way
    wall_ns: Callable[[], int]
    steady_ns: Callable[[], int]
    lock: AbstractContextManager[object]


@dataclass(frozen=True)
class IntakeCounts:
    """Frames that were offered and are not in the core's ledger, and what the clock of the source was found to be."""

    frames_held: int = 0
    frames_expired: int = 0
    time_offset_ns: int = 0
    note: str = ""  # for health: why nothing goes out although nothing is wrong


class Intake:
    """Frames of one stream, from any thread, before they reach the core."""

    def __init__(self, rules: IntakeRules, world: IntakeWorld) -> None:
        self._rules = rules
        self._world = world
        self._clocks = SourceClocks()
        self._ring = PreRoll(rules.pre_roll_ns, rules.pre_roll_size, rules.is_configuration)
        self._open_until_ns = 0 if rules.pre_roll_ns else FOR_EVER_NS  # on the steady clock
        self._is_paused = False
        self._too_large = _TooLarge()
        self.on_change: Callable[[], None] = lambda: None  # :attr:`is_needed` may be another now
        if rules.keeps_clock:
            world.believe(*believable(world.wall_ns()))

    @property
    def is_needed(self) -> bool:
        """Whether frames have to come this way now; else they may go straight to the core."""
        return self._rules.is_only_way or self._open_until_ns != FOR_EVER_NS or self._clocks.shift_ns != 0

    @property
    def keeps_clock(self) -> bool:
        """Whether times that cannot be true are put right here."""
        return self._rules.keeps_clock

    def counts(self) -> IntakeCounts:
        """The figures now."""
        ring = self._ring
        note = ""
        if self._open_until_ns != FOR_EVER_NS and self._steady_ns() >= self._open_until_ns:
            why = "paused" if self._is_paused else "waiting for a trigger"
            note = f"{why}: {ring.frames_held} frames are held, nothing is uploaded"
        return IntakeCounts(ring.frames_held, ring.frames_expired, self._clocks.shift_ns, note)

    def put(self, data: Buffer, pts: int, dts: int | None, duration: int, track: int, flags: int) -> None:
        """Take a frame: on to the core, into the ring, or out. Raises what the core does; the frame is then nowhere."""
        clock = pts if dts is None else dts
        if abs(clock) >= FOR_EVER_NS:
            raise OverflowError("a time is no time of a clock")
        with self._world.lock:
            shift_ns = self._shift(track, clock)
            frame = Frame(data, pts + shift_ns, None if dts is None else dts + shift_ns, duration, track, flags)
            now_ns = self._steady_ns()
            opens = not self._rules.key_tracks or (track in self._rules.key_tracks and bool(flags & KEY))
            if self._is_open(now_ns, opens):
                self._world.put(*frame)
            else:
                self._ring.add(frame, opens, now_ns)

    def put_unbelievable(self, data: Buffer, pts: int, dts: int | None, duration: int, track: int, flags: int) -> None:
        """As :meth:`put`, for a frame that the gate refused for its times, by a range that may be out of date."""
        self._world.believe(*believable(self._world.wall_ns()))
        self.put(data, pts, dts, duration, track, flags)

    def refuse_size(self, track: int, size: int, store_size: int) -> None:
        """Count a frame that does not fit into the store; a run of them is reported now and then."""
        with self._world.lock:
            count = self._too_large.happened(self._steady_ns())
        if count:
            self._tell(FrameTooLarge(self._rules.stream_name, track, size, store_size, count))

    def pause(self) -> None:
        """Upload nothing from now on; frames are held by the ring, or expire where there is none."""
        with self._world.lock:
            self._is_paused = True
            self._close()
            self.on_change()
        self._tell(Paused(self._rules.stream_name))

    def resume(self) -> None:
        """Upload what is held, and all that comes."""
        with self._world.lock:
            self._is_paused = False
            self._open_until_ns = FOR_EVER_NS
            count = self._give_out()
            self.on_change()
        self._tell(Resumed(self._rules.stream_name, count))

    def trigger(self, duration_ns: int) -> None:
        """Upload what is held, and what comes within ``duration_ns`` from now, to the end of its group of pictures."""
        with self._world.lock:
            self._is_paused = False
            self._open_until_ns = max(self._open_until_ns, self._steady_ns() + duration_ns)
            count = self._give_out()
            self.on_change()
        self._tell(Triggered(self._rules.stream_name, duration_ns, count))

    def end(self) -> None:
        """The stream is closed: what is held expires, and frames go to the core, which refuses them."""
        with self._world.lock:
            self._ring.expire()
            self._open_until_ns = FOR_EVER_NS

    def _shift(self, track: int, dts_ns: int) -> int:
        if not self._rules.keeps_clock:
            return 0
        shift_ns, is_new = self._clocks.place(track, dts_ns, self._world.wall_ns(), self._steady_ns())
        if is_new:
            self.on_change()
            self._tell(TimesAnchored(self._rules.stream_name, track, shift_ns))
        return shift_ns

    def _is_open(self, now_ns: int, opens: bool) -> bool:
        """Whether a frame that comes now goes on; a trigger that is over ends with the group that it is in."""
        if now_ns < self._open_until_ns:
            return True
        if self._open_until_ns and not opens and now_ns < self._open_until_ns + GROUP_END_NS:
            return True
        if self._open_until_ns:
            self._close()
        return False

    def _close(self) -> None:
        """Hold from now on. What was uploaded is a whole fragment, which the service persists."""
        self._open_until_ns = 0
        self._world.end_fragment()

    def _give_out(self) -> int:
        """Put what is held; what the core refuses has expired. Returns how many frames went on."""
        for frame in self._ring.take_configurations():
            with contextlib.suppress(errors.KvsError):
                self._world.put(*frame)
        frames = self._ring.take()
        count = 0
        for frame in frames:
            try:
                self._world.put(*frame)
                count += 1
            except errors.KvsError:
                self._ring.frames_expired += 1
        return count

    def _steady_ns(self) -> int:
        return self._world.steady_ns()

    def _tell(self, event: Event) -> None:
        self._world.tell(event)
