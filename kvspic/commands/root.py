"""The group of all commands, and its help. A command's module is loaded when it is used: ``--help`` is quick."""

from __future__ import annotations

from typing import Any

import click

import kvspic
from kvspic.commands.lazy import LazyGroup
from kvspic.commands.options import EXAMPLES, verbose_option

__all__ = ["root"]

COMMANDS = {
    "demo": ("demo.demo", "Stream a clip through an embedded endpoint and compare what comes back."),
    "put": ("put.put", "Upload a file, a camera or a test pattern to a stream."),
    "get": ("get.get", "Write a stream to one Matroska file."),
    "serve": ("serve.serve", "Run a local endpoint that speaks the Kinesis Video Streams API."),
    "fleet": ("fleet.fleet", "Keep camera uploads running on one machine or on many."),
    "simulate": ("simulate.simulate", "Run cameras, networks and the service under seeds and check every promise."),
    "bench": ("bench.bench", "Measure how many cameras a machine or a site holds."),
    "doctor": ("doctor.doctor", "Check what an upload needs here, and say what to do."),
    "inspect": ("inspect.inspect", "Print what is in a media file."),
    "states": ("states.states", "Print the state machines of the core."),
}


@click.group(
    cls=LazyGroup,
    commands=COMMANDS,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog=f"""{EXAMPLES}
  kvspic demo clip.mp4                         see the whole way up and back, on this machine
  kvspic put clip.mp4 --stream front-door      into ./kvspic-data, without any account
  kvspic get front-door -o back.mkv            and out of it again
  kvspic serve                                 an endpoint for several programs
  kvspic put clip.mp4 --stream front-door --endpoint aws --region eu-central-1

\b
Exit codes: 0 all done, 1 not everything persisted, 2 usage, 3 media, 4 unreachable or port in use,
5 refused by the service, 6 store or data directory, 70 a fault of kvspic, 130 Ctrl-C.
""",
)
@click.version_option(kvspic.__version__, prog_name="kvspic")
@verbose_option
def root(**_: Any) -> None:
    """Upload media to Amazon Kinesis Video Streams, and try it all without an account."""
