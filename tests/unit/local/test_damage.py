"""Damage on the disk. Goal: bytes that have changed are never given out in silence; a start and ``--check`` name the
file and say what to do."""

import contextlib
import json
import logging
import sqlite3

import pytest
from botocore.exceptions import ClientError
from unit.local import mkv_bytes as mkv
from unit.local.aws import client
from unit.local.raw_client import put
from unit.local.test_app import media_of, numbers

from kvspic.local.check import check
from kvspic.local.checksums import fragment_ranges
from kvspic.local.errors import DataDirLockedError, StoreError
from kvspic.local.server import LocalEndpoint
from kvspic.local.settings import Settings
from kvspic.local.store import Store

EARLIEST = {"StartSelectorType": "EARLIEST"}
FORMAT_1 = """
CREATE TABLE streams(stream_id INTEGER PRIMARY KEY, fragment_count INTEGER NOT NULL, record TEXT NOT NULL);
CREATE TABLE sessions(
    session_id INTEGER PRIMARY KEY, stream_id INTEGER NOT NULL, is_open INTEGER NOT NULL DEFAULT 1,
    ebml_size INTEGER, segment_offset INTEGER, header_end INTEGER);
CREATE TABLE fragments(
    seq INTEGER PRIMARY KEY AUTOINCREMENT, stream_id INTEGER NOT NULL, session_id INTEGER NOT NULL,
    number TEXT NOT NULL, timecode INTEGER NOT NULL, producer_hns INTEGER NOT NULL, server_hns INTEGER NOT NULL,
    duration_hns INTEGER NOT NULL, start INTEGER NOT NULL, size INTEGER NOT NULL, tags TEXT NOT NULL);
CREATE TABLE counters(name TEXT PRIMARY KEY, value INTEGER NOT NULL);
"""


def body(count=3):
    """Fragments with a tag of their own each."""
    parts = [mkv.tags((f"tag{i}", "value")) + mkv.cluster(mkv_time(i), mkv.block()) + mkv.END for i in range(count)]
    return mkv.header() + b"".join(parts)


def mkv_time(i):
    return 1_600_000_000_000 + i * 1000


@pytest.fixture
def data(endpoint, tmp_path, camera):
    """The running endpoint's directory, with three fragments of one upload."""
    put(endpoint.url, body())
    return tmp_path / "data"


def media_file(data):
    (path,) = (data / "media").glob("*.mkv")
    return path


def flip(path, offset):
    with open(path, "r+b") as file:
        file.seek(offset)
        byte = file.read(1)[0]
        file.seek(offset)
        file.write(bytes([byte ^ 4]))


def rows_of(data):
    with contextlib.closing(sqlite3.connect(data / "index.sqlite3")) as db:
        return db.execute("SELECT number, start, size, tags FROM fragments ORDER BY seq").fetchall()


def edit(data, *statements):
    with contextlib.closing(sqlite3.connect(data / "index.sqlite3")) as db:
        for statement in statements:
            db.execute(statement)
        db.commit()


def findings(data):
    lines = []
    report = check(data, lines.append)
    return report, lines


@pytest.fixture
def stopped(tmp_path):
    """The directory of an endpoint that has ended, with three fragments."""
    path = tmp_path / "data"
    with LocalEndpoint.run_in_thread(data_dir=path, settings=Settings.unlimited()) as running:
        control = client("kinesisvideo", running.url)
        control.create_stream(StreamName="cam", DataRetentionInHours=24)
        control.close()
        put(running.url, body())
    return path


# What is given out.


@pytest.mark.parametrize("where", ["cluster", "tags"])
def test_a_flipped_bit_leaves_its_fragment_out_of_get_media(data, media, where, caplog):
    (first, *_), (second, start, size, tags), (third, *_) = rows_of(data)
    flip(media_file(data), start + size - 1 if where == "cluster" else json.loads(tags)[0][0] + 30)
    for _ in range(2):
        _, found = media_of(media.get_media(StreamName="cam", StartSelector=EARLIEST))
        assert numbers(found) == [first, third]
    said = [record.message for record in caplog.records if second in record.message]
    assert len(said) == 1
    assert str(media_file(data)) in said[0]


def test_a_flipped_bit_in_the_header_leaves_the_whole_upload_out(data, media):
    flip(media_file(data), 45)
    assert media.get_media(StreamName="cam", StartSelector=EARLIEST)["Payload"].read() == b""


