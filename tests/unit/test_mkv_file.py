"""The Matroska writer. Goal: sizes, index and head are right, and a file that was never finished still plays."""

import io
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kvspic.local.ebml import UNKNOWN_SIZE, Id, children, parse_head
from kvspic.local.mkv_events import Problem, Track
from kvspic.local.mkv_reader import read_all
from kvspic.mkv_file import MkvCluster, MkvError, MkvFile, MkvFrame, track_entries

VIDEO = Track(1, kind=1, codec_id="V_VP9")
ENTRY = bytes.fromhex("d78101 73c58101 838101 8685 565f565039")
EPOCH_MS = 1_700_000_000_000


class Kept(io.BytesIO):
    """A file that leaves its bytes behind when it is closed."""

    kept = b""

    def close(self):
        self.kept = self.getvalue() if not self.closed else self.kept
        super().close()


def cluster(time_ms, *offsets, data=b"frame"):
    frames = tuple(MkvFrame(1, time_ms + offset, data, is_key_frame=place == 0) for place, offset in enumerate(offsets))
    return MkvCluster(time_ms, frames)


def written(*clusters):
    kept = Kept()
    file = MkvFile(kept)
    file.begin(clusters[0], [VIDEO], {1: ENTRY})
    for one in clusters:
        file.write_cluster(one)
    size = file.finish()
    assert size == len(kept.kept)
    return file, kept.kept


def level_1(data):
    """Id, place and payload of each element in the Segment."""
    head = parse_head(data, 0, 0)
    segment = head.width + head.size
    head = parse_head(data, segment, 0)
    assert head.size == len(data) - segment - head.width
    begin = segment + head.width
    found = [(element.id, element.offset - begin, element.body) for element in children(data[begin:], begin)]
    return begin, found


def test_seek_head_and_cues_point_at_what_they_name():
    _, data = written(cluster(0, 0, 40), cluster(2000, 0, 40))
    begin, elements = level_1(data)
    places = {ident: place for ident, place, _ in elements}
    seek_head = next(body for ident, _, body in elements if ident == Id.SEEK_HEAD)
    for entry in children(seek_head, 0):
        ident, place = (int.from_bytes(child.body, "big") for child in children(entry.body, 0))
        assert places[ident] == place
        assert data[begin + place :].startswith(ident.to_bytes(4, "big"))
    cues = next(body for ident, _, body in elements if ident == Id.CUES)
    points = []
    for point in children(cues, 0):
        time, positions = children(point.body, 0)
        points.append(
            (int.from_bytes(time.body, "big"), *(int.from_bytes(c.body, "big") for c in children(positions.body, 0)))
        )
    clusters = [place for ident, place, _ in elements if ident == Id.CLUSTER]
    assert points == [(0, 1, clusters[0]), (2000, 1, clusters[1])]


@pytest.mark.parametrize(
    "clusters,duration",
    [
        ([cluster(0, 0)], 0),
        ([cluster(0, 0, 40, 80)], 120),
        ([cluster(0, 0, 120, 40, 80)], 160),
        ([cluster(0, 0, 40), cluster(80, 0)], 120),
        ([cluster(EPOCH_MS, 0, 33, 66)], 99),
    ],
)
def test_the_duration_reaches_to_the_end_of_the_last_frame(clusters, duration):
    file, data = written(*clusters)
    assert file.duration_ms == duration
    assert b"\x44\x89\x88" + struct.pack(">d", duration) in data


def test_the_date_is_there_only_when_somebody_knows_it():
    file, data = written(cluster(EPOCH_MS, 0))
    nanoseconds = (EPOCH_MS - 978_307_200_000) * 1_000_000
    assert file.start_ms == EPOCH_MS
    assert b"\x44\x61\x88" + struct.pack(">q", nanoseconds) in data
    file, data = written(cluster(5000, 0))
    assert file.start_ms is None
    assert b"\x44\x61" not in data


def test_a_file_that_was_never_finished_can_be_read():
    kept = Kept()
    file = MkvFile(kept)
    file.begin(cluster(0, 0), [VIDEO], {1: ENTRY})
    file.write_cluster(cluster(0, 0, 40))
    data = kept.getvalue()
    head = parse_head(data, 0, 0)
    assert parse_head(data, head.width + head.size, 0).size == UNKNOWN_SIZE
    events = read_all(data)
    assert not any(isinstance(event, Problem) for event in events)
    assert [event.payload for event in events if hasattr(event, "payload")] == [b"frame", b"frame"]


def test_a_frame_too_far_from_its_cluster_is_refused():
    file = MkvFile(Kept())
    file.begin(cluster(0, 0), [VIDEO], {1: ENTRY})
    with pytest.raises(MkvError, match="32767"):
        file.write_cluster(cluster(0, 0, 32768))
    file.finish()


def test_frames_before_their_cluster_make_the_first_of_them_time_zero():
    _, data = written(cluster(EPOCH_MS, 0, -24, 40))
    assert [event.timecode for event in read_all(data) if hasattr(event, "payload")] == [24, 0, 64]


def test_a_cluster_over_earlier_times_is_noticed_unless_it_replaces_one():
    file = MkvFile(Kept())
    file.begin(cluster(0, 0), [VIDEO], {1: ENTRY})
    file.write_cluster(cluster(0, 0, 960))
    assert file.overlaps(cluster(500, 0))
    assert not file.overlaps(cluster(0, 0))
    assert not file.overlaps(cluster(1000, 0))
    file.finish()


def test_the_entries_of_tracks_keep_what_is_not_understood():
    extra = bytes.fromhex("22b59c83756e64")
    entry = ENTRY + extra
    tracks = b"\xae" + bytes((0x80 | len(entry),)) + entry
    header = b"\x15\x49\xa9\x66\x80" + b"\x16\x54\xae\x6b" + bytes((0x80 | len(tracks),)) + tracks
    assert track_entries(header) == {1: entry}


@given(st.lists(st.tuples(st.integers(0, 5), st.binary(min_size=1, max_size=200)), min_size=1, max_size=12))
def test_any_order_of_replays_gives_a_whole_file_with_the_newest_of_each_time(puts):
    first = [(0, b"first"), *puts]
    clusters = [cluster(step * 1000, 0, data=data) for step, data in first]
    file, data = written(*clusters)
    events = read_all(data)
    assert not any(isinstance(event, Problem) for event in events)
    newest = {step * 1000: data for step, data in first}
    read = {event.timecode: event.payload for event in events if hasattr(event, "payload")}
    assert read == newest
    assert (file.cluster_count, file.frame_count) == (len(newest), len(newest))
    level_1(data)
