"""Client and Stream over the C core: thin, one C call per method, Python values in and out.

Below the facade all times are ticks of 100 ns and each call that changes something takes ``now_hns``. Nothing here
waits, logs or starts anything: after a change the caller drains :meth:`Client.next_actions` and reads the deadline.
Any thread may call. After :meth:`Stream.close` or :meth:`Client.close` calls raise ``NullArgError``; the C memory goes
when the last call inside it has returned.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Sequence
from dataclasses import MISSING, fields
from typing import Any

from kvspic._lib import ClientHandle, check, ffi, keep_stream, lib, new_gate, new_struct
from kvspic.actions import ACTION_FORMAT, Action
from kvspic.limits import check_metadata_names
from kvspic.types import (
    BUFFER_DEFAULT,
    BackwardPolicy,
    Buffer,
    ClientMetrics,
    ClockPolicy,
    DropReason,
    FullPolicy,
    LongGop,
    Order,
    StreamMetrics,
    StreamOptions,
    StreamState,
    Track,
    TrackType,
    hns,
)
from kvspic.units import HNS_PER_S

__all__ = [
    "ACTIONS_PER_READ",
    "CHUNK_ROOM",
    "CLOSED_GATE",
    "NO_METRICS",
    "TIME_NONE",
    "Client",
    "Stream",
    "StreamSetup",
    "UploadReader",
    "as_c_bytes",
    "clock_now_hns",
    "host_now_hns",
    "put_plain",
    "put_whole",
]

ACTIONS_PER_READ = 64
AS_ACTION = functools.partial(tuple.__new__, Action)  # what Action._make does, without a Python call for each
TIME_NONE: int = 2**64 - 1
CHUNK_ROOM = int(lib.KVSPIC_CHUNK_ROOM)
AHEAD_ANY_S = int(lib.KVSPIC_AHEAD_ANY)
STALE_DEFAULT_HNS = 30 * HNS_PER_S
FRAGMENT_MIN_HNS = HNS_PER_S  # what the service takes
FRAGMENT_MIN_OFFLINE_HNS = 5 * HNS_PER_S  # five of them a second: a file goes up at 25 times its length or faster
FRAGMENT_MAX_HNS = 20 * HNS_PER_S  # what the service takes
FRAGMENT_SIZE_MAX = 48_000_000  # of the 50 MB that it takes; tags, headers and sound come on top
_AUTH_TOKEN = 1
_OK = 200

# For the facade's hot path, which calls C without a Python function between: a gate, the data and its size, times in
# nanoseconds; a status comes back. put_plain is of a frame of track 1 with no more than a pts.
put_whole = lib.kvspic_put_frame
put_plain = lib.kvspic_put_plain
# The clock of the host functions: monotonic, from a wall time that may be old; a producer adds its offset.
host_now_hns: Callable[[], int] = lib.kvs_host_now_hns
# The same with that offset, an ``int64_t *``, so that a clock is one call into C.
clock_now_hns: Callable[[Any], int] = lib.kvspic_now_hns
BYTES_TYPE = ffi.typeof("uint8_t[]")
CLOSED_GATE = new_gate(ffi.NULL)  # no stream behind it: NullArgError


def as_c_bytes(data: Buffer) -> Any:
    """``data`` as C takes it: bytes directly, anything else contiguous by the buffer protocol."""
    return data if type(data) is bytes else ffi.from_buffer(BYTES_TYPE, data)


class Client:
    """One core: streams share its content store. ``wake_fd`` becomes readable when there are actions."""

    def __init__(self, now_hns: int, *, store_size: int = 0, client_id: str = "", seed: int = 0) -> None:
        if ACTION_FORMAT.size != ffi.sizeof("struct kvs_action"):
            raise RuntimeError("the extension kvspic._native is of another version: build it again")
        config = new_struct("kvs_client_config")
        config.store_max = store_size
        config.seed = seed
        name = ffi.new("char[]", client_id.encode()) if client_id else ffi.NULL
        config.client_id = name
        self._handle = ClientHandle(config, now_hns)
        self.wake_fd = self._handle.wake_fd
        self._actions = ffi.new("struct kvs_action[]", ACTIONS_PER_READ)
        self._action_bytes = memoryview(ffi.buffer(self._actions))
        self._data = ffi.new("uint64_t[]", 1 + 2 * ACTIONS_PER_READ)
        self._data_numbers = memoryview(ffi.buffer(self._data)).cast("B").cast("Q")
        self._deadline = ffi.new("uint64_t *")
        self._reader = UploadReader()

    def turn(self, now_hns: int) -> tuple[list[Action], list[int], int]:
        """Let what is due happen and take up to ``ACTIONS_PER_READ`` actions: the others in their order, and for each
        DATA, which comes for nearly every frame, its user and its upload. Also when the next turn is due, ``TIME_NONE``
        for never. What handling the actions changes is not in that: a nearer deadline wakes."""
        data, actions = self._data, self._actions
        count = lib.kvspic_turn(self._handle.ptr, now_hns, actions, ACTIONS_PER_READ, data, self._deadline)
        numbers = self._data_numbers[1 : 1 + 2 * data[0]].tolist() if data[0] else []
        if not count:
            return [], numbers, self._deadline[0]
        check(count)
        filled = self._action_bytes[: count * ACTION_FORMAT.size]
        return list(map(AS_ACTION, ACTION_FORMAT.iter_unpack(filled))), numbers, self._deadline[0]

    def next_actions(self) -> list[Action]:
        """Take what the core says, oldest first; an empty list when there is nothing. One thread at a time."""
        count = lib.kvs_client_next_actions(self._handle.ptr, self._actions, ACTIONS_PER_READ)
        if count <= 0:
            return self._no_actions(count)
        filled = self._action_bytes[: count * ACTION_FORMAT.size]
        return list(map(AS_ACTION, ACTION_FORMAT.iter_unpack(filled)))

    def _no_actions(self, status: int) -> list[Action]:
        check(status)
        return []

    def next_deadline_hns(self) -> int | None:
        """When :meth:`poke` is due; None for never."""
        deadline = int(lib.kvs_client_next_deadline(self._handle.ptr))
        return None if deadline == TIME_NONE else deadline

    def poke(self, now_hns: int) -> None:
        """Let what is due happen."""
        check(lib.kvs_client_poke(self._handle.ptr, now_hns))

    def answer(self, request: int, now_hns: int, *, result: int = _OK, expires_hns: int = TIME_NONE) -> None:
        """Answer one of the client's own orders.

        Raises:
            StaleAnswerError: the request is not outstanding any more. TokenExpiryError: less than 30 s are left.
        """
        answer = new_struct("kvs_client_answer")
        answer.request, answer.result = request, result
        answer.auth, answer.expires_hns = _AUTH_TOKEN, expires_hns
        check(lib.kvs_client_answer(self._handle.ptr, answer, now_hns))

    def open_stream(self, setup: StreamSetup, now_hns: int) -> Stream:
        """Open a stream; its first order is DescribeStream."""
        client_ptr = self._handle.ptr
        out = ffi.new("struct kvs_stream **")
        check(lib.kvs_stream_new(client_ptr, setup.config, now_hns, out))
        return Stream(keep_stream(client_ptr, out[0]), self._reader)

    def metrics(self) -> ClientMetrics:
        """The counters of the client and its store."""
        found = new_struct("kvs_client_metrics")
        check(lib.kvs_client_metrics(self._handle.ptr, found))
        return ClientMetrics(**{name: int(getattr(found, name)) for name in ClientMetrics.__dataclass_fields__})

    def close(self) -> None:
        """Give the client up; what its streams hold is lost once they are closed too."""
        self._handle.close()


class StreamSetup:
    """``struct kvs_stream_config`` made from options; keeps alive what it points to while the stream is opened.

    ``user`` comes back in each action of the stream; above 0.
    """

    def __init__(self, name: str, tracks: Sequence[Track], options: StreamOptions, user: int) -> None:
        self._kept: list[Any] = []
        self.config = config = new_struct("kvs_stream_config")
        config.user = user
        config.name = self._keep(ffi.new("char[]", _c_text(name)))
        config.content_type = self._text(",".join(track.content_type for track in tracks if track.content_type))
        config.track_count = len(tracks)
        config.tracks = self._tracks(tracks)
        config.flags = _flags(tracks, options)
        config.streaming_type = lib.KVS_OFFLINE if options.offline else lib.KVS_REALTIME
        if any(track.nal for track in tracks):
            config.nal_flags = lib.KVS_NAL_ANNEXB_TO_AVCC | lib.KVS_NAL_ANNEXB_CPD
        config.order = _order(tracks, options)
        config.full_policy = FullPolicy.REFUSE if options.offline else options.full_policy
        config.backward_policy = BackwardPolicy(options.backward_policy)
        self._durations(options)
        config.store_max = options.store_size

    def _durations(self, options: StreamOptions) -> None:
        config = self.config
        buffer_default = 0 if options.offline else hns(BUFFER_DEFAULT)
        buffer, stale = options.buffer_duration, options.stale_after
        config.buffer_duration_hns = buffer_default if buffer is None else hns(buffer)
        config.staleness_max_hns = STALE_DEFAULT_HNS if stale is None else hns(stale)
        config.retention_hns = hns(options.retention)
        config.fragment_duration_hns = hns(options.fragment_duration)
        shortest = options.fragment_duration_min
        default = FRAGMENT_MIN_OFFLINE_HNS if options.offline else FRAGMENT_MIN_HNS
        config.fragment_duration_min_hns = default if shortest is None else hns(shortest)
        config.data_delay_hns = hns(options.max_delay)
        config.latency_max_hns = hns(options.latency_max)
        config.replay_max_hns = hns(options.replay_max)
        config.eofr_idle_hns = 0 if options.fragment_duration else hns(options.end_idle_fragment)
        config.order_window_hns = hns(options.order_window)
        if options.long_gop == LongGop.SPLIT:
            config.fragment_duration_max_hns = FRAGMENT_MAX_HNS
            config.fragment_size_max = FRAGMENT_SIZE_MAX

    def _tracks(self, tracks: Sequence[Track]) -> Any:
        made = ffi.new("struct kvs_track_config[]", max(len(tracks), 1))
        for index, (track, out) in enumerate(zip(tracks, made)):
            out.id = track.number or index + 1
            out.type = TrackType(track.type)
            out.codec_id, out.name = self._text(track.codec_id), self._text(track.name)
            if track.cpd:
                cpd = bytes(track.cpd)
                out.cpd, out.cpd_size = self._keep(ffi.from_buffer("uint8_t[]", cpd)), len(cpd)
            out.sampling_rate = track.sample_rate
            out.width, out.height = track.width, track.height
            out.channels, out.bit_depth = track.channels, track.bit_depth
        return self._keep(made)

    def _text(self, text: str) -> Any:
        return self._keep(ffi.new("char[]", _c_text(text))) if text else ffi.NULL

    def _keep(self, made: Any) -> Any:
        self._kept.append(made)
        return made


def _flags(tracks: Sequence[Track], options: StreamOptions) -> int:
    flags = lib.KVS_NEGATIVE_BLOCK_TIME | lib.KVS_NO_EMPTY_NALS | lib.KVS_WHOLE_PICTURES | lib.KVS_CONFIRM_EACH
    flags |= lib.KVS_WANT_ACKS * options.want_acks | lib.KVS_ALLOW_CREATE * options.create
    flags |= lib.KVS_RELATIVE_TIMES * options.relative_times | lib.KVS_HAS_TAGS * bool(options.tags)
    flags |= lib.KVS_KEY_FRAME_FRAGMENTS * (not options.fragment_duration)
    flags |= lib.KVS_CLOCK_TIMECODES * (options.clock == ClockPolicy.ARRIVAL)
    video = [track for track in tracks if track.type == TrackType.VIDEO]
    if tracks and (video[0].independent if video else True):
        flags |= lib.KVS_SPARSE_KEYS
    return int(flags)


def _order(tracks: Sequence[Track], options: StreamOptions) -> Order:
    if options.order is not None:
        return Order(options.order)
    return Order.CUT if len(tracks) > 1 else Order.NONE


class Stream:
    """One stream of a client; made by :meth:`Client.open_stream`. ``gate`` is where ``put_whole`` and ``put_plain``
    put: its own, or a closed one while frames have to go another way. ``reader`` is one for all streams of the client,
    so that its buffer is paid for once."""

    def __init__(self, ptr: Any, reader: UploadReader) -> None:
        self._ptr = ptr
        self.reader = reader
        self.gate = self._own_gate = new_gate(ptr)
        self._any_gate = new_gate(ptr)
        # Once for each frame, so it is C without a Python function around it: upload, c_memory, size, c_chunk, now_hns.
        # Copies a session's next bytes as a chunk; their count, or a negative status.
        self.read_chunk: Callable[..., int] = functools.partial(lib.kvspic_read_chunk, ptr)

    def set_clock(self, offset_hns: int) -> None:
        """Say how far the producer's time is ahead of :func:`host_now_hns`; while one thread alone has the stream."""
        self._own_gate.offset_hns = self._any_gate.offset_hns = offset_hns

    def believe(self, earliest_s: int, ahead_s: int) -> None:
        """Let ``gate`` refuse a dts before ``earliest_s`` since 1970, or that many seconds ahead of the producer's
        time; beyond what 32 bits hold there is no limit. Any thread, while others put."""
        lib.kvspic_believe(self._own_gate, min(earliest_s, AHEAD_ANY_S), min(ahead_s, AHEAD_ANY_S))

    def divert(self, is_diverted: bool) -> None:
        """Let nothing through ``gate``, which then says ``NULL_ARG``, or all again. :meth:`put_frame_now` puts on."""
        self.gate = CLOSED_GATE if is_diverted else self._own_gate

    def close_gate(self) -> None:
        """Take no more frames by a gate, which raises NullArgError from now on; :meth:`put_frame` still puts."""
        self.gate = self._own_gate = self._any_gate = CLOSED_GATE

    def put_frame(
        self, data: Buffer, pts_hns: int, dts_hns: int | None, duration_hns: int, track: int, flags: int, now_hns: int
    ) -> None:
        """Package one access unit, copied from anything contiguous with the buffer protocol; never waits.

        ``dts_hns`` None: not known, the order of the calls is the order of decoding.

        Raises:
            StoreFullError: no room, and the policy is to refuse. UnknownTrackError, StreamStoppedError, MediaError.
            TypeError, BufferError: ``data`` is not bytes-like, or not contiguous.
        """
        view = as_c_bytes(data)
        dts = TIME_NONE if dts_hns is None else dts_hns
        check(lib.kvs_stream_put_frame(self._ptr, view, len(view), pts_hns, dts, duration_hns, track, flags, now_hns))

    def put_frame_now(
        self, data: Buffer, pts_ns: int, dts_ns: int | None, duration_ns: int, track: int, flags: int
    ) -> None:
        """The same with nanoseconds, at the producer's own time, whatever becomes of ``gate``."""
        view = as_c_bytes(data)
        dts = TIME_NONE if dts_ns is None else dts_ns
        check(put_whole(self._any_gate, view, len(view), pts_ns, dts, duration_ns, track, flags))

    def end_fragment(self, now_hns: int) -> None:
        """End the open fragment; frames are skipped until a key frame comes."""
        check(lib.kvs_stream_end_fragment(self._ptr, now_hns))

    def put_metadata(self, name: str, value: str, persistent: bool) -> None:
        """Queue a name and value for the next fragment, or for every one from then on."""
        check_metadata_names([name])
        check(lib.kvs_stream_put_metadata(self._ptr, _c_text(name), _c_text(value), persistent))

    def put_event(self, types: int, image_prefix: str, pairs: Iterable[tuple[str, str]]) -> None:
        """Mark the next fragment with an image or notification event."""
        pairs = list(pairs)
        check_metadata_names(name for name, _ in pairs)
        names = [ffi.new("char[]", _c_text(name)) for name, _ in pairs]
        values = [ffi.new("char[]", _c_text(value)) for _, value in pairs]
        prefix = _c_text(image_prefix) if image_prefix else ffi.NULL
        c_names, c_values = ffi.new("char *[]", names or 1), ffi.new("char *[]", values or 1)
        check(lib.kvs_stream_put_event(self._ptr, types, prefix, len(names), c_names, c_values))

    def set_cpd(self, track: int, cpd: bytes) -> None:
        """New codec private data: the next key frame opens a new session with it."""
        check(lib.kvs_stream_set_cpd(self._ptr, track, cpd or ffi.NULL, len(cpd)))

    def stop(self, now_hns: int) -> None:
        """No more frames; what is buffered drains."""
        check(lib.kvs_stream_stop(self._ptr, now_hns))

    def retry(self, now_hns: int) -> None:
        """Describe again, nothing dropped, budgets fresh."""
        check(lib.kvs_stream_retry(self._ptr, now_hns))

    def reset(self, now_hns: int) -> None:
        """Drop all that is buffered and describe again."""
        check(lib.kvs_stream_reset(self._ptr, now_hns))

    def reset_connection(self, now_hns: int) -> None:
        """End the open sessions and open a new one; nothing is dropped."""
        check(lib.kvs_stream_reset_connection(self._ptr, now_hns))

    def answer(
        self,
        request: int,
        now_hns: int,
        *,
        result: int = _OK,
        status: int = 0,
        retention_hns: int = 0,
        expires_hns: int = TIME_NONE,
    ) -> None:
        """Answer an order. ``status`` and ``retention_hns`` belong to DescribeStream, ``expires_hns`` to GetToken.

        Raises:
            StaleAnswerError: the request is not outstanding any more. TokenExpiryError: less than 30 s are left.
            ServiceError: the answer moved the stream to FAILED.
        """
        answer = new_struct("kvs_stream_answer")
        answer.request, answer.result = request, result
        answer.stream_status, answer.retention_hns, answer.expires_hns = status, retention_hns, expires_hns
        check(lib.kvs_stream_answer(self._ptr, answer, now_hns))

    def upload_ended(self, upload: int, result: int, now_hns: int) -> None:
        """The connection of ``upload`` is gone; ``result`` says why (200: an orderly end by the service)."""
        check(lib.kvs_upload_ended(self._ptr, upload, result, now_hns))

    def ack_bytes(self, upload: int, data: bytes, now_hns: int) -> int:
        """Bytes of the answer as they came; returns how many ACKs were applied."""
        count: int = lib.kvs_upload_ack_bytes(self._ptr, upload, data, len(data), now_hns)
        return count if count >= 0 else check(count)

    def metrics(self) -> StreamMetrics:
        """The counters and the ledger."""
        found = new_struct("kvs_stream_metrics")
        check(lib.kvs_stream_metrics(self._ptr, found))
        values: dict[str, Any] = {name: int(getattr(found, name)) for name in METRIC_NAMES}
        values["state"] = StreamState(values["state"])
        dropped = {reason: int(found.frames_dropped[reason]) if reason < DROPS else 0 for reason in DropReason}
        values |= {name: tuple(getattr(found, name)) for name in TRACK_METRICS}
        return StreamMetrics(dropped=dropped, **values)

    def frames_buffered(self) -> int:
        """The one of :meth:`metrics`, at a tenth of its cost."""
        found = new_struct("kvs_stream_metrics")
        check(lib.kvs_stream_metrics(self._ptr, found))
        return int(found.frames_buffered)

    def media_counts(self) -> tuple[int, int, int, int, tuple[int, ...]]:
        """Of the counters those that the media check reads: times bumped, times shifted, fragments but those that an
        ERROR ACK cut short, the newest time, and for each track the fragments without its codec private data."""
        found = new_struct("kvs_stream_metrics")
        check(lib.kvs_stream_metrics(self._ptr, found))
        without = tuple(found.fragments_without_cpd)
        whole = found.fragments_put - found.acks_error
        return found.times_bumped, found.times_shifted, whole, found.newest_hns, without

    def close(self) -> None:
        """Free the stream, with what it buffers, once no call is inside it. Twice is harmless."""
        self._ptr, self.gate, self._own_gate, self._any_gate = ffi.NULL, CLOSED_GATE, CLOSED_GATE, CLOSED_GATE
        self.read_chunk = functools.partial(lib.kvspic_read_chunk, ffi.NULL)

    def leave(self) -> object:
        """Close without freeing: return what keeps the C object alive."""
        kept = self._ptr, self._own_gate, self._any_gate
        self.close()
        return kept


