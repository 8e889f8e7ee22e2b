"""Opening a source. Goal: what the bytes are decides, and each wrong name ends in one sentence with a remedy."""

import io
import shutil
import sys
from datetime import datetime, timedelta, timezone

import av
import pytest
from unit.sources.clips import BASELINE, MEDIA

from kvspic.sources import SourceError, SourceOptionError, open_file, open_source
from kvspic.sources.opening import _without_secrets


def refused(spec):
    with pytest.raises(SourceError) as caught:
        open_source(spec)
    text = str(caught.value)
    assert caught.value.exit_code == 3
    assert text.endswith(".")
    assert "\n" not in text
    return text


def test_a_missing_file_is_refused(tmp_path):
    assert "does not exist" in refused(tmp_path / "none.mp4")


def test_a_directory_is_refused(tmp_path):
    assert "is a directory" in refused(str(tmp_path))


@pytest.mark.parametrize("name", ["notes.txt", "notes.mp4", "notes"])
def test_a_text_file_is_refused_whatever_its_suffix(tmp_path, name):
    (tmp_path / name).write_text("This is no film, but a note about one.\n" * 50)
    assert "text file" in refused(tmp_path / name)


def test_an_empty_file_is_refused(tmp_path):
    (tmp_path / "empty.mkv").touch()
    assert "is empty" in refused(tmp_path / "empty.mkv")


@pytest.mark.parametrize("data", [bytes(range(256)) * 40, bytes(9000), BASELINE.read_bytes()[:30_000][::-1]])
def test_bytes_that_are_no_media_are_refused(tmp_path, data):
    (tmp_path / "odd.mp4").write_bytes(data)
    assert "cannot be read as video or audio" in refused(tmp_path / "odd.mp4")


def test_a_file_without_read_permission_is_refused(tmp_path, monkeypatch):
    clip = tmp_path / "secret.mp4"
    shutil.copy(BASELINE, clip)

    def deny(*_args, **_options):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("pathlib.Path.open", deny)
    assert "check its permissions" in refused(clip)


@pytest.mark.parametrize(
    "clip,name,content_type",
    [
        ("h264_baseline_320x240_25fps.h264", "film", "video/h264"),
        ("h265_main_aud_640x360_25fps.h265", "film.h264", "video/h265"),
        ("aac_lc_48000_stereo.aac", "film.mp4", "audio/aac"),
        ("pcm_alaw_8000_mono.wav", "film.mkv", "audio/alaw"),
        ("vp9_320x240_25fps.webm", "film.txt", "video/vp9"),
    ],
)
def test_the_suffix_does_not_matter(tmp_path, clip, name, content_type):
    shutil.copy(MEDIA / clip, tmp_path / name)
    with open_source(tmp_path / name) as source:
        assert source.content_type == content_type


def test_a_dash_is_standard_input(monkeypatch):
    class Stdin:
        buffer = io.BufferedReader(io.BytesIO((MEDIA / "aac_lc_48000_stereo.aac").read_bytes()))

    monkeypatch.setattr(sys, "stdin", Stdin)
    with open_source("-") as source:
        assert source.duration_ns is None
        assert sum(1 for _ in source.frames()) == 283


def test_a_seekable_file_object_is_read_from_its_start():
    with open_source(io.BytesIO(BASELINE.read_bytes())) as source:
        assert sum(1 for _ in source.frames()) == 200


@pytest.mark.parametrize("fps", [0, -25, 5000])
def test_a_rate_out_of_range_is_refused(fps):
    with pytest.raises(SourceOptionError, match="frame rate"):
        open_source(BASELINE, fps=fps)


def test_an_address_that_answers_nothing_is_refused_without_its_password():
    text = refused("http://user:hidden@127.0.0.1:1/cam?token=hidden")
    assert "http://127.0.0.1:1/cam cannot be read" in text
    assert "hidden" not in text


def test_only_addresses_have_secrets_to_hide():
    assert _without_secrets("rtsp://a:b@host/live?key=1") == "rtsp://host/live"
    assert _without_secrets("/films/a@b?c.mp4") == "/films/a@b?c.mp4"


