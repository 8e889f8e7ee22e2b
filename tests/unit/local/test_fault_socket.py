"""Faults on the endpoint's sockets. Goal: each kind does to a real client what it says, to no other, and then ends."""

import contextlib
import time

import pytest
from botocore.exceptions import BotoCoreError, ClientError
from unit.local import mkv_bytes as mkv
from unit.local.aws import client
from unit.local.raw_client import Upload, put

from kvspic.local.acks import AckError
from kvspic.local.fault_socket import ScriptedFaults
from kvspic.local.faults import PUT_MEDIA, Fault, FaultKind
from kvspic.local.server import LocalEndpoint
from kvspic.local.settings import Settings

MS = 10_000
BODY = b"".join([mkv.header(), mkv.cluster(1000), mkv.END, mkv.cluster(2000), mkv.END])
EACH = ["BUFFERING", "RECEIVED", "PERSISTED"]


@pytest.fixture(autouse=True)
def stream(camera):
    """Every test has the stream "cam"."""


def strike(endpoint, kind, **members):
    members.setdefault("operation", PUT_MEDIA)
    endpoint.faults.add(Fault(kind, **members))


def of_timecode(acks, timecode):
    return [ack["EventType"] for ack in acks if ack.get("FragmentTimecode") == timecode]


def is_served(endpoint):
    acks = put(endpoint.url, BODY)
    return of_timecode(acks, 1000) == of_timecode(acks, 2000) == EACH


def test_an_answer_has_its_status_name_and_retry_after(endpoint, control):
    operation = "DescribeStream"
    fault = {"operation": operation, "status": 429, "error_name": "ClientLimitExceededException", "retry_after_s": 7}
    strike(endpoint, FaultKind.ANSWER, count=1, **fault)
    with pytest.raises(ClientError) as caught:
        control.describe_stream(StreamName="cam")
    assert caught.value.response["Error"]["Code"] == "ClientLimitExceededException"
    assert caught.value.response["ResponseMetadata"]["HTTPHeaders"]["retry-after"] == "7"
    assert control.describe_stream(StreamName="cam")["StreamInfo"]["StreamName"] == "cam"


def test_a_fault_is_about_its_stream_by_name_or_arn(endpoint, control, camera):
    control.create_stream(StreamName="other", DataRetentionInHours=1)
    strike(endpoint, FaultKind.ANSWER, operation="*", stream="cam")
    for about in ({"StreamName": "cam"}, {"StreamARN": camera}):
        with pytest.raises(ClientError):
            control.describe_stream(**about)
    assert control.describe_stream(StreamName="other")["StreamInfo"]["StreamName"] == "other"


@pytest.mark.parametrize("after_bytes", [0, 50])
def test_an_upload_is_refused_early(endpoint, after_bytes):
    strike(endpoint, FaultKind.ANSWER, status=403, error_name="AccessDeniedException", after_bytes=after_bytes)
    with Upload(endpoint.url) as upload:
        upload.send(BODY)
        assert upload.refusal()[:2] == (403, "AccessDeniedException")
    assert endpoint.fragments("cam") == []


@pytest.mark.parametrize("kind", [FaultKind.REFUSE, FaultKind.CUT])
def test_a_call_is_cut_without_an_answer(endpoint, control, kind):
    strike(endpoint, kind, operation="DescribeStream", count=1)
    with pytest.raises(BotoCoreError):
        control.describe_stream(StreamName="cam")
    assert control.describe_stream(StreamName="cam")


def test_a_cut_comes_after_its_bytes(endpoint):
    strike(endpoint, FaultKind.CUT, after_bytes=len(BODY) - len(mkv.END), count=1)
    with Upload(endpoint.url) as upload:
        upload.send(BODY)
        with contextlib.suppress(OSError, EOFError):
            upload.head()
            upload.acks()
        assert upload.is_over()
    stored = (endpoint.fragments("cam") for _ in range(2000))  # its own thread may be at it when the connection is gone
    assert [fragment.timecode for fragment in next(filter(None, stored), [])] == [1000]
    assert is_served(endpoint)


@pytest.mark.parametrize(("kind", "after_bytes"), [("unreachable", 0), ("silence", 0), ("silence", 60)])
def test_silence_answers_nothing_and_keeps_the_connection(endpoint, kind, after_bytes):
    strike(endpoint, FaultKind(kind), after_bytes=after_bytes, count=1)
    with Upload(endpoint.url) as upload:
        upload.send(BODY)
        upload.socket.settimeout(0.2)
        with pytest.raises(TimeoutError):
            while upload.socket.recv(4096):  # of an upload that began the head may come, and ACKs of what was read
                pass
    assert is_served(endpoint)


