"""The store as a whole. Goal: a database that cannot be used is refused in words, and a failing one changes nothing."""

import contextlib
import json
import os
import random
import signal
import sqlite3
import tempfile
import zlib
from pathlib import Path

import pytest
from fleet_rig import RTSP, Rig

pytest.importorskip("sqlalchemy")

from sqlalchemy import event, exc, text

from kvspic.fleet import service
from kvspic.fleet.errors import ConflictError, FleetError, StoreFullError, StoreUnavailableError, StoreUnusableError
from kvspic.fleet.store import open_store

STEPS = 400
JOBS = 8


@pytest.fixture
def path(tmp_path):
    return tmp_path / "fleet.db"


def refusal(path, **more):
    with pytest.raises(StoreUnusableError) as refused:
        open_store(f"sqlite:///{path}", **more)
    return str(refused.value)


def change_meta(path, statement):
    open_store(f"sqlite:///{path}").close()
    with sqlite3.connect(path) as connection:
        connection.execute(statement)
    connection.close()


@pytest.mark.parametrize(
    "statement, words",
    [
        ("UPDATE fleet_meta SET value = '2' WHERE name = 'schema_version'", "install a newer kvspic"),
        ("UPDATE fleet_meta SET value = '0' WHERE name = 'schema_version'", "older than 1"),
        ("UPDATE fleet_meta SET value = 'x' WHERE name = 'schema_version'", "not a fleet's"),
        ("UPDATE fleet_meta SET value = 'other' WHERE name = 'product'", "not a fleet's"),
    ],
)
def test_a_database_of_another_version_or_program(path, statement, words):
    change_meta(path, statement)
    assert words in refusal(path)


@pytest.mark.parametrize(
    "statement, words",
    [
        ("UPDATE fleet_meta SET value = '2' WHERE name = 'schema_version'", "install a newer kvspic"),
        ("UPDATE fleet_meta SET value = '0' WHERE name = 'schema_version'", "older than 1"),
        ("UPDATE fleet_meta SET value = 'other' WHERE name = 'product'", "not a fleet's"),
        ("ALTER TABLE fleet_meta RENAME COLUMN value TO title", "is another table"),
        ("DROP TABLE fleet_meta", "tables of a fleet but no version"),
    ],
)
def test_a_postgresql_database_of_another_version_or_program(postgres, statement, words):
    url = postgres.url(f"other{zlib.crc32(statement.encode())}")
    first = open_store(url)
    with first._engine.begin() as connection:
        connection.execute(text(statement))
    first.close()
    with pytest.raises(StoreUnusableError, match=words):
        open_store(url)


def test_a_read_only_postgresql_database(postgres):
    url = postgres.url("readonly")
    open_store(url).close()
    postgres.command("psql", "-qc", "ALTER DATABASE readonly SET default_transaction_read_only = on", "readonly")
    with pytest.raises(StoreUnavailableError, match="read-only"):
        open_store(url)


def test_a_database_of_another_program(path):
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE music (title)")
    connection.close()
    assert "music" in refusal(path)


def test_a_file_that_is_no_database(path):
    path.write_bytes(b"cameras: []\n" * 100)
    assert "cannot be used" in refusal(path)


def test_a_folder_that_is_not_there(tmp_path):
    assert "cannot be opened" in refusal(tmp_path / "no" / "fleet.db")


@contextlib.contextmanager
def as_plain_user():
    """Root may write every file: act as somebody else for a while."""
    is_root = os.geteuid() == 0
    if is_root:
        os.seteuid(65534)
    try:
        yield
    finally:
        if is_root:
            os.seteuid(0)


@pytest.mark.skipif(os.name != "posix", reason="permissions of POSIX")
@pytest.mark.parametrize("folder_mode, words", [(0o777, "cannot be used"), (0o555, "cannot be opened for writing")])
def test_a_read_only_file(folder_mode, words):
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        path = Path(folder, "fleet.db")
        open_store(f"sqlite:///{path}").close()
        for left in Path(folder).iterdir():
            left.chmod(0o444) if left == path else left.unlink()
        Path(folder).chmod(folder_mode)
        with as_plain_user():
            said = refusal(path)
        Path(folder).chmod(0o700)
    assert words in said
    assert "where this user may write" in said


