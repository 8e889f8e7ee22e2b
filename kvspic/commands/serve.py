"""``kvspic serve``: the local endpoint as a program."""

from __future__ import annotations

import asyncio
import contextlib
import re
import secrets
import signal
import socket
import ssl
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import click

from kvspic.commands.endpoint import local_endpoint
from kvspic.commands.exits import CliError, ExitCode
from kvspic.commands.options import EXAMPLES, data_dir_option, verbose_option
from kvspic.commands.page import open_page
from kvspic.commands.tls import tls_context

if TYPE_CHECKING:
    from kvspic.local.faults import Fault
    from kvspic.local.server import LocalEndpoint
    from kvspic.local.settings import Settings

__all__ = ["parse_key", "serve"]

PORT = 8080


def parse_key(text: str) -> tuple[str, str]:
    """Return access key and secret of ``ID:SECRET``; the error names what is wrong without quoting either.

    Raises:
        UsageError: a part is missing.
    """
    access_key, _, secret = text.partition(":")
    if not access_key or not secret:
        raise click.UsageError("An access key is written as ID:SECRET, both of them not empty.")
    return access_key, secret


def _check_account(context: click.Context, parameter: click.Parameter, text: str) -> str:
    if re.fullmatch("[0-9]{12}", text) is None:
        raise click.BadParameter("an account has 12 digits")
    return text


def _check_public_url(context: click.Context, parameter: click.Parameter, text: str | None) -> str | None:
    try:
        parts = urlsplit(text or "")
        is_url = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.path in ("", "/")
    except ValueError:  # such as http://[::1
        is_url = False
    if text is not None and not is_url:
        raise click.BadParameter("write it as in http://camera-lab:8080, without a path")
    return text


def _check_region(context: click.Context, parameter: click.Parameter, text: str | None) -> str | None:
    if text is not None and re.fullmatch("[a-z0-9-]{1,32}", text) is None:
        raise click.BadParameter("a region is written as in us-east-1")
    return text


@click.command(
    epilog=f"""{EXAMPLES}
  kvspic serve
  printf -- "- {{kind: cut, after_bytes: 9000, count: 1}}" > faults.yaml; kvspic serve --faults faults.yaml
  kvspic serve --open
  kvspic serve --port 0 --data-dir /var/lib/kvspic
  kvspic serve --quotas off
  kvspic serve --check ./kvspic-data
  kvspic serve --tls-self-signed ./certificates
  KVSPIC_ACCESS_KEY=AKEXAMPLE:secret kvspic serve
  aws kinesisvideo list-streams --endpoint-url http://127.0.0.1:8080
"""
)
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option(
    "--port", default=PORT, show_default=True, type=click.IntRange(0, 65535), help="Port; 0 takes a free one."
)
@click.option(
    "--tls-cert", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE",
    help="Speak TLS with this certificate, PEM, the chain included; data endpoints are https then.",
)  # fmt: skip
@click.option(
    "--tls-key", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE", help="Its private key, PEM."
)
@click.option(
    "--tls-self-signed", type=click.Path(file_okay=False, path_type=Path), metavar="DIR",
    help="Speak TLS with a certificate for localhost and this host's name, from an authority that is made and kept in "
    "DIR; prints the variables that make clients trust it.",
)  # fmt: skip
@click.option(
    "--region", metavar="NAME", callback=_check_region,
    help="Region of ARNs, and the only one that signatures may name; default: the signature's, else us-east-1.",
)  # fmt: skip
@click.option(
    "--account", default="123456789012", show_default=True, metavar="DIGITS", callback=_check_account,
    help="Account of ARNs.",
)  # fmt: skip
@click.option(
    "--insecure", "is_insecure", is_flag=True,
    help="Listen beyond loopback without access keys: everyone who reaches the port may do everything.",
)  # fmt: skip
@click.option(
    "--allow-origin", "allow_origins", multiple=True, metavar="ORIGIN",
    help="A site whose pages may call the endpoint from a browser, such as http://localhost:3000; may be repeated.",
)  # fmt: skip
@click.option(
    "--public-url", metavar="URL", callback=_check_public_url,
    help="The address that clients use where it differs from the one that they call, as behind a container's port; "
    "GetDataEndpoint answers with it.",
)  # fmt: skip
@click.option(
    "--quotas", default="on", show_default=True, type=click.Choice(["on", "off"]),
    help="Whether the published quotas of the service hold: calls a second, connections, fragments a second, and so on "
    "(docs/endpoint.md). Without them the endpoint takes what the service would refuse.",
)  # fmt: skip
@click.option(
    "--beyond", type=click.Choice(["refuse", "slow", "drop-silently"]), default="slow", show_default=True,
    help="What becomes of more than 5 fragments a second and of fragments shorter than 1 s; what the service itself "
    "does with them is not published.",
)  # fmt: skip
@click.option(
    "--sessions-max", type=click.IntRange(0), metavar="N",
    help="How many PutMedia connections a stream may have at a time, as the service 1 by default; 0: any number.",
)  # fmt: skip
@click.option(
    "--bandwidth-max", type=click.IntRange(0), default=0, metavar="BYTES",
    help="Read an upload no faster than so many bytes a second; the service's quota is 12500000.",
)  # fmt: skip
@data_dir_option
@click.option(
    "--check", "checked", type=click.Path(file_okay=False, path_type=Path), metavar="DATA_DIR",
    help="Serve nothing: read all that DATA_DIR holds, name what is damaged, and end with 6 if anything is.",
)  # fmt: skip
@click.option(
    "--durability", type=click.Choice(["process", "disk"]), default="process", show_default=True,
    help="What a persisted fragment survives: the death of this process, or a power cut.",
)  # fmt: skip
@click.option(
    "--access-key", "keys", multiple=True, metavar="ID:SECRET", envvar="KVSPIC_ACCESS_KEY", show_envvar=True,
    help="Take only requests signed with it; may be repeated. Others see a command line, so prefer the variable.",
)  # fmt: skip
@click.option(
    "--images-dir", type=click.Path(file_okay=False, path_type=Path), metavar="DIR",
    help="Write the pictures of streams whose image generation is enabled below DIR, in place of a bucket.",
)  # fmt: skip
@click.option(
    "--faults", "faults_file", metavar="FILE", type=click.Path(dir_okay=False, path_type=Path),
    help="Let go wrong what this YAML or JSON file says, e.g. - {kind: restart, begin_s: 10, delay_s: 3}; its kinds "
    "are refuse, unreachable, answer, delay, cut, silence, stall, throttle, error-ack, kms-key, delay-acks, "
    "reorder-acks, drop-acks, expire-tokens and restart (docs/faults.md).",
)  # fmt: skip
@click.option("--open", "opens", is_flag=True, help="Show the endpoint's page in a browser.")
@verbose_option
def serve(keys: tuple[str, ...], faults_file: Path | None, opens: bool, **options: Any) -> None:
    """Run an endpoint that speaks the Kinesis Video Streams API, with streams on this machine's disk.

    Prints one line with its URL when it is ready. Ctrl-C or SIGTERM ends it; what was persisted stays. It is as strict
    as the service: docs/endpoint.md lists the rules, and which option lifts which.
    """
    checked = options.pop("checked")
    if checked is not None:
        _check(checked)
        return
    made = local_endpoint()
    from kvspic.local.fault_socket import ScriptedFaults  # needs aiohttp, which local_endpoint has found
    from kvspic.local.gate import allow_descriptors

    allow_descriptors()
    settings, (context, notes) = _settings(options), _tls(options)
    token = secrets.token_urlsafe(16) if keys else None
    endpoint = made(
        access_keys=dict(map(parse_key, keys)) or None,
        page_token=token,
        faults=ScriptedFaults(_faults(faults_file)),
        settings=settings,
        ssl_context=context,
        **options,
    )
    if options["is_insecure"]:
        click.echo(f"kvspic: everyone who reaches {endpoint.host} may do everything here (--insecure).", err=True)
    asyncio.run(_serve(endpoint, notes, opens))


