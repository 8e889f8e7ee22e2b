"""A double of AWS IoT's credential provider on loopback: real mutual TLS, with certificates made when the tests run.

It knows one thing and one role alias, and refuses everybody else as the service does. ``faults`` is a list of answers
that come before the good ones: a status, or the bytes of a body.
"""

import contextlib
import datetime
import email.utils
import http.server
import ipaddress
import json
import ssl
import threading
from dataclasses import dataclass, field

import pytest

__all__ = ["ALIAS", "THING", "IotDouble", "iot_double", "make_files"]

THING, ALIAS = "front-door-cam", "camera-role"
PATH = f"/role-aliases/{ALIAS}/credentials"


def make_files(folder):
    """``ca.pem``; ``NAME.pem`` and ``NAME.key`` for the server and the device; ``stranger.*`` of another authority."""
    ca = _write(folder, "ca")
    other = _write(folder, "other-ca")
    _write(folder, "server", ca)
    _write(folder, "device", ca)
    _write(folder, "stranger", other)
    return folder


def _write(folder, name, issuer=None):
    x509 = pytest.importorskip("cryptography.x509")
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, f"kvspic {name}")])
    issuer_name, issuer_key = issuer or (subject, key)
    names = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1")), x509.DNSName("localhost")])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer_name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(datetime.datetime(2020, 1, 1))
        .not_valid_after(datetime.datetime(2120, 1, 1))
        .add_extension(names, critical=False)
        .add_extension(x509.BasicConstraints(ca=issuer is None, path_length=None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()), critical=False)
        .add_extension(_usage(x509, is_authority=issuer is None), critical=True)
        .sign(issuer_key, hashes.SHA256())
    )
    encoding = serialization.Encoding.PEM
    private = key.private_bytes(encoding, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (folder / f"{name}.pem").write_bytes(certificate.public_bytes(encoding))
    (folder / f"{name}.key").write_bytes(private)
    locked = serialization.BestAvailableEncryption(b"passphrase")
    (folder / f"{name}.locked").write_bytes(key.private_bytes(encoding, serialization.PrivateFormat.PKCS8, locked))
    return subject, key


def _usage(x509, is_authority):
    """What the key may do (RFC 5280, 4.2.1.3); Python 3.13 and later refuse an authority that may not sign."""
    others = ("content_commitment", "key_encipherment", "data_encipherment", "key_agreement", "encipher_only")
    return x509.KeyUsage(
        digital_signature=True,
        key_cert_sign=is_authority,
        crl_sign=is_authority,
        decipher_only=False,
        **dict.fromkeys(others, False),
    )


@dataclass
class IotDouble:
    """What it answers with, and what it was asked."""

    wall: object  # seconds since 1970 as the service counts them
    endpoint: str = ""
    life_s: float = 3600.0
    faults: list = field(default_factory=list)
    requests: list = field(default_factory=list)
    given_count: int = 0

    def answer(self, path, headers):
        """Status and body for one request."""
        self.requests.append((path, dict(headers)))
        if self.faults:
            fault = self.faults.pop(0)
            return (fault, b'{"message":"no"}') if isinstance(fault, int) else (200, fault)
        if path != PATH:
            return 404, b'{"message":"Role alias does not exist"}'
        if headers.get("x-amzn-iot-thingname") != THING:
            return 403, b'{"message":"Access Denied"}'
        self.given_count += 1
        end = datetime.datetime.fromtimestamp(self.wall() + self.life_s, datetime.timezone.utc)
        keys = {
            "accessKeyId": f"ASIADOUBLE{self.given_count}",
            "secretAccessKey": f"top-secret-{self.given_count}",
            "sessionToken": f"session-token-{self.given_count}",
            "expiration": end.strftime("%Y-%m-%dT%H:%M:%SZ"),
        }
        return 200, json.dumps({"credentials": keys}).encode()


@contextlib.contextmanager
def iot_double(files, wall):
    """Runs a double in a thread for the length of a ``with``."""
    double = IotDouble(wall)

    class Handler(http.server.BaseHTTPRequestHandler):
        timeout = 5

        def do_GET(self):
            status, body = double.answer(self.path, self.headers)
            self.send_response_only(status)
            self.send_header("Date", email.utils.formatdate(double.wall(), usegmt=True))
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    class Server(http.server.ThreadingHTTPServer):
        def handle_error(self, request, client_address):
            pass  # a client that was refused in the handshake, which tests do

        def get_request(self):
            connection, address = super().get_request()
            connection.settimeout(5)
            try:
                return tls.wrap_socket(connection, server_side=True), address
            except OSError:
                connection.close()
                raise

    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(files / "server.pem", files / "server.key")
    tls.load_verify_locations(files / "ca.pem")
    tls.verify_mode = ssl.CERT_REQUIRED
    with Server(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        double.endpoint = f"127.0.0.1:{server.server_address[1]}"
        try:
            yield double
        finally:
            server.shutdown()
            thread.join()
