"""``kvspic put``: a file, a pipe, a camera's URL or the test pattern into a stream."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from kvspic.commands.endpoint import check_stream_name, endpoint_url
from kvspic.commands.exits import CliError, ExitCode, explain
from kvspic.commands.options import (
    EXAMPLES,
    data_dir_option,
    endpoint_option,
    open_input,
    region_option,
    stdout,
    verbose_option,
)
from kvspic.commands.result import UploadResult
from kvspic.commands.upload import Upload, UploadPlan
from kvspic.commands.view import UploadView
from kvspic.producer import AsyncProducer
from kvspic.sources.demux import DemuxedSource
from kvspic.sources.live import LiveSource
from kvspic.sources.opening import is_live_name
from kvspic.sources.trim import Trim
from kvspic.threads import join

__all__ = ["put"]

MB = 1024 * 1024
STORE_MB = 128


@dataclass(frozen=True)
class _Wish:
    """The command's words."""

    input: str
    stream: str
    endpoint: str
    data_dir: Path
    region: str | None
    is_offline: bool | None
    is_json: bool
    is_quiet: bool
    give_up: float | None
    metrics: int | None
    fps: float | None
    start: str | None
    trim: str
    duration: float | None
    store_size: float
    connect_timeout: float
    stall_timeout: float
    spool: Path | None
    has_media_check: bool


@click.command(
    epilog=f"""{EXAMPLES}
  kvspic put clip.mp4 --stream front-door
  kvspic put testsrc --stream clock --duration 60 --endpoint http://127.0.0.1:8080
  kvspic put rtsp://camera/1 --stream yard --endpoint aws --region eu-central-1
  kvspic put clip.mp4 --stream front-door --offline --json | jq .frames_persisted
  kvspic put yesterday.mp4 --stream front-door --start 2026-05-01T12:00:00Z
"""
)
@click.argument("input")
@click.option("--stream", required=True, metavar="NAME", help="Name of the stream; it is made if there is none.")
@endpoint_option
@data_dir_option
@region_option
@click.option(
    "--offline/--realtime",
    "is_offline",
    default=None,
    help="As fast as the link takes it, waiting while the buffer is full (default for files); or at the pace of the "
    "timestamps, dropping the oldest fragment when the buffer is full (default for testsrc, URLs and -).",
)
@click.option("--json", "is_json", is_flag=True, help="Print one JSON object at the end and nothing else.")
@click.option("-q", "--quiet", "is_quiet", is_flag=True, help="Print nothing but what goes wrong.")
@click.option(
    "--give-up", type=click.FloatRange(0, min_open=True), metavar="S",
    help="End when a camera that went away could not be reached again for so long. Default: try for ever.",
)  # fmt: skip
@click.option(
    "--metrics", type=click.IntRange(1, 65535), metavar="PORT",
    help="Serve figures for Prometheus at http://127.0.0.1:PORT/metrics while the upload runs.",
)  # fmt: skip
@click.option("--fps", type=float, help="Frame rate of a raw stream that has none in it, and of testsrc.")
@click.option(
    "--start", metavar="TIME|file",
    help="When the recording began, for its frames to be stored at that time: with a zone, as in 2026-05-01T12:00:00Z, "
    "or file for the time that the file itself says. Default: a file ends now.",
)  # fmt: skip
@click.option(
    "--trim", type=click.Choice([choice.value for choice in Trim]), default=Trim.PREVIOUS_KEY.value, show_default=True,
    help="Where a file begins whose edit list hides its first pictures: at the key frame before the first shown "
    "picture, all until that marked as hidden; or at the next key frame.",
)  # fmt: skip
@click.option("--duration", type=click.FloatRange(0, min_open=True), help="Put only the first so many seconds.")
@click.option(
    "--store-size", type=click.FloatRange(1, 1 << 20), default=STORE_MB, show_default=True, metavar="MB",
    help="Memory for frames that are not yet persisted.",
)  # fmt: skip
@click.option(
    "--connect-timeout", type=click.FloatRange(0, min_open=True), default=10.0, show_default=True, metavar="S",
    help="Give up when nothing could be sent for so long at the beginning.",
)  # fmt: skip
@click.option(
    "--stall-timeout", type=click.FloatRange(0, min_open=True), default=60.0, show_default=True, metavar="S",
    help="Give up when nothing was sent or acknowledged for so long.",
)  # fmt: skip
@click.option(
    "--spool", type=click.Path(file_okay=False, path_type=Path), metavar="DIR",
    help="Keep frames in files there until they are persisted; what an earlier put left there goes first.",
)  # fmt: skip
@click.option(
    "--media-check/--no-media-check", "has_media_check", default=True, show_default=True,
    help="Look at the media, say what cannot be decoded or lies at wrong times, and end with 3 when it cannot be "
    "decoded.",
)  # fmt: skip
@verbose_option
def put(**words: Any) -> None:
    """Upload INPUT to a stream and wait until every frame is persisted.

    INPUT is a media file (MP4, MKV, WAV, raw H.264 or H.265, ADTS, ...), a URL, - for standard input, or testsrc for a
    test pattern with a running clock. Ends with 0 only when everything that was offered is persisted, and with 3 when
    what was uploaded cannot be decoded.
    """
    wish = _Wish(**words)
    result = UploadResult()
    try:
        result = _put(wish)
    except KeyboardInterrupt:
        result = UploadResult(problem=CliError(ExitCode.INTERRUPTED, "The upload was interrupted."))
        raise
    except Exception as error:
        known = explain(error)
        result = UploadResult(problem=known or CliError(ExitCode.INTERNAL, f"{type(error).__name__}: {error}"))
        raise
    finally:
        if wish.is_json:
            click.echo(result.to_json())
    failure = result.failure()
    if failure is not None:
        raise failure


