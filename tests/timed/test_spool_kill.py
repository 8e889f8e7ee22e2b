"""SIGKILL of producers with a spool, and of the endpoint, at many moments. Goal: what was put is stored, in order.

``KVSPIC_SPOOL_SEEDS=first-last`` runs other seeds, or more of them.
"""

import os
import random
import shutil
import subprocess
import sys
import threading

import pytest
from faults.spooled import Camera, judge

from kvspic.local.server import LocalEndpoint
from kvspic.local.settings import Settings

pytestmark = pytest.mark.timed

FIRST, LAST = map(int, os.environ.get("KVSPIC_SPOOL_SEEDS", "0-1").split("-"))
MS_HNS = 10_000
SERVER = """
import asyncio, sys
from kvspic.local.server import LocalEndpoint
endpoint = LocalEndpoint(data_dir=sys.argv[1], port=int(sys.argv[2]))
asyncio.run(endpoint.serve_forever(lambda url: print(url, flush=True)))
"""


class KillableEndpoint:
    """An endpoint in a process of its own."""

    def __init__(self, data_dir):
        self._data_dir = data_dir
        self._port = "0"
        self._start()

    def _start(self):
        command = [sys.executable, "-c", SERVER, str(self._data_dir), self._port]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        self.url = self._process.stdout.readline().strip()
        self._port = self.url.rpartition(":")[2]

    def kill(self, *, start=True):
        """SIGKILL, and then another one on the same port."""
        self._process.kill()
        self._process.wait()
        self._process.stdout.close()
        if start:
            self._start()


@pytest.mark.parametrize("seed", range(FIRST, LAST + 1))
def test_nothing_is_lost_whatever_is_killed(tmp_path, seed):
    """Producers are killed at random moments, while the service is there, is slow to acknowledge, or is gone."""
    chance = random.Random(seed)
    camera = Camera("", tmp_path / "spool", chance.random() < 0.4, chance.choice(["process", "process", "disk"]))
    settings = Settings(persist_delay_hns=chance.choice([0, 0, 100, 400]) * MS_HNS)
    port = 0
    while len(camera.lives) < 8:
        with LocalEndpoint.run_in_thread(data_dir=tmp_path / "data", port=port, settings=settings) as endpoint:
            camera.url, port = endpoint.url, int(endpoint.url.rpartition(":")[2])
            for _ in range(chance.randrange(1, 4)):
                camera.run(kill_after_s=chance.uniform(0, chance.choice([0.15, 1.0])))
        if chance.random() < 0.5:
            camera.run(kill_after_s=chance.uniform(0, 0.8))
    with LocalEndpoint.run_in_thread(data_dir=tmp_path / "data", port=port) as endpoint:
        camera.run(count=15)
        judge(endpoint.fragments("camera"), camera.lives)
    assert [found.name for found in (tmp_path / "spool" / "camera").iterdir()] == ["lock"]
    shutil.rmtree(tmp_path)


@pytest.mark.parametrize("seed", range(FIRST, LAST + 1))
def test_nothing_is_lost_when_the_endpoint_is_killed_too(tmp_path, seed):
    """The endpoint is killed at random moments beside producers that are killed at others."""
    chance = random.Random(1000 + seed)
    endpoint = KillableEndpoint(tmp_path / "data")
    camera = Camera(endpoint.url, tmp_path / "spool", sound=seed % 2 == 1)
    stop = threading.Event()

    def go_on_killing():
        while not stop.wait(chance.uniform(0.2, 2.0)):
            endpoint.kill()

    killer = threading.Thread(target=go_on_killing)
    killer.start()
    try:
        for _ in range(5):
            camera.run(kill_after_s=random.Random(seed * 100 + len(camera.lives)).uniform(0.1, 2.0))
    finally:
        stop.set()
        killer.join()
    camera.run(count=15)
    endpoint.kill(start=False)
    with LocalEndpoint.run_in_thread(data_dir=tmp_path / "data") as reader:
        judge(reader.fragments("camera"), camera.lives)
    shutil.rmtree(tmp_path)
