"""``kvspic fleet add, apply, list, show, replace``: what the fleet shall do, and what it does."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

import click

from kvspic.commands.exits import CliError, ExitCode
from kvspic.commands.fleet_client import as_json, client_options, health, json_option, print_table, since
from kvspic.commands.options import EXAMPLES
from kvspic.fleet.calls import Job
from kvspic.fleet.cameras import CameraFileError, read_cameras, source_of
from kvspic.fleet.client import FleetClient

__all__ = ["add", "apply", "list_jobs", "read_camera_file", "replace", "show"]

F = TypeVar("F", bound=Callable[..., Any])


def read_camera_file(path: Path) -> list[dict[str, Any]]:
    """Return the jobs of a file of cameras.

    Raises:
        CliError: it cannot be read, or is wrong; says where.
    """
    try:
        return read_cameras(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise CliError(ExitCode.USAGE, f"The file {path} cannot be read ({error}); name another one.") from None
    except CameraFileError as error:
        raise CliError(ExitCode.USAGE, f"{path}: {error}") from None


def _pairs(context: click.Context, option: click.Parameter, values: tuple[str, ...]) -> dict[str, Any]:
    """``NAME=VALUE`` with JSON values; a value that is no JSON is a text."""
    found: dict[str, Any] = {}
    for text in values:
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise click.BadParameter(f"{text!r} has not the form NAME=VALUE.", context, option)
        try:
            found[name] = json.loads(value)
        except (ValueError, RecursionError):
            found[name] = value
    return found


def job_options(function: F) -> F:
    """What a job may have besides its name and source."""
    options = (
        click.option("--stream", help="The Kinesis video stream; default: the name."),
        click.option("--endpoint", metavar="URL", help="Where the stream is; default: the service of the region."),
        click.option("--region", help="AWS region; default: the worker's."),
        click.option("--group", help="A site, for pause and resume of all its cameras."),
        click.option("--label", "labels", multiple=True, help="What a worker must have to get the camera; repeatable."),
        click.option("--secret", help="Name of user and password in the worker's file of secrets."),
        click.option("--description", help="At most 512 characters."),
        click.option("--option", "options", multiple=True, callback=_pairs, metavar="NAME=VALUE",
                     help="retention_hours, spool, stall_s, mode, on_server_loss; repeatable."),
        click.option("--autorestart", "autorestart", multiple=True, callback=_pairs, metavar="NAME=VALUE",
                     help="restart, attempt_count, delay, backoff, delay_max, jitter; repeatable."),
        click.option("--paused", "is_paused", is_flag=True, help="Hold it back until it is resumed."),
    )  # fmt: skip
    for option in reversed(options):
        function = option(function)
    return function


def _fields(options: Mapping[str, Any]) -> dict[str, Any]:
    fields = {name: value for name, value in options.items() if value not in (None, (), {}) and name != "is_paused"}
    if "labels" in fields:
        fields["labels"] = [*fields["labels"]]
    return {**fields, "status": "pause"} if options["is_paused"] else fields


def _source(text: str, secret: str | None) -> dict[str, Any]:
    try:
        return source_of(text, secret)
    except ValueError as error:
        raise CliError(ExitCode.USAGE, str(error)) from None


@click.command(
    epilog=f"""{EXAMPLES}
  kvspic fleet add front-door rtsp://10.0.0.9/1 --secret door --group yard
  kvspic fleet add desk /dev/video0 --label has-desk-camera
  kvspic fleet add archive recording.mp4 --option retention_hours=720
  kvspic fleet add probe test --option spool=true --autorestart attempt_count=null
"""
)
@click.argument("name")
@click.argument("source")
@job_options
@json_option
@client_options
def add(fleet: FleetClient, name: str, source: str, secret: str | None, is_json: bool, **options: Any) -> None:
    """Add the camera NAME, which sends SOURCE: an rtsp:// URL, the path of a file, a device, or test.

    A path or a device is one of the worker's machine. Keep a password out of the URL: --secret names it in the file
    of the worker, and the server never has it.
    """
    job = fleet.add(name, _source(source, secret), **_fields(options))
    _print_changed(job, is_json)


@click.command()
@click.argument("name")
@click.argument("source")
@job_options
@json_option
@client_options
def replace(fleet: FleetClient, name: str, source: str, secret: str | None, is_json: bool, **options: Any) -> None:
    """Give the camera NAME another description: it stops and begins again as a new version.

    What is not named here gets its default, not what it was. `***` in the place of the password in SOURCE keeps the
    password.
    """
    job = fleet.replace(name, _source(source, secret), **_fields(options))
    _print_changed(job, is_json)


def _print_changed(job: Job, is_json: bool) -> None:
    if is_json:
        as_json(job.raw)
    else:
        click.echo(f"{job.name} is {job.status} (version {job.version}, id {job.id})")


@click.command(
    epilog="""\b
