"""The OpenAPI document. Goal: it has every call, and a server that is asked what it allows, or what it does not
allow, answers as it says."""

import contextlib
import os
import sys

import pytest

pytest.importorskip("sqlalchemy")
pytest.importorskip("aiohttp")
from hypothesis.errors import Unsatisfiable
from unit.fleet.rest import Wire, serving

from kvspic.fleet.openapi import document
from kvspic.fleet.routes import ROUTES

IN_CI = os.environ.get("CI", "").lower() == "true"
WAITING = ("wait_s", "advance_s")


def test_the_document_has_every_call():
    paths = document()["paths"]
    assert {(method.upper(), path) for path, item in paths.items() for method in item} == {
        *((route.method, route.path) for route in ROUTES),
        *(("GET", path) for path in ("/healthz", "/readyz", "/metrics", "/v1/events")),
    }
    assert "/v1/test/clock" in document(has_test_clock=True)["paths"]


def test_the_server_serves_it():
    with serving() as server, Wire(server.url) as wire:
        assert wire("GET", "/v1/openapi.json").json == document(has_test_clock=True)


def test_whatever_the_document_allows_or_forbids_is_answered_as_it_says():
    """Requests made from the document by schemathesis: no answer may be a 500, or have another form than it says."""
    if not (IN_CI and sys.version_info < (3, 14)):  # a CI run has it: what is missing there is a failure
        pytest.importorskip("schemathesis")
    import schemathesis
    from hypothesis import HealthCheck, Phase, given, settings
    from schemathesis.checks import not_a_server_error
    from schemathesis.generation import GenerationMode
    from schemathesis.specs.openapi.checks import response_schema_conformance, status_code_conformance

    checks = [not_a_server_error, status_code_conformance, response_schema_conformance]
    quiet = settings(
        max_examples=3, deadline=None, database=None, derandomize=True, phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    asked = set()
    with serving() as server:
        schema = schemathesis.openapi.from_dict(document(has_test_clock=True))
        for result in schema.get_all_operations():
            operation = result.ok()
            if operation.path == "/v1/events":
                continue  # it never ends
            for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE):

                @quiet
                @given(operation.as_strategy(generation_mode=mode))
                def ask(case):
                    if isinstance(case.body, dict):  # neither waits nor lets days pass
                        case.body = {**case.body, **{name: 0 for name in WAITING if name in case.body}}
                    case.call_and_validate(base_url=server.url, checks=checks, timeout=30)
                    asked.add((case.method, case.path))

                with contextlib.suppress(Unsatisfiable):  # what takes nothing cannot be asked wrongly
                    ask()
    assert asked >= {(route.method, route.path) for route in ROUTES}
