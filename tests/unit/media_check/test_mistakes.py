"""The media check, each mistake made as a user makes it. Goal: no upload is silently unplayable.

Real frames of the test clips go to a real endpoint in this process. Each mistake has to be seen in an event, in the
health of the stream, in one warning of the log, and in the report.
"""

import dataclasses
import itertools
import time
from datetime import timedelta

import pytest
from unit.media_check.uploads import (
    B_FRAMES,
    H264,
    H265,
    STEP,
    S,
    Seen,
    assert_signs,
    chunked,
    frames_of,
    pieces,
    putting,
    tracks_of,
)

import kvspic

av = pytest.importorskip("av")
numpy = pytest.importorskip("numpy")


# ---- codec private data


@pytest.mark.parametrize("fps", [25])
def test_frames_of_an_encoder_that_keeps_its_parameter_sets_apart(upload, fps):
    from kvspic.sources.encode import NumpyEncoder

    encoder = NumpyEncoder(64, 64, fps=fps)
    frames = [frame for number in range(60) for frame in encoder.encode(numpy.full((64, 64, 3), number, numpy.uint8))]
    seen = upload([kvspic.H264Track()], putting(frames))
    assert_signs(seen, "no-codec-private-data", "encoder.track", "H264Track(cpd=")
    assert seen.health
    assert upload([encoder.track], putting(frames)).names == []


@pytest.mark.parametrize(
    ("clip", "track"),
    [(B_FRAMES, kvspic.H264Track()), ("h265_main_opengop_320x240_25fps.mp4", kvspic.H265Track())],
)
def test_frames_of_a_container_without_its_extradata(upload, media_dir, clip, track):
    seen = upload([track], putting(frames_of(media_dir, clip)))
    assert_signs(seen, "no-codec-private-data", f"{type(track).__name__}(cpd=bytes(stream.codec_context.extradata))")
    assert seen.health


@pytest.mark.parametrize(
    ("clip", "track", "words"),
    [
        ("aac_lc_16000_mono.m4a", kvspic.AacTrack(), "AacTrack(sample_rate=..., channels=...)"),
        ("opus_48000_stereo.ogg", kvspic.Track("A_OPUS", "audio/opus", kvspic.TrackType.AUDIO), "extradata"),
    ],
)
def test_sound_without_codec_private_data(upload, media_dir, clip, track, words):
    seen = upload([track], putting(frames_of(media_dir, clip)))
    assert_signs(seen, "audio-without-codec-private-data", words)
    assert seen.health


def test_motion_jpeg_without_a_size(upload, media_dir):
    frames = list(frames_of(media_dir, "mjpeg_320x240_10fps.mjpeg"))
    assert_signs(upload([kvspic.MjpegTrack()], putting(frames)), "motion-jpeg-without-size", "width=")
    assert upload([kvspic.MjpegTrack(width=320, height=240)], putting(frames)).names == []


@pytest.mark.parametrize(
    ("clip", "track"),
    [
        ("aac_lc_48000_stereo.aac", kvspic.AacTrack(cpd=b"\xff\xf1\x4c\x80\x01\x1f\xfc")),  # an ADTS header
        ("opus_48000_stereo.ogg", kvspic.Track("A_OPUS", "audio/opus", kvspic.TrackType.AUDIO, cpd=b"\x11\x90")),
        ("mjpeg_320x240_10fps.mjpeg", kvspic.MjpegTrack(cpd=b"MJPG")),
    ],
)
def test_codec_private_data_of_something_else(upload, media_dir, clip, track):
    seen = upload([track], putting(frames_of(media_dir, clip)))
    assert_signs(seen, "codec-private-data-wrong", "that was given with the track")


# ---- bytes


def test_jpeg_in_a_track_of_h264(upload, media_dir):
    pictures = [frame.data for frame in frames_of(media_dir, "mjpeg_320x240_10fps.mjpeg")]
    seen = upload([kvspic.H264Track()], pieces(*pictures))
    assert_signs(seen, "other-codec", "JPEG", "H.264", "MjpegTrack")


@pytest.mark.parametrize("as_bytes", [False, True])
def test_raw_pictures(upload, as_bytes):
    picture = numpy.full((48, 64, 3), 77, numpy.uint8)
    data = picture.tobytes() if as_bytes else picture
    seen = upload([kvspic.H264Track(width=64, height=48)], pieces(*[data] * 20))
    assert_signs(seen, "raw-pictures", "NumpyEncoder", "encoder.track")