# ---- when a recording began

MAY_NS = 1_556_712_000_000_000_000  # 2019-05-01T12:00:00Z


@pytest.mark.parametrize(
    "start",
    [
        "2019-05-01T12:00:00Z",
        "2019-05-01 14:00:00+02:00",
        datetime(2019, 5, 1, 12, tzinfo=timezone.utc),
        datetime(2019, 5, 1, 14, tzinfo=timezone(timedelta(hours=2))),
    ],
)
def test_a_recording_begins_when_it_is_said_to(start):
    with open_file(BASELINE, start=start) as source:
        assert source.start_ns == MAY_NS
        assert next(source.frames()).pts_ns == 0
    with open_source(str(BASELINE), start=start) as source:
        assert source.start_ns == MAY_NS


def test_a_recording_begins_at_no_time_unless_it_is_said():
    with open_file(BASELINE) as source:
        assert source.start_ns is None


def test_microseconds_are_exact():
    with open_file(BASELINE, start="2019-05-01T12:00:00.123456Z") as source:
        assert source.start_ns == MAY_NS + 123_456_000


@pytest.mark.parametrize(
    ("start", "words"),
    [
        ("2019-05-01T12:00:00", "no time zone"),
        ("2019-05-01", "no time zone"),
        (datetime(2019, 5, 1), "no time zone"),
        ("yesterday", "is no time"),
        ("", "is no time"),
        ("1969-12-31T23:59:59Z", "before 1970"),
        ("2999-01-01T00:00:00Z", "future"),
    ],
)
def test_a_start_that_makes_no_sense_is_refused(start, words):
    with pytest.raises(SourceOptionError, match=words):
        open_file(BASELINE, start=start)


@pytest.mark.parametrize("spec", ["testsrc", "testsrc:duration=1"])
def test_what_is_live_begins_now(spec):
    with pytest.raises(SourceOptionError, match="is for recordings"):
        open_source(spec, start="2019-05-01T12:00:00Z")


def remade(path, created):
    """The baseline clip in Matroska or MP4, made at ``created``."""
    with av.open(str(BASELINE)) as source, av.open(str(path), "w") as target:
        if created:
            target.metadata["creation_time"] = created
        stream = target.add_stream_from_template(source.streams.video[0])
        for packet in source.demux():
            if packet.dts is not None:
                packet.stream = stream
                target.mux(packet)
    return path


@pytest.mark.parametrize("name", ["made.mp4", "made.mkv"])
def test_a_file_can_say_itself_when_it_was_made(tmp_path, name):
    clip = remade(tmp_path / name, "2019-05-01T12:00:00.000000Z")
    with open_file(clip, start="file") as source:
        assert source.start_ns == MAY_NS


@pytest.mark.parametrize("created", ["", "1904-01-01T00:00:00Z", "1970-01-01T00:00:00Z"])
def test_a_file_that_does_not_know_is_refused_with_a_remedy(tmp_path, created):
    clip = remade(tmp_path / "unknown.mp4", created)
    with pytest.raises(SourceOptionError, match="does not say when it was made: give its start"):
        open_file(clip, start="file")


def test_a_file_may_have_the_name_of_something_else(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("-", "testsrc"):
        shutil.copy(BASELINE, name)
        with open_file(name) as source:
            assert source.tracks[0].width == 320


def test_a_title_that_is_no_text_is_no_reason_to_refuse_a_file(tmp_path):
    named, broken = tmp_path / "named.mkv", tmp_path / "broken.mkv"
    with av.open(str(BASELINE)) as clip, av.open(str(named), "w") as out:
        out.metadata["title"] = "QQQQ"
        stream = out.add_stream_from_template(clip.streams.video[0])
        for packet in clip.demux(clip.streams.video[0]):
            if packet.dts is not None:
                packet.stream = stream
                out.mux(packet)
    broken.write_bytes(named.read_bytes().replace(b"QQQQ", b"\xff\xfe\xfdQ"))
    with open_source(broken) as source:
        assert sum(1 for _ in source.frames()) == 200
