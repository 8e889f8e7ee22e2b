"""``kvspic fleet resume, pause, cancel, delete``: what is done to cameras by name, or to all of a group."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

from kvspic.commands.fleet_client import as_json, client_options, json_option, partly
from kvspic.fleet.calls import Job
from kvspic.fleet.client import FleetClient
from kvspic.fleet.errors import FleetError

__all__ = ["cancel", "delete", "pause", "resume"]

F = TypeVar("F", bound=Callable[..., Any])


def _targets(function: F) -> F:
    options = (
        click.argument("names", nargs=-1),
        click.option("--group", help="All cameras of this group, in place of names."),
        json_option,
        client_options,
    )
    for option in reversed(options):
        function = option(function)
    return function


def _check(names: tuple[str, ...], group: str | None) -> None:
    if bool(names) == (group is not None):
        raise click.UsageError("Give the names of cameras, or --group; not both.")


@click.command()
@_targets
def resume(fleet: FleetClient, names: tuple[str, ...], group: str | None, is_json: bool) -> None:
    """Put cameras into the queue again: paused, cancelled, failed or finished ones."""
    _set(fleet, names, group, "pending", is_json)


@click.command()
@_targets
def pause(fleet: FleetClient, names: tuple[str, ...], group: str | None, is_json: bool) -> None:
    """Hold cameras back until they are resumed. What was put so far is sent first, for 20 s at most."""
    _set(fleet, names, group, "pause", is_json)


@click.command()
@_targets
def cancel(fleet: FleetClient, names: tuple[str, ...], group: str | None, is_json: bool) -> None:
    """Give cameras up: their workers stop at once and drop what was not sent."""
    _set(fleet, names, group, "cancel", is_json)


def _set(fleet: FleetClient, names: tuple[str, ...], group: str | None, status: str, is_json: bool) -> None:
    _check(names, group)
    if group is not None:
        done = fleet.set_group(group, status)
        if is_json:
            as_json(done)
            return
        refused = "".join(f"; {one.get('name', one['id'])} stays {one['from']}" for one in done["refused"])
        click.echo(f"{done['changed']} of the group {group} are {status} now{refused}")
        return
    change = {"pending": fleet.resume, "pause": fleet.pause, "cancel": fleet.cancel}[status]

    def one(name: str) -> None:
        job: Job = change(name)
        if is_json:
            as_json(job.raw)
        else:
            click.echo(f"{job.name} is {job.status}")

    _each(names, one)


@click.command()
@_targets
@click.option("--yes", is_flag=True, help="Delete a whole group without asking.")
def delete(fleet: FleetClient, names: tuple[str, ...], group: str | None, is_json: bool, yes: bool) -> None:
    """Remove cameras from the fleet. Their logs stay; streams and what is stored in them are not touched."""
    _check(names, group)
    if group is not None:
        found = [job.name for job in fleet.jobs(group=group)]
        if not yes:
            click.confirm(f"Delete the {len(found)} cameras of the group {group}?", abort=True, err=True)
        names = tuple(found)

    def one(name: str) -> None:
        fleet.delete(name)
        if is_json:
            as_json({"name": name, "deleted": True})
        else:
            click.echo(f"{name} is deleted")

    _each(names, one)


def _each(names: tuple[str, ...], work: Callable[[str], None]) -> None:
    """Do it for each name, also after one was refused; then end with what was refused."""
    failures: list[Exception] = []
    for name in names:
        try:
            work(name)
        except FleetError as error:
            failures.append(error)
    problem = partly(failures, len(names))
    if problem is not None:
        raise problem
