"""The HTTP application of a fleet server: requests to operations, refusals to answers, waiting and streaming.

Operations block, so they run on a few threads; the loop only waits. Every answer but the page's is JSON; a refusal is
``{"error": NAME, "message": ...}``. Nothing here logs a body or an address of a camera.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import json
import logging
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from aiohttp import web

from kvspic.fleet import service
from kvspic.fleet.auth import NO_TOKENS, Caller, Refused, Tokens, check_site
from kvspic.fleet.errors import BadFieldError, FleetError, StoreUnavailableError
from kvspic.fleet.fields import Field, check_body
from kvspic.fleet.metrics import Figures, Metrics
from kvspic.fleet.openapi import document
from kvspic.fleet.page import FleetPage, MediaPlace
from kvspic.fleet.records import Store, Tx
from kvspic.fleet.routes import BODY_MAX, ROUTES, Answer, Asked, Route, Trial, read_body
from kvspic.fleet.tasks import ADVANCE_MAX_S, TestClock, Upkeep
from kvspic.fleet.wake import Reader, Waiting, Wake

__all__ = ["Parts", "make_app"]

_log = logging.getLogger(__name__)
T = TypeVar("T")
_Handle = Callable[[web.Request], Awaitable[web.StreamResponse]]
POLL_WAIT_MAX_S = 25.0
READY_S = 3.0
EVENTS_EVERY_S = 1.0
EVENTS_ALIVE_S = 15.0
EVENTS_JOBS = 200  # of one round; beyond that a reader reads the list again
HEADS = 100
CLOCK_FIELDS = (Field("advance_s", "number", high=ADVANCE_MAX_S),)
PAGE_FIELDS = (Field("job", size_max=256),)
_HEADERS = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}


@dataclass
class Parts:
    """What the application works with; ``ending`` is set when the server stops; polls that wait are answered then."""

    store: Store
    executor: Executor
    upkeep: Upkeep
    wake: Wake
    ending: asyncio.Event
    tokens: Tokens = NO_TOKENS
    clock: TestClock | None = None
    handed_count: int = 0  # jobs handed out to polls since the last look at the queue

    async def run(self, work: Callable[..., T], *args: Any) -> T:
        """Run what blocks on a thread."""
        return await asyncio.get_running_loop().run_in_executor(self.executor, functools.partial(work, *args))

    async def look_at_queue(self) -> None:
        """Wake the polls that fit the head of the queue: what no announcement says. Once a second."""
        if not self.wake.waiting_count:
            return
        limit, self.handed_count = max(4, min(HEADS, 2 * self.handed_count)), 0
        heads = await self.run(self.store.run, lambda tx: [frozenset(row.labels) for row in tx.queue_heads(limit)])
        self.wake.work_with(heads)


class _Application:
    def __init__(self, parts: Parts, place: MediaPlace) -> None:
        self._parts = parts
        self._page = FleetPage(parts, place)
        self._metrics = Metrics()

    def routes(self) -> list[web.RouteDef]:
        """All of the server's calls."""
        special: dict[str, Callable[[Route], _Handle]] = {
            "poll": lambda route: self._guarded(route.name, route.need, functools.partial(self._poll, route)),
            "patchGroup": lambda route: self._guarded(route.name, route.need, functools.partial(self._group, route)),
        }
        made = [web.route(route.method, route.path, special.get(route.name, self._of_route)(route)) for route in ROUTES]
        own: list[tuple[str, str, str, str, Callable[[web.Request, Caller], Awaitable[web.StreamResponse]]]] = [
            ("GET", "/v1/events", "events", "read", self._events),
            ("GET", "/v1/openapi.json", "openapi", "read", self._openapi),
            ("GET", "/healthz", "healthz", "", self._healthz),
            ("GET", "/readyz", "readyz", "", self._readyz),
            ("GET", "/metrics", "metrics", "read", self._show_metrics),
        ]
        if self._parts.clock is not None:
            own.append(("POST", "/v1/test/clock", "testClock", "write", self._advance))
        made += [web.get("/", self._page.index), web.get("/web/{name:[^{}]+}", self._page.file)]
        own += [
            ("POST", "/page/play", "page", "read", self._play),
            ("POST", "/page/picture", "page", "read", self._picture),
        ]
        return made + [web.route(method, path, self._guarded(name, need, act)) for method, path, name, need, act in own]

    # The way in and out of every call.

    def _guarded(
        self, name: str, need: str, act: Callable[[web.Request, Caller], Awaitable[web.StreamResponse]]
    ) -> _Handle:
        async def handle(request: web.Request) -> web.StreamResponse:
            began = time.monotonic()
            try:
                caller = self._caller(request, need)
                answer = await act(request, caller)
            except Exception as error:
                answer = _refusal(error, request)
            self._metrics.answered(name, answer.status, time.monotonic() - began)
            return answer

        return handle

    def _caller(self, request: web.Request, need: str) -> Caller:
        if not self._parts.tokens:
            check_site(request.host, request.headers.get("Origin"), request.scheme)
        if not need:
            return NO_TOKENS.caller(None, "read")
        return self._parts.tokens.caller(request.headers.get("Authorization"), need)

    def _of_route(self, route: Route) -> _Handle:
        async def act(request: web.Request, caller: Caller) -> web.StreamResponse:
            asked = await self._asked(route, request, caller)
            return _json(await self._operate(route, asked))

        return self._guarded(route.name, route.need, act)

    async def _asked(self, route: Route, request: web.Request, caller: Caller) -> Asked:
        body = None
        if route.body is not None:
            content = await request.read()
            try:
                body = read_body(content)
            except BadFieldError:
                ref = request.match_info.get("ref")
                if ref is not None:  # that the job is not there is said first
                    await self._parts.run(self._parts.store.run, service.get_job, ref)
                raise
        key = request.headers.get("Idempotency-Key")
        return Asked(request.match_info, dict(request.query), body, caller, key)

    async def _operate(self, route: Route, asked: Asked) -> Answer:
        try:
            return await self._parts.run(self._parts.store.run, route.run, asked)
        except Trial as trial:
            return Answer(trial.answer)

    # Calls that are more than one transaction.

    async def _poll(self, route: Route, request: web.Request, caller: Caller) -> web.StreamResponse:
        asked = await self._asked(route, request, caller)
        loop, wake = asyncio.get_running_loop(), self._parts.wake
        until = loop.time() + _wait_s(asked.body)
        waiting = Waiting(asked.parts["handler"], _labels(asked.body, caller))
        wake.enter(waiting)
        try:
            while True:
                answer = await self._operate(route, asked)
                found = answer.content
                self._parts.handed_count += len(found["jobs"])
                left = until - loop.time()
                if found["jobs"] or found["stop"] or found["handback"] or left <= 0 or self._parts.ending.is_set():
                    return _json(answer)
                await waiting.wait(left)
                if request.transport is None or request.transport.is_closing():
                    return _json(answer)  # the caller is gone: no job may be handed to it
                asked = replace(asked, is_again=True)
        finally:
            wake.leave(waiting)

    async def _group(self, route: Route, request: web.Request, caller: Caller) -> web.StreamResponse:
        asked = await self._asked(route, request, caller)
        changed, refused, after = 0, [], 0
        while True:
            batch = (await self._operate(route, Asked(asked.parts, {"after": str(after)}, asked.body, caller))).content
            changed += batch.changed
            refused += batch.refused
            if batch.next is None:
                return _json(Answer({"changed": changed, "refused": refused}))
            after = batch.next

    async def _advance(self, request: web.Request, _: Caller) -> web.StreamResponse:
        clock = self._parts.clock
        if clock is None:
            raise AssertionError("there is no such route without a test clock")
        seconds = check_body(CLOCK_FIELDS, read_body(await request.read()))["advance_s"]

        def advance() -> None:
            for _ in clock.steps(seconds):
                self._parts.upkeep.tick()

        await self._parts.run(advance)
        self._parts.wake.everybody()
        return _json(Answer({"now_s": clock.seconds}))

    async def _play(self, request: web.Request, _: Caller) -> web.StreamResponse:
        return _json(Answer(await self._page.play(await _page_job(request))))

    async def _picture(self, request: web.Request, _: Caller) -> web.StreamResponse:
        return _json(Answer(await self._page.picture(await _page_job(request))))

    async def _events(self, request: web.Request, _: Caller) -> web.StreamResponse:
        headers = {**_HEADERS, "Content-Type": "text/event-stream"}
        response = web.StreamResponse(headers=headers)
        reader, parts = Reader(), self._parts
        parts.wake.read(reader)
        try:
            await response.prepare(request)
            await response.write(b"retry: 2000\n\n")
            while not parts.ending.is_set():
                lines = await self._next_events(reader)
                await response.write("".join(lines).encode() or b": alive\n\n")
                await _sleep(EVENTS_EVERY_S, parts.ending)
        except ConnectionError:
            pass  # the reader has gone
        finally:
            parts.wake.unread(reader)
        return response

    async def _next_events(self, reader: Reader) -> list[str]:
        """Wait for changes and return them as events; none after a while without any."""
        try:
            await asyncio.wait_for(reader.woken.wait(), EVENTS_ALIVE_S)
        except asyncio.TimeoutError:
            return []
        reader.woken.clear()
        has_missed, reader.has_missed = reader.has_missed, False
        changes = list(reader.changes)
        reader.changes.clear()
        if has_missed or len(changes) > EVENTS_JOBS:
            return [_event("reload", {})]
        names = [name for kind, name in changes if kind == "job"]
        lines = []
        try:
            for name, shown in (await self._parts.run(self._parts.store.run, _shown, names)).items():
                lines.append(_event("job", shown or {"id": name, "deleted": True}))
        except FleetError:
            return [_event("reload", {})]
        return [*lines, *(_event("handler", {"id": name}) for kind, name in changes if kind == "handler")]

    # The server itself.

    async def _openapi(self, _: web.Request, __: Caller) -> web.StreamResponse:
        return _json(Answer(document(has_test_clock=self._parts.clock is not None)))

    async def _healthz(self, _: web.Request, __: Caller) -> web.StreamResponse:
        return _json(Answer({"status": "ok"}))

    async def _readyz(self, _: web.Request, __: Caller) -> web.StreamResponse:
        try:
            await asyncio.wait_for(self._parts.run(self._parts.store.run, lambda tx: tx.now), READY_S)
        except asyncio.TimeoutError:
            raise StoreUnavailableError(f"The database does not answer within {READY_S:g} s.") from None
        return _json(Answer({"status": "ready"}))

    async def _show_metrics(self, _: web.Request, __: Caller) -> web.StreamResponse:
        parts, upkeep = self._parts, self._parts.upkeep
        counts, handlers = await parts.run(parts.store.run, _figures)
        figures = Figures(
            counts, handlers, upkeep.lost_count, upkeep.restarted_count, upkeep.is_master, parts.wake.waiting_count
        )
        return web.Response(body=self._metrics.text(figures), content_type="text/plain", charset="utf-8")


