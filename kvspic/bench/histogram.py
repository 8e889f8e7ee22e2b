"""Histograms of latencies that can be merged: three significant digits, the wire form HdrHistogram V2 (pure).

A histogram is sparse: counters by bucket, so that the second's worth of one agent is small to send and quick to add.
Percentiles are read from the sum of all agents' counters; percentiles themselves are never averaged. The buckets and
the wire form are those of HdrHistogram with the bounds 1 and 3,600,000,000, so other tools read what is stored here.
Always: a value beyond the bounds is counted at the bound, and in ``clamped``.
"""

from __future__ import annotations

import base64
import binascii
import json
import struct
import zlib
from array import array
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from itertools import accumulate

__all__ = [
    "CLASSES",
    "KINDS",
    "VALUE_MAX_US",
    "Histogram",
    "HistogramError",
    "Histograms",
    "Recorder",
    "read",
    "size_class",
]

VALUE_MAX_US = 3_600_000_000  # one hour
CLASSES = (
    "zero", "1B-8KiB", "8KiB-64KiB", "64KiB-512KiB", "512KiB-4MiB",
    "4MiB-32MiB", "32MiB-256MiB", "256MiB-2GiB", ">2GiB",
)  # fmt: skip
# PUT: from a frame's due time until put_frame returned. LATE: until put_frame was called. RECV, PERS: from the end of a
# fragment to its RECEIVED and PERSISTED ACK. META: calls of the control plane.
KINDS = ("PUT", "LATE", "RECV", "PERS", "META")

_CLASS_MAX = (0, 8 << 10, 64 << 10, 512 << 10, 4 << 20, 32 << 20, 256 << 20, 2 << 30)
_DIGITS, _HALF_BITS = 3, 10  # 2048 sub-buckets hold three digits; above the first bucket their upper half is used
_COUNTERS = 23_552  # 22 buckets
_PAYLOAD_COOKIE, _COMPRESSED_COOKIE = 0x1C849313, 0x1C849314
_PAYLOAD = struct.Struct(">IIIIQQd")
_OUTER = struct.Struct(">II")
_PAYLOAD_MAX = 1 << 20  # bytes; all counters at their largest need less


class HistogramError(ValueError):
    """Bytes that should be a histogram are none, or one with other bounds."""


def size_class(size: int) -> int:
    """Return the index in :data:`CLASSES` of ``size`` bytes; the bounds belong to the smaller class."""
    return next((index for index, bound in enumerate(_CLASS_MAX) if size <= bound), len(_CLASS_MAX))


