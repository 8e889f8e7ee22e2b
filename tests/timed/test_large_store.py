"""Large stores. Goal: a start stays quick and ``get`` keeps its memory, however much is stored.

The stores are synthetic: one upload, whose rows in the index are repeated with other numbers and times. With
``KVSPIC_GET_GB=10`` the second test fetches 10 GB, which needs that much room on the disk.
"""

import contextlib
import os
import sqlite3
import subprocess
import sys
import time

import pytest
from unit.local import mkv_bytes as mkv
from unit.local.aws import client
from unit.local.raw_client import put

from kvspic.local.server import LocalEndpoint
from kvspic.local.settings import Settings

pytestmark = pytest.mark.timed

SECOND_HNS = 10_000_000
COLUMNS = "stream_id,session_id,number,timecode,producer_hns,server_hns,duration_hns,start,size,tags,checksum"


def stored_once(path, payload):
    """A directory with one fragment of 20 frames; returns its row."""
    with LocalEndpoint.run_in_thread(path, settings=Settings.unlimited()) as endpoint:
        control = client("kinesisvideo", endpoint.url)
        control.create_stream(StreamName="cam", DataRetentionInHours=87_600)
        control.close()
        blocks = [mkv.block(i * 50, payload, flags=0 if i else 0x80) for i in range(20)]
        put(endpoint.url, mkv.header() + mkv.cluster(1_600_000_000_000, *blocks) + mkv.END)
    with contextlib.closing(sqlite3.connect(path / "index.sqlite3")) as db:
        return db.execute(f"SELECT {COLUMNS} FROM fragments").fetchone()


def repeated(path, row, count, sessions=1):
    """Add rows until there are ``count`` fragments in so many files, a second apart."""
    stream, session, number, timecode, producer, server, duration, *place = row
    size = (path / "media" / f"{session:08d}.mkv").stat().st_size
    with contextlib.closing(sqlite3.connect(path / "index.sqlite3")) as db:
        for other in range(2, sessions + 1):
            values = (other, size)
            names = "stream_id,is_open,ebml_size,segment_offset,header_end,header_checksum"
            db.execute(
                f"INSERT INTO sessions(session_id,size,{names}) SELECT ?,?,{names} FROM sessions LIMIT 1", values
            )
            os.link(path / "media" / "00000001.mkv", path / "media" / f"{other:08d}.mkv")
        db.execute("UPDATE counters SET value = ? WHERE name = 'session_id'", (sessions,))
        db.executemany(
            f"INSERT INTO fragments({COLUMNS}) VALUES(?,?,?,?,?,?,?,?,?,?,?)",
            (
                (
                    stream, 1 + i % sessions, str(int(number) + (i << 92)), timecode,
                    producer + i * SECOND_HNS, server + i * SECOND_HNS, duration, *place,
                )
                for i in range(1, count)
            ),
        )  # fmt: skip
        db.commit()


def test_serve_starts_in_two_seconds_with_a_million_fragments(tmp_path):
    repeated(tmp_path, stored_once(tmp_path, b"frame"), 1_000_000, sessions=1000)
    command = [sys.executable, "-m", "kvspic", "serve", "--port", "0", "--data-dir", str(tmp_path)]
    for _ in range(2):
        began = time.monotonic()
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            line = process.stdout.readline()
            took = time.monotonic() - began
            process.terminate()
        assert "kvspic endpoint at http://" in line
        print(f"ready after {took:.2f} s")
    assert took < 2.0


def peak_mb(command):
    """The most memory that the command had, in MB; it must succeed."""
    process = subprocess.Popen(command)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0
    return usage.ru_maxrss / 1024


def test_the_memory_of_get_does_not_grow_with_what_it_fetches(tmp_path):
    """Of the endpoint too, which runs in the same process."""
    size_gb = float(os.environ.get("KVSPIC_GET_GB", "0.5"))
    output = tmp_path / "out.mkv"
    peaks = []
    for count in (50, round(size_gb * 1000)):
        folder = tmp_path / f"of-{count}"
        repeated(folder, stored_once(folder, bytes(50_000)), count)
        command = [sys.executable, "-m", "kvspic", "get", "cam", "-o", str(output), "--data-dir", str(folder)]
        peaks.append(peak_mb(command))
        assert output.stat().st_size > count * 0.99e6
    small, large = peaks
    print(f"50 MB: {small:.0f} MB, {size_gb * 1000:.0f} MB: {large:.0f} MB")
    assert large < small + 20
