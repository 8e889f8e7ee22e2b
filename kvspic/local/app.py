"""The HTTP application: paths to operations, signatures, answers and refusals in the service's form.

Every operation is ``POST /<operation>``. Paths of the service that are not built answer 501
``NotImplementedException``; unknown ones answer 404. ``GetDataEndpoint`` returns the address that the caller used.
"""

from __future__ import annotations

import json
import logging
import uuid
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from aiohttp import web

from kvspic.local.errors import ServiceError, StoreError
from kvspic.local.fault_socket import ScriptedFaults, Struck, UploadFaults
from kvspic.local.hub import Hub
from kvspic.local.media_out import MEDIA_TYPE, MediaOut
from kvspic.local.put_connection import PutConnection
from kvspic.local.sigv4 import SignedRequest, verify

__all__ = ["make_app"]

_log = logging.getLogger(__name__)

_AUTH_ERRORS = frozenset({
    "MissingAuthenticationTokenException",
    "UnrecognizedClientException",
    "InvalidSignatureException",
    "IncompleteSignature",
    "UnknownOperationException",
})  # fmt: skip
_NOT_BUILT = frozenset({
    "/createSignalingChannel", "/deleteEdgeConfiguration", "/deleteSignalingChannel", "/describeEdgeConfiguration",
    "/describeImageGenerationConfiguration", "/describeMappedResourceConfiguration",
    "/describeMediaStorageConfiguration", "/describeNotificationConfiguration", "/describeSignalingChannel",
    "/describeStreamStorageConfiguration", "/getClip", "/getDASHStreamingSessionURL", "/getHLSStreamingSessionURL",
    "/getImages", "/getSignalingChannelEndpoint", "/listEdgeAgentConfigurations", "/listSignalingChannels",
    "/startEdgeConfigurationUpdate", "/updateImageGenerationConfiguration", "/updateMediaStorageConfiguration",
    "/updateNotificationConfiguration", "/updateSignalingChannel", "/updateStreamStorageConfiguration",
})  # fmt: skip

_Answer = Callable[[web.Request, dict[str, Any]], Awaitable[web.StreamResponse]]


