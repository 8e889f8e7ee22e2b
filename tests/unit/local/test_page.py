"""The page's requests. Goal: it shows what is there to those who may see it, and to no others."""

import http.client
import json
from urllib.parse import urlencode, urlsplit

import pytest
from unit.local import mkv_bytes as mkv
from unit.local.raw_client import Upload, put

from kvspic.commands.upload import Upload as Sending
from kvspic.commands.upload import UploadPlan
from kvspic.local.page import TOKEN_HEADER
from kvspic.local.server import LocalEndpoint
from kvspic.local.settings import Settings
from kvspic.sources import open_source

T = 1_600_000_000_000


def ask(url, path, method="GET", body=None, **headers):
    """Status, headers and content of an answer; JSON is read."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=10)
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    try:
        connection.request(method, path, None if body is None else json.dumps(body), names)
        answer = connection.getresponse()
        content = answer.read()
    finally:
        connection.close()
    is_json = answer.getheader("Content-Type", "").startswith("application/json")
    return answer.status, answer.headers, json.loads(content) if is_json else content


def page(endpoint, path, **query):
    status, _, answer = ask(endpoint.url, f"/page/{path}?{urlencode(query)}")
    assert status == 200, answer
    return answer


# Files.


def test_the_document_is_sent_with_a_strict_policy(endpoint):
    status, headers, content = ask(endpoint.url, "/")
    assert (status, headers["Content-Type"]) == (200, "text/html; charset=utf-8")
    assert b"/web/local/main.js" in content
    policy = headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert headers["X-Content-Type-Options"] == "nosniff"


def test_a_browser_that_has_a_file_gets_no_second_copy(endpoint):
    _, headers, _ = ask(endpoint.url, "/web/vendor/hls.light.min.mjs")
    assert headers["Content-Type"].startswith("text/javascript")
    status, _, content = ask(endpoint.url, "/web/vendor/hls.light.min.mjs", If_None_Match=headers["ETag"])
    assert (status, content) == (304, b"")


@pytest.mark.parametrize("path", ["/web/", "/web/local", "/web/../cli.py", "/web/%2e%2e/cli.py", "/web/local/none.js"])
def test_only_the_pages_own_files_are_sent(endpoint, path):
    assert ask(endpoint.url, path)[0] == 404


# Who may see it.


@pytest.mark.parametrize(
    "headers", [{"Host": "evil.example"}, {"Origin": "http://evil.example"}, {"Origin": "null"}], ids=str
)
@pytest.mark.parametrize("path", ["/", "/page/streams", "/page/faults"])
def test_pages_of_other_sites_are_refused(endpoint, path, headers):
    status, _, answer = ask(endpoint.url, path, **headers)
    assert (status, set(answer)) == (403, {"Message"})


def test_with_keys_the_numbers_need_the_token_and_the_files_do_not(tmp_path):
    with LocalEndpoint.run_in_thread(tmp_path, access_keys={"AK": "secret"}, page_token="right") as running:
        assert ask(running.url, "/")[0] == 200
        for headers in ({}, {TOKEN_HEADER: "wrong"}, {TOKEN_HEADER: "rïght"}):
            status, _, answer = ask(running.url, "/page/streams", **headers)
            assert (status, "token" in answer["Message"]) == (403, True)
        assert ask(running.url, "/page/streams", **{TOKEN_HEADER: "right"})[2]["streams"] == []
        assert ask(running.url, "/page/faults", "POST", {"kind": "refuse"})[0] == 403


def test_keys_without_a_token_show_nothing(tmp_path):
    with LocalEndpoint.run_in_thread(tmp_path, access_keys={"AK": "secret"}) as running:
        assert ask(running.url, "/page/streams", **{TOKEN_HEADER: ""})[0] == 403
        assert ask(running.url, "/page/streams", **{TOKEN_HEADER: "None"})[0] == 403


# What it shows.


def test_a_stream_is_listed_with_what_its_session_did(endpoint, camera):
    assert page(endpoint, "streams")["streams"][0]["state"] == "empty"
    with Upload(endpoint.url, user_agent="<b>cam</b>") as upload:
        upload.send(mkv.header() + mkv.cluster(T, mkv.block(0), mkv.block(500)) + mkv.END)
        assert upload.head()[0] == 200
        assert [upload.ack()["EventType"] for _ in range(3)] == ["BUFFERING", "RECEIVED", "PERSISTED"]
        row = page(endpoint, "stream", name="cam")
        assert (row["state"], row["open"], row["sessions"], row["fps"]) == ("live", 1, 1, 2.0)
        session = row["ledger"][0]
        assert (session["client"], session["persisted"], session["frames"], session["ended_ms"]) == (
            "<b>cam</b>", 1, 2, None,
        )  # fmt: skip
        assert row["points"][0]["ack_ms"] >= 0
        assert (row["tracks"][0]["codec"], row["tracks"][0]["width"]) == ("H.264", 640)
        upload.end()
        upload.events()
    assert page(endpoint, "streams")["streams"][0]["state"] == "stopped"


def test_error_acks_are_listed(endpoint, camera):
    put(endpoint.url, mkv.header() + mkv.cluster(T, mkv.block(number=9)) + mkv.END)
    row = page(endpoint, "stream", name="cam")
    assert [(error["id"], error["name"]) for error in row["error_acks"]] == [(4010, "TRACK_NUMBER_MISMATCH")]
    assert (row["is_in_error"], row["errors"]) == (True, 1)


def test_what_was_stored_before_a_restart_is_still_shown(tmp_path):
    with LocalEndpoint.run_in_thread(tmp_path, settings=Settings.unlimited()) as first:
        ask(first.url, "/createStream", "POST", {"StreamName": "cam", "DataRetentionInHours": 24})
        put(first.url, mkv.body(2))
    with LocalEndpoint.run_in_thread(tmp_path, settings=Settings.unlimited()) as second:
        row = page(second, "streams")["streams"][0]
        assert (row["state"], row["sessions"], row["last_producer_ms"]) == ("stopped", 0, T + 1000)


def test_gaps_and_copies_are_on_the_time_line(endpoint, camera):
    put(endpoint.url, mkv.body(2, start=T))
    put(endpoint.url, mkv.body(2, start=T))
    put(endpoint.url, mkv.body(1, start=T + 60_000))
    line = page(endpoint, "fragments", name="cam", from_ms=T - 1000, to_ms=T + 100_000)
    assert [one[5] for one in line["fragments"]] == [0, 1, 0, 1, 0]
    assert (line["duplicates"], len(line["gaps"]), line["is_cut"]) == (2, 1, False)
    assert page(endpoint, "fragments", name="cam", from_ms=T + 50_000, to_ms=T + 100_000)["gaps"] == []


def test_metadata_goes_out_as_it_came(endpoint, camera):
    put(endpoint.url, mkv.header() + mkv.tags(("door", "<img src=x onerror=alert(1)>")) + mkv.cluster(T) + mkv.END)
    found = page(endpoint, "metadata", name="cam")["metadata"]
    assert [entry["pairs"] for entry in found] == [[["door", "<img src=x onerror=alert(1)>"]]]


def test_streams_come_a_hundred_a_page_and_are_found_by_a_part_of_their_name(endpoint):
    for number in range(205):
        ask(endpoint.url, "/createStream", "POST", {"StreamName": f"cam-{number:03}"})
    last = page(endpoint, "streams", page=2)
    assert (last["count"], last["pages"], len(last["streams"])) == (205, 3, 5)
    assert page(endpoint, "streams", page=99)["page"] == 2
    found = page(endpoint, "streams", find="CAM-20")
    assert [row["name"] for row in found["streams"]] == [f"cam-{number}" for number in range(200, 205)]


@pytest.mark.parametrize("path", ["stream", "fragments", "metadata", "images"])
def test_a_stream_that_is_not_there_is_said_so(endpoint, path):
    status, _, answer = ask(endpoint.url, f"/page/{path}?name=none")
    assert (status, answer["Message"]) == (404, "The stream is not there (any more).")


def test_video_and_pictures_come_by_the_playback_operations(endpoint):
    with open_source("testsrc:width=64,height=48,duration=3,gop=25") as source:
        assert Sending(UploadPlan(source, "cam", endpoint_url=endpoint.url)).run().is_complete
    last_ms = page(endpoint, "streams")["streams"][0]["last_producer_ms"]
    status, _, answer = ask(endpoint.url, "/page/play", "POST", {"name": "cam"})
    assert (status, answer["url"].split("=")[0]) == (200, "/hls/v1/getHLSMasterPlaylist.m3u8?SessionToken")
    assert ask(endpoint.url, answer["url"])[2].startswith(b"#EXTM3U")
    stored = {"name": "cam", "from_ms": last_ms - 5000, "to_ms": last_ms + 5000}
    assert ask(endpoint.url, "/page/play", "POST", stored)[0] == 200
    images = page(endpoint, "images", name="cam", from_ms=last_ms - 2000, to_ms=last_ms, count=4)["images"]
    assert len(images) == 4
    assert images[-1]["jpeg"].startswith("/9j/")  # a JPEG in base64


# Faults.


def test_a_fault_is_switched_on_listed_and_off(endpoint, camera):
    fault = {"kind": "answer", "operation": "DescribeStream", "status": 503}
    status, _, answer = ask(endpoint.url, "/page/faults", "POST", fault)
    assert status == 200
    assert [(one["kind"], one["status"]) for one in answer["faults"]] == [("answer", 503)]
    assert page(endpoint, "streams")["faults"] == 1
    assert ask(endpoint.url, "/describeStream", "POST", {"StreamName": "cam"})[0] == 503
    number = answer["faults"][0]["number"]
    assert ask(endpoint.url, f"/page/faults?number={number}", "DELETE")[2]["faults"] == []
    assert ask(endpoint.url, "/describeStream", "POST", {"StreamName": "cam"})[0] == 200


def test_the_page_answers_while_every_call_is_refused(endpoint):
    ask(endpoint.url, "/page/faults", "POST", {"kind": "unreachable"})
    assert page(endpoint, "streams")["faults"] == 1
    assert ask(endpoint.url, "/page/faults", "DELETE")[2]["faults"] == []


def test_a_fault_that_is_spent_or_over_leaves_the_list(endpoint, camera):
    ask(endpoint.url, "/page/faults", "POST", {"kind": "answer", "status": 503, "count": 1})
    ask(endpoint.url, "/page/faults", "POST", {"kind": "stall", "delay_ms": 1})
    assert ask(endpoint.url, "/describeStream", "POST", {"StreamName": "cam"})[0] == 503
    assert page(endpoint, "faults")["faults"] == []


def test_a_stream_that_cannot_be_played_is_an_answer_in_words(endpoint):
    ask(endpoint.url, "/createStream", "POST", {"StreamName": "brief", "DataRetentionInHours": 0})
    status, _, answer = ask(endpoint.url, "/page/play", "POST", {"name": "brief"})
    assert (status, answer["url"], "retention" in answer["message"]) == (200, None, True)
    images = page(endpoint, "images", name="brief", from_ms=T, to_ms=T + 1000)
    assert (images["images"], "retention" in images["message"]) == ([], True)


@pytest.mark.parametrize("body", [{"kind": "none"}, {"kind": "cut", "nothing": 1}, {"kind": "throttle"}, [1]], ids=str)
def test_a_fault_that_cannot_be_is_refused_in_words(endpoint, body):
    status, _, answer = ask(endpoint.url, "/page/faults", "POST", body)
    assert status == 400
    assert answer["Message"]
