"""A producer behind the facades: one client, its driver, the control plane, and the streams that are open.

The client's own orders are answered at once: credentials are fetched when a stream wants them, so a camera that boots
without a network can open its streams and put frames. Runs on one event loop's thread.
"""

from __future__ import annotations

import asyncio
import logging
import os
import random
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING

from kvspic import errors
from kvspic.actions import ORDERS, Action, ActionKind, Event
from kvspic.core import Client, StreamSetup
from kvspic.driver.aio import AioDriver, Clock
from kvspic.driver.orders import OrderSettings, StreamOrders
from kvspic.driver.spooling import SpoolWork, core_options
from kvspic.driver.stream import StreamParts, StreamWork
from kvspic.driver.turn import Turn
from kvspic.intake import Intake, IntakeRules, IntakeWorld
from kvspic.limits import check_options
from kvspic.media_bits import is_configuration
from kvspic.media_check import MediaCheck
from kvspic.mistakes import check_url
from kvspic.provider.clock import SERVICE_CLOCK
from kvspic.provider.endpoints import EndpointCache
from kvspic.retry import CallRates, DefaultRetryPolicy, RetryPolicy, check_policy
from kvspic.types import BUFFER_DEFAULT, ClientMetrics, ClockPolicy, StreamOptions, StreamReport, Track, TrackType, hns
from kvspic.units import HNS_PER_S, NS_PER_S

if TYPE_CHECKING:
    from kvspic.provider.credentials import CredentialSource
    from kvspic.spool.spool import Spool

__all__ = ["EXIT_TIMEOUT_S", "FORKED", "ProducerSettings", "ProducerWork"]

logger = logging.getLogger("kvspic.producer")

Callback = Callable[[Event], None]

EXIT_TIMEOUT_S = 5.0
ENDPOINT_VARIABLE = "AWS_ENDPOINT_URL_KINESIS_VIDEO"
EACH_TURN = timedelta(milliseconds=5)  # a stream with this max_delay or less is read in every turn
LOOK_S = 1.0  # how often the media check looks at the counters


@dataclass(frozen=True)
class ProducerSettings:
    """How a producer is made; see :class:`kvspic.producer.Producer` for what the fields mean."""

    region: str | None = None
    endpoint_url: str | None = None
    credentials: CredentialSource | None = None
    store_size: int = 0
    client_id: str = ""
    retry_policy: RetryPolicy | None = None
    exit_timeout_s: float = EXIT_TIMEOUT_S
    call_rates: CallRates | None = None


