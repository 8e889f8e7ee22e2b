"""Real workers, a real server and the local endpoint, with everything killed, frozen and cut off at random. Goal: never
two writers in one stream, and with a spool nothing that was put is lost.

``KVSPIC_FLEET_SECONDS`` is how long each goes on (default 30, over PostgreSQL 15, with a spool 10),
``KVSPIC_FLEET_WRITERS_SECONDS`` how long the first does, ``KVSPIC_FLEET_SEED`` what happens when.
"""

import contextlib
import itertools
import os
import random
import sys
import time
from dataclasses import replace

import pytest

pytest.importorskip("sqlalchemy")
pytest.importorskip("av")

import postgres
from timed.fleet_counted import numbers_in
from timed.fleet_machines import Cut, Machine, call, check_logs, free_port, until, wait_up, worker

from kvspic.local.quotas import Quotas
from kvspic.local.server import LocalEndpoint
from kvspic.local.settings import Settings

pytestmark = pytest.mark.timed

SECONDS = os.environ.get("KVSPIC_FLEET_SECONDS")
SEED = int(os.environ.get("KVSPIC_FLEET_SEED", "1"))
LEASE_S = 2
CAMERAS = 4
ONE_EACH = replace(Quotas.off(), sessions_max=1)  # a stream takes one connection at a time, as the service's do
SOURCE = {"type": "test", "url": "testsrc:width=64,height=48,fps=10,gop=5,duration=0"}


def server(folder, port, store):
    command = [sys.executable, "-m", "kvspic", "fleet", "serve", "--store", store]
    return Machine([*command, "--listen", f"127.0.0.1:{port}"], folder / "server.log")


class Trouble:
    """Does something to one of the machines at a time, and undoes it later. ``store``: a cluster and the wire to it."""

    def __init__(self, seed, machines, wires, server, store=None):
        self._chance = random.Random(seed)
        self._machines, self._wires, self._server = machines, wires, server
        self._store, self._store_wire = store or (None, None)
        self._undo = []  # (when, what)
        self.ledger = {}

    def go_on(self, seconds):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self._undo_due()
            self._do()
            time.sleep(self._chance.uniform(0.2, 1.2))
        self.undo_all()

    def undo_all(self):
        for _, undo in self._undo:
            undo()
        self._undo.clear()
        self._server.start()

    def _bring_back_store(self):
        """A server that began meanwhile has ended, for it found no store: its supervisor starts it again."""
        self._store.start()
        self._server.start()

    def _undo_due(self):
        due = [entry for entry in self._undo if entry[0] <= time.monotonic()]
        for entry in due:
            self._undo.remove(entry)
            entry[1]()

    def _do(self):
        machine, wire = self._chance.choice(self._machines), self._chance.choice(self._wires)
        choices = {
            "worker killed": (machine.kill, machine.start, 1.0),
            "worker frozen": (machine.freeze, machine.thaw, 4.0),
            "worker cut off": (wire.cut, wire.mend, 4.0),
            "server killed": (self._server.kill, self._server.start, 1.5),
            "server frozen": (self._server.freeze, self._server.thaw, 3.0),
        }
        if self._store is not None:
            choices["store killed"] = (lambda: self._store.stop("immediate"), self._bring_back_store, 3.0)
            choices["store cut off"] = (self._store_wire.cut, self._store_wire.mend, 3.0)
        name = self._chance.choices(list(choices), [4, 4, 4, 1, 1, 2, 2][: len(choices)])[0]
        do, undo, most_s = choices[name]
        if name == "store killed" and any(what == undo for _, what in self._undo):
            return  # it is away already
        do()
        self._undo.append((time.monotonic() + self._chance.uniform(0.1, most_s), undo))
        self.ledger[name] = self.ledger.get(name, 0) + 1


def epochs(fragments):
    """(epoch, begin, end) of each fragment, in the order in which they became durable; ticks of 100 ns."""
    return [
        (int(dict(one.tags)["kvspic-epoch"].partition(".")[2]), one.producer_hns, one.producer_hns + one.duration_hns)
        for one in fragments
    ]


