"""Records on disk. Goal: what was written whole is read back, and what was not is never taken for a record."""

import pytest

from kvspic.spool.records import (
    HEAD_SIZE,
    RecordKind,
    SegmentHead,
    pack_record,
    pack_segment_head,
    parse_segment_head,
    step,
)

TIMES = (1_700_000_000_000_000_000, 1_699_999_999_000_000_000, 40_000_000)


def record(number, payload):
    return pack_record(RecordKind.FRAME, 5, 1, number, TIMES, payload) + payload


def walk(data):
    """Numbers of the whole records in ``data``, the last of a segment."""
    found, data = [], memoryview(data)
    while data:
        here = step(data, True)
        if here.record is not None and here.payload is not None:
            found.append((here.record.number, bytes(here.payload)))
        data = data[here.size :]
    return found


def test_a_record_is_read_as_it_was_written():
    here = step(memoryview(record(7, b"payload")), False)
    assert here.record == (RecordKind.FRAME, 5, 1, 7, here.record.payload_crc, 7, *TIMES)
    assert (bytes(here.payload), here.size) == (b"payload", HEAD_SIZE + 7)


@pytest.mark.parametrize("data", [bytearray(b"xyz"), memoryview(b"xyz")])
def test_a_payload_is_anything_with_bytes(data):
    assert pack_record(RecordKind.FRAME, 0, 0, 0, (0, 0, 0), data) == pack_record(
        RecordKind.FRAME, 0, 0, 0, (0, 0, 0), b"xyz"
    )


def test_bytes_that_are_still_to_come_are_asked_for():
    whole = memoryview(record(1, b"p" * 100))
    assert step(whole[:10], False) == HEAD_SIZE
    assert step(whole[:HEAD_SIZE], False) == HEAD_SIZE + 100
    assert step(whole, False).size == len(whole)


@pytest.mark.parametrize("cut", range(2 * (HEAD_SIZE + 5)))
def test_a_segment_cut_anywhere_holds_the_records_before_the_cut(cut):
    data = record(1, b"first") + record(2, b"other")
    assert walk(data[:cut]) == [(1, b"first")][: cut // (HEAD_SIZE + 5)]


@pytest.mark.parametrize("place", range(HEAD_SIZE + 5))
def test_a_flipped_byte_costs_its_record_and_no_other(place):
    data = bytearray(record(1, b"first") + record(2, b"other") + record(3, b"third"))
    data[HEAD_SIZE + 5 + place] ^= 0x40
    assert walk(data) == [(1, b"first"), (3, b"third")]


def test_the_way_is_found_after_rubbish_that_looks_like_a_record():
    assert walk(b"kSpR" * 50 + record(4, b"found")) == [(4, b"found")]


HEAD = SegmentHead([{"number": 1}], [3, 4, 0], 99, True, [b"\0cpd"], {"place": "yard"})


def test_a_segment_head_is_read_as_it_was_written():
    packed = pack_segment_head(HEAD)
    assert parse_segment_head(packed + b"more") == (HEAD, len(packed))


def test_a_segment_head_that_is_longer_says_how_long():
    packed = pack_segment_head(HEAD)
    assert parse_segment_head(packed[:40]) == (None, len(packed))
    assert parse_segment_head(packed[:3]) == (None, 0)


@pytest.mark.parametrize("place", range(0, len(pack_segment_head(HEAD)), 3))
def test_a_flipped_byte_in_a_segment_head_is_found(place):
    data = bytearray(pack_segment_head(HEAD))
    data[place] ^= 1
    assert parse_segment_head(bytes(data))[0] is None