class Histogram:
    """Counts of values in microseconds. ``clamped`` counts those that lay beyond the bounds."""

    __slots__ = ("clamped", "counts")

    def __init__(self) -> None:
        self.counts: Counter[int] = Counter()  # by bucket
        self.clamped = 0

    @property
    def count(self) -> int:
        """How many values there are."""
        return sum(self.counts.values())

    @property
    def mean_us(self) -> float:
        """Their mean, each taken at the middle of its bucket; 0 without values."""
        total = sum(sum(_bounds(index)) / 2 * count for index, count in self.counts.items())
        return total / self.count if self.counts else 0.0

    @property
    def max_us(self) -> int:
        """The upper bound of the highest bucket that has a value; 0 without values."""
        return _bounds(max(self.counts))[1] if self.counts else 0

    def record(self, values: Iterable[int]) -> None:
        """Count ``values``, microseconds; it is made for many at once."""
        counts = self.counts
        for value, count in Counter(values).items():
            if not 0 <= value <= VALUE_MAX_US:
                self.clamped += count
                value = min(max(value, 0), VALUE_MAX_US)
            shift = value.bit_length() - _HALF_BITS - 1
            counts[value if shift <= 0 else (shift << _HALF_BITS) + (value >> shift)] += count

    def add(self, other: Histogram) -> None:
        """Add the counters of another one."""
        self.counts.update(other.counts)
        self.clamped += other.clamped

    def percentiles(self, wanted: Iterable[float]) -> list[int]:
        """Return for each of ``wanted`` (0 to 100) the value, us, that so many percent of the values do not exceed."""
        indexes = sorted(self.counts)
        sums = list(accumulate(self.counts[index] for index in indexes))
        if not sums:
            return [0 for _ in wanted]
        return [_bounds(indexes[_place(sums, percent)])[1] for percent in wanted]

    def encode(self) -> str:
        """Return the HdrHistogram V2 compressed form in base64."""
        counters = b"".join(_counters(self.counts))
        head = _PAYLOAD.pack(_PAYLOAD_COOKIE, len(counters), 0, _DIGITS, 1, VALUE_MAX_US, 1.0)
        packed = zlib.compress(head + counters)
        return base64.b64encode(_OUTER.pack(_COMPRESSED_COOKIE, len(packed)) + packed).decode()

    @classmethod
    def decode(cls, text: str) -> Histogram:
        """Return the histogram that :meth:`encode`, or another HdrHistogram with the same bounds, wrote.

        Raises:
            HistogramError: it is damaged, or has other bounds.
        """
        try:
            return cls._decode(base64.b64decode(text, validate=True))
        except (binascii.Error, struct.error, zlib.error, IndexError, UnicodeError) as error:
            raise HistogramError(f"The histogram is damaged ({error}): it is no HdrHistogram V2 in base64.") from error

    @classmethod
    def _decode(cls, data: bytes) -> Histogram:
        cookie, size = _OUTER.unpack_from(data)
        if cookie & ~0xF0 != _COMPRESSED_COOKIE & ~0xF0 or size > len(data) - _OUTER.size:
            raise HistogramError("The histogram is damaged: its head is not the one of HdrHistogram V2.")
        payload = zlib.decompressobj().decompress(data[_OUTER.size : _OUTER.size + size], _PAYLOAD_MAX)
        cookie, size, offset, digits, lowest, highest, _ = _PAYLOAD.unpack_from(payload)
        if (cookie & ~0xF0, offset, digits, lowest, highest) != (_PAYLOAD_COOKIE & ~0xF0, 0, _DIGITS, 1, VALUE_MAX_US):
            text = f"bounds {lowest} to {highest} us with {digits} digits"
            raise HistogramError(f"The histogram has {text}: this bench reads 1 to {VALUE_MAX_US} us with {_DIGITS}.")
        if size != len(payload) - _PAYLOAD.size:
            raise HistogramError("The histogram is damaged: its counters do not end where its head says.")
        made = cls()
        made.counts.update(_read_counters(payload, _PAYLOAD.size))
        return made


class Histograms:
    """The histograms of one agent, or of all: by kind, then by index of the size class."""

    def __init__(self) -> None:
        self._found: dict[tuple[str, int], Histogram] = {}

    def __iter__(self) -> Iterator[tuple[str, int, Histogram]]:
        """Each as (kind, size class, histogram), sorted."""
        return iter([(kind, index, self._found[kind, index]) for kind, index in sorted(self._found)])

    def at(self, kind: str, index: int) -> Histogram:
        """Return the one of a kind and size class; a new one is kept."""
        return self._found.setdefault((kind, index), Histogram())

    @property
    def clamped(self) -> int:
        """How many values lay beyond the bounds."""
        return sum(found.clamped for found in self._found.values())

    def all_sizes(self, kind: str) -> Histogram:
        """Return the sum over the size classes of one kind."""
        total = Histogram()
        for name, _, found in self:
            if name == kind:
                total.add(found)
        return total

    def add(self, other: Histograms) -> None:
        """Add the counters of another set."""
        for kind, index, found in other:
            self.at(kind, index).add(found)

    def to_json(self) -> dict[str, dict[str, str]]:
        """Return ``{KIND: {CLASS: base64}}``."""
        made: dict[str, dict[str, str]] = {}
        for kind, index, found in self:
            made.setdefault(kind, {})[CLASSES[index]] = found.encode()
        return made

    @classmethod
    def from_json(cls, value: object) -> Histograms:
        """Return the set that :meth:`to_json` wrote.

        Raises:
            HistogramError: it is damaged, or names an unknown kind or class.
        """
        made = cls()
        for kind, classes in _items(value):
            for name, text in _items(classes):
                if kind not in KINDS or name not in CLASSES or not isinstance(text, str):
                    raise HistogramError(f"The histogram {kind!r} {name!r} is unknown: the agent has another version.")
                made.at(kind, CLASSES.index(name)).add(Histogram.decode(text))
        return made

    def pack(self, is_full: bool = False) -> bytes:
        """Return the bytes that go over the wire; ``is_full``: since the start, not since the last message."""
        return zlib.compress(json.dumps({"full": is_full, "hist": self.to_json()}).encode())

    @classmethod
    def unpack(cls, data: bytes) -> tuple[Histograms, bool]:
        """Return what :meth:`pack` packed, and whether it is full. Empty bytes are an empty set.

        Raises:
            HistogramError: it is damaged.
        """
        if not data:
            return cls(), False
        try:
            value = json.loads(zlib.decompressobj().decompress(data, 4 * _PAYLOAD_MAX))
        except (zlib.error, ValueError) as error:
            raise HistogramError(f"The message's histograms are damaged ({error}).") from error
        if not isinstance(value, dict):
            raise HistogramError("The message's histograms are damaged: they are no JSON object.")
        return cls.from_json(value.get("hist", {})), value.get("full") is True


