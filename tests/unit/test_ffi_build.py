"""The build of the extension. Goal: every C file of the core goes in, and the flags fit compiler and Python."""

import importlib.util
import re
from pathlib import Path

import pytest

from kvspic import _lib

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def build():
    pytest.importorskip("cffi")
    spec = importlib.util.spec_from_file_location("ffi_build", ROOT / "kvspic" / "_ffi_build.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_all_sources_are_named_relative_and_sorted(build):
    found = build.sources()
    assert found == sorted(found)
    assert not any(name.startswith("/") for name in found)
    folders = {name.split("/")[1] for name in found}
    assert folders == {"base", "media", "store", "wire", "machine", "engine", "host"}


def test_the_extension_keeps_to_the_limited_interface(build):
    options = build.compile_options(is_windows=False)
    assert options["py_limited_api"] is build.HAS_LIMITED_API
    assert ("Py_LIMITED_API", "0x030a0000") in options["define_macros"] or not build.HAS_LIMITED_API


def test_no_compiler_may_change_numbers(build):
    for is_windows in (False, True):
        flags = build.compile_options(is_windows=is_windows)["extra_compile_args"]
        assert not any("fast" in flag for flag in flags)


def test_windows_gets_its_own_flags(build):
    flags = build.compile_options(is_windows=True)["extra_compile_args"]
    assert all(flag.startswith("/") for flag in flags)


def test_no_debug_information_is_shipped(build):
    options = build.compile_options(is_windows=False)
    assert "-g0" in options["extra_compile_args"]
    assert options["extra_link_args"] == [build.STRIP]


def test_sanitizers_are_compiled_and_linked(build):
    options = build.compile_options(is_windows=False, sanitize="address,undefined")
    assert "-fsanitize=address,undefined" in options["extra_compile_args"]
    assert options["extra_link_args"] == ["-fsanitize=address,undefined"]


def test_the_extension_has_no_functions_for_tests(build):
    internal = set(re.findall(r"\b(kvs_\w+)\(", (ROOT / "kvspic" / "_cdef_test.h").read_text(encoding="utf-8")))
    assert len(internal) > 20
    assert not internal & set(dir(_lib.lib))
    assert set(build.sources(folders=build.TEST_FOLDERS)) < set(build.sources())
