"""Streaming sessions, clips and pictures: GetHLSStreamingSessionURL, GetDASHStreamingSessionURL, GetClip, GetImages.

A session is a token in the URLs that players read; it lives in this process and ends when its time is over. Its
requests carry no signature and may come from any page, as with the service. Facts: the API reference of Amazon Kinesis
Video Streams archived media. PyAV copies the packets (``remux.py``); without PyAV each operation answers 501.
"""

from __future__ import annotations

import base64
import json
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from kvspic.local import fields, remux
from kvspic.local.documents import SEGMENT_HEAD
from kvspic.local.errors import ServiceError, StoreError
from kvspic.local.fields import Request
from kvspic.local.hub import Hub
from kvspic.local.playlists import LEAD_MS, Shown, Track, Window, manifest, master_playlist, media_playlist
from kvspic.local.store import Store
from kvspic.local.store_index import FragmentRow
from kvspic.local.streams import StreamRecord
from kvspic.units import HNS_PER_MS, HNS_PER_S

__all__ = ["SESSION_PATHS", "Playback", "Played", "read_document"]

SESSION_PATHS = ("/hls/v1/", "/dash/v1/")
_BY_TIME = ("PRODUCER_TIMESTAMP", "SERVER_TIMESTAMP")
_MODES = ("LIVE", "LIVE_REPLAY", "ON_DEMAND")
_LIVE_AGE_HNS = 30 * HNS_PER_S
_SESSIONS_MAX = 1000
_CLIP_FRAGMENTS_MAX, _CLIP_SIZE_MAX = 200, 100 * 1024 * 1024
_IMAGE_INTERVAL_MIN_MS = 200
_ROWS_MAX = 5000
_VERIFIED_SIZE_MAX = 512 * 1024 * 1024  # of what a playlist shows: half a second of reading


@dataclass(frozen=True)
class Played:
    """An answer to a player: bytes and their media type."""

    content: bytes
    content_type: str


@dataclass
class _Session:
    stream: StreamRecord
    mode: str
    is_ts: bool
    shows_times: bool
    by_producer: bool
    first_hns: int
    last_hns: int
    count_max: int
    made_hns: int
    ends_hns: int
    window: Window
    tracks: list[Track] = field(default_factory=list)
    origin_ms: int = 0
    is_sound: dict[int, bool] = field(default_factory=dict)
    """For the rows last read, by their place: whether their bytes are those that were stored."""