@contextlib.contextmanager
def fleet(tmp_path, ledgers="", *, store, **options):
    """An endpoint, a server, three workers behind wires, and cameras that are all being carried."""
    with contextlib.ExitStack() as stack:
        endpoint = stack.enter_context(
            LocalEndpoint.run_in_thread(data_dir=tmp_path / "data", settings=Settings.unlimited(quotas=ONE_EACH))
        )
        port = free_port()
        url = f"http://127.0.0.1:{port}"
        serving = stack.enter_context(server(tmp_path, port, store))
        wait_up(url)
        call(f"{url}/v1/settings", "PUT", {"lease_s": LEASE_S, "spread_s": 0})
        wires = [stack.enter_context(Cut(port)) for _ in range(3)]
        workers = [
            stack.enter_context(worker([wire.url], tmp_path, f"w{number}", endpoint=endpoint.url, ledgers=ledgers))
            for number, wire in enumerate(wires)
        ]
        names = [f"cam{number}" for number in range(CAMERAS)]
        for name in names:
            job = {"name": name, "source": SOURCE, "options": options, "autorestart": {"delay": 1}}
            call(f"{url}/v1/jobs", "POST", job)  # with a longer delay a camera rests after its third loss
        yield endpoint, url, serving, workers, wires, names


def carried(url, names):
    """Whether every camera is carried and persists now."""
    jobs = {job["name"]: job for job in call(f"{url}/v1/jobs")["jobs"]}
    return all(
        jobs[name]["status"] == "in_progress" and ((jobs[name]["stats"] or {}).get("last_persisted_age_s") or 99) < 3
        for name in names
    )


def go_on_without_a_second_writer(tmp_path, seconds, store=None, url=None):
    """Trouble for so long; then the order of the epochs of everything that is stored."""
    place = url or tmp_path / "fleet.db"
    with fleet(tmp_path, store=place) as (endpoint, url, serving, workers, wires, names):
        until(lambda: carried(url, names), "every camera is carried", 120)
        trouble = Trouble(SEED, workers, wires, serving, store)
        trouble.go_on(seconds)
        until(lambda: carried(url, names), "every camera is carried again", 120)
        assert [worker.end() for worker in workers] == [0, 0, 0]
        changes = 0
        for name in names:
            found = epochs(endpoint.fragments(name))
            order = [epoch for epoch, _, _ in found]
            assert order == sorted(order), (name, trouble.ledger, order)
            for (epoch, _, end), (after, begin, _) in itertools.pairwise(found):
                assert epoch == after or begin >= end, f"{name}: the times of epochs {epoch} and {after} overlap"
            changes += len(set(order)) - 1
        print(f"{trouble.ledger}, {changes} changes of the writer, 0 of them with a second one")
        assert changes > 0
        check_logs(place)


def test_no_fragment_of_an_old_epoch_becomes_durable_after_a_new_one(tmp_path):
    seconds = os.environ.get("KVSPIC_FLEET_WRITERS_SECONDS") or SECONDS or 30
    go_on_without_a_second_writer(tmp_path, float(seconds))


@pytest.mark.skipif(postgres.programs() is None, reason=postgres.MISSING)
def test_the_same_while_the_database_is_cut_off_or_killed_and_loses_its_leases(tmp_path):
    pytest.importorskip("psycopg")
    with postgres.cluster() as cluster, Cut(cluster.folder / ".s.PGSQL.5432") as wire:
        cluster.url("fleet")
        url = f"postgresql+psycopg://postgres@127.0.0.1:{wire.port}/fleet"
        go_on_without_a_second_writer(tmp_path, float(SECONDS or 15), (cluster, wire), url)


def test_with_a_spool_nothing_is_lost(tmp_path):
    """One worker, so that what it spooled is sent by its own successor."""
    ledgers = tmp_path / "ledgers"
    ledgers.mkdir()
    place = tmp_path / "fleet.db"
    with fleet(tmp_path, ledgers, store=place, spool=True) as (endpoint, url, serving, workers, wires, names):
        until(lambda: carried(url, names), "every camera is carried", 120)
        for other in workers[1:]:
            assert other.end() == 0
        until(lambda: carried(url, names), "every camera is carried by one", 60)
        trouble = Trouble(SEED, workers[:1], wires[:1], serving)
        trouble.go_on(float(SECONDS or 10))
        until(lambda: carried(url, names), "every camera is carried again", 120)
        put = {name: numbers_in((ledgers / name).read_bytes().splitlines()) for name in names}
        until(
            lambda: not any(lost(endpoint, put).values()), f"all that was put is stored, after {trouble.ledger}", 60, 1
        )
        assert workers[0].end() == 0
        check_logs(place)
        print(f"{trouble.ledger}, {sum(map(len, put.values()))} frames put, 0 of them lost")


def lost(endpoint, put):
    """By camera, the frames that were put and are not stored."""
    return {
        name: frames - numbers_in(block.payload for one in endpoint.fragments(name) for block in one.blocks)
        for name, frames in put.items()
    }
