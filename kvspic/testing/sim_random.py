"""Chance for the simulation: one seed, and a generator of its own for each part, so that parts do not disturb others.

A plan that loses one fault or one stream therefore draws the same numbers for the rest, which is what makes a failing
run small.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from typing import TypeVar

from kvspic.statechart.prng import SplitMix64

__all__ = ["SimRandom"]

T = TypeVar("T")


class SimRandom(SplitMix64):
    """Seeded numbers in the shapes that plans need."""

    def __init__(self, seed: int, label: str = "") -> None:
        super().__init__(seed * 0x9E3779B97F4A7C15 + zlib.crc32(label.encode()))

    def between(self, low: int, high: int) -> int:
        """A whole number from ``low`` to ``high``, both included."""
        return low + self.below(high - low + 1)

    def unit(self) -> float:
        """A number in [0, 1)."""
        return (self.next() >> 11) / 9007199254740992.0

    def chance(self, percent: int) -> bool:
        """True in ``percent`` of 100 cases."""
        return self.below(100) < percent

    def choice(self, items: Sequence[T]) -> T:
        """One of ``items``."""
        return items[self.below(len(items))]

    def spread(self, low: int, high: int) -> int:
        """A number from ``low`` to ``high`` whose magnitude is even: small ones are as frequent as large ones."""
        if low >= high:
            return low
        return min(high, int(max(low, 1) * (high / max(low, 1)) ** self.unit()))
