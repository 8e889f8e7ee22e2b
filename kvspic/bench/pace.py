"""When each frame is due, which picture it is, and what became of the frames that were measured (pure).

The load is an open loop: frame ``k`` of a stream is due at its first moment + ``k`` / fps, whatever happened to the
ones before, and latencies count from that moment. So a producer that stalls for a second shows the thirty frames that
it made late, not one. All moments are monotonic nanoseconds; a frame's time stamp is its due moment on the wall clock.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from random import Random

__all__ = ["Lane", "Window", "lanes_of"]

NS = 1_000_000_000


@dataclass(frozen=True)
class Lane:
    """The place of one stream in the schedule.

    ``phase_ns``: how long after a round begins its frames are due, less than one frame's time. ``first``: frames of its
    first group of pictures, which is cut short so that not all streams have key frames at once.
    """

    phase_ns: int
    first: int

    def picture(self, count: int, frames_per_gop: int) -> int:
        """Return which picture of the group the stream's frame ``count`` is."""
        return count if count < self.first else (count - self.first) % frames_per_gop


def lanes_of(numbers: range, fps: Fraction, frames_per_gop: int, phase: str, seed: int) -> list[Lane]:
    """Return a lane for each stream number, the same ones for the same seed; ``phase``: "spread" or "aligned"."""
    if phase == "aligned":
        return [Lane(0, frames_per_gop) for _ in numbers]
    frame_ns = int(NS / fps)
    lanes = []
    for number in numbers:
        random = Random(seed << 32 | number)
        lanes.append(Lane(random.randrange(frame_ns), random.randint(1, frames_per_gop)))
    return lanes


def due_ns(begin_ns: int, count: int, fps: Fraction) -> int:
    """Return when frame ``count`` is due of a stream whose first one is due at ``begin_ns``."""
    return begin_ns + count * NS * fps.denominator // fps.numerator


def count_before(moment_ns: int, begin_ns: int, fps: Fraction) -> int:
    """Return how many frames are due before a moment."""
    if moment_ns <= begin_ns:
        return 0
    # The least n with floor(n * NS / fps) >= moment - begin.
    return -(-(moment_ns - begin_ns) * fps.numerator // (NS * fps.denominator))


class Window:
    """The measured frames of one stream, and what became of them.

    ``begin_ns`` is when the stream's first frame is due, ``first_pts`` that frame's time stamp. The window has the
    frames that are due from ``from_ns`` on and before ``until_ns``.
    """

    def __init__(self, begin_ns: int, first_pts: int, fps: Fraction, from_ns: int, until_ns: int) -> None:
        self._first_pts, self._fps = first_pts, fps
        self.first = count_before(from_ns, begin_ns, fps)
        self.end = count_before(until_ns, begin_ns, fps)
        self.put = self.persisted = self.dropped = 0

    @property
    def offered(self) -> int:
        """Frames that are due in the window."""
        return self.end - self.first

    def index_of(self, pts_ns: int) -> int:
        """Return which frame of the stream has this time stamp; ticks of 100 ns may have cut it."""
        since = pts_ns - self._first_pts
        return (since * self._fps.numerator + NS * self._fps.denominator // 2) // (NS * self._fps.denominator)

    def inside(self, pts_ns: int, frames: int) -> int:
        """Return how many of ``frames`` in a row, the first at ``pts_ns``, are measured."""
        begin = self.index_of(pts_ns)
        return max(0, min(begin + frames, self.end) - max(begin, self.first))

    def buffered(self, buffered_of_all: int) -> int:
        """Return how many are still buffered, when so many of the stream's newest frames are."""
        return min(buffered_of_all, self.put)
