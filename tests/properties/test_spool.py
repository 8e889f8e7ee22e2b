"""A spool's files, cut and flipped anywhere. Goal: what is read back is what was written, in order, nothing else."""

import shutil

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from unit.spool import bench
from unit.spool.bench import Core, feed, open_spool, segments

from kvspic.types import DropReason

FRAMES = 12
sizes = st.lists(st.integers(1, 400), min_size=FRAMES, max_size=FRAMES)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("spool")


def write(path, sizes):
    """A spool with frames of these sizes as a killed process leaves it; their bytes."""
    shutil.rmtree(path, ignore_errors=True)
    left = open_spool(path)
    frames = [bytes((number,)) * size for number, size in enumerate(sizes)]
    for number, data in enumerate(frames):
        left.spool.put_frame_now(data, number * 10**9, number * 10**9, 0, 1, number % 4 == 0)
    left.spool.leave()
    return frames


def read(path):
    """What the next process feeds, and its counters."""
    found = open_spool(path, Core())
    feed(found.spool)
    metrics = found.spool.metrics()
    assert metrics.adds_up
    bench.OPEN.clear()
    found.spool.leave()
    return [data for _, data in found.core.frames], metrics


@given(sizes=sizes, cut=st.integers(0, 10_000))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_a_file_cut_anywhere_is_a_prefix_of_the_frames(folder, sizes, cut):
    path = folder / "cut"
    frames = write(path, sizes)
    file = path / segments(path)[0]
    data = file.read_bytes()
    cut %= len(data) + 1
    file.write_bytes(data[:cut])
    found, metrics = read(path)
    assert found == frames[: len(found)]
    assert metrics.frames_put == len(found)
    assert metrics.spool_damages == 0
    start = len(data) - sum(size + 52 for size in sizes)
    assert len(found) == sum(start + sum(s + 52 for s in sizes[: n + 1]) <= cut for n in range(FRAMES))


@given(sizes=sizes, place=st.integers(0, 10_000), bit=st.integers(0, 7))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_a_flipped_bit_is_found_and_costs_one_frame_at_most(folder, sizes, place, bit):
    path = folder / "flip"
    frames = write(path, sizes)
    file = path / segments(path)[0]
    data = bytearray(file.read_bytes())
    data[place % len(data)] ^= 1 << bit
    file.write_bytes(data)
    found, metrics = read(path)
    missing = [data for data in frames if data not in found]
    assert found == [data for data in frames if data in found]
    assert len(missing) <= 1
    in_head = place % len(data) < len(data) - sum(size + 52 for size in sizes)
    assert bool(missing) != in_head
    if missing and missing != frames[-1:]:  # nothing is left that could show this last frame
        assert metrics.dropped[DropReason.SPOOL_LOST] == 1
    assert metrics.spool_damages >= len(missing)
