"""The fields of requests. Goal: whatever comes in, a value that can be stored comes out or one field is named."""

import json
import math

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kvspic.fleet import jobs
from kvspic.fleet.errors import BadFieldError
from kvspic.fleet.fields import Field, check_body, check_query, schema_of, storable

RTSP = {"type": "rtsp", "url": "rtsp://10.0.0.9/1"}
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)
TABLES = [
    jobs.JOB_FIELDS,
    jobs.PATCH_FIELDS,
    jobs.POLL_FIELDS,
    jobs.FEEDBACK_FIELDS,
    jobs.APPLY_FIELDS,
    jobs.SETTINGS_FIELDS,
    jobs.BACKFILL_FIELDS,
]


def job(**more):
    return {"name": "a", "source": RTSP, **more}


def refused(body):
    with pytest.raises(BadFieldError) as error:
        jobs.read_job(body)
    return error.value.field


@pytest.mark.parametrize("fields", TABLES)
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_any_json_is_taken_or_refused(fields, data):
    names = st.sampled_from([field.name for field in fields]) | st.text()
    body = data.draw(JSON | st.dictionaries(names, JSON))
    try:
        made = check_body(fields, body)
    except BadFieldError as error:
        json.dumps(error.to_dict())
        return
    json.dumps(made, allow_nan=False).encode()


@pytest.mark.parametrize(
    "body, field",
    [
        (job(name="x" * 129), "name"),
        (job(name="a b"), "name"),
        (job(name="a\n"), "name"),
        (job(name="0" * 32), "name"),
        (job(description="x" * 513), "description"),
        (job(description="a\x00"), "description"),
        (job(description="\ud800"), "description"),
        (job(stream="x" * 257), "stream"),
        (job(stream="a/b"), "stream"),
        (job(endpoint="ftp://x"), "endpoint"),
        (job(region="EU"), "region"),
        (job(group="a b"), "group"),
        (job(group="x" * 129), "group"),
        (job(labels=["x" * 65]), "labels[0]"),
        (job(labels=["a"] * 33), "labels"),
        (job(labels="gpu"), "labels"),
        (job(labels=None), "labels"),
        (job(options={"retention_hours": 87_601}), "options.retention_hours"),
        (job(options={"retention_hours": -1}), "options.retention_hours"),
        (job(options={"retention_hours": 1.5}), "options.retention_hours"),
        (job(options={"retention_hours": True}), "options.retention_hours"),
        (job(options={"stall_s": 9}), "options.stall_s"),
        (job(options={"stall_s": 3601}), "options.stall_s"),
        (job(options={"spool": 1}), "options.spool"),
        (job(options={"speed": 1}), "options.speed"),
        (job(autorestart={"delay": 0.5}), "autorestart.delay"),
        (job(autorestart={"delay": math.nan}), "autorestart.delay"),
        (job(autorestart={"delay": 10**400}), "autorestart.delay"),
        (job(autorestart={"delay": math.inf}), "autorestart.delay"),
        (job(autorestart={"attempt_count": 1001}), "autorestart.attempt_count"),
        (job(autorestart={"backoff": 0.9}), "autorestart.backoff"),
        (job(autorestart={"jitter": 1.1}), "autorestart.jitter"),
        (job(autorestart={"status": "failed"}), "autorestart.status"),
        (job(source="rtsp://10.0.0.9/1"), "source"),
        (job(source={"type": "rtsp"}), "source.url"),
        (job(source={"type": "rtsp", "url": ""}), "source.url"),
        (job(source={"type": "rtsp", "url": "http://10.0.0.9"}), "source.url"),
        (job(source={"type": "file", "url": "rtsp://10.0.0.9"}), "source.url"),
        (job(source={"type": "udp", "url": "udp://10.0.0.9"}), "source.type"),
        (job(source={"type": "rtsp", "url": "rtsp://" + "x" * 2048}), "source.url"),
        (job(colour="red"), "colour"),
        ({"source": RTSP}, "name"),
        ({"name": "a"}, "source"),
        (None, ""),
        ([], ""),
    ],
)
def test_a_field_past_its_bound(body, field):
    assert refused(body) == field


def test_a_field_at_its_bound():
    made = jobs.read_job(
        job(
            name="x" * 128,
            description="x" * 512,
            stream="x" * 256,
            labels=["b" * 64, "a", "a"],
            options={"retention_hours": 87_600, "stall_s": 10},
            autorestart={"attempt_count": None, "delay": 86_400, "backoff": 10, "jitter": 0},
        )
    )
    assert made["labels"] == ["a", "b" * 64]
    assert made["autorestart"]["attempt_count"] is None