def test_arrays_of_floats(upload):
    seen = upload([kvspic.H264Track()], pieces(*[numpy.random.default_rng(1).random(500)] * 20))
    assert_signs(seen, "array-of-numbers", "NumpyEncoder")


@pytest.mark.parametrize(
    ("clip", "track", "found"),
    [(H265, kvspic.H264Track(), "H.265"), (H264 + ".h264", kvspic.H265Track(), "H.264")],
)
def test_the_other_codec_of_the_two(upload, media_dir, clip, track, found):
    seen = upload([track], putting(frames_of(media_dir, clip)))
    assert_signs(seen, "other-codec", f"look like {found}", found.replace(".", "") + "Track")
    assert seen.health


@pytest.mark.parametrize("clip", [H264 + ".h264", H265])
def test_half_frames_out_of_a_pipe(upload, media_dir, clip):
    track = kvspic.H265Track() if clip == H265 else kvspic.H264Track()
    data = (media_dir / clip).read_bytes()
    seen = upload([track], pieces(*chunked(data, 1000)))
    assert_signs(seen, "half-frames", "open_source")


def test_half_pictures_of_motion_jpeg(upload, media_dir):
    data = (media_dir / "mjpeg_320x240_10fps.mjpeg").read_bytes()
    seen = upload([kvspic.MjpegTrack(width=320, height=240)], pieces(*chunked(data, 4096)))
    assert_signs(seen, "half-frames", "whole frame")


def test_slices_in_calls_of_their_own(upload, media_dir):
    data = (media_dir / "h264_main_aud_2slices_640x360_30fps.h264").read_bytes()
    units = [b"\0\0\0\1" + unit for unit in data.replace(b"\0\0\0\1", b"\0\0\1").split(b"\0\0\1")[1:]]
    sets = b"".join(unit for unit in units[:4] if unit[4] & 0x1F in (7, 8))
    slices = [unit for unit in units if unit[4] & 0x1F in (1, 5)]
    slices[0] = sets + slices[0]
    seen = upload([kvspic.H264Track()], pieces(*slices))
    assert_signs(seen, "slices-apart", "one call")


def test_many_pictures_in_a_call(upload, media_dir):
    frames = [bytes(frame.data) for frame in frames_of(media_dir, H264 + ".h264")]
    groups = [b"".join(frames[place : place + 10]) for place in range(0, 200, 10)]
    seen = upload([kvspic.H264Track()], pieces(*groups))
    assert_signs(seen, "several-frames")


def test_two_pictures_in_a_call(upload, media_dir):
    for clip in (H265, "h264_main_aud_2slices_640x360_30fps.h264"):
        frames = [bytes(frame.data) for frame in frames_of(media_dir, clip)]
        pairs = [frames[place] + frames[place + 1] for place in range(0, 100, 2)]
        assert "several-frames" in upload(tracks_of(media_dir, clip), pieces(*pairs)).names


def test_a_whole_file_in_one_call(upload, media_dir):
    seen = upload([kvspic.H264Track()], pieces((media_dir / (H264 + ".mp4")).read_bytes()))
    assert_signs(seen, "other-codec", "an MP4 file")


def test_bytes_of_no_codec(upload):
    noise = numpy.random.default_rng(5).integers(32, 127, (20, 700), numpy.uint8)
    assert_signs(upload([kvspic.H264Track()], pieces(*noise)), "not-of-codec", "no frame of H.264 has")


def test_adts_headers(upload, media_dir):
    with av.open(str(media_dir / "aac_lc_48000_stereo.aac")) as container:
        frames = [bytes(packet) for packet in container.demux() if packet.size]

    def put(stream):
        base = time.time_ns()
        for number, frame in enumerate(frames):
            stream.put_frame(frame, pts=base + number * 21_333_333)

    seen = upload([kvspic.AacTrack(sample_rate=48000, channels=2)], put)
    assert_signs(seen, "aac-framing", "ADTS", "7 bytes")


