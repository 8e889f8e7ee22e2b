"""``kvspic put`` and what cannot be played. Goal: the user reads why, and the exit code says it to a script."""

import dataclasses
import json

import pytest

from kvspic.commands import put as put_module
from kvspic.sources import open_source

CLIP = "h264_high_bframes_640x360_25fps.mp4"


class Changed:
    """A source that says something else about its medium than is true."""

    def __init__(self, source, change_track, change_frame):
        self._source = source
        self.tracks = tuple(map(change_track, source.tracks))
        self._change_frame = change_frame

    def __getattr__(self, name):
        return getattr(self._source, name)

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self._source.close()

    def frames(self):
        return map(self._change_frame, self._source.frames())


def same(thing):
    return thing


@pytest.fixture
def put(run, endpoint, monkeypatch, media_dir):
    """Run ``kvspic put`` of a clip whose source is changed."""

    def put_changed(stream, change_track=same, change_frame=same, *options):
        def open_changed(spec, *args):
            return Changed(open_source(spec), change_track, change_frame)

        monkeypatch.setattr(put_module, "open_input", open_changed)
        return run("put", media_dir / CLIP, "--stream", stream, "--endpoint", endpoint.url, *options)

    return put_changed


def without_private(track):
    return dataclasses.replace(track, codec_private=None)


def test_what_no_player_can_decode_ends_with_3_and_the_sentence(put):
    ended = put("unplayable", without_private)
    assert ended.code == 3
    assert "without codec private data" in ended.err
    assert "(no-codec-private-data)." in ended.err
    assert ended.err.count("What was uploaded cannot be decoded") == 1


def test_the_json_object_has_the_sentence_too(put):
    ended = put("unplayable-json", without_private, same, "--json")
    assert ended.code == 3
    assert "no-codec-private-data" in json.loads(ended.out)["error"]


def test_3_wins_over_1(put):
    ended = put("unflagged", same, lambda frame: dataclasses.replace(frame, key_frame=False))
    assert ended.code == 3
    assert "key_frame= was probably forgotten" in ended.err
    assert "put the input again" not in ended.err


def test_what_can_be_played_ends_with_0_and_without_a_word(put):
    ended = put("playable")
    assert (ended.code, ended.err) == (0, "")


def test_times_that_are_wrong_are_said_and_end_with_0(put):
    def tomorrow(frame):
        ahead_ns = 7200 * 10**9
        return dataclasses.replace(frame, pts_ns=frame.pts_ns + ahead_ns, dts_ns=frame.dts_ns + ahead_ns)

    ended = put("tomorrow", same, tomorrow)
    assert ended.code == 0
    assert "in the future" in ended.err


def test_without_the_check_nothing_is_said(put):
    ended = put("unchecked", without_private, same, "--no-media-check")
    assert (ended.code, ended.err) == (0, "")
