"""Agents that a run starts. Goal: they are new processes, they end with the run, and ssh needs nothing but ssh."""

import asyncio
import os
import sys

import pytest

pytest.importorskip("grpc")

from kvspic.bench.channel import BenchError
from kvspic.bench.launch import LISTENS, Fleet

# Stands for an agent: says where it listens, and ends with its standard input.
AGENT = f"""
import sys
print("{LISTENS}" + sys.argv[sys.argv.index("--listen") + 1], flush=True)
sys.stdin.read()
"""
# Stands for ssh: writes down its arguments, and runs the agent of the last one here.
SSH = f"""#!{sys.executable}
import os, shlex, sys
open(os.environ["SSH_SEEN"], "a").write(shlex.join(sys.argv[1:]) + "\\n")
words = shlex.split(sys.argv[-1])
assert words[:3] == ["kvspic", "bench", "agent"]
os.execv(sys.executable, [sys.executable, "-c", {AGENT!r}, *words[3:]])
"""


@pytest.fixture
def ssh(tmp_path, monkeypatch):
    """A program ssh; returns the file with what it was called with."""
    program = tmp_path / "bin" / "ssh"
    program.parent.mkdir()
    program.write_text(SSH)
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("SSH_SEEN", str(tmp_path / "seen"))
    return tmp_path / "seen"


async def started(local, specs, options=()):
    async with Fleet(local, specs, options) as fleet:
        processes = list(fleet._processes)
        assert all(process.returncode is None for process in processes)
        addresses = list(fleet.addresses)
    return addresses, [process.returncode for process in processes]


@pytest.mark.skipif(sys.platform == "win32", reason="the ssh of this test is a script")
def test_an_agent_over_ssh_is_reached_through_a_forwarded_port(ssh):
    addresses, codes = asyncio.run(started(0, ["ssh:pi@lab1", "ssh:lab2"], ["--allow-command"]))
    assert codes == [0, 0]  # each ended when its standard input closed
    calls = [line.split() for line in ssh.read_text().splitlines()]
    for address, words, host in zip(addresses, calls, ["pi@lab1", "lab2"]):
        assert words[words.index("-L") + 1].startswith(f"{address}:127.0.0.1:")
        assert words[words.index("-L") + 2] == host
        there = words[words.index("-L") + 1].rpartition(":")[2]
        line = " ".join(words)
        assert f"kvspic bench agent --listen 127.0.0.1:{there} --until-stdin-closes --allow-command" in line


@pytest.mark.parametrize("spec", ["ssh:", "ssh:-oProxyCommand=x", "lab1", "dns:lab1"])
def test_a_machine_that_is_written_wrong_is_a_sentence(spec):
    with pytest.raises(BenchError, match=r"written as|host:port"):
        asyncio.run(started(0, [spec]))


@pytest.mark.skipif(sys.platform == "win32", reason="the ssh of this test is a script")
def test_an_agent_that_ends_at_its_start_is_not_waited_for(ssh):
    ssh.parent.joinpath("bin", "ssh").write_text("#!/bin/sh\nexit 255\n")
    with pytest.raises(BenchError, match="ended before it listened; run it by hand to see why: ssh ") as caught:
        asyncio.run(started(0, ["ssh:lab1"]))
    assert caught.value.code == 4


def test_an_agent_is_named_once():
    with pytest.raises(BenchError, match=r"10\.0\.0\.1:1 is named twice"):
        asyncio.run(started(0, ["10.0.0.1:1", "10.0.0.2:1", "10.0.0.1:1"]))
    with pytest.raises(BenchError, match="1 to 1000 agents, and 0 are named"):
        asyncio.run(started(0, []))


def test_local_agents_are_processes_that_end_with_the_run():
    addresses, codes = asyncio.run(started(2, []))
    assert len(set(addresses)) == 2
    assert all(address.startswith("127.0.0.1:") for address in addresses)
    assert codes == [0, 0]
