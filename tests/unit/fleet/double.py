"""The smallest server that a worker can work for: poll and feedback in memory, with a switch for everything that a test
wants to go wrong."""

import asyncio
import itertools
import time

from aiohttp import web

__all__ = ["Double"]


class Double:
    """Use it with ``async with``. ``jobs`` by id; ``requests`` has each body, in order."""

    def __init__(self, lease_s=20.0, feedback_s=0.2):
        self.lease_s, self.feedback_s = lease_s, feedback_s
        self.jobs = {}
        self.requests = []
        self.ended = []  # (id, epoch, status, error)
        self.answer = None  # (status, body) for every call while it is set
        self.is_silent = False
        self.polls_with = {}  # added to the answer of the next poll
        self.taken_s = {}  # (job, epoch): when another worker took it, of the wall clock
        self.backfills = None  # (status, body) for every call of backfill while it is set
        self.asked = []  # (job, epoch) of each call of backfill
        self.changed = asyncio.Event()
        self.url = ""
        self._numbers = itertools.count(1)

    def add(self, name, source, **options):
        """Add a pending job; return its id."""
        number = next(self._numbers)
        self.jobs[f"job{number}"] = {
            "id": f"job{number}", "number": number, "epoch": 0, "version": 1, "name": name, "stream": name,
            "source": source, "options": options, "status": "pending",
        }  # fmt: skip
        return f"job{number}"

    async def __aenter__(self):
        app = web.Application()
        app.router.add_post("/v1/handlers/{name}/poll", self._poll)
        app.router.add_post("/v1/handlers/{name}/feedback", self._feedback)
        app.router.add_post("/v1/backfill", self._backfill)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"
        return self

    async def __aexit__(self, *_):
        await self._runner.cleanup()

    async def until(self, is_true, timeout_s=60):
        """Wait until what a test wants is so; looked at after each request."""

        async def wait():
            while not is_true():
                self.changed.clear()
                await self.changed.wait()

        await asyncio.wait_for(wait(), timeout_s)

    async def _poll(self, request):
        body = await self._begin(request, "poll")
        if self.answer:
            return web.json_response(self.answer[1], status=self.answer[0])
        extra, self.polls_with = self.polls_with, {}
        jobs = []
        for job in self.jobs.values():
            if job["status"] == "pending" and len(jobs) < body["free"]:
                job.update(status="in_progress", epoch=job["epoch"] + 1)
                jobs.append(job)
        if not jobs:
            await asyncio.sleep(0.1)
        return web.json_response({"jobs": jobs, "stop": [], "handback": [], **self._periods(), **extra})

    async def _feedback(self, request):
        body = await self._begin(request, "feedback")
        if self.is_silent:
            await asyncio.sleep(60)
        if self.answer:
            return web.json_response(self.answer[1], status=self.answer[0])
        verdicts = [self._verdict(report) for report in body["reports"]]
        return web.json_response({"verdicts": verdicts, **self._periods()})

    async def _backfill(self, request):
        body = await self._begin(request, "backfill")
        self.asked.append((body["job"], body["epoch"]))
        if self.backfills:
            return web.json_response(self.backfills[1], status=self.backfills[0])
        taken_s = self.taken_s.get((body["job"], body["epoch"]))
        ago_ms = None if taken_s is None else round((time.time() - taken_s) * 1000)
        return web.json_response({"lease_s": self.lease_s, "taken_ago_ms": ago_ms})

    async def _begin(self, request, what):
        body = await request.json()
        self.requests.append((what, body))
        self.changed.set()
        return body

    def _verdict(self, report):
        job = self.jobs.get(report["id"])
        if job is None:
            return {"id": report["id"], "verdict": "not_found", "accepted": False}
        if report["epoch"] != job["epoch"] or job["status"] != "in_progress":
            if report["status"] == "handback":
                self.ended.append((report["id"], report["epoch"], "released", None))
            return {"id": job["id"], "verdict": "stop", "accepted": False, "status": job["status"]}
        if report["status"] == "in_progress":
            job["stats"] = report.get("stats")
            return {"id": job["id"], "verdict": "continue", "accepted": True}
        self.ended.append((job["id"], job["epoch"], report["status"], report.get("error")))
        job["status"] = "pending" if report["status"] == "handback" else report["status"]
        return {"id": job["id"], "verdict": "stop", "accepted": True, "status": job["status"]}

    def _periods(self):
        return {"lease_s": self.lease_s, "feedback_s": self.feedback_s}