async def _sleep(seconds: float, ending: asyncio.Event) -> None:
    """Let time pass, unless the server ends."""
    with contextlib.suppress(asyncio.TimeoutError):
        await asyncio.wait_for(ending.wait(), seconds)


async def _page_job(request: web.Request) -> str:
    return str(check_body(PAGE_FIELDS, read_body(await request.read()))["job"])


def _figures(tx: Tx) -> tuple[dict[str, int], list[dict[str, Any]]]:
    return tx.status_counts(), service.list_handlers(tx)["handlers"]


def _shown(tx: Tx, ids: list[str]) -> dict[str, dict[str, Any] | None]:
    """The jobs with these ids as answers show them; None for one that is gone."""
    there = tx.jobs(ids)
    return {name: service.get_job(tx, name) if name in there else None for name in ids}


def _event(kind: str, content: Any) -> str:
    return f"event: {kind}\ndata: {json.dumps(content, separators=(',', ':'))}\n\n"


def _wait_s(body: Any) -> float:
    """How long a poll waits; the operation refuses what is no such number."""
    wait = body.get("wait_s", 0) if isinstance(body, dict) else 0
    is_number = isinstance(wait, (int, float)) and not isinstance(wait, bool)
    return float(wait) if is_number and 0 <= wait <= POLL_WAIT_MAX_S else 0.0


