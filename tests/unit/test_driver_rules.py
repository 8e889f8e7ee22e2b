"""The driver's rules. Goal: what the core gets back, and what the policy is asked, is the same for every driver."""

import pytest

from kvspic import errors
from kvspic.actions import Action, ActionKind
from kvspic.core import UploadReader
from kvspic.driver.rules import CallEnd, OrderRules, Recovery, UploadBody, described
from kvspic.provider.endpoints import EndpointCache
from kvspic.retry import GiveUp, Keep, ResetConnection, RetryStream, ThrottleBudget, Trouble
from kvspic.types import DropReason, StreamState

NOW = 1000
HNS_PER_S = 10_000_000


class Core:
    """A stream that writes down what it is told, raises on request, and reads out what the test gave it."""

    def __init__(self) -> None:
        self.calls: list[tuple[object, ...]] = []
        self.refusal: Exception | None = None
        self.pieces: list[tuple[int, int]] = []
        self.state = StreamState.FAILED

    def metrics(self) -> "Core":
        return self

    def upload_read(self, upload, reader, now_hns):
        self.note("read", upload)
        return self.pieces.pop(0)

    def ack_bytes(self, upload, data, now_hns):
        self.note("acks", upload, data)

    def answer(self, request, now_hns, **fields):
        self.note("answer", request, fields)

    def upload_ended(self, upload, result, now_hns):
        self.note("ended", upload, result)

    def retry(self, now_hns):
        self.note("retry", now_hns)

    def reset_connection(self, now_hns):
        self.note("reset connection", now_hns)

    def note(self, *call: object) -> None:
        self.calls.append(call)
        if self.refusal is not None:
            raise self.refusal


def order(kind: ActionKind = ActionKind.GET_DATA_ENDPOINT, **fields: int) -> Action:
    return Action(kind, 0, 0, 0, 1, 77, 5, 0, 0, 0, 0, b"")._replace(**fields)


def rules_of(core: Core, fresh_hns: int = 1000, throttle: ThrottleBudget | None = None) -> OrderRules:
    return OrderRules("door", core, EndpointCache(fresh_hns=fresh_hns), throttle or ThrottleBudget())


@pytest.mark.parametrize(("asked_s", "waited_s"), [(None, 0.0), (0, 0.0), (7.5, 7.5), (86400.0, 30.0)])
def test_the_service_may_ask_for_a_pause_within_reason(asked_s, waited_s):
    assert rules_of(Core()).called(CallEnd(NOW, 503, retry_after_s=asked_s), NOW) == waited_s * HNS_PER_S


def test_streams_that_are_throttled_wait_for_each_other_until_calls_are_accepted_again():
    throttle = ThrottleBudget()
    first, second = rules_of(Core(), throttle=throttle), rules_of(Core(), throttle=throttle)
    assert [first.wait_hns(NOW), second.wait_hns(NOW)] == [0, 0]
    first.called(CallEnd(NOW, 400, "ThrottlingException", retry_after_s=2.0), NOW + 5)
    waits = [rules.wait_hns(NOW + 5) / HNS_PER_S for rules in (second, first, second)]
    assert waits == pytest.approx([2.0, 2.05, 2.1])
    for _ in range(30):
        second.called(CallEnd(NOW + 6, 200), NOW + 7)
    later = NOW + 5 * HNS_PER_S
    assert [first.wait_hns(later), second.wait_hns(later)] == [0, 0]


def test_a_refusal_that_is_no_throttling_concerns_its_stream_alone():
    throttle = ThrottleBudget()
    rules_of(Core(), throttle=throttle).called(CallEnd(NOW, 503, "", retry_after_s=20.0), NOW)
    assert rules_of(Core(), throttle=throttle).wait_hns(NOW) == 0


def test_a_description_becomes_the_cores_numbers():
    assert described("ACTIVE", 2) == {"status": 1, "retention_hns": 72_000_000_000}


