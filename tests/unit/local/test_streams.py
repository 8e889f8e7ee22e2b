"""The control plane's model. Goal: streams change only as the service lets them, and every change can be stored."""

from dataclasses import replace

import pytest

from kvspic.local.errors import ServiceError
from kvspic.local.model import Service
from kvspic.local.quotas import Quotas
from kvspic.local.settings import Settings
from kvspic.units import HNS_PER_HOUR, HNS_PER_S

NOW = 1_700_000_000 * HNS_PER_S


@pytest.fixture
def service():
    made = Service(Settings.unlimited(quotas=replace(Quotas.off(), streams_max=10_000), creating_hns=10 * HNS_PER_S))
    made.call("CreateStream", {"StreamName": "cam", "DataRetentionInHours": 2}, NOW)
    return made


def info(service, now_hns=NOW + 60 * HNS_PER_S):
    return service.call("DescribeStream", {"StreamName": "cam"}, now_hns)["StreamInfo"]


def refusal(service, operation, request, now_hns=NOW + 60 * HNS_PER_S):
    before = info(service)
    with pytest.raises(ServiceError) as caught:
        service.call(operation, request, now_hns)
    assert info(service) == before
    return caught.value.name


def test_a_stream_becomes_active_after_its_delay(service):
    assert info(service, NOW)["Status"] == "CREATING"
    assert info(service, NOW + 10 * HNS_PER_S)["Status"] == "ACTIVE"


def test_the_arn_holds_the_time_of_creation_in_milliseconds(service):
    assert info(service)["StreamARN"] == "arn:aws:kinesisvideo:us-east-1:123456789012:stream/cam/1700000000000"
    assert info(service)["CreationTime"] == 1_700_000_000
    assert info(service)["KmsKeyId"].endswith(":alias/aws/kinesisvideo")


BAD = {
    "no name": ("CreateStream", {}),
    "name of a number": ("CreateStream", {"StreamName": 5}),
    "empty name": ("CreateStream", {"StreamName": ""}),
    "name with a newline": ("CreateStream", {"StreamName": "cam\n"}),
    "negative retention": ("CreateStream", {"StreamName": "new", "DataRetentionInHours": -1}),
    "retention over ten years": ("CreateStream", {"StreamName": "new", "DataRetentionInHours": 87_601}),
    "retention that is true": ("CreateStream", {"StreamName": "new", "DataRetentionInHours": True}),
    "media type of one word": ("CreateStream", {"StreamName": "new", "MediaType": "video"}),
    "empty tag key": ("CreateStream", {"StreamName": "new", "Tags": {"": "x"}}),
    "tag with a bracket": ("CreateStream", {"StreamName": "new", "Tags": {"a": "<"}}),
    "name and ARN": ("DescribeStream", {"StreamName": "cam", "StreamARN": "arn:aws:kinesisvideo:r:1:stream/cam/1"}),
    "ARN of another form": ("DescribeStream", {"StreamARN": "cam"}),
    "page of zero": ("ListStreams", {"MaxResults": 0}),
    "token of another": ("ListStreams", {"NextToken": "a"}),
    "condition of a word": ("ListStreams", {"StreamNameCondition": "cam"}),
    "no version": ("UpdateStream", {"StreamName": "cam"}),
    "no tags": ("TagStream", {"StreamName": "cam"}),
    "tags in a list for a stream": ("TagStream", {"StreamName": "cam", "Tags": [{"Key": "a", "Value": "b"}]}),
    "no keys": ("UntagStream", {"StreamName": "cam", "TagKeyList": []}),
    "no ARN": ("DeleteStream", {"StreamName": "cam"}),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_value_is_an_invalid_argument_and_changes_nothing(service, name):
    assert refusal(service, *BAD[name]) == "InvalidArgumentException"


def test_an_arn_of_another_creation_is_not_found(service):
    arn = info(service)["StreamARN"]
    assert refusal(service, "DescribeStream", {"StreamARN": arn[:-1] + "9"}) == "ResourceNotFoundException"


def test_retention_stays_within_its_bounds(service):
    def change(operation, hours):
        version = info(service)["Version"]
        return {
            "StreamName": "cam",
            "CurrentVersion": version,
            "Operation": operation,
            "DataRetentionChangeInHours": hours,
        }

    assert refusal(service, "UpdateDataRetention", change("DECREASE_DATA_RETENTION", 3)) == "InvalidArgumentException"
    assert refusal(service, "UpdateDataRetention", change("OTHER", 1)) == "InvalidArgumentException"
    service.call("UpdateDataRetention", change("DECREASE_DATA_RETENTION", 2), NOW + HNS_PER_HOUR)
    assert info(service)["DataRetentionInHours"] == 0


def test_a_stream_that_is_not_active_cannot_be_updated(service):
    request = {"StreamName": "cam", "CurrentVersion": info(service)["Version"], "MediaType": "video/h264"}
    assert refusal(service, "UpdateStream", request, NOW) == "ResourceInUseException"


def test_a_stale_version_does_not_delete(service):
    request = {"StreamARN": info(service)["StreamARN"], "CurrentVersion": "stale"}
    assert refusal(service, "DeleteStream", request) == "VersionMismatchException"


def test_tags_do_not_change_the_version(service):
    before = info(service)["Version"]
    service.call("TagStream", {"StreamName": "cam", "Tags": {"Ort": "Tür 1"}}, NOW)
    assert info(service)["Version"] == before


def test_what_changed_can_be_stored_and_restored(service):
    service.call("TagStream", {"StreamName": "cam", "Tags": {"a": "b"}}, NOW)
    records = [stream.to_dict() for stream in service.streams.changed.values()]
    copy = Service(service.settings)
    copy.streams.restore(records, next_id=7)
    assert info(copy) == info(service)
    copy.call("CreateStream", {"StreamName": "new"}, NOW)
    assert [stream.stream_id for stream in copy.streams.all()] == [1, 7]


def test_a_deleted_stream_is_told_to_the_store(service):
    service.call("DeleteStream", {"StreamARN": info(service)["StreamARN"]}, NOW)
    assert (service.streams.changed, service.streams.deleted) == ({}, [1])


def test_there_is_a_limit_of_streams(service):
    for i in range(9_999):
        service.call("CreateStream", {"StreamName": f"s{i}"}, NOW)
    assert refusal(service, "CreateStream", {"StreamName": "more"}) == "AccountStreamLimitExceededException"
    page = service.call("ListStreams", {"MaxResults": 10_000}, NOW)
    assert (len(page["StreamInfoList"]), "NextToken" in page) == (10_000, False)
