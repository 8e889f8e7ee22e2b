"""The processes of one machine. Goal: what ends one of them ends the others only where it concerns all."""

import pytest

pytest.importorskip("aiohttp")
pytest.importorskip("av")

from kvspic.fleet import processes
from kvspic.fleet.processes import CALM_S, PAUSE_MAX_S, _Crew, _Task
from kvspic.fleet.worker import WorkerSettings


class Ended:
    """A process that is not there."""

    pid = None

    def __init__(self, code=None):
        self.exitcode = code

    def join(self, timeout):
        """It has ended."""

    def is_alive(self):
        return False


class Stage:
    """A crew of three on a clock of its own; ``end`` lets one end, and starts its successor when that is due."""

    def __init__(self, monkeypatch):
        self.now_s = 0.0
        monkeypatch.setattr(processes.time, "monotonic", lambda: self.now_s)
        self.crew = _Crew([_Task("http://x", 1, (), f"w-{n}", WorkerSettings()) for n in (1, 2, 3)])
        for place in self.crew._places:
            place.process = Ended()

    def end(self, number, code):
        """Return the pause before the next start in seconds; None: all end."""
        place = self.crew._places[number]
        self.crew._ended(place, Ended(code))
        if self.crew._is_ending:
            return None
        pause_s = place.due_s - self.now_s
        place.process, self.now_s, place.began_s = Ended(), place.due_s, place.due_s
        return pause_s


@pytest.fixture
def on(monkeypatch):
    return Stage(monkeypatch)


@pytest.mark.parametrize("code", [4, 5, 1, -9])
def test_one_that_ends_while_the_others_work_is_started_again_after_longer_and_longer_pauses(on, code):
    pauses_s = [on.end(1, code) for _ in range(9)]
    assert pauses_s[:3] == [0.5, 1.0, 2.0]
    assert pauses_s[-1] == PAUSE_MAX_S / 2


@pytest.mark.parametrize("code", [4, 5])
def test_refused_all_of_them_they_end_with_the_last_code(on, code):
    assert on.end(0, 5) is not None
    assert on.end(1, 4) is not None
    assert on.end(2, code) is None
    assert on.crew._code == code


def test_a_successor_that_works_for_long_keeps_the_others_going(on):
    on.end(0, 5)
    on.end(1, 5)
    on.now_s += CALM_S + 1
    assert on.end(2, 5) is not None


def test_one_that_died_is_not_one_that_was_refused(on):
    on.end(0, -9)
    on.end(1, 5)
    assert on.end(2, 5) is not None


def test_one_that_was_asked_to_end_ends_all(on):
    on.end(0, 5)
    assert on.end(1, 0) is None
    assert on.crew._code == 0
