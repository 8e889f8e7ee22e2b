"""What a process costs, read from /proc: memory, descriptors, threads, processor time. Linux only.

A figure is of one moment; callers that want a trend sample it.
"""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass
from pathlib import Path

__all__ = ["Sample", "percentile", "sample"]

TICKS_PER_S = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Sample:
    """One look at a process; sizes in bytes. ``cpu_s`` counts user and system time since it started."""

    rss_size: int
    fd_count: int
    thread_count: int
    cpu_s: float

    def as_dict(self) -> dict[str, float]:
        """For JSON."""
        return asdict(self)


def sample(process_id: int | str = "self") -> Sample:
    """Look at a process of this user."""
    place = Path("/proc") / str(process_id)
    status = dict(line.split(":", 1) for line in (place / "status").read_text().splitlines())
    fields = (place / "stat").read_text().rpartition(")")[2].split()
    return Sample(
        rss_size=int(status["VmRSS"].split()[0]) * 1024,
        fd_count=len(os.listdir(place / "fd")),
        thread_count=int(status["Threads"]),
        cpu_s=(int(fields[11]) + int(fields[12])) / TICKS_PER_S,
    )


def percentile(values: list[float], share: float) -> float:
    """The value that ``share`` (0 to 1) of the values do not exceed; 0 for none."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0.0
