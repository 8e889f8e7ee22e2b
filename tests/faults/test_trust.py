"""Certificates. Goal: what the user trusts counts for calls and for uploads alike, and what is not trusted is called
that."""

import pytest
from unit.provider.aws_doubles import no_aws
from unit.provider.certificates import make_tls_pair

import kvspic
from kvspic.provider import clients, trust
from kvspic.provider.credentials import StaticCredentials

pytest.importorskip("aiohttp")
from kvspic.local.server import LocalEndpoint

TRACKS = [kvspic.Track("V_TEST", "video/x-test")]
BASE_NS = 1_700_000_000_000_000_000


def forget():
    trust._bundle_of.cache_clear()
    trust._context_of.cache_clear()
    for client in clients._clients.values():
        client.close()
    clients._clients.clear()


@pytest.fixture
def endpoint(tmp_path, monkeypatch):
    no_aws(monkeypatch, tmp_path)
    for name in ("AWS_CA_BUNDLE", "REQUESTS_CA_BUNDLE"):
        monkeypatch.delenv(name, raising=False)
    server, _ = make_tls_pair(tmp_path)
    forget()
    with LocalEndpoint.run_in_thread(tmp_path / "data", ssl_context=server) as made:
        yield made
    forget()


def producer_of(endpoint):
    return kvspic.Producer(endpoint_url=endpoint.url, region="us-east-1", credentials=StaticCredentials("AK", "SK"))


@pytest.mark.parametrize("where", ["AWS_CA_BUNDLE", "REQUESTS_CA_BUNDLE", "profile"])
def test_a_bundle_of_the_user_counts_for_calls_and_for_uploads(endpoint, tmp_path, monkeypatch, where):
    bundle = tmp_path / "server.pem"
    if where == "profile":
        (tmp_path / "AWS_CONFIG_FILE").write_text(f"[default]\nca_bundle = {bundle}\n")
    else:
        monkeypatch.setenv(where, str(bundle))
    with producer_of(endpoint) as producer, producer.open_stream("door", TRACKS) as stream:
        stream.put_frame(b"frame", pts=BASE_NS, key_frame=True)
        stream.flush(20)
    assert stream.report.is_complete


def test_an_untrusted_service_is_called_that_with_host_and_reason(endpoint):
    with producer_of(endpoint) as producer, pytest.raises(kvspic.KvsError) as failure:
        producer.open_stream("door", TRACKS, timeout=3)
    text = str(failure.value)
    assert "the certificate of https://127.0.0.1" in text
    assert "is not trusted (CERTIFICATE_VERIFY_FAILED: self" in text
    assert "AWS_CA_BUNDLE" in text
    assert "credentials" not in text
