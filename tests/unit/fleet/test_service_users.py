"""Lists, groups, apply, settings, secrets over both stores. Goal: what a user asks for is done whole or not at all."""

import json
import threading

import pytest
from fleet_rig import FILE, RTSP, Rig

from kvspic.fleet import service
from kvspic.fleet.errors import BadFieldError, ConflictError, NotFoundError

SECRET = {"type": "rtsp", "url": "rtsp://admin:s3cret%21@10.0.0.9/live?user=x&password=other-secret&channel=1"}


def camera(name, **more):
    return {"name": name, "source": RTSP, **more}


def apply(rig, *jobs, **more):
    return rig.call(service.apply_jobs, {"jobs": list(jobs), **more})


def names(rig, **query):
    return [job["name"] for job in rig.call(service.list_jobs, query)["jobs"]]


def test_pages_of_jobs(rig):
    for number in range(7):
        rig.create(f"cam-{number}", group="even" if number % 2 == 0 else "odd", labels=[f"site-{number % 3}"])
    rig.patch("@cam-2", "pause")
    seen, after = [], {}
    while after is not None:
        page = rig.call(service.list_jobs, {"limit": "3", **after})
        seen += [job["name"] for job in page["jobs"]]
        after = {"after": page["next"]} if page["next"] else None
    assert seen == [f"cam-{number}" for number in range(7)]
    assert names(rig, status="pause") == ["cam-2"]
    assert names(rig, group="odd") == ["cam-1", "cam-3", "cam-5"]
    assert names(rig, label="site-1") == ["cam-1", "cam-4"]
    assert names(rig, name="cam-6") == ["cam-6"]


@pytest.mark.parametrize(
    "query",
    [
        {"limit": "0"},
        {"limit": "1001"},
        {"limit": "x"},
        {"after": "-1"},
        {"status": "gone"},
        {"label": "'"},
        {"x": "1"},
    ],
)
def test_a_wrong_query(rig, query):
    with pytest.raises(BadFieldError):
        rig.call(service.list_jobs, query)


def test_the_name_can_be_changed_but_not_to_one_that_is_taken(rig):
    job = rig.create("a")
    rig.create("b")
    assert rig.call(service.patch_job, job, {"name": "c", "group": "g"})["group"] == "g"
    assert rig.call(service.patch_job, "@c", {"group": None})["group"] is None
    with pytest.raises(ConflictError):
        rig.call(service.patch_job, job, {"name": "b"})
    assert rig.show(job)["name"] == "c"


@pytest.mark.parametrize(
    "body", [{}, {"status": "pause", "name": "b"}, {"status": None}, {"name": None}, {"stream": "x"}, [], None, "pause"]
)
def test_a_wrong_patch(rig, body):
    job = rig.create("a")
    with pytest.raises(BadFieldError):
        rig.call(service.patch_job, job, body)
    assert rig.status(job) == "pending"


def test_the_job_is_looked_for_before_its_body(rig):
    for operation in (service.patch_job, service.replace_job):
        with pytest.raises(NotFoundError):
            rig.call(operation, "@nothing", {"wrong": 1})


def test_a_group_is_changed_in_batches(rig):
    for number in range(5):
        rig.create(f"cam-{number}", group="yard", source=FILE if number == 3 else RTSP)
    rig.create("other")
    rig.to(4)
    rig.poll(free=6)
    changed, refused, after = 0, [], 0
    while after is not None:
        batch = rig.call(service.patch_group, "yard", {"status": "pause"}, after=after, limit=2)
        changed, refused, after = changed + batch.changed, refused + batch.refused, batch.next
    assert (changed, [one["from"] for one in refused]) == (4, ["in_progress"])
    assert rig.status("@other") == "in_progress"
    with pytest.raises(NotFoundError):
        rig.call(service.patch_group, "nothing", {"status": "pause"})


def test_apply_makes_the_jobs_be_as_the_list_says(rig):
    counts = apply(rig, camera("a"), camera("b"), camera("c"), group="yard")
    assert counts == {"created": 3, "replaced": 0, "unchanged": 0, "deleted": 0}
    rig.create("alone")
    counts = apply(rig, camera("a"), camera("b", description="new"), group="yard", prune=True)
    assert counts == {"created": 0, "replaced": 1, "unchanged": 1, "deleted": 1}
    assert names(rig) == ["a", "b", "alone"]
    assert [rig.show(f"@{name}")["version"] for name in "ab"] == [1, 2]


def test_apply_leaves_a_paused_camera_paused(rig):
    apply(rig, camera("a"))
    rig.patch("@a", "pause")
    apply(rig, camera("a", description="new"))
    assert rig.status("@a") == "pause"
    apply(rig, camera("a", description="newer", status="pending"))
    assert rig.status("@a") == "pending"


def test_two_cameras_exchange_their_streams(rig):
    apply(rig, camera("a", stream="s"), camera("b", stream="t"))
    assert apply(rig, camera("a", stream="t"), camera("b", stream="s"))["replaced"] == 2
    assert [rig.show(f"@{name}")["stream"] for name in "ab"] == ["t", "s"]


@pytest.mark.parametrize(
    "second, field",
    [
        (camera("a"), "jobs[1].name"),
        (camera("b", stream="a"), "jobs[1].stream"),
        (camera("b", description="x" * 513), "jobs[1].description"),
        (7, "jobs[1]"),
        (camera("0" * 32), "jobs[1].name"),
    ],
)
def test_apply_does_all_or_nothing(rig, second, field):
    with pytest.raises(BadFieldError) as refused:
        apply(rig, camera("a"), second)
    assert refused.value.field == field
    assert refused.value.details["index"] == 1
    assert names(rig) == []


