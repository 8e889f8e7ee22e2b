"""The local endpoint in a process of its own, plain or over TLS: ``with running(tls=True) as endpoint``.

It holds uploads to the service's quotas, so that a stream gets no more than five fragments a second, of 1 s and more,
unless ``has_quotas=False``.
The certificate is made by openssl for this run and trusted through AWS_CA_BUNDLE of this process; the keys are dummies,
because only plain loopback endpoints need none.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import ssl
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Endpoint", "make_certificate", "running"]

ENVIRONMENT = {
    "AWS_ACCESS_KEY_ID": "AKBENCHMARK",
    "AWS_SECRET_ACCESS_KEY": "none",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_EC2_METADATA_DISABLED": "true",
}


@dataclass(frozen=True)
class Endpoint:
    """Where it listens, and which process it is."""

    url: str
    process_id: int


def make_certificate(folder: Path) -> Path:
    """A self-signed certificate for 127.0.0.1 and its key, in one file."""
    pem = folder / "endpoint.pem"
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    command += ["-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1,DNS:localhost", "-days", "2"]
    command += ["-keyout", str(pem), "-out", str(folder / "certificate.pem")]
    subprocess.run(command, check=True, capture_output=True)
    with pem.open("a") as file:
        file.write((folder / "certificate.pem").read_text())
    return pem


@contextlib.contextmanager
def running(*, tls: bool, has_quotas: bool = True) -> Iterator[Endpoint]:
    """Start the endpoint; end it with the block, its data with it."""
    os.environ.update(ENVIRONMENT)
    with tempfile.TemporaryDirectory(prefix="kvspic-bench-") as folder:
        command = [sys.executable, __file__, "--data-dir", f"{folder}/data"]
        if not has_quotas:
            command.append("--no-quotas")
        if tls:
            pem = make_certificate(Path(folder))
            os.environ["AWS_CA_BUNDLE"] = f"{folder}/certificate.pem"
            command += ["--certificate", str(pem)]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        try:
            assert process.stdout is not None
            yield Endpoint(process.stdout.readline().strip(), process.pid)
        finally:
            process.terminate()
            process.wait(30)


def main() -> None:
    from kvspic.local.quotas import Quotas
    from kvspic.local.server import LocalEndpoint
    from kvspic.local.settings import Settings

    parser = argparse.ArgumentParser()
    parser.add_argument("--data-dir", required=True)
    parser.add_argument("--certificate")
    parser.add_argument("--no-quotas", action="store_true")
    options = parser.parse_args()
    context = None
    if options.certificate:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(options.certificate)
    quotas = Quotas.off() if options.no_quotas else Quotas()
    endpoint = LocalEndpoint(options.data_dir, ssl_context=context, settings=Settings(quotas=quotas))
    asyncio.run(endpoint.serve_forever(lambda url: print(url, flush=True)))


if __name__ == "__main__":
    main()
