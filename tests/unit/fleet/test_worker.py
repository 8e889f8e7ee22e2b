"""A worker against a server in memory and the local endpoint. Goal: what it is handed is uploaded, under its fence,
until it ends, and it obeys whatever a server says, or does not say."""

import asyncio
import shutil
import time

import pytest

pytest.importorskip("aiohttp")
pytest.importorskip("av")

from unit.fleet.double import Double
from unit.fleet.stage import ENDLESS, TEST, stage

from kvspic.fleet.holding import Phase
from kvspic.fleet.processes import run_workers
from kvspic.fleet.worker import Worker, WorkerSettings


def test_a_job_is_carried_named_by_its_epoch_and_handed_back(tmp_path):
    async def play():
        async with stage(tmp_path) as on:
            on.server.add("cam", ENDLESS)
            on.run()
            await on.persisted("cam")
            stats = on.server.jobs["job1"]["stats"]
            assert stats["state"] == "streaming"
            assert stats["health"] is True
            assert await on.stop() == 0
            assert on.server.ended == [("job1", 1, "handback", None)]
            tags = on.tags("cam")
            assert tags
            assert all(found["kvspic-epoch"] == "1.1" for found in tags)

    asyncio.run(play())


def test_a_file_is_done_when_every_frame_is_persisted(tmp_path, media_dir):
    async def play():
        async with stage(tmp_path) as on:
            on.server.add("clip", {"type": "file", "url": str(media_dir / "h264_high_bframes_640x360_25fps.mp4")})
            on.run()
            await on.server.until(lambda: on.server.ended)
            assert on.server.ended == [("job1", 1, "done", None)]
            assert sum(len(fragment.blocks) for fragment in on.endpoint.fragments("clip")) > 10
            assert await on.stop() == 0

    asyncio.run(play())


@pytest.mark.parametrize(
    "source, error_class",
    [
        ({"type": "file", "url": "/no/such/file.mp4"}, "file_missing"),
        ({"type": "rtsp", "url": "rtsp://127.0.0.1:9/x"}, "source_unreachable"),
        ({"type": "rtsp", "url": "rtsp://127.0.0.1:9/x", "secret": "door"}, "bad_job"),
        ({"type": "test", "url": "testsrc:fps=0"}, "bad_job"),
        ({"type": "device", "url": "/dev/video987"}, "source_unreachable"),
    ],
)
def test_what_cannot_be_read_is_a_failure_with_its_class(tmp_path, source, error_class):
    async def play():
        async with stage(tmp_path) as on:
            on.server.add("cam", source)
            on.run()
            await on.server.until(lambda: on.server.ended)
            ((_, _, status, error),) = on.server.ended
            assert (status, error["class"]) == ("failure", error_class)
            assert error["text"].endswith(".")
            assert await on.stop() == 0

    asyncio.run(play())


def test_a_camera_without_its_server_is_suspended_and_goes_on_under_the_same_epoch(tmp_path):
    async def play():
        async with stage(tmp_path, lease_s=2.0) as on:
            on.server.add("cam", ENDLESS)
            on.run()
            await on.persisted("cam")
            on.server.is_silent = True
            held = on.worker.holding.held["job1", 1]
            await on.server.until(lambda: held.phase is Phase.SUSPENDED)
            count, calls = len(on.tags("cam")), len(on.server.requests)
            await on.server.until(lambda: len(on.server.requests) >= calls + 5)
            assert len(on.tags("cam")) == count
            on.server.is_silent = False
            await on.server.until(lambda: held.phase is Phase.CARRIED and len(on.tags("cam")) > count + 1)
            assert {found["kvspic-epoch"] for found in on.tags("cam")} == {"1.1"}
            assert await on.stop() == 0

    asyncio.run(play())


