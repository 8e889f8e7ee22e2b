"""The load of one process. Goal: an open loop, whose latencies show a stall whole, and a ledger of the window only."""

import threading
from fractions import Fraction

import pytest

from kvspic import errors
from kvspic.actions import AckReceived, AckType, ErrorAck, FragmentPersisted, FramesDropped, StreamFailed, StreamReady
from kvspic.bench.cameras import Cameras
from kvspic.bench.pace import NS, Lane, lanes_of
from kvspic.bench.pictures import filler_pictures
from kvspic.bench.sink import Sink
from kvspic.types import DropReason, StreamReport, StreamState

FPS = Fraction(30)
PICTURES = filler_pictures(FPS, 30, 200, 1)  # all frames are of one size class
ONE_LANE = (Lane(0, 30),)


class FakeClock:
    """Time that passes only by sleeping, and by what a fake producer takes."""

    def __init__(self):
        self.now_ns = 1000 * NS

    def monotonic_ns(self):
        return self.now_ns

    def monotonic(self):
        return self.now_ns / 1e9

    def time_ns(self):
        return self.now_ns + 1_700_000_000 * NS

    def sleep(self, seconds):
        self.now_ns += max(1, round(seconds * 1e9))


class FakeStream:
    def __init__(self, producer, name, on_event):
        self.producer, self.name, self.tell = producer, name, on_event
        self.puts = []
        self.sessions = 1
        self.bytes_unsent = 7
        self.buffered = 0

    def put_frame(self, data, *, pts, key_frame=False):
        if self.producer.refuses(len(self.puts)):
            raise errors.StoreFullError(-401, "no room")
        self.puts.append((pts, key_frame, len(data)))
        self.producer.clock.now_ns += self.producer.takes_ns(len(self.puts))

    def metrics(self):
        return self

    def close(self, timeout):
        count = len(self.puts)
        size = sum(put[2] for put in self.puts)
        return StreamReport(
            self.name, StreamState.STOPPED, count, count - self.buffered, 0, self.buffered, {}, size, size, 0, 0, size,
            0, 0, None, None, True,
        )  # fmt: skip


class FakeProducer:
    def __init__(self, clock):
        self.clock = clock
        self.streams = []
        self.takes_ns = lambda count: 0
        self.refuses = lambda count: False
        self.while_opening = lambda: None

    def open_stream(self, name, track, *, wait, on_event, **options):
        assert not wait
        self.while_opening()
        self.streams.append(FakeStream(self, name, on_event))
        on_event(StreamReady(name))
        return self.streams[-1]

    def close(self, timeout):
        return [stream.close(timeout) for stream in self.streams]


@pytest.fixture
def clock():
    return FakeClock()


@pytest.fixture
def producer(clock):
    return FakeProducer(clock)


@pytest.fixture
def cameras(clock, producer):
    return Cameras(producer, PICTURES, FPS, clock=clock)


def run(cameras, clock, *, lanes=ONE_LANE, duration_s=2.0, after_s=0.5):
    """Open streams, measure ``duration_s`` seconds that begin ``after_s`` from now, and put until they are over."""
    cameras.open([f"camera-{number}" for number in range(len(lanes))], lanes)
    cameras.measure(clock.now_ns + int(after_s * NS), duration_s, then_end=True)
    cameras.run()


def test_each_frame_is_put_when_it_is_due_with_that_time(cameras, clock, producer):
    begin = clock.time_ns()
    run(cameras, clock)
    puts = producer.streams[0].puts
    assert len(puts) == 75
    assert [pts for pts, _, _ in puts[:3]] == [begin, begin + 33_333_333, begin + 66_666_666]
    assert [place for place, put in enumerate(puts) if put[1]] == [0, 30, 60]


def test_only_the_window_is_measured(cameras, clock):
    run(cameras, clock)
    total = cameras.totals()
    assert (total.offered, total.put) == (60, 60)
    found = cameras.recorder.take()
    assert (found.all_sizes("PUT").count, found.all_sizes("LATE").count) == (60, 60)


def test_streams_share_the_round_by_their_phases(cameras, clock, producer):
    lanes = lanes_of(range(7), FPS, 30, "spread", 1)
    run(cameras, clock, lanes=lanes)
    assert cameras.totals().put == 7 * 60
    firsts = [stream.puts[0][0] for stream in producer.streams]
    assert [first - min(firsts) for first in firsts] == [
        lane.phase_ns - min(one.phase_ns for one in lanes) for lane in lanes
    ]


def test_a_stall_of_a_second_shows_all_the_frames_that_it_made_late(cameras, clock, producer):
    producer.takes_ns = lambda count: NS if count == 20 else 0
    run(cameras, clock)
    late = cameras.recorder.values("LATE", 1)[:]
    longest = late.index(max(late))
    assert late[longest] == pytest.approx(1_000_000 - 33_333, abs=2)
    falls = [late[place] - late[place + 1] for place in range(longest, longest + 28)]
    assert falls == pytest.approx([33_333] * 28, abs=2)
    assert sum(one > 0 for one in late) == 29