class _Application:
    """Dispatch for one hub. ``access_keys`` None accepts any caller, signed or not."""

    def __init__(
        self, hub: Hub, access_keys: Mapping[str, str] | None, live_wait_seconds: float, faults: ScriptedFaults
    ) -> None:
        self._hub = hub
        self._faults = faults
        self._access_keys = access_keys
        self._media = MediaOut(hub, live_wait_seconds)
        self._media_answers: dict[str, _Answer] = {
            "/getDataEndpoint": self._get_data_endpoint,
            "/listFragments": self._list_fragments,
            "/getMedia": self._get_media,
            "/getMediaForFragmentList": self._get_media_for_fragment_list,
        }
        self._control = {_path(name): name for name in hub.service.streams.operations}

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Answer one request."""
        try:
            struck = await self._faults.strikes(request)
            refusal = await self._faults.before_answer(request, struck)
            return await self._answer(request, struck) if refusal is None else refusal
        except ServiceError as error:
            return _refusal(error)
        except StoreError as error:
            _log.error("%s: %s", request.path, error)
            return _refusal(ServiceError("InternalFailure", str(error)))

    async def _answer(self, request: web.Request, struck: Struck) -> web.StreamResponse:
        path = request.path
        is_known = path in self._control or path in self._media_answers or path in _NOT_BUILT or path == "/putMedia"
        if request.method != "POST" or not is_known:
            raise ServiceError("UnknownOperationException", f"There is no operation {request.method} {path}.")
        if path == "/putMedia":
            return await self._put_media(request, struck)
        content = await request.read()
        self._check_signature(request, content)
        if path in _NOT_BUILT:
            text = f"The local endpoint does not have {path[1:]}; use the service itself for it."
            raise ServiceError("NotImplementedException", text)
        body = _json_object(content)
        if path in self._media_answers:
            return await self._media_answers[path](request, body)
        answer = self._hub.service.call(self._control[path], body, self._hub.now_hns())
        await self._hub.keep_changes()
        return _json_answer(answer)

    def _check_signature(self, request: web.Request, body: bytes | None) -> None:
        if self._faults.has_expired(request):
            raise ServiceError("ExpiredTokenException", "The security token included in the request is expired")
        if self._access_keys is None:
            return
        headers = _lower(request)
        signed = SignedRequest(request.method, request.path, request.rel_url.raw_query_string, headers, body)
        verify(signed, self._access_keys, self._hub.wall_seconds())

    async def _put_media(self, request: web.Request, struck: Struck) -> web.StreamResponse:
        self._check_signature(request, None)
        session = self._hub.service.open_put(_lower(request), self._hub.now_hns())
        response = web.StreamResponse(headers=_answer_headers("application/json"))
        response.enable_chunked_encoding()
        faults = UploadFaults(request, struck, self._faults)
        return await PutConnection(self._hub, request, session, faults).run(response)

    async def _get_data_endpoint(self, request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        return _json_answer(self._hub.service.get_data_endpoint(body, f"{request.scheme}://{request.host}"))

    async def _list_fragments(self, _: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        return _json_answer(await self._media.list_fragments(body))

    async def _get_media(self, request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        stream, seq = await self._media.start_of(body)
        return await _streamed(request, lambda response: self._media.send_live(response, stream, seq))

    async def _get_media_for_fragment_list(self, request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        rows = await self._media.listed_rows(body)
        return await _streamed(request, lambda response: self._media.send_list(response, rows))


async def _streamed(request: web.Request, send: Callable[[web.StreamResponse], Awaitable[None]]) -> web.StreamResponse:
    """Send a media answer; a client that leaves, or a stream that is deleted meanwhile, just ends it."""
    response = web.StreamResponse(headers=_answer_headers(MEDIA_TYPE))
    response.enable_chunked_encoding()
    try:
        await response.prepare(request)
        await send(response)
        await response.write_eof()
    except (ConnectionError, StoreError) as error:
        _log.debug("%s ended early: %s", request.path, error)
        response.force_close()
    return response


def _path(operation: str) -> str:
    """The paths begin with a small letter, but for the three of tagged resources."""
    if operation in ("TagResource", "UntagResource", "ListTagsForResource"):
        return "/" + operation
    return "/" + operation[0].lower() + operation[1:]


def _lower(request: web.Request) -> dict[str, str]:
    """Headers by lower-case name; what was sent several times is joined, as signatures ask."""
    headers: dict[str, str] = {}
    for name, value in request.headers.items():
        name = name.lower()
        headers[name] = f"{headers[name]},{value}" if name in headers else value
    return headers


def _json_object(content: bytes) -> dict[str, Any]:
    try:
        body = json.loads(content or b"{}")
    except (ValueError, RecursionError):
        body = None
    if not isinstance(body, dict):
        raise ServiceError("SerializationException", "The body must be a JSON object.")
    return body


def _answer_headers(content_type: str) -> dict[str, str]:
    return {"x-amzn-RequestId": str(uuid.uuid4()), "Content-Type": content_type}


def _json_answer(answer: Mapping[str, Any]) -> web.Response:
    content = json.dumps(answer, separators=(",", ":")).encode()
    return web.Response(body=content, headers=_answer_headers("application/json"))


def _refusal(error: ServiceError) -> web.Response:
    key = "message" if error.name in _AUTH_ERRORS else "Message"
    headers = {**_answer_headers("application/json"), "x-amzn-ErrorType": error.name}
    content = json.dumps({key: error.message}, separators=(",", ":")).encode()
    return web.Response(status=error.status, body=content, headers=headers)


def make_app(
    hub: Hub, access_keys: Mapping[str, str] | None, live_wait_seconds: float, faults: ScriptedFaults | None = None
) -> web.Application:
    """Return the application over ``hub``; GetMedia ends after ``live_wait_seconds`` without a fragment."""
    app = web.Application(client_max_size=4 * 1024 * 1024)
    answering = _Application(hub, access_keys, live_wait_seconds, faults or ScriptedFaults())
    app.router.add_route("*", "/{path:.*}", answering.handle)
    return app
