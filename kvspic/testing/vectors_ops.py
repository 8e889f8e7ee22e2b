"""The operations of recorded examples, but for whole streams: each takes an example and returns its result.

A result has the shape of the example's ``expect`` with bytes as ``bytes``. Errors of the core are part of a result;
a Python exception means that the example itself can not be understood.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from kvspic.testing._internals import ffi, lib
from kvspic.testing.vectors_clip import clip_frames
from kvspic.testing.vectors_decode import decoded_md5
from kvspic.testing.vectors_forms import data_of, masked
from kvspic.testing.vectors_packager import FRAME_FLAGS, Failure, Packager, out_bytes
from kvspic.testing.vectors_status import OK, hex_of

__all__ = ["OPERATIONS", "Operation"]

Vector = dict[str, Any]
Result = Any
Operation = Callable[[Vector, Path], Result]  # the folder that clips are relative to

CPD_GROWTH = 64
PARENTS = {"tags": 0, "tag": 1, "simple": 2}
KINDS = {1: "h264", 2: "h265", 4: "aac", 8: "g711", 16: "video", 32: "audio", 64: "unknown"}


def flags_of(names: list[str]) -> int:
    """Return a frame's flags."""
    return sum(FRAME_FLAGS[name] for name in names)


# ---- sessions


def header(vector: Vector, folder: Path) -> Result:
    """What stands before the first cluster, and the values in force."""
    try:
        packager = Packager(vector["settings"])
    except Failure as failure:
        return {"create_status": hex_of(failure.status, "create")}
    shown = [track.shown() for track in packager.tracks]
    return {"create_status": OK, "out": masked(packager.header()), "tracks": shown}


def session(vector: Vector, folder: Path) -> Result:
    """A list of steps on one packager."""
    try:
        packager = Packager(vector["settings"])
    except Failure as failure:
        return {"create_status": hex_of(failure.status, "create")}
    results, total = [], b""
    for step in vector["inputs"]["steps"]:
        try:
            result = {"status": OK} | STEPS[step["do"]](packager, step)
        except Failure as failure:
            status = hex_of(failure.status, "session")
            is_frame = step["do"] == "frame"
            result = {"status": status} | ({"size_query_status": status} if is_frame else {})
        total += result.get("out", b"") if step["do"] == "frame" else b""
        results.append(result)
    return {"create_status": OK, "steps": results, "total": total}


def step_frame(packager: Packager, step: dict[str, Any]) -> dict[str, Any]:
    """Package a frame."""
    times = {key: step.get(key, 0) for key in ("pts", "dts", "duration")}
    flags = flags_of(step.get("flags", []))
    return packager.frame(data_of(step["data"]), **times, track_id=step["track"], flags=flags)


def step_reset(packager: Packager, step: dict[str, Any]) -> dict[str, Any]:
    """Begin a new session."""
    packager.reset()
    return {}


def step_clock(packager: Packager, step: dict[str, Any]) -> dict[str, Any]:
    """Move the clock."""
    packager.now_hns = step["now"]
    return {}


def step_set_cpd(packager: Packager, step: dict[str, Any]) -> dict[str, Any]:
    """Replace codec private data."""
    packager.set_cpd(step["track"], data_of(step["data"]))
    return {}


STEPS: dict[str, Callable[[Packager, dict[str, Any]], dict[str, Any]]] = {
    "frame": step_frame,
    "header": lambda packager, step: {"out": masked(packager.header())},
    "reset": step_reset,
    "clock": step_clock,
    "set_cpd": step_set_cpd,
    "timestamps": lambda packager, step: packager.timestamps(),
}


def clip(vector: Vector, folder: Path) -> Result:
    """A whole file packaged, all frames joined."""
    packager = Packager(vector["settings"])
    track_id = packager.tracks[0].id
    out = []
    for data, pts, is_key in clip_frames(vector["inputs"], folder):
        duration = vector["inputs"]["duration"]
        frame = packager.frame(data, pts=pts, dts=pts, duration=duration, track_id=track_id, flags=int(is_key))
        out.append(frame["out"])
    total = b"".join(out)
    return {"total": total, "decoded_md5": decoded_md5(total)}


def created(case: dict[str, Any]) -> Result:
    """The status of making a packager."""
    Packager(case)
    return {}


