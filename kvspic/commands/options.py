"""Options that several commands share, and what follows from them: logging, consoles, sources."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click
from rich.console import Console

from kvspic.commands.endpoint import DATA_DIR
from kvspic.sources import LiveSettings, Source, open_source
from kvspic.sources.trim import Trim

__all__ = [
    "EXAMPLES",
    "data_dir_option",
    "endpoint_option",
    "open_input",
    "region_option",
    "show_warnings",
    "stdout",
    "verbose_option",
]

F = TypeVar("F", bound=Callable[..., Any])
LEVELS = (logging.WARNING, logging.INFO, logging.DEBUG)
TEST_SOURCE = "testsrc"

# \b keeps click from joining the lines of an example.
EXAMPLES = "\b\nExamples:"


def stdout() -> Console:
    """Return the console for what a command has to say."""
    return Console(highlight=False, soft_wrap=True, markup=False, emoji=False)


def endpoint_option(function: F) -> F:
    """``--endpoint``."""
    return click.option(
        "--endpoint",
        default="local",
        show_default=True,
        envvar="KVSPIC_ENDPOINT",
        show_envvar=True,
        metavar="local|aws|URL",
        help="Where the stream is: the embedded endpoint over --data-dir, AWS, or the URL of an endpoint.",
    )(function)


def data_dir_option(function: F) -> F:
    """``--data-dir``."""
    return click.option(
        "--data-dir",
        default=DATA_DIR,
        show_default=True,
        envvar="KVSPIC_DATA_DIR",
        show_envvar=True,
        type=click.Path(path_type=Path),
        help="Where a local endpoint keeps its streams; one endpoint at a time serves it, and commands share that.",
    )(function)


def region_option(function: F) -> F:
    """``--region``."""
    text = "AWS region; default: the AWS configuration, us-east-1 for a loopback endpoint."
    return click.option("--region", default=None, help=text)(function)


def verbose_option(function: F) -> F:
    """``-v``: log to standard error; twice for everything."""
    return click.option(
        "-v",
        "--verbose",
        count=True,
        expose_value=False,
        callback=lambda context, option, count: _log(count),
        help="Log what happens to standard error; -vv logs everything.",
    )(function)


def _log(count: int) -> None:
    """Log of this package only; other packages stay as they are."""
    if not count:
        return
    root = logging.getLogger("kvspic")
    root.setLevel(min(LEVELS[min(count, len(LEVELS) - 1)], root.level or logging.WARNING))
    if not any(isinstance(handler, logging.StreamHandler) for handler in root.handlers):
        handler = logging.StreamHandler(sys.stderr)
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
        root.addHandler(handler)


def show_warnings(part: str) -> None:
    """Print what a part of this package warns of without ``-v`` too: for commands that run for months."""
    handlers = logging.getLogger("kvspic").handlers
    if logging.lastResort is not None and not any(isinstance(one, logging.StreamHandler) for one in handlers):
        logging.getLogger(part).addHandler(logging.lastResort)


def open_input(
    spec: str,
    fps: float | None,
    duration_s: float | None,
    start: str | None = None,
    trim: Trim | str = Trim.PREVIOUS_KEY,
    give_up_s: float | None = None,
) -> Source:
    """Open what the user names. The test pattern, which could go on for ever, ends after ``duration_s``; ``start`` is
    when a recording began; ``trim`` is what becomes of pictures that an edit list hides; ``give_up_s`` is for a camera
    that goes away."""
    is_pattern = spec.partition(":")[0] == TEST_SOURCE and not Path(spec).exists()
    if is_pattern and duration_s is not None:
        spec += ("," if ":" in spec else ":") + f"duration={duration_s:g}"
    if give_up_s is None:
        source = open_source(spec, fps=fps, start=start, trim=trim)
    else:
        source = open_source(spec, live=LiveSettings(give_up_s=give_up_s))
    for notice in source.notices:
        click.echo(f"kvspic: {notice}", err=True)
    return source
