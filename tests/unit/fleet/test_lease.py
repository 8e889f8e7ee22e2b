"""Leases and shares. Goal: a fence is always before the loss, whatever delays, drifts and lost answers there are."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kvspic.fleet import lease, placement
from kvspic.fleet.lease import SweepWatch
from kvspic.fleet.records import JobRow

DRIFT = 500e-6


@settings(deadline=None)
@given(
    lease_s=st.floats(2, 3600),
    drift=st.floats(-DRIFT, DRIFT),
    calls=st.lists(st.tuples(st.floats(0.01, 1000), st.floats(0, 100), st.booleans()), min_size=1, max_size=20),
)
def test_a_fence_is_before_the_loss(lease_s, drift, calls):
    """Each call is sent some time after the one before it, is processed after a delay, and its answer may be lost."""
    sent = fence = until = 0.0
    for pause, delay, is_answered in calls:
        sent += pause
        if until and sent + delay >= until:
            break  # the lease is over: the call renews nothing
        until = max(until, sent + delay + lease_s)
        if is_answered:
            own_sent = sent * (1 + drift)
            fence = max(fence, lease.deadlines(own_sent, lease_s).fence / (1 + drift))
    assert fence < until
    assert until - fence > 0.149 * lease_s or not fence


@settings(deadline=None)
@given(lease_s=st.floats(2, 3600))
def test_three_renewals_fit_before_the_fence(lease_s):
    made = lease.deadlines(0, lease_s)
    assert 3 * lease.feedback_s(lease_s) <= made.soft_end < made.fence < lease_s
    assert lease.request_limit_s(lease_s) <= lease.feedback_s(lease_s)


def test_a_sweep_is_late_after_the_start_after_a_pause_and_after_a_step():
    watch = SweepWatch()
    assert watch.must_renew(0, 0, 20)
    watch.swept(0, 0)
    assert not watch.must_renew(1, 1000, 20)
    assert not watch.must_renew(6, 6000, 20)
    assert watch.must_renew(6.1, 6100, 20)
    assert not watch.must_renew(1, 2999, 20)
    assert watch.must_renew(1, 3001, 20)
    assert watch.must_renew(1, -1001, 20)
    assert not watch.must_renew(1, 5900, 100)  # a step of 0.05 of a long lease
    watch.stopped()
    assert watch.must_renew(1, 1000, 20)


@pytest.mark.parametrize(
    "ends, is_said",
    [
        ([10_000] * 5, True),
        ([10_000] * 4, False),  # fewer than five handlers
        ([10_000] * 4 + [20_000], False),  # 80 % and no more
        ([10_000] * 5 + [20_000], True),
        ([20_000] * 6, False),
        ([], False),
    ],
)
def test_when_most_handlers_are_silent(ends, is_said):
    notice = lease.silence_notice({str(nth): end for nth, end in enumerate(ends)}, 0, 20)
    assert bool(notice) == is_said


def test_a_fair_share():
    assert placement.fair_share(120, 50, 150) == 40
    assert placement.fair_share(1, 50, 150) == 1
    assert placement.fair_share(5, 0, 0) == 0


def test_a_rebalance_moves_no_more_than_there_is_room():
    assert placement.surpluses({"a": 12, "b": 0}, {"a": 12, "b": 12}, 100) == {"a": 6}
    assert placement.surpluses({"a": 12, "b": 0}, {"a": 12, "b": 12}, 2) == {"a": 2}
    assert placement.surpluses({"a": 6, "b": 6}, {"a": 12, "b": 12}, 100) == {}
    assert placement.surpluses({"a": 6, "gone": 6}, {"a": 12}, 100) == {}


def test_one_suspect_at_a_time():
    jobs = [JobRow(name, name, name, {}, {}, losses=losses) for name, losses in (("a", 3), ("b", 0), ("c", 9))]
    assert [job.id for job in placement.one_suspect(jobs, 3)] == ["a", "b"]


def test_a_machine_that_is_not_named_is_no_other_one():
    assert placement.is_other_host("m1", "m2")
    assert not placement.is_other_host("m1", None)
    assert not placement.is_other_host(None, "m1")
