"""The local endpoint, a server in memory and one worker, in one loop."""

import asyncio
import contextlib

from unit.fleet.double import Double

from kvspic.fleet.worker import Worker, WorkerSettings
from kvspic.local.server import LocalEndpoint
from kvspic.local.settings import Settings

__all__ = ["ENDLESS", "TEST", "Stage", "stage"]

TEST = {"type": "test", "url": "testsrc:width=64,height=48,fps=10,gop=5,duration=1"}
ENDLESS = {"type": "test", "url": "testsrc:width=64,height=48,fps=10,gop=5,duration=0"}


class Stage:
    """Endpoint, server and one worker; ``worker`` runs from ``run`` on."""

    def __init__(self, endpoint, server, folder):
        self.endpoint, self.server, self.folder = endpoint, server, folder
        self.worker = self.task = None

    def run(self, name="w", urls=None, **options):
        given = {"endpoint_url": self.endpoint.url, "state": self.folder / "state", **options}
        settings = WorkerSettings(**given)
        self.worker = Worker(urls or self.server.url, slots=4, name=name, settings=settings)
        self.task = asyncio.ensure_future(self.worker.run())

    async def stop(self):
        self.worker.stop()
        return await asyncio.wait_for(self.task, 30)

    async def kill(self):
        """End the worker at once."""
        self.task.cancel()
        await asyncio.wait([self.task])

    async def persisted(self, name, count=1):
        """Wait until a job's report says that so many frames are persisted."""
        found = next(job for job in self.server.jobs.values() if job["name"] == name)
        await self.server.until(lambda: ((found.get("stats") or {}).get("frames_done") or 0) >= count)

    def tags(self, name):
        return [dict(fragment.tags) for fragment in self.endpoint.fragments(name)]


@contextlib.asynccontextmanager
async def stage(tmp_path, **options):
    service = LocalEndpoint(data_dir=tmp_path / "data", settings=Settings.unlimited())
    async with service as endpoint, Double(**options) as server:
        made = Stage(endpoint, server, tmp_path)
        try:
            yield made
        finally:
            if made.task is not None and not made.task.done():
                made.task.cancel()
                await asyncio.wait([made.task])
