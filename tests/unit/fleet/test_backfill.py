"""What a worker spooled and could not send. Goal: it is in the service in the end, once, up to the moment at which
another worker took the camera; and no folder is left without a word."""

import asyncio
import itertools
import json
import time

import pytest

pytest.importorskip("aiohttp")
pytest.importorskip("av")

from unit.fleet.stage import ENDLESS, stage

from kvspic.fleet import backfill, spools
from kvspic.fleet.holding import Assignment
from kvspic.fleet.troubles import failure_of_status
from kvspic.types import AacTrack, H264Track

FPS = 10


@pytest.fixture(autouse=True)
def soon(monkeypatch):
    monkeypatch.setattr(backfill, "LOOK_S", 0.2)


async def spool_some(on, count=25):
    """A worker carries ``cam``, then the endpoint is away for so many frames, then the worker ends at once. Return the
    times of all frames that it put, in ns."""
    on.run(spool=on.folder / "spool")
    await on.persisted("cam")
    port = int(on.endpoint.url.rpartition(":")[2])
    await on.endpoint.stop()
    stats = on.server.jobs["job1"]["stats"]
    await on.server.until(lambda: on.server.jobs["job1"]["stats"]["frames_put"] >= stats["frames_put"] + count)
    await on.kill()
    on.endpoint.port = port
    await on.endpoint.start()
    assert list((on.folder / "spool").glob("*/*/*.seg"))


def times(on, name="cam"):
    """Of all stored frames, in ms."""
    found = on.endpoint.fragments(name)
    return sorted(block.timecode for fragment in found for block in fragment.blocks)


def folders(on):
    return sorted(path.name for path in (on.folder / "spool").iterdir())


def taken_by_another(on, taken_s):
    on.server.jobs["job1"].update(status="in_progress", epoch=2)
    on.server.taken_s["job1", 1] = taken_s


def test_what_was_spooled_before_another_worker_took_the_camera_is_sent_beside_it(tmp_path):
    async def play():
        async with stage(tmp_path) as on:
            on.server.add("cam", ENDLESS, spool=True)
            await spool_some(on)
            taken_s = time.time() - 1.0
            taken_by_another(on, taken_s)
            on.run(spool=tmp_path / "spool")
            await on.server.until(lambda: not folders(on))
            stored = times(on)
            assert stored[-1] < taken_s * 1000
            assert stored[-1] > taken_s * 1000 - 1000
            gaps = [after - before for before, after in itertools.pairwise(stored)]
            assert min(gaps) > 0, "nothing is stored twice"
            assert max(gaps) < 2 * 1000 / FPS, "nothing is lost"
            late = [tags for tags in on.tags("cam") if "kvspic-backfill" in tags]
            assert late == [{"kvspic-epoch": "1.1", "kvspic-backfill": "w"}] * len(late)
            assert late
            assert on.worker.holding.held == {}
            assert await on.stop() == 0

    asyncio.run(play())


def test_the_worker_that_carries_the_camera_again_cuts_what_is_of_another_ones_time(tmp_path):
    async def play():
        async with stage(tmp_path) as on:
            on.server.add("cam", ENDLESS, spool=True)
            await spool_some(on)
            taken_s = time.time() - 1.0
            on.server.jobs["job1"].update(status="pending", epoch=2)  # the other one handed it back
            on.server.taken_s["job1", 1] = taken_s
            on.run(spool=tmp_path / "spool")
            await on.server.until(lambda: on.server.jobs["job1"]["epoch"] == 3)
            began = len(on.tags("cam"))
            await on.server.until(lambda: any(tags["kvspic-epoch"] == "1.3" for tags in on.tags("cam")[began:]))
            assert await on.stop() == 0
            found = [(fragment.producer_hns / 1e7, dict(fragment.tags)) for fragment in on.endpoint.fragments("cam")]
            old = [at for at, tags in found if tags.get("kvspic-backfill")]
            assert old == sorted(old)
            assert max(old) < taken_s
            assert all(tags["kvspic-epoch"] == ("1.1" if at < taken_s else "1.3") for at, tags in found)
            assert not any(tags.get("kvspic-backfill") for at, tags in found if at > taken_s)
            assert folders(on) == []

    asyncio.run(play())


def test_a_backfill_waits_while_the_server_refuses_it_and_goes_on_later(tmp_path):
    async def play():
        async with stage(tmp_path) as on:
            on.server.add("cam", ENDLESS, spool=True)
            await spool_some(on, count=10)
            taken_by_another(on, time.time())
            on.server.backfills = (409, {"error": "backfill_refused", "message": "not streaming"})
            on.run(spool=tmp_path / "spool")
            await on.server.until(lambda: len(on.server.asked) >= 3)
            assert folders(on) == ["job1.v1"]
            count = len(times(on))
            on.server.backfills = None
            await on.server.until(lambda: not folders(on))
            assert len(times(on)) >= count + 10
            assert await on.stop() == 0

    asyncio.run(play())


@pytest.mark.parametrize(
    "answer",
    [
        (200, {"lease_s": "long", "taken_ago_ms": []}),
        (400, {"error": "bad_field", "field": "epoch", "message": "epoch: must be at least 1"}),
        (403, {"error": "not_allowed", "message": "A token of the role 'viewer' may not do this."}),
    ],
)
def test_an_answer_that_is_none_is_reported_once_and_ends_no_worker(tmp_path, caplog, answer):
    async def play():
        async with stage(tmp_path) as on:
            on.server.add("cam", ENDLESS, spool=True)
            await spool_some(on, count=5)
            taken_by_another(on, time.time())
            on.server.backfills = answer
            on.run(spool=tmp_path / "spool")
            await on.server.until(lambda: len(on.server.asked) >= 3)
            assert await on.stop() == 0
            assert sum("cannot be sent" in record.message for record in caplog.records) == 1
            assert folders(on) == ["job1.v1"]

    asyncio.run(play())


