"""A producer that takes frames and does nothing with them, so that what the load itself costs can be measured."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from kvspic.actions import Event, StreamReady
from kvspic.types import StreamReport, StreamState

__all__ = ["Sink"]


@dataclass(frozen=True)
class _Metrics:
    bytes_unsent: int = 0
    sessions: int = 0


class _Stream:
    def __init__(self, name: str) -> None:
        self._name = name
        self._frames = self._bytes = 0

    def put_frame(self, data: bytes, *, pts: int, key_frame: bool = False) -> None:
        self._frames += 1
        self._bytes += len(data)

    def metrics(self) -> _Metrics:
        return _Metrics()

    def close(self, timeout: float) -> StreamReport:
        frames, size = self._frames, self._bytes
        return StreamReport(
            self._name, StreamState.STOPPED, frames, 0, 0, frames, {}, size, 0, 0, size, 0, 0, 0, None, None, True
        )


class Sink:
    """Stands for a :class:`kvspic.Producer`; every frame stays ``buffered``."""

    def __init__(self) -> None:
        self._streams: list[_Stream] = []

    def open_stream(
        self, name: str, tracks: Any, *, wait: bool, on_event: Callable[[Event], None], **options: Any
    ) -> _Stream:
        """Open a stream that is ready at once."""
        stream = _Stream(name)
        self._streams.append(stream)
        on_event(StreamReady(name))
        return stream

    def close(self, timeout: float) -> list[StreamReport]:
        """Return the reports of all streams."""
        return [stream.close(timeout) for stream in self._streams]
