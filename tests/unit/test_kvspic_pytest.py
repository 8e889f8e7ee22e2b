"""The pytest plugin, run in a test suite of its own. Goal: the fixture works, and loads nothing before it is used."""

import os
import subprocess
import sys

from tidy.project import ROOT

SUITE = """
import itertools
import json
import sys
from datetime import timedelta

import pytest

def test_nothing_of_kvspic_is_loaded_before_the_fixture_is_used():
    assert "kvspic" not in sys.modules

def test_what_is_put_is_stored_and_faults_strike(kvspic_endpoint):
    import kvspic
    from kvspic.local.faults import Fault, FaultKind
    kvspic_endpoint.faults.add(Fault(FaultKind.CUT, operation="PutMedia", after_bytes=300, count=1))
    track = kvspic.Track("V_TEST", "video/x-test")
    with kvspic.Producer(endpoint_url=kvspic_endpoint.url) as producer:
        with producer.open_stream("cam", [track]) as stream:
            for number in range(4):
                stream.put_frame(b"frame", pts=1_700_000_000_000_000_000 + number * 10**9, key_frame=True)
    assert stream.report.frames_done == 4
    assert stream.metrics().sessions == 2
    assert len({fragment.producer_hns for fragment in kvspic_endpoint.fragments("cam")}) == 4

KINDS = {
    "refuse": {"count": 1},
    "unreachable": {"count": 1},
    "answer": {"status": 500, "error_name": "InternalFailure", "count": 1},
    "delay": {"delay_ms": 50},
    "cut": {"after_bytes": 300, "count": 1},
    "silence": {"after_bytes": 300, "count": 1},
    "stall": {"delay_ms": 50},
    "throttle": {"bytes_per_s": 20000},
    "error-ack": {"error_id": "INTERNAL_ERROR", "count": 1},
    "delay-acks": {"delay_ms": 50},
    "reorder-acks": {},
    "drop-acks": {"count": 1},
    "expire-tokens": {},
    "restart": {"delay_ms": 50},
}

@pytest.mark.parametrize("kind", KINDS)
def test_a_stream_gets_over_each_kind_of_fault(kvspic_endpoint, kind):
    import kvspic
    from kvspic.local.fault_file import faults_of_text
    from kvspic.provider.credentials import CallableCredentials, Credentials
    numbers = itertools.count()
    fault = {"kind": kind, "operation": "PutMedia", **KINDS[kind]}
    track = kvspic.Track("V_TEST", "video/x-test")
    keys = CallableCredentials(lambda: Credentials(f"KEY{next(numbers)}", "secret"))
    with kvspic.Producer(endpoint_url=kvspic_endpoint.url, credentials=keys) as producer:
        with producer.open_stream("cam", [track], stale_after=timedelta(seconds=0.5)) as stream:
            kvspic_endpoint.faults.add(*faults_of_text(json.dumps([fault])))
            for number in range(4):
                stream.put_frame(bytes(200), pts=1_700_000_000_000_000_000 + number * 10**9, key_frame=True)
    assert stream.report.is_complete
    assert len({fragment.producer_hns for fragment in kvspic_endpoint.fragments("cam")}) == 4

def test_each_test_has_an_endpoint_of_its_own(kvspic_endpoint):
    with pytest.raises(Exception, match="not found"):
        kvspic_endpoint.fragments("cam")
"""


def test_the_fixture_serves_a_suite(tmp_path):
    (tmp_path / "test_suite.py").write_text(SUITE, encoding="utf-8")
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "kvspic_pytest", "-p", "no:cacheprovider", "test_suite.py"]
    run = subprocess.run(
        command, cwd=tmp_path, env=environment, check=False, capture_output=True, text=True, timeout=120
    )
    assert run.returncode == 0, run.stdout
    assert "17 passed" in run.stdout


def test_the_plugin_is_an_entry_point_of_the_package():
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    assert '[project.entry-points.pytest11]\nkvspic = "kvspic_pytest"' in text
    assert 'py-modules = ["kvspic_pytest"]' in text
