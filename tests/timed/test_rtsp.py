"""RTSP against a real server, GStreamer's. Goal: a camera that reboots or falls silent comes back by itself.

Needs Debian's python3-gi, gir1.2-gst-rtsp-server-1.0 and gstreamer1.0-plugins-good; FFmpeg has no RTSP server.
"""

import contextlib
import itertools
import os
import signal
import subprocess
import threading
import time
from pathlib import Path

import pytest

import kvspic
from kvspic.local.server import LocalEndpoint
from kvspic.sources import SourceError, open_source
from kvspic.sources.live import LiveSettings, LiveSource, rtsp_connection

pytestmark = pytest.mark.timed

SCRIPT = Path(__file__).with_name("rtsp_server.py")
SYSTEM_PYTHON = "/usr/bin/python3"
PACKAGES = "python3-gi gir1.2-gst-rtsp-server-1.0 gstreamer1.0-plugins-good"
SECOND_NS = 1_000_000_000
IMPATIENT = LiveSettings(open_timeout_s=4, read_timeout_s=1, pause_min_s=0.1, pause_max_s=0.2)


@pytest.fixture(scope="module")
def server_python():
    """A Python that has GStreamer's RTSP server; a CI run must have one."""
    needs = "import gi; gi.require_version('GstRtspServer', '1.0'); from gi.repository import GstRtspServer"
    try:
        subprocess.run([SYSTEM_PYTHON, "-c", needs], check=True, capture_output=True, timeout=30)
    except (OSError, subprocess.SubprocessError):
        if os.environ.get("CI", "").lower() == "true":
            pytest.fail(f"GStreamer's RTSP server is missing, and CI=true: .ci/run installs {PACKAGES}.", pytrace=False)
        pytest.skip(f"GStreamer's RTSP server is not installed ({PACKAGES})")
    return SYSTEM_PYTHON


class Cameras:
    """A server process that a test starts, stops and freezes. The port stays the same."""

    def __init__(self, python, clip):
        self._python, self._clip = python, clip
        self._process = None
        self.port = "0"

    def start(self):
        command = [self._python, str(SCRIPT), self.port, str(self._clip)]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        self.port = self._process.stdout.readline().strip()
        assert self.port.isdigit(), "the server did not start"

    def kill(self):
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process.stdout.close()
            self._process = None

    def play(self, clip):
        """Show another clip from the next start on."""
        self._clip = clip

    def freeze(self):
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self):
        self._process.send_signal(signal.SIGCONT)

    def url(self, path="/cam"):
        return f"rtsp://127.0.0.1:{self.port}{path}"

    def source(self, path="/cam", settings=IMPATIENT):
        return LiveSource(rtsp_connection(self.url(path), "cam"), "cam", settings)


@pytest.fixture
def cameras(server_python, media_dir):
    made = Cameras(server_python, media_dir / "av_h264_main_aac_44100_640x360_25fps.mp4")
    made.start()
    with contextlib.closing(contextlib.ExitStack()) as stack:
        stack.callback(made.kill)
        yield made


def assert_times_rise(frames):
    for track in {frame.track for frame in frames}:
        times = [frame.dts_ns for frame in frames if frame.track == track]
        assert all(one < next_one for one, next_one in itertools.pairwise(times))


def test_a_camera_is_opened_by_its_url(cameras):
    with open_source(cameras.url()) as source:
        assert source.content_type == "video/h264"
        assert (source.tracks[0].width, source.tracks[0].height) == (640, 360)
        assert source.tracks[0].codec_private is not None
        frames = list(itertools.islice(source.frames(), 30))
    assert frames[0].key_frame
    assert frames[0].dts_ns == 0
    assert_times_rise(frames)
    assert abs(frames[-1].dts_ns - 29 * SECOND_NS // 25) < SECOND_NS // 10


def test_video_and_audio(cameras):
    with cameras.source("/av") as source:
        assert source.content_type == "video/h264,audio/aac"
        frames = list(itertools.islice(source.frames(), 80))
    assert {frame.track for frame in frames} == {1, 2}
    assert_times_rise(frames)


def test_a_camera_that_has_udp_only(cameras):
    with cameras.source("/udp") as source:
        assert next(source.frames()).key_frame


def test_a_path_that_the_camera_does_not_have(cameras):
    with pytest.raises(SourceError, match="check address"):
        cameras.source("/nothing")


def test_a_camera_that_reboots_comes_back(cameras):
    with cameras.source() as source:
        frames = source.frames()
        before = list(itertools.islice(frames, 20))
        cameras.kill()
        timer = threading.Timer(1.0, cameras.start)
        timer.start()
        after = []
        for frame in frames:  # what had arrived before the cut comes first
            after.append(frame)
            if source.reconnect_count and len(after) > 40:
                break
        timer.join()
    assert source.reconnect_count == 1
    assert "connected again" in source.notices[-1]
    assert_times_rise(before + after)
    gaps = [one.dts_ns - other.dts_ns for other, one in itertools.pairwise(before + after)]
    assert SECOND_NS // 2 < max(gaps) < 8 * SECOND_NS
    assert (before + after)[gaps.index(max(gaps)) + 1].key_frame


def test_a_camera_that_falls_silent_is_noticed_and_comes_back(cameras):
    with cameras.source() as source:
        frames = source.frames()
        before = list(itertools.islice(frames, 20))
        cameras.freeze()
        timer = threading.Timer(2.0, cameras.thaw)
        timer.start()
        after = []
        for frame in frames:
            after.append(frame)
            if source.reconnect_count:
                break
        timer.join()
    assert source.reconnect_count == 1
    assert after[-1].key_frame
    assert_times_rise(before + after)


def test_a_camera_that_comes_back_with_another_size_is_uploaded_in_another_session(cameras, media_dir, tmp_path):
    with LocalEndpoint.run_in_thread(tmp_path) as endpoint:
        with (
            kvspic.Producer(endpoint_url=endpoint.url) as producer,
            cameras.source() as source,
            producer.open_stream("yard", source.tracks) as stream,
        ):
            begin_ns = time.time_ns()
            timer = None
            for number, frame in enumerate(source.frames()):
                if frame.codec_private is not None:
                    stream.set_codec_private(frame.track, frame.codec_private)
                times = {"pts": begin_ns + frame.pts_ns, "dts": begin_ns + frame.dts_ns, "duration": frame.duration_ns}
                stream.put_frame(frame.data, track=frame.track, key_frame=frame.key_frame, **times)
                if number == 30:
                    cameras.kill()
                    cameras.play(media_dir / "h264_baseline_320x240_25fps.mp4")
                    timer = threading.Timer(1.0, cameras.start)
                    timer.start()
                if source.reconnect_count and source.tracks[0].width == 320 and number > 100:
                    break
            timer.join()
        stored = endpoint.fragments("yard")
    assert (source.tracks[0].width, source.tracks[0].height) == (320, 240)
    sizes = [(track.width, track.height) for one in stored for track in one.tracks]
    assert list(dict.fromkeys(sizes)) == [(640, 360), (320, 240)]
    assert stream.report.is_complete


def test_close_ends_a_read_that_waits(cameras):
    source = cameras.source(settings=LiveSettings(read_timeout_s=2))
    frames = source.frames()
    next(frames)
    cameras.freeze()
    reader = threading.Thread(target=lambda: list(frames), daemon=True)
    reader.start()
    source.close()
    reader.join(10)
    assert not reader.is_alive()
