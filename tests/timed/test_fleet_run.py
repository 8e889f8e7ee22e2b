"""``kvspic fleet run`` and ``fleet worker --processes``. Goal: a kill costs seconds, and an end loses nothing."""

import json
import os
import signal
import subprocess
import sys

import pytest

pytest.importorskip("sqlalchemy")
pytest.importorskip("av")

from timed.fleet_machines import Machine, call, free_port, until, wait_up

from kvspic.local.server import LocalEndpoint
from kvspic.local.settings import Settings

pytestmark = pytest.mark.timed

SOURCE = "testsrc:width=64,height=48,fps=10,gop=5,duration=0"
FLEET = [sys.executable, "-m", "kvspic", "fleet"]


@pytest.fixture
def endpoint(tmp_path):
    with LocalEndpoint.run_in_thread(data_dir=tmp_path / "data", settings=Settings.unlimited()) as found:
        yield found


def jobs(url):
    return {job["name"]: job for job in call(f"{url}/v1/jobs")["jobs"]}


def persists(url, name, epoch=1):
    job = jobs(url)[name]
    return job["epoch"] >= epoch and job["status"] == "in_progress" and (job["stats"] or {}).get("health")


def test_one_command_keeps_the_cameras_of_a_file(tmp_path, endpoint):
    file, port = tmp_path / "cameras.yaml", free_port()
    file.write_text(json.dumps({"cameras": [{"name": "one", "source": SOURCE}, {"name": "two", "source": SOURCE}]}))
    command = [*FLEET, "run", "-v", file, "--listen", f"127.0.0.1:{port}", "--endpoint", endpoint.url]
    url = f"http://127.0.0.1:{port}"
    with Machine(command, tmp_path / "run.log") as run:
        wait_up(url)
        call(f"{url}/v1/settings", "PUT", {"lease_s": 2})
        until(lambda: persists(url, "one") and persists(url, "two"), "both cameras are carried")
        call(f"{url}/v1/jobs/@two", "PATCH", {"status": "pause"})
        run.kill()
        run.start()
        wait_up(url)
        until(lambda: persists(url, "one", 2), "the camera is carried again")
        assert jobs(url)["two"]["status"] == "pause"
        causes = [record["cause"] for record in call(f"{url}/v1/jobs/@one/logs")["logs"]]
        assert causes == ["create", "claim", "incarnation", "handler_lost", "handler_lost", "claim"]
        assert run.end() == 0
    tags = [dict(fragment.tags)["kvspic-epoch"] for fragment in endpoint.fragments("one")]
    assert tags == sorted(tags)
    assert {"1.1", "1.2"} == set(tags)


def test_a_wrong_file_is_a_sentence_and_changes_nothing(tmp_path):
    file = tmp_path / "cameras.yaml"
    file.write_text("cameras: [{name: a, source: 'ftp://x/y'}]")
    ran = subprocess.run([*FLEET, "run", str(file)], capture_output=True, text=True, timeout=60, check=False)
    assert ran.returncode == 2
    assert "scheme ftp" in ran.stderr
    assert list(tmp_path.iterdir()) == [file]


def test_a_worker_process_that_dies_is_started_again_and_all_end_together(tmp_path, endpoint):
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    serve = [*FLEET, "serve", "--store", tmp_path / "fleet.db", "--listen", f"127.0.0.1:{port}"]
    work = [*FLEET, "worker", "--server", url, "--processes", "2", "--name", "gateway", "--endpoint", endpoint.url]
    environ = {"XDG_STATE_HOME": str(tmp_path)}
    with Machine(serve, tmp_path / "serve.log"), Machine(work, tmp_path / "worker.log", environ=environ) as workers:
        wait_up(url)
        call(f"{url}/v1/settings", "PUT", {"lease_s": 4})
        for name in ("one", "two"):
            call(f"{url}/v1/jobs", "POST", {"name": name, "source": {"type": "test", "url": SOURCE}})
        until(lambda: persists(url, "one") and persists(url, "two"), "both cameras are carried")
        handlers = {row["id"]: row for row in call(f"{url}/v1/handlers")["handlers"]}
        assert set(handlers) == {"gateway-1", "gateway-2"}
        victim = jobs(url)["one"]["handler"]
        children = subprocess.run(
            ["pgrep", "-P", str(workers.pid)], capture_output=True, text=True, check=True
        ).stdout.split()
        for child in children:
            os.kill(int(child), signal.SIGKILL)
        until(lambda: persists(url, "one", 2) and persists(url, "two", 2), "both cameras are carried again")
        assert victim in {"gateway-1", "gateway-2"}
        assert workers.end() == 0
        assert {job["status"] for job in jobs(url).values()} == {"pending"}
