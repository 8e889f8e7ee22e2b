"""SIGKILL of a producer with a spool. Goal: what was put is stored once and in order, whenever it is killed."""

import random

import pytest
from faults.spooled import Camera, judge

from kvspic.local.server import LocalEndpoint

ROUNDS = 4
NOTHING_LISTENS = "http://127.0.0.1:9"  # the discard port: nothing listens


@pytest.mark.parametrize(("seed", "sound"), [(1, False), (2, True)])
def test_a_producer_that_is_killed_again_and_again_loses_nothing(tmp_path, seed, sound):
    chance = random.Random(seed)
    with LocalEndpoint.run_in_thread(data_dir=tmp_path / "data") as endpoint:
        camera = Camera(endpoint.url, tmp_path / "spool", sound)
        for _ in range(ROUNDS):
            camera.run(kill_after_s=chance.uniform(0.0, 0.6))
        camera.run(count=15)
        judge(endpoint.fragments("camera"), camera.lives)
    assert [found.name for found in (tmp_path / "spool" / "camera").iterdir()] == ["lock"]


def test_a_producer_that_is_killed_during_an_outage_loses_nothing(tmp_path):
    camera = Camera(NOTHING_LISTENS, tmp_path / "spool")
    for _ in range(3):
        camera.run(kill_after_s=0.3)
    with LocalEndpoint.run_in_thread(data_dir=tmp_path / "data") as endpoint:
        camera.url = endpoint.url
        camera.run(count=5)
        judge(endpoint.fragments("camera"), camera.lives)
    assert sum(life.counts[1] for life in camera.lives) > 20
