"""Files where the systems differ. Goal: "on the disk" is true on macOS, and Windows' open files are removed later."""

import fcntl
import os
from pathlib import Path

import pytest

from kvspic.disk import Removals, sync, sync_names, write_all

F_FULLFSYNC = 51  # of macOS


@pytest.fixture
def asked(monkeypatch):
    """What a system with F_FULLFSYNC is asked for."""
    calls = []
    monkeypatch.setattr(fcntl, "F_FULLFSYNC", F_FULLFSYNC, raising=False)
    monkeypatch.setattr(fcntl, "fcntl", lambda descriptor, command: calls.append(command))
    monkeypatch.setattr(os, "fdatasync", lambda descriptor: calls.append("fdatasync"))
    return calls


def test_macos_is_asked_to_empty_the_drives_cache(asked, tmp_path):
    with open(tmp_path / "a", "wb") as file:
        sync(file.fileno())
    sync_names(tmp_path)
    assert asked == [F_FULLFSYNC, F_FULLFSYNC]


def test_a_file_system_without_it_gets_what_it_has(asked, tmp_path, monkeypatch):
    def refuse(descriptor, command):
        raise OSError(45, "Operation not supported")

    monkeypatch.setattr(fcntl, "fcntl", refuse)
    with open(tmp_path / "a", "wb") as file:
        sync(file.fileno())
    assert asked == ["fdatasync"]


def test_elsewhere_the_data_is_synced(tmp_path, monkeypatch):
    synced = []
    monkeypatch.delattr(fcntl, "F_FULLFSYNC", raising=False)
    monkeypatch.setattr(os, "fdatasync", synced.append)
    with open(tmp_path / "a", "wb") as file:
        sync(file.fileno())
        assert synced == [file.fileno()]


class OpenFiles:
    """Path.unlink as Windows does it for files that are open."""

    def __init__(self, monkeypatch, winerror=32):
        self.names, self.winerror, self.unlink = set(), winerror, Path.unlink
        monkeypatch.setattr(Path, "unlink", lambda path, missing_ok=False: self.remove(path, missing_ok))

    def remove(self, path, missing_ok):
        if path.name in self.names:
            error = PermissionError(13, "The file is used by another process")
            error.winerror = self.winerror
            raise error
        self.unlink(path, missing_ok)


@pytest.mark.parametrize("winerror", [5, 32])
def test_a_file_that_is_open_is_removed_with_a_later_one(tmp_path, monkeypatch, winerror):
    (tmp_path / "a").touch()
    (tmp_path / "b").touch()
    windows, removals = OpenFiles(monkeypatch, winerror), Removals()
    windows.names.add("a")
    removals.remove(tmp_path / "a")
    assert (tmp_path / "a").exists()
    windows.names.clear()
    removals.remove(tmp_path / "b")
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_may_not_be_removed_is_an_error_once(tmp_path, monkeypatch):
    windows, removals = OpenFiles(monkeypatch, winerror=None), Removals()
    windows.names.add("a")
    with pytest.raises(PermissionError):
        removals.remove(tmp_path / "a")
    removals.remove(tmp_path / "b")


@pytest.mark.parametrize("count", [0, 1, 3, 100])
@pytest.mark.parametrize("at_once", [1 << 20, 7], ids=["whole", "short writes"])
def test_pieces_are_written_in_order_and_whole(tmp_path, monkeypatch, count, at_once):
    pieces = [bytes([number]) * (number % 5) for number in range(count)]
    monkeypatch.setattr(os, "writev", lambda descriptor, found: os.write(descriptor, b"".join(found)[:at_once]))
    with open(tmp_path / "file", "wb", buffering=0) as file:
        write_all(file, pieces)
    assert (tmp_path / "file").read_bytes() == b"".join(pieces)


def test_a_system_without_gathering_writes_gets_one_piece(tmp_path, monkeypatch):
    """Windows, PyPy."""
    monkeypatch.delattr(os, "writev")
    with open(tmp_path / "file", "wb", buffering=0) as file:
        write_all(file, [b"one", b"two"])
    assert (tmp_path / "file").read_bytes() == b"onetwo"


def test_a_file_of_many_pieces_is_written_by_the_system(tmp_path):
    with open(tmp_path / "file", "wb", buffering=0) as file:
        write_all(file, [b"one", b"", b"two"])
    assert (tmp_path / "file").read_bytes() == b"onetwo"
