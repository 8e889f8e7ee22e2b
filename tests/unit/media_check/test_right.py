"""The media check and programs that do it right. Goal: they never hear of it, and it never gets in their way."""

import asyncio
import dataclasses
import re
import time
from datetime import timedelta
from fractions import Fraction

import pytest
from unit.media_check.uploads import (
    B_FRAMES,
    H264,
    STEP,
    S,
    Seen,
    assert_signs,
    assert_silent,
    frames_of,
    pieces,
    putting,
    tracks_of,
)

import kvspic
from kvspic.sources import open_source

av = pytest.importorskip("av")
numpy = pytest.importorskip("numpy")


# ---- what is right is left alone


CLIPS = [
    *("aac_lc_16000_mono.m4a", "aac_lc_48000_stereo.aac", "av1_320x240_25fps.mkv"),
    *("av_h264_main_aac_44100_640x360_25fps.mp4", H264 + ".h264", H264 + ".mp4"),
    *("h264_high_640x360_25fps.h264", B_FRAMES),
    *("h264_main_aud_2slices_640x360_30fps.h264", "h265_main_aud_640x360_25fps.h265"),
    *("h265_main_opengop_320x240_25fps.mp4", "mjpeg_320x240_10fps.mjpeg", "opus_48000_stereo.ogg"),
    *("pcm_alaw_8000_mono.wav", "pcm_mulaw_8000_mono.wav", "vp9_320x240_25fps.webm"),
]


def test_every_clip_is_tried(media_dir):
    assert {path.name for path in media_dir.iterdir() if path.suffix != ".md"} == set(CLIPS)


@pytest.mark.parametrize("is_offline", [False, True])
@pytest.mark.parametrize("clip", CLIPS)
def test_a_clip_that_is_put_rightly_is_no_problem(upload, media_dir, clip, is_offline):
    tracks, frames = tracks_of(media_dir, clip), list(frames_of(media_dir, clip))
    assert_silent(upload(tracks, putting(frames), offline=is_offline))


def encoded(codec, options):
    """Packets of 12 s of moving pictures from an encoder."""
    context = av.CodecContext.create(codec, "w")
    context.width, context.height, context.pix_fmt, context.options = 96, 64, "yuv420p", options
    context.time_base, context.framerate = Fraction(1, 25), Fraction(25)
    packets = []
    for number in range(300):
        picture = av.VideoFrame.from_ndarray(numpy.roll(PICTURE, number, axis=1), format="rgb24")
        picture.pts, picture.time_base = number, Fraction(1, 25)
        packets += context.encode(picture)
    return packets + context.encode(None)


PICTURE = numpy.random.default_rng(7).integers(0, 255, (64, 96, 3), numpy.uint8)


def putting_packets(packets):
    def put(stream):
        base = time.time_ns() - 60 * S
        for packet in packets:
            pts, dts = (base + (ticks + 2) * STEP for ticks in (packet.pts, packet.dts))
            stream.put_frame(packet, pts=pts, dts=dts, key_frame=packet.is_keyframe)

    return put


@pytest.mark.parametrize(
    ("codec", "params"),
    [
        ("libx264", "keyint=50:bframes=0"),
        ("libx264", "keyint=50:bframes=3:b-pyramid=normal:open-gop=1"),
        ("libx264", "keyint=50:intra-refresh=1:bframes=0"),
        ("libx264", "keyint=50:slices=4:aud=1:bframes=0"),
        ("libx264", "keyint=50:interlaced=1:bframes=2"),
        ("libx265", "log-level=none:keyint=50:bframes=0"),
        ("libx265", "log-level=none:keyint=50:bframes=3:open-gop=1"),
        ("libx265", "log-level=none:keyint=50:intra-refresh=1:bframes=0"),
    ],
)
def test_an_encoder_with_unusual_settings_is_no_problem(upload, codec, params):
    if codec not in av.codecs_available:
        pytest.skip(f"this PyAV has no {codec}")
    packets = encoded(codec, {f"{codec[3:]}-params": params, "preset": "ultrafast"})
    track = kvspic.H264Track() if codec == "libx264" else kvspic.H265Track()
    assert_silent(upload([track], putting_packets(packets)))


def test_the_test_pattern_with_sound_is_no_problem(upload):
    with open_source("testsrc:width=64,height=48,duration=4,audio=1") as source:
        assert_silent(upload(source.tracks, putting(source.frames())))


