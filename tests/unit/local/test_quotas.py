"""The quotas. Goal: what a developer would meet at the service is met here first, with the service's error, and a
setting lifts each."""

from dataclasses import replace

import pytest
from unit.local import mkv_bytes as mkv
from unit.local.test_put_session import NOW, Session, T, heads

from kvspic.local.acks import AckError
from kvspic.local.errors import ServiceError
from kvspic.local.model import Service
from kvspic.local.quotas import Beyond, Meter, Quotas
from kvspic.local.settings import Settings
from kvspic.units import HNS_PER_MS, HNS_PER_S

DOOR = {"StreamName": "door"}


def service(**quotas):
    made = Service(Settings.unlimited(quotas=Quotas(**quotas)))
    made.call("CreateStream", {**DOOR, "DataRetentionInHours": 2}, NOW)
    return made


def refusal(call, *arguments):
    with pytest.raises(ServiceError) as caught:
        call(*arguments)
    return caught.value.name


def made_until_refused(call):
    """How many calls the service takes at one moment, and how it refuses the next one."""
    for count in range(10_000):
        try:
            call(count)
        except ServiceError as error:
            return count, error.name
    return None


LIMITED = "ClientLimitExceededException"


@pytest.mark.parametrize("operation", ["DescribeStream", "ListTagsForStream"])
def test_a_stream_takes_five_calls_of_an_operation_a_second(operation):
    made = service()
    assert made_until_refused(lambda _: made.call(operation, DOOR, NOW)) == (5, LIMITED)
    made.call(operation, DOOR, NOW + HNS_PER_S // 5)
    assert refusal(made.call, operation, DOOR, NOW + HNS_PER_S // 5) == LIMITED


def test_operations_and_streams_are_counted_apart():
    made = service()
    made.call("CreateStream", {"StreamName": "yard"}, NOW)
    for name in ("door", "yard"):
        for _ in range(5):
            made.call("DescribeStream", {"StreamName": name}, NOW)
            made.get_data_endpoint({"StreamName": name, "APIName": "PUT_MEDIA"}, "http://here", NOW)


def test_a_stream_named_by_its_arn_is_the_same_stream():
    made = service()
    arn = made.call("DescribeStream", DOOR, NOW)["StreamInfo"]["StreamARN"]
    assert made_until_refused(lambda _: made.call("DescribeStream", {"StreamARN": arn}, NOW)) == (4, LIMITED)


def test_an_account_creates_fifty_streams_a_second():
    made = service()
    assert made_until_refused(lambda i: made.call("CreateStream", {"StreamName": f"s{i}"}, NOW)) == (49, LIMITED)


@pytest.mark.parametrize("operation", ["DescribeStream", "GetDataEndpoint"])
def test_an_account_makes_three_hundred_of_the_two_calls_that_each_session_needs(operation):
    made = Service(Settings.unlimited(quotas=replace(Quotas(), account_calls_per_s=0)))
    for i in range(100):
        made.call("CreateStream", {"StreamName": f"s{i}"}, NOW)

    def call(i):
        request = {"StreamName": f"s{i % 100}", "APIName": "PUT_MEDIA"}
        if operation == "DescribeStream":
            return made.call(operation, request, NOW)
        return made.get_data_endpoint(request, "http://here", NOW)

    assert made_until_refused(call) == (300, LIMITED)


def test_put_media_may_be_called_five_times_a_second():
    made = service(sessions_max=0)
    assert made_until_refused(lambda _: made.open_put({**heads(), "x-amzn-stream-name": "door"}, NOW)) == (5, LIMITED)


def test_the_newest_connection_is_refused_until_the_first_is_over():
    made = service()
    first = made.open_put({**heads(), "x-amzn-stream-name": "door"}, NOW)
    with pytest.raises(ServiceError, match="quotas off") as caught:
        made.open_put({**heads(), "x-amzn-stream-name": "door"}, NOW)
    assert caught.value.name == "ConnectionLimitExceededException"
    first.cut()
    made.open_put({**heads(), "x-amzn-stream-name": "door"}, NOW)


@pytest.mark.parametrize("operation, most", [("GetMedia", 3), ("GetMediaForFragmentList", 5)])
def test_so_many_readers_has_a_stream(operation, most):
    meter = Meter(Quotas())
    for _ in range(most):
        meter.connect(operation, 1)
    meter.connect(operation, 2)
    assert refusal(meter.connect, operation, 1) == "ConnectionLimitExceededException"
    meter.disconnect(operation, 1)
    meter.connect(operation, 1)


def test_get_media_may_be_called_five_times_a_second():
    made = service()
    assert made_until_refused(lambda _: made.read_call("GetMedia", DOOR, NOW)) == (5, LIMITED)


def test_without_quotas_nothing_is_refused():
    made = Service(Settings.unlimited())
    made.call("CreateStream", DOOR, NOW)
    assert made_until_refused(lambda _: made.call("DescribeStream", DOOR, NOW)) is None


# Fragments.


def body(count, step=1000):
    """Fragments of ``step`` ms, each with two frames."""
    return mkv.body(count, step=step)


def session(beyond=Beyond.SLOW, **others):
    return Session(Settings.unlimited(quotas=Quotas(beyond=beyond, **others)))


def test_five_fragments_a_second_are_read_at_once_and_more_only_at_that_rate():
    fast = session()
    fast.feed(body(5))
    assert fast.core.resume_hns <= fast.now
    fast.now += HNS_PER_MS
    fast.feed(mkv.cluster(T + 5000, mkv.block(), mkv.block(500)) + mkv.END)
    assert fast.core.resume_hns - fast.now == HNS_PER_S // 5 - HNS_PER_MS
    assert fast.core.breaches == {"5 fragments a second": 1}


def test_a_slowed_session_is_not_quiet():
    slow = session()
    slow.feed(body(300))
    assert slow.wait(60) == []
    assert slow.wait(5) == ["IDLE"]


def test_fragments_beyond_five_a_second_may_be_refused():
    strict = session(Beyond.REFUSE)
    acks = strict.feed(body(6))
    assert acks.count("BUFFERING") == 5
    assert acks[-1] == f"ERROR {int(AckError.INTERNAL_ERROR)}"


def test_fragments_beyond_five_a_second_may_be_dropped_silently():
    deaf = session(Beyond.DROP)
    acks = deaf.feed(body(8))
    assert (acks.count("BUFFERING"), acks.count("RECEIVED"), len(deaf.kept)) == (5, 5, 5)
    assert deaf.core.breaches == {"5 fragments a second": 3}


@pytest.mark.parametrize("end", [b"", mkv.END], ids=["by the next", "by the tag"])
def test_a_fragment_under_a_second_holds_the_body_for_what_is_missing(end):
    slow = session()
    slow.feed(mkv.header() + mkv.cluster(T, mkv.block(0), mkv.block(80)) + end + mkv.cluster(T + 160, mkv.block()))
    assert slow.core.resume_hns - slow.now == 840 * HNS_PER_MS


def test_a_fragment_under_a_second_may_be_refused():
    strict = session(Beyond.REFUSE)
    acks = strict.feed(mkv.header() + mkv.cluster(T, mkv.block(0), mkv.block(80)) + mkv.END)
    assert acks == ["BUFFERING", f"ERROR {int(AckError.MIN_FRAGMENT_DURATION_REACHED)}"]


def test_a_fragment_under_a_second_may_be_dropped_silently():
    deaf = session(Beyond.DROP)
    assert deaf.feed(mkv.header() + mkv.cluster(T, mkv.block(0), mkv.block(80)) + mkv.END) == []
    assert deaf.feed(mkv.cluster(T + 2000, mkv.block(), mkv.block(500)) + mkv.END) == ["BUFFERING", "RECEIVED"]
    assert len(deaf.kept) == 1


@pytest.mark.parametrize("times", [range(0, 1000, 40), range(0, 1000, 33), [0]], ids=["25/s", "30/s", "1/s"])
def test_a_fragment_of_a_second_is_long_enough(times):
    strict = session(Beyond.REFUSE)
    acks = strict.feed(mkv.header() + mkv.cluster(T, *(mkv.block(time) for time in times)) + mkv.END)
    assert acks == ["BUFFERING", "RECEIVED"]


def test_the_bandwidth_is_a_switch():
    free = session()
    free.feed(mkv.header() + mkv.cluster(T, mkv.block(0, bytes(5_000_000))))
    assert free.core.resume_hns <= free.now
    narrow = session(bytes_per_s=1_000_000)
    narrow.feed(mkv.header() + mkv.cluster(T, mkv.block(0, bytes(5_000_000))))
    assert narrow.core.resume_hns - narrow.now == pytest.approx(4 * HNS_PER_S, rel=1e-3)
    assert narrow.core.breaches == {"1000000 bytes a second": 1}


# A key of the stream that cannot be used.


def test_each_fragment_of_a_stream_whose_key_is_off_is_refused_until_it_is_on_again():
    made = Session()
    made.service.key_trouble = lambda name: AckError.KMS_KEY_DISABLED if name == "cam" else None
    assert made.feed(mkv.body(1)) == ["BUFFERING", "ERROR 4501"]
    made.service.key_trouble = lambda name: None
    made.core, made.closed = made.service.open_put(heads(), made.now), None
    assert made.feed(mkv.body(1)) == ["BUFFERING", "RECEIVED"]


# States that last a moment.


def test_a_stream_is_creating_updating_and_deleting_for_a_moment():
    made = Service(Settings(quotas=Quotas.off()))

    def status(at_ms):
        return made.call("DescribeStream", DOOR, NOW + at_ms * HNS_PER_MS)["StreamInfo"]["Status"]

    arn = made.call("CreateStream", DOOR, NOW)["StreamARN"]
    assert (status(50), status(100)) == ("CREATING", "ACTIVE")
    version = made.call("DescribeStream", DOOR, NOW)["StreamInfo"]["Version"]
    later = NOW + 200 * HNS_PER_MS
    update = {**DOOR, "CurrentVersion": version, "MediaType": "video/h264"}
    made.call("UpdateStream", update, later)
    assert refusal(made.call, "UpdateStream", update, later) == "ResourceInUseException"
    assert (status(250), status(300)) == ("UPDATING", "ACTIVE")
    last = NOW + 400 * HNS_PER_MS
    made.call("DeleteStream", {"StreamARN": arn}, last)
    assert status(450) == "DELETING"
    assert refusal(made.call, "CreateStream", DOOR, last) == "ResourceInUseException"
    assert refusal(made.call, "DeleteStream", {"StreamARN": arn}, last) == "ResourceInUseException"
    assert refusal(made.open_put, {**heads(), "x-amzn-stream-name": "door"}, last) == "ResourceNotFoundException"
    assert refusal(made.call, "DescribeStream", DOOR, NOW + 500 * HNS_PER_MS) == "ResourceNotFoundException"
    made.call("CreateStream", DOOR, NOW + 500 * HNS_PER_MS)
