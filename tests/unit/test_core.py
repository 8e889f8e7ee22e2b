"""Client and Stream over C. Goal: arguments reach C as meant, answers move the stream, errors change nothing."""

import array
import contextlib
import os
import select
from datetime import timedelta

import pytest

from kvspic import core, errors
from kvspic._enums import ReadState
from kvspic._lib import check
from kvspic.actions import ORDERS, Action, ActionKind, event_of
from kvspic.driver.watch import Latency
from kvspic.types import (
    AacTrack,
    ClockPolicy,
    DropReason,
    H264Track,
    LongGop,
    Order,
    StreamOptions,
    StreamState,
    TrackType,
)

NOW_HNS = 17_000_000_000_000_000
SECOND_HNS = 10_000_000
HOUR_HNS = 3600 * SECOND_HNS
KEY = 1
SPS = bytes.fromhex("00000001 6742c01e da0280bf e5c05a80 80808000 00030008 00000303 c0f162ea".replace(" ", ""))
PPS = bytes.fromhex("00000001 68ce0fc8".replace(" ", ""))
FRAME = SPS + PPS + bytes.fromhex("00000001 6588".replace(" ", "")) + bytes(range(1, 200))


def setup(*tracks, user: int = 1, name: str = "door", **options) -> core.StreamSetup:
    return core.StreamSetup(name, tracks or [H264Track()], StreamOptions(**options), user)


def ready_client(**config) -> core.Client:
    made = core.Client(NOW_HNS, seed=1, **config)
    while actions := made.next_actions():
        for action in actions:
            if action.kind in ORDERS:
                made.answer(action.request, NOW_HNS)
    return made


def upload_read(stream: core.Stream, upload: int, reader: core.UploadReader, now_hns: int) -> tuple[int, int]:
    count = stream.read_chunk(upload, reader.c_memory, reader.size, reader.c_chunk, now_hns)
    return check(count), reader.c_chunk[2]


@pytest.fixture
def client():
    made = ready_client()
    yield made
    made.close()


@pytest.fixture
def stream(client):
    opened = client.open_stream(setup(), NOW_HNS)
    yield opened
    opened.close()


def drain(client: core.Client) -> list[Action]:
    found = []
    while actions := client.next_actions():
        found += actions
    return found


def kinds(actions: list[Action]) -> list[ActionKind]:
    return [ActionKind(action.kind) for action in actions if action.kind != ActionKind.STATE]


def answer(client: core.Client, stream: core.Stream, kind: ActionKind, **fields) -> None:
    order = next(action for action in drain(client) if action.kind == kind)
    stream.answer(order.request, NOW_HNS, **fields)


def make_ready(client: core.Client, stream: core.Stream) -> None:
    answer(client, stream, ActionKind.DESCRIBE_STREAM, status=1, retention_hns=2 * HOUR_HNS)
    answer(client, stream, ActionKind.GET_DATA_ENDPOINT)
    answer(client, stream, ActionKind.GET_TOKEN)


def put(stream: core.Stream, data=FRAME, at_hns: int = NOW_HNS, track: int = 1, flags: int = KEY) -> None:
    stream.put_frame(data, at_hns, at_hns, 0, track, flags, NOW_HNS)


def test_a_client_asks_for_credentials_first():
    made = core.Client(NOW_HNS, seed=1)
    assert kinds(made.next_actions()) == [ActionKind.GET_CREDENTIALS]
    made.close()


def test_a_stream_needs_a_ready_client():
    made = core.Client(NOW_HNS, seed=1)
    with pytest.raises(errors.ClientStateError):
        made.open_stream(setup(), NOW_HNS)
    made.close()


def test_a_stream_describes_itself_first(client, stream):
    order = next(action for action in drain(client) if action.kind == ActionKind.DESCRIBE_STREAM)
    assert order.user == 1
    assert order.request


