"""What `make install-lib` installs. Goal: a program finds the library as it found the field's, and edits nothing."""

import os
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DIALECTS = [("gcc", "c11"), ("clang", "c11"), ("g++", "c++14"), ("clang++", "c++20")]
FIELD = "com/amazonaws/kinesis/video"
PROGRAM = f"""
#include <{FIELD}/client/Include.h>
#include <{FIELD}/mkvgen/Include.h>
int main(void)
{{
    BYTE cpd[KVS_AAC_CPD_SIZE_BYTE];
    STATUS status = mkvgenGenerateAacCpd(AAC_LC, 48000, 2, cpd, (UINT32)sizeof(cpd));
    return STATUS_FAILED(status) || cpd[0] != 0x11 || cpd[1] != 0x90;
}}
"""
# A stand-in for AWS's utility headers: the names, types and macros that they and pic.h both define, in their manner.
UTILITIES = {
    "common/CommonDefs.h": """
#ifndef __COMMON_DEFINITIONS__
#define __COMMON_DEFINITIONS__
#include <stdint.h>
#include <pthread.h>
typedef uint32_t UINT32; typedef uint64_t UINT64; typedef int32_t INT32; typedef uint16_t UINT16; typedef uint8_t UINT8;
typedef int64_t INT64; typedef int16_t INT16; typedef int8_t INT8; typedef double DOUBLE; typedef float FLOAT;
typedef char CHAR; typedef UINT8 BYTE; typedef INT32 BOOL; typedef UINT64 UINT_PTR; typedef UINT_PTR SIZE_T, *PSIZE_T;
typedef void *PVOID; typedef BYTE *PBYTE; typedef BOOL *PBOOL; typedef CHAR *PCHAR; typedef UINT8 *PUINT8;
typedef UINT16 *PUINT16; typedef UINT32 *PUINT32; typedef UINT64 *PUINT64; typedef DOUBLE *PDOUBLE;
typedef UINT64 TID; typedef UINT64 MUTEX; typedef pthread_cond_t *CVAR;
#define VOID void
#define TRUE 1
#define FALSE 0
#define STATUS UINT32
#define STATUS_BASE 0x00000000
#define STATUS_SUCCESS ((STATUS) 0x00000000)
#define STATUS_FAILED(x) (((STATUS) (x)) != STATUS_SUCCESS)
#define STATUS_SUCCEEDED(x) (!STATUS_FAILED(x))
#define STATUS_NULL_ARG STATUS_BASE + 0x00000001
#define STATUS_INVALID_ARG STATUS_BASE + 0x00000002
#define DEFAULT_TIME_UNIT_IN_NANOS 100
#define HUNDREDS_OF_NANOS_IN_A_MILLISECOND ((INT64) 10000)
#define HUNDREDS_OF_NANOS_IN_A_SECOND ((INT64) 10000000)
#define HUNDREDS_OF_NANOS_IN_A_MINUTE ((INT64) 600000000)
#define HUNDREDS_OF_NANOS_IN_AN_HOUR ((INT64) 36000000000)
#define INFINITE_TIME_VALUE ((UINT64) 0xffffffffffffffff)
#endif
""",
    "common/PlatformUtils.h": f"#pragma once\n#include <{FIELD}/common/CommonDefs.h>\n",
    "utils/Include.h": f"""
#ifndef __UTILS_H__
#define __UTILS_H__
#include <{FIELD}/common/CommonDefs.h>
#include <{FIELD}/common/PlatformUtils.h>
#define STATUS_UTILS_BASE 0x40000000
#define STATUS_EMPTY_STRING STATUS_UTILS_BASE + 0x00000005
#define MAX_PATH_LEN 4096
#define MAX_TAG_COUNT 50
#define MAX_TAG_NAME_LEN 128
#define MAX_TAG_VALUE_LEN 1024
#define TAG_CURRENT_VERSION 0
#define LOG_LEVEL_VERBOSE 1
typedef struct __Tag Tag;
struct __Tag {{ UINT32 version; PCHAR name; PCHAR value; }};
typedef struct __Tag *PTag;
typedef enum {{ KVS_RETRY_STRATEGY_DISABLED = 0 }} KVS_RETRY_STRATEGY_TYPE;
typedef PUINT64 PRetryStrategy;
typedef PUINT64 PRetryStrategyConfig;
struct __KvsRetryStrategy {{
    PRetryStrategy pRetryStrategy; PRetryStrategyConfig pRetryStrategyConfig; KVS_RETRY_STRATEGY_TYPE retryStrategyType;
}};
typedef struct __KvsRetryStrategy KvsRetryStrategy;
typedef struct __KvsRetryStrategy *PKvsRetryStrategy;
typedef STATUS (*CreateRetryStrategyFn)(PKvsRetryStrategy);
typedef STATUS (*GetCurrentRetryAttemptNumberFn)(PKvsRetryStrategy, PUINT32);
typedef STATUS (*FreeRetryStrategyFn)(PKvsRetryStrategy);
typedef STATUS (*ExecuteRetryStrategyFn)(PKvsRetryStrategy, PUINT64);
typedef struct __KvsRetryStrategyCallbacks {{
    CreateRetryStrategyFn createRetryStrategyFn; GetCurrentRetryAttemptNumberFn getCurrentRetryAttemptNumberFn;
    FreeRetryStrategyFn freeRetryStrategyFn; ExecuteRetryStrategyFn executeRetryStrategyFn;
}} KvsRetryStrategyCallbacks;
typedef void (*logPrintFunc)(UINT32, PCHAR, PCHAR, ...);
#endif
""",
    "state/Include.h": f"""
#ifndef __CONTENT_STATE_INCLUDE__
#define __CONTENT_STATE_INCLUDE__
#include <{FIELD}/common/CommonDefs.h>
#include <{FIELD}/mkvgen/Include.h>
#define STATUS_STATE_BASE 0x52000000
#define STATUS_INVALID_STREAM_STATE STATUS_STATE_BASE + 0x0000000e
static inline GetCurrentTimeFunc state_clock(GetCurrentTimeFunc clock) {{ return clock; }}
#endif
""",
}


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """The folder that `make install-lib` fills, as if it were /."""
    out, root = tmp_path_factory.mktemp("lib"), tmp_path_factory.mktemp("root")
    command = ["make", "-s", "-f", "csrc/lib.mk", f"LIB_OUT={out}", "LIB_CFLAGS=-O0", f"DESTDIR={root}", "PREFIX=/usr"]
    subprocess.run([*command, "install-lib"], cwd=ROOT, check=True, capture_output=True)
    return root / "usr"


