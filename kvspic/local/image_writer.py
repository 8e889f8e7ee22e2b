"""Pictures of streams whose image generation is enabled, as files: a folder stands for the bucket.

Each second the writer looks for fragments that became durable since, and writes a picture for each interval that they
cover. ``s3://bucket/prefix`` becomes ``FOLDER/bucket/prefix/``, and a file is named as the service names an object:
account, stream, time in milliseconds, something unique.
"""

from __future__ import annotations

import asyncio
import logging
import re
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kvspic.local import remux
from kvspic.local.configurations import IMAGES
from kvspic.local.errors import ServiceError, StoreError
from kvspic.local.hub import Hub
from kvspic.local.playback import read_document
from kvspic.local.store_index import FragmentRow
from kvspic.local.streams import StreamRecord
from kvspic.units import HNS_PER_MS

__all__ = ["ImageWriter"]

_log = logging.getLogger(__name__)
_BATCH = 16
_PERIOD_S = 1.0


@dataclass
class _Place:
    seq: int
    next_ms: int = 0


class ImageWriter:
    """Writes below ``folder`` for as long as :meth:`run` runs."""

    def __init__(self, hub: Hub, folder: Path) -> None:
        self._hub = hub
        self._folder = folder
        self._places: dict[int, _Place] = {}

    async def run(self) -> None:
        """Write until cancelled; a stream whose pictures cannot be made or written is logged and passed over."""
        while True:
            await self.look()
            await asyncio.sleep(_PERIOD_S)

    async def look(self) -> None:
        """Write what became durable since the last look."""
        for stream in self._hub.service.streams.all():
            wanted = stream.configurations.get(IMAGES)
            if wanted is None or wanted["Status"] != "ENABLED":
                self._places.pop(stream.stream_id, None)
                continue
            try:
                await self._write_new(stream, wanted)
            except (OSError, ServiceError, StoreError) as error:
                _log.warning("no picture of %s: %s", stream.name, error)

    async def _write_new(self, stream: StreamRecord, wanted: dict[str, Any]) -> None:
        store, stream_id = self._hub.store, stream.stream_id
        if stream_id not in self._places:
            seq = await self._hub.ask(lambda: store.query(lambda index: index.seq_before_newest(stream_id)))
            self._places[stream_id] = _Place(seq)
        place, oldest_hns = self._places[stream_id], self._hub.oldest_hns(stream)
        rows: list[FragmentRow] = await self._hub.ask(
            lambda: store.query(lambda index: index.after(stream_id, oldest_hns, place.seq, _BATCH))
        )
        for row in rows:
            place.seq = row.seq
            await self._hub.ask(lambda: self._write_fragment(stream, wanted, place, row))  # noqa: B023

    def _write_fragment(self, stream: StreamRecord, wanted: dict[str, Any], place: _Place, row: FragmentRow) -> None:
        by_producer = wanted["ImageSelectorType"] == "PRODUCER_TIMESTAMP"
        fragment = row.fragment
        begin_ms = (fragment.producer_hns if by_producer else fragment.server_hns) // HNS_PER_MS
        piece = remux.Piece(read_document(self._hub.store, row), fragment.timecode, begin_ms)
        at_ms = max(begin_ms, place.next_ms) if place.next_ms <= begin_ms + 86_400_000 else begin_ms
        size = (wanted.get("WidthPixels"), wanted.get("HeightPixels"))
        quality = int(wanted.get("FormatConfig", {}).get("JPEGQuality", 80))
        while at_ms < begin_ms + fragment.duration_hns // HNS_PER_MS:
            content = remux.picture(piece, at_ms, size, wanted["Format"], quality)
            if content is not None:
                self._path(stream, wanted, at_ms).write_bytes(content)
            at_ms += wanted["SamplingInterval"]
        place.next_ms = at_ms

    def _path(self, stream: StreamRecord, wanted: dict[str, Any], at_ms: int) -> Path:
        parts = [part for part in re.split(r"[/\\:]+", wanted["DestinationConfig"]["Uri"])[1:] if part.strip(".")]
        folder = self._folder.joinpath(*parts)
        folder.mkdir(parents=True, exist_ok=True)
        suffix = "jpg" if wanted["Format"] == "JPEG" else "png"
        account = self._hub.service.settings.account
        return folder / f"{account}_{stream.name}_{at_ms}_{secrets.token_hex(4)}.{suffix}"
