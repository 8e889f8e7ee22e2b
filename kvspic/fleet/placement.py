"""Which handler gets how many jobs: fair shares, suspects, and what a rebalance moves. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from kvspic.fleet.records import JobRow

__all__ = ["fair_share", "is_other_host", "one_suspect", "surpluses"]


def fair_share(jobs: int, slots: int, all_slots: int) -> int:
    """Return how many of all jobs a handler with so many slots carries at most while the jobs are young."""
    return math.ceil(jobs * slots / all_slots) if all_slots > 0 else 0


def is_other_host(known: str | None, host: str | None) -> bool:
    """Say whether two processes of one name run on two machines; a machine that is not named is no other one."""
    return known is not None and host is not None and known != host


def one_suspect(jobs: Sequence[JobRow], losses: int) -> list[JobRow]:
    """Leave in a list only the first job that lost its handlers so many times in a row."""
    first = next((job.id for job in jobs if job.losses >= losses), None)
    return [job for job in jobs if job.losses < losses or job.id == first]


def surpluses(counts: Mapping[str, int], slots: Mapping[str, int], most: int) -> dict[str, int]:
    """Return how many jobs each handler that has more than its fair share should hand back.

    Args:
        counts: jobs in progress of each handler. ``slots``: of each ready handler.
        most: jobs that move in all.
    """
    total = sum(counts.get(handler, 0) for handler in slots)
    all_slots = sum(slots.values())
    room = sum(max(0, fair_share(total, size, all_slots) - counts.get(handler, 0)) for handler, size in slots.items())
    left = min(most, room)
    moves: dict[str, int] = {}
    over = {handler: counts.get(handler, 0) - fair_share(total, size, all_slots) for handler, size in slots.items()}
    for handler, surplus in sorted(over.items(), key=lambda item: (-item[1], item[0])):
        if surplus > 0 and left > 0:
            moves[handler] = min(surplus, left)
            left -= moves[handler]
    return moves
