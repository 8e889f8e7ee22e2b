"""What a PutMedia writer spends on 64 KB: the copy out of the store, TLS record by record. A chunk's coding goes
around the bytes in the same buffer.

It answers whether lending spans of the store, instead of reading into a reused buffer, would be worth its price: it
could save the first figure only. The store's bytes were read before, so the copy is one from warm caches.
"""

from __future__ import annotations

import ssl
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from bench_events import Service
from endpoint import make_certificate
from report import say

from kvspic.provider.transport import ENCRYPT_SIZE

__all__: list[str] = []

SIZE = 65536
RUNS = 300


def best_us(call: Callable[[], object]) -> float:
    """Microseconds of a call, the best of many."""
    best = float("inf")
    for _ in range(RUNS):
        begin = time.perf_counter_ns()
        call()
        best = min(best, (time.perf_counter_ns() - begin) / 1000)
    return best


def copy_us() -> float:
    """One read of 64 KB from a stream that holds enough."""
    service = Service(1)
    service.put(0)
    service.settle()
    stream, upload, pts = service.streams[1], service.uploads[1], service.now_hns
    for number in range(1, 2 * RUNS + 2):
        pts += 333_333
        stream.put_frame(bytes(60_000), pts, pts, 0, 1, int(number % 30 == 0), service.now_hns)
    reader = service.reader
    return best_us(lambda: stream.read_chunk(upload, reader.c_memory, reader.size, reader.c_chunk, service.now_hns))


def tls_us(pem: Path) -> float:
    """Encrypting the bytes and taking the records out, as the transport does it."""
    server_context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    server_context.load_cert_chain(pem)
    client_context = ssl.create_default_context(cafile=str(pem))
    there, back = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = client_context.wrap_bio(back, there, server_hostname="localhost")
    server = server_context.wrap_bio(there, back, server_side=True)
    for _ in range(4):
        for side in (client, server):
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                continue
    view = memoryview(bytearray(SIZE))

    def write() -> list[bytes]:
        sealed = []
        for start in range(0, SIZE, ENCRYPT_SIZE):
            client.write(view[start : start + ENCRYPT_SIZE])
            sealed.append(there.read())
        return sealed

    return best_us(write)


def main() -> None:
    say("64 KB out of the store", copy_us(), "us")
    with tempfile.TemporaryDirectory(prefix="kvspic-bench-") as folder:
        try:
            pem = make_certificate(Path(folder))
        except (OSError, subprocess.CalledProcessError):
            return  # no openssl
        say("64 KB through TLS", tls_us(pem), "us")


if __name__ == "__main__":
    main()
