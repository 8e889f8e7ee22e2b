"""``kvspic bench capacity``: how many cameras this machine holds."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from kvspic.commands.bench_common import make_folder, sigterm_interrupts
from kvspic.commands.exits import CliError, ExitCode
from kvspic.commands.options import EXAMPLES

__all__ = ["capacity"]


@click.command(
    epilog=f"""{EXAMPLES}
  kvspic bench capacity
  kvspic bench capacity --fps 25 --kbps 4000
  kvspic bench capacity --endpoint aws --region eu-central-1 --max 200
  kvspic bench capacity --json > capacity.json

\b
Exit codes: 0 there is an answer, 1 not even one camera is held, 2 usage, 4 the load could not be made,
6 --out cannot be written, 130 Ctrl-C, 143 SIGTERM.
"""
)
@click.option("--fps", default=30.0, show_default=True, type=click.FloatRange(1, 240), help="Frames a second.")
@click.option("--kbps", default=2000.0, show_default=True, type=click.FloatRange(16, 100_000), help="Kbit/s.")
@click.option("--gop", "gop_s", default=2.0, show_default=True, type=click.FloatRange(0.5, 10), help="Seconds a group.")
@click.option(
    "--endpoint", default="local", show_default=True, metavar="local|aws|URL",
    help="Where the cameras upload to; local starts an endpoint on this machine, which takes a part of it.",
)  # fmt: skip
@click.option("--region", default="", help="AWS region.")
@click.option(
    "--max", "streams_max", default=10_000, show_default=True, type=click.IntRange(1, 10_000), help="Cameras at most."
)
@click.option("--first", default=1, show_default=True, type=click.IntRange(1, 10_000), help="Cameras to begin with.")
@click.option(
    "--times", "times", default=(5.0, 15.0, 60.0), show_default=True, type=float, nargs=3, metavar="S S S",
    help="Seconds of a trial that are not measured, measured, and measured of the confirmation.",
)  # fmt: skip
@click.option("--put-p99", "put_p99_ms", default=5.0, show_default=True, type=click.FloatRange(0.1), help="Limit, ms.")
@click.option("--out", "folder", type=click.Path(path_type=Path), help="Write capacity.json and report.html there.")
@click.option("--json", "is_json", is_flag=True, help="Print one JSON object at the end and nothing else.")
def capacity(folder: Path | None, is_json: bool, streams_max: int, first: int, **options: Any) -> int:
    """Find how many cameras this machine holds.

    The number of cameras is doubled until a limit breaks, then narrowed down to five percent and confirmed for a
    minute. Limits: no frame dropped, frames put within one frame's time, put_frame back within 5 ms, fragments
    persisted within 5 s of their end, nothing piling up, 90 % of the processors. docs/bench.md says more.
    """
    try:
        from kvspic.bench.capacity import Timing, find_capacity
        from kvspic.bench.plan import PlanError, parse_plan
        from kvspic.bench.workload import WorkloadError
    except ImportError as error:
        text = f"The bench needs {error.name}, which is not installed: run `pip install 'kvspic[bench,local]'`."
        raise CliError(ExitCode.USAGE, text) from error
    times = options.pop("times")
    if not all(0.5 <= one <= 3600 for one in times[1:]) or not 0 <= times[0] <= 600:
        raise click.UsageError("Give --times as seconds such as 5 15 60.")
    limits = {"put_p99_ms": options.pop("put_p99_ms")}
    try:
        plan = parse_plan(json.dumps({**{key: one for key, one in options.items() if one != ""}, "limits": limits}))
    except PlanError as error:
        raise click.UsageError(str(error)) from None
    if folder is not None:
        make_folder(folder)
    teller = _Teller(is_json)
    try:
        with sigterm_interrupts() as came:
            first = max(1, min(first, streams_max))
            result = find_capacity(plan, Timing(*times), streams_max, first, teller.tell, teller.warn)
    except WorkloadError as error:
        raise CliError(ExitCode.UNREACHABLE, str(error)) from None
    except KeyboardInterrupt:
        click.echo(
            f"kvspic: Ended by {came.name} before there was an answer; {teller.held} were held so far.", err=True
        )
        return came.code
    _end(plan, result, folder, is_json)
    return ExitCode.OK if result.streams else ExitCode.INCOMPLETE


def _end(plan: Any, result: Any, folder: Path | None, is_json: bool) -> None:
    from kvspic.bench.capacity_report import capacity_page
    from kvspic.bench.search import result_line

    line = result_line(result, plan.kbps, float(plan.fps), plan.endpoint == "local")
    value = {"line": line, "plan": plan.to_yaml(), **result.to_json()}
    if folder is not None:
        try:
            (folder / "capacity.json").write_text(json.dumps(value, indent=1) + "\n", encoding="utf-8")
            (folder / "report.html").write_text(capacity_page(value), encoding="utf-8")
        except OSError as error:
            click.echo(line)
            text = f"The directory {folder} cannot be written ({error.strerror}): make room, or name another by --out."
            raise CliError(ExitCode.STORE, text) from error
    click.echo(json.dumps(value) if is_json else line)


class _Teller:
    """Prints a line for each trial, and knows the most cameras that were held."""

    def __init__(self, is_quiet: bool) -> None:
        self._is_quiet = is_quiet
        self._held = 0

    @property
    def held(self) -> str:
        """The most cameras that a trial held, in words."""
        return "1 camera" if self._held == 1 else f"{self._held} cameras"

    def warn(self, text: str) -> None:
        """Print a sentence beside the answer."""
        click.echo(f"kvspic: {text}", err=True)

    def tell(self, trial: Any, found: Any, what: tuple[str, ...]) -> None:
        """Print the figures of a trial; ``what``: the limits that it broke."""
        self._held = self._held if what else max(self._held, trial.streams)
        if self._is_quiet:
            return
        figures = (
            f"LATE p99 {found.late_p99_ms:.1f} ms, PUT p99 {found.put_p99_ms:.1f} ms, "
            f"PERS p99 {found.persisted_p99_ms:.0f} ms, CPU {found.cpu_percent + found.endpoint_cpu_percent:.0f} %"
        )
        verdict = "broken: " + ", ".join(what) if what else "confirmed" if trial.is_confirmation else "held"
        click.echo(f"{trial.streams:6} cameras  {figures}  {verdict}")
