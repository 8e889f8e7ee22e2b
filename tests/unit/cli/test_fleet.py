"""``kvspic fleet``. Goal: an operator gets along with the command line alone, and each error names cause and remedy."""

import io
import json
import sqlite3
import subprocess
import sys
from dataclasses import replace
from datetime import datetime, timezone

import pytest

pytest.importorskip("sqlalchemy")
pytest.importorskip("aiohttp")
pytest.importorskip("yaml")
from rich.console import Console
from unit.cli.commands import started
from unit.fleet.rest import Wire, serving

from kvspic.commands import fleet_client, fleet_top
from kvspic.commands.fleet import COMMANDS
from kvspic.fleet.auth import read_tokens
from kvspic.fleet.calls import Job

TOKEN = "a" * 24
NEWER = "UPDATE fleet_meta SET value = '999' WHERE name = 'schema_version'"


@pytest.fixture
def server(monkeypatch):
    with serving() as running:
        monkeypatch.setenv("KVSPIC_FLEET", running.url)
        yield running


@pytest.fixture
def fleet(run, server):
    return lambda *words: run("fleet", *words)


def lines(ran):
    return [json.loads(line) for line in ran.out.splitlines()]


def test_every_command_has_a_help_that_names_its_options(run):
    assert run("fleet", "--help").code == 0
    for name in COMMANDS:
        ran = run("fleet", name, "--help")
        assert ran.code == 0, name
        assert "Usage: kvspic fleet" in ran.out


def test_a_camera_from_add_to_delete(fleet):
    words = [
        "--group",
        "yard",
        "--label",
        "gpu",
        "--option",
        "spool=true",
        "--autorestart",
        "delay=30",
        "--secret",
        "door",
    ]
    added = fleet("add", "cam", "rtsp://10.0.0.9/1", *words, "--json").json
    assert (added["status"], added["labels"], added["source"]["secret"]) == ("pending", ["gpu"], "door")
    assert (added["options"]["spool"], added["autorestart"]["delay"]) == (True, 30)
    assert fleet("pause", "cam").out == "cam is pause\n"
    assert fleet("resume", "cam", "--json").json["status"] == "pending"
    assert "cam   pending" in fleet("list").out
    assert fleet("list", "--group", "gate", "--json").out == ""
    assert [one["name"] for one in lines(fleet("list", "--json"))] == ["cam"]
    shown = fleet("show", "cam").out
    assert "rtsp rtsp://10.0.0.9/1" in shown
    assert "0 of 10 attempts" in shown
    assert fleet("replace", "cam", "test", "--paused", "--json").json["version"] == 2
    assert [one["status"] for one in lines(fleet("logs", "cam", "--json"))][-2:] == ["restart", "pause"]
    assert "restart      replace      user    epoch 0" in fleet("logs", "cam").out
    assert fleet("delete", "cam").out == "cam is deleted\n"
    assert fleet("logs", added["id"]).out.count("\n") == 6
    assert fleet("show", "cam").code == 5


def test_what_was_done_and_what_was_refused_of_several(fleet):
    fleet("add", "a", "test")
    ran = fleet("pause", "a", "b")
    assert (ran.code, ran.out) == (1, "a is pause\n")
    assert "There is no job '@b'" in ran.err
    assert fleet("pause", "b").code == 5
    assert fleet("pause").code == fleet("pause", "a", "--group", "x").code == 2


def test_a_group(fleet):
    for name in ("a", "b"):
        fleet("add", name, "test", "--group", "yard")
    fleet("pause", "a")
    ran = fleet("pause", "--group", "yard")
    assert ran.out.startswith("1 of the group yard are pause now; ")
    assert fleet("delete", "--group", "yard", "--yes").out == "a is deleted\nb is deleted\n"


def test_apply_a_file(fleet, tmp_path):
    file = tmp_path / "cameras.yaml"
    file.write_text("cameras: [{name: a, source: test}, {name: b, source: 'rtsp://10.0.0.9/1'}]")
    assert fleet("apply", file, "--dry-run").out.startswith("2 would be created, 0 would be replaced")
    assert fleet("list", "--json").out == ""
    assert fleet("apply", file, "--group", "yard", "--json").json == {
        "created": 2, "replaced": 0, "unchanged": 0, "deleted": 0,
    }  # fmt: skip
    file.write_text("cameras: [{name: a, source: test}]")
    assert fleet("apply", file, "--group", "yard", "--prune", "--json").json["deleted"] == 1
    file.write_text("cameras: []")
    assert fleet("apply", file, "--prune", "--yes", "--json").json["deleted"] == 1


