"""What the bytes of a frame show. Goal: no bytes raise, and what a codec can be is never called another one."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kvspic.media_bits import ALL_SETS, CODEC_OF_NAME, Look, codec_of, length_size_of, look_at, signature_of
from kvspic.types import H264Track, H265Track, MjpegTrack, PcmTrack, Track

TRACK = H264Track(width=16, height=16)
START = b"\0\0\0\1"
SPS, PPS, IDR, P, I_SLICE, SEI = b"\x67\x42\0", b"\x68\xce", b"\x65\x88\x80", b"\x41\x9a\x20", b"\x41\x88\x80", b"\x06"
RECOVERY = b"\x06\x06\x01\x84\x80"
VPS5, SPS5, PPS5, IDR5, TRAIL5 = b"\x40\x01\x0c", b"\x42\x01\x01", b"\x44\x01\xc1", b"\x26\x01\xaf", b"\x02\x01\xd0"


def annexb(*units):
    return b"".join(START + unit for unit in units)


def lengths(*units, size=4):
    return b"".join(len(unit).to_bytes(size, "big") + unit for unit in units)


@given(codec=st.sampled_from(sorted(CODEC_OF_NAME)), data=st.binary(max_size=300), size=st.integers(1, 4))
def test_any_bytes_give_a_look(codec, data, size):
    assert isinstance(look_at(codec, data, TRACK, size), Look)


@given(data=st.binary(max_size=80), units=st.lists(st.sampled_from([SPS, PPS, IDR, P, RECOVERY]), min_size=1))
def test_bytes_after_whole_units_give_a_look(units, data):
    assert isinstance(look_at("h264", annexb(*units) + data, TRACK), Look)


@pytest.mark.parametrize("join", [annexb, lengths])
@pytest.mark.parametrize(
    ("units", "key", "has_sets", "has_picture"),
    [
        ((SPS, PPS, IDR), True, True, True),
        ((IDR,), True, False, True),
        ((P,), False, False, True),
        ((I_SLICE,), None, False, True),
        ((RECOVERY, P), True, False, True),
        ((SPS, PPS), None, True, False),
        ((b"\x09\xf0", P), False, False, True),
    ],
)
def test_a_frame_of_h264(join, units, key, has_sets, has_picture):
    look = look_at("h264", join(*units), TRACK)
    assert (look.found, look.key, look.sets == ALL_SETS, look.has_picture) == ("", key, has_sets, has_picture)
    assert look.is_length_prefixed == (join is lengths)


@pytest.mark.parametrize("join", [annexb, lengths])
@pytest.mark.parametrize(
    ("units", "key", "has_sets", "has_picture"),
    [
        ((VPS5, SPS5, PPS5, IDR5), True, True, True),
        ((TRAIL5,), False, False, True),
        ((b"\x2a\x01\xaf",), True, False, True),  # CRA
        ((b"\x4e\x01\x06\x01\x80\x80", TRAIL5), True, False, True),  # recovery point
        ((VPS5, SPS5, PPS5), None, True, False),
    ],
)
def test_a_frame_of_h265(join, units, key, has_sets, has_picture):
    look = look_at("h265", join(*units), H265Track())
    assert (look.found, look.key, look.sets == ALL_SETS, look.has_picture) == ("", key, has_sets, has_picture)


@pytest.mark.parametrize("join", [annexb, lengths])
def test_each_codec_in_a_track_of_the_other(join):
    assert look_at("h264", join(VPS5, SPS5, PPS5, IDR5), TRACK).found == "H.265"
    assert look_at("h264", join(TRAIL5), TRACK).found == "H.265"
    assert look_at("h265", join(SPS, PPS, b"\x06\x05\x01\x80", IDR), H265Track()).found == "H.264"
    assert look_at("h265", join(P), H265Track()).found == "H.264"


@pytest.mark.parametrize("unit_size", [255, 256, 300, 511, 512])
def test_a_unit_whose_length_looks_like_a_start_code(unit_size):
    look = look_at("h264", lengths(P + bytes([0x55]) * (unit_size - 3)), TRACK)
    assert (look.found, look.is_length_prefixed) == ("", True)


@pytest.mark.parametrize("size", [1, 2, 4])
def test_lengths_have_the_size_that_the_record_says(size):
    record = b"\1\x42\0\x1e" + bytes([0xFC | size - 1]) + b"\xe1"
    assert length_size_of("h264", record) == size
    look = look_at("h264", lengths(SPS, IDR, size=size), TRACK, size)
    assert (look.found, look.key) == ("", True)
    assert length_size_of("h264", None) == length_size_of("aac", b"\x11\x90") == 4


def test_empty_units_are_passed_over():
    assert look_at("h264", lengths(b"", SPS, b"", PPS, IDR), TRACK).key is True
    assert look_at("h264", annexb(SPS, b"", PPS, IDR), TRACK).key is True


def test_slices_and_pictures_are_counted():
    second = b"\x41\x40\x20"  # first_mb_in_slice is not 0
    assert not look_at("h264", annexb(P, second), TRACK).is_several
    assert not look_at("h264", annexb(P, P), TRACK).is_several  # fields
    assert look_at("h265", annexb(TRAIL5, TRAIL5), H265Track()).is_several
    assert not look_at("h264", annexb(second), TRACK).begins
    assert look_at("h264", annexb(P, P, P), TRACK).is_several
    assert look_at("h264", annexb(b"\x09\xf0", P, b"\x09\xf0", P), TRACK).is_several
    assert not look_at("h265", annexb(b"\x02\x01\x50"), H265Track()).begins


@pytest.mark.parametrize(
    ("head", "found"),
    [
        (b"\xff\xd8\xff\xe0" + bytes(40), "JPEG"),
        (b"\0\0\0\x18ftypisom" + bytes(12), "an MP4 file"),
        ((b"\x47" + bytes(187)) * 2, "an MPEG transport stream"),
        (b"\x1a\x45\xdf\xa3" + bytes(9), "a Matroska file"),
        (b"nothing known", ""),
    ],
)
def test_files_are_known_by_their_begin(head, found):
    assert signature_of(head) == found


@pytest.mark.parametrize("factor", [1, 1.5, 2, 3, 4])
def test_raw_pictures_are_known_by_their_size(factor):
    data = bytes([9]) * int(256 * factor)
    assert look_at("h264", data, TRACK).found == "raw pictures"
    assert look_at("h264", data, H264Track()).found == "no NAL units"


def test_arrays_are_known_by_their_items():
    for form in "fdhq":
        array = memoryview(bytearray(800)).cast(form)
        assert look_at("h264", array, TRACK).found == "an array of numbers"
    assert look_at("h264", memoryview(bytearray(192)).cast("B", (8, 8, 3)), TRACK).found == "raw pictures"
    assert look_at("", memoryview(bytearray(8)).cast("d"), TRACK).found == ""


def test_the_codec_of_a_track():
    assert codec_of(H264Track()) == "h264"
    assert codec_of(MjpegTrack(width=2, height=2)) == codec_of(MjpegTrack()) == "mjpeg"
    assert codec_of(PcmTrack()) == "g711"
    pcm = struct.pack("<HHIIHHH", 1, 1, 8000, 16000, 2, 16, 0)
    assert codec_of(Track("A_MS/ACM", "audio/x", cpd=pcm)) == codec_of(Track("V_TEST", "video/x")) == ""


@pytest.mark.parametrize(
    ("codec", "data", "found", "key"),
    [
        ("vp8", b"\x10\0\0\x9d\x01\x2a", "", True),
        ("vp8", b"\x10\0\0\0\0\0", "of no known kind", None),
        ("vp8", b"\x11\0\0\0\0\0", "", False),
        ("vp9", b"\x82\x49\x83\x42", "", True),
        ("vp9", b"\x86\0\0", "", False),
        ("vp9", b"\x12\0\0", "of no known kind", None),
        ("av1", b"\x0a\x01\0\x32\x01\x10", "", True),
        ("av1", b"\x32\x01\x30", "", False),
        ("av1", b"\x0a\x01\0", "", None),
        ("av1", b"\x80\x01\0", "of no known kind", None),
        ("mjpeg", b"\xff\xd8\xff\xe0", "", True),
        ("mjpeg", START + SPS, "H.264 or H.265", None),
        ("aac", b"\xff\xf1\x50\x80\x01\x1f\xfc" + b"\1", "AAC with ADTS headers", None),
        ("aac", b"\xff\xfb\x90\x64" + bytes(9), "MPEG audio (MP3)", None),
        ("g711", b"\xff\xf1\x50\x80\x01\x1f\xfc" + b"\1", "AAC with ADTS headers", None),
        ("g711", b"\xff\xf1\x50\x80\x01\x1f\xfc", "", None),
        ("aac", b"\x56\xe0\x05" + bytes(5), "AAC in LATM", None),
        ("aac", bytes([0x21]) + bytes(2000), "PCM samples, or several frames in one", None),
        ("aac", b"\x21\x10\x07", "", None),
        ("opus", b"OpusHead\1", "of no known kind", None),
        ("opus", b"OggS\0", "Ogg pages", None),
    ],
)
def test_first_bytes_of_other_codecs(codec, data, found, key):
    look = look_at(codec, data, Track("X", "x/x"))
    assert (look.found, look.key) == (found, key)
