"""The operations over both stores. Goal: the scenarios SS-01 to SS-31 of jobs, queue, feedback, users and losses."""

import threading

import pytest
from fleet_rig import FILE, RTSP

from kvspic.fleet import service
from kvspic.fleet.errors import BadFieldError, ConflictError, FileInProgressError, NotFoundError

# Creation and queue


def test_ss_01_a_new_job_is_pending(rig):
    job = rig.create()
    assert rig.status(job) == "pending"
    assert rig.call(service.show_queue)["length"] == 1
    assert rig.log(job) == ["pending"]


def test_ss_02_a_job_created_paused_is_not_in_the_queue(rig):
    job = rig.create(status="pause")
    assert rig.status(job) == "pause"
    assert rig.claim(free=4) == []


@pytest.mark.parametrize("status", ["in_progress", "done", "restart", "cancel", "", None, 7])
def test_ss_03_no_other_status_to_begin_with(rig, status):
    with pytest.raises(BadFieldError) as refused:
        rig.create(status=status)
    assert refused.value.field == "status"
    assert rig.call(service.list_jobs, {})["jobs"] == []
    assert rig.call(service.list_logs, {})["logs"] == []


def test_ss_04_a_poll_takes_the_job_once(rig):
    job = rig.create()
    answer = rig.poll()
    assert [(given["id"], given["epoch"]) for given in answer["jobs"]] == [(job, 1)]
    assert (answer["lease_s"], answer["feedback_s"]) == (20, 5)
    shown = rig.show(job)
    assert (shown["status"], shown["handler"], shown["epoch"]) == ("in_progress", "h1", 1)
    assert rig.records(job)[-1]["handler"] == "h1"
    assert rig.claim() == []


def test_ss_05_the_oldest_first(rig):
    rig.create("a"), rig.create("b"), rig.create("c")
    rig.to(4)
    assert rig.claim("h1", 2) == ["a", "b"]
    assert rig.claim("h2", 2) == ["c"]


def test_ss_06_one_job_fifty_polls_at_once(rig):
    rig.create()
    got = []
    threads = [
        threading.Thread(target=lambda nth=nth: got.extend(rig.claim(f"h{nth}"))) for nth in range(50)
    ]  # fmt: skip
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert got == ["a"]


def test_ss_07_labels(rig):
    rig.create("a", labels=["gpu"])
    assert rig.claim("h1", labels=["site-1"]) == []
    assert rig.claim("h2", labels=["site-1", "gpu"]) == ["a"]


def test_a_job_without_labels_goes_to_any_handler(rig):
    rig.create("a")
    assert rig.claim("h1", labels=["site-1"]) == ["a"]


def test_labels_of_a_token_bound_those_of_the_handler(rig):
    rig.create("a", labels=["gpu"])
    body = {"incarnation": "1", "slots": 1, "free": 1, "labels": ["gpu"]}
    assert rig.call(service.poll, "h1", body, labels=frozenset({"site-1"}))["jobs"] == []
    assert len(rig.call(service.poll, "h2", body, labels=frozenset({"gpu"}))["jobs"]) == 1


def test_ss_08_the_limit_of_the_whole_fleet(rig):
    rig.call(service.put_settings, {"in_progress_max": 2})
    jobs = [rig.create(name) for name in "abc"]
    rig.to(4)
    assert rig.claim(free=3) == ["a", "b"]
    assert rig.claim("h2", free=3) == []
    rig.report(jobs[0], 1, "done")
    assert rig.claim("h2", free=3) == ["c"]


def test_ss_09_one_key_one_job(rig):
    first = rig.call(service.create_job, {"name": "a", "source": RTSP}, key="k")
    again = rig.call(service.create_job, {"name": "a", "source": RTSP}, key="k")
    assert (first.is_new, again.is_new) == (True, False)
    assert again.job == first.job
    assert rig.log(first.job["id"]) == ["pending"]
    rig.call(service.delete_job, first.job["id"])
    assert rig.call(service.create_job, {"name": "b", "source": RTSP}, key="k").job == first.job


