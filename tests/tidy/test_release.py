"""What is published. Goal: a wheel is small, says whose it is, and has one version."""

import re
import sys
from pathlib import Path

from tidy.project import ROOT

from kvspic import __version__

METADATA = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
EXTENSION_MAX = 600_000  # bytes; 250 KB on x86_64 in November 2026
SANITIZED_NAME = b"__asan_init"


def test_the_compiled_extension_is_small_and_stripped():
    extension = Path(sys.modules["kvspic._native"].__file__).read_bytes()
    if SANITIZED_NAME not in extension:
        assert len(extension) < EXTENSION_MAX
        assert b".debug_info" not in extension
        assert b".symtab" not in extension


def test_the_version_stands_in_one_place():
    header = (ROOT / "csrc" / "base" / "version.h").read_text(encoding="utf-8")
    assert f'#define KVS_VERSION "{__version__}"' in header
    assert 'dynamic = ["version"]' in METADATA
    others = [ROOT / "setup.py", ROOT / "pyproject.toml", *sorted((ROOT / "kvspic").glob("*.py"))]
    assert [path.name for path in others if f'"{__version__}"' in path.read_text(encoding="utf-8")] == []


def test_addresses_are_a_placeholder_until_the_project_has_a_home():
    """The person who publishes writes the real ones, here too; `make release-check` says so."""
    hosts = re.findall(r"https://([\w.-]+)|[\w.]+@([\w.-]+)", METADATA)
    assert {web or mail for web, mail in hosts} == {"kvspic.example"}
