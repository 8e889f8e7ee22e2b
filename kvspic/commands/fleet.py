"""``kvspic fleet``: the group of its commands; each is in a module of its own and loaded when it is used."""

from __future__ import annotations

import click

from kvspic.commands.lazy import LazyGroup
from kvspic.commands.options import EXAMPLES

__all__ = ["fleet"]

COMMANDS = {
    "run": ("fleet_run.run", "Keep the cameras of a file running: one command, one process, nothing to install."),
    "serve": ("fleet_serve.serve", "Run a server over SQLite or PostgreSQL."),
    "worker": ("fleet_serve.worker", "Carry cameras that a server hands out."),
    "add": ("fleet_jobs.add", "Add one camera."),
    "apply": ("fleet_jobs.apply", "Make the fleet as a file of cameras says."),
    "list": ("fleet_jobs.list_jobs", "List cameras."),
    "show": ("fleet_jobs.show", "Show all about one camera."),
    "replace": ("fleet_jobs.replace", "Give a camera another source or other options."),
    "resume": ("fleet_actions.resume", "Put cameras into the queue again."),
    "pause": ("fleet_actions.pause", "Hold cameras back; what they have sent so far is kept."),
    "cancel": ("fleet_actions.cancel", "Give cameras up at once."),
    "delete": ("fleet_actions.delete", "Remove cameras; their logs stay."),
    "logs": ("fleet_logs.logs", "Print what happened to a camera, or to all."),
    "top": ("fleet_top.top", "Watch the fleet live."),
    "handlers": ("fleet_workers.handlers", "List the workers."),
    "drain": ("fleet_workers.drain", "Let a worker hand back its cameras, before an update of its machine."),
    "undrain": ("fleet_workers.undrain", "Let a worker take cameras again."),
    "rebalance": ("fleet_workers.rebalance", "Move cameras from the fullest workers to the others."),
    "settings": ("fleet_workers.settings", "Show or change the settings of the fleet."),
    "check": ("fleet_store.check", "Prove that every camera's log leads to its status."),
    "export": ("fleet_store.export_file", "Write a store to a file."),
    "import": ("fleet_store.import_file", "Fill an empty store from such a file."),
}


@click.group(
    cls=LazyGroup,
    commands=COMMANDS,
    epilog=f"""{EXAMPLES}
  kvspic fleet run cameras.yaml                ten cameras on this machine: server, worker and page in one
  kvspic fleet serve --store postgresql+psycopg://fleet@db/fleet --listen 0.0.0.0:8090 --tokens tokens
  kvspic fleet worker --server http://fleet:8090 --slots 50
  kvspic fleet add front-door rtsp://10.0.0.9/1 --secret door
  kvspic fleet list --status failure           what is broken
  kvspic fleet logs front-door                 and why
  kvspic fleet top                             all of it, live

\b
Where the server is: --server URL[,URL] or KVSPIC_FLEET, else http://127.0.0.1:8090. A token: --token-file or
KVSPIC_FLEET_TOKEN. Exit codes: 0 done, 1 not all of it, 2 usage, 4 no server answers, 5 refused, 6 store.
""",
)
def fleet() -> None:
    """Keep camera uploads running on one machine or on many, with statuses that are true."""