def test_a_name_and_a_stream_are_taken_once(rig):
    job = rig.create("a", stream="s")
    with pytest.raises(ConflictError) as refused:
        rig.create("a", stream="t")
    assert (refused.value.name, refused.value.details["job"]) == ("name_taken", job)
    with pytest.raises(ConflictError) as refused:
        rig.create("b", stream="s")
    assert (refused.value.name, refused.value.details["job"]) == ("stream_taken", job)
    rig.create("b", stream="s", endpoint="http://127.0.0.1:8091")
    rig.create("c", stream="s", region="eu-west-1")


def test_young_jobs_are_shared_out_fairly(rig):
    assert rig.poll("h1", 10)["jobs"] == rig.poll("h2", 10)["jobs"] == []
    for number in range(6):
        rig.create(f"cam-{number}")
    assert len(rig.claim("h1", 10)) == 3
    assert rig.claim("h1", 9) == []
    rig.to(3)
    assert len(rig.claim("h1", 9)) == 3


def test_the_handout_rate(rig):
    rig.call(service.put_settings, {"handout_rate": 2, "handout_burst": 3})
    for number in range(9):
        rig.create(f"cam-{number}")
    assert len(rig.claim("h1", 9)) == 3
    assert rig.claim("h1", 9) == []
    rig.to(1)
    assert len(rig.claim("h1", 9)) == 2


# Progress and end


def test_ss_10_progress_logs_nothing(rig):
    job = rig.create()
    rig.poll()
    for second in range(5, 60, 5):
        rig.to(second)
        verdict = rig.report(job, 1, stats={"fps": 25, "state": "STREAMING"})
        assert (verdict["verdict"], verdict["accepted"]) == ("continue", True)
    assert rig.log(job) == ["pending", "in_progress"]
    assert rig.show(job)["stats"] == {"fps": 25, "state": "STREAMING"}


def test_ss_11_done_once(rig):
    job = rig.create(source=FILE)
    rig.poll()
    verdict = rig.report(job, 1, "done")
    assert (verdict["verdict"], verdict["accepted"]) == ("stop", True)
    verdict = rig.report(job, 1, "done")
    assert (verdict["verdict"], verdict["accepted"]) == ("stop", False)
    assert rig.log(job) == ["pending", "in_progress", "done"]
    assert rig.show(job)["handler"] is None


def test_ss_12_a_failure_keeps_its_text(rig):
    job = rig.create(autorestart={"restart": False})
    rig.poll()
    assert rig.fail(job, 1)["accepted"]
    assert rig.show(job)["error"] == {"class": "source_unreachable", "text": "boom"}
    assert rig.records(job)[-1]["error"] == {"class": "source_unreachable", "text": "boom"}
    rig.patch(job, "pending")
    rig.claim()
    assert rig.show(job)["error"] is None


def test_ss_13_a_report_of_a_pending_job_changes_nothing(rig):
    job = rig.create()
    verdict = rig.report(job, 0, "done")
    assert (verdict["verdict"], verdict["accepted"]) == ("stop", False)
    assert rig.log(job) == ["pending"]


def test_ss_14_a_stalled_job_avoids_its_handler_while_another_is_free(rig):
    job = rig.create()
    assert rig.claim("h1") == ["a"]
    assert rig.claim("h2") == []
    rig.fail(job, 1, error_class="stalled")
    rig.to(1)
    assert rig.status(job) == "pending"
    rig.to(5)
    assert rig.claim("h1") == []
    assert rig.claim("h2") == ["a"]


# Users


def test_ss_15_pause_is_the_last_record(rig):
    job = rig.create()
    rig.poll()
    assert rig.patch(job, "pause")["status"] == "pause"
    assert rig.report(job, 1)["verdict"] == "stop"
    assert rig.log(job) == ["pending", "in_progress", "pause"]


def test_ss_16_a_file_in_progress_is_not_paused(rig):
    job = rig.create(source=FILE)
    rig.poll()
    with pytest.raises(FileInProgressError) as refused:
        rig.patch(job, "pause")
    assert refused.value.http_status == 422
    assert rig.patch(job, "cancel")["status"] == "cancel"


