"""Stores for the fleet's tests: SQLite in memory, and PostgreSQL in a cluster of the tests' own."""

import pytest
from fleet_rig import START_MS, Rig
from postgres import MISSING, cluster, programs


@pytest.fixture(scope="session")
def postgres():
    pytest.importorskip("psycopg")
    if programs() is None:
        pytest.skip(MISSING)
    with cluster() as made:
        yield made


@pytest.fixture(scope="session")
def postgres_rig(postgres):
    rig = Rig(postgres.url("service"))
    yield rig
    rig.store.close()


@pytest.fixture
def emptied_postgres_rig(postgres_rig):
    from sqlalchemy import text

    tables = [
        "jobs",
        "log",
        "settings",
        "writers",
        "leases",
        "stats",
        "handlers",
        "presence",
        "buckets",
        "master",
        "idempotency",
        "backfills",
    ]
    with postgres_rig.store._engine.begin() as connection:
        connection.execute(text(f"TRUNCATE {', '.join('fleet_' + name for name in tables)} RESTART IDENTITY"))
    postgres_rig.clock_ms = START_MS
    postgres_rig.begin()
    return postgres_rig


@pytest.fixture(params=["sqlite", "postgresql"])
def rig(request):
    """An empty store; after the test every log must replay to its job's status."""
    pytest.importorskip("sqlalchemy")
    is_postgres = request.param == "postgresql"
    made = request.getfixturevalue("emptied_postgres_rig") if is_postgres else Rig("sqlite://")
    yield made
    assert made.faults() == []
    if not is_postgres:
        made.store.close()
