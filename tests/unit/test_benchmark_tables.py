"""Goal: `make bench` shows each figure beside its goal, says by how much one is missed, and what grows with what.

The figures here are made up: nothing is measured.
"""

import json
import subprocess
import sys
from pathlib import Path

RUN = Path(__file__).resolve().parents[2] / "benchmarks" / "run.py"


def run(*arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run([sys.executable, str(RUN), *arguments], capture_output=True, text=True, check=False)


def shown(tmp_path: Path, *figures: dict[str, object]) -> list[str]:
    """The lines that are shown for these figures, blanks taken together."""
    results = tmp_path / "results.json"
    kept = [{"benchmark": "frame", "unit": "ns"} | figure for figure in figures]
    results.write_text(json.dumps({"figures": kept, "problems": {}, "seconds": 1}))
    done = run("--show", str(results))
    assert (done.returncode, done.stderr) == (0, "")
    return [" ".join(line.split()) for line in done.stdout.splitlines()]


def test_a_cost_is_ok_up_to_its_goal_and_over_it_by_some_percent(tmp_path):
    lines = shown(
        tmp_path,
        {"figure": "cheap", "value": 100, "goal": 150},
        {"figure": "dear", "value": 20_000, "goal": 16_000},
    )
    assert "cheap 150 ns 100 ns ok" in lines
    assert "dear 16 us 20 us over by 25 %" in lines
    assert lines[-1].startswith("1 of 2 figures with a goal reach it")


def test_a_limit_stands_before_the_goal(tmp_path):
    assert "uploads 8 % 18 % 20 % over by 11 %" in shown(
        tmp_path, {"figure": "uploads", "value": 20, "goal": 18, "limit": 8, "unit": "%"}
    )


def test_a_rate_falls_short(tmp_path):
    assert "rate 4 GB/s 3 GB/s short by 25 %" in shown(
        tmp_path, {"figure": "rate", "value": 3, "goal": 4, "unit": "GB/s"}
    )


def test_a_goal_may_be_a_multiple_of_a_copy(tmp_path):
    figure = {"figure": "large", "value": 2300, "memcpy": 1000, "ratio": 2.3, "ratio_goal": 2}
    assert "large 2 x memcpy 2,300 ns 2.3 over by 15 %" in shown(tmp_path, figure)


def test_a_growing_series_is_one_row_that_ends_with_its_growth(tmp_path):
    sizes = (10, 1000)
    lines = shown(
        tmp_path,
        *({"figure": f"put, backlog {size}", "value": 60 + size / 10, "goal": 200, "flat_goal": 1.5} for size in sizes),
        *({"figure": f"pic.h, put, {size} streams", "value": size} for size in sizes),
    )
    assert "put 61 ns 160 ns 2.62 x 200 ns, 1.5 x grows 2.6 x" in lines
    assert "put 10 ns 1,000 ns 100 x" in lines
    assert sum(line.startswith("Growth with the") for line in lines) == 2


def test_an_unknown_name_is_answered_with_those_there_are():
    done = run("frames")
    assert done.returncode == 2
    assert "no benchmark is named frames; there are frame, backlog," in done.stderr
