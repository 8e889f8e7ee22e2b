"""Automatic restart. Goal: every cell of its table, and the arithmetic of attempts, pauses and windows."""

import random

import pytest

from kvspic.fleet import autorestart
from kvspic.fleet.autorestart import RESTART_MACHINE
from kvspic.fleet.causes import FATAL_TEXT
from kvspic.fleet.records import JobRow
from kvspic.statechart import Snapshot, step

CHANCE = random.Random(1)
# One line a status: (next status, order) of each event; None is refused.
TABLE = {
    "disabled": {"restart_on": ("enabled", None)},
    "enabled": {
        "failed_fatal": ("denied", "stop"),
        "failed_attempts_left": ("in_progress", "schedule"),
        "failed_none_left": ("failed", "stop"),
        "restart_off": ("disabled", "stop"),
    },
    "in_progress": {
        "failed_fatal": ("denied", "stop"),
        "failed_attempts_left": ("in_progress", "schedule"),
        "failed_none_left": ("failed", "stop"),
        "due": ("in_progress", "attempt"),
        "window_held": ("enabled", "reset"),
        "job_done": ("enabled", "reset"),
        "user": ("enabled", "reset"),
        "restart_off": ("disabled", "stop"),
    },
    "failed": {
        "user": ("enabled", "reset"),
        "restart_off": ("disabled", "stop"),
        "attempts_raised": ("in_progress", "schedule"),
    },
    "denied": {"user": ("enabled", "reset"), "restart_off": ("disabled", "stop")},
}


def job(**more):
    plain = {"id": "1", "name": "a", "stream": "a", "source": {}, "options": {}, "ar_jitter": 0, "ar_backoff": 1}
    return JobRow(**{**plain, **more})


def failing(**more):
    row = job(status="failure", error_class="source_unreachable", error_text="boom", **more)
    autorestart.failed(row, 100_000, CHANCE)
    return row


@pytest.mark.parametrize("status", TABLE)
@pytest.mark.parametrize("event", RESTART_MACHINE.events)
def test_a_cell(status, event):
    taken = step(RESTART_MACHINE, Snapshot(status, None, {}, {}), {event: {}})
    expected = TABLE[status].get(event)
    if expected is None:
        assert taken.outputs is None
        assert taken.snapshot.control == status
    else:
        assert (taken.snapshot.control, taken.outputs[0] if taken.outputs else None) == expected


@pytest.mark.parametrize(
    "facts, status",
    [
        ({"error_class": "access_denied"}, "denied"),
        ({"error_class": "stalled"}, "in_progress"),
        ({"error_class": "stalled", "ar_attempt_count": 0}, "failed"),
    ],
)
def test_switched_on_in_failure_counts_as_a_failure(facts, status):
    row = job(status="failure", ar_status="disabled", ar_restart=True, **facts)
    autorestart.changed_settings(row, False, 100_000, CHANCE)
    assert row.ar_status == status
    assert (row.ar_due is not None) == (status == "in_progress")


def test_the_first_attempt_is_due_at_once():
    assert failing().ar_due == 100_000


def test_the_next_attempt_is_a_delay_after_the_last():
    row = failing(ar_status="in_progress", ar_current=1, ar_last=101_000 - 60_000)
    assert row.ar_due == 101_000


def test_the_pause_grows_up_to_its_maximum():
    row = job(ar_backoff=2, ar_delay=60, ar_delay_max=200)
    assert [autorestart.wait_ms(row, attempt) for attempt in (1, 2, 3, 1000)] == [60_000, 120_000, 200_000, 200_000]


def test_jitter_adds_a_part_of_the_pause():
    row = job(ar_jitter=0.5)
    pauses = [autorestart.wait_ms(row, 1, random.Random(seed)) for seed in range(50)]
    assert min(pauses) >= 60_000
    assert max(pauses) < 90_000
    assert len(set(pauses)) > 40


def test_no_limit_of_attempts():
    assert failing(ar_attempt_count=None, ar_current=10**6, ar_last=0).ar_status == "in_progress"


@pytest.mark.parametrize("text, status", [(FATAL_TEXT, "denied"), (FATAL_TEXT + ".", "in_progress")])
def test_the_fatal_text_is_exact(text, status):
    row = job(status="failure", error_class="unknown", error_text=text)
    autorestart.failed(row, 0, CHANCE)
    assert row.ar_status == status


def test_an_unknown_class_is_not_fatal():
    row = job(status="failure", error_class="of_next_year", error_text="")
    autorestart.failed(row, 0, CHANCE)
    assert row.ar_status == "in_progress"


def test_a_held_window_ends_the_count():
    row = failing()
    autorestart.attempted(row, 101_000)
    assert (row.ar_current, row.ar_last, row.ar_due) == (1, 101_000, None)
    row.status = "in_progress"
    autorestart.claimed(row, 103_000)
    assert (row.ar_window_from, row.ar_due) == (103_000, 163_000)
    assert autorestart.window_ended(row, 163_000)
    assert (row.ar_status, row.ar_current, row.ar_window_from, row.ar_due) == ("enabled", 0, None, None)


def test_a_loss_closes_the_window_and_the_next_claim_opens_it_again():
    row = failing()
    autorestart.attempted(row, 101_000)
    autorestart.claimed(row, 103_000)
    autorestart.left_handler(row)
    assert (row.ar_window_from, row.ar_due, row.ar_current) == (None, None, 1)
    autorestart.claimed(row, 200_000)
    assert row.ar_due == 260_000


def test_the_literal_rule_takes_anything_but_failure_for_success():
    row = failing(ar_success="seed")
    autorestart.attempted(row, 101_000)
    assert row.ar_due == 161_000
    row.status = "pending"
    assert autorestart.window_ended(row, 161_000)
    assert row.ar_status == "enabled"


def test_a_pending_job_has_proved_nothing():
    row = failing()
    autorestart.attempted(row, 101_000)
    row.status = "pending"
    assert not autorestart.window_ended(row, 161_000)
    assert row.ar_status == "in_progress"


def test_more_attempts_allowed_revive_a_failed_job():
    row = failing(ar_attempt_count=0)
    assert row.ar_status == "failed"
    row.ar_attempt_count = 5
    autorestart.changed_settings(row, True, 200_000, CHANCE)
    assert (row.ar_status, row.ar_due) == ("in_progress", 200_000)


def test_a_user_ends_the_count():
    row = failing(ar_status="in_progress", ar_current=2, ar_last=90_000)
    autorestart.user_acted(row, 110_000)
    assert (row.ar_status, row.ar_current, row.ar_due) == ("enabled", 0, None)


def test_switched_off_nothing_is_due():
    row = failing()
    row.ar_restart = False
    autorestart.changed_settings(row, True, 110_000, CHANCE)
    assert (row.ar_status, row.ar_due) == ("disabled", None)
    autorestart.failed(row, 120_000, CHANCE)
    assert (row.ar_status, row.ar_due) == ("disabled", None)