class ProducerWork:
    """Made on any thread; :meth:`start` and everything awaited runs on one loop."""

    def __init__(self, settings: ProducerSettings) -> None:
        check_url("endpoint_url", settings.endpoint_url)
        if settings.endpoint_url is None:
            check_url(ENDPOINT_VARIABLE, os.environ.get(ENDPOINT_VARIABLE))
        if settings.retry_policy is not None:
            check_policy(settings.retry_policy)
        self._settings = settings
        self.clock = Clock()
        now_hns, seed = self.clock.now_hns(), random.getrandbits(64)
        self._client = Client(now_hns, store_size=settings.store_size, client_id=settings.client_id, seed=seed)
        self._store_size = self._client.metrics().store_max
        self._turn = Turn(self._client)
        self._turn.handlers[0] = self._on_client_action
        self._driver = AioDriver(self._turn, self._client.wake_fd, self.clock, self._on_fault)
        self._policy = settings.retry_policy or DefaultRetryPolicy(random.random)
        self._endpoints = EndpointCache()
        self._last_user = 0
        self._fault: errors.KvsError | None = None
        self.streams: dict[int, StreamWork] = {}
        self.is_closed = False
        self.is_forked = False
        self._is_looking = False  # at the counters, once a second

    def start(self) -> None:
        """Begin to take turns; on the loop's thread. The client is ready after the first."""
        from kvspic.provider.control import ControlPlane

        settings = self._settings
        self._plane = ControlPlane(
            region=settings.region,
            endpoint_url=settings.endpoint_url,
            credentials=settings.credentials,
            user_agent_extra=settings.client_id,
        )
        self._driver.start()

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        """The loop that the producer runs on."""
        return self._driver.loop

    @property
    def running_loop(self) -> asyncio.AbstractEventLoop | None:
        """The same while it runs; None before the start and when the loop has ended."""
        return self._driver.running_loop

    @property
    def exit_timeout_s(self) -> float:
        """For how long the end of the process may wait for frames."""
        return self._settings.exit_timeout_s

    def open_stream(
        self,
        name: str,
        tracks: Sequence[Track],
        options: StreamOptions,
        callbacks: Sequence[Callback] = (),
        spool: Spool | None = None,
    ) -> StreamWork:
        """Open a stream; it takes frames at once and becomes ready by itself. ``callbacks`` get all its events.

        ``spool`` is what :func:`open_spool` made; it is the stream's from then on, unless this raises.
        """
        self.check_open()
        check_options(options)
        options = with_room_for_ring(options, self._store_size)
        rules = _intake_rules(name, tracks, options, has_gate=spool is None)
        self._last_user += 1
        user = self._last_user
        passed = options if spool is None else core_options(options)
        core = self._client.open_stream(StreamSetup(name, tracks, passed, user), self.clock.now_hns())
        core.set_clock(self.clock.offset_hns)
        orders = StreamOrders(
            _order_settings(name, tracks, options, self._settings.call_rates or CallRates()),
            core,
            self._plane,
            self._endpoints,
            self._driver.spawn,
            self.clock,
        )
        orders.after_change = self._driver.woken
        spooling = None if spool is None else SpoolWork(spool, core, self._plane, self._driver, self.clock)
        work = StreamWork(StreamParts(name, core, orders, self._driver, self.clock, self._policy, spooling))
        work.callbacks.extend(callbacks)
        if options.media_check:
            work.media = _media_check(name, tracks, options)
        work.track_numbers = tuple(track.number or index for index, track in enumerate(tracks, 1))
        work.intake = self._intake(work, rules)
        if spooling is not None:
            spooling.start(work.notices, options.end_idle_fragment if not options.fragment_duration else timedelta(0))
        if work.media is not None and not self._is_looking:
            self._is_looking = True
            self._driver.loop.call_later(LOOK_S, self._look_at_counters)
        self.streams[user] = work
        self._turn.handlers[user], self._turn.readers[user] = work.on_action, orders.data
        if options.max_delay > EACH_TURN:
            self._turn.delays[user] = hns(options.max_delay)
        self._driver.take_turn()
        return work

    def close_gates(self) -> None:
        """Take no more frames for any stream; any thread."""
        for work in list(self.streams.values()):
            work.close_gate()

    def abort_stream(self, work: StreamWork) -> StreamReport:
        """Free one stream at once; connections are aborted."""
        try:
            return work.abort()
        finally:
            self._forget(work)

    async def close_stream(self, work: StreamWork, timeout_s: float) -> StreamReport:
        """Drain and free one stream."""
        self._turn.undelay(self._user_of(work))
        try:
            return await work.close(timeout_s)
        finally:
            self._forget(work)

    async def close(self, timeout_s: float) -> list[StreamReport]:
        """Close all streams side by side within ``timeout_s``, then the producer; return their reports."""
        self.is_closed = True
        try:
            self.close_gates()
            works = list(self.streams.values())
            return list(await asyncio.gather(*(self.close_stream(work, timeout_s) for work in works)))
        finally:
            await self.abandon()

    async def abandon(self) -> None:
        """Free everything at once; what is buffered is lost."""
        self.is_closed = True
        for work in list(self.streams.values()):
            work.shut()
            self._forget(work)
        await self._driver.close()
        self._client.close()

    def check_open(self) -> None:
        """Raise what keeps streams from being opened: a fault of the driver, or that the producer is closed."""
        if self._fault is not None:
            raise self._fault
        if self.is_forked:
            raise errors.named("CLIENT_STATE", FORKED)
        if self.is_closed:
            raise errors.named("CLIENT_STATE", "the producer is closed: make a new one")

    def metrics(self) -> ClientMetrics:
        """The counters of the content store that the streams share."""
        return self._client.metrics()

    def next_deadline_hns(self) -> int | None:
        """When the core acts next by itself."""
        return None if self.is_closed else self._client.next_deadline_hns()

    def forget_in_child(self) -> None:
        """In a forked child: touch nothing that the parent uses; the memory is kept until the child ends."""
        self.is_closed = self.is_forked = True
        _kept_after_fork.append((self._client, [work.leave() for work in self.streams.values()]))

    def _intake(self, work: StreamWork, rules: IntakeRules) -> Intake:
        core, sink, clock = work.core, work.sink, self.clock

        def believe(first_ns: int, last_ns: int) -> None:
            core.believe(first_ns // NS_PER_S, max(0, last_ns - clock.now_hns() * 100) // NS_PER_S)

        intake = Intake(
            rules,
            IntakeWorld(
                put=sink.put_frame_now,
                end_fragment=work.end_fragment,
                tell=work.tell_soon,
                believe=believe,
                wall_ns=_wall_ns,
                steady_ns=lambda: clock.now_hns() * 100,
                lock=threading.Lock(),
            ),
        )
        media = work.media
        work.wall_ns = _wall_ns

        def divert() -> None:
            core.divert(intake.is_needed or (media is not None and media.is_watching))

        intake.on_change = divert
        if media is not None:
            media.on_change = divert
        divert()
        return intake

    def _look_at_counters(self) -> None:
        """Once a second, for as long as there are streams with a media check."""
        works = [work for work in self.streams.values() if work.media is not None]
        self._is_looking = bool(works) and not self.is_closed
        for work in works:
            try:
                work.look_at_counters()
            except Exception:
                logger.exception("%s: the media check could not look at the counters", work.name)
        if self._is_looking:
            self._driver.loop.call_later(LOOK_S, self._look_at_counters)

    def _forget(self, work: StreamWork) -> None:
        if user := self._user_of(work):
            del self.streams[user]
            self._turn.forget(user)

    def _user_of(self, work: StreamWork) -> int:
        """The number by which actions name a stream; 0 when it has left."""
        return next((user for user, found in self.streams.items() if found is work), 0)

    def _on_client_action(self, action: Action) -> None:
        if action.kind in ORDERS:
            try:
                self._client.answer(action.request, self.clock.now_hns())
            except errors.StateError as error:
                logger.debug("the client's order %d: %s", action.kind, error)
        if action.kind == ActionKind.ROOM:  # another stream gave slabs back: a put that waits may try again
            for work in self.streams.values():
                work.room()

    def _on_fault(self, error: BaseException) -> None:
        self._fault = errors.named("INTERNAL", f"{type(error).__name__}: {error}")
        self._fault.__cause__ = error
        for work in self.streams.values():
            work.fail(self._fault)


def with_room_for_ring(options: StreamOptions, store_size: int) -> StreamOptions:
    """Return the options of a stream whose ring fits into its buffer, because a trigger moves all of it there.

    Raises:
        InvalidArgError: it cannot.
    """
    if hns(options.pre_roll) < 0 or options.pre_roll_size <= 0:
        raise errors.named("INVALID_ARG", "pre_roll is a duration of 0 or more, and pre_roll_size is above 0")
    if not options.pre_roll:
        return options
    if options.offline:
        text = "pre_roll is for live streams: leave it out, or open the stream without offline"
        raise errors.named("INVALID_ARG", text)
    if options.buffer_duration and options.buffer_duration <= options.pre_roll:
        text = "the buffer must hold more than the ring: give a buffer_duration that is longer than pre_roll"
        raise errors.named("INVALID_ARG", text)
    return replace(
        options,
        buffer_duration=options.pre_roll + BUFFER_DEFAULT
        if options.buffer_duration is None
        else options.buffer_duration,
        pre_roll_size=min(options.pre_roll_size, (options.store_size or store_size) // 4 * 3),
    )


def _wall_ns() -> int:
    """The time of day: the service knows better than a machine without a battery clock."""
    return time.time_ns() + int(SERVICE_CLOCK.offset_s * 1e9)


def _media_check(name: str, tracks: Sequence[Track], options: StreamOptions) -> MediaCheck:
    has_times = options.clock != ClockPolicy.ARRIVAL
    return MediaCheck(name, tracks, threading.Lock(), has_times=has_times, is_relative=options.relative_times)


def _intake_rules(name: str, tracks: Sequence[Track], options: StreamOptions, *, has_gate: bool) -> IntakeRules:
    clock = options.clock
    if clock is None:
        clock = ClockPolicy.GIVEN if options.offline else ClockPolicy.ANCHORED
    video = {track.number or index: track for index, track in enumerate(tracks, 1) if track.type == TrackType.VIDEO}
    return IntakeRules(
        name,
        keeps_clock=clock == ClockPolicy.ANCHORED,
        is_only_way=clock == ClockPolicy.ANCHORED and not has_gate,
        pre_roll_ns=hns(options.pre_roll) * 100,
        pre_roll_size=options.pre_roll_size,
        key_tracks=frozenset(number for number, track in video.items() if not track.independent),
        is_configuration=lambda frame: frame.track in video and is_configuration(video[frame.track], frame.data),
    )


FORKED = "this process was forked after the producer was made: make a producer in the process that uses it"
_kept_after_fork: list[object] = []


def _order_settings(name: str, tracks: Sequence[Track], options: StreamOptions, call_rates: CallRates) -> OrderSettings:
    retention_hns = int(options.retention.total_seconds()) * HNS_PER_S
    return OrderSettings(
        name=name,
        retention_hns=retention_hns,
        media_type=",".join(track.content_type for track in tracks if track.content_type),
        tags=dict(options.tags),
        kms_key_id=options.kms_key_id,
        is_absolute=not options.relative_times,
        wants_acks=options.want_acks,
        call_rates=call_rates,
        may_send=options.may_send,
    )
