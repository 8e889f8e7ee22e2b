"""What engines give a queue of long jobs: claims with none twice, renewals of leases, a crash. Run it by hand.

    python benchmarks/compare_engines.py [--jobs 10000] [--clients 8] [--batch 50]

Each engine keeps jobs in its own plainest way: SQLite and PostgreSQL in two tables (a claim writes status, epoch and a
log record in one transaction), Redis in lists and hashes by a Lua script, with an fsync for each write. An engine whose
program is not installed is left out, in words. The figures say why a fleet keeps its jobs in PostgreSQL or SQLite: both
claim and renew many times what ten thousand cameras need (2,000 renewals a second), and neither needs a second store
for what must change together. After a crash (kill -9) every claim that was answered must still be there.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Protocol

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))
import postgres

__all__: list[str] = []

SCHEMA = (
    "CREATE TABLE jobs (id INTEGER PRIMARY KEY, status TEXT, epoch INTEGER, handler TEXT)",
    "CREATE INDEX queue ON jobs (id) WHERE status = 'pending'",
    "CREATE TABLE log (job INTEGER, status TEXT, handler TEXT)",
)
LEASES = "TABLE leases (job INTEGER PRIMARY KEY, until BIGINT)"


class Client(Protocol):
    """One connection to an engine."""

    def claim(self, handler: str, count: int) -> list[int]:
        """Claim up to ``count`` jobs."""

    def renew(self, jobs: list[int], until: int) -> None:
        """Renew the leases of jobs."""


class SqliteClient:
    """Write-ahead log, fsync at each commit; leases in memory, as a fleet has them."""

    def __init__(self, path: str, lock: threading.Lock) -> None:
        self.lock = lock
        self.connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        self.connection.execute("PRAGMA synchronous = FULL")
        self.connection.execute("ATTACH ':memory:' AS volatile")
        self.connection.execute(f"CREATE {LEASES.replace('leases', 'volatile.leases')}")

    def claim(self, handler: str, count: int) -> list[int]:
        """See Client."""
        with self.lock:
            execute = self.connection.execute
            execute("BEGIN IMMEDIATE")
            query = "SELECT id FROM jobs WHERE status = 'pending' ORDER BY id LIMIT ?"
            found = [row[0] for row in execute(query, (count,))]
            rows = [(handler, job) for job in found]
            statement = "UPDATE jobs SET status = 'in_progress', epoch = epoch + 1, handler = ? WHERE id = ?"
            self.connection.executemany(statement, rows)
            self.connection.executemany("INSERT INTO log VALUES (?2, 'in_progress', ?1)", rows)
            execute("COMMIT")
        return found

    def renew(self, jobs: list[int], until: int) -> None:
        """See Client."""
        with self.lock:
            self.connection.execute("BEGIN")
            rows = [(job, until) for job in jobs]
            self.connection.executemany("INSERT OR REPLACE INTO volatile.leases VALUES (?, ?)", rows)
            self.connection.execute("COMMIT")


class PostgresClient:
    """SKIP LOCKED for claims, an UNLOGGED table for leases."""

    def __init__(self, url: str) -> None:
        import psycopg

        self.connection = psycopg.connect(url)

    def claim(self, handler: str, count: int) -> list[int]:
        """See Client."""
        statement = (
            "WITH head AS (SELECT id FROM jobs WHERE status = 'pending' ORDER BY id LIMIT %s FOR UPDATE SKIP LOCKED),"
            " made AS (UPDATE jobs SET status = 'in_progress', epoch = epoch + 1, handler = %s FROM head"
            " WHERE jobs.id = head.id RETURNING jobs.id)"
            " INSERT INTO log SELECT id, 'in_progress', %s FROM made RETURNING job"
        )
        with self.connection.transaction():
            return [row[0] for row in self.connection.execute(statement, (count, handler, handler))]

    def renew(self, jobs: list[int], until: int) -> None:
        """See Client."""
        statement = (
            "INSERT INTO leases SELECT job, %s FROM unnest(%s::integer[]) AS given (job)"
            " ON CONFLICT (job) DO UPDATE SET until = excluded.until"
        )
        with self.connection.transaction():
            self.connection.execute(statement, (until, jobs))


class RedisClient:
    """A list as the queue, a hash for each job, a list as the log; one Lua script is one transaction."""

    CLAIM = """
local found = redis.call('LPOP', 'queue', ARGV[2]) or {}
for _, job in ipairs(found) do
    redis.call('HSET', 'job:' .. job, 'status', 'in_progress', 'handler', ARGV[1])
    redis.call('HINCRBY', 'job:' .. job, 'epoch', 1)
    redis.call('RPUSH', 'log', job .. ' in_progress ' .. ARGV[1])
