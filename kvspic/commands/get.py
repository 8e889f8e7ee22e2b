"""``kvspic get``: the fragments of a stream back to one Matroska file that players like."""

from __future__ import annotations

import sys
from collections.abc import Callable, Coroutine
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click
from rich.console import Console
from rich.status import Status

from kvspic.commands.endpoint import check_stream_name, endpoint_url
from kvspic.commands.exits import CliError, ExitCode
from kvspic.commands.fetch import STANDARD_OUTPUT, Fetcher
from kvspic.commands.options import (
    EXAMPLES,
    data_dir_option,
    endpoint_option,
    region_option,
    stdout,
    verbose_option,
)
from kvspic.driver.blocking import LoopThread
from kvspic.join import JoinReport, part_path

if TYPE_CHECKING:
    from kvspic.provider.control import ControlPlane

__all__ = ["fetch_to_file", "get"]

_T = TypeVar("_T")

NOTICES_MAX = 3


def _range(_: click.Context, __: click.Parameter, text: str | None) -> tuple[int, int] | None:
    """FROM..TO in 100 ns ticks since 1970."""
    if text is None:
        return None
    begin, dots, end = text.partition("..")
    try:
        first, last = (datetime.fromisoformat(one.strip().replace("Z", "+00:00")) for one in (begin, end))
    except ValueError:
        dots = ""
    if not dots:
        raise click.BadParameter("it has the form 2026-11-29T08:00:00..2026-11-29T08:01:30, times in ISO 8601.")
    first_hns, last_hns = (_ticks(one if one.tzinfo else one.replace(tzinfo=timezone.utc)) for one in (first, last))
    if last_hns <= first_hns:
        raise click.BadParameter("the second time must be after the first one.")
    return first_hns, last_hns


def _ticks(moment: datetime) -> int:
    return (moment - datetime(1970, 1, 1, tzinfo=timezone.utc)) // timedelta(microseconds=1) * 10


def _ask(service: tuple[str | None, str | None], work: Callable[[ControlPlane], Coroutine[Any, Any, _T]]) -> _T:
    from kvspic.provider.control import ControlPlane

    thread = LoopThread()
    try:
        return thread.run(work(ControlPlane(endpoint_url=service[0], region=service[1])))
    finally:
        thread.stop()


async def _write_clip(plane: ControlPlane, stream: str, span: tuple[int, int], output: Path) -> int:
    size = 0
    pieces = plane.get_clip(stream, span)
    first = await anext(pieces)  # a refusal leaves no file
    with open(sys.stdout.fileno() if output == STANDARD_OUTPUT else output, "wb") as file:
        for_file = first
        while for_file:
            size += file.write(for_file)
            for_file = await anext(pieces, b"")
    return size