The file:
  defaults: {group: yard, options: {retention_hours: 48}}
  cameras:
    - {name: front-door, source: "rtsp://10.0.0.9/1", secret: door}
    - {name: gate, source: "rtsp://10.0.0.10/1", stream: gate-2026}
"""
)
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--group", help="The group of all cameras of the file that name none.")
@click.option("--prune", is_flag=True, help="Delete the cameras that the file does not have: of --group, else all.")
@click.option("--yes", is_flag=True, help="Do not ask before --prune without --group deletes cameras.")
@click.option("--dry-run", is_flag=True, help="Say what would change, and change nothing.")
@json_option
@client_options
def apply(fleet: FleetClient, file: Path, group: str | None, prune: bool, is_json: bool, **flags: bool) -> None:
    """Make the fleet as FILE says: new cameras are added, changed ones replaced, others left alone.

    All of it happens or nothing. The file is YAML or JSON.
    """
    bodies, dry_run = read_camera_file(file), flags["dry_run"]
    if prune and group is None and not (flags["yes"] or dry_run):
        _ask_before_pruning(fleet.apply(bodies, group=None, prune=True, is_trial=True).deleted, file)
    done = fleet.apply(bodies, group=group, prune=prune, is_trial=dry_run)
    counts = {name: getattr(done, name) for name in ("created", "replaced", "unchanged", "deleted")}
    if is_json:
        as_json(counts)
        return
    would = "would be " if dry_run else ""
    click.echo(", ".join(f"{count} {would}{name}" for name, count in counts.items()))


def _ask_before_pruning(count: int, file: Path) -> None:
    """Without a group every camera of the fleet that the file does not have is deleted."""
    if not count:
        return
    what = f"{count} {'camera' if count == 1 else 'cameras'} of all groups that {file} does not have would be deleted."
    if not sys.stdin.isatty():
        raise click.UsageError(f"{what} Add --yes to do so, or --group NAME to delete only within one group.")
    click.confirm(f"{what} Go on?", abort=True, err=True)


@click.command(name="list")
@click.option("--status", help="Only cameras of this status, such as failure.")
@click.option("--group", help="Only cameras of this group.")
@click.option("--label", help="Only cameras with this label.")
@click.option("--handler", help="Only cameras that this worker carries.")
@click.option("--limit", type=click.IntRange(1), help="At most so many; default: all.")
@json_option
@client_options
def list_jobs(fleet: FleetClient, limit: int | None, is_json: bool, **query: str | None) -> None:
    """List cameras in the order of their creation."""
    rows = []
    for job in fleet.jobs(**query):
        if is_json:
            as_json(job.raw)
        rows.append(job)
        if len(rows) == limit:
            break
    if is_json:
        return
    names = ("NAME", "STATUS", "FOR", "WORKER", "GROUP", "STATE")
    print_table(
        names, ([j.name, j.status, since(j.status_since), j.handler or "-", j.group or "-", health(j)] for j in rows)
    )


@click.command()
@click.argument("name")
@json_option
@client_options
def show(fleet: FleetClient, name: str, is_json: bool) -> None:
    """Show all about the camera NAME (or the id of a job)."""
    job = fleet.get(name)
    if is_json:
        as_json(job.raw)
        return
    for title, value in _facts(job):
        click.echo(f"{title:<13}{value}")


def _facts(job: Job) -> list[tuple[str, str]]:
    restart = job.autorestart
    place = (job.stream, str(job.raw.get("region", "")), str(job.raw.get("endpoint", "")))
    tries = f"{restart.get('current_attempt')} of {restart.get('attempt_count') or 'any number of'} attempts"
    facts = [
        ("Name", job.name),
        ("Status", f"{job.status} for {since(job.status_since)}"),
        ("State", health(job)),
        ("Worker", job.handler or ""),
        ("Source", f"{job.source.get('type')} {job.source.get('url')}"),
        ("Secret", job.source.get("secret") or ""),
        ("Stream", " ".join(filter(None, place))),
        ("Group", job.group or ""),
        ("Labels", ", ".join(job.labels)),
        ("Options", _pair_words(job.options)),
        ("Autorestart", f"{restart.get('status')}, {tries}"),
        ("Fenced", "" if job.fenced else "no: it goes on without a lease when no server answers"),
        ("Figures", _pair_words(job.stats or {})),
        ("Id", f"{job.id}, version {job.version}, epoch {job.epoch}"),
        ("Created", _time(job.created)),
        ("About", job.description),
    ]
    return [(title, value) for title, value in facts if value]


def _pair_words(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {json.dumps(value)}" for name, value in values.items() if value is not None)


def _time(moment: datetime | None) -> str:
    return "" if moment is None else moment.isoformat(sep=" ", timespec="seconds")
