"""Types. Goal: keywords are the options, tracks bring the private data of their codec, sums are sums."""

import dataclasses
from datetime import timedelta

import pytest

from kvspic import types
from kvspic.types import (
    AacTrack,
    DropReason,
    H264Track,
    MjpegTrack,
    PcmTrack,
    StreamKeywords,
    StreamOptions,
    StreamReport,
    Track,
    hns,
)


def test_each_option_is_a_keyword():
    assert set(StreamKeywords.__annotations__) == {field.name for field in dataclasses.fields(StreamOptions)}


def test_durations_become_ticks_exactly():
    assert hns(timedelta(hours=24)) == 864_000_000_000
    assert hns(timedelta(microseconds=1)) == 10


@pytest.mark.parametrize(
    ("track", "cpd"),
    [
        (AacTrack(sample_rate=48000, channels=2), "1190"),
        (AacTrack(sample_rate=16000, channels=1), "1408"),
        (AacTrack(sample_rate=48000, channels=2, cpd=b"\x12\x10"), "1210"),
        (PcmTrack(law="alaw"), "06000100401f0000401f0000010008000000"),
        (PcmTrack(law="mulaw", sample_rate=16000), "07000100803e0000803e0000010008000000"),
    ],
)
def test_audio_tracks_make_their_private_data(track, cpd):
    assert track.cpd.hex() == cpd


def test_motion_jpeg_says_its_size_and_name():
    made = MjpegTrack(width=320, height=240).cpd
    assert len(made) == 40
    assert made[16:20] == b"MJPG"


def test_a_rate_that_aac_does_not_have_makes_no_private_data():
    assert AacTrack(sample_rate=12345, channels=2).cpd is None


def test_a_report_tells_what_never_came_to_the_ledger_too():
    zeros = dict.fromkeys([field.name for field in dataclasses.fields(StreamReport)], 0)
    made = StreamReport(**(zeros | {"name": "door", "dropped": {}, "frames_put": 7, "frames_held": 3}))
    assert made.frames_offered == 10
    assert str(made).endswith("; 3 more held, 0 expired")
    assert "held" not in str(dataclasses.replace(made, frames_held=0))


def test_g711_knows_two_laws():
    assert PcmTrack(law="mulaw").content_type == "audio/mulaw"
    with pytest.raises(ValueError, match="alaw"):
        PcmTrack(law="blaw")


@dataclasses.dataclass(frozen=True)
class SourceTrack:
    number: int = 2
    kind: str = "audio"
    codec_id: str = "A_AAC"
    name: str = "sound"
    codec_private: bytes | None = b"\x11\x90"
    content_type: str = "audio/aac"
    width: int = 0
    height: int = 0
    sample_rate: int = 48000
    channels: int = 2
    bit_depth: int = 0
    nal: str | None = None
    is_independent: bool = False


def test_a_track_of_a_source_becomes_a_track():
    expected = Track("A_AAC", "audio/aac", types.TrackType.AUDIO, 2, "sound", b"\x11\x90", 0, 0, 48000, 2, 0, False)
    assert types.track_of(SourceTrack()) == expected
    assert types.track_of(SourceTrack(kind="video", nal="avcc")).nal


def test_a_track_stays_itself():
    track = H264Track()
    assert types.track_of(track) is track


def metrics(**fields) -> types.StreamMetrics:
    names = [field.name for field in dataclasses.fields(types.StreamMetrics)]
    blank = dict.fromkeys(names, 0) | {"state": types.StreamState.STREAMING, "dropped": {}}
    return types.StreamMetrics(**(blank | fields))


def test_the_ledger_adds_up_over_all_reasons():
    dropped = {DropReason.SKIPPED: 2, DropReason.RESET: 3}
    found = metrics(frames_put=10, frames_done=4, frames_buffered=1, dropped=dropped)
    assert found.frames_dropped == 5
    assert found.adds_up


@pytest.mark.parametrize("fields", [{"frames_put": 1}, {"bytes_put": 1}, {"frames_done": 1}, {"bytes_dropped": 1}])
def test_a_ledger_that_does_not_add_up_shows(fields):
    assert not metrics(**fields).adds_up
