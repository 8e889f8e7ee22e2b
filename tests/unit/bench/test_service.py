"""The streams of a run at the service. Goal: a run deletes what it created, and nothing else."""

import os

import boto3
import pytest

pytest.importorskip("aiohttp")
from kvspic.bench.service import created_streams, delete_streams, stream_names
from kvspic.bench.workload import WorkloadError
from kvspic.local.server import LocalEndpoint
from kvspic.local.settings import Settings


@pytest.fixture
def endpoint(tmp_path):
    with LocalEndpoint.run_in_thread(tmp_path, settings=Settings.unlimited()) as running:
        yield running


@pytest.fixture
def service(endpoint):
    keys = {"aws_access_key_id": "none", "aws_secret_access_key": "none"}
    client = boto3.client("kinesisvideo", endpoint_url=endpoint.url, region_name="us-east-1", **keys)
    yield client
    client.close()


def names_at(service):
    return sorted(one["StreamName"] for one in service.list_streams()["StreamInfoList"])


def test_a_run_deletes_the_streams_that_it_created_and_no_other(endpoint, service):
    names = stream_names("kvsbench-", range(4))
    service.create_stream(StreamName=names[1], DataRetentionInHours=1)
    service.create_stream(StreamName="front-door", DataRetentionInHours=1)
    created = created_streams(endpoint.url, "", names)
    assert created == [names[0], names[2], names[3]]
    for name in created[:2]:  # the run ended before it made the last one
        service.create_stream(StreamName=name, DataRetentionInHours=1)
    delete_streams(endpoint.url, "", created)
    assert names_at(service) == ["front-door", names[1]]
    delete_streams(endpoint.url, "", created)


def test_nothing_to_delete_makes_no_call():
    delete_streams("http://127.0.0.1:9", "", [])


def test_a_service_that_cannot_be_asked_is_a_sentence():
    with pytest.raises(WorkloadError, match=r"The streams cannot be listed .*: see that the endpoint runs"):
        created_streams("http://127.0.0.1:9", "us-east-1", ["kvsbench-00000"])


@pytest.mark.parametrize(
    ("variables", "part"),
    [({"AWS_DEFAULT_REGION": "us-east-1"}, "set AWS credentials"), ({}, "name a region")],
)
def test_a_machine_without_credentials_or_region_is_a_sentence(monkeypatch, tmp_path, variables, part):
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    isolated = {"AWS_EC2_METADATA_DISABLED": "true", "AWS_CONFIG_FILE": tmp_path / "a"}
    for name, value in {**isolated, "AWS_SHARED_CREDENTIALS_FILE": tmp_path / "b", **variables}.items():
        monkeypatch.setenv(name, str(value))
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)
    with pytest.raises(WorkloadError, match=part):
        created_streams("", "", ["kvsbench-00000"])


def test_names_are_sorted_as_their_numbers():
    assert stream_names("a-", range(9, 11)) == ["a-00009", "a-00010"]
