"""The local endpoint of a bench. Goal: one that ends before its time is an error of the load."""

import pytest

pytest.importorskip("psutil")

from kvspic.bench import target
from kvspic.bench.load import make_workload
from kvspic.bench.plan import parse_plan
from kvspic.bench.workload import Assignment


class Child:
    """Stands for the process of the endpoint."""

    last_words, process_id = "Killed", 1

    def __init__(self, module, on_line):
        self.hear = on_line
        on_line({"say": "url", "url": "http://127.0.0.1:9"})

    def end(self, limit_s):
        self.hear(None)


@pytest.fixture
def local(monkeypatch):
    monkeypatch.setattr(target, "Child", Child)
    return target.LocalTarget()


def test_an_endpoint_that_ends_by_itself_says_why(local):
    assert (local.url(), local.error) == ("http://127.0.0.1:9", "")
    local._child.hear(None)
    assert local.error.startswith("The local endpoint ended unexpectedly (Killed): see that the machine")


def test_an_endpoint_that_is_ended_is_no_error(local):
    local.end()
    assert local.error == ""


@pytest.mark.parametrize("engine", ["", "engine: command\ncommand: 'x {stream}'\n"])
def test_a_load_whose_endpoint_has_ended_cannot_go_on(local, engine):
    workload = make_workload(parse_plan(engine), Assignment("run", "agent", 0, 1, "kvsbench-"), allows_command=True)
    workload._target = local
    assert workload.snapshot().error == ""
    local._child.hear(None)
    assert "ended unexpectedly" in workload.snapshot().error
    assert "ended unexpectedly" in workload.summary()["errors"][0]
    workload.kill()
