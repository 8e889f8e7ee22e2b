"""``kvspic fleet check, export, import``: a store looked into directly, without a server."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import click

from kvspic.commands.exits import CliError, ExitCode
from kvspic.commands.fleet_client import as_json, json_option
from kvspic.commands.fleet_serve import DEFAULT_STORE, need_packages, store_url
from kvspic.commands.options import EXAMPLES, verbose_option
from kvspic.fleet.errors import BadFieldError

__all__ = ["check", "export_file", "import_file"]

F = TypeVar("F", bound=Callable[..., Any])
BATCH = 500
LINE_MAX = 1024 * 1024


def _store_option(function: F) -> F:
    return click.option(
        "--store", default=DEFAULT_STORE, show_default=True, envvar="KVSPIC_FLEET_STORE", show_envvar=True,
        metavar="PATH|URL", help="A SQLite file, or postgresql+psycopg://USER@HOST/NAME.",
    )(function)  # fmt: skip


def _existing(store: str) -> str:
    """The URL of a store that is there: a command that only looks must not make an empty one."""
    url = store_url(store)
    if "://" not in store and not Path(store).is_file():
        text = f"There is no store {store}: name one with --store (`fleet run cameras.yaml` keeps it in cameras.db)."
        raise CliError(ExitCode.STORE, text)
    return url


@click.command()
@_store_option
@json_option
@verbose_option
def check(store: str, is_json: bool) -> None:
    """Prove that every camera's log leads to its status, over allowed changes only.

    A server may run meanwhile. Exit code 1, with a line for each fault, where a log and a status disagree.
    """
    need_packages("sqlalchemy")
    from kvspic.fleet import service
    from kvspic.fleet.store import open_store

    opened = open_store(_existing(store), is_server=False)
    jobs, faults, after = 0, [], ""
    try:
        while True:
            batch = opened.run(service.check_logs, after=after, limit=BATCH)
            jobs += batch.jobs
            faults += batch.faults
            if batch.next is None:
                break
            after = batch.next
    finally:
        opened.close()
    if is_json:
        as_json({"jobs": jobs, "faults": faults})
    else:
        for fault in faults:
            click.echo(fault)
        click.echo(f"{jobs} cameras, {len(faults)} faults")
    if faults:
        text = f"The logs of {store} do not lead to the statuses: keep a copy of the store, and report it."
        raise CliError(ExitCode.INCOMPLETE, text)


@click.command(
    name="export",
    epilog=f"""{EXAMPLES}
  kvspic fleet export fleet.jsonl
  kvspic fleet import fleet.jsonl --store postgresql+psycopg://fleet@db/fleet
""",
)
@click.argument("file", type=click.Path(path_type=Path))
@_store_option
@json_option
@verbose_option
def export_file(file: Path, store: str, is_json: bool) -> None:
    """Write all of a store to FILE: jobs, logs, settings; end its server first.

    The file has the passwords of sources: only its owner may read it.
    """
    need_packages("sqlalchemy")
    from kvspic.fleet import service
    from kvspic.fleet.store import open_store

    opened = open_store(_existing(store))
    count, after = 0, ""
    try:
        with _written(file) as out:
            while True:
                page = opened.run(service.export_page, after=after, limit=BATCH)
                for row in page["rows"]:
                    out.write(json.dumps(row, ensure_ascii=False) + "\n")
                    count += 1
                if page["next"] is None:
                    break
                after = page["next"]
    finally:
        opened.close()
    _say_count(count, f"{count} rows to {file}", is_json)


def _written(file: Path) -> Any:
    try:
        return os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8")
    except FileExistsError:
        raise CliError(ExitCode.USAGE, f"The file {file} is there already: name another one.") from None
    except OSError as error:
        raise CliError(ExitCode.USAGE, f"The file {file} cannot be written ({error}); name another one.") from None


@click.command(name="import")
@click.argument("file", type=click.Path(path_type=Path))
@_store_option
@json_option
@verbose_option
def import_file(file: Path, store: str, is_json: bool) -> None:
    """Fill an empty store with what `kvspic fleet export` wrote: from SQLite to PostgreSQL, or back.

    Cameras that were carried are handed out again; the logs go on.
    """
    need_packages("sqlalchemy")
    from kvspic.fleet import service
    from kvspic.fleet.store import open_store

    batches = _batches(file)
    first = next(batches, None)
    if first is None:
        raise CliError(ExitCode.USAGE, f"The file {file} is empty: name one that `kvspic fleet export` wrote.")
    opened = open_store(store_url(store))
    try:
        count = opened.run(service.import_rows, first, is_first=True)
        for rows in batches:
            count += opened.run(service.import_rows, rows, is_first=False)
    except BadFieldError as error:
        raise CliError(ExitCode.USAGE, f"{file}: {error}") from None
    finally:
        opened.close()
    _say_count(count, f"{count} rows from {file}", is_json)


def _say_count(count: int, words: str, is_json: bool) -> None:
    if is_json:
        as_json({"rows": count})
    else:
        click.echo(words)


def _batches(file: Path) -> Iterator[list[dict[str, Any]]]:
    """The rows of a file, some at a time."""
    rows: list[dict[str, Any]] = []
    try:
        with file.open(encoding="utf-8") as lines:
            for number, line in enumerate(iter(lambda: lines.readline(LINE_MAX), ""), 1):
                row = _row(file, number, line)
                rows.append(row)
                if len(rows) == BATCH:
                    yield rows
                    rows = []
    except (OSError, UnicodeDecodeError) as error:
        raise CliError(ExitCode.USAGE, f"The file {file} cannot be read ({error}); name another one.") from None
    if rows:
        yield rows


def _row(file: Path, number: int, line: str) -> dict[str, Any]:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        row = None
    if not isinstance(row, dict):
        text = f"{file}, line {number}: this is no row of an export; name a file that `kvspic fleet export` wrote."
        raise CliError(ExitCode.USAGE, text)
    return row