@pytest.mark.parametrize(
    "text, words",
    [
        ("", "has no list of cameras"),
        ("cameras: &a [*a]", "contains itself"),
        ("cameras: [{name: a, source: 'http://x'}]", "No worker carries a source of the scheme http://"),
        ("cameras: [{name: a, source: x}, {name: b, source: y, stream: a}]", "both send into the stream 'a'"),
        ("#" * (4 * 1024 * 1024 + 1), "at most 4194304"),
        ("cameras: [{name: a, source: x, colour: red}]", "jobs[0].colour"),
    ],
)
def test_a_wrong_file_is_a_sentence_and_nothing_is_done(fleet, tmp_path, text, words):
    file = tmp_path / "cameras.yaml"
    file.write_text(text)
    ran = fleet("apply", file)
    assert (ran.code, ran.out) == (2, "")
    assert words in ran.err
    assert fleet("list", "--json").out == ""


def test_workers_and_settings(fleet, server):
    with Wire(server.url) as wire:
        wire.poll("gw-1", host="m1")
    assert "gw-1    ready  0 of 10" in fleet("handlers").out
    assert fleet("drain", "gw-1").out == "gw-1 is draining and carries 0\n"
    assert fleet("undrain", "gw-1", "--json").json["state"] == "ready"
    assert fleet("drain", "absent").code == 5
    assert fleet("settings", "lease_s=60", "--json").json["lease_s"] == 60
    assert "handout_rate     100" in fleet("settings").out
    assert (
        fleet("settings", "lease_s=1").code == fleet("settings", "lease_s").code == fleet("settings", "x=y").code == 2
    )
    assert fleet("rebalance", "--max", "5").out == "0 cameras move\n"


def test_top_shows_what_needs_a_person_first(fleet, server):
    fleet("add", "good", "test")
    fleet("add", "bad", "test")
    with Wire(server.url) as wire:
        wire("PUT", "/v1/settings", {"spread_s": 0})
        jobs = {job["name"]: job for job in wire.poll()["jobs"]}
        wire.report(jobs["bad"]["id"], 1, "failure", error={"class": "access_denied", "text": "no [red]keys[/red]"})
    seen = fleet("top", "--once").out
    assert "failure 1   pending 0   in_progress 1" in seen
    assert seen.index("bad ") < seen.index("good ")
    assert "access_denied: no [red]keys[/red]" in seen
    assert fleet("top", "--json").json["counts"]["failure"] == 1


def test_a_camera_whose_pictures_do_not_arrive_is_never_green():
    stats = {"health": False, "source": "ok", "reason": "the service is away", "fps": 0.0}
    dead = Job(id="1", name="cam", status="in_progress", stream="cam", source={}, version=1, epoch=1, stats=stats)
    alive = replace(dead, name="other", stats={**stats, "health": True, "reason": ""})
    assert fleet_client.health(dead) == "the service is away, 0 fps"
    assert fleet_client.health(alive) == "ok, 0 fps"
    shown = io.StringIO()
    picture = fleet_top.picture(fleet_top.Look({}, (), (dead, alive)), datetime.now(timezone.utc))
    Console(file=shown, force_terminal=True, width=120).print(picture)
    rows = [line for line in shown.getvalue().splitlines() if "fps" in line]
    assert ["\x1b[32m" in row for row in rows] == [False, True]


def test_top_keeps_the_names_where_the_terminal_is_narrow(fleet, server, monkeypatch):
    monkeypatch.setenv("COLUMNS", "70")
    fleet("add", "front-door", "test")
    with Wire(server.url) as wire:
        job = wire.poll()["jobs"][0]
        wire.report(job["id"], 1, "failure", error={"class": "access_denied", "text": "long " * 40})
    rows = [line for line in fleet("top", "--once").out.splitlines() if line.startswith("front-door  failure")]
    assert len(rows) == 1
    assert len(rows[0]) <= 70


def test_follow_prints_what_comes(fleet, server):
    fleet("add", "cam", "test")
    with started("fleet", "logs", "cam", "--follow") as following:
        assert "pending" in following.stdout.readline()
        fleet("pause", "cam")
        assert "pause" in following.stdout.readline()


