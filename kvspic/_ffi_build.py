"""cffi's build script: the extension module ``kvspic._native``, and what Python knows of the C headers.

The headers are the one source. :func:`declarations` turns them into what cffi's parser takes (no C preprocessor is
needed), and :func:`enumerations` makes kvspic/_enums.py of their enumerations, which setup.py writes at each build.
A checkout gets a second extension, ``kvspic.testing._internals``: the functions of csrc/media that recorded examples
are run against. No wheel has it.

API mode, so the C compiler checks each declaration; limited API of Python 3.10, so one wheel serves later Pythons.
The GIL stays held in every call: none of them can block, and giving it up costs a hundred times the work of a put as
soon as another Python thread is busy. setup.py uses the builders; ``python -m kvspic._ffi_build`` builds in place.
Environment: ``KVSPIC_SANITIZE=address,undefined`` compiles and links with these sanitizers.
"""

from __future__ import annotations

import os
import re
import sys
import sysconfig
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from cffi import FFI

__all__ = [
    "compile_options",
    "declarations",
    "enumerations",
    "ffibuilder",
    "make_builder",
    "make_test_builder",
    "sources",
    "test_builder",
    "write_enumerations",
]

ROOT = Path(__file__).resolve().parent.parent
FOLDERS = ("base", "media", "store", "wire", "machine", "engine", "host")
TEST_FOLDERS = ("base", "media")
INCLUDE_DIRS = ["csrc", "csrc/include"]
HEADERS = ("include/kvspic.h", "host/kvs_host.h", "host/gate.h")
TEST_HEADERS = ("media/cpd.h", "media/ebml.h", "media/generator.h", "media/mkv.h", "media/nal.h")
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

/* What begins a turn, in one crossing: what is due happens, up to `count` actions are taken, the next deadline is read.
 * DATA, which comes for nearly every frame, leaves by data_out: first how many there are, then the user and the upload
 * of each. The others stay in actions_out; returns how many these are, or a negative status. */
static kvs_status kvspic_turn(struct kvs_client *client, uint64_t now_hns, struct kvs_action *actions_out,
                              uint32_t count, uint64_t *data_out, uint64_t *deadline_out)
{
    kvs_status status = kvs_client_poke(client, now_hns), others = 0;
    if (status == KVS_OK) status = kvs_client_next_actions(client, actions_out, count);
    *deadline_out = kvs_client_next_deadline(client);
    data_out[0] = 0;
    if (status < 0) return status;
    for (kvs_status index = 0; index < status; index++) {
        const struct kvs_action *action = &actions_out[index];
        if (action->kind == KVS_ACTION_DATA) {
            uint64_t *pair = &data_out[1 + 2 * data_out[0]++];
            pair[0] = action->user, pair[1] = action->upload;
        } else if (others++ != index) {
            actions_out[others - 1] = *action;
        }
    }
    return others;
}

/* A session's next bytes as one chunk (RFC 9112, section 7.1): they are read to memory + KVSPIC_CHUNK_ROOM, their size
 * and line ends are written around them. out: where the chunk begins and ends in memory, and an enum kvs_read_state.
 * Returns how many bytes there are without the coding (0: no chunk), or a negative status. */
