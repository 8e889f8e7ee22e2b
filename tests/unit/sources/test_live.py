"""Live sources. Goal: they come back by themselves, times always rise, and each gap is reported.

Here the camera is a clip, and time is a number; against a real RTSP server: tests/timed/test_rtsp.py.
"""

import itertools
import threading
from types import SimpleNamespace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

pytest.importorskip("av")
import av

from kvspic.sources import open_source
from kvspic.sources.base import SourceError, SourceFrame, SourceOptionError
from kvspic.sources.live import LiveSettings, LiveSource, LiveWorld, _PacketClock, _Times, is_device, is_rtsp
from kvspic.sources.pictures import Pictures
from kvspic.sources.readers import TimedReader, Timing

CLIP = "h264_baseline_320x240_25fps.mp4"
OTHER = "h265_main_opengop_320x240_25fps.mp4"
BIGGER = "h264_high_bframes_640x360_25fps.mp4"
MS_NS, SECOND_NS = 1_000_000, 1_000_000_000


class World(LiveWorld):
    """Time that passes only while somebody waits, and an event that a test may set during a wait."""

    def __init__(self):
        self.now_s = 1000.0
        self.waits = []
        self.during_wait = lambda: None
        super().__init__(monotonic=lambda: self.now_s, chance=lambda: 1.0, wait=self.pass_time)

    def pass_time(self, event, seconds):
        self.waits.append(seconds)
        self.now_s += seconds or 0
        self.during_wait()
        return event.is_set()


class Camera:
    """Opens what ``script`` says, in order: a clip's name, or an error."""

    def __init__(self, media_dir, *script):
        self.media_dir = media_dir
        self.script = list(script)
        self.opened = []

    def __call__(self, settings):
        step = self.script.pop(0)
        if isinstance(step, Exception):
            raise step
        self.opened.append(av.open(str(self.media_dir / step)))
        return self.opened[-1]


def away(count):
    return [SourceError("no route")] * count


@pytest.fixture
def world():
    return World()


@pytest.fixture
def clip_length(media_dir):
    with open_source(media_dir / CLIP) as source:
        return sum(1 for _ in source.frames())


def take(source, count):
    return list(itertools.islice(source.frames(), count))


def test_frames_are_those_of_the_medium(media_dir, world, clip_length):
    with (
        open_source(media_dir / CLIP) as plain,
        LiveSource(Camera(media_dir, CLIP), "cam", world=world) as source,
    ):
        assert source.tracks == plain.tracks
        assert source.content_type == "video/h264"
        assert source.duration_ns is None
        frames = take(source, clip_length)
        for live, filed in zip(frames, plain.frames()):
            assert (bytes(live.data), live.dts_ns, live.key_frame) == (bytes(filed.data), filed.dts_ns, filed.key_frame)


def test_a_camera_that_ends_is_connected_to_again_and_times_go_on(media_dir, world, clip_length, caplog):
    camera = Camera(media_dir, CLIP, *away(3), CLIP)
    with LiveSource(camera, "cam", world=world) as source:
        before = take(source, clip_length)
        world.now_s += before[-1].dts_ns / SECOND_NS
        after = take(source, 10)
    gap_s = sum(world.waits)
    assert after[0].key_frame
    assert after[0].dts_ns == before[-1].dts_ns + round(gap_s * SECOND_NS)
    assert after[1].dts_ns - after[0].dts_ns == before[1].dts_ns - before[0].dts_ns
    assert world.waits == [0.5, 1.0, 2.0, 4.0]
    assert source.notices == (
        "cam ended; it is being connected to again.",
        "cam is connected again after 7.5 s and 4 tries.",
    )
    assert source.reconnect_count == 1
    assert "connected again" in caplog.text


def test_pauses_have_a_limit_and_a_random_half(media_dir, world, clip_length):
    world.chance = lambda: 0.0
    with LiveSource(Camera(media_dir, CLIP, *away(7), CLIP), "cam", world=world) as source:
        take(source, clip_length + 1)
    assert world.waits == [0.25, 0.5, 1.0, 2.0, 2.5, 2.5, 2.5, 2.5]


