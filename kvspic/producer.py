"""The facade: ``Producer`` for programs that block, ``AsyncProducer`` for asyncio; one implementation behind both.

``put_frame`` is a plain function in both: any thread may call it, and it returns when the frame is stored, never
waiting for the network. An offline stream refuses frames when its store is full: the blocking facade then waits for
room, the asynchronous one has ``await put(...)``. Public times are nanoseconds since 1970.
"""

from __future__ import annotations

import asyncio
import functools
import os
import warnings
import weakref
from collections.abc import Callable, Coroutine, Generator, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeVar

from kvspic.actions import Event
from kvspic.driver.blocking import LoopThread, call_soon
from kvspic.driver.spooling import open_spool
from kvspic.driver.stream import StreamWork
from kvspic.driver.work import STORE_DEFAULT, ProducerSettings, ProducerWork
from kvspic.provider.threads import in_thread
from kvspic.stream import CLOSE_TIMEOUT_ON_ERROR_S, CLOSE_TIMEOUT_S, AsyncStream, Stream, StreamFace
from kvspic.types import ClientMetrics, StreamOptions, StreamReport, Track, TrackLike, track_of

if TYPE_CHECKING:
    from typing_extensions import Self, Unpack

    from kvspic.provider.credentials import CredentialSource
    from kvspic.retry import RetryPolicy
    from kvspic.types import StreamKeywords

__all__ = ["AsyncProducer", "AsyncStream", "Producer", "Stream"]

READY_TIMEOUT_S = 30.0
Callback = Callable[[Event], None]


class _ProducerFace:
    """What both kinds of producer share."""

    _work: ProducerWork

    def __init__(self, settings: ProducerSettings) -> None:
        self._is_finished = True  # until there is something to close
        self._work = ProducerWork(settings)
        self._is_finished = False
        _alive.add(self)

    @property
    def reports(self) -> list[StreamReport]:
        """The ledgers of the streams that are open now."""
        return [work.report() for work in self._work.streams.values()]

    def metrics(self) -> ClientMetrics:
        """The content store that the streams share; not after ``close``."""
        return self._work.metrics()

    def __del__(self) -> None:
        if not self._is_finished and not self._work.is_forked:
            text = f"{self!r} was never closed: use a with block, or call close()"
            warnings.warn(text, ResourceWarning, stacklevel=2)
            self._drop()

    def _drop(self) -> None:
        """Free what a forgotten producer holds, without waiting."""


class Producer(_ProducerFace):
    """Uploads media to Kinesis Video Streams, for programs without an event loop. Any thread may use it.

    Args:
        region: default: the AWS configuration; us-east-1 for a loopback endpoint.
        endpoint_url: of the control plane; default: AWS_ENDPOINT_URL_KINESIS_VIDEO or AWS. A loopback http endpoint
            needs no configuration at all.
        credentials: from ``kvspic.provider.credentials``; default: the chain of botocore.
        store_size: bytes of frames that all streams together may hold.
        client_id: names your program in requests and in the MKV writing application; at most 64 bytes.
        retry_policy: what to do about streams that fail; default: go on for ever, see ``kvspic.retry``.
    """

    def __init__(
        self,
        *,
        region: str | None = None,
        endpoint_url: str | None = None,
        credentials: CredentialSource | None = None,
        store_size: int = STORE_DEFAULT,
        client_id: str = "",
        retry_policy: RetryPolicy | None = None,
    ) -> None:
        super().__init__(ProducerSettings(region, endpoint_url, credentials, store_size, client_id, retry_policy))
        self._thread = LoopThread()
        self._thread.run(call_soon(self._work.start))

    def open_stream(
        self,
        name: str,
        tracks: Sequence[Track | TrackLike],
        *,
        wait: bool = True,
        timeout: float = READY_TIMEOUT_S,
        on_event: Callable[[Event], None] | None = None,
        **options: Unpack[StreamKeywords],
    ) -> Stream:
        """Open a stream, creating it at the service if need be.

        Args:
            name: 1 to 256 of ``a-z A-Z 0-9 _ . -``.
            tracks: 1 to 3, e.g. ``[H264Track(), AacTrack(sample_rate=48000, channels=2)]``.
            wait: return when the stream is ready; without it return at once: frames are kept and go out when it is.
            timeout: seconds to wait. on_event: gets every event from the first, on the producer's own thread.
            options: fields of :class:`kvspic.StreamOptions`, such as ``retention``, ``offline``, ``tags``.

        Raises:
            UsageError: a wrong argument. TimedOutError: not ready in time. ServiceError: the service refused.
        """
        chosen = StreamOptions(**options)
        what = name, tracks, chosen, on_event
        self._work.check_open()
        return self._thread.run(
            _open_ready(
                self._work,
                lambda work: Stream(self, self._work, work, chosen, self._thread),
                what,
                timeout if wait else None,
            )
        )

    def close(self, timeout: float = CLOSE_TIMEOUT_S) -> list[StreamReport]:
        """Close all streams within ``timeout`` seconds and free everything; return their reports. Twice is harmless."""
        if self._is_finished or self._work.is_forked:
            return []
        self._is_finished = True
        try:
            return self._thread.run(self._work.close(timeout))
        finally:
            self._thread.stop()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close(CLOSE_TIMEOUT_S if kind is None else CLOSE_TIMEOUT_ON_ERROR_S)

    def _drop(self) -> None:
        thread = getattr(self, "_thread", None)
        if thread is not None and not thread.loop.is_closed():
            asyncio.run_coroutine_threadsafe(_abandon(self._work, thread), thread.loop)


