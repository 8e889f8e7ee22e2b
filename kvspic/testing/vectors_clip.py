"""Frames of a media file, cut as a recorded example says: by listed sizes, by ADTS headers, by 160 bytes of a WAV."""

from __future__ import annotations

import ast
import math
import operator
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

__all__ = ["clip_frames", "time_rule"]

ADTS_HEADER_SIZE = 7
WAV_PIECE_SIZE = 160
OPERATORS: dict[type, Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
}


def time_rule(text: str, base: int) -> Callable[[int], int]:
    """Return the time of frame ``i`` for a rule such as ``base + floor(i*10000000/30)``; exact, never floating."""
    tree = ast.parse(text, mode="eval").body
    return lambda index: math.floor(_value(tree, {"i": Fraction(index), "base": Fraction(base)}))


def _value(node: ast.expr, names: dict[str, Fraction]) -> Fraction:
    if isinstance(node, ast.Constant) and isinstance(node.value, int):
        return Fraction(node.value)
    if isinstance(node, ast.Name):
        return names[node.id]
    if isinstance(node, ast.BinOp):
        return Fraction(OPERATORS[type(node.op)](_value(node.left, names), _value(node.right, names)))
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "floor":
        return Fraction(math.floor(_value(node.args[0], names)))
    raise ValueError(f"a time rule has integers, i, base, floor, + - * and /, not {ast.unparse(node)}")


def _slices(data: bytes, sizes: list[int]) -> Iterator[bytes]:
    start = 0
    for size in sizes:
        yield data[start : start + size]
        start += size


def _adts_payloads(data: bytes) -> Iterator[bytes]:
    start = 0
    while start + ADTS_HEADER_SIZE <= len(data):
        size = (data[start + 3] & 3) << 11 | data[start + 4] << 3 | data[start + 5] >> 5
        if size <= ADTS_HEADER_SIZE:
            raise ValueError(f"no ADTS frame at byte {start}")
        yield data[start + ADTS_HEADER_SIZE : start + size]
        start += size


def _wav_pieces(data: bytes) -> Iterator[bytes]:
    start = 12
    while data[start : start + 4] != b"data":
        start += 8 + int.from_bytes(data[start + 4 : start + 8], "little")
        if start >= len(data):
            raise ValueError("the WAV file has no data chunk")
    body = data[start + 8 : start + 8 + int.from_bytes(data[start + 4 : start + 8], "little")]
    for at in range(0, len(body), WAV_PIECE_SIZE):
        yield body[at : at + WAV_PIECE_SIZE]


def clip_frames(inputs: dict[str, Any], folder: Path) -> Iterator[tuple[bytes, int, bool]]:
    """Give (data, pts, is_key_frame) of each frame of the file that ``inputs`` names."""
    data = _find(inputs["file"], folder).read_bytes()
    cutters = {"adts_payloads": _adts_payloads, "wav_data_160_bytes": _wav_pieces}
    sizes = inputs.get("frame_sizes")
    frames = _slices(data, sizes) if sizes is not None else cutters[inputs["framing"]](data)
    time_of = time_rule(inputs["timestamp"], inputs.get("base", 0))
    keys = set(inputs.get("key_frames", []))
    for index, frame in enumerate(frames):
        if index < inputs.get("frames", index + 1):
            yield frame, time_of(index), inputs.get("all_key", False) or index in keys


def _find(name: str, folder: Path) -> Path:
    """Return a clip's path: names count from the folder above the examples; ours are in tests/ of the project."""
    project = Path(__file__).resolve().parent.parent.parent
    places = [folder.parent, folder, project / "tests", Path.cwd() / "tests", Path.cwd()]
    found = next((place / name for place in places if (place / name).is_file()), None)
    if found is None:
        raise FileNotFoundError(f"the clip {name} is in none of {', '.join(map(str, places))}")
    return found
