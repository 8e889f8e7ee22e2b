"""Workers as actors of Ray. Goal: an actor that is killed comes back with its camera. No extra brings ray along."""

import sys

import pytest

pytest.importorskip("ray")
pytest.importorskip("sqlalchemy")

import ray
from timed.fleet_machines import Machine, call, free_port, until, wait_up

from kvspic.fleet.on_ray import stop_actors, worker_actors
from kvspic.fleet.worker import WorkerSettings
from kvspic.local.server import LocalEndpoint

pytestmark = pytest.mark.timed

SOURCE = {"type": "test", "url": "testsrc:width=64,height=48,fps=10,gop=10,duration=0"}


def test_an_actor_that_is_killed_comes_back_with_its_camera(tmp_path):
    url = f"http://127.0.0.1:{free_port()}"
    serve = [sys.executable, "-m", "kvspic", "fleet", "serve", "--store", tmp_path / "fleet.db"]
    serve += ["--listen", url.partition("//")[2]]

    def shown(epoch):
        (job,) = call(f"{url}/v1/jobs")["jobs"]
        return job["epoch"] == epoch and job["status"] == "in_progress" and (job["stats"] or {}).get("health")

    ray.init(num_cpus=1, include_dashboard=False, log_to_driver=False)
    try:
        with (
            Machine(serve, tmp_path / "serve.log"),
            LocalEndpoint.run_in_thread(data_dir=tmp_path / "data") as endpoint,
        ):
            wait_up(url)
            call(f"{url}/v1/jobs", "POST", {"name": "cam", "source": SOURCE})
            settings = WorkerSettings(endpoint_url=endpoint.url, state=tmp_path / "state")
            started = worker_actors(url, 1, name="ray", slots=4, settings=settings)
            until(lambda: shown(1), "the camera is carried", 120)
            ray.kill(started[0][0], no_restart=False)
            until(lambda: shown(2), "the camera is carried again", 120)
            assert stop_actors(started) == [0]
            assert call(f"{url}/v1/jobs")["jobs"][0]["status"] == "pending"
    finally:
        ray.shutdown()
