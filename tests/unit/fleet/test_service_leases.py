"""Leases over both stores. Goal: one writer of a stream at any time, and no job that is lost or stuck.

The rules are those of docs/fleet.md: what is not released, or ended by the sweep, holds back the next claim.
"""

import pytest
from fleet_rig import LEASE_S, RTSP

from kvspic.fleet import service
from kvspic.fleet.errors import ConflictError, NotFoundError
from kvspic.fleet.schema import LEASES


def claimed(rig, name="a", handler="h1", **body):
    job = rig.create(name, **body)
    rig.clock_ms += 4000
    assert rig.claim(handler) == [name]
    return job


def lose_volatile(rig):
    """What a crash of PostgreSQL does to UNLOGGED tables."""
    with rig.store._engine.begin() as connection:
        connection.execute(LEASES.delete())


def test_a_new_process_ends_the_one_before_it(rig):
    job = claimed(rig)
    assert rig.claim("h1", incarnation="second") == ["a"]
    assert [(one["status"], one["cause"]) for one in rig.records(job)[-4:]] == [
        ("handler_lost", "incarnation"),
        ("restart", "handler_lost"),
        ("pending", "handler_lost"),
        ("in_progress", "claim"),
    ]
    for call in (lambda: rig.poll("h1"), lambda: rig.report(job, 1)):
        with pytest.raises(ConflictError) as refused:
            call()
        assert refused.value.name == "superseded"
    assert rig.status(job) == "in_progress"


def test_two_machines_with_one_name(rig):
    claimed(rig, handler="h1")
    rig.poll("h1", host="machine-1")
    with pytest.raises(ConflictError) as refused:
        rig.poll("h1", incarnation="second", host="machine-2")
    assert refused.value.name == "name_in_use"
    rig.to(30)
    assert rig.poll("h1", incarnation="second", host="machine-2")["jobs"] != []


def test_a_worker_of_an_older_or_a_newer_version_is_understood(rig):
    """An older one sends the required fields only; what a newer one adds is ignored, in all that workers call."""
    job = rig.create("a")
    old = {"incarnation": "i1", "slots": 1, "free": 1, "labels": []}
    rig.clock_ms += 4000
    (given,) = rig.call(service.poll, "old", old)["jobs"]
    feedback = {"incarnation": "i1", "reports": [{"id": job, "epoch": given["epoch"], "status": "handback"}]}
    assert rig.call(service.feedback, "old", feedback)["verdicts"][0]["accepted"]
    rig.clock_ms += 4000
    new = {**old, "version": "9.0.0", "seq": 1, "host": "m", "carried": [], "planet": "Mars"}
    (given,) = rig.call(service.poll, "new", new)["jobs"]
    report = {"id": job, "epoch": given["epoch"], "status": "in_progress", "stats": {"mood": "good"}, "planet": "Mars"}
    answer = rig.call(service.feedback, "new", {"incarnation": "i1", "reports": [report], "planet": "Mars"})
    assert answer["verdicts"][0]["verdict"] == "continue"
    assert (
        rig.call(service.backfill, {"handler": "new", "job": job, "epoch": 1, "planet": "Mars"})["lease_s"] == LEASE_S
    )
    assert [one["version"] for one in rig.call(service.list_handlers)["handlers"]] == ["9.0.0", ""]


@pytest.mark.parametrize("wrong_ms", [0, 4_102_444_800_000])
def test_a_server_whose_wall_clock_is_wrong_hands_out_and_loses_as_one_whose_clock_is_right(rig, wrong_ms):
    """In 1970 or 2100: neither side's calls hold a time of day, only lengths of time."""
    rig.clock_ms = wrong_ms
    rig.begin()
    job = claimed(rig)

    def silent_for(seconds):
        for _ in range(seconds):
            rig.clock_ms += 1000
            rig.sweep()

    silent_for(LEASE_S - 1)
    assert rig.status(job) == "in_progress"
    silent_for(6)
    assert rig.status(job) == "pending"
    assert rig.claim("h2") == ["a"]
    assert rig.faults() == []


def test_an_answer_that_was_lost_is_given_again(rig):
    job = claimed(rig)
    again = rig.poll("h1", free=1, carried=[])
    assert [(given["id"], given["epoch"]) for given in again["jobs"]] == [(job, 1)]
    assert rig.log(job) == ["pending", "in_progress"]
    assert rig.poll("h1", carried=[{"id": job, "epoch": 1}])["jobs"] == []


def test_a_handler_gets_no_more_than_its_slots(rig):
    for name in "abc":
        rig.create(name)
    rig.to(4)
    assert len(rig.poll("h1", free=1, slots=2)["jobs"]) == 1
    assert len(rig.poll("h1", free=2, slots=2)["jobs"]) == 1
    assert rig.poll("h1", free=2, slots=2)["jobs"] == []


