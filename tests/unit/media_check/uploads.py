"""What a user sees of an upload, and frames of the test clips to put rightly or wrongly."""

import contextlib
import logging
import threading
import time

import kvspic
from kvspic import errors
from kvspic.media_findings import FINDINGS
from kvspic.sources import open_source
from kvspic.types import track_of

S = 1_000_000_000
STEP = S // 25
H264 = "h264_baseline_320x240_25fps"
B_FRAMES = "h264_high_bframes_640x360_25fps.mp4"
H265 = "h265_main_aud_640x360_25fps.h265"


class Seen:
    """What a user sees of one upload."""

    def __init__(self, caplog):
        self._caplog = caplog
        self._came = threading.Condition()
        self.problems: list[kvspic.MediaProblem] = []
        self.health = ""  # while the stream was open and something was wrong
        self.report = None

    def on_event(self, event):
        with self._came:
            if isinstance(event, kvspic.MediaProblem):
                self.problems.append(event)
            self._came.notify_all()

    def wait(self, name):
        with self._came:
            assert self._came.wait_for(lambda: name in self.names, 10), f"no {name}, but {self.names}"

    @property
    def names(self):
        return [problem.name for problem in self.problems]

    @property
    def warnings(self):
        return [record.getMessage() for record in self._caplog.records if record.levelno >= logging.WARNING]


def assert_signs(seen, name, *words, track=1):
    """One finding of this name, seen in all the ways that the facade has."""
    assert seen.names == [name]
    (problem,) = seen.problems
    assert problem.track == track
    assert problem.is_undecodable == FINDINGS[name].is_undecodable
    assert [str(problem) in warning for warning in seen.warnings] == [True]
    assert seen.report.media_problems == 1
    assert str(seen.report).endswith("; media problems: 1")
    for word in words:
        assert word in str(problem)
    if seen.health:
        assert seen.health == str(problem)


def frames_of(media_dir, name):
    with open_source(str(media_dir / name)) as source:
        yield from source.frames()


def tracks_of(media_dir, name):
    with open_source(str(media_dir / name)) as source:
        return [track_of(track) for track in source.tracks]


def putting(frames, *, pts=None, key=None):
    """Put frames of a source, with times and flags of its own or of ``pts`` and ``key`` (of number and frame)."""
    frames = list(frames)

    def put(stream):
        base = time.time_ns()
        for number, frame in enumerate(frames):
            stream.put_frame(
                frame.data,
                pts=base + frame.pts_ns if pts is None else pts(number),
                dts=None if pts is not None or frame.dts_ns is None else base + frame.dts_ns,
                track=frame.track,
                key_frame=frame.key_frame if key is None else key(number),
            )

    return put


def pieces(*chunks):
    """Put bytes as they are, 25 a second; the first one is flagged as key frame, and each fiftieth after it."""

    def put(stream):
        base = time.time_ns()
        for number, chunk in enumerate(chunks):
            with contextlib.suppress(errors.MediaError):  # some have bytes that the core takes for damaged
                stream.put_frame(chunk, pts=base + number * STEP, key_frame=number % 50 == 0)

    return put


def chunked(data, size):
    return [data[place : place + size] for place in range(0, len(data), size)]


def assert_silent(seen):
    assert (seen.names, seen.warnings, seen.report.media_problems, seen.health) == ([], [], 0, "")
    assert seen.report.is_complete
