"""What a worker decides. Goal: nothing leaves past a fence, starts without leave, or is given back too soon."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kvspic.fleet.holding import HANDBACK, Assignment, Holding, Order, Outcome, Phase, StallWatch

LEASE_S = 20.0
KEY = ("a", 1)


def job(name="a", epoch=1, stream=None, **options):
    return Assignment(name, epoch, 7, 1, name, stream or name, "", "", {"type": "test", "url": "testsrc"}, options)


def say(holding, verdict="continue", at_s=0.0, lease_s=LEASE_S, **more):
    """Send the reports that are due at a moment, and answer all of them in one way."""
    sent = holding.reports()
    return holding.answered(sent, at_s, lease_s, [{"id": one.key[0], "verdict": verdict, **more} for one in sent])


def carried(at_s=0.0, **options):
    """A holding with one job that is carried since a moment."""
    holding = Holding()
    holding.take([job(**options)])
    say(holding, at_s=at_s)
    assert holding.start(at_s) is holding.held[KEY]
    return holding, holding.held[KEY]


def test_a_job_starts_only_after_a_feedback_of_its_own_was_answered_continue():
    holding = Holding()
    holding.take([job()])
    assert holding.start(0.0) is None
    assert holding.has_news
    say(holding, at_s=5.0)
    held = holding.start(6.0)
    assert held.phase is Phase.CARRIED
    assert (held.soft_s, held.fence_s) == (5.0 + 15.0, 5.0 + 17.0)
    assert not holding.has_news


def test_a_job_that_waited_past_its_soft_end_asks_again_before_it_starts():
    holding = Holding()
    holding.take([job()])
    say(holding, at_s=0.0)
    assert holding.start(15.0) is None
    say(holding, at_s=15.0)
    assert holding.start(16.0) is not None


def test_an_id_and_epoch_is_taken_once():
    holding, _ = carried()
    holding.take([job()])
    assert holding.carried == [KEY]
    holding.ended(KEY, Outcome("done"))
    say(holding, "stop")
    holding.take([job()])
    assert holding.carried == []
    holding.take([job(epoch=2)])
    assert holding.carried == [("a", 2)]


def test_past_the_fence_the_gate_is_shut_whatever_was_ordered_so_far():
    _, held = carried()
    assert held.may_send(math.nextafter(17.0, 0))
    assert not held.may_send(17.0)


def test_soft_end_fence_and_resume():
    holding, held = carried()
    assert holding.tick(14.9) == []
    assert holding.due_s(14.9) == 15.0
    assert holding.tick(15.0) == [(Order.SOFTEN, held)]
    assert holding.tick(15.1) == []
    assert holding.due_s(15.1) == 17.0
    assert holding.tick(17.0) == [(Order.SUSPEND, held)]
    assert holding.tick(18.0) == []
    assert [report.status for report in holding.reports()] == ["in_progress"]
    assert say(holding, at_s=30.0) == []
    assert holding.tick(30.0) == [(Order.RESUME, held)]
    assert held.may_send(46.9)


@pytest.mark.parametrize("lease_s, most_s", [(20.0, 10.0), (300.0, 10.0), (4.0, 2.0)])
def test_after_an_outage_each_job_goes_on_at_a_moment_of_its_own(lease_s, most_s):
    chances = iter(number / 100 for number in range(100))
    holding = Holding(chance=lambda: next(chances))
    holding.take([job(f"job{number}") for number in range(100)])
    say(holding, lease_s=lease_s)
    while holding.start(0.0):
        pass
    assert len(holding.tick(lease_s)) == 100
    assert say(holding, at_s=50.0, lease_s=lease_s) == []
    resumed = []
    for tenth in range(100 * 10):
        now_s = 50.0 + most_s * tenth / 1000
        resumed += [now_s - 50.0 for order, _ in holding.tick(now_s) if order is Order.RESUME]
    assert len(resumed) == 100
    assert resumed == pytest.approx([most_s * number / 100 for number in range(100)], abs=most_s / 500)


def test_a_job_that_waits_to_go_on_does_not_when_the_lease_ends_again():
    holding = Holding(chance=lambda: 1.0)
    holding.take([job()])
    say(holding, lease_s=4.0)
    holding.start(0.0)
    holding.tick(5.0)
    say(holding, at_s=5.0, lease_s=4.0)
    assert holding.due_s(5.0) == 7.0
    assert holding.tick(8.5) == []
    say(holding, at_s=20.0, lease_s=4.0)
    assert [order for order, _ in holding.tick(22.0)] == [Order.RESUME]


def test_a_renewal_between_soft_end_and_fence_takes_frames_again():
    holding, held = carried()
    holding.tick(15.0)
    assert say(holding, at_s=16.0) == [(Order.RESUME, held)]
    assert say(holding, at_s=17.0) == []


def test_a_lowered_lease_never_shortens_what_was_promised():
    holding, held = carried()
    say(holding, at_s=1.0, lease_s=2.0)
    assert held.fence_s == 17.0


def test_keep_goes_on_without_a_server_and_stops_when_a_server_says_so():
    holding, held = carried(on_server_loss="keep")
    assert holding.tick(1e6) == []
    assert held.may_send(1e6)
    assert say(holding, "stop", at_s=1e6) == [(Order.ABORT, held)]
    assert not held.may_send(1e6)


@pytest.mark.parametrize(
    "more, order",
    [
        ({"status": "pause"}, Order.FLUSH),
        ({"status": "cancel"}, Order.DISCARD),
        ({"status": "pending"}, Order.ABORT),
        ({"status": "in_progress"}, Order.ABORT),
        ({}, Order.ABORT),
    ],
)
def test_why_a_job_is_to_stop_decides_how(more, order):
    holding, held = carried()
    assert say(holding, "stop", at_s=1.0, **more) == [(order, held)]
    assert holding.carried == [KEY]  # until its carrier has let go
    assert holding.reports() == []  # and nothing renews it
    holding.ended(KEY, Outcome("failure", "internal", "late"))
    assert [report.status for report in holding.reports()] == ["handback"]  # which frees the stream
    say(holding, "stop")
    assert holding.carried == []


def test_a_deleted_job_is_aborted():
    holding, held = carried()
    assert say(holding, "not_found") == [(Order.ABORT, held)]


def test_a_polite_end_is_cut_off_at_the_fence():
    holding, held = carried()
    say(holding, "stop", at_s=1.0, status="pause")
    assert holding.tick(16.9) == []
    assert holding.due_s(16.9) == 17.0
    assert holding.tick(17.0) == [(Order.ABORT, held)]
    assert holding.tick(18.0) == []


def test_a_suspended_job_that_is_paused_has_nothing_left_to_flush():
    holding, held = carried()
    holding.tick(17.0)
    assert say(holding, "stop", at_s=20.0, status="pause") == [(Order.ABORT, held)]


def test_a_job_that_is_handed_back_stays_ours_until_it_has_let_go():
    holding, held = carried()
    assert holding.hand_back(["a", "b"]) == [(Order.FLUSH, held)]
    assert holding.hand_back(["a"]) == []
    say(holding, at_s=10.0)
    assert held.may_send(26.9)
    holding.ended(KEY, HANDBACK)
    assert [report.status for report in holding.reports()] == ["handback"]


def test_a_job_that_is_lost_while_it_is_flushed_is_aborted():
    holding, held = carried()
    holding.drain()
    assert say(holding, "stop", at_s=3.0, status="in_progress") == [(Order.ABORT, held)]


def test_draining_gives_back_what_has_not_started_at_once():
    holding = Holding()
    holding.take([job()])
    assert holding.drain() == []
    holding.take([job("late")])
    assert [(report.key[0], report.status) for report in holding.reports()] == [("a", "handback"), ("late", "handback")]


@pytest.mark.parametrize("outcome", [Outcome("done"), Outcome("failure", "stalled", "why"), HANDBACK])
def test_a_last_report_is_repeated_until_it_is_answered(outcome):
    holding, _ = carried()
    holding.ended(KEY, outcome)
    for _ in range(3):
        assert [(one.status, one.error_class) for one in holding.reports()] == [(outcome.status, outcome.error_class)]
        assert holding.carried == [KEY]
    say(holding, "stop", accepted=True)
    assert holding.carried == []


def test_a_new_epoch_waits_until_the_old_one_has_let_go():
    """The poll that brings a job back may be faster than the answer that says that it was lost."""
    holding, _ = carried()
    holding.tick(17.0)
    holding.take([job(epoch=2)])
    assert [report.key for report in holding.reports()] == [KEY]
    assert [order for order, _ in say(holding, "stop", at_s=21.0, status="in_progress")] == [Order.ABORT]
    holding.ended(KEY, HANDBACK)
    say(holding, "stop")
    assert [report.key for report in holding.reports()] == [("a", 2)]
    say(holding, at_s=22.0)
    assert holding.start(22.0).job.epoch == 2


def test_two_jobs_with_one_stream_never_run_together():
    holding = Holding()
    holding.take([job("a", stream="s"), job("b", stream="s"), job("c")])
    say(holding)
    assert holding.start(1.0).job.id == "a"
    assert holding.start(1.0).job.id == "c"
    assert holding.start(1.0) is None


@settings(deadline=None)
@given(
    lease_s=st.floats(2, 3600),
    calls=st.lists(st.tuples(st.floats(0, 30), st.floats(0, 10), st.floats(0, 10), st.booleans()), max_size=20),
    drift=st.floats(-500e-6, 500e-6),
    offset=st.floats(-1e6, 1e6),
)
def test_the_fence_is_always_before_the_loss(lease_s, calls, drift, offset):
    """Requests and answers take their time or get lost; the clocks have only their rate in common, and nearly so."""
    holding, held = carried(at_s=offset)
    held.soft_s = held.fence_s = -math.inf
    true_s, until_s = 0.0, -math.inf
    for pause_s, there_s, back_s, is_lost in calls:
        true_s += pause_s
        sent_s = offset + true_s * (1 + drift)
        until_s = max(until_s, true_s + there_s + lease_s)  # the server's clock is the true one
        true_s += there_s + back_s
        if not is_lost:
            holding.answered(holding.reports(), sent_s, lease_s, [{"id": "a", "verdict": "continue"}])
    if held.fence_s > -math.inf:
        fence_true_s = (held.fence_s - offset) / (1 + drift)
        assert until_s - fence_true_s >= 0.14 * lease_s - 1e-3


VERDICTS = ["continue", "stop", "not_found"]
STEPS = st.one_of(
    st.tuples(st.just("offer"), st.sampled_from("abc"), st.integers(1, 3)),
    st.tuples(st.just("say"), st.sampled_from(VERDICTS), st.sampled_from(["pause", "cancel", ""])),
    st.tuples(st.just("time"), st.floats(0, 12), st.none()),
    st.tuples(st.just("start"), st.none(), st.none()),
    st.tuples(st.just("hand back"), st.sampled_from("abc"), st.none()),
    st.tuples(st.just("end"), st.integers(0, 3), st.sampled_from(["done", "failure", "handback"])),
    st.tuples(st.just("drain"), st.none(), st.none()),
)  # fmt: skip


class Walk:
    """A holding, and what its carriers know of it."""

    def __init__(self):
        self.holding, self.now_s, self.running, self.ordered = Holding(), 0.0, {}, {}

    def step(self, what, first, second):
        holding, orders = self.holding, []
        if what == "offer":
            holding.take([job(first, second)])
        elif what == "say":
            orders = say(holding, first, self.now_s, status=second)
        elif what == "time":
            self.now_s += first
            orders = holding.tick(self.now_s)
        elif what == "hand back":
            orders = holding.hand_back([first])
        elif what == "drain":
            orders = holding.drain()
        elif what == "start" and (held := holding.start(self.now_s)) is not None:
            assert held.may_send(self.now_s)
            assert held.job.key not in self.running
            assert held.job.stream not in {other.job.stream for other in self.running.values()}
            self.running[held.job.key] = held
        elif what == "end" and first < len(self.running):
            key = list(self.running)[first]
            holding.ended(key, Outcome(second))
            del self.running[key]
        self.obey(orders)

    def obey(self, orders):
        for order, held in orders:
            assert held.job.key in self.running, "only what was started gets orders"
            before = self.ordered.get(held.job.key, 0)
            assert before < Order.FLUSH or order > before, "a way to end is only replaced by a harder one"
            self.ordered[held.job.key] = max(order, before)


@settings(deadline=None)
@given(steps=st.lists(STEPS, max_size=60))
def test_whatever_comes_each_job_is_carried_once_and_given_back_in_the_end(steps):
    walk = Walk()
    for step in steps:
        walk.step(*step)
        keys = set(walk.holding.carried)
        assert set(walk.running) <= keys, "what runs is carried"
        lines = [report.key[0] for report in walk.holding.reports()]
        assert len(lines) == len(set(lines))
    walk.obey(walk.holding.drain())
    for key in list(walk.running):
        walk.holding.ended(key, HANDBACK)
    for _ in range(4):
        say(walk.holding, "stop", walk.now_s)
    assert walk.holding.carried == []


def test_what_waits_and_is_never_done_is_stalled():
    watch = StallWatch.of({}, fragment_s=2.0)
    assert watch.stall_s == 60.0
    assert not watch.look(0.0, waiting=5, done=0, is_held=False)
    assert not watch.look(60.0, waiting=50, done=0, is_held=False)
    assert watch.look(60.1, waiting=50, done=0, is_held=False)


@pytest.mark.parametrize("change", [{"done": 1}, {"waiting": 0}, {"is_held": True}])
def test_progress_silence_and_a_fence_are_no_stall(change):
    watch = StallWatch(10.0)
    known = {"waiting": 5, "done": 0, "is_held": False}
    watch.look(0.0, **known)
    watch.look(9.0, **{**known, **change})
    assert not watch.look(18.0, **{**known, "done": change.get("done", 0)})


def test_the_stall_limit_is_the_jobs_or_six_fragments():
    assert StallWatch.of({"stall_s": 15}, 2.0).stall_s == 15
    assert StallWatch.of({"stall_s": None}, 20.0).stall_s == 120
