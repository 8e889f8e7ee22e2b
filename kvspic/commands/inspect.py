"""``kvspic inspect``: what is in a media file, and what the service or players would not like about it."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import click

from kvspic.commands.options import EXAMPLES, verbose_option
from kvspic.inspect import inspect_file, render

__all__ = ["inspect"]


@click.command(
    epilog=f"""{EXAMPLES}
  kvspic inspect front-door.mkv
  kvspic inspect front-door.mkv --blocks
  kvspic inspect clip.mp4 --json | jq .tracks
"""
)
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--json", "is_json", is_flag=True, help="Print one JSON object, blocks included.")
@click.option("--blocks", is_flag=True, help="List each block too.")
@verbose_option
def inspect(file: Path, is_json: bool, blocks: bool) -> None:
    """Print the tracks, clusters, blocks and problems of FILE."""
    found = inspect_file(file, with_blocks=blocks or is_json)
    click.echo(json.dumps(dataclasses.asdict(found)) if is_json else render(found), nl=is_json)
