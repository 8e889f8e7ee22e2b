"""Files of cameras. Goal: what a person writes becomes jobs, and what is wrong is said with its place and remedy."""

import pytest

from kvspic.fleet.cameras import CameraFileError, read_cameras, source_of

pytest.importorskip("yaml")
BOMB = "a: &a [1,1,1,1,1,1,1,1,1,1]\n" + "".join(
    f"{chr(98 + at)}: &{chr(98 + at)} [{','.join(['*' + chr(97 + at)] * 10)}]\n" for at in range(9)
)


@pytest.mark.parametrize(
    "text, kind",
    [
        ("rtsp://10.0.0.9/1", "rtsp"),
        ("RTSPS://u:p@cam/1", "rtsp"),
        ("/dev/video0", "device"),
        ("recording.mp4", "file"),
        ("file:///srv/a.mkv", "file"),
        ("C:/videos/a.mp4", "file"),
        ("testsrc:width=640", "test"),
        ("test", "test"),
    ],
)
def test_the_type_of_a_source_follows_from_its_text(text, kind):
    assert source_of(text)["type"] == kind


@pytest.mark.parametrize("text", ["http://cam/1.m3u8", "rtmp://cam/1", "srt://cam", "udp://@239.0.0.1:1234"])
def test_a_scheme_that_no_worker_carries_is_refused_by_name(text):
    with pytest.raises(ValueError, match=f"scheme {text.partition(':')[0]}://"):
        source_of(text)


def test_a_test_pattern_goes_on_as_a_camera_does():
    assert source_of("test")["url"] == "testsrc:duration=0"


def test_defaults_are_joined_with_each_camera():
    bodies = read_cameras("""
defaults: {group: yard, options: {retention_hours: 48, spool: true}, autorestart: {delay: 30}}
cameras:
  - {name: front-door, source: "rtsp://10.0.0.9/1", secret: door}
  - {name: gate, source: {type: rtsp, url: "rtsp://10.0.0.10/1"}, group: street, options: {spool: false}}
""")
    assert bodies == [
        {
            "group": "yard",
            "options": {"retention_hours": 48, "spool": True},
            "autorestart": {"delay": 30},
            "name": "front-door",
            "source": {"type": "rtsp", "url": "rtsp://10.0.0.9/1", "secret": "door"},
        },
        {
            "group": "street",
            "options": {"retention_hours": 48, "spool": False},
            "autorestart": {"delay": 30},
            "name": "gate",
            "source": {"type": "rtsp", "url": "rtsp://10.0.0.10/1"},
        },
    ]


def test_json_is_read_too_and_an_empty_list_is_no_camera():
    assert read_cameras('{"cameras":\t[]}') == []


@pytest.mark.parametrize(
    "text, words",
    [
        ("", "no list of cameras"),
        ("cameras:", "no list of cameras"),
        ("- {name: a, source: b}", "no list of cameras"),
        ("just words", "no list of cameras"),
        ("{cameras: [], camera: []}", "has 'camera', which is not known"),
        ("{cameras: [x]}", "Camera 1 is no mapping"),
        ("{cameras: [{name: a}]}", r"Camera 1 \(a\) has no source"),
        ("{cameras: [{source: a}]}", "Camera 1 has no name"),
        ("{cameras: [{name: a, source: 7}]}", "the source is a text or a mapping"),
        ("{cameras: [{name: a, source: ''}]}", "The source is empty"),
        ("{cameras: [{name: a, source: 'http://x/1'}]}", r"Camera 1 \(a\): No worker carries"),
        ("{cameras: [{name: a, source: b}, {name: a, source: c}]}", "Cameras 1 and 2 have the same name 'a'"),
        ("{cameras: [{name: a, source: b}, {name: c, source: c, stream: a}]}", "both send into the stream 'a'"),
        ("{cameras: [{name: a, source: b, name: c}]}", "the key 'name' comes twice"),
        ("{cameras: [{name: 2026-01-01, source: a}]}", "put it in quotes"),
        ("{cameras: [{name: 2026-13-41, source: a}]}", "put it in quotes"),
        ("{cameras: [{1: a, source: a}]}", "has the key 1, which is no text"),
        ("{defaults: {name: a}, cameras: []}", "name and stream are each camera's own"),
        ("{defaults: [], cameras: []}", None),
        ("cameras: [{name: a, source: !!python/object/apply:os.system [ls]}]", "neither YAML nor JSON"),
        ("cameras: [", "neither YAML nor JSON"),
        ("cameras: &a [*a]", "contains itself|references multiply"),
        ("x: &x {a: *x}", "contains itself"),
        (BOMB, "references multiply"),
        ("[" * 100_000, "neither YAML nor JSON|nested deeper"),
        ("{cameras: " + "[" * 30 + "]" * 30 + "}", "nested deeper than 20"),
        ("#" * (4 * 1024 * 1024 + 1), "at most 4194304 are read"),
        ("cameras: [" + "{name: a, source: b}," * 10_001 + "]", "at most 10000 fit"),
        ("\x00", "neither YAML nor JSON"),
    ],
)
def test_a_file_of_another_form_is_refused_in_words(text, words):
    if words is None:
        assert read_cameras(text) == []
        return
    with pytest.raises(CameraFileError, match=words):
        read_cameras(text)


def test_one_stream_name_in_two_regions_is_two_streams():
    text = "{cameras: [{name: a, source: b, region: eu-west-1}, {name: c, source: c, stream: a, region: eu-west-2}]}"
    assert len(read_cameras(text)) == 2
