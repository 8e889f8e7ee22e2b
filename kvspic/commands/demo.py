"""``kvspic demo``: the whole way in one process: a clip up to the embedded endpoint and back, compared by frame."""

from __future__ import annotations

import contextlib
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
from rich.console import Console

from kvspic.commands.endpoint import endpoint_url
from kvspic.commands.exits import CliError, ExitCode
from kvspic.commands.get import fetch_to_file
from kvspic.commands.interrupts import one_interrupt_at_a_time
from kvspic.commands.media_log import Comparison, MediaLog, compare, read_joined
from kvspic.commands.options import EXAMPLES, open_input, stdout, verbose_option
from kvspic.commands.page import open_page
from kvspic.commands.result import UploadResult
from kvspic.commands.upload import Upload, UploadPlan
from kvspic.commands.view import UploadView
from kvspic.join import JoinReport, part_path
from kvspic.sources import Source
from kvspic.threads import in_pieces

__all__ = ["demo"]

SPEED = 4.0
CHUNK_SIZE = 1 << 20
CONNECT_TIMEOUT_S = 60.0  # the endpoint is in this process: only a slow or busy machine takes long


@dataclass(frozen=True)
class _Place:
    """Where the demo keeps its streams and writes its file."""

    data_dir: Path
    output: Path
    is_kept: bool


@click.command(
    epilog=f"""{EXAMPLES}
  kvspic demo
  kvspic demo --open
  kvspic demo clip.mp4 -o back.mkv
  kvspic demo testsrc:width=1280,height=720,duration=30,audio=1 --speed 1
"""
)
@click.argument("input", default="testsrc")
@click.option(
    "-o", "--output", metavar="FILE.mkv", type=click.Path(path_type=Path, dir_okay=False),
    help="Where to write what comes back; default: a new temporary folder.",
)  # fmt: skip
@click.option("--keep", is_flag=True, help="Keep the endpoint's data directory too.")
@click.option("--data-dir", type=click.Path(path_type=Path), help="Use this data directory, and keep it.")
@click.option(
    "--speed", type=click.FloatRange(0),
    help=f"So many times as fast as the clip plays; 0 is as fast as the link takes; default {SPEED:g}, with --open 1.",
)  # fmt: skip
@click.option("--fps", type=float, help="Frame rate of a raw stream that has none in it, and of testsrc.")
@click.option(
    "--open", "opens", is_flag=True,
    help="Show the stream on the endpoint's page in a browser: at its own speed, and until Ctrl-C.",
)  # fmt: skip
@verbose_option
def demo(input: str, output: Path | None, opens: bool, speed: float | None, fps: float | None, **where: Any) -> None:
    """Stream INPUT (default: testsrc) through an endpoint in this process, read it back and compare every frame.

    Needs no account, no network and no configuration. Ends with 0 only when the same frames came back.
    """
    console = stdout()
    speed = (1.0 if opens else SPEED) if speed is None else speed
    with open_input(input, fps, None) as source, _place(input, output, **where) as place:
        result, comparison = _there_and_back(console, source, place, speed, opens=opens)
        console.print(f"File       {place.output} (play it, or: kvspic inspect {place.output})")
        if place.is_kept:
            console.print(f"Data       {place.data_dir}")
    failure = result.failure()
    if failure is not None:
        raise failure
    if not comparison.is_equal:
        raise CliError(ExitCode.INCOMPLETE, f"What came back differs: {comparison.problem}; please report it.")


def _there_and_back(
    console: Console, source: Source, place: _Place, speed: float, *, opens: bool
) -> tuple[UploadResult, Comparison]:
    stream = f"demo-{time.time_ns() // 1_000_000}"
    put, back = MediaLog(), MediaLog()
    tracks = {track.number: track for track in source.tracks}
    with endpoint_url("local", place.data_dir) as url:
        console.print(f"Endpoint   {url}, stream {stream}, {source.content_type}")
        if opens:
            open_page(f"{url}/#/stream/{stream}")
        plan = UploadPlan(source, stream, endpoint_url=url, speed=speed, connect_timeout_s=CONNECT_TIMEOUT_S)
        upload = Upload(plan, lambda frame, base_ns: put.add_source(tracks[frame.track], frame, base_ns))
        with UploadView(console, upload.status):
            result = upload.run()
        if result.frames_offered:
            console.print("\n".join(result.lines()))
        _say_when_persisted(console, upload)
        if result.problem is not None:
            raise result.problem
        report = fetch_to_file(console, stream, place.output, (url, None))
        _read_parts(report, place.output, back)
        comparison = compare(put, back)
        words = f"{comparison.frames} frames are equal" if comparison.is_equal else comparison.problem
        console.print(f"Came back  {words}; {sum(part.fragments for part in report.parts)} fragments")
        if opens:
            console.print(f"Page       {url}/#/stream/{stream} until Ctrl-C")
            _wait_for_interrupt()
    return result, comparison


def _wait_for_interrupt() -> None:
    with contextlib.suppress(KeyboardInterrupt), one_interrupt_at_a_time():
        in_pieces(threading.Event().wait)


def _say_when_persisted(console: Console, upload: Upload) -> None:
    first = upload.first_persisted
    if first is not None:
        when = "while the body was still being sent" if first.was_reading else "when the body had been sent"
        sent = f"after {first.frames_offered} frames and {first.bytes_sent} bytes"
        console.print(f"First ACK  the first PERSISTED came {sent}, {when}")


def _read_parts(report: JoinReport, output: Path, log: MediaLog) -> None:
    for part in report.parts:
        with part_path(output, part.number).open("rb") as file:
            read_joined(iter(lambda: file.read(CHUNK_SIZE), b""), part.start_ms or 0, log)


@contextlib.contextmanager
def _place(name: str, output: Path | None, *, data_dir: Path | None, keep: bool) -> Iterator[_Place]:
    """Give the folders; a temporary data directory goes away afterwards unless it is to be kept."""
    if output is None:
        stem = Path(name.partition(":")[0]).stem or "demo"
        output = Path(tempfile.mkdtemp(prefix="kvspic-demo-")) / f"{stem}.mkv"
    if data_dir is not None or keep:
        chosen = data_dir or Path(tempfile.mkdtemp(prefix="kvspic-data-"))
        yield _Place(chosen, output, True)
        return
    with tempfile.TemporaryDirectory(prefix="kvspic-data-") as folder:
        yield _Place(Path(folder), output, False)
