"""What the compiled core asks its program for. Goal: the core links anywhere, and has no state but what it is given.

The rule on the sources (core_calls) names the line; this one sees what the compiler made of it.
"""

import re
import subprocess
from pathlib import Path

import pytest
from tidy.c_rules import CORE
from tidy.project import ROOT, report, sources

# mem* and str* of the C standard, and what compilers add on their own.
MAY_NEED = re.compile(r"_?(mem\w+|str\w+|__stack_chk_\w+|__u?\w*(div|mod)\w*|__atomic_\w+|_GLOBAL_OFFSET_TABLE_)$")
NOT_WRITTEN = "A table is const; what changes belongs to a struct that the caller owns."


def foreign_symbols(listing: str) -> list[str]:
    """Findings of ``nm -A -P``: names that no object defines and no core may need, and data that can change."""
    rows = [line.split()[:3] for line in listing.splitlines() if len(line.split()) >= 3]
    defined = {name for _, name, kind in rows if kind not in "Uw"}
    needed = {name: file for file, name, kind in rows if kind == "U" and name not in defined}
    findings = [
        f"{short(file)} needs {name}(). The core links to mem* and str* only; the host struct has the rest."
        for name, file in sorted(needed.items())
        if not MAY_NEED.match(name)
    ]
    changing = [(file, name) for file, name, kind in rows if kind in "bBdDC"]
    return findings + [f"{short(file)} has a changing global: {name}. {NOT_WRITTEN}" for file, name in changing]


def short(file: str) -> str:
    """The name of an object file in a row of ``nm``."""
    return Path(file.strip(":")).name


def compiled(folder: Path, paths: list[Path]) -> str:
    """``nm`` of the objects that ``paths`` compile to."""
    include = [f"-I{ROOT}/csrc", f"-I{ROOT}/csrc/include"]
    command = ["cc", "-std=c11", "-O1", "-fno-pic", "-fno-common", "-w", *include, "-c", *map(str, paths)]
    subprocess.run(command, cwd=folder, check=True)
    listing = subprocess.run(["nm", "-A", "-P", *map(str, sorted(folder.glob("*.o")))], check=True, capture_output=True)
    return listing.stdout.decode()


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("#include <stdlib.h>\nvoid *f(void) { return malloc(3); }\n", "a.o needs malloc()"),
        ("int f(void) { static int count; return ++count; }\n", "a.o has a changing global: count"),
        ("int count = 1;\n", "a.o has a changing global: count"),
    ],
)
def test_the_rule_catches_a_bad_example(tmp_path, require_tool, source, words):
    require_tool("cc")
    require_tool("nm")
    (tmp_path / "a.c").write_text(source)
    findings = foreign_symbols(compiled(tmp_path, [tmp_path / "a.c"]))
    assert len(findings) == 1
    assert words in findings[0]


def test_the_rule_passes_a_good_example(tmp_path, require_tool):
    require_tool("cc")
    require_tool("nm")
    (tmp_path / "a.c").write_text("#include <string.h>\nint g(int); int f(const char *s) { return g(strlen(s)); }\n")
    (tmp_path / "b.c").write_text('static const char *const A[] = {"a", "b"};\nint g(int a) { return A[a & 1][0]; }\n')
    assert foreign_symbols(compiled(tmp_path, [tmp_path / "a.c", tmp_path / "b.c"])) == []


def test_the_core_needs_nothing_of_its_program(tmp_path, require_tool):
    require_tool("cc")
    require_tool("nm")
    paths = [ROOT / path for layer in CORE for path in sources(".c", under=f"csrc/{layer}/")]
    report(foreign_symbols(compiled(tmp_path, paths)))
