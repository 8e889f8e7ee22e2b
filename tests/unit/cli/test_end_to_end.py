"""The whole way by commands. Goal: what was put comes back, each frame with bytes and time, beside other uploads."""

import concurrent.futures
import contextlib
from datetime import datetime, timedelta, timezone

import av
import pytest
from unit import stored_media
from unit.cli.commands import KEYS, started
from unit.sources.clips import MEDIA, decodes_as, packets

import kvspic
from kvspic.commands import options
from kvspic.commands.upload import Upload, UploadPlan
from kvspic.local.server import LocalEndpoint
from kvspic.sources import SourceError, open_source
from kvspic.sources.live import LiveSettings, LiveSource

VIDEO = [
    "h264_baseline_320x240_25fps.h264",
    "h264_baseline_320x240_25fps.mp4",
    "h264_high_640x360_25fps.h264",
    "h264_high_bframes_640x360_25fps.mp4",
    "h264_main_aud_2slices_640x360_30fps.h264",
    "h265_main_aud_640x360_25fps.h265",
    "h265_main_opengop_320x240_25fps.mp4",
]
BOTH = ["av_h264_main_aac_44100_640x360_25fps.mp4"]
AUDIO = ["aac_lc_16000_mono.m4a", "aac_lc_48000_stereo.aac", "pcm_alaw_8000_mono.wav", "pcm_mulaw_8000_mono.wav"]
BASELINE = MEDIA / "h264_baseline_320x240_25fps.mp4"


def offered(clip):
    """By kind, the frames of a clip as Matroska holds them, with their times in ms."""
    with open_source(clip) as source:
        tracks, frames = stored_media.as_stored(source)
    kinds = {track.number: track.kind for track in tracks}
    found = {}
    for frame in frames:
        found.setdefault(kinds[frame.track], []).append((frame.data, frame.pts_ns / 1e6))
    return found


def came_back(file):
    """The same of a file that was written by ``get``."""
    found = {}
    for packet in packets(file):
        time_ms = float(packet.pts * packet.time_base * 1000)
        found.setdefault(packet.kind, []).append((packet.data, time_ms))
    return found


def assert_same(clip, file):
    put, back = offered(clip), came_back(file)
    assert {kind: [data for data, _ in frames] for kind, frames in back.items()} == {
        kind: [data for data, _ in frames] for kind, frames in put.items()
    }
    moved = [there[1] - here[1] for kind, frames in put.items() for here, there in zip(frames, back[kind])]
    assert max(moved) - min(moved) <= 1


@pytest.mark.parametrize("name", [*VIDEO, *BOTH, *AUDIO])
def test_a_clip_comes_back_as_it_was_put(run, endpoint, tmp_path, name):
    clip, out, stream = MEDIA / name, tmp_path / "back.mkv", f"clip-{name}"
    put = run("put", clip, "--stream", stream, "--offline", "--endpoint", endpoint.url, "--json")
    got = run("get", stream, "-o", out, "--endpoint", endpoint.url)
    assert (put.code, got.code) == (0, 0), put.err + got.err
    assert put.json["frames_put"] == put.json["frames_persisted"] > 0
    assert_same(clip, out)
    for kind in ["video"] * (name not in AUDIO) + ["audio"] * (name in BOTH):
        assert decodes_as(out, clip, kind)


def test_put_and_get_share_a_data_directory_without_an_endpoint_running(run, tmp_path):
    put = run("put", BASELINE, "--stream", "cam", "--data-dir", tmp_path / "data")
    got = run("get", "cam", "-o", tmp_path / "back.mkv", "--data-dir", tmp_path / "data")
    assert (put.code, got.code) == (0, 0)
    assert "200 frames put = 200 persisted + 0 dropped + 0 buffered" in put.out
    assert "200 frames in 2 fragments" in got.out
    assert_same(BASELINE, tmp_path / "back.mkv")


def test_put_prints_one_json_object_with_these_keys(run, endpoint):
    ran = run("put", BASELINE, "--stream", "json", "--json", "--endpoint", endpoint.url)
    assert list(ran.json) == KEYS
    assert ran.json["fragments_persisted"] == 2
    assert ran.json["state"] == "STOPPED"
    assert ran.json["frames_dropped"] == ran.json["frames_buffered"] == 0
    assert 0 < ran.json["put_ns_p50"] <= ran.json["put_ns_p99"]
    assert 0 < ran.json["ack_persisted_ms_p50"] <= ran.json["ack_persisted_ms_p99"]
    assert ran.json["bytes_sent"] > BASELINE.stat().st_size * 0.9


def test_the_buffer_stays_within_its_size(run, endpoint):
    clip = MEDIA / "h265_main_aud_640x360_25fps.h265"  # 350 KB in a buffer that is asked to hold no more than 1 MB
    ran = run("put", clip, "--stream", "small", "--store-size", "1", "--json", "--endpoint", endpoint.url)
    assert (ran.code, ran.json["frames_persisted"]) == (0, 200)


