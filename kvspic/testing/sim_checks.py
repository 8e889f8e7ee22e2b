"""What must hold after every step of a simulation: accounts of what was put, arrived, was stored, and was acknowledged.

An account belongs to one life of one stream, from open to free. It knows each frame by number, so that what the core
says of itself (its ledger) is compared with what the service really has.
"""

from __future__ import annotations

import struct
from bisect import bisect_left, bisect_right
from collections import deque
from dataclasses import dataclass, field

from kvspic._lib import check, lib, new_struct
from kvspic.actions import NEVER_BUFFERED
from kvspic.core import Client, Stream
from kvspic.local.acks import Ack, AckError
from kvspic.local.mkv_events import Block, Header
from kvspic.testing.clock import SimClock
from kvspic.testing.sim_coded import CannotDecode, StrictReader
from kvspic.types import DropReason
from kvspic.units import HNS_PER_MS, HNS_PER_S

__all__ = ["Account", "Accounts", "SessionLog", "Violation", "payload_of"]

FRAGMENT_MIN_MS = 990  # a second, but for rounding
CALLS_PER_S = 5  # PutMedia, DescribeStream, GetDataEndpoint and the others, for one stream
_HEAD = struct.Struct("<HBI")  # account, track, number
_FILLER = bytes(range(251)) * 1300


class Violation(AssertionError):
    """A promise is broken. ``rule`` names it in a few words, so that a smaller run can be seen to break the same."""

    def __init__(self, rule: str, what: str) -> None:
        super().__init__(f"{rule}: {what}")
        self.rule = rule
        self.lines: tuple[str, ...] = ()  # the end of the run's transcript


def payload_of(account: int, track: int, number: int, size: int) -> bytes:
    """The bytes of a frame: its identity, and a filler that differs from frame to frame."""
    begin = number * 7 % 251
    return _HEAD.pack(account, track, number) + _FILLER[begin : begin + max(0, size - _HEAD.size)]


@dataclass
class Fragment:
    """A fragment as it arrives."""

    offset: int
    timecode: int
    gop: int | None = None
    frames: list[int] = field(default_factory=list)
    times: list[int] = field(default_factory=list)
    is_stored: bool = False
    has_ack: bool = False  # of whatever kind has reached the core
    is_ended: bool = False  # by a tag, because nothing seemed to follow soon

    def __str__(self) -> str:
        blocks = [f"{key >> 32}:{key & 0xFFFFFFFF}@{time}" for key, time in zip(self.frames, self.times)]
        shown = blocks if len(blocks) < 12 else [*blocks[:6], "...", *blocks[-5:]]
        return f"cluster {self.timecode} [{' '.join(shown)}]"


@dataclass
class SessionLog:
    """One connection's part in an upload. ``marks``: after how many bytes of the body each read of the core ended, and
    the step in which it was; shared by the connections of one upload."""

    account: Account
    number: int
    marks: list[tuple[int, int]]
    reader: StrictReader | None = None  # of a coded stream, once the header is here
    fragments: list[Fragment] = field(default_factory=list)
    acked_count: int = 0

    @property
    def stream_name(self) -> str:
        """The stream that it uploads."""
        return self.account.name

    def find(self, ack: Ack) -> int | None:
        """Return which fragment an ACK is about."""
        if ack.timecode is None:
            return None
        at = bisect_left(self.fragments, ack.timecode, key=lambda fragment: fragment.timecode)
        return at if at < len(self.fragments) and self.fragments[at].timecode == ack.timecode else None


