"""``kvspic demo``: the whole way in one process: a clip up to the embedded endpoint and back, compared by frame."""

from __future__ import annotations

import contextlib
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import click
from rich.console import Console

from kvspic.commands.endpoint import embedded
from kvspic.commands.exits import CliError, ExitCode
from kvspic.commands.get import fetch_to_file
from kvspic.commands.media_log import Comparison, MediaLog, compare, read_joined
from kvspic.commands.options import EXAMPLES, open_input, stdout, verbose_option
from kvspic.commands.result import UploadResult
from kvspic.commands.upload import Upload, UploadPlan
from kvspic.commands.view import UploadView
from kvspic.join import JoinReport, part_path
from kvspic.sources import Source

__all__ = ["demo"]

SPEED = 4.0
CHUNK_SIZE = 1 << 20


@dataclass(frozen=True)
class _Place:
    """Where the demo keeps its streams and writes its file."""

    data_dir: Path
    output: Path
    is_kept: bool


@click.command(
    epilog=f"""{EXAMPLES}
  kvspic demo
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
    "--speed", type=click.FloatRange(0), default=SPEED, show_default=True,
    help="So many times as fast as the clip plays; 0 is as fast as the link takes it.",
)  # fmt: skip
@click.option("--fps", type=float, help="Frame rate of a raw stream that has none in it, and of testsrc.")
@verbose_option
def demo(input: str, output: Path | None, keep: bool, data_dir: Path | None, speed: float, fps: float | None) -> None:
    """Stream INPUT (default: testsrc) through an endpoint in this process, read it back and compare every frame.

    Needs no account, no network and no configuration. Ends with 0 only when the same frames came back.
    """
    console = stdout()
    with open_input(input, fps, None) as source, _place(input, output, data_dir, keep) as place:
        result, comparison = _there_and_back(console, source, place, speed)
        console.print(f"File       {place.output} (play it, or: kvspic inspect {place.output})")
        if place.is_kept:
            console.print(f"Data       {place.data_dir}")
    failure = result.failure()
    if failure is not None:
        raise failure
    if not comparison.is_equal:
        raise CliError(ExitCode.INCOMPLETE, f"What came back differs: {comparison.problem}; please report it.")


def _there_and_back(console: Console, source: Source, place: _Place, speed: float) -> tuple[UploadResult, Comparison]:
    stream = f"demo-{time.time_ns() // 1_000_000}"
    put, back = MediaLog(), MediaLog()
    tracks = {track.number: track for track in source.tracks}
    with embedded(place.data_dir) as endpoint:
        console.print(f"Endpoint   {endpoint.url}, stream {stream}, {source.content_type}")
        plan = UploadPlan(source, stream, endpoint_url=endpoint.url, speed=speed)
        upload = Upload(plan, lambda frame, base_ns: put.add_source(tracks[frame.track], frame, base_ns))
        with UploadView(console, upload.status):
            result = upload.run()
        if result.frames_offered:
            console.print("\n".join(result.lines()))
        _say_when_persisted(console, upload)
        if result.problem is not None:
            raise result.problem
        report = fetch_to_file(console, stream, place.output, (endpoint.url, None))
    _read_parts(report, place.output, back)
    comparison = compare(put, back)
    words = f"{comparison.frames} frames are equal" if comparison.is_equal else comparison.problem
    console.print(f"Came back  {words}; {sum(part.fragments for part in report.parts)} fragments")
    return result, comparison


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
def _place(name: str, output: Path | None, data_dir: Path | None, keep: bool) -> Iterator[_Place]:
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
