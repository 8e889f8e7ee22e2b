"""The page at ``/``: its files, and the JSON below ``/page/`` that it shows.

The files are in ``kvspic/web``, as they are sent. Nothing in them is secret, so they need no token; the JSON does where
the endpoint has access keys, because a browser holds none to sign with. The page reads the index and the watch of the
hub directly and uses no quota of a stream, except for video and pictures, which go through the playback operations.
"""

from __future__ import annotations

import asyncio
import hmac
import json
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass
from typing import Any

from aiohttp import web

from kvspic.local import fields
from kvspic.local.documents import SEGMENT_HEAD
from kvspic.local.errors import ServiceError, StoreError
from kvspic.local.fault_socket import ScriptedFaults
from kvspic.local.faults import FaultError, FaultKind, fault_of
from kvspic.local.hub import Hub
from kvspic.local.mkv_events import Header, Tags, Track
from kvspic.local.mkv_reader import read_all
from kvspic.local.page_facts import found_tags, time_line, track_facts
from kvspic.local.playback import Playback
from kvspic.local.store_index import FragmentRow
from kvspic.local.streams import StreamRecord
from kvspic.local.watch import Point
from kvspic.units import HNS_PER_MS
from kvspic.web_files import headers, web_file

__all__ = ["TOKEN_HEADER", "Page", "PageAccess"]

TOKEN_HEADER = "X-Kvspic-Token"
_STREAMS_A_PAGE = 100
_FRAGMENTS_MAX = 5_000
_TAGGED_MAX = 50
_SESSION_S = 43_200
_HEADERS = headers()


@dataclass(frozen=True)
class PageAccess:
    """Who may read what the page shows: everybody who passes the site check, or those who send the token."""

    needs_token: bool
    token: str | None


