"""Sources over a demuxer. Goal: every packet comes out with the same bytes and time, described for Matroska."""

import io
from fractions import Fraction

import av
import pytest
from unit.sources.clips import (
    ANNEXB,
    B_FRAMES,
    BASELINE,
    CLIPS,
    MEDIA,
    OPEN_GOP,
    SOUND_AND_PICTURE,
    TIMED,
    packets,
    remux,
)

from kvspic.sources import Source, SourceError, UnsupportedCodecError, open_source

RATES = {"25fps": 25, "30fps": 30}


def frames_of(path, **options):
    with open_source(path, **options) as source:
        return source.tracks, list(source.frames())


@pytest.mark.parametrize("name", TIMED)
def test_every_packet_of_a_container_comes_out_with_its_bytes_and_times(name):
    tracks, frames = frames_of(MEDIA / name)
    wanted = packets(MEDIA / name)
    assert len(frames) == len(wanted)
    for frame, packet in zip(frames, wanted):
        assert bytes(frame.data) == packet.data
        times = [(frame.pts_ns, packet.pts), (frame.duration_ns, packet.duration)]
        times += [] if name.endswith((".mkv", ".webm")) else [(frame.dts_ns, packet.dts)]
        for ns, ticks in times:
            assert ns == ticks * packet.time_base.numerator * 10**7 // packet.time_base.denominator * 100
        assert tracks[frame.track - 1].kind == packet.kind
        assert frame.discard == packet.is_discard
        assert frame.key_frame == (packet.is_keyframe and packet.kind == "video")


