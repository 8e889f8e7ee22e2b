"""Summaries and histograms on their way: zlib of JSON, with a limit on what a message may grow to. Pure."""

from __future__ import annotations

import json
import zlib
from typing import Any

__all__ = ["pack", "unpack"]

UNPACKED_MAX = 64 * 1024 * 1024


def pack(value: dict[str, Any]) -> bytes:
    """Return ``value`` as zlib of JSON."""
    return zlib.compress(json.dumps(value, separators=(",", ":")).encode())


def unpack(data: bytes) -> dict[str, Any]:
    """Return what ``pack`` was given.

    Raises:
        ValueError: ``data`` is something else, or would be larger than 64 MiB.
    """
    stream = zlib.decompressobj()
    try:
        plain = stream.decompress(data, UNPACKED_MAX)
        value = json.loads(plain)
    except (zlib.error, RecursionError) as error:
        raise ValueError(f"This is no packed summary: {error}.") from error
    if stream.unconsumed_tail or not stream.eof or not isinstance(value, dict):
        raise ValueError("This is no packed summary: it is cut, larger than 64 MiB, or no JSON object.")
    return value
