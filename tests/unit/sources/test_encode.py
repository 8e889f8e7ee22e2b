"""Sources that make frames. Goal: pictures come out as H.264 at their times, and a test pattern runs by itself."""

import itertools
from fractions import Fraction

import av
import numpy as np
import pytest
from unit.sources.clips import MEDIA

import kvspic
from kvspic.local.server import LocalEndpoint
from kvspic.sources import NumpyEncoder, SourceError, SourceOptionError, TestPattern, encode_frames, open_source


@pytest.fixture
def endpoint(tmp_path):
    with LocalEndpoint.run_in_thread(data_dir=tmp_path / "data") as running:
        yield running


def pictures(count, height=48, width=64):
    for place in range(count):
        yield np.full((height, width, 3), place * 10 % 256, dtype=np.uint8)


def decode(track, frames):
    context = av.CodecContext.create("h264", "r")
    context.extradata = track.codec_private
    decoded = [picture for frame in frames for picture in context.decode(av.Packet(bytes(frame.data)))]
    return decoded + context.decode(None)


def test_pictures_become_h264_that_shows_them():
    with encode_frames(pictures(20), fps=10, gop=5) as source:
        (track,) = source.tracks
        frames = list(source.frames())
    assert (track.codec_id, track.nal, track.width, track.height) == ("V_MPEG4/ISO/AVC", "annexb", 64, 48)
    assert [frame.pts_ns for frame in frames] == [place * 10**8 for place in range(20)]
    assert [place for place, frame in enumerate(frames) if frame.key_frame] == [0, 5, 10, 15]
    shown = [picture.to_ndarray(format="rgb24").mean() for picture in decode(track, frames)]
    assert shown == pytest.approx([place * 10 for place in range(20)], abs=4)


def test_a_picture_comes_out_at_once_and_at_the_time_it_was_given():
    encoder = NumpyEncoder(64, 48, fps=30)
    times = [0, 17_000_000, 500_000_000]
    for time, picture in zip(times, pictures(3)):
        (frame,) = encoder.encode(picture, pts_ns=time)
        assert (frame.pts_ns, frame.dts_ns) == (time, time)
    assert encoder.flush() == []


def test_a_camera_s_own_pixel_order_is_understood():
    encoder = NumpyEncoder(64, 48, fps=30, pixel_format="bgr24")
    blue = np.zeros((48, 64, 3), dtype=np.uint8)
    blue[:, :, 0] = 200
    (picture,) = decode(encoder.track, encoder.encode(blue))
    assert picture.to_ndarray(format="rgb24").mean(axis=(0, 1)) == pytest.approx([0, 0, 200], abs=12)


@pytest.mark.parametrize(
    "wrong", [np.zeros((48, 62, 3), np.uint8), np.zeros((48, 64), np.uint8), np.zeros((48, 64, 3), np.float32), "text"]
)
def test_a_picture_of_another_size_or_type_is_refused(wrong):
    encoder = NumpyEncoder(64, 48, fps=30)
    with pytest.raises(SourceError, match="picture"):
        encoder.encode(wrong)
    assert len(encoder.encode(next(pictures(1)))) == 1


@pytest.mark.parametrize("width,height,fps", [(63, 48, 30), (64, 0, 30), (9000, 48, 30), (64, 48, 0), (64, 48, 5000)])
def test_what_cannot_be_encoded_is_refused_at_once(width, height, fps):
    with pytest.raises(SourceOptionError):
        NumpyEncoder(width, height, fps=fps)


@pytest.mark.parametrize("nothing", [[], ["text"], [None]])
def test_no_picture_is_refused(nothing):
    with pytest.raises(SourceError, match="picture"):
        encode_frames(nothing, fps=10)


def test_the_test_pattern_runs_for_its_duration_with_a_key_picture_every_two_seconds():
    with open_source("testsrc:width=64,height=48,fps=10,duration=5") as source:
        frames = list(source.frames())
        assert (source.duration_ns, source.content_type) == (5 * 10**9, "video/h264")
    assert [frame.pts_ns for frame in frames] == [place * 10**8 for place in range(50)]
    assert [place for place, frame in enumerate(frames) if frame.key_frame] == [0, 20, 40]
    shown = [picture.to_ndarray() for picture in decode(source.tracks[0], frames)]
    assert len(shown) == 50
    assert all((one != other).any() for one, other in itertools.pairwise(shown))


def test_the_test_pattern_may_beep():
    with open_source("testsrc:width=64,height=48,duration=1,audio") as source:
        frames = list(source.frames())
        assert source.content_type == "video/h264,audio/aac"
    sound = [frame for frame in frames if frame.track == 2]
    assert [frame.pts_ns for frame in sound[:3]] == [-21_333_400, 0, 21_333_300]
    assert [frame.discard for frame in sound[:2]] == [True, False]
    assert 46 <= len(sound) <= 48
    assert not any(frame.key_frame for frame in sound)


def test_the_test_pattern_can_go_on_for_ever():
    with open_source("testsrc:width=64,height=48,duration=0,fps=10") as source:
        assert source.duration_ns is None
        last = [frame for _, frame in zip(range(60), source.frames())][-1]
    assert last.pts_ns == 5_900_000_000
    assert list(source.frames()) == []


def test_the_rate_of_the_command_line_counts_for_the_test_pattern():
    with open_source("testsrc:width=64,height=48,duration=1", fps=Fraction(30000, 1001)) as source:
        assert len(list(source.frames())) == 30


def test_options_are_read_and_default():
    assert TestPattern.parse("testsrc") == TestPattern()
    assert TestPattern.parse("testsrc:fps=30000/1001,gop=7").fps == Fraction(30000, 1001)


@pytest.mark.parametrize("text", ["testsrc:size=3", "testsrc:width=wide", "testsrc:fps=1/0", "testsrc:duration=-1"])
def test_an_option_that_makes_no_sense_is_refused_with_what_would(text):
    with pytest.raises(SourceOptionError, match="testsrc"):
        open_source(text)


def test_no_clip_is_needed_for_any_of_this():
    assert not (MEDIA / "testsrc").exists()


def test_a_cut_of_the_scene_makes_no_fragment_of_its_own():
    encoder = NumpyEncoder(64, 48, fps=25)
    cuts = [np.full((48, 64, 3), 255 * (place // 7 % 2), dtype=np.uint8) for place in range(100)]
    frames = [frame for picture in cuts for frame in encoder.encode(picture)]
    assert [place for place, frame in enumerate(frames) if frame.key_frame] == [0, 50]


def test_put_takes_frames_of_an_encoder_by_its_track(endpoint):
    encoder = NumpyEncoder(64, 48, fps=25)
    with kvspic.Producer(endpoint_url=endpoint.url) as producer:
        with producer.open_stream("numpy", encoder.track) as stream:
            for picture in pictures(50):
                for frame in encoder.encode(picture):
                    stream.put_frame(frame.data, **frame.put_options(1_700_000_000_000_000_000))
        assert stream.report.frames_done == 50
        assert stream.report.media_problems == 0
