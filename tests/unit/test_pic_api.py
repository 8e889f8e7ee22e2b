"""The field's C interface. Goal: a C or C++ source that uses the field's names compiles against pic.h.

The vectors hold names, types and values; each becomes a line of a program that compiles only when the header agrees.
"""

import json
import re
import subprocess
from itertools import pairwise
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
API = json.loads((ROOT / "tests" / "vectors" / "pic_api.json").read_text(encoding="utf-8"))
STATUSES = json.loads((ROOT / "tests" / "vectors" / "pic_status.json").read_text(encoding="utf-8"))
EXTRA = ["STATUS", "PPStreamInfo", "PUINT32", "PUINT64", "PRetryStrategy", "PRetryStrategyConfig"]
EXTRA += ["KVS_RETRY_STRATEGY_TYPE", "CreateRetryStrategyFn", "GetCurrentRetryAttemptNumberFn"]
EXTRA += ["FreeRetryStrategyFn", "ExecuteRetryStrategyFn", "PAUDIO_CODEC_ID", "PVIDEO_CODEC_ID"]
PLATFORM = {  # what stands for a NULL callback, with the type of its place in ClientCallbacks
    "GetCurrentTime": "GetCurrentTimeFunc", "GetRandomNumber": "GetRandomNumberFunc", "CreateMutex": "CreateMutexFunc",
    "LockMutex": "LockMutexFunc", "UnlockMutex": "UnlockMutexFunc", "TryLockMutex": "TryLockMutexFunc",
    "FreeMutex": "FreeMutexFunc", "CreateConditionVariable": "CreateConditionVariableFunc",
    "SignalConditionVariable": "SignalConditionVariableFunc",
    "BroadcastConditionVariable": "BroadcastConditionVariableFunc",
    "WaitConditionVariable": "WaitConditionVariableFunc", "FreeConditionVariable": "FreeConditionVariableFunc",
    "StreamReady": "StreamReadyFunc", "EndOfStream": "StreamClosedFunc", "ClientReady": "ClientReadyFunc",
    "StreamDataAvailable": "StreamDataAvailableFunc", "ClientShutdown": "ClientShutdownFunc",
    "StreamShutdown": "StreamShutdownFunc",
}  # fmt: skip
TEXTS = {
    "MKV_H264_CONTENT_TYPE": "video/h264", "MKV_H265_CONTENT_TYPE": "video/h265", "MKV_AAC_CONTENT_TYPE": "audio/aac",
    "MKV_ALAW_CONTENT_TYPE": "audio/alaw", "MKV_MULAW_CONTENT_TYPE": "audio/mulaw",
    "MKV_H264_AVC_CODEC_ID": "V_MPEG4/ISO/AVC", "MKV_H265_HEVC_CODEC_ID": "V_MPEGH/ISO/HEVC",
    "MKV_AAC_CODEC_ID": "A_AAC", "MKV_PCM_CODEC_ID": "A_MS/ACM",
    "GET_STREAMING_TYPE_STR(STREAMING_TYPE_REALTIME)": "STREAMING_TYPE_REALTIME",
    "GET_STREAMING_TYPE_STR(STREAMING_TYPE_NEAR_REALTIME)": "STREAMING_TYPE_NEAR_REALTIME",
    "GET_STREAMING_TYPE_STR(STREAMING_TYPE_OFFLINE)": "STREAMING_TYPE_OFFLINE",
}  # fmt: skip
RECOVERABLE = [0x17, 0x31, 0x32, 0x37, 0x47, 0x4D, 0x4E, 0x4F, 0x50, 0x5C, 0x5D, 0x5E, 0x5F, 0x60, 0x62, 0x6D, 0x6E]
RECOVERABLE += [0x6F, 0x75, 0x7D, 0x88]
RETRIABLE = [0x11, 0x19, 0x2A, 0x2B, 0x2D, 0x49]
LEVELS = ["VERBOSE", "DEBUG", "INFO", "WARN", "ERROR", "FATAL", "SILENT"]
DIALECTS = [("gcc", "c11"), ("clang", "c11")]
DIALECTS += [(compiler, standard) for compiler in ("g++", "clang++") for standard in ("c++14", "c++17", "c++20")]
START = '#include "pic.h"\n#include <stddef.h>\n#ifdef __cplusplus\n#define _Static_assert static_assert\n#endif\n'


def holds(condition: str) -> str:
    """A line that compiles only where ``condition`` is true."""
    return f'_Static_assert({condition}, "{condition.replace(chr(34), chr(39))}");'


def number(value: int) -> str:
    """``value`` as an integer constant of C."""
    return f"{value}ULL"


