"""The fragment store. Goal: what was reported done is there after a restart, and the index never points past a file."""

import sqlite3
import threading

import pytest

from kvspic.local.data_dir import DataDir
from kvspic.local.errors import DataDirLockedError, StoreError
from kvspic.local.records import FragmentRecord, HeaderRecord
from kvspic.local.store import Store
from kvspic.local.streams import StreamRecord

HEADER = HeaderRecord(40, 45, 100)


def stream(stream_id=1, name="cam"):
    return StreamRecord(stream_id, name, "arn", 0, 0).to_dict()


def fragment(count, offset, size=50, stream_id=1, server_hns=1000):
    number = str(1 << 156 | count << 92)
    return FragmentRecord(stream_id, number, count, count * 10, server_hns, 10, offset, size, ((100, 5),))


class Waiter:
    """Waits for completions of the writer thread."""

    def __init__(self):
        self._event = threading.Event()
        self.error = None

    def __call__(self, error):
        self.error = error
        self._event.set()

    def wait(self):
        assert self._event.wait(10)
        return self.error


def done(start, *args):
    waiter = Waiter()
    start(*args, waiter)
    return waiter.wait()


@pytest.fixture(params=["process", "disk"])
def durability(request):
    return request.param


@pytest.fixture
def store(tmp_path, durability):
    opened = Store(tmp_path, durability)
    yield opened
    opened.close()


def rows(store, stream_id=1):
    return store.query(lambda index: index.after(stream_id, 0, 0, 1000))


def fill(store, count=3):
    """A session with a header and ``count`` fragments of 50 bytes."""
    assert done(store.save_stream, stream()) is None
    session = store.open_session(1)
    store.append(session, [bytes(100)])
    store.keep_header(session, HEADER)
    for i in range(count):
        store.append(session, [bytes([i]) * 20, bytes([i]) * 30])
        assert done(store.keep_fragment, session, fragment(i + 1, 100 + 50 * i)) is None
    return session


def test_a_kept_fragment_is_found_with_its_bytes_header_and_tags(store):
    fill(store)
    found = rows(store)
    assert [row.fragment for row in found] == [fragment(i + 1, 100 + 50 * i) for i in range(3)]
    assert found[1].header == HEADER
    assert store.read(found[1], 150, 50) == b"\1" * 50


def test_everything_is_there_after_a_restart(tmp_path, durability):
    first = Store(tmp_path, durability)
    done(first.close_session, fill(first))
    before = rows(first)
    first.close()
    second = Store(tmp_path, durability)
    assert rows(second) == before
    assert second.streams() == [{**stream(), "fragment_count": 3}]
    assert second.stream_id_max() == 1
    assert second.open_session(1).session_id == 2
    second.close()


def test_bytes_after_the_last_fragment_are_cut_off_at_the_end_of_the_session(store, tmp_path):
    session = fill(store)
    store.append(session, [b"half a fragment"])
    assert done(store.close_session, session) is None
    assert (tmp_path / "media" / "00000001.mkv").stat().st_size == 250


def test_a_session_without_fragments_leaves_no_file(store, tmp_path):
    session = store.open_session(1)
    assert done(store.append, session, [b"bytes"]) is None
    assert done(store.close_session, session) is None
    assert list((tmp_path / "media").iterdir()) == []


def test_a_start_repairs_what_a_kill_left(tmp_path):
    """The rows say that the session is open; its file is longer, another is shorter, a third has no row."""
    first = Store(tmp_path)
    fill(first)
    done(first.close_session, fill(first))
    first.close()
    media = tmp_path / "media"
    with sqlite3.connect(tmp_path / "index.sqlite3") as db:
        db.execute("UPDATE sessions SET is_open = 1")
    db.close()
    (media / "00000001.mkv").write_bytes((media / "00000001.mkv").read_bytes() + b"tail")
    (media / "00000002.mkv").write_bytes((media / "00000002.mkv").read_bytes()[:210])
    (media / "00000009.mkv").write_bytes(b"orphan")
    second = Store(tmp_path)
    found = rows(second)
    assert [(row.session_id, row.fragment.timecode) for row in found] == [(1, 1), (1, 2), (1, 3), (2, 1), (2, 2)]
    assert sorted(path.name for path in media.iterdir()) == ["00000001.mkv", "00000002.mkv"]
    assert [path.stat().st_size for path in sorted(media.iterdir())] == [250, 200]
    second.close()


def test_expired_fragments_go_and_the_file_with_the_last_of_them(store, tmp_path):
    session = fill(store, 2)
    store.append(session, [bytes(50)])
    done(store.keep_fragment, session, fragment(3, 200, server_hns=2000))
    done(store.close_session, session)
    store.expire({1: 1500})
    done(store.save_stream, stream())
    assert [row.fragment.timecode for row in rows(store)] == [3]
    store.expire({1: 2500})
    done(store.save_stream, stream())
    assert (rows(store), list((tmp_path / "media").iterdir())) == ([], [])


def test_a_deleted_stream_takes_its_fragments_and_no_late_one_comes_back(store, tmp_path):
    session = fill(store)
    assert done(store.delete_stream, 1) is None
    assert isinstance(done(store.keep_fragment, session, fragment(9, 250)), StoreError)
    assert rows(store) == []
    done(store.close_session, session)
    assert list((tmp_path / "media").iterdir()) == []


