"""How many cameras a machine holds: which numbers of streams to try, and what a measurement says (pure).

The number is doubled until a limit breaks, then halved in between until the bounds are within five percent, and the
answer is confirmed by a longer measurement; if that breaks, by one of ten percent less, and so on. A number that broke
is measured once more before it is believed, because one hiccup of the machine is no limit of it.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

__all__ = ["Bounds", "Measure", "Result", "Trial", "broken", "result_line", "search", "slope"]

PRECISION = 0.05
STEP_DOWN = 0.9  # of the streams, when a confirmation breaks


@dataclass(frozen=True)
class Bounds:
    """What a number of cameras must keep to be held.

    Attributes:
        late_p99_ms: how late frames are put. put_p99_ms: from the due time until ``put_frame`` returned.
        persisted_p99_ms: from the end of a fragment to its PERSISTED ACK. lag_s: how old the oldest frame may be that
            is not persisted. growth: of what is not sent, as a share of the bit rate. cpu_percent: of all cores.
    """

    dropped: int = 0
    late_p99_ms: float = 33.3
    put_p99_ms: float = 5.0
    persisted_p99_ms: float = 5000.0
    lag_s: float = 7.0
    growth: float = 0.01
    cpu_percent: float = 90.0


@dataclass(frozen=True)
class Measure:
    """What was measured with ``streams`` streams; times in milliseconds, processor time in percent of all cores.

    ``missing``: frames that were due and not put; ``unopened``: streams that could not be opened, so that nothing else
    was measured. ``cpu_percent``: of the load and the producer; the endpoint's, where
    it is on the same machine, and other programs' stand apart.
    """

    streams: int
    offered: int
    missing: int
    dropped: int
    late_p99_ms: float
    put_p99_ms: float
    persisted_p99_ms: float
    lag_s: float
    growth: float
    cpu_percent: float
    endpoint_cpu_percent: float
    other_cpu_percent: float
    rss_bytes: int
    unopened: int = 0


@dataclass(frozen=True)
class Trial:
    """A number of streams to measure; ``is_confirmation``: longer."""

    streams: int
    is_confirmation: bool = False


@dataclass(frozen=True)
class Result:
    """The answer. ``limits``: what broke first, each a sentence; empty when ``streams`` is all that was asked for."""

    streams: int
    limits: tuple[str, ...]
    curve: tuple[Measure, ...]

    def to_json(self) -> dict[str, Any]:
        """Return it with JSON types only."""
        return {"streams": self.streams, "limits": list(self.limits), "curve": [asdict(one) for one in self.curve]}


def broken(found: Measure, bounds: Bounds) -> tuple[str, ...]:
    """Return which bounds a measurement breaks, each as words with the figure; nothing: it is held."""
    cpu = found.cpu_percent + found.endpoint_cpu_percent
    checks = (
        (found.unopened > 0, f"{found.unopened} of {found.streams} streams could not be opened"),
        (found.dropped > bounds.dropped, f"{found.dropped} frames dropped"),
        (found.late_p99_ms > bounds.late_p99_ms, f"LATE p99 {found.late_p99_ms:.0f} ms"),
        (found.missing > 0.01 * found.offered, f"{found.missing} of {found.offered} frames not put in time"),
        (found.put_p99_ms > bounds.put_p99_ms, f"PUT p99 {found.put_p99_ms:.1f} ms"),
        (found.persisted_p99_ms > bounds.persisted_p99_ms, f"PERS p99 {found.persisted_p99_ms:.0f} ms"),
        (found.lag_s > bounds.lag_s, f"frames not persisted after {found.lag_s:.1f} s"),
        (found.growth > bounds.growth, f"backlog grows by {found.growth:.1%} of the bit rate"),
        (cpu > bounds.cpu_percent, f"CPU {cpu:.0f} %"),
    )
    return tuple(words for is_broken, words in checks if is_broken)


def search(bounds: Bounds, streams_max: int, first: int = 1) -> Generator[Trial, Measure, Result]:
    """Ask for trials, be sent the measurement of each, and return the answer.

    At most ``streams_max`` streams are tried; ``first`` is where doubling begins.
    """
    curve: list[Measure] = []
    limits: tuple[str, ...] = ()

    def holds(streams: int, is_confirmation: bool) -> Generator[Trial, Measure, bool]:
        """Measure, and once more if it broke."""
        nonlocal limits
        for _ in range(2):
            found = yield Trial(streams, is_confirmation)
            curve.append(found)
            what = broken(found, bounds)
            if not what:
                return True
        limits = what
        return False

    held, broke, streams = 0, 0, min(max(1, first), streams_max)
    while held < streams_max and not broke:
        if (yield from holds(streams, False)):
            held, streams = streams, min(2 * streams, streams_max)
        else:
            broke = streams
    while broke and broke - held > max(1, int(PRECISION * held)):
        middle = (held + broke) // 2
        if (yield from holds(middle, False)):
            held = middle
        else:
            broke = middle
    while held and not (yield from holds(held, True)):
        held = min(held - 1, int(held * STEP_DOWN))
    return Result(held, limits, tuple(curve))


def slope(samples: Sequence[tuple[float, float]]) -> float:
    """Return how fast the second values rise with the first ones, by least squares; 0 with less than two."""
    if len(samples) < 2:
        return 0.0
    mean_x = sum(x for x, _ in samples) / len(samples)
    mean_y = sum(y for _, y in samples) / len(samples)
    spread = sum((x - mean_x) ** 2 for x, _ in samples)
    return sum((x - mean_x) * (y - mean_y) for x, y in samples) / spread if spread else 0.0


def result_line(result: Result, kbps: float, fps: float, is_endpoint_here: bool) -> str:
    """Return the answer as one line."""
    held = f"This machine holds {result.streams} camera{'s' * (result.streams != 1)} ({kbps:g} kbit/s, {fps:g} fps)"
    limit = f"first limit: {result.limits[0]}" if result.limits else "no limit was met"
    last = next((one for one in reversed(result.curve) if one.streams == result.streams), None)
    parts = [held, limit]
    if last is not None and is_endpoint_here:
        parts.append(f"the endpoint on the same machine took {last.endpoint_cpu_percent:.0f} % of its CPU")
    if last is not None and last.other_cpu_percent >= 10:
        parts.append(f"other programs took {last.other_cpu_percent:.0f} %")
    return "; ".join(parts)
