"""The OpenAPI document of a server, made from the table of calls and the tables of fields. Pure."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any

from kvspic.fleet.causes import ErrorName
from kvspic.fleet.fields import Field, schema_of
from kvspic.fleet.routes import ROUTES, Route

__all__ = ["document"]

_COMMON = {
    400: "`bad_field`: {field}.",
    401: "`not_allowed`: no token that is known here.",
    403: "`not_allowed`: the token's role may not do this.",
    503: "`store_unavailable`: the database does not answer; try again.",
    507: "`store_full`: the database's disk is full; reading goes on.",
}
_TOO_LARGE = {413: "`too_large`: the body has more than 4 MB."}
_ERROR = {"$ref": "#/components/schemas/Error"}
_OPEN_BODIES = frozenset({"poll", "feedback", "backfill"})
_OWN = {
    "/healthz": ("healthz", "Whether the process works."),
    "/readyz": ("readyz", "Whether the database answers."),
}
_DESCRIPTIONS = {
    "ref": "A job's id, or `@` and its name.",
    "handler": "Name of a handler.",
    "group": "Name of a group.",
}


@lru_cache(2)
def document(*, has_test_clock: bool = False) -> dict[str, Any]:
    """Return the document, OpenAPI 3.1."""
    paths: dict[str, Any] = {}
    for route in ROUTES:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route)
    for path, (name, text) in _OWN.items():
        paths[path] = {
            "get": {"operationId": name, "summary": text, "security": [], "responses": _responses((200,), {})}
        }
    for path, name, kind in (("/metrics", "metrics", "text/plain"), ("/v1/events", "events", "text/event-stream")):
        responses: dict[str, Any] = _responses((200,), {})
        responses["200"]["content"] = {kind: {"schema": {"type": "string"}}}
        paths[path] = {"get": {"operationId": name, "responses": responses}}
    if has_test_clock:
        schema = schema_of((Field("advance_s", "number", high=100_000),))
        paths["/v1/test/clock"] = {
            "post": {"operationId": "testClock", "requestBody": _body(schema), "responses": _responses((200,), {})}
        }
    return {
        "openapi": "3.1.0",
        "info": {"title": "kvspic fleet", "version": "1", "description": "Camera uploads that are kept running."},
        "security": [{"token": []}],
        "paths": paths,
        "components": {
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
            "schemas": {"Error": _error_schema()},
        },
    }


def _error_schema() -> dict[str, Any]:
    own = ("not_allowed", "too_large", "bad_request", "method_not_allowed", "internal")
    names = [*(str(name) for name in ErrorName), *own]
    return {
        "type": "object",
        "required": ["error", "message"],
        "properties": {"error": {"type": "string", "enum": names}, "message": {"type": "string"}},
    }


def _operation(route: Route) -> dict[str, Any]:
    made: dict[str, Any] = {
        "operationId": route.name,
        "summary": route.text,
        "description": f"Role: {route.need}.",
        "parameters": [
            *(_path_parameter(name) for name in re.findall(r"{(\w+)}", route.path)),
            *(_query_parameter(field) for field in route.query),
        ],
        "responses": _responses(route.success, {**route.errors, **({} if route.body is None else _TOO_LARGE)}),
    }
    if route.name == "createJob":
        schema = {"type": "string", "pattern": "^[!-~]{1,128}$"}
        made["parameters"].append({"name": "Idempotency-Key", "in": "header", "schema": schema})
    if route.body is not None:
        made["requestBody"] = _body(schema_of(route.body, is_open=route.name in _OPEN_BODIES))
    return made


def _body(schema: dict[str, Any]) -> dict[str, Any]:
    return {"required": True, "content": {"application/json": {"schema": schema}}}


def _path_parameter(name: str) -> dict[str, Any]:
    schema = {"type": "string", "minLength": 1}
    return {"name": name, "in": "path", "required": True, "description": _DESCRIPTIONS[name], "schema": schema}


def _query_parameter(field: Field) -> dict[str, Any]:
    schema = schema_of((field,))
    return {
        "name": field.name,
        "in": "query",
        "required": bool(schema.get("required")),
        "schema": schema["properties"][field.name],
    }


def _responses(success: tuple[int, ...], errors: Any) -> dict[str, Any]:
    made: dict[str, Any] = {}
    for status in success:
        made[str(status)] = {"description": "Done."}
        if status != 204:
            made[str(status)]["content"] = {"application/json": {"schema": {"type": "object"}}}
    for status, text in sorted({**_COMMON, **errors}.items()):
        made[str(status)] = {"description": text, "content": {"application/json": {"schema": _ERROR}}}
    return made
