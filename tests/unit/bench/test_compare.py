"""Comparing runs. Goal: what changed is called real, and what did not is called noise."""

import random

import pytest

pytest.importorskip("google.protobuf")
from unit.bench.runs import run_of

from kvspic.bench.compare import Difference, compare, differences_of_plans, series_of
from kvspic.bench.report import perf_log_tsv, read_rows


def rows_of(**options):
    record, collector = run_of(**options)
    return read_rows(perf_log_tsv([row for agent in record.agents for row in collector.rows(agent.id)]))


@pytest.fixture(scope="module")
def before():
    return rows_of(seed=1)


def verdicts(first, second):
    return {difference.name: difference.verdict for difference in compare(first, second)}


@pytest.mark.parametrize("seed", [2, 3, 4])
def test_two_runs_of_the_same_differ_by_noise(before, seed):
    assert set(verdicts(before, rows_of(seed=seed)).values()) == {"noise"}


def test_a_slower_run_is_named_by_what_is_slower(before):
    found = verdicts(before, rows_of(seed=2, slow=1.5))
    slower = {name for name, verdict in found.items() if verdict == "real"}
    assert slower >= {"put since due, p50", "put since due, p99", "late, p99"}
    assert found["frames a second"] == found["processor time"] == "noise"


def test_fewer_frames_are_real(before):
    found = {one.name: one for one in compare(before, rows_of(seed=2, frames=90))}
    assert found["frames a second"].verdict == "real"
    assert found["frames a second"].percent == pytest.approx(-10, abs=0.5)


def test_a_run_of_some_seconds_is_too_short_to_tell(before):
    assert set(verdicts(before, rows_of(seconds=5)).values()) == {"too short"}


def test_warm_up_and_parts_of_a_second_are_left_out(before):
    assert len(series_of(before, "frames a second")) == 28


def test_an_agent_that_is_heard_twice_in_a_second_counts_once():
    rows = rows_of(seconds=6, seed=1)
    middle = next(row for row in rows if not row["is_warmup"] and row["elapsed_s"] > rows[-1]["elapsed_s"] - 3)
    twice = sorted([*rows, dict(middle)], key=lambda row: row["elapsed_s"])
    assert len(twice) == len(rows) + 1
    for name in ("frames a second", "processor time", "memory"):
        assert series_of(twice, name) == pytest.approx(series_of(rows, name))


def test_chance_seldom_calls_noise_real():
    numbers = random.Random(1)

    def rows():
        return [
            {
                "elapsed_s": float(second), "is_warmup": 0.0, "put_ops": 1.0, "put_iops": numbers.gauss(100, 20),
                "put_mbps": 1.0, "put_p50_us": 1.0, "put_p99_us": 1.0, "late_p99_us": 1.0, "persisted": 0.0,
                "cpu_user_pct": 1.0, "cpu_system_pct": 1.0, "rss_bytes": 1.0,
            }
            for second in range(62)
        ]  # fmt: skip

    wrong = sum(compare(rows(), rows())[0].verdict == "real" for _ in range(500))
    assert wrong <= 10


def test_a_difference_reads_as_a_line():
    line = str(Difference("frames a second", "frames/s", 100.0, 90.0, "real"))
    assert line.split() == ["frames", "a", "second", "100.00", "90.00", "frames/s", "-10.0", "%", "real"]
    assert "from zero" in str(Difference("x", "ms", 0.0, 1.0, "real"))


def test_plans_differ_by_their_fields():
    assert differences_of_plans({"fps": 30, "name": "a"}, {"fps": 25, "name": "a", "kbps": 5}) == [
        "fps: 30 and 25", "kbps: (default) and 5"
    ]  # fmt: skip
