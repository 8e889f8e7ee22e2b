"""AV1 as bytes. Goal: av1C says what the sequence header says, and temporal delimiters go."""

import av
import pytest
from hypothesis import given
from hypothesis import strategies as st
from unit.sources.clips import MEDIA

from kvspic.sources.av1 import av1_private, without_delimiters

CLIP = MEDIA / "av1_320x240_25fps.mkv"
DELIMITER = b"\x12\0"


def header_and_private():
    with av.open(str(CLIP)) as container:
        private = bytes(container.streams.video[0].codec_context.extradata)
    return private[4:], private


def test_av1c_is_made_as_a_muxer_makes_it():
    header, private = header_and_private()
    assert av1_private(header) == private
    assert av1_private(DELIMITER + header + b"\x32\1x") == private


@pytest.mark.parametrize("data", [b"", DELIMITER, b"\x32\2ab", b"\x0a\x7f\0"])
def test_without_a_sequence_header_there_is_none(data):
    assert av1_private(data) is None


def test_delimiters_go_and_all_else_stays():
    header, _ = header_and_private()
    assert without_delimiters(DELIMITER + header + DELIMITER + b"\x32\2ab") == header + b"\x32\2ab"
    unit = header + b"\x32\2ab"
    assert without_delimiters(unit) is unit


@given(st.binary(max_size=64))
def test_any_bytes_are_units_or_not(data):
    assert len(without_delimiters(data)) <= len(data)
    assert av1_private(b"\x0a\x20" + data.ljust(32, b"\0")[:32])[0] == 0x81
