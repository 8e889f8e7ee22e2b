"""The directory of a run. Goal: its numbers are the agents' sums, and every file of it can be read by others."""

import json
import re
from pathlib import Path

import pytest

pytest.importorskip("google.protobuf")
from unit.bench.runs import message, run_of, second_of

from kvspic.bench.collect import Collector, Observers
from kvspic.bench.histogram import Histograms
from kvspic.bench.page import run_page
from kvspic.bench.plan import Limits
from kvspic.bench.record import AgentRecord
from kvspic.bench.report import (
    PERF_LOG,
    RESULTS,
    ReportError,
    folder_name,
    read_result,
    read_rows,
    results_tsv,
    status_text,
    write_report,
)
from kvspic.bench.result import result_of

SCHEMA = Path(__file__).resolve().parents[3] / "docs" / "bench-result.schema.json"


@pytest.fixture(scope="module")
def run():
    return run_of()


@pytest.fixture
def result(run):
    return result_of(*run, Limits())


def test_a_result_is_what_the_schema_says(result):
    jsonschema = pytest.importorskip("jsonschema")
    schema = json.loads(SCHEMA.read_text(encoding="utf-8"))
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(json.loads(json.dumps(result)), schema)


def test_frames_rates_and_percentiles_are_of_all_agents(result):
    assert result["frames"] == {
        "offered": 6000, "put": 6000, "persisted": 6000, "dropped": 0, "buffered": 0, "unknown": 0
    }  # fmt: skip
    assert result["rates"]["frames_per_s"] == 200
    assert result["latency"]["PUT"]["ALL"]["count"] == pytest.approx(6000, rel=0.01)
    assert result["latency"]["PUT"]["ALL"] == result["latency"]["PUT"]["1B-8KiB"]
    assert result["common_window_s"] == pytest.approx(30, abs=0.001)


def test_a_longer_agent_does_not_lower_the_common_rate():
    record, collector = run_of()
    for agent, put, span in zip(record.agents, (3000, 3300), (30.0, 33.0)):
        frames = {"offered": put, "put": put, "persisted": put, "dropped": 0, "buffered": 0}
        agent.summary |= {"measured_s": span, "frames": frames, "bytes": 0}
    rates = result_of(record, collector, Limits())["rates"]
    assert (rates["frames_per_s"], round(rates["frames_per_s_wall"], 1)) == (200, 190.9)


def test_a_lost_agent_counts_by_its_last_message():
    record, collector = run_of()
    lost = record.agents[1]
    lost.state, lost.error, lost.summary = "failed", "it did not answer for 60 s", None
    found = result_of(record, collector, Limits())
    assert found["frames"]["unknown"] == lost.last.put_ops == 3000
    assert (found["frames"]["put"], found["frames"]["persisted"]) == (6000, 3000)
    assert found["broken"] == []
    assert found["latency"]["PUT"]["ALL"]["count"] == pytest.approx(6000, rel=0.01)
    assert status_text(found).startswith("SUCCESS (1 lost)\nagents: 1 completed, 1 failed\n")


def test_a_run_of_which_nothing_was_persisted_has_failed(run):
    record, collector = run_of()
    frames = record.agents[0].summary["frames"]
    frames["persisted"], frames["buffered"] = 0, frames["put"]
    found = result_of(record, collector, Limits())
    assert (found["exit_code"], len(found["broken"])) == (1, 1)
    assert found["reason"].startswith("Nothing of 10.0.0.1:7761 was persisted, of 3,000 frames that were due: see ")
    assert "3000 frames were not persisted when the time to drain was over" in status_text(found)


def test_frames_that_were_not_persisted_in_time_are_in_the_status():
    record, collector = run_of()
    frames = record.agents[0].summary["frames"]
    frames["persisted"], frames["buffered"] = frames["persisted"] - 30, 30
    found = result_of(record, collector, Limits())
    assert found["exit_code"] == 0
    assert "30 frames were not persisted" in status_text(found)


def test_a_reason_stands_once_in_the_status():
    record, collector = run_of()
    record.agents[0].state, record.agents[0].error = "failed", "It cannot be reached."
    record.exit_code, record.reason = 4, f"{record.agents[0].id}: It cannot be reached."
    assert status_text(result_of(record, collector, Limits())).count(record.reason) == 1


def test_a_ledger_that_does_not_add_up_fails_the_run():
    record, collector = run_of()
    record.agents[0].summary["frames"]["persisted"] -= 1
    found = result_of(record, collector, Limits())
    assert (found["exit_code"], found["broken"]) == (1, [found["reason"]])
    assert "ledger of 10.0.0.1:7761 does not add up" in found["reason"]


