"""Deterministic simulation: the real core and retry policy against the model of the service, under one seed.

A run is drawn from a seed (``sim_plan``), played on a clock that jumps from event to event, and checked after each
(``sim_checks``): the ledger adds up, nothing is freed before its persisted ACK, memory stays within the budget, the
service never refuses a fragment, every stream makes progress or is in a named condition. The same seed gives the same
run. ``kvspic simulate --seeds 0..99 --hours 1`` runs many; ``sim_shrink`` makes a failing one small.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import astuple, dataclass, replace
from datetime import timedelta

from kvspic import errors
from kvspic.actions import ORDERS, Action, ActionKind
from kvspic.core import TIME_NONE, Client, StreamSetup, UploadReader
from kvspic.driver.aio import WAKE_SIZE, wake_socket
from kvspic.driver.turn import Turn
from kvspic.local.faults import FaultKind, FaultScript
from kvspic.local.model import Service
from kvspic.local.quotas import Beyond, Quotas
from kvspic.local.settings import Settings
from kvspic.provider.endpoints import EndpointCache
from kvspic.retry import CallBudget, DefaultRetryPolicy
from kvspic.testing.clock import SimClock
from kvspic.testing.sim_checks import Accounts, Violation
from kvspic.testing.sim_network import Network
from kvspic.testing.sim_plan import Deed, DeedKind, Plan, StreamPlan, make_plan
from kvspic.testing.sim_random import SimRandom
from kvspic.testing.sim_service import Keys, SimService
from kvspic.testing.sim_source import SimSource
from kvspic.testing.sim_stream import SimStream
from kvspic.testing.sim_transcript import Transcript
from kvspic.types import BackwardPolicy, DropReason, H264Track, StreamOptions, Track, TrackType
from kvspic.units import HNS_PER_S

__all__ = ["Figures", "World", "run_plan", "run_seed"]

BEGIN_HNS = 17_000_000_000_000_000  # some day in 2023
WATCH_HNS = 10 * HNS_PER_S
STUCK_HNS = 240 * HNS_PER_S  # a peer that takes no byte is left after 120 s; and as much again for what comes then
READ_SIZE = 16384
FAULT_TAIL_HNS = 105 * HNS_PER_S  # what a fault still delays after its time: the longest pause is 60 s
DRAIN_MAX_HNS = 3600 * HNS_PER_S
LINGER_HNS = 60 * HNS_PER_S  # a connection that the core is done with has ended by then
EVENTS_MAX = 3_000_000
HEADS_SIZE = 40  # around a frame, a fragment
FAULT_BYTES_MAX = 1_000_000


@dataclass(frozen=True)
class Figures:
    """What a run did."""

    frames: int
    fragments: int
    sessions: int
    events: int
    bytes_put: int
    bytes_sent: int

    def plus(self, other: Figures) -> Figures:
        """The figures of both runs."""
        return Figures(*(mine + theirs for mine, theirs in zip(astuple(self), astuple(other))))


class World:
    """One run."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.begin_hns = BEGIN_HNS
        self.clock = SimClock(BEGIN_HNS)
        self.random = SimRandom(plan.seed, "world")
        self.accounts = Accounts(self.clock)
        self.network = Network(self.clock, SimRandom(plan.seed, "network"), plan.latency_hns, plan.bytes_per_s)
        settings = Settings(
            quotas=_quotas(plan),
            creating_hns=plan.creating_hns,
            persist_delay_hns=plan.persist_hns,
        )
        script = FaultScript(plan.faults, BEGIN_HNS)
        self.service = SimService(self.clock, self.network, Service(settings), script, self.accounts)
        self.policy = DefaultRetryPolicy(SimRandom(plan.seed, "policy").unit)
        self.throttle = CallBudget()
        self.endpoints = EndpointCache()
        self.reader = UploadReader(READ_SIZE)
        self.touched: dict[SimStream, None] = {}
        self.lives: dict[int, SimStream] = {}
        self.sources: dict[int, SimSource] = {}
        self.transcript = Transcript(BEGIN_HNS)
        self._keys: Keys | None = None
        self._is_healed = False
        self.client = Client(BEGIN_HNS, store_size=plan.store_size, seed=plan.seed + 1)
        self.turn = Turn(self.client)
        self.turn.handlers[0] = self._on_client_action
        self._wake = wake_socket(self.client.wake_fd)
        self._due_hns = self.turn.take(BEGIN_HNS)
        self._due = self.clock.call_later(0, lambda: None)
        self._over_hns = 0
        for stream in plan.streams:
            self._prepare(stream)
        for deed in plan.deeds:
            self.clock.call_at(BEGIN_HNS + deed.at_hns, lambda deed=deed: self._do(deed))  # type: ignore[misc]
        self.clock.call_later(WATCH_HNS, self._watch)
        self.clock.call_at(BEGIN_HNS + plan.duration_hns, self._heal)

    # ---- streams

    def _prepare(self, plan: StreamPlan) -> None:
        if plan.exists_hours is not None:
            request = {"StreamName": plan.name, "DataRetentionInHours": plan.exists_hours}
            self.service.model.call("CreateStream", request, self.clock.now_hns)
        self._open(plan)
        account = self.lives[plan.index].account
        is_steady = not plan.repeats and not any(burst.step_hns for burst in plan.bursts)
        keeps_times = plan.backward_policy is BackwardPolicy.SHIFT or (
            plan.backward_policy is BackwardPolicy.SESSION and is_steady  # else pictures wait for the next key frame
        )
        begins_well = not any(burst.is_headless or burst.is_dark for burst in plan.bursts)
        if (
            account.loses_nothing_refused and keeps_times and begins_well
        ):  # else, and in later lives, a GOP may miss its beginning
            account.offline_losses.append(DropReason.SKIPPED)
        self.sources[plan.index] = SimSource(self, plan)

    def _open(self, plan: StreamPlan) -> None:
        account = self.accounts.open(plan.name, plan.offline, plan.want_acks)
        account.loses_nothing_refused = not any(
            fault.kind is FaultKind.ERROR_ACK
            and errors.refusal_of(fault.ack_error).about is errors.RefusalClass.FRAGMENT
            for fault in self.plan.faults
        )
        account.mixes_gops = bool(plan.fragment_s) or not plan.is_unpaced
        account.is_paced = not plan.is_unpaced
        account.joins_below = (plan.store_size or self.plan.store_size) // 5 if account.is_paced else 0
        account.is_coded = plan.is_coded
        account.is_relative = plan.relative
        account.may_be_silent = bool(plan.video_hns and plan.audio_hns)
        setup = StreamSetup(plan.name, _tracks(plan), _options(plan), account.number)
        core = self.client.open_stream(setup, self.clock.now_hns)
        life = self.lives[plan.index] = SimStream(self, plan, account, core)
        life.on_closed = lambda: self._closed(life)
        self.turn.handlers[account.number], self.turn.readers[account.number] = life.on_action, life.data
        if plan.max_delay_ms > 5:
            self.turn.delays[account.number] = plan.max_delay_ms * HNS_PER_S // 1000

    def _closed(self, life: SimStream) -> None:
        """A stopped stream is closed: it is checked, and mostly begins again."""
        self.accounts.check(life.account, life.core, self.plan.store_size)
        self.accounts.check_end(life.account)
        if not self._is_healed:
            self.clock.call_later(self.random.spread(1, 60) * HNS_PER_S, lambda: self._again(life))

    def _again(self, life: SimStream) -> None:
        if life.is_freed or not life.is_closed:
            return
        if self.random.chance(50):
            life.user_reset()
        else:
            self._free(life)
            self._open(life.plan)
        self.sources[life.plan.index].room()

    def _free(self, life: SimStream) -> None:
        life.free()
        self.turn.forget(life.account.number)
        self.touched.pop(life, None)

    # ---- deeds

    def _do(self, deed: Deed) -> None:
        life = self.lives.get(deed.stream)
        if life is None or life.is_freed or self._is_healed:
            return
        self.write(life.plan.name, f"user: {deed.kind.value}")
        self.touched[life] = None
        if deed.kind is DeedKind.FREE:
            self._free(life)
            self._open(life.plan)
            self.sources[deed.stream].room()
        elif deed.kind is DeedKind.RESET:
            life.user_reset()
            self.sources[deed.stream].room()
        else:
            self._simple_deed(life, deed.kind)

    def _simple_deed(self, life: SimStream, kind: DeedKind) -> None:
        core, now_hns = life.core, self.clock.now_hns
        acts: dict[DeedKind, Callable[[], None]] = {
            DeedKind.STOP: life.user_stop,
            DeedKind.RETRY: life.user_retry,
            DeedKind.RESET_CONNECTION: lambda: core.reset_connection(now_hns),
            DeedKind.END_FRAGMENT: lambda: core.end_fragment(now_hns),
            DeedKind.METADATA: lambda: core.put_metadata("name", "value", self.random.chance(30)),
            DeedKind.CPD: lambda: self._new_cpd(life),
        }
        if kind is DeedKind.END_FRAGMENT:
            life.may_skip()
        try:
            acts[kind]()
        except (errors.StateError, errors.ResourceError, errors.UsageError) as error:
            self.write(life.plan.name, f"refused: {type(error).__name__}")

    def _new_cpd(self, life: SimStream) -> None:
        if not life.plan.is_coded:  # a coder's are in what it gives
            life.core.set_cpd(1, self.random.next().to_bytes(8, "big"))

    def _heal(self) -> None:
        """The faults are over: from now on everything has to drain. Half-open connections stay half-open."""
        self._is_healed = True
        self.service.heal()
        self.write("", "faults are over")

    # ---- what the provider gives

    def credentials(self, refresh: bool, stream: str = "") -> Keys | None:
        """Keys that are good for a while; None when the source has none."""
        if self.service.script.strikes("GetToken", stream, self.clock.now_hns):
            return None
        keys, life_hns = self._keys, self.plan.token_life_hns
        if keys is None or refresh or keys.expires_hns - self.clock.now_hns < max(35 * HNS_PER_S, life_hns // 3):
            keys = self._keys = self.service.new_keys(life_hns)
        return keys

    def has_later_order(self, user: int) -> bool:
        """Whether an order of this user waits until it may be sent, or its data until it is read."""
        waits = any(action.user == user for _, _, action in self.turn._later)
        return waits or any(held == user for held, _ in self.turn._held)

    def _on_client_action(self, action: Action) -> None:
        if action.kind in ORDERS:
            self.client.answer(action.request, self.clock.now_hns)
        elif action.kind == ActionKind.ROOM:
            for life in self.lives.values():
                life.on_room()

    # ---- the transcript

    def note(self, life: SimStream, action: Action) -> None:
        """Keep an action for the transcript, and look at its stream after the step."""
        self.touched[life] = None
        self.transcript.add(self.clock.now_hns, life.plan.name, action)

    def write(self, name: str, text: str) -> None:
        """Keep a line for the transcript."""
        self.transcript.add(self.clock.now_hns, name, text)

    # ---- running

    def run(self) -> Figures:
        """Play it to the end."""
        events = 0
        while not self._is_over():
            self.accounts.step = events = events + 1
            self.clock.step()
            if not self.clock.was_quiet:  # else something happened at the service only
                if self._is_woken() or self.clock.now_hns >= self._due_hns:
                    self._take_turn()
                self._check_touched()
            if events > EVENTS_MAX:
                raise Violation("events without end", f"{events}")
        return self._figures(events)

    def _is_woken(self) -> bool:
        """Whether the core has asked for a turn; without that and a deadline the driver takes none either."""
        try:
            return bool(self._wake.recv(WAKE_SIZE))
        except BlockingIOError:
            return False

    def _take_turn(self) -> None:
        self._due_hns = due_hns = self.turn.take(self.clock.now_hns)
        if self._due.is_pending and self._due.at_hns == due_hns:
            return
        self._due.cancel()
        if due_hns != TIME_NONE:
            self._due = self.clock.call_at(due_hns, lambda: None)

    def _check_touched(self) -> None:
        if not self.touched:
            return
        store_max = self.plan.store_size
        for life in self.touched:
            if not life.is_freed:
                self.accounts.check(life.account, life.core, life.plan.store_size or store_max)
        self.touched.clear()
        self.accounts.check_client(self.client, store_max)

    def _watch(self) -> None:
        """Now and then: does every stream move, or have a reason not to?"""
        self.clock.call_later(WATCH_HNS, self._watch)
        for life in self.lives.values():
            self._watch_one(life)
        if self._is_healed:
            self._stop_finished()
            if self.clock.now_hns > self.begin_hns + self.plan.duration_hns + DRAIN_MAX_HNS:
                raise Violation("not drained in time", self._states())

    def _watch_one(self, life: SimStream) -> None:
        self.accounts.check(life.account, life.core, self.plan.store_size)
        found, account, now_hns = life.account.metrics, life.account, self.clock.now_hns
        is_waiting = self.sources[life.plan.index].is_waiting() and not life.is_stopped
        mark = (found.frames_put, found.frames_done + sum(found.frames_dropped), found.bytes_sent)
        is_held = not life.condition() and not found.bytes_unsent  # other tracks' frames that wait for a key frame
        if life.plan.fragment_s and not life.is_stopped:  # fragments cut by time have no idle end
            is_held = is_held or not found.bytes_unsent
        is_idle = (not found.frames_buffered or is_held) and not is_waiting and life.is_closed == life.is_stopped
        if mark != account.progress_mark or is_idle or life.is_given_up or self._fault_is_near(now_hns):
            account.progress_mark, account.progress_hns = mark, now_hns
        elif now_hns - account.progress_hns > STUCK_HNS:
            raise Violation("a stream is stuck", f"{life.plan.name} of {self._states()}")
        if not life.condition() and found.bytes_unsent:
            raise Violation("nothing would make a stream go on", f"{life.plan.name} of {self._states()}")
        if life.is_given_up:
            life.given_up_for += 1
            if life.given_up_for > 6:
                life.given_up_for = 0
                life.user_retry()

    def _fault_is_near(self, now_hns: int) -> bool:
        if self._is_healed:
            return now_hns < self.begin_hns + self.plan.duration_hns + FAULT_TAIL_HNS
        at_hns = now_hns - self.begin_hns
        return any(fault.begin_hns <= at_hns < fault.end_hns + FAULT_TAIL_HNS for fault in self.plan.faults)

    def _stop_finished(self) -> None:
        for life in self.lives.values():
            if self.sources[life.plan.index].is_done and not life.is_stopped:
                self.write(life.plan.name, "user: stop at the end")
                life.user_stop()

    def _is_over(self) -> bool:
        if not self._is_healed:
            return False
        if not all(life.is_closed and self.sources[index].is_done for index, life in self.lives.items()):
            return False
        self._over_hns = self._over_hns or self.clock.now_hns + LINGER_HNS
        return self.clock.now_hns > self._over_hns or not any(life.uploads for life in self.lives.values())

    def _states(self) -> str:
        return "; ".join(self._state(index, life) for index, life in self.lives.items())

    def _state(self, index: int, life: SimStream) -> str:
        found = life.account.metrics
        flags = " stopped" * life.is_stopped + " waits for room" * self.sources[index].is_waiting()
        return (
            f"{life.plan.name} {life.core.metrics().state.name} {life.condition()!r} buffered {found.frames_buffered} "
            f"unsent {found.bytes_unsent} uploads {sorted(life.uploads)}{flags}"
        )

    def _figures(self, events: int) -> Figures:
        for life in self.lives.values():
            if life.account.uploads_open:
                raise Violation("an upload handle did not end", f"{life.plan.name}: {life.account.uploads_open}")
        accounts = self.accounts.all.values()
        fragments = sum(life.account.metrics.fragments_put for life in self.lives.values())
        frames = sum(len(account.frames) for account in accounts)
        bytes_put = sum(account.metrics.bytes_put for account in accounts)
        bytes_sent = sum(account.metrics.bytes_sent for account in accounts)
        found = Figures(frames, fragments, self.service.sessions, events, bytes_put, bytes_sent)
        self._check_bytes(found)
        return found

    def _check_bytes(self, found: Figures) -> None:
        """What is sent is little more than the media, a fault costs a megabyte at most."""
        media = found.bytes_put + HEADS_SIZE * (found.frames + found.fragments + found.sessions)
        causes = 1 + len(self.plan.faults) + len(self.plan.deeds)
        if self.plan.beyond is Beyond.DROP and any(stream.is_unpaced for stream in self.plan.streams):
            return  # without a word of the service all goes out again every 30 s
        if found.bytes_sent > media * 11 // 10 + causes * FAULT_BYTES_MAX:
            what = f"{found} with {causes - 1} faults and deeds"
            raise Violation("more bytes than the media and its faults need", what)

    def close(self) -> None:
        """Free everything."""
        for life in self.lives.values():
            if not life.is_freed:
                self._free(life)
        self._wake.close()
        self.client.close()


def _quotas(plan: Plan) -> Quotas:
    """All of the service's, but that an unpaced stream would go beyond those of fragments at all times."""
    quotas = Quotas(sessions_max=plan.sessions_max, beyond=plan.beyond)
    if plan.beyond is Beyond.SLOW and any(stream.is_unpaced for stream in plan.streams):
        return replace(quotas, fragments_per_s=0, fragment_duration_min_hns=0)
    return quotas


def _tracks(plan: StreamPlan) -> list[Track]:
    tracks: list[Track] = []
    if plan.video_hns and plan.is_coded:
        tracks.append(H264Track())
    elif plan.video_hns:
        tracks.append(Track("V_MJPEG", "video/mjpeg", name="video", cpd=b"video"))
    if plan.audio_hns:
        tracks.append(Track("A_PCM", "audio/pcm", TrackType.AUDIO, name="audio", cpd=b"audio", sample_rate=8000))
    return tracks


def _options(plan: StreamPlan) -> StreamOptions:
    return StreamOptions(
        retention=timedelta(hours=plan.retention_hours),
        offline=plan.offline,
        tags={"a": "b"} if plan.has_tags else {},
        buffer_duration=timedelta(seconds=plan.buffer_s),
        store_size=plan.store_size,
        want_acks=plan.want_acks,
        relative_times=plan.relative,
        replay_max=timedelta(seconds=plan.replay_s),
        full_policy=plan.full_policy,
        backward_policy=plan.backward_policy,
        fragment_duration=timedelta(seconds=plan.fragment_s),
        max_delay=timedelta(milliseconds=plan.max_delay_ms),
        fragment_duration_min=timedelta(0) if plan.is_unpaced else None,
    )


# ---- runs


def run_plan(plan: Plan) -> Figures:
    """Play a plan.

    Raises:
        Violation: a promise is broken; its ``lines`` are the end of the transcript.
    """
    world = World(plan)
    try:
        return world.run()
    except Violation as violation:
        violation.lines = world.transcript.lines()
        raise
    finally:
        world.close()


def run_seed(seed: int, hours: float = 1.0) -> Figures:
    """Play the run of a seed."""
    return run_plan(make_plan(seed, hours))
