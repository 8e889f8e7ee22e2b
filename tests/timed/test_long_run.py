"""The long run in a minute. Goal: cut again and again, streams lose no frame, and memory and descriptors stay flat."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.timed
def test_streams_that_are_cut_for_a_minute_stay_flat_and_exact(tmp_path):
    command = [sys.executable, str(ROOT / "benchmarks" / "long_run.py"), "--seconds", "60", "--cut-every", "6"]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "TMPDIR": str(tmp_path)}
    done = subprocess.run(command, capture_output=True, text=True, timeout=240, env=environment, check=False)
    assert done.stdout, done.stderr[-2000:]
    result = json.loads(done.stdout)
    assert all(result["kept"].values()), result
    assert result["cuts"] >= 8
