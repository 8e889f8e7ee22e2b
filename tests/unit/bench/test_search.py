"""The search for the capacity. Goal: the answer is within five percent of the truth, and says what breaks first."""

import dataclasses
import random

import pytest

from kvspic.bench.search import Bounds, Measure, Result, broken, result_line, search, slope

HELD = Measure(
    streams=1, offered=1000, missing=0, dropped=0, late_p99_ms=1, put_p99_ms=1, persisted_p99_ms=100, lag_s=2,
    growth=0, cpu_percent=20, endpoint_cpu_percent=5, other_cpu_percent=0, rss_bytes=1,
)  # fmt: skip


def found_by(measure, streams_max=10_000, first=1):
    """Run a search over ``measure(trial)``; return the result and the trials."""
    trials, asked = [], search(Bounds(), streams_max, first)
    try:
        trial = next(asked)
        while True:
            trials.append(trial)
            trial = asked.send(measure(trial))
    except StopIteration as ended:
        return ended.value, trials


def limit_of(capacity):
    def measure(trial):
        late_ms = 41 if trial.streams > capacity else 1
        return dataclasses.replace(HELD, streams=trial.streams, late_p99_ms=late_ms)

    return measure


@pytest.mark.parametrize("capacity", [1, 2, 3, 7, 8, 19, 20, 21, 100, 212, 500, 999, 4096, 5000])
def test_the_answer_is_within_five_percent_of_a_scripted_limit(capacity):
    result, trials = found_by(limit_of(capacity))
    assert capacity * 0.95 <= result.streams <= capacity
    assert result.limits == ("LATE p99 41 ms",)
    assert trials[-1].is_confirmation
    assert len(trials) < 30


def test_every_small_capacity_is_found_exactly():
    assert [found_by(limit_of(capacity))[0].streams for capacity in range(1, 40)] == list(range(1, 40))


def test_a_machine_that_holds_no_camera_says_so():
    result, trials = found_by(limit_of(0))
    assert (result.streams, len(trials)) == (0, 2)
    assert result_line(result, 2000, 30, False).startswith("This machine holds 0 cameras (2000 kbit/s, 30 fps); first")


def test_a_search_that_meets_no_limit_ends_at_the_most_that_was_allowed():
    result, trials = found_by(limit_of(10**6), streams_max=100)
    assert (result.streams, result.limits) == (100, ())
    assert [trial.streams for trial in trials] == [1, 2, 4, 8, 16, 32, 64, 100, 100]
    assert "no limit was met" in result_line(result, 2000, 30, False)


def test_one_hiccup_is_not_believed():
    hiccups = {8}

    def measure(trial):
        is_hiccup = trial.streams in hiccups
        hiccups.discard(trial.streams)
        return dataclasses.replace(limit_of(100)(trial), **({"put_p99_ms": 50} if is_hiccup else {}))

    assert 95 <= found_by(measure)[0].streams <= 100


def test_a_confirmation_that_breaks_is_repeated_with_ten_percent_less():
    def measure(trial):
        return limit_of(80 if trial.is_confirmation else 100)(trial)

    result, trials = found_by(measure)
    assert 72 <= result.streams <= 80
    assert [trial.streams for trial in trials if trial.is_confirmation][-1] == result.streams


def test_a_noisy_machine_ends_the_search_too():
    for seed in range(200):
        numbers = random.Random(seed)

        def measure(trial, numbers=numbers):
            return limit_of(50 + numbers.randrange(-20, 20))(trial)

        result, trials = found_by(measure)
        assert 0 < result.streams <= 70
        assert len(trials) < 60


@pytest.mark.parametrize(
    "change, words",
    [
        ({"unopened": 1}, "1 of 1 streams could not be opened"),
        ({"dropped": 1}, "1 frames dropped"),
        ({"late_p99_ms": 34}, "LATE p99 34 ms"),
        ({"missing": 11}, "11 of 1000 frames not put in time"),
        ({"put_p99_ms": 5.1}, "PUT p99 5.1 ms"),
        ({"persisted_p99_ms": 5001}, "PERS p99 5001 ms"),
        ({"lag_s": 7.1}, "frames not persisted after 7.1 s"),
        ({"growth": 0.02}, "backlog grows by 2.0% of the bit rate"),
        ({"cpu_percent": 86}, "CPU 91 %"),
    ],
)
def test_each_bound_breaks_by_itself(change, words):
    assert broken(HELD, Bounds()) == ()
    assert broken(dataclasses.replace(HELD, **change), Bounds()) == (words,)


def test_a_slope_is_the_one_of_the_line_through_noise():
    assert slope([(x, 3 * x + (-1) ** x) for x in range(100)]) == pytest.approx(3, abs=0.01)
    assert slope([(1, 5)]) == slope([]) == slope([(1, 1), (1, 2)]) == 0


def test_the_line_says_what_else_the_machine_did():
    last = dataclasses.replace(HELD, streams=212, endpoint_cpu_percent=31, other_cpu_percent=12)
    line = result_line(Result(212, ("LATE p99 41 ms",), (last,)), 2000, 30, True)
    assert line == (
        "This machine holds 212 cameras (2000 kbit/s, 30 fps); first limit: LATE p99 41 ms; the endpoint on the same "
        "machine took 31 % of its CPU; other programs took 12 %"
    )