def test_buffers_of_every_kind_are_looked_at(upload, media_dir):
    kinds = (bytes, bytearray, memoryview, lambda data: numpy.frombuffer(data, numpy.uint8), av.Packet)
    frames = list(frames_of(media_dir, H264 + ".h264"))
    for kind in kinds:
        copies = [dataclasses.replace(frame, data=kind(bytes(frame.data))) for frame in frames]
        assert_silent(upload([kvspic.H264Track()], putting(copies)))


def test_parameter_sets_in_a_call_before_the_first_picture_are_no_problem(upload, media_dir):
    track = tracks_of(media_dir, B_FRAMES)[0]
    frames = list(frames_of(media_dir, B_FRAMES))
    sets = dataclasses.replace(frames[0], data=parameter_sets(track.cpd), key_frame=False)
    assert_silent(upload([kvspic.H264Track()], putting([sets, *frames])))


def test_parameter_sets_in_a_call_each_are_no_problem(upload, media_dir):
    frames = []
    for frame in frames_of(media_dir, H264 + ".h264"):
        units = [unit for unit in re.split(rb"\x00*\x00\x00\x01", bytes(frame.data)) if unit]
        sets = [unit for unit in units if unit[0] & 31 in (7, 8)]
        rest = b"".join(b"\0\0\0\1" + unit for unit in units if unit not in sets)
        frames += [dataclasses.replace(frame, data=b"\0\0\0\1" + unit) for unit in sets]
        frames.append(dataclasses.replace(frame, data=rest))
    assert_silent(upload([kvspic.H264Track()], putting(frames)))


