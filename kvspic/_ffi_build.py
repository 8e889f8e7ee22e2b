"""cffi's build script: one extension module, ``kvspic._native``, from csrc and the declarations of _cdef*.h.

API mode, so the C compiler checks each declaration; limited API of Python 3.10, so one wheel serves later Pythons.
The GIL stays held in every call: none of them can block, and giving it up costs a hundred times the work of a put as
soon as another Python thread is busy. setup.py uses ``ffibuilder``; ``python -m kvspic._ffi_build`` builds in place.
Environment: ``KVSPIC_SANITIZE=address,undefined`` compiles and links with these sanitizers.
"""

from __future__ import annotations

import os
import sysconfig
from pathlib import Path
from typing import Any

from cffi import FFI

__all__ = ["compile_options", "declarations", "ffibuilder", "make_builder", "sources"]

ROOT = Path(__file__).resolve().parent.parent
FOLDERS = ("base", "media", "store", "wire", "machine", "engine", "host")
INCLUDE_DIRS = ["csrc", "csrc/include"]
HAS_LIMITED_API = not sysconfig.get_config_var("Py_GIL_DISABLED")
IS_WINDOWS = sysconfig.get_platform().startswith("win")

# The generated wrappers give the GIL up around each call; these empty macros take that out of them.
KEEP_GIL = """
#undef Py_BEGIN_ALLOW_THREADS
#undef Py_END_ALLOW_THREADS
#define Py_BEGIN_ALLOW_THREADS
#define Py_END_ALLOW_THREADS
"""

# A put in the units of the facade. Division and clock cost a third of a small frame's put when Python does them; that
# a time can be true is asked here for the same reason. Nobody but the caller reads the clock: the GIL is held. Each
# argument costs 10 ns or more on its way through cffi: a plain frame, of track 1 with no more than a pts, has its own.
PUT_FRAME = """
struct kvspic_gate {
    struct kvs_stream *stream;
    int64_t offset_hns;     /* from the host's clock to the producer's */
    uint64_t earliest_hns;  /* a dts before it is refused */
    uint64_t ahead_hns;     /* and one that lies further ahead of the producer's now */
};

static kvs_status kvspic_put_frame(const struct kvspic_gate *gate, const uint8_t *data, uint32_t data_size,
                                   uint64_t pts_ns, uint64_t dts_ns, uint64_t duration_ns, uint64_t track,
                                   uint32_t flags)
{
    uint64_t now_hns = kvs_host_now_hns() + (uint64_t)gate->offset_hns, dts_hns = dts_ns / 100;
    if (dts_hns < gate->earliest_hns || dts_hns > now_hns + gate->ahead_hns) return KVS_E_FRAME_TIMESTAMP_RANGE;
    return kvs_stream_put_frame(gate->stream, data, data_size, pts_ns / 100, dts_hns, duration_ns / 100, track, flags,
                                now_hns);
}

static kvs_status kvspic_put_plain(const struct kvspic_gate *gate, const uint8_t *data, uint32_t data_size,
                                   uint64_t pts_ns, uint32_t flags)
{
    return kvspic_put_frame(gate, data, data_size, pts_ns, pts_ns, 0, 1, flags);
}
"""


def declarations(root: Path = ROOT) -> str:
    """Return what cffi is told: the public interface, and the internal functions for tests where they exist."""
    text = (root / "kvspic" / "_cdef.h").read_text(encoding="utf-8")
    internal = root / "kvspic" / "_cdef_test.h"
    return text + internal.read_text(encoding="utf-8") if internal.exists() else text


def sources(root: Path = ROOT) -> list[str]:
    """Return the C files relative to the project's root, sorted, as setuptools and a reproducible build want them."""
    found = (path for folder in FOLDERS for path in (root / "csrc" / folder).glob("*.c"))
    return sorted(path.relative_to(root).as_posix() for path in found)


def preamble(root: Path = ROOT) -> str:
    """Return the C text in front of the generated wrappers."""
    text = KEEP_GIL + '#include "kvspic.h"\n#include "host/kvs_host.h"\n' + PUT_FRAME
    shim = root / "kvspic" / "_cdef_test_preamble.h"
    return text + shim.read_text(encoding="utf-8") if shim.exists() else text


def compile_options(is_windows: bool = IS_WINDOWS, sanitize: str = "") -> dict[str, Any]:
    """Return setuptools' keywords: optimised, and exact in floating point (sampling rates are written as bytes)."""
    macros = [("Py_LIMITED_API", "0x030a0000")] if HAS_LIMITED_API else []
    options: dict[str, Any] = {"define_macros": macros, "py_limited_api": HAS_LIMITED_API}
    if is_windows:
        return options | {"extra_compile_args": ["/O2", "/std:c11"], "libraries": ["ws2_32", "bcrypt"]}
    flags = ["-O2", "-fvisibility=hidden"]
    if sanitize:
        flags += [f"-fsanitize={sanitize}", "-fno-omit-frame-pointer", "-fno-sanitize-recover=all", "-g"]
        options["extra_link_args"] = [f"-fsanitize={sanitize}"]
    return options | {"extra_compile_args": flags}


def make_builder(root: Path = ROOT) -> FFI:
    """Return the builder for a checkout or an unpacked source archive at ``root``."""
    builder = FFI()
    builder.cdef(declarations(root))
    options = compile_options(sanitize=os.environ.get("KVSPIC_SANITIZE", ""))
    builder.set_source(
        "kvspic._native", preamble(root), sources=sources(root), include_dirs=INCLUDE_DIRS, **options
    )
    return builder


ffibuilder = make_builder()

if __name__ == "__main__":
    os.chdir(ROOT)  # sources are named relative to it
    ffibuilder.compile(verbose=True)
