"""The service's clock. Goal: a machine whose clock is wrong signs with the service's time after one refusal."""

import pytest

from kvspic.provider.clock import ServiceClock, server_time, wait_asked_s

EXPIRED = "Signature expired: 20231107T044734Z is now earlier than 20231107T045305Z (20231107T045805Z - 5 min.)"
AT_045805 = 1_699_333_085.0


def test_the_refusal_tells_the_servers_time():
    assert server_time("", EXPIRED) == AT_045805
    assert server_time("Tue, 07 Nov 2023 04:58:05 GMT", "no stamps") == AT_045805


@pytest.mark.parametrize("date", ["", "yesterday", "Tue, 99 Nov 2023 04:58:05 GMT"])
def test_no_time_is_learned_from_nonsense(date):
    assert server_time(date, "Signature expired: 20231107T044734Z") is None


def test_a_moment_that_does_not_exist_is_no_time():
    assert server_time("", EXPIRED.replace("20231107T045805Z", "99999999T999999Z")) is None


def test_a_time_that_cannot_be_now_is_not_learned():
    clock = ServiceClock(lambda: 1000.0)
    clock.learn(253_402_300_799.0)
    assert clock.now() == 1000.0
    assert not clock.is_known


def test_a_wrong_clock_is_corrected_and_a_right_one_left_alone():
    wall = [1000.0]
    clock = ServiceClock(lambda: wall[0])
    clock.learn(1600.0)
    assert clock.now() == 1600.0
    wall[0] = 1010.0
    assert clock.now() == 1610.0
    clock.learn(None)
    assert clock.now() == 1610.0
    clock.learn(1012.0)
    assert clock.now() == 1010.0


def test_nothing_is_over_before_the_service_has_told_its_time():
    clock = ServiceClock(lambda: 1000.0)
    assert not clock.is_past(500.0)
    clock.learn(1000.0)
    assert clock.is_past(1000.0)
    assert not clock.is_past(1001.0)


@pytest.mark.parametrize(
    "retry_after, wait_s",
    [
        ("3", 3.0),
        ("0", 0.0),
        ("Tue, 07 Nov 2023 04:58:25 GMT", 20.0),
        ("Tue, 07 Nov 2023 04:58:00 GMT", 0.0),
        ("soon", None),
        ("-1", None),
        ("99999999", None),
        ("", None),
    ],
)
def test_a_wait_is_asked_for_in_seconds_or_until_a_date_of_the_services_clock(retry_after, wait_s):
    assert wait_asked_s(retry_after, "Tue, 07 Nov 2023 04:58:05 GMT") == wait_s


def test_a_date_alone_asks_for_no_wait():
    assert wait_asked_s("Tue, 07 Nov 2023 04:58:25 GMT", "") is None