def _labels(body: Any, caller: Caller) -> frozenset[str]:
    given = body.get("labels") if isinstance(body, dict) else None
    labels = frozenset(label for label in given if isinstance(label, str)) if isinstance(given, list) else frozenset()
    return labels if caller.labels is None else labels & caller.labels


def _json(answer: Answer) -> web.Response:
    if answer.content is None:
        return web.Response(status=answer.status, headers=_HEADERS)
    text = json.dumps(answer.content, separators=(",", ":"))
    return web.Response(text=text, status=answer.status, content_type="application/json", headers=_HEADERS)


def _refusal(error: Exception, request: web.Request) -> web.Response:
    """The answer to a request that failed; what is our own fault is logged."""
    headers: dict[str, str] = {}
    if isinstance(error, FleetError):
        status, content = error.http_status, error.to_dict()
        if isinstance(error, StoreUnavailableError):
            headers["Retry-After"] = "1"
    elif isinstance(error, Refused):
        status, content = error.status, {"error": "not_allowed", "message": str(error)}
        if status == 401:
            headers["WWW-Authenticate"] = "Bearer"
    elif isinstance(error, web.HTTPException):
        status, content = error.status, _http_words(error)
        headers = {name: value for name, value in error.headers.items() if name == "Allow"}
    elif isinstance(error, ConnectionError):
        raise error  # the client that would read an answer is gone
    else:
        _log.error("a fault of the server at %s %s", request.method, request.path, exc_info=error)
        status, content = 500, {"error": "internal", "message": "The server has a fault; its log says more."}
    answer = _json(Answer(content, status))
    answer.headers.update(headers)
    return answer