class AsyncProducer(_ProducerFace):
    """The same for asyncio; it belongs to the loop that runs at its first use. Arguments as in :class:`Producer`."""

    def __init__(
        self,
        *,
        region: str | None = None,
        endpoint_url: str | None = None,
        credentials: CredentialSource | None = None,
        store_size: int = STORE_DEFAULT,
        client_id: str = "",
        retry_policy: RetryPolicy | None = None,
    ) -> None:
        super().__init__(ProducerSettings(region, endpoint_url, credentials, store_size, client_id, retry_policy))
        self._is_started = False

    def open_stream(
        self,
        name: str,
        tracks: Sequence[Track | TrackLike],
        *,
        wait: bool = True,
        timeout: float = READY_TIMEOUT_S,
        on_event: Callable[[Event], None] | None = None,
        **options: Unpack[StreamKeywords],
    ) -> _Opening:
        """As :meth:`Producer.open_stream`: ``stream = await producer.open_stream(...)``, or ``async with``."""
        chosen = StreamOptions(**options)

        async def opening() -> AsyncStream:
            self._start()
            return await _open_ready(
                self._work,
                lambda work: AsyncStream(self, self._work, work, chosen),
                (name, tracks, chosen, on_event),
                timeout if wait else None,
            )

        return _Opening(opening)

    async def close(self, timeout: float = CLOSE_TIMEOUT_S) -> list[StreamReport]:
        """As :meth:`Producer.close`."""
        if self._is_finished or self._work.is_forked:
            return []
        self._is_finished = True
        return await self._work.close(timeout)

    async def __aenter__(self) -> Self:
        self._start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close(CLOSE_TIMEOUT_S if kind is None else CLOSE_TIMEOUT_ON_ERROR_S)

    def _start(self) -> None:
        if not self._is_started:
            self._is_started = True
            self._work.start()

    def _drop(self) -> None:
        if self._is_started and self._work.loop.is_running():
            asyncio.run_coroutine_threadsafe(self._work.abandon(), self._work.loop)


class _Opening:
    """An AsyncStream that is being opened: await it, or enter it."""

    def __init__(self, opening: Callable[[], Coroutine[Any, Any, AsyncStream]]) -> None:
        self._opening = opening
        self._stream: AsyncStream | None = None

    def __await__(self) -> Generator[Any, None, AsyncStream]:
        return self._opening().__await__()

    async def __aenter__(self) -> AsyncStream:
        self._stream = await self._opening()
        return self._stream

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._stream is not None:
            await self._stream.__aexit__(kind, error, trace)


Face = TypeVar("Face", bound=StreamFace)


async def _open_ready(
    producer: ProducerWork,
    make: Callable[[StreamWork], Face],
    what: tuple[str, Sequence[Track | TrackLike], StreamOptions, Callable[[Event], None] | None],
    timeout_s: float | None,
) -> Face:
    """Open a stream and wait until it is ready, or not (``timeout_s`` None); on failure nothing is left open."""
    name, tracks, options, on_event = what
    callbacks = [] if on_event is None else [on_event]
    work = await _open_work(producer, name, [track_of(track) for track in tracks], options, callbacks)
    face = make(work)
    if timeout_s is None:
        return face
    try:
        await work.wait_ready(timeout_s)
    except BaseException:
        await producer.close_stream(work, 0)
        raise
    return face


async def _open_work(
    producer: ProducerWork, name: str, tracks: list[Track], options: StreamOptions, callbacks: list[Callback]
) -> StreamWork:
    if options.spool is None:
        return producer.open_stream(name, tracks, options, callbacks)
    spool = await in_thread(functools.partial(open_spool, name, tracks, options), None)
    try:
        return producer.open_stream(name, tracks, options, callbacks, spool)
    except BaseException:
        spool.leave()
        raise


async def _abandon(work: ProducerWork, thread: LoopThread) -> None:
    await work.abandon()
    thread.loop.stop()


_alive: weakref.WeakSet[_ProducerFace] = weakref.WeakSet()


def _forget_in_child() -> None:
    for producer in list(_alive):
        producer._work.forget_in_child()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_in_child)
