"""What bytes are. Goal: a wrong suffix or none changes nothing, and text is not taken for media."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from unit.sources.clips import CLIPS, MEDIA

from kvspic.sources.sniff import SNIFF_SIZE, looks_like_text, sniff

FORMS = {
    "m4a": "mov", "mp4": "mov", "aac": "aac", "mkv": "matroska", "webm": "matroska", "h264": "h264", "h265": "hevc",
    "mjpeg": "mjpeg", "ogg": "ogg", "wav": "wav",
}  # fmt: skip


@pytest.mark.parametrize("name", CLIPS)
def test_every_clip_is_known_by_its_first_bytes(name):
    head = (MEDIA / name).read_bytes()[:SNIFF_SIZE]
    assert sniff(head) == FORMS[name.rpartition(".")[2]]
    assert not looks_like_text(head)


@pytest.mark.parametrize("text", [b"hello\n", "grüße, 你好\n".encode(), b"\x1b[1mcolour\x1b[0m\r\n"])
def test_text_is_known(text):
    assert looks_like_text(text)
    assert sniff(text) is None


@pytest.mark.parametrize("head", [b"", b"\0" * 64, b"\0\0\1", b"\0\0\0\1\x09\x10", b"\xff\xf1", b"RIFF"])
def test_too_little_is_no_answer(head):
    assert sniff(head) is None


@given(st.binary(max_size=256))
def test_any_bytes_give_an_answer(head):
    assert sniff(head) in {None, *FORMS.values()}
