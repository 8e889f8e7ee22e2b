"""Requests that are made to break something, and a disk that is full. Goal: every answer has the service's shape, and
what could not be kept has not happened."""

import base64
import http.client
import json
import sqlite3
from urllib.parse import urlsplit

import pytest
from botocore.exceptions import ClientError
from unit.local import mkv_bytes as mkv
from unit.local.raw_client import put

from kvspic.local.errors import ServiceError
from kvspic.local.sigv4 import SignedRequest, verify
from kvspic.local.store_index import Index

LIST = "/listFragments"


def posted(url, path, body, headers=None):
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=10)
    try:
        connection.request("POST", path, body, headers or {})
        answer = connection.getresponse()
        content = json.loads(answer.read())
        assert answer.headers["x-amzn-RequestId"]
        return answer.status, answer.headers["x-amzn-ErrorType"], content
    finally:
        connection.close()


def token(*members):
    return base64.b64encode(json.dumps(members).encode()).decode()


def selector(start, end, kind="SERVER_TIMESTAMP"):
    times = {"StartTimestamp": start, "EndTimestamp": end}
    return {"StreamName": "cam", "FragmentSelector": {"FragmentSelectorType": kind, "TimestampRange": times}}


BAD_LISTS = {
    "time past all calendars": selector(0, 1e12),
    "negative time": selector(-1, 1),
    "no number": selector("a", 1),
    "infinity": selector(0, float("inf")),
    "not a number": selector(float("nan"), 1),
    "huge integer": selector(0, 10**400),
    "token of huge numbers": {"StreamName": "cam", "NextToken": token("SERVER_TIMESTAMP", 0, 10**30, 0, 0)},
    "token of huge times": {"StreamName": "cam", "NextToken": token("SERVER_TIMESTAMP", 0, 2**62, 0, 0)},
    "token of negative numbers": {"StreamName": "cam", "NextToken": token("SERVER_TIMESTAMP", 0, 1, -5, 0)},
    "token of texts": {"StreamName": "cam", "NextToken": token("SERVER_TIMESTAMP", "a", 1, 0, 0)},
    "token of truth": {"StreamName": "cam", "NextToken": token("SERVER_TIMESTAMP", True, 1, 0, 0)},
    "token of lists": {"StreamName": "cam", "NextToken": token([1], 0, 1, 0, 0)},
    "token of another length": {"StreamName": "cam", "NextToken": token("SERVER_TIMESTAMP", 0)},
    "token that is no list": {"StreamName": "cam", "NextToken": base64.b64encode(b"7").decode()},
    "token of nothing": {"StreamName": "cam", "NextToken": "===="},
    "token of bytes": {"StreamName": "cam", "NextToken": base64.b64encode(b"\xff\xfe").decode()},
}


@pytest.mark.parametrize("name", BAD_LISTS)
def test_a_list_that_cannot_be_is_refused(endpoint, camera, name):
    status, error, content = posted(endpoint.url, LIST, json.dumps(BAD_LISTS[name]))
    assert (status, error) == (400, "InvalidArgumentException")
    assert content["Message"]


def test_the_last_year_of_all_calendars_is_fine(endpoint, camera):
    assert posted(endpoint.url, LIST, json.dumps(selector(0, 253_402_300_799.999)))[0] == 200


def test_a_body_that_is_too_large_is_refused_in_the_services_shape(endpoint):
    status, error, content = posted(endpoint.url, "/listStreams", b"x" * (5 << 20))
    assert (status, error) == (413, "SerializationException")
    assert content["Message"]


def test_a_fault_of_the_endpoint_has_the_services_shape(endpoint, caplog, monkeypatch):
    def broken(*_):
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr(endpoint._hub.service, "call", broken)
    status, error, content = posted(endpoint.url, "/listStreams", "{}")
    assert (status, error) == (500, "InternalFailure")
    assert "a bug" not in content["Message"]
    assert "a fault of the endpoint at /listStreams" in caplog.text


@pytest.mark.parametrize("field", ["signature", "scope", "other"])
def test_a_signature_of_other_bytes_than_text_is_refused(field):
    odd = b"\xe9\xff".decode("utf-8", "surrogateescape")
    scope = f"20260101/{odd if field == 'scope' else 'us-east-1'}/kinesisvideo/aws4_request"
    signature = odd if field == "signature" else "0" * 64
    headers = {
        "host": odd if field == "other" else "h",
        "x-amz-date": "20260101T000000Z",
        "authorization": f"AWS4-HMAC-SHA256 Credential=K/{scope}, SignedHeaders=host;x-amz-date, Signature={signature}",
    }
    with pytest.raises(ServiceError) as caught:
        verify(SignedRequest("POST", "/listStreams", "", headers, b"{}"), {"K": "secret"}, 1767225600.0)
    assert caught.value.name == "InvalidSignatureException"


# A disk that is full.


@pytest.fixture
def full_disk(monkeypatch):
    """``full_disk(True)`` refuses what the store is to keep of streams, ``full_disk(False)`` makes room."""
    state = {"is_full": False}
    real_save, real_delete = Index.save_stream, Index.delete_stream

    def refuse_or(call):
        def method(self, argument):
            if state["is_full"]:
                raise sqlite3.OperationalError("database or disk is full")
            return call(self, argument)

        return method

    monkeypatch.setattr(Index, "save_stream", refuse_or(real_save))
    monkeypatch.setattr(Index, "delete_stream", refuse_or(real_delete))
    return lambda is_full: state.update(is_full=is_full)


def code(call, **request):
    with pytest.raises(ClientError) as caught:
        call(**request)
    return caught.value.response["Error"]["Code"]


def test_a_stream_that_could_not_be_kept_does_not_exist(endpoint, control, full_disk):
    full_disk(True)
    assert code(control.create_stream, StreamName="cam", DataRetentionInHours=1) == "InternalFailure"
    assert code(control.describe_stream, StreamName="cam") == "ResourceNotFoundException"
    full_disk(False)
    control.create_stream(StreamName="cam", DataRetentionInHours=1)
    assert put(endpoint.url, mkv.body(1))[-1]["EventType"] == "PERSISTED"


def test_a_change_that_could_not_be_kept_has_not_happened(endpoint, control, camera, full_disk):
    before = control.describe_stream(StreamName="cam")["StreamInfo"]
    change = {"StreamName": "cam", "CurrentVersion": before["Version"]}
    grow = {**change, "Operation": "INCREASE_DATA_RETENTION", "DataRetentionChangeInHours": 1}
    full_disk(True)
    assert code(control.update_data_retention, **grow) == "InternalFailure"
    assert code(control.tag_stream, StreamName="cam", Tags={"a": "b"}) == "InternalFailure"
    assert code(control.delete_stream, StreamARN=camera) == "InternalFailure"
    assert control.describe_stream(StreamName="cam")["StreamInfo"] == before
    assert control.list_tags_for_stream(StreamName="cam")["Tags"] == {}
    full_disk(False)
    control.update_data_retention(**grow)
    assert put(endpoint.url, mkv.body(1))[-1]["EventType"] == "PERSISTED"
