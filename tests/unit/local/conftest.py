"""A running endpoint with one stream, and boto3 clients that speak to it."""

from datetime import datetime
from ipaddress import ip_address

import pytest
from unit.local.aws import client

from kvspic.local.server import LocalEndpoint
from kvspic.local.settings import Settings


@pytest.fixture
def endpoint(tmp_path):
    with LocalEndpoint.run_in_thread(
        data_dir=tmp_path / "data", live_wait_seconds=0.2, settings=Settings.unlimited()
    ) as running:
        yield running


@pytest.fixture
def control(endpoint):
    made = client("kinesisvideo", endpoint.url)
    yield made
    made.close()


@pytest.fixture
def camera(control):
    """The ARN of the stream "cam", retention 24 h."""
    return control.create_stream(StreamName="cam", DataRetentionInHours=24)["StreamARN"]


@pytest.fixture
def media(endpoint):
    made = client("kinesis-video-media", endpoint.url)
    yield made
    made.close()


@pytest.fixture
def archive(endpoint):
    made = client("kinesis-video-archived-media", endpoint.url)
    yield made
    made.close()


@pytest.fixture
def certificate(tmp_path):
    """A file with a certificate for 127.0.0.1 and its key, made for this test."""
    x509 = pytest.importorskip("cryptography.x509")
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    builder = builder.serial_number(1).not_valid_before(datetime(2020, 1, 1)).not_valid_after(datetime(2099, 1, 1))
    names = x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))])
    made = builder.add_extension(names, critical=False).sign(key, hashes.SHA256())
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path = tmp_path / "certificate.pem"
    path.write_bytes(made.public_bytes(serialization.Encoding.PEM) + private)
    return path
