"""Programs of users pass a strict type checker. Goal: what the pages show needs no cast, a misspelt word is found."""

from pathlib import Path

from mypy import api
from tidy.project import ROOT

CAMERA = (ROOT / "docs" / "guide.md").read_text(encoding="utf-8").split("## A camera", 1)[1]
CAMERA = CAMERA.split("```python\n", 1)[1].split("```", 1)[0]
ASYNC = """
import kvspic

async def main(stream: kvspic.AsyncStream) -> None:
    await stream.put(b"frame", pts=1, key_frame=True)
    await stream.put(b"frame", pts=1, keyframe=True)
"""


def findings(code: str, folder: Path) -> str:
    program = folder / "program.py"
    program.write_text(code, encoding="utf-8")
    said, trouble, _ = api.run(["--strict", "--config-file", str(ROOT / "pyproject.toml"), str(program)])
    assert not trouble
    return said


def test_the_guides_camera(tmp_path):
    paused = CAMERA.replace("source.on_notice = print", "source.on_notice = print\n        source.pause()")
    assert "on_notice" in paused
    assert findings(paused, tmp_path).startswith("Success")


def test_a_misspelt_word_of_a_put(tmp_path):
    said = findings(ASYNC, tmp_path)
    assert 'did you mean "key_frame"' in said
    assert "Found 1 error" in said