def test_no_server_is_exit_code_4(run, monkeypatch):
    monkeypatch.setenv("KVSPIC_FLEET", "http://127.0.0.1:9")
    ran = run("fleet", "list")
    assert ran.code == 4
    assert "start one with `kvspic fleet serve`" in ran.err
    assert run("fleet", "list", "--server", "fleet:8090").code == 2


def test_a_token_comes_from_a_file_or_the_environment(run, monkeypatch, tmp_path):
    with serving(tokens=read_tokens(f"{TOKEN} admin")) as server:
        monkeypatch.setenv("KVSPIC_FLEET", server.url)
        ran = run("fleet", "list")
        assert ran.code == 5
        assert "--token-file" in ran.err
        (tmp_path / "token").write_text(f"{TOKEN}\n")
        assert run("fleet", "list", "--token-file", tmp_path / "token").code == 0
        assert run("fleet", "list", "--token-file", tmp_path / "missing").code == 2
        monkeypatch.setenv("KVSPIC_FLEET_TOKEN", TOKEN)
        assert run("fleet", "list").code == 0


# The store.


def test_serve_says_its_address_and_keeps_what_it_was_given(run, tmp_path, monkeypatch):
    store = tmp_path / "fleet.db"
    words = ["fleet", "serve", "--store", store, "--listen", "127.0.0.1:0"]
    with started(*words) as process:
        url = process.stdout.readline().split()[-1]
        monkeypatch.setenv("KVSPIC_FLEET", url)
        assert run("fleet", "add", "cam", "test").code == 0
        second = run(*words)
        assert second.code == 6
        assert "in use by another server" in second.err
        assert run("fleet", "check", "--store", store, "--json").json == {"jobs": 1, "faults": []}
        process.terminate()
        assert process.wait(30) == 0
    file = tmp_path / "fleet.jsonl"
    assert run("fleet", "export", file, "--store", store).code == 0
    assert file.stat().st_mode & 0o077 == 0
    assert run("fleet", "export", file, "--store", store).code == 2
    other = tmp_path / "other.db"
    assert run("fleet", "import", file, "--store", other).code == 0
    assert run("fleet", "import", file, "--store", other).code == 2
    assert run("fleet", "check", "--store", other, "--json").json == {"jobs": 1, "faults": []}


def test_check_finds_a_log_that_does_not_lead_to_the_status(run, tmp_path):
    store = tmp_path / "fleet.db"
    with serving(f"sqlite:///{store}") as server, Wire(server.url) as wire:
        wire.create("cam")
    with sqlite3.connect(store) as database:
        database.execute("UPDATE fleet_jobs SET status = 'done'")
    database.close()
    ran = run("fleet", "check", "--store", store)
    assert ran.code == 1
    assert "1 cameras, 1 faults" in ran.out


@pytest.mark.parametrize(
    "make, words",
    [
        (lambda path: path.write_bytes(b"no database at all, but long enough to be looked at" * 40), "cannot be used"),
        (lambda path: _script(path, "CREATE TABLE jobs (id)"), "holds other tables"),
        (lambda path: _script(path, NEWER, is_ours=True), "newer"),
        (lambda path: path.mkdir(), "cannot be used"),
    ],
)
def test_a_store_that_is_none_of_ours_is_exit_code_6(run, tmp_path, make, words):
    path = tmp_path / "fleet.db"
    make(path)
    ran = run("fleet", "serve", "--store", path, "--listen", "127.0.0.1:0")
    assert (ran.code, ran.out) == (6, "")
    assert str(path) in ran.err
    assert words in ran.err


def _script(path, text, *, is_ours=False):
    if is_ours:
        from kvspic.fleet.store import open_store

        open_store(f"sqlite:///{path}").close()
    database = sqlite3.connect(path)
    with database:
        database.execute(text)
    database.close()


