"""What the tests of the command line share: commands that run in the process, and one endpoint for all tests."""

import pytest
from unit.cli.commands import Runner

from kvspic.local.server import LocalEndpoint


@pytest.fixture
def run(capsys):
    """``run("put", clip, ...)`` runs a command and returns its exit code and what it printed."""
    return Runner(capsys)


@pytest.fixture(scope="session")
def endpoint(tmp_path_factory):
    """An endpoint that takes anybody's requests."""
    with LocalEndpoint.run_in_thread(tmp_path_factory.mktemp("endpoint")) as running:
        yield running