@lru_cache(maxsize=1)
def _last_read(data: bytes) -> tuple[Histograms, bool]:
    return Histograms.unpack(data)


def read(data: bytes) -> tuple[Histograms, bool]:
    """As :meth:`Histograms.unpack`, decoded once for the several readers of one message; do not change the set."""
    return _last_read(data)


class Recorder:
    """Takes single values at the price of an append, and makes histograms of them when asked.

    ``appender`` is for the thread that measures; ``take`` may be called by any other one.
    """

    def __init__(self) -> None:
        self._values: dict[tuple[str, int], array[int]] = {}

    def values(self, kind: str, index: int) -> array[int]:
        """Return the array of a kind and size class; append values to it, microseconds."""
        return self._values.setdefault((kind, index), array("q"))

    def take(self) -> Histograms:
        """Return the histograms of what was appended since the last call, and forget it."""
        made = Histograms()
        for (kind, index), values in list(self._values.items()):
            size = len(values)
            if size:
                made.at(kind, index).record(values[:size])
                del values[:size]  # what was appended meanwhile stays
        return made


def _bounds(index: int) -> tuple[int, int]:
    """The lowest and highest value of a bucket."""
    shift = max(0, (index >> _HALF_BITS) - 1)
    low = (index - (shift << _HALF_BITS)) << shift
    return low, low + (1 << shift) - 1


def _place(sums: list[int], percent: float) -> int:
    """The first place in the running ``sums`` that holds ``percent`` of the last one; at least one value."""
    need = max(1, int(percent / 100 * sums[-1] + 0.5))
    return next(place for place, total in enumerate(sums) if total >= need)


def _counters(counts: Mapping[int, int]) -> Iterator[bytes]:
    """Counters from the lowest bucket on, zigzag LEB128; a run of zeros is one negative number."""
    following = 0
    for index in sorted(index for index, count in counts.items() if count):
        if index > following:
            yield _leb128((index - following) * 2 - 1)
        yield _leb128(counts[index] * 2)
        following = index + 1


def _leb128(number: int) -> bytes:
    made = bytearray()
    while number > 0x7F and len(made) < 8:
        made.append(number & 0x7F | 0x80)
        number >>= 7
    made.append(number & 0xFF)  # a ninth byte carries eight bits
    return bytes(made)


def _read_counters(data: bytes, place: int) -> dict[int, int]:
    found: dict[int, int] = {}
    index, end = 0, len(data)
    while place < end:
        number = data[place]
        place += 1
        if number > 0x7F:
            number, place = _rest_of_number(data, place, number & 0x7F)
        if number & 1:
            index += (number + 1) >> 1
        else:
            if number:
                found[index] = number >> 1
            index += 1
        if index > _COUNTERS:
            raise HistogramError("The histogram is damaged: it has more counters than its bounds allow.")
    return found


def _rest_of_number(data: bytes, place: int, number: int) -> tuple[int, int]:
    """The number of which the first byte gave the lowest seven bits, and where the next one begins."""
    for shift in range(7, 57, 7):
        byte = data[place]
        place += 1
        if shift == 56:
            return number | byte << shift, place
        number |= (byte & 0x7F) << shift
        if byte <= 0x7F:
            break
    return number, place


def _items(value: object) -> Iterable[tuple[str, object]]:
    if not isinstance(value, dict):
        raise HistogramError("The histograms are damaged: they are no JSON object.")
    return value.items()
