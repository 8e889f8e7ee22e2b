"""The notation of recorded examples. Goal: data forms give the published bytes; masking drops three texts only."""

import pytest

from kvspic.testing.vectors_clip import time_rule
from kvspic.testing.vectors_forms import data_of, equal, masked, masked_loss, rendered


def test_data_forms_give_the_check_values():
    assert data_of({"prng": {"seed": 1, "len": 16}}).hex() == "c15c0289ec2d0a9167ec8e65a18debbe"
    assert data_of({"prng_nz": {"seed": 1, "len": 8}}).hex() == "c25d038aed2e0b92"
    assert data_of({"prng": {"seed": 1, "len": 3}}).hex() == "c15c02"
    assert data_of({"rep": {"byte": "55", "len": 3}}) == b"UUU"
    assert data_of({"cat": [{"hex": "00"}, {"cat": [{"hex": "01"}]}]}) == b"\0\1"
    assert data_of(None) == b""


def test_an_unknown_data_form_is_refused_by_name():
    with pytest.raises(ValueError, match="base64"):
        data_of({"base64": "AAAA"})


def header_with(title):
    head = bytes(45 - 4)
    texts = b"".join(id_ + bytes([0x80 + len(title)]) + title for id_ in (b"\x7b\xa9", b"\x4d\x80", b"\x57\x41"))
    kept = b"\x2a\xd7\xb1\x88" + bytes(8)
    body = kept + texts
    info = bytes.fromhex("1549a966") + (0x4000 | len(body)).to_bytes(2, "big") + body
    return bytes.fromhex("1a45dfa3") + head + info + b"tracks and more"


def test_masking_leaves_out_the_texts_and_nothing_else():
    short, long = header_with(b""), header_with(b"t" * 100)
    assert masked(short) == masked(long)
    assert masked(long).endswith(b"\x40\x0c\x2a\xd7\xb1\x88" + bytes(8) + b"tracks and more")
    assert masked_loss(long) == 3 * 103
    assert masked(b"\x1f\x43\xb6\x75 a cluster") == b"\x1f\x43\xb6\x75 a cluster"


def test_output_is_written_in_the_form_that_is_asked_for():
    assert rendered([b"ab"], [{"len": 2, "hex": ""}]) == [{"len": 2, "hex": "6162"}]
    hashed = rendered({"out": b"ab"}, {"out": {"sha256": ""}})["out"]
    assert hashed["len"] == 2
    assert hashed["head_hex"] == "6162"
    assert "sha256" in rendered(bytes(257), None)
    assert "hex" in rendered(bytes(256), None)


def test_what_binds_and_what_does_not():
    assert equal({"a": 1, "size_query": 5}, {"a": 1, "size_query": 9})
    assert equal({"a": 1, "more": 5}, {"a": 1})
    assert not equal({"a": 1}, {"a": 1, "b": 2})
    assert not equal([1], [1, 2])
    assert equal("3200000d", "nonzero")
    assert not equal("00000000", "nonzero")


@pytest.mark.parametrize(
    ("rule", "index", "time"),
    [
        ("base + floor(i*10000000/30)", 1, 333338),
        ("floor(i*1024*10000000/48000)", 282, 60160000),
        ("i*200000", 3, 600000),
    ],
)
def test_time_rules_are_exact(rule, index, time):
    assert time_rule(rule, base=5)(index) == time


def test_a_time_rule_runs_no_code():
    with pytest.raises(ValueError, match="time rule"):
        time_rule("__import__('os').getpid()", base=0)(1)
