"""Inspecting a file. Goal: what is in it is counted right, and what the service refuses is named with its place."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from unit import stored_media
from unit.sources.clips import CLIPS, MEDIA, packets
from unit.stored_media import BASE_MS, avcc, document, nal_units, stored

from kvspic.inspect import inspect_bytes, inspect_file, render
from kvspic.sources import SourceError, SourceFrame, SourceTrack, open_source

VIDEO = SourceTrack(1, "video", "V_VP9", "v", b"one", "video/vp9", width=64, height=48)
SOUND = SourceTrack(2, "audio", "A_OPUS", "a", b"two", "audio/opus", sample_rate=48000, channels=1)


def picture(time_ms, data=b"picture", key=False, track=1):
    return SourceFrame(track, data, time_ms * 1_000_000, time_ms * 1_000_000, 0, key)


def texts(data):
    return [finding.text for finding in inspect_bytes([data]).findings]


def one_document(*clusters, tracks=(VIDEO,)):
    return stored_media.header(list(tracks)) + b"".join(clusters)


def cluster(time_ms, *frames):
    return stored_media.cluster(BASE_MS + time_ms, list(frames))


GOOD = one_document(cluster(0, picture(0, key=True), picture(40)), cluster(1000, picture(1000, key=True)))

FOUR = [replace(VIDEO, number=number) for number in (1, 2, 3, 4)]


@pytest.mark.parametrize("name", CLIPS)
def test_every_clip_is_counted(name):
    found = inspect_file(MEDIA / name)
    with open_source(MEDIA / name) as source:
        frames = list(source.frames())
    assert found.frames == len(frames)
    assert found.size == (MEDIA / name).stat().st_size
    assert sum(track.payload_size for track in found.tracks) == sum(memoryview(frame.data).nbytes for frame in frames)
    assert bool(found.clusters) == name.endswith((".mkv", ".webm"))


def test_a_matroska_file_is_counted_like_its_packets():
    found = inspect_file(MEDIA / "av1_320x240_25fps.mkv", with_blocks=True)
    wanted = packets(MEDIA / "av1_320x240_25fps.mkv")
    blocks = [block for cluster in found.clusters for block in cluster.blocks]
    assert [(block.time_ms, block.size, block.is_key_frame) for block in blocks] == [
        (packet.pts, len(packet.data), packet.is_keyframe) for packet in wanted
    ]
    data = (MEDIA / "av1_320x240_25fps.mkv").read_bytes()
    assert all(data[cluster.offset :].startswith(b"\x1f\x43\xb6\x75") for cluster in found.clusters)
    assert sum(sum(cluster.frames.values()) for cluster in found.clusters) == len(wanted)
    assert found.findings == ()


def test_what_the_service_gives_back_is_described():
    with open_source(MEDIA / "av_h264_main_aac_44100_640x360_25fps.mp4") as source:
        found = inspect_bytes([stored(source)[0]])
    assert (found.documents, len(found.clusters), found.frames) == (4, 4, 546)
    assert [(track.kind, track.detail, track.frames) for track in found.tracks] == [
        ("video", "640x360", 200), ("audio", "44100 Hz, 2 channels", 346),
    ]  # fmt: skip
    assert [finding.text for finding in found.findings] == [
        "4 documents follow each other; most players read only the first."
    ]
    assert ("AWS_KINESISVIDEO_FRAGMENT_NUMBER", "100") in found.tags


def test_good_media_has_no_problem():
    assert texts(GOOD) == []
    assert render(inspect_bytes([GOOD])).endswith("Problems: none\n")


@pytest.mark.parametrize(
    "data,words",
    [
        (one_document(cluster(0, picture(0, key=True)), cluster(0, picture(0, key=True))), "error 4004"),
        (one_document(cluster(0, picture(0, key=True)), tracks=(VIDEO, SOUND)), "error 4011"),
        (one_document(cluster(0, picture(0, key=True), picture(1, track=3))), "names track 3"),
        (one_document(cluster(0, picture(0))), "does not begin with a key frame"),
        (one_document(cluster(0, picture(0, key=True), picture(20_001))), "error 4002"),
        (one_document(cluster(0)), "has no block"),
        (one_document(cluster(0, picture(0, b"", key=True))), "is empty"),
        (one_document(), "no cluster"),
        (one_document(cluster(0, picture(0, key=True)), tracks=FOUR), "4 tracks"),
        (one_document(cluster(0, picture(0, key=True)), tracks=(replace(VIDEO, codec_id="A_AAC", codec_private=None),)),
         "no codec private data"),
        (GOOD[:-4], "end inside an element"),
        (GOOD + b"\x00\x00", "cannot be read"),
        (b"GIF89a" + GOOD, "cannot be read"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named(data, words):
    found = texts(data)
    assert any(words in text for text in found), found
    assert all(text.endswith(".") for text in found)


def test_frames_with_start_codes_are_named_and_length_prefixed_ones_are_not():
    annexb = packets(MEDIA / "h264_baseline_320x240_25fps.h264")[0].data
    track = replace(VIDEO, codec_id="V_MPEG4/ISO/AVC", codec_private=avcc(annexb))
    bad = one_document(cluster(0, picture(0, annexb, key=True)), tracks=(track,))
    assert texts(bad) == ["The frames of track 1 are not length-prefixed; players need that."]
    good = b"".join(len(unit).to_bytes(4, "big") + unit for unit in nal_units(annexb))
    assert texts(one_document(cluster(0, picture(0, good, key=True)), tracks=(track,))) == []


def test_a_change_of_private_data_between_documents_is_named():
    data = document([VIDEO], BASE_MS, [picture(0, key=True)], 1)
    data += document([replace(VIDEO, codec_private=b"new")], BASE_MS + 1000, [picture(1000, key=True)], 2)
    assert any("private data of track 1 changes" in text for text in texts(data))


def test_there_is_an_end_to_the_problems_that_are_kept():
    clusters = (cluster(0, picture(0)) for _ in range(300))
    assert len(texts(one_document(*clusters))) == 100


def test_the_text_names_tracks_clusters_blocks_and_problems():
    data = one_document(cluster(0, picture(0), picture(40, track=1)))
    text = render(inspect_bytes([data], with_blocks=True))
    assert "1 video V_VP9 64x48" in text
    assert "time 1700000000.000 s, span 40 ms, frames 1:2, no key frame first" in text
    assert "block at" in text
    assert "Problems\n  A cluster does not begin with a key frame" in text


def test_a_file_that_is_no_media_is_refused(tmp_path):
    (tmp_path / "notes").write_text("no media")
    for name in ("notes", "none"):
        with pytest.raises(SourceError):
            inspect_file(tmp_path / name)


@settings(max_examples=50, deadline=None)
@given(st.binary(max_size=200), st.integers(0, len(GOOD)))
def test_any_bytes_give_a_description(data, place):
    found = inspect_bytes([GOOD[:place] + data])
    assert render(found)
    assert inspect_bytes([GOOD[:place], data]) == found


def test_one_of_a_kind_has_no_plural():
    text = render(inspect_bytes([one_document(cluster(0, picture(0, key=True)))]))
    assert ", 1 track, 1 cluster, 1 frame\n" in text
