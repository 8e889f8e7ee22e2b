"""The page in a real browser. Goal: a person sees at a glance whether the camera works, and a page never lies."""

import http.client
import json
import re
from urllib.parse import urlsplit

import pytest
from unit.local import mkv_bytes as mkv
from unit.local.raw_client import put

from kvspic.commands.upload import Upload, UploadPlan
from kvspic.local.server import LocalEndpoint
from kvspic.local.settings import Settings
from kvspic.sources import open_source

expect = pytest.importorskip("playwright.sync_api").expect
pytestmark = pytest.mark.timed

MARKUP = "<img src=x onerror=window.struck=1>"
FRAMES = "() => document.querySelector('video').getVideoPlaybackQuality().totalVideoFrames"
TIME = "() => document.querySelector('video').currentTime"
COLORS = """() => {
  const video = document.querySelector('video');
  const canvas = new OffscreenCanvas(80, 45);
  const pen = canvas.getContext('2d');
  pen.drawImage(video, 0, 0, 80, 45);
  const data = pen.getImageData(0, 0, 80, 45).data;
  const found = new Set();
  for (let at = 0; at < data.length; at += 4) found.add([...data.slice(at, at + 3)].map((value) => value >> 5).join());
  return found.size;
}"""
OVERFLOW = "() => document.documentElement.scrollWidth - document.documentElement.clientWidth"


def create(endpoint, name, hours=24):
    parts = urlsplit(endpoint.url)
    connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=10)
    body = json.dumps({"StreamName": name, "DataRetentionInHours": hours})
    connection.request("POST", "/createStream", body)
    assert connection.getresponse().status == 200
    connection.close()


def badge(page):
    return page.locator(".tools .badge")


def wait_for_video(page, frames=25):
    """Ask again and again: the policy of the page lets no script be made of a text, so the page cannot wait itself."""
    for _ in range(200):
        if page.evaluate(FRAMES) >= frames:
            return
        page.wait_for_timeout(100)
    raise AssertionError(f"no video: {page.locator('.words').text_content()!r}")


@pytest.mark.parametrize(
    "width, scheme, source",
    [
        (1280, "light", "testsrc:width=320,height=180,gop=25"),
        (390, "dark", "testsrc:width=320,height=180,gop=25,audio=1"),
    ],
)
def test_a_live_stream_plays(endpoint, camera, open_page, width, scheme, source):
    with camera("front-door", 16, source):
        page = open_page(endpoint.url, width, scheme)
        expect(page.locator(".row .badge.live")).to_be_visible()
        expect(page.locator(".row .thumb")).to_be_visible()
        assert page.evaluate(OVERFLOW) <= 0
        page.click("a.row")
        wait_for_video(page)
        before, frames, shot = page.evaluate(TIME), page.evaluate(FRAMES), page.locator("video").screenshot()
        page.wait_for_timeout(3000)
        assert page.evaluate(TIME) - before >= 0.8 * 3
        assert page.evaluate(FRAMES) - frames >= 0.8 * 3 * 25
        assert page.evaluate(COLORS) > 8
        assert page.locator("video").screenshot() != shot
        assert page.evaluate(OVERFLOW) <= 0
        expect(page.locator(".tile").first).to_have_text(re.compile(r"Frames(24\.\d|25) fps"))


def test_stored_video_is_played_from_where_the_time_line_is_clicked(endpoint, open_page):
    with open_source("testsrc:width=320,height=180,gop=25,duration=20") as source:
        assert Upload(UploadPlan(source, "yard", endpoint_url=endpoint.url)).run().is_complete
    page = open_page(f"{endpoint.url}/#/stream/yard")
    expect(page.locator(".words")).to_contain_text("No video since")
    expect(page.locator(".under")).to_contain_text(f"{len(endpoint.fragments('yard'))} fragments")
    box = page.locator("canvas.line").bounding_box()
    page.mouse.click(box["x"] + box["width"] * 0.75, box["y"] + 30)
    wait_for_video(page)
    expect(page.locator(".player .mode")).to_contain_text("stored, from")
    page.click("text=Back to live")
    expect(page.locator(".words")).to_contain_text("No video since")


def test_a_stream_that_stops_and_comes_back_plays_again(endpoint, camera, open_page):
    with camera("gate", 8):
        page = open_page(f"{endpoint.url}/#/stream/gate")
        wait_for_video(page)
    expect(badge(page)).to_have_text("stopped")
    expect(page.locator(".words")).to_contain_text("No video since")
    with camera("gate", 12):
        expect(badge(page)).to_have_text("live")
        expect(page.locator(".words")).to_be_hidden()
        wait_for_video(page)
        before = page.evaluate(TIME)
        page.wait_for_timeout(2000)
        assert page.evaluate(TIME) - before >= 0.8 * 2
    expect(page.locator("tbody tr")).to_have_count(2)
    expect(page.locator(".under")).to_contain_text("1 gap")