class Page:
    """The page over one hub."""

    def __init__(self, hub: Hub, playback: Playback, faults: ScriptedFaults, access: PageAccess) -> None:
        self._hub = hub
        self._playback = playback
        self._faults = faults
        self._access = access
        self._tracks: dict[int, tuple[int, tuple[Track, ...]]] = {}  # by stream: of which session, and its tracks
        self._answers: dict[tuple[str, str], Callable[[web.Request], Awaitable[dict[str, Any]]]] = {
            ("GET", "/page/streams"): self._streams,
            ("GET", "/page/stream"): self._stream,
            ("GET", "/page/fragments"): self._fragments,
            ("GET", "/page/metadata"): self._metadata,
            ("GET", "/page/images"): self._images,
            ("POST", "/page/play"): self._play,
            ("GET", "/page/faults"): self._list_faults,
            ("POST", "/page/faults"): self._add_fault,
            ("DELETE", "/page/faults"): self._remove_fault,
        }

    def has(self, request: web.Request) -> bool:
        """Say whether the request is one of the page's."""
        is_file = request.path == "/" or request.path.startswith("/web/")
        return request.path.startswith("/page/") or (is_file and request.method in ("GET", "HEAD"))

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """Answer a request of the page; ServiceError for what it may not or does not have."""
        if not request.path.startswith("/page/"):
            return _file(request)
        self._check_token(request)
        answer = self._answers.get((request.method, request.path))
        if answer is None:
            raise ServiceError("UnknownOperationException", f"The page has no {request.method} {request.path}.")
        content = json.dumps(await answer(request), separators=(",", ":"))
        headers = {**_HEADERS, "Cache-Control": "no-store"}
        return web.Response(text=content, content_type="application/json", headers=headers)

    def _check_token(self, request: web.Request) -> None:
        if not self._access.needs_token:
            return
        given, token = request.headers.get(TOKEN_HEADER, ""), self._access.token
        if token is None or not hmac.compare_digest(given.encode(errors="replace"), token.encode()):
            text = "The page needs the token that kvspic serve printed when it started."
            raise ServiceError("AccessDeniedException", text, status=403)

    # Streams.

    async def _streams(self, request: web.Request) -> dict[str, Any]:
        words, number = request.query.get("find", "").lower(), _whole(request, "page", 0)
        now_hns = self._hub.now_hns()
        found = sorted(one.name for one in self._hub.service.streams.all() if words in one.name.lower())
        number = min(number, max(0, len(found) - 1) // _STREAMS_A_PAGE)
        shown = found[number * _STREAMS_A_PAGE : (number + 1) * _STREAMS_A_PAGE]
        records = {one.name: one for one in self._hub.service.streams.all()}
        rows = [await self._row(records[name], now_hns) for name in shown]
        return {
            "now_ms": now_hns // HNS_PER_MS,
            "count": len(found),
            "page": number,
            "pages": max(1, -(-len(found) // _STREAMS_A_PAGE)),
            "faults": len(self._faults.in_force()),
            "region": self._hub.service.settings.region,
            "streams": rows,
        }

    async def _row(self, stream: StreamRecord, now_hns: int) -> dict[str, Any]:
        watched = self._hub.watch.stream(stream.stream_id)
        if not watched.is_read:
            watched.is_read = True
            rows = await self._newest(stream, 1)
            watched.before = _point(rows[0]) if rows else None
        numbers = watched.numbers(now_hns // HNS_PER_MS)
        return {"name": stream.name, "status": stream.status(now_hns), **numbers}

    async def _stream(self, request: web.Request) -> dict[str, Any]:
        stream, now_hns = self._named(request.query.get("name")), self._hub.now_hns()
        row = await self._row(stream, now_hns)
        watched = self._hub.watch.stream(stream.stream_id)
        info = {key: value for key, value in stream.info(now_hns).items() if value is not None}
        return {
            **row,
            "now_ms": now_hns // HNS_PER_MS,
            "faults": len(self._faults.in_force()),
            "info": info,
            "tags": stream.tags,
            "tracks": [track_facts(track) for track in await self._tracks_of(stream)],
            "points": watched.history(),
            "ledger": [session.row() for session in reversed(watched.sessions)],
            "error_acks": list(reversed(watched.errors)),
        }

    def _named(self, name: str | None) -> StreamRecord:
        """The stream of a name, as the page got it in the list."""
        found = next((one for one in self._hub.service.streams.all() if one.name == name), None)
        if found is None:
            raise ServiceError("ResourceNotFoundException", "The stream is not there (any more).")
        return found

    async def _tracks_of(self, stream: StreamRecord) -> tuple[Track, ...]:
        """What the header of the newest fragment says."""
        rows = await self._newest(stream, 1)
        if not rows:
            return ()
        row = rows[0]
        session_id, known = self._tracks.get(stream.stream_id, (0, ()))
        if session_id != row.session_id:
            try:
                known = await self._hub.ask(lambda: _read_tracks(self._hub, row))
            except StoreError:
                return ()
            self._tracks[stream.stream_id] = (row.session_id, known)
        return known

    async def _newest(self, stream: StreamRecord, limit: int) -> list[FragmentRow]:
        hub, oldest_hns = self._hub, self._hub.oldest_hns(stream)
        rows: list[FragmentRow] = await hub.ask(
            lambda: hub.store.query(lambda index: index.newest(stream.stream_id, oldest_hns, 0, limit))
        )
        return rows

    # What is stored.

    async def _fragments(self, request: web.Request) -> dict[str, Any]:
        """The fragments whose producer time is in a range, with what is between them."""
        stream = self._named(request.query.get("name"))
        first, last = _whole(request, "from_ms", 0), _whole(request, "to_ms", 2**42)
        hub = self._hub
        query = (stream.stream_id, hub.oldest_hns(stream), first * HNS_PER_MS, last * HNS_PER_MS, 0)
        rows: list[FragmentRow] = await hub.ask(
            lambda: hub.store.query(lambda index: index.in_range(query, by_producer=True, limit=_FRAGMENTS_MAX + 1))
        )
        return {"is_cut": len(rows) > _FRAGMENTS_MAX, **time_line(rows[:_FRAGMENTS_MAX])}

    async def _metadata(self, request: web.Request) -> dict[str, Any]:
        """The tags of the newest fragments that have some."""
        stream = self._named(request.query.get("name"))
        rows = [row for row in await self._newest(stream, _TAGGED_MAX * 4) if row.fragment.tags][-_TAGGED_MAX:]
        found = await self._hub.ask(lambda: [entry for row in reversed(rows) for entry in _read_tags(self._hub, row)])
        return {"metadata": found}

    async def _images(self, request: web.Request) -> dict[str, Any]:
        """Pictures at even distances of a range, by GetImages; where there are none, ``message`` says why."""
        stream = self._named(request.query.get("name"))
        first, last = _whole(request, "from_ms", 0), _whole(request, "to_ms", 0)
        count = max(1, min(_whole(request, "count", 1), 24))
        interval = max(200, -(-max(1, last - first) // count))
        body = {
            "StreamName": stream.name,
            "ImageSelectorType": "PRODUCER_TIMESTAMP",
            "StartTimestamp": first / 1000,
            "EndTimestamp": max(last, first + 1) / 1000,
            "SamplingInterval": interval,
            "Format": "JPEG",
            "WidthPixels": max(16, min(_whole(request, "width", 160), 640)),
            "MaxResults": count,
        }
        try:
            found = (await self._playback.images(body))["Images"]
        except ServiceError as error:
            return {"images": [], "message": error.message}
        images = [{"at_ms": round(one["TimeStamp"] * 1000), "jpeg": one.get("ImageContent")} for one in found]
        return {"images": images}

    async def _play(self, request: web.Request) -> dict[str, Any]:
        """A session for the player, live or of a stored range, as a URL without a host; else ``message`` says why.

        That a stream cannot be played is an ordinary answer here: a refusal would be an error in the browser's log.
        """
        members = await _members(request)
        stream = self._named(members.get("name"))
        body: dict[str, Any] = {"StreamName": stream.name, "Expires": _SESSION_S, "PlaybackMode": "LIVE"}
        body["DiscontinuityMode"] = "ON_DISCONTINUITY"  # the service's default has one at each fragment, which stutters
        if members.get("from_ms") is not None:
            first, last = (fields.integer(members, name, None, 0, 2**48) for name in ("from_ms", "to_ms"))
            span = {"StartTimestamp": first / 1000, "EndTimestamp": last / 1000}
            selector = {"FragmentSelectorType": "PRODUCER_TIMESTAMP", "TimestampRange": span}
            body = {**body, "PlaybackMode": "ON_DEMAND", "HLSFragmentSelector": selector}
        try:
            url: str = (await self._playback.hls_url(body, ""))["HLSStreamingSessionURL"]
        except ServiceError as error:
            return {"url": None, "message": error.message}
        return {"url": url}

    # Faults.

    async def _list_faults(self, _: web.Request) -> dict[str, Any]:
        faults = []
        for number, fault in self._faults.in_force().items():
            faults.append({**asdict(fault), "number": number, "kind": fault.kind.value})
        return {"faults": faults, "kinds": [kind.value for kind in FaultKind]}

    async def _add_fault(self, request: web.Request) -> dict[str, Any]:
        try:
            fault = fault_of(await _members(request))
        except FaultError as error:
            raise fields.invalid(str(error)) from None
        self._faults.add(fault)
        await asyncio.sleep(0)  # the loop puts it in force
        return await self._list_faults(request)

    async def _remove_fault(self, request: web.Request) -> dict[str, Any]:
        number = _whole(request, "number", 0)
        if number:
            self._faults.remove(number)
        else:
            self._faults.clear()
        await asyncio.sleep(0)
        return await self._list_faults(request)


def _point(row: FragmentRow) -> Point:
    fragment = row.fragment
    at_ms, producer_ms = fragment.server_hns // HNS_PER_MS, fragment.producer_hns // HNS_PER_MS
    return Point(fragment.number, at_ms, producer_ms, fragment.duration_hns // HNS_PER_MS, fragment.size, 0)


def _read_tracks(hub: Hub, row: FragmentRow) -> tuple[Track, ...]:
    header, store = row.header, hub.store
    store.verify(row)
    head = store.read(row, header.segment_offset, header.end_offset - header.segment_offset)
    events = read_all(store.read(row, 0, header.ebml_size) + SEGMENT_HEAD + head)
    return next((event.tracks for event in events if isinstance(event, Header)), ())


def _read_tags(hub: Hub, row: FragmentRow) -> list[dict[str, Any]]:
    """A fragment's tags, each element one entry; none of a fragment that is gone."""
    header, store = row.header, hub.store
    try:
        head = store.read(row, header.segment_offset, header.end_offset - header.segment_offset)
        tags = b"".join(store.read(row, offset, size) for offset, size in row.fragment.tags)
        events = read_all(store.read(row, 0, header.ebml_size) + SEGMENT_HEAD + head + tags)
    except StoreError:
        return []
    return found_tags(row, [event for event in events if isinstance(event, Tags)])


def _whole(request: web.Request, name: str, default: int) -> int:
    """A whole number of the query that is not negative."""
    text = request.query.get(name, "")
    return int(text) if text.isascii() and text.isdigit() and len(text) < 15 else default


async def _members(request: web.Request) -> dict[str, Any]:
    try:
        members = json.loads(await request.read())
    except (ValueError, RecursionError):
        members = None
    if not isinstance(members, dict):
        raise ServiceError("SerializationException", "The body must be a JSON object.")
    return members


def _file(request: web.Request) -> web.Response:
    name = "local/index.html" if request.path == "/" else request.path.removeprefix("/web/")
    file = web_file(name)
    if file is None:
        raise ServiceError("UnknownOperationException", f"The page has no file {name}.")
    own = {**_HEADERS, "Cache-Control": "no-cache", "ETag": file.tag}
    if request.headers.get("If-None-Match") == file.tag:
        return web.Response(status=304, headers=own)
    return web.Response(body=file.content, headers={**own, "Content-Type": file.content_type})