def _put(wish: _Wish) -> UploadResult:
    check_stream_name(wish.stream)
    with contextlib.ExitStack() as stack:
        how = wish.start, wish.trim, wish.give_up
        source = stack.enter_context(open_input(wish.input, wish.fps, wish.duration, *how))
        is_live = is_live_name(wish.input) if wish.is_offline is None else not wish.is_offline
        with endpoint_url(wish.endpoint, wish.data_dir) as url:
            upload = Upload(
                UploadPlan(
                    source,
                    wish.stream,
                    endpoint_url=url,
                    region=wish.region,
                    speed=1.0 if is_live else 0.0,
                    is_live=is_live,
                    connect_timeout_s=wish.connect_timeout,
                    stall_timeout_s=wish.stall_timeout,
                    store_size=int(wish.store_size * MB),
                    limit_s=wish.duration,
                    spool=wish.spool,
                    has_media_check=wish.has_media_check,
                    say=_say,
                    on_producer=_metrics_at(wish.metrics, stack),
                )
            )
            if isinstance(source, LiveSource | DemuxedSource):
                source.on_notice = _say
            console = stdout()
            with UploadView(console, upload.status, is_shown=not (wish.is_json or wish.is_quiet)):
                result = upload.run()
            if not (wish.is_json or wish.is_quiet) and result.frames_offered:
                console.print("\n".join(result.lines()))
            return result


def _say(notice: str) -> None:
    """Print a sentence beside the result, as it comes; any thread."""
    click.echo(f"kvspic: {notice}", err=True)


def _metrics_at(port: int | None, stack: contextlib.ExitStack) -> Callable[[AsyncProducer], None]:
    """Return what shows a producer's figures at a port of this machine, for as long as ``stack``."""
    if port is None:
        return lambda producer: None
    try:
        import prometheus_client
    except ImportError as error:
        text = "--metrics needs prometheus_client, which is not installed: run `pip install 'kvspic[metrics]'`."
        raise CliError(ExitCode.USAGE, text) from error
    from kvspic.metrics import register

    registry = prometheus_client.CollectorRegistry()
    try:
        server, thread = prometheus_client.start_http_server(port, "127.0.0.1", registry)
    except OSError as error:
        text = f"The port {port} for --metrics cannot be used ({error.strerror}): name another one."
        raise CliError(ExitCode.UNREACHABLE, text) from error

    def stop() -> None:
        server.shutdown()
        server.server_close()
        join(thread)

    stack.callback(stop)

    def show(producer: AsyncProducer) -> None:
        register(producer, registry)

    return show
