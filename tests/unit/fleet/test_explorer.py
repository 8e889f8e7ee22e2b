"""All orders of events on one stream. Goal: one writer, no lost job, log = status; each rule is needed.

A rule that is switched off must let the search find two writers; else the search would prove nothing.
"""

import pytest
from fleet_explorer import LostJobError, Rules, TwoWritersError, begin, explore, queued
from fleet_memory import MemoryTx

from kvspic.fleet import placement, service_core, service_handlers, service_upkeep
from kvspic.fleet.lease import SweepWatch

TIME, CRASH, CLOCK, LOWER = ("time", True), ("crash",), ("clock",), ("ask", "lower")
PAUSE, RESUME, AGAIN = ("ask", "pause"), ("ask", "pending"), ("ask", "again")
POLL, FEEDBACK = ("call", 1, "poll", "ok"), ("call", 1, "feedback", "ok")
TAKES = [POLL, FEEDBACK]  # the second worker takes the job


@pytest.mark.parametrize("start", [begin, queued, lambda: begin(("h1", "h1")), lambda: begin(has_late_poll=True)])
def test_every_order_of_events_keeps_one_writer_and_the_job(start):
    assert explore(start(), 2, settle_each=5) > 300


def finds_two_writers(start, depth, only):
    """The search finds two writers; with the rule in force it does not."""
    with pytest.raises(TwoWritersError):
        explore(start, depth, only=only)


def test_leases_lost_in_a_crash_are_noticed(monkeypatch):
    only = [CRASH, PAUSE, RESUME, *TAKES]
    explore(begin(), 5, only=only)
    monkeypatch.setattr(MemoryTx, "restore", lambda self, until: None)
    finds_two_writers(begin(), 5, only)


def test_a_sweep_looks_again_at_what_it_removes(monkeypatch):
    only = [TIME, ("between", 0), *TAKES]
    explore(begin(), 4, only=only)
    monkeypatch.setattr(MemoryTx, "is_still_over", lambda self, key, now: True)
    finds_two_writers(begin(), 4, only)


def test_a_claim_waits_for_the_lease_of_the_stream(monkeypatch):
    only = [PAUSE, RESUME, *TAKES]
    explore(begin(), 4, only=only)
    monkeypatch.setattr(MemoryTx, "holds_back", lambda self, row: False)
    monkeypatch.setattr(MemoryTx, "overwrites", True)
    finds_two_writers(begin(), 4, only)


def test_a_claim_does_not_compare_times(monkeypatch):
    only = [PAUSE, RESUME, CLOCK, *TAKES]
    explore(begin(), 5, only=only)

    def is_in_force(self, row):
        lease = self.tables.leases.get(row.key)
        return lease is not None and lease.until > self.now

    monkeypatch.setattr(MemoryTx, "holds_back", is_in_force)
    monkeypatch.setattr(MemoryTx, "overwrites", True)
    finds_two_writers(begin(), 5, only)


def test_a_worker_closes_a_job_before_it_reports_its_end(monkeypatch):
    only = [("handback", 0), *TAKES]
    explore(begin(), 3, only=only)
    monkeypatch.setattr(Rules, "reports_before_it_stops", True)
    finds_two_writers(begin(), 3, only)


def test_two_machines_with_one_name_do_not_end_each_other(monkeypatch):
    names = ("h1", "h1")
    explore(begin(names), 3, only=[TIME, *TAKES])
    monkeypatch.setattr(placement, "is_other_host", lambda known, host: False)
    finds_two_writers(begin(names), 3, [TIME, *TAKES])


def test_a_lease_outlives_its_job(monkeypatch):
    only = [AGAIN, *TAKES]
    explore(begin(), 3, only=only)

    def delete_with_leases(self, ids):
        for job_id in ids:
            self.tables.leases.pop(self.tables.jobs.pop(job_id).key, None)

    monkeypatch.setattr(MemoryTx, "delete_jobs", delete_with_leases)
    finds_two_writers(begin(), 3, only)


def test_a_poll_that_comes_late_releases_nothing(monkeypatch):
    only = [PAUSE, RESUME, ("arrive", 0), *TAKES]
    explore(begin(has_late_poll=True), 5, only=only)
    known = MemoryTx.handler_locked

    def without_seq(self, name):
        row = known(self, name)
        row.seq = None
        return row

    monkeypatch.setattr(MemoryTx, "handler_locked", without_seq)
    finds_two_writers(begin(has_late_poll=True), 5, only)


def test_after_a_crash_a_late_poll_releases_nothing_either(monkeypatch):
    only = [PAUSE, CRASH, RESUME, ("arrive", 0), *TAKES]
    explore(begin(has_late_poll=True), 6, only=only)

    def without_hold(tx):
        service_core.guard_leases(tx)
        return False

    monkeypatch.setattr(service_handlers, "guard_leases", without_hold)
    finds_two_writers(begin(has_late_poll=True), 6, only)


def test_a_worker_starts_only_after_its_feedback(monkeypatch):
    only = [("call", 0, "poll", "slow"), TIME, ("arrive", 0), *TAKES]
    explore(queued(), 6, only=only)
    monkeypatch.setattr(Rules, "starts_before_feedback", True)
    finds_two_writers(queued(), 6, only)


def test_a_lowered_lease_shortens_no_promise(monkeypatch):
    only = [LOWER, ("call", 0, "feedback", "lost"), TIME, *TAKES]
    explore(begin(), 5, only=only)
    monkeypatch.setattr(MemoryTx, "later", lambda self, old, new: new)
    finds_two_writers(begin(), 5, only)


def test_a_step_of_the_clock_shortens_no_old_promise(monkeypatch):
    only = [LOWER, CLOCK, TIME, *TAKES]
    explore(begin(), 5, only=only)
    monkeypatch.setattr(service_upkeep, "promised_ms", lambda lease_s, promise_ms: round(lease_s * 1000))
    finds_two_writers(begin(), 5, only)


def test_a_step_of_the_clock_is_noticed_by_the_sweep(monkeypatch):
    only = [CLOCK, TIME, *TAKES]
    explore(begin(), 4, only=only)
    monkeypatch.setattr(SweepWatch, "must_renew", lambda self, mono_s, store_ms, lease_s: False)
    finds_two_writers(begin(), 4, only)


def test_a_job_whose_handler_never_comes_back_is_found_lost(monkeypatch):
    start = begin()
    start.workers[0].jobs, start.workers[0].is_over = {}, True
    explore(start, 1, settle_each=1)
    monkeypatch.setattr(MemoryTx, "expired", lambda self, now, limit: [])
    with pytest.raises(LostJobError):
        explore(start, 1, settle_each=1)


@pytest.mark.timed
@pytest.mark.parametrize("start", [begin, queued, lambda: begin(has_late_poll=True)])
def test_three_events_in_every_order(start):
    assert explore(start(), 3, settle_each=20) > 4000
