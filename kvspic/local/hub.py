"""What the parts of the HTTP application share: the model, the store, the clock, and news of stored fragments.

It lives in one event loop. Waiting for the store never blocks that loop: queries run in a few threads of their own.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import TypeVar

from kvspic.local.acks import Ack
from kvspic.local.counts import Counts
from kvspic.local.errors import StoreError
from kvspic.local.memory import give_back
from kvspic.local.model import Service
from kvspic.local.store import Done, Store
from kvspic.local.streams import StreamRecord
from kvspic.local.watch import Watch
from kvspic.threads import DaemonExecutor

__all__ = ["Hub"]

_T = TypeVar("_T")

GIVE_BACK_S = 2.0  # an upload that ends is often followed by the next one


@dataclass
class Hub:
    """One endpoint's parts. ``now_hns`` is the wall clock in 100 ns ticks and never goes back while we run;
    ``wall_seconds`` is the system's own, for signatures: clients sign with theirs, which a correction may move."""

    service: Service
    store: Store
    now_hns: Callable[[], int]
    wall_seconds: Callable[[], float]
    on_ack: Callable[[str, Ack], None] | None = None
    counts: Counts = field(default_factory=Counts)
    readers: DaemonExecutor = field(default_factory=lambda: DaemonExecutor(4))
    live: dict[int, set[Callable[[], None]]] = field(default_factory=dict)
    """For each stream, what pokes its open PutMedia connections."""
    watch: Watch = field(default_factory=Watch)
    _news: dict[int, asyncio.Event] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.readers.start_threads(1)  # a producer of this process may need the endpoint when the process ends

    async def ask(self, work: Callable[[], _T]) -> _T:
        """Run ``work``, which may wait for the disk, in a thread."""
        return await asyncio.get_running_loop().run_in_executor(self.readers, work)

    async def until_kept(self, write: Callable[[Done], None]) -> None:
        """Start a write of the store and wait until it is durable; its error is raised here."""
        kept = asyncio.get_running_loop().create_future()

        def done(error: Exception | None) -> None:
            if kept.done():
                return
            if error is None:
                kept.set_result(None)
            else:
                text = "The data directory cannot be written; free space on its disk or name another one."
                kept.set_exception(StoreError(text))

        write(done)
        await kept

    async def keep_changes(self) -> None:
        """Store what the control plane changed, before the caller gets the answer."""
        streams = self.service.streams
        changed, streams.changed = list(streams.changed.values()), {}
        deleted, streams.deleted = streams.deleted, []
        for stream in changed:
            try:
                await self.until_kept(partial(self.store.save_stream, stream.to_dict()))
            except StoreError:
                await self._take_back(stream.stream_id)
                raise
            self.expire(stream)
        for stream_id in deleted:
            try:
                await self.until_kept(partial(self.store.delete_stream, stream_id))
            except StoreError:
                await self._take_back(stream_id)
                raise
            self.watch.forget(stream_id)
            self.fragment_stored(stream_id)
            for poke in list(self.live.pop(stream_id, ())):
                poke()

    async def _take_back(self, stream_id: int) -> None:
        """A change was not stored: the stream is what the store has of it."""
        kept = await self.ask(self.store.streams)
        self.service.streams.take_back(stream_id, next((one for one in kept if one["stream_id"] == stream_id), None))

    def close(self) -> None:
        """Finish the queries that run, then write what waits and close the store. It may wait for the disk."""
        self.readers.shutdown()
        self.readers.wait_ended()
        self.store.close()

    def upload_over(self) -> None:
        """A PutMedia connection has ended. After the last one, what its buffers took is no use to anybody here."""
        if not any(self.live.values()):
            asyncio.get_running_loop().call_later(GIVE_BACK_S, self._give_back)

    def _give_back(self) -> None:
        if not any(self.live.values()):
            give_back()

    def expire(self, *streams: StreamRecord) -> None:
        """Drop what the streams' retention no longer covers, files that are empty then included."""
        self.store.expire({stream.stream_id: self.oldest_hns(stream) for stream in streams})

    def oldest_hns(self, stream: StreamRecord) -> int:
        """Return the server time before which the stream's fragments are gone."""
        return self.now_hns() - stream.kept_hns(self.service.settings)

    def news(self, stream_id: int) -> asyncio.Event:
        """Return an event that the stream's next stored fragment sets, once."""
        return self._news.setdefault(stream_id, asyncio.Event())

    def fragment_stored(self, stream_id: int) -> None:
        """Wake the requests that wait for the stream."""
        event = self._news.pop(stream_id, None)
        if event is not None:
            event.set()
