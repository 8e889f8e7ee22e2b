"""Processor time to open a stream, over TLS: one that exists (DescribeStream, GetDataEndpoint, the connection of its
upload) and a new one (CreateStream and DescribeStream besides).

From ``open_stream`` until the service has accepted the upload, in this process alone; the endpoint has another. What a
process pays once, modules, botocore's client and the certificates, is paid by a stream before.
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
ACCEPTED_WITHIN_S = 60.0


def opened_ms(producer: kvspic.Producer, names: list[str]) -> float:
    """Open streams one after the other with a frame each; the processor time of one."""
    began_s = time.process_time()
    for name in names:
        stream = producer.open_stream(name, [TRACK], retention=timedelta(hours=1))
        stream.put_frame(bytes(1000), pts=time.time_ns(), key_frame=True)
        stream.flush(timeout=ACCEPTED_WITHIN_S)
    return (time.process_time() - began_s) / len(names) * 1000


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--streams", type=int, default=40)
    parser.add_argument("--rounds", type=int, default=3, help="the best one counts")
    options = parser.parse_args()
    best = {"a new stream": float("inf"), "an existing stream": float("inf")}
    rates = CallRates(create_stream=0, describe_stream=0, get_data_endpoint=0)
    with running(tls=True) as endpoint:
        for number in range(options.rounds):
            names = [f"camera-{number}-{index}" for index in range(options.streams)]
            for kind in best:
                with kvspic.Producer(endpoint_url=endpoint.url, call_rates=rates) as producer:
                    opened_ms(producer, [f"first-{number}"])
                    best[kind] = min(best[kind], opened_ms(producer, names))
    for kind, taken_ms in best.items():
        goal = 2 if kind == "an existing stream" else 0
        say(f"opening {kind}, processor", taken_ms, "ms", goal)


if __name__ == "__main__":
    main()