class Account:
    """One life of a stream."""

    def __init__(self, number: int, name: str, offline: bool, want_acks: bool) -> None:
        self.number = number
        self.name = name
        self.offline = offline
        self.want_acks = want_acks
        self.done_on_received = False
        self.frames: dict[int, tuple[int, int]] = {}  # frame -> pts_hns, size; those that the core took
        self.moved: set[int] = set()  # frames that were put while their times were not taken as they were given
        self.coded: dict[int, tuple[int, tuple[bytes, bytes]]] = {}  # frame -> size given to the coder, its sets
        self.gops: dict[int, int] = {}  # video frame -> number of its GOP
        self.mixes_gops = False  # fragments are cut by time
        self.is_coded = False  # its video is H.264
        self.arrived: set[int] = set()
        self.stored: set[int] = set()
        self.acked: dict[int, int] = {}  # frame -> step in which the ACK that makes it done reached the core
        self.acked_size = 0
        self.notices_lost = self.drops_known = 0
        self.dropped_from_buffer = 0
        self.is_relative = False
        self.is_paced = True  # keeps to the quotas of fragments
        self.joins_below = 0  # fragments of less bytes last a second or longer; 0: any may be shorter
        self.loses_nothing_refused = False  # no script makes the service refuse its fragments
        self.may_be_silent = False  # a track of it stops now and then
        self.offline_losses = [DropReason.STORE_FULL, DropReason.BUFFER_DURATION, DropReason.REPLAY_LIMIT]
        self.metrics = new_struct("kvs_stream_metrics")
        self._at_put, self._bumped = new_struct("kvs_stream_metrics"), 0
        self.joined_size = 0  # of calls that wait for their picture
        self.progress_mark = (0, 0, 0)
        self.progress_hns = 0
        self.orders: list[int] = []  # times of orders since the last sign of life
        self.calls: dict[str, deque[int]] = {}  # times of the last calls, by operation
        self.uploads_open: set[int] = set()
        self.counts = {1: 0, 2: 0}  # calls taken, by track: each is a frame, unless its stream is coded
        self.settled = {1: 0, 2: 0}  # how many of them, from the first on, are settled
        self.settled_unacked = 0

    def note_times(self, key: int, core: Stream) -> None:
        """A frame was taken: were its times taken as they were given? The core's counters say when they are not."""
        found = self._at_put
        check(lib.kvs_stream_metrics(core._ptr, found))
        if found.shift_hns or found.times_bumped != self._bumped:
            self.moved.add(key)
        self._bumped = found.times_bumped

    def called(self, operation: str, now_hns: int) -> None:
        """The stream makes a call of the service: one of five that it may make in a second."""
        recent = self.calls.setdefault(operation, deque(maxlen=CALLS_PER_S))
        if len(recent) == CALLS_PER_S and now_hns - recent[0] < HNS_PER_S:
            raise Violation("more calls than the service takes", f"{self.name}: {operation}")
        recent.append(now_hns)