def test_a_camera_that_is_kept_goes_on_without_its_server(tmp_path):
    async def play():
        async with stage(tmp_path, lease_s=1.0) as on:
            on.server.add("cam", ENDLESS, on_server_loss="keep")
            on.run()
            await on.persisted("cam")
            on.server.answer = (503, {"error": "store_unavailable", "message": "The database does not answer."})
            count, since_s = len(on.tags("cam")), on.worker._clock()
            await on.server.until(lambda: on.worker._clock() > since_s + 2 and len(on.tags("cam")) > count + 4)
            assert on.worker.holding.held["job1", 1].phase is Phase.CARRIED
            on.server.answer = None
            await on.persisted("cam", on.server.jobs["job1"]["stats"]["frames_done"] + 1)
            assert {found["kvspic-epoch"] for found in on.tags("cam")} == {"1.1"}
            assert await on.stop() == 0

    asyncio.run(play())


@pytest.mark.parametrize("status", ["pause", "cancel", "pending"])
def test_a_job_that_its_user_stops_is_let_go_and_released(tmp_path, status):
    async def play():
        async with stage(tmp_path) as on:
            on.server.add("cam", ENDLESS)
            on.run()
            await on.persisted("cam")
            job = on.server.jobs["job1"]
            job.update(status=status, epoch=1 if status != "pending" else 2)
            if status == "pending":
                job["status"] = "in_progress"  # of another worker
            await on.server.until(lambda: on.server.ended)
            assert on.server.ended == [("job1", 1, "released", None)]
            assert await on.stop() == 0

    asyncio.run(play())


def test_a_paused_job_is_flushed_before_it_is_released(tmp_path):
    async def play():
        async with stage(tmp_path) as on:
            on.server.add("cam", ENDLESS)
            on.run()
            await on.persisted("cam")
            stream = next(iter(on.worker._carriers.values()))._stream
            on.server.jobs["job1"]["status"] = "pause"
            await on.server.until(lambda: on.server.ended)
            report = stream.report
            assert (report.frames_buffered, report.frames_done + report.frames_dropped) == (0, report.frames_put)
            await on.stop()

    asyncio.run(play())


@pytest.mark.parametrize(
    "answer, code",
    [((409, {"error": "superseded", "message": "x"}), 4), ((403, {"error": "denied"}), 5)],
)
def test_a_worker_that_is_not_wanted_ends_with_a_code(tmp_path, answer, code):
    async def play():
        async with stage(tmp_path) as on:
            on.server.add("cam", ENDLESS)
            on.run()
            await on.persisted("cam")
            on.server.answer = answer
            assert await asyncio.wait_for(on.task, 20) == code

    asyncio.run(play())


@pytest.mark.parametrize(
    "answer",
    [
        (400, {"error": "bad_field", "field": "carried", "message": "carried: is not a field here"}),
        (404, {"error": "not_found", "message": "There is no such path; /v1/openapi.json has the calls."}),
    ],
)
def test_a_server_of_another_version_that_does_not_know_the_call_ends_the_worker_with_a_sentence(
    tmp_path, caplog, answer
):
    async def play():
        async with stage(tmp_path) as on:
            on.server.answer = answer
            on.run()
            assert await asyncio.wait_for(on.task, 20) == 5

    asyncio.run(play())
    assert "install the same version of kvspic on both." in caplog.text


@pytest.mark.parametrize(
    "answer",
    [(404, {"error": "Not Found", "path": "/v1"}), (405, {"detail": "Method Not Allowed"}), (400, {"message": "no"})],
)
def test_what_a_proxy_refuses_while_its_server_starts_ends_no_worker(tmp_path, answer):
    async def play():
        async with stage(tmp_path) as on:
            on.server.add("cam", ENDLESS)
            on.server.answer = answer
            on.run()
            await on.server.until(lambda: len(on.server.requests) > 3)
            assert not on.task.done()
            on.server.answer = None
            await on.persisted("cam")
            assert await on.stop() == 0

    asyncio.run(play())


