"""``kvspic get``: the fragments of a stream back to one Matroska file that players like."""

from __future__ import annotations

from pathlib import Path

import click
from rich.console import Console
from rich.status import Status

from kvspic.commands.endpoint import check_stream_name, endpoint_url
from kvspic.commands.exits import CliError, ExitCode
from kvspic.commands.fetch import Fetcher
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

__all__ = ["fetch_to_file", "get"]

NOTICES_MAX = 3


@click.command(
    epilog=f"""{EXAMPLES}
  kvspic get front-door -o front-door.mkv
  kvspic get front-door -o live.mkv --follow --endpoint http://127.0.0.1:8080
  kvspic get yard -o yard.mkv --endpoint aws --region eu-central-1
"""
)
@click.argument("stream")
@click.option(
    "-o", "--output", required=True, metavar="FILE.mkv", type=click.Path(path_type=Path, dir_okay=False),
    help="Where to write; a codec that changes on the way starts FILE-2.mkv.",
)  # fmt: skip
@endpoint_option
@data_dir_option
@region_option
@click.option("--follow", is_flag=True, help="Go on with what comes, until Ctrl-C.")
@click.option(
    "--idle", type=click.FloatRange(0), metavar="S", help="With --follow: end when nothing new came for so long."
)
@verbose_option
def get(
    stream: str, output: Path, endpoint: str, data_dir: Path, region: str | None, **words: float | bool | None
) -> None:
    """Write all that STREAM holds to one Matroska file with Duration and Cues."""
    check_stream_name(stream)
    if words["idle"] is not None and not words["follow"]:
        raise click.UsageError("--idle goes with --follow: add it, or leave --idle out.")
    console = stdout()
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
    if report.replaced:
        console.print(f"{report.replaced} fragments were there twice; the later ones count")
