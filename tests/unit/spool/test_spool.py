"""A spool before its core. Goal: every frame reaches the core once and in order, or is counted, whatever memory, disk
and process do."""

import errno
import random
import threading

import pytest
from unit.spool.bench import (
    AUDIO,
    BASE_NS,
    MIB,
    SECOND_NS,
    VIDEO,
    Core,
    feed,
    frame,
    numbers,
    open_spool,
    put,
    segments,
)

from kvspic import actions, errors
from kvspic.spool import records
from kvspic.spool.progress import StoredFragment
from kvspic.types import DropReason


def again(bench, core=None, **options):
    """The process was killed, and another one opens the folder."""
    bench.spool.leave()
    return open_spool(bench.directory.path, core, **options)


def test_frames_go_to_the_core_and_to_disk(tmp_path):
    bench = open_spool(tmp_path)
    put(bench.spool, *range(10))
    assert numbers(bench.core) == list(range(10))
    found = bench.spool.metrics()
    assert (found.frames_put, found.frames_buffered, found.frames_spooled) == (10, 10, 0)
    assert found.adds_up
    assert numbers(again(bench, begin=False).core) == []


def test_what_a_killed_process_left_is_fed_before_new_frames(tmp_path):
    bench = open_spool(tmp_path)
    put(bench.spool, *range(7))
    bench = again(bench, begin=False)
    put(bench.spool, *range(10, 15))
    assert numbers(bench.core) == []
    bench.spool.begin(True, {})
    feed(bench.spool)
    assert bench.core.said == [frame(n) for n in range(7)] + ["end"] + [frame(n) for n in range(10, 15)]
    found = bench.spool.metrics()
    assert (found.frames_put, found.frames_recovered, found.frames_buffered) == (12, 7, 12)
    assert found.adds_up
    assert bench.spool.take_events() == [actions.SpoolRecovered("door", 7, 7 * 104, 0, 0, True)]


def test_a_decoding_time_that_is_not_known_stays_so_on_disk(tmp_path):
    bench = open_spool(tmp_path)
    for pts_ns in (1000, 1200, 1100):
        bench.spool.put_frame_now(b"x", pts_ns, None, 0, 1, 1)
    assert bench.core.times == [(10, None), (12, None), (11, None)]
    bench = again(bench)
    feed(bench.spool)
    assert bench.core.times == [(10, None), (12, None), (11, None)]


def test_what_was_settled_is_not_fed_again(tmp_path):
    bench = open_spool(tmp_path)
    put(bench.spool, *range(15))
    bench.core.done(10)
    bench.spool.settle()
    bench = again(bench)
    feed(bench.spool)
    assert numbers(bench.core) == [10, 11, 12, 13, 14]
    assert bench.spool.metrics().bytes_put == 5 * 104


def test_what_the_service_has_is_not_fed_again(tmp_path):
    bench = open_spool(tmp_path)
    put(bench.spool, *range(15))
    bench = again(bench, begin=False)
    start_ms = BASE_NS // 1_000_000
    bench.spool.begin(True, {start_ms: StoredFragment(600, 800), start_ms + 1000: StoredFragment(600, 400)})
    feed(bench.spool)
    assert numbers(bench.core) == list(range(5, 15))  # the second one is too short to be whole
    assert bench.spool.metrics().adds_up
    assert bench.spool.take_events()[0] == actions.SpoolRecovered("door", 10, 1040, 5, 0, True)
    bench = again(bench)
    feed(bench.spool)
    assert numbers(bench.core) == list(range(5, 15))


def test_a_full_core_sends_frames_to_disk_only_and_gets_them_in_order(tmp_path):
    bench = open_spool(tmp_path, Core(room=4))
    put(bench.spool, *range(10))
    found = bench.spool.metrics()
    assert (found.frames_buffered, found.frames_spooled, found.bytes_spooled) == (4, 6, 6 * 104)
    assert found.adds_up
    while not bench.spool.is_fed:
        bench.core.done(1)
        bench.spool.settle()
        feed(bench.spool)
        assert bench.spool.metrics().adds_up
    put(bench.spool, 10)
    assert numbers(bench.core) == list(range(10 if bench.core.room == 0 else 11))
    assert [event.begins for event in bench.spool.take_events() if isinstance(event, actions.Spooling)][:2] == [
        True, False,
    ]  # fmt: skip


