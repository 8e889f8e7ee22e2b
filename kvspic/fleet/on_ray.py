"""Workers of a fleet as actors of Ray, for sites that run it: Ray places the processes and starts a dead one again.

    workers = worker_actors("http://fleet:8090", 4, name="gateway", slots=50)   # after ray.init(...)
    stop_actors(workers)

Ray keeps processes only; which cameras run where is the fleet's own matter, as everywhere. An actor that was killed
comes back under its name, and its cameras with it. Needs the package ray, which no extra of this project has.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from kvspic.fleet.worker import Worker, WorkerSettings

__all__ = ["stop_actors", "worker_actors"]

Started = list[tuple[Any, Any]]


class _Actor:
    """One worker process of Ray, on the loop of the actor; ``run`` is called again by Ray when the process was lost."""

    def __init__(self, urls: Sequence[str], words: dict[str, Any]) -> None:
        self._worker = Worker(urls, **words)

    async def run(self) -> int:
        """Carry jobs until ``stop``; returns the exit code."""
        return await self._worker.run()

    async def stop(self) -> None:
        """Hand everything back; ``run`` returns then."""
        self._worker.stop()


def worker_actors(
    urls: str | Sequence[str],
    count: int,
    *,
    name: str,
    slots: int = 50,
    labels: Sequence[str] = (),
    settings: WorkerSettings | None = None,
) -> Started:
    """Start ``count`` workers, ``NAME-1`` and so on; the other arguments as of :func:`kvspic.fleet.worker.run_worker`.

    Returns:
        Each actor, and the reference of its exit code.
    """
    import ray

    servers = [urls] if isinstance(urls, str) else list(urls)
    kind = ray.remote(num_cpus=1, max_restarts=-1, max_task_retries=-1, max_concurrency=2)(_Actor)
    started: Started = []
    for number in range(1, count + 1):
        words = {"slots": slots, "labels": labels, "name": f"{name}-{number}", "settings": settings}
        actor = kind.remote(servers, words)
        started.append((actor, actor.run.remote()))
    return started


def stop_actors(started: Started, timeout_s: float = 40.0) -> list[int]:
    """Let all hand their jobs back, wait, and return their exit codes."""
    import ray

    ray.get([actor.stop.remote() for actor, _ in started], timeout=timeout_s)
    codes: list[int] = ray.get([code for _, code in started], timeout=timeout_s)
    return codes
