"""README and docs. Goal: what they show runs as it is pasted, in the order of the page.

A block that needs a camera, a screen or an account has `<!-- example: checked, ... -->` before it: its Python is
compiled, and its commands have to be there with their options. `<!-- example: with producer, stream -->` gives names.
"""

import os
import re
import shlex
import shutil
import subprocess
import sys
import threading
from pathlib import Path
from typing import NamedTuple

import click
import pytest

from kvspic import cli
from kvspic.commands.root import root
from kvspic.local.server import LocalEndpoint

ROOT = Path(__file__).resolve().parents[2]
CLIP = ROOT / "tests" / "media" / "h264_baseline_320x240_25fps.mp4"
MADE = {"docs/states.md", "docs/errors.md", "docs/conformance.md", "docs/statechart.md"}  # others test these
PAGES = ["README.md", *sorted(path.relative_to(ROOT).as_posix() for path in (ROOT / "docs").glob("*.md"))]
PAGES = [page for page in PAGES if page not in MADE]
BLOCK = re.compile(r"(?:^<!-- example: (?P<mark>.*?) -->\n)?^```(?P<kind>\w*)\n(?P<text>.*?)^```", re.M | re.S)
INLINE = re.compile(r"`(kvspic [^`]+)`", re.S)
URL = "http://127.0.0.1:8080"
OTHER_PROGRAMS = {"export", "aws", "pip", "printf"}
GIVEN = {
    "producer": "import kvspic\nproducer = kvspic.Producer()",
    "stream": "stream = producer.open_stream('given', kvspic.H264Track())",
    "tracks": "tracks = [kvspic.H264Track()]",
}
CLOSE = "\nproducer.close()"
FORGOTTEN = "kvspic: the program ended without closing a stream: 100 frames are done, 0 are not."


class Block(NamedTuple):
    """One block of a page."""

    line: int
    kind: str
    mark: str
    text: str

    @property
    def is_checked_only(self):
        return self.mark.startswith("checked")


def blocks(page):
    text = (ROOT / page).read_text(encoding="utf-8")
    return [
        Block(text.count("\n", 0, found.start("text")), found["kind"], found["mark"] or "", found["text"])
        for found in BLOCK.finditer(text)
    ]


@pytest.fixture(scope="module")
def endpoint(tmp_path_factory):
    with LocalEndpoint.run_in_thread(data_dir=tmp_path_factory.mktemp("data")) as running:
        yield running


@pytest.mark.parametrize("page", PAGES)
def test_a_page_runs_as_it_is_pasted(page, endpoint, tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    for name, value in {
        "AWS_ENDPOINT_URL_KINESIS_VIDEO": endpoint.url,
        "AWS_ACCESS_KEY_ID": "AKIDEXAMPLE",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_DEFAULT_REGION": "us-east-1",
        "PYTHONPATH": str(ROOT),
    }.items():
        monkeypatch.setenv(name, value)
    shutil.copy(CLIP, "clip.mp4")
    for block in blocks(page):
        where = f"{page}:{block.line}"
        if block.kind == "python":
            run_python(block, where, endpoint.url)
        elif block.kind == "sh":
            run_commands(block, where, capfd)
        else:
            is_command = re.match(r"(\$ .*\n)*(\$ )?kvspic ", block.text)
            assert not is_command, f"{where}: write ```sh, so that the commands are tried"


def run_python(block, where, url):
    code = block.text.replace(URL, url)
    compile(code, where, "exec")
    if block.is_checked_only:
        return
    names = block.mark.removeprefix("with ").split(", ") if block.mark else []
    code = "\n".join([*(GIVEN[name] for name in names), code]) + (CLOSE if names else "")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, f"{where}: {done.stderr}"
    assert done.stderr == "" or done.stderr.startswith(FORGOTTEN), f"{where}: {done.stderr}"
    assert (FORGOTTEN in done.stderr) == (FORGOTTEN in block.text)


def run_commands(block, where, capfd):
    for line in block.text.splitlines():
        words = shlex.split(line, comments=True)
        while words and re.fullmatch(r"[A-Z_]+=.*", words[0]):
            del words[0]
        if not words or words[0] in OTHER_PROGRAMS:
            continue
        if words[0] == "make":
            plain = {name: value for name, value in os.environ.items() if name != "LD_PRELOAD"}  # of a sanitized run
            found = subprocess.run(["make", "-n", *words[1:]], cwd=ROOT, env=plain, capture_output=True, check=False)
            assert found.returncode == 0, f"{where}: {line}"
        elif words[0].startswith("build/"):
            assert block.text.startswith("make "), f"{where}: say how {words[0]} is made"
        else:
            assert words[0] == "kvspic", f"{where}: {words[0]} is no command that is known here"
            run_kvspic(words[1:], block, where, capfd)


def run_kvspic(words, block, where, capfd):
    words = words[: words.index("|")] if "|" in words else words
    check_words(words, where)
    context = click.Context(root)
    root.get_command(context, words[0]).make_context(words[0], list(words[1:]), parent=context)  # UsageError: which one
    if block.is_checked_only or "aws" in words:
        return
    if words[0] == "serve":
        assert serves(words), f"{where}: {words}"
        return
    if "--duration" in words:
        words[words.index("--duration") + 1] = "1"  # the reader has more time than a test
    code = cli.run(words)
    assert code == 0, f"{where}: {words}: {capfd.readouterr().err}"


def serves(words):
    command = [sys.executable, "-m", "kvspic", *words, "--port", "0", "--data-dir", "served"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        killer = threading.Timer(60, process.kill)
        killer.start()
        line = process.stdout.readline()
        killer.cancel()
        process.terminate()
    return line.startswith("kvspic endpoint at http://127.0.0.1:")


def check_words(words, where):
    """The command is there, and so are its options."""
    command = root
    while isinstance(command, click.Group) and words and not words[0].startswith("-"):
        group, name, *words = command, *words
        command = group.get_command(click.Context(group), name)
        assert command is not None, f"{where}: {group.name} has no command {name}"
    known = {name for option in command.params for name in (*option.opts, *option.secondary_opts)} | {"--help"}
    unknown = [word for word in words if re.match(r"--?[a-z]", word) and word.partition("=")[0] not in known]
    assert unknown == [], f"{where}: {command.name} has no {unknown}"


@pytest.mark.parametrize("page", PAGES)
def test_commands_within_sentences_are_there(page):
    for found in INLINE.finditer((ROOT / page).read_text(encoding="utf-8")):
        words = found[1].replace("...", "").split()
        check_words(words[1 : words.index("|")] if "|" in words else words[1:], page)


def test_hints_to_install_are_quoted_for_the_shell():
    texts = {path: path.read_text(encoding="utf-8") for path in (*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"))}
    texts |= {path: path.read_text(encoding="utf-8") for path in (ROOT / "kvspic").rglob("*.py")}
    bare = [str(path) for path, text in texts.items() if re.search(r"pip install (?!')[\w.]*\[", text)]
    assert bare == []


def test_each_page_has_something_to_try():
    assert sum(block.kind in ("python", "sh") for page in PAGES for block in blocks(page)) > 25
