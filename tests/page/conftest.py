"""A browser for the tests of the page, Debian's Chromium driven by playwright, and cameras that send meanwhile."""

import threading
from contextlib import contextmanager

import pytest

from kvspic.commands.upload import Upload, UploadPlan
from kvspic.local.server import LocalEndpoint
from kvspic.local.settings import Settings
from kvspic.sources import open_source

FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--autoplay-policy=no-user-gesture-required",
]


@pytest.fixture(scope="module")
def chromium(require_tool):
    path = require_tool("chromium")
    playwright = pytest.importorskip("playwright.sync_api")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=path, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def open_page(chromium):
    """``open_page(url, width=1280, scheme="light")``; at the end of the test no page may have met an error."""
    pages, errors = [], []

    def opened(url, width=1280, scheme="light"):
        page = chromium.new_page(viewport={"width": width, "height": 860}, color_scheme=scheme)
        page.set_default_timeout(20_000)
        page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: errors.append(str(error)))
        pages.append(page)
        page.goto(url)
        return page

    opened.errors = errors
    yield opened
    for page in pages:
        page.close()
    assert errors == []


@pytest.fixture
def endpoint(tmp_path):
    with LocalEndpoint.run_in_thread(tmp_path / "data", settings=Settings.unlimited()) as running:
        yield running


@pytest.fixture
def camera(endpoint):
    """``with camera("name", seconds=30):`` sends a test pattern at its own speed, in a stream of that name."""

    @contextmanager
    def sending(name, seconds=30, source="testsrc:width=320,height=180,gop=25"):
        text = f"{source},duration={seconds}" if source.startswith("testsrc") else source
        with open_source(text) as opened:
            upload = Upload(UploadPlan(opened, name, endpoint_url=endpoint.url, speed=1.0, is_live=True))
            thread = threading.Thread(target=upload.run)
            thread.start()
            try:
                yield upload
            finally:
                thread.join()

    return sending
