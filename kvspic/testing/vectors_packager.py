"""One packaging session of the C core, driven by the settings of a recorded example.

Tracks, times and bytes go through the functions that the engine uses: generator, NAL adaptation, codec private data,
MKV elements. What the engine adds (queues, sessions, the service) is not here. Statuses are the C core's.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from kvspic.testing._internals import ffi, lib
from kvspic.testing.vectors_forms import data_of, masked, masked_loss
from kvspic.testing.vectors_status import status_named
from kvspic.units import HNS_PER_S

__all__ = ["FRAME_FLAGS", "Failure", "Packager", "out_bytes"]

CONTENT_TYPE_MAX = 128
CLUSTER_DURATION_MIN_HNS = HNS_PER_S
CLUSTER_DURATION_MAX_HNS = 300_000_000
TIME_MAX_HNS = (2**63 - 1) // 100
TYPES = {"video": 1, "audio": 2, "unknown": 3}
NAL_FLAGS = {"none": 0, "annexb_to_avcc": 8, "avcc_to_annexb": 16}
NAL_CPD_FLAG = 32
FRAME_FLAGS = {"key": 1, "discardable": 2, "invisible": 4}
PART_NAMES = {7: "start_stream", 6: "start_cluster", 4: "start_block"}
CPD_GROWTH = 64  # an avcC or hvcC is at most this much larger than the Annex B that it was made from


class Failure(Exception):
    """The core refused: carries its status."""

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


def succeed(status: int) -> int:
    """Return a status that is no error; raise :class:`Failure` for one that is."""
    if status < 0:
        raise Failure(status)
    return status


def out_bytes(call: Any, *before: Any, capacity: int) -> bytes:
    """Return what ``call(*before, out, capacity, size_out)`` writes."""
    out, size = ffi.new("uint8_t[]", max(capacity, 1)), ffi.new("uint32_t *")
    succeed(call(*before, out, capacity, size))
    return bytes(ffi.buffer(out, size[0]))


@dataclass
class Track:
    """A track as it stands: codec private data after conversion, media values in force."""

    id: int
    type: str
    codec: str
    name: str
    is_cpd_given: bool
    values: Any
    cpd: bytes = b""
    kept: list[Any] = field(default_factory=list)  # C strings that the struct below points to

    def shown(self) -> dict[str, Any]:
        """Return the values that examples of headers list."""
        shown: dict[str, Any] = {"cpd": self.cpd}
        if self.type == "video":
            shown |= {"width": self.values.width, "height": self.values.height}
        if self.type == "audio":
            rate = self.values.sampling_rate
            shown |= {"sampling_frequency": rate, "channels": self.values.channels, "bit_depth": self.values.bit_depth}
        return shown


class Packager:
    """A session; making one raises :class:`Failure` where the settings are refused."""

    def __init__(self, settings: dict[str, Any]) -> None:
        self.settings = settings
        self.scale = settings["timescale_100ns"]
        self.now_hns = 0
        self._check_stream()
        self.kinds = lib.kvs_kinds_of(settings["content_type"].encode())
        self.nal_flags = NAL_FLAGS[settings["nal"]] | (NAL_CPD_FLAG if settings["cpd_annexb_to_mp4"] else 0)
        self.tracks = [self._track_of(one) for one in settings["tracks"]]
        succeed(self._with_header(lib.kvs_mkv_header_check))
        for track, one in zip(self.tracks, settings["tracks"]):
            self._give_cpd(track, data_of(one.get("cpd")))
        self.generator = ffi.new("struct kvs_generator *")
        duration = settings["cluster_duration_100ns"] if settings["cluster"] == "duration" else 0
        lib.kvs_generator_init(self.generator, ffi.new("struct kvs_generator_config *", [self.scale, duration, 0]))

    def _check_stream(self) -> None:
        duration = self.settings["cluster_duration_100ns"]
        if len(self.settings["content_type"].encode()) > CONTENT_TYPE_MAX:
            raise Failure(status_named("CONTENT_TYPE_SIZE"))
        is_allowed = CLUSTER_DURATION_MIN_HNS <= duration <= CLUSTER_DURATION_MAX_HNS
        if self.settings["cluster"] == "duration" and not is_allowed:
            raise Failure(status_named("CLUSTER_DURATION"))

    def _track_of(self, one: dict[str, Any]) -> Track:
        values = ffi.new("struct kvs_media_values *")
        values.width, values.height = one.get("width", 0), one.get("height", 0)
        values.sampling_rate = one.get("sampling_frequency", 0.0)
        values.channels, values.bit_depth = one.get("channels", 0), one.get("bit_depth", 0)
        return Track(one["id"], one["type"], one["codec"], one["name"], bool(data_of(one.get("cpd"))), values)

    def _format(self, track: Track) -> Any:
        codec = ffi.new("char[]", track.codec.encode())
        track.kept = [codec]
        return ffi.new("struct kvs_cpd_format *", [self.kinds, TYPES[track.type], self.nal_flags, codec])

    def _give_cpd(self, track: Track, cpd: bytes) -> None:
        format_ = self._format(track)
        adapted = out_bytes(lib.kvs_cpd_adapt, format_, cpd, len(cpd), capacity=len(cpd) + CPD_GROWTH)
        self._take_cpd(track, format_, adapted)

    def _take_cpd(self, track: Track, format_: Any, cpd: bytes) -> None:
        track.cpd = cpd
        lib.kvs_cpd_describe(format_, cpd, len(cpd), track.values)  # unreadable data leaves the values at 0

    def set_cpd(self, track_id: int, cpd: bytes) -> None:
        """Replace a track's codec private data; nothing changes when it is refused."""
        self._give_cpd(self._track(track_id), cpd)

    def _track(self, track_id: int) -> Track:
        found = next((track for track in self.tracks if track.id == track_id), None)
        if found is None:
            raise Failure(status_named("UNKNOWN_TRACK"))
        return found

    # ---- bytes

    def _with_header(self, call: Any, *more: Any) -> Any:
        """Return ``call(header, *more)`` for the header as it would be written now."""
        kept: list[Any] = []
        tracks = ffi.new("struct kvs_mkv_track[]", max(len(self.tracks), 1))
        for row, track in zip(tracks, self.tracks):
            codec, name = ffi.new("char[]", track.codec.encode()), ffi.new("char[]", track.name.encode())
            cpd = ffi.from_buffer("uint8_t[]", track.cpd) if track.cpd else ffi.NULL
            kept += [codec, name, cpd]
            row.id, row.type, row.cpd_size = track.id, TYPES[track.type], len(track.cpd)
            row.codec_id, row.name, row.cpd = codec, name, cpd
            for key in ("sampling_rate", "output_sampling_rate", "width", "height", "channels", "bit_depth"):
                setattr(row, key, getattr(track.values, key))
        uuid, client = self.settings["segment_uuid"], self.settings["client_id"]
        uuid_bytes = ffi.NULL if uuid is None else ffi.new("uint8_t[]", bytes.fromhex(uuid))
        client_text = ffi.NULL if client is None else ffi.new("char[]", client.encode())
        count = len(self.tracks)
        row = [uuid_bytes, self.scale, client_text, tracks, count, (1 << count) - 1]
        return call(ffi.new("struct kvs_mkv_header *", row), *more)

    def header(self) -> bytes:
        """Return the header that would be written now, with its own texts."""
        out = ffi.new("uint8_t[]", self._with_header(lib.kvs_mkv_header_size))
        return bytes(ffi.buffer(out, self._with_header(lib.kvs_mkv_header_write, out)))

    def _adapted(self, track: Track, data: bytes) -> bytes:
        scan_of = {8: lib.kvs_nal_scan, 16: lib.kvs_nal_scan_avcc}.get(self.nal_flags & 24)
        if scan_of is None or track.type != "video":
            return data
        scan = ffi.new("struct kvs_nal_scan *")
        succeed(scan_of(data, len(data), scan))
        out = ffi.new("uint8_t[]", max(scan.adapted_size, 1))
        size = scan.adapted_size
        lib.kvs_nal_copy(data, len(data), scan, out)
        return bytes(ffi.buffer(out, size))

    def _cpd_in(self, track: Track, data: bytes, flags: int) -> bytes:
        """Return codec private data that a key frame brings; empty where it brings none that can be used."""
        if track.is_cpd_given or not flags & FRAME_FLAGS["key"]:
            return b""
        try:
            capacity = len(data) + CPD_GROWTH
            return out_bytes(lib.kvs_cpd_from_frame, self._format(track), data, len(data), capacity=capacity)
        except Failure:
            return b""

    # ---- frames

    def frame(self, data: bytes, *, pts: int, dts: int, duration: int, track_id: int, flags: int) -> dict[str, Any]:
        """Package one frame: returns out (N-form), state, info and, with a header, its N-form size."""
        if not data:
            raise Failure(status_named("FRAME_DATA"))
        if self.settings["timestamps"] == "clock":
            pts = dts = self.now_hns
        if max(pts, dts, duration) > TIME_MAX_HNS:
            raise Failure(status_named("FRAME_TIMESTAMP_RANGE"))
        track = self._track(track_id)
        plan = ffi.new("struct kvs_generator_plan *")
        succeed(lib.kvs_generator_plan(self.generator, pts, dts, flags, 1, plan))
        payload = self._adapted(track, data)
        cpd = self._cpd_in(track, data, flags)
        if cpd:
            self._take_cpd(track, self._format(track), cpd)
        lib.kvs_generator_commit(self.generator, plan)
        out, header_size = self._parts(track, plan, flags, payload)
        result = {"out": out, "state": PART_NAMES[plan.parts], "info": self._info(pts, dts, duration)}
        return result | ({"header_len_n": header_size} if plan.parts & lib.KVS_PART_HEADER else {})

    def _parts(self, track: Track, plan: Any, flags: int, payload: bytes) -> tuple[bytes, int]:
        header = masked(self.header()) if plan.parts & lib.KVS_PART_HEADER else b""
        cluster = b""
        if plan.parts & lib.KVS_PART_CLUSTER:
            is_relative = self.settings["cluster_time"] == "relative"
            out = ffi.new("uint8_t[]", lib.KVS_MKV_CLUSTER_SIZE)
            lib.kvs_mkv_cluster_write(out, plan.cluster_tc - (plan.session_tc if is_relative else 0))
            cluster = bytes(ffi.buffer(out))
        block = ffi.new("uint8_t[]", lib.KVS_MKV_BLOCK_SIZE)
        lib.kvs_mkv_block_write(block, self.tracks.index(track) + 1, plan.block_tc, flags, len(payload))
        return header + cluster + bytes(ffi.buffer(block)) + payload, len(header)

    def _info(self, pts: int, dts: int, duration: int) -> dict[str, int]:
        info = self.timestamps()
        info["frame_pts"] = (pts // self.scale - self.generator.cluster_tc) * self.scale
        info["frame_dts"] = (dts // self.scale - self.generator.cluster_dts_tc) * self.scale
        return info | {"duration": duration // self.scale * self.scale}

    def timestamps(self) -> dict[str, int]:
        """Return the times of the session and of the running cluster."""
        generator = self.generator
        return {
            "stream_start": generator.session_tc * self.scale,
            "cluster_pts": generator.cluster_tc * self.scale,
            "cluster_dts": generator.cluster_dts_tc * self.scale,
        }

    def reset(self) -> None:
        """Begin a new session with the next frame."""
        lib.kvs_generator_reset(self.generator)

    def overhead(self) -> dict[str, int]:
        """Return the bytes that packaging adds to a frame, per state; N-form."""
        header = self.header()
        cluster = lib.KVS_MKV_CLUSTER_SIZE + lib.KVS_MKV_BLOCK_SIZE
        start = len(header) - masked_loss(header) + cluster
        return {"start_stream": start, "start_cluster": cluster, "start_block": lib.KVS_MKV_BLOCK_SIZE}
