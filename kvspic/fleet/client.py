"""Clients of a fleet server: ``FleetClient`` blocks, ``AsyncFleetClient`` is the same with ``await``.

Both take a list of servers and go on to the next one when one does not answer. A call that could have an effect twice
is repeated only where the server surely did not get it. They need no database package; aiohttp is loaded when the
asynchronous one is first used.
"""

from __future__ import annotations

import http.client
import select
import ssl
import threading
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit

from kvspic.fleet import calls
from kvspic.fleet.calls import (
    Applied,
    Call,
    FleetUnreachableError,
    HandlerInfo,
    Job,
    JobFields,
    JobPage,
    LogPage,
    Queue,
    answer_of,
    server_urls,
)
from kvspic.fleet.cameras import source_of
from kvspic.fleet.jobs import looks_like_id

if TYPE_CHECKING:
    import aiohttp
    from typing_extensions import Unpack

__all__ = ["AsyncFleetClient", "FleetClient"]

T = TypeVar("T")
_ANSWER_MAX = 256 * 1024 * 1024
_LOOK_S = 0.25  # between two looks of wait()
_PAGE = 1000


def _ref(name: str) -> str:
    """A name as the server takes it; what begins with @ is one, and an id is kept."""
    return name if name.startswith("@") or looks_like_id(name) else f"@{name}"


def _body(name: str, source: str | Mapping[str, Any], fields: Mapping[str, Any]) -> dict[str, Any]:
    return {"name": name, "source": source_of(source), **fields}


def _no_answer(urls: tuple[str, ...], cause: BaseException | None) -> FleetUnreachableError:
    text = f"No fleet server answers at {', '.join(urls)} ({cause}): start one with `kvspic fleet serve`, or name it."
    return FleetUnreachableError(text)


class _Lines:
    """The connection to one server at a time, kept between calls; another is tried when it fails."""

    def __init__(self, urls: tuple[str, ...], timeout_s: float, tls: ssl.SSLContext | None) -> None:
        self.urls = urls
        self._timeout_s = timeout_s
        self._tls = tls
        self._index = 0
        self._open: http.client.HTTPConnection | None = None

    def ask(self, call: Call[Any], headers: Mapping[str, str]) -> tuple[int, bytes]:
        """Send a call to the first server that answers, and return the status and content of its answer."""
        cause: Exception | None = None
        for _ in range(max(2, len(self.urls))):
            try:
                line = self._line()
                line.request(call.method, call.target, call.content(), dict(headers))
                answer = line.getresponse()
                return answer.status, answer.read(_ANSWER_MAX)
            except (OSError, http.client.HTTPException) as error:
                cause, is_sent = error, self._open is not None
                self.close()
                self._next()
                if is_sent and not call.is_repeatable:
                    break
        raise _no_answer(self.urls, cause) from cause

    def _line(self) -> http.client.HTTPConnection:
        """The connection, opened where there is none, or where the server has closed it meanwhile."""
        kept = None if self._open is None else self._open.sock
        if kept is not None and select.select([kept], [], [], 0)[0]:
            self.close()  # what can be read before a request is the end
        if self._open is None or self._open.sock is None:
            parts = urlsplit(self.urls[self._index])
            host, port = parts.hostname or "", parts.port
            line: http.client.HTTPConnection
            if parts.scheme == "https":
                context = self._tls or ssl.create_default_context()
                line = http.client.HTTPSConnection(host, port, timeout=self._timeout_s, context=context)
            else:
                line = http.client.HTTPConnection(host, port, timeout=self._timeout_s)
            line.connect()
            self._open = line
        return self._open

    def _next(self) -> None:
        self._index = (self._index + 1) % len(self.urls)

    def close(self) -> None:
        """End the connection; the next call opens one."""
        line, self._open = self._open, None
        if line is not None:
            line.close()


