"""What an installation brings and what an import loads. Goal: a small SDK that starts at once."""

import re
import subprocess
import sys

import pytest
from tidy.project import ROOT

REQUIRED = {"boto3", "cffi", "h11", "requests"}
LATE = ["aiohttp", "asyncio", "av", "boto3", "botocore", "click", "h11", "numpy", "requests", "rich", "ssl"]


def test_four_packages_are_required_at_run_time():
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    listed = re.search(r"^dependencies = \[(.*?)\]", text, re.MULTILINE | re.DOTALL)
    assert {re.match(r"[\w-]+", name)[0] for name in re.findall(r'"([^"]+)"', listed[1])} == REQUIRED


def loaded_by(statement: str) -> set[str]:
    """Modules that a fresh interpreter has after ``statement``."""
    program = f"import sys; {statement}; print(*sys.modules)"
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    return set(result.stdout.split())


@pytest.fixture(scope="module")
def bare():
    return loaded_by("pass")


def test_import_loads_no_heavy_package(bare):
    assert sorted((loaded_by("import kvspic") - bare) & set(LATE)) == []


def test_the_build_script_does_not_import_the_package():
    text = (ROOT / "kvspic" / "_ffi_build.py").read_text(encoding="utf-8")
    assert not re.search(r"^\s*(import|from) kvspic", text, re.MULTILINE)
