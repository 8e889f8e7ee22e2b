"""Packets of one video stream as they go out. Goal: framing that the core takes, whatever the container did."""

import struct

import pytest
from unit.sources.clips import BASELINE, MEDIA, packets

from kvspic.sources import nal
from kvspic.sources.codecs import bitmap_info
from kvspic.sources.pictures import Av1Pictures, JpegPictures, NalPictures

H264 = "video/h264"
SPS, PPS, IDR = b"\x67\x42\0\x1e\x88", b"\x68\xce\x38", b"\x65\x88\x84\0"
P_SLICE = b"\x41\x9a\x20\0"


class Packet(bytearray):
    """What is looked at in a packet."""

    def __init__(self, data, key=False, private=None):
        super().__init__(data)
        self.is_keyframe, self._private = key, private

    def has_sidedata(self, name):
        return name == "new_extradata" and self._private is not None

    def get_sidedata(self, name):
        return self._private


def annexb(*units):
    return b"".join(nal.ANNEXB_PREFIX + unit for unit in units)


def lengths(*units, size=4):
    return b"".join(len(unit).to_bytes(size, "big") + unit for unit in units)


def avcc(*sets, size=4):
    sps = b"".join(struct.pack(">H", len(unit)) + unit for unit in sets if unit[0] & 31 == 7)
    pps = b"".join(struct.pack(">H", len(unit)) + unit for unit in sets if unit[0] & 31 == 8)
    return b"\1\x42\0\x1e" + bytes((0xFC | size - 1, 0xE0 | bool(sps))) + sps + bytes((bool(pps),)) + pps


def test_packets_that_are_described_fully_go_out_as_they_came():
    pictures = NalPictures(H264, avcc(SPS, PPS), None)
    packet = Packet(lengths(IDR), key=True)
    assert pictures.take(packet) == (packet, True)
    assert pictures.take(packet)[0] is packet
    assert (pictures.nal, pictures.private) == ("avcc", avcc(SPS, PPS))


@pytest.mark.parametrize("size", [1, 2, 3])
def test_short_lengths_become_start_codes(size):
    pictures = NalPictures(H264, avcc(SPS, PPS, size=size), None)
    assert pictures.take(Packet(lengths(IDR, P_SLICE, size=size))) == (annexb(IDR, P_SLICE), True)
    assert (pictures.nal, pictures.private) == ("annexb", annexb(SPS, PPS))


@pytest.mark.parametrize("private", [avcc(), None, b""])
def test_sets_that_only_the_pictures_have_describe_the_track(private):
    first = Packet(lengths(SPS, PPS, IDR), key=True)
    pictures = NalPictures(H264, private, first)
    assert (pictures.nal, pictures.private) == ("annexb", annexb(SPS, PPS))
    assert pictures.take(first) == (annexb(SPS, PPS, IDR), True)


@pytest.mark.parametrize("rest", [b"\0", b"\0\0\0"])
def test_stray_zeros_behind_the_last_unit_are_left_out(rest):
    pictures = NalPictures(H264, avcc(SPS, PPS), None)
    assert bytes(pictures.take(Packet(lengths(IDR) + rest))[0]) == lengths(IDR)


def test_start_codes_under_avcc_stay_start_codes():
    pictures = NalPictures(H264, avcc(SPS, PPS), None)
    packet = Packet(annexb(IDR))
    assert pictures.take(packet) == (packet, True)


def test_what_is_no_framing_is_left_to_the_core():
    pictures = NalPictures(H264, avcc(SPS, PPS), None)
    packet = Packet(b"\0\0\0\x09half of it")
    assert pictures.take(packet)[0] is packet


def test_a_new_description_from_the_demuxer_is_given_once():
    pictures = NalPictures(H264, avcc(SPS, PPS), None)
    other = avcc(SPS + b"\1", PPS)
    assert pictures.change(Packet(b"", private=avcc(SPS, PPS))) is None
    assert pictures.change(Packet(b"", private=other)) == other
    assert pictures.change(Packet(b"", private=other)) is None
    assert pictures.change(Packet(b"")) is None


def test_a_new_description_may_change_the_framing():
    pictures = NalPictures(H264, avcc(SPS, PPS), None)
    assert pictures.change(Packet(b"", private=avcc(SPS, PPS, size=2))) == annexb(SPS, PPS)
    assert pictures.take(Packet(lengths(IDR, size=2)))[0] == annexb(IDR)
    assert pictures.change(Packet(b"", private=avcc(SPS, PPS))) == avcc(SPS, PPS)
    assert pictures.take(Packet(lengths(IDR)))[0] == lengths(IDR)


def test_a_version_of_pyav_without_side_data_shows_no_change():
    pictures = NalPictures(H264, avcc(SPS, PPS), None)
    assert pictures.change(bytearray(lengths(IDR))) is None


def test_a_clip_keeps_its_key_flags():
    with_lengths = packets(BASELINE)
    pictures = NalPictures(H264, avcc(SPS, PPS), None)
    flags = [pictures.take(Packet(packet.data, packet.is_keyframe))[1] for packet in with_lengths]
    assert flags == [packet.is_keyframe for packet in with_lengths]


def test_motion_jpeg_says_when_its_size_changes():
    picture = packets(MEDIA / "mjpeg_320x240_10fps.mjpeg")[0].data
    place = picture.index(b"\xff\xc0") + 5
    larger = picture[:place] + struct.pack(">HH", 480, 640) + picture[place + 4 :]
    pictures = JpegPictures(320, 240)
    assert [pictures.change(Packet(data)) for data in (picture, larger, larger, picture, b"no picture")] == [
        None, bitmap_info(640, 480), None, bitmap_info(320, 240), None
    ]  # fmt: skip


def test_av1_loses_its_delimiters_and_keeps_the_rest():
    delimiter, header, frame = b"\x12\0", b"\x0a\x0d\x20\0\0\x04\x3c\xff\xbc\xda\xf9\x20\x21\xa0\x04", b"\x32\2ab"
    pictures = Av1Pictures(None, Packet(delimiter + header + frame))
    assert pictures.private == bytes.fromhex("81200000") + header
    assert pictures.take(Packet(delimiter + header + frame, key=True)) == (header + frame, True)
    bare = Packet(frame)
    assert pictures.take(bare)[0] is bare
    assert pictures.change(Packet(header + frame, key=True)) is None


def test_av1_that_is_described_keeps_its_description():
    own = bytes.fromhex("81040c00")
    assert Av1Pictures(own, None).private == own
