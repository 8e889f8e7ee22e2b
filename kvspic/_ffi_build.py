"""cffi's build script: the extension module ``kvspic._native``, from csrc and the declarations of _cdef.h.

A checkout gets a second one, ``kvspic.testing._internals``, from _cdef_test.h: the functions inside the packager that
recorded examples are run against. No wheel has it.

API mode, so the C compiler checks each declaration; limited API of Python 3.10, so one wheel serves later Pythons.
The GIL stays held in every call: none of them can block, and giving it up costs a hundred times the work of a put as
soon as another Python thread is busy. setup.py uses the builders; ``python -m kvspic._ffi_build`` builds in place.
Environment: ``KVSPIC_SANITIZE=address,undefined`` compiles and links with these sanitizers.
"""

from __future__ import annotations

import os
import sys
import sysconfig
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cffi import FFI

__all__ = ["compile_options", "ffibuilder", "make_builder", "make_test_builder", "sources", "test_builder"]

ROOT = Path(__file__).resolve().parent.parent
FOLDERS = ("base", "media", "store", "wire", "machine", "engine", "host")
TEST_FOLDERS = ("base", "media")
INCLUDE_DIRS = ["csrc", "csrc/include"]
LIMITED_API = "0x030a0000"  # Python 3.10
# PyPy loads no extension of CPython's, whatever its API.
HAS_LIMITED_API = sys.implementation.name == "cpython" and not sysconfig.get_config_var("Py_GIL_DISABLED")
IS_WINDOWS = sysconfig.get_platform().startswith("win")
STRIP = "-Wl,-x" if sysconfig.get_platform().startswith("macos") else "-Wl,-s"

# The generated wrappers give the GIL up around each call; these empty macros take that out of them.
KEEP_GIL = """
#undef Py_BEGIN_ALLOW_THREADS
#undef Py_END_ALLOW_THREADS
#define Py_BEGIN_ALLOW_THREADS
#define Py_END_ALLOW_THREADS
"""

CALLS = """
static uint64_t kvspic_now_hns(const int64_t *offset_hns) { return kvs_host_now_hns() + (uint64_t)*offset_hns; }

/* What begins a turn, in one crossing: what is due happens, actions are taken, the next deadline is read. */
static kvs_status kvspic_turn(struct kvs_client *client, uint64_t now_hns, struct kvs_action *actions_out,
                              uint32_t count, uint64_t *deadline_out)
{
    kvs_status status = kvs_client_poke(client, now_hns);
    if (status == KVS_OK) status = kvs_client_next_actions(client, actions_out, count);
    *deadline_out = kvs_client_next_deadline(client);
    return status;
}
"""
PREAMBLE = KEEP_GIL + '#include "host/gate.h"\n' + CALLS


def sources(root: Path = ROOT, folders: Sequence[str] = FOLDERS) -> list[str]:
    """Return the C files relative to the project's root, sorted, as setuptools and a reproducible build want them."""
    found = (path for folder in folders for path in (root / "csrc" / folder).glob("*.c"))
    return sorted(path.relative_to(root).as_posix() for path in found)


def compile_options(is_windows: bool = IS_WINDOWS, sanitize: str = "") -> dict[str, Any]:
    """Return setuptools' keywords: optimised, and exact in floating point (sampling rates are written as bytes)."""
    macros = [("Py_LIMITED_API", LIMITED_API)] if HAS_LIMITED_API else []
    options: dict[str, Any] = {"define_macros": macros, "py_limited_api": HAS_LIMITED_API}
    if is_windows:
        return options | {"extra_compile_args": ["/O2", "/std:c11"], "libraries": ["ws2_32", "bcrypt"]}
    flags = ["-O2", "-fvisibility=hidden"]
    if sanitize:
        flags += [f"-fsanitize={sanitize}", "-fno-omit-frame-pointer", "-fno-sanitize-recover=all", "-g"]
        return options | {"extra_compile_args": flags, "extra_link_args": [f"-fsanitize={sanitize}"]}
    # Python's own flags ask for debug information: a megabyte that a camera does not need.
    return options | {"extra_compile_args": [*flags, "-g0"], "extra_link_args": [STRIP]}


def make_builder(root: Path = ROOT) -> FFI:
    """Return the builder for a checkout or an unpacked source archive at ``root``."""
    return _builder(root, "kvspic._native", "_cdef.h", PREAMBLE, FOLDERS)


def make_test_builder(root: Path = ROOT) -> FFI:
    """Return the builder of ``kvspic.testing._internals``: parts of the packager, without the engine."""
    shim = (root / "kvspic" / "_cdef_test_preamble.h").read_text(encoding="utf-8")
    return _builder(root, "kvspic.testing._internals", "_cdef_test.h", KEEP_GIL + shim, TEST_FOLDERS)


def _builder(root: Path, module: str, header: str, preamble: str, folders: Sequence[str]) -> FFI:
    builder = FFI()
    builder.cdef((root / "kvspic" / header).read_text(encoding="utf-8"))
    options = compile_options(sanitize=os.environ.get("KVSPIC_SANITIZE", ""))
    builder.set_source(module, preamble, sources=sources(root, folders), include_dirs=INCLUDE_DIRS, **options)
    return builder


ffibuilder = make_builder()
test_builder = make_test_builder()

if __name__ == "__main__":
    os.chdir(ROOT)  # sources are named relative to it
    ffibuilder.compile(verbose=True)
    test_builder.compile(verbose=True)