def _http_words(error: web.HTTPException) -> dict[str, str]:
    if isinstance(error, web.HTTPRequestEntityTooLarge):
        return {"error": "too_large", "message": f"The body has more than {BODY_MAX} bytes."}
    if isinstance(error, web.HTTPNotFound):
        return {"error": "not_found", "message": "There is no such path; /v1/openapi.json has the calls."}
    if isinstance(error, web.HTTPMethodNotAllowed):
        return {"error": "method_not_allowed", "message": f"This path has no {error.method}."}
    return {"error": "bad_request", "message": f"The request cannot be read ({error.reason})."}


@web.middleware
async def _refusals(request: web.Request, handler: _Handle) -> web.StreamResponse:
    """What the router refuses has the same form as every other refusal."""
    try:
        return await handler(request)
    except web.HTTPException as error:
        return _refusal(error, request)


@web.middleware
async def _logged(request: web.Request, handler: _Handle) -> web.StreamResponse:
    began = time.monotonic()
    answer = await handler(request)
    took_ms = (time.monotonic() - began) * 1000
    _log.info("%s %s %s %d %.1f ms", request.remote, request.method, request.path, answer.status, took_ms)
    return answer


def make_app(parts: Parts, place: MediaPlace) -> web.Application:
    """Return the application over these parts; ``place`` is where the page finds video."""
    app = web.Application(middlewares=[_logged, _refusals], client_max_size=BODY_MAX)
    app.add_routes(_Application(parts, place).routes())
    return app
