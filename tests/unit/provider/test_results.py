"""Service results. Goal: each refusal reaches the core as the number that makes it do the right thing, and no error
text shows a secret."""

import socket
import ssl

import botocore.exceptions
import h11
import pytest
from hypothesis import given
from hypothesis import strategies as st
from unit.service_models import modelled_errors

from kvspic.provider.results import (
    BY_NAME,
    ServiceError,
    ServiceResult,
    classify,
    classify_transport,
    is_credential_problem,
    safe_text,
    safe_url,
    short_error_name,
)
from kvspic.provider.transport import ConnectTimeout, UnsupportedProtocol

R = ServiceResult


def test_every_error_of_the_services_models_has_a_result():
    unknown = [name for name in modelled_errors() if name.lower().removesuffix("exception") not in BY_NAME]
    assert unknown == []


@pytest.mark.parametrize(
    "status, name, result",
    [
        (200, "", R.OK),
        (400, "InvalidArgumentException", R.INVALID_ARG),
        (400, "", R.BAD_REQUEST),
        (400, "SomethingNewException", R.BAD_REQUEST),
        (413, "", R.BAD_REQUEST),
        (401, "NotAuthorizedException", R.NOT_AUTHORIZED),
        (401, "AccessDeniedException", R.NOT_AUTHORIZED),
        (403, "AccessDeniedException", R.FORBIDDEN),
        (403, "ExpiredTokenException", R.FORBIDDEN),
        (400, "IncompleteSignature", R.FORBIDDEN),
        (404, "ResourceNotFoundException", R.NOT_FOUND),
        (404, "", R.NOT_FOUND),
        (400, "AccountStreamLimitExceededException", R.STREAM_LIMIT),
        (400, "DeviceStreamLimitExceededException", R.DEVICE_LIMIT),
        (400, "InvalidEndpointException", R.CONNECTION_TIMEOUT),
        (500, "InternalFailure", R.INTERNAL_ERROR),
        (502, "", R.INTERNAL_ERROR),
        (503, "ServiceUnavailable", R.UNAVAILABLE),
        (504, "", R.GATEWAY_TIMEOUT),
        (501, "NotImplementedException", R.NOT_IMPLEMENTED),
        (400, "ResourceInUseException", R.IN_USE),
        (409, "", R.IN_USE),
        (302, "", R.UNKNOWN),
        (0, "", R.UNKNOWN),
    ],
)
def test_an_answer_has_the_result_of_its_name_or_else_of_its_status(status, name, result):
    assert classify(status, name) is result


@pytest.mark.parametrize(
    "status, name",
    [
        (400, "ThrottlingException"),
        (400, "ClientLimitExceededException"),
        (400, "ConnectionLimitExceededException"),
        (400, "TooManyRequestsException"),
        (429, ""),
    ],
)
def test_what_waiting_cures_is_never_a_final_result(status, name):
    assert classify(status, name) is R.UNKNOWN


@pytest.mark.parametrize(
    "raw", ["ResourceNotFoundException:http://internal/coral/", "com.amazon.kvs#ResourceNotFoundException"]
)
def test_the_name_is_found_in_each_of_its_spellings(raw):
    assert short_error_name(raw) == "ResourceNotFoundException"
    assert classify(400, raw) is R.NOT_FOUND


@given(st.integers(0, 999), st.text(max_size=40))
def test_every_answer_has_a_result(status, name):
    assert isinstance(classify(status, name), ServiceResult)


@pytest.mark.parametrize(
    "error, result",
    [
        (ConnectTimeout("late"), R.CONNECTION_TIMEOUT),
        (TimeoutError("late"), R.READ_TIMEOUT),
        (botocore.exceptions.ConnectTimeoutError(endpoint_url="http://x"), R.CONNECTION_TIMEOUT),
        (botocore.exceptions.ReadTimeoutError(endpoint_url="http://x"), R.READ_TIMEOUT),
        (botocore.exceptions.EndpointConnectionError(endpoint_url="http://x"), R.UNKNOWN),
        (botocore.exceptions.NoCredentialsError(), R.NOT_AUTHORIZED),
        (botocore.exceptions.ProfileNotFound(profile="x"), R.NOT_AUTHORIZED),
        (botocore.exceptions.SSLError(endpoint_url="x", error="CERTIFICATE_VERIFY_FAILED"), R.NOT_AUTHORIZED),
        (botocore.exceptions.NoRegionError(), R.INVALID_ARG),
        (ssl.SSLCertVerificationError("self-signed"), R.NOT_AUTHORIZED),
        (ssl.SSLError("record"), R.UNKNOWN),
        (socket.gaierror(-2, "unknown name"), R.UNKNOWN),
        (ConnectionRefusedError(), R.UNKNOWN),
        (ConnectionResetError(), R.UNKNOWN),
        (UnsupportedProtocol("ftp"), R.INVALID_ARG),
        (h11.LocalProtocolError("bad header"), R.INVALID_ARG),
        (ValueError("anything"), R.UNKNOWN),
    ],
)
def test_a_call_without_an_answer_has_the_result_of_its_error(error, result):
    assert classify_transport(error) is result


def test_only_keys_and_clocks_are_worth_a_repetition():
    assert is_credential_problem(403, "ExpiredTokenException")
    assert is_credential_problem(403, "InvalidSignatureException")
    assert is_credential_problem(403, "")
    assert not is_credential_problem(403, "AccessDeniedException")
    assert not is_credential_problem(400, "")


def test_an_error_is_one_sentence_with_cause_and_remedy():
    error = ServiceError(
        "DescribeStream",
        R.NOT_FOUND,
        error_name="ResourceNotFoundException",
        http_status=404,
        detail="The requested stream is not found or not active.",
    )
    assert str(error) == (
        "DescribeStream failed (ResourceNotFoundException, HTTP 404): The requested stream is not found or not active;"
        " create the stream, or check its name and the region."
    )
    assert not error.is_unreachable
    assert ServiceError("DescribeStream", R.UNKNOWN).is_unreachable


def test_a_refused_signature_is_told_without_the_canonical_request():
    text = (
        "The request signature we calculated does not match the signature you provided.\n\n"
        "The Canonical String for this request should have been\n'POST\nx-amz-security-token:TOKEN'"
    )
    assert "TOKEN" not in safe_text(text)
    assert safe_text(text).startswith("The request signature")


@pytest.mark.parametrize(
    "text",
    [
        "Failed to parse: http://user:SECRET@127.0.0.1:99999",
        "Credential=AKIDSECRET/2023",
        "signature: SECRETabc",
        "key AKIASECRETSECRET is bad",
        "x-amz-security-token=SECRET",
    ],
)
def test_keys_are_removed_from_texts(text):
    assert "SECRET" not in safe_text(text)


@given(st.text())
def test_safe_text_is_one_short_printable_line(text):
    cleaned = safe_text(text)
    assert cleaned.isprintable()
    assert len(cleaned) <= 260


def test_a_url_is_shown_without_user_path_and_query():
    assert safe_url("https://me:pw@host:1/a/b?token=t") == "https://host:1"


@pytest.mark.parametrize("url", ["http://[::1", "http://[", "", "://", "\0"])
def test_anything_may_be_shown_as_a_url(url):
    assert isinstance(safe_url(url), str)


@pytest.mark.parametrize("operation", ["GetHLSStreamingSessionURL", "GetClip"])
def test_a_time_without_media_does_not_ask_for_another_stream(operation):
    error = ServiceError(operation, R.NOT_FOUND, http_status=404, detail="There is no fragment of that time")
    assert "name a time that has media" in str(error)
    assert "create the stream" not in str(error)
