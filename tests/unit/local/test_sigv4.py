"""Signatures. Goal: what botocore signs is accepted, any change to it is refused by name, and no key is ever shown."""

import hashlib
from datetime import datetime, timezone

import pytest
from botocore.auth import S3SigV4Auth, SigV4Auth, SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from botocore.exceptions import ClientError
from unit.local import mkv_bytes as mkv
from unit.local.aws import client
from unit.local.raw_client import Upload, put

from kvspic.local.errors import ServiceError
from kvspic.local.server import LocalEndpoint
from kvspic.local.settings import Settings
from kvspic.local.sigv4 import SignedRequest, verify

KEYS = {"AKIDEXAMPLE": "not-a-secret-of-anyone"}
HOST = "127.0.0.1:8080"


def signed(auth=SigV4Auth, path="/describeStream", body=b'{"a":1}', headers=(), token=None, secret=None):
    """The request as a client would send it now, and the time."""
    request = AWSRequest("POST", f"http://{HOST}{path}", {"host": HOST, **dict(headers)}, body)
    credentials = Credentials("AKIDEXAMPLE", secret or KEYS["AKIDEXAMPLE"], token)
    auth(credentials, "kinesisvideo", "us-east-1").add_auth(request)
    query = request.url.partition("?")[2] or "&".join(f"{k}={v}" for k, v in request.params.items())
    lowered = {name.lower(): value for name, value in request.headers.items()}
    return SignedRequest("POST", path, query, lowered, body), datetime.now(timezone.utc).timestamp()


def refusal(request, now, keys=KEYS):
    with pytest.raises(ServiceError) as caught:
        verify(request, keys, now)
    assert not any(secret in caught.value.message for secret in keys.values())
    return caught.value.name, caught.value.message


def changed(request, **headers):
    headers = {name.replace("_", "-"): value for name, value in headers.items()}
    kept = {name: value for name, value in {**request.headers, **headers}.items() if value is not None}
    return SignedRequest(request.method, request.path, request.query, kept, request.body)


@pytest.mark.parametrize("token", [None, "session-token"])
def test_what_botocore_signs_is_accepted(token):
    verify(*signed_with_keys(signed(token=token)))


def signed_with_keys(pair):
    return pair[0], KEYS, pair[1]


def test_a_header_with_blanks_inside_and_the_services_own_are_accepted():
    verify(*signed_with_keys(signed(headers={"x-amzn-note": "  a   b ", "content-type": "application/json"})))


@pytest.mark.parametrize("part", ["path", "query"])
def test_bytes_that_are_no_text_are_a_wrong_signature(part):
    request, now = signed()
    parts = {"path": request.path, "query": request.query, part: "/x\udcff%FF=%FF"}
    odd = SignedRequest("POST", parts["path"], parts["query"], request.headers, request.body)
    assert refusal(odd, now)[0] == "InvalidSignatureException"


def test_an_unsigned_payload_is_accepted_with_its_header():
    request, now = signed(S3SigV4Auth, "/putMedia", b"", {"x-amz-content-sha256": "UNSIGNED-PAYLOAD"})
    verify(SignedRequest("POST", "/putMedia", "", request.headers, None), KEYS, now)


def test_put_media_without_that_header_signs_an_empty_body():
    request, now = signed(path="/putMedia", body=b"")
    verify(SignedRequest("POST", "/putMedia", "", request.headers, None), KEYS, now)


def test_a_signature_in_the_query_is_accepted():
    def auth(*args):
        return SigV4QueryAuth(*args, expires=60)

    request, now = signed(auth, "/putMedia", b"")
    verify(SignedRequest("POST", "/putMedia", request.query, {"host": HOST}, None), KEYS, now)


def test_the_signed_headers_and_nothing_else_count():
    request, now = signed()
    verify(changed(request, user_agent="anything", connection="close"), KEYS, now)
    assert refusal(changed(request, host="other"), now)[0] == "InvalidSignatureException"


def test_another_body_path_or_secret_is_refused():
    request, now = signed()
    other_body = SignedRequest("POST", request.path, "", request.headers, b"{}")
    other_path = SignedRequest("POST", "/deleteStream", "", request.headers, request.body)
    for bad in (other_body, other_path, signed(secret="wrong")[0]):
        name, message = refusal(bad, now)
        assert name == "InvalidSignatureException"
        assert "does not match" in message
    claimed = changed(request, x_amz_content_sha256=hashlib.sha256(b"other").hexdigest())
    assert refusal(claimed, now)[0] == "InvalidSignatureException"


def test_a_clock_that_is_more_than_five_minutes_off_is_told_the_servers_time():
    request, now = signed()
    verify(request, KEYS, now + 290)
    verify(request, KEYS, now - 290)
    name, message = refusal(request, now + 310)
    assert (name, message.startswith("Signature expired: ")) == ("InvalidSignatureException", True)
    assert "- 5 min." in message
    assert refusal(request, now - 310)[1].startswith("Signature not yet current: ")


def test_missing_unknown_and_half_signatures_have_their_own_names():
    request, now = signed()
    assert refusal(changed(request, authorization=None), now)[0] == "MissingAuthenticationTokenException"
    assert refusal(request, now, {"OTHER": "x"})[0] == "UnrecognizedClientException"
    assert refusal(changed(request, authorization="Basic abc"), now)[0] == "IncompleteSignature"
    assert refusal(changed(request, x_amz_date=None), now)[0] == "IncompleteSignature"
    assert refusal(changed(request, x_amz_date="20261399T999999Z"), now)[0] == "IncompleteSignature"
    other = request.headers["authorization"].replace("kinesisvideo", "s3")
    assert refusal(changed(request, authorization=other), now)[0] == "InvalidSignatureException"


@pytest.fixture
def strict(tmp_path):
    with LocalEndpoint.run_in_thread(data_dir=tmp_path, access_keys=KEYS, settings=Settings.unlimited()) as running:
        yield running


def test_an_endpoint_with_keys_takes_signed_requests_only(strict):
    control = client("kinesisvideo", strict.url, "AKIDEXAMPLE", KEYS["AKIDEXAMPLE"])
    assert control.list_streams()["StreamInfoList"] == []
    control.close()
    for key, code in [("AKIDEXAMPLE", "InvalidSignatureException"), ("AKIDOTHER", "UnrecognizedClientException")]:
        control = client("kinesisvideo", strict.url, key, "wrong")
        with pytest.raises(ClientError) as caught:
            control.list_streams()
        answer = caught.value.response
        assert (answer["Error"]["Code"], answer["ResponseMetadata"]["HTTPStatusCode"]) == (code, 403)
        control.close()


def test_an_upload_is_checked_before_its_body(strict):
    control = client("kinesisvideo", strict.url, "AKIDEXAMPLE", KEYS["AKIDEXAMPLE"])
    control.create_stream(StreamName="cam")
    control.close()
    with Upload(strict.url) as upload:
        assert upload.refusal()[:2] == (403, "MissingAuthenticationTokenException")
    names = {
        "host": strict.url.removeprefix("http://"),
        "x-amz-content-sha256": "UNSIGNED-PAYLOAD",
        "x-amzn-stream-name": "cam",
    }
    request = AWSRequest("POST", f"{strict.url}/putMedia", names, b"")
    S3SigV4Auth(Credentials("AKIDEXAMPLE", KEYS["AKIDEXAMPLE"]), "kinesisvideo", "us-east-1").add_auth(request)
    headers = {name.lower(): value for name, value in request.headers.items()}
    assert put(strict.url, mkv.body(1), **headers)[-1]["EventType"] == "RECEIVED"
