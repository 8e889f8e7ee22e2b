"""What the commands of ``kvspic bench`` share: the extra that they need, files of keys, and signals."""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import os
import signal
import ssl
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from kvspic.commands.exits import CliError, ExitCode

if TYPE_CHECKING:
    from kvspic.bench.channel import Security

__all__ = ["Interrupt", "exit_of", "make_folder", "on_signals", "read_security", "require_extra", "sigterm_interrupts"]

SAME_S = 0.5
PACKAGES = {
    "grpc": "grpcio",
    "google.protobuf": "protobuf",
    "psutil": "psutil",
    "yaml": "PyYAML",
}


def require_extra() -> None:
    """See that the packages of the extra ``bench`` are there.

    Raises:
        CliError: one is missing.
    """
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")  # what goes wrong with a call is said by the run
    for module, package in PACKAGES.items():
        try:
            importlib.import_module(module)
        except ImportError:
            text = f"The benchmark needs {package}, which is not installed: run `pip install 'kvspic[bench]'`."
            raise CliError(ExitCode.USAGE, text) from None


def read_security(
    token_file: Path | None, certificate: Path | None, key: Path | None, authority: Path | None, **others: Any
) -> Security:
    """Return what the files hold.

    Raises:
        CliError: a file cannot be read, holds no token, or is no PEM.
    """
    from kvspic.bench.channel import Security

    token = _read(token_file).decode(errors="replace").strip()
    if token_file is not None and (not token or not token.isascii() or any(char.isspace() for char in token)):
        raise CliError(ExitCode.USAGE, f"{token_file} holds no token: write one word of letters and digits into it.")
    made = Security(token, _read(certificate), _read(key), _read(authority), **others)
    _check_pem(certificate, key, authority)
    return made


def _check_pem(certificate: Path | None, key: Path | None, authority: Path | None) -> None:
    """See that TLS can use the files; gRPC would say of a wrong one only that no connection comes about."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    try:
        if certificate is not None and key is not None:
            context.load_cert_chain(certificate, key, password=lambda: "")  # never asks for one
    except (OSError, ValueError) as error:
        text = f"{certificate} and {key} are no certificate and private key that TLS can use"
        raise CliError(ExitCode.USAGE, f"{text} ({_reason(error)}): give PEM files that belong together.") from error
    try:
        if authority is not None:
            context.load_verify_locations(authority)
    except (OSError, ValueError) as error:
        text = f"{authority} holds no certificate of an authority ({_reason(error)}): give a PEM file."
        raise CliError(ExitCode.USAGE, text) from error


def _reason(error: Exception) -> str:
    return str(getattr(error, "reason", None) or error)


def _read(path: Path | None) -> bytes:
    if path is None:
        return b""
    try:
        return path.read_bytes()
    except OSError as error:
        raise CliError(ExitCode.USAGE, f"{path} cannot be read ({error.strerror}).") from error


def make_folder(folder: Path) -> None:
    """Make the directory of the results before anything is measured, so that no measurement is lost for want of it.

    Raises:
        CliError: it cannot be made or written, or it has files already.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        has_files = any(folder.iterdir())
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        text = f"The directory {folder} cannot be written ({error.strerror}): name another one by --out."
        raise CliError(ExitCode.STORE, text) from error
    if has_files:
        text = f"The directory {folder} has files already, maybe of another run: name a new one by --out, or remove it."
        raise CliError(ExitCode.USAGE, text)


def exit_of(error: Any) -> CliError:
    """The command line's form of a ``BenchError``."""
    return CliError(ExitCode(error.code), str(error))


def on_signals(first: Callable[[str, int], None]) -> None:
    """Call ``first`` with the signal's name and the exit code in the running loop when SIGINT or SIGTERM comes.

    A second signal, half a second later or more, ends the process at once.
    """
    loop = asyncio.get_running_loop()
    came_s: list[float] = []

    def handle(number: int) -> None:
        code = 128 + number
        now_s = time.monotonic()
        if came_s and now_s - came_s[0] >= SAME_S:
            os._exit(code)
        if not came_s:
            came_s.append(now_s)
            first(signal.Signals(number).name, code)

    for number in (signal.SIGINT, signal.SIGTERM):
        try:
            loop.add_signal_handler(number, handle, int(number))
        except NotImplementedError:  # Windows
            signal.signal(number, lambda got, _: loop.call_soon_threadsafe(handle, got) and None)


@dataclass
class Interrupt:
    """Which signal raises KeyboardInterrupt, and the exit code that it ends a command with."""

    name: str = "SIGINT"
    code: int = 130


@contextlib.contextmanager
def sigterm_interrupts() -> Iterator[Interrupt]:
    """Let SIGTERM raise KeyboardInterrupt as Ctrl-C does; a second one ends the process at once."""
    came = Interrupt()

    def handle(number: int, _: object) -> None:
        if came.name == "SIGTERM":
            os._exit(came.code)
        came.name, came.code = "SIGTERM", 128 + number
        raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread():
        yield came  # only the main thread may set a handler
        return
    before = signal.signal(signal.SIGTERM, handle)
    try:
        yield came
    finally:
        signal.signal(signal.SIGTERM, before)


PEM = click.Path(dir_okay=False, path_type=Path)
