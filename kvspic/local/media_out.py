"""GetMedia, ListFragments and GetMediaForFragmentList: the way from the store back to a client.

Fragments leave whole, in the order in which they became durable; frames are read from the body files in pieces, so the
memory of an answer does not grow with the fragment.
"""

from __future__ import annotations

import asyncio
import base64
import json
from typing import Any

from aiohttp import web

from kvspic.local import fields
from kvspic.local.documents import SEGMENT_HEAD, continuation_tags, fragment_tags, missing_fragment_tags
from kvspic.local.errors import ServiceError, StoreError
from kvspic.local.fields import Request
from kvspic.local.hub import Hub
from kvspic.local.store_index import FragmentRow
from kvspic.local.streams import StreamRecord
from kvspic.units import HNS_PER_MS

__all__ = ["MEDIA_TYPE", "MediaOut"]

MEDIA_TYPE = "video/webm"
_BATCH = 16
_PIECE_SIZE = 1024 * 1024
_NUMBER_MAX = 2**63  # of SQLite
_TIME_MS_MAX = 253_402_300_800_000  # the year 10000
_BY_TIME = ("SERVER_TIMESTAMP", "PRODUCER_TIMESTAMP")
_SELECTORS = ("NOW", "EARLIEST", "FRAGMENT_NUMBER", "CONTINUATION_TOKEN", *_BY_TIME)


class MediaOut:
    """The reading operations over one hub."""

    def __init__(self, hub: Hub, live_wait_seconds: float) -> None:
        self._hub = hub
        self._live_wait_seconds = live_wait_seconds

    # GetMedia.

    async def start_of(self, body: Request) -> tuple[StreamRecord, int]:
        """Check a GetMedia request; return the stream and the place after which to begin."""
        selector = body.get("StartSelector")
        if not isinstance(selector, dict):
            raise fields.invalid("StartSelector is required.")
        kind = fields.one_of(selector, "StartSelectorType", _SELECTORS)
        stream = self._hub.service.read_call("GetMedia", body, self._hub.now_hns())
        stream_id, store = stream.stream_id, self._hub.store
        if kind in ("FRAGMENT_NUMBER", "CONTINUATION_TOKEN"):
            name = "AfterFragmentNumber" if kind == "FRAGMENT_NUMBER" else "ContinuationToken"
            number = fields.text(selector, name)
            if not (number.isascii() and number.isdigit()):
                raise fields.invalid(f"{name} was not given by this service.")
            return stream, await self._hub.ask(lambda: store.query(lambda i: i.seq_before_number(stream_id, number)))
        if kind in _BY_TIME:
            time_hns = round(fields.number(selector, "StartTimestamp") * 1000) * HNS_PER_MS
            by_producer = kind == "PRODUCER_TIMESTAMP"
            return stream, await self._hub.ask(
                lambda: store.query(lambda i: i.seq_before_time(stream_id, time_hns, by_producer=by_producer))
            )
        if kind == "NOW":
            return stream, await self._hub.ask(lambda: store.query(lambda i: i.seq_before_newest(stream_id)))
        return stream, 0

    async def send_live(self, response: web.StreamResponse, stream: StreamRecord, seq: int) -> None:
        """Send the fragments after ``seq`` and those that follow, until none comes for a while."""
        while self._hub.service.streams.has(stream):
            news = self._hub.news(stream.stream_id)
            rows = await self._rows_after(stream, seq)
            for row in rows:
                seq = row.seq
                if not await self._is_sound(row):
                    continue
                is_newest = len(rows) < _BATCH and row is rows[-1]
                behind_hns = 0 if is_newest else self._hub.now_hns() - row.fragment.server_hns
                await self._send_fragment(response, row, is_list=False)
                await response.write(continuation_tags(row.fragment.number, behind_hns))
            if rows:
                continue
            try:
                await asyncio.wait_for(news.wait(), self._live_wait_seconds)
            except asyncio.TimeoutError:
                return

    async def _rows_after(self, stream: StreamRecord, seq: int) -> list[FragmentRow]:
        oldest_hns, store = self._hub.oldest_hns(stream), self._hub.store
        rows: list[FragmentRow] = await self._hub.ask(
            lambda: store.query(lambda index: index.after(stream.stream_id, oldest_hns, seq, _BATCH))
        )
        return rows

    async def _is_sound(self, row: FragmentRow) -> bool:
        """Whether the fragment's bytes are those that were stored."""
        try:
            await self._hub.ask(lambda: self._hub.store.verify(row))
        except StoreError:
            return False
        return True

    async def _send_fragment(self, response: web.StreamResponse, row: FragmentRow, *, is_list: bool) -> None:
        header, fragment, store = row.header, row.fragment, self._hub.store
        ebml = await self._hub.ask(lambda: store.read(row, 0, header.ebml_size))
        head_size = header.end_offset - header.segment_offset
        head = await self._hub.ask(lambda: store.read(row, header.segment_offset, head_size))
        await response.write(ebml + SEGMENT_HEAD + head + fragment_tags(fragment, is_list=is_list))
        for offset, size in ((fragment.offset, fragment.size), *fragment.tags):
            await self._send_range(response, row, offset, size)

    async def _send_range(self, response: web.StreamResponse, row: FragmentRow, offset: int, size: int) -> None:
        for start in range(offset, offset + size, _PIECE_SIZE):
            count = min(_PIECE_SIZE, offset + size - start)
            await response.write(await self._hub.ask(lambda: self._hub.store.read(row, start, count)))  # noqa: B023

    # Archived media.

    async def list_fragments(self, body: Request) -> dict[str, Any]:
        """Answer ListFragments. A stream with retention 0 archives nothing, so its list is empty."""
        limit = fields.integer(body, "MaxResults", 100, 1, 1000)
        token = fields.text_or_none(body, "NextToken")
        kind, first_ms, last_ms, place = _decode(token) if token else _selector(body)
        stream = self._hub.service.read_call("ListFragments", body, self._hub.now_hns())
        if stream.retention_hours == 0:
            return {"Fragments": []}
        first_hns, last_hns = first_ms * HNS_PER_MS, (last_ms + 1) * HNS_PER_MS - 1
        query = (stream.stream_id, self._hub.oldest_hns(stream), first_hns, last_hns, 0)
        by_producer, store = kind == "PRODUCER_TIMESTAMP", self._hub.store
        rows: list[FragmentRow] = await self._hub.ask(
            lambda: store.query(lambda index: index.in_range(query, place, by_producer=by_producer, limit=limit + 1))
        )
        answer: dict[str, Any] = {"Fragments": [_listed(row) for row in rows[:limit]]}
        if len(rows) > limit:
            last = rows[limit - 1]
            at_hns = last.fragment.producer_hns if by_producer else last.fragment.server_hns
            token_text = json.dumps([kind, first_ms, last_ms, at_hns, last.seq]).encode()
            answer["NextToken"] = base64.b64encode(token_text).decode()
        return answer

    async def listed_rows(self, body: Request) -> tuple[StreamRecord, list[tuple[str, FragmentRow | None]]]:
        """Check a GetMediaForFragmentList request; return its stream, and its fragments in the order asked, None for a
        missing one."""
        numbers = body.get("Fragments")
        if not isinstance(numbers, list) or not 1 <= len(numbers) <= 1000:
            raise fields.invalid("Fragments must be a list of 1 to 1000 fragment numbers.")
        asked = [fields.text({"FragmentNumber": number}, "FragmentNumber") for number in numbers]
        stream = self._hub.service.read_call("GetMediaForFragmentList", body, self._hub.now_hns())
        oldest_hns, store = self._hub.oldest_hns(stream), self._hub.store
        found: dict[str, FragmentRow] = await self._hub.ask(
            lambda: store.query(lambda index: index.numbered(stream.stream_id, oldest_hns, asked))
        )
        return stream, [(number, found.get(number)) for number in asked]

    async def send_list(self, response: web.StreamResponse, rows: list[tuple[str, FragmentRow | None]]) -> None:
        """Send the fragments; one that is missing or damaged becomes a document that says so."""
        for number, row in rows:
            if row is None or not await self._is_sound(row):
                await response.write(missing_fragment_tags(number, is_damaged=row is not None))
                continue
            try:
                await self._send_fragment(response, row, is_list=True)
            except StoreError:
                return  # deleted meanwhile: the document is cut, nothing sensible can follow


