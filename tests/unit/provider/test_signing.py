"""Signatures. Goal: AWS (and every verifier of SigV4) accepts them, and no log line shows what was signed."""

import hashlib
import hmac
import logging

import botocore.awsrequest
import pytest

from kvspic.provider.credentials import Credentials
from kvspic.provider.putmedia import PutMediaHead
from kvspic.provider.signing import ServiceSigner, sign_prepared, sign_put_media

KEYS = Credentials("AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY")
TEMPORARY = Credentials("AKIDEXAMPLE", "wJalrXUtnFEMI", "session-token-text")
AT_2023 = 1_699_333_085.0  # 2023-11-07T04:58:05Z
URL = "https://s-1.kinesisvideo.us-west-2.amazonaws.com/putMedia"


def put_media_headers(keys, now=AT_2023):
    plain = PutMediaHead("front-door", 1_511_852_108_513).headers(URL.removesuffix("/putMedia"))
    return dict(sign_put_media(URL, plain, keys, "us-west-2", now))


def signature_by_hand(headers, secret, payload_hash, path="/putMedia"):
    """SigV4 as the AWS General Reference describes it, written once more."""
    scope, signed = (
        headers["Authorization"].split("Credential=")[1].split(",")[0].split("/", 1)[1],
        headers["Authorization"].split("SignedHeaders=")[1].split(",")[0],
    )
    lower = {name.lower(): value for name, value in headers.items()}
    lines = "".join(f"{name}:{lower[name]}\n" for name in signed.split(";"))
    canonical = f"POST\n{path}\n\n{lines}\n{signed}\n{payload_hash}"
    digest = hashlib.sha256(canonical.encode()).hexdigest()
    text = f"AWS4-HMAC-SHA256\n{lower['x-amz-date']}\n{scope}\n{digest}"
    key = ("AWS4" + secret).encode()
    for part in scope.split("/"):
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    return hmac.new(key, text.encode(), hashlib.sha256).hexdigest()


@pytest.mark.parametrize("keys", [KEYS, TEMPORARY])
def test_put_media_is_signed_as_the_general_reference_says(keys):
    headers = put_media_headers(keys)
    made = headers["Authorization"].split("Signature=")[1]
    assert made == signature_by_hand(headers, keys.secret_key, "UNSIGNED-PAYLOAD")
    assert headers["x-amz-content-sha256"] == "UNSIGNED-PAYLOAD"
    assert headers["X-Amz-Date"] == "20231107T045805Z"


def test_what_proxies_rewrite_is_not_signed():
    signed = put_media_headers(TEMPORARY)["Authorization"].split("SignedHeaders=")[1].split(",")[0]
    assert signed == (
        "host;x-amz-content-sha256;x-amz-date;x-amz-security-token;x-amzn-fragment-acknowledgment-required;"
        "x-amzn-fragment-timecode-type;x-amzn-producer-start-timestamp;x-amzn-stream-name"
    )


def test_the_session_token_is_sent_only_when_there_is_one():
    assert "X-Amz-Security-Token" not in put_media_headers(KEYS)
    assert put_media_headers(TEMPORARY)["X-Amz-Security-Token"] == "session-token-text"


def prepared_request():
    request = botocore.awsrequest.AWSRequest(
        method="POST",
        url="https://kinesisvideo.us-west-2.amazonaws.com/describeStream",
        headers={"Content-Type": "application/json", "User-Agent": "x"},
        data=b'{"StreamName":"door"}',
    )
    return request.prepare()


def text_headers(request):
    return {name: value.decode() if isinstance(value, bytes) else value for name, value in request.headers.items()}


def test_control_calls_are_signed_with_their_body():
    request = prepared_request()
    sign_prepared(request, ServiceSigner(TEMPORARY, "us-west-2", AT_2023))
    headers = {**text_headers(request), "host": "kinesisvideo.us-west-2.amazonaws.com"}
    digest = hashlib.sha256(request.body).hexdigest()
    assert "SignedHeaders=content-type;host;x-amz-date;x-amz-security-token," in headers["Authorization"]
    made = headers["Authorization"].split("Signature=")[1]
    assert made == signature_by_hand(headers, TEMPORARY.secret_key, digest, "/describeStream")


def test_signing_again_replaces_the_first_signature():
    request = prepared_request()
    for now in (AT_2023, AT_2023 + 60):
        sign_prepared(request, ServiceSigner(KEYS, "us-west-2", now))
    assert [name.lower() for name in request.headers].count("authorization") == 1
    assert request.headers["X-Amz-Date"] == "20231107T045905Z"


def test_nothing_is_logged(caplog):
    caplog.set_level(logging.DEBUG)
    put_media_headers(TEMPORARY)
    sign_prepared(prepared_request(), ServiceSigner(TEMPORARY, "us-west-2", AT_2023))
    assert caplog.text == ""
