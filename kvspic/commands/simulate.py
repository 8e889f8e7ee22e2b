"""``kvspic simulate``: the core, the driver's rules and a model of the service under many seeds, on a simulated clock.

Every run is checked after each of its steps. One that breaks a promise is made small and printed with its transcript;
the seed repeats it. With one job the runs are in this process, with more in processes of their own.
"""

from __future__ import annotations

import faulthandler
import functools
import gc
import json
import multiprocessing
import signal
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass

import click
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from kvspic.commands.exits import CliError, ExitCode
from kvspic.commands.options import EXAMPLES, stdout, verbose_option
from kvspic.testing.sim_checks import Violation
from kvspic.testing.sim_plan import make_plan
from kvspic.testing.sim_shrink import TRIES_MAX, shrink
from kvspic.testing.simulation import Figures, run_seed

__all__ = ["simulate"]


@dataclass(frozen=True)
class _Failed:
    """A seed that broke a promise; ``story`` is the minimised run."""

    seed: int
    rule: str
    what: str
    repeat: str
    story: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Wanted:
    """What the user asked for."""

    seeds: range
    hours: float
    jobs: int
    tries: int
    keeps_going: bool


class _Tally:
    """What has been done."""

    def __init__(self) -> None:
        self.seeds = 0
        self.figures = Figures(0, 0, 0, 0, 0, 0)
        self.failed: list[_Failed] = []
        self._begin_s = time.monotonic()

    @property
    def seconds(self) -> float:
        """How long it has taken so far."""
        return time.monotonic() - self._begin_s

    def add(self, outcome: Figures | _Failed) -> None:
        """Count one run."""
        self.seeds += 1
        if isinstance(outcome, _Failed):
            self.failed.append(outcome)
        else:
            self.figures = self.figures.plus(outcome)


def _seeds(context: click.Context, option: click.Parameter, value: str) -> range:
    first, dots, last = value.partition("..")
    if not first.isdecimal() or (dots and not last.isdecimal()):
        raise click.BadParameter(f"{value} is no range of seeds: give FIRST..LAST, like 0..99, or one number.")
    seeds = range(int(first), int(last or first) + 1)
    if not seeds:
        raise click.BadParameter(f"{value} has no seeds: the last one must not be below the first.")
    return seeds


@click.command(
    epilog=f"""{EXAMPLES}
  kvspic simulate --seeds 0..199               what the tests run
  kvspic simulate --seeds 1000..1999 --hours 2 --jobs 4 --keep-going
  kvspic simulate --seeds 1304                 one seed again

\b
Ends with 0 when every promise held and with 1 when a seed broke one. docs/simulation.md explains
what is simulated and how to read a transcript.
"""
)
@click.option(
    "--seeds", callback=_seeds, default="0..99", show_default=True, metavar="FIRST..LAST",
    help="Which runs; the same seed always gives the same run.",
)  # fmt: skip
@click.option(
    "--hours", type=click.FloatRange(0.01, 1000), default=1.0, show_default=True, help="Simulated hours of each run."
)
@click.option("--jobs", type=click.IntRange(1, 256), default=1, show_default=True, help="Runs side by side.")
@click.option("--keep-going", is_flag=True, help="Run all seeds, also after one has failed.")
@click.option(
    "--tries", type=click.IntRange(0, 100_000), default=TRIES_MAX, show_default=True,
    help="Runs at most to make a failing one small; 0 leaves it as it is.",
)  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object at the end, and nothing before.")
@verbose_option
def simulate(seeds: range, hours: float, jobs: int, keep_going: bool, tries: int, as_json: bool) -> None:
    """Simulate cameras, networks and the service under seeds, and check every promise after every step."""
    wanted, tally = _Wanted(seeds, hours, jobs, tries, keep_going), _Tally()
    _name_traps()
    with _Progress(wanted, is_shown=not as_json) as progress:
        for seed, outcome in _outcomes(wanted):
            tally.add(outcome)
            progress.show(seed, tally)
            if tally.failed and not keep_going:
                break
    _tell(wanted, tally, as_json)
    if tally.failed:
        names = ", ".join(str(failed.seed) for failed in tally.failed[:10])
        raise CliError(ExitCode.INCOMPLETE, f"Promises were broken under seed {names}; the transcripts say how.")


