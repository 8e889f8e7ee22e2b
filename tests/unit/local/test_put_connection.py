"""PutMedia on a socket. Goal: ACKs come while the body is open, refusals come at once, and what was acknowledged as
persisted can be read back."""

import json

import pytest
from unit.local import mkv_bytes as mkv
from unit.local.aws import client
from unit.local.raw_client import Upload, put

from kvspic.local.faults import fault_of
from kvspic.local.server import LocalEndpoint
from kvspic.local.settings import Settings
from kvspic.units import HNS_PER_MS

T = 1_600_000_000_000


def test_acks_arrive_while_the_body_is_open(endpoint, camera):
    with Upload(endpoint.url) as upload:
        upload.send(mkv.header() + mkv.cluster(T))
        assert upload.head()[0] == 200
        buffering = upload.ack()
        assert (buffering["EventType"], buffering["FragmentTimecode"]) == ("BUFFERING", T)
        upload.send(mkv.END)
        received, persisted = upload.ack(), upload.ack()
        assert (received["EventType"], persisted["EventType"]) == ("RECEIVED", "PERSISTED")
        assert buffering["FragmentNumber"] == received["FragmentNumber"] == persisted["FragmentNumber"]
        assert [one.number for one in endpoint.fragments("cam")] == [persisted["FragmentNumber"]]
        upload.send(mkv.cluster(T + 1000))
        assert upload.ack()["EventType"] == "BUFFERING"
        upload.end()
        assert upload.events() == ["RECEIVED", "PERSISTED"]


def test_what_was_persisted_can_be_read_back(endpoint, camera):
    acks = put(endpoint.url, mkv.body(3, payload=b"abc"))
    persisted = [ack["FragmentNumber"] for ack in acks if ack["EventType"] == "PERSISTED"]
    stored = endpoint.fragments("cam")
    assert [one.number for one in stored] == persisted
    assert [one.timecode for one in stored] == [T, T + 1000, T + 2000]
    assert [block.payload for block in stored[0].blocks] == [b"abc", b"abc"]
    assert stored[0].tracks[0].codec_id == "V_MPEG4/ISO/AVC"
    assert stored[0].producer_hns == T * HNS_PER_MS


def test_the_end_of_the_body_completes_the_last_fragment(endpoint, camera):
    acks = put(endpoint.url, mkv.body(1, end=b""))
    assert [ack["EventType"] for ack in acks] == ["BUFFERING", "RECEIVED", "PERSISTED"]


def test_a_stream_without_retention_gets_no_persisted(endpoint, control):
    control.create_stream(StreamName="cam")
    assert {ack["EventType"] for ack in put(endpoint.url, mkv.body(2))} == {"BUFFERING", "RECEIVED"}


def test_an_error_ack_ends_the_answer_and_the_connection(endpoint, camera):
    with Upload(endpoint.url) as upload:
        upload.send(mkv.body(1) + b"\0\0\0\0")
        assert upload.head()[0] == 200
        last = upload.acks()[-1]
        assert (last["ErrorId"], last["ErrorCode"]) == (4006, "INVALID_MKV_DATA")
        assert upload.is_over()


def test_each_ack_has_a_chunk_of_its_own(endpoint, camera):
    """The field's C parser reads the first ACK of a chunk and loses the others."""
    with Upload(endpoint.url) as upload:
        upload.send(mkv.body(40))
        upload.end()
        assert upload.head()[0] == 200
        chunks = list(upload.chunks())
    assert [chunk.count(b"\n") for chunk in chunks] == [1] * 120
    assert all(json.loads(chunk)["EventType"] in ("BUFFERING", "RECEIVED", "PERSISTED") for chunk in chunks)


