"""Which certificates are trusted. Goal: one place decides, and an untrusted certificate is called that."""

import ssl

import pytest
from unit.provider.aws_doubles import no_aws
from unit.provider.certificates import make_tls_pair

from kvspic.provider import trust
from kvspic.provider.trust import ca_bundle, default_ssl_context, untrusted


@pytest.fixture(autouse=True)
def fresh(monkeypatch, tmp_path):
    no_aws(monkeypatch, tmp_path)
    for name in ("AWS_CA_BUNDLE", "REQUESTS_CA_BUNDLE"):
        monkeypatch.delenv(name, raising=False)
    trust._bundle_of.cache_clear()
    trust._context_of.cache_clear()
    yield
    trust._bundle_of.cache_clear()
    trust._context_of.cache_clear()


def test_the_default_context_checks_certificates_and_wants_tls_1_2():
    context = default_ssl_context()
    assert context.check_hostname
    assert context.verify_mode.name == "CERT_REQUIRED"
    assert context.minimum_version.name == "TLSv1_2"
    assert default_ssl_context() is context


def test_a_bundle_of_the_user_replaces_the_systems(monkeypatch, tmp_path):
    monkeypatch.setenv("AWS_CA_BUNDLE", str(tmp_path))
    assert default_ssl_context().get_ca_certs() == []
    monkeypatch.setenv("AWS_CA_BUNDLE", str(tmp_path / "missing.pem"))
    with pytest.raises(OSError, match="AWS_CA_BUNDLE"):
        default_ssl_context()


def test_the_profile_and_the_variable_of_requests_name_a_bundle_too(monkeypatch, tmp_path):
    assert ca_bundle() is None
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "of-requests.pem")
    assert ca_bundle() == "of-requests.pem"
    config = tmp_path / "config"
    config.write_text("[profile farm]\nca_bundle = of-profile.pem\n")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(config))
    monkeypatch.setenv("AWS_PROFILE", "farm")
    assert ca_bundle() == "of-profile.pem"
    monkeypatch.setenv("AWS_CA_BUNDLE", "of-variable.pem")
    assert ca_bundle() == "of-variable.pem"


def test_a_profile_that_does_not_exist_is_no_bundle(monkeypatch):
    monkeypatch.setenv("AWS_PROFILE", "nowhere")
    assert ca_bundle() is None


def test_an_untrusted_certificate_is_called_that_with_host_and_reason(tmp_path):
    _, client = make_tls_pair(tmp_path)
    assert isinstance(client, ssl.SSLContext)
    error = ssl.SSLCertVerificationError(1, "[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed: self-signed")
    text = untrusted(error, "s-1.example")
    assert "certificate of s-1.example is not trusted" in text
    assert "self-signed" in text
    assert untrusted(OSError("reset"), "s-1.example") == ""
