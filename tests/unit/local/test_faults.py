"""Scripts of faults. Goal: a fault strikes the calls it is about, as often as it says, and no others."""

import pytest

from kvspic.local.acks import AckError
from kvspic.local.faults import PUT_MEDIA, Fault, FaultError, FaultKind, FaultScript, fault_of


def kinds(script, operation=PUT_MEDIA, stream="s", now_hns=0):
    return [fault.kind for fault in script.strikes(operation, stream, now_hns)]


def test_a_fault_strikes_its_operation_and_stream_only():
    script = FaultScript([Fault(FaultKind.CUT, operation=PUT_MEDIA, stream="a")])
    assert kinds(script, PUT_MEDIA, "a") == [FaultKind.CUT]
    assert kinds(script, PUT_MEDIA, "b") == []
    assert kinds(script, "DescribeStream", "a") == []


def test_times_count_from_the_begin_of_the_script():
    script = FaultScript([Fault(FaultKind.REFUSE, begin_hns=10, end_hns=20)], begin_hns=1000)
    assert [bool(kinds(script, now_hns=at)) for at in (1009, 1010, 1019, 1020)] == [False, True, True, False]


def test_the_first_calls_may_be_spared_and_the_number_of_strikes_limited():
    script = FaultScript([Fault(FaultKind.ANSWER, skip=2, count=3)])
    assert [len(kinds(script)) for _ in range(7)] == [0, 0, 1, 1, 1, 0, 0]


def test_a_script_is_spent_when_each_fault_has_struck_as_often_as_it_may():
    limited, endless = Fault(FaultKind.CUT, skip=1, count=2), Fault(FaultKind.CUT)
    script = FaultScript([limited])
    spent = []
    for _ in range(4):
        spent.append(script.is_spent)
        kinds(script)
    assert spent == [False, False, False, True]
    assert not FaultScript([endless]).is_spent


@pytest.mark.parametrize("operation", ["*", PUT_MEDIA])
def test_a_key_that_cannot_be_used_stands_for_a_time_and_strikes_no_call(operation):
    fault = Fault(FaultKind.KMS_KEY, operation, "a", begin_hns=10, end_hns=20, error_id=4503)
    script = FaultScript([fault])
    found = [script.key_trouble("a", at) for at in (9, 10, 19, 20)]
    assert found == [None, AckError.KMS_KEY_UNAVAILABLE, AckError.KMS_KEY_UNAVAILABLE, None]
    assert script.key_trouble("b", 10) is None
    assert kinds(script, PUT_MEDIA, "a", 10) == []


def test_what_happens_to_the_endpoint_is_an_event_and_strikes_no_call():
    restart, expire = Fault(FaultKind.RESTART, begin_hns=30), Fault(FaultKind.EXPIRE_TOKENS, begin_hns=20)
    script = FaultScript([restart, expire], begin_hns=100)
    assert script.events() == [(120, expire), (130, restart)]
    assert kinds(script, now_hns=150) == []


@pytest.mark.parametrize(
    ("members", "word"),
    [
        ({"kind": "cut", "after_bytes": -1}, "after_bytes"),
        ({"kind": "cut", "after_bytes": "7"}, "whole number"),
        ({"kind": "answer", "status": 200}, "200"),
        ({"kind": "error-ack", "error_id": 1}, "ErrorId"),
        ({"kind": "throttle"}, "bytes_per_s"),
        ({"kind": "explode"}, "one of"),
        ({"kind": "cut", "colour": 1}, "colour"),
        ({}, "one of"),
    ],
)
def test_a_fault_that_cannot_be_is_refused_with_its_cause(members, word):
    with pytest.raises(FaultError, match=word):
        fault_of(members)


def test_plain_values_make_a_fault():
    made = fault_of({"kind": "delay", "operation": "DescribeStream", "delay-ms": 250, "count": 1})
    assert made == Fault(FaultKind.DELAY, operation="DescribeStream", delay_hns=2_500_000, count=1)


def test_an_error_id_may_be_given_by_name():
    fault = Fault(FaultKind.ERROR_ACK, error_id="ARCHIVAL_ERROR")
    assert (fault.error_id, fault.ack_error) == (AckError.ARCHIVAL_ERROR, AckError.ARCHIVAL_ERROR)
    with pytest.raises(FaultError, match=r"'ARCHIVED' is no ErrorId of PutMedia; give one of STREAM_READ_ERROR"):
        Fault(FaultKind.ERROR_ACK, error_id="ARCHIVED")
