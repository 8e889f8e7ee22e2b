"""``kvspic fleet serve, worker``: the processes of a fleet."""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import click

from kvspic.commands.exits import CliError, ExitCode
from kvspic.commands.fleet_client import DEFAULT_SERVER, as_json, json_option, read_token
from kvspic.commands.options import EXAMPLES, show_warnings, verbose_option
from kvspic.commands.page import open_page
from kvspic.commands.tls import tls_context
from kvspic.fleet.auth import NO_TOKENS, AuthError, Tokens, read_tokens
from kvspic.fleet.calls import server_urls

if TYPE_CHECKING:
    from kvspic.fleet.server import FleetServer

__all__ = ["DEFAULT_STORE", "host_port", "need_packages", "serve", "store_url", "worker"]

DEFAULT_STORE = "kvspic-fleet.db"


def need_packages(*names: str) -> None:
    """Say in words which package of the extra ``fleet`` is missing, and how to get it.

    Raises:
        CliError: one is missing.
    """
    for name in names:
        if importlib.util.find_spec(name) is None:
            text = f"The fleet needs {name}, which is not installed: run `pip install 'kvspic[fleet]'`."
            raise CliError(ExitCode.USAGE, text)


def store_url(text: str) -> str:
    """Return the URL of a store: a plain path is a SQLite file."""
    return text if "://" in text else f"sqlite:///{text}"


def host_port(context: click.Context, option: click.Parameter, value: str) -> tuple[str, int]:
    """Read HOST:PORT, as a callback of an option."""
    try:
        parts = urlsplit(f"//{value}")
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port = None, None
    if not host or port is None:
        raise click.BadParameter(f"{value!r} has not the form HOST:PORT, as 127.0.0.1:8090.", context, option)
    return host, port


