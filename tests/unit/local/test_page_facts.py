"""Tracks, tags and the time line. Goal: gaps and copies are seen, and each codec has the name that people use."""

from kvspic.local.mkv_events import SimpleTag, Tags, Track
from kvspic.local.page_facts import found_tags, time_line, track_facts
from kvspic.local.records import FragmentRecord, HeaderRecord
from kvspic.local.store_index import FragmentRow
from kvspic.units import HNS_PER_MS


def row(start_ms, duration_ms=1000, *, session=1, server_ms=0):
    times = (start_ms * HNS_PER_MS, server_ms * HNS_PER_MS, duration_ms * HNS_PER_MS)
    return FragmentRow(start_ms, session, HeaderRecord(0, 0, 0), FragmentRecord(1, "77", 0, *times, 0, 500))


def test_fragments_that_follow_one_another_have_no_gap():
    line = time_line([row(1000), row(2000), row(3100)])
    assert (line["gaps"], line["duplicates"]) == ([], 0)
    assert line["fragments"][0] == [1000, 1000, 0, 500, 1, 0]


def test_a_break_of_more_than_a_tenth_of_a_second_is_a_gap():
    assert time_line([row(1000), row(2101), row(9000)])["gaps"] == [[2000, 101], [3101, 5899]]


def test_a_fragment_that_came_twice_is_a_copy_and_makes_no_gap():
    line = time_line([row(1000), row(2000), row(2000, session=2), row(2000, session=3), row(3000)])
    assert [one[5] for one in line["fragments"]] == [0, 0, 1, 2, 0]
    assert (line["gaps"], line["duplicates"]) == ([], 2)


def test_fragments_of_one_frame_last_until_the_next_one_of_their_session():
    line = time_line([row(1000, 0), row(2000, 0), row(3000, 0, session=2), row(40_000, 0, session=2)])
    assert [one[1] for one in line["fragments"]] == [1000, 0, 0, 0]
    assert line["gaps"] == [[2000, 1000], [3000, 37_000]]


def test_a_long_fragment_covers_what_begins_inside_it():
    assert time_line([row(1000, 5000), row(2000), row(6000)])["gaps"] == []


def test_tracks_have_the_names_that_people_use():
    avc = Track(1, kind=1, codec_id="V_MPEG4/ISO/AVC", codec_private=b"\x01\x64\x00\x1e", width=640, height=360)
    facts = track_facts(avc)
    assert (facts["codec"], facts["codecs"], facts["kind"], facts["width"]) == ("H.264", "avc1.64001E", "video", 640)
    hevc = track_facts(Track(1, kind=1, codec_id="V_MPEGH/ISO/HEVC"))
    assert (hevc["codec"], hevc["codecs"]) == ("H.265", "hvc1.1.6.L93.B0")
    assert track_facts(Track(2, kind=2, codec_id="A_AAC", codec_private=b"\x12\x10"))["codecs"] == "mp4a.40.2"
    vp9 = track_facts(Track(1, kind=1, codec_id="V_VP9"))
    assert (vp9["codec"], vp9["codecs"]) == ("VP9", None)


def test_tags_are_entries_and_events_are_marked():
    own = Tags(0, 10, (SimpleTag("door", "<img onerror=alert(1)>"),))
    event = Tags(10, 20, (SimpleTag("AWS_KINESISVIDEO_NOTIFICATION", ""), SimpleTag("what", "bell")))
    end = Tags(20, 30, (SimpleTag("AWS_KINESISVIDEO_END_OF_FRAGMENT", ""),))
    found = found_tags(row(1000), [own, event, end])
    assert [entry["event"] for entry in found] == [None, "AWS_KINESISVIDEO_NOTIFICATION"]
    assert found[0]["pairs"] == [("door", "<img onerror=alert(1)>")]
    assert found[1]["pairs"] == [("AWS_KINESISVIDEO_NOTIFICATION", ""), ("what", "bell")]
