"""The rules for C, each a function from source text to findings."""

import re
from pathlib import PurePosixPath

from tidy import c_code

FILE_LINES_MAX = 800
FUNCTION_LINES_MAX = 70
PARAMETERS_MAX = 6
NESTING_MAX = 3
LINE_LENGTH_MAX = 120

CORE = ("base", "media", "store", "wire", "machine", "engine")
MIDDLE = ("media", "store", "wire", "machine")
MAY_INCLUDE = {
    "include": {"include"},
    "base": {"include", "base"},
    **{layer: {"include", "base", layer} for layer in MIDDLE},
    "engine": {"include", "base", *MIDDLE, "engine"},
    "host": {"include", "base", "host"},
    "pic": {"include", "base", *MIDDLE, "engine", "host", "pic"},
    "examples": {"include", "examples"},  # what a user of the library sees
}
PIC_HEADERS = ("csrc/include/pic", "csrc/include/com/")  # the field's API: its condition variables are the host's
CORE_HEADERS = {
    "limits.h", "stdalign.h", "stdarg.h", "stdatomic.h", "stdbool.h", "stddef.h", "stdint.h", "string.h",
    "emmintrin.h", "arm_neon.h", "intrin.h",  # instructions of the processor, chosen at compile time
}  # fmt: skip
OUTSIDE_WORLD = re.compile(
    r"(?<![\w.>])(malloc|calloc|realloc|free|time|clock|clock_gettime|gettimeofday|nanosleep|usleep|sleep"
    r"|rand|srand|random|printf|fprintf|sprintf|snprintf|puts|abort|exit|assert|getenv"
    r"|pthread_\w+|thrd_\w+|mtx_\w+|cnd_\w+)\s*\("
)
SLAB_POOL = "csrc/store/slab.c"  # its lock is taken once per slab of 64 KB, never per frame
LOCKING = re.compile(r"\b(?:kvs_)?(?:host_)?(?:un)?lock(?:_new|_free)?\s*\(")


def layer(path: str) -> str:
    """The folder of csrc that ``path`` is in: its layer."""
    return PurePosixPath(path).parts[1]


def target(name: str, path: str, known: list[str]) -> str:
    """The project file that ``#include "name"`` in ``path`` means; empty where it is none of ours."""
    beside = str(PurePosixPath(path).parent / name)
    candidates = [beside, f"csrc/{name}", f"csrc/include/{name}"]
    return next((candidate for candidate in candidates if candidate in known), "")


def layering(texts: dict[str, str]) -> list[str]:
    """Rule 1: ``base <- {media, store, wire, machine} <- engine <- pic``; the four in the middle stay apart."""
    findings = []
    for path, text in texts.items():
        for line, name, is_system in c_code.includes(text):
            found = "" if is_system else target(name, path, list(texts))
            if found and layer(found) not in MAY_INCLUDE[layer(path)]:
                findings.append(
                    f"{path}:{line}: csrc/{layer(path)} must not include csrc/{layer(found)} ({name}). Move what "
                    "both need down to csrc/base, or join them in csrc/engine."
                )
            if not found and not is_system:
                findings.append(f'{path}:{line}: "{name}" is no file of csrc. Write it as seen from csrc.')
    return findings


def core_headers(texts: dict[str, str]) -> list[str]:
    """Rule 2: the core includes headers of the C standard that need no operating system, and never Python.h."""
    return [
        f"{path}:{line}: the core must not include <{name}>. What it needs from outside comes from the host struct."
        for path, text in texts.items()
        if layer(path) in (*CORE, "include") and not path.startswith(PIC_HEADERS)
        for line, name, is_system in c_code.includes(text)
        if is_system and name not in CORE_HEADERS
    ]


def core_calls(texts: dict[str, str]) -> list[str]:
    """Rule 2: no clock, thread, allocator, output or exit in the core."""
    return [
        f"{path}:{number}: the core must not call {match[1]}(). Memory, locks and wake-ups come from struct kvs_host, "
        "time is an argument, a broken promise of our own is KVS_CHECK."
        for path, text in texts.items()
        if layer(path) in CORE
        for number, line in enumerate(c_code.blank(text).splitlines(), 1)
        for match in OUTSIDE_WORLD.finditer(line)
    ]


def locks(texts: dict[str, str]) -> list[str]:
    """Rule 2: of the core only ``engine`` takes locks, and the slab pool that all streams share."""
    return [
        f"{path}:{number}: only csrc/engine and csrc/store/slab.c take locks. Let the caller hold it."
        for path, text in texts.items()
        if layer(path) in MIDDLE and path != SLAB_POOL
        for number, line in enumerate(c_code.blank(text).splitlines(), 1)
        if LOCKING.search(line)
    ]


def file_length(texts: dict[str, str]) -> list[str]:
    """A file has at most 800 lines; 600 as a habit, more where that shows one thing whole."""
    return [
        f"{path}: {text.count(chr(10))} lines, {FILE_LINES_MAX} at most. Split it by what changes together."
        for path, text in texts.items()
        if text.count("\n") > FILE_LINES_MAX
    ]


def line_length(texts: dict[str, str]) -> list[str]:
    """A line has at most 120 characters, none at its end is a blank, and tabs are not used."""
    findings = []
    for path, text in texts.items():
        for number, line in enumerate(text.splitlines(), 1):
            if len(line) > LINE_LENGTH_MAX:
                findings.append(f"{path}:{number}: {len(line)} characters, {LINE_LENGTH_MAX} at most. Break the line.")
            if line != line.rstrip() or "\t" in line:
                findings.append(f"{path}:{number}: a tab, or blanks at the end. Use spaces, between words only.")
    return findings


def function_length(texts: dict[str, str]) -> list[str]:
    """A function has at most 70 lines."""
    return [
        f"{path}:{function.line}: {function.name} has {function.length} lines, {FUNCTION_LINES_MAX} at most. "
        "Name a part of it and move that out."
        for path, text in texts.items()
        for function in c_code.functions(text)
        if function.length > FUNCTION_LINES_MAX
    ]


def parameters(texts: dict[str, str], excepted: set[str] = frozenset()) -> list[str]:
    """A function has at most 6 parameters; hot-path calls with scalar arguments are listed with a reason."""
    return [
        f"{path}:{function.line}: {function.name} has {function.parameter_count} parameters, {PARAMETERS_MAX} at most. "
        "Pass a struct, or list it with its reason in tests/tidy/many_parameters.txt."
        for path, text in texts.items()
        for function in c_code.functions(text)
        if function.parameter_count > PARAMETERS_MAX and function.name not in excepted
    ]


def nesting(texts: dict[str, str]) -> list[str]:
    """At most 3 control statements lie within each other."""
    return [
        f"{path}:{function.line}: {function.name} nests {function.nesting} deep, {NESTING_MAX} at most. Return early, "
        "or move the inner loop out."
        for path, text in texts.items()
        for function in c_code.functions(text)
        if function.nesting > NESTING_MAX
    ]


def file_top(texts: dict[str, str]) -> list[str]:
    """A file starts with a comment of whole sentences: what this is, what it is not, what always holds."""
    return [
        f"{path}:1: no comment at the top. Say in 3 to 12 lines what this is, what it is not, and what always holds."
        for path, text in texts.items()
        if not text.lstrip().startswith("/*")
    ]