@click.command(
    epilog=f"""{EXAMPLES}
  kvspic get front-door -o front-door.mkv
  kvspic get front-door -o live.mkv --follow --endpoint http://127.0.0.1:8080
  kvspic get front-door -o - --follow | ffplay -
  kvspic get yard -o yard.mkv --endpoint aws --region eu-central-1
  kvspic get yard --clip 2026-11-29T08:00:00..2026-11-29T08:01:30 -o visitor.mp4
  kvspic get yard --hls
"""
)
@click.argument("stream")
@click.option(
    "-o", "--output", metavar="FILE.mkv",
    type=click.Path(path_type=Path, dir_okay=False, allow_dash=True),
    help="Where to write; a codec that changes on the way starts FILE-2.mkv. - is standard output, for a player.",
)  # fmt: skip
@endpoint_option
@data_dir_option
@region_option
@click.option("--follow", is_flag=True, help="Go on with what comes, until Ctrl-C.")
@click.option(
    "--idle", type=click.FloatRange(0), metavar="S", help="With --follow: end when nothing new came for so long."
)
@click.option(
    "--clip", metavar="FROM..TO", callback=_range,
    help="Write an MP4 of the fragments that begin between these times, by GetClip: ISO 8601, UTC where no zone is "
    "given; at most 200 fragments and 100 MB.",
)  # fmt: skip
@click.option("--hls", "is_hls", is_flag=True, help="Print the URL of a live session that players open, and end.")
@verbose_option
def get(stream: str, output: Path | None, endpoint: str, data_dir: Path, region: str | None, **words: Any) -> None:
    """Write all that STREAM holds to one Matroska file with Duration and Cues.

    On standard output it is a live Matroska, which a player shows as it comes; it has neither, and ends where the codec
    changes.
    """
    check_stream_name(stream)
    if words["idle"] is not None and not words["follow"]:
        raise click.UsageError("--idle goes with --follow: add it, or leave --idle out.")
    if words["is_hls"]:
        with endpoint_url(endpoint, data_dir, is_made=False) as url:
            click.echo(_ask((url, region), lambda plane: plane.get_hls_url(stream)))
        return
    if output is None:
        raise click.UsageError("Missing option '-o' / '--output': name the file to write, such as -o front-door.mkv.")
    console = stdout() if output != STANDARD_OUTPUT else Console(stderr=True, quiet=True)
    if words["clip"] is not None:
        with endpoint_url(endpoint, data_dir, is_made=False) as url:
            size = _ask((url, region), lambda plane: _write_clip(plane, stream, words["clip"], output))
        console.print(f"{output}: {size} bytes of MP4")
        return
    idle_s = None if words["idle"] is None else float(words["idle"])
    with endpoint_url(endpoint, data_dir, is_made=False) as url:
        report = fetch_to_file(console, stream, output, (url, region), (bool(words["follow"]), idle_s))
    show_report(console, report, output)
    if report.errors:
        raise CliError(ExitCode.INCOMPLETE, f"{len(report.errors)} fragments could not be had: {report.errors[0]}.")


def fetch_to_file(
    console: Console,
    stream: str,
    output: Path,
    service: tuple[str | None, str | None],
    following: tuple[bool, float | None] = (False, None),
) -> JoinReport:
    """Fetch from ``service`` (URL and region), showing progress on a terminal.

    Raises:
        KeyboardInterrupt, ServiceError, CliError: what was written until then is a whole file.
    """
    from kvspic.provider.control import ControlPlane

    plane = ControlPlane(endpoint_url=service[0], region=service[1])
    with console.status(f"Fetching {stream}") as status:
        fetcher = Fetcher(stream, output, lambda size, count: _show(status, size, count))
        follows, idle_s = following
        work = fetcher.follow(plane, idle_s) if follows else fetcher.fetch(plane)
        thread = LoopThread()
        try:
            thread.run(work)
        finally:
            thread.stop()  # also finishes the file after Ctrl-C
    if fetcher.report is None:
        raise RuntimeError("the fetch ended without a report")
    return fetcher.report


def _show(status: Status, size: int, count: int) -> None:
    status.update(f"{count} fragments, {size / 1e6:.1f} MB")


def show_report(console: Console, report: JoinReport, output: Path) -> None:
    """Say what was written."""
    for notice in report.notices[:NOTICES_MAX]:
        click.echo(f"kvspic: {notice}", err=True)
    if len(report.notices) > NOTICES_MAX:
        click.echo(f"kvspic: ... and {len(report.notices) - NOTICES_MAX} more of these", err=True)
    for part in report.parts:
        console.print(
            f"{part_path(output, part.number)}: {part.frames} frames in {part.fragments} fragments, "
            f"{part.duration_ms / 1000:.3f} s, {part.size} bytes",
        )
        if part.hidden_ms:
            console.print(
                f"  {part.hidden_ms / 1000:.3f} s of it are marked as hidden by an edit list: pictures that are needed "
                "to decode the next ones. Players that know ordered chapters (mpv, VLC) do not show them."
            )
    if report.left_out:
        names = ", ".join(report.left_out[:NOTICES_MAX]) + (", ..." if len(report.left_out) > NOTICES_MAX else "")
        console.print(f"{len(report.left_out)} fragments were there twice; the later ones count (left out: {names})")