def test_files_go_when_their_frames_are_settled(tmp_path):
    bench = open_spool(tmp_path)
    put(bench.spool, *range(50), size=10_000)
    assert len(segments(tmp_path)) == 5
    bench.core.done(45)
    assert bench.spool.settle()
    assert len(segments(tmp_path)) == 1
    bench.core.done(5)
    assert bench.spool.finish().frames_spooled == 0
    assert {found.name for found in tmp_path.iterdir()} == {"lock"}


def test_closing_leaves_what_is_owed(tmp_path):
    bench = open_spool(tmp_path, Core(room=4))
    put(bench.spool, *range(10))
    bench.core.done(3)
    found = bench.spool.finish()
    assert (found.frames_put, found.frames_done, found.frames_buffered, found.frames_spooled) == (10, 3, 0, 7)
    assert found.adds_up
    bench = open_spool(tmp_path)
    feed(bench.spool)
    assert numbers(bench.core) == list(range(3, 10))


def test_a_closed_spool_takes_nothing(tmp_path):
    bench = open_spool(tmp_path)
    bench.spool.stop()
    with pytest.raises(errors.StreamStoppedError, match="open it again"):
        put(bench.spool, 0)


def test_at_the_cap_a_realtime_stream_loses_the_oldest_and_says_so(tmp_path):
    bench = open_spool(tmp_path, Core(room=0))
    put(bench.spool, *range(200), size=10_000)
    found = bench.spool.metrics()
    assert found.spool_used <= MIB
    assert found.adds_up
    lost = found.dropped[DropReason.SPOOL_FULL]
    assert 0 < lost < 110
    events = [event for event in bench.spool.take_events() if isinstance(event, actions.SpoolDropped)]
    assert sum(event.frames for event in events) == lost
    bench.core.room = 1000
    feed(bench.spool)
    assert numbers(bench.core) == list(range(lost, 200))
    assert bench.core.said[0] == "end"  # what follows a gap begins with a key frame


def test_at_the_cap_frames_that_memory_holds_are_not_lost(tmp_path):
    bench = open_spool(tmp_path)
    put(bench.spool, *range(200), size=10_000)
    found = bench.spool.metrics()
    assert (found.frames_buffered, found.dropped[DropReason.SPOOL_FULL]) == (200, 0)
    events = bench.spool.take_events()
    assert sum(event.frames_in_memory for event in events) > 0
    found = bench.spool.finish()
    assert found.frames_buffered == sum(event.frames_in_memory for event in events)
    assert found.frames_buffered + found.frames_spooled == 200
    assert found.adds_up


