"""Bytes that are kept for a while and then thrown away whole, in pages of their own.

A hundred uploads that begin together keep up to 64 KB each until the service answers. In the allocator's memory these
would lie among what lives as long as the upload, and leave holes that the process keeps for good.
"""

from __future__ import annotations

import mmap

__all__ = ["Kept"]


class Kept:
    """Bytes that grow at their end, up to ``size_max``. The system gets the memory back when the object goes."""

    def __init__(self, size_max: int) -> None:
        self._size_max = size_max
        self._pages: mmap.mmap | None = None  # which cost memory only where they were written
        self._size = 0

    def __len__(self) -> int:
        return self._size

    def __getitem__(self, span: slice) -> bytes:
        start, end, _ = span.indices(self._size)
        return b"" if self._pages is None else self._pages[start:end]

    def __iadd__(self, data: memoryview | bytes) -> Kept:
        if self._pages is None:
            self._pages = mmap.mmap(-1, self._size_max)
        self._pages[self._size : self._size + len(data)] = data
        self._size += len(data)
        return self
