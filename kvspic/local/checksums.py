"""Checksums of what is stored: whether the bytes of a fragment are still those that a client sent.

CRC-32 over a header (the body up to its first Cluster), and over a fragment's tags and Cluster. It finds bits that a
disk or a copy has turned; it is no protection against a person who changes the index too.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import IO

from kvspic.local.records import FragmentRecord, HeaderRecord
from kvspic.local.store_index import FragmentRow

__all__ = ["checksum_of", "fragment_ranges", "header_ranges", "trouble_of"]

_PIECE_SIZE = 1024 * 1024

Range = tuple[int, int]
"""Offset and size in bytes."""


def header_ranges(header: HeaderRecord) -> list[Range]:
    """What a header's checksum covers."""
    return [(0, header.end_offset)]


def fragment_ranges(fragment: FragmentRecord) -> list[Range]:
    """What a fragment's checksum covers."""
    return [*fragment.tags, (fragment.offset, fragment.size)]


def checksum_of(file: IO[bytes], ranges: Sequence[Range]) -> int | None:
    """Return the CRC-32 of the ranges, one after the other; None where the file ends before. It moves the file."""
    checksum = 0
    for offset, size in ranges:
        file.seek(offset)
        while size > 0:
            piece = file.read(min(size, _PIECE_SIZE))
            if not piece:
                return None
            checksum = zlib.crc32(piece, checksum)
            size -= len(piece)
    return checksum


def trouble_of(path: Path, row: FragmentRow) -> str | None:
    """Read a fragment and its header from ``path``; return what is wrong with them, None for nothing."""
    parts = (
        ("header", header_ranges(row.header), row.header_checksum),
        ("fragment", fragment_ranges(row.fragment), row.checksum),
    )
    try:
        with open(path, "rb", buffering=0) as file:
            for name, ranges, stored in parts:
                found = checksum_of(file, ranges)
                if found is None:
                    return f"its file ends inside the {name}"
                if stored not in (None, found):
                    return f"the bytes of its {name} have changed since they were stored"
    except OSError as error:
        return f"its file cannot be read ({error.strerror})"
    except (TypeError, ValueError):
        return "its place in the file, as the index has it, is no place"
    return None
