"""The page of a fleet server: its files, and what of a camera's media it shows: a video session, a picture.

The files hold no secret and need no token; all that the page shows comes through the REST interface with the token that
a person gave it, and the two calls below ``/page/``. Media never pass the server: it asks the service for the URL of an
HLS session, and the browser plays that. The policy of the page names the origins of the http endpoints that jobs use.
"""

from __future__ import annotations

import asyncio
import logging
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from aiohttp import web

from kvspic.fleet.errors import FleetError
from kvspic.fleet.records import JobRow, Tx
from kvspic.units import HNS_PER_S
from kvspic.web_files import headers, web_file

if TYPE_CHECKING:
    from kvspic.fleet.app import Parts
    from kvspic.provider.control import ControlPlane

__all__ = ["FleetPage", "MediaPlace"]

_log = logging.getLogger(__name__)
_ORIGINS_S = 10.0  # for which the origins are remembered
_ORIGINS_MAX = 50
_ASK_S = 15.0
_LATELY_HNS = 30 * HNS_PER_S
_PLANES_MAX = 64


@dataclass(frozen=True)
class MediaPlace:
    """Where the streams are of jobs that name no endpoint or region; None: the server's AWS configuration."""

    endpoint_url: str | None = None
    region: str | None = None


@dataclass
class FleetPage:
    """The page of one server."""

    parts: Parts
    place: MediaPlace
    _origins: tuple[float, tuple[str, ...]] = (float("-inf"), ())
    _planes: dict[tuple[str | None, str | None], ControlPlane] = field(default_factory=dict)

    async def index(self, request: web.Request) -> web.StreamResponse:
        """``GET /``."""
        return self._file(request, "fleet/index.html", headers(("https:", *await self._http_origins())))

    async def file(self, request: web.Request) -> web.StreamResponse:
        """``GET /web/...``."""
        return self._file(request, request.match_info["name"], headers())

    def _file(self, request: web.Request, name: str, given: dict[str, str]) -> web.StreamResponse:
        file = web_file(name)
        if file is None:
            raise web.HTTPNotFound
        answer = {**given, "Cache-Control": "no-cache", "ETag": file.tag}
        if request.headers.get("If-None-Match") == file.tag and name != "fleet/index.html":
            return web.Response(status=304, headers=answer)
        return web.Response(body=file.content, headers={**answer, "Content-Type": file.content_type})

    async def _http_origins(self) -> tuple[str, ...]:
        """The origins of the endpoints that jobs use and that https: does not cover."""
        asked_at, found = self._origins
        if time.monotonic() - asked_at >= _ORIGINS_S:
            endpoints: list[str] = []
            try:
                endpoints = await self.parts.run(self.parts.store.run, lambda tx: tx.http_endpoints(_ORIGINS_MAX))
            except FleetError as error:
                _log.warning("the page cannot play from http endpoints: %s", error)
            own = [self.place.endpoint_url] if self.place.endpoint_url else []
            found = tuple(dict.fromkeys(origin for origin in map(_origin, [*own, *endpoints]) if origin))
            self._origins = (time.monotonic(), found)
        return found

    async def play(self, ref: str) -> dict[str, Any]:
        """A live session of a job's stream: ``{"url"}``, or ``{"url": null, "message"}`` where there is none."""
        job = await self._job(ref)
        plane = self._plane(job)
        try:
            url = await asyncio.wait_for(plane.get_hls_url(job.stream, is_smooth=True), _ASK_S)
        except Exception as error:
            return {"url": None, "message": _words(job, error)}
        return {"url": url}

    async def picture(self, ref: str) -> dict[str, Any]:
        """The newest picture of the last half minute: ``{"jpeg"}`` in base64, or null with a message."""
        job = await self._job(ref)
        now_hns = time.time_ns() // 100
        try:
            found = self._plane(job).get_picture(job.stream, (now_hns - _LATELY_HNS, now_hns), 640)
            return {"jpeg": await asyncio.wait_for(found, _ASK_S)}
        except Exception as error:
            return {"jpeg": None, "message": _words(job, error)}

    async def _job(self, ref: str) -> JobRow:
        return await self.parts.run(self.parts.store.run, _row, ref)

    def _plane(self, job: JobRow) -> ControlPlane:
        """What asks the service of a job's stream; kept, because it remembers data endpoints."""
        from kvspic.provider.control import ControlPlane

        key = (job.endpoint or self.place.endpoint_url, job.region or self.place.region)
        if key not in self._planes:
            if len(self._planes) >= _PLANES_MAX:
                self._planes.clear()
            self._planes[key] = ControlPlane(endpoint_url=key[0], region=key[1])
        return self._planes[key]


def _row(tx: Tx, ref: str) -> JobRow:
    from kvspic.fleet import service

    service.get_job(tx, ref)  # says in its words that the job is not there
    row = tx.job(ref)
    if row is None:
        raise AssertionError("the job was there in this transaction")
    return row


def _origin(url: str) -> str | None:
    try:
        parts = urlsplit(url)
        port = "" if parts.port is None else f":{parts.port}"
    except ValueError:
        return None
    host = parts.hostname or ""
    is_plain = host != "" and host.isascii() and not set(host) & set(" ;,'\"\\*")
    if parts.scheme != "http" or not is_plain:
        return None
    return f"http://[{host}]{port}" if ":" in host else f"http://{host}{port}"


def _words(job: JobRow, error: Exception) -> str:
    if isinstance(error, asyncio.TimeoutError):
        return f"The service did not answer within {_ASK_S:g} s when it was asked for video of {job.stream}."
    _log.debug("no media of %s", job.stream, exc_info=error)
    text = str(error).strip() or type(error).__name__
    return f"There is no video of {job.stream} now: {text}"
