"""Certificates of this machine's own. Goal: a client that trusts the authority reaches the endpoint by each of its
names, today and after a restart, and keys are readable by their owner only."""

import ssl
import sys
from datetime import datetime, timedelta, timezone

import pytest
from unit.local.aws import client

from kvspic.local.errors import LocalEndpointError
from kvspic.local.server import LocalEndpoint
from kvspic.local.settings import Settings

pytest.importorskip("cryptography")
from kvspic.local.certificates import self_signed

NOW = datetime.now(timezone.utc)


def test_clients_that_trust_the_authority_reach_the_endpoint(tmp_path):
    made = self_signed(tmp_path / "tls", "camera-lab", NOW)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(made.certificate, made.key)
    with LocalEndpoint.run_in_thread(
        data_dir=tmp_path / "data", ssl_context=context, settings=Settings.unlimited()
    ) as endpoint:
        for name in ("127.0.0.1", "localhost"):
            control = client("kinesisvideo", endpoint.url.replace("127.0.0.1", name), verify=str(made.ca))
            control.create_stream(StreamName=f"at-{name}")
            found = control.get_data_endpoint(StreamName=f"at-{name}", APIName="GET_MEDIA")["DataEndpoint"]
            assert found == endpoint.url.replace("127.0.0.1", name)


def test_the_environment_names_what_is_to_be_trusted(tmp_path):
    made = self_signed(tmp_path, "camera-lab", NOW)
    assert made.environment == (f"export AWS_CA_BUNDLE={made.ca}", f"export SSL_CERT_FILE={made.ca}")
    assert made.ca.is_absolute()


def contents(made):
    return made.ca.read_bytes(), made.certificate.read_bytes(), made.key.read_bytes()


def test_the_next_start_shows_the_same_certificate(tmp_path):
    first = contents(self_signed(tmp_path, "camera-lab", NOW))
    assert contents(self_signed(tmp_path, "camera-lab", NOW + timedelta(days=300))) == first


@pytest.mark.parametrize(
    "name, later", [("camera-lab", timedelta(days=340)), ("another-name", timedelta(0))], ids=["old", "renamed"]
)
def test_a_certificate_that_ends_soon_or_has_other_names_is_made_again_and_the_authority_stays(tmp_path, name, later):
    first = contents(self_signed(tmp_path, "camera-lab", NOW))
    second = contents(self_signed(tmp_path, name, NOW + later))
    assert second[0] == first[0]
    assert second[1:] != first[1:]


@pytest.mark.skipif(sys.platform == "win32", reason="modes of files")
def test_keys_are_readable_by_their_owner_only(tmp_path):
    self_signed(tmp_path, "camera-lab", NOW)
    for path in tmp_path.glob("*.key"):
        assert path.stat().st_mode & 0o077 == 0


def test_a_folder_that_cannot_be_used_is_named(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(LocalEndpointError, match="name another folder"):
        self_signed(tmp_path / "file", "camera-lab", NOW)
    self_signed(tmp_path, "camera-lab", NOW)
    (tmp_path / "ca.key").write_bytes(b"no key")
    with pytest.raises(LocalEndpointError, match="remove them"):
        self_signed(tmp_path, "camera-lab", NOW)


def test_without_the_package_the_remedy_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "cryptography", None)
    with pytest.raises(LocalEndpointError, match="pip install"):
        self_signed(tmp_path, "camera-lab", NOW)