def _check(path: Path) -> None:
    """Print what is damaged in a data directory, and how much was looked at.

    Raises:
        CliError: something is damaged.
        StoreError: the directory is no data directory, or an endpoint uses it.
    """
    from kvspic.local.check import check

    report = check(path, click.echo)
    click.echo(f"{path}: {report.fragments} fragments in {report.files} files, {report.damaged} damaged")
    if report.without_checksum:
        click.echo(f"{report.without_checksum} of them have no checksum: an earlier version stored them")
    if report.damaged or report.index_problems:
        what = f"{report.damaged} fragments are damaged" if report.damaged else "The index is damaged"
        text = f"{what}: put back copies of the files that are named above; until then these fragments are left out."
        raise CliError(ExitCode.STORE, text)


def _settings(options: dict[str, Any]) -> Settings:
    """Take the options about limits out of ``options`` and make settings of them."""
    from kvspic.local.quotas import Beyond
    from kvspic.local.settings import Settings

    settings = Settings() if options.pop("quotas") == "on" else Settings.unlimited()
    quotas = replace(settings.quotas, beyond=Beyond(options.pop("beyond")), bytes_per_s=options.pop("bandwidth_max"))
    sessions_max = options.pop("sessions_max")
    if sessions_max is not None:
        quotas = replace(quotas, sessions_max=sessions_max)
    return replace(settings, quotas=quotas, account=options.pop("account"))


def _tls(options: dict[str, Any]) -> tuple[ssl.SSLContext | None, tuple[str, ...]]:
    """Take the options about TLS out of ``options``; None for plain HTTP. The lines tell clients what to trust.

    Raises:
        UsageError: the files cannot be used, or one of two is missing.
        LocalEndpointError: the certificate cannot be made.
    """
    notes: tuple[str, ...] = ()
    certificate, key, folder = (options.pop(name) for name in ("tls_cert", "tls_key", "tls_self_signed"))
    if folder is not None:
        if certificate is not None or key is not None:
            raise click.UsageError("Give either --tls-self-signed or --tls-cert with --tls-key, not both.")
        from kvspic.local.certificates import self_signed

        made = self_signed(folder, socket.gethostname(), datetime.now(timezone.utc))
        certificate, key = made.certificate, made.key
        notes = made.environment
    return tls_context(certificate, key), notes


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


async def _serve(endpoint: LocalEndpoint, notes: tuple[str, ...], opens: bool) -> None:
    """Serve until a signal; SIGINT ends as cleanly as SIGTERM, also where a shell had it ignored."""

    def ready(url: str) -> None:
        click.echo("\n".join([f"kvspic endpoint at {url}", *notes]))
        page = f"{url}/" if endpoint.page_token is None else f"{url}/#token={endpoint.page_token}"
        if endpoint.page_token is not None:
            click.echo(f"kvspic page at {page}")
        if opens:
            open_page(page)

    serving = asyncio.ensure_future(endpoint.serve_forever(ready))
    with contextlib.suppress(NotImplementedError, RuntimeError, ValueError):
        asyncio.get_running_loop().add_signal_handler(signal.SIGINT, serving.cancel)
    try:
        await serving
    except asyncio.CancelledError:
        raise KeyboardInterrupt from None
