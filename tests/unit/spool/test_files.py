"""The files of a spool. Goal: a write is whole or not there, and the folder is one process's."""

import errno
import os

import pytest
from unit.spool.bench import OPEN

from kvspic import errors
from kvspic.spool.files import SpoolDir, stream_folder, sync_and_close


@pytest.fixture
def folder(tmp_path):
    made = SpoolDir(tmp_path / "door")
    OPEN.append(made)
    made.create(1, b"HEAD", is_durable=True)
    return made


def content(folder, number=1):
    return folder.read(number, 0, 1000)


def test_records_are_appended_and_read(folder):
    folder.append(b"one", b"ONE")
    folder.append(b"two", bytearray(b"TWO"))
    folder.append(b"three", memoryview(b"THREE"))
    assert content(folder) == b"HEADoneONEtwoTWOthreeTHREE"
    assert folder.read(1, 4, 6) == folder.read_apart(1, 4, 6) == b"oneONE"
    assert (folder.numbers(), folder.size(1)) == ([1], 26)


def test_a_write_that_fails_in_the_middle_leaves_nothing(folder, monkeypatch):
    def half(descriptor, pieces):
        return os.write(descriptor, b"".join(map(bytes, pieces))[:4])

    def full(descriptor, data):
        if len(data) < 4:
            raise OSError(errno.ENOSPC, "No space left on device")
        return os_write(descriptor, data)

    os_write = os.write
    monkeypatch.setattr(os, "writev", half)
    monkeypatch.setattr(os, "write", full)
    with pytest.raises(OSError, match="No space"):
        folder.append(b"abc", b"defg")
    monkeypatch.undo()
    folder.append(b"x", b"y")
    assert content(folder) == b"HEADxy"


def test_a_write_that_takes_a_part_goes_on(folder, monkeypatch):
    monkeypatch.setattr(os, "writev", lambda descriptor, pieces: os.write(descriptor, bytes(pieces[0])))
    folder.append(b"head", b"payload")
    assert content(folder) == b"HEADheadpayload"


def test_a_segment_that_cannot_be_begun_is_not_there(folder, monkeypatch):
    monkeypatch.setattr(os, "write", lambda descriptor, data: 1)
    with pytest.raises(OSError, match="No space"):
        folder.create(2, b"HEAD", is_durable=False)
    monkeypatch.undo()
    assert folder.numbers() == [1]
    folder.append(b"x", b"y")
    assert content(folder) == b"HEADxy"


def test_what_is_synced_may_be_removed_meanwhile(folder):
    folder.append(b"x", b"y")
    descriptor = folder.to_sync()
    folder.create(2, b"HEAD", is_durable=True)
    folder.remove(1)
    sync_and_close(descriptor)
    assert folder.numbers() == [2]


def test_notes_take_turns(folder):
    assert folder.read_notes() == b""
    folder.write_note(1, b"b" * 64)
    folder.write_note(0, b"a" * 64)
    assert folder.read_notes() == b"a" * 64 + b"b" * 64
    folder.remove_notes()
    assert folder.read_notes() == b""


def test_the_lock_is_given_back(folder, tmp_path):
    with pytest.raises(errors.UsageError, match="in use by another stream"):
        SpoolDir(tmp_path / "door")
    folder.close()
    folder.close()
    SpoolDir(tmp_path / "door").close()


def test_each_stream_has_a_folder_of_its_own_on_every_file_system(tmp_path):
    names = ["door", "Door", "DOOR", "CON", "con", "con.h264", "a" * 256, "a" * 255 + "b", ".hidden", "end.", "a.b-c_1"]
    folders = [stream_folder(tmp_path, name) for name in names]
    assert len({folder.name.lower() for folder in folders}) == len(names)
    assert all(folder.parent == tmp_path and len(folder.name) <= 120 for folder in folders)
    assert all(folder.name.strip(".") == folder.name for folder in folders)
    assert not any(folder.name.lower().partition(".")[0] == "con" for folder in folders)
    assert (folders[0].name, folders[-1].name) == ("door", "a.b-c_1")


def test_a_folder_of_an_earlier_version_is_found(tmp_path):
    (tmp_path / "Front-Door").mkdir()
    assert stream_folder(tmp_path, "Front-Door") == tmp_path / "Front-Door"
    assert stream_folder(tmp_path, "front-door") == tmp_path / "front-door"
    assert stream_folder(tmp_path, "FRONT-DOOR").name.startswith("~front-door~")