@pytest.mark.parametrize("is_deleted", [True, False])
def test_the_spool_of_a_job_that_is_gone_is_removed_or_reported(tmp_path, caplog, is_deleted):
    async def play():
        async with stage(tmp_path) as on:
            on.server.add("cam", ENDLESS, spool=True)
            await spool_some(on, count=5)
            del on.server.jobs["job1"]
            on.server.backfills = (404, {"error": "not_found", "message": "gone", "deleted": is_deleted})
            on.run(spool=tmp_path / "spool")
            await on.server.until(lambda: len(on.server.asked) >= (1 if is_deleted else 3))
            if is_deleted:
                await on.server.until(lambda: not folders(on))
            assert await on.stop() == 0
            warnings = [record.message for record in caplog.records if record.levelname == "WARNING"]
            (said,) = [text for text in warnings if "spool" in text]
            assert "cam" in said
            assert ("deleted" in said) == is_deleted
            assert folders(on) == ([] if is_deleted else ["job1.v1"])

    asyncio.run(play())


def test_the_spool_of_a_replaced_job_is_sent_to_its_old_stream(tmp_path):
    async def play():
        async with stage(tmp_path) as on:
            on.server.add("cam", ENDLESS, spool=True)
            await spool_some(on)
            on.server.jobs["job1"].update(status="pending", version=2, stream="cam-2")
            on.server.taken_s["job1", 1] = time.time()
            on.run(spool=tmp_path / "spool")
            before = len(times(on))
            await on.server.until(lambda: "job1.v1" not in folders(on))
            assert len(times(on)) >= before + 20
            await on.server.until(lambda: on.tags("cam-2"))
            assert {tags["kvspic-epoch"] for tags in on.tags("cam-2")} == {"1.2"}
            assert await on.stop() == 0

    asyncio.run(play())


def test_frames_are_spooled_while_the_service_is_away_from_the_start(tmp_path):
    async def play():
        async with stage(tmp_path) as on:
            port = int(on.endpoint.url.rpartition(":")[2])
            await on.endpoint.stop()
            on.server.add("cam", ENDLESS, spool=True)
            on.run(spool=tmp_path / "spool", endpoint_url=f"http://127.0.0.1:{port}")
            stats = lambda: on.server.jobs["job1"].get("stats") or {}  # noqa: E731
            await on.server.until(lambda: stats().get("spooled", 0) >= 20)
            assert stats()["health"] is False
            on.endpoint.port = port
            await on.endpoint.start()
            put = stats()["frames_put"]
            await on.persisted("cam", put)
            assert await on.stop() == 0
            stored = times(on)
            assert len(stored) >= put
            assert {tags["kvspic-epoch"] for tags in on.tags("cam")} == {"1.1"}
            assert max(after - before for before, after in itertools.pairwise(stored)) < 2 * 1000 / FPS

    asyncio.run(play())


def test_a_file_needs_no_spool(tmp_path):
    job = {"id": "a", "epoch": 1, "name": "a", "stream": "a", "source": {"type": "file", "url": "x.mp4"}}
    assert not Assignment.of({**job, "options": {"spool": True}}).has_spool
    assert Assignment.of({**job, "source": ENDLESS, "options": {"spool": True}}).has_spool


def note(**more):
    tracks = (H264Track(cpd=b"\x01\x02"), AacTrack(sample_rate=48_000, channels=2))
    job = Assignment("a", 3, 7, 2, "cam", "stream", "http://x", "r", ENDLESS, {"retention_hours": 5, **more})
    return spools.SpoolNote.of(job, tracks)


def test_a_note_is_read_as_it_was_written(tmp_path):
    spools.write_note(tmp_path, note())
    found = spools.read_note(tmp_path)
    assert (found.job, found.version, found.epoch, found.name, found.stream) == ("a", 2, 3, "cam", "stream")
    assert (found.endpoint, found.region, found.retention_hours) == ("http://x", "r", 5)
    assert [vars(track) for track in found.tracks] == [vars(track) for track in note().tracks]
    assert "url" not in json.loads((tmp_path / "job.json").read_text())


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"tracks": 5}', "[" * 100_000, '{"tracks": [{}]}', "\x00"])
def test_a_note_that_is_none_is_none(tmp_path, text):
    assert spools.read_note(tmp_path) is None
    (tmp_path / "job.json").write_text(text)
    assert spools.read_note(tmp_path) is None


def test_a_note_that_cannot_be_written_leaves_no_old_one(tmp_path, caplog):
    spools.write_note(tmp_path, note())
    (tmp_path / "job.json.new").mkdir()
    spools.write_note(tmp_path, note())
    assert spools.read_note(tmp_path) is None
    assert "cannot be written" in caplog.text


def test_a_missing_region_is_the_workers_trouble_and_another_attempt_may_do():
    found = failure_of_status("INVALID_ARG", "Finding the AWS region: none is configured")
    assert found.error_class == "service_unreachable"
    assert "--region" in found.error_text