def test_a_second_server_on_one_file(path):
    first = open_store(f"sqlite:///{path}")
    assert "in use by another server" in refusal(path)
    looking = open_store(f"sqlite:///{path}", is_server=False)
    assert looking.run(service.show_queue)["length"] == 0
    looking.close()
    first.close()
    open_store(f"sqlite:///{path}").close()


@pytest.mark.parametrize("url", ["", "fleet.db", "mysql://host/x", "oracle://x", "sqlite:///\x00"])
def test_a_url_that_names_no_store(url):
    with pytest.raises(StoreUnusableError):
        open_store(url)


def test_no_password_in_a_refusal():
    pytest.importorskip("psycopg")
    with pytest.raises(FleetError) as refused:
        open_store("postgresql://user:s3cret@127.0.0.1:1/fleet")
    assert isinstance(refused.value, StoreUnavailableError)
    assert "s3cret" not in str(refused.value)


def test_a_full_disk_refuses_writes_and_stops_no_camera(path):
    rig = Rig(f"sqlite:///{path}")
    job = rig.create()
    rig.poll()
    with rig.store._engine.begin() as connection:
        pages = connection.execute(text("PRAGMA page_count")).scalar()
        connection.execute(text(f"PRAGMA max_page_count = {pages}"))
    made = 0
    with pytest.raises(StoreFullError):
        for made in range(10_000):
            rig.create(f"cam-{made}", description="x" * 500)
    assert len(rig.call(service.list_jobs, {"limit": "1000"})["jobs"]) == made + 1
    for second in range(5, 60, 5):
        rig.to(second)
        assert rig.report(job, 1, stats={"fps": 25})["verdict"] == "continue"
    assert rig.status(job) == "in_progress"
    rig.store.close()


def test_a_failing_operation_changes_nothing(path):
    rig = Rig(f"sqlite:///{path}")

    def fails(tx):
        service.create_job(tx, {"name": "a", "source": RTSP})
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        rig.call(fails)
    assert rig.call(service.list_jobs, {})["jobs"] == []
    rig.store.close()


def test_jobs_survive_a_restart(path):
    rig = Rig(f"sqlite:///{path}")
    job = rig.create(labels=["gpu"], options={"spool": True})
    shown = rig.show(job)
    rig.store.close()
    again = Rig(f"sqlite:///{path}")
    assert again.show("@a") == shown
    again.store.close()


def act(rig, chance):
    """One random step of user, handler or clock."""
    name, handler = f"cam-{chance.randrange(JOBS)}", f"h{chance.randrange(3)}"
    kind = chance.choice(
        ["create", "patch", "replace", "delete", "poll", "poll", "report", "report", "time", "restart"]
    )
    if kind == "create":
        rig.create(name, status=chance.choice(["pending", "pause"]))
    elif kind == "patch":
        rig.patch(f"@{name}", chance.choice(["pending", "pause", "cancel"]))
    elif kind == "replace":
        rig.call(service.replace_job, f"@{name}", {"name": name, "source": RTSP})
    elif kind == "delete" and chance.random() < 0.3:
        rig.call(service.delete_job, f"@{name}")
    elif kind == "poll":
        rig.poll(handler, free=chance.randrange(4), carried=[] if chance.random() < 0.1 else None)
    elif kind == "report":
        shown = rig.show(f"@{name}")
        status = chance.choice(["in_progress", "in_progress", "done", "failure", "handback"])
        rig.report(shown["id"], shown["epoch"], status, handler=shown["handler"] or handler)
    elif kind == "time":
        rig.to(rig.now + chance.choice([1, 5]))
    elif kind == "restart" and chance.random() < 0.2:
        rig.begin()


@pytest.mark.parametrize("seed", range(2))
def test_ss_46_the_log_tells_the_status_after_any_steps(seed):
    rig, chance = Rig("sqlite://", seed), random.Random(seed)
    for step in range(STEPS):
        try:
            act(rig, chance)
        except FleetError:  # refused
            continue
        if step % 50 == 0:
            assert rig.faults() == []
    assert rig.faults() == []
    rig.store.close()


