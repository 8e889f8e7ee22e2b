"""Where a command's stream is: the embedded endpoint over a data directory, AWS, or a URL."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import click

from kvspic.commands.exits import CliError, ExitCode
from kvspic.local.errors import DataDirLockedError

if TYPE_CHECKING:
    from kvspic.local.server import LocalEndpoint

__all__ = ["DATA_DIR", "check_stream_name", "embedded", "endpoint_url", "local_endpoint"]

DATA_DIR = "kvspic-data"
NAME_MAX = 256
STARTING_S = 5.0  # between the lock of a data directory and its endpoint's name in it
NAME_OTHER = "_.-"


def check_stream_name(name: str) -> None:
    """Refuse a name that the service refuses (AWS API reference, CreateStream), before anything is opened.

    Raises:
        CliError: the name is too long, empty or has other characters.
    """
    if not 1 <= len(name) <= NAME_MAX:
        text = f"The stream name has {len(name)} characters: give it 1 to {NAME_MAX}."
        raise CliError(ExitCode.USAGE, text)
    wrong = sorted({char for char in name if not (char.isascii() and char.isalnum()) and char not in NAME_OTHER})
    if wrong:
        text = f"The stream name {name!r} has {' '.join(map(repr, wrong))} in it: use a-z A-Z 0-9 _ . and - only."
        raise CliError(ExitCode.USAGE, text)


@contextlib.contextmanager
def endpoint_url(endpoint: str, data_dir: Path, *, is_made: bool = True) -> Iterator[str | None]:
    """Give the URL for ``local``, ``aws`` (None: AWS by its own configuration) or a URL; ``local`` runs as long, unless
    another program serves the data directory: then it is that one's.

    Raises:
        CliError: it is none of these; without ``is_made``, which is for reading, the data directory does not exist;
            another command uses the directory, and will end before this one may.
        LocalEndpointError: the data directory cannot be used.
    """
    if endpoint == "aws":
        yield None
    elif endpoint != "local":
        yield _checked(endpoint)
    elif not is_made and not data_dir.exists():
        text = f"The data directory {data_dir} does not exist: put something first, or name the right --data-dir."
        raise CliError(ExitCode.STORE, text)
    else:
        with contextlib.ExitStack() as stack:
            yield _own_or_shared(stack, data_dir, is_reader=not is_made)


def _own_or_shared(stack: contextlib.ExitStack, data_dir: Path, *, is_reader: bool) -> str:
    """The URL of an endpoint that runs as long as ``stack``, or of the one that serves the directory already."""
    end = time.monotonic() + STARTING_S
    while True:
        try:
            return stack.enter_context(embedded(data_dir)).url
        except DataDirLockedError as error:
            if not error.url and time.monotonic() < end:
                time.sleep(0.1)  # the other one is starting
                continue
            if not error.url:
                raise
            if not (error.lasts or is_reader):
                text = (
                    f"The data directory {data_dir} is in use by another command, whose endpoint ends with it: wait "
                    "for that one, or run `kvspic serve`, which several commands may use at once."
                )
                raise CliError(ExitCode.STORE, text) from error
            click.echo(f"kvspic: {data_dir} is served at {error.url}; that endpoint is used.", err=True)
            return error.url


def embedded(data_dir: Path) -> contextlib.AbstractContextManager[LocalEndpoint]:
    """Run an endpoint in this process for the length of a ``with``."""
    return local_endpoint().run_in_thread(data_dir)


def local_endpoint() -> type[LocalEndpoint]:
    """Return the class of the local endpoint, which needs the extra ``local``.

    Raises:
        CliError: the extra is not installed.
    """
    try:
        from kvspic.local.server import LocalEndpoint
    except ImportError as error:
        raise _missing(error) from error
    return LocalEndpoint


def _missing(error: ImportError) -> Any:
    if (error.name or "").partition(".")[0] != "aiohttp":
        return error
    return CliError(
        ExitCode.USAGE, "The local endpoint needs aiohttp, which is not installed: run `pip install 'kvspic[local]'`."
    )


def _checked(endpoint: str) -> str:
    try:
        parts = urlsplit(endpoint)
        is_url = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        is_url = False
    if not is_url:
        text = "The endpoint is neither local nor aws nor a URL: write it as in --endpoint http://127.0.0.1:8080."
        raise CliError(ExitCode.USAGE, text)
    return endpoint
