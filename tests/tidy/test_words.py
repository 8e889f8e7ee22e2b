"""No file of the project names a place that its users do not have. Goal: a clone stands alone."""

import re

import pytest
from tidy.project import ROOT, files, report

# Written in pieces, so that this file passes its own rule.
WORDS = ["/" + "work/", "/" + "farm/", "/" + "root/", ".." + "/shared", "python" + "hosted", "pypi" + ".org"]
WORDS += ["deb." + "debian.org", "registry." + "npmjs", "api." + "anthropic"]
PATTERN = re.compile("|".join(r"(?<![\w.])" * word.startswith("/") + re.escape(word) for word in WORDS))


def foreign_words(path: str, text: str) -> list[str]:
    """Lines of ``text`` that name a folder of the developer's machine or a registry's host."""
    return [
        f"{path}:{number}: names {match[0]}, which users do not have. Take it out, or name what they have."
        for number, line in enumerate(text.splitlines(), 1)
        for match in PATTERN.finditer(line)
    ]


@pytest.mark.parametrize("word", WORDS)
def test_a_foreign_word_is_caught(word):
    assert len(foreign_words("a.md", f"see\n{word}x for more")) == 1


def test_parts_of_longer_paths_are_no_foreign_words():
    assert foreign_words("a.md", "tests/" + "work/ and https://example.com/net" + "work/x") == []


def test_no_file_names_a_foreign_place():
    findings = []
    for path in files():
        data = (ROOT / path).read_bytes()
        if b"\0" not in data:
            findings += foreign_words(path.as_posix(), data.decode("utf-8", errors="replace"))
    report(findings)