class Playback:
    """The four operations over one hub, and what players ask of their sessions."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._sessions: dict[str, _Session] = {}
        self._paths: dict[str, Callable[[str, _Session, Request], Any]] = {
            "getHLSMasterPlaylist.m3u8": self._master,
            "getHLSMediaPlaylist.m3u8": self._media,
            "getDASHManifest.mpd": self._manifest,
            "getMP4InitFragment.mp4": self._init_segment,
            "getMP4MediaFragment.mp4": self._segment,
            "getTSFragment.ts": self._segment,
        }

    # Sessions.

    async def hls_url(self, body: Request, base_url: str) -> dict[str, Any]:
        """Answer GetHLSStreamingSessionURL."""
        container = _choice(body, "ContainerFormat", ("FRAGMENTED_MP4", "MPEG_TS"))
        mode = _choice(body, "DiscontinuityMode", ("ALWAYS", "NEVER", "ON_DISCONTINUITY"))
        name = "MaxMediaPlaylistFragmentResults"
        token = await self._open(body, "HLS", name, (container == "MPEG_TS", mode))
        return {"HLSStreamingSessionURL": f"{base_url}/hls/v1/getHLSMasterPlaylist.m3u8?SessionToken={token}"}

    async def dash_url(self, body: Request, base_url: str) -> dict[str, Any]:
        """Answer GetDASHStreamingSessionURL."""
        _choice(body, "DisplayFragmentNumber", ("NEVER", "ALWAYS"))
        token = await self._open(body, "DASH", "MaxManifestFragmentResults", (False, "ON_DISCONTINUITY"))
        return {"DASHStreamingSessionURL": f"{base_url}/dash/v1/getDASHManifest.mpd?SessionToken={token}"}

    async def _open(self, body: Request, kind: str, count_name: str, form: tuple[bool, str]) -> str:
        mode = _choice(body, "PlaybackMode", _MODES)
        shows_times = _choice(body, "DisplayFragmentTimestamp", ("NEVER", "ALWAYS")) == "ALWAYS"
        expires = fields.integer(body, "Expires", 300, 300, 43_200)
        live = 5 if mode != "ON_DEMAND" else (1000 if kind == "DASH" else 5000)
        count_max = fields.integer(body, count_name, live, 1, _ROWS_MAX)
        by_producer, first_hns, last_hns = _selected(body, f"{kind}FragmentSelector", mode)
        now_hns = self._hub.now_hns()
        stream = self._stream(f"Get{kind}StreamingSessionURL", body)
        is_ts, discontinuities = form
        window = Window(discontinuities, is_live=mode != "ON_DEMAND")  # type: ignore[arg-type]
        session = _Session(
            stream, mode, is_ts, shows_times, by_producer, first_hns, last_hns, count_max, now_hns,
            now_hns + expires * HNS_PER_S, window,
        )  # fmt: skip
        rows = await self._sound(session, await self._rows(session))
        if not rows or (mode == "LIVE" and rows[-1].fragment.server_hns < now_hns - _LIVE_AGE_HNS):
            where = "the last 30 seconds" if mode == "LIVE" else "the time asked for"
            raise ServiceError("ResourceNotFoundException", f"The stream has no fragment in {where}.")
        piece = await self._piece(rows[0], session)
        session.tracks = await self._hub.ask(lambda: remux.tracks(piece.document))
        session.origin_ms = rows[0].fragment.producer_hns // HNS_PER_MS
        self._forget_old(now_hns)
        token = secrets.token_urlsafe(16)
        self._sessions[token] = session
        return token

    def _stream(self, operation: str, body: Request) -> StreamRecord:
        if not remux.is_available():
            text = f"{operation} needs PyAV in the endpoint: pip install 'kvspic[media]'."
            raise ServiceError("NotImplementedException", text)
        stream = self._hub.service.read_call(operation, body, self._hub.now_hns())
        if stream.retention_hours == 0:
            raise ServiceError("NoDataRetentionException", f"{stream.name} keeps no data: its retention is 0 hours.")
        return stream

    def _forget_old(self, now_hns: int) -> None:
        self._sessions = {token: one for token, one in self._sessions.items() if one.ends_hns > now_hns}
        while len(self._sessions) >= _SESSIONS_MAX:
            del self._sessions[next(iter(self._sessions))]

    # What players read.

    async def play(self, path: str, query: Request) -> Played:
        """Answer a request below one of ``SESSION_PATHS``; ServiceError for what is unknown or over."""
        token = str(query.get("SessionToken", ""))
        session = self._sessions.get(token)
        ask = self._paths.get(path.rsplit("/", 1)[-1])
        if ask is None:
            raise ServiceError("UnknownOperationException", f"There is no {path}.")
        if session is None or session.ends_hns <= self._hub.now_hns():
            text = "The session is unknown or over; get a new URL with GetHLSStreamingSessionURL or its DASH sister."
            raise ServiceError("ExpiredTokenException", text)
        played: Played = await ask(token, session, query)
        return played

    async def _master(self, token: str, session: _Session, _: Request) -> Played:
        await self._advance(session)
        text = master_playlist(token, session.tracks, session.window.fragments)
        return Played(text.encode(), "application/x-mpegURL")

    async def _media(self, token: str, session: _Session, _: Request) -> Played:
        await self._advance(session)
        text = media_playlist(token, session.window, is_ts=session.is_ts, shows_times=session.shows_times)
        return Played(text.encode(), "application/x-mpegURL")

    async def _manifest(self, token: str, session: _Session, _: Request) -> Played:
        await self._advance(session)
        now_ms = self._hub.now_hns() // HNS_PER_MS
        text = manifest(token, session.window, session.tracks, session.origin_ms, now_ms)
        return Played(text.encode(), "application/dash+xml")

    async def _init_segment(self, _: str, session: _Session, query: Request) -> Played:
        piece = await self._asked_piece(session, query)
        return Played(await self._hub.ask(lambda: remux.mp4_init(piece)), "video/mp4")

    async def _segment(self, _: str, session: _Session, query: Request) -> Played:
        piece = await self._asked_piece(session, query)
        if session.is_ts:
            return Played(await self._hub.ask(lambda: remux.ts_fragment(piece)), "video/MP2T")
        sequence = _whole(query, "SequenceNumber", 1)
        return Played(await self._hub.ask(lambda: remux.mp4_fragment(piece, sequence)), "video/mp4")

    async def _asked_piece(self, session: _Session, query: Request) -> remux.Piece:
        number = fields.text(query, "FragmentNumber")
        stream, store = session.stream, self._hub.store
        found: dict[str, FragmentRow] = await self._hub.ask(
            lambda: store.query(lambda index: index.numbered(stream.stream_id, self._hub.oldest_hns(stream), [number]))
        )
        if number not in found:
            raise ServiceError("ResourceNotFoundException", f"The stream has no fragment {number} (any more).")
        return replace(await self._piece(found[number], session), track=_whole(query, "TrackNumber", 0))

    async def _advance(self, session: _Session) -> None:
        rows = await self._rows(session)
        if session.window.is_live or not session.window.fragments:
            sound = {row.seq for row in await self._sound(session, rows)}
            session.window.advance([one for one in _shown(rows) if one.place in sound], session.count_max)

    async def _sound(self, session: _Session, rows: list[FragmentRow]) -> list[FragmentRow]:
        """Leave out the damaged ones. Each is read once in a session, up to a size; those after it when players ask."""
        known, size = {row.seq: session.is_sound[row.seq] for row in rows if row.seq in session.is_sound}, 0
        for row in rows:
            size += 0 if row.seq in known else row.fragment.size
            if row.seq not in known and size <= _VERIFIED_SIZE_MAX:
                known[row.seq] = await self._hub.ask(lambda: _is_sound(self._hub.store, row))  # noqa: B023
        session.is_sound = known
        return [row for row in rows if known.get(row.seq, True)]

    async def _rows(self, session: _Session) -> list[FragmentRow]:
        """The rows that the session shows or has to count: from the first one that it showed last."""
        stream, store, now_hns = session.stream, self._hub.store, self._hub.now_hns()
        oldest_hns, first = self._hub.oldest_hns(stream), session.window.first()
        if session.mode == "LIVE":
            limit = session.count_max if first == 0 else _ROWS_MAX
            rows: list[FragmentRow] = await self._hub.ask(
                lambda: store.query(lambda index: index.newest(stream.stream_id, oldest_hns, first, limit))
            )
            return rows
        query = (stream.stream_id, oldest_hns, session.first_hns, session.last_hns, max(first - 1, 0))
        rows = await self._hub.ask(
            lambda: store.query(
                lambda index: index.in_range(query, by_producer=session.by_producer, limit=_ROWS_MAX + 1)
            )
        )
        if session.mode == "ON_DEMAND":
            return _by_time(rows, by_producer=session.by_producer)[: session.count_max]
        elapsed_hns = now_hns - session.made_hns
        begun = [row for row in rows if _time_of(row, session) - session.first_hns <= elapsed_hns]
        return begun or rows[:1]

    async def _piece(self, row: FragmentRow, session: _Session | None) -> remux.Piece:
        at_ms = row.fragment.producer_hns // HNS_PER_MS - (0 if session is None else session.origin_ms) + LEAD_MS
        return remux.Piece(await self._document(row), row.fragment.timecode, at_ms)

    async def _document(self, row: FragmentRow) -> bytes:
        try:
            document: bytes = await self._hub.ask(lambda: read_document(self._hub.store, row))
        except StoreError as error:
            raise ServiceError("ResourceNotFoundException", str(error)) from error
        return document

    # Clips and pictures.

    async def clip(self, body: Request) -> Played:
        """Answer GetClip: one MP4 file. The limits are the service's: 200 fragments and 100 MB."""
        by_producer, first_hns, last_hns = _selected(body, "ClipFragmentSelector", "ON_DEMAND")
        stream = self._stream("GetClip", body)
        rows = await self._range(stream, first_hns, last_hns, by_producer, _CLIP_FRAGMENTS_MAX + 1)
        if len(rows) > _CLIP_FRAGMENTS_MAX:
            raise fields.invalid(f"The clip would have more than {_CLIP_FRAGMENTS_MAX} fragments; ask for less.")
        if sum(row.fragment.size for row in rows) > _CLIP_SIZE_MAX:
            raise fields.invalid("The clip would have more than 100 MB; ask for a shorter one.")
        store = self._hub.store
        rows = [row for row in rows if await self._hub.ask(lambda: _is_sound(store, row))]  # noqa: B023
        if not rows:
            raise ServiceError("ResourceNotFoundException", "The stream has no fragment in the time asked for.")
        origin_ms = rows[0].fragment.producer_hns // HNS_PER_MS
        pieces = []
        for row in rows:
            at_ms = row.fragment.producer_hns // HNS_PER_MS - origin_ms
            pieces.append(remux.Piece(await self._document(row), row.fragment.timecode, at_ms))
        return Played(await self._hub.ask(lambda: remux.clip(pieces)), "video/mp4")

    async def images(self, body: Request) -> dict[str, Any]:
        """Answer GetImages: a picture for each interval of the range, or why there is none."""
        kind = fields.one_of(body, "ImageSelectorType", _BY_TIME)
        form = fields.one_of(body, "Format", ("JPEG", "PNG"))
        first, last = fields.number(body, "StartTimestamp"), fields.number(body, "EndTimestamp")
        if last <= first:
            raise fields.invalid("EndTimestamp must be after StartTimestamp.")
        interval_ms = fields.integer(body, "SamplingInterval", 3000, _IMAGE_INTERVAL_MIN_MS, 2**31 - 1)
        size = (_side(body, "WidthPixels", 3840), _side(body, "HeightPixels", 2160))
        quality = _jpeg_quality(body, form)
        limit = fields.integer(body, "MaxResults", 25, 1, 100)
        begin_ms, end_ms = round(first * 1000), round(last * 1000)
        at_ms = _image_place(fields.text_or_none(body, "NextToken"), begin_ms)
        stream = self._stream("GetImages", body)
        images: list[dict[str, Any]] = []
        while at_ms < end_ms and len(images) < limit:
            images.append(await self._image(stream, at_ms, kind == "PRODUCER_TIMESTAMP", (size, form, quality)))
            at_ms += interval_ms
        answer: dict[str, Any] = {"Images": images}
        if at_ms < end_ms:
            answer["NextToken"] = base64.b64encode(json.dumps(at_ms).encode()).decode()
        return answer

    async def _image(
        self, stream: StreamRecord, at_ms: int, by_producer: bool, form: tuple[tuple[int | None, int | None], str, int]
    ) -> dict[str, Any]:
        answer: dict[str, Any] = {"TimeStamp": at_ms / 1000}
        at_hns, store = at_ms * HNS_PER_MS, self._hub.store
        oldest_hns = self._hub.oldest_hns(stream)

        def find() -> FragmentRow | None:
            seq = store.query(lambda i: i.seq_before_time(stream.stream_id, at_hns, by_producer=by_producer))
            rows = store.query(lambda i: i.after(stream.stream_id, oldest_hns, seq, 1))
            return rows[0] if rows else None

        row = await self._hub.ask(find)
        begin_hns = 0 if row is None else row.fragment.producer_hns if by_producer else row.fragment.server_hns
        if row is None or begin_hns > at_hns + HNS_PER_S:
            return {**answer, "Error": "NO_MEDIA"}
        try:
            begin_ms = begin_hns // HNS_PER_MS
            piece = remux.Piece(await self._document(row), row.fragment.timecode, begin_ms)
            content = await self._hub.ask(lambda: remux.picture(piece, at_ms, *form))
        except ServiceError:
            content = b""
        if not content:
            return {**answer, "Error": "NO_MEDIA" if content is None else "MEDIA_ERROR"}
        return {**answer, "ImageContent": base64.b64encode(content).decode()}

    async def _range(
        self, stream: StreamRecord, first_hns: int, last_hns: int, by_producer: bool, limit: int
    ) -> list[FragmentRow]:
        query = (stream.stream_id, self._hub.oldest_hns(stream), first_hns, last_hns, 0)
        store = self._hub.store
        rows: list[FragmentRow] = await self._hub.ask(
            lambda: store.query(lambda index: index.in_range(query, by_producer=by_producer, limit=limit))
        )
        return _by_time(rows, by_producer=by_producer)


