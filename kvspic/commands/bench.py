"""``kvspic bench``: the group of its commands; each is in a module of its own and loaded when it is used."""

from __future__ import annotations

import click

from kvspic.commands.lazy import LazyGroup
from kvspic.commands.options import EXAMPLES

__all__ = ["bench"]

COMMANDS = {
    "run": ("bench_run.run", "Run a plan on agents here or elsewhere, and write what it gave."),
    "agent": ("bench_agent.agent", "Run load for the controllers that call."),
    "capacity": ("bench_capacity.capacity", "Find how many cameras this machine holds."),
    "compare": ("bench_compare.compare", "Say how two runs differ, and whether it is noise."),
    "report": ("bench_compare.report", "Make the page of a run again, and say how it ended."),
}


@click.group(
    cls=LazyGroup,
    commands=COMMANDS,
    epilog=f"""{EXAMPLES}
  kvspic bench capacity --fps 30 --kbps 2000                        how many cameras this machine holds
  kvspic bench run plan.yaml                                        one agent, on this machine
  kvspic bench run plan.yaml --agents ssh:lab1,ssh:lab2             one on each of two machines
  kvspic bench agent --listen 0.0.0.0:7761 --token-file token --tls-cert agent.pem --tls-key agent.key
  kvspic bench run plan.yaml --agents dns:bench:7761 --token-file token --tls-ca ca.pem --server-name bench

\b
Exit codes: 0 completed, 1 an agent failed or a limit broke, 2 plan or usage, 4 an agent cannot be reached or a port is
in use, 6 the results cannot be written, 7 the agents did not begin together, 130 Ctrl-C, 143 SIGTERM.
""",
)
def bench() -> None:
    """Measure how many cameras a machine holds, or a site: put a load on it from one agent or a hundred."""
