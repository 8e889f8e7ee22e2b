"""``kvspic fleet logs``: what happened, as it stands in the log, or as it comes."""

from __future__ import annotations

import time

import click

from kvspic.commands.fleet_client import as_json, client_options, json_option
from kvspic.commands.options import EXAMPLES
from kvspic.fleet.calls import LogPage, LogRecord
from kvspic.fleet.client import FleetClient
from kvspic.fleet.errors import FleetError
from kvspic.fleet.jobs import looks_like_id

__all__ = ["logs"]

LOOK_S = 1.0
PAGE = 1000


@click.command(
    epilog=f"""{EXAMPLES}
  kvspic fleet logs front-door                 all of one camera
  kvspic fleet logs --status failure --since 2026-05-01T00:00:00Z
  kvspic fleet logs --follow --json            every change of the fleet, for another program
"""
)
@click.argument("name", required=False)
@click.option("--follow", is_flag=True, help="Go on with what comes, until Ctrl-C.")
@click.option("--status", help="Only changes to this status, such as failure or handler_lost.")
@click.option("--since", metavar="TIME", help="Only changes since then, as in 2026-05-01T12:00:00Z.")
@json_option
@client_options
def logs(
    fleet: FleetClient, name: str | None, follow: bool, status: str | None, since: str | None, is_json: bool
) -> None:
    """Print what happened to the camera NAME, or to all cameras; NAME may be the id of a deleted one.

    Each line is one change: when, which camera, the new status, why, by whom, and the error of a failure. What all
    cameras did comes in the order of its commits, two seconds late.
    """
    after = None
    while True:
        try:
            page = _page(fleet, name, {"status": status, "since": since, "after": after, "limit": PAGE})
        except FleetError as error:
            if not follow or after is None or error.http_status not in (0, 502, 503, 504):
                raise
            time.sleep(LOOK_S)  # the server is away; what happens meanwhile is in the log
            continue
        for record in page.logs:
            if is_json:
                as_json(record.raw)
            else:
                click.echo(_line(record, with_name=name is None))
        after = page.last or after
        if page.next is not None:
            continue
        if not follow:
            return
        time.sleep(LOOK_S)


def _page(fleet: FleetClient, name: str | None, query: dict[str, object]) -> LogPage:
    if name is None:
        return fleet.all_logs(**query)
    return fleet.all_logs(job=name, **query) if looks_like_id(name) else fleet.logs(name, **query)


def _line(record: LogRecord, *, with_name: bool) -> str:
    moment = (
        "-" if record.time is None else record.time.isoformat(sep=" ", timespec="milliseconds").replace("+00:00", "Z")
    )
    words = [moment, *([f"{record.name:<20}"] if with_name else []), f"{record.status:<12}", f"{record.cause:<12}"]
    words.append(f"{record.actor:<8}epoch {record.epoch}")
    if record.handler:
        words.append(f"on {record.handler}")
    if record.error:
        words.append(f"{record.error.get('class')}: {record.error.get('text')}")
    return " ".join(words).rstrip()