def test_an_endpoint_is_known_until_it_is_doubted_old_or_the_order_is_repeated():
    rules = rules_of(Core(), 100)
    assert not rules.has_endpoint(order(), NOW)
    rules.learn_endpoint("https://a.example", NOW)
    assert rules.has_endpoint(order(), NOW + 99)
    assert rules.endpoint_url == "https://a.example"
    assert not rules.has_endpoint(order(), NOW + 100)
    rules.learn_endpoint("https://a.example", NOW)
    assert not rules.has_endpoint(order(attempt=1), NOW)
    rules.learn_endpoint("https://a.example", NOW)
    rules.doubt_endpoint()
    assert not rules.has_endpoint(order(), NOW)


def test_other_keys_are_wanted_once_after_a_refusal_and_when_getting_them_failed():
    rules = rules_of(Core())
    assert not rules.takes_refresh(order())
    rules.refresh_next = True
    assert [rules.takes_refresh(order()), rules.takes_refresh(order())] == [True, False]
    assert rules.takes_refresh(order(attempt=1))


@pytest.mark.parametrize("name", ["STALE_ANSWER", "NULL_ARG", "DESCRIBE_FAILED"])
def test_an_answer_that_the_core_does_not_want_hurts_nobody(name):
    core = Core()
    core.refusal = errors.named(name)
    rules_of(core).answer(order(), NOW, {"result": 404})
    assert core.calls == [("answer", 77, {"result": 404})]


def test_an_upload_that_never_stood_is_an_order_that_failed():
    core = Core()
    rules = rules_of(core)
    rules.upload_ended(order(), False, 599, NOW)
    rules.upload_ended(order(), True, 200, NOW)
    core.refusal = errors.named("UNKNOWN_UPLOAD")
    rules.upload_ended(order(), True, 200, NOW)
    assert core.calls == [("answer", 77, {"result": 599}), ("ended", 5, 200), ("ended", 5, 200)]


# ---- bytes


def test_a_body_goes_on_until_the_core_says_its_end():
    core = Core()
    core.pieces = [(3, 0), (0, 1), (4, 3)]
    body = UploadBody(core, 5, UploadReader(16))
    sizes = [None if piece is None else len(piece) for piece in (body.read(NOW) for _ in range(5))]
    assert sizes == [3, 0, 4, None, None]
    assert len(core.calls) == 3


def test_a_body_that_ends_without_a_byte_is_over_at_once():
    core = Core()
    core.pieces = [(0, 3)]
    assert UploadBody(core, 5, UploadReader()).read(NOW) is None


@pytest.mark.parametrize("name", ["UNKNOWN_UPLOAD", "NULL_ARG"])
def test_a_handle_that_the_core_has_given_up_is_over(name):
    core = Core()
    core.refusal = errors.named(name)
    reading, hearing = UploadBody(core, 5, UploadReader()), UploadBody(core, 5, UploadReader())
    assert reading.read(NOW) is None
    hearing.take_acks(b"{}", NOW)
    assert reading.is_over
    assert hearing.is_over


def test_an_ack_that_makes_no_sense_does_not_end_the_upload():
    core = Core()
    core.refusal = errors.named("ACK_KEY_START")
    body = UploadBody(core, 5, UploadReader())
    body.take_acks(b"}{", NOW)
    assert not body.is_over


# ---- troubles


class Policy:
    def __init__(self, decision) -> None:
        self.decision, self.asked = decision, []

    def decide(self, situation):
        self.asked.append(situation)
        return self.decision


class Bench:
    def __init__(self, decision) -> None:
        self.core, self.policy, self.later = Core(), Policy(decision), []
        self.orders = rules_of(self.core)
        self.recovery = Recovery(self.policy, self.core, self.orders, lambda *call: self.later.append(call))

    def fail(self, name="NOT_AUTHORIZED"):
        failure = errors.named(name)
        return self.recovery.failed(order(ActionKind.FAILED, status=failure.status, result=403), failure, NOW)

    def run(self) -> list[tuple[object, ...]]:
        for after_hns, act in self.later:
            act(NOW + after_hns)
        return self.core.calls