def _is_sound(store: Store, row: FragmentRow) -> bool:
    try:
        store.verify(row)
    except StoreError:
        return False
    return True


def read_document(store: Store, row: FragmentRow) -> bytes:
    """The fragment as a Matroska document of its own; StoreError where it is gone or damaged. It may wait for the
    disk."""
    store.verify(row)
    header, fragment = row.header, row.fragment
    head = store.read(row, header.segment_offset, header.end_offset - header.segment_offset)
    cluster = store.read(row, fragment.offset, fragment.size)
    return store.read(row, 0, header.ebml_size) + SEGMENT_HEAD + head + cluster


def _time_of(row: FragmentRow, session: _Session) -> int:
    return row.fragment.producer_hns if session.by_producer else row.fragment.server_hns


def _by_time(rows: list[FragmentRow], *, by_producer: bool) -> list[FragmentRow]:
    """In the order of their time; of two with the same producer time the one that came later."""
    latest = {(row.fragment.producer_hns if by_producer else row.seq): row for row in rows}
    return sorted(latest.values(), key=lambda row: row.fragment.producer_hns if by_producer else row.seq)


def _shown(rows: list[FragmentRow]) -> list[Shown]:
    shown = []
    for row, following in zip(rows, [*rows[1:], None]):
        fragment = row.fragment
        duration = fragment.duration_hns
        if following is not None and following.session_id == row.session_id:
            duration = following.fragment.producer_hns - fragment.producer_hns
        at_ms, duration_ms = fragment.producer_hns // HNS_PER_MS, max(1, duration // HNS_PER_MS)
        shown.append(Shown(row.seq, fragment.number, at_ms, duration_ms, row.session_id, fragment.size))
    return shown


