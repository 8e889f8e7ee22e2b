"""Freed memory goes back to the system when an endpoint has nothing to do, and not before.

glibc keeps what was freed: after fifty fast uploads of a gigabyte its heaps hold hundreds of megabytes that no object
uses. What it gives back while they run, it asks for again with the next read, and the system clears each page for that:
:func:`keep_freed` ends this. Other C libraries give memory back by themselves; there both do nothing.
"""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Callable

__all__ = ["give_back", "keep_freed"]

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # options of mallopt
_KEPT_MAX = 64 * 1024 * 1024
_MAPPED_MIN = 4 * 1024 * 1024  # what is larger gets pages of its own; a read of a connection is not


@functools.cache
def _function(name: str) -> Callable[..., int] | None:
    try:
        found: Callable[..., int] = getattr(ctypes.CDLL(None), name)
    except (OSError, TypeError, AttributeError):  # not glibc; Windows has no library of this name
        return None
    return found


def keep_freed() -> bool:
    """Let this process keep what it frees, until :func:`give_back`. Whether this C library can."""
    set_option = _function("mallopt") if _function("malloc_trim") is not None else None
    if set_option is None:
        return False
    return bool(set_option(_TRIM_THRESHOLD, _KEPT_MAX) and set_option(_MMAP_THRESHOLD, _MAPPED_MIN))


def give_back() -> bool:
    """Return freed memory to the system; a few milliseconds. Whether this C library can."""
    trim = _function("malloc_trim")
    if trim is None:
        return False
    trim(0)
    return True