def test_a_damaged_fragment_of_a_list_is_named_in_its_place(data, archive):
    asked = [number for number, *_ in rows_of(data)]
    flip(media_file(data), rows_of(data)[1][1] + 12)
    _, tags = media_of(archive.get_media_for_fragment_list(StreamName="cam", Fragments=asked))
    assert [found["FRAGMENT_NUMBER"] for found in tags if "FRAGMENT_NUMBER" in found] == asked
    (error,) = [found for found in tags if "EXCEPTION_ERROR_CODE" in found]
    assert (error["FRAGMENT_NUMBER"], error["EXCEPTION_ERROR_CODE"]) == (asked[1], "5000")
    assert error["EXCEPTION_MESSAGE"] == "The fragment is damaged."


def test_every_bit_of_what_is_stored_is_under_a_checksum(stopped):
    """But for the end-of-fragment tags, which belong to no fragment and are not given out."""
    path = media_file(stopped)
    whole = bytearray(path.read_bytes())
    store = Store(stopped)
    rows = store.query(lambda index: index.after(1, 0, 0, 10))
    for offset in range(len(whole)):
        whole[offset] ^= 1 << offset % 8
        path.write_bytes(whole)
        whole[offset] ^= 1 << offset % 8
        in_header = offset < rows[0].header.end_offset
        expected = [row.seq for row in rows if in_header or covers(row, offset)]
        assert [row.seq for row in rows if not is_sound(store, row)] == expected
    store.close()


def covers(row, offset):
    return any(at <= offset < at + size for at, size in fragment_ranges(row.fragment))


def is_sound(store, row):
    try:
        store.verify(row)
    except StoreError:
        return False
    return True


def test_a_fragment_that_an_earlier_format_stored_is_taken_as_it_is(stopped):
    edit(stopped, "UPDATE fragments SET checksum = NULL", "UPDATE sessions SET header_checksum = NULL, size = NULL")
    flip(media_file(stopped), rows_of(stopped)[1][1] + 12)
    assert findings(stopped)[0].damaged == 0
    assert findings(stopped)[0].without_checksum == 3


def test_an_index_of_format_1_is_carried_over(stopped):
    old = stopped.parent / "old"
    with contextlib.closing(sqlite3.connect(stopped / "index.sqlite3")) as db:
        db.execute("ATTACH ? AS old", (str(old),))
    with contextlib.closing(sqlite3.connect(old)) as db:
        db.executescript(FORMAT_1)
        db.execute("ATTACH ? AS now", (str(stopped / "index.sqlite3"),))
        for table in ("streams", "sessions", "fragments", "counters"):
            names = ", ".join(row[1] for row in db.execute(f"PRAGMA main.table_info({table})"))
            db.execute(f"INSERT INTO main.{table}({names}) SELECT {names} FROM now.{table}")
        db.execute("PRAGMA user_version=1")
        db.commit()
    old.replace(stopped / "index.sqlite3")
    with LocalEndpoint.run_in_thread(data_dir=stopped, settings=Settings.unlimited()) as running:
        assert len(running.fragments("cam")) == 3
        put(running.url, body(1))
        assert len(running.fragments("cam")) == 4
    report, lines = findings(stopped)
    assert (report.fragments, report.without_checksum, lines) == (4, 3, [])


# The check.


def test_the_check_of_a_sound_directory_finds_nothing(stopped):
    report, lines = findings(stopped)
    assert (report.files, report.fragments, report.damaged, report.without_checksum, lines) == (1, 3, 0, 0, [])


def test_the_check_names_file_fragment_stream_and_place(stopped):
    number, start, size, _ = rows_of(stopped)[2]
    flip(media_file(stopped), start + 20)
    report, (line,) = findings(stopped)
    assert report.damaged == 1
    place = f"{size} bytes at {start}: the bytes of its fragment have changed since they were stored"
    assert line == f"{media_file(stopped)}: fragment {number} of cam, {place}"


def test_the_check_names_what_is_cut_off_or_missing(stopped):
    path = media_file(stopped)
    whole = path.read_bytes()
    path.write_bytes(whole[: rows_of(stopped)[1][1] + 10])
    assert [line.rpartition(": ")[2] for line in findings(stopped)[1]] == ["its file ends inside the fragment"] * 2
    path.unlink()
    assert [line.rpartition(": ")[2] for line in findings(stopped)[1]] == [
        "its file cannot be read (No such file or directory)"
    ] * 3


def test_the_check_says_what_is_wrong_with_the_index(stopped):
    edit(stopped, "UPDATE fragments SET tags = 'no list' WHERE seq = 2")
    report, lines = findings(stopped)
    assert (report.index_problems, report.damaged) == (1, 0)
    assert "the row of a fragment cannot be read" in lines[0]
    edit(stopped, "UPDATE fragments SET tags = '[]', start = 'here' WHERE seq = 2")
    assert findings(stopped)[0].damaged == 1


