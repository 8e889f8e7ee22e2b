"""The command line's way in and out: runs a command, and turns every failure into one sentence and an exit code.

The commands are in kvspic.commands; they need the extra ``cli``. Whatever goes wrong, users see a sentence with cause
and remedy on standard error; a traceback is shown for our own faults only, and only with ``-v``.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Sequence
from typing import Any

from kvspic.commands.exits import CliError, ExitCode, explain
from kvspic.commands.interrupts import one_interrupt_at_a_time

__all__ = ["main", "run"]

logger = logging.getLogger("kvspic.cli")
_SILENT = logging.NullHandler()


def main(argv: Sequence[str] | None = None) -> None:
    """Run a command and leave the process with its exit code."""
    sys.exit(run(sys.argv[1:] if argv is None else argv))


def run(argv: Sequence[str]) -> int:
    """Run a command and return its exit code; the words go to standard output and standard error."""
    try:
        from kvspic.commands.root import root
    except ImportError as error:
        if (error.name or "").partition(".")[0] not in ("click", "rich"):
            raise
        _say(f"The command line needs {error.name}, which is not installed: run `pip install 'kvspic[cli]'`.")
        return ExitCode.USAGE
    logging.getLogger("kvspic").addHandler(_SILENT)  # else Python prints warnings; -v adds a handler that prints
    arguments = list(argv) or ["--help"]
    return _end(lambda: root.main(arguments, prog_name="kvspic", standalone_mode=False), arguments)


def _end(command: Callable[[], Any], arguments: list[str]) -> int:
    import click

    try:
        with one_interrupt_at_a_time():
            code = command()
    except click.exceptions.Exit as ended:
        return int(ended.exit_code)
    except click.ClickException as error:
        _show_usage_error(error, arguments)
        return ExitCode.USAGE
    except (click.exceptions.Abort, KeyboardInterrupt):
        return ExitCode.INTERRUPTED
    except BrokenPipeError:
        sys.stdout = None  # the reader has gone; nothing can be said to it, not even at the end
        return ExitCode.INCOMPLETE
    except Exception as error:
        return _show_error(error)
    return int(code or 0)


def _show_usage_error(error: Any, arguments: list[str]) -> None:
    """Say what was wrong with the words of the command; ``put --json`` has promised an object whatever happens."""
    if "put" in arguments and "--json" in arguments:
        from kvspic.commands.result import UploadResult

        print(UploadResult(problem=CliError(ExitCode.USAGE, error.format_message())).to_json())
    context = error.ctx if hasattr(error, "ctx") else None
    hint = f" See `{context.command_path} --help`." if context is not None else ""
    _say(f"{_sentence(error.format_message())}{hint}")


def _show_error(error: Exception) -> int:
    known = explain(error)
    if known is not None:
        _say(str(known))
        logger.debug("the command failed", exc_info=error)
        return known.code
    is_verbose = logging.getLogger("kvspic").isEnabledFor(logging.INFO)
    if is_verbose:
        logger.error("unexpected", exc_info=error)
    hint = "" if is_verbose else " with the output of the same command with -v"
    _say(f"Something failed that never should ({type(error).__name__}: {error}); please report it{hint}.")
    return ExitCode.INTERNAL


def _sentence(text: str) -> str:
    return text if text.endswith((".", "!", "?")) else text + "."


def _say(text: str) -> None:
    print(f"kvspic: {text}", file=sys.stderr)
