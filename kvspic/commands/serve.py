"""``kvspic serve``: the local endpoint as a program."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from kvspic.commands.endpoint import local_endpoint
from kvspic.commands.options import EXAMPLES, data_dir_option, verbose_option

if TYPE_CHECKING:
    from kvspic.local.faults import Fault
    from kvspic.local.server import LocalEndpoint

__all__ = ["parse_key", "serve"]

PORT = 8080


def parse_key(text: str) -> tuple[str, str]:
    """Return access key and secret of ``ID:SECRET``; what is wrong is told without quoting either.

    Raises:
        UsageError: a part is missing.
    """
    access_key, _, secret = text.partition(":")
    if not access_key or not secret:
        raise click.UsageError("An access key is written as ID:SECRET, both of them not empty.")
    return access_key, secret


@click.command(
    epilog=f"""{EXAMPLES}
  kvspic serve
  printf -- "- {{kind: cut, after_bytes: 9000, count: 1}}" > faults.yaml; kvspic serve --faults faults.yaml
  kvspic serve --port 0 --data-dir /var/lib/kvspic
  KVSPIC_ACCESS_KEY=AKEXAMPLE:secret kvspic serve
  aws kinesisvideo list-streams --endpoint-url http://127.0.0.1:8080
"""
)
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option(
    "--port", default=PORT, show_default=True, type=click.IntRange(0, 65535), help="Port; 0 takes a free one."
)
@data_dir_option
@click.option(
    "--durability", type=click.Choice(["process", "disk"]), default="process", show_default=True,
    help="What a persisted fragment survives: the death of this process, or a power cut.",
)  # fmt: skip
@click.option(
    "--access-key", "keys", multiple=True, metavar="ID:SECRET", envvar="KVSPIC_ACCESS_KEY", show_envvar=True,
    help="Take only requests signed with it; may be repeated. Others see a command line, so prefer the variable.",
)  # fmt: skip
@click.option(
    "--faults", "faults_file", metavar="FILE", type=click.Path(dir_okay=False, path_type=Path),
    help="Let go wrong what this YAML or JSON file says, e.g. - {kind: restart, begin_s: 10, delay_s: 3}; its kinds "
    "are refuse, unreachable, answer, delay, cut, silence, stall, throttle, error-ack, delay-acks, reorder-acks, "
    "drop-acks, expire-tokens and restart (docs/faults.md).",
)  # fmt: skip
@verbose_option
def serve(
    host: str, port: int, data_dir: Path, durability: Any, keys: tuple[str, ...], faults_file: Path | None
) -> None:
    """Run an endpoint that speaks the Kinesis Video Streams API, with streams on this machine's disk.

    Prints one line with its URL when it is ready. Ctrl-C or SIGTERM ends it; what was persisted stays.
    """
    made = local_endpoint()
    from kvspic.local.fault_socket import ScriptedFaults  # needs aiohttp, which local_endpoint has found

    endpoint = made(
        data_dir=data_dir,
        host=host,
        port=port,
        durability=durability,
        access_keys=dict(map(parse_key, keys)) or None,
        faults=ScriptedFaults(_faults(faults_file)),
    )
    asyncio.run(_serve(endpoint))


def _faults(path: Path | None) -> list[Fault]:
    if path is None:
        return []
    from kvspic.local.fault_file import faults_of_text
    from kvspic.local.faults import FaultError

    try:
        return faults_of_text(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise click.UsageError(f"The file of faults cannot be read ({error}); name another one.") from None
    except FaultError as error:
        raise click.UsageError(f"{path}: {error}") from None


async def _serve(endpoint: LocalEndpoint) -> None:
    """Serve until a signal; SIGINT ends as cleanly as SIGTERM, also where a shell had it ignored."""
    serving = asyncio.ensure_future(endpoint.serve_forever(lambda url: click.echo(f"kvspic endpoint at {url}")))
    with contextlib.suppress(NotImplementedError, RuntimeError, ValueError):
        asyncio.get_running_loop().add_signal_handler(signal.SIGINT, serving.cancel)
    try:
        await serving
    except asyncio.CancelledError:
        raise KeyboardInterrupt from None