def test_times_rise_even_if_no_time_passes(media_dir, world, clip_length):
    settings = LiveSettings(pause_min_s=1e-9, pause_max_s=1e-9)
    with LiveSource(Camera(media_dir, CLIP, CLIP, CLIP), "cam", settings, world) as source:
        times = [frame.dts_ns for frame in take(source, 2 * clip_length + 5)]
    assert all(one < next_one for one, next_one in itertools.pairwise(times))
    assert source.reconnect_count == 2


def test_giving_up_is_an_error_with_the_time_it_took(media_dir, world, clip_length):
    camera = Camera(media_dir, CLIP, *away(50))
    with LiveSource(camera, "cam", LiveSettings(give_up_s=60), world) as source:
        frames = source.frames()
        assert len(list(itertools.islice(frames, clip_length))) == clip_length
        with pytest.raises(SourceError, match="could not be reached again for 6"):
            next(frames)


def test_a_camera_that_comes_back_as_another_one_is_an_error(media_dir, world, clip_length):
    source = LiveSource(Camera(media_dir, CLIP, OTHER), "cam", world=world)
    with source, pytest.raises(SourceError, match="came back with other tracks"):
        take(source, clip_length + 1)


def test_the_first_connection_must_work(media_dir, world):
    with pytest.raises(SourceError, match="no route"):
        LiveSource(Camera(media_dir, *away(1)), "cam", world=world)
    assert world.waits == []


def test_a_paused_source_leaves_the_camera_and_goes_on_an_hour_later(media_dir, world):
    camera = Camera(media_dir, CLIP, CLIP)
    with LiveSource(camera, "cam", world=world) as source:
        frames = source.frames()
        before = [next(frames) for _ in range(5)]
        source.pause()

        def later():
            world.now_s += 3600
            source.resume()

        world.during_wait = later
        after = next(frames)
    assert after.key_frame
    assert after.dts_ns == 3600 * SECOND_NS
    assert after.dts_ns > before[-1].dts_ns
    assert "was resumed" in source.notices[0]


@pytest.mark.parametrize("moment", ["reading", "waiting", "paused"])
def test_closing_ends_the_frames(media_dir, world, moment, clip_length):
    camera = Camera(media_dir, CLIP, *away(100))
    source = LiveSource(camera, "cam", world=world)
    frames = source.frames()
    next(frames)
    if moment == "reading":
        source.close()
    else:
        world.during_wait = source.close
    if moment == "paused":
        source.pause()
    assert len(list(frames)) == (clip_length - 1 if moment == "waiting" else 0)
    source.close()


def test_a_reader_that_waits_is_woken_by_close_from_another_thread(media_dir):
    waiting = threading.Event()

    def wait(event, seconds):
        waiting.set()
        return event.wait(30)

    source = LiveSource(Camera(media_dir, CLIP, *away(100)), "cam", world=LiveWorld(wait=wait))
    reader = threading.Thread(target=lambda: list(source.frames()), daemon=True)
    reader.start()
    assert waiting.wait(10)
    source.close()
    reader.join(10)
    assert not reader.is_alive()


def test_frames_before_a_key_frame_are_left_out_and_told(media_dir, world, monkeypatch):
    from kvspic.sources import live

    read = live._Connection.next_frame
    count = itertools.count()

    def late(self):
        frame = read(self)
        return frame if next(count) >= 3 else SourceFrame(1, b"p", frame.pts_ns, frame.dts_ns, 0, False)

    def keyed(self):
        frame = late(self)
        return SourceFrame(1, frame.data, frame.pts_ns, frame.dts_ns, 0, frame.data != b"p")

    monkeypatch.setattr(live._Connection, "next_frame", keyed)
    with LiveSource(Camera(media_dir, CLIP), "cam", world=world) as source:
        first = take(source, 1)[0]
    assert first.key_frame
    assert first.dts_ns == 0
    assert source.notices == ("cam began with 3 frames before a key frame, which were left out.",)


