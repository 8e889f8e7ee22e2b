"""A camera in a network where only a proxy reaches the service. Goal: control plane and uploads go through Debian's
tinyproxy, which resolves the service's name; without the proxy nothing is reached."""

import contextlib
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from timed.networks import Chain, is_possible

pytestmark = [
    pytest.mark.timed,
    pytest.mark.skipif(not is_possible(), reason="needs Linux, root, the command ip, and leave to make namespaces"),
    pytest.mark.skipif(shutil.which("tinyproxy") is None, reason="needs tinyproxy (Debian: apt install tinyproxy)"),
]

NAME = "service.kvspic.test"  # only the proxy's machine knows where that is
PROXY = "10.0.1.2"  # the camera's end of the proxy's machine
SERVICE = """
import asyncio, sys
from kvspic.local.server import LocalEndpoint
endpoint = LocalEndpoint(data_dir=sys.argv[1], host=sys.argv[2], is_insecure=True)
asyncio.run(endpoint.serve_forever(lambda url: print(url, flush=True)))
"""
CAMERA = """
import sys, time
import kvspic
from kvspic.provider.credentials import StaticCredentials
with kvspic.Producer(region="us-east-1", endpoint_url=sys.argv[1], credentials=StaticCredentials("a", "b")) as producer:
    try:
        track = kvspic.Track("V_TEST", "video/x-test")
        with producer.open_stream("cam", [track], timeout=float(sys.argv[2])) as stream:
            for number in range(30):
                stream.put_frame(bytes(20_000), pts=time.time_ns(), key_frame=number % 10 == 0)
                time.sleep(0.05)
        print("complete", stream.report.is_complete, stream.report.frames_done)
    except kvspic.KvsError as error:
        print("error", error)
"""
CONFIG = """
User root
Group root
Port {port}
Listen {proxy}
Timeout 600
MaxClients 20
ConnectPort {service_port}
{rest}
"""


@contextlib.contextmanager
def service_behind_a_proxy(folder, rest=""):
    """Gives the chain, the service's port, and the proxy's; the camera's network ends at the proxy's machine."""
    with contextlib.ExitStack() as stack:
        chain = stack.enter_context(Chain())
        names = Path("/etc/netns", chain.name("near"))
        names.mkdir(parents=True)
        stack.callback(shutil.rmtree, names)
        (names / "hosts").write_text(f"127.0.0.1 localhost\n{chain.service_host} {NAME}\n")
        chain.popen("camera", ["ip", "route", "del", "default"]).wait(10)
        command = [sys.executable, "-c", SERVICE, folder / "data", chain.service_host]
        service = stack.enter_context(chain.popen("service", command, stdout=subprocess.PIPE, text=True))
        stack.callback(service.kill)
        port = int(service.stdout.readline().split()[-1].rpartition(":")[2])
        config = folder / "tinyproxy.conf"
        config.write_text(CONFIG.format(port=3128, proxy=PROXY, service_port=port, rest=rest))
        proxy = stack.enter_context(chain.popen("near", ["tinyproxy", "-d", "-c", config], stdout=subprocess.DEVNULL))
        stack.callback(proxy.kill)
        time.sleep(1)  # tinyproxy does not say when it listens
        yield chain, port


def upload(chain, port, proxy_url, limit_s=20):
    environment = ["env", "NO_PROXY=", *([f"HTTP_PROXY={proxy_url}", f"http_proxy={proxy_url}"] if proxy_url else [])]
    camera = [*environment, sys.executable, "-c", CAMERA, f"http://{NAME}:{port}", limit_s]
    with chain.popen("camera", camera, stdout=subprocess.PIPE, text=True) as process:
        try:
            return process.communicate(timeout=90)[0].strip()
        finally:
            process.kill()


def test_where_only_a_proxy_reaches_the_service_uploads_go_through_it(tmp_path):
    with service_behind_a_proxy(tmp_path) as (chain, port):
        assert upload(chain, port, f"http://{PROXY}:3128") == "complete True 30"
        assert upload(chain, port, "", 5).startswith("error")


def test_a_proxy_that_wants_credentials_gets_them_and_lets_nothing_pass_without(tmp_path):
    """tinyproxy closes before it has read the request, so a reset mostly overtakes its 407: what is said of that is
    tested in tests/unit/provider/test_route.py."""
    with service_behind_a_proxy(tmp_path, "BasicAuth camera secret") as (chain, port):
        assert upload(chain, port, f"http://camera:secret@{PROXY}:3128") == "complete True 30"
        assert upload(chain, port, f"http://{PROXY}:3128", 5).startswith("error")