@pytest.mark.parametrize("kind", ["int16", "bytes", "small"])
def test_samples_in_a_track_of_aac(upload, kind):
    samples = (numpy.sin(numpy.arange(1024) / 7) * 9000).astype(numpy.int16)
    piece = {"int16": samples, "bytes": numpy.repeat(samples, 2).tobytes(), "small": samples[:320].tobytes()}[kind]
    channels, rate = (2, 48000) if kind == "bytes" else (1, 16000)
    step = memoryview(piece).nbytes * S // (2 * channels * rate)

    def put(stream):
        base = time.time_ns()
        for number in range(30):
            stream.put_frame(piece, pts=base + number * step)

    name = {"int16": "array-of-numbers", "bytes": "other-codec", "small": "not-of-codec"}[kind]
    assert_signs(upload([kvspic.AacTrack(sample_rate=rate, channels=channels)], put), name)


OPUS = kvspic.Track("A_OPUS", "audio/opus", kvspic.TrackType.AUDIO, cpd=b"OpusHead\1\2\x38\1\x80\xbb\0\0\0\0\0")
STEREO = kvspic.AacTrack(sample_rate=48000, channels=2)
SOUNDS = {"aac": "aac_lc_48000_stereo.aac", "opus": "opus_48000_stereo.ogg", "g711": "pcm_alaw_8000_mono.wav"}


@pytest.mark.parametrize(
    ("sound", "track", "names"),
    [
        ("opus", STEREO, {"not-of-codec"}),
        ("g711", kvspic.AacTrack(sample_rate=8000, channels=1), {"not-of-codec"}),
        ("aac", OPUS, {"sound-lasts-wrong"}),
        ("opus", kvspic.PcmTrack(), {"sound-lasts-wrong"}),
        ("g711", OPUS, {"sound-lasts-wrong"}),
        ("aac", kvspic.AacTrack(sample_rate=44100, channels=2), {"sound-lasts-wrong"}),
        ("aac", kvspic.AacTrack(sample_rate=16000, channels=2), {"sound-lasts-wrong"}),
        ("aac", kvspic.AacTrack(sample_rate=48000, channels=1), {"not-of-codec"}),
        ("g711", kvspic.PcmTrack(sample_rate=16000), {"sound-lasts-wrong"}),
    ],
)
def test_sound_of_another_codec_or_rate(upload, media_dir, sound, track, names):
    seen = upload([track], putting(frames_of(media_dir, SOUNDS[sound])))
    assert set(seen.names) == names
    assert seen.health


