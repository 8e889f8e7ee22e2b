"""What processes cost: processor time and memory, and how busy the machine is; by psutil."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass

import psutil

__all__ = ["Cost", "Probe"]


@dataclass(frozen=True)
class Cost:
    """A look at some processes. Percent are of one core, since the look before; ``machine_percent`` is of all cores."""

    user_percent: float = 0.0
    system_percent: float = 0.0
    machine_percent: float = 0.0
    rss_bytes: int = 0

    @property
    def cpu_percent(self) -> float:
        """User and system together."""
        return self.user_percent + self.system_percent


class Probe:
    """Looks at some processes and their children; one that has ended keeps the processor time that it used."""

    def __init__(self, process_ids: Iterable[int]) -> None:
        self._processes: dict[int, psutil.Process] = {}
        self._used: dict[int, tuple[float, float]] = {}
        self._machine = _machine_times()
        self._at = time.monotonic()
        for process_id in process_ids:
            self.add(process_id)

    def add(self, process_id: int) -> None:
        """Look at one more process, from now on; nothing happens when it has ended."""
        try:
            process = psutil.Process(process_id)
            times = process.cpu_times()
        except psutil.Error:
            return
        self._processes[process_id] = process
        self._used[process_id] = times.user, times.system

    def look(self) -> Cost:
        """Return what was used since the last look."""
        now, machine = time.monotonic(), _machine_times()
        span = max(1e-3, now - self._at)
        user = system = 0.0
        memory = 0
        for process in self._everyone():
            try:
                with process.oneshot():
                    times, size = process.cpu_times(), process.memory_info().rss
            except psutil.Error:
                continue
            before = self._used.get(process.pid, (0.0, 0.0))
            self._used[process.pid] = times.user, times.system
            user, system, memory = user + times.user - before[0], system + times.system - before[1], memory + size
        busy, whole = machine[0] - self._machine[0], machine[1] - self._machine[1]
        self._at, self._machine = now, machine
        share = 100 * busy / whole if whole > 0 else 0.0
        return Cost(100 * user / span, 100 * system / span, share, memory)

    def _everyone(self) -> list[psutil.Process]:
        found: dict[int, psutil.Process] = {}
        for process in self._processes.values():
            found[process.pid] = process
            try:
                found.update((child.pid, child) for child in process.children(recursive=True))
            except psutil.Error:
                continue
        return list(found.values())


def _machine_times() -> tuple[float, float]:
    """Processor time of all cores so far, seconds: busy, and altogether."""
    times = psutil.cpu_times()
    idle = times.idle + getattr(times, "iowait", 0.0)
    twice = getattr(times, "guest", 0.0) + getattr(times, "guest_nice", 0.0)  # these are in user and nice already
    whole = sum(times) - twice
    return whole - idle, whole
