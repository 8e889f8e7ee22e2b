"""A PostgreSQL cluster of the tests' own, in a temporary folder, reached through a Unix socket only.

A test process that is killed stops no cluster. It holds a lock in its cluster's folder until it ends, however it ends;
who makes a cluster first stops those whose lock is free.
"""

import fcntl
import os
import shutil
import signal
import subprocess
import tempfile
import time
from contextlib import contextmanager, suppress
from pathlib import Path

PREFIX = "kvspic-pg-"
OWNER = "owner"  # in a cluster's folder: the file that its process has locked
MISSING = "PostgreSQL is not installed (Debian: apt install postgresql)"


def programs() -> Path | None:
    """The folder of initdb and pg_ctl, or None."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: float(path.parts[-3]))
    on_path = shutil.which("initdb")
    return found[-1].parent if found else Path(on_path).parent if on_path else None


class Cluster:
    """A running cluster. ``url(name)`` is a new database's, for SQLAlchemy."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.data = folder / "data"
        self.bin = programs()
        self.user = "postgres" if os.geteuid() == 0 else None

    def command(self, name: str, *arguments: str) -> str:
        """Run a program of PostgreSQL as the user who may."""
        environment = {
            "PATH": os.environ["PATH"],
            "LC_ALL": "C.UTF-8",
            "PGHOST": str(self.folder),
            "PGUSER": "postgres",
        }
        ran = subprocess.run(
            [str(self.bin / name), *arguments], user=self.user, cwd="/", env=environment, check=False,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=120,
        )  # fmt: skip
        assert ran.returncode == 0, ran.stdout
        return ran.stdout

    def make(self, is_durable: bool) -> None:
        """Make the cluster's files; without ``is_durable`` a crash of the machine may lose data, one of it does not."""
        if self.user:
            shutil.chown(self.folder, self.user)
        self.command("initdb", "-D", str(self.data), "-U", "postgres", "--auth=trust", "-E", "UTF8", "--no-sync")
        settings = f"listen_addresses = ''\nunix_socket_directories = '{self.folder}'\n"
        settings += f"shared_buffers = 32MB\nfsync = {'on' if is_durable else 'off'}\n"
        with open(self.data / "postgresql.conf", "a", encoding="utf-8") as file:
            file.write(settings)

    def start(self) -> None:
        """Start the server and wait until it answers."""
        log = self.folder / "log"
        log.touch()
        if self.user:
            shutil.chown(log, self.user)
        self.command("pg_ctl", "start", "-D", str(self.data), "-l", str(log), "-w", "-t", "60")

    def start_again(self) -> None:
        """Start after the server was killed, once the last of its processes has ended."""
        for left in reversed(range(20)):
            (self.data / "postmaster.pid").unlink(missing_ok=True)
            try:
                return self.start()
            except AssertionError:
                if not left:
                    raise
                time.sleep(0.5)
        return None

    def stop(self, mode: str = "fast") -> None:
        """Stop the server; ``immediate`` is as good as a crash."""
        self.command("pg_ctl", "stop", "-D", str(self.data), "-m", mode, "-w")

    def kill(self) -> None:
        """SIGKILL for the server and all of its processes."""
        postmaster = self.postmaster
        backends = Path(f"/proc/{postmaster}/task/{postmaster}/children").read_text().split()
        for pid in (postmaster, *map(int, backends)):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def remove(self) -> None:
        """Stop the server, if it runs, and remove the files."""
        try:
            if (self.data / "postmaster.pid").exists():
                self.stop("immediate")
        finally:
            shutil.rmtree(self.folder, ignore_errors=True)

    @property
    def postmaster(self) -> int:
        """The process id of the server."""
        return int((self.data / "postmaster.pid").read_text().split()[0])

    def url(self, name: str) -> str:
        """Make a database; return its URL for SQLAlchemy."""
        self.command("createdb", name)
        return f"postgresql+psycopg://postgres@/{name}?host={self.folder}"


@contextmanager
def cluster(is_durable=False):
    """A running cluster in a folder of its own, stopped and removed at the end."""
    remove_abandoned()
    folder = Path(tempfile.mkdtemp(prefix=PREFIX))
    folder.chmod(0o755)
    made = Cluster(folder)
    with open(folder / "owner.new", "wb") as owner:
        fcntl.flock(owner, fcntl.LOCK_EX)
        Path(owner.name).rename(folder / OWNER)  # it is never seen without its lock
        try:
            made.make(is_durable)
            made.start()
            yield made
        finally:
            made.remove()


def remove_abandoned(parent=None):
    """Stop and remove the clusters in a folder (the one for temporary files) whose test process has ended."""
    for path in Path(parent or tempfile.gettempdir()).glob(f"{PREFIX}*/{OWNER}"):
        try:
            with open(path, "rb") as owner:
                fcntl.flock(owner, fcntl.LOCK_EX | fcntl.LOCK_NB)
                Cluster(path.parent).remove()
        except (OSError, AssertionError):
            continue  # in use, another user's, or removed meanwhile by another test process
