"""The search over real processes. Goal: against an endpoint that serves so many cameras, the answer is that number."""

import contextlib
import json
from pathlib import Path

import pytest

pytest.importorskip("psutil")
pytest.importorskip("aiohttp")
from kvspic.bench import capacity
from kvspic.bench.capacity import Timing, bounds_of, find_capacity
from kvspic.bench.capacity_report import capacity_page
from kvspic.bench.plan import parse_plan
from kvspic.bench.search import Measure, result_line
from kvspic.bench.workload import WorkloadError
from kvspic.local.fault_socket import ScriptedFaults
from kvspic.local.faults import Fault, FaultKind
from kvspic.local.server import LocalEndpoint
from kvspic.local.settings import Settings
from kvspic.units import HNS_PER_S

SERVED = 3


def test_a_plans_limits_are_the_bounds_and_the_rest_is_usual():
    bounds = bounds_of(parse_plan("{fps: 25, limits: {put_p99_ms: 7, cpu_percent: 50}}"))
    assert (bounds.late_p99_ms, bounds.put_p99_ms, bounds.cpu_percent) == (40, 7, 50)
    assert (bounds.persisted_p99_ms, bounds.lag_s, bounds.dropped) == (5000, 8, 0)


@pytest.mark.timed
def test_an_endpoint_that_serves_three_cameras_is_found_to_serve_three(tmp_path):
    late = [
        Fault(FaultKind.DELAY_ACKS, stream=f"kvsbench-{number:05d}", delay_hns=60 * HNS_PER_S)
        for number in range(SERVED, 8)
    ]
    seen = []
    with LocalEndpoint.run_in_thread(tmp_path, settings=Settings.unlimited(), faults=ScriptedFaults(late)) as endpoint:
        limits = "{put_p99_ms: 2000, late_p99_ms: 2000, persisted_p99_ms: 1000, cpu_percent: 100}"
        text = f"{{endpoint: '{endpoint.url}', fps: 10, kbps: 64, gop_s: 1, processes: 1, limits: {limits}}}"
        plan = parse_plan(text)
        timing = Timing(3.5, 0.8, 1.0)
        result = find_capacity(
            plan, timing, 8, 2, lambda trial, _, what: seen.append((trial.streams, what)), pytest.fail
        )
    assert result.streams == SERVED
    assert result.limits[0].startswith("PERS p99")
    assert {streams for streams, what in seen if what} == {SERVED + 1}
    line = result_line(result, plan.kbps, float(plan.fps), False)
    assert line.startswith("This machine holds 3 cameras (64 kbit/s, 10 fps); first limit: PERS p99")
    page = capacity_page(json.loads(json.dumps({"line": line, **result.to_json()})))
    assert "3 cameras" in page


class FakeRig:
    """Holds ten cameras; more than twenty cannot be opened."""

    def __init__(self, plan, timing):
        self.done = []

    def measure(self, trial):
        unopened = max(0, trial.streams - 20)
        cpu = 95.0 if trial.streams > 10 else 20.0
        self.done.append(trial.streams)
        return Measure(trial.streams, 100, 0, 0, 1.0, 1.0, 1.0, 1.0, 0.0, cpu, 0.0, 0.0, 1, unopened)

    def recover(self):
        self.done.append("recover")

    def close(self):
        self.done.append("close")


def test_after_each_broken_trial_the_load_recovers_and_at_the_end_it_is_closed(monkeypatch):
    rigs = []

    def make(plan, timing):
        rigs.append(FakeRig(plan, timing))
        return rigs[-1]

    monkeypatch.setattr(capacity, "Rig", make)
    result = find_capacity(parse_plan(""), Timing(), 100, 8, lambda trial, found, what: None, pytest.fail)
    assert (result.streams, result.limits) == (10, ("CPU 95 %",))
    broken = [16, "recover", 16, "recover"]
    assert rigs[0].done[:5] == [8, *broken]
    assert rigs[0].done[-1] == "close"


def test_a_load_that_fails_is_closed(monkeypatch):
    class Failing(FakeRig):
        def measure(self, trial):
            raise WorkloadError("no disk")

    rigs = []
    monkeypatch.setattr(capacity, "Rig", lambda plan, timing: rigs.append(Failing(plan, timing)) or rigs[-1])
    with pytest.raises(WorkloadError, match="no disk"):
        find_capacity(parse_plan(""), Timing(), 100, 1, lambda trial, found, what: None, pytest.fail)
    assert rigs[0].done == ["close"]


def test_streams_that_do_not_open_are_a_broken_trial_and_the_processes_are_made_again(monkeypatch):
    class SlowGroup:
        error, ready_count, stream_count = "", 3, 5
        is_killed = False

        def wait_ready(self, limit_s):
            raise WorkloadError("3 of 5 streams were open")

        def open(self, names, lanes):
            """Nothing: they are said to be open."""

        def kill(self):
            self.is_killed = True

    group = SlowGroup()
    rig = capacity.Rig(parse_plan("endpoint: 'http://127.0.0.1:9'\nkeep_streams: true"), Timing())
    monkeypatch.setattr(rig, "_group", group)
    assert rig.measure(capacity.Trial(5)).unopened == 2
    rig.recover()
    assert group.is_killed
    assert rig._group is None
    rig.close()


def test_streams_that_are_said_to_be_open_a_moment_too_long_are_no_reason_to_measure_nothing(monkeypatch):
    class Group:
        error, ready_count, stream_count = "", 16, 8  # eight were closed just now

        def wait_ready(self, limit_s):
            """All are open."""

        def kill(self):
            """Nothing runs."""

    rig = capacity.Rig(parse_plan("keep_streams: true"), Timing())
    assert rig._resize(Group(), 8) == 0
    rig.close()


@pytest.mark.parametrize("lag_s, persisted_ms, expected", [(2.5, 100, 0), (9, 100, 6000), (4, 0, 4000)])
def test_fragments_that_wait_for_their_ack_count_as_well(lag_s, persisted_ms, expected):
    rig = capacity.Rig(parse_plan("{gop_s: 2, keep_streams: true}"), Timing())
    assert rig._not_persisted_ms(lag_s, persisted_ms) == expected
    rig.close()


def test_a_search_whose_endpoint_is_gone_leaves_no_directory(monkeypatch):
    rig = capacity.Rig(parse_plan("endpoint: 'http://127.0.0.1:9'"), Timing())
    folder = Path(rig._folder.name)

    def refuse(*_):
        raise WorkloadError("The streams cannot be listed.")

    monkeypatch.setattr(capacity, "delete_streams", refuse)
    assert rig.close() == "Streams that the search created may be left. The streams cannot be listed."
    assert not folder.exists()


@pytest.mark.parametrize("error", [None, WorkloadError("a load process ended"), KeyboardInterrupt()])
def test_streams_that_are_left_are_named_however_the_search_ends(monkeypatch, error):
    class LostRig(capacity.Rig):
        def measure(self, trial):
            if error is not None:
                raise error
            return Measure(trial.streams, 100, 0, 0, 1.0, 1.0, 100.0, 2.0, 0.0, 20.0, 5.0, 0.0, 10**8)

        def close(self):
            super().close()
            return "Streams are left."

    monkeypatch.setattr(capacity, "Rig", LostRig)
    said = []
    plan = parse_plan("keep_streams: true")
    caught = pytest.raises(type(error)) if error is not None else contextlib.nullcontext()
    with caught:
        assert find_capacity(plan, Timing(), 1, 1, lambda *_: None, said.append).streams == 1
    assert said == ["Streams are left."]