@pytest.mark.parametrize("name", ANNEXB)
def test_a_raw_stream_keeps_its_bytes_and_gets_times_from_its_own_rate(name):
    (track,), frames = frames_of(MEDIA / name, fps=99)
    rate = next(rate for mark, rate in RATES.items() if mark in name)
    assert b"".join(bytes(frame.data) for frame in frames) == (MEDIA / name).read_bytes()
    assert [frame.pts_ns for frame in frames] == [place * 10**7 // rate * 100 for place in range(len(frames))]
    assert [frame.key_frame for frame in frames] == [packet.is_keyframe for packet in packets(MEDIA / name)]
    assert (track.nal, track.frame_rate_hint) == ("annexb", rate)
    assert track.codec_private.lstrip(b"\0")[:1] == b"\1"


def test_adts_headers_are_taken_off_and_told_in_the_private_data():
    (track,), frames = frames_of(MEDIA / "aac_lc_48000_stereo.aac")
    wanted = packets(MEDIA / "aac_lc_48000_stereo.aac")
    assert [bytes(frame.data) for frame in frames] == [packet.data[7:] for packet in wanted]
    assert [frame.pts_ns for frame in frames] == [place * 1024 * 10**7 // 48000 * 100 for place in range(283)]
    assert (track.codec_id, track.codec_private.hex(), track.sample_rate, track.channels) == ("A_AAC", "1190", 48000, 2)


@pytest.mark.parametrize("name", ["pcm_alaw_8000_mono.wav", "pcm_mulaw_8000_mono.wav"])
def test_g711_comes_in_pieces_of_20_ms(name):
    (track,), frames = frames_of(MEDIA / name)
    assert {len(frame.data) for frame in frames} == {160}
    assert b"".join(frame.data for frame in frames) == b"".join(packet.data for packet in packets(MEDIA / name))
    assert [frame.pts_ns for frame in frames] == [place * 20_000_000 for place in range(300)]
    assert (track.codec_id, track.content_type) == ("A_MS/ACM", f"audio/{'alaw' if 'alaw' in name else 'mulaw'}")
    assert len(track.codec_private) == 18


def test_motion_jpeg_is_split_at_its_images_and_paced_as_asked():
    clip = MEDIA / "mjpeg_320x240_10fps.mjpeg"
    with open_source(clip, fps=10) as source:
        frames = list(source.frames())
        assert source.notices == ()
        assert source.duration_ns == 5 * 10**9
    assert b"".join(bytes(frame.data) for frame in frames) == clip.read_bytes()
    assert all(bytes(frame.data)[:3] == b"\xff\xd8\xff" and frame.key_frame for frame in frames)
    assert [frame.pts_ns for frame in frames] == [place * 10**8 for place in range(50)]


def test_a_rate_that_nobody_knows_is_assumed_and_said():
    with open_source(MEDIA / "mjpeg_320x240_10fps.mjpeg") as source:
        assert "25 frames a second are assumed" in source.notices[0]
        assert source.tracks[0].frame_rate_hint == 25


def test_a_rate_that_the_stream_contradicts_is_not_taken_and_that_is_said():
    with open_source(MEDIA / ANNEXB[0], fps=10) as source:
        assert "says 25 frames a second itself" in source.notices[0]


def test_video_is_track_one_and_frames_keep_the_order_of_the_file():
    with open_source(SOUND_AND_PICTURE) as source:
        assert isinstance(source, Source)
        assert source.content_type == "video/h264,audio/aac"
        assert [(track.number, track.kind) for track in source.tracks] == [(1, "video"), (2, "audio")]
        order = [frame.track for frame in source.frames()]
    assert order == [1 if packet.kind == "video" else 2 for packet in packets(SOUND_AND_PICTURE)]


def test_priming_is_marked_and_given_like_any_frame():
    _, frames = frames_of(SOUND_AND_PICTURE)
    assert [frame.discard for frame in frames if frame.track == 2] == [True] + [False] * 345


@pytest.mark.parametrize(
    "name,seconds",
    [("h264_baseline_320x240_25fps.h264", 8), ("h265_main_aud_640x360_25fps.h265", 8), ("aac_lc_16000_mono.m4a", 6)],
)
def test_the_duration_is_known_even_of_raw_streams(name, seconds):
    with open_source(MEDIA / name) as source:
        assert source.duration_ns == seconds * 10**9
        assert len(list(source.frames())) > 0


def test_packet_data_is_not_copied():
    with open_source(BASELINE) as source:
        frame = next(source.frames())
    assert isinstance(frame.data, av.Packet)
    assert memoryview(frame.data).nbytes == 3854


@pytest.mark.parametrize("clip,form", [(B_FRAMES, "h264"), (OPEN_GOP, "hevc")])
def test_b_frames_without_times_are_refused_with_a_remedy(tmp_path, clip, form):
    raw = remux(clip, tmp_path / "raw", form, f"{form}_mp4toannexb")
    with pytest.raises(SourceError, match="mkvmerge"):
        open_source(raw)


def test_b_frames_of_a_container_without_presentation_times_are_refused_too(tmp_path):
    with pytest.raises(SourceError, match="B frames"):
        open_source(remux(B_FRAMES, tmp_path / "b.avi", "avi", "h264_mp4toannexb"))


def test_matroska_keeps_no_decoding_times_so_none_are_given(tmp_path):
    _, frames = frames_of(remux(B_FRAMES, tmp_path / "b.mkv"))
    _, wanted = frames_of(B_FRAMES)
    assert {frame.dts_ns for frame in frames} == {None}
    first = wanted[0].pts_ns - frames[0].pts_ns
    assert all(abs(one.pts_ns - other.pts_ns - first) <= 1_000_000 for one, other in zip(wanted, frames))


def test_a_transport_stream_begins_at_zero_as_annex_b_and_without_adts(tmp_path):
    tracks, frames = frames_of(remux(SOUND_AND_PICTURE, tmp_path / "av.ts"))
    assert min(frame.pts_ns for frame in frames) == 0
    assert (tracks[0].nal, tracks[1].codec_private.hex()) == ("annexb", "1210")
    sound = [bytes(frame.data) for frame in frames if frame.track == 2]
    assert sound == [packet.data for packet in packets(SOUND_AND_PICTURE) if packet.kind == "audio"]


def test_the_same_clip_in_matroska_gives_the_same_frames(tmp_path):
    tracks, frames = frames_of(remux(SOUND_AND_PICTURE, tmp_path / "av.mkv"))
    assert [track.codec_id for track in tracks] == ["V_MPEG4/ISO/AVC", "A_AAC"]
    _, wanted = frames_of(SOUND_AND_PICTURE)
    for number in (1, 2):
        given = [bytes(frame.data) for frame in frames if frame.track == number]
        assert given == [bytes(frame.data) for frame in wanted if frame.track == number]


def encoded(path, codec, pixel_format="yuv420p"):
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=Fraction(25))
        stream.width, stream.height, stream.pix_fmt = 64, 48, pixel_format
        picture = av.VideoFrame(64, 48, pixel_format)
        for packet in [*stream.encode(picture), *stream.encode(None)]:
            container.mux(packet)
    return path


def test_a_codec_that_cannot_be_packaged_is_named_with_a_remedy(tmp_path):
    with pytest.raises(UnsupportedCodecError, match=r"video ffv1.*ffmpeg"):
        open_source(encoded(tmp_path / "odd.mkv", "ffv1"))


def test_a_file_that_was_cut_is_read_as_far_as_it_goes_and_that_is_said(tmp_path):
    cut = tmp_path / "cut.mp4"
    cut.write_bytes(B_FRAMES.read_bytes()[:100_000])
    with open_source(cut) as source:
        count = len(list(source.frames()))
        assert 0 < count < 200
        missing = (200 - count) / 25
        assert source.notices == (
            f"{cut} was cut: its last {missing:.1f} s are missing, and the rest is read.",
            f"{cut} is damaged: 1 of its frames is left out.",
        )


@pytest.mark.parametrize("name", CLIPS)
def test_every_clip_can_be_read_from_a_pipe(name):
    class Pipe(io.RawIOBase):
        """A file object that can only be read, and not be asked for its place."""

        def __init__(self, data):
            self._file = io.BytesIO(data)

        def readable(self):
            return True

        def readinto(self, buffer):
            return self._file.readinto(buffer)

    with open_source(io.BufferedReader(Pipe((MEDIA / name).read_bytes()))) as source:
        count = sum(1 for _ in source.frames())
    assert count == len(frames_of(MEDIA / name)[1])


def test_a_closed_source_gives_no_more_frames_and_may_be_closed_again():
    source = open_source(SOUND_AND_PICTURE)
    frames = source.frames()
    first = next(frames)
    source.close()
    source.close()
    assert list(frames) == []
    assert len(bytes(first.data)) == 109


def without_vui(stream):
    """An H.264 Baseline stream whose parameter sets end where VUI, and with it the frame rate, would begin."""
    begin = stream.index(b"\0\0\1\x67") + 3
    end = stream.index(b"\0\0\0\1\x68")
    sps = stream[begin:end]
    bits = "".join(f"{byte:08b}" for byte in sps.replace(b"\0\0\3", b"\0\0"))
    place = 32
    for step in "eeee1ee11":  # ITU-T H.264 section 7.3.2.1.1, up to frame_cropping_flag
        place += 1 if step == "1" else 2 * bits.index("1", place) - 2 * place + 1
    assert bits[place : place + 2] == "01"  # no cropping, VUI
    kept = bits[:place] + "001"
    kept += "0" * (-len(kept) % 8)
    return stream.replace(sps, int(kept, 2).to_bytes(len(kept) // 8, "big"))


@pytest.mark.parametrize("fps,rate", [(None, 25), (12.5, 12.5)])
def test_a_raw_stream_without_timing_takes_the_rate_it_is_given(tmp_path, fps, rate):
    silent = tmp_path / "silent.h264"
    silent.write_bytes(without_vui((MEDIA / "h264_baseline_320x240_25fps.h264").read_bytes()))
    with open_source(silent, fps=fps) as source:
        assert bool(source.notices) == (fps is None)
        assert source.duration_ns == 200 / rate * 10**9
        assert [frame.pts_ns for frame in source.frames()] == [place * 10**9 / rate for place in range(200)]