end
return found"""

    def __init__(self, path: str) -> None:
        import redis

        self.connection: Any = redis.Redis(unix_socket_path=path)
        self.script = self.connection.register_script(self.CLAIM)

    def claim(self, handler: str, count: int) -> list[int]:
        """See Client."""
        return [int(job) for job in self.script(args=[handler, count])]

    def renew(self, jobs: list[int], until: int) -> None:
        """See Client."""
        self.connection.hset("leases", mapping={str(job): until for job in jobs})


class Engine(Protocol):
    """An engine with ``jobs`` pending jobs."""

    name: str

    def client(self) -> Client:
        """Return a new connection."""

    def crash(self) -> None:
        """Kill the engine and start it again; nothing for one that lies in the process."""


class Sqlite:
    """A file."""

    name = "SQLite"

    def __init__(self, folder: Path, jobs: int) -> None:
        self.path, self.lock = str(folder / "jobs.db"), threading.Lock()
        with contextlib.closing(sqlite3.connect(self.path)) as connection:
            connection.execute("PRAGMA journal_mode = WAL")
            for statement in SCHEMA:
                connection.execute(statement)
            connection.executemany("INSERT INTO jobs VALUES (?, 'pending', 0, NULL)", ((n,) for n in range(jobs)))
            connection.commit()

    def client(self) -> Client:
        """See Engine."""
        return SqliteClient(self.path, self.lock)

    def crash(self) -> None:
        """See Engine."""


class Postgres:
    """A cluster with fsync."""

    name = "PostgreSQL"

    def __init__(self, cluster: postgres.Cluster, jobs: int) -> None:
        self.cluster = cluster
        self.url = cluster.url("engines").replace("+psycopg", "")
        import psycopg

        with psycopg.connect(self.url) as connection:
            for statement in (*SCHEMA, f"CREATE UNLOGGED {LEASES}"):
                connection.execute(statement)
            connection.execute(f"INSERT INTO jobs SELECT n, 'pending', 0 FROM generate_series(0, {jobs - 1}) AS n")

    def client(self) -> Client:
        """See Engine."""
        return PostgresClient(self.url)

    def crash(self) -> None:
        """See Engine."""
        os.kill(self.cluster.postmaster, signal.SIGKILL)
        self.cluster.start_again()


class Redis:
    """A server with an append-only file, fsync for each write."""

    name = "Redis"

    def __init__(self, folder: Path, jobs: int) -> None:
        self.folder, self.socket = folder, str(folder / "redis.sock")
        self.start()
        connection = RedisClient(self.socket).connection
        for first in range(0, jobs, 1000):
            connection.rpush("queue", *range(first, min(first + 1000, jobs)))

    def start(self) -> None:
        """Start the server and wait for it."""
        options = f"--port 0 --unixsocket {self.socket} --appendonly yes --appendfsync always --dir {self.folder}"
        self.process = subprocess.Popen(["redis-server", *options.split()], stdout=subprocess.DEVNULL)
        for _ in range(100):
            with contextlib.suppress(Exception):
                RedisClient(self.socket).connection.ping()
                return
            time.sleep(0.1)
        sys.exit("redis-server does not answer")

    def client(self) -> Client:
        """See Engine."""
        return RedisClient(self.socket)

    def crash(self) -> None:
        """See Engine."""
        self.process.kill()
        self.process.wait()
        self.start()


def engines(stack: contextlib.ExitStack, jobs: int) -> Iterator[Engine]:
    """The engines that are installed."""
    yield Sqlite(Path(stack.enter_context(tempfile.TemporaryDirectory())), jobs)
    if postgres.programs() is not None:
        yield Postgres(stack.enter_context(postgres.cluster(is_durable=True)), jobs)
    else:
        print(f"PostgreSQL: left out, {postgres.MISSING}")
    try:
        import redis  # noqa: F401
    except ImportError:
        print("Redis: left out, its client is not installed (pip install redis)")
        return
    if shutil.which("redis-server") is None:
        print("Redis: left out, it is not installed (Debian: apt install redis-server)")
        return
    found = Redis(Path(stack.enter_context(tempfile.TemporaryDirectory())), jobs)
    stack.callback(found.process.kill)
    yield found


def in_threads(clients: list[Client], work: Callable[[int, Client], None]) -> float:
    """Let each client work in a thread of its own; return the seconds it took."""
    threads = [threading.Thread(target=work, args=pair) for pair in enumerate(clients)]
    began = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return time.perf_counter() - began


def compare(engine: Engine, jobs: int, count: int, batch: int) -> str:
    """Measure one engine; return its line."""
    clients = [engine.client() for _ in range(count)]
    claimed: list[list[int]] = [[] for _ in clients]

    def claim(nth: int, client: Client) -> None:
        while found := client.claim(f"h{nth}", batch):
            claimed[nth] += found

    def renew(nth: int, client: Client) -> None:
        for first in range(0, len(claimed[nth]), batch):
            client.renew(claimed[nth][first : first + batch], 1)

    claims_s = in_threads(clients, claim)
    every = sorted(job for part in claimed for job in part)
    if every != list(range(jobs)):
        sys.exit(f"{engine.name}: {len(every)} claims of {len(set(every))} jobs, there are {jobs}")
    renewals_s = in_threads(clients, renew)
    began = time.perf_counter()
    engine.crash()
    back_s = time.perf_counter() - began
    left = engine.client().claim("after", batch)
    if left:
        sys.exit(f"{engine.name}: {len(left)} claims that were answered are gone after the crash")
    return f"{engine.name:<12}{jobs / claims_s:>12,.0f}{jobs / renewals_s:>14,.0f}{back_s:>16.1f}"


def main() -> None:
    """Compare what is installed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, default=10_000)
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--batch", type=int, default=50)
    asked = parser.parse_args()
    with contextlib.ExitStack() as stack:
        print(f"{'engine':<12}{'claims/s':>12}{'renewals/s':>14}{'back after, s':>16}")
        for engine in engines(stack, asked.jobs):
            print(compare(engine, asked.jobs, asked.clients, asked.batch), flush=True)


if __name__ == "__main__":
    main()
