"""The worker: asks a server for jobs, carries them, and stops in time when it is not heard any more.

One loop: a task polls for jobs, one reports them and so renews their leases, one does what is due, and each job has a
carrier. What is decided is decided by :class:`~kvspic.fleet.holding.Holding`; this module moves it. A worker knows no
database and needs nothing of the server but HTTP.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import random
import re
import signal
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kvspic.fleet.backfill import Backfills, BackfillSetup, ask_grant
from kvspic.fleet.bell import Bell
from kvspic.fleet.carrier import Carrier, CarrierSetup
from kvspic.fleet.holding import HANDBACK, Assignment, Held, Holding, Order, Orders, Outcome, Report
from kvspic.fleet.identity import (
    NameLock,
    NameTakenError,
    default_name,
    host_id,
    lease_clock,
    new_incarnation,
    state_folder,
)
from kvspic.fleet.jobs import LABEL, LABELS_MAX
from kvspic.fleet.lease import feedback_s, request_limit_s
from kvspic.fleet.link import Link, LinkDown, Refused, check_urls
from kvspic.fleet.secrets import Secrets
from kvspic.fleet.spools import SpoolNote
from kvspic.fleet.troubles import failure_of
from kvspic.producer import AsyncProducer
from kvspic.sources.base import Source
from kvspic.sources.opening import open_file, open_source

__all__ = ["EXIT_DENIED", "EXIT_OK", "EXIT_SUPERSEDED", "Worker", "WorkerSettings", "check_labels", "run_worker"]

logger = logging.getLogger("kvspic.fleet")

EXIT_OK, EXIT_SUPERSEDED, EXIT_DENIED = 0, 4, 5
UNREADABLE = ("bad_field", "not_found", "method_not_allowed")  # a server does not know this call, or a field of it
SLOTS_MAX = 10_000
REPORTS_MAX = 1000  # of one request
WAIT_S = 20.0  # of a long poll, at most
GRACE_S = 5.0  # beyond that the poll has failed
LEASE_GUESS_S = 20.0  # before the first answer
RETRY_S = 1.0  # at most, after a feedback that was not answered
SPACING_S = 0.05  # between two feedbacks, however much there is to report
START_S = 0.1  # between two starts
PAUSE_MIN_S, PAUSE_MAX_S = 1.0, 30.0
COMPLAIN_S = 60.0
DRAIN_S = 25.0  # all jobs flushed and handed back
STORE_PER_SLOT = 64 << 20

OpenSource = Callable[[Assignment], Source]


@dataclass(frozen=True)
class WorkerSettings:
    """What a worker can be given beside its server, slots, labels and name.

    Attributes:
        token: of a handler, where the server wants one. ca_file: certificates that the server's is checked against.
        endpoint_url, region: of Kinesis Video, for jobs that name none; None: the AWS configuration.
        secrets: the file of camera passwords. spool: the folder of spools; None: beside the user's other state.
        state: the folder of the lock on the worker's name; None: as the spool's.
    """

    token: str | None = None
    ca_file: str | None = None
    endpoint_url: str | None = None
    region: str | None = None
    secrets: Path | None = None
    spool: Path | None = None
    state: Path | None = None


def run_worker(
    urls: str | Sequence[str],
    *,
    slots: int = 50,
    labels: Sequence[str] = (),
    name: str = "",
    carry: OpenSource | None = None,
    settings: WorkerSettings | None = None,
) -> int:
    """Carry jobs of a fleet until SIGTERM or Ctrl-C; then hand them back, flush, and return.

    Args:
        urls: of the fleet's servers; the next one is asked when one does not answer.
        slots: jobs that it carries at a time. labels: jobs whose labels are all among these are taken.
        name: of this worker, unique in the fleet; default: the host's name.
        carry: ``carry(assignment)`` returns the source of a job, see :class:`kvspic.sources.Source`; called in the
            job's own thread. Default: the source that the job names.

    Returns:
        0: handed back. 4: another worker has this name. 5: the server refused the token, or each one the first call.

    Raises:
        ValueError: an argument is wrong.
    """
    worker = Worker(urls, slots=slots, labels=labels, name=name, carry=carry, settings=settings)

    async def run() -> int:
        if threading.current_thread() is threading.main_thread():
            worker.stop_on_signals()
        return await worker.run()

    return asyncio.run(run())


def check_labels(labels: Sequence[str]) -> list[str]:
    """Return a worker's labels in order, each once. Raises ValueError with the remedy."""
    found = sorted(set(labels))
    for label in found:
        if not re.fullmatch(LABEL, label):
            raise ValueError(f"{label[:100]!r} is no label: write 1 to 64 letters of A-Z and a-z, digits, _ and -.")
    if len(found) > LABELS_MAX:
        raise ValueError(f"There are {len(found)} labels: give at most {LABELS_MAX}.")
    return found


