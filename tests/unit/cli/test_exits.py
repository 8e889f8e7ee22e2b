"""Exit codes. Goal: each kind of trouble has its code, and an unexpected one has none."""

import pytest

from kvspic import _lib, errors
from kvspic.commands.exits import CliError, ExitCode, explain
from kvspic.local.errors import DataDirLockedError, LocalEndpointError, PortInUseError, StoreError
from kvspic.provider.results import ServiceError, ServiceResult
from kvspic.sources import MissingDependencyError, SourceError, SourceOptionError

CASES = [
    (SourceError("gone"), ExitCode.MEDIA),
    (SourceOptionError("fps"), ExitCode.USAGE),
    (MissingDependencyError("av"), ExitCode.USAGE),
    (PortInUseError("port"), ExitCode.UNREACHABLE),
    (LocalEndpointError("host"), ExitCode.UNREACHABLE),
    (DataDirLockedError("held"), ExitCode.STORE),
    (StoreError("full"), ExitCode.STORE),
    (ServiceError("GetMedia", ServiceResult.UNKNOWN), ExitCode.UNREACHABLE),
    (ServiceError("GetMedia", ServiceResult.FORBIDDEN, http_status=403), ExitCode.REFUSED),
    (ServiceError("GetMedia", ServiceResult.NOT_AUTHORIZED), ExitCode.REFUSED),
    (errors.named("STREAM_NAME"), ExitCode.USAGE),
    (errors.named("AVCC_FRAME"), ExitCode.MEDIA),
    (errors.named("STORE_FULL"), ExitCode.STORE),
    (errors.named("TIMED_OUT"), ExitCode.UNREACHABLE),
    (errors.named("CONNECTION_LOST"), ExitCode.UNREACHABLE),
    (errors.named("NOT_AUTHORIZED"), ExitCode.REFUSED),
]


@pytest.mark.parametrize(("error", "code"), CASES, ids=lambda value: type(value).__name__)
def test_a_failure_has_its_code(error, code):
    assert explain(error).code == code


@pytest.mark.parametrize("error", [ZeroDivisionError(), errors.named("INTERNAL"), OSError("disk")])
def test_what_nobody_expected_has_none(error):
    assert explain(error) is None


def test_a_failure_of_the_command_line_is_itself():
    error = CliError(ExitCode.MEDIA, "Text.")
    assert explain(error) is error


def test_a_status_becomes_a_sentence_and_a_path_stays_as_it_is():
    assert _lib.lib is not None  # the status table is read from the library
    assert str(explain(errors.named("STREAM_NAME")))[0].isupper()
    assert str(explain(SourceError("clip.mp4 does not exist: check the path."))).startswith("clip.mp4")
