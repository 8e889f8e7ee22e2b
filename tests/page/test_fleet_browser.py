"""The fleet's page in a real browser. Goal: a person sees what is wrong, acts on it, and sees a camera's live video."""

import threading

import pytest
from page.test_browser import COLORS, FRAMES, MARKUP, OVERFLOW, TIME

pytest.importorskip("sqlalchemy")
pytest.importorskip("aiohttp")
from unit.fleet.rest import CAMERA, Wire, serving

from kvspic.fleet.auth import read_tokens

expect = pytest.importorskip("playwright.sync_api").expect
pytestmark = pytest.mark.timed
ADMIN, VIEWER = "a" * 24, "v" * 24
PASSWORD = "Hunter2.s3cret"
STATS = {"fps": 25, "kbps": 400, "last_persisted_age_s": 1.2, "ack_ms_p50": 40, "ack_ms_p99": 90, "buffered": 12}


@pytest.fixture
def server():
    with serving(has_test_clock=False) as running:
        yield running


@pytest.fixture
def wire(server):
    with Wire(server.url) as made:
        made("PUT", "/v1/settings", {"spread_s": 0})
        yield made


@pytest.fixture
def reporting(server):
    """``with reporting(job, epoch):`` reports a carried job each second."""
    ended = threading.Event()
    threads = []

    def start(job, epoch):
        def report():
            with Wire(server.url) as own:
                while not ended.wait(0.5):
                    own.report(job, epoch, stats=STATS)

        threads.append(threading.Thread(target=report))
        threads[-1].start()

    yield start
    ended.set()
    for thread in threads:
        thread.join()


def button(page, name):
    return page.locator(".actions > button, .pages > button", has_text=name)


def test_cameras_are_found_chosen_and_changed(server, wire, open_page):
    for number in range(5):
        wire.create(f"cam-{number}", group="yard" if number < 3 else "gate")
    jobs = wire.poll()["jobs"]
    wire.report(jobs[4]["id"], 1, "failure", error={"class": "access_denied", "text": "no permission for PutMedia"})
    page = open_page(server.url)
    expect(page.locator("tbody tr")).to_have_count(5)
    expect(page.locator(".chip.wrong")).to_have_text("failure 1")
    expect(page.locator("tbody tr").last).to_contain_text("access_denied: no permission for PutMedia")
    assert page.evaluate(OVERFLOW) <= 0
    page.click("text=failure")
    expect(page.locator("tbody tr")).to_have_count(1)
    page.click("text=failure")
    page.get_by_label("Group").fill("yard")
    page.get_by_label("Group").press("Enter")
    expect(page.locator("tbody tr")).to_have_count(3)
    page.get_by_label("Choose all on this page").check()
    expect(page.get_by_text("3 chosen")).to_be_visible()
    button(page, "Pause").click()
    expect(page.locator(".result")).to_have_text("3 of 3 done.")
    expect(page.locator(".badge", has_text="pause")).to_have_count(3)
    page.get_by_label("Choose cam-0").check()
    button(page, "Pause").click()
    expect(page.locator(".result")).to_contain_text("0 of 1 done. Refused: cam-0: ")
    page.get_by_label("Choose cam-0").check()
    button(page, "Delete").click()
    page.get_by_role("button", name="Keep").click()
    button(page, "Delete").click()
    page.locator("dialog .danger").click()
    expect(page.locator("tbody tr")).to_have_count(2)
    assert wire("GET", "/v1/jobs/@cam-0").status == 404
    open_page.errors.clear()  # the browser notes the answer of 409


def test_a_change_is_seen_without_a_reload(server, wire, open_page):
    job = wire.create("cam")
    page = open_page(server.url)
    expect(page.locator("tbody .badge")).to_have_text("pending")
    wire.poll()
    expect(page.locator("tbody .badge")).to_have_text("in progress", timeout=4500)  # the page itself asks each 5 s
    wire("DELETE", f"/v1/jobs/{job}")
    expect(page.locator(".empty")).to_be_visible()


def test_250_cameras_are_shown_a_hundred_at_a_time(server, wire, open_page):
    jobs = [{"name": f"cam-{number:03}", "source": CAMERA} for number in range(250)]
    assert wire("POST", "/v1/apply", {"jobs": jobs}).json["created"] == 250
    page = open_page(server.url)
    expect(page.locator("tbody tr")).to_have_count(100)
    button(page, "Next").click()
    expect(page.locator("tbody tr").first).to_contain_text("cam-100")
    button(page, "Next").click()
    expect(page.locator("tbody tr")).to_have_count(50)
    expect(button(page, "Next")).to_be_disabled()
    button(page, "Back").click()
    expect(page.locator("tbody tr").first).to_contain_text("cam-100")
    page.click("text=Queue")
    expect(page.locator("tbody tr")).to_have_count(100)
    expect(page.locator(".tools")).to_contain_text("the first 100 of 250")