def test_apply_names_a_stream_that_another_job_writes(rig):
    job = rig.create("other", stream="s")
    with pytest.raises(ConflictError) as refused:
        apply(rig, camera("a"), camera("b", stream="s"))
    assert (refused.value.name, refused.value.details) == ("stream_taken", {"job": job, "index": 1})
    assert names(rig) == ["other"]


def test_a_pruned_job_lets_go_of_its_stream(rig):
    rig.create("old", stream="s", group="yard")
    assert apply(rig, camera("new", stream="s"), group="yard", prune=True)["deleted"] == 1


def test_a_password_leaves_only_to_the_handler(rig):
    job = rig.create("a", source=SECRET)
    given = rig.poll()["jobs"][0]
    assert given["source"]["url"] == SECRET["url"]
    stats = {"state": "tried s3cret! and s3cret%21"}
    rig.report(job, 1, stats=stats)
    shown = [rig.show(job), rig.call(service.list_jobs, {})]
    rig.fail(job, 1, f"401 from {SECRET['url']}: s3cret! was wrong, other-secret too")
    shown += [rig.show(job), rig.records(job), rig.call(service.show_queue), rig.call(service.list_logs, {})]
    text = json.dumps(shown)
    assert "***" in text
    for secret in ("s3cret", "other-secret"):
        assert secret not in text


def test_the_hidden_password_sent_back_means_as_before(rig):
    job = rig.create("a", source=SECRET)
    shown = rig.show(job)["source"]
    rig.call(service.replace_job, job, {"name": "a", "source": shown, "description": "new"})
    assert rig.poll()["jobs"][0]["source"]["url"] == SECRET["url"]
    other = {**shown, "url": shown["url"].replace("10.0.0.9", "10.0.0.10")}
    with pytest.raises(BadFieldError):  # a password is not sent to another host
        rig.call(service.replace_job, job, {"name": "a", "source": other})
    with pytest.raises(BadFieldError):
        rig.create("b", source=shown)


def test_settings(rig):
    before = rig.call(service.show_settings)
    assert before["lease_s"] == 20
    assert rig.call(service.put_settings, {"lease_s": 2.5, "in_progress_max": 7}) == {
        **before,
        "lease_s": 2.5,
        "in_progress_max": 7,
    }
    assert rig.poll()["lease_s"] == 2.5
    for wrong in ({"lease_s": 1.9}, {"lease_s": 3601}, {"spread_s": "3"}, {"promise_ms": 1}, {"lease_s": None}):
        with pytest.raises(BadFieldError):
            rig.call(service.put_settings, wrong)


def test_export_and_import(rig, tmp_path):
    rig.create("a", source=SECRET, labels=["gpu"])
    rig.create("b")
    rig.poll(labels=["gpu"], free=2)
    rig.patch("@b", "pause")
    rig.call(service.put_settings, {"lease_s": 30})
    rows, after = [], ""
    while after is not None:
        page = rig.call(service.export_page, after=after, limit=2)
        rows, after = rows + page["rows"], page["next"]
    rows = json.loads(json.dumps(rows))
    other = Rig(f"sqlite:///{tmp_path}/new.db")
    other.clock_ms = rig.clock_ms
    other.call(service.import_rows, rows)
    assert other.call(service.list_jobs, {}) == rig.call(service.list_jobs, {})
    assert other.records("@a") == rig.records("@a")
    assert other.faults() == []
    assert other.report(other.show("@a")["id"], 1)["verdict"] == "continue"  # its worker goes on
    with pytest.raises(BadFieldError):
        other.call(service.import_rows, rows)
    other.store.close()


def test_what_was_announced(rig):
    heard = []
    stop = rig.store.listen(lambda news: heard.extend(news or ["begun"]))
    try:
        rig.create("a")
        assert happens(lambda: heard)  # PostgreSQL: its connection is there
        rig.create("b")
        assert happens(lambda: any(one != "begun" and one.kind == "work" for one in heard))
    finally:
        stop()


def happens(condition):
    """Whether a condition holds within ten seconds."""
    pause = threading.Event()
    return any(condition() or pause.wait(0.05) for _ in range(200))


def test_two_servers_and_one_master(rig):
    """SS-32: only one of two servers does the checks; the other one follows when its time has ended."""
    assert rig.call(service.keep_master, "one")
    assert not rig.call(service.keep_master, "two")
    rig.clock_ms += 9000
    assert rig.call(service.keep_master, "one")
    rig.clock_ms += 9999
    assert not rig.call(service.keep_master, "two")
    rig.clock_ms += 1
    assert rig.call(service.keep_master, "two")
    assert not rig.call(service.keep_master, "one")


def test_old_keys_and_handlers_are_forgotten(rig):
    rig.call(service.create_job, camera("a"), key="k")
    rig.poll("h1", free=0)
    rig.poll("h2", free=0)
    rig.call(service.drain, "h2")
    rig.clock_ms += 25 * 3600 * 1000
    rig.call(service.keep_logs)
    assert [one["id"] for one in rig.call(service.list_handlers)["handlers"]] == ["h2"]
    with pytest.raises(ConflictError):
        rig.call(service.create_job, camera("a"), key="k")
