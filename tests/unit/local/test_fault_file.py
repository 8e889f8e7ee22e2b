"""Files of faults. Goal: what is written is what strikes, and a mistake is named with its place."""

import re
import sys

import pytest
from tidy.project import ROOT

from kvspic.local.fault_file import faults_of_text
from kvspic.local.faults import Fault, FaultError, FaultKind

ONE = '{"kind": "cut", "operation": "PutMedia", "after_bytes": 9000, "count": 1}'
CUT = Fault(FaultKind.CUT, operation="PutMedia", after_bytes=9000, count=1)


@pytest.mark.parametrize("text", [f"[{ONE}]", '{"faults": [' + ONE + "]}"])
def test_both_forms_are_read(text):
    assert faults_of_text(text) == [CUT]


@pytest.mark.parametrize(
    "text",
    [
        "- {kind: cut, operation: PutMedia, after_bytes: 9000, count: 1}",
        "# a comment\nfaults:\n  - kind: cut\n    operation: PutMedia\n    after-bytes: 9000\n    count: 1\n",
    ],
)
def test_yaml_is_read(text):
    assert faults_of_text(text) == [CUT]


@pytest.mark.parametrize("times", ["begin_ms: 10000, delay_ms: 500", "begin_s: 10, delay_s: 0.5"])
def test_times_may_be_in_seconds_or_milliseconds(times):
    found = faults_of_text(f"- {{kind: restart, {times}}}")
    assert found == [Fault(FaultKind.RESTART, begin_hns=100_000_000, delay_hns=5_000_000)]


def test_an_error_ack_may_be_named():
    assert faults_of_text("- {kind: error-ack, error_id: ARCHIVAL_ERROR}")[0].error_id == 5001


EXAMPLE = re.compile(r"```yaml\n(.*?)```", re.DOTALL)


def test_the_guide_has_an_example_of_each_kind():
    text = "".join(EXAMPLE.findall((ROOT / "docs/faults.md").read_text(encoding="utf-8")))
    assert {fault.kind for fault in faults_of_text(text)} == set(FaultKind)


def test_without_pyyaml_json_is_read_and_yaml_refused_with_a_remedy(monkeypatch):
    monkeypatch.setitem(sys.modules, "yaml", None)
    assert faults_of_text(f"[{ONE}]") == [CUT]
    with pytest.raises(FaultError, match="pip install"):
        faults_of_text("- {kind: cut}")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("kind: cut", "list of mappings"),
        ("- {kind: cut", "neither YAML nor JSON"),
        ("", "list of mappings"),
        (ONE, "list of mappings"),
        ("[1]", "list of mappings"),
        ("- {kind: stall, delay_s: soon}", "fault 1: delay_s .* number"),
        ("- {kind: stall, delay_s: .inf}", "number"),
        ("- {kind: cut, stream: 12}", "quotes"),
        ("- {kind: error-ack, error_id: NO_SUCH}", "whole number"),
        (f'[{ONE}, {{"kind": "explode"}}]', "fault 2: .*one of"),
        ("[" * 100_000, "neither YAML nor JSON|nested deeper"),
        ("- {kind: cut, count: 1, count: 2}", "comes twice"),
        ("- &a [*a]", "contains itself"),
    ],
)
def test_a_mistake_is_named(text, words):
    with pytest.raises(FaultError, match=words):
        faults_of_text(text)