def test_defaults():
    made = jobs.read_job(job())
    assert (made["stream"], made["status"], made["group"], made["endpoint"]) == ("a", "pending", None, "")
    assert made["options"]["mode"] == "realtime"
    assert jobs.read_job(job(source={"type": "file", "url": "a.mp4"}))["options"]["mode"] == "offline"


@pytest.mark.parametrize(
    "url, shown",
    [
        ("rtsp://u:pw@h/1", "rtsp://u:***@h/1"),
        ("rtsp://u@h/1", "rtsp://u@h/1"),
        ("rtsp://u:p:w@h/1", "rtsp://u:***@h/1"),
        ("rtsp://u:p@w@h/1", "rtsp://u:***@h/1"),
        ("rtsp://:pw@h/1", "rtsp://:***@h/1"),
        ("rtsp://h/1?user=a&password=b&x=1", "rtsp://h/1?user=a&password=***&x=1"),
        (
            "rtsp://h/user=admin_password=ab_cd_channel=1_stream=0.sdp",
            "rtsp://h/user=admin_password=***_channel=1_stream=0.sdp",
        ),
        ("rtsp://h/1?TOKEN=b", "rtsp://h/1?TOKEN=***"),
        ("/media/a.mp4", "/media/a.mp4"),
    ],
)  # fmt: skip
def test_an_address_without_its_password(url, shown):
    assert jobs.hide(url) == shown
    assert jobs.hide(shown) == shown


@settings(deadline=None)
@given(
    user=st.text("abc"),
    password=st.text(
        st.characters(codec="ascii", exclude_characters="/?# \t\r\n\x0b\x0c\x1c\x1d\x1e\x1f*"), min_size=6
    ),
)
def test_no_password_in_a_text_about_it(user, password):
    url = f"rtsp://{user}:{password}@10.0.0.9/1"
    said = jobs.hide_in_text(f"cannot open {url}: {password} was refused", url)
    assert password not in said.replace("cannot open rtsp://", "").replace("@10.0.0.9/1", "").replace(
        " was refused", ""
    )


def test_a_short_password_is_hidden_as_a_word():
    assert jobs.hide_in_text("a1 is no part of ba1b", "rtsp://u:a1@h") == "*** is no part of ba1b"


@pytest.mark.parametrize(
    "text, kind",
    [
        ("rtsp://h/1", "rtsp"), ("rtsps://h/1", "rtsp"), ("/dev/video0", "device"), ("testsrc", "test"),
        ("testsrc:fps=5", "test"), ("clip.mp4", "file"), ("/a/testsrc.mp4", "file"),
    ],
)  # fmt: skip
def test_the_type_follows_from_the_text(text, kind):
    assert jobs.source_of(text)["type"] == kind


@pytest.mark.parametrize("stats", [{"a": math.nan}, {"a": -1}, {"a": 2**63}, {"a": [1]}, {"a": "x" * 5000}, {"a": {}}])
def test_stats_past_their_bounds(stats):
    with pytest.raises(BadFieldError):
        jobs.read_stats(stats, "")


def test_an_error_text_is_cut():
    report = {"id": "1", "epoch": 1, "status": "failure", "error": {"class": "x" * 99, "text": "y" * 3000, "more": 1}}
    made = check_body(jobs.FEEDBACK_FIELDS, {"incarnation": "1", "reports": [report]})["reports"][0]["error"]
    assert (len(made["class"]), len(made["text"])) == (64, 2000)


def test_what_cannot_be_stored_is_replaced():
    assert storable("a\x00b\ud800") == "a\ufffdb\ufffd"


def test_a_query_is_read():
    fields = (Field("limit", "whole", 100, low=1), Field("all", "flag", False))
    assert check_query(fields, {"limit": "7", "all": "true"}) == {"limit": 7, "all": True}
    for wrong in ({"limit": "7.5"}, {"limit": "x"}, {"all": "maybe"}, {"limit": "9" * 30}, {"more": "1"}):
        with pytest.raises(BadFieldError):
            check_query(fields, wrong)


def test_the_schema_says_what_the_check_does():
    schema = schema_of(jobs.JOB_FIELDS)
    assert schema["required"] == ["name", "source"]
    assert schema["additionalProperties"] is False
    assert schema["properties"]["options"]["properties"]["retention_hours"]["maximum"] == 87_600
    assert schema["properties"]["autorestart"]["properties"]["attempt_count"]["type"] == ["integer", "null"]
    json.dumps(schema)
