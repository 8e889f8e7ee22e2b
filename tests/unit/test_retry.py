"""The default retry policy. Goal: a camera is never given up for what may pass, and a wrong setting is told soon."""

import pytest

from kvspic.errors import StatusClass
from kvspic.retry import DefaultRetryPolicy, GiveUp, Keep, ResetConnection, RetryStream, Situation, Trouble

HNS_PER_S = 10_000_000


def policy(fraction: float = 0.5) -> DefaultRetryPolicy:
    return DefaultRetryPolicy(lambda: fraction)


def failed(status_name: str, **more) -> Situation:
    return Situation(Trouble.FAILED, -500, status_name, StatusClass.SERVICE, **more)


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


@pytest.mark.parametrize("status_name", ["BAD_REQUEST", "NOT_FOUND", "STREAM_DELETING", "SERVICE_LIMIT"])
def test_a_wrong_setting_is_given_up_at_once(status_name):
    assert policy().decide(failed(status_name)) == GiveUp(status_name)


@pytest.mark.parametrize("status_name", ["NOT_AUTHORIZED", "BAD_REQUEST", "NOT_FOUND"])
def test_a_stream_that_worked_is_never_given_up(status_name):
    decision = policy().decide(failed(status_name, was_streaming=True, credentials_were_refreshed=True, attempt=50))
    assert decision == RetryStream(30 * HNS_PER_S, refresh_credentials=True)


def test_a_stale_connection_is_replaced():
    assert policy().decide(Situation(Trouble.STALE)) == ResetConnection()


def test_a_slow_connection_is_kept():
    assert policy().decide(Situation(Trouble.LATENCY)) == Keep()
