"""What every test may rely on: no credentials or settings of the machine, no network past loopback, clips and vectors.

``require_tool`` is for the few tests that ask another program for its opinion; a CI run must have those programs.
"""

import os
import shutil
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

TESTS = Path(__file__).resolve().parent
IN_CI = os.environ.get("CI", "").lower() == "true"

if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:  # as a shell leaves it for what it starts in the background
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def require_tool() -> Callable[[str], str]:
    """``require_tool("ffprobe")`` returns its path; where it is missing, the test is skipped, in CI it fails."""

    def require(name: str) -> str:
        path = shutil.which(name)
        if path is None and IN_CI:
            pytest.fail(f"{name} is missing, and CI=true: .ci/run installs it.", pytrace=False)
        if path is None:
            pytest.skip(f"{name} is not installed")
        return path

    return require


@pytest.fixture(scope="session")
def media_dir() -> Path:
    """The folder of the test clips; its README says what each holds."""
    return TESTS / "media"


@pytest.fixture(scope="session")
def vectors_dir() -> Path:
    """The folder of the byte-exact examples."""
    return TESTS / "vectors"


@pytest.fixture(scope="session", autouse=True)
def clean_environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """No test sees the developer's AWS settings or keys, and none asks the metadata service of a cloud machine."""
    nowhere = tmp_path_factory.mktemp("no-aws") / "none"
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("AWS_")]:
            patch.delenv(name)
        patch.setenv("AWS_CONFIG_FILE", str(nowhere))
        patch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(nowhere))
        patch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        yield


@pytest.fixture(scope="session", autouse=True)
def loopback_only() -> Iterator[None]:
    """Connecting past loopback is an error of the test."""
    connect, connect_ex = socket.socket.connect, socket.socket.connect_ex

    def check(address: object) -> None:
        if isinstance(address, tuple) and not is_loopback(address[0]):
            raise RuntimeError(f"a test tried to connect to {address[0]}; tests use 127.0.0.1 only")

    def connect_checked(self: socket.socket, address: object) -> None:
        check(address)
        connect(self, address)

    def connect_ex_checked(self: socket.socket, address: object) -> int:
        check(address)
        return connect_ex(self, address)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket.socket, "connect", connect_checked)
        patch.setattr(socket.socket, "connect_ex", connect_ex_checked)
        yield


def is_loopback(host: str) -> bool:
    """Whether ``host``, as given to a socket, is this machine."""
    return host in ("localhost", "::1", "") or host.startswith("127.")


def pytest_sessionfinish(session: pytest.Session) -> None:
    """A CI run in which nothing passed is a failed run, even if all of it was skipped."""
    if IN_CI and session.exitstatus == pytest.ExitCode.OK:
        reporter = session.config.pluginmanager.get_plugin("terminalreporter")
        if reporter is not None and not reporter.stats.get("passed"):
            session.exitstatus = pytest.ExitCode.NO_TESTS_COLLECTED


@pytest.fixture(autouse=True)
def _no_client_is_left():
    """boto3 clients of a test end with it."""
    yield
    aws = sys.modules.get("unit.local.aws")
    if aws is not None:
        aws.close_all()


@pytest.fixture(autouse=True)
def _the_clock_is_right_again():
    """What a test has taught the process about the service's time ends with it."""
    yield
    clock = sys.modules.get("kvspic.provider.clock")
    if clock is not None:
        clock.SERVICE_CLOCK.offset_s, clock.SERVICE_CLOCK.is_known = 0.0, False


@pytest.fixture(autouse=True)
def _nobody_is_throttled(monkeypatch):
    """What a test's service has throttled slows no other test down."""
    orders = sys.modules.get("kvspic.driver.orders")
    if orders is not None:
        monkeypatch.setattr(orders, "BUDGET", orders.CallBudget())
