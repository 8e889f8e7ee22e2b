"""The front door. Goal: every client that reaches the endpoint is led back to it, whatever its Host header says."""

import asyncio
import http.client
import json
from dataclasses import replace
from urllib.parse import urlsplit

import pytest
from botocore.exceptions import ClientError
from unit.local.aws import client

from kvspic.local.access import Access
from kvspic.local.errors import LocalEndpointError, ServiceError
from kvspic.local.server import LocalEndpoint
from kvspic.local.settings import Settings


@pytest.mark.parametrize(
    "host, url",
    [
        ("localhost", "http://localhost:8080"),
        ("localhost:9000", "http://localhost:9000"),
        ("localhost:", "http://localhost:8080"),
        ("127.0.0.1", "http://127.0.0.1:8080"),
        ("[::1]", "http://[::1]:8080"),
        ("[::1]:9000", "http://[::1]:9000"),
        ("kvs.example", "http://kvs.example:8080"),
    ],
)
def test_the_address_has_the_port_of_the_host_header_or_the_one_that_listens(host, url):
    assert Access().base_url("http", host, 8080) == url


def test_a_public_url_is_what_everybody_gets():
    assert Access(public_url="https://kvs.example/").base_url("http", "10.0.0.7:8080", 8080) == "https://kvs.example"


# Pages of other sites.


@pytest.mark.parametrize("host", ["localhost:8080", "127.0.0.1", "[::1]:8080", "cam.localhost", "LOCALHOST.", ""])
def test_without_keys_loopback_hosts_are_served(host):
    Access().check_site("http://localhost:8080", {"host": host})


@pytest.mark.parametrize("host", ["evil.example", "evil.example:8080", "10.0.0.7", "localhost.evil.example", "[::1"])
def test_without_keys_a_host_of_elsewhere_is_refused(host):
    with pytest.raises(ServiceError, match="--public-url") as caught:
        Access().check_site("http://x", {"host": host})
    assert (caught.value.name, caught.value.status) == ("AccessDeniedException", 403)
    Access(keys={"K": "s"}).check_site("http://x", {"host": host})
    Access(is_insecure=True).check_site("http://x", {"host": host})


def test_the_host_of_the_public_url_is_ours():
    Access(public_url="http://camera-lab:80").check_site("http://camera-lab:80", {"host": "camera-lab:9000"})


@pytest.mark.parametrize("access", [Access(), Access(is_insecure=True)], ids=["loopback", "insecure"])
def test_a_page_of_another_site_is_refused_unless_it_is_allowed(access):
    headers = {"host": "localhost:8080", "origin": "https://evil.example"}
    with pytest.raises(ServiceError, match="--allow-origin"):
        access.check_site("http://localhost:8080", headers)
    replace(access, allow_origins=("https://evil.example",)).check_site("http://localhost:8080", headers)
    access.check_site("http://localhost:8080", {**headers, "origin": "http://localhost:8080"})


def test_a_page_of_another_site_is_refused_by_the_endpoint(endpoint):
    for headers in ({"Origin": "https://evil.example"}, {"Host": "evil.example"}):
        status, name = posted(endpoint.url, "/listStreams", headers)
        assert (status, name) == (403, "AccessDeniedException")
    assert posted(endpoint.url, "/listStreams", {"Origin": endpoint.url})[0] == 200


def posted(url, path, headers):
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=10)
    try:
        connection.request("POST", path, "{}", headers)
        answer = connection.getresponse()
        answer.read()
        return answer.status, answer.headers["x-amzn-ErrorType"]
    finally:
        connection.close()


# Beyond loopback.


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "", "192.0.2.1", "camera-lab"])
def test_without_keys_it_listens_on_loopback_only(tmp_path, host):
    with pytest.raises(LocalEndpointError, match="access keys"):
        asyncio.run(LocalEndpoint(data_dir=tmp_path, host=host).start())


@pytest.mark.parametrize("options", [{"access_keys": {"K": "s"}}, {"is_insecure": True}], ids=["keys", "insecure"])
def test_with_keys_or_on_request_it_listens_everywhere(tmp_path, options):
    with LocalEndpoint.run_in_thread(data_dir=tmp_path, host="0.0.0.0", **options) as endpoint:
        assert endpoint.url.startswith("http://0.0.0.0:")


# Region.


def test_arns_follow_the_region_of_the_signature(endpoint):
    control = client("kinesisvideo", endpoint.url, region="eu-west-1")
    assert control.create_stream(StreamName="cam")["StreamARN"].startswith("arn:aws:kinesisvideo:eu-west-1:")
    assert ":eu-west-1:" in control.describe_stream(StreamName="cam")["StreamInfo"]["KmsKeyId"]
    assert posted_arn(endpoint.url).startswith("arn:aws:kinesisvideo:us-east-1:")


def posted_arn(url):
    """The ARN of a stream that an unsigned request makes."""
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=10)
    try:
        connection.request("POST", "/createStream", json.dumps({"StreamName": "unsigned"}))
        return json.loads(connection.getresponse().read())["StreamARN"]
    finally:
        connection.close()


def test_a_region_that_is_set_is_the_only_one(tmp_path):
    with LocalEndpoint.run_in_thread(data_dir=tmp_path, region="eu-west-1", settings=Settings.unlimited()) as endpoint:
        client("kinesisvideo", endpoint.url, region="eu-west-1").create_stream(StreamName="cam")
        with pytest.raises(ClientError, match="valid region, not 'us-east-1'"):
            client("kinesisvideo", endpoint.url).describe_stream(StreamName="cam")
        assert ":eu-west-1:" in posted_arn(endpoint.url)


def data_endpoint(url, host):
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=10)
    try:
        body = json.dumps({"StreamName": "cam", "APIName": "PUT_MEDIA"})
        connection.request("POST", "/getDataEndpoint", body, {"Host": host})
        return json.loads(connection.getresponse().read())["DataEndpoint"]
    finally:
        connection.close()


def test_a_client_that_leaves_the_port_out_of_its_host_header_comes_back(endpoint, camera):
    port = urlsplit(endpoint.url).port
    assert data_endpoint(endpoint.url, "localhost") == f"http://localhost:{port}"


def test_the_endpoint_answers_with_its_public_url(tmp_path):
    with LocalEndpoint.run_in_thread(
        data_dir=tmp_path, public_url="http://camera-lab:80", settings=Settings.unlimited()
    ) as endpoint:
        control = client("kinesisvideo", endpoint.url)
        control.create_stream(StreamName="cam")
        answer = control.get_data_endpoint(StreamName="cam", APIName="GET_MEDIA")
        control.close()
    assert answer["DataEndpoint"] == "http://camera-lab:80"
