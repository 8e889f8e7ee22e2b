"""``kvspic bench agent``: load for the controllers that call."""

from __future__ import annotations

import asyncio
import functools
import os
import sys
from typing import Any

import click

from kvspic.commands.bench_common import PEM, exit_of, on_signals, read_security, require_extra
from kvspic.commands.options import EXAMPLES, verbose_option

__all__ = ["agent"]


@click.command(
    epilog=f"""{EXAMPLES}
  kvspic bench agent
  kvspic bench agent --listen 0.0.0.0:7761 --token-file token --tls-cert agent.pem --tls-key agent.key
  kvspic bench agent --listen 0.0.0.0:7761 --tls-cert agent.pem --tls-key agent.key --client-ca ca.pem
"""
)
@click.option("--listen", default="127.0.0.1:7761", show_default=True, metavar="HOST:PORT", help="Port 0: a free one.")
@click.option("--token-file", type=PEM, metavar="FILE", help="A token that every call must bring.")
@click.option("--tls-cert", type=PEM, metavar="FILE", help="Speak TLS with this certificate, PEM, the chain included.")
@click.option("--tls-key", type=PEM, metavar="FILE", help="Its private key, PEM.")
@click.option(
    "--client-ca", type=PEM, metavar="FILE",
    help="Take only controllers with a certificate of this authority (mutual TLS).",
)  # fmt: skip
@click.option(
    "--insecure", "is_insecure", is_flag=True,
    help="Listen beyond loopback without token or certificates: everyone who reaches the port may put load on this "
    "machine and use its AWS credentials for streams.",
)  # fmt: skip
@click.option(
    "--allow-command", "allows_command", is_flag=True,
    help="Run commands that a plan of the engine `command` names, as the agent's user.",
)  # fmt: skip
@click.option(
    "--until-stdin-closes", "follows_stdin", is_flag=True,
    help="End when standard input closes: for an agent that another program starts.",
)  # fmt: skip
@click.option("--clock-skew-ms", type=int, default=0, hidden=True, help="Added to the wall clock, for tests.")
@verbose_option
def agent(**options: Any) -> int:
    """Run load for the controllers that call, one run at a time, until Ctrl-C or SIGTERM.

    Prints one line with its address when it is ready.
    """
    require_extra()
    return asyncio.run(_serve(options))


async def _serve(options: dict[str, Any]) -> int:
    from kvspic.bench.agent import AgentServer
    from kvspic.bench.channel import BenchError
    from kvspic.bench.launch import LISTENS
    from kvspic.bench.load import make_workload
    from kvspic.bench.plan import parse_plan

    security = read_security(
        options["token_file"], options["tls_cert"], options["tls_key"], options["client_ca"],
        is_insecure=options["is_insecure"],
    )  # fmt: skip
    make = functools.partial(make_workload, allows_command=options["allows_command"])
    server = AgentServer(parse_plan, make, options["clock_skew_ms"] * 1_000_000)
    try:
        address = await server.start(options["listen"], security)
    except BenchError as error:
        raise exit_of(error) from None
    if security.is_insecure:
        click.echo(f"kvspic: everyone who reaches {address} may put load on this machine (--insecure).", err=True)
    click.echo(f"{LISTENS}{address}")
    sys.stdout.flush()
    text, code = await _until_end(options["follows_stdin"])
    await server.end(text)
    return code


async def _until_end(follows_stdin: bool) -> tuple[str, int]:
    """Wait for a signal, or the end of standard input; return why the run ends, and the exit code."""
    loop = asyncio.get_running_loop()
    ended: asyncio.Future[tuple[str, int]] = loop.create_future()

    def end(text: str, code: int) -> None:
        if not ended.done():
            ended.set_result((text, code))

    on_signals(lambda name, code: end(f"The agent was ended by {name}.", code))
    if follows_stdin:
        from kvspic.threads import in_thread

        waiting = asyncio.ensure_future(in_thread(_stdin_closed))
        waiting.add_done_callback(lambda _: end("The program that started the agent has ended.", 0))
    return await ended


def _stdin_closed() -> None:
    while os.read(sys.stdin.fileno(), 4096):
        pass
