"""Sends what a worker spooled of jobs that it does not carry any more, beside those that it carries.

Each folder of the spool is sent when the server grants that: at the frames' own times and with their own epoch, up to
the moment at which another worker took the job, and with the metadata ``kvspic-backfill``. One folder at a time.
A grant is a lease: it is renewed while frames wait, and nothing is sent past 0.85 of it. What was acknowledged is noted
in the folder, so that a backfill that was cut off goes on later. A folder is removed when nothing waits in it, and when
the server says that the job was deleted.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from kvspic import errors
from kvspic.actions import ConnectionBusy, Event, StreamFailed
from kvspic.fleet.bell import Bell
from kvspic.fleet.identity import NameLock, NameTakenError
from kvspic.fleet.lease import deadlines, feedback_s, request_limit_s
from kvspic.fleet.link import Link, LinkDown, Refused
from kvspic.fleet.spools import SpoolNote, read_note, remove_settled, size_of, spool_options
from kvspic.producer import AsyncProducer
from kvspic.stream import AsyncStream
from kvspic.threads import in_thread
from kvspic.types import ClockPolicy
from kvspic.units import NS_PER_MS

__all__ = ["BackfillSetup", "Backfills", "Grant", "ask_grant"]

logger = logging.getLogger("kvspic.fleet")

LOOK_S = 30.0  # between two looks at the spool; each folder costs the server a call
PROGRESS_S = 0.5
FRAGMENT_MIN = timedelta(seconds=1)  # fragments as they were recorded, so that the service can be asked for them
STREAM_STORE = 64 << 20  # bytes of memory
NOT_FOUND, CONFLICT = 404, 409


@dataclass(frozen=True)
class Grant:
    """Leave to send what was spooled of a job.

    Attributes:
        fence_s: of the lease clock; nothing is sent past it. renew_s: when to ask again.
        until_ns: when another worker took the job, in ns since 1970 of this machine's clock; None: none did.
    """

    fence_s: float
    renew_s: float
    until_ns: int | None


async def ask_grant(
    link: Link, handler: str, job: str, epoch: int, *, clock: Callable[[], float], lease_s: float
) -> Grant:
    """Ask the server what may be sent of an epoch. Raises LinkDown and Refused."""
    sent_s, sent_ns = clock(), time.time_ns()
    body = {"handler": handler, "job": job, "epoch": epoch}
    answer = await link.post("/v1/backfill", body, request_limit_s(lease_s))
    lease_s = float(answer.get("lease_s") or lease_s)
    ago_ms = answer.get("taken_ago_ms")
    until_ns = None if ago_ms is None else sent_ns - int(ago_ms) * NS_PER_MS
    return Grant(deadlines(sent_s, lease_s).fence, sent_s + feedback_s(lease_s), until_ns)


@dataclass(frozen=True)
class BackfillSetup:
    """What a worker gives its backfills.

    Attributes:
        handler: its name. folder: of its spools. clock: the lease clock, in seconds.
        producer: for an endpoint and a region. is_used: whether a carrier has that folder. may_send: whether no carrier
            wants it now.
        lease_s: the newest that a server said.
    """

    handler: str
    folder: Path
    clock: Callable[[], float]
    producer: Callable[[str, str], AsyncProducer]
    is_used: Callable[[Path], bool]
    may_send: Callable[[SpoolNote], bool]
    lease_s: Callable[[], float]


class Backfills:
    """The task of one worker."""

    def __init__(self, setup: BackfillSetup) -> None:
        self._setup = setup
        self._said: set[Path] = set()  # folders that nothing can be done with

    async def run(self, link: Link) -> None:
        """Look at the spool from time to time; for ever. A folder that another worker has too is left alone."""
        try:
            lock = NameLock(self._setup.folder.parent, self._setup.folder.name)
        except (NameTakenError, OSError):
            text = (
                "%s: another worker uses the spool %s: what is left there waits; give each worker a --spool of its own."
            )
            logger.error(text, self._setup.handler, self._setup.folder)
            return
        try:
            await self._look_on(link)
        finally:
            lock.close()

    async def _look_on(self, link: Link) -> None:
        while True:
            await asyncio.sleep(LOOK_S * (0.5 + random.random()))
            for folder in await in_thread(self._folders):
                try:
                    await self._look_at(link, folder)
                except LinkDown:
                    break
                except Exception as error:  # the trouble of one folder ends neither the others nor a camera
                    self._say(folder, f"cannot be sent: {type(error).__name__}: {error}")

    def _folders(self) -> list[Path]:
        with contextlib.suppress(OSError):
            return sorted(path for path in self._setup.folder.iterdir() if path.is_dir())
        return []

    def _say(self, folder: Path, text: str) -> None:
        if folder not in self._said:
            self._said.add(folder)
            logger.warning("The spool %s (%d bytes) %s", folder, size_of(folder), text)

    async def _look_at(self, link: Link, folder: Path) -> None:
        if self._setup.is_used(folder):
            return
        note = read_note(folder)
        if note is None and remove_settled(folder):
            return
        if note is None:
            self._say(folder, "does not say whose it is: it is sent when its job is carried here; else remove it.")
            return
        if not self._setup.may_send(note) or remove_settled(folder):
            return
        try:
            grant = await self._ask(link, note)
        except Refused as error:
            if error.status == NOT_FOUND:
                await self._give_up(folder, note, is_deleted=bool(error.answer.get("deleted")))
            elif error.status != CONFLICT:  # which passes: another worker sends, or the camera's own upload is not up
                self._say(folder, f"cannot be sent: {error}")
            return
        if await self._send(link, folder, note, grant):
            logger.info("%s: what epoch %d spooled is sent.", note.name, note.epoch)
            remove_settled(folder)

    async def _ask(self, link: Link, note: SpoolNote) -> Grant:
        setup = self._setup
        return await ask_grant(link, setup.handler, note.job, note.epoch, clock=setup.clock, lease_s=setup.lease_s())

    async def _give_up(self, folder: Path, note: SpoolNote, *, is_deleted: bool) -> None:
        if not is_deleted:
            self._say(folder, f"is of the job {note.name}, which the server does not know: ask another, or remove it.")
            return
        text = "%s: the job was deleted; the %d bytes that were spooled of it are removed."
        logger.warning(text, note.name, await in_thread(lambda: size_of(folder)))
        await in_thread(lambda: shutil.rmtree(folder, ignore_errors=True))

    async def _send(self, link: Link, folder: Path, note: SpoolNote, grant: Grant) -> bool:
        """Send a folder while the grant is renewed; return whether nothing waits in it any more."""
        upload = _Upload(self._setup, note, grant)
        stream = await upload.open(folder)
        try:
            while upload.goes_on():
                metrics = stream.metrics()
                if not metrics.frames_buffered + metrics.frames_spooled:
                    return True
                if not metrics.frames_spooled:
                    with contextlib.suppress(errors.KvsError):
                        stream.end_fragment()
                if self._setup.clock() >= upload.grant.renew_s:
                    with contextlib.suppress(LinkDown):
                        upload.grant = await self._ask(link, note)
                await upload.stirred.wait(PROGRESS_S)
        except Refused as error:
            logger.info("%s: the backfill waits: %s", note.name, error)
        finally:
            stream.abort()
        return False


class _Upload:
    """One folder on its way."""

    def __init__(self, setup: BackfillSetup, note: SpoolNote, grant: Grant) -> None:
        self.grant = grant
        self.stirred = Bell()
        self._setup, self._note = setup, note
        self._is_over = False

    async def open(self, folder: Path) -> AsyncStream:
        """Open its stream; what lies past the grant's ``until_ns`` is removed. Raises KvsError."""
        note = self._note
        options: dict[str, Any] = {
            "offline": True,
            "retention": timedelta(hours=note.retention_hours),
            "store_size": STREAM_STORE,
            "fragment_duration_min": FRAGMENT_MIN,
            "clock": ClockPolicy.GIVEN,
            "may_send": lambda: self._setup.clock() < self.grant.fence_s,
            **spool_options(folder, self.grant.until_ns, self._setup.handler),
        }
        producer = self._setup.producer(note.endpoint, note.region)
        return await producer.open_stream(note.stream, note.tracks, wait=False, on_event=self._hear, **options)

    def goes_on(self) -> bool:
        """Whether it may go on now."""
        return not self._is_over and self._setup.clock() < self.grant.fence_s and self._setup.may_send(self._note)

    def _hear(self, event: Event) -> None:
        """The backfill gives way to the upload of the worker that carries the job now, and tries again later."""
        if isinstance(event, ConnectionBusy) or (isinstance(event, StreamFailed) and event.is_final):
            self._is_over = True
        self.stirred.ring()
