"""SIGKILL of producers with a spool at many moments. Goal: what was put is stored once, in order.

``KVSPIC_SPOOL_SEEDS=first-last`` runs other seeds, or more of them.
"""

import os
import random
import shutil

import pytest
from faults.spooled import Camera, judge

from kvspic.local.server import LocalEndpoint
from kvspic.local.settings import Settings

pytestmark = pytest.mark.timed

FIRST, LAST = map(int, os.environ.get("KVSPIC_SPOOL_SEEDS", "0-3").split("-"))
MS_HNS = 10_000


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