class FleetClient:
    """A fleet server, for programs that block. Any thread may use it; one call is made at a time.

    Args:
        urls: the servers' addresses: one, several with commas between them, or a list.
        token: what the server's tokens file has for this program.
        timeout: seconds that a call may take.
        tls: for https; default: the system's authorities.

    Every method raises :class:`FleetError` where the server refuses, and :class:`FleetUnreachableError` where none
    answers. A job is named by its name or by its id.
    """

    def __init__(
        self,
        urls: str | Iterable[str],
        *,
        token: str | None = None,
        timeout: float = 30.0,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._lines = _Lines(server_urls(urls), timeout, tls)
        self._headers = calls.token_headers(token)
        self._lock = threading.Lock()

    def __enter__(self) -> FleetClient:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the connection. The client may be used again."""
        with self._lock:
            self._lines.close()

    def call(self, call: Call[T]) -> T:
        """Make one of the calls of :mod:`kvspic.fleet.calls` and return what it reads."""
        with self._lock:
            status, content = self._lines.ask(call, {**self._headers, **call.headers})
        return answer_of(call, status, content)

    def add(self, name: str, source: str | Mapping[str, Any], **fields: Unpack[JobFields]) -> Job:
        """Create a job. A repeated request, after a lost answer, creates no second one.

        Args:
            name: unique in the fleet.
            source: a URL, a path, ``test``, or a mapping with ``type``, ``url`` and ``secret``.
            fields: see :class:`JobFields`.

        Raises:
            FleetError: ``name_taken``, ``stream_taken``, ``bad_field``.
            ValueError: the source is of a kind that no worker carries.
        """
        return self.call(calls.add(_body(name, source, fields), uuid.uuid4().hex))

    def get(self, name: str) -> Job:
        """Return one job; FleetError ``not_found`` where there is none."""
        return self.call(calls.job(_ref(name)))

    def page(self, **query: Any) -> JobPage:
        """Return a page of jobs; ``query`` may have status, group, label, handler, name, after, limit (100)."""
        return self.call(calls.jobs(**query))

    def jobs(self, **query: Any) -> Iterator[Job]:
        """Yield all jobs, in the order of their creation; ``query`` as for :meth:`page`."""
        after = None
        while True:
            page = self.page(**{"limit": _PAGE, **query, "after": after})
            yield from page.jobs
            after = page.next
            if after is None:
                return

    def replace(self, name: str, source: str | Mapping[str, Any], **fields: Unpack[JobFields]) -> Job:
        """Give a job a new description: it begins again, as another version. What is not named has its default."""
        new_name = name.removeprefix("@")
        if looks_like_id(name):
            new_name = self.get(name).name
        return self.call(calls.replace(_ref(name), _body(new_name, source, fields)))

    def update(self, name: str, **fields: Any) -> Job:
        """Change name, description, group or autorestart of a job without a new version of it."""
        return self.call(calls.patch(_ref(name), fields))

    def resume(self, name: str) -> Job:
        """Put a job into the queue (again). FleetError ``transition`` where it is there or being carried."""
        return self.call(calls.patch(_ref(name), {"status": "pending"}))

    def pause(self, name: str) -> Job:
        """Hold a job back; its worker sends what it has and stops. Not for a file in progress."""
        return self.call(calls.patch(_ref(name), {"status": "pause"}))

    def cancel(self, name: str) -> Job:
        """Give a job up; its worker stops at once."""
        return self.call(calls.patch(_ref(name), {"status": "cancel"}))

    def set_group(self, group: str, status: str) -> dict[str, Any]:
        """Resume (``pending``), ``pause`` or ``cancel`` all jobs of a group; return ``changed`` and ``refused``."""
        return self.call(calls.patch_group(group, status))

    def delete(self, name: str) -> None:
        """Remove a job. Its log stays."""
        self.call(calls.delete(_ref(name)))

    def logs(self, name: str, **query: Any) -> LogPage:
        """Return a job's log; ``query`` may have status, since, after, limit."""
        return self.call(calls.job_logs(_ref(name), **query))

    def all_logs(self, **query: Any) -> LogPage:
        """Return the log of all jobs; ``query`` may have job (an id), status, since, after, limit."""
        return self.call(calls.logs(**query))

    def apply(
        self,
        jobs: Iterable[Mapping[str, Any]],
        *,
        group: str | None = None,
        prune: bool = False,
        is_trial: bool = False,
    ) -> Applied:
        """Make the fleet as a list of jobs says, by name; all of it or nothing.

        Args:
            jobs: at most 10,000.
            group: that all of them belong to.
            prune: delete the jobs that the list does not have: of that group, or all where none is named.
            is_trial: count what would change, and change nothing.
        """
        return self.call(calls.apply(list(jobs), group=group, prune=prune, is_trial=is_trial))

    def handlers(self) -> tuple[HandlerInfo, ...]:
        """Return the workers."""
        return self.call(calls.handlers())

    def drain(self, handler: str) -> HandlerInfo:
        """Let a worker hand back what it carries, and give it nothing more."""
        return self.call(calls.drain(handler, is_on=True))

    def undrain(self, handler: str) -> HandlerInfo:
        """End that."""
        return self.call(calls.drain(handler, is_on=False))

    def remove_handler(self, handler: str) -> None:
        """Forget a worker that carries nothing."""
        self.call(calls.delete_handler(handler))

    def queue(self) -> Queue:
        """Return what waits, and how many jobs have each status."""
        return self.call(calls.queue())

    def settings(self, changes: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Return the settings, after ``changes`` to some of them."""
        return self.call(calls.settings(changes))

    def rebalance(self, limit: int) -> int:
        """Move at most ``limit`` jobs from the fullest workers; return how many will move."""
        return self.call(calls.rebalance(limit))

    def wait(self, name: str, status: str | Callable[[Job], bool], timeout: float = 60.0) -> Job:
        """Return a job as soon as it has a status, or meets a condition.

        Raises:
            TimeoutError: it has not within ``timeout`` seconds; the text says what it has.
        """
        meets = (lambda job: job.status == status) if isinstance(status, str) else status
        until = time.monotonic() + timeout
        while True:
            job = self.get(name)
            if meets(job):
                return job
            if time.monotonic() >= until:
                raise TimeoutError(_waited(job, status, timeout))
            time.sleep(min(_LOOK_S, max(0.0, until - time.monotonic())))


def _waited(job: Job, status: object, timeout: float) -> str:
    why = f", with the error {job.error['class']}: {job.error['text']}" if job.error else ""
    wanted = status if isinstance(status, str) else "what was asked for"
    return f"The job {job.name} has not become {wanted} in {timeout:g} s: it is {job.status}{why}."


class AsyncFleetClient:
    """A fleet server, for programs on asyncio; arguments, methods and errors are those of :class:`FleetClient`."""

    def __init__(
        self,
        urls: str | Iterable[str],
        *,
        token: str | None = None,
        timeout: float = 30.0,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.urls = server_urls(urls)
        self._headers = calls.token_headers(token)
        self._timeout_s = timeout
        self._tls = tls
        self._index = 0
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> AsyncFleetClient:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """End the connections. The client may be used again."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def call(self, call: Call[T], timeout: float | None = None) -> T:
        """Make one of the calls of :mod:`kvspic.fleet.calls`; ``timeout`` in place of the client's own."""
        import asyncio

        import aiohttp

        if self._session is None:
            connector = aiohttp.TCPConnector(limit=0, ssl=self._tls if self._tls is not None else True)
            self._session = aiohttp.ClientSession(connector=connector)
        limit = aiohttp.ClientTimeout(total=timeout or self._timeout_s)
        headers, cause = {**self._headers, **call.headers}, None
        for _ in self.urls:
            url = self.urls[self._index] + call.target
            try:
                async with self._session.request(
                    call.method, url, data=call.content(), headers=headers, timeout=limit, allow_redirects=False
                ) as answer:
                    return answer_of(call, answer.status, await answer.read())
            except (aiohttp.ClientError, asyncio.TimeoutError, OSError) as error:
                cause = error
                self._index = (self._index + 1) % len(self.urls)
                if not (call.is_repeatable or isinstance(error, aiohttp.ClientConnectorError)):
                    break
        raise _no_answer(self.urls, cause) from cause

    async def add(self, name: str, source: str | Mapping[str, Any], **fields: Unpack[JobFields]) -> Job:
        """Create a job; see :meth:`FleetClient.add`."""
        return await self.call(calls.add(_body(name, source, fields), uuid.uuid4().hex))

    async def get(self, name: str) -> Job:
        """Return one job."""
        return await self.call(calls.job(_ref(name)))

    async def page(self, **query: Any) -> JobPage:
        """Return a page of jobs."""
        return await self.call(calls.jobs(**query))

    async def replace(self, name: str, source: str | Mapping[str, Any], **fields: Unpack[JobFields]) -> Job:
        """Give a job a new description."""
        new_name = name.removeprefix("@")
        if looks_like_id(name):
            new_name = (await self.get(name)).name
        return await self.call(calls.replace(_ref(name), _body(new_name, source, fields)))

    async def update(self, name: str, **fields: Any) -> Job:
        """Change name, description, group or autorestart."""
        return await self.call(calls.patch(_ref(name), fields))

    async def resume(self, name: str) -> Job:
        """Put a job into the queue (again)."""
        return await self.call(calls.patch(_ref(name), {"status": "pending"}))

    async def pause(self, name: str) -> Job:
        """Hold a job back."""
        return await self.call(calls.patch(_ref(name), {"status": "pause"}))

    async def cancel(self, name: str) -> Job:
        """Give a job up."""
        return await self.call(calls.patch(_ref(name), {"status": "cancel"}))

    async def set_group(self, group: str, status: str) -> dict[str, Any]:
        """Resume, pause or cancel all jobs of a group."""
        return await self.call(calls.patch_group(group, status))

    async def delete(self, name: str) -> None:
        """Remove a job."""
        await self.call(calls.delete(_ref(name)))

    async def logs(self, name: str, **query: Any) -> LogPage:
        """Return a job's log."""
        return await self.call(calls.job_logs(_ref(name), **query))

    async def all_logs(self, **query: Any) -> LogPage:
        """Return the log of all jobs."""
        return await self.call(calls.logs(**query))

    async def apply(
        self,
        jobs: Iterable[Mapping[str, Any]],
        *,
        group: str | None = None,
        prune: bool = False,
        is_trial: bool = False,
    ) -> Applied:
        """Make the fleet as a list of jobs says."""
        return await self.call(calls.apply(list(jobs), group=group, prune=prune, is_trial=is_trial))

    async def handlers(self) -> tuple[HandlerInfo, ...]:
        """Return the workers."""
        return await self.call(calls.handlers())

    async def drain(self, handler: str) -> HandlerInfo:
        """Let a worker hand back what it carries."""
        return await self.call(calls.drain(handler, is_on=True))

    async def undrain(self, handler: str) -> HandlerInfo:
        """End that."""
        return await self.call(calls.drain(handler, is_on=False))

    async def remove_handler(self, handler: str) -> None:
        """Forget a worker that carries nothing."""
        await self.call(calls.delete_handler(handler))

    async def queue(self) -> Queue:
        """Return what waits, and how many jobs have each status."""
        return await self.call(calls.queue())

    async def settings(self, changes: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Return the settings, after changes."""
        return await self.call(calls.settings(changes))

    async def rebalance(self, limit: int) -> int:
        """Move jobs from the fullest workers."""
        return await self.call(calls.rebalance(limit))

    async def wait(self, name: str, status: str | Callable[[Job], bool], timeout: float = 60.0) -> Job:
        """Return a job as soon as it has a status, or meets a condition; TimeoutError when it has not."""
        import asyncio  # here and in call only: it would be more than half of what a client costs to import

        meets = (lambda job: job.status == status) if isinstance(status, str) else status
        loop = asyncio.get_running_loop()
        until = loop.time() + timeout
        while True:
            job = await self.get(name)
            if meets(job):
                return job
            if loop.time() >= until:
                raise TimeoutError(_waited(job, status, timeout))
            await asyncio.sleep(min(_LOOK_S, max(0.0, until - loop.time())))
