"""``kvspic states``: the core's state machines, drawn from the tables that run."""

from __future__ import annotations

import click

from kvspic.commands.options import EXAMPLES, verbose_option
from kvspic.machines import core_machines, states_page
from kvspic.statechart.diagram import FORMATS, render
from kvspic.statechart.lift import lift

__all__ = ["states"]

NAMES = tuple(core_machines())
PAGE = "page"


@click.command(
    epilog=f"""{EXAMPLES}
  kvspic states --machine stream
  kvspic states --machine stream --format dot | dot -Tsvg > stream.svg
  kvspic states --format page > docs/states.md
"""
)
@click.option("--machine", type=click.Choice(NAMES), help="Only this one; default: all.")
@click.option(
    "--format", "form", type=click.Choice([*FORMATS, PAGE]), default="mermaid", show_default=True,
    help="How to draw it; page is docs/states.md, all machines with diagrams and tables.",
)  # fmt: skip
@verbose_option
def states(machine: str | None, form: str) -> None:
    """Print the state machines of the core as diagrams or tables."""
    if form == PAGE:
        if machine is not None:
            raise click.UsageError("--format page draws all machines: leave --machine out.")
        click.echo(states_page(), nl=False)
        return
    machines = core_machines()
    for name in [machine] if machine else NAMES:
        click.echo(render(lift(machines[name]), form), nl=False)