@pytest.mark.parametrize("error", AckError)
def test_each_error_ack_can_be_sent(endpoint, error):
    strike(endpoint, FaultKind.ERROR_ACK, error_id=int(error), fragment=1)
    acks = put_and_be_refused(endpoint)
    assert of_timecode(acks, 2000) == ["BUFFERING", "ERROR"]
    assert (acks[-1]["ErrorCode"], acks[-1]["ErrorId"]) == (error.name, int(error))


def put_and_be_refused(endpoint):
    with Upload(endpoint.url) as upload:
        upload.send(BODY)
        assert upload.head()[0] == 200
        return upload.acks()


def test_acks_are_lost_and_the_data_is_not(endpoint):
    strike(endpoint, FaultKind.DROP_ACKS, count=1)
    assert put(endpoint.url, BODY) == []
    assert len(endpoint.fragments("cam")) == 2


def test_acks_are_reordered_and_complete(endpoint):
    strike(endpoint, FaultKind.REORDER_ACKS, count=1)
    acks = put(endpoint.url, BODY)
    assert of_timecode(acks, 1000) == ["RECEIVED", "BUFFERING", "PERSISTED"]
    assert sorted(of_timecode(acks, 2000)) == sorted(EACH)


@pytest.mark.parametrize(
    ("kind", "members"),
    [
        (FaultKind.DELAY, {"delay_hns": 100 * MS}),
        (FaultKind.DELAY_ACKS, {"delay_hns": 100 * MS}),
        (FaultKind.THROTTLE, {"bytes_per_s": 10 * len(BODY)}),
        (FaultKind.STALL, {"delay_hns": 100 * MS}),
    ],
)
def test_what_slows_down_loses_nothing(endpoint, kind, members):
    strike(endpoint, kind, **members)
    begin = time.monotonic()
    acks = put(endpoint.url, BODY)
    assert time.monotonic() - begin >= 0.09
    assert of_timecode(acks, 1000) == of_timecode(acks, 2000) == EACH


def test_keys_seen_so_far_expire_and_others_do_not(endpoint, control):
    control.describe_stream(StreamName="cam")
    endpoint.faults.add(Fault(FaultKind.EXPIRE_TOKENS))
    with pytest.raises(ClientError) as caught:
        control.describe_stream(StreamName="cam")
    assert caught.value.response["Error"]["Code"] == "ExpiredTokenException"
    fresh = client("kinesisvideo", endpoint.url, key="other")
    assert fresh.describe_stream(StreamName="cam")
    fresh.close()
    endpoint.faults.clear()
    assert control.describe_stream(StreamName="cam")


def test_a_restart_ends_connections_refuses_and_comes_back_with_what_was_stored(endpoint):
    assert is_served(endpoint)
    url = endpoint.url
    with Upload(url) as upload:
        upload.send(BODY)
        upload.head()
        endpoint.faults.add(Fault(FaultKind.RESTART, delay_hns=200 * MS))
        with pytest.raises((OSError, EOFError, ValueError)):
            upload.acks()
    wait_until(lambda: not is_up(url))
    wait_until(lambda: is_up(url))
    assert endpoint.url == url
    assert is_served(endpoint)
    assert len(endpoint.fragments("cam")) >= 4


def wait_until(is_so):
    end = time.monotonic() + 10
    while not is_so():
        assert time.monotonic() < end


def is_up(url):
    try:
        Upload(url).close()
    except OSError:
        return False
    return True


def test_the_endpoint_stops_during_a_restart(tmp_path):
    faults = ScriptedFaults([Fault(FaultKind.RESTART, delay_hns=3600_000 * MS)])
    with LocalEndpoint.run_in_thread(
        data_dir=tmp_path / "restarting", faults=faults, settings=Settings.unlimited()
    ) as endpoint:
        assert not is_up(endpoint.url)


def test_faults_given_at_the_start_are_in_force(tmp_path):
    faults = ScriptedFaults([Fault(FaultKind.ANSWER, status=503)])
    with LocalEndpoint.run_in_thread(
        data_dir=tmp_path / "faulty", faults=faults, settings=Settings.unlimited()
    ) as endpoint:
        with pytest.raises(ClientError, match="503"):
            client("kinesisvideo", endpoint.url).list_streams()
        faults.clear()
        assert client("kinesisvideo", endpoint.url).list_streams()["StreamInfoList"] == []