def test_at_the_cap_an_offline_stream_refuses_until_there_is_room(tmp_path):
    bench = open_spool(tmp_path, offline=True)
    with pytest.raises(errors.StoreFullError):
        put(bench.spool, *range(200), size=10_000)
    count = len(bench.core.frames)
    bench.core.done(count // 2)
    assert bench.spool.settle()
    put(bench.spool, count, size=10_000)
    assert numbers(bench.core) == list(range(count + 1))
    assert bench.spool.metrics().frames_dropped == 0


def test_a_frame_that_would_fill_the_spool_is_refused(tmp_path):
    bench = open_spool(tmp_path)
    with pytest.raises(errors.FrameTooLargeError, match="spool_size"):
        put(bench.spool, 0, size=MIB // 2)
    with pytest.raises(errors.UnknownTrackError):
        put(bench.spool, 0, track=9)


@pytest.mark.parametrize("times", [(-1, 0, 0), (0, 2**63, 0)])
def test_a_frame_for_the_disk_is_checked_as_the_core_would(tmp_path, times):
    bench = open_spool(tmp_path, Core(room=0))
    put(bench.spool, 0)
    with pytest.raises(OverflowError):
        bench.spool.put_frame_now(b"x", *times, 1, 0)
    with pytest.raises(errors.FrameDataError):
        bench.spool.put_frame_now(b"", 0, 0, 0, 1, 0)
    assert bench.spool.metrics().frames_put == 1


def test_what_the_core_refuses_is_not_written(tmp_path):
    bench = open_spool(tmp_path)
    bench.core.refused = (frame(1),)
    put(bench.spool, 0)
    with pytest.raises(errors.MediaError):
        put(bench.spool, 1)
    put(bench.spool, 2)
    bench = again(bench)
    feed(bench.spool)
    assert numbers(bench.core) == [0, 2]
    assert bench.spool.metrics().frames_put == 2


def test_what_the_core_refuses_when_it_is_fed_is_counted(tmp_path):
    bench = open_spool(tmp_path, Core(room=0))
    put(bench.spool, *range(5))
    bench.core.refused, bench.core.room = (frame(2),), 100
    feed(bench.spool)
    assert numbers(bench.core) == [0, 1, 3, 4]
    found = bench.spool.metrics()
    assert found.dropped[DropReason.SPOOL_LOST] == 1
    assert found.adds_up
    assert actions.SpoolDamaged("door", 1) in bench.spool.take_events()
    bench.core.done(4)
    assert bench.spool.finish().frames_spooled == 0
    assert segments(tmp_path) == []


def flip(path, offset, bits=0xFF):
    data = bytearray(path.read_bytes())
    data[offset] ^= bits
    path.write_bytes(data)


def test_damage_costs_what_it_hit(tmp_path):
    bench = open_spool(tmp_path)
    put(bench.spool, *range(20), size=1000)
    size = 1000 + 4 + 52
    bench.spool.leave()
    name = tmp_path / segments(tmp_path)[0]
    end = name.stat().st_size
    flip(name, end - 12 * size - 500)  # the payload of frame 7
    flip(name, end - 4 * size + 10)  # the head of frame 16
    bench = open_spool(tmp_path)
    feed(bench.spool)
    assert numbers(bench.core) == [n for n in range(20) if n not in (7, 16)]
    found = bench.spool.metrics()
    assert (found.frames_put, found.dropped[DropReason.SPOOL_LOST]) == (20, 2)
    assert found.spool_damages >= 2
    assert found.adds_up
    bench.core.done(18)
    assert bench.spool.finish().adds_up
    assert segments(tmp_path) == []


@pytest.mark.parametrize("which", [0, 1, -1])
def test_a_damaged_segment_head_costs_no_frame(tmp_path, which):
    bench = open_spool(tmp_path)
    put(bench.spool, *range(60), size=5000)
    bench.spool.leave()
    flip(tmp_path / segments(tmp_path)[which], 20)
    bench = open_spool(tmp_path)
    feed(bench.spool)
    assert numbers(bench.core) == list(range(60))
    assert bench.spool.metrics().dropped[DropReason.SPOOL_LOST] == 0


@pytest.mark.parametrize("bit", range(32))
def test_a_wrong_size_of_a_segment_head_costs_no_frame(tmp_path, bit):
    bench = open_spool(tmp_path)
    put(bench.spool, *range(3))
    bench.spool.leave()
    flip(tmp_path / segments(tmp_path)[0], 8 + bit // 8, 1 << bit % 8)
    bench = open_spool(tmp_path)
    feed(bench.spool)
    assert numbers(bench.core) == [0, 1, 2]


@pytest.mark.parametrize("size", [0, 1, 11, 15, 16, 17, 100])
def test_a_segment_that_was_cut_while_its_head_was_written_is_no_damage(tmp_path, size):
    bench = open_spool(tmp_path)
    put(bench.spool, 0)
    bench.spool.leave()
    name = tmp_path / segments(tmp_path)[0]
    name.write_bytes(name.read_bytes()[:size])
    bench = open_spool(tmp_path)
    put(bench.spool, 1)
    assert bench.spool.metrics().spool_damages == 0
    assert numbers(bench.core) == [1]


@pytest.mark.parametrize("which", [0, 1, -1])
@pytest.mark.parametrize("span", [(7, 16), (0, 16), (0, 4096), (0, None)], ids=["size", "head", "page", "file"])
def test_zeros_in_a_segment_are_counted_and_the_rest_is_fed(tmp_path, which, span):
    """A power cut leaves pages of zeros; a size of 0 with a checksum of 0 once passed for a whole head."""
    bench = open_spool(tmp_path)
    put(bench.spool, *range(60), size=5000)
    bench.spool.leave()
    name = tmp_path / segments(tmp_path)[which]
    content = bytearray(name.read_bytes())
    start, end = span[0], span[1] or len(content)
    content[start:end] = bytes(end - start)
    name.write_bytes(content)
    bench = open_spool(tmp_path)
    feed(bench.spool)
    found = bench.spool.metrics()
    assert found.spool_damages >= 1
    assert any(isinstance(event, actions.SpoolDamaged) for event in bench.spool.take_events())
    assert len(bench.core.frames) >= 45
    assert numbers(bench.core) == sorted(numbers(bench.core))
    assert found.frames_put == len(bench.core.frames) + found.dropped[DropReason.SPOOL_LOST]
    assert found.adds_up


def test_a_spool_of_nothing_but_zeros_is_counted_as_damage(tmp_path):
    bench = open_spool(tmp_path)
    put(bench.spool, *range(3))
    bench.spool.leave()
    name = tmp_path / segments(tmp_path)[0]
    name.write_bytes(bytes(name.stat().st_size))
    bench = open_spool(tmp_path)
    put(bench.spool, *range(3))
    assert bench.spool.metrics().spool_damages == 1
    assert actions.SpoolDamaged("door", 0) in bench.spool.take_events()
    assert numbers(bench.core) == [0, 1, 2]


def test_a_spool_of_another_format_is_refused_in_words(tmp_path, monkeypatch):
    monkeypatch.setattr(records, "FORMAT", 2)
    bench = open_spool(tmp_path)
    put(bench.spool, *range(3))
    bench.spool.leave()
    monkeypatch.undo()
    with pytest.raises(errors.UsageError, match=r"format 2.*reads format 1"):
        open_spool(tmp_path)
    assert len(segments(tmp_path)) == 1


def test_a_file_that_is_gone_is_missed_and_the_rest_is_fed(tmp_path):
    bench = open_spool(tmp_path)
    put(bench.spool, *range(60), size=5000)
    bench.spool.leave()
    (tmp_path / segments(tmp_path)[1]).unlink()
    bench = open_spool(tmp_path)
    feed(bench.spool)
    found = bench.spool.metrics()
    assert found.dropped[DropReason.SPOOL_LOST] == 60 - len(bench.core.frames) > 0
    assert numbers(bench.core) == sorted(numbers(bench.core))
    assert found.frames_put == 60
    assert found.adds_up


def no_space(bench, code=errno.ENOSPC):
    bench.directory.error = None if code is None else OSError(code, "No space left on device")


def test_a_disk_that_fails_leaves_the_stream_in_memory(tmp_path):
    bench = open_spool(tmp_path)
    put(bench.spool, *range(5))
    no_space(bench, errno.EIO)
    put(bench.spool, *range(5, 10))
    assert numbers(bench.core) == list(range(10))
    assert "make room" in bench.spool.trouble
    assert [type(event) for event in bench.spool.take_events()] == [actions.SpoolFailed]
    assert bench.spool.metrics().spool_failures == 1
    found = bench.spool.finish()
    assert (found.frames_buffered, found.frames_spooled) == (5, 5)
    assert found.adds_up


def test_a_disk_that_works_again_is_used_from_the_next_key_frame_on(tmp_path):
    bench = open_spool(tmp_path)
    put(bench.spool, *range(5))
    no_space(bench, errno.EIO)
    put(bench.spool, *range(5, 8))
    no_space(bench, None)
    put(bench.spool, 8)
    bench.spool.tick(0)
    put(bench.spool, *range(9, 15))
    assert bench.spool.trouble == ""
    bench = again(bench)
    feed(bench.spool)
    assert numbers(bench.core) == [0, 1, 2, 3, 4, 10, 11, 12, 13, 14]
    found = bench.spool.metrics()
    assert found.adds_up


def test_a_disk_that_fails_while_memory_is_full_costs_new_frames_only(tmp_path):
    bench = open_spool(tmp_path, Core(room=3))
    put(bench.spool, *range(6))
    no_space(bench, errno.EIO)
    put(bench.spool, *range(6, 9))
    found = bench.spool.metrics()
    assert (found.frames_buffered, found.frames_spooled, found.dropped[DropReason.SPOOL_LOST]) == (3, 3, 3)
    assert found.adds_up
    no_space(bench, None)
    bench.core.room = 100
    feed(bench.spool)
    put(bench.spool, *range(10, 15))
    assert numbers(bench.core) == [0, 1, 2, 3, 4, 5, *range(10, 15)]
    assert "end" in bench.core.said  # frames after a gap begin with a key frame


def test_a_full_disk_costs_the_oldest_file_first(tmp_path):
    bench = open_spool(tmp_path, Core(room=0))
    put(bench.spool, *range(40), size=10_000)
    before = len(segments(tmp_path))
    real = bench.directory.append

    def append(head, payload):
        if len(segments(tmp_path)) >= before:
            raise OSError(errno.ENOSPC, "No space left on device")
        real(head, payload)

    bench.directory.append = append
    put(bench.spool, 40, size=10_000)
    assert bench.spool.trouble == ""
    assert bench.spool.metrics().dropped[DropReason.SPOOL_FULL] > 0
    assert bench.spool.metrics().adds_up


def test_orders_between_frames_are_kept_on_disk(tmp_path):
    bench = open_spool(tmp_path, Core(room=0))
    put(bench.spool, 0)
    bench.spool.put_metadata("place", "yard", True)
    bench.spool.put_metadata("once", "only", False)
    bench.spool.put_event(1, "prefix", [("a", "b")])
    bench.spool.set_cpd(1, b"new")
    put(bench.spool, 5)
    bench.spool.end_fragment(7)
    put(bench.spool, 10)
    bench.core.room = 100
    feed(bench.spool)
    assert bench.core.said == [
        frame(0), ("cpd", 1, b"new"), ("place", "yard", True), ("once", "only", False), (1, "prefix", [("a", "b")]),
        frame(5), "end", frame(10),
    ]  # fmt: skip


def test_a_restart_finds_what_fragments_depend_on(tmp_path):
    bench = open_spool(tmp_path, cpd=(b"old",))
    bench.spool.put_metadata("place", "yard", True)
    put(bench.spool, *range(5))
    bench.spool.set_cpd(1, b"newer")
    put(bench.spool, *range(5, 30), size=10_000)
    bench.core.done(20)
    bench.spool.settle()
    bench = again(bench, cpd=(b"today",))
    feed(bench.spool)
    put(bench.spool, 30)
    assert bench.core.said == [
        ("cpd", 1, b"newer"), ("place", "yard", True), *(frame(n, 10_000) for n in range(20, 30)),
        "end", ("cpd", 1, b"today"), ("place", "", True), frame(30),
    ]  # fmt: skip


def test_two_tracks_are_settled_each_for_itself(tmp_path):
    bench = open_spool(tmp_path, tracks=(VIDEO, AUDIO))
    for number in range(10):
        put(bench.spool, number)
        put(bench.spool, 100 + number, track=2)
    bench.core.settled = [5, 3, 0]
    bench.spool.settle()
    bench = again(bench, tracks=(VIDEO, AUDIO))
    feed(bench.spool)
    assert sorted(numbers(bench.core)) == [5, 6, 7, 8, 9, 103, 104, 105, 106, 107, 108, 109]
    assert numbers(bench.core)[:2] == [103, 104]
    assert bench.spool.metrics().adds_up


def test_other_tracks_than_the_recorded_ones_are_refused(tmp_path):
    bench = open_spool(tmp_path)
    put(bench.spool, 0)
    bench.spool.leave()
    with pytest.raises(errors.UsageError, match=r"V_TEST.*move the directory away"):
        open_spool(tmp_path, tracks=(AUDIO,))
    bench = open_spool(tmp_path)
    feed(bench.spool)
    bench.core.done(1)
    bench.spool.finish()
    open_spool(tmp_path, tracks=(AUDIO,)).spool.leave()


def test_the_folder_is_for_one_process(tmp_path):
    bench = open_spool(tmp_path)
    with pytest.raises(errors.UsageError, match="in use"):
        open_spool(tmp_path)
    bench.spool.finish()
    open_spool(tmp_path).spool.leave()


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(errors.UsageError, match="may write to"):
        open_spool(tmp_path / "file")


def test_many_threads_put_while_it_is_fed(tmp_path):
    bench = open_spool(tmp_path, Core(room=20), size=64 * MIB)
    threads = [threading.Thread(target=put, args=(bench.spool, *range(n * 1000, n * 1000 + 200))) for n in range(4)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads) or not bench.spool.is_fed:
        bench.core.done(7 if bench.core.room < 7 else 0)
        bench.spool.settle()
        bench.spool.feed()
    for thread in threads:
        thread.join()
    found = numbers(bench.core)
    assert sorted(found) == [n * 1000 + i for n in range(4) for i in range(200)]
    assert all([n for n in found if n // 1000 == thread] == sorted(n for n in found if n // 1000 == thread)
               for thread in range(4))  # fmt: skip
    assert bench.spool.metrics().adds_up


@pytest.mark.parametrize("seed", range(40))
def test_any_life_gives_every_frame_once_and_in_order(tmp_path, seed):
    """Puts, full cores, settled fragments and kills in any order; the service is not asked, so what was sent and not
    settled comes again, and nothing else does."""
    chance = random.Random(seed)
    bench = open_spool(tmp_path, Core(room=10), size=8 * MIB)
    number = floor = 0
    for _ in range(chance.randrange(5, 60)):
        match chance.randrange(6):
            case 0 | 1 | 2:
                for _ in range(chance.randrange(1, 4) * 5):
                    put(bench.spool, number, size=chance.randrange(1, 9000))
                    number += 1
            case 3 | 4:
                sent = len(bench.core.frames) - bench.core.settled[0]
                bench.core.done(sent - sent % 5)
                bench.spool.settle()
                bench.spool.feed()
            case 5:
                seen = numbers(bench.core)
                assert seen == list(range(floor, floor + len(seen)))
                floor += bench.core.settled[0]
                bench = again(bench, Core(room=10), size=8 * MIB)
                feed(bench.spool)
        assert bench.spool.metrics().adds_up
    bench.core.room = 1 << 40
    feed(bench.spool)
    assert numbers(bench.core) == list(range(floor, number))
    bench.core.settled[0] = len(bench.core.frames)
    assert bench.spool.finish().frames_spooled == 0
    assert segments(tmp_path) == []


def test_a_pause_is_seen_and_a_fragment_that_is_open(tmp_path):
    bench = open_spool(tmp_path)
    assert not bench.spool.tick(0)
    bench.spool.put_frame_now(b"x", BASE_NS, BASE_NS, SECOND_NS, 1, 1)
    assert not bench.spool.tick(0)
    assert bench.spool.tick(bench.spool.activity)
    bench.spool.end_fragment(5)
    assert not bench.spool.tick(bench.spool.activity)
