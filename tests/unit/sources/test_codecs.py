"""Codec facts. Goal: private data as the standards lay it out, and headers read without trusting them."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st
from unit.sources.clips import ANNEXB, B_FRAMES, MEDIA, packets, remux

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


def test_wave_format_tells_true_rate_and_bits():
    fields = struct.unpack("<HHIIHHH", codecs.wave_format("pcm_mulaw", 8000, 2))
    assert fields == (7, 2, 8000, 16000, 2, 8, 0)


def test_bitmap_info_is_forty_bytes_with_size_and_letters():
    data = codecs.bitmap_info(320, 240)
    assert len(data) == 40
    assert struct.unpack_from("<Iii", data) == (40, 320, 240)
    assert data[16:20] == b"MJPG"


def test_a_b_slice_is_seen_wherever_the_stream_has_one(tmp_path):
    out = remux(B_FRAMES, tmp_path / "b.h264", "h264", "h264_mp4toannexb")
    found = [codecs.h264_has_b_slice(packet.data) for packet in packets(out)]
    assert 0 < sum(found) < len(found)
    assert found[:4] == [False, False, True, True]


@pytest.mark.parametrize("name", [name for name in ANNEXB if "h264" in name])
def test_a_stream_without_b_frames_shows_none(name):
    assert not any(codecs.h264_has_b_slice(packet.data) for packet in packets(MEDIA / name))


@given(st.binary(max_size=64))
def test_any_bytes_have_b_slices_or_not(data):
    assert codecs.h264_has_b_slice(data) in (True, False)


@pytest.mark.parametrize("name", [name for name in ANNEXB if not name.startswith("h265")])
def test_the_parameter_sets_of_h264_are_found_at_the_start_of_a_key_frame(name):
    first = packets(MEDIA / name)[0].data
    sets = codecs.parameter_sets(first, "video/h264")
    assert [sets[place] & 31 for place in codecs.nal_units(sets)] == [7, 8]
    assert codecs.parameter_sets(first, "video/h265") == b""
    assert codecs.parameter_sets(first, "video/vp9") == b""


def test_the_parameter_sets_of_h265_are_three():
    sets = codecs.parameter_sets(packets(MEDIA / "h265_main_aud_640x360_25fps.h265")[0].data, "video/h265")
    assert [sets[place] >> 1 & 63 for place in codecs.nal_units(sets)] == [32, 33, 34]


def test_parameter_sets_that_are_cut_or_not_all_there_do_not_count():
    sps, pps, key = b"\0\0\0\1\x67\1\2\3", b"\0\0\0\1\x68\4", b"\0\0\1\x65\7"
    assert codecs.parameter_sets(sps + pps + key, "video/h264") == sps + pps
    assert codecs.parameter_sets(pps + b"\0" + sps + key, "video/h264") == sps + pps
    for data in (sps + pps, sps + key, pps + key, key, b""):
        assert codecs.parameter_sets(data, "video/h264") == b""


@given(st.binary(max_size=64))
def test_any_bytes_have_parameter_sets_or_not(data):
    assert isinstance(codecs.parameter_sets(data, "video/h264"), bytes)
