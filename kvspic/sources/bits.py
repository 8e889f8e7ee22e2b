"""Reads bits of a header, the most significant first; behind the end there are zeros. Pure."""

from __future__ import annotations

__all__ = ["Bits"]


class Bits:
    """A place in a run of bits."""

    def __init__(self, data: bytes) -> None:
        self._value = int.from_bytes(data, "big")
        self._left = len(data) * 8

    def read(self, count: int) -> int:
        """Return the next ``count`` bits as a number."""
        missing = max(0, count - self._left)
        self._left -= count - missing
        value = self._value >> self._left << missing
        self._value &= (1 << self._left) - 1
        return value

    def exp_golomb(self) -> int:
        """Return an unsigned Exp-Golomb number (ITU-T H.264 section 9.1); -1 if it does not end in these bits."""
        zeros = self._left - self._value.bit_length()
        length = 2 * zeros + 1
        return -1 if length > self._left else self.read(length) - 1
