"""The clusters of tests. Goal: a test process that is killed leaves its PostgreSQL running for no longer than until the
next one makes its own."""

import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from postgres import MISSING, programs, remove_abandoned

HOLD = """
import sys
sys.path.insert(0, sys.argv[1])
from postgres import cluster
with cluster() as made:
    print(made.folder, made.postmaster, flush=True)
    sys.stdin.read()
"""


def runs(process_id: str) -> bool:
    """Whether a process is there and has not ended; in a container one that has ended may never be reaped."""
    try:
        text = Path(f"/proc/{process_id}/stat").read_text(encoding="utf-8")
    except (FileNotFoundError, ProcessLookupError):
        return False
    return text.rpartition(")")[2].split()[0] not in "ZX"


@pytest.mark.skipif(programs() is None, reason=MISSING)
def test_the_cluster_of_a_killed_process_is_stopped_and_removed_and_no_other():
    tests = Path(__file__).resolve().parents[2]
    with tempfile.TemporaryDirectory(prefix="kvspic-left-") as parent:  # short, for the path of a Unix socket
        Path(parent).chmod(0o755)
        holder = subprocess.Popen(
            [sys.executable, "-c", HOLD, str(tests)], env={**os.environ, "TMPDIR": parent},
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        with holder:
            folder, postmaster = holder.stdout.readline().split()
            remove_abandoned(parent)
            assert runs(postmaster)
            holder.send_signal(signal.SIGKILL)
            holder.wait(60)
        assert Path(folder).exists()
        remove_abandoned(parent)
        assert not Path(folder).exists()
        assert not runs(postmaster)
