"""The operations as boto3 sees them. Goal: a program that works against the service works against the endpoint."""

import http.client
import json
from urllib.parse import urlsplit

import pytest
from botocore.exceptions import ClientError
from unit.local import mkv_bytes as mkv
from unit.local.raw_client import put

from kvspic.local.mkv_events import Problem, Tags
from kvspic.local.mkv_reader import read_all

T = 1_600_000_000_000


def refused(call, **request):
    with pytest.raises(ClientError) as caught:
        call(**request)
    return caught.value.response["Error"]["Code"]


def post(url, path, body=b"{}", method="POST"):
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=10)
    try:
        connection.request(method, path, body)
        answer = connection.getresponse()
        return answer.status, answer.headers, json.loads(answer.read())
    finally:
        connection.close()


def test_a_created_stream_is_described(control):
    arn = control.create_stream(
        StreamName="cam", DataRetentionInHours=2, MediaType="video/h264,audio/aac", DeviceName="d", Tags={"a": "b"}
    )["StreamARN"]
    info = control.describe_stream(StreamName="cam")["StreamInfo"]
    assert (info["StreamARN"], info["Status"], info["DataRetentionInHours"]) == (arn, "ACTIVE", 2)
    assert (info["MediaType"], info["DeviceName"]) == ("video/h264,audio/aac", "d")
    assert control.describe_stream(StreamARN=arn)["StreamInfo"] == info
    assert control.list_tags_for_stream(StreamName="cam")["Tags"] == {"a": "b"}


def test_streams_are_listed_in_pages_and_by_prefix(control):
    for name in ("b-1", "a-2", "a-1", "a-3"):
        control.create_stream(StreamName=name)
    pages = control.get_paginator("list_streams").paginate(
        StreamNameCondition={"ComparisonOperator": "BEGINS_WITH", "ComparisonValue": "a-"},
        PaginationConfig={"PageSize": 2},
    )
    assert [[info["StreamName"] for info in page["StreamInfoList"]] for page in pages] == [["a-1", "a-2"], ["a-3"]]


def test_updates_need_the_present_version(control, camera):
    version = control.describe_stream(StreamName="cam")["StreamInfo"]["Version"]
    control.update_stream(StreamName="cam", CurrentVersion=version, MediaType="video/h265")
    info = control.describe_stream(StreamName="cam")["StreamInfo"]
    assert (info["MediaType"], info["Version"] != version) == ("video/h265", True)
    change = {"Operation": "INCREASE_DATA_RETENTION", "DataRetentionChangeInHours": 1}
    assert refused(control.update_data_retention, StreamName="cam", CurrentVersion=version, **change) == (
        "VersionMismatchException"
    )
    control.update_data_retention(StreamName="cam", CurrentVersion=info["Version"], **change)
    assert control.describe_stream(StreamName="cam")["StreamInfo"]["DataRetentionInHours"] == 25


def test_tags_are_added_listed_and_removed_by_name_and_by_arn(control, camera):
    control.tag_stream(StreamName="cam", Tags={"a": "1", "b": "2"})
    control.tag_resource(ResourceARN=camera, Tags=[{"Key": "b", "Value": "3"}, {"Key": "c", "Value": ""}])
    assert control.list_tags_for_resource(ResourceARN=camera)["Tags"] == {"a": "1", "b": "3", "c": ""}
    control.untag_stream(StreamARN=camera, TagKeyList=["a"])
    control.untag_resource(ResourceARN=camera, TagKeyList=["c"])
    assert control.list_tags_for_stream(StreamName="cam")["Tags"] == {"b": "3"}


def test_a_deleted_stream_is_gone_with_its_fragments_and_its_name_is_free(endpoint, control, archive, camera):
    put(endpoint.url, mkv.body(1))
    control.delete_stream(StreamARN=camera)
    assert refused(control.describe_stream, StreamName="cam") == "ResourceNotFoundException"
    control.create_stream(StreamName="cam", DataRetentionInHours=1)
    assert endpoint.fragments("cam") == []


def test_the_data_endpoint_is_where_the_caller_is(endpoint, control, camera):
    answer = control.get_data_endpoint(StreamName="cam", APIName="PUT_MEDIA")
    assert answer["DataEndpoint"] == endpoint.url


