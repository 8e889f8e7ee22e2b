"""The default retry policy. Goal: a camera is never given up for what may pass, and a wrong setting is told soon."""

import re

import pytest
from tidy.project import ROOT

from kvspic.errors import StatusClass
from kvspic.retry import (
    DefaultRetryPolicy,
    GiveUp,
    Keep,
    ResetConnection,
    RetryBudget,
    RetryStream,
    Situation,
    ThrottleBudget,
    Trouble,
)

HNS_PER_S = 10_000_000


def policy(fraction: float = 0.5) -> DefaultRetryPolicy:
    return DefaultRetryPolicy(lambda: fraction)


def failed(status_name: str, **more) -> Situation:
    return Situation(Trouble.FAILED, -500, status_name, StatusClass.SERVICE, **{"http_status": 403, **more})


@pytest.mark.parametrize("attempt", [0, 1, 5, 100, 10_000])
@pytest.mark.parametrize("status_name", ["CONNECTION_LOST", "DESCRIBE_FAILED", "PUT_MEDIA_FAILED", "SERVICE_ERROR"])
def test_what_may_pass_is_tried_for_ever(status_name, attempt):
    decision = policy().decide(failed(status_name, attempt=attempt))
    assert isinstance(decision, RetryStream)
    assert not decision.refresh_credentials


def test_pauses_double_up_to_five_seconds():
    longest = policy(0.999999)
    pauses = [longest.decide(failed("CONNECTION_LOST", attempt=attempt)).after_hns / HNS_PER_S for attempt in range(7)]
    assert pauses == pytest.approx([0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0], rel=1e-3)


def test_pauses_have_full_jitter():
    assert policy(0.0).decide(failed("CONNECTION_LOST", attempt=9)).after_hns == 0


def test_refused_keys_are_refreshed_once_before_giving_up():
    first = policy().decide(failed("NOT_AUTHORIZED"))
    assert isinstance(first, RetryStream)
    assert first.refresh_credentials
    second = policy().decide(failed("NOT_AUTHORIZED", attempt=1, credentials_were_refreshed=True))
    assert second == GiveUp("NOT_AUTHORIZED")


@pytest.mark.parametrize("was_streaming", [False, True])
def test_nobody_is_given_up_for_keys_that_the_service_has_not_seen(was_streaming):
    """The link is down, the clock not set yet, or the credential helper not started."""
    told = {"http_status": 0, "credentials_were_refreshed": True, "was_streaming": was_streaming}
    for attempt in (1, 100):
        decision = policy().decide(failed("NOT_AUTHORIZED", attempt=attempt, **told))
        assert isinstance(decision, RetryStream)
        assert decision.refresh_credentials
        assert decision.after_hns <= 5 * HNS_PER_S


@pytest.mark.parametrize("status_name", ["BAD_REQUEST", "NOT_FOUND", "STREAM_DELETING", "SERVICE_LIMIT"])
def test_a_wrong_setting_is_given_up_at_once(status_name):
    assert policy().decide(failed(status_name)) == GiveUp(status_name)


@pytest.mark.parametrize("status_name", ["NOT_AUTHORIZED", "BAD_REQUEST", "NOT_FOUND"])
def test_a_stream_that_worked_is_never_given_up(status_name):
    decision = policy().decide(failed(status_name, was_streaming=True, credentials_were_refreshed=True, attempt=50))
    assert decision == RetryStream(int(22.5 * HNS_PER_S), refresh_credentials=True)


def test_a_stale_connection_is_replaced():
    assert policy().decide(Situation(Trouble.STALE)) == ResetConnection()


@pytest.mark.parametrize("trouble", [Trouble.LATENCY, Trouble.DROPPED])
def test_a_slow_connection_is_kept(trouble):
    """A new one would send once more what was late already."""
    assert policy().decide(Situation(trouble)) == Keep()


def test_a_budget_allows_some_tries_at_once_and_then_one_at_a_time():
    budget = RetryBudget(size=3, refill_s=2.0)
    assert [budget.take_hns(0) for _ in range(5)] == [0, 0, 0, 2 * HNS_PER_S, 4 * HNS_PER_S]
    assert budget.take_hns(10 * HNS_PER_S) == 0


def test_a_budget_never_waits_longer_than_a_try_takes_to_come_back():
    budget, now_hns = RetryBudget(), 0
    for _ in range(1000):
        wait_hns = budget.take_hns(now_hns)
        assert wait_hns <= 2.5 * HNS_PER_S
        now_hns += wait_hns


def test_throttled_calls_double_the_distance_up_to_a_second():
    throttle, now_hns, waits = ThrottleBudget(), 0, []
    for _ in range(7):
        throttle.throttled(now_hns, now_hns + 1, 0)
        now_hns += 10 * HNS_PER_S
        throttle.take_hns(now_hns)
        waits.append(throttle.take_hns(now_hns) / HNS_PER_S)
    assert waits == [0.05, 0.1, 0.2, 0.4, 0.8, 1.0, 1.0]


def test_calls_that_were_under_way_count_once():
    throttle = ThrottleBudget()
    for _ in range(100):
        throttle.throttled(0, 5, 0)
    throttle.take_hns(HNS_PER_S)
    assert throttle.take_hns(HNS_PER_S) == HNS_PER_S // 20


def test_nothing_is_limited_until_something_is_throttled_and_soon_after_nothing_is():
    throttle = ThrottleBudget()
    assert [throttle.take_hns(0) for _ in range(100)] == [0] * 100
    throttle.throttled(0, 1, 0)
    for _ in range(20):
        throttle.accepted(2)
    assert [throttle.take_hns(HNS_PER_S) for _ in range(100)] == [0] * 100


def test_the_policy_of_the_guide_works():
    page = (ROOT / "docs/reliability.md").read_text(encoding="utf-8")
    names = {}
    exec(re.search(r"```python\n(.*?)```", page, re.DOTALL)[1], names)
    found = names["policy"]
    assert found.decide(Situation(Trouble.LATENCY)) == ResetConnection()
    assert isinstance(found.decide(failed("CONNECTION_LOST", attempt=19)), RetryStream)
    assert found.decide(failed("CONNECTION_LOST", attempt=20)) == GiveUp("20 tries")
