"""The notation of recorded examples: input bytes, output bytes, masked headers, and what counts as equal.

Output bytes stay ``bytes`` until :func:`rendered` writes them in the form that the example uses. ``N-form``: Title,
MuxingApp and WritingApp are each library's own texts, so they are left out of headers before anything is compared.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any

__all__ = ["data_of", "equal", "masked", "masked_loss", "rendered"]

MASK64 = (1 << 64) - 1
SHORT_SIZE = 256
HEAD_SIZE = 96
EBML = bytes.fromhex("1a45dfa3")
INFO = bytes.fromhex("1549a966")
INFO_OFFSET = 45
OWN_TEXTS = (bytes.fromhex("7ba9"), bytes.fromhex("4d80"), bytes.fromhex("5741"))
# What an implementation may report in its own way, or what is implied by the other values.
NOT_BINDING = {"size_query", "size_query_status", "decoded_md5"}


def data_of(form: dict[str, Any] | None) -> bytes:
    """Return the bytes of an input form: hex, rep, prng, prng_nz or cat."""
    if form is None:
        return b""
    ((kind, value),) = form.items()
    if kind == "hex":
        return bytes.fromhex(value)
    if kind == "cat":
        return b"".join(data_of(part) for part in value)
    if kind == "rep":
        return bytes.fromhex(value["byte"]) * int(value["len"])
    if kind not in ("prng", "prng_nz"):
        raise ValueError(f"unknown data form {kind!r}; hex, rep, prng, prng_nz and cat are known")
    stream = _splitmix64(value["seed"], value["len"])
    return stream if kind == "prng" else bytes(1 + byte % 255 for byte in stream)


def _splitmix64(seed: int, size: int) -> bytes:
    out, state = bytearray(), seed & MASK64
    while len(out) < size:
        state = (state + 0x9E3779B97F4A7C15) & MASK64
        z = ((state ^ state >> 30) * 0xBF58476D1CE4E5B9) & MASK64
        z = ((z ^ z >> 27) * 0x94D049BB133111EB) & MASK64
        out += (z ^ z >> 31).to_bytes(8, "little")
    return bytes(out[:size])


def _children(data: bytes, start: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    """Give (id, first byte, end) of the elements of an Info: ids of 2 or 3 bytes, sizes of 1 byte."""
    while start < end:
        id_size = 3 if data[start] >> 5 == 1 else 2
        stop = start + id_size + 1 + (data[start + id_size] & 0x7F)
        yield data[start : start + id_size], start, stop
        start = stop


def masked(data: bytes) -> bytes:
    """Return ``data`` in N-form: a header at its start without the three texts; anything else is as it was."""
    if not data.startswith(EBML) or data[INFO_OFFSET : INFO_OFFSET + 4] != INFO:
        return data
    body = INFO_OFFSET + 6
    end = body + (int.from_bytes(data[body - 2 : body], "big") & 0x3FFF)
    kept = b"".join(data[start:stop] for name, start, stop in _children(data, body, end) if name not in OWN_TEXTS)
    return data[: body - 2] + (0x4000 | len(kept)).to_bytes(2, "big") + kept + data[end:]


def masked_loss(header: bytes) -> int:
    """Return how many bytes N-form takes out of a header."""
    return len(header) - len(masked(header))


def rendered(value: Any, wanted: Any) -> Any:
    """Return a result with its bytes written as in ``wanted`` (short: hex; long: hash and head)."""
    if isinstance(value, bytes):
        return _blob(value, wanted)
    if isinstance(value, dict):
        form = wanted if isinstance(wanted, dict) else {}
        return {key: rendered(part, form.get(key)) for key, part in value.items()}
    if isinstance(value, list):
        forms = wanted if isinstance(wanted, list) and len(wanted) == len(value) else [None] * len(value)
        return [rendered(part, form) for part, form in zip(value, forms)]
    return value


def _blob(data: bytes, wanted: Any) -> dict[str, Any]:
    is_hashed = "sha256" in wanted if isinstance(wanted, dict) else len(data) > SHORT_SIZE
    if not is_hashed:
        return {"len": len(data), "hex": data.hex()}
    return {"len": len(data), "sha256": hashlib.sha256(data).hexdigest(), "head_hex": data[:HEAD_SIZE].hex()}


def equal(got: Any, wanted: Any) -> bool:
    """Return whether a rendered result is what the example asks for. None: any value; "nonzero": any error."""
    if wanted is None:
        return True
    if wanted == "nonzero":
        return isinstance(got, str) and int(got, 16) != 0
    if isinstance(wanted, dict):
        return isinstance(got, dict) and all(
            key in NOT_BINDING or part is None or (key in got and equal(got[key], part)) for key, part in wanted.items()
        )
    if isinstance(wanted, list):
        return isinstance(got, list) and len(got) == len(wanted) and all(map(equal, got, wanted))
    return bool(got == wanted)