def test_h265_is_a_sentence_where_the_browser_cannot_play_it(endpoint, open_page, media_dir):
    with open_source(str(media_dir / "h265_main_opengop_320x240_25fps.mp4")) as source:
        assert Upload(UploadPlan(source, "h265", endpoint_url=endpoint.url)).run().is_complete
    page = open_page(f"{endpoint.url}/#/stream/h265")
    expect(page.locator(".words")).to_contain_text("cannot play H.265")
    expect(page.locator(".facts")).to_contain_text("H.265, 320")
    expect(page.locator(".strip img").first).to_be_visible()  # the endpoint decodes pictures itself


def test_a_codec_that_no_player_takes_is_a_sentence_and_no_error(endpoint, open_page, media_dir):
    with open_source(str(media_dir / "vp9_320x240_25fps.webm")) as source:
        assert Upload(UploadPlan(source, "vp9", endpoint_url=endpoint.url)).run().is_complete
    page = open_page(f"{endpoint.url}/#/stream/vp9")
    expect(page.locator(".words")).to_contain_text("VP9 cannot be played here")


def test_markup_is_shown_as_text(endpoint, open_page):
    """A name of the service has no such characters; what the page shows must not depend on that."""
    create(endpoint, "cam")
    body = mkv.header() + mkv.tags((MARKUP, MARKUP)) + mkv.cluster(1_600_000_000_000) + mkv.END
    put(endpoint.url, body, user_agent=MARKUP)
    streams = endpoint._hub.service.streams
    record = streams._by_name.pop("cam")
    record.name, record.tags = MARKUP, {MARKUP: MARKUP}
    streams._by_name[MARKUP] = record
    page = open_page(endpoint.url)
    expect(page.locator(".row strong")).to_have_text(MARKUP)
    page.click("a.row")
    expect(page.locator("h1")).to_have_text(MARKUP)
    expect(page.locator("tbody td").last).to_have_text(MARKUP)
    expect(page.locator(".log li").last).to_contain_text(f"{MARKUP} = {MARKUP}")
    assert page.evaluate("() => [window.struck, document.querySelectorAll('img[src=x]').length]") == [None, 0]


def test_two_hundred_streams_are_shown_a_hundred_at_a_time(endpoint, open_page):
    for number in range(200):
        create(endpoint, f"cam-{number:03}")
    page = open_page(endpoint.url)
    expect(page.locator("a.row")).to_have_count(100)
    page.click("text=Next")
    expect(page.locator("a.row").first).to_contain_text("cam-100")
    page.fill("input[type=search]", "cam-19")
    expect(page.locator("a.row")).to_have_count(10)
    entries = "performance.getEntriesByType('resource').filter((entry) => entry.name.includes('/page/streams'))"
    durations = page.evaluate(f"() => {entries}.map((entry) => entry.duration)")
    assert sorted(durations)[len(durations) // 2] < 200


def test_a_fault_is_switched_on_and_off_by_hand(endpoint, open_page):
    page = open_page(endpoint.url)
    page.click("text=Faults")
    page.select_option("select[name=Fault]", "answer")
    page.click("text=Switch on")
    expect(page.locator(".fault-list li")).to_contain_text("500")
    expect(page.locator(".faults-button")).to_have_text("Faults: 1 on")
    assert [fault.status for fault in endpoint.faults.in_force().values()] == [500]
    page.click(".fault-list button")
    expect(page.locator(".fault-list li")).to_have_count(0)
    assert endpoint.faults.in_force() == {}


def test_the_token_opens_the_page_and_leaves_the_address(tmp_path, open_page):
    keys = {"AK": "secret"}
    with LocalEndpoint.run_in_thread(tmp_path, access_keys=keys, page_token="right", settings=Settings()) as running:
        page = open_page(f"{running.url}/#token=right")
        expect(page.locator(".empty h2")).to_have_text("No stream yet")
        assert "right" not in page.url
        page.reload()
        expect(page.locator(".empty h2")).to_be_visible()  # sessionStorage has it
        other = open_page(running.url)
        expect(other.locator(".token")).to_contain_text("needs the token")
        other.fill("#token", "right")
        other.click("text=Open")
        expect(other.locator(".empty h2")).to_be_visible()
    assert all("403" in text for text in open_page.errors)  # the refusal that was asked for
    open_page.errors.clear()


def test_an_endpoint_that_restarts_is_said_and_the_page_goes_on(endpoint, open_page):
    page = open_page(endpoint.url)
    expect(page.locator(".empty h2")).to_be_visible()
    page.click("text=Faults")
    page.select_option("select[name=Fault]", "restart")
    page.click("text=Switch on")
    expect(page.locator("#top > .notice")).to_contain_text("does not answer")
    expect(page.locator("#top > .notice")).to_be_hidden()
    assert all("ERR_" in text for text in open_page.errors)  # the browser's own lines about refused connections
    open_page.errors.clear()
