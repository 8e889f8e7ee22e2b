"""Freed memory goes back to the system when an endpoint has nothing to do.

glibc keeps what was freed: after fifty fast uploads of a gigabyte its heaps hold hundreds of megabytes that no object
uses. Other C libraries give memory back by themselves; there :func:`give_back` does nothing.
"""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Callable

__all__ = ["give_back"]


@functools.cache
def _trim() -> Callable[[int], int] | None:
    try:
        trim: Callable[[int], int] = ctypes.CDLL(None).malloc_trim
    except (OSError, TypeError, AttributeError):  # not glibc; Windows has no library of this name
        return None
    return trim


def give_back() -> bool:
    """Return freed memory to the system; a few milliseconds. Whether this C library can."""
    trim = _trim()
    if trim is None:
        return False
    trim(0)
    return True
