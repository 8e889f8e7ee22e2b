"""``kvspic simulate``. Goal: seeds are counted, a failing one is made small and can be repeated, scripts get codes."""

import pytest

from kvspic.commands import simulate as command
from kvspic.testing.sim_stream import SimStream


@pytest.fixture
def deaf(monkeypatch):
    """Streams that never carry out PutMedia."""
    monkeypatch.setattr(SimStream, "_put_media", lambda self, action: None)


def test_what_was_done_is_counted(run):
    ran = run("simulate", "--seeds", "0..1", "--hours", "0.1")
    assert ran.code == 0
    assert ran.out.startswith("2 seeds, 0.2 hours")
    assert ran.out.endswith("0 failed\n")


def test_scripts_get_one_object(run):
    found = run("simulate", "--seeds", "3", "--hours", "0.1", "--json").json
    assert (found["seeds"], found["hours"], found["failed"]) == (1, 0.1, [])
    assert min(found["frames"], found["fragments"], found["sessions"], found["events"]) > 0


def test_a_failing_seed_is_made_small_and_can_be_repeated(run, deaf):
    ran = run("simulate", "--seeds", "1..5", "--hours", "0.2")
    assert ran.code == 1
    assert ran.err == "kvspic: Promises were broken under seed 1; the transcripts say how.\n"
    assert "Again: kvspic simulate --seeds 1 --hours 0.2" in ran.out
    assert ran.out.count("StreamPlan(") == 1
    assert "Fault(" not in ran.out
    assert "PUT_MEDIA upload 1" in ran.out
    assert "1 seeds" in ran.out


def test_all_seeds_are_run_on_request_and_left_as_they_are(run, deaf):
    found = run("simulate", "--seeds", "1..3", "--hours", "0.2", "--keep-going", "--tries", "0", "--json").json
    assert [failed["seed"] for failed in found["failed"]] == [1, 2, 3]
    assert found["failed"][0]["rule"] == "nothing would make a stream go on"
    assert not any(line.startswith("broken") for line in found["failed"][0]["story"])


def test_jobs_give_the_same_figures(run):
    alone, together = (
        run("simulate", "--seeds", "0..2", "--hours", "0.1", "--json", "--jobs", jobs).json for jobs in (1, 2)
    )
    assert alone | {"seconds": 0} == together | {"seconds": 0}


@pytest.mark.parametrize("seeds", ["", "x", "1..", "..3", "5..4", "-1"])
def test_what_is_no_range_of_seeds_is_refused(run, seeds):
    ran = run("simulate", f"--seeds={seeds}")
    assert ran.code == 2
    assert "seeds" in ran.err


def test_a_process_that_dies_is_told_with_its_seeds(run, monkeypatch):
    class Pool:
        def __init__(self, *args):
            pass

        def map(self, function, seeds):
            raise command.BrokenProcessPool("a child died")

        def shutdown(self, **options):
            pass

    monkeypatch.setattr(command, "ProcessPoolExecutor", Pool)
    ran = run("simulate", "--seeds", "7..9", "--jobs", "2")
    assert ran.code == 70
    assert "between 7 and 11" in ran.err