def _choice(body: Request, name: str, words: tuple[str, ...]) -> str:
    """A member that is one of ``words``; the first where it is absent."""
    return words[0] if body.get(name) is None else fields.one_of(body, name, words)


def _selected(body: Request, name: str, mode: str) -> tuple[bool, int, int]:
    """Whether times are the producer's, and the first and the last tick of the range."""
    selector = body.get(name)
    if selector is None and mode == "LIVE":
        return True, 0, 2**62
    if not isinstance(selector, dict):
        raise fields.invalid(f"{name} is required with PlaybackMode {mode}.")
    by_producer = _choice(selector, "FragmentSelectorType", ("SERVER_TIMESTAMP", "PRODUCER_TIMESTAMP"))[0] == "P"
    span = selector.get("TimestampRange")
    if mode == "LIVE":
        if span is not None:
            raise fields.invalid("TimestampRange has no meaning with PlaybackMode LIVE.")
        return by_producer, 0, 2**62
    if not isinstance(span, dict):
        raise fields.invalid(f"TimestampRange is required with PlaybackMode {mode}.")
    first_hns = round(fields.number(span, "StartTimestamp") * 1000) * HNS_PER_MS
    if mode == "LIVE_REPLAY":
        return by_producer, first_hns, 2**62
    last_hns = (round(fields.number(span, "EndTimestamp") * 1000) + 1) * HNS_PER_MS - 1
    if last_hns < first_hns:
        raise fields.invalid("EndTimestamp is before StartTimestamp.")
    if last_hns - first_hns > 24 * 3600 * HNS_PER_S:
        raise fields.invalid("The range from StartTimestamp to EndTimestamp has more than 24 hours.")
    return by_producer, first_hns, last_hns


def _whole(query: Request, name: str, default: int) -> int:
    text = str(query.get(name, default))
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else default


def _side(body: Request, name: str, high: int) -> int | None:
    return None if body.get(name) is None else fields.integer(body, name, None, 1, high)


def _jpeg_quality(body: Request, form: str) -> int:
    config = body.get("FormatConfig")
    if config is None:
        return 80
    quality = config.get("JPEGQuality") if isinstance(config, dict) and len(config) == 1 else None
    if form != "JPEG" or not isinstance(quality, str) or not quality.isdigit() or not 1 <= int(quality) <= 100:
        raise fields.invalid("FormatConfig takes JPEGQuality, a text of 1 to 100, with Format JPEG.")
    return int(quality)


def _image_place(token: str | None, begin_ms: int) -> int:
    if token is None:
        return begin_ms
    try:
        place = json.loads(base64.b64decode(token, validate=True))
    except (ValueError, TypeError, RecursionError):
        place = None
    if type(place) is not int or place < begin_ms:
        raise fields.invalid("NextToken was not given by this service.")
    return place