def test_frames_that_were_due_and_never_put_count_as_late(cameras, clock, producer):
    cameras.open(["one"], [Lane(0, 30)])
    cameras.measure(clock.now_ns, 2, then_end=True)
    producer.takes_ns = lambda count: stop() if count == 10 else 0

    def stop():
        cameras._is_ended.set()  # as stop() does, from another thread
        return NS

    cameras.run()
    outcome = cameras.stop(1)
    assert outcome.put == 10
    assert outcome.offered == 39  # those that were due until the stop
    assert cameras.recorder.take().all_sizes("LATE").count == 39


def test_fragments_count_as_persisted_by_their_frames_in_the_window(cameras, clock, producer):
    run(cameras, clock)  # 15 frames before the window, 60 in it
    stream = producer.streams[0]
    first = stream.puts[0][0]
    for begin in (0, 30, 60):
        stream.tell(FragmentPersisted("camera-0", first + begin * NS // 30, 30 if begin < 60 else 15, 1000))
    assert cameras.totals().persisted == 60
    outcome = cameras.stop(1)
    assert (outcome.put, outcome.persisted, outcome.dropped, outcome.buffered) == (60, 60, 0, 0)
    assert (outcome.adds_up, outcome.errors) == (True, [])


def test_persisted_latency_counts_from_the_end_of_the_fragment(cameras, clock, producer):
    run(cameras, clock)
    stream = producer.streams[0]
    first = stream.puts[0][0]
    end_ns = clock.now_ns = 1000 * NS + 2 * NS + 70_000_000
    stream.tell(AckReceived("camera-0", 1, AckType.RECEIVED, 0, first + NS, "1", 5))
    clock.now_ns = end_ns + 30_000_000
    stream.tell(FragmentPersisted("camera-0", first + NS, 30, 100_000))
    found = cameras.recorder.take()
    assert found.all_sizes("RECV").percentiles([50]) == pytest.approx([70_000], rel=1e-3)
    assert found.all_sizes("PERS").percentiles([50]) == pytest.approx([100_000], rel=1e-3)


def test_dropped_and_buffered_frames_make_up_the_rest(cameras, clock, producer):
    run(cameras, clock)
    stream = producer.streams[0]
    first = stream.puts[0][0]
    stream.tell(FramesDropped("camera-0", DropReason.STORE_FULL, first, 30, 1000))
    stream.tell(FragmentPersisted("camera-0", first + NS, 30, 1000))
    stream.buffered = 15
    outcome = cameras.stop(1)
    assert (outcome.put, outcome.persisted, outcome.dropped, outcome.buffered) == (60, 30, 15, 15)
    assert outcome.errors == []


def test_a_frame_that_is_missing_in_the_ledger_is_an_error(cameras, clock, producer):
    run(cameras, clock)
    outcome = cameras.stop(1)  # neither persisted, dropped nor buffered
    assert not outcome.adds_up
    assert "does not add up" in outcome.errors[-1]


def test_a_refused_frame_is_offered_and_not_put(cameras, clock, producer):
    producer.refuses = lambda count: count == 20 and clock.now_ns < 1000 * NS + 8 * NS // 10
    run(cameras, clock)
    total = cameras.totals()
    assert (total.offered, total.put) == (60, 56)
    assert "a frame was refused" in total.errors[0]


def test_errors_of_the_service_are_said(cameras, clock, producer):
    run(cameras, clock, duration_s=0.1)
    tell = producer.streams[0].tell
    tell(ErrorAck("camera-0", 1, 5000, 0, None, None, "", "STREAM_READ_ERROR"))
    tell(StreamFailed("camera-0", 1, "the key is gone", 0, StreamState.FAILED, True))
    assert cameras.failures == ["camera-0: the key is gone"]
    assert "STREAM_READ_ERROR" in cameras.totals().errors[0]


def test_streams_are_added_and_taken_away_between_windows(cameras, clock, producer):
    run(cameras, clock, duration_s=1)
    cameras.open(["another"], [Lane(0, 30)])
    cameras.measure(clock.now_ns + NS, 1, then_end=True)
    cameras.run()
    assert cameras.totals().put == 60  # two streams, a second
    producer.streams[1].buffered = len(producer.streams[1].puts)
    cameras.close_last(1, 1)
    assert (cameras.ready_count, cameras.outcome.buffered) == (1, 30)
    assert cameras.unsent() == 7


def test_figures_can_be_asked_for_while_streams_are_being_opened(cameras, producer):
    asked = []
    producer.while_opening = lambda: asked.append((cameras.unsent(), cameras.totals().put, cameras.lag_s()))
    cameras.open(["one", "two"], [Lane(0, 30), Lane(0, 30)])
    assert asked == [(0, 0, 0.0), (7, 0, 0.0)]
    assert cameras.ready_count == 2


def test_the_load_runs_in_a_thread_and_stops_at_once():
    frames, many = threading.Event(), threading.Event()
    sink = Sink()
    cameras = Cameras(sink, PICTURES, FPS, on_change=frames.set)
    cameras.open(["one"], [Lane(0, 30)])
    assert frames.is_set()
    sink._streams[0].put_frame = lambda *_, **__: many.set()
    cameras._cameras[0].put = sink._streams[0].put_frame
    cameras.start()
    assert many.wait(10)
    cameras.stop(1)