#define KVSPIC_CHUNK_ROOM 16
static int32_t kvspic_read_chunk(struct kvs_stream *stream, uint64_t upload, uint8_t *memory, uint32_t size,
                                 uint32_t *out, uint64_t now_hns)
{
    enum kvs_read_state state = KVS_READ_WAIT;
    uint8_t *begin = memory + KVSPIC_CHUNK_ROOM;
    int32_t count = kvs_upload_read(stream, upload, begin, size, &state, now_hns);
    out[2] = (uint32_t)state;
    if (count <= 0) return count;
    uint8_t *end = begin + count;
    *end++ = '\\r', *end++ = '\\n';
    *--begin = '\\n', *--begin = '\\r';
    for (uint32_t left = (uint32_t)count; left > 0; left >>= 4) *--begin = (uint8_t)"0123456789abcdef"[left & 15];
    out[0] = (uint32_t)(begin - memory), out[1] = (uint32_t)(end - memory);
    return count;
}
"""
PREAMBLE = KEEP_GIL + '#include "host/gate.h"\n' + CALLS
TEST_PREAMBLE = KEEP_GIL + "".join(f'#include "{header}"\n' for header in TEST_HEADERS)

INTEGER = re.compile(r"-?(0x[0-9a-f]+|\d+)[ul]*$", re.IGNORECASE)
DEFINE = re.compile(r"#define (\w+) +(\S.*)$")


class Enumeration(NamedTuple):
    """A Python enumeration made from a C one: member names are the C names from ``prefix`` on."""

    name: str
    c_name: str
    prefix: str
    text: str  # the docstring
    more: str = ""  # members that the core does not know, as lines of Python


ENUMERATIONS = (
    Enumeration("AckType", "kvs_ack_type", "KVS_ACK_", "What a fragment ACK says."),
    Enumeration("ActionKind", "kvs_action_kind", "KVS_ACTION_", "What an action is; kvspic.h says what each means."),
    Enumeration(
        "BackwardPolicy",
        "kvs_backward_policy",
        "KVS_BACKWARD_",
        """What happens to a frame whose time goes back within its track.

    SHIFT: time is added to the track's times until the given ones can be true again. DROP: the frame is dropped.
    SESSION: the frame opens a new session. ERROR: the put is refused.
    """,
    ),
    Enumeration(
        "DropReason",
        "kvs_drop",
        "KVS_DROP_",
        """Why frames left the ledger without being done; the numbers are the core's, from 100 on the spool's.

    SKIPPED: no key frame came since the last end of a fragment. UNCONFIRMED: sent four times, and the service
    acknowledged later fragments only. SPOOL_FULL: the spool's oldest file went. SPOOL_LOST: the frame could not be
    written, could not be read back, or was refused when it was.
    """,
        "    SPOOL_FULL = 100\n    SPOOL_LOST = 101\n",
    ),
    Enumeration(
        "FullPolicy",
        "kvs_full_policy",
        "KVS_FULL_",
        """What a put does when the store has no room: drop the oldest fragment that is not being sent, or refuse.""",
    ),
    Enumeration(
        "Order",
        "kvs_order",
        "KVS_ORDER_",
        """How frames of several tracks are ordered.

    CUT fits cameras with sound and is the default for several tracks.
    """,
    ),
    Enumeration(
        "PressureKind",
        "kvs_pressure",
        "KVS_PRESSURE_",
        """What is under pressure: the producer's store, the stream's buffer duration, or its latency.""",
    ),
    Enumeration("ReadState", "kvs_read_state", "KVS_READ_", "What comes after a piece of an upload's body."),
    Enumeration(
        "RefusalClass",
        "kvs_ack_about",
        "KVS_ABOUT_",
        "What an ERROR ACK is about: one fragment, this session, or the whole stream.",
    ),
    Enumeration(
        "ServiceResult",
        "kvs_result",
        "KVS_RESULT_",
        "Result of a service call or of an upload, with the numbers that the field has always used.",
    ),
    Enumeration(
        "StatusClass",
        "kvs_status_class",
        "KVS_CLASS_",
        """What kind of trouble a status is.

    USAGE: the arguments of the call. STATE: the moment of the call. MEDIA: bytes or times of a frame. RESOURCE: a
    limit. SERVICE: the service's answer. INTERNAL: a fault of this library.
    """,
    ),
    Enumeration(
        "StreamState",
        "kvs_stream_state",
        "KVS_STREAM_",
        "The states of a stream's machine; the numbers are the core's.",
    ),
    Enumeration("TrackType", "kvs_track_type", "KVS_TRACK_", "What a track carries."),
)


def declarations(text: str) -> str:
    """Return the text of a C header as cffi's parser takes it: no comments, conditions, macros with arguments or bodies
    of inline functions. A constant that is not one plain integer is left to the compiler (``...``)."""
    text = re.sub(r"/\*.*?\*/", "", text.replace("\\\n", " "), flags=re.DOTALL)
    text = re.sub(r"^#ifdef __cplusplus\n.*?^#endif\n", "", text, flags=re.MULTILINE | re.DOTALL)
    body = r"\s*\{(?:[^\n]*\}\n|\n.*?^\}\n)"
    text = re.sub(rf"^static (?:inline )?([^;{{}}]*\)){body}", r"\1;\n", text, flags=re.MULTILINE | re.DOTALL)
    # The codes of the status table reach Python by kvs_status_at, not as an enumeration.
    text = text.replace("KVS_STATUS_TABLE(KVS_STATUS_ENUM)", "").replace("KVS_API ", "")
    return "\n".join(filter(None, map(_declaration_line, text.splitlines()))) + "\n"


def _declaration_line(line: str) -> str:
    line = line.rstrip()
    if not line.lstrip().startswith("#"):
        return line
    found = DEFINE.match(line)
    if found is None or found[1] == "KVS_API" or found[2].startswith('"'):
        return ""
    return line if INTEGER.match(found[2]) else f"#define {found[1]} ..."


def _read(root: Path, headers: Sequence[str]) -> str:
    return "".join((root / "csrc" / header).read_text(encoding="utf-8") for header in headers)


def enumerations(root: Path = ROOT) -> str:
    """Return the text of kvspic/_enums.py: the enumerations of kvspic.h that Python uses."""
    parser = FFI()
    parser.cdef(declarations(_read(root, HEADERS[:1])))
    refusals = re.findall(r"X\((\d+), (\w+),", _read(root, ["include/kvspic_acks.h"]))
    names = "".join(f'    "{each.name}",\n' for each in ENUMERATIONS)
    parts = [
        '"""Enumerations of csrc/include/kvspic.h, written by kvspic/_ffi_build.py at each build."""\n\n'
        f"import enum\n\n__all__ = [\n{names}]\n"
    ]
    for each in ENUMERATIONS:
        values = {
            name[len(each.prefix) :]: value
            for name, value in parser.typeof(f"enum {each.c_name}").relements.items()
            if not name.endswith("_COUNT")
        }
        if each.name == "ServiceResult":  # ids of ERROR ACKs stand in a table of their own
            refused = {name: int(number) for number, name in refusals if name not in values}
            values = {name: value for name, value in values.items() if value not in refused.values()} | refused
        lines = [f"    {name} = {value}\n" for name, value in sorted(values.items(), key=lambda item: item[1])]
        parts.append(f'class {each.name}(enum.IntEnum):\n    """{each.text}"""\n\n{"".join(lines)}{each.more}')
    return "\n\n".join(parts)


def write_enumerations(root: Path = ROOT) -> None:
    """Write kvspic/_enums.py, unless it is as it should be."""
    path, text = root / "kvspic" / "_enums.py", enumerations(root)
    if not path.exists() or path.read_text(encoding="utf-8") != text:
        path.write_text(text, encoding="utf-8")


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
    return _builder(root, "kvspic._native", declarations(_read(root, HEADERS) + CALLS), PREAMBLE, FOLDERS)


def make_test_builder(root: Path = ROOT) -> FFI:
    """Return the builder of ``kvspic.testing._internals``: parts of the packager, without the engine."""
    declared = "typedef int32_t kvs_status;\n" + declarations(_read(root, TEST_HEADERS))
    return _builder(root, "kvspic.testing._internals", declared, TEST_PREAMBLE, TEST_FOLDERS)


def _builder(root: Path, module: str, declared: str, preamble: str, folders: Sequence[str]) -> FFI:
    builder = FFI()
    builder.cdef(declared)
    options = compile_options(sanitize=os.environ.get("KVSPIC_SANITIZE", ""))
    builder.set_source(module, preamble, sources=sources(root, folders), include_dirs=INCLUDE_DIRS, **options)
    return builder


ffibuilder = make_builder()
test_builder = make_test_builder()

if __name__ == "__main__":
    os.chdir(ROOT)  # sources are named relative to it
    write_enumerations()
    ffibuilder.compile(verbose=True)
    test_builder.compile(verbose=True)