def overhead(vector: Vector, folder: Path) -> Result:
    """Sizes added to a frame, for each of several settings."""
    return [Packager(case).overhead() for case in vector["inputs"]["cases"]]


def create(vector: Vector, folder: Path) -> Result:
    """The status of making a packager, for each of several settings."""
    return [{"create_status": one["status"]} for one in _each(vector, created)]


# ---- single functions, a list of cases each


def _each(vector: Vector, case_of: Callable[[Any], dict[str, Any]]) -> list[dict[str, Any]]:
    """Return {status, ...} for each case."""
    results = []
    for case in vector["inputs"]["cases"]:
        try:
            results.append({"status": OK} | case_of(case))
        except Failure as failure:
            results.append({"status": hex_of(failure.status, vector["op"])})
    return results


def _cases(case_of: Callable[[Any], dict[str, Any]]) -> Operation:
    return lambda vector, folder: _each(vector, case_of)


def _succeed(status: int) -> int:
    if status < 0:
        raise Failure(status)
    return status


def annexb_to_avcc(case: Any) -> dict[str, Any]:
    """Start codes become lengths."""
    return _scanned(lib.kvs_nal_scan, data_of(case), "size_query")


def avcc_to_annexb(case: Any) -> dict[str, Any]:
    """Lengths become start codes."""
    return _scanned(lib.kvs_nal_scan_avcc, data_of(case), "")


def _scanned(scan_of: Any, data: bytes, size_name: str) -> dict[str, Any]:
    scan = ffi.new("struct kvs_nal_scan *")
    _succeed(scan_of(data, len(data), scan))
    size = int(scan.adapted_size)
    out = ffi.new("uint8_t[]", max(size, 1))
    lib.kvs_nal_copy(data, len(data), scan, out)
    return {"out": bytes(ffi.buffer(out, size))} | ({size_name: size} if size_name else {})


def remove_emulation_prevention(vector: Vector, folder: Path) -> Result:
    """Parameter sets as their parsers see them."""
    results = []
    for case in vector["inputs"]["cases"]:
        data = data_of(case)
        out = ffi.new("uint8_t[]", max(len(data), 1))
        results.append({"out": bytes(ffi.buffer(out, lib.kvs_nal_unescape(data, len(data), out)))})
    return _like(vector, results)


