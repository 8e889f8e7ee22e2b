"""The Matroska reader. Goal: the same bytes mean the same events however they were cut, and any bytes give events or
one documented problem."""

import random
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from unit.local import mkv_bytes as mkv

from kvspic.local.ebml import ProblemKind
from kvspic.local.mkv_events import Block, ClusterEnd, ClusterStart, DocumentStart, Header, Problem, Tags, ends_fragment
from kvspic.local.mkv_reader import MkvReader, read_all

VOID = mkv.element("EC", b"\0" * 9)
DOCUMENTS = {
    "unknown sizes": mkv.body(3),
    "known clusters": mkv.header() + mkv.cluster(5, mkv.block(), known=True) + mkv.cluster(9, known=True),
    "known segment": mkv.ebml() + mkv.element("18538067", mkv.info() + mkv.tracks(1, 2) + mkv.cluster(7)),
    "block groups": mkv.header() + mkv.cluster(5, mkv.group(-3, b"abc", mkv.uint("9B", 40)), mkv.group(1)),
    "two documents": mkv.body(1) + mkv.body(2),
    "voids and tags": mkv.header() + VOID + mkv.tags(("a", "b")) + VOID + mkv.cluster(5, VOID, mkv.block()) + mkv.END,
    "tags alone": mkv.ebml("webm") + mkv.segment_head(8) + mkv.tags(("a", "b")),
    "empty frame": mkv.header() + mkv.cluster(5, mkv.block(payload=b"")),
}
EDGE = mkv.header() + mkv.cluster(5)
PROBLEMS = {
    "zero byte": (b"\0" + EDGE, ProblemKind.BAD_ID),
    "text": (b"This is no video.", ProblemKind.NOT_EBML),
    "long id form": (mkv.header() + bytes.fromhex("4010") + b"\x80", ProblemKind.BAD_ID),
    "no size": (mkv.header() + bytes.fromhex("EC00"), ProblemKind.BAD_SIZE),
    "unknown size of a block": (mkv.header() + mkv.cluster(5) + bytes.fromhex("A3FF"), ProblemKind.UNKNOWN_SIZE),
    "unknown size of Tracks": (mkv.ebml() + mkv.segment_head() + bytes.fromhex("1654AE6BFF"), ProblemKind.UNKNOWN_SIZE),
    "block past its cluster": (
        mkv.header() + bytes.fromhex("1F43B675") + mkv.size(20) + mkv.uint("E7", 5) + mkv.block(payload=b"x" * 90),
        ProblemKind.OVERRUN,
    ),
    "track past Tracks": (mkv.ebml() + mkv.segment_head() + mkv.element("1654AE6B", b"\xae\x85"), ProblemKind.OVERRUN),
    "huge Tags": (mkv.header() + bytes.fromhex("1254C367") + mkv.size(1 << 30), ProblemKind.TOO_LARGE),
    "long timestamp": (mkv.header() + mkv.cluster(1 << 70), ProblemKind.BAD_VALUE),
    "scale of zero": (mkv.ebml() + mkv.segment_head() + mkv.info(0), ProblemKind.BAD_VALUE),
    "EBML 2": (mkv.ebml("matroska", mkv.uint("42F7", 2)), ProblemKind.UNSUPPORTED),
    "other document": (mkv.ebml("avi"), ProblemKind.NOT_MATROSKA),
    "no segment": (mkv.ebml() + mkv.tracks(1), ProblemKind.NO_SEGMENT),
    "second segment": (EDGE + mkv.segment_head(), ProblemKind.SECOND_SEGMENT),
    "second Tracks": (mkv.header() + mkv.tracks(1), ProblemKind.REPEATED),
    "second timestamp": (EDGE + mkv.uint("E7", 6), ProblemKind.REPEATED),
    "block without cluster": (mkv.header() + mkv.block(), ProblemKind.MISPLACED),
    "block after tags": (EDGE + mkv.END + mkv.block(), ProblemKind.MISPLACED),
    "cluster before Tracks": (mkv.ebml() + mkv.segment_head() + mkv.cluster(5), ProblemKind.NO_TRACKS),
    "track without number": (mkv.ebml() + mkv.segment_head() + mkv.element("1654AE6B", mkv.element("AE", b"")),
                             ProblemKind.BAD_TRACK),
    "track twice": (mkv.header(1, 1), ProblemKind.BAD_TRACK),
    "no timestamp": (mkv.header() + bytes.fromhex("1F43B675FF") + mkv.block(), ProblemKind.NO_TIMESTAMP),
    "short block": (mkv.header() + mkv.cluster(5, mkv.element("A3", b"\x81\0")), ProblemKind.BAD_BLOCK),
    "track zero": (mkv.header() + mkv.cluster(5, mkv.block(number=0)), ProblemKind.BAD_BLOCK),
    "lacing": (mkv.header() + mkv.cluster(5, mkv.block(flags=0x82)), ProblemKind.LACING),
    "cut frame": (EDGE[:-1], ProblemKind.TRUNCATED),
    "garbage after the end": (DOCUMENTS["known segment"] + b"\x42\x42\x81\0", ProblemKind.NOT_EBML),
}  # fmt: skip


def pieces(data, cuts):
    places = [0, *sorted(cut for cut in cuts if cut < len(data)), len(data)]
    return [data[start:end] for start, end in pairwise(places)]


