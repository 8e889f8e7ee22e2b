"""The status machine of a job. Goal: exactly the 34 pairs of the matrix, each cell of the table, no seen transient."""

import random

import pytest
from unit.fleet.matrix import matrix_pairs

from kvspic.fleet.causes import Actor, Cause, Status
from kvspic.fleet.statuses import ACTOR_OF, PAIRS, STATUS_MACHINE, allowed, change

# One line a status: what each event leads to; the events are those of EVENTS, "" is refused.
EVENTS = ["claim", "done", "fail", "handback", "lost", "autorestart", "resume", "pause", "cancel", "replace", "delete"]
BACK, LOST = ["restart", "pending"], ["handler_lost", "restart", "pending"]
CELLS = {
    "pending": [["in_progress"], "", "", "", "", "", "", ["pause"], ["cancel"], BACK, ["deleted"]],
    "in_progress": [
        "", ["done"], ["failure"], ["pending"], LOST, "", "", ["pause"], ["cancel"], BACK, ["deleted"],
    ],
    "done": ["", "", "", "", "", "", ["pending"], ["pause"], "", BACK, ["deleted"]],
    "pause": ["", "", "", "", "", "", ["pending"], "", ["cancel"], BACK, ["deleted"]],
    "cancel": ["", "", "", "", "", "", ["pending"], ["pause"], "", BACK, ["deleted"]],
    "failure": ["", "", "", "", "", BACK, ["pending"], ["pause"], "", BACK, ["deleted"]],
    "none": [""] * 11,
    "removed": [""] * 11,
}  # fmt: skip


def statuses_after(status, event, cause=Cause.PATCH, **more):
    made = change(status, event, cause, **{"live": True, **more})
    return "" if made is None else [step.status.value for step in made]


@pytest.mark.parametrize("status", CELLS)
@pytest.mark.parametrize("event", EVENTS)
def test_a_cell(status, event):
    assert statuses_after(status, event) == CELLS[status][EVENTS.index(event)]


def test_a_job_begins_in_pending_or_paused():
    assert statuses_after("none", "create", Cause.CREATE) == ["pending"]
    assert statuses_after("none", "create", Cause.CREATE, wanted="pause") == ["pause"]
    assert all(statuses_after(status, "create") == "" for status in CELLS if status != "none")


def test_a_replace_that_asks_for_pause_ends_there():
    for status in ("pending", "in_progress", "done", "pause", "cancel", "failure"):
        assert statuses_after(status, "replace", wanted="pause") == ["restart", "pause"]


def test_a_file_in_progress_is_not_paused():
    assert statuses_after("in_progress", "pause", live=False) == ""
    assert statuses_after("pending", "pause", live=False) == ["pause"]


def test_the_34_pairs_are_those_of_the_matrix():
    assert len(matrix_pairs()) == 34
    assert matrix_pairs() == PAIRS


@pytest.mark.parametrize("seed", range(2))
def test_random_walks_give_exactly_the_pairs(seed):
    chance = random.Random(seed)
    found, status = set(), "none"
    for _ in range(40_000):
        event = chance.choice(STATUS_MACHINE.events)
        made = change(status, event, Cause.PATCH, live=chance.random() < 0.7, wanted=chance.choice([None, "pause"]))
        for step in made or ():
            after = "none" if step.status is Status.DELETED else step.status.value
            found.add((status, after))
            status = after
    assert found == matrix_pairs()


def test_a_walk_ends_in_what_a_reader_may_see():
    for status, event in [(status, event) for status in CELLS for event in STATUS_MACHINE.events]:
        for made in (change(status, event, Cause.PATCH, live=True, wanted=wanted) for wanted in (None, "pause")):
            assert made is None or made[-1].status not in (Status.RESTART, Status.HANDLER_LOST)


@pytest.mark.parametrize(
    "event, cause, causes",
    [
        ("lost", Cause.LEASE, ["lease", "handler_lost", "handler_lost"]),
        ("lost", Cause.INCARNATION, ["incarnation", "handler_lost", "handler_lost"]),
        ("replace", Cause.REPLACE, ["replace", "replace"]),
    ],
)
def test_the_causes_of_one_step(event, cause, causes):
    assert [step.cause.value for step in change("in_progress", event, cause, live=True)] == causes


def test_an_autorestart_names_itself_twice():
    made = change("failure", "autorestart", Cause.AUTORESTART, live=True)
    assert [(step.status.value, step.cause.value) for step in made] == [
        ("restart", "autorestart"),
        ("pending", "autorestart"),
    ]
    assert {step.actor for step in made} == {Actor.SERVER}


def test_each_cause_has_an_actor():
    assert set(ACTOR_OF) == set(Cause)


@pytest.mark.parametrize(
    "status, may",
    [
        ("pending", ["pause", "cancel"]),
        ("in_progress", ["pause", "cancel"]),
        ("done", ["pending", "pause"]),
        ("pause", ["pending", "cancel"]),
        ("cancel", ["pending", "pause"]),
        ("failure", ["pending", "pause"]),
    ],
)
def test_what_a_user_may_ask_for(status, may):
    assert allowed(status, live=True) == may


def test_what_a_user_may_ask_of_a_file_in_progress():
    assert allowed("in_progress", live=False) == ["cancel"]
