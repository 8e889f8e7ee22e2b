"""Three hosts as network namespaces, one of which is cut off in silence. Goal: its camera moves to the other
worker, and when it is back nothing of the old writer arrives behind the new one.

    w0 -- router -- w1        packets of w0 are dropped in silence: its own link stays up
             |
            hub               server and service
"""

import contextlib
import ctypes
import itertools
import os
import secrets
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

pytest.importorskip("sqlalchemy")
pytest.importorskip("av")

from timed.fleet_machines import Machine, call, check_logs, until, worker
from timed.networks import is_possible

from kvspic.local.server import LocalEndpoint
from kvspic.local.settings import Settings

pytestmark = [
    pytest.mark.timed,
    pytest.mark.skipif(not is_possible(), reason="network namespaces need Linux, root and the command ip"),
]

NEW_NETWORK = 0x40000000  # CLONE_NEWNET
LEASE_S = 3
SOURCE = {"type": "test", "url": "testsrc:width=64,height=48,fps=10,gop=5,duration=0"}
TOKEN = "a-token-of-this-test-only"


class Hosts:
    """The network. ``name(place)`` is a namespace; addresses are 10.9.1.1 (w0), 10.9.2.1 (w1) and 10.9.3.1 (hub)."""

    places = ("w0", "w1", "hub")

    def __init__(self):
        self._tag = secrets.token_hex(3)
        self._stack = contextlib.ExitStack()

    def name(self, place):
        return f"k{self._tag}{place}"

    def __enter__(self):
        with contextlib.ExitStack() as stack:
            for place in ("router", *self.places):
                _ip("netns", "add", self.name(place))
                stack.callback(_ip, "netns", "del", self.name(place))
            for number, place in enumerate(self.places, 1):
                self._connect(place, number)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_):
        self._stack.close()

    def cut(self, place):
        """The router forwards nothing to or from a host, and says nothing."""
        self._forward(place, 0)
        _ip("-n", self.name("router"), "route", "replace", "blackhole", self._net(place), "metric", "0")

    def mend(self, place):
        _ip("-n", self.name("router"), "route", "del", "blackhole", self._net(place), "metric", "0")
        self._forward(place, 1)

    def _connect(self, place, number):
        host, port, router = self.name(place), self._port(place), self.name("router")
        _ip("-n", router, "link", "add", port, "type", "veth", "peer", "name", "eth0", "netns", host)
        _ip("-n", router, "addr", "add", f"10.9.{number}.254/24", "dev", port, "metric", "100")
        _ip("-n", router, "link", "set", port, "up")
        _ip("-n", host, "addr", "add", f"10.9.{number}.1/24", "dev", "eth0")
        for device in ("lo", "eth0"):
            _ip("-n", host, "link", "set", device, "up")
        _ip("-n", host, "route", "add", "default", "via", f"10.9.{number}.254")
        self._forward(place, 1)

    def _forward(self, place, value):
        setting = f"net.ipv4.conf.{self._port(place)}.forwarding={value}"
        _ip("netns", "exec", self.name("router"), "sysctl", "-qw", setting)

    def _net(self, place):
        return f"10.9.{self.places.index(place) + 1}.0/24"

    def enter(self, place):
        """The calling thread, and those that it starts, are on that host from now on."""
        with open(f"/var/run/netns/{self.name(place)}", "rb") as file:
            if ctypes.CDLL(None, use_errno=True).setns(file.fileno(), NEW_NETWORK) != 0:
                raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))

    def _port(self, place):
        return f"p{self._tag}{place}"


def _ip(*words):
    subprocess.run(["ip", *words], check=True, capture_output=True, timeout=20)


def play(tmp_path, hosts, stack):
    """All that happens; runs in a thread of the hub."""
    endpoint = stack.enter_context(
        LocalEndpoint.run_in_thread(
            data_dir=tmp_path / "data", host="10.9.3.1", is_insecure=True, settings=Settings.unlimited()
        )
    )
    (tmp_path / "tokens").write_text(f"{TOKEN} admin\n{TOKEN}-handler handler\n")
    serve = [sys.executable, "-m", "kvspic", "fleet", "serve", "--store", tmp_path / "fleet.db"]
    serve += ["--listen", "0.0.0.0:8090", "--tokens", tmp_path / "tokens"]
    on_hub = ("ip", "netns", "exec", hosts.name("hub"))
    url = "http://10.9.3.1:8090"
    here = "http://127.0.0.1:8090"  # this thread is on the hub
    workers = {
        place: worker(
            [url], tmp_path, place, endpoint=endpoint.url, token=f"{TOKEN}-handler",
            prefix=("ip", "netns", "exec", hosts.name(place)),
        )
        for place in ("w0", "w1")
    }  # fmt: skip

    def ask(path, method="GET", body=None):
        return call(f"{here}{path}", method, body, token=TOKEN)

    def job():
        return ask("/v1/jobs")["jobs"][0]

    def shown(handler):
        found = job()
        return found["handler"] == handler and (found["stats"] or {}).get("health")

    stack.enter_context(Machine(serve, tmp_path / "server.log", on_hub))
    until(lambda: ask("/v1/handlers") is not None, "the server answers")
    ask("/v1/settings", "PUT", {"lease_s": LEASE_S})
    stack.enter_context(workers["w0"])
    ask("/v1/jobs", "POST", {"name": "cam", "source": SOURCE})
    until(lambda: shown("w0"), "w0 carries the camera")
    stack.enter_context(workers["w1"])
    until(lambda: len(ask("/v1/handlers")["handlers"]) == 2, "w1 has come")
    hosts.cut("w0")
    until(lambda: shown("w1"), "w1 carries the camera")
    assert job()["epoch"] == 2
    hosts.mend("w0")
    count = len(endpoint.fragments("cam"))
    until(lambda: ask("/v1/handlers")["handlers"][0]["state"] == "ready", "w0 is back")
    until(lambda: len(endpoint.fragments("cam")) > count + 4, "fragments go on")
    found = endpoint.fragments("cam")
    order = [int(dict(one.tags)["kvspic-epoch"].partition(".")[2]) for one in found]
    assert order == sorted(order)
    assert set(order) == {1, 2}
    for (epoch, one), (after, other) in itertools.pairwise(zip(order, found)):
        assert epoch == after or other.producer_hns >= one.producer_hns + one.duration_hns
    assert [workers[place].end() for place in workers] == [0, 0]
    causes = [record["cause"] for record in ask("/v1/jobs/@cam/logs")["logs"]]
    assert causes[:6] == ["create", "claim", "lease", "handler_lost", "handler_lost", "claim"]
    check_logs(tmp_path / "fleet.db")


def test_a_host_that_is_cut_off_stops_before_its_camera_moves(tmp_path):
    stack = contextlib.ExitStack()
    with Hosts() as hosts, ThreadPoolExecutor(1, initializer=hosts.enter, initargs=("hub",)) as on_hub:
        try:
            on_hub.submit(play, tmp_path, hosts, stack).result(120)
        finally:
            on_hub.submit(stack.close).result(60)
