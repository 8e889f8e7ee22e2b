"""What a simulated run is made of: streams and their frames, deeds of the user, faults. Made from a seed; plain data.

A plan says everything that happens from outside, so that a failing one can be made smaller by leaving things out. All
times count from the begin of the run, in ticks of 100 ns.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum

from kvspic.local.acks import AckError
from kvspic.local.faults import ANY, PUT_MEDIA, Fault, FaultKind
from kvspic.local.quotas import Beyond
from kvspic.testing.sim_random import SimRandom
from kvspic.types import BackwardPolicy, FullPolicy
from kvspic.units import HNS_PER_HOUR, HNS_PER_MS, HNS_PER_S

__all__ = ["Burst", "Deed", "DeedKind", "Plan", "StreamPlan", "make_plan"]

SLAB = 65536
FRAMES_PER_HOUR = 2400  # of all streams together, by default: what keeps an hour within a quarter of a second


class DeedKind(Enum):
    """What the user does to a stream."""

    STOP = "stop"  # and begin again when it is closed: reset, or free and open again
    RESET = "reset"
    RETRY = "retry"
    RESET_CONNECTION = "reset connection"
    END_FRAGMENT = "end fragment"
    METADATA = "metadata"
    FREE = "free"  # in the middle of whatever it does, and open again
    CPD = "new codec private data"


@dataclass(frozen=True)
class Deed:
    """One thing that the user does."""

    at_hns: int
    stream: int
    kind: DeedKind


@dataclass(frozen=True)
class Burst:
    """Frames of one source, evenly spaced, then none until the next burst.

    ``jump_hns``: how far the source's clock is off; ``step_hns``: how far it is set on or back in the middle.
    """

    begin_hns: int
    end_hns: int
    is_silent: bool = False  # the second track is
    is_dark: bool = False  # the first is, while the second goes on
    is_headless: bool = False  # begins without a key frame
    jump_hns: int = 0
    step_hns: int = 0


class DtsKind(Enum):
    """What a source knows of the times of decoding."""

    GIVEN = "given"
    UNKNOWN = "not known"
    GUESSED = "guessed"  # wrongly


@dataclass(frozen=True)
class StreamPlan:
    """One stream and its source; what has a default makes it special. ``gop`` counts frames from key frame to key
    frame; an interval of 0: no such track.

    ``late_hns``: the second track's frames are put so much later than the video's of the same time. ``leading``: open
    GOPs, whose second frame lies before the key frame. ``exists_hours``: the service has the stream already, with this
    retention; None: it has to be created.
    """

    index: int
    bursts: tuple[Burst, ...]
    video_hns: int = 400 * HNS_PER_MS
    audio_hns: int = 0
    gop: int = 10
    size_low: int = 20
    size_high: int = 2000
    offline: bool = False
    late_hns: int = 0
    leading: bool = False
    store_size: int = 0
    buffer_s: int = 120
    retention_hours: int = 24
    exists_hours: int | None = 24
    want_acks: bool = True
    relative: bool = False
    has_tags: bool = False
    replay_s: int = 0
    full_policy: FullPolicy = FullPolicy.DROP_FRAGMENT
    backward_policy: BackwardPolicy = BackwardPolicy.SHIFT
    fragment_s: int = 0  # 0: each key frame begins a fragment
    is_unpaced: bool = False  # each key frame begins a fragment, and a backlog goes out at once
    huge: int = 0  # every so many frames one that needs several slabs; 0: none
    repeats: int = 0  # of 100 frames so many have the time of the one before
    is_coded: bool = False  # the video is H.264, see sim_coded; else frames without a format
    dts: DtsKind = DtsKind.GIVEN
    max_delay_ms: int = 5

    @property
    def name(self) -> str:
        """The stream's name."""
        return f"s{self.index}"


@dataclass(frozen=True)
class Plan:
    """A run. ``sessions_max``: connections of a stream that the service takes at a time; 0: any number. ``beyond``:
    what it does with fragments beyond the quotas; an unpaced stream is slowed by none."""

    seed: int
    duration_hns: int
    streams: tuple[StreamPlan, ...]
    deeds: tuple[Deed, ...] = ()
    faults: tuple[Fault, ...] = ()
    store_size: int = 64 * SLAB
    latency_hns: int = 10 * HNS_PER_MS
    bytes_per_s: int = 1_000_000
    token_life_hns: int = HNS_PER_HOUR
    persist_hns: int = 100 * HNS_PER_MS
    creating_hns: int = 0
    sessions_max: int = 0
    beyond: Beyond = Beyond.SLOW