def _like(vector: Vector, results: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Add a status to results of an operation that can not fail, where the example lists one."""
    wanted = vector.get("better") or vector.get("expect") or []
    has_status = any(isinstance(one, dict) and "status" in one for one in wanted)
    return [{"status": OK} | one for one in results] if has_status else results


def _converted(call: Any) -> Callable[[Any], dict[str, Any]]:
    def converted(case: Any) -> dict[str, Any]:
        data = data_of(case)
        return {"out": out_bytes(call, data, len(data), capacity=len(data) + CPD_GROWTH)}

    return converted


def _resolution(call: Any) -> Callable[[Any], dict[str, Any]]:
    def resolution(case: Any) -> dict[str, Any]:
        data = data_of(case)
        width, height = ffi.new("uint32_t *"), ffi.new("uint32_t *")
        _succeed(call(data, len(data), width, height))
        return {"width": width[0], "height": height[0]}

    return resolution


def aac_cpd_generate(case: Any) -> dict[str, Any]:
    """Two bytes of AudioSpecificConfig."""
    out = ffi.new("uint8_t[2]")
    _succeed(lib.kvs_aac_generate(case["object_type"], case["sampling_frequency"], case["channel_config"], out))
    return {"hex": bytes(ffi.buffer(out)).hex()}


def aac_cpd_parse(case: Any) -> dict[str, Any]:
    """Rate and channels out of an AudioSpecificConfig."""
    data, aac = data_of(case), ffi.new("struct kvs_aac *")
    _succeed(lib.kvs_aac_parse(data, len(data), aac))
    return {"sampling_frequency": float(aac.sampling_rate), "channels": aac.channels}


def pcm_cpd_generate(case: Any) -> dict[str, Any]:
    """A WAVEFORMATEX."""
    out = ffi.new("uint8_t[18]")
    rate = case["sampling_frequency"] if "sampling_frequency" in case else case["rate"]
    channels = case["channels"] if "channels" in case else case["channel_config"]
    _succeed(lib.kvs_pcm_generate(case["format"], rate, channels, out))
    return {"hex": bytes(ffi.buffer(out)).hex()}


def pcm_cpd_parse(case: Any) -> dict[str, Any]:
    """Rate, channels and bits out of a WAVEFORMATEX."""
    data, values = data_of(case), ffi.new("struct kvs_media_values *")
    _succeed(lib.kvs_pcm_parse(data, len(data), values))
    return {
        "sampling_frequency": values.sampling_rate,
        "channels": values.channels,
        "bit_depth": values.bit_depth,
    }


def _tag_bytes(parent: int, pairs: list[tuple[bytes, bytes]]) -> dict[str, Any]:
    kept = [(ffi.from_buffer(name), ffi.from_buffer(value)) for name, value in pairs]
    rows = [[ffi.cast("char *", n), ffi.cast("char *", v), len(n), len(v)] for n, v in kept]
    tags = ffi.new("struct kvs_mkv_tag[]", rows)
    for tag in tags:
        _succeed(lib.kvs_mkv_tag_check(ffi.addressof(tag)))
    out = ffi.new("uint8_t[]", lib.kvs_mkv_tag_chain_size(parent, tags, len(pairs)))
    lib.kvs_mkv_tag_chain_write(parent, tags, len(pairs), out)
    return {"out": bytes(ffi.buffer(out))}


def _text(form: Any) -> bytes:
    return form.encode() if isinstance(form, str) else data_of(form)


def tag_chain(case: Any) -> dict[str, Any]:
    """One name and value under the parent that is asked for."""
    return _tag_bytes(PARENTS[case["parent"]], [(_text(case["name"]), _text(case["value"]))])


def tag_event(vector: Vector, folder: Path) -> Result:
    """Several names and values in one Tag."""
    inputs = vector["inputs"]
    pairs = [(inputs["first"]["name"], inputs["first"]["value"]), *inputs.get("pairs", [])]
    try:
        return {"status": OK} | _tag_bytes(0, [(_text(name), _text(value)) for name, value in pairs])
    except Failure as failure:
        return {"status": hex_of(failure.status, "tag_event")}


def ebml_encode_size(vector: Vector, folder: Path) -> Result:
    """Shortest size fields."""
    results = []
    for value in vector["inputs"]["cases"]:
        out = ffi.new("uint8_t[8]")
        width = lib.kvs_ebml_encode_size(value, out)
        shown = {"hex": bytes(ffi.buffer(out, width)).hex()} if width > 0 else {"status": hex_of(width)}
        results.append({"value": value} | shown)
    return results


def content_type(vector: Vector, folder: Path) -> Result:
    """The kinds that a content type names, sorted as the example sorts them."""
    results = []
    for text in vector["inputs"]["cases"]:
        kinds = lib.kvs_kinds_of(_text(text))
        results.append([name for bit, name in KINDS.items() if kinds & bit])
    return results


OPERATIONS: dict[str, Operation] = {
    "aac_cpd_generate": _cases(aac_cpd_generate),
    "aac_cpd_parse": _cases(aac_cpd_parse),
    "annexb_to_avcc": _cases(annexb_to_avcc),
    "annexb_to_avcc_cpd": _cases(_converted(lib.kvs_cpd_avcc_from_annexb)),
    "annexb_to_hvcc_cpd": _cases(_converted(lib.kvs_cpd_hvcc_from_annexb)),
    "avcc_to_annexb": _cases(avcc_to_annexb),
    "clip": clip,
    "content_type": content_type,
    "create": create,
    "ebml_encode_size": ebml_encode_size,
    "header": header,
    "overhead": overhead,
    "pcm_cpd_generate": _cases(pcm_cpd_generate),
    "pcm_cpd_parse": _cases(pcm_cpd_parse),
    "remove_emulation_prevention": remove_emulation_prevention,
    "resolution_bitmapinfoheader": _cases(_resolution(lib.kvs_cpd_size_bih)),
    "resolution_h264": _cases(_resolution(lib.kvs_cpd_size_h264)),
    "resolution_h265": _cases(_resolution(lib.kvs_cpd_size_h265)),
    "session": session,
    "tag_chain": _cases(tag_chain),
    "tag_event": tag_event,
}
