"""The driver's rules. Goal: what the core gets back, and what the policy is asked, is the same for every driver."""

import pytest

from kvspic import errors
from kvspic._lib import ffi
from kvspic.actions import Action, ActionKind
from kvspic.core import UploadReader
from kvspic.driver.rules import CallEnd, OrderRules, Recovery, UploadHandle, described
from kvspic.provider.endpoints import EndpointCache
from kvspic.provider.results import ServiceResult
from kvspic.provider.upload import EndedBy, PutMediaOutcome
from kvspic.retry import CallBudget, GiveUp, Keep, ResetConnection, RetryStream, Trouble
from kvspic.types import DropReason, StreamState

NOW = 1000
CALL = "DescribeStream"
HNS_PER_S = 10_000_000


class Core:
    """A stream that writes down each call, raises on request, and reads out what the test gave it."""

    def __init__(self) -> None:
        self.calls: list[tuple[object, ...]] = []
        self.refusal: Exception | None = None
        self.pieces: list[tuple[int, int]] = []
        self.state = StreamState.FAILED

    def metrics(self) -> "Core":
        return self

    def read_chunk(self, upload, memory, size, chunk, now_hns):
        try:
            self.note("read", upload, size)
        except errors.KvsError as refusal:
            return refusal.status
        count, chunk[2] = self.pieces.pop(0)
        coded = b"%x\r\n%b\r\n" % (count, b"a" * count)
        chunk[0], chunk[1] = 0, len(coded)
        ffi.buffer(memory)[: len(coded)] = coded
        return count

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


def rules_of(core: Core, fresh_hns: int = 1000, throttle: CallBudget | None = None) -> OrderRules:
    return OrderRules("door", core, EndpointCache(fresh_hns=fresh_hns), throttle or CallBudget())


@pytest.mark.parametrize(("asked_s", "waited_s"), [(None, 0.0), (0, 0.0), (7.5, 7.5), (86400.0, 30.0)])
def test_the_service_may_ask_for_a_pause_within_reason(asked_s, waited_s):
    assert rules_of(Core()).called(CallEnd(NOW, 503, retry_after_s=asked_s), NOW) == waited_s * HNS_PER_S


def test_streams_that_are_throttled_wait_for_each_other_until_calls_are_accepted_again():
    throttle = CallBudget()
    first, second = rules_of(Core(), throttle=throttle), rules_of(Core(), throttle=throttle)
    assert [first.wait_hns(CALL, NOW), second.wait_hns(CALL, NOW)] == [0, 0]
    first.called(CallEnd(NOW, 400, "ThrottlingException", 2.0, CALL), NOW + 5)
    waits = [rules.wait_hns(CALL, NOW + 5) / HNS_PER_S for rules in (second, first, second)]
    assert waits == pytest.approx([2.0, 2.05, 2.1])
    for _ in range(30):
        second.called(CallEnd(NOW + 6, 200, operation=CALL), NOW + 7)
    later = NOW + 5 * HNS_PER_S
    assert [first.wait_hns(CALL, later), second.wait_hns(CALL, later)] == [0, 0]


def test_a_refusal_that_is_no_throttling_concerns_its_stream_alone():
    throttle = CallBudget()
    rules_of(Core(), throttle=throttle).called(CallEnd(NOW, 503, "", 20.0, CALL), NOW)
    assert rules_of(Core(), throttle=throttle).wait_hns(CALL, NOW) == 0


def test_a_description_becomes_the_cores_numbers():
    assert described("ACTIVE", 2) == {"status": 1, "retention_hns": 72_000_000_000}


def test_an_endpoint_is_known_until_it_is_doubted_old_or_the_order_is_repeated():
    rules = rules_of(Core(), 100)
    assert not rules.has_endpoint(order(), NOW)
    rules.learn_endpoint("https://a.example", NOW)
    assert rules.has_endpoint(order(), NOW + 99)
    assert rules.endpoint(NOW) == "https://a.example"
    assert not rules.has_endpoint(order(), NOW + 100)
    rules.learn_endpoint("https://a.example", NOW)
    assert not rules.has_endpoint(order(attempt=1), NOW)
    assert rules.last_endpoint() == "https://a.example"


@pytest.mark.parametrize("ended_by, status, is_doubtful", [
    (EndedBy.NETWORK, 0, True), (EndedBy.TIMEOUT, 0, True), (EndedBy.REFUSED, 404, True), (EndedBy.REFUSED, 403, True),
    (EndedBy.NETWORK, 200, False), (EndedBy.REFUSED, 500, False), (EndedBy.BODY, 200, False),
])  # fmt: skip
def test_an_endpoint_that_gave_no_answer_is_doubted_at_once(ended_by, status, is_doubtful):
    rules = rules_of(Core())
    upload = handle_of(rules)
    rules.began(upload)
    rules.learn_endpoint("https://a.example", NOW)
    outcome = PutMediaOutcome(ServiceResult.UNKNOWN, http_status=status, ended_by=ended_by)
    rules.ended(upload, outcome, NOW, NOW)
    assert (rules.endpoint(NOW) is None) == is_doubtful
    assert rules.uploads == {}