def test_a_failure_is_tried_again_after_the_pause_with_the_keys_that_were_asked_for():
    bench = Bench(RetryStream(50, refresh_credentials=True))
    assert bench.fail() == bench.policy.decision
    assert bench.orders.refresh_next
    assert bench.run() == [("retry", NOW + 50)]


def test_a_stream_that_went_on_by_itself_is_not_tried_again():
    bench = Bench(RetryStream(50))
    bench.fail()
    bench.core.state = StreamState.STREAMING
    assert bench.run() == []


def test_a_stall_may_reset_the_connection_and_a_stream_stopped_meanwhile_is_left_alone():
    bench = Bench(ResetConnection())
    bench.recovery.stale(NOW)
    bench.core.refusal = errors.named("STREAM_STOPPED")
    assert bench.run() == [("reset connection", NOW)]


@pytest.mark.parametrize("decision", [Keep(), GiveUp("NOT_FOUND")])
def test_keeping_and_giving_up_do_nothing(decision):
    bench = Bench(decision)
    bench.fail()
    bench.recovery.late(NOW)
    assert bench.run() == []


def test_the_policy_hears_how_often_and_how_well_it_went_so_far():
    bench = Bench(RetryStream(0, refresh_credentials=True))
    bench.fail()
    bench.fail()
    bench.recovery.fragment_done()
    bench.fail()
    bench.recovery.stale(NOW)
    asked = bench.policy.asked
    assert [situation.attempt for situation in asked] == [0, 1, 0, 1]
    assert [situation.was_streaming for situation in asked] == [False, False, True, True]
    assert [situation.credentials_were_refreshed for situation in asked] == [False, True, False, False]
    assert [situation.trouble for situation in asked] == [Trouble.FAILED] * 3 + [Trouble.STALE]
    assert (asked[0].status_name, asked[0].result) == ("NOT_AUTHORIZED", 403)


def test_the_policy_hears_what_the_service_answered():
    bench = Bench(Keep())
    bench.orders.called(CallEnd(NOW, 403, "AccessDeniedException"), NOW)
    bench.fail()
    bench.orders.called(CallEnd(NOW), NOW)
    bench.fail()
    asked = [(situation.http_status, situation.error_name) for situation in bench.policy.asked]
    assert asked == [(403, "AccessDeniedException"), (0, "")]


def test_the_policy_hears_of_dropped_frames_and_their_reason():
    bench = Bench(Keep())
    bench.recovery.dropped(DropReason.STORE_FULL, NOW)
    assert [(one.trouble, one.reason) for one in bench.policy.asked] == [(Trouble.DROPPED, "STORE_FULL")]


def test_what_was_only_told_does_not_count_as_a_try():
    bench = Bench(Keep())
    bench.recovery.late(NOW)
    bench.recovery.dropped(DropReason.STORE_FULL, NOW)
    bench.fail()
    assert bench.policy.asked[-1].attempt == 0


def test_a_call_that_took_long_to_fail_was_a_pause_itself():
    bench = Bench(RetryStream(50))
    bench.orders.called(CallEnd(NOW - 30), NOW)
    bench.fail()
    bench.orders.called(CallEnd(NOW - 60), NOW)
    bench.fail()
    assert [after_hns for after_hns, _ in bench.later] == [20, 0]


def test_a_policy_that_never_pauses_has_a_budget_of_tries():
    bench = Bench(RetryStream(0))
    for _ in range(13):
        bench.fail()
    assert [after_hns / HNS_PER_S for after_hns, _ in bench.later] == pytest.approx([0] * 10 + [2.5, 5.0, 7.5])
