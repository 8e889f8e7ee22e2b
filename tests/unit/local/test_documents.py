"""The tags that the service adds to media. Goal: their names and forms are those of the developer guide."""

from unit.local import mkv_bytes as mkv

from kvspic.local.documents import SEGMENT_HEAD, continuation_tags, fragment_tags, missing_fragment_tags
from kvspic.local.mkv_events import Problem, Tags
from kvspic.local.mkv_reader import read_all
from kvspic.local.records import FragmentRecord

FRAGMENT = FragmentRecord(1, "91343", 0, 15_118_521_085_137_999, 15_118_521_091_260_000, 0, 0, 0)


def tags_in(data):
    events = read_all(mkv.ebml() + SEGMENT_HEAD + data)
    assert not any(isinstance(event, Problem) for event in events)
    return [(tag.name, tag.value) for event in events if isinstance(event, Tags) for tag in event.tags]


def test_a_fragments_tags_have_seconds_with_three_decimals():
    assert tags_in(fragment_tags(FRAGMENT, is_list=False)) == [
        ("AWS_KINESISVIDEO_FRAGMENT_NUMBER", "91343"),
        ("AWS_KINESISVIDEO_SERVER_TIMESTAMP", "1511852109.126"),
        ("AWS_KINESISVIDEO_PRODUCER_TIMESTAMP", "1511852108.513"),
    ]


def test_the_list_operation_spells_the_times_twice():
    names = [name for name, _ in tags_in(fragment_tags(FRAGMENT, is_list=True))]
    assert names[3:] == ["AWS_KINESISVIDEO_SERVER_SIDE_TIMESTAMP", "AWS_KINESISVIDEO_PRODUCER_SIDE_TIMESTAMP"]


def test_the_end_of_a_fragment_says_where_to_go_on():
    assert tags_in(continuation_tags("91343", 158_580_000)) == [
        ("AWS_KINESISVIDEO_MILLIS_BEHIND_NOW", "15858"),
        ("AWS_KINESISVIDEO_CONTINUATION_TOKEN", "91343"),
    ]
    assert tags_in(continuation_tags("91343", -1))[0][1] == "0"


def test_a_missing_fragment_is_a_document_that_says_so():
    events = read_all(missing_fragment_tags("5", is_damaged=False))
    assert [tag.name.rpartition("_EXCEPTION_")[2] for tag in events[-1].tags][1:] == ["ERROR_CODE", "MESSAGE"]