def test_sound_that_comes_in_bursts_or_has_holes_is_no_problem(upload, media_dir):
    frames = [bytes(frame.data) for frame in frames_of(media_dir, "aac_lc_48000_stereo.aac")]
    step = 1024 * S // 48000
    track = kvspic.AacTrack(sample_rate=48000, channels=2)
    bursts = [number // 4 * 4 * step + number % 4 * 2_000_000 for number in range(len(frames))]
    holes = [number * step + number // 20 * 400_000_000 for number in range(len(frames))]
    for times in (bursts, holes):
        base = time.time_ns() - 60 * S
        puts = list(zip(frames, times))
        assert_silent(upload([track], lambda s, p=puts, b=base: [s.put_frame(f, pts=b + at) for f, at in p]))


def parameter_sets(avcc):
    """The parameter sets of an avcC, each with a length of four bytes."""
    sps_size = int.from_bytes(avcc[6:8], "big")
    pps_at = 8 + sps_size + 1
    pps_size = int.from_bytes(avcc[pps_at : pps_at + 2], "big")
    pairs = (avcc[8 : 8 + sps_size], avcc[pps_at + 2 : pps_at + 2 + pps_size])
    return b"".join(len(unit).to_bytes(4, "big") + unit for unit in pairs)


def test_pictures_as_columns_of_bytes_are_no_problem(upload, media_dir):
    frames = [
        dataclasses.replace(frame, data=numpy.frombuffer(bytes(frame.data), numpy.uint8).reshape(-1, 1))
        for frame in frames_of(media_dir, "mjpeg_320x240_10fps.mjpeg")
    ]
    assert_silent(upload([kvspic.MjpegTrack(width=320, height=240)], putting(frames)))


def test_a_second_video_track_is_no_problem(upload, media_dir):
    one = list(frames_of(media_dir, H264 + ".h264"))
    other = [dataclasses.replace(frame, track=2) for frame in one]
    both = [frame for pair in zip(one, other) for frame in pair]
    assert_silent(upload([kvspic.H264Track(), kvspic.H264Track()], putting(both)))


def test_one_damaged_frame_is_no_verdict(upload, media_dir):
    frames = list(frames_of(media_dir, H264 + ".h264"))
    frames[7] = dataclasses.replace(frames[7], data=b"\x47damaged" * 20)
    assert_silent(upload([kvspic.H264Track()], putting(frames)))


# ---- the check itself


def test_a_problem_stands_until_a_later_verdict_is_good(producer, caplog, media_dir):
    seen, frames = Seen(caplog), list(frames_of(media_dir, B_FRAMES))
    with producer.open_stream("mended", [kvspic.H264Track()], on_event=seen.on_event) as stream:
        base = time.time_ns() - 60 * S
        for round_ in range(2):
            for frame in frames:
                times = {"pts": frame.pts_ns, "dts": frame.dts_ns}
                times = {name: base + round_ * 8 * S + value for name, value in times.items()}
                stream.put_frame(frame.data, **times, key_frame=frame.key_frame)
            if not round_:
                seen.wait("no-codec-private-data")
                assert "parameter sets" in stream.health().reason
                stream.set_codec_private(1, tracks_of(media_dir, B_FRAMES)[0].cpd)
        assert stream.health().is_healthy
    assert seen.names == ["no-codec-private-data"]


def test_without_the_check_nothing_is_said(upload):
    seen = upload([kvspic.H264Track()], pieces(*[numpy.zeros(500)] * 20), media_check=False)
    assert (seen.names, seen.warnings, seen.report.media_problems) == ([], [], 0)


def test_after_the_verdict_frames_go_straight_to_the_core(media_dir, monkeypatch):
    slow = []
    put_slowly = kvspic.Stream._put_slowly
    monkeypatch.setattr(kvspic.Stream, "_put_slowly", lambda *args: (slow.append(1), put_slowly(*args)))
    frames = list(frames_of(media_dir, H264 + ".h264"))
    with kvspic.Producer(endpoint_url="http://127.0.0.1:9") as producer:  # nothing listens, so no session opens
        stream = producer.open_stream("fast", [kvspic.H264Track()], wait=False)
        putting(frames)(stream)
        stream.close(0)
    assert 10 <= len(slow) <= 60  # until the second key frame


def test_a_silent_track_is_not_waited_for_without_end(media_dir, monkeypatch):
    slow = []
    put_slowly = kvspic.Stream._put_slowly
    monkeypatch.setattr(kvspic.Stream, "_put_slowly", lambda *args: (slow.append(1), put_slowly(*args)))
    frames = list(frames_of(media_dir, H264 + ".h264")) * 4
    tracks = [kvspic.H264Track(), kvspic.AacTrack(sample_rate=48000, channels=2)]
    with kvspic.Producer(endpoint_url="http://127.0.0.1:9") as producer:
        stream = producer.open_stream("silent", tracks, wait=False)
        base = time.time_ns()
        putting(frames, pts=lambda number: base + number * STEP)(stream)
        stream.close(0)
    assert len(slow) < 400


def test_a_fault_of_the_check_is_no_fault_of_the_upload(upload, media_dir, monkeypatch):
    def fail(*args):
        raise RuntimeError("out of order")

    monkeypatch.setattr("kvspic.media_check.look_at", fail)
    seen = upload([kvspic.H264Track()], putting(frames_of(media_dir, H264 + ".h264")))
    assert seen.report.is_complete
    assert seen.names == []
    assert any("media check failed" in warning for warning in seen.warnings)


# ---- by every way into the core


def test_frames_that_go_to_a_spool_are_looked_at(upload, media_dir, tmp_path):
    frames = list(frames_of(media_dir, B_FRAMES))
    seen = upload([kvspic.H264Track()], putting(frames), spool=tmp_path / "bad")
    assert_signs(seen, "no-codec-private-data")
    caplog_before = len(seen.warnings)
    good = upload(tracks_of(media_dir, B_FRAMES), putting(frames), spool=tmp_path / "good")
    assert (good.names, len(good.warnings), good.report.is_complete) == ([], caplog_before, True)


def test_frames_of_a_ring_are_looked_at_before_the_trigger(upload, media_dir):
    frames = list(frames_of(media_dir, H264 + ".h264"))
    seen = upload([kvspic.H265Track()], putting(frames), pre_roll=timedelta(seconds=5))
    assert_signs(seen, "other-codec", "H.264")


@pytest.mark.parametrize("clock", [kvspic.ClockPolicy.ANCHORED, kvspic.ClockPolicy.ARRIVAL])
def test_a_camera_without_a_clock_is_no_problem(upload, media_dir, clock):
    frames = list(frames_of(media_dir, H264 + ".h264"))
    seen = upload([kvspic.H264Track()], putting(frames, pts=lambda number: 90 * S + number * STEP), clock=clock)
    assert_silent(seen)


def test_an_asynchronous_program_sees_the_same(url, caplog, media_dir):
    async def run(seen):
        async with kvspic.AsyncProducer(endpoint_url=url) as producer:
            stream = await producer.open_stream("async-check", [kvspic.H264Track()], on_event=seen.on_event)
            putting(frames_of(media_dir, B_FRAMES))(stream)
            seen.health = stream.health().reason
            seen.report = await stream.close()

    seen = Seen(caplog)
    asyncio.run(run(seen))
    assert_signs(seen, "no-codec-private-data")
    assert seen.health