def test_a_camera_that_gives_no_key_frame_is_told_of_once_with_a_remedy(media_dir, world, monkeypatch):
    from kvspic.sources import live

    read = live._Connection.next_frame
    count = itertools.count()

    def keyless(self):
        frame = read(self)
        world.now_s += 0.5
        return SourceFrame(1, frame.data, frame.pts_ns, frame.dts_ns, 0, next(count) >= 60)

    monkeypatch.setattr(live._Connection, "next_frame", keyless)
    with LiveSource(Camera(media_dir, CLIP), "cam", world=world) as source:
        said = []
        source.on_notice = said.append
        take(source, 1)
    assert said == list(source.notices)
    assert ["no key frame for 10 s" in notice for notice in said] == [True, False]
    assert "GOP" in said[0]


def test_a_camera_that_comes_back_with_another_size_says_so_in_its_first_frame(media_dir, world, clip_length):
    camera = Camera(media_dir, CLIP, BIGGER)
    with LiveSource(camera, "cam", world=world) as source:
        old = source.tracks[0]
        frames = take(source, clip_length + 5)
        new = source.tracks[0]
    assert (old.width, new.width) == (320, 640)
    assert [frame.codec_private for frame in frames if frame.codec_private] == [new.codec_private]
    assert frames[clip_length].codec_private == new.codec_private
    assert frames[clip_length].key_frame
    assert "640x360 instead of 320x240" in source.notices[1]


def test_a_camera_that_changes_its_size_without_a_break_says_so_too(media_dir, world, tmp_path):
    first, second = (media_dir / name for name in ("h264_baseline_320x240_25fps.h264", "h264_high_640x360_25fps.h264"))
    (tmp_path / "both.h264").write_bytes(first.read_bytes() + second.read_bytes())
    with LiveSource(Camera(tmp_path, "both.h264"), "cam", world=world) as source:
        frames = take(source, 250)
    changed = [frame for frame in frames if frame.codec_private]
    assert len(changed) == 1
    assert changed[0].key_frame
    assert changed[0].codec_private in bytes(changed[0].data).replace(b"\0\0\1", b"\0\0\0\1").replace(
        b"\0\0\0\0\1", b"\0\0\0\1"
    )


# ---- the line of time alone


def frame_at(dts_ms, track=1, pts_ms=None):
    pts_ms = dts_ms if pts_ms is None else pts_ms
    return SourceFrame(track, b"", pts_ms * MS_NS, dts_ms * MS_NS, 0, False)


def place_all(arrivals):
    """Times in ms for (arrival in ms, dts in ms, track)."""
    now = [0.0]
    times = _Times(lambda: now[0])
    placed = []
    for arrival, dts, track in arrivals:
        now[0] = arrival / 1000
        placed.append(times.place(frame_at(dts, track)).dts_ns / MS_NS)
    return placed


@pytest.mark.parametrize(
    "arrivals, expected",
    [
        ([(0, 500, 1), (40, 540, 1), (80, 580, 1)], [0, 40, 80]),
        ([(0, 0, 1), (40, 40, 1), (80, 40, 1), (120, 80, 1)], [0, 40, 41, 80]),
        ([(0, 9_000_000, 1), (40, 9_000_040, 1), (80, 0, 1), (120, 40, 1)], [0, 40, 80, 120]),
        ([(0, 0, 1), (40, 1_700_000_000_000, 1), (80, 1_700_000_000_040, 1)], [0, 40, 80]),
        ([(0, 0, 1), (60_000, 60_000, 1)], [0, 60_000]),
        ([(0, 40, 1), (0, 0, 2), (40, 80, 1), (40, 40, 2)], [0, 0, 40, 1]),
    ],
    ids=["plain", "repeated", "set back", "leaps to 1970 plus", "a true gap", "audio a little earlier"],
)
def test_times_of_odd_cameras(arrivals, expected):
    assert place_all(arrivals) == pytest.approx(expected)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])  # of a slow machine
