"""``kvspic bench`` over directories of runs, and its capacity. Goal: what it says is what the directory has."""

import asyncio
import json
import signal

import pytest

pytest.importorskip("google.protobuf")
pytest.importorskip("psutil")
from unit.bench.runs import run_of

from kvspic.bench import capacity, controller
from kvspic.bench.plan import Limits, parse_plan
from kvspic.bench.report import write_report
from kvspic.bench.search import Measure, Result
from kvspic.bench.workload import WorkloadError
from kvspic.commands import bench_results, bench_run

HELD = Measure(20, 100, 0, 0, 1.0, 1.0, 100.0, 2.0, 0.0, 20.0, 5.0, 0.0, 10**8)


def written(folder, plan="fps: 30\n", **options):
    record, collector = run_of(**options)
    record.plan_yaml = plan
    write_report(record, collector, Limits(), folder)
    return folder


def test_two_runs_of_the_same_plan_do_not_differ(run, tmp_path):
    ran = run("bench", "compare", written(tmp_path / "a", seed=1), written(tmp_path / "b", seed=2))
    assert ran.code == 0
    assert "real" not in ran.out
    assert ran.out.count("noise") == 9


def test_a_slower_run_differs_and_its_plan_is_named(run, tmp_path):
    slower = written(tmp_path / "b", plan="fps: 25\n", seed=2, slow=2)
    ran = run("bench", "compare", written(tmp_path / "a", seed=1), slower)
    assert ran.code == 1
    assert ran.out.startswith("The plans differ in fps: 30 and 25.\n")
    lines = {line.split(",")[0]: line for line in ran.out.splitlines()}
    assert lines["put since due"].endswith("real")
    found = run("bench", "compare", "--json", tmp_path / "a", slower).json
    assert (found["real"], found["plans"]) == (True, ["fps: 30 and 25"])


def test_a_report_is_made_again_from_its_directory(run, tmp_path):
    folder = written(tmp_path / "a")
    page = (folder / "report.html").read_text(encoding="utf-8")
    (folder / "report.html").unlink()
    ran = run("bench", "report", folder)
    assert (ran.code, ran.out.splitlines()[0]) == (0, "SUCCESS")
    assert (folder / "report.html").read_text(encoding="utf-8") == page


def test_a_report_ends_with_the_exit_code_of_its_run(run, tmp_path):
    record, collector = run_of()
    record.exit_code, record.is_comparable, record.reason = 7, False, "The agents did not start together."
    write_report(record, collector, Limits(), tmp_path)
    assert run("bench", "report", tmp_path).code == 7


def test_a_directory_without_a_run_is_a_sentence(run, tmp_path):
    ran = run("bench", "report", tmp_path)
    assert ran.code == 2
    assert "is no directory of a run" in ran.err


def test_a_page_that_cannot_be_written_is_a_sentence(run, tmp_path):
    page = written(tmp_path / "a") / "report.html"
    page.unlink()
    page.mkdir()
    ran = run("bench", "report", tmp_path / "a")
    assert ran.code == 6
    assert "report.html cannot be written" in ran.err


def test_runs_too_short_to_compare_are_said_to_be(run, tmp_path):
    ran = run("bench", "compare", written(tmp_path / "a", seconds=2), written(tmp_path / "b", seconds=2))
    assert (ran.code, ran.out) == (0, "The runs are too short to compare: let a plan's duration_s be ten or more.\n")


@pytest.mark.parametrize("plan", ["[" * 5000, "1: 2\na: 3\n", "- [", "5"])
def test_a_plan_that_cannot_be_read_is_left_out_of_a_comparison(run, tmp_path, plan):
    first, second = written(tmp_path / "a", seed=1), written(tmp_path / "b", seed=2)
    (second / "plan.yaml").write_text(plan, encoding="utf-8")
    assert run("bench", "compare", first, second).code == 0


@pytest.mark.parametrize(("agents", "count"), [(("a:1",), 0), (("a:1", "b:1"), 1)])
def test_a_spread_of_the_starts_is_printed_where_there_are_several(capsys, tmp_path, agents, count):
    record, collector = run_of(agents=agents)
    shown = bench_results.Shown(parse_plan(""))
    shown._collector = collector
    shown.write(record, tmp_path / "out")
    assert capsys.readouterr().out.count("start spread: 0.089 ms") == count


@pytest.fixture
def found(monkeypatch):
    """What the search is said to have found, and what it was asked."""
    asked = []

    def answer(result):
        def find(plan, timing, streams_max, first, on_measure, on_left):
            asked.append((plan, timing, streams_max, first))
            if isinstance(result, Exception):
                raise result
            for measure in result.curve:
                on_measure(capacity.Trial(measure.streams), measure, result.limits)
            return result

        monkeypatch.setattr(capacity, "find_capacity", find)
        return asked

    return answer


