"""The camera of csrc/examples/upload. Goal: C code that a camera maker copies uploads for real, and comes back."""

import os
import subprocess
import time
from pathlib import Path

import pytest
from timed.killable import KillableEndpoint
from unit.provider.certificates import make_tls_pair

pytestmark = pytest.mark.timed

ROOT = Path(__file__).parents[2]
CLIP = ROOT / "tests" / "media" / "h264_high_640x360_25fps.h264"
PACKAGES = "Debian: apt install libcurl4-openssl-dev libssl-dev pkg-config"
BUILDS = {"plain": "-O1 -g", "thread": "-O1 -g -fsanitize=thread"}


@pytest.fixture(scope="session")
def programs(tmp_path_factory, require_tool):
    """The camera as it is, and under the thread sanitizer."""
    if subprocess.run([require_tool("pkg-config"), "--exists", "libcurl", "libcrypto"], check=False).returncode != 0:
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(f"libcurl or OpenSSL is missing. {PACKAGES}")
    out = tmp_path_factory.mktemp("upload")
    for name, flags in BUILDS.items():
        command = ["make", "-s", "-f", "csrc/lib.mk", f"LIB_OUT={out}/{name}", f"LIB_CFLAGS={flags}", "upload"]
        subprocess.run(command, cwd=ROOT, check=True)
    return {name: out / name / "upload" for name in BUILDS}


class Camera:
    """A running camera; ``end()`` waits for it and returns its exit code and its last line."""

    def __init__(self, program, endpoint, stream, arguments, **environment):
        found = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "KVS_"))}
        self._process = subprocess.Popen(
            ["setarch", "-R", *map(str, program), stream, str(CLIP), *map(str, arguments)],
            env={**found, "KVS_ENDPOINT": endpoint, **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def end(self):
        out, self.errors = self._process.communicate(timeout=60)
        return self._process.returncode, (out.strip().splitlines() or [""])[-1]


def whole(frames, line):
    return line.startswith(f"frames put {frames}, refused 0, lost 0;") and "bytes not acknowledged 0;" in line


def stored_frames(endpoint, name):
    return sum(len(fragment.blocks) for fragment in endpoint.fragments(name))


@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize("seconds", [3, 0], ids=["live", "as fast as it goes"])
def test_every_frame_is_persisted(tmp_path, programs, scheme, seconds):
    make_tls_pair(tmp_path)
    pem = tmp_path / "server.pem"
    frames = 75 if seconds else 200
    with KillableEndpoint(tmp_path / "data", pem if scheme == "https" else "") as endpoint:
        assert endpoint.url.startswith(scheme + "://")
        camera = Camera([programs["thread"]], endpoint.url, "front", [seconds], KVS_CA_FILE=str(pem))
        code, line = camera.end()
        assert code == 0, camera.errors
        assert whole(frames, line)
        assert stored_frames(endpoint, "front") == frames


def test_requests_are_signed_as_the_service_checks_it(tmp_path, programs):
    keys = {"AWS_ACCESS_KEY_ID": "AKEXAMPLE", "AWS_SECRET_ACCESS_KEY": "secret"}
    with KillableEndpoint(tmp_path / "data", "", {"AKEXAMPLE": "secret"}) as endpoint:
        camera = Camera([programs["plain"]], endpoint.url, "signed", [1], **keys)
        assert camera.end()[0] == 0, camera.errors
        camera = Camera([programs["plain"]], endpoint.url, "token", [1], **keys, AWS_SESSION_TOKEN="a-token")
        assert camera.end()[0] == 0, camera.errors
        camera = Camera([programs["plain"]], endpoint.url, "wrong", [1], **{**keys, "AWS_SECRET_ACCESS_KEY": "no"})
        assert camera.end()[0] == 1
        assert "InvalidSignatureException" in camera.errors


@pytest.mark.parametrize("seconds_away", [2, 9])
def test_a_killed_endpoint_costs_no_frame(tmp_path, programs, seconds_away):
    with KillableEndpoint(tmp_path / "data", "") as endpoint:
        camera = Camera([programs["thread"]], endpoint.url, "front", [seconds_away + 7])
        time.sleep(3)
        endpoint.kill(seconds_away)
        code, line = camera.end()
        assert code == 0, camera.errors
        assert whole((seconds_away + 7) * 25, line)
        assert stored_frames(endpoint, "front") >= (seconds_away + 7) * 25  # what had no ACK is stored twice


def test_it_ends_within_its_stop_timeout_when_the_endpoint_never_returns(tmp_path, programs):
    with KillableEndpoint(tmp_path / "data", "") as endpoint:
        camera = Camera([programs["thread"]], endpoint.url, "front", [5, 25, 4])
        time.sleep(3)
        endpoint.kill(60)
        began = time.monotonic()
        code, line = camera.end()
        assert time.monotonic() - began < 2 + 4 + 2  # the rest of the video, the stop timeout, the end of the program
        assert code == 1
        assert line.startswith("frames put 125, refused 0, lost 0;")
        assert "bytes not acknowledged 0;" not in line


def test_valgrind_finds_nothing(tmp_path, programs, require_tool):
    valgrind = [require_tool("valgrind"), "-q", "--leak-check=full", "--error-exitcode=9"]
    with KillableEndpoint(tmp_path / "data", "") as endpoint:
        camera = Camera([*valgrind, programs["plain"]], endpoint.url, "front", [3])
        code, line = camera.end()
        assert code == 0, camera.errors
        assert whole(75, line)
