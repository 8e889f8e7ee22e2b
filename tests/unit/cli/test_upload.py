"""An upload. Goal: it gives up when waiting is in vain, says why, and never before."""

import av
import pytest

from kvspic.commands.exits import CliError, ExitCode
from kvspic.commands.get import fetch_to_file
from kvspic.commands.media_log import MediaLog, compare, read_joined
from kvspic.commands.options import stdout
from kvspic.commands.upload import Upload, UploadPlan, _Watch
from kvspic.sources import SourceError, SourceFrame, SourceTrack, open_source
from kvspic.sources.live import LiveSettings, LiveSource

NS = 1_000_000_000


class Counters:
    """The counters of a stream, as far as a watch looks at them."""

    def __init__(self, **changes):
        self.bytes_sent = self.frames_put = self.frames_done = self.frames_buffered = 0
        self.acks_buffering = self.acks_received = 0
        self.__dict__.update(changes)


def watch():
    return _Watch(connect_timeout_s=10, stall_timeout_s=60, began_s=0, moved_s=0)


def test_it_gives_up_when_nothing_was_sent_in_time():
    held = Counters(frames_put=5, frames_buffered=5)
    watching = watch()
    watching.look(held, 9.9, "")
    with pytest.raises(CliError, match=r"within 10 s: DescribeStream failed; check the endpoint") as caught:
        watching.look(held, 10.1, "DescribeStream failed")
    assert caught.value.code == ExitCode.UNREACHABLE


def test_a_source_that_gives_nothing_yet_is_waited_for():
    watching = watch()
    watching.look(Counters(), 500, "")
    watching.look(Counters(frames_put=1, frames_buffered=1), 509, "")


def test_it_gives_up_when_nothing_moves_although_something_is_held():
    watching, held = watch(), Counters(bytes_sent=9, frames_put=5, frames_buffered=5)
    watching.look(held, 1, "")
    watching.look(held, 60.9, "")
    with pytest.raises(CliError, match="for 60 s: the cable is out") as caught:
        watching.look(held, 61.1, "the cable is out")
    assert caught.value.code == ExitCode.INCOMPLETE


@pytest.mark.parametrize("moved", ["bytes_sent", "frames_done", "acks_buffering", "acks_received"])
def test_whatever_moves_keeps_it_waiting(moved):
    watching = watch()
    watching.look(Counters(bytes_sent=9, frames_put=5, frames_buffered=5), 1, "")
    changes = {"bytes_sent": 9, "frames_put": 5, "frames_buffered": 5, moved: 10}
    watching.look(Counters(**changes), 60, "")
    watching.look(Counters(**changes), 119, "")


def test_nothing_held_is_no_stall():
    watch().look(Counters(bytes_sent=9, frames_put=5), 1000, "")


def test_frames_go_out_with_times_that_end_now_or_begin_now(endpoint):
    seen = {}
    for is_live in (False, True):
        with open_source("testsrc:width=64,height=48,duration=2") as source:
            bases = []
            plan = UploadPlan(source, f"base-{is_live}", endpoint_url=endpoint.url, is_live=is_live)
            result = Upload(plan, lambda frame, base_ns, bases=bases: bases.append(base_ns)).run()
        assert result.is_complete
        assert len(set(bases)) == 1
        assert bases[0] % 1_000_000 == 0
        seen[is_live] = bases[0]
    assert seen[True] - seen[False] >= 2_000_000_000


def test_the_status_can_be_asked_before_and_after(endpoint):
    with open_source("testsrc:width=64,height=48,duration=1") as source:
        upload = Upload(UploadPlan(source, "status", endpoint_url=endpoint.url))
        assert upload.status().metrics is None
        upload.run()
        after = upload.status()
    assert (after.metrics.frames_done, after.store_fill, after.trouble) == (25, 0.0, "")
    assert after.latency_ms > 0


