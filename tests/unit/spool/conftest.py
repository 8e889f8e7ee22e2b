"""What the tests of a spool share: folders are let go when a test ends."""

import pytest
from unit.spool import bench


@pytest.fixture(autouse=True)
def _no_folder_stays_open():
    yield
    while bench.OPEN:
        bench.OPEN.pop().close()
