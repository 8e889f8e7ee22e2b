"""The fleet's tables (SQLAlchemy Core), the version of the schema, and the check that a database is ours.

Times are milliseconds of the store's clock. The tables of the schema ``volatile`` hold what is written all the time and
may be lost in a crash: on PostgreSQL they are UNLOGGED, on SQLite they lie in memory. ``fleet_leases`` has a sentinel
row with empty keys; where it is missing, the volatile tables were lost.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    Connection,
    Double,
    Index,
    Integer,
    MetaData,
    PrimaryKeyConstraint,
    Table,
    Text,
    UniqueConstraint,
    func,
    insert,
    inspect,
    select,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB

from kvspic.fleet.errors import StoreUnusableError

__all__ = [
    "BACKFILLS",
    "BUCKETS",
    "HANDLERS",
    "IDEMPOTENCY",
    "JOBS",
    "LEASES",
    "LOG",
    "MASTER",
    "META",
    "PRESENCE",
    "SCHEMA_VERSION",
    "SETTINGS",
    "STATS",
    "VOLATILE",
    "WRITERS",
    "prepare",
]

SCHEMA_VERSION = 1
VOLATILE = "volatile"
PRODUCT = "kvspic.fleet"
ADVISORY_LOCK = 0x6B767370  # "kvsp"
_DURABLE = MetaData()
_LOST_IN_A_CRASH = MetaData(schema=VOLATILE)
_JSON = JSON().with_variant(JSONB, "postgresql")
_NUMBER = BigInteger().with_variant(Integer, "sqlite")  # SQLite counts up only an INTEGER PRIMARY KEY


def _text(name: str, **more: Any) -> Column[str]:
    return Column(name, Text, nullable=False, **more)


def _big(name: str, **more: Any) -> Column[int]:
    return Column(name, BigInteger, nullable=more.pop("nullable", False), **more)


META = Table("fleet_meta", _DURABLE, _text("name", primary_key=True), _text("value"))
SETTINGS = Table("fleet_settings", _DURABLE, _text("name", primary_key=True), Column("value", Double, nullable=False))
JOBS = Table(
    "fleet_jobs",
    _DURABLE,
    Column("number", _NUMBER, primary_key=True, autoincrement=True),
    _text("id", unique=True),
    _text("name", unique=True),
    _text("stream"),
    _text("endpoint"),
    _text("region"),
    Column("source", JSON, nullable=False),
    Column("options", JSON, nullable=False),
    _text("description"),
    Column("group_name", Text),
    Column("labels", _JSON, nullable=False),
    Column("live", Boolean, nullable=False),
    _text("status"),
    _big("status_since"),
    _big("pending_since"),
    _big("epoch"),
    _big("version"),
    _big("log_seq"),
    Column("handler", Text),
    Column("incarnation", Text),
    Column("is_moving", Boolean, nullable=False),
    Column("avoid_handler", Text),
    _big("avoid_until"),
    Column("losses", Integer, nullable=False),
    _big("not_before"),
    Column("error_class", Text),
    Column("error_text", Text),
    Column("ar_restart", Boolean, nullable=False),
    Column("ar_attempt_count", Integer),
    Column("ar_delay", Double, nullable=False),
    Column("ar_backoff", Double, nullable=False),
    Column("ar_delay_max", Double, nullable=False),
    Column("ar_jitter", Double, nullable=False),
    _text("ar_success"),
    _text("ar_status"),
    Column("ar_current", Integer, nullable=False),
    _big("ar_last", nullable=True),
    _big("ar_window_from", nullable=True),
    _big("ar_due", nullable=True),
    _big("created"),
    _big("updated"),
    UniqueConstraint("endpoint", "region", "stream", name="fleet_jobs_stream"),
    sqlite_autoincrement=True,
    postgresql_with={"fillfactor": 80},
)
_PENDING, _IN_PROGRESS, _IS_DUE = (
    JOBS.c.status == text("'pending'"),
    JOBS.c.status == text("'in_progress'"),
    JOBS.c.ar_due.is_not(None),
)
Index(
    "fleet_jobs_queue",
    JOBS.c.status,  # SQLite takes the order of an index only where the index has what is compared
    JOBS.c.pending_since,
    JOBS.c.number,
    postgresql_where=_PENDING,
    sqlite_where=_PENDING,
)
Index("fleet_jobs_held", JOBS.c.handler, postgresql_where=_IN_PROGRESS, sqlite_where=_IN_PROGRESS)
Index("fleet_jobs_due", JOBS.c.ar_due, postgresql_where=_IS_DUE, sqlite_where=_IS_DUE)
Index("fleet_jobs_group", JOBS.c.group_name, JOBS.c.number)
Index("fleet_jobs_status", JOBS.c.status, JOBS.c.number)
LOG = Table(
    "fleet_log",
    _DURABLE,
    Column("number", _NUMBER, primary_key=True, autoincrement=True),
    _big("tx"),  # of PostgreSQL: readers go on where all earlier commits are seen; 0 on SQLite
    _text("job_id"),
    _big("seq"),
    _big("at"),
    _text("name"),
    _text("status"),
    _text("cause"),
    _text("actor"),
    _big("epoch"),
    _big("version"),
    Column("handler", Text),
    Column("error_class", Text),
    Column("error_text", Text),
    UniqueConstraint("job_id", "seq", name="fleet_log_record"),
    Index("fleet_log_at", "at"),
    Index("fleet_log_order", "tx", "number"),
    sqlite_autoincrement=True,
)


def _writer_columns() -> list[Any]:
    names = ("endpoint", "region", "stream")
    columns = [_text(name) for name in (*names, "job_id", "handler", "incarnation")]
    return [*columns, _big("epoch"), PrimaryKeyConstraint(*names)]


WRITERS = Table("fleet_writers", _DURABLE, *_writer_columns(), Index("fleet_writers_job", "job_id"))
"""Who may write a stream, kept until that is released: what leases are rebuilt from."""
LEASES = Table(
    "fleet_leases",
    _LOST_IN_A_CRASH,
    *_writer_columns(),
    _big("until"),
    Index("fleet_leases_job", "job_id"),
    Index("fleet_leases_handler", "handler"),
    postgresql_with={"fillfactor": 50},
)
STATS = Table(
    "fleet_stats",
    _LOST_IN_A_CRASH,
    _text("job_id", primary_key=True),
    _big("epoch"),
    _big("at"),
    _text("body"),
    postgresql_with={"fillfactor": 50},
)
HANDLERS = Table(
    "fleet_handlers",
    _DURABLE,
    _text("id", primary_key=True),
    _text("incarnation"),
    _big("generation"),
    Column("previous", JSON, nullable=False),
    Column("host", Text),
    _text("version"),
    Column("labels", JSON, nullable=False),
    Column("slots", Integer, nullable=False),
    _text("state"),
)
PRESENCE = Table(
    "fleet_presence",
    _LOST_IN_A_CRASH,
    _text("id", primary_key=True),
    _big("seen"),
    _big("seq", nullable=True),
    Column("free", Integer, nullable=False),
)
BUCKETS = Table(
    "fleet_buckets",
    _LOST_IN_A_CRASH,
    _text("name", primary_key=True),
    Column("tokens", Double, nullable=False),
    _big("at"),
)
MASTER = Table("fleet_master", _DURABLE, Column("id", Integer, primary_key=True), _text("owner"), _big("until"))
IDEMPOTENCY = Table(
    "fleet_idempotency", _DURABLE, _text("key", primary_key=True), _text("job_id"), _text("answer"), _big("at")
)
BACKFILLS = Table("fleet_backfills", _DURABLE, _text("job_id", primary_key=True), _text("handler"), _big("until"))


def prepare(connection: Connection, place: str) -> None:
    """Make the tables where there are none, and check that what is there is ours.

    Args:
        place: the database's name for messages, without a password.

    Raises:
        StoreUnusableError: the database is another program's, or of another version.
    """
    if connection.dialect.name == "postgresql":
        connection.execute(select(func.pg_advisory_xact_lock(ADVISORY_LOCK)))  # two servers may start at once
    names = set(inspect(connection).get_table_names())
    if META.name in names:
        _check_version(connection, place)
    elif names and connection.dialect.name == "sqlite":
        raise StoreUnusableError(
            f"The database {place} holds other tables ({', '.join(sorted(names)[:3])}); name a file of its own."
        )
    elif names & {table.name for table in _DURABLE.sorted_tables}:
        raise StoreUnusableError(f"The database {place} has tables of a fleet but no version; use another database.")
    _DURABLE.create_all(connection)
    _LOST_IN_A_CRASH.create_all(connection)
    if connection.dialect.name == "postgresql":
        _make_unlogged(connection)
    if META.name not in names:
        connection.execute(
            insert(META),
            [{"name": "product", "value": PRODUCT}, {"name": "schema_version", "value": str(SCHEMA_VERSION)}],
        )


def _check_version(connection: Connection, place: str) -> None:
    try:
        meta = {row.name: row.value for row in connection.execute(select(META))}
    except Exception as error:
        raise StoreUnusableError(f"The database {place} is not a fleet's: its {META.name} is another table.") from error
    if meta.get("product") != PRODUCT or not meta.get("schema_version", "").isdecimal():
        raise StoreUnusableError(f"The database {place} is not a fleet's; name a file or a database of its own.")
    version = int(meta["schema_version"])
    if version > SCHEMA_VERSION:
        raise StoreUnusableError(
            f"The database {place} has schema {version}, this kvspic knows {SCHEMA_VERSION}: install a newer kvspic."
        )
    if version < SCHEMA_VERSION:
        raise StoreUnusableError(
            f"The database {place} has schema {version}, older than {SCHEMA_VERSION}: export it with the kvspic that "
            "made it, and import that into a new one."
        )


def _make_unlogged(connection: Connection) -> None:
    persistence = (
        select(func.count())
        .select_from(text("pg_class"))
        .where(text("relname = :name AND relpersistence = 'u' AND pg_table_is_visible(oid)"))
    )
    for table in _LOST_IN_A_CRASH.sorted_tables:
        if not connection.execute(persistence, {"name": table.name}).scalar():
            connection.exec_driver_sql(f"ALTER TABLE {table.name} SET UNLOGGED")