def compiled(command: list[str], source: Path) -> None:
    """Run a compiler; its complaints are the failure's text."""
    done = subprocess.run([*command, str(source)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[:4000]


@pytest.mark.parametrize(("compiler", "standard"), DIALECTS, ids=[f"{a}-{b}" for a, b in DIALECTS])
def test_the_fields_include_paths_need_one_directory(tmp_path, installed, require_tool, compiler, standard):
    source = tmp_path / ("a.c" if standard == "c11" else "a.cpp")
    source.write_text(PROGRAM)
    warnings = ["-Wall", "-Wextra", "-Wpedantic", "-Werror"]
    command = [require_tool(compiler), f"-std={standard}", *warnings, f"-I{installed}/include"]
    command += ["-o", str(tmp_path / "a")]
    done = subprocess.run(
        [*command, str(source), f"-L{installed}/lib", "-lkvspic", f"-Wl,-rpath,{installed}/lib"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[:4000]
    subprocess.run([str(tmp_path / "a")], check=True)


ORDERS = {
    "the client alone": ["client"],
    "utilities first": ["utils", "client"],
    "the client first": ["client", "utils", "state"],
    "all": ["common", "mkvgen", "client", "state", "utils"],
}
NAMES = {"client": "client/Include.h", "utils": "utils/Include.h", "state": "state/Include.h",
         "mkvgen": "mkvgen/Include.h", "common": "common/CommonDefs.h"}  # fmt: skip


@pytest.mark.parametrize("order", ORDERS.values(), ids=ORDERS)
@pytest.mark.parametrize("ours_first", [True, False], ids=["ours first", "theirs first"])
@pytest.mark.parametrize(("compiler", "standard"), DIALECTS, ids=[f"{a}-{b}" for a, b in DIALECTS])
def test_our_types_step_aside_for_the_fields_utilities(tmp_path, require_tool, compiler, standard, ours_first, order):
    theirs, ours = tmp_path / "theirs", ROOT / "csrc" / "include"
    for name, text in UTILITIES.items():
        (theirs / FIELD / name).parent.mkdir(parents=True, exist_ok=True)
        (theirs / FIELD / name).write_text(text)
    source = tmp_path / ("a.c" if standard == "c11" else "a.cpp")
    lines = [f"#include <{FIELD}/{NAMES[name]}>" for name in order]
    use = "struct __Tag tag; PTag same = &tag; DeviceInfo device; StreamInfo info;"
    lines.append(f"int use(void) {{ {use} device.tags = same; info.tags = same; return device.tags == info.tags; }}")
    source.write_text("\n".join(lines) + "\n")
    path = [f"-I{ours}", f"-I{theirs}"] if ours_first else [f"-I{theirs}", f"-I{ours}"]
    command = [require_tool(compiler), f"-std={standard}", "-Wall", "-Wextra", "-Werror", *path, "-fsyntax-only"]
    compiled(command, source)


WITHOUT_ATOMICS = """#!/bin/sh
# A compiler as on ARMv6, where the 64-bit operations are in libatomic.
case " $* " in *" -latomic "*) exit 0 ;; esac
exit 1
"""


def test_libatomic_is_named_where_the_processor_needs_it(tmp_path):
    compiler = tmp_path / "cc"
    compiler.write_text(WITHOUT_ATOMICS)
    compiler.chmod(0o755)
    found = {}
    for name in ("cc", str(compiler)):
        out = tmp_path / f"lib-{len(found)}"
        files = [f"{out}/kvspic.pc", f"{out}/kvspicConfig.cmake"]
        command = ["make", "-s", "-f", "csrc/lib.mk", f"LIB_OUT={out}", f"LIB_CC={name}", *files]
        subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
        found[name] = [Path(file).read_text() for file in files]
    assert ["-latomic" in text for text in found[str(compiler)]] == [True, True]
    assert "\nLibs.private: -pthread -latomic\n" in found[str(compiler)][0]
    assert ["atomic" in text for text in found["cc"]] == [False, False]


CMAKE = """cmake_minimum_required(VERSION 3.16)
project(user C)
find_package(kvspic 0.1 REQUIRED)
foreach(name kvspic::kvspic kvspic::kvspic_static kvspicClient)
  string(MAKE_C_IDENTIFIER ${name} program)
  add_executable(use_${program} a.c)
  target_link_libraries(use_${program} PRIVATE ${name})
endforeach()
find_package(kvspic 99 QUIET)
if(kvspic_FOUND)
  message(FATAL_ERROR "version 99 was found")
endif()
"""


def test_cmake_finds_the_package_by_version(tmp_path, installed, require_tool):
    (tmp_path / "CMakeLists.txt").write_text(CMAKE)
    (tmp_path / "a.c").write_text(PROGRAM)
    build = tmp_path / "build"
    cmake = [require_tool("cmake"), "-S", str(tmp_path), "-B", str(build), f"-DCMAKE_PREFIX_PATH={installed}"]
    done = subprocess.run(cmake, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[:4000]
    done = subprocess.run(["cmake", "--build", str(build)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, (done.stdout + done.stderr)[-4000:]
    programs = sorted(build.glob("use_*"))
    assert [program.name for program in programs] == ["use_kvspicClient", "use_kvspic__kvspic",
                                                      "use_kvspic__kvspic_static"]  # fmt: skip
    for program in programs:
        subprocess.run([str(program)], check=True)


@pytest.mark.parametrize("name", ["kvspic", "libkvspic", "libkvspicClient"])
def test_pkg_config_knows_the_library_by_each_of_its_names(installed, require_tool, name):
    places = {"PKG_CONFIG_LIBDIR": str(installed / "lib" / "pkgconfig"), "PKG_CONFIG_SYSROOT_DIR": ""}
    command = [require_tool("pkg-config"), "--define-prefix", "--cflags", "--libs", name]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env={**os.environ, **places})
    assert f"-I{installed}/include" in done.stdout
    assert done.stdout.rstrip().endswith("-lkvspic")