def test_a_worker_of_which_one_server_knows_the_call_works_for_that_one(tmp_path):
    async def play():
        async with stage(tmp_path) as on, Double() as older:
            older.answer = (400, {"error": "bad_field", "field": "carried", "message": "carried: is not a field here"})
            on.server.add("cam", TEST)
            on.run(urls=[older.url, on.server.url])
            await on.server.until(lambda: on.server.ended)
            assert older.requests
            assert on.server.ended == [("job1", 1, "done", None)]
            assert await on.stop() == 0

    asyncio.run(play())


@pytest.mark.parametrize(
    "labels, words", [(["a b"], "'a b' is no label"), ([f"l{n}" for n in range(33)], "at most 32")]
)
def test_labels_that_a_server_would_refuse_are_refused_with_a_sentence(labels, words):
    with pytest.raises(ValueError, match=words):
        Worker("http://127.0.0.1:9", labels=labels)
    with pytest.raises(ValueError, match=words):
        run_workers("http://127.0.0.1:9", processes=2, labels=labels)


def test_while_servers_are_upgraded_a_worker_that_carries_cameras_goes_on(tmp_path, caplog):
    async def play():
        async with stage(tmp_path) as on:
            on.server.add("cam", ENDLESS)
            on.run()
            await on.persisted("cam")
            on.server.answer = (404, {"error": "not_found", "message": "There is no such path."})
            count = len(on.server.requests)
            await on.server.until(lambda: len(on.server.requests) > count + 3)
            assert not on.task.done()
            on.server.answer = None
            done = on.server.jobs["job1"]["stats"]["frames_done"]
            await on.persisted("cam", done + 1)
            assert on.server.jobs["job1"]["epoch"] == 1
            assert await on.stop() == 0

    asyncio.run(play())
    assert "it is tried again" in caplog.text


@pytest.mark.parametrize("step_s", [86_400, -86_400])
def test_a_worker_whose_wall_clock_is_a_day_off_keeps_its_leases(tmp_path, monkeypatch, step_s):
    """Leases are counted on a clock that cannot be set: the same epoch goes on, and nothing is suspended."""
    wall_s, wall_ns = time.time, time.time_ns

    async def play():
        async with stage(tmp_path, lease_s=2.0) as on:
            on.server.add("cam", ENDLESS)
            on.run()
            await on.persisted("cam")
            monkeypatch.setattr(time, "time", lambda: wall_s() + step_s)
            monkeypatch.setattr(time, "time_ns", lambda: wall_ns() + step_s * 10**9)
            done = on.server.jobs["job1"]["stats"]["frames_done"]
            await on.persisted("cam", done + 30)  # more than a lease of frames
            assert on.worker.holding.held["job1", 1].phase is Phase.CARRIED
            assert on.server.jobs["job1"]["epoch"] == 1
            monkeypatch.undo()
            assert await on.stop() == 0

    asyncio.run(play())


def test_two_workers_of_one_machine_cannot_share_a_name(tmp_path):
    async def play():
        async with stage(tmp_path) as on:
            on.run()
            await on.server.until(lambda: on.server.requests)
            other = Worker(on.server.url, name="w", settings=WorkerSettings(state=tmp_path / "state"))
            assert await other.run() == 4
            assert await on.stop() == 0

    asyncio.run(play())


def test_what_a_killed_worker_spooled_is_sent_by_the_next_one(tmp_path):
    """The endpoint is away; the worker is ended at once; its successor has the same spool."""

    async def play():
        async with stage(tmp_path) as on:
            on.server.add("cam", ENDLESS, spool=True)
            on.run(spool=tmp_path / "spool")
            await on.persisted("cam")
            port = int(on.endpoint.url.rpartition(":")[2])
            await on.endpoint.stop()
            put = on.server.jobs["job1"]["stats"]["frames_put"]
            await on.server.until(lambda: on.server.jobs["job1"]["stats"]["frames_put"] >= put + 15)
            on.task.cancel()
            await asyncio.wait([on.task])
            on.endpoint.port = port
            await on.endpoint.start()
            on.server.jobs["job1"]["status"] = "pending"
            on.run(spool=tmp_path / "spool")
            await on.server.until(lambda: on.server.jobs["job1"]["epoch"] == 2)
            await on.persisted("cam", put + 30)
            await on.stop()
            times = [fragment.producer_hns for fragment in on.endpoint.fragments("cam")]
            assert times == sorted(times)
            blocks = sum(len(fragment.blocks) for fragment in on.endpoint.fragments("cam"))
            assert blocks >= put + 30

    asyncio.run(play())