def test_the_answer_is_json(path):
    rig = Rig(f"sqlite:///{path}")
    rig.create()
    answers = [rig.poll(), rig.call(service.list_handlers), rig.call(service.show_queue), rig.call(service.export_page)]
    assert json.loads(json.dumps(answers)) == answers
    with pytest.raises(ConflictError) as refused:
        rig.create()
    assert json.loads(json.dumps(refused.value.to_dict()))["error"] == "name_taken"
    rig.store.close()


@pytest.mark.timed
def test_postgres_killed_in_the_midst_of_claims(postgres):
    """Every claim that was answered is there after the crash, none is made twice, the leases are rebuilt."""
    rig = Rig(postgres.url("killed"))
    rig.call(service.put_settings, {"handout_rate": 1000, "handout_burst": 1000, "spread_s": 0})
    for number in range(60):
        rig.create(f"cam-{number}")
    answered = [job["id"] for nth in range(5) for job in rig.poll(f"h{nth}", free=3)["jobs"]]
    os.kill(postgres.postmaster, signal.SIGKILL)
    with pytest.raises(StoreUnavailableError):
        rig.poll("h9", free=3)
    postgres.start_again()
    assert len(answered) == 15
    assert {rig.status(job) for job in answered} == {"in_progress"}
    assert rig.claim("h9", 3) == []  # nothing is handed out while the rebuilt leases hold
    for nth in range(5):
        reports = [{"id": job, "epoch": 1, "status": "in_progress"} for job in answered[nth * 3 : nth * 3 + 3]]
        verdicts = rig.call(service.feedback, f"h{nth}", {"incarnation": f"h{nth}-1", "reports": reports})["verdicts"]
        assert {one["verdict"] for one in verdicts} == {"continue"}
    rig.to(21)
    assert len(rig.claim("h9", 3)) == 3
    assert rig.faults() == []
    rig.store.close()


@pytest.mark.parametrize("idle_s, is_noticed", [(0.0, True), (3600.0, False)])
def test_a_connection_that_broke_while_it_was_idle_is_replaced(postgres, monkeypatch, idle_s, is_noticed):
    """One that was in use a moment ago is not asked: then one call fails, and the next one works."""
    monkeypatch.setattr("kvspic.fleet.store.IDLE_CHECK_S", idle_s)
    name = f"idle{int(is_noticed)}"
    store, other = (open_store(url) for url in [postgres.url(name)] * 2)
    assert store.run(lambda tx: tx.now) > 0
    end = text(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = :name AND pid <> pg_backend_pid()"
    )
    with other._engine.begin() as connection:
        connection.execute(end, {"name": name})
    with contextlib.nullcontext() if is_noticed else pytest.raises(StoreUnavailableError):
        store.run(lambda tx: tx.now)
    assert store.run(lambda tx: tx.now) > 0
    for one in (store, other):
        one.close()


def test_a_database_that_ends_connections_before_they_are_used_is_one_that_does_not_answer(postgres, monkeypatch):
    """A proxy that takes connections while its database is away; the pool gives up after three."""
    store = open_store(postgres.url("gone"))

    def refuse(connection):
        raise store._engine.dialect.loaded_dbapi.OperationalError("gone")

    monkeypatch.setattr("kvspic.fleet.store.IDLE_CHECK_S", 0.0)
    monkeypatch.setattr(store._engine.dialect, "do_ping", refuse)
    assert store.run(lambda tx: tx.now) > 0  # a fresh connection takes the place of the idle one, and is not asked

    def never(*about):
        raise exc.InvalidatePoolError("gone")

    event.listen(store._engine, "checkout", never)
    with pytest.raises(StoreUnavailableError, match="try again"):
        store.run(lambda tx: tx.now)
    store.close()


def test_two_servers_that_begin_at_once_on_an_empty_database_hand_out_at_once(postgres):
    rig = Rig(postgres.url("beginning"))
    for name in "ab":
        rig.create(name)
    with rig.store._engine.begin() as connection:
        connection.execute(text("DELETE FROM fleet_leases"))

    def second(tx):
        assert tx.are_leases_lost  # so it begins before the first one has rebuilt them
        rig.claim("h1")
        return service.poll(tx, "h2", {"incarnation": "1", "slots": 1, "free": 1})

    assert [job["name"] for job in rig.call(second)["jobs"]] == ["b"]
    rig.store.close()
