"""Processor time to open a stream, over TLS: one that exists (DescribeStream, GetDataEndpoint) and a new one
(CreateStream and another DescribeStream besides); and to begin its upload, a connection of its own.

Of this process alone; the endpoint has another. What a process pays once, modules, botocore's client and certificates,
is paid by a stream before.
"""

from __future__ import annotations

import argparse
import time
from datetime import timedelta

from endpoint import running
from report import say

import kvspic
from kvspic.retry import CallRates

__all__: list[str] = []

TRACK = kvspic.Track("V_TEST", "video/x-test")


def opened_ms(producer: kvspic.Producer, names: list[str]) -> tuple[float, float]:
    """Open streams one after the other, then upload a frame of each; the processor time of one for both."""
    began_s = time.process_time()
    streams = [producer.open_stream(name, [TRACK], retention=timedelta(hours=1)) for name in names]
    ready_s = time.process_time()
    for stream in streams:
        stream.put_frame(bytes(1000), pts=time.time_ns(), key_frame=True)
    while any(stream.metrics().state is not kvspic.StreamState.STREAMING for stream in streams):
        time.sleep(0.05)
    scale = 1000 / len(names)
    return (ready_s - began_s) * scale, (time.process_time() - ready_s) * scale


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--streams", type=int, default=50)
    parser.add_argument("--rounds", type=int, default=4, help="the best one counts")
    options = parser.parse_args()
    new, existing = list[tuple[float, float]](), list[tuple[float, float]]()
    rates = CallRates(create_stream=0, describe_stream=0, get_data_endpoint=0)
    with running(tls=True) as endpoint:
        for number in range(options.rounds):
            names = [f"camera-{number}-{index}" for index in range(options.streams)]
            for taken in (new, existing):
                with kvspic.Producer(endpoint_url=endpoint.url, call_rates=rates) as producer:
                    opened_ms(producer, [f"first-{number}"])
                    taken.append(opened_ms(producer, names))
    say("opening a new stream, processor", min(ready for ready, _ in new), "ms")
    say("opening an existing stream, processor", min(ready for ready, _ in existing), "ms", 2)
    say("beginning its upload, processor", min(upload for _, upload in new + existing), "ms")


if __name__ == "__main__":
    main()
