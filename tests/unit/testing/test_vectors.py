"""The vector runner. Goal: every recorded example comes out byte for byte, and the runner can say no."""

import copy
import json
from pathlib import Path

import pytest

from kvspic.testing import vectors

FILE = Path(__file__).resolve().parents[2] / "vectors" / "media.json"
VECTORS = {one["name"]: one for one in json.loads(FILE.read_text())["vectors"] if one["op"] != "stream_session"}


def run(vector):
    return vectors.run_vector(vector, FILE.parent)


@pytest.mark.parametrize("name", VECTORS)
def test_a_recorded_example_comes_out(name):
    line = run(VECTORS[name])
    assert line["ok"], line


def values_in(tree, path=()):
    """Paths of all values of a result that bind."""
    items = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    for key, part in items:
        if key not in ("size_query", "size_query_status", "decoded_md5") and part is not None:
            yield from values_in(part, (*path, key))
    if not isinstance(tree, (dict, list)):
        yield path


def spoiled(vector, path):
    """The same example with another value at ``path`` of what it asks for."""
    vector = copy.deepcopy(vector)
    part = vector["better" if "better" in vector else "expect"]
    for key in path[:-1]:
        part = part[key]
    part[path[-1]] = {"00000000": "00000001"}.get(part[path[-1]], "11111111")
    return vector


@pytest.mark.parametrize("name", [name for name in VECTORS if not name.startswith("clip")])
def test_any_other_value_is_not_ok(name):
    vector = VECTORS[name]
    wanted = vector["better" if "better" in vector else "expect"]
    free = {"create_errors": [14], "cpd264_errors": [5], "res264_forms": [5]}.get(name, [])
    paths = [path for path in values_in(wanted) if path[0] not in free]
    step = max(1, len(paths) // 12)
    for path in paths[::step]:
        assert not run(spoiled(vector, path))["ok"], path


def test_nonzero_means_any_error_and_null_any_value():
    vector = copy.deepcopy(VECTORS["resbih_basic"])
    vector["expect"] = [None, {"status": "00000000", "width": None, "height": 1080}, None, {"status": "nonzero"}, None]
    assert run(vector)["ok"]
    vector["expect"][1] = {"status": "nonzero"}
    assert not run(vector)["ok"]


@pytest.mark.parametrize(
    "vector",
    [
        {"name": "no such operation", "op": "fly", "expect": {}},
        {"name": "no inputs", "op": "annexb_to_avcc", "expect": []},
        {"name": "no settings", "op": "session", "inputs": {"steps": []}, "expect": {}},
        {"op": "overhead"},
        {},
        "not even an object",
    ],
)
def test_an_example_that_makes_no_sense_ends_nothing(vector):
    line = run(vector)
    assert line["ok"] is False
    assert line["error"]


def test_the_program_prints_a_line_each_and_fails_when_one_does(tmp_path, capsys):
    good, bad = VECTORS["epb_removal"], spoiled(VECTORS["tags_end_of_fragment"], (0, "status"))
    path = tmp_path / "some.json"
    path.write_text(json.dumps({"vectors": [good, bad, {"name": "odd", "op": "odd"}]}))
    assert vectors.main([str(path)]) == 1
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(line["name"], line["ok"]) for line in lines] == [
        ("epb_removal", True),
        ("tags_end_of_fragment", False),
        ("odd", False),
    ]
    path.write_text(json.dumps({"vectors": [good]}))
    assert vectors.main([str(path)]) == 0


@pytest.mark.parametrize("name", [name for name in VECTORS if name.startswith("clip")])
def test_a_packaged_clip_decodes_to_what_was_recorded(name):
    vector = VECTORS[name]
    decoded = run(vector)["got"]["decoded_md5"]
    assert decoded in (None, vector["better" if "better" in vector else "expect"]["decoded_md5"])
