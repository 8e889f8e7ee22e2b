"""A fleet's store on a clock of its own, with the operations under short names. For tests of the service."""

import math
import random

from kvspic.fleet import service
from kvspic.fleet.lease import SweepWatch
from kvspic.fleet.store import open_store

START_MS = 1_767_225_600_000  # 2026-01-01T00:00:00Z
LEASE_S = 20
RTSP = {"type": "rtsp", "url": "rtsp://10.0.0.9/1"}
FILE = {"type": "file", "url": "/media/a.mp4"}


class Rig:
    """A store; ``now`` is seconds since its clock began. What servers do by themselves happens in ``advance``."""

    def __init__(self, url: str, seed: int = 1) -> None:
        self.clock_ms = START_MS
        self.store = open_store(url, clock=lambda: self.clock_ms, chance=random.Random(seed))
        self.begin()

    def begin(self) -> None:
        """Begin as a server does."""
        self.watch = SweepWatch()
        self.seq = 0
        self.sweep()

    @property
    def now(self) -> float:
        """Seconds since the clock began."""
        return (self.clock_ms - START_MS) / 1000

    def call(self, operation, *arguments, **more):
        """Run one operation."""
        return self.store.run(operation, *arguments, **more)

    def sweep(self, *others) -> None:
        """One sweep as the master does it, and other operations in the same transaction, which is quicker."""
        renew = self.watch.must_renew(self.now, self.clock_ms, LEASE_S)

        def all_of_it(tx):
            service.sweep(tx, renew=renew)
            for operation in others:
                operation(tx)

        self.call(all_of_it)
        self.watch.swept(self.now, self.clock_ms)

    def to(self, second: float) -> None:
        """Let the clock run to this second; sweep and restart at full seconds.

        For speed not at each one: at the first and the last two, and at each fifth between them.
        """
        began = self.now
        for full in range(int(began) + 1, math.ceil(second) + 1):
            at = min(full, second)
            if at - began <= 2 or second - at < 2 or full % 5 == 0:
                self.clock_ms = START_MS + round(at * 1000)
                self.sweep(service.restart_due)

    def create(self, name="a", **body):
        """Create a job; return its id."""
        return self.call(service.create_job, {"name": name, "source": RTSP, **body}).job["id"]

    def poll(self, handler="h1", free=1, carried=None, **body):
        """Poll without waiting."""
        plain = {"incarnation": f"{handler}-1", "slots": max(free, 10), "free": free, "carried": carried}
        return self.call(service.poll, handler, {**plain, **body})

    def claim(self, handler="h1", free=1, **body):
        """Poll; return the names that were handed out."""
        return [job["name"] for job in self.poll(handler, free, **body)["jobs"]]

    def report(self, job, epoch, status="in_progress", handler="h1", incarnation=None, **more):
        """Report one job; return the verdict."""
        reports = [{"id": job, "epoch": epoch, "status": status, **more}]
        body = {"incarnation": incarnation or f"{handler}-1", "reports": reports}
        return self.call(service.feedback, handler, body)["verdicts"][0]

    def fail(self, job, epoch, text="boom", error_class="source_unreachable", **more):
        """Report a failure."""
        return self.report(job, epoch, "failure", error={"class": error_class, "text": text}, **more)

    def patch(self, job, status):
        """Ask for a status."""
        return self.call(service.patch_job, job, {"status": status})

    def show(self, job):
        """The job."""
        return self.call(service.get_job, job)

    def status(self, job):
        """The job's status."""
        return self.show(job)["status"]

    def log(self, job):
        """The statuses of the job's log."""
        return [record["status"] for record in self.records(job)]

    def records(self, job):
        """The job's log."""
        return self.call(service.job_logs, job, {"limit": "1000"})["logs"]

    def faults(self):
        """What a check of all logs finds."""
        faults, after = [], ""
        while after is not None:
            checked = self.call(service.check_logs, after=after)
            faults, after = faults + checked.faults, checked.next
        return faults
