"""Who waits for news of the store, and how each hears of them: long polls of handlers, and readers of events.

The store announces commits on any thread; here they reach the loop, 50 ms of them at a time. As many polls are woken as
jobs became pending, the one that waits longest first, and only those whose labels fit when the labels are known. What
no announcement says (a job's spread has passed, an old lease has ended) is asked for once a second by the server, which
wakes polls by the same rules. Missed announcements wake everybody.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kvspic.fleet.records import Announcement, Store

__all__ = ["Reader", "Waiting", "Wake"]

COALESCE_S = 0.05
_CHANGES_MAX = 10_000  # ids that a slow reader has not taken


@dataclass(eq=False)
class Waiting:
    """A long poll: ``labels`` bound the jobs that it may get."""

    handler: str
    labels: frozenset[str]
    woken: asyncio.Event = field(default_factory=asyncio.Event)

    async def wait(self, timeout_s: float) -> None:
        """Return when there may be something, or after ``timeout_s``."""
        try:
            await asyncio.wait_for(self.woken.wait(), timeout_s)
        except asyncio.TimeoutError:
            return
        self.woken.clear()


@dataclass(eq=False)
class Reader:
    """A reader of events: the ids of what changed since it looked last, each once."""

    changes: dict[tuple[str, str], None] = field(default_factory=dict)
    has_missed: bool = False
    woken: asyncio.Event = field(default_factory=asyncio.Event)


class Wake:
    """The waiting of one server; made and used on its loop."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._loop = asyncio.get_running_loop()
        self._waiting: dict[Waiting, None] = {}  # the longest first
        self._readers: set[Reader] = set()
        self._came: list[Announcement] = []
        self._has_missed = False
        self._timer: asyncio.TimerHandle | None = None
        self._end: Callable[[], None] | None = None

    def begin(self) -> None:
        """Listen to the store. It may block for as long as the store does: call it off the loop."""
        self._end = self._store.listen(self._on_commit)

    def end(self) -> None:
        """Listen no more. It may block."""
        end, self._end = self._end, None
        if end is not None:
            end()

    def _on_commit(self, announcements: list[Announcement]) -> None:
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._take, announcements)

    def _take(self, announcements: list[Announcement]) -> None:
        self._came += announcements
        self._has_missed |= not announcements
        if self._timer is None:
            self._timer = self._loop.call_later(COALESCE_S, self._tell)

    def _tell(self) -> None:
        came, self._came, self._timer = self._came, [], None
        missed, self._has_missed = self._has_missed, False
        if missed:
            self.everybody()
        self.work(sum(one.kind == "work" for one in came))
        self.handlers({one.name for one in came if one.kind == "stop"})
        changes = dict.fromkeys((one.kind, one.name) for one in came if one.kind in ("job", "handler"))
        if changes or missed:
            for reader in self._readers:
                reader.changes.update(changes)
                if missed or len(reader.changes) > _CHANGES_MAX:
                    reader.has_missed = True
                    reader.changes.clear()
                reader.woken.set()

    @property
    def waiting_count(self) -> int:
        """How many polls wait."""
        return len(self._waiting)

    def enter(self, waiting: Waiting) -> None:
        """A poll begins to wait."""
        self._waiting[waiting] = None

    def leave(self, waiting: Waiting) -> None:
        """A poll is answered."""
        self._waiting.pop(waiting, None)

    def read(self, reader: Reader) -> None:
        """A reader comes."""
        self._readers.add(reader)

    def unread(self, reader: Reader) -> None:
        """A reader goes."""
        self._readers.discard(reader)

    def work(self, count: int) -> None:
        """Wake as many polls as jobs became pending."""
        for waiting in self._waiting:
            if count <= 0:
                return
            if not waiting.woken.is_set():
                waiting.woken.set()
                count -= 1

    def work_with(self, labels: Iterable[frozenset[str]]) -> int:
        """Wake one fitting poll for each job of which the labels are given; return how many were woken."""
        count = 0
        for wanted in labels:
            for waiting in self._waiting:
                if not waiting.woken.is_set() and wanted <= waiting.labels:
                    waiting.woken.set()
                    count += 1
                    break
        return count

    def handlers(self, names: set[str]) -> None:
        """Wake the polls of these handlers: a job of theirs was stopped."""
        for waiting in self._waiting:
            if waiting.handler in names:
                waiting.woken.set()

    def everybody(self) -> None:
        """Wake all polls and readers."""
        for woken in (*(one.woken for one in self._waiting), *(one.woken for one in self._readers)):
            woken.set()
