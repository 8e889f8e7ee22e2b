"""``kvspic bench run``: one plan on all agents."""

from __future__ import annotations

import asyncio
import itertools
import secrets
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from kvspic.commands.bench_common import PEM, exit_of, make_folder, on_signals, read_security, require_extra
from kvspic.commands.bench_results import Shown, say_ramp
from kvspic.commands.exits import CliError, ExitCode
from kvspic.commands.options import EXAMPLES, verbose_option

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from kvspic.bench.channel import Security
    from kvspic.bench.plan import Plan

__all__ = ["run"]


@click.command(
    epilog=f"""{EXAMPLES}
  kvspic bench run plan.yaml
  kvspic bench run plan.yaml --local 4
  kvspic bench run plan.yaml --agents 10.0.0.1:7761,10.0.0.2:7761 --token-file token --tls-ca ca.pem
  kvspic bench run plan.yaml --agents ssh:pi@lab1,ssh:pi@lab2
"""
)
@click.argument("plan_file", metavar="PLAN", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option(
    "--agents", metavar="LIST",
    help="Agents elsewhere, with commas between: host:port, ssh:user@host (started for the run), dns:NAME:PORT (all "
    "addresses of a name).",
)  # fmt: skip
@click.option(
    "--local", type=click.IntRange(0, 64), metavar="N",
    help="Agents to start on this machine; default: one, or none with --agents.",
)  # fmt: skip
@click.option("--token-file", type=PEM, metavar="FILE", help="The token that the agents ask for.")
@click.option("--tls-ca", type=PEM, metavar="FILE", help="Speak TLS; the agents' certificates are of this authority.")
@click.option("--tls-cert", type=PEM, metavar="FILE", help="This side's certificate, for agents with --client-ca.")
@click.option("--tls-key", type=PEM, metavar="FILE", help="Its private key.")
@click.option("--server-name", default="", metavar="NAME", help="The name in the agents' certificates.")
@click.option("--insecure", "is_insecure", is_flag=True, help="Call agents beyond loopback without TLS.")
@click.option(
    "--allow-command", "allows_command", is_flag=True,
    help="Let the agents that are started run commands that the plan names.",
)  # fmt: skip
@click.option(
    "--out", "folder", type=click.Path(file_okay=False, path_type=Path), metavar="DIR",
    help="Where the results go; default: kvsbench-DATE-TIME-NAME here.",
)  # fmt: skip
@verbose_option
def run(plan_file: Path, **options: Any) -> int:
    """Run PLAN on all agents: they begin at one instant, and what they measured is joined.

    docs/bench.md has the fields of a plan. Ctrl-C or SIGTERM ends the run in order; a second one at once.
    """
    require_extra()
    return asyncio.run(_run(plan_file, options))


async def _run(plan_file: Path, options: dict[str, Any]) -> int:
    from kvspic.bench.channel import BenchError
    from kvspic.bench.launch import Fleet

    text = _text(plan_file)
    specs = [spec.strip() for spec in (options["agents"] or "").split(",") if spec.strip()]
    if options["agents"] is not None and not specs:
        raise click.UsageError("--agents names no agent: name one, or leave the option out for an agent here.")
    local = options["local"] if options["local"] is not None else int(not specs)
    if not any(spec.startswith("dns:") for spec in specs):  # how many stand behind a name is seen later
        _plan(text, local + len(specs))
    words = ["--allow-command"] if options["allows_command"] else []
    signals = _Signals()
    try:
        async with Fleet(local, specs, words) as fleet:
            return await _drive(text, fleet.addresses, options, signals)
    except BenchError as error:
        raise exit_of(error) from None


class _Signals:
    """The first signal ends the run in order, whenever it comes."""

    def __init__(self) -> None:
        self._came: tuple[str, int] | None = None
        self._end: Any = None
        on_signals(self._handle)

    def _handle(self, name: str, code: int) -> None:
        self._came = (name, code)
        if self._end is not None:
            self._end("user", f"Ended by {name}.", code)

    def lead_to(self, end: Any) -> None:
        """Call ``end(reason, text, code)`` on a signal, also one that came before."""
        self._end = end
        if self._came is not None:
            self._handle(*self._came)


def _text(path: Path) -> str:
    from kvspic.bench.plan import PLAN_SIZE_MAX

    try:
        with path.open("rb") as file:
            data = file.read(PLAN_SIZE_MAX + 1)  # what is larger is refused for its size, and not read to its end
        return data.decode(errors="replace" if len(data) > PLAN_SIZE_MAX else "strict")
    except (OSError, UnicodeDecodeError) as error:
        text = f"{path} cannot be read as UTF-8 text ({error}): give a plan in YAML, as docs/bench.md explains it."
        raise CliError(ExitCode.USAGE, text) from error


def _plan(text: str, agents: int) -> Plan:
    from kvspic.bench.plan import PlanError, parse_plan

    try:
        return parse_plan(text, agents)
    except PlanError as error:
        raise CliError(ExitCode.USAGE, str(error)) from error


async def _drive(text: str, addresses: list[str], options: dict[str, Any], signals: _Signals) -> int:
    from kvspic.bench.channel import split_address
    from kvspic.bench.report import folder_name

    plan = _plan(text, len(addresses))
    security = read_security(
        options["token_file"], options["tls_cert"], options["tls_key"], options["tls_ca"],
        server_name=options["server_name"], is_insecure=options["is_insecure"],
    )  # fmt: skip
    security.check_controller(split_address(address)[0] for address in addresses)
    folder = options["folder"] or _unused(folder_name(plan.name, time.time()))
    make_folder(folder)

    async def once(plan: Plan, text: str, folder: Path) -> dict[str, Any]:
        return await _once(plan, text, folder, (addresses, security), signals)

    if plan.steps:
        return await _ramp(plan, folder, once)
    result = await once(plan, text, folder)
    return int(result["exit_code"])


def _unused(name: str) -> Path:
    """The path ``name``, with a number behind it if a run of the same second, or an equal step, has it."""
    names = (name if number == 1 else f"{name}-{number}" for number in itertools.count(1))
    return next(path for path in map(Path, names) if not path.exists())


async def _ramp(plan: Plan, folder: Path, once: Callable[[Plan, str, Path], Awaitable[dict[str, Any]]]) -> int:
    """Run the plan's steps, up to the first one that breaks a limit; what breaks is the answer, not a failure."""
    held, result = 0, {}
    for step in plan.steps:
        chosen = plan.at_step(step)
        result = await once(chosen, chosen.to_yaml(), _unused(str(folder / f"step-{step.streams}")))
        if result["exit_code"]:
            break
        held = step.streams
    say_ramp(held, step.streams, result)
    return 0 if held and result["broken"] and result["exit_code"] == 1 else int(result["exit_code"])


async def _once(
    plan: Plan, text: str, folder: Path, agents: tuple[list[str], Security], signals: _Signals
) -> dict[str, Any]:
    from kvspic.bench.controller import Controller
    from kvspic.bench.record import RunRecord

    addresses, security = agents
    run_id = f"{time.strftime('%Y%m%d-%H%M%S')}-{secrets.token_hex(4)}"
    record = RunRecord(run_id, plan.name, text, time.time())
    with Shown(plan) as shown:
        controller = Controller(record, plan, addresses, shown.observer)
        running = asyncio.ensure_future(controller.run(security))
        await asyncio.sleep(0)  # it has begun: from here on it can be aborted
        signals.lead_to(controller.abort)
        await running
    result = shown.write(record, folder)
    if record.reason:
        click.echo(f"kvspic: {record.reason}", err=True)
    return result