@pytest.mark.parametrize(
    "limits, name",
    [
        (Limits(put_p99_ms=0.1), "put_p99_ms"), (Limits(late_p99_ms=0.01), "late_p99_ms"),
        (Limits(persisted_p99_ms=1), "persisted_p99_ms"), (Limits(cpu_percent=29), "cpu_percent"),
    ],
)  # fmt: skip
def test_a_limit_that_breaks_fails_the_run_and_is_named(run, limits, name):
    found = result_of(*run, limits)
    assert found["exit_code"] == 1
    assert f"The limit {name} is broken" in found["reason"]


def test_limits_that_hold_change_nothing(run):
    limits = Limits(dropped=0, put_p99_ms=100, late_p99_ms=100, persisted_p99_ms=5000, cpu_percent=90)
    assert result_of(*run, limits)["exit_code"] == 0


def test_a_run_that_was_ended_keeps_its_exit_code(run):
    record, collector = run_of()
    record.exit_code, record.reason = 130, "Ended by SIGINT."
    found = result_of(record, collector, Limits(put_p99_ms=0.1))
    assert (found["exit_code"], found["reason"]) == (130, "Ended by SIGINT.")


def test_the_directory_has_every_file_and_is_read_back(run, tmp_path):
    written = write_report(*run, Limits(), tmp_path / "run")
    names = {str(path.relative_to(tmp_path / "run")) for path in (tmp_path / "run").rglob("*") if path.is_file()}
    assert names == {
        "plan.yaml", "result.json", "results.tsv", "perf_log.tsv", "console_log.txt", "STATUS.txt", "report.html",
        *(f"agents/10.0.0.{host}_3a_7761/{name}" for host in (1, 2) for name in ("summary.json", "perf_log.tsv")),
    }  # fmt: skip
    read, rows = read_result(tmp_path / "run")
    assert read == json.loads(json.dumps(written))
    assert len(rows) == 2 * 33
    assert (tmp_path / "run" / "report.html").read_text(encoding="utf-8") == run_page(read, rows)
    assert "10.0.0.1:7761 completed" in (tmp_path / "run" / "console_log.txt").read_text(encoding="utf-8")


def test_results_are_a_table_by_the_names_of_its_columns(result):
    rows = read_rows(results_tsv(result))
    assert tuple(rows[0]) == RESULTS
    assert [row["bucket_idx"] for row in rows] == sorted(row["bucket_idx"] for row in rows)
    put = next(row for row in rows if row["operation"] == "PUT" and row["size_bucket"] == "ALL")
    assert (put["bucket_idx"], put["avg_bytes"]) == (99, 8000)
    assert put["ops_per_sec"] == pytest.approx(200, rel=0.01)
    assert re.search(r"\t\d+\.\d\d\t", results_tsv(result))


def test_the_log_of_seconds_has_counts_of_each_second(run, tmp_path):
    write_report(*run, Limits(), tmp_path)
    rows = read_rows((tmp_path / "perf_log.tsv").read_text(encoding="utf-8"))
    assert tuple(rows[0]) == PERF_LOG
    measured = [row for row in rows if not row["is_warmup"]]
    assert {row["put_ops"] for row in measured} == {100}
    assert sum(row["is_warmup"] for row in rows) == 6


@pytest.mark.parametrize("text", [None, "", "[]", '{"schema": 2}'])
def test_a_directory_without_a_result_is_one_error(tmp_path, text):
    if text is not None:
        (tmp_path / "result.json").write_text(text, encoding="utf-8")
        (tmp_path / "perf_log.tsv").write_text("a\tb\n", encoding="utf-8")
    with pytest.raises(ReportError):
        read_result(tmp_path)


@pytest.mark.parametrize("key", [
    "agents", "begun_s", "broken", "comparable", "exit_code", "frames", "hist", "latency", "limits", "name", "rates",
    "reason", "run_id", "start_spread_us",
])  # fmt: skip
def test_a_result_without_a_field_is_named_as_damaged(run, tmp_path, key):
    write_report(*run, Limits(), tmp_path)
    value = json.loads((tmp_path / "result.json").read_text(encoding="utf-8"))
    del value[key]
    (tmp_path / "result.json").write_text(json.dumps(value), encoding="utf-8")
    with pytest.raises(ReportError, match=f"result.json is damaged.*{key}"):
        read_result(tmp_path)


@pytest.mark.parametrize(
    ("key", "value"),
    [("agents", None), ("begun_s", 1e300), ("exit_code", "0"), ("frames", "x"), ("latency", []), ("name", 5)],
)
def test_a_result_with_a_field_of_another_kind_is_named_as_damaged(run, tmp_path, key, value):
    write_report(*run, Limits(), tmp_path)
    found = json.loads((tmp_path / "result.json").read_text(encoding="utf-8"))
    (tmp_path / "result.json").write_text(json.dumps({**found, key: value}), encoding="utf-8")
    with pytest.raises(ReportError, match=r"result\.json is damaged"):
        read_result(tmp_path)


