"""The table of codecs. Goal: what is written elsewhere of a codec agrees with it, so that one row brings a codec in."""

import pytest

from kvspic import types
from kvspic.codec_table import CODEC_OF_ID, CODECS
from kvspic.media_bits import READERS

NAL_CODECS = {"h264", "h265"}


@pytest.mark.parametrize(
    ("track", "name"),
    [
        (types.H264Track, "h264"),
        (types.H265Track, "hevc"),
        (types.MjpegTrack, "mjpeg"),
        (types.AacTrack, "aac"),
    ],
)
def test_a_class_of_tracks_has_the_names_of_the_table(track, name):
    made, codec = track(), CODECS[name]
    assert (made.codec_id, made.content_type) == (codec.codec_id, codec.content_type)


@pytest.mark.parametrize("law", ["alaw", "mulaw"])
def test_g711_has_the_names_of_the_table(law):
    made, codec = types.PcmTrack(law=law), CODECS[f"pcm_{law}"]
    assert (made.codec_id, made.content_type, made.bit_depth) == (codec.codec_id, codec.content_type, codec.bit_depth)


def test_each_codec_whose_frames_are_looked_at_has_a_reader():
    assert {codec.name for codec in CODECS.values() if codec.name} == NAL_CODECS | set(READERS)


def test_matroska_ids_fit_the_core():
    assert all(1 <= len(codec_id) <= 32 for codec_id in CODEC_OF_ID)