def test_the_check_leaves_an_endpoint_alone_and_makes_no_directory(endpoint, tmp_path):
    with pytest.raises(DataDirLockedError, match="in use by another endpoint"):
        check(tmp_path / "data", lambda line: None)
    with pytest.raises(StoreError, match="holds no index"):
        check(tmp_path / "nothing", lambda line: None)
    assert not (tmp_path / "nothing").exists()


# The start.


def started(path):
    with LocalEndpoint.run_in_thread(data_dir=path, settings=Settings.unlimited()) as running:
        return [one.timecode for one in running.fragments("cam")]


@pytest.mark.parametrize(
    ("keep", "said"), [(None, "is missing"), (200, "has 200 of")], ids=["a missing file", "a short file"]
)
def test_a_start_names_the_media_file_that_lost_bytes(stopped, caplog, keep, said):
    path = media_file(stopped)
    whole = path.read_bytes()
    path.unlink()
    if keep is not None:
        path.write_bytes(whole[:keep])
    with caplog.at_level(logging.WARNING):
        Store(stopped).close()
    (line,) = [record.message for record in caplog.records if str(path) in record.message]
    assert said in line
    assert "put back a copy" in line
    assert f"kvspic serve --check {stopped}" in line
    path.write_bytes(whole)
    assert started(stopped) == [mkv_time(i) for i in range(3)]


@pytest.mark.parametrize("page", ["schema", "content"])
def test_a_start_names_an_index_with_a_corrupt_page(stopped, page):
    path = stopped / "index.sqlite3"
    edit(stopped, "PRAGMA journal_mode=DELETE")
    with open(path, "r+b") as file:
        file.seek(4096 if page == "content" else 100)
        file.write(b"\xff" * (path.stat().st_size - 4096 if page == "content" else 1000))
    for _ in range(2):  # the lock is given back
        with pytest.raises(StoreError, match=r"index\.sqlite3 cannot be opened .*Put back a copy"):
            started(stopped)


def test_a_start_with_a_new_index_deletes_no_media(stopped, caplog):
    path = media_file(stopped)
    whole = path.read_bytes()
    (stopped / "index.sqlite3").unlink()
    for count in (1, 2):
        Store(stopped).close()
        moved = stopped / "set-aside" / ("00000001.mkv" if count == 1 else "00000001-2.mkv")
        assert moved.read_bytes() == whole
        assert any(str(moved) in record.message for record in caplog.records)
        assert not path.exists()
        path.write_bytes(whole)


def test_a_start_leaves_the_database_of_another_program_as_it_is(tmp_path):
    with contextlib.closing(sqlite3.connect(tmp_path / "index.sqlite3")) as db:
        db.execute("CREATE TABLE recipes(name TEXT)")
    before = (tmp_path / "index.sqlite3").read_bytes()
    with pytest.raises(StoreError, match="the database of another program"):
        Store(tmp_path)
    with contextlib.closing(sqlite3.connect(tmp_path / "index.sqlite3")) as db:
        assert [row[0] for row in db.execute("SELECT name FROM sqlite_master")] == ["recipes"]
    assert before[:16] == b"SQLite format 3\0"


def test_a_start_names_the_column_that_an_index_lacks(stopped):
    edit(stopped, "DROP INDEX fragments_by_number", "ALTER TABLE fragments DROP COLUMN number")
    with pytest.raises(StoreError, match="its table fragments lacks number"):
        started(stopped)


@pytest.mark.parametrize("record", ["'no JSON'", '\'{"name": "cam"}\'', "'7'"])
def test_a_start_names_an_index_whose_streams_cannot_be_read(stopped, record):
    edit(stopped, f"UPDATE streams SET record = {record}")
    for _ in range(2):
        with pytest.raises(StoreError, match=r"cannot be read.*[Pp]ut back a copy"):
            started(stopped)


def test_an_index_that_breaks_while_it_runs_is_an_error_of_the_services_shape(data, archive, monkeypatch, endpoint):
    def broken(*_, **__):
        raise sqlite3.DatabaseError("database disk image is malformed")

    monkeypatch.setattr("kvspic.local.store_index.Index.numbered", broken)
    with pytest.raises(ClientError) as caught:
        archive.get_media_for_fragment_list(StreamName="cam", Fragments=["1"])
    assert caught.value.response["Error"]["Code"] == "InternalFailure"
    assert "index.sqlite3 cannot be opened" in caught.value.response["Error"]["Message"]
