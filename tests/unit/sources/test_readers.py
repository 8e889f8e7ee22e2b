"""From packets to frames. Goal: times exact over a long stream, pieces whole whatever the cuts."""

from fractions import Fraction
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kvspic.sources import SourceError, SourceTrack
from kvspic.sources.demux import UNLIKELY_RATE, _own_rate
from kvspic.sources.pictures import NalPictures, Pictures
from kvspic.sources.readers import PcmReader, RawReader, TimedReader, Timing

VIDEO = SourceTrack(1, "video", "V_MPEG4/ISO/AVC", "", None, "video/h265", nal="annexb")
SOUND = SourceTrack(1, "audio", "A_MS/ACM", "", b"", "audio/alaw", sample_rate=8000, channels=1, bit_depth=8)
RAW_BASE = Fraction(1, 1_200_000)


class Packet(bytearray):
    """What readers look at in a packet."""

    def __init__(self, data=b"x", pts=0, dts=0, duration=1, base=Fraction(1, 1000), has_b_frames=False):
        super().__init__(data)
        self.pts, self.dts, self.duration, self.time_base = pts, dts, duration, base
        self.is_keyframe, self.is_discard = True, False
        self.stream = SimpleNamespace(codec_context=SimpleNamespace(has_b_frames=has_b_frames))


def test_a_day_of_a_fractional_rate_does_not_drift():
    reader = RawReader(VIDEO, Fraction(30000, 1001), Pictures(None))
    reader._halves = 2 * 24 * 3600 * 30
    (frame,) = reader.read(Packet(duration=40040, base=RAW_BASE))
    assert frame.pts_ns == 24 * 3600 * 30 * 1001 * 10**7 // 30000 * 100


def test_a_picture_that_is_held_longer_moves_those_after_it():
    reader = RawReader(VIDEO, Fraction(25), Pictures(None))
    frames = [frame for span in (48000, 72000, 48000) for frame in reader.read(Packet(duration=span, base=RAW_BASE))]
    assert [frame.pts_ns for frame in frames] == [0, 40_000_000, 100_000_000]
    assert [frame.duration_ns for frame in frames] == [40_000_000, 60_000_000, 40_000_000]


P_SLICE, B_SLICE = b"\0\0\1\x41\x9a\x20\0", b"\0\0\1\x01\x9e\x20\0"


def read(reader, *packets):
    return [frame for packet in packets for frame in reader.read(packet)]


def test_a_format_without_decoding_times_gives_none_whatever_its_demuxer_guessed():
    reader = TimedReader(VIDEO, Timing(has_dts=False), Pictures(None))
    frames = read(reader, Packet(pts=0, dts=None), Packet(pts=120, dts=40), Packet(pts=40, dts=80))
    assert [(frame.pts_ns, frame.dts_ns, frame.order_ns) for frame in frames] == [
        (time, None, time) for time in (0, 120_000_000, 40_000_000)
    ]


def test_a_decoding_time_alone_serves_where_pictures_keep_their_order():
    reader = TimedReader(VIDEO, Timing(), NalPictures("video/h264", None, None))
    (frame,) = reader.read(Packet(P_SLICE, pts=None, dts=40))
    assert frame.pts_ns == 40_000_000
    with pytest.raises(SourceError, match="B frames"):
        list(reader.read(Packet(B_SLICE, pts=None, dts=80)))


@pytest.mark.parametrize("duration,step_ms", [(40, 40), (0, 50)])
def test_a_packet_without_times_follows_the_one_before_by_its_length_or_the_rate(duration, step_ms):
    reader = TimedReader(VIDEO, Timing(rate=Fraction(20)), NalPictures("video/h264", None, None))
    packets = [Packet(P_SLICE, pts, pts, duration) for pts in (None, None, 500, None)]
    frames = read(reader, *packets)
    assert [frame.pts_ns // 1_000_000 for frame in frames] == [0, step_ms, 500, 500 + step_ms]
    assert [frame.dts_ns for frame in frames] == [None, None, 500_000_000, None]


def test_first_packets_without_times_lie_before_the_first_that_has_one():
    reader = TimedReader(VIDEO, Timing(first_pts=420), NalPictures("video/h264", None, None))
    frames = read(reader, *(Packet(P_SLICE, pts, pts, 40) for pts in (None, None, 500)))
    assert [frame.pts_ns // 1_000_000 for frame in frames] == [420, 460, 500]


def test_a_length_that_no_picture_can_have_is_that_of_a_usual_one():
    reader = RawReader(VIDEO, Fraction(25), Pictures(None))
    frames = read(reader, *(Packet(duration=span, base=RAW_BASE) for span in (48036, 1, 0, 48036)))
    assert [frame.pts_ns for frame in frames] == [0, 40_000_000, 80_000_000, 120_000_000]


@given(st.lists(st.binary(max_size=700), max_size=12))
def test_samples_come_in_whole_pieces_however_they_were_cut(chunks):
    reader = PcmReader(SOUND)
    frames = [frame for chunk in chunks for frame in reader.read(Packet(chunk))]
    frames += reader.flush()
    assert b"".join(frame.data for frame in frames) == b"".join(chunks)
    assert all(len(frame.data) == 160 for frame in frames[:-1])
    assert [frame.pts_ns for frame in frames] == [place * 20_000_000 for place in range(len(frames))]


def test_a_rate_that_a_demuxer_made_up_is_not_the_stream_s_own():
    made_up = Packet(duration=round(1_200_000 / UNLIKELY_RATE), base=RAW_BASE)
    assert _own_rate(made_up, Fraction(25)) is None
    assert _own_rate(Packet(duration=40040, base=RAW_BASE), Fraction(30000, 1001)) == Fraction(30000, 1001)
    assert _own_rate(Packet(duration=48000, base=RAW_BASE), Fraction(50)) == 25
    assert _own_rate(Packet(duration=0, base=RAW_BASE), None) is None
