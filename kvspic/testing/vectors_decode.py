"""The MD5 of what a packaged clip decodes to, as ``ffmpeg -f md5`` gives it; needs the extra ``media``.

Only decoders that are exact to the bit have one: those of AAC compute in floating point, and its last bit differs from
one FFmpeg to the next.
"""

from __future__ import annotations

import hashlib
import importlib
import io
from collections.abc import Iterator
from typing import Any

__all__ = ["decoded_md5"]


def decoded_md5(data: bytes) -> str | None:
    """Return "MD5=..." of a Matroska file's first stream; None without PyAV, and where decoding is not exact."""
    try:
        av = importlib.import_module("av")
    except ImportError:
        return None
    digest = hashlib.md5(usedforsecurity=False)
    with av.open(io.BytesIO(data), format="matroska") as container:
        stream = container.streams[0]
        if stream.type != "video" and stream.codec_context.format.name != "s16":
            return None
        frames = container.decode(stream)
        for part in _pictures(frames) if stream.type == "video" else _samples(frames):
            digest.update(part)
    return f"MD5={digest.hexdigest()}"


def _pictures(frames: Any) -> Iterator[bytes]:
    for frame in frames:
        for plane in frame.planes:
            rows, width = bytes(plane), plane.width
            yield b"".join(rows[at : at + width] for at in range(0, plane.line_size * plane.height, plane.line_size))


def _samples(frames: Any) -> Iterator[bytes]:
    for frame in frames:
        yield bytes(frame.planes[0])[: frame.samples * len(frame.layout.channels) * 2]