def test_a_paused_job_waits_for_its_writer(rig):
    job = claimed(rig)
    rig.patch(job, "pause")
    rig.patch(job, "pending")
    rig.to(10)
    assert rig.claim("h2") == []
    rig.poll("h1", free=0, carried=[])
    assert rig.claim("h2") == ["a"]


@pytest.mark.parametrize("status", ["pause", "cancel"])
def test_a_verdict_says_what_the_job_is_now(rig, status):
    """A worker flushes a paused job and drops a cancelled one; a job that is gone has no status."""
    job = claimed(rig)
    assert rig.report(job, 1)["status"] == "in_progress"
    rig.patch(job, status)
    said = rig.report(job, 1)
    assert (said["verdict"], said["status"]) == ("stop", status)
    rig.call(service.delete_job, job)
    said = rig.report(job, 1)
    assert (said["verdict"], said["status"]) == ("not_found", None)


def test_a_job_that_goes_on_without_a_lease_is_shown_as_not_fenced(rig):
    jobs = [rig.create(way, options={"on_server_loss": way}) for way in ("fence", "keep")]
    assert [rig.show(job)["fenced"] for job in jobs] == [True, False]


def test_what_is_handed_out_has_the_jobs_number(rig):
    rig.create("a")
    rig.create("b")
    rig.clock_ms += 4000
    assert [(job["name"], job["number"]) for job in rig.poll(free=2)["jobs"]] == [("a", 1), ("b", 2)]


def test_a_writer_that_says_no_more_is_waited_for(rig):
    job = claimed(rig)
    rig.patch(job, "pause")
    rig.patch(job, "pending")
    rig.to(23)
    assert rig.claim("h2") == []
    rig.to(24)
    assert rig.claim("h2") == ["a"]
    assert "handler_lost" not in rig.log(job)


@pytest.mark.parametrize("end", ["done", "failure", "handback"])
def test_an_end_that_is_not_accepted_releases_all_the_same(rig, end):
    job = claimed(rig)
    rig.patch(job, "pause")
    rig.patch(job, "pending")
    rig.to(10)
    verdict = rig.report(job, 1, end)
    assert (verdict["verdict"], verdict["accepted"]) == ("stop", False)
    assert rig.claim("h2") == ["a"]


def test_a_stream_outlives_its_job(rig):
    job = claimed(rig, "a", stream="s")
    rig.call(service.delete_job, job)
    rig.create("b", stream="s")
    rig.to(10)
    assert rig.claim("h2") == []
    rig.to(24)
    assert rig.claim("h2") == ["b"]


def test_a_job_that_moves_to_another_stream_leaves_the_old_one_held(rig):
    job = claimed(rig, "a", stream="s")
    rig.call(service.replace_job, job, {"name": "a", "stream": "t", "source": RTSP})
    rig.create("b", stream="s")
    rig.to(10)
    assert rig.claim("h2", 2) == ["a"]
    rig.report(job, 1, "handback")
    assert rig.claim("h2", 2) == ["b"]


def test_an_older_poll_releases_nothing(rig):
    job = rig.create()
    rig.to(4)
    assert rig.claim(seq=2, carried=[]) == ["a"]
    rig.patch(job, "pause")
    rig.patch(job, "pending")
    rig.to(10)
    for seq in (1, 2):
        rig.poll("h1", free=0, seq=seq, carried=[])
        assert rig.claim("h2") == []
    rig.poll("h1", free=0, seq=3, carried=[])
    assert rig.claim("h2") == ["a"]


def test_a_long_poll_that_looks_again_releases_nothing(rig):
    job = claimed(rig)
    rig.patch(job, "pause")
    rig.patch(job, "pending")
    body = {"incarnation": "h1-1", "slots": 10, "free": 0, "labels": [], "carried": []}
    rig.call(service.poll, "h1", body, is_again=True)
    assert rig.claim("h2") == []
    rig.call(service.poll, "h1", body)
    assert rig.claim("h2") == ["a"]


def test_an_older_poll_gets_nothing(rig):
    rig.poll("h1", seq=5, carried=[])
    rig.create()
    rig.to(4)
    assert rig.claim("h1", seq=4, carried=[]) == []
    assert rig.claim("h1", seq=5, carried=[]) == ["a"]


def test_a_feedback_keeps_the_number_of_a_poll_that_overtook_it(emptied_postgres_rig):
    rig = emptied_postgres_rig
    rig.poll(seq=1)

    def feedback(tx):
        row, _ = tx.heard("h1", set())
        rig.poll(seq=3)
        tx.renew("h1", "h1-1", {}, tx.now + 20_000, row)

    rig.call(feedback)
    rig.create()
    assert rig.claim(seq=2) == []
    assert rig.claim(seq=4) == ["a"]


