"""Fixtures of the provider's tests: a certificate of our own for TLS on loopback."""

import pytest
from unit.provider.certificates import make_tls_pair


@pytest.fixture(scope="session")
def tls_pair(tmp_path_factory):
    """(server context, client context) that trust each other through a self-signed certificate."""
    return make_tls_pair(tmp_path_factory.mktemp("tls"))


@pytest.fixture(params=["plain", "tls"])
def wire(request):
    """(server context, client context), or (None, None): the test runs over plain TCP and over TLS."""
    return (None, None) if request.param == "plain" else request.getfixturevalue("tls_pair")
