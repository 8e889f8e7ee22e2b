"""The runner of recorded machines. Goal: every recording passes, and whatever a file holds, each case gets its line."""

import json
from pathlib import Path

import pytest

from kvspic.testing.statechart import GOALS, main, run_case, run_file

VECTORS = Path(__file__).parents[2] / "vectors" / "statechart.json"
CONTENT = json.loads(VECTORS.read_text())


@pytest.mark.parametrize("case", CONTENT["machines"], ids=lambda case: case["id"])
def test_recorded_machines_pass_in_the_parity_profile(case):
    result = run_case("machines", case)
    assert result == {
        "id": case["id"],
        "ok": True,
        "outputs": [step["outputs"] for step in case["expected"]["steps"]],
        "error": None,
    }


@pytest.mark.parametrize("case", CONTENT["contracts"], ids=lambda case: case["id"])
def test_recorded_contracts_give_the_recorded_ids(case):
    assert run_case("contracts", case) == {
        "id": case["id"],
        "ok": True,
        "outputs": case["reference_ids"],
        "error": None,
    }


@pytest.mark.parametrize("case", CONTENT["generation"], ids=lambda case: case["id"])
def test_recorded_sequences_are_generated_in_order(case):
    assert run_case("generation", case) == {"id": case["id"], "ok": True, "outputs": case["expected"], "error": None}


def test_the_command_prints_one_object_per_case(capsys):
    assert main([str(VECTORS)]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["id"] for line in lines] == [
        case["id"] for kind in ("machines", "contracts", "generation") for case in CONTENT[kind]
    ]
    assert all(line["ok"] and line["error"] is None for line in lines)


def spoiled(case, **changes):
    return {**case, "definition": {**case["definition"], **changes}}


BAD = [
    None,
    7,
    [],
    {},
    {"id": "X"},
    spoiled(CONTENT["machines"][0], states=7),
    spoiled(CONTENT["machines"][0], transitions={}),
    spoiled(CONTENT["machines"][0], guards={"ge80": {"script": "x"}}),
    spoiled(CONTENT["machines"][0], actions=7),
    {**CONTENT["machines"][0], "definition": None},
    {**CONTENT["generation"][0], "strategy": {"name": "psychic", "target": "bye"}},
]


@pytest.mark.parametrize("kind", ["machines", "contracts", "generation", "unheard of"])
@pytest.mark.parametrize("case", BAD, ids=lambda case: "")
def test_a_bad_case_is_a_line_of_its_own(kind, case):
    result = run_case(kind, case)
    assert set(result) == {"id", "ok", "outputs", "error"}
    json.dumps(result)
    assert result["ok"] is False or kind == "contracts"


def test_one_bad_case_does_not_end_the_run(tmp_path):
    file = tmp_path / "mixed.json"
    file.write_text(json.dumps({"machines": [*BAD, CONTENT["machines"][0]], "contracts": 7}))
    results = list(run_file(str(file)))
    assert len(results) == len(BAD) + 1
    assert results[-1]["ok"]
    assert main([str(file)]) == 1


def test_a_wrong_expectation_is_not_ok_and_shows_the_outputs(tmp_path):
    case = json.loads(json.dumps(CONTENT["machines"][1]))
    case["expected"]["steps"][0]["outputs"] = []
    result = run_case("machines", case)
    assert (result["ok"], result["outputs"][0], result["error"]) == (False, [None], None)


def test_a_bare_list_of_cases_is_understood(tmp_path):
    file = tmp_path / "list.json"
    file.write_text(json.dumps([CONTENT[kind][0] for kind in ("machines", "contracts", "generation")]))
    assert [result["ok"] for result in run_file(str(file))] == [True, True, True]


@pytest.mark.parametrize("text", ["", "7", "{"])
def test_a_file_that_cannot_be_used_is_exit_code_2(tmp_path, text, capsys):
    file = tmp_path / "bad.json"
    file.write_text(text)
    assert main([str(file)]) == 2
    assert "cannot be used" in capsys.readouterr().err
    assert main([str(tmp_path / "absent.json")]) == 2


@pytest.mark.parametrize("goal", GOALS)
def test_sequences_of_a_definition_can_be_asked_for(tmp_path, goal, capsys):
    file = tmp_path / "definition.json"
    file.write_text(json.dumps(CONTENT["generation"][0]["definition"]))
    assert main([str(file), "--generate", goal, "--count", "5", "--length", "9"]) == 0
    [line] = capsys.readouterr().out.splitlines()
    assert json.loads(line)["sequences"] or goal == "loop_free"


def test_a_definition_without_sequences_says_why(tmp_path, capsys):
    file = tmp_path / "definition.json"
    file.write_text(json.dumps({"states": 7}))
    assert main([str(file), "--generate", "states"]) == 1
    assert "isValidFsmDef" in capsys.readouterr().out
