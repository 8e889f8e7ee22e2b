"""``kvspic bench compare`` and ``kvspic bench report``: what the directories of runs say."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from kvspic.commands.exits import CliError, ExitCode
from kvspic.commands.options import EXAMPLES

__all__ = ["compare", "report"]

RUN = click.Path(exists=True, file_okay=False, path_type=Path)


@click.command(
    epilog=f"""{EXAMPLES}
  kvspic bench compare kvsbench-20260501-120000-before kvsbench-20260501-123000-after

\b
Exit codes: 0 nothing differs but by noise, 1 something does, 2 usage, or a directory that holds no run.
"""
)
@click.argument("first", type=RUN)
@click.argument("second", type=RUN)
@click.option("--json", "is_json", is_flag=True, help="Print one JSON object and nothing else.")
def compare(first: Path, second: Path, is_json: bool) -> int:
    """Say how the run of directory SECOND differs from FIRST, and whether it is noise.

    Seconds that were measured are compared, in parts, by Welch's test; docs/bench.md says how to read it.
    """
    from kvspic.bench.compare import compare as compare_rows
    from kvspic.bench.compare import differences_of_plans

    (one, rows), (other, other_rows) = _read(first), _read(second)
    plans = differences_of_plans(_plan(first), _plan(second))
    found = compare_rows(rows, other_rows)
    is_different = any(difference.verdict == "real" for difference in found)
    if is_json:
        value = {"plans": plans, "differences": [asdict(difference) for difference in found], "real": is_different}
        click.echo(json.dumps(value))
        return ExitCode.INCOMPLETE if is_different else ExitCode.OK
    for words in plans:
        click.echo(f"The plans differ in {words}.")
    for name, result in ((first, one), (second, other)):
        if result["exit_code"] or not result["comparable"]:
            click.echo(f"{name} ended with {result['exit_code']}: {result['reason'] or 'not comparable'}")
    if not found:
        click.echo("The runs are too short to compare: let a plan's duration_s be ten or more.")
        return ExitCode.OK
    click.echo(f"{'':<28} {'first':>12} {'second':>12}")
    for difference in found:
        click.echo(str(difference))
    return ExitCode.INCOMPLETE if is_different else ExitCode.OK


@click.command(
    epilog="Exit codes: that of the run, 2 usage, or a directory that holds no run, 6 report.html cannot be written."
)
@click.argument("folder", metavar="DIR", type=RUN)
def report(folder: Path) -> int:
    """Make report.html of the run in DIR again, from its result and its log, and say how it ended."""
    from kvspic.bench.page import run_page
    from kvspic.bench.report import status_text

    result, rows = _read(folder)
    try:
        (folder / "report.html").write_text(run_page(result, rows), encoding="utf-8")
    except OSError as error:
        text = f"{folder}/report.html cannot be written ({error.strerror}): make room, or copy the directory elsewhere."
        raise CliError(ExitCode.STORE, text) from error
    click.echo(status_text(result), nl=False)
    click.echo(folder / "report.html")
    return int(result["exit_code"])


def _read(folder: Path) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    from kvspic.bench.report import ReportError, read_result

    try:
        return read_result(folder)
    except ReportError as error:
        raise CliError(ExitCode.USAGE, str(error)) from None


def _plan(folder: Path) -> dict[str, Any]:
    import yaml

    try:
        value = yaml.safe_load((folder / "plan.yaml").read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError, yaml.YAMLError):
        return {}
    return {str(name): found for name, found in value.items()} if isinstance(value, dict) else {}