class Camera:
    """A source of given frames; ``notices`` and the rest as a live source has them."""

    def __init__(self, frames, tracks=None):
        self.tracks = tracks or (SourceTrack(1, "video", "V_TEST", "video", None, "video/x-test"),)
        self._frames = frames
        self.content_type = "video/x-test"
        self.duration_ns = self.start_ns = None
        self.notices = ()

    def frames(self):
        return iter(self._frames)


def picture(number, size=100, key=False, **fields):
    return SourceFrame(1, bytes(size), number * 40_000_000, number * 40_000_000, 0, key, **fields)


def test_a_frame_that_does_not_fit_does_not_end_a_live_upload(endpoint):
    frames = [picture(number, 3 << 20 if number in (4, 8) else 100, number % 4 == 0) for number in range(20)]
    said = []
    plan = UploadPlan(
        Camera(frames), "too-large", endpoint_url=endpoint.url, is_live=True, store_size=1 << 20, say=said.append
    )
    result = Upload(plan).run()
    assert result.problem is None
    assert (result.frames_offered, result.frames_put) == (20, 18)
    assert result.failure().code == ExitCode.INCOMPLETE
    assert len(said) == 1
    assert "3145728 bytes does not fit into a store of 1048576 bytes" in said[0]


def test_a_camera_that_comes_back_with_another_size_starts_another_session(endpoint, media_dir, tmp_path, run):
    clips = iter(("h264_baseline_320x240_25fps.mp4", "h264_high_bframes_640x360_25fps.mp4"))

    def connect(_settings):
        name = next(clips, None)
        if name is None:
            raise SourceError("no route")
        return av.open(str(media_dir / name))

    settings = LiveSettings(pause_min_s=0.01, pause_max_s=0.02, give_up_s=0.05)
    with LiveSource(connect, "cam", settings) as source:
        result = Upload(UploadPlan(source, "resized", endpoint_url=endpoint.url, is_live=True)).run()
    assert "could not be reached again" in str(result.problem)
    assert run("get", "resized", "-o", tmp_path / "back.mkv", "--endpoint", endpoint.url).code == 0
    sizes = []
    for name in ("back.mkv", "back-2.mkv"):
        with open_source(tmp_path / name) as back:
            sizes.append((back.tracks[0].width, back.tracks[0].height, sum(1 for _ in back.frames()) > 0))
    assert sizes == [(320, 240, True), (640, 360, True)]


def test_sixty_megabytes_of_one_group_come_back_as_they_were_put(endpoint, tmp_path):
    frames = [
        SourceFrame(1, number.to_bytes(4, "big") * 1_000_000, number * NS, number * NS, NS, number == 0)
        for number in range(15)
    ]
    put, back = MediaLog(), MediaLog()
    camera = Camera(frames)
    plan = UploadPlan(camera, "sixty", endpoint_url=endpoint.url)
    result = Upload(plan, lambda frame, base_ns: put.add_source(camera.tracks[0], frame, base_ns)).run()
    assert result.is_complete
    report = fetch_to_file(stdout(), "sixty", tmp_path / "back.mkv", (endpoint.url, None))
    assert sum(part.fragments for part in report.parts) == 2
    with (tmp_path / "back.mkv").open("rb") as file:
        read_joined(iter(lambda: file.read(1 << 20), b""), report.parts[0].start_ms, back)
    assert compare(put, back).is_equal


def test_key_frames_that_are_far_apart_are_said_once(endpoint):
    frames = [SourceFrame(1, b"x", number * 5 * NS, number * 5 * NS, 0, number == 0) for number in range(20)]
    said = []
    camera = Camera(frames)
    camera.duration_ns = 100 * NS  # it ends now
    plan = UploadPlan(camera, "far-apart", endpoint_url=endpoint.url, say=said.append)
    assert Upload(plan).run().is_complete
    assert len(said) == 1
    assert "more than 20 s or 48 MB apart" in said[0]
