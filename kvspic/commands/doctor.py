"""``kvspic doctor``: why it does not work here, in lines that can be pasted into a bug report."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import click

import kvspic
from kvspic.commands.doctor_checks import (
    Service,
    check_data_endpoint,
    check_installation,
    check_service,
    check_stream,
    hide_proxies,
)
from kvspic.commands.doctor_findings import Finding, Redactor, Report, cause_and_remedy
from kvspic.commands.endpoint import check_stream_name, endpoint_url
from kvspic.commands.exits import explain
from kvspic.commands.options import EXAMPLES, data_dir_option, endpoint_option, region_option, stdout, verbose_option
from kvspic.driver.blocking import LoopThread

__all__ = ["doctor"]


@click.command(
    epilog=f"""{EXAMPLES}
  kvspic doctor                                                  what is installed, and the local endpoint
  kvspic doctor --endpoint aws --region eu-central-1             keys, clock, proxy, certificates, the way to AWS
  kvspic doctor --endpoint aws --stream front-door               and what these keys may do with a stream
  kvspic doctor --endpoint aws --upload front-door               and ten seconds of test pattern, there and back
  kvspic doctor --endpoint aws --json > doctor.json

\b
Exit codes: 0 nothing failed (there may be warnings), else that of the first failure: 1 not everything was persisted or
came back, 2 usage or installation, 4 not reached, 5 keys, certificates, clock or permissions, 6 the data directory,
70 a fault of kvspic, 130 Ctrl-C.
"""
)
@endpoint_option
@data_dir_option
@region_option
@click.option("--stream", default="", metavar="NAME", help="Look at this stream; nothing is changed.")
@click.option(
    "--upload", default="", metavar="STREAM",
    help="Upload a test pattern to this stream, which must exist, and check every ACK and what comes back.",
)  # fmt: skip
@click.option(
    "--seconds", type=click.FloatRange(1, 3600), default=10.0, show_default=True, help="How long --upload uploads."
)
@click.option("--json", "is_json", is_flag=True, help="Print one JSON object at the end and nothing else.")
@verbose_option
def doctor(endpoint: str, data_dir: Path, region: str | None, stream: str, is_json: bool, **words: Any) -> int:
    """Check what an upload needs, and say what to do about what is wrong.

    One line for each finding: ok, warn, fail, or skip where something before it failed. Keys, tokens, account numbers
    and proxies with a password are left out, so that the output can be pasted into a bug report.
    """
    upload = str(words["upload"])
    if upload and stream not in ("", upload):
        raise click.UsageError("--stream and --upload name two streams: give one of them.")
    name = upload or stream
    if name:
        check_stream_name(name)
    console = stdout()
    about = {
        "kvspic": kvspic.__version__, "time": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "endpoint": endpoint if endpoint in ("local", "aws") else "a URL",
    }  # fmt: skip

    def show(finding: Finding) -> None:
        if not is_json:
            console.print(finding.line())

    report = Report(Redactor(str(Path.home())), show)
    hide_proxies(report)
    if not is_json:
        console.print(f"kvspic doctor {about['kvspic']}, {about['time']}, endpoint {about['endpoint']}")
    check_installation(report)
    try:
        with _url(endpoint, data_dir) as url:
            _check_service(report, url, region, (name, float(words["seconds"]) if upload else 0.0))
    except Exception as error:
        known = explain(error)
        if known is None:
            raise
        report.fail("endpoint", *cause_and_remedy(known), known.code)
    if is_json:
        click.echo(report.to_json(about))
    else:
        console.print(report.summary())
    return report.code


@contextlib.contextmanager
def _url(endpoint: str, data_dir: Path) -> Iterator[str | None]:
    """As for other commands, but a data directory that does not exist is not made."""
    with contextlib.ExitStack() as stack:
        if endpoint == "local" and not data_dir.exists():
            data_dir = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="kvspic-doctor-")))
        yield stack.enter_context(endpoint_url(endpoint, data_dir))


def _check_service(report: Report, url: str | None, region: str | None, wish: tuple[str, float]) -> None:
    from kvspic.commands.doctor_upload import check_way_back, upload_pattern
    from kvspic.provider.control import ControlPlane

    name, seconds = wish
    service = Service(ControlPlane(endpoint_url=url, region=region, user_agent_extra="kvspic-doctor"), name, region)
    thread = LoopThread()
    try:
        if not thread.run(check_service(report, service)):
            report.skip("stream", "the service is not reached with keys")
            return
        found = thread.run(check_stream(report, service))
        if found is None:
            return
        is_reached = thread.run(check_data_endpoint(report, service))
        if not seconds:
            return
        if not is_reached:
            report.skip("upload", "the data endpoint is not reached")
            return
        click.echo(f"kvspic: {seconds:g} s of test pattern go to {name} ...", err=True)
        sent = upload_pattern(report, service, seconds, keeps_media=bool(found.retention_hours))
        if sent is not None:
            thread.run(check_way_back(report, service, sent))
    finally:
        thread.stop()