def test_the_capacity_ends_with_one_line_and_writes_its_curve(run, found, tmp_path):
    asked = found(Result(20, ("LATE p99 41 ms",), (HELD,)))
    ran = run("bench", "capacity", "--fps", 25, "--kbps", 4000, "--out", tmp_path / "out")
    assert ran.code == 0
    first = "This machine holds 20 cameras (4000 kbit/s, 25 fps); first limit: LATE p99 41 ms; the endpoint on the same"
    assert ran.out.splitlines()[-1].startswith(first)
    plan, timing, streams_max, _ = asked[0]
    assert (plan.fps, plan.kbps, plan.limits.put_p99_ms, streams_max) == (25, 4000, 5, 10_000)
    assert (timing.warmup_s, timing.measure_s, timing.confirm_s) == (5, 15, 60)
    value = json.loads((tmp_path / "out" / "capacity.json").read_text(encoding="utf-8"))
    assert (value["streams"], value["curve"][0]["late_p99_ms"]) == (20, 1.0)
    assert "20 cameras" in (tmp_path / "out" / "report.html").read_text(encoding="utf-8")


def test_the_capacity_as_json_is_one_object(run, found):
    found(Result(0, ("CPU 95 %",), (HELD,)))
    ran = run("bench", "capacity", "--json")
    assert (ran.code, ran.json["streams"], ran.json["limits"]) == (1, 0, ["CPU 95 %"])


def test_a_load_that_cannot_be_made_is_a_sentence(run, found):
    found(WorkloadError("The local endpoint does not start: no disk."))
    ran = run("bench", "capacity")
    assert (ran.code, ran.err) == (4, "kvspic: The local endpoint does not start: no disk.\n")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_search_that_is_ended_says_what_was_held(run, monkeypatch, number):
    def find(plan, timing, streams_max, first, on_measure, on_left):
        on_measure(capacity.Trial(20), HELD, ())
        on_measure(capacity.Trial(40), HELD, ("CPU 95 %",))
        signal.raise_signal(number)

    monkeypatch.setattr(capacity, "find_capacity", find)
    before = signal.getsignal(signal.SIGTERM)
    ran = run("bench", "capacity")
    assert ran.code == 128 + number
    assert ran.err == f"kvspic: Ended by {number.name} before there was an answer; 20 cameras were held so far.\n"
    assert signal.getsignal(signal.SIGTERM) is before


@pytest.fixture(params=["below a file", "not empty"])
def unfit(request, tmp_path):
    """A directory that can take no results, the exit code and a part of the sentence."""
    (tmp_path / "has").mkdir()
    (tmp_path / "has" / "file").touch()
    if request.param == "not empty":
        return tmp_path / "has", 2, "has files already"
    return tmp_path / "has" / "file" / "out", 6, "cannot be written"


def test_a_directory_that_takes_no_capacity_is_noticed_before_the_search(run, found, unfit):
    asked = found(Result(20, (), (HELD,)))
    folder, code, part = unfit
    ran = run("bench", "capacity", "--out", folder)
    assert (ran.code, asked) == (code, [])
    assert part in ran.err


def test_a_directory_that_takes_no_run_is_noticed_before_the_run(run, monkeypatch, tmp_path, unfit):
    monkeypatch.setattr(controller, "Controller", None)
    (tmp_path / "plan.yaml").write_text("fps: 10\n", encoding="utf-8")
    folder, code, part = unfit
    ran = run("bench", "run", tmp_path / "plan.yaml", "--agents", "127.0.0.1:1", "--out", folder)
    assert ran.code == code
    assert part in ran.err


def test_a_second_run_of_the_same_second_has_a_directory_of_its_own(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    names = []
    for _ in range(3):
        folder = bench_run._unused("kvsbench-x")
        folder.mkdir()
        names.append(folder.name)
    assert names == ["kvsbench-x", "kvsbench-x-2", "kvsbench-x-3"]


def test_equal_steps_of_a_ramp_have_directories_of_their_own(tmp_path, capsys):
    async def once(plan, text, folder):
        folder.mkdir(parents=True)
        return {"exit_code": 0, "broken": []}

    plan = parse_plan("steps: [{streams: 2}, {streams: 2}, {streams: 3}]")
    assert asyncio.run(bench_run._ramp(plan, tmp_path / "ramp", once)) == 0
    assert sorted(path.name for path in (tmp_path / "ramp").iterdir()) == ["step-2", "step-2-2", "step-3"]
    assert capsys.readouterr().out == "3 streams an agent are held; no limit was met.\n"


@pytest.mark.parametrize(
    "words, part", [(("--endpoint", "ftp://x"), "endpoint must be"), (("--times", 1, 0, 1), "--times")]
)
def test_wrong_words_are_explained(run, words, part):
    ran = run("bench", "capacity", *words)
    assert ran.code == 2
    assert part in ran.err