def _listed(row: FragmentRow) -> dict[str, Any]:
    fragment = row.fragment
    return {
        "FragmentNumber": fragment.number,
        "FragmentSizeInBytes": fragment.size,
        "ProducerTimestamp": fragment.producer_hns // HNS_PER_MS / 1000,
        "ServerTimestamp": fragment.server_hns // HNS_PER_MS / 1000,
        "FragmentLengthInMilliseconds": fragment.duration_hns // HNS_PER_MS,
    }


def _selector(body: Request) -> tuple[str, int, int, tuple[int, int]]:
    """Return kind, first and last millisecond, and the place to begin after: a time and a seq."""
    selector = body.get("FragmentSelector")
    if not isinstance(selector, dict) or not isinstance(selector.get("TimestampRange"), dict):
        raise fields.invalid("FragmentSelector with a TimestampRange is required.")
    kind = fields.one_of(selector, "FragmentSelectorType", _BY_TIME)
    span = selector["TimestampRange"]
    first, last = fields.number(span, "StartTimestamp"), fields.number(span, "EndTimestamp")
    if last < first:
        raise fields.invalid("EndTimestamp is before StartTimestamp.")
    return kind, round(first * 1000), round(last * 1000), (-1, 0)


def _decode(token: str) -> tuple[str, int, int, tuple[int, int]]:
    try:
        kind, *numbers = json.loads(base64.b64decode(token, validate=True))
        first, last, at_hns, seq = numbers
        are_times = all(type(number) is int and 0 <= number < _NUMBER_MAX for number in numbers)
        if kind in _BY_TIME and are_times and first < _TIME_MS_MAX and last < _TIME_MS_MAX:
            return kind, first, last, (at_hns, seq)
    except (ValueError, TypeError, RecursionError):
        pass
    raise ServiceError("InvalidArgumentException", "NextToken was not given by this service.")
