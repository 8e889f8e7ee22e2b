"""The default retry policy. Goal: no camera is given up for what may pass, and a wrong setting is reported soon."""

import re

import pytest
from tidy.project import ROOT

import kvspic
from kvspic import errors
from kvspic.errors import StatusClass
from kvspic.retry import (
    CallBudget,
    CallRates,
    DefaultRetryPolicy,
    GiveUp,
    Keep,
    ResetConnection,
    RetryBudget,
    RetryStream,
    Situation,
    Trouble,
)

HNS_PER_S = 10_000_000


def policy(fraction: float = 0.5) -> DefaultRetryPolicy:
    return DefaultRetryPolicy(lambda: fraction)


def failed(status_name: str, **more) -> Situation:
    return Situation(Trouble.FAILED, -500, status_name, StatusClass.SERVICE, **{"http_status": 403, **more})


class Awaited:
    async def decide(self, situation):
        return Keep()


@pytest.mark.parametrize("wrong", ["default", lambda situation: Keep(), DefaultRetryPolicy, Awaited(), object()])
def test_what_is_no_policy_is_refused_when_it_is_set(wrong):
    with pytest.raises(errors.InvalidArgError, match=r"decide\(situation\)"):
        kvspic.Producer(endpoint_url="http://127.0.0.1:9", retry_policy=wrong)


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


@pytest.mark.parametrize("error_id", [4008, 4500, 4501, 4503, 4507, 5000, 5001])
def test_an_error_of_the_stream_is_tried_again_slowly_for_ever(error_id):
    for attempt in (0, 1, 5, 10_000):
        for fraction in (0.0, 0.5, 0.999999):
            decision = policy(fraction).decide(failed("ERROR_ACK", result=error_id, attempt=attempt))
            assert isinstance(decision, RetryStream)
            assert 5 <= decision.after_hns / HNS_PER_S <= 60
    longest = [
        policy(0.999999).decide(failed("ERROR_ACK", result=error_id, attempt=n)).after_hns / HNS_PER_S for n in range(5)
    ]
    assert longest == pytest.approx([10, 20, 40, 60, 60], rel=1e-3)


@pytest.mark.parametrize("error_id", [4000, 4002, 4003, 4006, 9999])
def test_an_error_of_a_session_or_a_fragment_is_tried_again_as_any_other(error_id):
    decision = policy(0.999999).decide(failed("ERROR_ACK", result=error_id, attempt=0))
    assert isinstance(decision, RetryStream)
    assert decision.after_hns < HNS_PER_S


@pytest.mark.parametrize("was_streaming", [False, True])
def test_nobody_is_given_up_for_keys_that_the_service_has_not_seen(was_streaming):
    """The link is down, the clock not set yet, or the credential helper not started."""
    facts = {"http_status": 0, "credentials_were_refreshed": True, "was_streaming": was_streaming}
    for attempt in (1, 100):
        decision = policy().decide(failed("NOT_AUTHORIZED", attempt=attempt, **facts))
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


CALL = "DescribeStream"


def taken(budget: CallBudget, count: int, rate: float, now_hns: int = 0) -> list[float]:
    interval_hns = int(HNS_PER_S / rate) if rate else 0
    return [budget.take_hns(CALL, interval_hns, now_hns) / HNS_PER_S for _ in range(count)]


@pytest.mark.parametrize(
    "operation, rate", [("CreateStream", 50), ("DescribeStream", 300), ("GetDataEndpoint", 300), ("TagStream", 50)]
)
def test_calls_of_an_api_stay_under_what_an_account_may_do(operation, rate):
    interval_hns = CallRates().interval_hns(operation)
    budget = CallBudget()
    waits = [budget.take_hns(operation, interval_hns, 0) / HNS_PER_S for _ in range(20 * rate)]
    for begin in range(0, 15):
        assert sum(begin <= wait < begin + 1 for wait in waits) <= 0.9 * rate
    assert sum(wait < 10 for wait in waits) >= 10 * 0.8 * rate


def test_apis_have_buckets_of_their_own():
    budget = CallBudget()
    taken(budget, 1000, 40)
    assert budget.take_hns("GetDataEndpoint", 1, 0) == 0


def test_a_rate_is_a_setting_and_a_wrong_one_is_refused():
    assert CallRates(describe_stream=10).interval_hns("DescribeStream") == HNS_PER_S // 10
    assert CallRates(describe_stream=0).interval_hns("DescribeStream") == 0
    assert CallRates().interval_hns("PutMedia") == 0
    with pytest.raises(ValueError, match="tag_stream"):
        CallRates(tag_stream=-1)


def test_a_throttled_api_has_no_calls_at_once_and_its_bucket_fills_again_by_accepted_ones():
    budget = CallBudget()
    assert taken(budget, 3, 40) == [0, 0, 0]
    budget.throttled(CALL, 0, 0, 0)
    assert budget.take_hns(CALL, 0, HNS_PER_S) == 0
    assert budget.take_hns(CALL, 0, HNS_PER_S) == HNS_PER_S // 20
    for _ in range(20):
        budget.accepted(CALL, 5)
    assert taken(budget, 3, 40, 10 * HNS_PER_S) == [0, 0, 0]


def test_throttled_calls_double_the_distance_up_to_a_second():
    budget, now_hns, waits = CallBudget(), 0, []
    for _ in range(7):
        budget.throttled(CALL, now_hns, now_hns + 1, 0)
        now_hns += 10 * HNS_PER_S
        waits.append(taken(budget, 2, 0, now_hns)[1])
    assert waits == [0.05, 0.1, 0.2, 0.4, 0.8, 1.0, 1.0]


def test_calls_that_were_under_way_count_once():
    budget = CallBudget()
    for _ in range(100):
        budget.throttled(CALL, 0, 5, 0)
    assert taken(budget, 2, 0, HNS_PER_S)[1] == 0.05


def test_nothing_is_limited_until_something_is_throttled_and_soon_after_nothing_is():
    budget = CallBudget()
    assert taken(budget, 100, 0) == [0] * 100
    budget.throttled(CALL, 0, 1, 0)
    for _ in range(20):
        budget.accepted(CALL, 2)
    assert taken(budget, 100, 0, HNS_PER_S) == [0] * 100


def test_the_policy_of_the_guide_works():
    page = (ROOT / "docs/reliability.md").read_text(encoding="utf-8")
    names = {}
    exec(re.search(r"```python\n(.*?)```", page, re.DOTALL)[1], names)
    found = names["policy"]
    assert found.decide(Situation(Trouble.LATENCY)) == ResetConnection()
    assert isinstance(found.decide(failed("CONNECTION_LOST", attempt=19)), RetryStream)
    assert found.decide(failed("CONNECTION_LOST", attempt=20)) == GiveUp("20 tries")
