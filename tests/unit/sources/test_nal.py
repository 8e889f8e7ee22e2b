"""NAL units. Goal: what a picture is comes from its bits, however it is framed, and no bytes are trusted."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st
from unit import stored_media
from unit.sources.clips import ANNEXB, B_FRAMES, BASELINE, MEDIA, OPEN_GOP, packets, remux

from kvspic.sources import nal

H264, H265 = "video/h264", "video/h265"
IDR, P_SLICE, I_SLICE, B_SLICE = b"\x65\x88\x84\0", b"\x41\x9a\x20\0", b"\x41\x88\x80\0", b"\x01\x9e\x20\0"
RECOVERY = b"\x06\x06\x01\xc4\x80"  # recovery_frame_cnt 0, exact_match_flag, no broken link
TIMING = b"\x06\x01\x04\0\0\x08\x10\x80"


def codec_of(name):
    return H265 if "h265" in name else H264


def annexb(*units):
    return b"".join(nal.ANNEXB_PREFIX + unit for unit in units)


def lengths(*units, size=4):
    return b"".join(len(unit).to_bytes(size, "big") + unit for unit in units)


def facts(*units, codec=H264):
    """What the units are, the same in both framings."""
    found = nal.picture_facts(annexb(*units), codec)
    assert nal.picture_facts(lengths(*units), codec, 4) == found
    return found


@pytest.mark.parametrize("name", ANNEXB)
def test_the_bits_of_a_clip_show_the_same_key_frames_as_its_demuxer(name):
    for packet in packets(MEDIA / name):
        found = nal.picture_facts(packet.data, codec_of(name))
        assert (found.has_picture, found.is_key(False)) == (True, packet.is_keyframe)


def test_an_open_group_of_h265_begins_with_a_picture_that_can_be_begun_at():
    shown = [nal.picture_facts(packet.data, H265, 4).is_random_access for packet in packets(OPEN_GOP)]
    assert shown == [packet.is_keyframe for packet in packets(OPEN_GOP)]
    assert sum(shown) > 1


@pytest.mark.parametrize(
    "units,is_key_unflagged,is_key_flagged",
    [
        ([IDR], True, True),
        ([RECOVERY, I_SLICE], True, True),
        ([RECOVERY, P_SLICE], True, True),  # intra refresh: right after some pictures
        ([TIMING, RECOVERY, P_SLICE], True, True),
        ([TIMING, P_SLICE], False, False),  # a camera whose key flags lie
        ([I_SLICE], False, True),  # an I picture, which its container calls a sync sample
        ([B_SLICE], False, False),
    ],
)
def test_bits_decide_what_a_key_frame_is(units, is_key_unflagged, is_key_flagged):
    found = facts(*units)
    assert (found.is_key(False), found.is_key(True)) == (is_key_unflagged, is_key_flagged)


def test_a_unit_without_a_picture_is_no_key_frame():
    assert facts(TIMING) == nal.PictureFacts(False)
    assert not facts(TIMING, b"\x67\1\2", b"\x68\1").is_key(True)


def test_a_recovery_point_behind_a_long_message_is_seen():
    long_message = b"\x06\x05\xff\x10" + bytes(271) + b"\x06\x01\xc4\x80"
    assert facts(long_message, P_SLICE).has_recovery_point


def test_a_picture_behind_large_messages_is_seen():
    message = b"\x06\x05" + b"\xff" * 39 + b"\x00" + b"\x11" * (39 * 255) + b"\x80"
    assert nal.picture_facts(annexb(message, IDR), H264).is_random_access


def test_a_codec_without_nal_units_has_no_facts():
    assert nal.picture_facts(b"\0\0\1\x65\1", "video/vp9") is None


def test_a_b_slice_is_seen_wherever_the_stream_has_one(tmp_path):
    out = remux(B_FRAMES, tmp_path / "b.h264", "h264", "h264_mp4toannexb")
    found = [nal.picture_facts(packet.data, H264).is_b for packet in packets(out)]
    assert 0 < sum(found) < len(found)
    assert found[:4] == [False, False, True, True]


@pytest.mark.parametrize("name", [name for name in ANNEXB if "h264" in name])
def test_a_stream_without_b_frames_shows_none(name):
    assert not any(nal.picture_facts(packet.data, H264).is_b for packet in packets(MEDIA / name))


@pytest.mark.parametrize("codec", [H264, H265])
@given(data=st.binary(max_size=64), size=st.sampled_from([0, 1, 2, 4]))
def test_any_bytes_have_facts(codec, data, size):
    assert isinstance(nal.picture_facts(data, codec, size), nal.PictureFacts)


@pytest.mark.parametrize("size", [1, 2, 3, 4])
def test_lengths_of_every_size_become_start_codes_without_empty_units(size):
    data = lengths(IDR, b"", P_SLICE, size=size)
    assert nal.annexb_from_lengths(data, size) == annexb(IDR, P_SLICE)
    assert nal.split_lengths(data + b"\x09", size)[1] == len(data)


def avcc(size, *sets):
    sps = [unit for unit in sets if unit[0] & 31 == 7]
    pps = [unit for unit in sets if unit[0] & 31 == 8]
    body = b"\1\x42\0\x1e" + bytes((0xFC | size - 1, 0xE0 | len(sps)))
    body += b"".join(struct.pack(">H", len(unit)) + unit for unit in sps)
    return body + bytes((len(pps),)) + b"".join(struct.pack(">H", len(unit)) + unit for unit in pps)


def test_avcc_says_how_long_lengths_are_and_which_sets_there_are():
    sps, pps = b"\x67\x42\0\x1e\x88", b"\x68\xce\x38"
    assert nal.framing_of_private(avcc(2, sps, pps), H264) == nal.LengthFraming(2, (sps, pps), True)
    assert nal.framing_of_private(avcc(4, sps), H264).is_complete is False
    assert nal.framing_of_private(avcc(4)[:7], H264) == nal.LengthFraming(4, (), False)
    assert nal.private_as_annexb(nal.framing_of_private(avcc(4), H264)) is None
    for wrong in (None, b"", b"\1\x42", annexb(sps, pps)):
        assert nal.framing_of_private(wrong, H264) is None


def test_hvcc_says_the_same():
    sets = nal.parameter_sets(packets(MEDIA / "h265_main_aud_640x360_25fps.h265")[0].data, H265)
    framing = nal.framing_of_private(stored_media.hvcc(sets), H265)
    assert (framing.length_size, framing.is_complete) == (4, True)
    assert nal.private_as_annexb(framing) == sets


def test_the_description_of_a_clip_is_read(tmp_path):
    import av

    with av.open(str(BASELINE)) as container:
        framing = nal.framing_of_private(bytes(container.streams.video[0].codec_context.extradata), H264)
    assert framing.is_complete
    assert [unit[0] & 31 for unit in framing.sets] == [7, 8]


@given(data=st.binary(max_size=64), codec=st.sampled_from([H264, H265]))
def test_any_bytes_are_a_description_or_none(data, codec):
    framing = nal.framing_of_private(b"\1" + data, codec)
    assert framing is None or framing.length_size in (1, 2, 3, 4)


@pytest.mark.parametrize("name", [name for name in ANNEXB if not name.startswith("h265")])
def test_the_parameter_sets_of_h264_are_found_at_the_start_of_a_key_frame(name):
    first = packets(MEDIA / name)[0].data
    sets = nal.parameter_sets(first, H264)
    assert [sets[place] & 31 for place in nal.nal_units(sets)] == [7, 8]
    assert nal.parameter_sets(first, H265) == b""
    assert nal.parameter_sets(first, "video/vp9") == b""


def test_the_parameter_sets_of_h265_are_three():
    sets = nal.parameter_sets(packets(MEDIA / "h265_main_aud_640x360_25fps.h265")[0].data, H265)
    assert [sets[place] >> 1 & 63 for place in nal.nal_units(sets)] == [32, 33, 34]


def test_parameter_sets_that_are_cut_or_not_all_there_do_not_count():
    sps, pps, key = b"\0\0\0\1\x67\1\2\3", b"\0\0\0\1\x68\4", b"\0\0\1\x65\7"
    assert nal.parameter_sets(sps + pps + key, H264) == sps + pps
    assert nal.parameter_sets(pps + b"\0" + sps + key, H264) == sps + pps
    for data in (sps + pps, sps + key, pps + key, key, b""):
        assert nal.parameter_sets(data, H264) == b""


@given(st.binary(max_size=64))
def test_any_bytes_have_parameter_sets_or_not(data):
    assert isinstance(nal.parameter_sets(data, H264), bytes)