def test_a_retention_of_a_day_is_given_to_a_new_stream(run, tmp_path):
    with LocalEndpoint.run_in_thread(tmp_path / "data") as endpoint:
        assert run("put", BASELINE, "--stream", "kept", "--endpoint", endpoint.url).code == 0
        stream = endpoint._hub.service.streams.find({"StreamName": "kept"}, 0)
    assert stream.retention_hours == 24


def test_duration_puts_only_the_beginning(run, endpoint):
    ran = run("put", BASELINE, "--stream", "cut", "--duration", "2", "--json", "--endpoint", endpoint.url)
    assert (ran.code, ran.json["frames_put"]) == (0, 50)


@pytest.mark.parametrize("pace", ["--offline", "--realtime"])
def test_a_recording_is_stored_at_its_own_time(run, endpoint, tmp_path, pace):
    out, stream = tmp_path / "back.mkv", f"then{pace}"
    words = ("--start", "2019-05-01T12:00:00Z", "--duration", "1", "--endpoint", endpoint.url)
    assert run("put", BASELINE, "--stream", stream, pace, *words).code == 0
    assert run("get", stream, "-o", out, "--endpoint", endpoint.url).code == 0
    with open_source(out, start="file") as source:
        assert source.start_ns == 1_556_712_000_000_000_000


def test_a_minute_without_a_second_key_frame_comes_back_as_it_was_put(run, tmp_path):
    ran = run("demo", "testsrc:width=64,height=48,fps=10,gop=1000,duration=60", "--speed", "0", "--data-dir", tmp_path)
    assert ran.code == 0, ran.err
    assert "600 frames are equal; 3 fragments" in ran.out


def test_what_an_earlier_put_left_in_the_spool_goes_first(run, endpoint, tmp_path):
    with open_source(BASELINE) as source, kvspic.Producer(endpoint_url="http://127.0.0.1:9") as producer:
        stream = producer.open_stream("spooled", source.tracks, wait=False, spool=tmp_path)
        for frame in source.frames():
            pts = 1_700_000_000_000_000_000 + frame.pts_ns
            stream.put_frame(bytes(frame.data), pts=pts, track=frame.track, key_frame=frame.key_frame)
        left = stream.close(0).frames_spooled
    where = "--stream", "spooled", "--endpoint", endpoint.url, "--spool", tmp_path
    put = run("put", BASELINE, *where, "--offline", "--json")
    assert (put.code, put.json["frames_recovered"], put.json["frames_spooled"]) == (0, left, 0)
    assert put.json["frames_persisted"] == 2 * left > 0


def test_what_a_camera_is_noticed_to_do_is_said_as_it_comes(run, endpoint, monkeypatch, media_dir):
    clips = iter([BASELINE, MEDIA / "h264_high_bframes_640x360_25fps.mp4"])

    def connect(_settings):
        name = next(clips, None)
        if name is None:
            raise SourceError("no route")
        return av.open(str(name))

    settings = LiveSettings(pause_min_s=0.01, pause_max_s=0.02, give_up_s=0.05)
    monkeypatch.setattr(options, "open_source", lambda *_, **__: LiveSource(connect, "cam", settings))
    ran = run("put", "rtsp://cam/1", "--stream", "noticed", "--offline", "--json", "--endpoint", endpoint.url)
    assert ran.code == 3
    assert "kvspic: cam came back with 640x360 instead of 320x240" in ran.err
    assert "kvspic: cam ended; it is being connected to again." in ran.err
    assert "kvspic: cam is connected again" in ran.err
    assert ran.json["frames_persisted"] == ran.json["frames_put"] > 200


def test_two_processes_put_at_once(endpoint):
    words = [("--stream", f"process-{number}", "--json", "--endpoint", endpoint.url) for number in range(2)]
    with contextlib.ExitStack() as stack:
        processes = [stack.enter_context(started("put", BASELINE, *more)) for more in words]
        ended = [process.communicate(timeout=60) for process in processes]
    assert [process.returncode for process in processes] == [0, 0], ended
    for number in range(2):
        assert sum(len(fragment.blocks) for fragment in endpoint.fragments(f"process-{number}")) == 200


def test_twenty_streams_of_one_process(endpoint):
    def upload(number):
        with open_source(BASELINE) as source:
            return Upload(UploadPlan(source, f"twenty-{number}", endpoint_url=endpoint.url)).run()

    with concurrent.futures.ThreadPoolExecutor(20) as pool:
        results = list(pool.map(upload, range(20)))
    assert all(result.is_complete and result.frames_persisted == 200 for result in results)
    assert all(len(endpoint.fragments(f"twenty-{number}")) == 2 for number in range(20))