class Accounts:
    """All accounts of a run; the judge of the service's side."""

    def __init__(self, clock: SimClock) -> None:
        self._clock = clock
        self._client_metrics = new_struct("kvs_client_metrics")
        self.all: dict[int, Account] = {}
        self.step = 0

    def open(self, name: str, offline: bool, want_acks: bool) -> Account:
        """Begin an account."""
        account = Account(len(self.all) + 1, name, offline, want_acks)
        account.progress_hns = self._clock.now_hns
        self.all[account.number] = account
        return account

    # ---- what arrives (the judge)

    def cluster(self, log: SessionLog, offset: int, timecode: int) -> None:
        """A fragment begins."""
        if log.fragments and timecode <= log.fragments[-1].timecode:
            what = f"{log.stream_name} upload {log.number}: {timecode} after {log.fragments[-1].timecode}"
            raise Violation("cluster times do not rise", what)
        if log.fragments and timecode - log.fragments[-1].timecode < FRAGMENT_MIN_MS:
            self._check_short(log, log.fragments[-1], timecode)
        log.fragments.append(Fragment(offset, timecode))

    def ended(self, log: SessionLog) -> None:
        """A tag ends the fragment that came last."""
        log.fragments[-1].is_ended = True

    def _check_short(self, log: SessionLog, fragment: Fragment, next_timecode: int) -> None:
        """Key frames are joined until a second has passed, unless the fragment would fill too much of the store, or was
        ended before anything that it could be joined to."""
        size = sum(log.account.frames[key][1] for key in fragment.frames)
        if not fragment.is_ended and size < log.account.joins_below:
            what = f"{log.stream_name} upload {log.number}: {next_timecode} after {fragment}"
            raise Violation("a fragment is shorter than the service takes", what)

    def block(self, log: SessionLog, block: Block) -> None:
        """A frame arrived whole."""
        payload, account = block.payload or b"", log.account
        if account.is_coded and block.track == 1:
            payload = self._decoded(log, payload)
        number, track, frame = _HEAD.unpack_from(payload)
        if number != account.number:
            raise Violation("another stream's frame", f"account {number} in {account.name}")
        key = track << 32 | frame
        known = account.frames.get(key)
        if known is None:
            raise Violation("a frame that was not taken arrived", f"{account.name} track {track} frame {frame}")
        pts_hns, size = known
        size = account.coded[key][0] if key in account.coded else size
        if payload != payload_of(number, track, frame, size):
            raise Violation("other bytes arrived", f"{account.name} track {track} frame {frame}")
        if block.track != track:
            raise Violation("another track number", f"{account.name} track {track} frame {frame}: {block.track}")
        if key not in account.moved and not account.is_relative and block.timecode != pts_hns // HNS_PER_MS:
            what = f"{account.name} track {track} frame {frame}: {block.timecode} for {pts_hns}"
            raise Violation("another time arrived", what)
        fragment = log.fragments[-1]
        self._check_repeat(log, fragment, key)
        if fragment.frames and fragment.frames[-1] >> 32 == track and fragment.frames[-1] >= key:
            raise Violation("frames out of order", f"{account.name} track {track} frame {frame}")
        gop = account.gops.get(key)
        if gop is not None and fragment.gop not in (None, gop) and not account.mixes_gops:
            what = (
                f"{account.name} upload {log.number} frame {frame} of GOP {gop} in the fragment of GOP {fragment.gop}"
            )
            raise Violation("a frame without its key frame", what)
        fragment.gop = gop if gop is not None else fragment.gop
        fragment.frames.append(key)
        fragment.times.append(block.timecode)
        account.arrived.add(key)

    def header(self, log: SessionLog, header: Header) -> None:
        """The tracks of a session are known."""
        private = next((track.codec_private for track in header.tracks if track.number == 1), b"")
        if log.account.is_coded:
            log.reader = StrictReader(private)

    def _decoded(self, log: SessionLog, data: bytes) -> bytes:
        """What the coder of a picture was given. It has to be decodable with the session's header and the session's
        frames before it."""
        if log.reader is None:
            raise Violation("a frame without a header", log.stream_name)
        try:
            payload, sets = log.reader.decode(data)
        except CannotDecode as error:
            what = f"{log.stream_name} upload {log.number}: {error}"
            raise Violation("a frame that cannot be decoded", what) from None
        number, track, frame = _HEAD.unpack_from(payload)
        if number == log.account.number and sets != log.account.coded[track << 32 | frame][1]:
            what = f"{log.stream_name} upload {log.number} frame {frame}: its sets are not those that it was coded with"
            raise Violation("a frame that cannot be decoded", what)
        return payload

    def _check_repeat(self, log: SessionLog, fragment: Fragment, key: int) -> None:
        """A frame that was done when its fragment was begun to be read must not be sent again."""
        acked_step = log.account.acked.get(key)
        if acked_step is None:
            return
        mark = bisect_right(log.marks, (fragment.offset, 1 << 60))
        read_step = log.marks[mark][1] if mark < len(log.marks) else self.step
        if acked_step < read_step:
            what = f"{log.account.name} upload {log.number} sends frame {key & 0xFFFFFFFF} of track {key >> 32} again"
            raise Violation("a done frame was sent again", what)

    def slowed(self, log: SessionLog, quota: str) -> None:
        """The model says that the producer went beyond a quota of fragments."""
        if not log.account.is_paced:
            return
        what = f"{log.stream_name} upload {log.number}: {quota}; {'; '.join(map(str, log.fragments[-7:]))}"
        raise Violation("more fragments than the service takes", what)

    def stored(self, log: SessionLog, timecode: int) -> None:
        """The service keeps the fragment of the session that begins then."""
        fragment = next(fragment for fragment in reversed(log.fragments) if fragment.timecode == timecode)
        fragment.is_stored = True
        log.account.stored.update(fragment.frames)

    def refused(self, log: SessionLog, error: AckError) -> None:
        """The model says that the producer broke a rule of the service."""
        if error is AckError.FRAMES_MISSING_FOR_TRACK and log.account.may_be_silent:
            return  # known only when the fragment is over; the core has to send it again without that track
        early = _early(log)
        what = (
            f"{log.stream_name} upload {log.number}: {error.name}; {early}; {'; '.join(map(str, log.fragments[-3:]))}"
        )
        raise Violation("the service refuses a fragment", what)

    # ---- what the core is given

    def acked(self, log: SessionLog, ack: Ack) -> None:
        """An ACK is about to reach the core."""
        own = log.find(ack)
        if own is None:
            return
        log.fragments[own].has_ack = True
        is_final = ack.event == "PERSISTED" or (ack.event == "RECEIVED" and log.account.done_on_received)
        if not is_final:
            return
        for fragment in log.fragments[log.acked_count : own]:
            if fragment.has_ack:  # else the service may have left it out without a word
                self._done(log.account, fragment)
        self._done(log.account, log.fragments[own])
        log.acked_count = max(log.acked_count, own + 1)

    def _done(self, account: Account, fragment: Fragment) -> None:
        for key in fragment.frames if fragment.is_stored else ():
            if key not in account.acked:
                account.acked[key] = self.step
                account.acked_size += account.frames[key][1]

    def dropped(self, account: Account, reason: int, frames: int) -> None:
        """The core says that it dropped frames."""
        account.drops_known += frames
        if reason not in NEVER_BUFFERED:
            account.dropped_from_buffer += frames

    # ---- after every step

    def check(self, account: Account, stream: Stream, store_max: int) -> None:
        """Compare the core's ledger with the account."""
        found = account.metrics
        check(lib.kvs_stream_metrics(stream._ptr, found))
        dropped = sum(found.frames_dropped)
        if found.frames_put != found.frames_done + dropped + found.frames_buffered:
            raise Violation("the ledger's frames do not add up", _ledger(account, dropped))
        if found.bytes_put != found.bytes_done + found.bytes_dropped + found.bytes_buffered:
            raise Violation("the ledger's bytes do not add up", _ledger(account, dropped))
        if found.frames_put != len(account.frames):
            what = f"{_ledger(account, dropped)} taken {len(account.frames)}"
            raise Violation("frames put are not those taken", what)
        is_early = found.frames_done > len(account.acked) or found.bytes_done > account.acked_size
        if account.want_acks and is_early:
            what = f"{_ledger(account, dropped)}, but {len(account.acked)} acknowledged"
            raise Violation("freed before its persisted ACK", what)
        if account.offline and sum(found.frames_dropped[reason] for reason in account.offline_losses):
            raise Violation("an offline stream lost frames", _ledger(account, dropped))
        if account.loses_nothing_refused and found.frames_dropped[DropReason.ERROR_ACK]:
            raise Violation("a refused fragment was lost", _ledger(account, dropped))
        if found.store_used > store_max:
            raise Violation("memory beyond the budget", f"{account.name}: {found.store_used} of {store_max}")
        self._check_settled(account)
        if found.retry_count > 2 * lib.KVS_RETRIES_MAX:  # of the state and of its sessions together
            raise Violation("more retries than budgeted", f"{account.name}: {found.retry_count}")

    def _check_settled(self, account: Account) -> None:
        """Of the frames that the core calls settled, those without their ACK were dropped."""
        found = account.metrics
        for track in account.counts:
            settled = found.frames_settled[track - 1]
            for number in range(account.settled[track], settled):
                key = track << 32 | number
                account.settled_unacked += key in account.frames and key not in account.acked
            if settled > account.counts[track]:
                raise Violation("settled frames that were never put", f"{account.name} track {track}: {settled}")
            account.settled[track] = max(account.settled[track], settled)
        if account.want_acks and account.settled_unacked > sum(found.frames_dropped):
            what = f"{account.name}: {account.settled_unacked} settled without ACK"
            raise Violation("frames were settled that are neither done nor dropped", what)

    def check_client(self, client: Client, store_max: int) -> None:
        """The store of all streams together keeps to its budget."""
        check(lib.kvs_client_metrics(client._handle.ptr, self._client_metrics))
        used = self._client_metrics.store_used
        if used > store_max:
            raise Violation("memory beyond the budget", f"{used} of {store_max}")

    def check_end(self, account: Account) -> None:
        """After the end of a life that was drained: what is missing at the service was dropped, and said so."""
        found = account.metrics
        dropped = sum(found.frames_dropped)
        if found.frames_buffered:
            raise Violation("frames are left", _ledger(account, dropped))
        if account.settled != account.counts:
            raise Violation("frames are not settled", f"{account.name}: {account.settled} of {account.counts}")
        if not account.want_acks:
            return
        missing = len(account.frames) - len(account.stored)
        if missing > dropped:
            raise Violation("silent loss", f"{_ledger(account, dropped)}; the service lacks {missing}")
        if not found.notices_lost and account.drops_known != dropped:
            raise Violation("drops without a notice", f"{_ledger(account, dropped)}; reported: {account.drops_known}")
        if not account.dropped_from_buffer and found.frames_done != len(account.frames) - dropped:
            raise Violation("frames are neither done nor dropped", _ledger(account, dropped))


def _early(log: SessionLog) -> str:
    """Which block does not lie after the fragment before it, in words."""
    latest = -1_000_000_000
    for fragment in log.fragments:
        for key, time in zip(fragment.frames, fragment.times):
            if time <= latest:
                return f"track {key >> 32} frame {key & 0xFFFFFFFF} at {time} is too early by {latest - time} ms"
        latest = max([latest, *fragment.times])
    return "no block is too early"


def _ledger(account: Account, dropped: int) -> str:
    found = account.metrics
    reasons = {DropReason(i).name: int(count) for i, count in enumerate(found.frames_dropped) if count}
    return (
        f"{account.name}: {found.frames_put} put, {found.frames_done} done, {dropped} dropped {reasons}, "
        f"{found.frames_buffered} buffered, {found.bytes_put} = {found.bytes_done} + {found.bytes_dropped} + "
        f"{found.bytes_buffered} bytes"
    )
