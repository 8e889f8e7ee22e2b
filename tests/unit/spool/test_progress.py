"""What is settled. Goal: never more than the core, the service and the notes on disk say."""

import pytest

from kvspic.spool.progress import (
    NOTE_SIZE,
    FragmentStarts,
    StoredFragment,
    TrackProgress,
    as_stored,
    latest_note,
    pack_note,
    spans,
    stored_prefix,
    whole_ends,
)
from kvspic.spool.records import Record, RecordKind

MS = 1_000_000


def test_the_newest_whole_note_counts():
    old, new = pack_note(4, [1, 2, 3]), pack_note(5, [9, 8, 7])
    assert latest_note(old + new) == (5, [9, 8, 7])
    assert latest_note(new + old) == (5, [9, 8, 7])
    assert latest_note(b"") == (0, [])


@pytest.mark.parametrize("cut", range(NOTE_SIZE))
def test_a_note_that_is_not_whole_leaves_the_one_before(cut):
    old, new = pack_note(4, [1, 2, 3]), pack_note(5, [9, 8, 7])
    assert latest_note(old + new[:cut]) == (4, [1, 2, 3])


@pytest.mark.parametrize("place", range(36))
def test_a_note_with_a_flipped_byte_is_none(place):
    note = bytearray(pack_note(5, [9, 8, 7]))
    note[place] ^= 0x10
    assert latest_note(pack_note(4, [1, 2, 3]) + note) == (4, [1, 2, 3])


def test_the_cores_counts_are_turned_into_the_spools_numbers():
    track = TrackProgress(10, 10)
    for _ in range(3):
        track.take()
    assert not track.settle(0)
    assert track.settle(2)
    assert (track.settled, track.fed) == (12, 13)


def test_what_the_core_never_got_is_settled_with_what_comes_before_it():
    track = TrackProgress(0, 0)
    track.take()
    track.skip(5)
    track.take()
    assert track.fed == 7
    assert not track.settle(0)
    track.settle(1)
    assert track.settled == 6
    track.settle(2)
    assert track.settled == 7


def test_a_gap_before_the_first_frame_is_settled_at_once():
    track = TrackProgress(0, 0)
    track.skip(4)
    assert track.settle(0)
    assert track.settled == 4


def made(slot, number, time_ms, key=False, size=100):
    return Record(RecordKind.FRAME, int(key), slot, size, 0, number, time_ms * MS, time_ms * MS, 0)


VIDEO = [made(0, number, number * 40, key=number % 5 == 0) for number in range(15)]


def video_spans(records, first=(0, 0, 0)):
    return list(spans(records, first, FragmentStarts(0, False), 0))


def test_fragments_reach_from_key_frame_to_key_frame():
    found = video_spans(VIDEO)
    assert [(span.start_ns // MS, span.ends, span.frames, span.payload) for span in found] == [
        (0, [5, 0, 0], 5, 500), (200, [10, 0, 0], 5, 500), (400, [15, 0, 0], 5, 500),
    ]  # fmt: skip
    assert [span.start_number for span in video_spans(VIDEO, (5, 0, 0))] == [5, 10]


def test_what_begins_in_the_middle_of_a_fragment_is_compared_with_nothing():
    assert video_spans(VIDEO, (7, 0, 0)) == []


def test_where_every_frame_is_a_key_frame_a_fragment_lasts_two_seconds():
    starts = FragmentStarts(0, True)
    times = [0, 1000, 1999, 2000, 3999, 4001]
    assert [starts.is_start(RecordKind.FRAME, 0, 0, time * MS) for time in times] == [
        True, False, False, True, False, True,
    ]  # fmt: skip


def prefix(stored, is_whole=lambda span: False):
    last, following = stored_prefix(video_spans(VIDEO), dict.fromkeys(stored, StoredFragment(1, 1)), is_whole)
    return last and last.ends[0], following and following.start_number


def test_a_fragment_is_whole_at_the_service_when_the_next_one_is_there():
    assert prefix([0, 200]) == (5, 5)
    assert prefix([0]) == (None, 0)
    assert prefix([]) == (None, None)
    assert prefix([200, 400]) == (None, None)


def test_the_last_one_is_whole_when_its_size_says_so():
    assert prefix([0, 200], lambda span: True) == (10, 10)
    assert prefix([0, 200, 400], lambda span: True) == (15, None)
    assert prefix([0, 200, 400]) == (10, 10)


def joined(stored):
    """The fragments (begin in ms, end, frames, bytes) as a service has them with {begin in ms: length in ms}."""
    service = {begin: StoredFragment(1, length) for begin, length in stored.items()}
    found = list(as_stored(video_spans(VIDEO), service))
    last, following = stored_prefix(found, service, lambda span: False)
    seen = [(span.start_ns // MS, span.ends[0], span.frames, span.payload) for span in found]
    return seen, last and last.ends[0], following and following.start_number


def test_fragments_that_were_joined_on_the_way_are_recognised():
    apart = [(0, 5, 5, 500), (200, 10, 5, 500), (400, 15, 5, 500)]
    assert joined({0: 200, 200: 200, 400: 200}) == (apart, 10, 10)
    assert joined({0: 400, 400: 200}) == ([(0, 10, 10, 1000), (400, 15, 5, 500)], 10, 10)
    assert joined({0: 600}) == ([(0, 15, 15, 1500)], None, 0)  # whether it has its end, its size says
    assert joined({0: 200, 200: 400}) == ([(0, 5, 5, 500), (200, 15, 10, 1000)], 5, 5)


def test_what_only_lies_behind_a_stored_fragment_is_not_joined_to_it():
    apart = [(0, 5, 5, 500), (200, 10, 5, 500), (400, 15, 5, 500)]
    assert joined({}) == (apart, None, None)
    assert joined({0: 200}) == (apart, None, 0)
    assert joined({0: 201, 200: 200}) == (apart, 5, 5)  # the service has it as a fragment of its own
    assert joined({0: 401}) == ([(0, 15, 15, 1500)], None, 0)


def test_sound_around_a_key_frame_belongs_to_the_fragment_of_its_time():
    sound = [made(1, number, number * 50) for number in range(10)]
    late = [*VIDEO[:5], *sound[:6], *VIDEO[5:10], *sound[6:], *VIDEO[10:]]  # sound of 200 and 250 ms before the key
    found = video_spans(late)
    assert whole_ends(late, (0, 0, 0), found[1], 0) == [5, 4, 0]
    early = [*VIDEO[:5], *sound[:2], *VIDEO[5:10], *sound[2:], *VIDEO[10:]]
    assert whole_ends(early, (0, 0, 0), video_spans(early)[1], 0) == [5, 4, 0]