def test_get_follows_until_nothing_comes(run, tmp_path):
    with LocalEndpoint.run_in_thread(tmp_path / "data", live_wait_seconds=0.1) as endpoint:
        run("put", BASELINE, "--stream", "live", "--endpoint", endpoint.url)
        out = tmp_path / "live.mkv"
        ran = run("get", "live", "-o", out, "--follow", "--idle", "0.1", "--endpoint", endpoint.url)
    assert ran.code == 0, ran.err
    assert_same(BASELINE, out)


def test_a_changed_codec_starts_a_second_file(run, endpoint, tmp_path):
    for minute, name in enumerate(("h264_baseline_320x240_25fps.mp4", "vp9_320x240_25fps.webm")):
        words = ["--stream", "two", "--start", f"2026-05-01T12:0{minute}:00Z", "--endpoint", endpoint.url]
        assert run("put", MEDIA / name, *words).code == 0
    ran = run("get", "two", "-o", tmp_path / "out.mkv", "--endpoint", endpoint.url)
    assert ran.code == 0
    assert "Part 2 begins" in ran.err
    assert_same(BASELINE, tmp_path / "out.mkv")
    assert_same(MEDIA / "vp9_320x240_25fps.webm", tmp_path / "out-2.mkv")


def test_the_demo_compares_what_comes_back_and_says_where_it_is(run, tmp_path):
    out = tmp_path / "demo.mkv"
    ran = run("demo", BASELINE, "-o", out, "--speed", "0", "--data-dir", tmp_path / "data")
    assert ran.code == 0, ran.err
    assert "200 frames put = 200 persisted + 0 dropped + 0 buffered" in ran.out
    assert "200 frames are equal" in ran.out
    assert str(out) in ran.out
    assert_same(BASELINE, out)


def test_the_demo_makes_its_own_clip(run, tmp_path):
    pattern = "testsrc:width=64,height=48,duration=3,gop=25,audio=1"
    ran = run("demo", pattern, "-o", tmp_path / "demo.mkv", "--speed", "0", "--data-dir", tmp_path / "data")
    assert ran.code == 0, ran.err
    assert "frames are equal; 1 fragment" in ran.out


def test_get_to_standard_output_is_a_live_file(run, endpoint, tmp_path):
    assert run("put", BASELINE, "--stream", "piped", "--endpoint", endpoint.url).code == 0
    out = tmp_path / "live.mkv"
    with started("get", "piped", "-o", "-", "--endpoint", endpoint.url, text=False) as process:
        data, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (0, b"")
    out.write_bytes(data)
    assert_same(BASELINE, out)


def test_get_to_standard_output_ends_where_the_codec_changes(run, endpoint):
    for name in ("h264_baseline_320x240_25fps.mp4", "vp9_320x240_25fps.webm"):
        assert run("put", MEDIA / name, "--stream", "piped-two", "--endpoint", endpoint.url).code == 0
    with started("get", "piped-two", "-o", "-", "--endpoint", endpoint.url, text=False) as process:
        _, err = process.communicate(timeout=60)
    assert process.returncode == 1
    assert b"The codec changes here" in err


def test_get_writes_a_clip_of_a_range(run, endpoint, tmp_path):
    run("put", BASELINE, "--stream", "clipped", "--offline", "--endpoint", endpoint.url)
    begin = datetime.fromtimestamp(endpoint.fragments("clipped")[0].producer_hns / 1e7, timezone.utc)
    span = f"{begin.isoformat()}..{(begin + timedelta(hours=1)).isoformat().replace('+00:00', 'Z')}"
    got = run("get", "clipped", "--clip", span, "-o", tmp_path / "clip.mp4", "--endpoint", endpoint.url)
    assert got.code == 0, got.err
    assert decodes_as(tmp_path / "clip.mp4", BASELINE, "video")
    span = "2020-01-01T10:00..2020-01-01T11:00"
    past = run("get", "clipped", "--clip", span, "-o", tmp_path / "no.mp4", "--endpoint", endpoint.url)
    assert past.code == 5
    assert "no fragment" in past.err
    assert not (tmp_path / "no.mp4").exists()


def test_get_prints_the_address_of_a_session(run, endpoint):
    run("put", BASELINE, "--stream", "shown", "--offline", "--endpoint", endpoint.url)
    got = run("get", "shown", "--hls", "--endpoint", endpoint.url)
    assert got.code == 0, got.err
    assert got.out.startswith(f"{endpoint.url}/hls/v1/getHLSMasterPlaylist.m3u8?SessionToken=")


@pytest.mark.parametrize("span", ["yesterday..today", "2026-11-29", "2026-11-29..2026-11-28"])
def test_a_range_that_is_none_is_a_usage_error(run, span):
    got = run("get", "cam", "--clip", span, "-o", "clip.mp4")
    assert got.code == 2
    assert "--clip" in got.err