def test_fragments_are_found_by_place_number_and_time(store):
    fill(store)

    def ask(question):
        return store.query(question)

    first, second, third = [row.fragment.number for row in rows(store)]
    assert ask(lambda i: i.seq_before_newest(1)) == 2
    assert ask(lambda i: i.seq_before_number(1, second)) == 2
    assert ask(lambda i: i.seq_before_number(1, "00" + second)) == 2
    assert ask(lambda i: i.seq_before_number(1, str(int(second) + 1))) == 2
    assert ask(lambda i: i.seq_before_number(1, str(int(third) + 1))) == 3
    assert ask(lambda i: i.seq_before_time(1, 15, by_producer=True)) == 0
    assert ask(lambda i: i.seq_before_time(1, 20, by_producer=True)) == 1
    assert set(ask(lambda i: i.numbered(1, 0, [first, "5"]))) == {first}
    assert len(ask(lambda i: i.in_range((1, 0, 10, 20, 0), by_producer=True, limit=9))) == 2


def test_a_failing_disk_fails_the_fragment_and_those_after_it(store):
    session = fill(store, 1)

    class Full:
        def write(self, data):
            raise OSError(28, "No space left on device")

        def fileno(self):
            raise AssertionError("nothing was written that could be synced")

        def truncate(self, size):
            pass

        def close(self):
            pass

    session._file.close()
    session._file = Full()
    assert isinstance(done(store.append, session, [b"x"]), OSError)
    assert isinstance(done(store.keep_fragment, session, fragment(2, 150)), StoreError)
    assert len(rows(store)) == 1


def test_missing_bytes_are_an_error_and_never_short(store, tmp_path):
    fill(store)
    row = rows(store)[0]
    with pytest.raises(StoreError):
        store.read(row, 240, 50)
    (tmp_path / "media" / "00000001.mkv").unlink()
    with pytest.raises(StoreError):
        store.read(row, 100, 50)


def test_a_second_store_on_the_directory_is_refused_until_the_first_closes(tmp_path):
    first = Store(tmp_path)
    with pytest.raises(DataDirLockedError, match="in use by another endpoint"):
        Store(tmp_path)
    first.close()
    first.close()
    DataDir(tmp_path).close()


def test_a_directory_that_cannot_be_one_is_refused(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StoreError, match="cannot be used"):
        Store(tmp_path / "file")


def test_an_index_that_is_none_is_refused_and_the_lock_given_back(tmp_path):
    (tmp_path / "index.sqlite3").write_bytes(b"this is no database at all" * 100)
    for _ in range(2):
        with pytest.raises(StoreError, match=r"index\.sqlite3 cannot be opened"):
            Store(tmp_path)


def test_an_index_of_a_later_format_is_refused(tmp_path):
    Store(tmp_path).close()
    db = sqlite3.connect(tmp_path / "index.sqlite3")
    db.execute("PRAGMA user_version=7")
    db.commit()
    db.close()
    with pytest.raises(StoreError, match="format 7"):
        Store(tmp_path)


def test_a_commit_that_fails_fails_all_that_waited_for_it_and_later_sessions_work(store, monkeypatch):
    session = fill(store, 1)
    commit = store._index.commit

    def full():
        monkeypatch.setattr(store._index, "commit", commit)
        raise sqlite3.OperationalError("database or disk is full")

    monkeypatch.setattr(store._index, "commit", full)
    store.append(session, [bytes(50)])
    assert isinstance(done(store.keep_fragment, session, fragment(2, 150)), (sqlite3.OperationalError, StoreError))
    assert isinstance(done(store.keep_fragment, session, fragment(3, 200)), StoreError)
    assert len(rows(store)) == 1
    fill(store, 1)
    assert len(rows(store)) == 2


def plans(index):
    """What SQLite does for each query of a page or a place."""
    seen = []
    index._db.set_trace_callback(seen.append)
    for by_producer in (True, False):
        index.in_range((1, 0, 10, 20, 0), by_producer=by_producer, limit=9)
        index.seq_before_time(1, 15, by_producer=by_producer)
    index.after(1, 0, 5, 9)
    index._db.set_trace_callback(None)
    return [" ".join(row[3] for row in index._db.execute(f"EXPLAIN QUERY PLAN {sql}")) for sql in seen]


def test_no_page_costs_more_in_a_larger_store(store):
    """Each query walks an index in the order that it wants; none reads all fragments of the stream, none sorts."""
    fill(store)
    for plan in store.query(plans):
        assert "SCAN" not in plan
        assert "TEMP B-TREE" not in plan
        assert "fragments_by_" in plan


def test_a_page_of_times_goes_on_where_the_last_one_ended(store):
    session = fill(store, 1)
    for place, count in enumerate((9, 2, 5, 7)):
        store.append(session, [bytes(50)])
        assert done(store.keep_fragment, session, fragment(count, 150 + 50 * place)) is None

    def page(after):
        found = store.query(lambda i: i.in_range((1, 0, 0, 1000, 0), after, by_producer=True, limit=2))
        return [(row.fragment.producer_hns, row.seq) for row in found]

    pages, after = [], (-1, 0)
    while found := page(after):
        pages += found
        after = found[-1]
    assert [time for time, _ in pages] == sorted(time for time, _ in pages)
    assert len(set(pages)) == 5
