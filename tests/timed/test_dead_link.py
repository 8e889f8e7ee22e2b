"""A link that goes down without a word. Goal: the first acknowledgement soon after its return, however TCP had waited.

Packets are dropped between two routers (``timed.networks``), so connections stand and neither end learns
anything. TCP alone would repeat a segment later and later, up to as long again as the outage had lasted.
"""

import subprocess
import sys
import threading
import time

import pytest
from timed.networks import Chain, is_possible

pytestmark = [
    pytest.mark.timed,
    pytest.mark.skipif(not is_possible(), reason="needs Linux, root, the command ip, and leave to make namespaces"),
]

SERVICE = """
import asyncio, sys
from dataclasses import replace
from kvspic.local.quotas import Quotas
from kvspic.local.server import LocalEndpoint
from kvspic.local.settings import Settings
settings = Settings(quotas=replace(Quotas(), sessions_max=0))  # else the dead connection's place is taken for 30 s
endpoint = LocalEndpoint(data_dir=sys.argv[1], host=sys.argv[2], is_insecure=True, settings=settings)
asyncio.run(endpoint.serve_forever(lambda url: print(url, flush=True)))
"""
CAMERA = """
import sys, time
import kvspic
from kvspic.provider.credentials import StaticCredentials
def watch(event):
    if isinstance(event, kvspic.AckReceived):
        print(time.monotonic(), flush=True)
with kvspic.Producer(region="us-east-1", endpoint_url=sys.argv[1], credentials=StaticCredentials("a", "b")) as producer:
    with producer.open_stream("cam", [kvspic.Track("V_TEST", "video/x-test")], on_event=watch) as stream:
        for number in range(int(float(sys.argv[2]) * 10)):
            stream.put_frame(bytes(2000), pts=time.time_ns(), key_frame=number % 10 == 0)
            time.sleep(0.1)
    print(stream.report.is_complete, flush=True)
"""
OUTAGES_S = (8, 13, 20, 30)
BEFORE_S = 4
FIRST_ACK_MAX_S = 6.0  # the cap of the pauses, and what a busy machine may add


def first_ack_s(folder, outage_s):
    """Seconds from the return of the link to the first ACK."""
    with Chain() as chain:
        service = [sys.executable, "-c", SERVICE, folder, chain.service_host]
        with chain.popen("service", service, stdout=subprocess.PIPE, text=True) as server:
            try:
                url = server.stdout.readline().split()[-1]
                return play(chain, url, outage_s)
            finally:
                server.kill()


def play(chain, url, outage_s):
    camera = [sys.executable, "-c", CAMERA, url, BEFORE_S + outage_s + FIRST_ACK_MAX_S]
    with chain.popen("camera", camera, stdout=subprocess.PIPE, text=True) as process:
        try:
            process.stdout.readline()  # it is streaming
            time.sleep(BEFORE_S)
            chain.cut()
            time.sleep(outage_s)
            chain.mend()
            up_at = time.monotonic()
            *acks, is_complete = process.communicate(timeout=60)[0].split()
        finally:
            process.kill()
    assert is_complete == "True"
    return min((at - up_at for at in map(float, acks) if at > up_at), default=float("inf"))


def test_a_dead_link_is_left_before_tcp_would_notice(tmp_path):
    found = {}

    def run(outage_s):
        found[outage_s] = first_ack_s(tmp_path / str(outage_s), outage_s)

    threads = [threading.Thread(target=run, args=(outage_s,)) for outage_s in OUTAGES_S]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(found) == sorted(OUTAGES_S)
    assert max(found.values()) <= FIRST_ACK_MAX_S, found
    print({outage_s: round(seconds, 2) for outage_s, seconds in sorted(found.items())})