def test_refusals_carry_the_services_names(control, camera):
    assert refused(control.create_stream, StreamName="cam") == "ResourceInUseException"
    assert refused(control.create_stream, StreamName="x" * 257) == "InvalidArgumentException"
    assert refused(control.create_stream, StreamName="a b") == "InvalidArgumentException"
    assert refused(control.describe_stream, StreamName="nobody") == "ResourceNotFoundException"
    assert refused(control.describe_stream) == "InvalidArgumentException"
    assert refused(control.get_data_endpoint, StreamName="cam", APIName="OTHER") == "InvalidArgumentException"
    tags = {f"k{i}": "" for i in range(50)}
    control.tag_stream(StreamName="cam", Tags=tags)
    assert refused(control.tag_stream, StreamName="cam", Tags={"one": "more"}) == (
        "TagsPerResourceExceededLimitException"
    )


@pytest.mark.parametrize("path", ["/v1/get-ice-server-config", "/v1/send-alexa-offer-to-master"])
def test_a_known_path_that_is_not_built_says_so(endpoint, path):
    status, headers, body = post(endpoint.url, path)
    assert (status, headers["x-amzn-ErrorType"]) == (501, "NotImplementedException")
    assert "signaling" in body["Message"]


@pytest.mark.parametrize(
    "method, path", [("POST", "/nothing"), ("GET", "/createStream"), ("GET", "/web/nothing"), ("POST", "/")]
)
def test_an_unknown_path_or_method_is_not_found(endpoint, method, path):
    status, headers, _ = post(endpoint.url, path, None, method)
    assert (status, headers["x-amzn-ErrorType"]) == (404, "UnknownOperationException")


@pytest.mark.parametrize("body", [b"[]", b"{", b"\xff", b"[" * 50_000])
def test_a_body_that_is_no_object_is_refused(endpoint, body):
    status, headers, _ = post(endpoint.url, "/createStream", body)
    assert (status, headers["x-amzn-ErrorType"]) == (400, "SerializationException")


def media_of(answer):
    data = answer["Payload"].read()
    events = read_all(data)
    assert not any(isinstance(event, Problem) for event in events)
    tags = [
        {tag.name.removeprefix("AWS_KINESISVIDEO_"): tag.value for tag in event.tags}
        for event in events
        if isinstance(event, Tags)
    ]
    return data, tags


def numbers(tags):
    return [found["FRAGMENT_NUMBER"] for found in tags if "SERVER_TIMESTAMP" in found]


def test_get_media_sends_each_fragment_as_a_document_with_the_services_tags(endpoint, media, camera):
    custom = mkv.tags(("place", "door"))
    put(endpoint.url, mkv.header() + custom + mkv.cluster(T) + mkv.cluster(T + 1000) + mkv.END)
    stored = endpoint.fragments("cam")
    data, tags = media_of(media.get_media(StreamName="cam", StartSelector={"StartSelectorType": "EARLIEST"}))
    assert data.count(mkv.ebml()) == 2
    assert numbers(tags) == [one.number for one in stored]
    assert tags[0]["PRODUCER_TIMESTAMP"] == "1600000000.000"
    assert tags[1] == {"place": "door"}
    assert tags[2] == {"MILLIS_BEHIND_NOW": tags[2]["MILLIS_BEHIND_NOW"], "CONTINUATION_TOKEN": stored[0].number}
    assert tags[-1] == {"MILLIS_BEHIND_NOW": "0", "CONTINUATION_TOKEN": stored[1].number}
    assert stored[0].tags == (("place", "door"),)


def test_get_media_starts_where_the_selector_says(endpoint, media, camera):
    put(endpoint.url, mkv.body(4))
    stored = [one.number for one in endpoint.fragments("cam")]

    def got(**selector):
        return numbers(media_of(media.get_media(StreamARN=camera, StartSelector=selector))[1])

    assert got(StartSelectorType="EARLIEST") == stored
    assert got(StartSelectorType="NOW") == stored[3:]
    assert got(StartSelectorType="FRAGMENT_NUMBER", AfterFragmentNumber=stored[1]) == stored[2:]
    assert got(StartSelectorType="FRAGMENT_NUMBER", AfterFragmentNumber="1") == stored
    assert got(StartSelectorType="FRAGMENT_NUMBER", AfterFragmentNumber="9" * 60) == []
    assert got(StartSelectorType="CONTINUATION_TOKEN", ContinuationToken=stored[2]) == stored[3:]
    assert got(StartSelectorType="PRODUCER_TIMESTAMP", StartTimestamp=(T + 1100) / 1000) == stored[1:]
    assert got(StartSelectorType="PRODUCER_TIMESTAMP", StartTimestamp=(T + 9999) / 1000) == []
    assert got(StartSelectorType="SERVER_TIMESTAMP", StartTimestamp=1) == stored


