"""A certificate for this machine's endpoint, from a certificate authority of its own, kept in a folder.

``ca.pem`` is what clients trust; it is made once, so that they go on trusting it. ``endpoint.pem`` and ``endpoint.key``
are what the endpoint shows; they are made again when they end soon or the names differ. Keys are readable by their
owner only. Needs the package cryptography (extra ``tls``).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING

from kvspic.local.errors import LocalEndpointError

if TYPE_CHECKING:
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey

__all__ = ["Certificates", "self_signed"]

_CA_LIFE, _LIFE, _RENEWED_BEFORE = timedelta(days=3650), timedelta(days=365), timedelta(days=30)
_BACKDATED = timedelta(days=1)  # for clients whose clock is behind
_NAMES = ("localhost", "127.0.0.1", "::1")


@dataclass(frozen=True)
class Certificates:
    """Where the files are: what clients trust, and what the endpoint shows."""

    ca: Path
    certificate: Path
    key: Path

    @property
    def environment(self) -> tuple[str, str]:
        """The two lines that make clients trust the endpoint: botocore's and the AWS tools', and OpenSSL's."""
        return f"export AWS_CA_BUNDLE={self.ca}", f"export SSL_CERT_FILE={self.ca}"


def self_signed(folder: Path, host_name: str, now: datetime) -> Certificates:
    """Return certificates for localhost, the loopback addresses and ``host_name``, made where they are missing.

    Args:
        folder: made when it does not exist.
        now: the time, with its zone.

    Raises:
        LocalEndpointError: the package cryptography is missing, or the folder cannot be used.
    """
    folder = folder.absolute()
    found = Certificates(folder / "ca.pem", folder / "endpoint.pem", folder / "endpoint.key")
    names = [*_NAMES, *([host_name] if host_name and host_name not in _NAMES else [])]
    try:
        import cryptography  # noqa: F401
    except ImportError:
        text = "A self-signed certificate needs cryptography, which is not installed: run `pip install 'kvspic[tls]'`."
        raise LocalEndpointError(text) from None
    try:
        folder.mkdir(parents=True, exist_ok=True)
        authority = _authority(folder, now)
        if not _is_good(found, authority[0], names, now):
            _make_leaf(found, authority, names, now)
    except (OSError, ValueError) as error:
        text = f"The certificates in {folder} cannot be used ({error}); remove them or name another folder."
        raise LocalEndpointError(text) from error
    return found


def _authority(folder: Path, now: datetime) -> tuple[x509.Certificate, EllipticCurvePrivateKey]:
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    path, key_path = folder / "ca.pem", folder / "ca.key"
    if path.exists() and key_path.exists():
        key = load_pem_private_key(key_path.read_bytes(), None)
        if not isinstance(key, ec.EllipticCurvePrivateKey):
            raise ValueError(f"{key_path} is not the key that was made here")
        return x509.load_pem_x509_certificate(path.read_bytes()), key
    key = ec.generate_private_key(ec.SECP256R1())
    name = _name("kvspic local endpoint CA")
    usage = x509.KeyUsage(
        digital_signature=True, content_commitment=False, key_encipherment=False, data_encipherment=False,
        key_agreement=False, key_cert_sign=True, crl_sign=True, encipher_only=False, decipher_only=False,
    )  # fmt: skip
    builder = (
        _builder(name, name, now, _CA_LIFE)
        .public_key(key.public_key())
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )
    made = _signed(builder, key)
    _write_key(key_path, key)
    _write(path, made)
    return made, key


def _is_good(found: Certificates, authority: x509.Certificate, names: list[str], now: datetime) -> bool:
    from cryptography import x509
    from cryptography.exceptions import InvalidSignature

    if not (found.certificate.exists() and found.key.exists()):
        return False
    made = x509.load_pem_x509_certificate(found.certificate.read_bytes())
    try:
        made.verify_directly_issued_by(authority)
    except (InvalidSignature, ValueError):
        return False
    shown = made.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return made.not_valid_after_utc - _RENEWED_BEFORE > now and shown == _alternatives(names)


def _make_leaf(
    found: Certificates, authority: tuple[x509.Certificate, EllipticCurvePrivateKey], names: list[str], now: datetime
) -> None:
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import ExtendedKeyUsageOID

    issuer, issuer_key = authority
    key = ec.generate_private_key(ec.SECP256R1())
    builder = (
        _builder(_name("kvspic local endpoint"), issuer.subject, now, _LIFE)
        .public_key(key.public_key())
        .add_extension(_alternatives(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()), critical=False)
    )
    _write_key(found.key, key)
    _write(found.certificate, _signed(builder, issuer_key))


def _alternatives(names: list[str]) -> x509.SubjectAlternativeName:
    from cryptography import x509

    found: list[x509.GeneralName] = []
    for name in names:
        try:
            found.append(x509.IPAddress(ip_address(name)))
        except ValueError:
            found.append(x509.DNSName(name))
    return x509.SubjectAlternativeName(found)


def _name(text: str) -> x509.Name:
    from cryptography import x509

    return x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, text)])


def _builder(subject: x509.Name, issuer: x509.Name, now: datetime, life: timedelta) -> x509.CertificateBuilder:
    from cryptography import x509

    builder = x509.CertificateBuilder().subject_name(subject).issuer_name(issuer)
    builder = builder.serial_number(x509.random_serial_number())
    return builder.not_valid_before(now - _BACKDATED).not_valid_after(now + life)


def _signed(builder: x509.CertificateBuilder, key: EllipticCurvePrivateKey) -> x509.Certificate:
    from cryptography.hazmat.primitives import hashes

    return builder.sign(key, hashes.SHA256())


def _write(path: Path, certificate: x509.Certificate) -> None:
    from cryptography.hazmat.primitives.serialization import Encoding

    path.write_bytes(certificate.public_bytes(Encoding.PEM))


def _write_key(path: Path, key: EllipticCurvePrivateKey) -> None:
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    path.unlink(missing_ok=True)
    path.touch(mode=0o600)
    path.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