def test_what_is_wrong_with_the_options_of_serve(run, tmp_path):
    (tmp_path / "tokens").write_text("short admin")
    store = ["--store", tmp_path / "fleet.db"]
    cases = [
        (["--listen", "8090"], "HOST:PORT"),
        (["--listen", "0.0.0.0:0"], "--tokens"),
        (["--tokens", tmp_path / "tokens"], "Line 1: a token has 16"),
        (["--tokens", tmp_path / "missing"], "cannot be read"),
        (["--tls-cert", tmp_path / "x"], "belong together"),
        (["--tls-cert", tmp_path / "x", "--tls-key", tmp_path / "y"], "cannot be used"),
    ]
    for words, said in cases:
        ran = run("fleet", "serve", *store, *words)
        assert ran.code == 2, words
        assert said in ran.err
    assert run("fleet", "serve", "--store", "mysql://host/name").code == 6
    assert run("fleet", "check", "--store", tmp_path / "missing.db").code == 6


def test_a_worker_that_another_server_refuses_ends_with_5(run, tmp_path):
    with serving(tokens=read_tokens(f"{TOKEN} admin")) as server:
        (tmp_path / "token").write_text("wrong" * 5)
        words = ["--server", server.url, "--token-file", tmp_path / "token", "--spool", tmp_path / "spool"]
        with started("fleet", "worker", *words) as process:
            assert process.wait(60) == 5
            assert "This token is not known here" in (said := process.stderr.read())
            assert "check --token-file" in said


def test_a_worker_whose_name_is_taken_on_this_machine_says_so_and_ends_with_4(run, server, tmp_path, monkeypatch):
    from kvspic.fleet.identity import NameLock, state_folder

    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    words = ["fleet", "worker", "--server", server.url, "--name", "gate", "--spool", tmp_path / "spool"]
    lock = NameLock(state_folder(), "gate")
    ran = run(*words)
    lock.close()
    assert ran.code == 4
    assert "give this one another --name" in ran.err


def test_prune_without_a_group_asks_and_deletes_nothing_without_a_yes(fleet, tmp_path):
    for name in ("one", "two", "three"):
        fleet("add", name, "test", "--group", name)
    file = tmp_path / "cameras.yaml"
    file.write_text("cameras: [{name: one, source: test, group: one}]")
    assert fleet("apply", file, "--prune", "--dry-run", "--json").json["deleted"] == 2
    refused = fleet("apply", file, "--prune")
    assert refused.code == 2
    assert "2 cameras of all groups" in refused.err
    assert "--yes" in refused.err
    assert len(lines(fleet("list", "--json"))) == 3
    assert fleet("apply", file, "--prune", "--yes", "--json").json["deleted"] == 2
    assert fleet("apply", file, "--prune").code == 0  # nothing to delete, nothing to ask


@pytest.mark.parametrize("answer, deleted", [("n\n", 0), ("\n", 0), ("y\n", 1)])
def test_at_a_terminal_prune_asks(fleet, tmp_path, monkeypatch, answer, deleted):
    import click

    from kvspic.commands import fleet_jobs

    asked = []

    def confirm(text, **options):
        asked.append(text)
        if not answer.startswith("y"):
            raise click.Abort
        return True

    monkeypatch.setattr(fleet_jobs.sys, "stdin", type("Terminal", (), {"isatty": lambda self: True})())
    monkeypatch.setattr(fleet_jobs.click, "confirm", confirm)
    fleet("add", "one", "test")
    file = tmp_path / "cameras.yaml"
    file.write_text("cameras: []")
    fleet("apply", file, "--prune")
    assert asked == [f"1 camera of all groups that {file} does not have would be deleted. Go on?"]
    assert len(lines(fleet("list", "--json"))) == 1 - deleted


def test_a_worker_says_in_json_what_it_is_and_how_it_ended(run, server, tmp_path, monkeypatch):
    from kvspic.fleet import processes

    monkeypatch.setattr(processes, "run_worker", lambda *args, **options: 4)
    ran = run("fleet", "worker", "--server", server.url, "--name", "gate", "--slots", "3", "--json")
    assert ran.code == 4
    assert lines(ran) == [
        {"handlers": ["gate"], "slots": 3, "labels": [], "servers": [server.url]},
        {"exit_code": 4},
    ]


def test_a_worker_and_a_client_load_no_database_and_a_client_no_loop():
    code = "import sys, kvspic.fleet as f; f.{0}; print(*[n for n in {1!r} if n in sys.modules])"
    for name, absent in (("run_worker", ["sqlalchemy", "psycopg"]), ("FleetClient", ["sqlalchemy", "asyncio", "av"])):
        ran = subprocess.run(
            [sys.executable, "-c", code.format(name, absent)], capture_output=True, text=True, check=True
        )
        assert ran.stdout.split() == []