def test_an_invalid_endpoint_is_doubted_at_once():
    rules = rules_of(Core())
    rules.learn_endpoint("https://a.example", NOW)
    result = ServiceResult.CONNECTION_TIMEOUT
    outcome = PutMediaOutcome(result, "InvalidEndpointException", http_status=400, ended_by=EndedBy.REFUSED)
    rules.ended(handle_of(rules), outcome, NOW, NOW)
    assert rules.endpoint(NOW) is None


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
    upload = handle_of(rules)
    rules.upload_ended(upload, 599, NOW)
    upload.connected()
    rules.upload_ended(upload, 200, NOW)
    core.refusal = errors.named("UNKNOWN_UPLOAD")
    rules.upload_ended(upload, 200, NOW)
    assert core.calls == [("answer", 77, {"result": 599}), ("answer", 77, {}), ("ended", 5, 200), ("ended", 5, 200)]


# ---- bytes


def handle_of(rules: OrderRules, upload: int = 5, clock=lambda: NOW) -> UploadHandle:
    return UploadHandle(rules, order(ActionKind.PUT_MEDIA, upload=upload), UploadReader(16), clock)


def test_a_body_is_read_as_the_core_gives_it():
    core = Core()
    core.pieces = [(3, 0), (0, 1), (4, 2), (0, 3)]
    upload = handle_of(rules_of(core))
    read = [(bytes(chunk), size, state) for chunk, size, state in (upload.read(9) for _ in range(4))]
    assert read == [(b"3\r\naaa\r\n", 3, 0), (b"", 0, 1), (b"4\r\naaaa\r\n", 4, 2), (b"", 0, 3)]
    assert core.calls[0] == ("read", 5, 9)
    assert upload.read_over_hns == NOW
    assert not upload.is_over


@pytest.mark.parametrize("name", ["UNKNOWN_UPLOAD", "NULL_ARG"])
def test_a_handle_that_the_core_has_given_up_is_over(name):
    core, ended = Core(), []
    core.refusal = errors.named(name)
    reading, hearing = handle_of(rules_of(core)), handle_of(rules_of(core))
    reading.on_over = hearing.on_over = lambda: ended.append(1)
    assert reading.read(9) == (b"", 0, 3)
    hearing.take(b"{}")
    hearing.take(b"{}")
    assert reading.is_over
    assert hearing.is_over
    assert ended == [1, 1]


def test_an_ack_that_makes_no_sense_does_not_end_the_upload():
    core = Core()
    core.refusal = errors.named("ACK_KEY_START")
    upload = handle_of(rules_of(core))
    upload.take(b"}{")
    assert not upload.is_over


# ---- several uploads of one stream


def test_an_upload_waits_for_the_ones_before_it():
    now, busy = [NOW], []
    core = Core()
    core.pieces = [(0, 2)]
    rules = rules_of(core)
    elder, younger = (handle_of(rules, number, lambda: now[0]) for number in (5, 6))
    for upload in (elder, younger):
        rules.began(upload)
        upload.on_busy = busy.append
    assert rules.wait_for_elders_hns(younger, NOW) == 30 * HNS_PER_S
    assert younger.busy("one at a time") == 30.0  # at the most: until the elder has been read to its end
    assert younger.busy("one at a time") == 30.0
    assert busy == ["one at a time"]
    now[0] += HNS_PER_S
    elder.read(9)
    assert younger.busy("one at a time") == 5.0
    assert rules.wait_for_elders_hns(elder, now[0]) == 0
    now[0] += 2 * HNS_PER_S
    assert rules.wait_for_elders_hns(younger, now[0]) == 3 * HNS_PER_S
    rules.ended(elder, PutMediaOutcome(ServiceResult.OK, ended_by=EndedBy.BODY), now[0], now[0])
    assert rules.wait_for_elders_hns(younger, now[0]) == 0


@pytest.mark.parametrize("ended_by, was_accepted, is_careful", [
    (EndedBy.REFUSED, False, True), (EndedBy.NETWORK, False, True), (EndedBy.TIMEOUT, False, True),
    (EndedBy.NETWORK, True, False), (EndedBy.BODY, True, False), (EndedBy.STOPPED, False, False),
])  # fmt: skip
def test_the_next_upload_is_careful_where_the_last_one_was_not_accepted(ended_by, was_accepted, is_careful):
    rules = rules_of(Core())
    upload = handle_of(rules)
    rules.began(upload)
    upload.is_accepted = was_accepted
    rules.ended(upload, PutMediaOutcome(ServiceResult.OK, ended_by=ended_by), NOW, NOW)
    assert handle_of(rules, 6).is_careful == is_careful


def test_the_service_has_an_upload_when_it_has_accepted_it():
    rules = rules_of(Core())
    elder, younger = handle_of(rules, 5), handle_of(rules, 6)
    assert not rules.is_uploading
    assert not rules.is_newest_accepted
    rules.began(elder)
    elder.accepted()
    assert rules.is_uploading
    assert rules.is_newest_accepted
    rules.began(younger)
    assert rules.is_uploading
    assert not rules.is_newest_accepted


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


def test_a_policy_that_resets_the_connection_of_a_failed_stream_has_it_tried_again():
    bench = Bench(ResetConnection())
    bench.fail()
    assert bench.run() == [("retry", NOW)]


@pytest.mark.parametrize("hours", [-1, 10**9])
def test_a_retention_that_cannot_be_is_no_description(hours):
    with pytest.raises(ValueError, match="retention"):
        described("ACTIVE", hours)


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
