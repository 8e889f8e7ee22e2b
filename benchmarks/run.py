"""All benchmarks, one after the other: ``make bench``, or ``python benchmarks/run.py [--programs DIR] [NAME ...]``.

Each is a program that prints its figures as lines of JSON; they are shown as a table, goal beside measured, and written
to ``results.json`` among the programs. Without names everything runs, in less than five minutes. A missed goal is
shown, not an error: machines differ. Exit code 1: a benchmark broke.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from report import say

__all__: list[str] = []

HERE = Path(__file__).resolve().parent
CLIP = HERE.parent / "tests" / "media" / "h264_high_640x360_25fps.h264"
TIMEOUT_S = 150
INSTRUCTIONS_GOAL = 900
C_PROGRAMS = ("frame", "backlog", "streams", "threads", "memory", "annexb")
PYTHON_PROGRAMS = ("import", "put_frame", "events", "first_byte", "writer", "upload_file", "uploads", "statechart")
STATECHART_LINE = re.compile(r"(?P<name>\S.*?)\s{2,}(?P<us>[\d.]+) us(?:\s+goal (?P<goal>[\d.]+))?")

Figure = dict[str, Any]


def command_of(name: str, programs: Path) -> list[str]:
    """How a benchmark is started."""
    if name in PYTHON_PROGRAMS:
        return [sys.executable, str(HERE / f"bench_{name}.py")]
    if name == "instructions":
        return [sys.executable, __file__, "--count-instructions", "--programs", str(programs)]
    return [str(programs / f"bench_{name}"), *([str(CLIP)] if name == "annexb" else [])]


def figures_in(text: str) -> Iterator[Figure]:
    """Lines of JSON, and those of bench_statechart.py, which writes for people."""
    for line in text.splitlines():
        if line.startswith("{"):
            yield json.loads(line)
        elif match := STATECHART_LINE.match(line):
            goal = {"goal": float(match["goal"])} if match["goal"] else {}
            yield {"figure": f"statechart step: {match['name']}", "value": float(match["us"]), "unit": "us", **goal}


def run(name: str, programs: Path) -> tuple[list[Figure], str]:
    """The figures of a benchmark, and what went wrong."""
    environment = os.environ | {"PYTHONPATH": str(HERE.parent), "PYTHONUNBUFFERED": "1"}
    command = command_of(name, programs)
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S, env=environment, check=False)
    except subprocess.TimeoutExpired:
        return [], f"not done within {TIMEOUT_S} s"
    found = [{"benchmark": name} | figure for figure in figures_in(done.stdout)]
    missed_goal = name == "statechart" and done.returncode == 1 and found
    if done.returncode == 0 or missed_goal:
        return found, ""
    return found, f"exit code {done.returncode}: {done.stderr.strip()[-400:]}"


def count_instructions(programs: Path) -> None:
    """Instructions of one 1 KB frame: two runs of different length under callgrind, subtracted."""
    counts = {}
    for frames in (3000, 6000):
        command = ["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null"]
        command += [str(programs / "bench_frame"), "count", str(frames)]
        text = subprocess.run(command, capture_output=True, text=True, check=True).stderr
        counts[frames] = int(text.rpartition("Collected : ")[2].split()[0])
    say("1 KB frame, instructions", (counts[6000] - counts[3000]) / 3000, "instructions", INSTRUCTIONS_GOAL)


def is_reached(figure: Figure) -> bool | None:
    """Whether the goals of a figure are reached; None when it has none. Rates have to be above, all others below."""
    reached = []
    if "goal" in figure:
        is_rate = figure["unit"] in ("GB/s", "MB/s", "x")
        reached.append(figure["value"] >= figure["goal"] if is_rate else figure["value"] <= figure["goal"])
    if "ratio_goal" in figure:
        reached.append(figure["ratio"] <= figure["ratio_goal"])
    return all(reached) if reached else None


def row(figure: Figure) -> str:
    """A line of the table, in Markdown."""
    goals = [f"{figure['goal']:g} {figure['unit']}"] if "goal" in figure else []
    goals += [f"{figure['ratio_goal']:g} x memcpy"] if "ratio_goal" in figure else []
    ratio = f"{figure['ratio']:g} ({figure['memcpy']:g})" if "ratio" in figure else ""
    verdict = {True: "yes", False: "**no**", None: ""}[is_reached(figure)]
    measured = f"{figure['value']:g} {figure['unit']}"
    return f"| {figure['figure']} | {' and '.join(goals)} | {measured} | {ratio} | {verdict} |"


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help="which ones; default: all")
    parser.add_argument("--programs", type=Path, default=HERE.parent / "build" / "bench", help="the C programs' folder")
    parser.add_argument("--count-instructions", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.count_instructions:
        count_instructions(options.programs)
        return 0
    valgrind = ("instructions",) if shutil.which("valgrind") else ()
    begin, figures, problems = time.monotonic(), list[Figure](), dict[str, str]()
    for name in options.names or (*C_PROGRAMS, *valgrind, *PYTHON_PROGRAMS):
        print(f"\n{name}\n| figure | goal | measured | x memcpy (ns) | reached |\n| --- | --- | --- | --- | --- |")
        found, problem = run(name, options.programs)
        figures += found
        print("\n".join(map(row, found)), flush=True)
        if problem:
            problems[name] = problem
            print(f"{name} broke: {problem}", flush=True)
    result = {"figures": figures, "problems": problems, "seconds": round(time.monotonic() - begin, 1)}
    options.programs.mkdir(parents=True, exist_ok=True)
    (options.programs / "results.json").write_text(json.dumps(result, indent=1) + "\n")
    print(f"\n{result['seconds']} s; also in {options.programs / 'results.json'}")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