def test_several_frames_of_sound_in_a_call(upload, media_dir):
    frames = [bytes(frame.data) for frame in frames_of(media_dir, SOUNDS["aac"])]
    pairs = [one + other for one, other in zip(frames[::2], frames[1::2])]

    def put(stream):
        base = time.time_ns()
        for number, pair in enumerate(pairs * 3):
            stream.put_frame(pair, pts=base + number * 2 * 1024 * S // 48000)

    assert_signs(upload([STEREO], put), "sound-lasts-wrong", "last 21.3 ms", "every 42.7 ms")


# ---- key frames


def test_key_frames_that_are_never_flagged(upload, media_dir):
    seen = upload([kvspic.H264Track()], putting(frames_of(media_dir, H264 + ".h264"), key=lambda number: False))
    assert_signs(seen, "key-frames-not-flagged", "key_frame= was probably forgotten")
    assert seen.health


def test_a_short_upload_without_flags_is_found_at_its_end(upload, media_dir):
    few = itertools.islice(frames_of(media_dir, H264 + ".h264"), 5)
    seen = upload([kvspic.H264Track()], putting(few, key=lambda number: False))
    assert_signs(seen, "key-frames-not-flagged")


@pytest.mark.parametrize(
    ("clip", "key"),
    [
        (H264 + ".h264", lambda number: True),
        (H264 + ".h264", lambda number: number % 30 == 0),
        (H265, lambda number: number % 30 == 0),
        ("vp9_320x240_25fps.webm", lambda number: number % 30 == 0),
    ],
)
def test_key_frames_that_are_flagged_by_counting(upload, media_dir, clip, key):
    seen = upload(tracks_of(media_dir, clip), putting(frames_of(media_dir, clip), key=key))
    assert_signs(seen, "key-frame-flag-wrong", "not by counting")
    assert seen.health


# ---- times


@pytest.mark.parametrize(
    ("unit", "pts"),
    [
        ("seconds", lambda number: int(time.time()) + number // 25),
        ("milliseconds", lambda number: time.time_ns() // 1_000_000 + number * 40),
        ("microseconds", lambda number: time.time_ns() // 1_000 + number * 40_000),
        ("ticks of 100 ns", lambda number: time.time_ns() // 100 + number * 400_000),
        ("milliseconds", lambda number: number * 40),
        ("microseconds", lambda number: number * 40_000),
        ("numbers of frames", lambda number: number),
        ("ticks of a time base", lambda number: number * 3600),
    ],
)
def test_times_that_are_no_nanoseconds(upload, media_dir, unit, pts):
    seen = upload([kvspic.H264Track()], putting(frames_of(media_dir, H264 + ".h264"), pts=pts))
    assert_signs(seen, "times-not-nanoseconds", f"look like {unit}")
    assert seen.health


def test_times_that_repeat(upload, media_dir):
    base = time.time_ns()
    frames = list(frames_of(media_dir, H264 + ".h264"))
    seen = upload([kvspic.H264Track()], putting(frames, pts=lambda number: base + number // 2 * 2 * STEP))
    assert_signs(seen, "times-repeated", track=0)


def test_times_that_go_back_again_and_again(upload, media_dir):
    base = time.time_ns()
    frames = list(frames_of(media_dir, H264 + ".h264")) * 4
    seen = upload([kvspic.H264Track()], putting(frames, pts=lambda number: base + number % 100 * STEP))
    assert_signs(seen, "times-shifted", track=0)


def test_times_of_a_clock_that_is_never_right(upload, media_dir):
    frames = list(frames_of(media_dir, H264 + ".h264")) * 2
    seen = upload([kvspic.H264Track()], putting(frames, pts=lambda number: number // 50 * 3600 * S + number * STEP))
    assert_signs(seen, "times-anchored", track=0)


def test_times_in_the_future_are_seen_while_the_stream_is_open(producer, caplog, media_dir):
    seen = Seen(caplog)
    with producer.open_stream("future", [kvspic.H264Track()], on_event=seen.on_event) as stream:
        ahead = time.time_ns() + 2 * 3600 * S  # a local time that was taken for UTC
        frames = frames_of(media_dir, H264 + ".h264")
        putting(frames, pts=lambda number: ahead + number * STEP)(stream)
        seen.wait("times-in-the-future")
        seen.health = stream.health().reason
    seen.report = stream.report
    assert_signs(seen, "times-in-the-future", "UTC", track=0)
    assert seen.health


@pytest.mark.parametrize(("days", "where"), [(2, "ahead"), (-2, "back")])
def test_times_that_are_days_apart(upload, media_dir, days, where):
    base = time.time_ns() - 10 * 86_400 * S
    frames = list(frames_of(media_dir, H264 + ".h264"))
    times = putting(frames, pts=lambda number: base + number * STEP + (days * 86_400 * S if number >= 100 else 0))
    assert_signs(upload([kvspic.H264Track()], times), "times-far-apart", f"2 days {where}", track=0)


def test_a_recording_that_lies_in_1970(upload, media_dir):
    seen = upload(
        [kvspic.H264Track()], putting(frames_of(media_dir, H264 + ".h264"), pts=lambda n: n * STEP), offline=True
    )
    assert_signs(seen, "times-long-past", "time of day", track=0)


# ---- fragments


@pytest.mark.parametrize(("gop", "name"), [(3, "fragments-too-many"), (12, "fragments-short")])
def test_fragments_that_the_service_does_not_take(upload, media_dir, gop, name):
    group = list(itertools.islice(frames_of(media_dir, H264 + ".h264"), gop))
    frames = group * (12 * 25 // gop)
    base = time.time_ns() - 60 * S
    put = putting(frames, pts=lambda number: base + number * STEP, key=lambda number: number % gop == 0)
    seen = upload([kvspic.H264Track()], put, fragment_duration_min=timedelta(0))
    assert_signs(seen, name, "every 1 to 5 s", track=0)


# ---- the core has the last word on parameter sets

SPS = bytes.fromhex("6742c00dd90141fb011000000300100000030320f142a480")  # of the clip


def test_parameter_sets_that_cannot_be_read_are_none(upload, media_dir):
    frames = [
        dataclasses.replace(frame, data=bytes(frame.data).replace(SPS, SPS[:3]))
        for frame in frames_of(media_dir, H264 + ".h264")
    ]
    assert_signs(upload([kvspic.H264Track()], putting(frames)), "no-codec-private-data")
