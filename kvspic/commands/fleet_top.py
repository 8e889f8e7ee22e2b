"""``kvspic fleet top``: the fleet on a terminal, once a second: what needs a person comes first."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any

import click
from rich.console import Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from kvspic.commands.fleet_client import as_json, client_options, health, is_in_trouble, json_option, since
from kvspic.commands.options import stdout
from kvspic.fleet.calls import HandlerInfo, Job
from kvspic.fleet.client import FleetClient
from kvspic.fleet.errors import FleetError

__all__ = ["top"]

ORDER = ("failure", "pending", "in_progress", "pause", "cancel", "done")
COLORS = {"failure": "red", "pending": "yellow", "in_progress": "green"}
TROUBLE = "yellow"  # carried, and no pictures arrive: never green
WORKERS = 20
NAME_WIDTH = 32


@dataclass(frozen=True)
class Look:
    """What the fleet is at a moment. ``problem``: why nothing newer is known."""

    counts: Mapping[str, int]
    handlers: tuple[HandlerInfo, ...]
    jobs: tuple[Job, ...]
    problem: str = ""


def look(fleet: FleetClient, rows: int) -> Look:
    """Ask the server: jobs in failure first, then those that wait, then those that are carried."""
    jobs: list[Job] = []
    for status in ORDER[:3]:
        if len(jobs) < rows:
            jobs += fleet.page(status=status, limit=rows - len(jobs)).jobs
    return Look(fleet.queue()["counts"], fleet.handlers(), tuple(jobs))


def picture(seen: Look, now: datetime) -> RenderableType:
    """Return what is shown."""
    line = Text(no_wrap=True)
    for status in ORDER:
        count = seen.counts.get(status, 0)
        line.append(f"{status} {count}   ", style=COLORS.get(status, "") if count else "dim")
    if seen.problem:
        line.append(f"\n{seen.problem}", style="bold red")
    workers = Table(box=None, pad_edge=False, header_style="dim")
    for name in ("WORKER", "STATE", "CARRIES", "SEEN"):
        workers.add_column(name, no_wrap=True)
    for one in seen.handlers[:WORKERS]:
        style = "" if one.state == "ready" else "yellow" if one.state == "draining" else "red"
        workers.add_row(Text(one.id), one.state, f"{one.carried} of {one.slots}", since(one.seen, now), style=style)
    cameras = Table(box=None, pad_edge=False, header_style="dim")
    rows = [(job.name, job.status, since(job.status_since, now), job.handler or "-") for job in seen.jobs]
    for name in ("CAMERA", "STATUS", "FOR", "WORKER"):
        cameras.add_column(name, no_wrap=True, max_width=NAME_WIDTH)
    cameras.add_column("STATE", overflow="ellipsis")  # the one that may become narrower
    for job, row in zip(seen.jobs, rows):
        state = Text(" ".join(health(job).split()), no_wrap=True, overflow="ellipsis")
        cameras.add_row(*map(Text, row), state, style=TROUBLE if is_in_trouble(job) else COLORS.get(job.status, ""))
    return Group(line, Text(), workers, Text(), cameras)


@click.command()
@click.option("--once", is_flag=True, help="Show it once and end.")
@click.option("--rows", type=click.IntRange(1, 1000), default=30, show_default=True, help="Cameras that are shown.")
@json_option
@client_options
def top(fleet: FleetClient, once: bool, rows: int, is_json: bool) -> None:
    """Watch the fleet: how many cameras have which status, the workers, and the cameras that need a person first.

    Ctrl-C ends it.
    """
    seen = look(fleet, rows)
    if is_json:
        as_json(_plain(seen))
        return
    console = stdout()
    if once or not console.is_terminal:
        console.print(picture(seen, _now()))
        return
    with Live(picture(seen, _now()), console=console, auto_refresh=False, screen=True) as live:
        while True:
            time.sleep(1)
            try:
                seen = look(fleet, rows)
            except FleetError as error:
                seen = Look(seen.counts, seen.handlers, seen.jobs, str(error))
            live.update(picture(seen, _now()), refresh=True)


def _now() -> datetime:
    return datetime.now(timezone.utc)


def _plain(seen: Look) -> dict[str, Any]:
    handlers, jobs = [one.raw for one in seen.handlers], [job.raw for job in seen.jobs]
    return {"counts": dict(seen.counts), "handlers": handlers, "jobs": jobs}