@pytest.mark.parametrize("look", [(1280, "light"), (390, "dark")])
def test_one_camera_with_live_video(wire, endpoint, camera, reporting, open_page, look):
    """The endpoint is another origin than the page's: the page's policy names it, because a job does."""
    job = wire.create("cam", stream="front-door", endpoint=endpoint.url)
    reporting(job, wire.poll()["jobs"][0]["epoch"])
    with camera("front-door", 14):
        page = open_page(f"{wire.url}/#/job/{job}", *look)
        expect(page.locator(".tools .badge")).to_have_text("in progress")
        for _ in range(200):
            if page.evaluate(FRAMES) >= 25:
                break
            page.wait_for_timeout(100)
        before, shot = page.evaluate(TIME), page.locator("video").screenshot()
        page.wait_for_timeout(3000)
        assert page.evaluate(TIME) - before >= 0.8 * 3
        assert page.locator("video").screenshot() != shot
        assert page.evaluate(COLORS) > 8
        assert page.evaluate(OVERFLOW) <= 0
        expect(page.locator(".plot-block")).to_have_count(4)
        expect(page.locator(".record").first).to_contain_text("in progress claim, on h1, epoch 1")
        expect(page.locator(".life .part.in_progress")).to_be_visible()
        expect(page.locator(".tile").first).to_have_text("Frames25 fps")
        button(page, "Cancel").click()
        expect(page.locator(".tools .badge")).to_have_text("cancel")


def test_a_stream_that_is_not_there_is_a_sentence(server, wire, endpoint, open_page):
    job = wire.create("cam", stream="nowhere", endpoint=endpoint.url)
    wire.poll()
    page = open_page(f"{server.url}/#/job/{job}")
    expect(page.locator(".words")).to_contain_text("There is no video of nowhere now", timeout=30_000)


def test_workers_are_drained(server, wire, open_page):
    page = open_page(f"{server.url}/#/workers")
    expect(page.locator(".empty")).to_contain_text("kvspic fleet worker --server")
    wire.create("cam")
    wire.poll("gw-1", host="m1")
    expect(page.locator("tbody tr")).to_contain_text("gw-1ready1 of 10")
    page.get_by_role("button", name="Drain", exact=True).click()
    expect(page.locator("tbody .badge")).to_have_text("draining")
    page.get_by_role("button", name="Undrain").click()
    expect(page.locator("tbody .badge")).to_have_text("ready")


def test_markup_is_shown_as_text_and_no_password_is_shown(server, wire, open_page):
    source = {"type": "rtsp", "url": f"rtsp://admin:{PASSWORD}@10.0.0.9/1"}
    job = wire.create("cam", source=source, description=MARKUP)
    wire.poll()
    error = {"class": "internal", "text": f"{MARKUP} {source['url']}"}
    wire.report(job, 1, "failure", error=error)
    page = open_page(server.url)
    expect(page.locator("tbody td").last).to_contain_text(MARKUP)
    page.click("tbody a")
    expect(page.locator(".facts")).to_contain_text(f"about: {MARKUP}")
    expect(page.locator(".record.failure")).to_contain_text(MARKUP)
    assert PASSWORD not in page.content()
    assert page.evaluate("() => [window.struck, document.querySelectorAll('img[src=x]').length]") == [None, 0]


def test_a_token_opens_the_page_and_bounds_what_it_does(open_page):
    with serving(has_test_clock=False, tokens=read_tokens(f"{ADMIN} admin\n{VIEWER} viewer")) as server:
        with Wire(server.url, ADMIN) as wire:
            wire.create("cam")
        page = open_page(server.url)
        page.get_by_label("Token").fill(VIEWER)
        page.get_by_role("button", name="Open").click()
        expect(page.locator("tbody tr")).to_contain_text("cam")
        assert page.evaluate("() => document.cookie") == ""
        page.get_by_label("Choose cam").check()
        button(page, "Pause").click()
        expect(page.locator(".notice")).to_contain_text("role 'viewer' may not do this")
        open_page.errors.clear()  # the browser notes each answer of 401 and 403


def test_a_server_that_is_away_is_said_and_the_page_goes_on(open_page):
    with serving(has_test_clock=False) as server:
        port = int(server.url.rpartition(":")[2])
        page = open_page(server.url)
        expect(page.locator(".empty")).to_be_visible()
    expect(page.locator(".notice")).to_contain_text("does not answer", timeout=20_000)
    with serving(has_test_clock=False, port=port) as server, Wire(server.url) as wire:
        wire.create("cam")
        expect(page.locator("tbody tr")).to_contain_text("cam", timeout=20_000)
        expect(page.locator(".notice")).to_be_hidden()
    page.close()
    open_page.errors.clear()  # each request without an answer is one