def _tokens(path: Path | None) -> Tokens:
    if path is None:
        return NO_TOKENS
    try:
        return read_tokens(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise click.UsageError(f"The file of tokens {path} cannot be read ({error}); name another one.") from None
    except AuthError as error:
        raise CliError(ExitCode.USAGE, f"{path}: {error}") from None


@click.command(
    epilog=f"""{EXAMPLES}
  kvspic fleet serve                                        SQLite in ./{DEFAULT_STORE}, on this machine only
  kvspic fleet serve --store postgresql+psycopg://fleet@db/fleet --listen 0.0.0.0:8090 --tokens tokens

\b
The file of tokens has one a line: TOKEN ROLE, with the role admin, viewer or handler. A handler's line may end with
labels and a prefix of names: TOKEN handler yard,gpu name=gateway-
"""
)
@click.option(
    "--store", default=DEFAULT_STORE, show_default=True, envvar="KVSPIC_FLEET_STORE", show_envvar=True,
    metavar="PATH|URL", help="A SQLite file, or postgresql+psycopg://USER@HOST/NAME for several servers.",
)  # fmt: skip
@click.option(
    "--listen", default="127.0.0.1:8090", show_default=True, callback=host_port, metavar="HOST:PORT",
    help="Where to listen; port 0 takes a free one. Beyond loopback --tokens is needed.",
)  # fmt: skip
@click.option("--tokens", "tokens_file", type=click.Path(path_type=Path), help="Who may call: a file of tokens.")
@click.option("--tls-cert", type=click.Path(path_type=Path), help="Speak TLS with this certificate (PEM).")
@click.option("--tls-key", type=click.Path(path_type=Path), help="The certificate's key.")
@click.option(
    "--endpoint", metavar="URL", help="Where the page finds video of jobs that name no endpoint; default: AWS."
)
@click.option("--region", help="The same for their region.")
@click.option("--test-clock", "has_test_clock", is_flag=True, help="Time stands until POST /v1/test/clock moves it.")
@click.option("--open", "opens", is_flag=True, help="Show the fleet's page in a browser.")
@json_option
@verbose_option
def serve(store: str, listen: tuple[str, int], tokens_file: Path | None, **options: Any) -> None:
    """Run a server of the fleet: it keeps the jobs, hands them to workers and notices lost workers.

    Prints one line with its URL when it is ready. Ctrl-C or SIGTERM ends it; cameras go on meanwhile, and workers wait
    for it, or go to another server over the same PostgreSQL database.
    """
    need_packages("aiohttp", "sqlalchemy", "prometheus_client")
    show_warnings("kvspic.fleet")
    from kvspic.fleet.page import MediaPlace
    from kvspic.fleet.server import FleetServer
    from kvspic.fleet.store import open_store
    from kvspic.fleet.tasks import TestClock

    tokens, context = _tokens(tokens_file), tls_context(options["tls_cert"], options["tls_key"])
    clock = TestClock() if options["has_test_clock"] else None
    opened = open_store(store_url(store), clock=None if clock is None else lambda: clock.ms)
    place = MediaPlace(options["endpoint"], options["region"])
    try:
        server = FleetServer(opened, *listen, tokens=tokens, ssl_context=context, test_clock=clock, place=place)
        asyncio.run(_serve(server, opens=options["opens"], is_json=options["is_json"]))
    finally:
        opened.close()


async def _serve(server: FleetServer, *, opens: bool, is_json: bool) -> None:
    """Serve until a signal; SIGINT ends as cleanly as SIGTERM."""

    def ready(url: str) -> None:
        if is_json:
            as_json({"url": url})
        else:
            click.echo(f"kvspic fleet at {url}")
        if opens:
            open_page(f"{url}/")

    serving = asyncio.ensure_future(server.serve_forever(ready))
    with contextlib.suppress(NotImplementedError, RuntimeError, ValueError):
        asyncio.get_running_loop().add_signal_handler(signal.SIGINT, serving.cancel)
    try:
        await serving
    except asyncio.CancelledError:
        raise KeyboardInterrupt from None


@click.command(
    epilog=f"""{EXAMPLES}
  kvspic fleet worker --server http://fleet:8090 --slots 50
  kvspic fleet worker --server https://a:8090,https://b:8090 --token-file token --label yard --secrets cameras.secrets
"""
)
@click.option(
    "--server", default=DEFAULT_SERVER, show_default=True, envvar="KVSPIC_FLEET", show_envvar=True,
    metavar="URL[,URL]", help="The fleet's servers; the next one is asked when one does not answer.",
)  # fmt: skip
@click.option("--token", envvar="KVSPIC_FLEET_TOKEN", hidden=True)
@click.option("--token-file", type=click.Path(path_type=Path), help="A file with the token for the server.")
@click.option("--ca", type=click.Path(path_type=Path), help="Authorities to trust for https: a PEM file.")
@click.option("--slots", type=click.IntRange(1, 10_000), default=50, show_default=True, help="Cameras at a time.")
@click.option("--label", "labels", multiple=True, help="What this worker has, for cameras that need it; repeatable.")
@click.option("--name", default="", help="Unique in the fleet; default: the host's name.")
@click.option(
    "--processes", type=click.IntRange(1, 256), default=1, show_default=True,
    help="So many processes, each with its slots: NAME-1, NAME-2, ... One that dies is started again.",
)  # fmt: skip
@click.option("--secrets", type=click.Path(path_type=Path), help="Users and passwords of cameras: NAME: USER:PASSWORD.")
@click.option("--spool", type=click.Path(path_type=Path), help="Folder for frames that could not be sent yet.")
@click.option("--endpoint", metavar="URL", help="Where streams are of jobs that do not say it; default: AWS.")
@click.option("--region", help="The same for their region.")
@json_option
@verbose_option
def worker(
    server: str, token: str | None, token_file: Path | None, ca: Path | None, is_json: bool, **options: Any
) -> int:
    """Carry cameras that a server hands out, until SIGTERM or Ctrl-C; then hand them back to the other workers.

    It waits for its server when that does not answer. Exit codes: 0 all handed back, 4 another worker has this name,
    5 the token was refused, or every server is of another version. With --json it prints its handlers when it begins,
    and its exit code when it ends.
    """
    need_packages("aiohttp", "av")
    show_warnings("kvspic.fleet")
    from kvspic.fleet.processes import run_workers, worker_names
    from kvspic.fleet.worker import WorkerSettings

    names = ("slots", "labels", "name", "processes")
    given = {name: options[name] for name in names}
    settings = WorkerSettings(
        token=read_token(token_file) or token,
        ca_file=None if ca is None else str(ca),
        endpoint_url=options["endpoint"],
        region=options["region"],
        secrets=options["secrets"],
        spool=options["spool"],
    )
    try:
        urls = server_urls(server)
        if is_json:
            handlers = worker_names(given["name"], given["processes"])
            as_json({"handlers": handlers, "slots": given["slots"], "labels": given["labels"], "servers": urls})
        code = run_workers(urls, settings=settings, **given)
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    if is_json:
        as_json({"exit_code": code})
    return code
