"""Measure kvspic and show each figure beside its goal: `make bench`, or `python benchmarks/run.py [NAME ...]`."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

from tables import Figure, goal_lines, growth_lines, is_growth, summary

__all__: list[str] = []

HERE = Path(__file__).resolve().parent
PROGRAMS = HERE.parent / "build" / "bench"
CLIP = HERE.parent / "tests" / "media" / "h264_high_640x360_25fps.h264"
TIMEOUT_S = 400
COUNTED_FRAMES = (3000, 6000)

C_BENCHMARKS = {
    "frame": "one frame through kvspic.h, from put to persisted; locks, allocations, instructions",
    "backlog": "what 10 to 100,000 buffered frames cost through kvspic.h",
    "streams": "1 to 10,000 streams in one client",
    "threads": "1, 2 and 4 threads on one client",
    "memory": "bytes of an idle client, an idle stream, a buffered frame",
    "annexb": "a 4K key frame from Annex B to AVCC",
    "pic_frame": "one frame through pic.h: putKinesisVideoFrame to the ACK; locks, allocations, instructions",
    "pic_backlog": "what 10 to 100,000 buffered frames cost through pic.h",
    "pic_streams": "1 to 10,000 streams of pic.h in one client",
    "pic_threads": "1, 2 and 4 threads on one client of pic.h",
    "pic_memory": "bytes behind the handles of pic.h",
}
PYTHON_BENCHMARKS = {
    "import": "what `import kvspic` costs",
    "put_frame": "stream.put_frame from Python, alone and beside busy threads",
    "events": "actions on their way from C to Python",
    "first_byte": "from put_frame to the first byte on the wire, over TLS",
    "writer": "what a PutMedia writer spends on 64 KB",
    "reader": "the Matroska reader of the endpoint and of `kvspic get`",
    "upload_file": "an offline stream as fast as it goes and within the quotas, and a file by the command line",
    "upload_calls": "Python calls for a frame on its way to the kernel",
    "opening": "processor time to open a stream, new and existing, over TLS",
    "uploads": "1 to 300 cameras of 2 Mbit/s over TLS, out of phase, and 100 in phase",
    "get": "media that come back, and what the endpoint keeps of 50 uploads",
    "bench": "the controller of 100 agents, and how close together four agents begin",
    "load": "what the bench's own load costs: generator, histograms",
    "statechart": "a step of a state machine in Python",
    "fleet_rest": "a fleet's server under 200 workers of 50 cameras, and a page of jobs",
    "fleet_store": "claims and feedback of a fleet over SQLite and PostgreSQL",
    "fleet_failover": "60 cameras whose worker is killed: claimed again, persisted again",
}
BENCHMARKS = C_BENCHMARKS | PYTHON_BENCHMARKS
INSTRUCTIONS = {"frame": ("1 KB frame, instructions", 1200), "pic_frame": ("pic.h, 1 KB frame, instructions", 2200)}

EPILOG = """benchmarks:
{names}

reading the tables:
  limit      what the kernel, TLS and copies alone cost: no program can reach less
  measured   the best of several short runs: other work on the machine only ever adds time
  x memcpy   the same, as a multiple of copying the same bytes in the same run: compare these between machines
  verdict    ok, or by how much the goal is missed; a missed goal is no error, because machines differ
  growth     the last figure of the row over the first: 1 is flat

examples:
  make bench                                        everything, in five minutes
  make bench ARGS="frame backlog"                   two of them; C programs are built as needed
  python benchmarks/run.py put_frame                a benchmark in Python: nothing to build
  python benchmarks/run.py --show build/bench/results.json
                                                    the tables of the last run, without measuring

