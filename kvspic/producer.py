"""The facade: ``Producer`` for programs that block, ``AsyncProducer`` for asyncio; one implementation behind both.

``put_frame`` is a plain function in both: any thread may call it, and it returns when the frame is stored, never
waiting for the network. An offline stream refuses frames when its store is full: the blocking facade then waits for
room, the asynchronous one has ``await put(...)``. Public times are nanoseconds since 1970.
"""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable, Coroutine, Generator, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeVar

from kvspic.actions import Event
from kvspic.driver.at_exit import end_later, watch
from kvspic.driver.blocking import LoopThread, call_soon
from kvspic.driver.spooling import open_spool
from kvspic.driver.stream import StreamWork
from kvspic.driver.work import EXIT_TIMEOUT_S, ProducerSettings, ProducerWork
from kvspic.mistakes import check_seconds, check_text, checked_options, checked_tracks
from kvspic.stream import CLOSE_TIMEOUT_ON_ERROR_S, CLOSE_TIMEOUT_S, ELSEWHERE, AsyncStream, Stream, StreamFace
from kvspic.threads import in_thread
from kvspic.types import ClientMetrics, StreamOptions, StreamReport, Track, TrackLike

if TYPE_CHECKING:
    from typing_extensions import Self, Unpack

    from kvspic.provider.credentials import CredentialSource
    from kvspic.retry import CallRates, RetryPolicy
    from kvspic.types import StreamKeywords

__all__ = ["AsyncProducer", "AsyncStream", "Producer", "Stream"]

READY_TIMEOUT_S = 30.0
Callback = Callable[[Event], None]
Tracks = Track | TrackLike | Sequence[Track | TrackLike]


class _ProducerFace:
    """What both kinds of producer share."""

    _work: ProducerWork
    _is_finished = True  # until there is something to close; also where a wrong argument kept __init__ from running
    _after_end: Callable[[], None] = staticmethod(lambda: None)  # once the work has ended by itself, on its loop

    def __init__(self, settings: ProducerSettings) -> None:
        check_seconds("exit_timeout", settings.exit_timeout_s)
        self._work = ProducerWork(settings)
        self._is_finished = False
        watch(self._work)

    def __reduce__(self) -> str:
        raise TypeError(f"a producer cannot be sent to another process: {ELSEWHERE}")

    @property
    def reports(self) -> list[StreamReport]:
        """The ledgers of the streams that are open now."""
        return [work.report() for work in self._work.streams.values()]

    def metrics(self) -> ClientMetrics:
        """The content store that the streams share; not after ``close``."""
        return self._work.metrics()

    def __del__(self) -> None:
        if not self._is_finished and not (self._work.is_closed or self._work.is_forked):
            text = f"{self!r} was never closed: use a with block, or call close()"
            warnings.warn(text, ResourceWarning, stacklevel=2)
            end_later(self._work, self._after_end)