def test_get_media_refuses_bad_selectors(media, camera):
    def code(**selector):
        return refused(media.get_media, StreamName="cam", StartSelector=selector)

    assert code(StartSelectorType="LATER") == "InvalidArgumentException"
    assert code(StartSelectorType="FRAGMENT_NUMBER") == "InvalidArgumentException"
    assert code(StartSelectorType="FRAGMENT_NUMBER", AfterFragmentNumber="x") == "InvalidArgumentException"
    assert code(StartSelectorType="CONTINUATION_TOKEN", ContinuationToken="a-b") == "InvalidArgumentException"
    assert refused(media.get_media, StreamName="nobody", StartSelector={"StartSelectorType": "NOW"}) == (
        "ResourceNotFoundException"
    )


def test_get_media_follows_a_live_upload(tmp_path, endpoint, media, camera):
    put(endpoint.url, mkv.body(1))
    payload = media.get_media(StreamName="cam", StartSelector={"StartSelectorType": "NOW"})["Payload"]
    put(endpoint.url, mkv.body(1, start=T + 50_000))
    events = read_all(payload.read())
    assert len(numbers([{tag.name[17:]: tag.value for tag in e.tags} for e in events if isinstance(e, Tags)])) == 2


def listed(archive, **selector):
    request = {"FragmentSelectorType": "PRODUCER_TIMESTAMP", "TimestampRange": selector}
    pages = archive.get_paginator("list_fragments").paginate(
        StreamName="cam", FragmentSelector=request, PaginationConfig={"PageSize": 2}
    )
    return [fragment for page in pages for fragment in page["Fragments"]]


def test_fragments_are_listed_by_time_in_pages(endpoint, archive, camera):
    put(endpoint.url, mkv.body(5))
    stored = endpoint.fragments("cam")
    found = listed(archive, StartTimestamp=T / 1000, EndTimestamp=T / 1000 + 3600)
    assert [one["FragmentNumber"] for one in found] == [one.number for one in stored]
    assert found[0]["ProducerTimestamp"].timestamp() == T / 1000
    assert found[0]["FragmentLengthInMilliseconds"] == 1000
    assert found[0]["FragmentSizeInBytes"] > 0
    both_ends = listed(archive, StartTimestamp=T / 1000 + 1, EndTimestamp=T / 1000 + 2)
    assert [one["FragmentNumber"] for one in both_ends] == [one.number for one in stored[1:3]]
    assert listed(archive, StartTimestamp=1, EndTimestamp=2) == []


def test_a_page_token_must_be_one_of_ours(archive, camera):
    assert refused(archive.list_fragments, StreamName="cam", NextToken="AAAA") == "InvalidArgumentException"
    assert refused(archive.list_fragments, StreamName="cam") == "InvalidArgumentException"


def test_listed_fragments_come_in_the_order_asked_and_a_missing_one_says_so(endpoint, archive, camera):
    put(endpoint.url, mkv.body(3))
    stored = [one.number for one in endpoint.fragments("cam")]
    asked = [stored[2], "12345", stored[0]]
    _, tags = media_of(archive.get_media_for_fragment_list(StreamName="cam", Fragments=asked))
    assert [found["FRAGMENT_NUMBER"] for found in tags if "FRAGMENT_NUMBER" in found] == asked
    assert tags[1]["EXCEPTION_ERROR_CODE"] == "4000"
    assert tags[0]["PRODUCER_SIDE_TIMESTAMP"] == tags[0]["PRODUCER_TIMESTAMP"]
    assert refused(archive.get_media_for_fragment_list, StreamName="cam", Fragments=["x"]) == (
        "InvalidArgumentException"
    )