@pytest.mark.parametrize("value", ["", "nan", "x"])
def test_a_log_without_a_number_is_named_by_its_line(run, tmp_path, value):
    write_report(*run, Limits(), tmp_path)
    path = tmp_path / "perf_log.tsv"
    lines = path.read_text(encoding="utf-8").splitlines()
    cells = lines[4].split("\t")
    lines[4] = "\t".join([*cells[:2], value, *cells[3:]])
    path.write_text("\n".join(lines), encoding="utf-8")
    with pytest.raises(ReportError, match="line 5 has no number for elapsed_s"):
        read_result(tmp_path)


def test_a_result_nested_without_an_end_is_no_result(run, tmp_path):
    write_report(*run, Limits(), tmp_path)
    (tmp_path / "result.json").write_text("[" * 100_000, encoding="utf-8")
    with pytest.raises(ReportError, match="is no directory of a run"):
        read_result(tmp_path)


def test_a_directory_of_a_ramp_or_of_a_capacity_says_what_to_look_at(run, tmp_path):
    write_report(*run, Limits(), tmp_path / "ramp" / "step-5")
    with pytest.raises(ReportError, match=r"steps of a ramp: name one of them, such as \S+step-5\.$"):
        read_result(tmp_path / "ramp")
    (tmp_path / "capacity.json").write_text("{}", encoding="utf-8")
    with pytest.raises(ReportError, match="kvspic bench capacity"):
        read_result(tmp_path)


def test_the_page_asks_for_nothing_beyond_itself_and_takes_no_text_for_markup(run):
    record, collector = run_of(agents=("<img src=x onerror=alert(1)>", "</script><script>alert(2)</script>"))
    record.reason = "<b>bad</b>"
    result = result_of(record, collector, Limits())
    page = run_page(result, read_rows_of(record, collector))
    assert re.findall(r"<[a-z][^>]*(?:src|href)=[^>]*>", page) == ['<link rel="icon" href="data:,">']
    assert "url(" not in page
    assert "<img" not in page
    assert "alert(2)</script>" not in page
    assert "<b>bad" not in page
    assert page.count("</script>") == 3
    assert "Permission is hereby granted" in page  # the licence goes where the script goes


def test_an_agent_that_is_heard_twice_in_a_second_is_drawn_once(run):
    record, collector = run
    rows = read_rows_of(record, collector)
    page = run_page(result_of(record, collector, Limits()), [*rows, dict(rows[-1])])
    plots = json.loads(re.search(r'id="plots">(.*?)</script>', page).group(1))
    lines = {line["label"]: line["values"] for line in plots[0]["lines"]}
    assert lines["all"][-1] == lines[record.agents[0].id][-1] + lines[record.agents[1].id][-1]


def read_rows_of(record, collector):
    from kvspic.bench.report import perf_log_tsv

    return read_rows(perf_log_tsv([row for agent in record.agents for row in collector.rows(agent.id)]))


def test_a_run_without_a_single_message_has_a_page_too():
    record, _ = run_of()
    for agent in record.agents:
        agent.summary = agent.last = None
        agent.started_ns, agent.state = 0, "failed"
    found = result_of(record, Collector(), Limits())
    assert (found["frames"]["put"], found["latency"], found["common_window_s"]) == (0, {}, 0)
    assert 'id="plot-' not in run_page(found, [])


def test_a_full_set_of_histograms_replaces_what_was_heard():
    import random

    collector, agent, everything = Collector(), AgentRecord("a", "a"), Histograms()
    for second in range(3):
        found = second_of(random.Random(second), 100)
        everything.add(found)
        if second != 1:  # one was lost on the way
            collector.stats(agent, float(second), message(second, put_ops=100 * second, hist=found))
    assert collector.histograms("a").all_sizes("PUT").count == 200
    again = message(4, put_ops=300)
    again.histograms = everything.pack(is_full=True)
    collector.stats(agent, 4.0, again)
    assert collector.histograms("a").to_json() == everything.to_json()


def test_histograms_that_cannot_be_read_are_a_line_in_the_log():
    collector, agent = Collector(), AgentRecord("a", "a")
    bad = message(1)
    bad.histograms = b"x"
    collector.stats(agent, 1.0, bad)
    assert "a sent histograms that cannot be read" in collector.lines[0]


def test_several_onlookers_hear_the_same():
    first, second = Collector(), Collector()
    both, agent = Observers(first, second), AgentRecord("a", "a", "ready")
    both.agent_changed(agent, 1.0)
    both.note(2.0, "something")
    both.stats(agent, 3.0, message(3, put_ops=5))
    assert first.lines == second.lines == ["    1.000 a ready", "    2.000 something"]
    assert first.rows("a")[0].put_ops == second.rows("a")[0].put_ops == 5


def test_a_directory_is_named_by_the_run():
    assert folder_name("a-night", 1_777_636_800.0) == "kvsbench-20260501-120000-a-night"
