"""Opening a source. Goal: what the bytes are decides, and each wrong name ends in one sentence with a remedy."""

import io
import shutil
import sys

import pytest
from unit.sources.clips import BASELINE, MEDIA

from kvspic.sources import SourceError, SourceOptionError, open_source
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
