"""Segments as they are read. Goal: the walk sees every record once, however small the pieces that a read gives."""

import pytest

from kvspic.spool.records import HEAD_SIZE, RecordKind, SegmentHead, pack_record, pack_segment_head
from kvspic.spool.segments import Reader, frames, load_segment

PAYLOADS = [bytes((number,)) * (number * 37 % 300 + 1) for number in range(40)]
HEAD = pack_segment_head(SegmentHead([{"number": 1}], [5, 0, 0], 100))
RECORDS = [
    pack_record(RecordKind.FRAME, 0, 0, 5 + number, (number, number, 0), data) + data
    for number, data in enumerate(PAYLOADS)
]
DATA = HEAD + b"".join(RECORDS)


def read(offset, size):
    return DATA[offset : offset + size]


@pytest.mark.parametrize("chunk", [1, 7, HEAD_SIZE, 200, 10_000])
def test_every_record_is_seen_whatever_the_pieces(monkeypatch, chunk):
    monkeypatch.setattr("kvspic.spool.segments.CHUNK_SIZE", chunk)
    segment = load_segment(1, read, len(DATA), [0, 0, 0], is_last=True)
    assert (segment.start, segment.first, segment.end) == (len(HEAD), [5, 0, 0], [45, 0, 0])
    assert segment.payload == sum(map(len, PAYLOADS))
    assert [record.number for record in frames(read, segment)] == list(range(5, 45))


def test_a_segment_may_grow_while_it_is_read():
    reader = Reader(read, len(HEAD))
    end, seen = len(HEAD), 0
    for number, record in enumerate(RECORDS):
        assert reader.peek(end) is None
        end += len(record)
        found = reader.peek(end)
        assert (found.record.number, bytes(found.payload)) == (5 + number, PAYLOADS[number])
        reader.advance(found.size)
        seen += 1
    assert seen == len(RECORDS)


def test_a_file_that_ends_too_soon_or_cannot_be_read_is_damage_to_its_end():
    short = Reader(lambda offset, size: b"", 10)
    assert short.peek(100) == (None, None, 90)

    def fail(offset, size):
        raise OSError(5, "Input/output error")

    assert Reader(fail, 10).peek(100) == (None, None, 90)


def test_only_the_head_is_read_of_a_segment_that_is_not_the_last():
    asked = []

    def counted(offset, size):
        asked.append(size)
        return read(offset, size)

    segment = load_segment(1, counted, len(DATA), [0, 0, 0], is_last=False)
    assert (len(asked), segment.end) == (1, [5, 0, 0])


@pytest.mark.parametrize("cut", [1, HEAD_SIZE - 1, HEAD_SIZE, HEAD_SIZE + 3])
def test_a_record_that_was_cut_while_it_was_written_is_no_part_of_it(cut):
    whole = len(HEAD) + len(RECORDS[0])
    data = DATA[: whole + cut] if cut < len(RECORDS[1]) else DATA[: whole + len(RECORDS[1]) - 1]
    segment = load_segment(1, lambda offset, size: data[offset : offset + size], len(data), [0, 0, 0], is_last=True)
    assert (segment.size, segment.end) == (whole, [6, 0, 0])