def test_ss_17_a_pending_file_is_paused(rig):
    assert rig.patch(rig.create(source=FILE), "pause")["status"] == "pause"


def test_ss_18_a_resumed_job_is_the_last_of_the_queue(rig):
    job = rig.create("a", status="pause")
    rig.create("b")
    rig.to(1)
    rig.patch(job, "pending")
    rig.to(5)
    assert rig.claim(free=2) == ["b", "a"]


@pytest.mark.parametrize("end, may", [("done", ["pending", "pause"]), ("failure", ["pending", "pause"])])
def test_ss_19_what_has_ended_is_not_cancelled(rig, end, may):
    job = rig.create(autorestart={"restart": False})
    rig.poll()
    rig.report(job, 1, end)
    with pytest.raises(ConflictError) as refused:
        rig.patch(job, "cancel")
    said = refused.value
    assert (said.name, said.details) == ("transition", {"from": end, "to": "cancel", "allowed": may})


def test_ss_19_a_second_cancel_is_refused(rig):
    job = rig.create()
    rig.patch(job, "cancel")
    with pytest.raises(ConflictError):
        rig.patch(job, "cancel")
    assert rig.log(job) == ["pending", "cancel"]


@pytest.mark.parametrize("status", ["in_progress", "restart", "handler_lost", "done", "deleted", ""])
def test_ss_20_a_user_asks_for_three_statuses_only(rig, status):
    job = rig.create()
    with pytest.raises(BadFieldError):
        rig.patch(job, status)


def test_ss_21_a_replace_begins_again(rig):
    job = rig.create("a", stream="s")
    rig.poll()
    shown = rig.call(service.replace_job, job, {"name": "a", "stream": "s", "source": RTSP, "description": "new"})
    assert (shown["version"], shown["status"], shown["description"]) == (2, "pending", "new")
    assert [(one["status"], one["cause"]) for one in rig.records(job)[-2:]] == [
        ("restart", "replace"),
        ("pending", "replace"),
    ]
    rig.to(4)
    assert rig.claim("h2") == []  # the first handler may still be sending
    assert rig.report(job, 1)["verdict"] == "stop"
    rig.poll("h1", free=0, carried=[])
    assert [given["epoch"] for given in rig.poll("h2")["jobs"]] == [2]


def test_ss_22_a_replace_that_asks_for_pause(rig):
    job = rig.create()
    rig.poll()
    rig.report(job, 1, "done")
    rig.call(service.replace_job, "@a", {"name": "a", "source": RTSP, "status": "pause"})
    assert rig.log(job)[-2:] == ["restart", "pause"]
    assert rig.status(job) == "pause"


def test_ss_23_a_deleted_job(rig):
    job = rig.create()
    rig.poll()
    rig.call(service.delete_job, job)
    with pytest.raises(NotFoundError):
        rig.show(job)
    assert rig.log(job) == ["pending", "in_progress", "deleted"]
    assert rig.log("@a") == ["pending", "in_progress", "deleted"]
    for _ in range(2):
        assert rig.report(job, 1)["verdict"] == "not_found"


def test_ss_24_deleted_once(rig):
    job = rig.create()
    rig.call(service.delete_job, job)
    with pytest.raises(NotFoundError):
        rig.call(service.delete_job, job)
    assert rig.log(job) == ["pending", "deleted"]


def test_ss_25_a_reader_sees_no_transient_status(rig):
    """SS-44 holds too: the check at the end of each test replays every log."""
    job = rig.create()
    seen, is_over = set(), threading.Event()

    def read():
        while not is_over.is_set():
            seen.add(rig.status(job))

    reader = threading.Thread(target=read)
    reader.start()
    for nth in range(40):
        rig.poll(f"h{nth}")
        rig.poll(f"h{nth}", incarnation="second", free=0)  # the job is lost
        rig.call(service.replace_job, job, {"name": "a", "source": RTSP})
    is_over.set()
    reader.join()
    assert seen <= {"pending", "in_progress"}
    assert rig.log(job).count("handler_lost") >= 2


