"""What people see while an upload runs: a live table on a terminal, now and then a line anywhere else, or nothing.

A view asks for the status a few times a second from its own thread, so that a source that blocks does not freeze it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType

from rich.console import Console
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from kvspic.commands.upload import UploadStatus
from kvspic.threads import join

__all__ = ["UploadView", "figures"]

LIVE_PER_S = 8
LOOK_EVERY_S = 1.0
LINE_EVERY_S = 60.0
BAR_WIDTH = 30
MB = 1e6


@dataclass(frozen=True)
class _Point:
    seconds: float
    frames: int
    sent: int


@dataclass(frozen=True)
class Figures:
    """The words for each figure of a status."""

    state: str
    frames: str
    rate: str
    sent: str
    fill: str
    fragments: str
    latency: str
    trouble: str = ""
    progress: str = ""

    def line(self) -> str:
        """Return all of them in one line."""
        progress = f"{self.progress}, " if self.progress else ""
        trouble = f" ({self.trouble})" if self.trouble else ""
        return (
            f"{self.state:<12} {progress}{self.frames}, {self.rate}, {self.sent}, buffer {self.fill}, "
            f"{self.fragments}, PERSISTED after {self.latency}{trouble}"
        )


def figures(status: UploadStatus, before: _Point = _Point(0.0, 0, 0)) -> Figures:
    """Return what to show; rates are since ``before``."""
    metrics = status.metrics
    if metrics is None:
        return Figures("CONNECTING", "0 frames", "- fps", "- MB/s", "0 %", "fragments 0/0/0", "-")
    span_s = max(status.seconds - before.seconds, 1e-3)
    frame_rate = (metrics.frames_put - before.frames) / span_s
    byte_rate = (metrics.bytes_sent - before.sent) / span_s / MB
    return Figures(
        state=metrics.state.name,
        frames=f"{metrics.frames_put} frames",
        rate="all read" if status.is_read else f"{frame_rate:.0f} fps",
        sent=f"{byte_rate:.2f} MB/s",
        fill=f"{status.store_fill:.1%}",
        fragments=(
            f"fragments {metrics.acks_buffering} buffering/{metrics.acks_received} received"
            f"/{metrics.acks_persisted} persisted"
        ),
        latency="-" if status.latency_ms is None else f"{status.latency_ms:.1f} ms",
        trouble=status.trouble,
        progress=_progress(status),
    )


def _progress(status: UploadStatus) -> str:
    if status.progress is None:
        return ""
    left = "" if status.left_s is None or status.progress >= 1 else f", {status.left_s:.0f} s left"
    return f"{status.progress:.0%}{left}"


class UploadView:
    """Shows the status of an upload for the length of a ``with``."""

    def __init__(
        self,
        console: Console,
        status: Callable[[], UploadStatus],
        *,
        is_shown: bool = True,
        look_every_s: float = LOOK_EVERY_S,
    ) -> None:
        self._look_every_s = look_every_s
        self._console = console
        self._status = status
        self._points = [_Point(0.0, 0, 0)]
        self._ended = threading.Event()
        self._live: Live | None = None
        self._thread: threading.Thread | None = None
        if is_shown and console.is_terminal:
            self._live = Live(
                console=console, get_renderable=self._table, refresh_per_second=LIVE_PER_S, transient=True
            )
        elif is_shown:
            self._thread = threading.Thread(target=self._print_lines, name="kvspic-view", daemon=True)

    def __enter__(self) -> UploadView:
        if self._live is not None:
            self._live.start()
        if self._thread is not None:
            self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        if self._live is not None:
            self._live.stop()
        if self._thread is not None:
            join(self._thread)

    def _figures(self) -> tuple[UploadStatus, Figures]:
        """Rates are over the last second or so, or since the start."""
        status = self._status()
        shown = figures(status, self._points[0])
        if status.metrics is not None:
            self._points.append(_Point(status.seconds, status.metrics.frames_put, status.metrics.bytes_sent))
        while len(self._points) > 1 and self._points[1].seconds < status.seconds - 1:
            del self._points[0]
        return status, shown

    def _table(self) -> Table:
        status, shown = self._figures()
        table = Table.grid(padding=(0, 2))
        table.add_row("State", Text(shown.state, style="bold"), f"{status.seconds:.1f} s")
        table.add_row("Frames", shown.frames, shown.rate)
        if shown.progress:
            table.add_row("Done", shown.progress, "")
        table.add_row("Sent", shown.sent, "")
        table.add_row("Buffer", ProgressBar(total=1.0, completed=status.store_fill, width=BAR_WIDTH), shown.fill)
        table.add_row("Fragments", shown.fragments.removeprefix("fragments "), "")
        table.add_row("PERSISTED", f"after {shown.latency}", "")
        if shown.trouble:
            table.add_row("Trouble", Text(shown.trouble, style="yellow"), "")
        return table

    def _print_lines(self) -> None:
        """A line each minute, and one for each change of what the reader may have to act on."""
        due_s, seen = 0.0, ("", False)
        while not self._ended.wait(self._look_every_s):
            status, shown = self._figures()
            news = shown.state, bool(shown.trouble)
            if news != seen or status.seconds >= due_s:
                seen, due_s = news, status.seconds + LINE_EVERY_S
                self._console.print(shown.line())
