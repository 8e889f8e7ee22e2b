"""The transcript of a simulated run: what the core ordered and reported, what users and the service did, line by line.

Only the end of it is kept, and words are made of it only when somebody wants to read. A line is the time in seconds
since the begin, the stream, and what happened: orders in capitals with what matters of them, notices by the names of
their events, everything else in plain words.
"""

from __future__ import annotations

from collections import deque
from dataclasses import fields
from enum import Enum
from typing import Any

from kvspic import errors
from kvspic.actions import Action, ActionKind, event_of
from kvspic.types import StreamState
from kvspic.units import HNS_PER_S

__all__ = ["Transcript"]

LINES_MAX = 400


class Transcript:
    """The last lines of a run that began at ``begin_hns``."""

    def __init__(self, begin_hns: int) -> None:
        self._begin_hns = begin_hns
        self._lines: deque[tuple[int, str, Action | str]] = deque(maxlen=LINES_MAX)

    def add(self, now_hns: int, stream: str, what: Action | str) -> None:
        """Keep what happened."""
        self._lines.append((now_hns, stream, what))

    def lines(self) -> tuple[str, ...]:
        """What was kept, oldest first, in words."""
        return tuple(self._line(*line) for line in self._lines)

    def _line(self, at_hns: int, stream: str, what: Action | str) -> str:
        words = self._action(what) if isinstance(what, Action) else what
        return f"{self._seconds(at_hns):>10} {stream:3} {words}"

    def _action(self, action: Action) -> str:
        event = event_of(action, "")
        if event is not None:
            shown = (field.name for field in fields(event) if field.name != "stream")
            return " ".join([type(event).__name__, *(self._member(name, getattr(event, name)) for name in shown)])
        words = [ActionKind(action.kind).name]
        if action.kind == ActionKind.FAILED:
            words.append(f"{errors.from_status(action.status).name} in {StreamState(action.a).name}")
        for name in ("result", "attempt", "upload"):
            words += [f"{name} {value}"] if (value := getattr(action, name)) else []
        if action.after_hns:
            words.append(f"not before {self._seconds(action.after_hns)}")
        return " ".join(words)

    def _member(self, name: str, value: Any) -> str:
        if isinstance(value, Enum):
            return value.name
        if value is not None and name in ("pts_ns", "timecode_ms"):  # shown as the run counts, not since 1970
            hns = value // 100 if name == "pts_ns" else value * 10_000
            return f"{name.rpartition('_')[0]}={self._seconds(hns)}"
        return f"{name}={value}"

    def _seconds(self, at_hns: int) -> str:
        return f"{(at_hns - self._begin_hns) / HNS_PER_S:.3f}"
