"""A fleet that opens at once. Goal: many streams are ready about as soon as the quotas of an account allow."""

import asyncio
import time

import pytest

import kvspic
from kvspic.local.server import LocalEndpoint

pytestmark = pytest.mark.timed

CREATED, PRESENT = 300, 1000


async def open_all(url, count):
    """Seconds until all streams are ready."""
    async with kvspic.AsyncProducer(endpoint_url=url) as producer:
        began = time.monotonic()
        tracks = [kvspic.H264Track()]
        streams = await asyncio.gather(*(producer.open_stream(f"cam-{i}", tracks, timeout=90) for i in range(count)))
        took_s = time.monotonic() - began
        await asyncio.gather(*(stream.close(0) for stream in streams))
    return took_s


def test_streams_open_as_fast_as_the_quotas_allow(tmp_path):
    with LocalEndpoint.run_in_thread(data_dir=tmp_path) as endpoint:
        assert asyncio.run(open_all(endpoint.url, CREATED)) <= 20  # 300 / (80 % of 50 a second) = 7.5
        asyncio.run(open_all(endpoint.url, PRESENT))
        # 1000 / (80 % of 300 a second) = 4.2; the processor's time for it is 5 to 15 s
        assert asyncio.run(open_all(endpoint.url, PRESENT)) <= 30
