"""Two machines with two routers between them, as network namespaces: a link can go down without a sign to either end.

    camera - near - far - service          the link between near and far is the one that breaks

Needs Linux, root and the command ``ip``. Packets are dropped in silence in both directions: neither end sees its own
link go, and no router sends an ICMP message.
"""

import contextlib
import os
import secrets
import shutil
import subprocess

__all__ = ["Chain", "is_possible"]

LINKS = {"a": ("camera", "near"), "b": ("near", "far"), "c": ("far", "service")}  # 10.0.N.1 and 10.0.N.2 each


def is_possible():
    """Whether namespaces can be made here."""
    if shutil.which("ip") is None or os.geteuid() != 0:
        return False
    name = f"kvspic-{secrets.token_hex(3)}"
    made = subprocess.run(["ip", "netns", "add", name], check=False, capture_output=True)
    subprocess.run(["ip", "netns", "del", name], check=False, capture_output=True)
    return made.returncode == 0


class Chain:
    """The network, from ``with`` to its end. ``service_host`` is the address of the service."""

    service_host = "10.0.3.2"

    def __init__(self):
        tag = secrets.token_hex(3)
        self._names = {place: f"k{tag}{place}" for place in ("camera", "near", "far", "service")}
        self._devices = {link: f"{link}{tag}" for link in LINKS}
        self._stack = contextlib.ExitStack()

    def __enter__(self):
        with contextlib.ExitStack() as stack:
            for name in self._names.values():
                _ip("netns", "add", name)
                stack.callback(_ip, "netns", "del", name)
                _ip("-n", name, "link", "set", "lo", "up")
            for number, (link, ends) in enumerate(LINKS.items(), 1):
                self._connect(link, ends, number)
            self._route("camera", "default", "10.0.1.2")
            self._route("near", "10.0.3.0/24", "10.0.2.2")
            self._route("service", "default", "10.0.3.1")
            self.mend()
            _ip("-n", self._names["far"], "route", "add", "blackhole", "10.0.1.0/24", "metric", "5000")
            for place in ("near", "far"):
                self.popen(place, ["sysctl", "-qw", "net.ipv4.ip_forward=1"]).wait(10)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_):
        self._stack.close()

    def name(self, place):
        """The namespace of one of the machines."""
        return self._names[place]

    def popen(self, place, command, **options):
        """Start a command on one of the machines."""
        return subprocess.Popen(["ip", "netns", "exec", self._names[place], *map(str, command)], **options)

    def cut(self):
        """The link between the routers is down from now on."""
        _ip("-n", self._names["far"], "link", "set", self._devices["b"] + "2", "down")

    def mend(self):
        """It is up again."""
        _ip("-n", self._names["far"], "link", "set", self._devices["b"] + "2", "up")
        self._route("far", "10.0.1.0/24", "10.0.2.1")

    def _connect(self, link, ends, number):
        device = self._devices[link]
        near, far = (self._names[end] for end in ends)
        _ip("link", "add", f"{device}1", "netns", near, "type", "veth", "peer", "name", f"{device}2", "netns", far)
        for end, name in ((1, near), (2, far)):
            _ip("-n", name, "addr", "add", f"10.0.{number}.{end}/24", "dev", f"{device}{end}")
            _ip("-n", name, "link", "set", f"{device}{end}", "up")

    def _route(self, place, target, gateway):
        _ip("-n", self._names[place], "route", "add", target, "via", gateway)


def _ip(*words):
    subprocess.run(["ip", *words], check=True, capture_output=True, timeout=20)
