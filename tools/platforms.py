"""Writes docs/platforms.md, the table of what was built and what ran on each platform: `make platforms`.

`make wheel-test` and `make cross-test` note what ran in build/platforms.tsv (.ci/note). This program takes these lines
and the wheels of build/dist over into docs/platforms.tsv, where a line stays until the same thing runs again, and
writes the page from it. A line is: part, what ran, result, day.
Usage: python tools/platforms.py
"""

import sys
from datetime import datetime, timezone
from pathlib import Path

__all__ = ["COLUMNS", "KEPT", "PAGE", "PLATFORMS", "main", "page", "read"]

ROOT = Path(__file__).resolve().parents[1]
RAN = ROOT / "build" / "platforms.tsv"
KEPT = ROOT / "docs" / "platforms.tsv"
PAGE = ROOT / "docs" / "platforms.md"
WHEELS = ROOT / "build" / "dist"
COLUMNS = ("wheel", "C tests", "Python suite", "demo")
PLATFORMS = (  # name; end of the wheel's platform tag; part of .ci/cross-test and .ci/wheel-test
    ("Linux x86_64, glibc 2.17 or later", "manylinux_2_17_x86_64", "amd64"),
    ("Linux arm64, glibc 2.17 or later (Jetson, 64-bit Raspberry Pi OS)", "manylinux_2_17_aarch64", "arm64"),
    ("Linux ARMv7, glibc 2.17 or later (32-bit Raspberry Pi OS)", "manylinux_2_17_armv7l", "armhf"),
    ("Linux ARMv6 (Raspberry Pi 1 and Zero)", None, "armv6"),
    ("Linux s390x (big-endian)", None, "s390x"),
    ("Linux x86_64, musl 1.2 (Alpine)", "musllinux_1_2_x86_64", "musl"),
    ("Linux arm64, musl 1.2", "musllinux_1_2_aarch64", "musl-arm64"),
    ("Linux ARMv7, musl 1.2", "musllinux_1_2_armv7l", "musl-armhf"),
    ("Windows x86_64", "win_amd64", "windows"),
    ("Windows arm64", "win_arm64", "windows-arm64"),
    ("macOS 11 or later, x86_64", "macosx_11_0_x86_64", "macos-x86_64"),
    ("macOS 11 or later, arm64", "macosx_11_0_arm64", "macos-arm64"),
)
HEAD = """# Platforms

What was built and what ran, and on which day. `make platforms` writes this page from `docs/platforms.tsv`: do not edit
it. "—" means that it did not run; below the table stands why.

"""
FOOT = """
- **How**: `make wheels` builds all wheels on one Linux machine, `make wheel-check` asks of them what an index asks.
  `make wheel-test` installs a wheel where there are no sources, runs `kvspic demo` and the unit suite without fleet and
  bench. `make cross-test` compiles the C tests for the platform and runs them. `qemu` means an emulated processor,
  `wine` an emulated Windows; all else ran on Linux x86_64.
- **Linux arm64**: the suite was not run to its end. The emulated processor needs minutes for what it imports.
- **Linux with musl**: PyPI, Debian and npm have no Python for musl. The C tests run natively, linked with musl, and
  musl's own loader links the extension of the wheel; the wheel was never imported there.
- **Windows**: no Python for Windows is there either. Two C programs are POSIX's own (its clock, condition variables
  that a program brings) and are left out under wine. **Windows arm64**, **macOS**: built, never started.
- **Linux ARMv6**: needs a compiler, for there is no wheel tag for it. No C library of Debian runs on that processor, so
  the C library is compiled and checked for what it asks of the system.
- **Linux s390x**: no wheel; it is tested because it is big-endian.
- **PyPy**, **free-threaded Python**: `pip install` compiles the source archive; `cibuildwheel` makes wheels of a
  free-threaded Python (`pyproject.toml`).
"""

IN_EACH_RUN = {("amd64", "C tests"): ("gcc and clang, with ASan, UBSan and TSan, in each `.ci/run`", "")}
Lines = dict[tuple[str, str], tuple[str, str]]


def read(path: Path) -> Lines:
    """Return the lines of a file, (part, what) -> (result, day); of a file that is not there, none."""
    rows = [line.split("\t") for line in path.read_text(encoding="utf-8").splitlines()] if path.exists() else []
    if any(len(row) != 4 for row in rows):
        sys.exit(f"{path} has a line that is not: part, what, result, day, with a tabulator between.")
    return {(part, what): (result, day) for part, what, result, day in rows}


def built() -> Lines:
    """Return a line for each wheel in build/dist: its size, and the day it was made."""
    lines = {}
    for _, tag, part in PLATFORMS:
        for wheel in WHEELS.glob(f"*{tag}.whl") if tag else ():
            stat = wheel.stat()
            day = datetime.fromtimestamp(stat.st_mtime, timezone.utc).date().isoformat()
            lines[part, "wheel"] = (f"{stat.st_size / 1e6:.2f} MB", day)
    return lines


def page(lines: Lines) -> str:
    """Return the text of docs/platforms.md."""
    lines = lines | IN_EACH_RUN

    def cell(part: str, what: str) -> str:
        result, day = lines.get((part, what), ("—", ""))
        return f"{result} ({day})" if day else result

    table = [["platform", *COLUMNS]]
    table += [[name, *(cell(part, what) for what in COLUMNS)] for name, _, part in PLATFORMS]
    rows = [f"| {' | '.join(row)} |" for row in table]
    rows.insert(1, "|---" * len(table[0]) + "|")
    compilers = f"\nThe newest clang that could be had: {cell('clang', 'compiler')}.\n"
    return HEAD + "\n".join(rows) + "\n" + compilers + FOOT


def main() -> None:
    """Take over what ran, and write the page."""
    lines = read(KEPT) | built() | read(RAN)
    known = {(part, what) for _, _, part in PLATFORMS for what in COLUMNS} | {("clang", "compiler")}
    if strange := sorted(key for key in lines if key not in known):
        sys.exit(f"{RAN} or {KEPT} has lines that the table has no place for: {strange}")
    rows = ["\t".join((*key, *lines[key])) for key in sorted(lines)]
    KEPT.write_text("".join(f"{row}\n" for row in rows), encoding="utf-8")
    PAGE.write_text(page(lines), encoding="utf-8")


if __name__ == "__main__":
    main()