def events_of(parts, keep_payload=True):
    reader = MkvReader(keep_payload=keep_payload)
    return [event for part in parts for event in reader.feed(part)] + reader.close()


def test_a_document_is_read_with_its_tracks_times_and_places():
    data = mkv.body(2, payload=b"abcd")
    events = read_all(data)
    assert [type(event) for event in events] == [
        DocumentStart, Header, ClusterStart, Block, Block, ClusterEnd, ClusterStart, Block, Block, ClusterEnd, Tags,
    ]  # fmt: skip
    head = events[1]
    assert (head.tracks[0].number, head.tracks[0].codec_id, head.tracks[0].width) == (1, "V_MPEG4/ISO/AVC", 640)
    assert head.tracks[0].codec_private == b"\x01cpd"
    assert data[head.end_offset :].startswith(bytes.fromhex("1F43B675"))
    first, second = events[3], events[4]
    assert (first.timecode, first.is_key_frame, first.payload) == (1_600_000_000_000, True, b"abcd")
    assert (second.timecode, second.is_key_frame) == (1_600_000_000_500, False)
    assert data[second.payload_offset :][: second.payload_size] == b"abcd"
    assert (events[5].offset, events[5].end_offset) == (events[2].offset, events[6].offset)


@pytest.mark.parametrize("name", DOCUMENTS)
def test_a_document_is_the_same_byte_by_byte_and_cut_at_random(name):
    data = DOCUMENTS[name]
    whole = read_all(data)
    assert not any(isinstance(event, Problem) for event in whole)
    assert events_of(data[i : i + 1] for i in range(len(data))) == whole
    chance = random.Random(name)
    for _ in range(20):
        assert events_of(pieces(data, [chance.randrange(len(data)) for _ in range(5)])) == whole


@pytest.mark.parametrize("name", PROBLEMS)
def test_each_fault_is_one_documented_problem_wherever_it_is_cut(name):
    data, kind = PROBLEMS[name]
    whole = read_all(data)
    assert [event.kind for event in whole if isinstance(event, Problem)] == [kind]
    assert isinstance(whole[-1], Problem)
    assert kind.value in whole[-1].text
    assert events_of(data[i : i + 1] for i in range(len(data))) == whole


def test_every_kind_of_problem_is_shown_once():
    assert {kind for _, kind in PROBLEMS.values()} == set(ProblemKind)


@settings(deadline=None)  # the machine may be busy; time says nothing here
@given(data=st.binary(max_size=300), cuts=st.lists(st.integers(0, 300), max_size=5))
def test_any_bytes_give_the_same_events_however_cut(data, cuts):
    assert events_of(pieces(data, cuts)) == events_of([data])


@settings(deadline=None)
@given(place=st.integers(0, len(EDGE + mkv.END) - 1), value=st.integers(0, 255), cut=st.integers(0, 400))
def test_a_changed_byte_gives_at_most_one_problem_and_it_is_last(place, value, cut):
    data = bytearray(EDGE + mkv.END)
    data[place] = value
    events = events_of(pieces(bytes(data), [cut]))
    assert not any(isinstance(event, Problem) for event in events[:-1])
    assert events == events_of([bytes(data)])


def test_nothing_follows_a_problem():
    reader = MkvReader()
    assert isinstance(reader.feed(b"\0\0")[-1], Problem)
    assert reader.feed(EDGE) == []
    assert reader.close() == []


def test_no_bytes_are_no_events():
    assert events_of([]) == []


def test_a_long_frame_is_not_held():
    reader = MkvReader()
    reader.feed(mkv.header() + mkv.cluster(5, b"\xa3" + mkv.size(4 + (1 << 40)) + mkv.block_body(1, 0, 0x80, b"")))
    for _ in range(64):
        assert reader.feed(bytes(65536)) == []
    assert reader.offset > 4_000_000


@pytest.mark.parametrize("width", range(1, 9))
def test_sizes_of_every_width_and_unknown_ones_of_every_width_are_read(width):
    void = mkv.element("EC", b"ab", width)
    data = mkv.ebml() + mkv.segment_head(width) + mkv.info() + mkv.tracks(1) + void + mkv.cluster(5)
    assert isinstance(read_all(data)[-1], ClusterEnd)


def test_a_block_group_tells_duration_padding_and_references():
    padding = mkv.element("75A2", (-21_333_333).to_bytes(8, "big", signed=True))
    reference = mkv.element("FB", b"\xff")
    groups = mkv.group(-3, b"abc", mkv.uint("9B", 40), padding), mkv.group(1, b"d", reference)
    first, second = [event for event in read_all(mkv.header() + mkv.cluster(5, *groups)) if isinstance(event, Block)]
    assert (first.timecode, first.duration, first.discard_padding_ns) == (2, 40, -21_333_333)
    assert (first.is_key_frame, second.is_key_frame) == (True, False)


def test_only_the_end_of_fragment_tag_belongs_to_the_cluster_before_it():
    found = [event for event in read_all(mkv.header() + mkv.tags(("a", "b")) + mkv.END) if isinstance(event, Tags)]
    assert [ends_fragment(event) for event in found] == [False, True]
    assert [(tag.name, tag.value) for tag in found[0].tags] == [("a", "b")]


def test_a_block_is_shown_without_its_payload():
    block = Block(0, 1, 40, True, False, False, 10, 3, b"\xde\xad\xbe")
    assert "payload_size=3" in repr(block)
    assert "xde" not in repr(block)
