"""The build of the extension. Goal: every C file of the core goes in, the flags fit compiler and Python, and
what Python knows of the headers is what they say."""

import importlib.util
import re
from pathlib import Path

import pytest

from kvspic import _enums, _lib

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
    headers = ((ROOT / "csrc" / name).read_text(encoding="utf-8") for name in build.TEST_HEADERS)
    internal = set(re.findall(r"\b(kvs_\w+)\(", "".join(map(build.declarations, headers))))
    assert len(internal) > 20
    assert not internal & set(dir(_lib.lib))
    assert set(build.sources(folders=build.TEST_FOLDERS)) < set(build.sources())


HEADER = """\
/* A header,
 * in short. */
#ifndef A_H
#define A_H
#include <stdint.h>
#ifdef __cplusplus
extern "C" {
#endif
#if defined(__GNUC__)
#define KVS_API __attribute__((visibility("default")))
#endif
#define A_COUNT 3u
#define A_NEVER UINT64_MAX /* no time */
#define A_NAME "a"
#define A_SUM(a, b) \\
    ((a) + (b))
enum a_flag { A_ONE = 1u << 0, A_FOUR = 1u << 2 /* not 2 */ };
struct a { uint32_t of[A_COUNT]; };
KVS_API int a_of(const struct a *a);
static inline int a_first(const struct a *a)
{
    if (a == NULL) {
        return 0;
    }
    return (int)a->of[0];
}
static int a_none(void) { return 0; }
#endif
"""
DECLARED = """\
#define A_COUNT 3u
#define A_NEVER ...
enum a_flag { A_ONE = 1u << 0, A_FOUR = 1u << 2  };
struct a { uint32_t of[A_COUNT]; };
int a_of(const struct a *a);
int a_first(const struct a *a);
int a_none(void);
"""


def test_a_header_becomes_declarations(build):
    assert build.declarations(HEADER) == DECLARED


def test_the_enumerations_are_those_of_the_headers(build):
    """Another text here: the extension was not built since a header changed."""
    assert Path(_enums.__file__).read_text(encoding="utf-8") == build.enumerations()


def test_an_enumeration_has_the_names_and_values_of_the_header(build):
    header = (ROOT / "csrc" / "include" / "kvspic.h").read_text(encoding="utf-8")
    for name, member in _enums.ActionKind.__members__.items():
        assert re.search(rf"\bKVS_ACTION_{name} = {member.value}\b", header)
    assert len(_enums.ActionKind) == len(set(re.findall(r"\bKVS_ACTION_\w+ = ", header)))


def test_results_of_the_service_have_the_names_of_the_error_acks(build):
    assert _enums.ServiceResult.KMS_KEY_DISABLED == 4501
    assert _enums.ServiceResult.UNKNOWN == 10006  # UNKNOWN of the error ACKs is another one
    assert _enums.ServiceResult.UNKNOWN_ACK == 7000


def test_the_enumerations_are_written_once(build, tmp_path):
    for header in ("kvspic.h", "kvspic_acks.h"):
        (tmp_path / "csrc" / "include").mkdir(parents=True, exist_ok=True)
        (tmp_path / "csrc" / "include" / header).write_bytes((ROOT / "csrc" / "include" / header).read_bytes())
    (tmp_path / "kvspic").mkdir()
    build.write_enumerations(tmp_path)
    written = tmp_path / "kvspic" / "_enums.py"
    assert written.read_text(encoding="utf-8") == build.enumerations()
    written.chmod(0o400)
    before = written.stat().st_mtime_ns
    build.write_enumerations(tmp_path)
    assert written.stat().st_mtime_ns == before