def test_the_way_to_put_media(client, stream):
    make_ready(client, stream)
    assert ActionKind.READY in kinds(drain(client))
    put(stream)
    order = next(action for action in drain(client) if action.kind == ActionKind.PUT_MEDIA)
    assert order.upload
    assert order.a == NOW_HNS // 10_000
    stream.answer(order.request, NOW_HNS)
    assert stream.metrics().state == StreamState.STREAMING
    reader = core.UploadReader(256)
    count, _ = upload_read(stream, order.upload, reader, NOW_HNS)
    assert bytes(reader.memory[core.CHUNK_ROOM : core.CHUNK_ROOM + 4]) == b"\x1a\x45\xdf\xa3"
    assert 4 < count <= 256


def test_a_turn_gives_data_as_numbers_and_the_others_in_their_order(client, stream):
    make_ready(client, stream)
    put(stream)
    order = next(action for action in drain(client) if action.kind == ActionKind.PUT_MEDIA)
    stream.answer(order.request, NOW_HNS)
    put(stream, at_hns=NOW_HNS + SECOND_HNS)
    actions, data, deadline_hns = client.turn(NOW_HNS)
    assert ActionKind.DATA not in kinds(actions)
    assert ActionKind.STATE in [action.kind for action in actions]
    assert data == [1, order.upload]
    assert deadline_hns > NOW_HNS
    assert client.turn(NOW_HNS)[:2] == ([], [])


@pytest.mark.parametrize("size", [1, 15, 16, 255, 256, 4096, 65535, 65536])
def test_a_read_gives_a_chunk_of_http(client, stream, size):
    """RFC 9112, section 7.1: the size in hexadecimal digits, then the bytes, each followed by a line end."""
    make_ready(client, stream)
    put(stream, FRAME + b"\x55" * 70_000)
    order = next(action for action in drain(client) if action.kind == ActionKind.PUT_MEDIA)
    stream.answer(order.request, NOW_HNS)
    reader = core.UploadReader(size)
    count, state = upload_read(stream, order.upload, reader, NOW_HNS)
    begin, end, _ = reader.c_chunk
    assert (count, state) == (size, ReadState.MORE)
    payload = reader.memory[core.CHUNK_ROOM : core.CHUNK_ROOM + count]
    assert bytes(reader.memory[begin:end]) == b"%x\r\n%b\r\n" % (size, bytes(payload))


def test_without_acks_a_rotation_with_a_backlog_loses_no_frame(client):
    """The reader of the newer upload is ahead: what it took says nothing of the older upload's fragments."""
    opened = client.open_stream(setup(want_acks=False, fragment_duration_min=timedelta(0)), NOW_HNS)
    life_hns = 60 * SECOND_HNS
    answer(client, opened, ActionKind.DESCRIBE_STREAM, status=1, retention_hns=2 * HOUR_HNS)
    answer(client, opened, ActionKind.GET_DATA_ENDPOINT)
    answer(client, opened, ActionKind.GET_TOKEN, expires_hns=NOW_HNS + life_hns)
    uploads: list[int] = []
    sizes: dict[int, int] = {}
    reader = core.UploadReader(2000)

    def read_in_turn(now_hns: int) -> None:
        for action in drain(client):
            if action.kind in ORDERS:
                opened.answer(action.request, now_hns, expires_hns=now_hns + life_hns)
            if action.kind == ActionKind.PUT_MEDIA:
                uploads.append(action.upload)
        for upload in reversed(uploads):
            with contextlib.suppress(errors.UnknownUploadError):
                count, _ = upload_read(opened, upload, reader, now_hns)
                sizes[upload] = sizes.get(upload, 0) + count

    for number in range(700):
        put(opened, at_hns=NOW_HNS + number * 400_000, flags=KEY * (number % 10 == 0))
        if number == 349:  # the next frame is a key frame: nothing is skipped after the pause
            read_in_turn(NOW_HNS)
            client.poke(NOW_HNS + 57 * SECOND_HNS)
            for _ in range(2):
                read_in_turn(NOW_HNS + 57 * SECOND_HNS)
    for _ in range(500):
        read_in_turn(NOW_HNS + 58 * SECOND_HNS)
    opened.stop(NOW_HNS + 58 * SECOND_HNS)
    for _ in range(5):
        read_in_turn(NOW_HNS + 58 * SECOND_HNS)
    found = opened.metrics()
    assert (found.frames_done, sum(found.dropped.values()), found.frames_buffered) == (700, 0, 0)
    assert len(uploads) == 2
    assert sum(sizes.values()) > 700 * len(FRAME)  # each frame's bytes left, under one upload or the other
    opened.close()


