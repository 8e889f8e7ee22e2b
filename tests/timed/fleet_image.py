"""A server and a worker of the image of deploy/docker against the local endpoint: health, one camera, a polite end.

    python tests/timed/fleet_image.py FOLDER COMMAND...    COMMAND runs what follows it in a container of the image

Started by .ci/image. The container uses the network of this machine, and its entry point is not used by the builder's
``run``, so this names ``kvspic`` itself.
"""

import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from timed.fleet_machines import KEYS, Machine, call, free_port, until, wait_up

from kvspic.local.server import LocalEndpoint
from kvspic.local.settings import Settings

SOURCE = {"type": "test", "url": "testsrc:width=64,height=48,fps=10,gop=5,duration=0"}


def end(words, number=signal.SIGKILL):
    """Send a signal to the command with these words in a container: the builder's ``run`` hands none on."""
    found = subprocess.run(
        ["pgrep", "-f", f"^[^ ]*python[^ ]* [^ ]*kvspic {words}"], capture_output=True, text=True, check=False
    )
    for pid in found.stdout.split():
        os.kill(int(pid), number)


def main(folder, run):
    ask = [*run, "sh", "-c", "id -u; pwd; kvspic --version"]
    facts = subprocess.run(ask, capture_output=True, text=True, check=True).stdout
    user, place, version = facts.strip().split("\n")
    assert (user, place) == ("10001", "/data"), facts
    with contextlib.ExitStack() as stack:
        endpoint = stack.enter_context(
            LocalEndpoint.run_in_thread(data_dir=folder / "data", settings=Settings.unlimited())
        )
        port = free_port()
        url = f"http://127.0.0.1:{port}"
        serve = [*run, "kvspic", "fleet", "serve", "--listen", f"127.0.0.1:{port}", "--store", "/data/fleet.db"]
        stack.enter_context(Machine(serve, folder / "server.log"))
        stack.callback(end, f"fleet serve --listen 127.0.0.1:{port}")
        wait_up(url)
        assert call(f"{url}/healthz") == {"status": "ok"}
        call(f"{url}/v1/jobs", "POST", {"name": "cam", "source": SOURCE})
        keys = [f"{name}={value}" for name, value in KEYS.items()]
        work = ["kvspic", "fleet", "worker", "--server", url, "--name", "gateway-1", "--spool", "/data/spool"]
        stack.enter_context(Machine([*run, "env", *keys, *work, "--endpoint", endpoint.url], folder / "worker.log"))
        job = f"{url}/v1/jobs/@cam"
        working = f"fleet worker --server {url} "  # of this test: another one's worker has another port
        stack.callback(end, working)
        until(lambda: ((call(job)["stats"] or {}).get("frames_done") or 0) > 20, "the camera persists", 60)
        stored = len(endpoint.fragments("cam"))
        end(working, signal.SIGTERM)  # as a runtime of containers does
        until(lambda: call(job)["status"] == "pending", "the camera was handed back")
        cause = call(f"{job}/logs")["logs"][-1]["cause"]
        assert cause == "handback", cause
        print(f"{version}: user {user}, {stored} fragments of a camera are stored, then it was handed back")


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