def pointer(c_type: str, name: str) -> str:
    """A declaration of ``name`` as pointer to ``c_type``, which may be an array or a pointer to a function."""
    array = re.fullmatch(r"(\w+)\[(\d+)\]", c_type)
    if array:
        return f"{array[1]} (*{name})[{array[2]}]"
    return c_type.replace("(*)", f"(*{name})") if "(*)" in c_type else f"{c_type} *{name}"


def types() -> list[str]:
    """Each type is the one it is said to be, or one of the same standard type."""
    named = {name: c_type for name, c_type in API["types"].items() if name != "LogPrintFunc"}
    body = "{ %s = (%s *)NULL; (void)p; }"
    return [f"void t_{name}(void) {body % (pointer(c_type, 'p'), name)}" for name, c_type in named.items()]


def structs() -> list[str]:
    """Each field has its name, its type and its place among the others."""
    lines = []
    for name, struct in API["structs"].items():
        fields = struct["fields"]
        for field in fields:
            use = f"{name} s; {pointer(field['type'], 'p')} = &s.{field['name']}; (void)p;"
            lines.append(f"void f_{name}_{field['name']}(void) {{ {use} }}")
        pairs = pairwise(fields) if name != "TrackCustomData" else ()
        lines += [holds(f"offsetof({name}, {a['name']}) < offsetof({name}, {b['name']})") for a, b in pairs]
        lines.append(f"P{name} v_{name};")
    return lines


def enums() -> list[str]:
    """Each constant has its number, and an enumeration takes four bytes."""
    lines = [holds(f"sizeof({name}) == 4") for name in API["enums"]]
    values = [(key, value) for enum in API["enums"].values() for key, value in enum["values"].items()]
    return lines + [holds(f"(unsigned long long){key} == {number(value)}") for key, value in values]


def constants() -> list[str]:
    """Each constant has its value."""
    lines = []
    for name, constant in API["constants"].items():
        value = constant["value"]
        same_size = f'sizeof({name}) == sizeof("{value}")'
        lines.append(holds(same_size if isinstance(value, str) else f"(unsigned long long){name} == {number(value)}"))
    return lines


def functions() -> list[str]:
    """Each function and each callback has its type; returning STATUS is returning 32 bits."""
    lines = []
    for name, function in API["functions"].items():
        returned, arguments = re.fullmatch(r"(.*?) \((.*)\)", function["type"]).groups()
        lines.append(f"{returned} (*u_{name})({arguments}) = {name};")
    for name, callback in API["function_types"].items():
        lines.append(f"void c_{name}(void) {{ {callback['type'].replace('(*)', '(*p)')} = ({name})NULL; (void)p; }}")
    return lines


def statuses() -> list[str]:
    """Each status has its number."""
    return [holds(f"(unsigned long long){name} == {number(value)}") for name, value in STATUSES.items()]


def additions() -> list[str]:
    """Names that a program needs to use the others."""
    lines = [f"{name} x_{name};" for name in EXTRA]
    lines += [holds(f"LOG_LEVEL_{level} == {value}") for value, level in enumerate(LEVELS, 1)]
    lines += [holds("TRUE && !FALSE"), holds("STATUS_SUCCEEDED(STATUS_SUCCESS) && STATUS_FAILED(STATUS_NULL_ARG)")]
    lines.append("Frame end = EOFR_FRAME_INITIALIZER;")
    lines += [f"{kind} d_{name} = kinesisVideoStreamDefault{name};" for name, kind in PLATFORM.items()]
    lines += [holds("KVS_AAC_CPD_SIZE_BYTE == 2 && KVS_PCM_CPD_SIZE_BYTE == 18")]
    lines.append("STATUS (*u_aac)(KVS_MPEG4_AUDIO_OBJECT_TYPES, UINT32, UINT16, PBYTE, UINT32) = mkvgenGenerateAacCpd;")
    lines.append("STATUS (*u_pcm)(KVS_PCM_FORMAT_CODE, UINT32, UINT16, PBYTE, UINT32) = mkvgenGeneratePcmCpd;")
    lines.append("UINT64 *r_strategy = (PRetryStrategy)NULL, *r_config = (PRetryStrategyConfig)NULL;")
    lines += [holds("IS_OFFLINE_STREAMING_MODE(STREAMING_TYPE_OFFLINE)")]
    lines += [holds("!IS_OFFLINE_STREAMING_MODE(STREAMING_TYPE_REALTIME)")]
    for kind, bits in (("IMAGE_GENERATION", 1), ("NOTIFICATION", 2), ("LAST", 4)):
        lines += [holds(f"CHECK_STREAM_EVENT_TYPE_{kind}({types}) == {int(types & bits > 0)}") for types in range(8)]
    for check, named in (("IS_RECOVERABLE_ERROR", RECOVERABLE), ("IS_RETRIABLE_ERROR", RETRIABLE)):
        codes = range(0x52000000, 0x520000A0)
        passing = {0x52000000 + code for code in named}
        lines += [holds(f"{check}(0x{code:08x}) == {int(code in passing)}") for code in codes]
    lines.append("STATUS (*u_next)(CLIENT_HANDLE, PUINT64) = kvsNextDeadline;")
    lines.append("STATUS (*u_poke)(CLIENT_HANDLE) = kvsPoke;")
    return lines


