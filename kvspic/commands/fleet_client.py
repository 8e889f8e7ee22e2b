"""What the commands of ``kvspic fleet`` share: the way to the server, and the forms of what they print."""

from __future__ import annotations

import functools
import json
import ssl
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, TypeVar

import click

from kvspic.commands.exits import CliError, ExitCode
from kvspic.fleet.calls import Job
from kvspic.fleet.client import FleetClient

__all__ = [
    "DEFAULT_SERVER",
    "as_json",
    "client_options",
    "health",
    "is_in_trouble",
    "json_option",
    "partly",
    "print_table",
    "read_token",
    "since",
    "tls_of",
]

F = TypeVar("F", bound=Callable[..., Any])
DEFAULT_SERVER = "http://127.0.0.1:8090"
_ENDS = ((120, 1, "s"), (7200, 60, "min"), (172_800, 3600, "h"))


def read_token(path: Path | None) -> str | None:
    """Return the token of a file's first line.

    Raises:
        UsageError: the file cannot be read or is empty.
    """
    if path is None:
        return None
    try:
        words = path.read_text(encoding="utf-8").split()
    except (OSError, UnicodeDecodeError) as error:
        raise click.UsageError(f"The token file {path} cannot be read ({error}); name another one.") from None
    if not words:
        raise click.UsageError(f"The token file {path} is empty; put the token into its first line.")
    return words[0]


def tls_of(path: Path | None) -> ssl.SSLContext | None:
    """Return what trusts the certificates of a file; None: the system's authorities.

    Raises:
        UsageError: the file has none.
    """
    if path is None:
        return None
    try:
        return ssl.create_default_context(cafile=str(path))
    except (OSError, ssl.SSLError) as error:
        raise click.UsageError(f"The file of authorities {path} cannot be used ({error}); name another one.") from None


def client_options(function: F) -> F:
    """``--server``, ``--token-file`` and ``--ca``: the command gets ``fleet``, a client."""

    @functools.wraps(function)
    def called(server: str, token: str | None, token_file: Path | None, ca: Path | None, **options: Any) -> Any:
        try:
            client = FleetClient(server, token=read_token(token_file) or token, tls=tls_of(ca))
        except ValueError as error:
            raise click.UsageError(str(error)) from None
        with client:
            return function(client, **options)

    for option in (
        click.option("--ca", type=click.Path(path_type=Path), help="Authorities to trust for https: a PEM file."),
        click.option("--token-file", type=click.Path(path_type=Path), help="A file with the token for the server."),
        click.option("--token", envvar="KVSPIC_FLEET_TOKEN", hidden=True),
        click.option(
            "--server", default=DEFAULT_SERVER, show_default=True, envvar="KVSPIC_FLEET", show_envvar=True,
            metavar="URL[,URL]", help="The fleet server; several are tried in turn.",
        ),
    ):  # fmt: skip
        called = option(called)
    return called  # type: ignore[return-value]


def json_option(function: F) -> F:
    """``--json``."""
    return click.option("--json", "is_json", is_flag=True, help="Print JSON; of several things one object a line.")(
        function
    )


def as_json(value: Any) -> None:
    """Print a value in one line."""
    click.echo(json.dumps(value, ensure_ascii=False))


def print_table(names: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print columns that are as wide as they must be; nothing is cut, so that a line can be searched."""
    lines = [list(names), *([_one_line(cell) for cell in row] for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(names))]
    for line in lines:
        click.echo("  ".join(cell.ljust(width) for cell, width in zip(line, widths)).rstrip())


def _one_line(text: str) -> str:
    return " ".join(text.split())


def since(moment: datetime | None, now: datetime | None = None) -> str:
    """Return how long ago something was, in one word."""
    if moment is None:
        return "-"
    seconds = max(0.0, ((now or datetime.now(timezone.utc)) - moment).total_seconds())
    for limit, unit, name in _ENDS:
        if seconds < limit:
            return f"{int(seconds // unit)} {name}"
    return f"{int(seconds // 86_400)} days"


def is_in_trouble(job: Job) -> bool:
    """Return whether a camera is carried, and its worker says that no pictures arrive now."""
    return job.status == "in_progress" and (job.stats or {}).get("health") is False


def health(job: Job) -> str:
    """Return in words what a reader must know about a job besides its status."""
    if job.error:
        return f"{job.error['class']}: {job.error['text']}"
    stats: Mapping[str, Any] = job.stats or {}
    if job.status != "in_progress" or not stats:
        return ""
    words = [str(stats[name]) for name in ("source", "reason") if stats.get(name)]
    if len(words) == 2 and words[0] == "ok":  # the source is; what follows is wrong
        del words[0]
    if isinstance(stats.get("fps"), (int, float)):
        words.append(f"{stats['fps']:g} fps")
    if isinstance(stats.get("kbps"), (int, float)):
        words.append(f"{stats['kbps']:g} kbit/s")
    return ", ".join(words)


def partly(failures: Sequence[Exception], count: int) -> CliError | None:
    """Return what a command ends with of which ``count`` parts some failed: the first one's code, if it was all."""
    from kvspic.commands.exits import explain

    if not failures:
        return None
    known = explain(failures[0])
    code = known.code if known is not None and len(failures) == count else ExitCode.INCOMPLETE
    return CliError(code, "; ".join(dict.fromkeys(str(failure) for failure in failures)))
