"""The clock that jumps. Goal: events come in the order of their times, and nothing waits."""

from kvspic.testing.clock import SimClock


def test_time_jumps_to_the_next_event():
    clock, seen = SimClock(100), []
    clock.call_later(50, lambda: seen.append(clock.now_hns))
    clock.call_at(120, lambda: seen.append(clock.now_hns))
    while clock.step():
        pass
    assert seen == [120, 150]


def test_events_of_the_same_time_run_in_the_order_they_were_set():
    clock, seen = SimClock(0), []
    for name in "abc":
        clock.call_at(7, lambda name=name: seen.append(name))
    while clock.step():
        pass
    assert seen == ["a", "b", "c"]


def test_an_event_in_the_past_is_due_now():
    clock = SimClock(100)
    assert clock.call_at(3, lambda: None).at_hns == 100


def test_a_cancelled_event_does_not_run():
    clock, seen = SimClock(0), []
    timer = clock.call_later(5, lambda: seen.append(1))
    timer.cancel()
    assert not timer.is_pending
    assert clock.next_hns() is None
    assert not clock.step()
    assert seen == []


def test_an_event_may_say_that_nobody_has_to_look_after_it():
    clock = SimClock(0)
    clock.call_at(1, lambda: None, is_quiet=True)
    clock.call_at(2, lambda: None)
    seen = [clock.was_quiet for _ in iter(clock.step, False)]
    assert seen == [True, False]