def test_retry_gives_six_tries(client, stream):
    def tries_until_it_fails() -> int:
        tries = 0
        while True:
            actions = drain(client)
            if ActionKind.FAILED in kinds(actions):
                return tries
            (order,) = [action for action in actions if action.kind == ActionKind.DESCRIBE_STREAM]
            tries += 1
            with contextlib.suppress(errors.DescribeFailedError):  # the sixth answer says so too
                stream.answer(order.request, NOW_HNS, result=500)

    found = [tries_until_it_fails()]
    for _ in range(3):
        stream.retry(NOW_HNS)
        found.append(tries_until_it_fails())
    assert found == [6, 6, 6, 6]


def test_a_stale_answer_is_refused(client, stream):
    with pytest.raises(errors.StaleAnswerError):
        stream.answer(987654, NOW_HNS, status=1)


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview, lambda data: array.array("B", data)])
def test_frames_come_from_anything_with_a_buffer(stream, kind):
    put(stream, kind(FRAME))
    found = stream.metrics()
    assert (found.frames_put, found.frames_buffered) == (1, 1)
    assert found.adds_up


@pytest.mark.parametrize("data", ["text", 5, None, memoryview(FRAME)[::2]])
def test_what_is_no_contiguous_buffer_is_refused(stream, data):
    with pytest.raises((TypeError, BufferError)):
        put(stream, data)
    assert stream.metrics().frames_put == 0


@pytest.mark.parametrize(
    ("error", "arguments"),
    [
        (errors.UnknownTrackError, {"track": 9}),
        (errors.FrameDataError, {"data": b""}),
        (errors.FrameTimestampRangeError, {"at_hns": 2**63}),
    ],
)
def test_a_refused_frame_changes_nothing(stream, error, arguments):
    with pytest.raises(error):
        put(stream, **arguments)
    found = stream.metrics()
    assert (found.frames_put, found.frames_buffered, found.bytes_put) == (0, 0, 0)