@given(
    st.lists(
        st.tuples(st.integers(0, 10**5), st.integers(-(10**13), 10**13) | st.integers(0, 500), st.integers(1, 3)),
        max_size=40,
    )
)
def test_whatever_the_camera_says_times_rise_and_none_is_below_zero(steps):
    arrivals, now_ms = [], 0
    for passed_ms, dts_ms, track in steps:
        now_ms += passed_ms
        arrivals.append((now_ms, dts_ms, track))
    placed = place_all(arrivals)
    assert all(at >= 0 for at in placed)
    for number in (1, 2, 3):
        of_track = [at for at, (_, _, track) in zip(placed, arrivals) if track == number]
        assert all(one < next_one for one, next_one in itertools.pairwise(of_track))


def packet(pts, dts, duration=3600):
    from fractions import Fraction

    return SimpleNamespace(
        pts=pts, dts=dts, duration=duration, time_base=Fraction(1, 90_000), is_keyframe=True, is_discard=False
    )


def test_packets_without_times_get_those_that_fit():
    track = SimpleNamespace(number=1, kind="video", codec_private=None)
    clock = _PacketClock(track, TimedReader(track, Timing(), Pictures(None)), 0)
    seen = [clock.read(packet(*times)).dts_ns // MS_NS for times in [(None, None), (3600, 3600), (None, None)]]
    assert seen == [0, 40, 80]


# ---- names


def test_what_is_live():
    assert is_rtsp("rtsp://10.0.0.1/cam")
    assert is_rtsp("RTSPS://cam")
    assert not is_rtsp("http://cam")
    assert is_device("/dev/video0")
    assert not is_device("/dev/video")
    assert not is_device("/dev/videos.mp4")


def test_a_camera_that_is_not_there_is_told_without_its_password():
    with pytest.raises(SourceError, match=r"rtsp://127.0.0.1:9/cam cannot be opened \(.*check address") as caught:
        open_source("rtsp://user:hidden@127.0.0.1:9/cam?key=hidden")
    assert "hidden" not in str(caught.value)
    assert caught.value.__suppress_context__


def test_a_device_that_is_not_there_is_told():
    with pytest.raises(SourceError, match="plug the camera in"):
        open_source("/dev/video987")


def test_a_device_is_asked_for_h264_first_and_then_for_motion_jpeg(media_dir, monkeypatch, tmp_path):
    from kvspic.sources import live

    asked = []

    def opened(name, label, settings, *, form=None, options=None):
        asked.append((form, options["input_format"]))
        if options["input_format"] == "h264":
            raise SourceError("not in this format")
        return av.open(str(media_dir / "mjpeg_320x240_10fps.mjpeg"), format="mjpeg")

    monkeypatch.setattr(live, "_open", opened)
    device = tmp_path / "video0"
    device.touch()
    with LiveSource(live.device_connection(str(device)), "camera") as source:
        assert source.content_type == "video/x-motion-jpeg" or source.tracks[0].codec_id == "V_MS/VFW/FOURCC"
        assert take(source, 2)[1].key_frame
    assert asked == [("v4l2", "h264"), ("v4l2", "mjpeg")]


@pytest.mark.parametrize("settings", [{"read_timeout_s": 0}, {"pause_min_s": 9}])
def test_settings_that_cannot_be_are_refused(settings):
    with pytest.raises(SourceOptionError):
        LiveSettings(**settings)


def test_a_camera_that_goes_away_is_reported_before_it_is_back(media_dir, world, clip_length):
    source = LiveSource(Camera(media_dir, CLIP, *away(3), CLIP), "cam", world=world)
    said = []
    source.on_notice = said.append
    world.during_wait = lambda: said.append("waits")
    with source:
        take(source, clip_length + 1)
    assert said[:2] == ["cam ended; it is being connected to again.", "waits"]
    assert said[-1].startswith("cam is connected again")


def test_settings_are_for_cameras(media_dir):
    for name in (str(media_dir / CLIP), "testsrc", "http://user:secret@camera/clip.mp4"):
        with pytest.raises(SourceOptionError, match="is no live source") as caught:
            open_source(name, live=LiveSettings())
        assert "secret" not in str(caught.value)
    with pytest.raises(SourceError, match="does not exist"):
        open_source("/dev/video98", live=LiveSettings(give_up_s=1))
