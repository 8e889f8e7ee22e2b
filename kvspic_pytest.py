"""The pytest plugin: a local endpoint for each test that asks for it.

A module of its own, and kvspic is imported by the fixture only, so that a broken installation of kvspic never keeps
somebody's whole test suite from starting.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from kvspic.local.server import LocalEndpoint

__all__ = ["kvspic_endpoint"]


@pytest.fixture
def kvspic_endpoint(tmp_path: Path) -> Iterator[LocalEndpoint]:
    """A Kinesis Video Streams endpoint on loopback, with a fresh data directory.

    It keeps the service's quotas (``docs/endpoint.md``). ``.url`` is the ``endpoint_url`` for producers and boto3,
    ``.fragments(name)`` what a stream has stored, ``.faults.add(Fault(...))`` and ``.faults.clear()`` make things go
    wrong (``kvspic.local.faults``).
    """
    try:
        from kvspic.local.server import LocalEndpoint
    except ImportError as error:
        pytest.fail(f"kvspic_endpoint cannot start ({error}); pip install 'kvspic[local]'.", pytrace=False)
    with LocalEndpoint.run_in_thread(data_dir=tmp_path / "kvspic-data") as endpoint:
        yield endpoint