# ---- the runs


def _outcomes(wanted: _Wanted) -> Iterator[tuple[int, Figures | _Failed]]:
    """The seeds in their order, and what each came to."""
    if wanted.jobs == 1:
        yield from ((seed, _run(seed, wanted)) for seed in wanted.seeds)
        return
    pool = ProcessPoolExecutor(wanted.jobs, multiprocessing.get_context("spawn"), _prepare_process)
    run = functools.partial(_run, wanted=wanted)
    seed = wanted.seeds[0]
    try:
        for seed, outcome in zip(wanted.seeds, pool.map(run, wanted.seeds)):
            yield seed, outcome
    except BrokenProcessPool:
        where = f"it ran a seed between {seed} and {seed + 2 * wanted.jobs}: run them with --jobs 1 to see which"
        raise CliError(ExitCode.INTERNAL, f"A process of the simulation died; {where}.") from None
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def _prepare_process() -> None:
    """Ctrl-C is the parent's business."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    gc.set_threshold(100_000, 50, 1000)  # runs make few circles: a tenth of the time went into looking for them
    _name_traps()


def _name_traps() -> None:
    """A trap in the core shows its place; the line of the progress has its seed."""
    if not faulthandler.is_enabled() and sys.__stderr__ is not None:
        faulthandler.enable(sys.__stderr__)


def _run(seed: int, wanted: _Wanted) -> Figures | _Failed:
    try:
        return run_seed(seed, wanted.hours)
    except Violation as violation:
        return _failed(seed, violation, wanted)


def _failed(seed: int, violation: Violation, wanted: _Wanted) -> _Failed:
    repeat = f"kvspic simulate --seeds {seed} --hours {wanted.hours:g}"
    story = violation.lines
    if wanted.tries:
        small = shrink(make_plan(seed, wanted.hours), violation.rule, wanted.tries)
        story = tuple(small.describe()) if small else ("it does not fail again: the simulation is not deterministic",)
    return _Failed(seed, violation.rule, str(violation), repeat, story)


# ---- what is shown


class _Progress:
    """A line that moves while the seeds run; only on a terminal."""

    def __init__(self, wanted: _Wanted, is_shown: bool) -> None:
        words = TextColumn("{task.description}")
        columns = (words, BarColumn(), TaskProgressColumn(), TextColumn("left"), TimeRemainingColumn())
        console = Console(stderr=True)
        self._wanted = wanted
        self._progress = Progress(*columns, console=console, disable=not (is_shown and console.is_terminal))
        self._task = self._progress.add_task(f"seed {wanted.seeds[0]}", total=len(wanted.seeds))

    def __enter__(self) -> _Progress:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def show(self, seed: int, tally: _Tally) -> None:
        """Say how far it is."""
        hours = tally.seeds * self._wanted.hours
        rate = hours / max(tally.seconds, 1e-3)
        failed = f", {len(tally.failed)} failed" if tally.failed else ""
        words = f"seed {seed + 1}: {hours:g} h simulated, {rate:.1f} h/s, {tally.figures.frames} frames{failed}"
        self._progress.update(self._task, description=words, completed=tally.seeds)


def _tell(wanted: _Wanted, tally: _Tally, as_json: bool) -> None:
    hours, figures = round(tally.seeds * wanted.hours, 6), asdict(tally.figures)
    if as_json:
        head = {"seeds": tally.seeds, "hours": hours, "seconds": round(tally.seconds, 3)}
        click.echo(json.dumps({**head, **figures, "failed": [asdict(failed) for failed in tally.failed]}))
        return
    console = stdout()
    for failed in tally.failed:
        console.print(f"Seed {failed.seed} failed: {failed.what}\nAgain: {failed.repeat}")
        console.print("\n".join(failed.story))
    rate = hours / max(tally.seconds, 1e-3)
    counted = ", ".join(f"{count} {name.replace('_', ' ')}" for name, count in figures.items())
    console.print(f"{tally.seeds} seeds, {hours:g} hours at {rate:.1f} h/s: {counted}; {len(tally.failed)} failed")
