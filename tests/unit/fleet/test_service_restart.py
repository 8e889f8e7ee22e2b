"""Automatic restart over both stores. Goal: the scenarios SS-33 to SS-43 on the test clock."""

import pytest

from kvspic.fleet import service
from kvspic.fleet.causes import FATAL_TEXT

SEED = {"delay": 60, "attempt_count": 3, "backoff": 1, "jitter": 0}


def restart(rig, job):
    shown = rig.show(job)["autorestart"]
    return shown["status"], shown["current_attempt"]


def failed_at_100(rig, **autorestart):
    job = rig.create(autorestart={**SEED, **autorestart})
    rig.to(99)
    rig.poll()
    rig.to(100)
    rig.fail(job, 1)
    return job


def claim_and_fail(rig, job):
    rig.clock_ms += 4000  # older than the spread
    rig.poll()
    rig.fail(job, rig.show(job)["epoch"])


def test_ss_33_switched_off(rig):
    job = failed_at_100(rig, restart=False)
    rig.to(300)
    assert (rig.status(job), *restart(rig, job)) == ("failure", "disabled", 0)


def test_ss_34_never_failed(rig):
    job = rig.create(autorestart=SEED)
    assert restart(rig, job) == ("enabled", 0)
    assert rig.show(job)["autorestart"]["last_attempt_time"] is None


def test_ss_35_the_first_attempt(rig):
    job = failed_at_100(rig)
    assert restart(rig, job) == ("in_progress", 0)
    rig.to(101)
    assert rig.log(job)[-3:] == ["failure", "restart", "pending"]
    assert {one["cause"] for one in rig.records(job)[-2:]} == {"autorestart"}
    assert restart(rig, job) == ("in_progress", 1)
    assert rig.show(job)["autorestart"]["last_attempt_time"] == "2026-01-01T00:01:41.000Z"


def test_ss_36_success_when_it_held(rig):
    job = failed_at_100(rig)
    rig.to(103)
    rig.claim()
    for second in range(108, 163, 5):
        rig.to(second)
        rig.report(job, 2)
    rig.to(162)
    assert restart(rig, job) == ("in_progress", 1)
    rig.report(job, 2)
    rig.to(163)
    assert restart(rig, job) == ("enabled", 0)


def test_ss_37_attempts_are_a_delay_apart(rig):
    job = failed_at_100(rig)
    rig.to(106)
    claim_and_fail(rig, job)
    rig.to(160)
    assert (rig.status(job), *restart(rig, job)) == ("failure", "in_progress", 1)
    rig.to(161)
    assert restart(rig, job) == ("in_progress", 2)
    claim_and_fail(rig, job)
    rig.to(220)
    assert restart(rig, job) == ("in_progress", 2)
    rig.to(221)
    assert restart(rig, job) == ("in_progress", 3)
    claim_and_fail(rig, job)
    rig.to(400)
    assert (rig.status(job), *restart(rig, job)) == ("failure", "failed", 3)


@pytest.mark.parametrize(
    "text, error_class, status",
    [
        (FATAL_TEXT, "unknown", "denied"),
        (FATAL_TEXT + ".", "unknown", "in_progress"),
        ("whatever", "access_denied", "denied"),
    ],
)
def test_ss_38_and_39_what_is_fatal(rig, text, error_class, status):
    job = rig.create(autorestart=SEED)
    rig.poll()
    rig.fail(job, 1, text, error_class)
    assert restart(rig, job)[0] == status
    rig.to(5)
    assert rig.status(job) == ("failure" if status == "denied" else "pending")


def test_ss_40_a_user_begins_again(rig):
    job = failed_at_100(rig, attempt_count=0)
    assert restart(rig, job) == ("failed", 0)
    rig.patch(job, "pending")
    assert (rig.status(job), *restart(rig, job)) == ("pending", "enabled", 0)


@pytest.mark.parametrize("rule, status", [("seed", "enabled"), ("held", "in_progress")])
def test_ss_41_no_handler_was_free(rig, rule, status):
    job = failed_at_100(rig, success=rule)
    rig.to(165)
    assert restart(rig, job)[0] == status
    rig.to(200)
    rig.claim()
    for second in range(205, 261, 5):
        rig.to(second)
        rig.report(job, 2)
    assert restart(rig, job) == ("enabled", 0)


def test_ss_42_success_allows_all_attempts_again(rig):
    job = failed_at_100(rig, attempt_count=1)
    rig.to(105)
    rig.claim()
    for second in range(110, 170, 5):
        rig.to(second)
        rig.report(job, 2)
    assert restart(rig, job) == ("enabled", 0)
    rig.fail(job, 2)
    rig.to(171)
    assert restart(rig, job) == ("in_progress", 1)


def test_ss_43_a_hundred_failures_at_once(rig):
    rig.call(service.put_settings, {"handout_rate": 1000, "handout_burst": 1000})
    jobs = [rig.create(f"cam-{number}", autorestart={"delay": 10, "jitter": 1}) for number in range(40)]
    rig.poll(free=40)
    reports = [
        {"id": job, "epoch": 1, "status": "failure", "error": {"class": "throttled", "text": ""}} for job in jobs
    ]
    rig.call(service.feedback, "h1", {"incarnation": "h1-1", "reports": reports})
    restarted = []
    for second in range(1, 7):
        rig.to(second)
        restarted.append(sum(rig.status(job) == "pending" for job in jobs))
    assert restarted == [10, 20, 30, 40, 40, 40]


def test_a_loss_is_no_failure(rig):
    job = failed_at_100(rig)
    rig.to(105)
    rig.claim()
    rig.to(126)
    assert (rig.status(job), *restart(rig, job)) == ("pending", "in_progress", 1)


def test_raising_the_attempts_of_a_failed_job(rig):
    job = failed_at_100(rig, attempt_count=0)
    rig.call(service.patch_job, job, {"autorestart": {"attempt_count": 2}})
    rig.to(102)
    assert (rig.status(job), *restart(rig, job)) == ("pending", "in_progress", 1)


def test_switched_off_and_on_in_failure(rig):
    job = failed_at_100(rig)
    rig.call(service.patch_job, job, {"autorestart": {"restart": False}})
    rig.to(110)
    assert (rig.status(job), restart(rig, job)[0]) == ("failure", "disabled")
    rig.call(service.patch_job, job, {"autorestart": {"restart": True}})
    rig.to(111)
    assert rig.status(job) == "pending"