# Losses


def test_ss_26_silence_for_a_lease(rig):
    job = rig.create()
    rig.poll()
    rig.to(2)
    rig.report(job, 1)
    rig.to(21)
    assert rig.status(job) == "in_progress"
    rig.to(22)
    records = rig.records(job)[-3:]
    assert [(one["status"], one["cause"]) for one in records] == [
        ("handler_lost", "lease"),
        ("restart", "handler_lost"),
        ("pending", "handler_lost"),
    ]


def lost_job(rig):
    job = rig.create()
    rig.poll()
    rig.to(20)
    assert rig.status(job) == "pending"
    return job


def test_ss_27_a_late_done_of_an_old_epoch(rig):
    job = lost_job(rig)
    rig.to(24)
    assert rig.claim("h2") == ["a"]
    rig.to(25)
    verdict = rig.report(job, 1, "done")
    assert (verdict["verdict"], verdict["accepted"], verdict["taken_ago_ms"]) == ("stop", False, 1000)
    shown = rig.show(job)
    assert (shown["status"], shown["handler"], shown["epoch"]) == ("in_progress", "h2", 2)


def test_ss_28_a_late_progress_before_the_next_claim(rig):
    job = lost_job(rig)
    assert rig.report(job, 1)["verdict"] == "stop"
    assert rig.status(job) == "pending"


def test_ss_29_only_what_is_not_reported_is_lost(rig):
    a, b = rig.create("a"), rig.create("b")
    rig.to(4)
    assert rig.claim(free=2) == ["a", "b"]
    for second in range(5, 30, 5):
        rig.to(second)
        rig.report(a, 1)
    assert (rig.status(a), rig.status(b)) == ("in_progress", "pending")


def test_ss_30_a_handback_costs_no_attempt(rig):
    job = rig.create()
    rig.poll()
    verdict = rig.report(job, 1, "handback")
    assert (verdict["verdict"], verdict["accepted"]) == ("stop", True)
    assert [(one["status"], one["cause"]) for one in rig.records(job)[-1:]] == [("pending", "handback")]
    assert rig.show(job)["autorestart"]["current_attempt"] == 0
    rig.to(4)
    assert rig.claim("h2") == ["a"]


def test_ss_31_a_server_that_was_away_waits_a_lease(rig):
    job = rig.create()
    rig.poll()
    rig.clock_ms += 60_000
    rig.begin()
    rig.to(60 + 19)
    assert rig.status(job) == "in_progress"
    rig.to(60 + 21)
    assert rig.status(job) == "pending"


# Logs


def test_ss_45_retention_keeps_the_newest_record(rig):
    job, other = rig.create("a"), rig.create("b")
    rig.patch(job, "pause")
    rig.call(service.put_settings, {"logs_keep_days": 1})
    rig.clock_ms += 25 * 3600 * 1000
    rig.patch(other, "pause")
    assert rig.call(service.keep_logs) == 2
    assert rig.log(job) == ["pause"]
    assert rig.log(other) == ["pause"]


def test_logs_of_all_jobs_by_pages(rig):
    for name in "abc":
        rig.patch(rig.create(name), "pause")
    seen, query = [], {"limit": "4"}
    while True:
        page = rig.call(service.list_logs, query)
        seen += [(one["name"], one["status"]) for one in page["logs"]]
        if page["next"] is None:
            break
        query = {"limit": "4", "after": page["next"]}
    assert seen == [(name, status) for name in "abc" for status in ("pending", "pause")]
    paused = rig.call(service.list_logs, {"status": "pause", "since": "2026-01-01T00:00:00Z"})
    assert len(paused["logs"]) == 3


def test_records_before_a_time_are_deleted(rig):
    job = rig.create()
    rig.to(10)
    rig.patch(job, "pause")
    assert rig.call(service.delete_logs, {"before": "2026-01-01T00:00:05.000Z"}) == {"deleted": 1}
    assert rig.log(job) == ["pause"]
    with pytest.raises(BadFieldError):
        rig.call(service.delete_logs, {"before": "yesterday"})