DROPS = int(lib.KVS_DROP_COUNT)  # what comes after is the spool's
TRACK_METRICS = ("frames_settled", "fragments_without_cpd")
# The fields with a default are the spool's.
METRIC_NAMES = tuple(
    found.name
    for found in fields(StreamMetrics)
    if found.default is MISSING and found.name not in ("dropped", *TRACK_METRICS)
)


_NO_VALUES: dict[str, Any] = {
    **dict.fromkeys(METRIC_NAMES, 0),
    **dict.fromkeys(TRACK_METRICS, ()),
    "state": StreamState.STOPPED,
}
NO_METRICS = StreamMetrics(dropped=dict.fromkeys(DropReason, 0), **_NO_VALUES)
"""Of a stream that this process cannot ask, because its parent has opened it."""


class UploadReader:
    """A buffer for reads of uploads, one chunk of up to ``size`` bytes at a time, which stays until the next read: at
    ``CHUNK_ROOM`` in ``memory``, with its coding before and behind. ``c_chunk``: where the chunk begins and ends there,
    and a :class:`ReadState`."""

    def __init__(self, size: int = 128 * 1024) -> None:
        self.size = size
        self.memory = memoryview(bytearray(CHUNK_ROOM + size + CHUNK_ROOM))
        self.c_memory = ffi.from_buffer("uint8_t[]", self.memory)
        self.c_chunk = ffi.new("uint32_t[3]")


def _c_text(text: str) -> bytes:
    encoded = text.encode()
    if b"\0" in encoded:
        raise ValueError("a text for the service may not contain a NUL character")
    return encoded
