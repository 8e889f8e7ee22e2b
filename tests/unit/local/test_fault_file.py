"""Files of faults. Goal: what is written is what strikes, and a mistake is named with its place."""

import pytest

from kvspic.local.fault_file import faults_of_text
from kvspic.local.faults import Fault, FaultError, FaultKind

ONE = '{"kind": "cut", "operation": "PutMedia", "after_bytes": 9000, "count": 1}'
CUT = Fault(FaultKind.CUT, operation="PutMedia", after_bytes=9000, count=1)


@pytest.mark.parametrize("text", [f"[{ONE}]", '{"faults": [' + ONE + "]}"])
def test_both_forms_are_read(text):
    assert faults_of_text(text) == [CUT]


def test_times_may_be_in_milliseconds():
    text = '[{"kind": "restart", "begin_ms": 10000, "delay_ms": 3000}]'
    assert faults_of_text(text) == [Fault(FaultKind.RESTART, begin_hns=100_000_000, delay_hns=30_000_000)]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("kind: cut", "no JSON"),
        (ONE, "list of objects"),
        ("[1]", "list of objects"),
        (f'[{ONE}, {{"kind": "explode"}}]', "fault 2: .*one of"),
        ("[" * 100_000, "no JSON"),
    ],
)
def test_a_mistake_is_named(text, words):
    with pytest.raises(FaultError, match=words):
        faults_of_text(text)