def test_a_job_that_persists_nothing_any_more_is_a_failure(tmp_path):
    async def play():
        async with stage(tmp_path) as on:
            on.server.add("cam", ENDLESS, stall_s=4)
            on.run()
            await on.persisted("cam")
            await on.endpoint.stop()
            await on.server.until(lambda: on.server.ended)
            ((_, _, status, error),) = on.server.ended
            assert (status, error["class"]) == ("failure", "stalled")
            assert "none was persisted for 4 s" in error["text"]
            await on.stop()

    asyncio.run(play())


def test_the_next_server_is_asked_when_one_is_away(tmp_path):
    async def play():
        async with stage(tmp_path) as on:
            on.server.add("cam", TEST)
            settings = WorkerSettings(endpoint_url=on.endpoint.url, state=tmp_path / "state")
            on.worker = Worker(["http://127.0.0.1:9", on.server.url], name="w", settings=settings)
            on.task = asyncio.ensure_future(on.worker.run())
            await on.server.until(lambda: on.server.ended)
            assert on.server.ended == [("job1", 1, "done", None)]
            await on.stop()

    asyncio.run(play())


def test_a_job_that_the_server_wants_back_is_flushed_and_handed_back(tmp_path):
    async def play():
        async with stage(tmp_path) as on:
            on.server.add("cam", ENDLESS)
            on.run()
            await on.persisted("cam")
            on.server.polls_with = {"handback": ["job1"]}
            await on.server.until(lambda: on.server.ended)
            assert on.server.ended == [("job1", 1, "handback", None)]
            await on.stop()

    asyncio.run(play())


def test_a_cancelled_job_leaves_no_spool(tmp_path):
    async def play():
        async with stage(tmp_path) as on:
            on.server.add("cam", ENDLESS, spool=True)
            on.run(spool=tmp_path / "spool")
            await on.persisted("cam")
            on.server.jobs["job1"]["status"] = "cancel"
            await on.server.until(lambda: on.server.ended)
            await on.stop()
            assert list((tmp_path / "spool").iterdir()) == []
            shutil.rmtree(tmp_path / "spool")

    asyncio.run(play())


def test_a_spool_that_cannot_be_used_stops_no_camera(tmp_path):
    async def play():
        async with stage(tmp_path) as on:
            on.server.add("cam", ENDLESS, spool=True)
            (tmp_path / "spool").mkdir()
            (tmp_path / "spool" / "job1.v1").write_text("no folder")
            on.run(spool=tmp_path / "spool")
            await on.persisted("cam")
            assert {path.name for path in (tmp_path / "spool").iterdir()} == {"job1.v1", "job1.v1.2"}
            await on.stop()
            assert {path.name for path in (tmp_path / "spool").iterdir()} == {"job1.v1"}  # all of the other is sent

    asyncio.run(play())


def test_a_program_carries_sources_of_its_own(tmp_path):
    from kvspic.sources import open_source

    asked = []

    def carry(job):
        asked.append(job.name)
        return open_source(TEST["url"])

    async def play():
        async with stage(tmp_path) as on:
            on.server.add("cam", {"type": "test", "url": "whatever"})
            settings = WorkerSettings(endpoint_url=on.endpoint.url, state=tmp_path / "state")
            on.worker = Worker(on.server.url, name="mine", carry=carry, settings=settings)
            on.task = asyncio.ensure_future(on.worker.run())
            await on.server.until(lambda: on.server.ended)
            assert on.server.ended == [("job1", 1, "done", None)]
            assert asked == ["cam"]
            await on.stop()

    asyncio.run(play())