def make_plan(seed: int, hours: float = 1.0) -> Plan:
    """Draw a run from its seed."""
    random = SimRandom(seed, "plan")
    duration = int(hours * HNS_PER_HOUR)
    count = random.choice((1, 1, 2, 2, 3, 4))
    frames = int(FRAMES_PER_HOUR * hours) // count
    streams = tuple(_stream(SimRandom(seed, f"stream {index}"), index, duration, frames) for index in range(count))
    slabs = random.spread(3, 24) * count if random.chance(40) else 256
    return Plan(
        seed=seed,
        duration_hns=duration,
        store_size=slabs * SLAB,
        latency_hns=random.spread(1, 300) * HNS_PER_MS,
        bytes_per_s=random.spread(20_000, 10_000_000),
        token_life_hns=random.spread(60, 7200) * HNS_PER_S,
        persist_hns=random.spread(1, 3000) * HNS_PER_MS,
        creating_hns=random.choice((0, 0, 800, 8000)) * HNS_PER_MS,
        sessions_max=SimRandom(seed, "quota").choice((0, 1)),
        beyond=SimRandom(seed, "beyond").choice((*4 * (Beyond.SLOW,), Beyond.DROP)),
        streams=streams,
        deeds=_deeds(SimRandom(seed, "deeds"), duration, streams),
        faults=_faults(SimRandom(seed, "faults"), duration, streams),
    )


# ---- streams


