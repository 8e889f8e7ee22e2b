"""What ``kvspic bench run`` shows while a run goes, and the directory that it leaves."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

import click

from kvspic.commands.exits import CliError, ExitCode

if TYPE_CHECKING:
    from typing_extensions import Self

    from kvspic.bench.plan import Plan
    from kvspic.bench.record import Observer, RunRecord

__all__ = ["Shown", "say_ramp"]


class Shown:
    """Shows one run, by the live view, and keeps what it says; use it in a ``with`` block."""

    def __init__(self, plan: Plan) -> None:
        from rich.console import Console

        from kvspic.bench.collect import Collector, Observers
        from kvspic.bench.view import LiveView

        self._plan = plan
        self._collector = Collector()
        self._view = LiveView(Console(stderr=True))
        self.observer: Observer = Observers(self._collector, self._view)

    def __enter__(self) -> Self:
        self._view.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._view.__exit__(kind, error, trace)

    def write(self, record: RunRecord, folder: Path) -> dict[str, Any]:
        """Write the directory, print how the run ended, and return its result.

        Raises:
            CliError: it cannot be written.
        """
        from kvspic.bench.report import status_text, write_report

        try:
            result = write_report(record, self._collector, self._plan.limits, folder)
        except OSError as error:
            text = f"The directory {folder} cannot be written ({error.strerror}): name another one by --out."
            raise CliError(ExitCode.STORE, text) from error
        click.echo(status_text(result), nl=False)
        spread = record.start_spread_us
        if len(record.agents) > 1:
            click.echo(f"start spread: {'not known' if spread is None else f'{spread / 1000:.3f} ms'}")
        click.echo(str(folder / "report.html"))
        return result


def say_ramp(held: int, step: int, result: dict[str, Any]) -> None:
    """Print where a ramp ended: the most streams an agent held, and what broke beyond."""
    if result["broken"]:
        click.echo(f"{held} streams an agent are held; with {step}: {result['broken'][0]}")
    else:
        click.echo(f"{held} streams an agent are held; no limit was met.")
