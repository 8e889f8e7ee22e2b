"""A source of frames in the simulation: bursts of video and audio with the bad habits of real ones.

Realtime frames are put when they come. An offline source puts as fast as the store takes them and waits for room. Each
frame has its identity in its bytes; an account keeps what was taken.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from kvspic import errors
from kvspic.testing.sim_checks import payload_of
from kvspic.testing.sim_coded import Coder
from kvspic.testing.sim_plan import Burst, DtsKind, StreamPlan
from kvspic.testing.sim_random import SimRandom
from kvspic.types import BackwardPolicy
from kvspic.units import HNS_PER_MS, HNS_PER_S

if TYPE_CHECKING:
    from kvspic.testing.simulation import World

__all__ = ["SimSource"]

VIDEO, AUDIO = 1, 2
KEY = 1
BATCH = 20  # frames that an offline source puts in one go
PACE_HNS = 30 * HNS_PER_MS


class Made(NamedTuple):
    """A frame before it is put; ``size`` is what it would have without a codec."""

    track: int
    size: int
    flags: int
    pts_hns: int
    dts_hns: int | None


class SimSource:
    """The frames of one stream plan, through all lives of the stream."""

    def __init__(self, world: World, plan: StreamPlan) -> None:
        self._world = world
        self._plan = plan
        self._random = SimRandom(world.plan.seed, f"source {plan.index}")
        self._audio_track = AUDIO if plan.video_hns else VIDEO
        self._waiting: Made | None = None  # an offline frame that found no room
        self._coder = Coder(SimRandom(world.plan.seed, f"coder {plan.index}")) if plan.is_coded else None
        self._coder_account = 0  # that the coder gives its frames to
        self._burst: Burst | None = None
        self._at_hns = 0  # of the next frame, in the time of the burst
        self._audio_at_hns = 0
        self._count = 0  # frames of the GOP so far
        self._late: list[tuple[int, int]] = []  # second track's frames to be put: when, pts
        self._last: dict[int, tuple[int, int]] = {}  # by track: times of the last frame
        self.bursts_left = len(plan.bursts)
        self._gop = 0
        self._is_left_out = False  # the GOP of now: its key frame found no room
        for burst in plan.bursts:
            begin_hns = world.begin_hns + burst.begin_hns
            world.clock.call_at(begin_hns, lambda burst=burst: self._begin(burst))  # type: ignore[misc]

    @property
    def is_done(self) -> bool:
        """Whether no frame will come any more."""
        return not self.bursts_left

    def _begin(self, burst: Burst) -> None:
        if self._burst is not None:  # an offline source is still busy with the one before
            self._world.clock.call_later(10 * HNS_PER_S, lambda: self._begin(burst))
            return
        self._burst = burst
        self._at_hns = self._audio_at_hns = self._world.clock.now_hns
        self._count = self._plan.gop // 2 if burst.is_headless else 0
        self._next()

    def _end(self) -> None:
        self._burst = None
        self.bursts_left -= 1

    # ---- the rhythm

    def _next(self) -> None:
        burst, world = self._burst, self._world
        if burst is None:
            return
        if self._plan.offline:
            self._batch()
            return
        self._frame(burst)
        if world.clock.now_hns >= world.begin_hns + burst.end_hns and self._may_end():
            self._end()
            return
        world.clock.call_at(self._at_hns, self._next)

    def _batch(self) -> None:
        """Put until the store is full or enough is done for now; ``room`` goes on."""
        burst, world = self._burst, self._world
        life = world.lives[self._plan.index]
        if self._waiting is not None and not self._put(self._waiting):
            return
        for _ in range(BATCH):
            if burst is None or (self._at_hns >= world.begin_hns + burst.end_hns and self._may_end()):
                self._end()
                return
            self._frame(burst)
            if self._waiting is not None:
                life.on_room = self.room
                return
        world.clock.call_later(PACE_HNS, self._next)

    def _may_end(self) -> bool:
        """An open GOP is not left in the middle: the pictures of the next burst would lie before its last one."""
        return not self._plan.leading or not self._plan.video_hns or self._count % self._plan.gop == 0

    def room(self) -> None:
        """There is room again, or the stream begins again."""
        if self._waiting is not None:
            self._world.clock.call_later(0, self._next)

    def is_waiting(self) -> bool:
        """Whether an offline frame waits for room."""
        return self._waiting is not None

    def _frame(self, burst: Burst) -> None:
        """One frame of the leading track, and what the other has up to it."""
        plan = self._plan
        if not plan.video_hns:
            self._sound(self._at_hns)
            self._at_hns += plan.audio_hns
            return
        self._picture(burst)
        if plan.audio_hns and not burst.is_silent:
            while self._audio_at_hns <= self._at_hns:
                self._sound_later(self._audio_at_hns)
                self._audio_at_hns += plan.audio_hns
        self._at_hns += plan.video_hns

    def _picture(self, burst: Burst) -> None:
        place = self._count % self._plan.gop
        if place == 0:
            self._gop += not burst.is_dark  # frames after a missing key frame look like those before it
            self._is_left_out = False
        if not (self._is_left_out or burst.is_dark):
            self._video(self._at_hns, place)
        self._count += 1

    def _video(self, dts_hns: int, place: int) -> None:
        plan = self._plan
        pts_hns = dts_hns
        if plan.leading and plan.gop > 2:  # an open GOP: K, then a picture that is shown before it
            pts_hns += plan.video_hns * (2 if place == 0 else 0 if place == 1 else 1)
        size = self._size(plan.size_high if place == 0 else max(plan.size_low, plan.size_high // 4))
        if plan.huge and self._count % plan.huge == plan.huge - 1:
            size = self._random.between(60_000, 300_000)
        off_hns = self._off_hns(dts_hns)
        self._make(VIDEO, size, KEY if place == 0 else 0, pts_hns + off_hns, dts_hns + off_hns)

    def _off_hns(self, at_hns: int) -> int:
        """How far the source's clock is off."""
        burst = self._burst
        if burst is None:
            return 0
        is_stepped = at_hns - self._world.begin_hns > (burst.begin_hns + burst.end_hns) // 2
        return burst.jump_hns + burst.step_hns * is_stepped

    def _sound_later(self, at_hns: int) -> None:
        if self._plan.offline or not self._plan.late_hns:
            self._sound(at_hns)
        else:
            self._world.clock.call_later(self._plan.late_hns, lambda: self._sound(at_hns))

    def _sound(self, at_hns: int) -> None:
        key = KEY if self._audio_track == VIDEO and self._random.chance(10) else 0
        at_hns += self._off_hns(at_hns)
        self._make(self._audio_track, self._size(200), key, at_hns, at_hns)

    def _size(self, high: int) -> int:
        return self._random.spread(self._plan.size_low, max(self._plan.size_low + 1, high))

    # ---- into the core

    def _make(self, track: int, size: int, flags: int, pts_hns: int, dts_hns: int) -> None:
        if self._waiting is not None:
            return  # a second track's frame of the same moment: the burst goes on without it
        life = self._world.lives[self._plan.index]
        account = life.account
        if self._plan.repeats and self._random.chance(self._plan.repeats):
            pts_hns, dts_hns = self._last.get(track, (pts_hns, dts_hns))
        self._last[track] = (pts_hns, dts_hns)
        made = Made(track, size, flags, pts_hns, self._dts(dts_hns))
        calls: tuple[bytes, ...] = ()
        if self._coder is not None and track == VIDEO:
            if self._coder_account != account.number:
                self._coder.begin()
            self._coder_account = account.number
            calls = self._coder.next_group() if flags & KEY else ()
        self._put_calls(made, calls)
        self._put(made)

    def _dts(self, dts_hns: int) -> int | None:
        plan = self._plan
        if plan.dts is DtsKind.GIVEN or plan.backward_policy is BackwardPolicy.ERROR:
            return dts_hns
        return None if plan.dts is DtsKind.UNKNOWN else dts_hns + self._random.between(0, 2000) * HNS_PER_MS

    def _put_calls(self, made: Made, calls: tuple[bytes, ...]) -> None:
        """Put what holds no picture; the next picture takes it along."""
        world = self._world
        life = world.lives[self._plan.index]
        for data in calls:
            try:
                life.core.put_frame(data, made.pts_hns, made.dts_hns, 0, made.track, 0, world.clock.now_hns)
            except errors.StreamStoppedError:
                return
            life.account.counts[made.track] += 1
            life.account.joined_size += len(data)
            world.touched[life] = None

    def _put(self, made: Made) -> bool:
        """Put a frame; False when an offline one has to wait for room."""
        world = self._world
        life = world.lives[self._plan.index]
        account, track, flags = life.account, made.track, made.flags
        coder = self._coder if track == VIDEO else None
        if coder is not None and self._coder_account != account.number:  # the stream lives another life by now
            self._coder_account = account.number
            coder.begin()
            self._put_calls(made, coder.next_group() if flags & KEY else ())
        number = account.counts[track]
        data = payload_of(account.number, track, number, made.size)
        picture = None if coder is None else coder.picture(data, flags)
        data = data if picture is None else picture.data
        self._waiting = None
        try:
            life.core.put_frame(data, made.pts_hns, made.dts_hns, 0, track, flags, world.clock.now_hns)
        except errors.StoreFullError:
            if self._plan.offline:  # a source of a realtime stream with the policy to refuse leaves the frame out
                self._waiting = made
                life.on_room = self.room
            elif track == VIDEO and flags & KEY:
                self._is_left_out = True
            return False
        except errors.FrameTooLargeError:
            self._is_left_out = self._is_left_out or (track == VIDEO and bool(flags & KEY))
            return True
        except (errors.StreamStoppedError, errors.MediaError):
            return True
        finally:
            world.touched[life] = None
        key = track << 32 | number
        account.frames[key] = (made.pts_hns, len(data) + account.joined_size * (coder is not None))
        if picture is not None:
            account.coded[key] = (made.size, picture.sets)
            account.joined_size = 0
        account.note_times(key, life.core)
        if track == VIDEO and self._plan.video_hns:
            account.gops[number | VIDEO << 32] = self._gop
        account.counts[track] += 1
        return True
