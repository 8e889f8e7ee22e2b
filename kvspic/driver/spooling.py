"""The spool of one stream on the driver's loop: what an earlier process left is compared with the service's list and
fed first; then whatever memory could not hold, whenever there is room; what is settled leaves the disk.

Always: feeding begins when the stream is ready for the first time, so there is somebody to ask.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kvspic import errors
from kvspic.actions import Action, ActionKind, Event
from kvspic.core import Stream
from kvspic.driver.aio import AioDriver, Clock
from kvspic.provider.results import ServiceError, ServiceResult
from kvspic.spool.cut import cut_left
from kvspic.spool.files import SpoolDir, stream_folder
from kvspic.spool.journal import Journal, JournalSetup
from kvspic.spool.progress import StoredFragment
from kvspic.spool.records import UnknownFormat
from kvspic.spool.spool import Spool, SpoolPlan
from kvspic.threads import in_thread
from kvspic.types import FullPolicy, Order, StreamOptions, Track, TrackType
from kvspic.units import HNS_PER_MS

if TYPE_CHECKING:
    from kvspic.provider.control import ControlPlane

__all__ = ["Notices", "SpoolWork", "core_options", "open_spool"]

logger = logging.getLogger("kvspic.spool")

CHECK_TIMEOUT_S = 20.0
TICK_S = 5.0
IDLE_TICKS = 4  # the idle time is watched in so many steps
SLACK_HNS = 10_000 * HNS_PER_MS  # around what is asked for
SIZE_MIN = 1 << 20
NAME = re.compile(r"[a-zA-Z0-9_.-]{1,256}")
# What may have settled frames, made room, or given the core somebody to send to.
STIRRING = frozenset((ActionKind.FRAGMENT_DONE, ActionKind.DROPPED, ActionKind.ROOM, ActionKind.CLOSED))


def core_options(options: StreamOptions) -> StreamOptions:
    """Return the options that the core gets for a stream with a spool: the core is a window, drops nothing, and ends no
    fragment by itself."""
    return replace(options, full_policy=FullPolicy.REFUSE, buffer_duration=timedelta(0), end_idle_fragment=timedelta(0))


def open_spool(name: str, tracks: Sequence[Track], options: StreamOptions) -> Spool:
    """Open the folder of a stream's spool; reads at most two of its files. Blocks.

    Raises:
        UsageError: it cannot be used, is in use, or holds frames of other tracks.
    """
    if not NAME.fullmatch(name) or name in (".", ".."):
        raise errors.named("STREAM_NAME")
    if options.spool_size < SIZE_MIN or options.spool_durability not in ("process", "disk"):
        text = 'spool_size is at least 1 MiB and spool_durability "process" or "disk": correct the options'
        raise errors.named("INVALID_ARG", text)
    video = [slot for slot, track in enumerate(tracks) if track.type == TrackType.VIDEO]
    default = Order.CUT if len(tracks) > 1 else Order.NONE
    order = default if options.order is None else Order(options.order)
    has_lead = order == Order.CUT or len(tracks) == 1
    numbers = tuple(track.number or slot + 1 for slot, track in enumerate(tracks))
    cpd = tuple(bytes(track.cpd or b"") for track in tracks)
    setup = JournalSetup(
        tracks=[_words(number, track) for number, track in zip(numbers, tracks)],
        cpd=cpd,
        size_max=options.spool_size,
        is_disk_durable=options.spool_durability == "disk",
        lead=(video or [0])[0] if has_lead else None,
        is_sparse=tracks[video[0]].independent if video else True,
    )
    can_check = has_lead and not options.fragment_duration and not options.relative_times
    directory = SpoolDir(stream_folder(Path(options.spool or "."), name))
    try:
        if options.recovered_until_ns is not None:
            with contextlib.suppress(UnknownFormat):  # the journal says what to do
                cut_left(directory, options.recovered_until_ns)
        journal = Journal(directory, setup)
    except OSError as error:
        directory.close()
        text = f"the spool {directory.path} cannot be read ({error.strerror}): repair it or name another directory"
        raise errors.named("INVALID_ARG", text) from error
    return Spool(SpoolPlan(name, numbers, cpd, options.offline, can_check, dict(options.recovered_tags)), journal)


def _words(number: int, track: Track) -> dict[str, Any]:
    """What a track must have in common with one whose frames it is to go on with."""
    return {
        "number": number,
        "type": int(track.type),
        "codec_id": track.codec_id,
        "content_type": track.content_type,
        "nal": track.nal,
        "independent": track.independent,
        "sound": [track.sample_rate, track.channels, track.bit_depth],
    }


@dataclass(frozen=True)
class Notices:
    """The calls by which the work reports: events, that there may be room for a put, and that something changed."""

    event: Callable[[Event], None]
    room: Callable[[], None]
    pulse: Callable[[], None]


class SpoolWork:
    """Runs from :meth:`start` to :meth:`end`."""

    def __init__(self, spool: Spool, core: Stream, plane: ControlPlane, driver: AioDriver, clock: Clock) -> None:
        self.spool = spool
        self._plane = plane
        self._driver = driver
        self._clock = clock
        self._notices: Notices
        self._is_asked = self._is_scheduled = self._is_ended = False
        self._idle_s = 0.0
        self._idle_ticks = self._seen_activity = 0
        self._timer: asyncio.TimerHandle | None = None
        spool.attach(core, clock.now_hns)

    def start(self, notices: Notices, idle: timedelta) -> None:
        """Begin; ``idle``: after so long without a frame the open fragment is ended, 0: never."""
        self._notices = notices
        self._idle_s = idle.total_seconds()
        loop = self._driver.loop

        def wake() -> None:
            with contextlib.suppress(RuntimeError):  # the loop is closed
                loop.call_soon_threadsafe(self._tell)

        self.spool.on_event = wake
        self._set_timer()

    def on_action(self, action: Action) -> None:
        """The core said something."""
        if action.kind == ActionKind.READY and not self._is_asked:
            self._is_asked = True
            self._driver.spawn(self._begin(), f"kvspic {self.spool.plan.stream} spool")
        elif action.kind in STIRRING:
            self.stir()

    def stir(self) -> None:
        """Look soon whether something is settled, or can be fed."""
        if not self._is_scheduled and not self._is_ended:
            self._is_scheduled = True
            self._driver.loop.call_soon(self._work)

    def end(self) -> None:
        """Do no more."""
        self._is_ended = True
        if self._timer is not None:
            self._timer.cancel()

    def _work(self) -> None:
        self._is_scheduled = False
        if self._is_ended:
            return
        if self.spool.settle():
            self._notices.room()
        if self.spool.feed():
            self.stir()
        self._tell()
        self._notices.pulse()

    def _tell(self) -> None:
        for event in self.spool.take_events():
            self._notices.event(event)

    # ---- what an earlier process left

    async def _begin(self) -> None:
        span = await in_thread(self.spool.left_span_ns, None)
        stored = None if span is None else await self._ask(span)
        if not self._is_ended:
            await in_thread(functools.partial(self.spool.begin, stored is not None, stored or {}), None)
            self.stir()

    async def _ask(self, span_ns: tuple[int, int]) -> dict[int, StoredFragment] | None:
        """What the service has of it; None when it does not say."""
        span_hns = max(0, span_ns[0] // 100 - SLACK_HNS), span_ns[1] // 100 + SLACK_HNS
        name = self.spool.plan.stream
        try:
            found = await asyncio.wait_for(self._plane.list_fragments(name, span_hns), CHECK_TIMEOUT_S)
        except (ServiceError, asyncio.TimeoutError) as error:
            if isinstance(error, ServiceError) and error.result == ServiceResult.NOT_FOUND:
                return {}  # there is no such stream yet, or it is being created: it has nothing
            logger.warning("%s: what the service has of the spool is not known: %s", name, error or "no answer")
            return None
        return {
            (one.producer_time_hns + HNS_PER_MS // 2) // HNS_PER_MS: StoredFragment(
                one.size, one.duration_hns // HNS_PER_MS
            )
            for one in found
        }

    # ---- time

    def _set_timer(self) -> None:
        tick_s = min(TICK_S, self._idle_s / IDLE_TICKS or TICK_S)
        self._timer = self._driver.loop.call_later(tick_s, self._tick)

    def _tick(self) -> None:
        if self._is_ended:
            return
        is_idle = self.spool.tick(self._seen_activity)
        self._seen_activity = self.spool.activity
        self._idle_ticks = self._idle_ticks + 1 if is_idle else 0
        if self._idle_s and self._idle_ticks * min(TICK_S, self._idle_s / IDLE_TICKS) >= self._idle_s:
            self._idle_ticks = 0
            with contextlib.suppress(errors.StateError, errors.UsageError):
                self.spool.end_fragment(self._clock.now_hns())
            self._driver.take_turn()
        self._set_timer()