REFUSED = {
    "no such stream": ({"stream": "nobody"}, 404, "ResourceNotFoundException"),
    "no stream": ({"x-amzn-stream-name": None}, 400, "InvalidArgumentException"),
    "bad timecode type": ({"x-amzn-fragment-timecode-type": "SOME"}, 400, "InvalidArgumentException"),
    "no start": ({"x-amzn-producer-start-timestamp": None}, 400, "InvalidArgumentException"),
    "bad start": ({"x-amzn-producer-start-timestamp": "1e9"}, 400, "InvalidArgumentException"),
    "bad name": ({"stream": "a b"}, 400, "InvalidArgumentException"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_bad_head_is_refused_before_the_body(endpoint, camera, name):
    headers, status, error = REFUSED[name]
    with Upload(endpoint.url, **headers) as upload:
        assert upload.refusal()[:2] == (status, error)


@pytest.mark.parametrize("lingering", [0, 0.5])
def test_an_early_refusal_closes_soon_whatever_the_lingering(tmp_path, lingering):
    running = LocalEndpoint.run_in_thread(data_dir=tmp_path, lingering_seconds=lingering, settings=Settings.unlimited())
    with running as endpoint, Upload(endpoint.url, "nobody") as upload:
        assert upload.refusal()[0] == 404
        assert upload.is_over()


def test_a_broken_body_keeps_whole_fragments_and_drops_the_open_one(endpoint, camera):
    with Upload(endpoint.url) as upload:
        upload.send(mkv.header() + mkv.cluster(T) + mkv.END + mkv.cluster(T + 1000))
        assert upload.head()[0] == 200
        events = sorted(upload.ack()["EventType"] for _ in range(4))
        assert events == ["BUFFERING", "BUFFERING", "PERSISTED", "RECEIVED"]
    assert put(endpoint.url, mkv.body(1, start=T + 5000))[-1]["EventType"] == "PERSISTED"
    assert [one.timecode for one in endpoint.fragments("cam")] == [T, T + 5000]


def test_a_relative_fragment_gets_the_start_added_and_its_ack_the_raw_number(endpoint, camera):
    headers = {"x-amzn-fragment-timecode-type": "RELATIVE", "x-amzn-producer-start-timestamp": "1600000000.5"}
    acks = put(endpoint.url, mkv.body(1, start=250), **headers)
    assert {ack["FragmentTimecode"] for ack in acks} == {250}
    assert endpoint.fragments("cam")[0].producer_hns == (T + 750) * HNS_PER_MS


def test_deleting_the_stream_ends_its_uploads(endpoint, control, camera):
    with Upload(endpoint.url) as upload:
        upload.send(mkv.header() + mkv.cluster(T))
        assert upload.head()[0] == 200
        assert upload.ack()["EventType"] == "BUFFERING"
        control.delete_stream(StreamARN=camera)
        assert upload.ack()["ErrorId"] == 4008
        assert upload.ack() is None


@pytest.fixture
def impatient(tmp_path):
    """An endpoint with the stream "cam" that gives up uploads without data soon."""
    settings = Settings.unlimited(idle_interval_hns=40 * HNS_PER_MS, idle_max_hns=100 * HNS_PER_MS)
    with LocalEndpoint.run_in_thread(data_dir=tmp_path, settings=settings) as running:
        control = client("kinesisvideo", running.url)
        control.create_stream(StreamName="cam")
        control.close()
        yield running


def test_an_idle_upload_is_told_and_then_closed(impatient):
    with Upload(impatient.url) as upload:
        upload.send(mkv.header())
        assert upload.head()[0] == 200
        assert upload.events() == ["IDLE", "IDLE"]
        assert upload.is_over()


def test_a_large_fragment_passes_through_in_pieces(endpoint, camera):
    payload = bytes(range(256)) * 4096
    frames = [mkv.block(i, payload) for i in range(12)]
    acks = put(endpoint.url, mkv.header() + mkv.cluster(T, *frames) + mkv.END)
    assert acks[-1]["EventType"] == "PERSISTED"
    blocks = endpoint.fragments("cam")[0].blocks
    assert len(blocks) == 12
    assert all(block.payload == payload for block in blocks)


def test_the_hook_sees_every_ack(tmp_path):
    seen = []
    running = LocalEndpoint.run_in_thread(
        settings=Settings.unlimited(), data_dir=tmp_path, on_ack=lambda stream, ack: seen.append((stream, ack.event))
    )
    with running as endpoint:
        control = client("kinesisvideo", endpoint.url)
        control.create_stream(StreamName="cam", DataRetentionInHours=1)
        control.close()
        put(endpoint.url, mkv.body(1))
    assert seen == [("cam", "BUFFERING"), ("cam", "RECEIVED"), ("cam", "PERSISTED")]


def test_a_producer_that_leaves_before_its_body_begins_is_no_error(endpoint, camera, caplog):
    with Upload(endpoint.url):
        pass
    assert put(endpoint.url, mkv.body(1))[-1]["EventType"] == "PERSISTED"
    assert caplog.records == []


def test_chunk_coding_that_is_none_counts_as_no_data_and_keeps_what_was_whole(impatient):
    """aiohttp does not tell a running handler of it, so the idle limit ends such an upload."""
    with Upload(impatient.url) as upload:
        upload.send(mkv.header() + mkv.cluster(T) + mkv.END)
        assert upload.head()[0] == 200
        assert [upload.ack()["EventType"] for _ in range(2)] == ["BUFFERING", "RECEIVED"]
        upload.socket.sendall(b"this is no chunk\r\n")
        assert set(upload.events()) == {"IDLE"}
        assert upload.is_over()
    assert [one.timecode for one in impatient.fragments("cam")] == [T]


def test_an_empty_body_is_answered_and_over(endpoint, camera):
    with Upload(endpoint.url) as upload:
        upload.end()
        assert upload.head()[0] == 200
        assert upload.acks() == []


def test_fifty_uploads_at_once_are_each_whole(endpoint, control):
    payload = bytes(range(256)) * 16
    uploads = []
    for i in range(50):
        control.create_stream(StreamName=f"cam-{i}", DataRetentionInHours=1)
        uploads.append(Upload(endpoint.url, f"cam-{i}"))
    for upload in uploads:
        upload.send(mkv.body(2, payload=payload))
    for upload in uploads:
        upload.end()
    for i, upload in enumerate(uploads):
        assert upload.head()[0] == 200
        assert upload.events().count("PERSISTED") == 2
        upload.close()
        assert [len(one.blocks) for one in endpoint.fragments(f"cam-{i}")] == [2, 2]


def test_a_key_that_is_off_refuses_each_fragment_of_sessions_that_are_open_too(endpoint, camera):
    with Upload(endpoint.url) as upload:
        upload.send(mkv.header() + mkv.cluster(T) + mkv.END)
        assert upload.head()[0] == 200
        assert [upload.ack()["EventType"] for _ in range(3)] == ["BUFFERING", "RECEIVED", "PERSISTED"]
        endpoint.faults.add(fault_of({"kind": "kms-key", "stream": "cam"}))
        client("kinesisvideo", endpoint.url).list_streams()  # the fault is in force before this is answered
        upload.send(mkv.cluster(T + 1000) + mkv.END)
        assert upload.ack()["EventType"] == "BUFFERING"
        assert upload.ack()["ErrorCode"] == "KMS_KEY_DISABLED"
        assert upload.is_over()
    endpoint.faults.clear()
    assert put(endpoint.url, mkv.body(1, start=T + 5000))[-1]["EventType"] == "PERSISTED"


def test_get_media_has_three_connections_a_stream(tmp_path):
    settings = Settings(creating_hns=0)
    with LocalEndpoint.run_in_thread(data_dir=tmp_path, settings=settings, live_wait_seconds=30) as endpoint:
        client("kinesisvideo", endpoint.url).create_stream(StreamName="cam", DataRetentionInHours=1)
        put(endpoint.url, mkv.body(1))
        media = client("kinesis-video-media", endpoint.url)
        request = {"StreamName": "cam", "StartSelector": {"StartSelectorType": "EARLIEST"}}
        watching = [media.get_media(**request)["Payload"] for _ in range(3)]
        with pytest.raises(media.exceptions.ConnectionLimitExceededException):
            media.get_media(**request)
        for payload in watching:
            payload.close()