def _stream(random: SimRandom, index: int, duration: int, frames: int) -> StreamPlan:
    tracks = random.choice(("video", "video", "both", "both", "audio"))
    video = random.spread(40, 1500) * HNS_PER_MS + random.between(0, 999) if tracks != "audio" else 0
    audio = random.spread(60, 1000) * HNS_PER_MS + random.between(0, 999) if tracks != "video" else 0
    long_s = 60 if random.chance(12) else 12  # longer than a fragment may be, or as cameras do
    gop = max(1, min(random.spread(1, long_s * 5), long_s * HNS_PER_S // video)) if video else 1
    if video and audio and random.chance(85):  # as a rule each fragment has some frames of both
        audio = max(20 * HNS_PER_MS, min(audio, gop * video // 2))
    per_s = (HNS_PER_S / video if video else 0) + (HNS_PER_S / audio if audio else 0)
    offline = random.chance(25)
    plan = StreamPlan(
        index=index,
        offline=offline,
        video_hns=video,
        audio_hns=audio,
        gop=gop,
        late_hns=random.spread(1, 700) * HNS_PER_MS if random.chance(50) else 0,
        leading=random.chance(30),
        size_low=random.spread(8, 64),
        size_high=random.choice((200, 2000, 2000, 20_000)),
        bursts=_bursts(random, duration, int(frames / per_s * HNS_PER_S), bool(video and audio)),
    )
    return _variant(random, plan)


def _variant(random: SimRandom, plan: StreamPlan) -> StreamPlan:
    retention = random.choice((0, 2, 24)) if not plan.offline else 24
    exists = random.choice((None, retention, 24)) if not plan.offline else random.choice((None, 24))
    # An offline stream whose open fragment fills the store can not go on: its frames are kept small.
    size_high = min(plan.size_high, 2 * SLAB // (8 * max(plan.gop, 150))) if plan.offline else plan.size_high
    return replace(
        plan,
        size_high=max(size_high, plan.size_low + 1),
        store_size=random.spread(2, 16) * SLAB if random.chance(30) else 0,
        buffer_s=0 if plan.offline else random.choice((0, 5, 20, 120, 120)),
        retention_hours=retention,
        exists_hours=exists,
        want_acks=plan.offline or not random.chance(8),
        relative=random.chance(20),
        has_tags=random.chance(30),
        replay_s=random.between(3, 20) if not plan.offline and random.chance(10) else 0,
        full_policy=random.choice(tuple(FullPolicy)) if random.chance(20) else FullPolicy.DROP_FRAGMENT,
        backward_policy=random.choice(tuple(BackwardPolicy)),
        fragment_s=random.between(1, 6) if random.chance(15) else 0,
        is_unpaced=random.chance(25),
        huge=random.spread(20, 400) if random.chance(10) and not plan.offline else 0,
        repeats=random.between(1, 30) if random.chance(10) else 0,
        is_coded=bool(plan.video_hns) and random.chance(40),
        dts=random.choice(tuple(DtsKind)),
        max_delay_ms=random.choice((0, 5, 100, 1000)),
    )


def _bursts(random: SimRandom, duration: int, active: int, has_both: bool) -> tuple[Burst, ...]:
    """Bursts that together last ``active``, with gaps from a blink to a fifth of an hour."""
    bursts, at = [], random.spread(1, 5000) * HNS_PER_MS
    while at < duration and active > 0:
        length = min(random.spread(3, 300) * HNS_PER_S, active, duration - at)
        burst = Burst(
            begin_hns=at,
            end_hns=at + length,
            is_silent=has_both and random.chance(25),
            is_dark=has_both and random.chance(5),
            is_headless=random.chance(5),
            jump_hns=_jump(random, 8),
            step_hns=_jump(random, 5),
        )
        bursts.append(burst)
        active -= length
        at += length + random.spread(100, 700_000) * HNS_PER_MS
    return tuple(bursts)


def _jump(random: SimRandom, percent: int) -> int:
    """Up to an hour, in either direction, in so many cases of 100."""
    return random.choice((-1, 1)) * random.spread(1, 3_600_000) * HNS_PER_MS if random.chance(percent) else 0


# ---- deeds


def _deeds(random: SimRandom, duration: int, streams: tuple[StreamPlan, ...]) -> tuple[Deed, ...]:
    rare = (DeedKind.STOP, DeedKind.STOP, DeedKind.RESET, DeedKind.FREE)
    often = (DeedKind.RETRY, DeedKind.RESET_CONNECTION, DeedKind.END_FRAGMENT, DeedKind.METADATA, DeedKind.CPD)
    deeds = []
    for stream in streams:
        for _ in range(random.below(6)):
            deeds.append(Deed(random.below(duration), stream.index, random.choice(often)))
        if random.chance(40):
            deeds.append(Deed(random.below(duration), stream.index, random.choice(rare)))
    return tuple(sorted(deeds, key=lambda deed: (deed.at_hns, deed.stream)))


# ---- faults

_REFUSALS = (
    (400, "ClientLimitExceededException"),
    (400, "ConnectionLimitExceededException"),
    (400, "ResourceInUseException"),
    (403, "ExpiredTokenException"),
    (403, "InvalidSignatureException"),
    (403, "AccessDeniedException"),
    (404, "ResourceNotFoundException"),
    (429, ""),
    (500, "InternalFailure"),
    (503, ""),
    (504, ""),
)
_ERROR_IDS = tuple(int(error) for error in AckError if error is not AckError.MIN_FRAGMENT_DURATION_REACHED)
_KEY_IDS = tuple(error for error in _ERROR_IDS if 4500 <= error < 4600)
_OPERATIONS = (
    PUT_MEDIA, PUT_MEDIA, PUT_MEDIA, ANY, "DescribeStream", "CreateStream", "TagStream", "GetDataEndpoint", "GetToken",
)  # fmt: skip
_OF_UPLOAD = (
    FaultKind.CUT, FaultKind.CUT, FaultKind.SILENCE, FaultKind.THROTTLE, FaultKind.ERROR_ACK, FaultKind.DELAY_ACKS,
    FaultKind.REORDER_ACKS, FaultKind.DROP_ACKS, FaultKind.KMS_KEY,
)  # fmt: skip
_OF_ANY = (
    FaultKind.REFUSE, FaultKind.UNREACHABLE, FaultKind.ANSWER, FaultKind.ANSWER, FaultKind.DELAY, FaultKind.SILENCE,
)  # fmt: skip
_OF_ENDPOINT = (FaultKind.STALL, FaultKind.RESTART, FaultKind.EXPIRE_TOKENS)


def _faults(random: SimRandom, duration: int, streams: tuple[StreamPlan, ...]) -> tuple[Fault, ...]:
    """Faults in the first nine tenths of the run, mostly while frames come, with quiet time between them."""
    faults: list[Fault] = []
    busy = sorted(burst.begin_hns for stream in streams for burst in stream.bursts)
    at = random.spread(1, 400) * HNS_PER_S
    while at < duration * 9 // 10:
        if random.chance(70):
            at = next((begin for begin in busy if begin > at), at) + random.spread(100, 20_000) * HNS_PER_MS
        window = random.spread(1, 240) * HNS_PER_S
        for _ in range(random.choice((1, 1, 1, 2, 3))):
            fault = _fault(random, at, min(at + window, duration), len(streams))
            faults.append(fault)
            if fault.operation == PUT_MEDIA and random.chance(60):  # so that uploads begin again, and meet the fault
                faults.append(Fault(FaultKind.RESTART, begin_hns=at, end_hns=at + HNS_PER_S, delay_hns=HNS_PER_MS))
        at += window + random.spread(5, 600) * HNS_PER_S
    return tuple(faults)


def _fault(random: SimRandom, begin: int, end: int, streams: int) -> Fault:
    kinds = random.choice((_OF_UPLOAD, _OF_UPLOAD, _OF_ANY, _OF_ENDPOINT))
    kind = random.choice(kinds)
    fault = Fault(
        kind,
        operation=PUT_MEDIA if kinds is _OF_UPLOAD else random.choice(_OPERATIONS) if kinds is _OF_ANY else ANY,
        stream=f"s{random.below(streams)}" if random.chance(40) else ANY,
        begin_hns=begin,
        end_hns=end,
        skip=random.choice((0, 0, 0, 1, 2)),
        count=random.choice((0, 1, 1, 2, 7)),
        after_bytes=random.choice((0, 1, 40, 300, 600, random.spread(1, 100_000), random.spread(1000, 100_000))),
        delay_hns=random.spread(10, 40_000) * HNS_PER_MS,
        bytes_per_s=random.spread(300, 100_000) if kind is FaultKind.THROTTLE else 0,
    )
    return _detail(random, fault)


def _detail(random: SimRandom, fault: Fault) -> Fault:
    if fault.kind is FaultKind.ANSWER:
        status, name = random.choice(_REFUSALS)
        return replace(fault, status=status, error_name=name, retry_after_s=random.choice((0, 0, 1, 7)))
    if fault.kind is FaultKind.KMS_KEY:
        return replace(fault, error_id=random.choice(_KEY_IDS), end_hns=max(fault.end_hns, fault.begin_hns + HNS_PER_S))
    if fault.kind is FaultKind.ERROR_ACK:
        return replace(fault, error_id=random.choice(_ERROR_IDS), fragment=random.below(4))
    return fault