@pytest.mark.parametrize("name", ["a\x00", "a\ud800", "\udc00a", "\u00e9"])
def test_numbers_under_any_name_are_kept(rig, name):
    job = claimed(rig)
    assert rig.report(job, 1, stats={name: 7})["verdict"] == "continue"
    assert rig.show(job)["stats"] == {name: 7}


def test_leases_lost_in_a_crash_are_rebuilt(rig):
    job = claimed(rig)
    rig.create("b")
    rig.to(5)
    lose_volatile(rig)
    assert rig.claim("h2", 2) == []  # nothing is handed out for a lease
    assert rig.report(job, 1)["verdict"] == "continue"
    rig.to(24)
    assert rig.status(job) == "in_progress"
    assert rig.claim("h2", 2) == []
    rig.report(job, 1)
    rig.to(26)
    assert rig.claim("h2", 2) == ["b"]


def test_after_a_crash_a_list_releases_nothing(rig):
    job = claimed(rig)
    rig.patch(job, "pause")
    lose_volatile(rig)
    rig.poll("h1", free=0, carried=[], seq=1)
    rig.patch(job, "pending")
    rig.to(10)
    assert rig.claim("h2") == []


def test_after_a_crash_of_the_only_box_its_own_worker_need_not_wait(rig):
    claimed(rig)
    lose_volatile(rig)
    assert rig.claim("h1", incarnation="second") == ["a"]


def test_a_lease_that_was_lost_is_not_renewed(rig):
    job = claimed(rig)
    rig.to(24)
    assert rig.report(job, 1)["verdict"] == "stop"
    assert rig.status(job) == "pending"


def test_a_lowered_lease_keeps_the_old_promise(rig):
    rig.call(service.put_settings, {"lease_s": 100})
    job = claimed(rig)
    rig.call(service.put_settings, {"lease_s": 5})
    assert rig.report(job, 1)["verdict"] == "continue"
    rig.to(103)
    assert rig.status(job) == "in_progress"
    rig.to(104)
    assert rig.status(job) == "pending"


def test_a_lowered_lease_is_kept_by_a_server_that_was_away(rig):
    rig.call(service.put_settings, {"lease_s": 100})
    job = claimed(rig)
    rig.call(service.put_settings, {"lease_s": 5})
    rig.clock_ms += 60_000
    rig.begin()
    rig.to(4 + 60 + 99)
    assert rig.status(job) == "in_progress"


@pytest.mark.parametrize("later_s, lost_s", [(30, 34 + LEASE_S), (3600, 4 + LEASE_S)])
def test_what_was_renewed_while_a_server_was_away_is_not_taken_back(rig, later_s, lost_s):
    """By a clock that was a little ahead; a lease of a clock that was wrong by an hour would hold for too long."""
    job = claimed(rig)
    rig.clock_ms += later_s * 1000
    rig.report(job, 1)
    rig.clock_ms -= later_s * 1000
    rig.call(service.sweep, renew=True)
    rig.to(lost_s - 1)
    assert rig.status(job) == "in_progress"
    rig.to(lost_s)
    assert rig.status(job) == "pending"


def test_a_step_of_the_clock_loses_no_job(rig):
    job = claimed(rig)
    rig.sweep()
    was, rig.clock_ms = rig.clock_ms, rig.clock_ms + 3_600_000
    lease_s = 20
    assert rig.watch.must_renew(was / 1000 - 1_767_225_600 + 1, rig.clock_ms, lease_s)
    rig.call(service.sweep, renew=True)
    assert rig.status(job) == "in_progress"
    assert rig.report(job, 1)["verdict"] == "continue"


def test_a_camera_that_kills_its_worker_waits_from_the_third_time_on(rig):
    job = rig.create(autorestart={"jitter": 0})
    rig.create("b", autorestart={"jitter": 0})
    rig.to(4)
    for process in range(1, 4):
        assert rig.claim("h1", 2, incarnation=f"p{process}", carried=None) == ["a", "b"][: 2 if process < 4 else 1]
        rig.to(rig.now + 1)
    assert rig.claim("h1", 2, incarnation="p4") == []
    assert rig.show(job)["waits_until"] is not None
    rig.to(rig.now + 59)
    assert rig.claim("h1", 2, incarnation="p4") == []
    rig.to(rig.now + 1)
    assert rig.claim("h1", 2, incarnation="p4") == ["a"]  # one such job at a time
    assert rig.claim("h1", 2, incarnation="p4") == []
    assert rig.claim("h2", 2) == ["b"]