exit codes: 0 all ran; 1 a benchmark broke; 2 usage
"""


def figures_in(text: str) -> list[Figure]:
    """The lines of JSON in what a benchmark printed."""
    return [json.loads(line) for line in text.splitlines() if line.startswith("{")]


def command_of(name: str, programs: Path) -> list[str]:
    """How a benchmark is started."""
    if name in PYTHON_BENCHMARKS:
        return [sys.executable, str(HERE / f"bench_{name}.py")]
    return [str(programs / f"bench_{name}"), *([str(CLIP)] if name == "annexb" else [])]


def instructions(name: str, programs: Path) -> list[Figure]:
    """Instructions of one 1 KB frame: two runs of different length under callgrind, subtracted; none without it."""
    if name not in INSTRUCTIONS or shutil.which("valgrind") is None:
        return []
    counts = []
    for frames in COUNTED_FRAMES:
        command = ["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null", *command_of(name, programs)]
        done = subprocess.run([*command, "count", str(frames)], capture_output=True, text=True, check=True)
        counts.append(int(done.stderr.rpartition("Collected : ")[2].split()[0]))
    figure, goal = INSTRUCTIONS[name]
    each = (counts[1] - counts[0]) / (COUNTED_FRAMES[1] - COUNTED_FRAMES[0])
    return [{"figure": figure, "value": round(each), "unit": "instr."} | ({"goal": goal} if goal else {})]


def run(name: str, programs: Path) -> tuple[list[Figure], str]:
    """The figures of a benchmark, and what went wrong."""
    environment = os.environ | {"PYTHONPATH": str(HERE.parent), "PYTHONUNBUFFERED": "1"}
    command = command_of(name, programs)
    if not Path(command[0]).exists():
        return [], f"{command[0]} is missing: build it with `make -C benchmarks build`"
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S, env=environment, check=False)
    except subprocess.TimeoutExpired:
        return [], f"not done within {TIMEOUT_S} s"
    found = figures_in(done.stdout)
    problem = "" if done.returncode == 0 else f"exit code {done.returncode}: {done.stderr.strip()[-400:]}"
    if not problem:
        found += instructions(name, programs)
    return [{"benchmark": name} | figure for figure in found], problem


def show(name: str, figures: list[Figure], problem: str) -> None:
    """The rows of one benchmark, those of growing series apart: they come at the end."""
    rows = [figure for figure in figures if not is_growth(figure)]
    if rows:
        print("\n".join(goal_lines(name, BENCHMARKS[name], rows)), flush=True)
    if problem:
        print(f"\n{name} broke: {problem}", flush=True)


def finish(figures: list[Figure], problems: dict[str, str], seconds: float, results: Path) -> int:
    """The tables of growth and the last line; the exit code."""
    for line in growth_lines(figures):
        print(line)
    broken = f"; broke: {', '.join(problems)}" if problems else ""
    print(f"\n{summary(figures)}{broken}; {seconds:.0f} s; all of it as JSON: {results}")
    return 1 if problems else 0


def tell(progress: str) -> None:
    """What is being measured, to who looks on; it is overwritten by what comes next."""
    if sys.stderr.isatty():
        print(f"\033[K{progress}", end="\r", file=sys.stderr, flush=True)


def measure(names: list[str], programs: Path) -> int:
    """Run them one after the other."""
    begin, figures, problems = time.monotonic(), list[Figure](), dict[str, str]()
    for index, name in enumerate(names):
        tell(f"[{index + 1}/{len(names)}] {name} ...")
        found, problem = run(name, programs)
        tell("")
        if problem:
            problems[name] = problem
        show(name, found, problem)
        figures += found
    result = {"figures": figures, "problems": problems, "seconds": round(time.monotonic() - begin, 1)}
    results = programs / "results.json"
    programs.mkdir(parents=True, exist_ok=True)
    results.write_text(json.dumps(result, indent=1) + "\n")
    return finish(figures, problems, time.monotonic() - begin, results)


def show_again(results: Path) -> int:
    """The tables of an earlier run."""
    kept = json.loads(results.read_text())
    for name in BENCHMARKS:
        figures = [figure for figure in kept["figures"] if figure["benchmark"] == name]
        show(name, figures, kept["problems"].get(name, ""))
    return finish(kept["figures"], kept["problems"], kept["seconds"], results)


def main() -> int:
    names = "\n".join(f"  {name:<12} {about}" for name, about in BENCHMARKS.items())
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=EPILOG.format(names=names), formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help="which benchmarks, see below; default: all")
    parser.add_argument("--programs", type=Path, default=PROGRAMS, help="folder of the C programs and of results.json")
    parser.add_argument("--show", type=Path, metavar="RESULTS", help="show an earlier run again, measure nothing")
    options = parser.parse_args()
    unknown = [name for name in options.names if name not in BENCHMARKS]
    if unknown:
        parser.error(f"no benchmark is named {unknown[0]}; there are {', '.join(BENCHMARKS)}")
    if options.show is not None and not options.show.is_file():
        parser.error(f"{options.show} is not there: run a benchmark first, it writes its results to {PROGRAMS}")
    if options.show is not None:
        return show_again(options.show)
    return measure(options.names or [*BENCHMARKS], options.programs)


if __name__ == "__main__":
    sys.exit(main())
