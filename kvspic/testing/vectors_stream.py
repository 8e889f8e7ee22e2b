"""Recorded examples of whole streams: frames, metadata and events in, the bytes of each PutMedia connection out.

The service is played here: it answers every order at once with success. Acknowledgements are off, so what was read is
done; a connection that is lost is followed by a new one as soon as there is something to send.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from kvspic._lib import ClientHandle, ffi, keep_stream, lib, new_struct
from kvspic.actions import ACTION_FORMAT, Action, ActionKind
from kvspic.testing.vectors_forms import data_of, masked
from kvspic.testing.vectors_packager import FRAME_FLAGS
from kvspic.testing.vectors_status import OK, hex_of, status_named

__all__ = ["stream_session"]

NOW_HNS = 16094592000000000
RETENTION_HNS = 36_000_000_000
METADATA_MAX = 25
BUFFER_SIZE = 1 << 16
READ_WAIT, READ_END = "5200002f", "5200004a"
CONNECTION_LOST = 599
TYPES = {"video": 1, "audio": 2, "unknown": 3}
NAL_FLAGS = {"none": 0, "annexb_to_avcc": 8, "avcc_to_annexb": 16}
NAL_CPD_FLAG = 32
EVENTS = {"image_generation": 1, "notification": 2}
CLIENT_ORDERS = {ActionKind.GET_CREDENTIALS, ActionKind.CREATE_DEVICE, ActionKind.TAG_CLIENT}
STREAM_ORDERS = {
    ActionKind.DESCRIBE_STREAM,
    ActionKind.CREATE_STREAM,
    ActionKind.TAG_STREAM,
    ActionKind.GET_DATA_ENDPOINT,
    ActionKind.GET_TOKEN,
    ActionKind.PUT_MEDIA,
}


class Session:
    """One stream and the service that it talks to."""

    def __init__(self, settings: dict[str, Any]) -> None:
        self.kept: list[Any] = []
        client_config = new_struct("kvs_client_config")
        client_id = settings.get("client_id")
        client_config.client_id = self._text(client_id) if client_id else ffi.NULL
        self.client = ClientHandle(client_config, NOW_HNS)
        self.uploads: list[int] = []
        self.stream = ffi.NULL
        self._drain()
        out = ffi.new("struct kvs_stream **")
        status = lib.kvs_stream_new(self.client.ptr, self._config(settings), NOW_HNS, out)
        if status < 0:
            raise ValueError(f"the stream is refused: {hex_of(status)}")
        self.stream = keep_stream(self.client.ptr, out[0])
        self._drain()

    def _text(self, text: str) -> Any:
        return self._keep(ffi.new("char[]", text.encode()))

    def _keep(self, made: Any) -> Any:
        self.kept.append(made)
        return made

    def _config(self, settings: dict[str, Any]) -> Any:
        config = new_struct("kvs_stream_config")
        config.name = self._text("example")
        config.content_type = self._text(settings["content_type"])
        config.retention_hns = RETENTION_HNS
        config.flags = lib.KVS_KEY_FRAME_FRAGMENTS if settings["cluster"] == "key_frame" else 0
        config.flags |= lib.KVS_RELATIVE_TIMES if settings["cluster_time"] == "relative" else 0
        config.flags |= lib.KVS_CLOCK_TIMECODES if settings["timestamps"] == "clock" else 0
        config.nal_flags = NAL_FLAGS[settings["nal"]] | (NAL_CPD_FLAG if settings["cpd_annexb_to_mp4"] else 0)
        config.order = settings.get("frame_order", 0)
        config.backward_policy = lib.KVS_BACKWARD_ERROR
        config.metadata_max = METADATA_MAX
        config.timecode_scale_hns = settings["timescale_100ns"]
        config.fragment_duration_hns = settings["cluster_duration_100ns"]
        if settings.get("segment_uuid"):
            config.segment_uuid = self._keep(ffi.new("uint8_t[]", bytes.fromhex(settings["segment_uuid"])))
        config.tracks = self._tracks(settings["tracks"])
        config.track_count = len(settings["tracks"])
        return config

    def _tracks(self, tracks: list[dict[str, Any]]) -> Any:
        made = self._keep(ffi.new("struct kvs_track_config[]", max(len(tracks), 1)))
        for out, track in zip(made, tracks):
            cpd = data_of(track.get("cpd"))
            out.id, out.type = track["id"], TYPES[track["type"]]
            out.codec_id, out.name = self._text(track["codec"]), self._text(track["name"])
            out.cpd = self._keep(ffi.new("uint8_t[]", cpd)) if cpd else ffi.NULL
            out.cpd_size = len(cpd)
            out.width, out.height = track.get("width", 0), track.get("height", 0)
        return made

    def _drain(self) -> None:
        """Answer every order with success until there is none left."""
        actions = ffi.new("struct kvs_action[]", 16)
        while (count := lib.kvs_client_next_actions(self.client.ptr, actions, 16)) > 0:
            rows = ffi.buffer(actions, count * ACTION_FORMAT.size)
            for row in ACTION_FORMAT.iter_unpack(rows):
                self._answer(Action._make(row))

    def _answer(self, action: Action) -> None:
        if action.kind in CLIENT_ORDERS:
            answer = new_struct("kvs_client_answer")
            answer.request, answer.result, answer.auth = action.request, 200, 1
            answer.expires_hns = lib.KVS_TIME_NONE
            lib.kvs_client_answer(self.client.ptr, answer, NOW_HNS)
        if action.kind in STREAM_ORDERS:
            answer = new_struct("kvs_stream_answer")
            answer.request, answer.result, answer.stream_status = action.request, 200, 1
            answer.retention_hns, answer.expires_hns = RETENTION_HNS, lib.KVS_TIME_NONE
            if action.kind == ActionKind.PUT_MEDIA:
                self.uploads.append(action.upload)
            lib.kvs_stream_answer(self.stream, answer, NOW_HNS)

    def put(self, step: dict[str, Any]) -> dict[str, Any]:
        data = data_of(step["data"])
        flags = sum(FRAME_FLAGS.get(name, 0) for name in step.get("flags", []))
        times = step["pts"], step["dts"], step.get("duration", 0)
        return self._done(
            lib.kvs_stream_put_frame(self.stream, data, len(data), *times, step.get("track", 1), flags, NOW_HNS)
        )

    def end_of_fragment(self, step: dict[str, Any]) -> dict[str, Any]:
        return self._done(lib.kvs_stream_end_fragment(self.stream, NOW_HNS))

    def metadata(self, step: dict[str, Any]) -> dict[str, Any]:
        name, value = step["name"].encode(), step["value"].encode()
        return self._done(lib.kvs_stream_put_metadata(self.stream, name, value, int(step.get("persistent", 0))))

    def event(self, step: dict[str, Any]) -> dict[str, Any]:
        kept = [[ffi.new("char[]", text.encode()) for text in pair] for pair in step.get("pairs", [])]
        names = ffi.new("const char *[]", [pair[0] for pair in kept])
        values = ffi.new("const char *[]", [pair[1] for pair in kept])
        prefix = step.get("image_prefix")
        types = sum(EVENTS[name] for name in step["events"])
        c_prefix = ffi.NULL if prefix is None else ffi.new("char[]", prefix.encode())
        return self._done(lib.kvs_stream_put_event(self.stream, types, c_prefix, len(kept), names, values))

    def stop(self, step: dict[str, Any]) -> dict[str, Any]:
        return self._done(lib.kvs_stream_stop(self.stream, NOW_HNS))

    def disconnect(self, step: dict[str, Any]) -> dict[str, Any]:
        upload = self._upload(step)
        return self._done(lib.kvs_upload_ended(self.stream, upload, CONNECTION_LOST, NOW_HNS))

    def read(self, step: dict[str, Any]) -> dict[str, Any]:
        """All bytes that the connection has now; the size of the buffer makes no difference."""
        size = step.get("chunk", BUFFER_SIZE)
        buffer, state, out = ffi.new("uint8_t[]", size), ffi.new("enum kvs_read_state *"), b""
        while True:
            count = lib.kvs_upload_read(self.stream, self._upload(step), buffer, size, state, NOW_HNS)
            if count < 0:
                return {"status": hex_of(count)}
            out += bytes(ffi.buffer(buffer, count))
            if state[0] != lib.KVS_READ_MORE:
                break
        self._drain()
        result: dict[str, Any] = {"status": READ_END if state[0] == lib.KVS_READ_END else READ_WAIT}
        return result | {"out": masked(out)}

    def _upload(self, step: dict[str, Any]) -> int:
        number = step.get("session", 1)
        return self.uploads[number - 1] if number <= len(self.uploads) else 0

    def _done(self, status: int) -> dict[str, Any]:
        self._drain()
        return {"status": OK if status >= 0 else _shown(status)}


def _shown(status: int) -> str:
    """The number that examples of streams name; events and metadata have names of their own for some."""
    return "5200008c" if status == status_named("NO_FRAGMENT") else hex_of(status)


def stream_session(vector: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Run the actions of one example; the result has one entry per action."""
    session = Session(vector["settings"])
    return {"actions": [getattr(session, step["do"])(step) for step in vector["inputs"]["actions"]]}
