"""SIGKILL of a producer with a spool. Goal: what was put is stored once and in order, whenever it is killed."""

import random

import pytest
from faults.spooled import judge, run_child

from kvspic.local.server import LocalEndpoint

ROUNDS = 4


@pytest.mark.parametrize(("seed", "sound"), [(1, False), (2, True)])
def test_a_producer_that_is_killed_again_and_again_loses_nothing(tmp_path, seed, sound):
    chance = random.Random(seed)
    spool = tmp_path / "spool"
    with LocalEndpoint.run_in_thread(data_dir=tmp_path / "data") as endpoint:
        lives = [
            run_child(endpoint.url, spool, run, kill_after_s=chance.uniform(0.0, 0.6), sound=sound)
            for run in range(ROUNDS)
        ]
        lives.append(run_child(endpoint.url, spool, ROUNDS, sound=sound, count=15))
        judge(endpoint.fragments("camera"), lives)
    assert [found.name for found in (spool / "camera").iterdir()] == ["lock"]


def test_a_producer_that_is_killed_during_an_outage_loses_nothing(tmp_path):
    spool = tmp_path / "spool"
    lives = [run_child("http://127.0.0.1:9", spool, run, kill_after_s=0.3) for run in range(3)]
    with LocalEndpoint.run_in_thread(data_dir=tmp_path / "data") as endpoint:
        lives.append(run_child(endpoint.url, spool, 3, count=5))
        judge(endpoint.fragments("camera"), lives)
    assert sum(life.counts[1] for life in lives) > 20
