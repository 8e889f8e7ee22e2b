"""Codec facts. Goal: private data as the standards lay it out, and headers read without trusting them."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kvspic.sources import SourceError, codecs

ADTS = bytes.fromhex("fff14c80103ffc21")


def test_an_adts_header_becomes_an_audio_specific_config():
    header = codecs.parse_adts(ADTS)
    assert (header.object_type, header.sample_rate, header.channels, header.size) == (2, 48000, 2, 7)
    assert codecs.audio_specific_config(header) == bytes.fromhex("1190")


def test_an_adts_header_with_a_checksum_is_two_bytes_longer():
    assert codecs.parse_adts(b"\xff\xf0" + ADTS[2:]).size == 9


def test_configuration_seven_means_eight_channels():
    assert codecs.parse_adts(ADTS[:2] + b"\x4d\xc0" + ADTS[4:]).channels == 8


@pytest.mark.parametrize("wrong", ["fff17c80103ffc21", "fff14c00103ffc21", "fff14c80103ffd21"])
def test_an_adts_header_that_matroska_cannot_carry_is_refused_with_a_remedy(wrong):
    with pytest.raises(SourceError, match=r"again|\.m4a"):
        codecs.parse_adts(bytes.fromhex(wrong))


@given(st.binary(max_size=16))
def test_any_bytes_are_an_adts_header_or_none_or_refused(data):
    try:
        header = codecs.parse_adts(data)
    except SourceError:
        return
    assert header is None or header.sample_rate > 0


def test_flac_goes_out_as_a_file_begins():
    info = bytes(range(34))
    assert codecs.flac_header(info) == b"fLaC\x80\0\0\x22" + info
    assert codecs.flac_header(codecs.flac_header(info)) == codecs.flac_header(info)


@pytest.mark.parametrize(
    "private,rate",
    [
        ("1190", 48000),
        ("1210", 44100),
        ("2b118800", 24000),
        ("120856e500", 44100),
        ("178012a288", 9541),
        ("1700", None),
    ],
)
def test_the_rate_of_an_aac_core_is_read_whatever_extends_it(private, rate):
    assert codecs.aac_core_rate(bytes.fromhex(private)) == rate


@given(st.binary(max_size=8))
def test_any_bytes_name_a_rate_or_none(data):
    assert codecs.aac_core_rate(data) is None or codecs.aac_core_rate(data) > 0


def test_wave_format_tells_true_rate_and_bits():
    fields = struct.unpack("<HHIIHHH", codecs.wave_format("pcm_mulaw", 8000, 2))
    assert fields == (7, 2, 8000, 16000, 2, 8, 0)


def test_bitmap_info_is_forty_bytes_with_size_and_letters():
    data = codecs.bitmap_info(320, 240)
    assert len(data) == 40
    assert struct.unpack_from("<Iii", data) == (40, 320, 240)
    assert data[16:20] == b"MJPG"