class Worker:
    """One worker in the running loop; arguments as in :func:`run_worker`."""

    def __init__(
        self,
        urls: str | Sequence[str],
        *,
        slots: int = 50,
        labels: Sequence[str] = (),
        name: str = "",
        carry: OpenSource | None = None,
        settings: WorkerSettings | None = None,
    ) -> None:
        if not 1 <= slots <= SLOTS_MAX:
            raise ValueError(f"slots is {slots}: give 1 to {SLOTS_MAX}.")
        self.name = name or default_name()
        self.holding = Holding(chance=random.random)
        self._settings = settings or WorkerSettings()
        self._urls = check_urls(urls)
        self._slots, self._labels = slots, check_labels(labels)
        self._clock = lease_clock()
        self._incarnation, self._host = new_incarnation(), host_id()
        self._secrets = Secrets(self._settings.secrets)
        folder = self._settings.state or state_folder()
        self._folder = folder
        self._spool = self._settings.spool or folder / "spool" / self.name
        self._setup = CarrierSetup(carry or self._open_source, self._spool, self._clock, self.name, self._taken_ns)
        self._producers: dict[tuple[str, str], AsyncProducer] = {}
        self._carriers: dict[tuple[str, int], Carrier] = {}
        self._tasks: dict[tuple[str, int], asyncio.Task[None]] = {}
        self._lease_s, self._period_s = LEASE_GUESS_S, feedback_s(LEASE_GUESS_S)
        self._seq = 0
        self._polling: asyncio.Task[None] | None = None
        self._complained_s = -math.inf
        self._was_answered = False  # then a server that does not know a call is one that is being upgraded
        self._unreadable: set[str] = set()  # URLs of servers that did not know the first call
        self._exit: asyncio.Future[int] | None = None
        self._report_bell, self._tick_bell, self._poll_bell = Bell(), Bell(), Bell()

    # ---- its life

    async def run(self) -> int:
        """Work until :meth:`stop`; return the exit code. Cancelled: everything is aborted at once."""
        self._exit = asyncio.get_running_loop().create_future()
        try:
            lock = NameLock(self._folder, self.name)
        except NameTakenError as error:
            logger.error("%s", error)
            return EXIT_SUPERSEDED
        try:
            async with Link(self._urls, self._settings.token, self._settings.ca_file) as link:
                return await self._work(link)
        finally:
            lock.close()

    async def _work(self, link: Link) -> int:
        self._link = link
        loops = [self._poll_on(link), self._report_on(link), self._tick_on(), self._backfills().run(link)]
        tasks = [asyncio.ensure_future(loop) for loop in loops]
        self._polling = tasks[0]
        if self.holding.is_draining:  # stopped before it began
            self._end(EXIT_OK)
        for task in tasks:
            task.add_done_callback(self._loop_ended)
        assert self._exit is not None
        try:
            return await self._exit
        finally:
            await _cancel(tasks)
            for order, held in self.holding.abort_all():
                self._apply([(order, held)])
            await _cancel(list(self._tasks.values()))
            for producer in self._producers.values():
                await producer.close(0)

    def stop_on_signals(self) -> None:
        """End on SIGTERM and SIGINT; a second one does not wait."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            with contextlib.suppress(NotImplementedError, RuntimeError, ValueError):
                loop.add_signal_handler(number, self.stop)

    def stop(self) -> None:
        """Take no more jobs, flush those there are, hand them back, and end. Called twice it does not wait."""
        if self.holding.is_draining or self._exit is None:
            self.holding.is_draining = True
            self._end(EXIT_OK)
            return
        logger.info("%s hands %d jobs back and ends.", self.name, len(self.holding.held))
        if self._polling is not None:
            self._polling.cancel()
        self._apply(self.holding.drain())
        asyncio.get_running_loop().call_later(DRAIN_S, self._end, EXIT_OK)
        self._wake()

    def _end(self, code: int) -> None:
        if self._exit is not None and not self._exit.done():
            self._exit.set_result(code)

    def _loop_ended(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and task.exception() is not None and self._exit is not None and not self._exit.done():
            self._exit.set_exception(task.exception() or RuntimeError())

    def _wake(self) -> None:
        self._report_bell.ring()
        self._tick_bell.ring()
        self._poll_bell.ring()

    # ---- asking for jobs

    async def _poll_on(self, link: Link) -> None:
        pause_s = PAUSE_MIN_S
        while not self.holding.is_draining:
            free = self._slots - len(self.holding.held)
            if free <= 0:  # feedback is the sign of life, and says what is to be stopped
                await self._poll_bell.wait(None)
                continue
            try:
                body = self._poll(free)
                answer = await link.post(f"/v1/handlers/{self.name}/poll", body, body["wait_s"] + GRACE_S)
            except LinkDown as error:
                self._complain(error)
                await asyncio.sleep(pause_s * (0.5 + random.random() / 2))
                pause_s = min(PAUSE_MAX_S, pause_s * 2)
            except Refused as error:
                await self._refused(error)
            else:
                pause_s = PAUSE_MIN_S
                self._take(answer)

    def _poll(self, free: int) -> dict[str, Any]:
        from kvspic import __version__

        self._seq += 1
        return {
            "incarnation": self._incarnation,
            "seq": self._seq,
            "slots": self._slots,
            "free": free,
            "labels": self._labels,
            "wait_s": min(
                WAIT_S, self._lease_s / 2
            ),  # no poll of a lost worker waits when its jobs are handed out again
            "host": self._host,
            "version": __version__,
            "carried": [{"id": job, "epoch": epoch} for job, epoch in self.holding.carried],
        }

    def _take(self, answer: Mapping[str, Any]) -> None:
        offers = []
        for raw in answer.get("jobs") or ():
            try:
                offers.append(Assignment.of(raw))
            except (KeyError, TypeError, ValueError) as error:
                logger.error("The server sent a job that is none (%s): is it of another version?", error)
        self.holding.take(offers)
        self._learn(answer)
        self._report_bell.ring()  # the period may be shorter now
        self._apply(self.holding.hand_back(answer.get("handback") or ()))

    def _learn(self, answer: Mapping[str, Any]) -> None:
        """The periods that the server wants now."""
        self._was_answered = True
        self._lease_s = float(answer.get("lease_s") or self._lease_s)
        self._period_s = float(answer.get("feedback_s") or feedback_s(self._lease_s))

    # ---- reporting, which renews the leases

    async def _report_on(self, link: Link) -> None:
        while True:
            reports, began_s = self.holding.reports(), self._clock()
            parts = [reports[at : at + REPORTS_MAX] for at in range(0, len(reports), REPORTS_MAX)]
            is_answered = all([await self._report(link, part) for part in parts])
            if self.holding.is_draining and not self.holding.held:
                self._end(EXIT_OK)
                return
            wait_s = self._period_s  # as the answer has it
            if not is_answered:
                wait_s = min(RETRY_S, self._period_s / 4)
            elif self.holding.has_news:
                wait_s = SPACING_S
            await self._report_bell.wait(wait_s - (self._clock() - began_s))
            await asyncio.sleep(SPACING_S)

    async def _report(self, link: Link, reports: list[Report]) -> bool:
        """Send one feedback; return whether it was answered."""
        body = {"incarnation": self._incarnation, "reports": [self._line(report) for report in reports]}
        sent_s = self._clock()
        try:
            answer = await link.post(f"/v1/handlers/{self.name}/feedback", body, request_limit_s(self._lease_s))
        except LinkDown as error:
            self._complain(error)
            return False
        except Refused as error:
            await self._refused(error)
            return False
        self._apply(self.holding.tick(self._clock()))  # what is past its fence is suspended before it is resumed
        self._learn(answer)
        verdicts = [verdict for verdict in answer.get("verdicts") or () if isinstance(verdict, Mapping)]
        self._apply(self.holding.answered(reports, sent_s, self._lease_s, verdicts))
        self._apply(self.holding.hand_back(answer.get("handback") or ()))
        self._tick_bell.ring()
        self._poll_bell.ring()
        return True

    def _line(self, report: Report) -> dict[str, Any]:
        job, epoch = report.key
        line: dict[str, Any] = {"id": job, "epoch": epoch, "status": report.status}
        if report.error_class:
            line["error"] = {"class": report.error_class, "text": report.error_text}
        carrier = self._carriers.get(report.key)
        if carrier is not None:
            line["stats"] = carrier.stats()
        return line

    async def _refused(self, error: Refused) -> None:
        """A server said no."""
        if error.is_denied:
            logger.error("The server refuses this worker (%s): check --token-file.", error)
            self._end(EXIT_DENIED)
        elif error.name == "superseded":
            logger.error("Another worker has the name %s now; this one ends.", self.name)
            self._end(EXIT_SUPERSEDED)
        elif error.name in UNREADABLE and not self._was_answered:
            self._not_understood(error)
        else:
            self._complain(error)
        await asyncio.sleep(PAUSE_MIN_S)

    def _not_understood(self, error: Refused) -> None:
        """Turn to the next server; end when each one has refused the first call."""
        self._unreadable.add(error.url)
        self._link.turn_from(error.url)
        if self._unreadable.issuperset(self._urls):
            text = "%s cannot work for this server (%s): install the same version of kvspic on both."
            logger.error(text, self.name, error)
            self._end(EXIT_DENIED)
        else:
            self._complain(error)

    def _complain(self, error: Exception) -> None:
        now_s = self._clock()
        if now_s - self._complained_s >= COMPLAIN_S:
            self._complained_s = now_s
            logger.warning("%s: %s; it is tried again.", self.name, error)

    # ---- what is due

    async def _tick_on(self) -> None:
        while True:
            now_s = self._clock()
            self._apply(self.holding.tick(now_s))
            held = self.holding.start(now_s)
            if held is not None:
                self._start(held)
                await asyncio.sleep(START_S)
                continue
            await self._tick_bell.wait(min(1.0, self.holding.due_s(now_s) - now_s))

    def _apply(self, orders: Orders) -> None:
        for order, held in orders:
            carrier = self._carriers.get(held.job.key)
            logger.info("%s: %s", held.job.name, order.name.lower())
            if carrier is not None:
                carrier.order(order)
            elif order >= Order.FLUSH:
                self.holding.ended(held.job.key, HANDBACK)

    def _start(self, held: Held) -> None:
        logger.info("%s: start, epoch %d", held.job.name, held.job.epoch)
        carrier = Carrier(held, self._producer(held.job.endpoint, held.job.region), self._setup)
        self._carriers[held.job.key] = carrier
        self._tasks[held.job.key] = asyncio.ensure_future(self._carry(carrier))

    async def _carry(self, carrier: Carrier) -> None:
        key = carrier.job.key
        outcome = Outcome("failure", "internal", "the carrier was cancelled")
        try:
            outcome = await carrier.run()
        except Exception as error:
            logger.exception("%s: the carrier broke", carrier.job.name)
            outcome = failure_of(error, "")
        finally:
            del self._carriers[key], self._tasks[key]
            self.holding.ended(key, outcome)
            logger.info("%s: %s %s", carrier.job.name, outcome.status, outcome.error_text)
            self._wake()

    def _producer(self, endpoint: str, region: str) -> AsyncProducer:
        place = endpoint, region
        if place not in self._producers:
            self._producers[place] = AsyncProducer(
                endpoint_url=endpoint or self._settings.endpoint_url,
                region=region or self._settings.region,
                store_size=STORE_PER_SLOT * self._slots,
                client_id="kvspic-fleet",
            )
        return self._producers[place]

    # ---- spools

    async def _taken_ns(self, job: str, epoch: int) -> int | None:
        grant = await ask_grant(self._link, self.name, job, epoch, clock=self._clock, lease_s=self._lease_s)
        return grant.until_ns

    def _backfills(self) -> Backfills:
        setup = BackfillSetup(
            handler=self.name,
            folder=self._spool,
            clock=self._clock,
            producer=self._producer,
            is_used=lambda folder: any(carrier.spool == folder for carrier in self._carriers.values()),
            may_send=self._may_backfill,
            lease_s=lambda: self._lease_s,
        )
        return Backfills(setup)

    def _may_backfill(self, note: SpoolNote) -> bool:
        """Not what a carrier sends itself, nor beside its upload of the same job while that is not streaming."""
        for held in self.holding.held.values():
            if held.job.id == note.job:
                carrier = self._carriers.get(held.job.key)
                if held.job.version == note.version or carrier is None or not carrier.is_streaming:
                    return False
        return not self.holding.is_draining

    # ---- sources

    def _open_source(self, job: Assignment) -> Source:
        """Open the source that a job names; in the carrier's thread."""
        url, kind = self._secrets.url_of(job.source), str(job.source.get("type"))
        if kind == "file":
            return open_file(url.removeprefix("file://"))
        if kind == "test":
            options = url.removeprefix("test://").removeprefix("testsrc").lstrip(":")
            return open_source(f"testsrc:{options}" if options else "testsrc")
        return open_source(url.removeprefix("device://"))


async def _cancel(tasks: Sequence[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    if tasks:
        await asyncio.wait(tasks)
