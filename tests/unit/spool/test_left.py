"""What an earlier process left, shortened and marked. Goal: what is before the given time stays, whole and in order,
and each fragment has the metadata that it was put with."""

import errno

import pytest
from unit.spool.bench import AUDIO, BASE_NS, SECOND_NS, VIDEO, Core, feed, frame, numbers, open_spool, put

from kvspic import errors
from kvspic.spool.cut import cut_left
from kvspic.spool.files import SpoolDir

COUNT = 1500  # of 5 KB: several segments


def fill(path, count=COUNT, size=5000):
    bench = open_spool(path, size=32 << 20)
    put(bench.spool, *range(count), size=size)
    bench.spool.leave()


def time_of(number):
    """As :func:`unit.spool.bench.put` has it."""
    return BASE_NS + number * SECOND_NS // 5


def cut(path, until_ns):
    directory = SpoolDir(path)
    try:
        cut_left(directory, until_ns)
    finally:
        directory.close()


def left(path):
    bench = open_spool(path, size=32 << 20)
    feed(bench.spool)
    found = bench.spool.metrics()
    assert found.frames_dropped == 0
    assert found.spool_damages == 0
    bench.spool.leave()
    return numbers(bench.core)


@pytest.mark.parametrize("kept", [0, 1, 7, COUNT // 2, COUNT - 1, COUNT])
def test_the_frames_before_the_time_stay(tmp_path, kept):
    fill(tmp_path)
    assert len(list(tmp_path.glob("*.seg"))) > 2
    for _ in range(2):  # a second time changes nothing
        cut(tmp_path, time_of(kept))
        assert left(tmp_path) == list(range(kept))


def test_a_process_that_ended_in_the_midst_of_it_is_no_harm(tmp_path, monkeypatch):
    fill(tmp_path)
    removed = []

    def remove_one(self, number):
        if removed:
            raise OSError(5, "Input/output error")
        removed.append(number)
        self._removals.remove(self._file(number))

    monkeypatch.setattr(SpoolDir, "remove", remove_one)
    with pytest.raises(OSError, match="Input/output error"):
        cut(tmp_path, time_of(5))
    monkeypatch.undo()
    assert removed
    found = left(tmp_path)
    assert found == list(range(len(found)))
    assert 5 < len(found) < COUNT
    cut(tmp_path, time_of(5))
    assert left(tmp_path) == list(range(5))


def test_what_follows_goes_on_behind_the_cut(tmp_path):
    fill(tmp_path, count=20)
    cut(tmp_path, time_of(12))
    bench = open_spool(tmp_path, size=32 << 20)
    put(bench.spool, *range(40, 45))
    feed(bench.spool)
    assert numbers(bench.core) == [*range(12), *range(40, 45)]
    assert bench.spool.metrics().adds_up


def test_an_empty_folder_and_other_tracks(tmp_path):
    cut(tmp_path, 0)
    bench = open_spool(tmp_path, tracks=(VIDEO, AUDIO))
    put(bench.spool, *range(10))
    put(bench.spool, *range(10), track=2)
    bench.spool.leave()
    cut(tmp_path, time_of(4))
    bench = open_spool(tmp_path, tracks=(VIDEO, AUDIO))
    feed(bench.spool)
    assert numbers(bench.core) == [0, 1, 2, 3]  # the sound was put after all of the pictures


def test_what_an_earlier_process_left_is_tagged_and_nothing_else(tmp_path):
    bench = open_spool(tmp_path)
    bench.spool.put_metadata("who", "1", True)
    put(bench.spool, *range(5))
    bench.spool.leave()
    bench = open_spool(tmp_path, begin=False, tags={"late": "yes"})
    bench.spool.put_metadata("who", "2", True)
    put(bench.spool, *range(10, 15))
    bench.spool.begin(True, {})
    feed(bench.spool)
    middle = {frame(number) for start in (1, 11) for number in range(start, start + 4)}
    said = [one for one in bench.core.said if one not in middle]
    assert set(said[:3]) == {("late", "yes", True), ("who", "1", True)}
    assert said[3:5] == [frame(0), "end"]
    assert set(said[5:-1]) == {("late", "", True), ("who", "2", True)}
    assert said[-1] == frame(10)


def test_metadata_of_every_fragment_outlives_the_first_ones_that_are_settled(tmp_path):
    bench = open_spool(tmp_path)
    put(bench.spool, 0)
    bench.spool.put_metadata("who", "1", True)
    bench.spool.put_metadata("once", "1", False)
    put(bench.spool, *range(5, 15))
    bench.core.done(6)
    bench.spool.settle()
    bench.spool.leave()
    bench = open_spool(tmp_path)
    feed(bench.spool)
    assert bench.core.said[0] == ("who", "1", True)
    assert ("once", "1", False) not in bench.core.said
    assert numbers(bench.core) == list(range(10, 15))


def test_metadata_before_the_stream_was_ready_waits_with_its_frames(tmp_path):
    core = Core()
    bench = open_spool(tmp_path, core, begin=False)
    core.is_ready = False
    bench.spool.put_metadata("who", "1", True)
    put(bench.spool, *range(5))
    assert core.said == []
    found = bench.spool.metrics()
    assert (found.frames_put, found.frames_spooled) == (5, 5)
    core.is_ready = True
    bench.spool.begin(True, {})
    feed(bench.spool)
    assert core.said == [("who", "1", True)] + [frame(n) for n in range(5)]
    assert bench.spool.metrics().adds_up


def test_metadata_before_the_stream_was_ready_is_refused_where_nothing_can_be_written(tmp_path):
    bench = open_spool(tmp_path, begin=False)
    bench.core.is_ready = False
    bench.directory.error = OSError(errno.EROFS, "Read-only file system")
    bench.spool._fail(bench.directory.error)
    with pytest.raises(errors.StateError):
        bench.spool.put_metadata("who", "1", True)
