"""Files as the field makes them, by ffmpeg; and what a decoder shows of a file: times and hashes of its pictures."""

import hashlib
import shutil
import subprocess

import av
import pytest

PICTURES = ("-f", "lavfi", "-i", "testsrc=size=160x120:rate=25:duration={seconds}")
OTHER_PICTURES = ("-f", "lavfi", "-i", "testsrc2=size=320x180:rate=25:duration={seconds}")
SOUND = ("-f", "lavfi", "-i", "sine=440:duration={seconds}")
H264 = ("-c:v", "libx264", "-preset", "veryfast", "-pix_fmt", "yuv420p")


def ffmpeg(*words):
    """Run ffmpeg, whose last word is the output; return that."""
    if shutil.which("ffmpeg") is None:
        pytest.skip("ffmpeg is not installed")
    command = ["ffmpeg", "-nostdin", "-v", "error", "-y", *map(str, words)]
    subprocess.run(command, check=True, capture_output=True, timeout=120)
    return words[-1]


def film(path, *words, seconds=4, gop=25, sound=False, source=PICTURES):
    """Make a film of a test pattern."""
    inputs = [word.format(seconds=seconds) for word in (*source, *(SOUND if sound else ()))]
    audio = ("-c:a", "aac") if sound else ()
    return ffmpeg(*inputs, *H264, "-g", gop, *audio, *words, path)


def copied(source, path, *words, before=()):
    """Copy a film's streams into another container."""
    return ffmpeg(*before, "-i", source, *words, "-c", "copy", path)


def shown(*paths):
    """The pictures of files, one after the other, as a player shows them: ms from the first one of its file, and
    hash."""
    found = []
    for path in paths:
        with av.open(str(path)) as container:
            pictures = [
                (
                    float((frame.pts or 0) * frame.time_base) * 1000,
                    hashlib.md5(frame.to_ndarray().tobytes()).hexdigest(),
                )
                for frame in container.decode(video=0)
            ]
        found += [(time - pictures[0][0], digest) for time, digest in pictures]
    return found


def hashes(*paths):
    """Only the hashes."""
    return [digest for _, digest in shown(*paths)]


def assert_shown_alike(wanted, found, slack_ms=2):
    """The same pictures at the same times."""
    assert [digest for _, digest in found] == [digest for _, digest in wanted]
    assert max(abs(one[0] - other[0]) for one, other in zip(wanted, found)) <= slack_ms