PARTS = [types, structs, enums, constants, functions, statuses, additions]


@pytest.mark.parametrize(("compiler", "standard"), DIALECTS, ids=[f"{a}-{b}" for a, b in DIALECTS])
def test_the_header_has_every_name_of_the_field(tmp_path, require_tool, compiler, standard):
    source = tmp_path / ("a.c" if standard == "c11" else "a.cpp")
    source.write_text("\n".join([START, *(line for part in PARTS for line in part())]) + "\n")
    command = [require_tool(compiler), f"-std={standard}", "-Wall", "-Wextra", "-Werror", f"-I{ROOT}/csrc/include"]
    done = subprocess.run([*command, "-fsyntax-only", str(source)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[:4000]


def test_the_texts_are_those_of_the_field(tmp_path, require_tool):
    calls = "".join(f"puts({name});" for name in TEXTS)
    source = tmp_path / "a.c"
    source.write_text(f'#include <stdio.h>\n#include "pic.h"\nint main(void) {{ {calls} return 0; }}\n')
    command = [require_tool("gcc"), "-std=c11", f"-I{ROOT}/csrc/include", str(source), "-o", str(tmp_path / "a")]
    subprocess.run(command, check=True)
    done = subprocess.run([str(tmp_path / "a")], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == list(TEXTS.values())


def test_a_wrong_type_would_be_noticed(tmp_path, require_tool):
    source = tmp_path / "a.c"
    source.write_text(START + "UINT32 (*u)(STREAM_HANDLE) = putKinesisVideoFrame;\n")
    command = [require_tool("gcc"), "-std=c11", "-Werror", f"-I{ROOT}/csrc/include", "-fsyntax-only", str(source)]
    assert subprocess.run(command, capture_output=True, check=False).returncode != 0


def declared(header: str) -> set[str]:
    """The functions that ``header`` declares as public."""
    text = (ROOT / "csrc" / "include" / header).read_text(encoding="utf-8")
    return set(re.findall(r"^(?:KVS_API|KVS_PIC_API)[^;{]*?\b(\w+)\(", text, re.MULTILINE))


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    """The output folder of ``make lib`` in a folder of this test's own."""
    out = tmp_path_factory.mktemp("lib")
    command = ["make", "-s", "-f", "csrc/lib.mk", f"LIB_OUT={out}", "LIB_CFLAGS=-O0", "lib"]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    return out


def test_the_shared_library_shows_the_public_names_only(library, require_tool):
    listing = subprocess.run([require_tool("nm"), "-D", "--defined-only", "-P", str(library / "libkvspic.so")],
                             check=True, capture_output=True, text=True)  # fmt: skip
    names = {line.split()[0] for line in listing.stdout.splitlines()} - {"_init", "_fini"}
    assert names == declared("kvspic.h") | declared("pic.h")


@pytest.mark.parametrize(("compiler", "standard"), DIALECTS, ids=[f"{a}-{b}" for a, b in DIALECTS])
def test_the_camera_delivers_every_frame(tmp_path, library, require_tool, compiler, standard):
    program = tmp_path / "camera"
    language = ["-x", "c" if standard == "c11" else "c++"]
    command = [require_tool(compiler), f"-std={standard}", "-Wall", "-Wextra", "-Werror", f"-I{library}/include"]
    camera = ROOT / "csrc" / "examples" / "camera.c"
    command += [*language, str(camera), "-x", "none", str(library / "libkvspic.a"), "-pthread"]
    subprocess.run([*command, "-o", str(program)], check=True)
    done = subprocess.run([str(program)], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.startswith("frames put 250, delivered 250, dropped 0, skipped 0; fragments persisted 10;")


def test_pkg_config_names_the_library(library):
    text = (library / "kvspic.pc").read_text(encoding="utf-8")
    header = (ROOT / "csrc" / "base" / "version.h").read_text(encoding="utf-8")
    version = re.search(r'KVS_VERSION "([^"]+)"', header)[1]
    assert f"Version: {version}" in text
    assert "Libs: -L${libdir} -lkvspic" in text
    assert "@" not in text
    assert "@" not in (library / "kvspicConfig.cmake").read_text(encoding="utf-8")