def test_when_most_handlers_fall_silent_none_is_lost(rig):
    jobs = [claimed(rig, f"cam-{number}", f"h{number}") for number in range(6)]
    for nth, job in enumerate(jobs):
        rig.report(job, 1, handler=f"h{nth}")
    rig.to(rig.now + 40)
    assert {rig.status(job) for job in jobs} == {"in_progress"}
    assert "6 of 6 handlers" in rig.call(service.list_handlers)["notice"]
    for nth, job in enumerate(jobs[:2]):
        assert rig.report(job, 1, handler=f"h{nth}")["verdict"] == "continue"
    rig.to(rig.now + 1)
    assert [rig.status(job) for job in jobs] == ["in_progress"] * 2 + ["pending"] * 4


def test_a_handler_that_is_not_known_is_answered(rig):
    job = rig.create()
    assert rig.report(job, 1, handler="stranger")["verdict"] == "stop"
    assert rig.report("0" * 32, 1, handler="stranger")["verdict"] == "not_found"


def test_drain(rig):
    job = claimed(rig)
    rig.create("b")
    assert rig.call(service.drain, "h1")["state"] == "draining"
    answer = rig.poll("h1", free=5, carried=[{"id": job, "epoch": 1}])
    assert (answer["handback"], answer["jobs"]) == ([job], [])
    body = {"incarnation": "h1-1", "reports": [{"id": job, "epoch": 1, "status": "in_progress"}]}
    assert rig.call(service.feedback, "h1", body)["handback"] == [job]
    rig.to(8)
    assert rig.claim("h1", 5, incarnation="second") == []  # a drain survives a restart
    rig.call(service.undrain, "h1")
    assert rig.claim("h1", 5, incarnation="second") == ["b", "a"]


def test_rebalance(rig):
    for number in range(12):
        rig.create(f"cam-{number}")
    rig.to(4)
    given = rig.poll("h1", free=12, slots=12)["jobs"]
    assert len(given) == 12
    rig.poll("h2", free=12, slots=12)
    assert rig.call(service.rebalance, {"max": 100}) == {"moving": 6}
    carried = [{"id": job["id"], "epoch": 1} for job in given]
    assert len(rig.poll("h1", free=0, slots=12, carried=carried)["handback"]) == 5
    assert rig.call(service.rebalance, {"max": 100}) == {"moving": 6}


def test_a_handler_is_forgotten_when_it_carries_nothing(rig):
    job = claimed(rig)
    with pytest.raises(ConflictError):
        rig.call(service.delete_handler, "h1")
    rig.report(job, 1, "handback")
    rig.call(service.delete_handler, "h1")
    assert rig.call(service.list_handlers)["handlers"] == []


def test_backfill_one_at_a_time(rig):
    job = claimed(rig)
    rig.to(24)
    assert rig.claim("h2") == ["a"]
    rig.report(job, 2, "in_progress", handler="h2", stats={"state": "streaming"})
    rig.clock_ms += 1500
    granted = rig.call(service.backfill, {"handler": "h1", "job": job, "epoch": 1})
    assert granted == {"lease_s": 20, "taken_ago_ms": 1500}
    assert rig.call(service.backfill, {"handler": "h1", "job": job, "epoch": 1})
    with pytest.raises(ConflictError) as refused:
        rig.call(service.backfill, {"handler": "h3", "job": job, "epoch": 1})
    assert refused.value.name == "backfill_refused"
    with pytest.raises(ConflictError):
        rig.call(service.backfill, {"handler": "h1", "job": job, "epoch": 2})


@pytest.mark.parametrize("state", [None, "opening", "ready", "put_stream", "failed"])
def test_backfill_gives_way_to_the_upload_of_the_one_that_carries_the_job(rig, state):
    job = claimed(rig)
    ask = {"handler": "h1", "job": job, "epoch": 1}
    rig.to(24)
    assert rig.call(service.backfill, ask) == {"lease_s": 20, "taken_ago_ms": None}  # it waits for a handler
    assert rig.claim("h2") == ["a"]
    if state is not None:
        rig.report(job, 2, "in_progress", handler="h2", stats={"state": state})
    with pytest.raises(ConflictError, match="is not streaming"):
        rig.call(service.backfill, ask)
    assert rig.call(service.backfill, {**ask, "handler": "h2"})["taken_ago_ms"] == 0  # who carries it only asks


def test_backfill_of_a_job_that_is_gone_says_whether_it_was_deleted(rig):
    job = claimed(rig)
    rig.call(service.delete_job, job)
    for name, is_deleted in ((job, True), ("f" * 32, False)):
        with pytest.raises(NotFoundError) as gone:
            rig.call(service.backfill, {"handler": "h1", "job": name, "epoch": 1})
        assert gone.value.to_dict()["deleted"] is is_deleted
