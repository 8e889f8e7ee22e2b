"""``kvspic fleet run``: the cameras of a file, with server, worker and page in one process."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from kvspic.commands.fleet_client import as_json, json_option
from kvspic.commands.fleet_jobs import read_camera_file
from kvspic.commands.fleet_serve import host_port, need_packages
from kvspic.commands.options import EXAMPLES, show_warnings, verbose_option
from kvspic.commands.page import open_page

__all__ = ["run"]


@click.command(
    epilog=f"""{EXAMPLES}
  kvspic fleet run cameras.yaml
  kvspic fleet run cameras.yaml --endpoint http://127.0.0.1:8080 --secrets cameras.secrets

\b
cameras.yaml:
  defaults: {{options: {{spool: true}}}}
  cameras:
    - {{name: front-door, source: "rtsp://10.0.0.9/1", secret: door}}
    - {{name: clock, source: test}}
"""
)
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@click.option(
    "--listen", default="127.0.0.1:0", callback=host_port, metavar="HOST:PORT",
    help="Where the page and the other commands find it. Default: a free port of this machine, which is printed.",
)  # fmt: skip
@click.option("--prune", is_flag=True, help="Delete cameras that the file does not have.")
@click.option("--secrets", type=click.Path(path_type=Path), help="Users and passwords of cameras: NAME: USER:PASSWORD.")
@click.option("--spool", type=click.Path(path_type=Path), help="Folder for frames that could not be sent yet. "
              "Default: beside the file.")  # fmt: skip
@click.option("--endpoint", metavar="URL", help="Where streams are of cameras that do not say it; default: AWS.")
@click.option("--region", help="The same for their region.")
@click.option("--open", "opens", is_flag=True, help="Show the fleet's page in a browser.")
@json_option
@verbose_option
def run(file: Path, listen: tuple[str, int], **options: Any) -> int:
    """Keep the cameras of FILE running, until Ctrl-C or SIGTERM; then send what is buffered and end.

    One process over a SQLite database beside the file, nothing to install. At each start the file counts: cameras are
    added and changed as it says. What was paused or added by command stays so; cameras that are no longer in the file
    go on unless --prune is given.
    """
    need_packages("aiohttp", "sqlalchemy", "prometheus_client", "av")
    show_warnings("kvspic.fleet")
    from kvspic.fleet.run import RunPlan, run_fleet
    from kvspic.fleet.worker import WorkerSettings

    bodies = read_camera_file(file)

    def ready(url: str, counts: dict[str, int]) -> None:
        if options["is_json"]:
            as_json({"url": url, **counts})
            return
        words = ", ".join(f"{count} {what}" for what, count in counts.items() if count) or "no cameras"
        click.echo(f"kvspic fleet at {url} ({words})")
        if opens:
            open_page(f"{url}/")

    opens = options["opens"]
    settings = WorkerSettings(
        endpoint_url=options["endpoint"], region=options["region"], secrets=options["secrets"], spool=options["spool"]
    )
    return run_fleet(RunPlan(file, bodies, *listen, prune=options["prune"], settings=settings, on_ready=ready))
