"""``kvspic fleet handlers, drain, undrain, rebalance, settings``: the workers, and how the fleet behaves."""

from __future__ import annotations

import json
from typing import Any

import click

from kvspic.commands.fleet_client import as_json, client_options, json_option, print_table, since
from kvspic.commands.options import EXAMPLES
from kvspic.fleet.calls import HandlerInfo
from kvspic.fleet.client import FleetClient

__all__ = ["drain", "handlers", "rebalance", "settings", "undrain"]


@click.command()
@json_option
@client_options
def handlers(fleet: FleetClient, is_json: bool) -> None:
    """List the workers: what they carry of what they may, and when they called last."""
    found = fleet.handlers()
    if is_json:
        for one in found:
            as_json(one.raw)
        return
    names = ("WORKER", "STATE", "CARRIES", "SEEN", "HOST", "LABELS")
    print_table(
        names,
        (
            [
                h.id,
                h.state,
                f"{h.carried} of {h.slots}",
                since(h.seen),
                h.host or "-",
                " ".join(h.labels),
                h.version or "",
            ]
            for h in found
        ),
    )


@click.command()
@click.argument("worker")
@json_option
@client_options
def drain(fleet: FleetClient, worker: str, is_json: bool) -> None:
    """Let WORKER hand back its cameras one after the other, and give it no more.

    `kvspic fleet handlers` shows when it carries nothing; its machine may then be updated. It stays so until undrain.
    """
    _show(fleet.drain(worker), is_json)


@click.command()
@click.argument("worker")
@json_option
@client_options
def undrain(fleet: FleetClient, worker: str, is_json: bool) -> None:
    """Let WORKER take cameras again."""
    _show(fleet.undrain(worker), is_json)


def _show(handler: HandlerInfo, is_json: bool) -> None:
    if is_json:
        as_json(handler.raw)
    else:
        click.echo(f"{handler.id} is {handler.state} and carries {handler.carried}")


@click.command()
@click.option("--max", "limit", type=click.IntRange(1, 10_000), default=100, show_default=True, help="At most so many.")
@json_option
@client_options
def rebalance(fleet: FleetClient, limit: int, is_json: bool) -> None:
    """Move cameras from the fullest workers to the others; each misses 0 to 2 seconds.

    The fleet moves running cameras by itself only when a worker is lost or drained.
    """
    moving = fleet.rebalance(limit)
    if is_json:
        as_json({"moving": moving})
    else:
        click.echo(f"{moving} cameras move")


def _setting(context: click.Context, option: click.Parameter, values: tuple[str, ...]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for text in values:
        name, equals, value = text.partition("=")
        try:
            found[name] = json.loads(value) if equals else None
        except ValueError:
            found[name] = None
        if isinstance(found[name], bool) or not isinstance(found[name], (int, float)):
            raise click.BadParameter(f"{text!r} has not the form NAME=NUMBER.", context, option)
    return found


@click.command(
    epilog=f"""{EXAMPLES}
  kvspic fleet settings                        show them
  kvspic fleet settings lease_s=300            before the database is upgraded: for 5 minutes no worker counts as lost
  kvspic fleet settings handout_rate=20        fewer cameras a second, for an account with low quotas
"""
)
@click.argument("changes", nargs=-1, callback=_setting, metavar="[NAME=NUMBER]...")
@json_option
@client_options
def settings(fleet: FleetClient, changes: dict[str, Any], is_json: bool) -> None:
    """Show the settings of the fleet, after changes to some of them. They hold at once, for all servers."""
    found = fleet.settings(changes or None)
    if is_json:
        as_json(found)
        return
    print_table(("SETTING", "VALUE"), ([name, json.dumps(value)] for name, value in found.items()))
