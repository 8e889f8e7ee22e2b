"""Where the agents of a run are: started here or by ssh for its length, or running already. Processes and names only.

An agent that is started is a new process, never a fork: gRPC does not survive one. It ends when its standard input
closes, so none is left behind, however the controller ends. It has a session of its own: Ctrl-C is for the controller,
which ends the agents in order.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import shlex
import socket
import sys
from collections.abc import Sequence
from types import TracebackType

from kvspic.bench.channel import BenchError, split_address

__all__ = ["LISTENS", "Fleet", "addresses_of"]

LISTENS = "kvspic bench agent listens on "
UNREACHABLE = 4
AGENTS_MAX = 1000
START_S, START_EACH_S, END_S = 30, 5, 20
PORT = 7761
REMOTE_PORTS = (20_000, 30_000)


async def addresses_of(spec: str) -> list[str]:
    """Return the addresses of agents that run already: one for ``host:port``, all behind a name for ``dns:NAME:PORT``.

    Raises:
        BenchError: it is written otherwise, or the name has no address.
    """
    if not spec.startswith("dns:"):
        split_address(spec)
        return [spec]
    host, port = split_address(spec.removeprefix("dns:"))
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except socket.gaierror as error:
        raise BenchError(f"{host} has no address ({error.strerror}): is the name right?", UNREACHABLE) from error
    hosts = sorted({str(address[0]) for *_, address in found})
    return [f"[{host}]:{port}" if ":" in host else f"{host}:{port}" for host in hosts]


class Fleet:
    """All agents of a run; an asynchronous context manager that ends those which it started.

    Args:
        local: how many agents to start on this machine.
        specs: others: ``host:port``, ``ssh:[user@]host``, ``dns:NAME:PORT``.
        options: words for the command lines of agents that are started, such as ``--allow-command``.

    Attributes:
        addresses: of all agents, in the order given, local ones first.
    """

    def __init__(self, local: int, specs: Sequence[str], options: Sequence[str] = ()) -> None:
        self._local, self._specs, self._options = local, specs, tuple(options)
        self._processes: list[asyncio.subprocess.Process] = []
        self.addresses: list[str] = []

    async def __aenter__(self) -> Fleet:
        try:
            await self._start()
        except BaseException:
            await self.close()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def _start(self) -> None:
        limit_s = START_S + START_EACH_S * (self._local + len(self._specs))
        command = [sys.executable, "-m", "kvspic", "bench", "agent", "--listen", "127.0.0.1:0", *self._common()]
        self.addresses += await asyncio.gather(*(self._begin(command, limit_s) for _ in range(self._local)))
        for spec in self._specs:
            if spec.startswith("ssh:"):
                self.addresses.append(await self._begin_remote(spec.removeprefix("ssh:"), limit_s))
            else:
                self.addresses += await addresses_of(spec)
        twice = next((one for one in self.addresses if self.addresses.count(one) > 1), None)
        if twice is not None:
            raise BenchError(f"The agent {twice} is named twice: name each agent once.")
        if not 1 <= len(self.addresses) <= AGENTS_MAX:
            raise BenchError(f"A run has 1 to {AGENTS_MAX} agents, and {len(self.addresses)} are named.")

    def _common(self) -> list[str]:
        return ["--until-stdin-closes", *self._options]

    async def _begin(self, command: Sequence[str], limit_s: float) -> str:
        """Start an agent and return the address that it says it listens on."""
        try:
            process = await asyncio.create_subprocess_exec(
                *command, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, start_new_session=True
            )
        except OSError as error:
            text = f"The program {command[0]} cannot be started ({error.strerror})"
            raise BenchError(f"{text}: is it installed?", UNREACHABLE) from error
        self._processes.append(process)
        assert process.stdout is not None
        try:
            line = (await asyncio.wait_for(process.stdout.readline(), limit_s)).decode(errors="replace").strip()
            what = "ended before it listened"
        except (TimeoutError, asyncio.TimeoutError):
            line, what = "", f"did not start within {limit_s:g} s"
        if not line.startswith(LISTENS):
            raise BenchError(f"An agent {what}; run it by hand to see why: {shlex.join(command)}", UNREACHABLE)
        return line.removeprefix(LISTENS)

    async def _begin_remote(self, host: str, limit_s: float) -> str:
        """Start an agent over ssh; its loopback port is forwarded to one of ours."""
        if not host or host.startswith("-"):
            raise BenchError(f"A machine is written as ssh:host or ssh:user@host, not ssh:{host}.")
        here, there = _free_port(), REMOTE_PORTS[0] + secrets.randbelow(REMOTE_PORTS[1] - REMOTE_PORTS[0])
        agent = ["kvspic", "bench", "agent", "--listen", f"127.0.0.1:{there}", *self._common()]
        forward = f"127.0.0.1:{here}:127.0.0.1:{there}"
        ssh = ["ssh", "-o", "BatchMode=yes", "-o", "ExitOnForwardFailure=yes", "-L", forward, host, shlex.join(agent)]
        await self._begin(ssh, limit_s)
        return f"127.0.0.1:{here}"

    async def close(self) -> None:
        """Let the agents that were started end, 20 s at most, and kill what has not ended then."""
        for process in self._processes:
            if process.stdin is not None:
                process.stdin.close()
        await asyncio.gather(*(_ended(process) for process in self._processes))
        self._processes.clear()


async def _ended(process: asyncio.subprocess.Process) -> None:
    try:
        await asyncio.wait_for(process.communicate(), END_S)
    except (TimeoutError, asyncio.TimeoutError):
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
