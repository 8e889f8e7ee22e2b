"""The page of scenarios. Goal: it says what the tests say today, and no scenario is forgotten."""

import conformance


def test_every_scenario_is_named_by_a_test():
    missing = [scenario for scenario in conformance.titles() if scenario not in conformance.proofs()]
    assert missing == [], "name them by HELD or REPLACED in a test that shows them"


def test_no_test_names_a_scenario_that_does_not_exist():
    unknown = [scenario for scenario in conformance.proofs() if scenario not in conformance.titles()]
    assert unknown == []


def test_there_are_all_of_them():
    wanted = [f"CS-{n:02}" for n in range(1, 101)] + [f"CD-{n:02}" for n in range(1, 117)]
    assert list(conformance.titles()) == wanted


def test_every_status_that_the_core_returns_is_provoked_by_name():
    missing = [name for name, layers, tests in conformance.statuses() if layers and not tests]
    assert missing == [], "provoke them in a C test"


def test_the_page_is_not_stale():
    assert conformance.PAGE.read_text(encoding="utf-8") == conformance.page(), "run python tests/conformance.py"
