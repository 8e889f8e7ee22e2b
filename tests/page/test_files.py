"""The files of the page. Goal: what others wrote is what VENDOR.txt says; what we wrote keeps to the page's policy."""

import hashlib
import re
from pathlib import Path

import pytest

WEB = Path(__file__).resolve().parents[2] / "kvspic" / "web"
OURS = sorted(path for folder in ("bench", "lib", "local") for path in (WEB / folder).iterdir())
SCRIPTS = [path for path in OURS if path.suffix == ".js"]
MARKUP = re.compile(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function|\.style\.cssText")


def vendored():
    lines = (WEB / "vendor" / "VENDOR.txt").read_text(encoding="utf-8").splitlines()
    rows = [[part.strip() for part in line.split("|")] for line in lines if line.count("|") == 5]
    return rows[1:]  # without the head line


def test_vendored_files_are_the_ones_of_the_list():
    listed = {name: checksum for name, _, _, _, _, checksum in vendored()}
    found = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in (WEB / "vendor").iterdir()}
    del found["VENDOR.txt"]
    assert found == listed


def test_every_vendored_package_has_its_version_and_its_licence():
    rows = vendored()
    packages = {(package, version) for _, package, version, _, _, _ in rows}
    assert packages == {("hls.js", "1.7.4"), ("uplot", "1.6.32")}
    licensed = {package for name, package, *_ in rows if name.endswith("LICENSE")}
    assert licensed == {"hls.js", "uplot"}


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)
def test_no_script_makes_markup_of_a_text(path):
    assert MARKUP.findall(path.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)
def test_imports_lead_to_files_of_the_page(path):
    targets = re.findall(r'from "([^"]+)"', path.read_text(encoding="utf-8"))
    assert [to for to in targets if not (to.startswith("/web/") and (WEB / to.removeprefix("/web/")).is_file())] == []


def test_the_document_has_no_script_and_no_style_inside():
    text = (WEB / "local" / "index.html").read_text(encoding="utf-8")
    assert re.findall(r"<style|\sstyle=|\son\w+=|<script(?![^>]*\ssrc=)|https?:", text) == []
    targets = re.findall(r'(?:src|href)="(/[^"]+)"', text)
    assert [to for to in targets if not (WEB / to.removeprefix("/web/")).is_file()] == []