class Producer(_ProducerFace):
    """Uploads media to Kinesis Video Streams, for programs without an event loop. Any thread may use it.

    Args:
        region: default: the AWS configuration; us-east-1 for a loopback endpoint.
        endpoint_url: of the control plane; default: AWS_ENDPOINT_URL_KINESIS_VIDEO or AWS. A loopback endpoint
            needs no configuration at all.
        credentials: from ``kvspic.provider.credentials``; default: the chain of botocore.
        store_size: bytes of frames that all streams together may hold; 0: 128 MiB.
        client_id: names your program in requests and in the MKV writing application; at most 64 bytes.
        retry_policy: what to do about streams that fail; default: go on for ever, see ``kvspic.retry``.
        exit_timeout: seconds for which the end of the program waits for the frames of a producer that was not closed.
        call_rates: calls a second of this process; default: 80 % of the quotas of an account, see
            :class:`kvspic.retry.CallRates`.
    """

    def __init__(
        self,
        *,
        region: str | None = None,
        endpoint_url: str | None = None,
        credentials: CredentialSource | None = None,
        store_size: int = 0,
        client_id: str = "",
        retry_policy: RetryPolicy | None = None,
        exit_timeout: float = EXIT_TIMEOUT_S,
        call_rates: CallRates | None = None,
    ) -> None:
        settings = ProducerSettings(
            region, endpoint_url, credentials, store_size, client_id, retry_policy, exit_timeout, call_rates
        )
        super().__init__(settings)
        self._thread = LoopThread()
        self._after_end = self._thread.loop.stop
        self._thread.run(call_soon(self._work.start))

    def open_stream(
        self,
        name: str,
        tracks: Tracks,
        *,
        wait: bool = True,
        timeout: float = READY_TIMEOUT_S,
        on_event: Callable[[Event], None] | None = None,
        **options: Unpack[StreamKeywords],
    ) -> Stream:
        """Open a stream, creating it at the service if need be.

        Args:
            name: 1 to 256 of ``a-z A-Z 0-9 _ . -``.
            tracks: 1 to 3, e.g. ``[H264Track(), AacTrack(sample_rate=48000, channels=2)]``; one alone needs no list.
            wait: return when the stream is ready; without it return at once: frames are kept and go out when it is.
            timeout: seconds to wait. on_event: gets every event from the first, on the producer's own thread.
            options: fields of :class:`kvspic.StreamOptions`, such as ``retention``, ``offline``, ``tags``.

        Raises:
            UsageError: a wrong argument. TimedOutError: not ready in time. ServiceError: the service refused.
        """
        check_seconds("timeout", timeout)
        chosen = checked_options(StreamOptions(**options))
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
        check_seconds("timeout", timeout)
        if self._is_finished or self._work.is_forked:
            return []
        self._is_finished = True
        if not self._thread.is_current:
            self._work.close_gates()
        try:
            return self._thread.run(self._work.close(timeout))
        finally:
            self._thread.stop()

    def __enter__(self) -> Self:
        return self

    async def __aenter__(self) -> None:
        raise TypeError("a Producer is used with `with`; for `async with` there is AsyncProducer")

    async def __aexit__(self, *_: object) -> None:
        """Only there for the message of ``__aenter__``."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close(CLOSE_TIMEOUT_S if kind is None else CLOSE_TIMEOUT_ON_ERROR_S)


class AsyncProducer(_ProducerFace):
    """The same for asyncio; it belongs to the loop that runs at its first use. Arguments as in :class:`Producer`."""

    def __init__(
        self,
        *,
        region: str | None = None,
        endpoint_url: str | None = None,
        credentials: CredentialSource | None = None,
        store_size: int = 0,
        client_id: str = "",
        retry_policy: RetryPolicy | None = None,
        exit_timeout: float = EXIT_TIMEOUT_S,
        call_rates: CallRates | None = None,
    ) -> None:
        settings = ProducerSettings(
            region, endpoint_url, credentials, store_size, client_id, retry_policy, exit_timeout, call_rates
        )
        super().__init__(settings)
        self._is_started = False

    def open_stream(
        self,
        name: str,
        tracks: Tracks,
        *,
        wait: bool = True,
        timeout: float = READY_TIMEOUT_S,
        on_event: Callable[[Event], None] | None = None,
        **options: Unpack[StreamKeywords],
    ) -> _Opening:
        """As :meth:`Producer.open_stream`: ``stream = await producer.open_stream(...)``, or ``async with``."""
        check_seconds("timeout", timeout)
        chosen = checked_options(StreamOptions(**options))

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
        check_seconds("timeout", timeout)
        if self._is_finished or self._work.is_forked:
            return []
        self._is_finished = True
        return await self._work.close(timeout)

    def __enter__(self) -> None:
        raise TypeError("an AsyncProducer is used with `async with`; for `with` there is Producer")

    def __exit__(self, *_: object) -> None:
        """Only there for the message of ``__enter__``."""

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


AWAIT = "write `stream = await producer.open_stream(...)`, or `async with`"


class _Opening:
    """An AsyncStream that is being opened: await it, or enter it."""

    def __init__(self, opening: Callable[[], Coroutine[Any, Any, AsyncStream]]) -> None:
        self._opening = opening
        self._stream: AsyncStream | None = None

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(f"there is no {name} yet, because the stream is not open: {AWAIT}")

    def __enter__(self) -> None:
        raise TypeError("a stream of an AsyncProducer is opened with `async with`")

    def __exit__(self, *_: object) -> None:
        """Only there for the message of ``__enter__``."""

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
    what: tuple[str, Tracks, StreamOptions, Callable[[Event], None] | None],
    timeout_s: float | None,
) -> Face:
    """Open a stream and wait until it is ready, or not (``timeout_s`` None); on failure nothing is left open."""
    name, tracks, options, on_event = what
    check_text("the name of a stream", name)
    callbacks = [] if on_event is None else [on_event]
    work = await _open_work(producer, name, checked_tracks(tracks), options, callbacks)
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
