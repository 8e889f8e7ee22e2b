"""TLS of the commands that serve: ``--tls-cert`` and ``--tls-key``."""

from __future__ import annotations

import ssl
from pathlib import Path

import click

__all__ = ["tls_context"]


def tls_context(certificate: Path | None, key: Path | None) -> ssl.SSLContext | None:
    """Return what a server with this certificate speaks TLS by; None where neither file is given.

    Raises:
        click.UsageError: one is missing, or they cannot be used together.
    """
    if certificate is None and key is None:
        return None
    if certificate is None or key is None:
        raise click.UsageError("--tls-cert and --tls-key belong together: give both.")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        context.load_cert_chain(certificate, key)
    except (OSError, ssl.SSLError) as error:
        raise click.UsageError(f"The certificate {certificate} with the key {key} cannot be used ({error}).") from None
    return context