def test_a_time_that_cannot_be_true_is_refused_if_asked_for(stream):
    now_hns = core.host_now_hns() + 5 * SECOND_HNS
    stream.set_clock(5 * SECOND_HNS)
    stream.believe(now_hns // SECOND_HNS - 1, 1)
    for dts_hns in (0, now_hns - 2 * SECOND_HNS, now_hns + 60 * SECOND_HNS, (2**63 - 1) // 100):
        status = core.put_whole(stream.gate, FRAME, len(FRAME), dts_hns * 100, dts_hns * 100, 0, 1, KEY)
        assert errors.BY_STATUS[status] is errors.FrameTimestampRangeError
        assert core.put_plain(stream.gate, FRAME, len(FRAME), dts_hns * 100, KEY) == status
    assert stream.metrics().frames_put == 0
    assert core.put_plain(stream.gate, FRAME, len(FRAME), now_hns * 100, KEY) == 0
    assert stream.metrics().last_put_hns >= now_hns


def test_no_time_passes_a_range_that_is_empty(stream):
    stream.set_clock(-core.host_now_hns())  # the producer believes that it is 1970
    stream.believe(HOUR_HNS // SECOND_HNS, 1)
    for dts_hns in (0, SECOND_HNS, HOUR_HNS, NOW_HNS):
        assert core.put_plain(stream.gate, FRAME, len(FRAME), dts_hns * 100, KEY) != 0


def test_a_gate_that_is_diverted_lets_nothing_through_and_opens_again(stream):
    stream.divert(True)
    status = core.put_plain(stream.gate, FRAME, len(FRAME), NOW_HNS, KEY)
    assert errors.BY_STATUS[status] is errors.NullArgError
    stream.put_frame_now(FRAME, NOW_HNS, NOW_HNS, 0, 1, KEY)
    stream.divert(False)
    assert core.put_plain(stream.gate, FRAME, len(FRAME), 2 * NOW_HNS, KEY) == 0
    assert stream.metrics().frames_put == 2


def test_a_plain_put_writes_what_a_whole_put_writes():
    def body(put_one) -> bytes:
        made = ready_client()
        opened = made.open_stream(setup(), NOW_HNS)
        opened.set_clock(NOW_HNS - core.host_now_hns())
        make_ready(made, opened)
        for number in range(6):
            assert put_one(opened.gate, FRAME, len(FRAME), NOW_HNS * 100 + number * 10**9, KEY * (number % 3 == 0)) == 0
        order = next(action for action in drain(made) if action.kind == ActionKind.PUT_MEDIA)
        opened.answer(order.request, NOW_HNS)
        reader = core.UploadReader()
        count, _ = upload_read(opened, order.upload, reader, NOW_HNS)
        return bytes(reader.memory[core.CHUNK_ROOM : core.CHUNK_ROOM + count])

    def whole(gate, data, size, pts_ns, flags):
        return core.put_whole(gate, data, size, pts_ns, pts_ns, 0, 1, flags)

    assert body(core.put_plain) == body(whole)


def test_a_decoding_time_that_is_not_known_is_no_time(stream):
    stream.believe(HOUR_HNS // SECOND_HNS, 2 * NOW_HNS // SECOND_HNS)
    base_ns = NOW_HNS * 100
    for pts_ms in (0, 120, 40, 80):
        data = FRAME if pts_ms == 0 else FRAME[-200:]
        stream.put_frame_now(data, base_ns + pts_ms * 10**6, None, 0, 1, KEY * (pts_ms == 0))
    stream.put_frame(FRAME, NOW_HNS + SECOND_HNS, None, 0, 1, KEY, NOW_HNS)
    assert core.put_whole(stream.gate, FRAME, len(FRAME), 0, core.TIME_NONE, 0, 1, KEY) != 0  # the gate asks the pts
    found = stream.metrics()
    assert (found.frames_put, found.times_shifted, found.times_bumped, found.shift_hns) == (5, 0, 0, 0)
    assert found.newest_hns == NOW_HNS + SECOND_HNS


def test_any_time_is_believed_by_default(stream):
    for seconds in (0, 1, 2_000_000_000, 9_000_000_000):
        stream.put_frame_now(FRAME, seconds * 10**9, seconds * 10**9, 0, 1, KEY)
    assert stream.metrics().frames_put == 4


def test_a_stopped_stream_refuses_frames(client, stream):
    stream.stop(NOW_HNS)
    with pytest.raises(errors.StreamStoppedError):
        put(stream)
    assert ActionKind.CLOSED in kinds(drain(client))


def test_a_full_offline_store_refuses_and_the_ledger_holds():
    made = ready_client(store_size=2 * 65536)
    opened = made.open_stream(setup(offline=True), NOW_HNS)
    big = FRAME + b"\x55" * 40_000
    with pytest.raises(errors.StoreFullError):
        for number in range(10):
            put(opened, big, NOW_HNS + number * SECOND_HNS)
    found = opened.metrics()
    assert 1 <= found.frames_put < 10
    assert found.frames_refused == 1
    assert found.adds_up
    assert made.metrics().store_used <= 2 * 65536
    opened.close()
    made.close()


def test_a_reset_drops_what_was_buffered(client, stream):
    put(stream)
    stream.reset(NOW_HNS)
    found = stream.metrics()
    assert found.dropped[DropReason.RESET] == 1
    assert found.adds_up


def test_the_next_deadline_is_none_or_a_time(client, stream):
    drain(client)
    put(stream)
    deadline = client.next_deadline_hns()
    assert deadline is None or deadline > NOW_HNS


def test_the_wake_socket_is_readable_after_a_change(client, stream):
    drain(client)
    while select.select([client.wake_fd], [], [], 0)[0]:
        os.read(client.wake_fd, 4096)
    stream.stop(NOW_HNS)
    assert select.select([client.wake_fd], [], [], 0)[0] == [client.wake_fd]


def test_options_become_the_configuration():
    made = setup(H264Track(), AacTrack(sample_rate=48000, channels=2), offline=True, tags={"a": "b"})
    config = made.config  # borrows its strings and tracks from `made`
    assert config.track_count == 2
    assert [config.tracks[index].id for index in range(2)] == [1, 2]
    assert config.order == Order.CUT
    assert config.flags & core.lib.KVS_HAS_TAGS
    assert not config.flags & core.lib.KVS_SPARSE_KEYS
    assert config.nal_flags == core.lib.KVS_NAL_ANNEXB_TO_AVCC | core.lib.KVS_NAL_ANNEXB_CPD
    assert config.streaming_type == core.lib.KVS_OFFLINE
    assert config.retention_hns == 24 * HOUR_HNS
    assert config.eofr_idle_hns == 10 * SECOND_HNS
    assert core.ffi.string(config.content_type) == b"video/h264,audio/aac"


def test_a_fragment_keeps_within_what_the_service_takes_unless_it_is_asked_not_to():
    split, kept = setup().config, setup(long_gop=LongGop.KEEP).config
    assert (split.fragment_duration_max_hns, kept.fragment_duration_max_hns) == (20 * SECOND_HNS, 0)
    assert 0 < split.fragment_size_max < 50_000_000
    assert kept.fragment_size_max == 0


def test_frames_can_be_stamped_when_they_arrive():
    for clock, is_stamped in ((None, False), (ClockPolicy.GIVEN, False), (ClockPolicy.ARRIVAL, True)):
        assert bool(setup(clock=clock).config.flags & core.lib.KVS_CLOCK_TIMECODES) == is_stamped


def test_a_source_that_pauses_for_an_hour_is_no_stall_and_goes_on_with_a_key_frame(client, stream):
    make_ready(client, stream)
    put(stream)
    put(stream, at_hns=NOW_HNS + SECOND_HNS, flags=0)
    order = next(action for action in drain(client) if action.kind == ActionKind.PUT_MEDIA)
    stream.answer(order.request, NOW_HNS)
    client.poke(NOW_HNS + 12 * SECOND_HNS)
    reader = core.UploadReader(65536)
    upload_read(stream, order.upload, reader, NOW_HNS + 12 * SECOND_HNS)
    ack = f'{{"EventType":"PERSISTED","FragmentTimecode":{NOW_HNS // 10_000},"FragmentNumber":"1"}}'
    assert stream.ack_bytes(order.upload, ack.encode(), NOW_HNS + 13 * SECOND_HNS) == 1
    later = NOW_HNS + HOUR_HNS
    client.poke(later)
    said = kinds(drain(client))
    assert ActionKind.FRAGMENT_ENDED in said
    assert not {ActionKind.STALE, ActionKind.FAILED, ActionKind.PRESSURE} & set(said)
    for number, flags in enumerate((0, 0, KEY, 0)):
        at_hns = later + number * SECOND_HNS
        stream.put_frame(FRAME, at_hns, at_hns, 0, 1, flags, at_hns)
    found = stream.metrics()
    assert (found.frames_done, found.dropped[DropReason.SKIPPED], found.frames_buffered) == (2, 2, 2)


def test_a_fragment_that_an_error_ack_cut_short_is_none_that_the_media_is_judged_by(client, stream):
    make_ready(client, stream)
    put(stream)
    order = next(action for action in drain(client) if action.kind == ActionKind.PUT_MEDIA)
    stream.answer(order.request, NOW_HNS)
    upload_read(stream, order.upload, core.UploadReader(65536), NOW_HNS)
    refusal = f'{{"EventType":"ERROR","FragmentTimecode":{NOW_HNS // 10_000},"ErrorId":4006}}'
    assert stream.ack_bytes(order.upload, refusal.encode(), NOW_HNS) == 1
    put(stream, at_hns=NOW_HNS + SECOND_HNS)
    assert stream.metrics().fragments_put == 2
    assert stream.media_counts()[2] == 1


def test_an_ack_of_a_fragment_that_is_not_held_has_no_latency(client, stream):
    make_ready(client, stream)
    put(stream)
    order = next(action for action in drain(client) if action.kind == ActionKind.PUT_MEDIA)
    stream.answer(order.request, NOW_HNS)
    upload_read(stream, order.upload, core.UploadReader(65536), NOW_HNS)
    drain(client)
    stream.ack_bytes(order.upload, b'{"EventType":"PERSISTED","FragmentTimecode":5,"FragmentNumber":"9"}', NOW_HNS)
    stream.ack_bytes(order.upload, b'{"EventType":"IDLE"}', NOW_HNS)
    events = [event_of(action, "door") for action in drain(client) if action.kind == ActionKind.ACK]
    assert [(ack.timecode_ms, ack.pts_ns, ack.latency_ns) for ack in events] == [(5, None, None)]
    latency = Latency()
    for ack in events:
        latency.add(ack)
    assert latency.quantile_ns(0.5) is None
    assert stream.metrics().ack_latency_hns == 0


def test_metadata_and_events_are_taken_while_the_stream_reconnects(client, stream):
    make_ready(client, stream)
    put(stream)
    order = next(action for action in drain(client) if action.kind == ActionKind.PUT_MEDIA)
    stream.answer(order.request, NOW_HNS)
    stream.upload_ended(order.upload, 500, NOW_HNS)
    assert stream.metrics().state == StreamState.DESCRIBE
    stream.put_metadata("place", "hall", False)
    stream.put_event(2, "", [("who", "me")])
    assert stream.metrics().frames_buffered == 1


def test_audio_alone_gets_its_keys_from_the_core():
    made = setup(AacTrack(sample_rate=48000, channels=2))
    config = made.config
    assert config.flags & core.lib.KVS_SPARSE_KEYS
    assert config.order == Order.NONE
    assert config.tracks[0].type == TrackType.AUDIO
    assert config.nal_flags == 0


@pytest.mark.parametrize(
    ("error", "arguments"),
    [
        (errors.StreamNameError, {"name": ""}),
        (errors.StreamNameError, {"name": "a b"}),
        (errors.StreamNameError, {"name": "a" * 257}),
        (errors.TrackCountError, {"tracks": [H264Track(number=number) for number in (1, 2, 3, 4)]}),
        (errors.DuplicateTrackError, {"tracks": [H264Track(number=1), H264Track(number=1)]}),
        (errors.DuplicateStreamError, {"name": "door"}),
    ],
)
def test_a_wrong_configuration_opens_nothing(client, stream, error, arguments):
    tracks = arguments.pop("tracks", ())
    with pytest.raises(error):
        client.open_stream(setup(*tracks, **({"name": "other"} | arguments)), NOW_HNS)
    assert client.metrics().stream_count == 1


def test_metadata_and_events_wait_for_the_next_fragment(client, stream):
    make_ready(client, stream)
    put(stream)
    stream.put_metadata("place", "hall", False)
    stream.put_event(3, "prefix", [("who", "me")])
    with pytest.raises(errors.MetadataNameError):
        stream.put_metadata("AWS_x", "1", False)
    with pytest.raises(ValueError, match="NUL"):
        stream.put_metadata("a\0b", "1", False)
