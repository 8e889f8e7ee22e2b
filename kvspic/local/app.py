"""The HTTP application: paths to operations, signatures, answers and refusals in the service's form.

Every operation is ``POST /<operation>``. Paths of the service that are not built answer 501
``NotImplementedException``; unknown ones answer 404. ``GetDataEndpoint`` returns the address that the caller used,
with its port.
"""

from __future__ import annotations

import json
import logging
import time
import uuid
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from aiohttp import web

from kvspic.local.access import Access
from kvspic.local.errors import ServiceError, StoreError
from kvspic.local.fault_socket import ScriptedFaults, Struck, UploadFaults
from kvspic.local.gate import Guarded
from kvspic.local.hub import Hub
from kvspic.local.media_out import MEDIA_TYPE, MediaOut
from kvspic.local.page import Page, PageAccess
from kvspic.local.playback import SESSION_PATHS, Playback, Played
from kvspic.local.put_connection import PutConnection
from kvspic.local.sigv4 import SignedRequest, signing_region

__all__ = ["make_app"]

_log = logging.getLogger(__name__)

_AUTH_ERRORS = frozenset({
    "MissingAuthenticationTokenException",
    "UnrecognizedClientException",
    "InvalidSignatureException",
    "IncompleteSignature",
    "UnknownOperationException",
})  # fmt: skip
_NOT_BUILT = frozenset({"/v1/get-ice-server-config", "/v1/send-alexa-offer-to-master"})  # signaling has no media here

_MONITORED = ("/healthz", "/metrics")
_Answer = Callable[[web.Request, dict[str, Any]], Awaitable[web.StreamResponse]]


class _AnswerBegan(Exception):
    """A fault when the head of the answer may have been sent already; its cause is the fault."""


class _Application:
    """Dispatch for one hub."""

    def __init__(
        self, hub: Hub, access: Access, live_wait_seconds: float, faults: ScriptedFaults, page_token: str | None
    ) -> None:
        self._hub = hub
        self._faults = faults
        self._access = access
        self._media = MediaOut(hub, live_wait_seconds)
        self._playback = Playback(hub)
        self._page = Page(hub, self._playback, faults, PageAccess(access.keys is not None, page_token))
        self._media_answers: dict[str, _Answer] = {
            "/getDataEndpoint": self._get_data_endpoint,
            "/getSignalingChannelEndpoint": self._get_signaling_endpoint,
            "/listFragments": self._list_fragments,
            "/getMedia": self._get_media,
            "/getMediaForFragmentList": self._get_media_for_fragment_list,
            "/getHLSStreamingSessionURL": self._get_hls_url,
            "/getDASHStreamingSessionURL": self._get_dash_url,
            "/getClip": self._get_clip,
            "/getImages": self._get_images,
        }
        self._control = {_path(name): name for name in hub.service.operations}
        self._paths = frozenset({*self._control, *self._media_answers, *_NOT_BUILT, *_MONITORED, "/putMedia"})

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Answer one request, count it and log it."""
        began_s = time.monotonic()
        answer = await self._handled(request)
        operation = request.path[1:] if request.path in self._paths else "other"
        self._hub.counts.requests[operation, answer.headers.get("x-amzn-ErrorType", str(answer.status))] += 1
        took_ms = (time.monotonic() - began_s) * 1000
        _log.info("%s %s %s %d %.1f ms", request.remote, request.method, request.path, answer.status, took_ms)
        return answer

    def _tell(self, request: web.Request) -> web.Response:
        """Whether the endpoint works, and what it has counted."""
        if request.path == "/healthz":
            return web.json_response({"status": "ok"})
        streams, uploads = self._hub.service.streams.all(), self._hub.live.values()
        text = self._hub.counts.text(len(streams), sum(map(len, uploads)))
        return web.Response(text=text, content_type="text/plain")

    async def _handled(self, request: web.Request) -> web.StreamResponse:
        guarded = None if request.transport is None else request.transport.get_protocol()
        if isinstance(guarded, Guarded):
            guarded.head_is_here()
        try:
            if request.method == "GET" and request.path.startswith(SESSION_PATHS):
                return await self._play(request)
            self._access.check_site(self._own_url(request), _lower(request))
            if request.method == "GET" and request.path in _MONITORED:
                return self._tell(request)
            if self._page.has(request):
                return await self._page.answer(request)
            struck = await self._faults.strikes(request)
            refusal = await self._faults.before_answer(request, struck)
            return await self._answer(request, struck) if refusal is None else refusal
        except ServiceError as error:
            return _refusal(error)
        except StoreError as error:
            _log.error("%s: %s", request.path, error)
            return _refusal(ServiceError("InternalFailure", str(error)))
        except web.HTTPException as error:
            text = f"The request cannot be read: {error.reason}."
            return _refusal(ServiceError("SerializationException", text, status=error.status))
        except ConnectionError:
            raise  # the client that would read an answer is gone
        except _AnswerBegan as error:
            raise (error.__cause__ or error) from None
        except Exception:
            _log.exception("a fault of the endpoint at %s", request.path)
            return _refusal(ServiceError("InternalFailure", "The endpoint has a fault; its log says more."))

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
            text = "The local endpoint has signaling channels as records only: use the service for their media."
            raise ServiceError("NotImplementedException", text)
        body = _json_object(content)
        if path in self._media_answers:
            return await self._media_answers[path](request, body)
        region = signing_region(_signed(request, None))
        answer = self._hub.service.call(self._control[path], body, self._hub.now_hns(), region)
        await self._hub.keep_changes()
        return _json_answer(answer)

    def _check_signature(self, request: web.Request, body: bytes | None) -> None:
        if self._faults.has_expired(request):
            raise ServiceError("ExpiredTokenException", "The security token included in the request is expired")
        self._access.check_signature(_signed(request, body), self._hub.wall_seconds())

    async def _put_media(self, request: web.Request, struck: Struck) -> web.StreamResponse:
        self._check_signature(request, None)
        session = self._hub.service.open_put(_lower(request), self._hub.now_hns())
        response = web.StreamResponse(headers=_answer_headers("application/json"))
        response.enable_chunked_encoding()
        faults = UploadFaults(request, struck, self._faults)
        try:
            return await PutConnection(self._hub, request, session, faults).run(response)
        except Exception as error:
            raise _AnswerBegan from error

    async def _get_data_endpoint(self, request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        url = self._own_url(request)
        return _json_answer(self._hub.service.get_data_endpoint(body, url, self._hub.now_hns()))

    async def _get_signaling_endpoint(self, request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        return _json_answer(self._hub.service.configurations.signaling_endpoint(body, self._own_url(request)))

    def _own_url(self, request: web.Request) -> str:
        return self._access.base_url(request.scheme, request.host, _listening_port(request))

    async def _list_fragments(self, _: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        return _json_answer(await self._media.list_fragments(body))

    async def _get_media(self, request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        stream, seq = await self._media.start_of(body)
        with self._hub.service.reading("GetMedia", stream):
            return await _streamed(request, lambda response: self._media.send_live(response, stream, seq))

    async def _get_media_for_fragment_list(self, request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        stream, rows = await self._media.listed_rows(body)
        with self._hub.service.reading("GetMediaForFragmentList", stream):
            return await _streamed(request, lambda response: self._media.send_list(response, rows))

    async def _get_hls_url(self, request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        return _json_answer(await self._playback.hls_url(body, self._own_url(request)))

    async def _get_dash_url(self, request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        return _json_answer(await self._playback.dash_url(body, self._own_url(request)))

    async def _get_clip(self, _: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        return _played(await self._playback.clip(body))

    async def _get_images(self, _: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        return _json_answer(await self._playback.images(body))

    async def _play(self, request: web.Request) -> web.StreamResponse:
        """What a player reads: the token in the URL is its right to, so any page may ask."""
        try:
            answer = _played(await self._playback.play(request.path, request.query))
        except ServiceError as error:
            answer = _refusal(error)
        answer.headers["Access-Control-Allow-Origin"] = "*"
        return answer


def _played(played: Played) -> web.Response:
    return web.Response(body=played.content, headers=_answer_headers(played.content_type))


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
    except Exception as error:
        raise _AnswerBegan from error
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


def _signed(request: web.Request, body: bytes | None) -> SignedRequest:
    return SignedRequest(request.method, request.path, request.rel_url.raw_query_string, _lower(request), body)


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


def _listening_port(request: web.Request) -> int:
    """The port that the client has reached."""
    name = None if request.transport is None else request.transport.get_extra_info("sockname")
    if name is None:
        raise ConnectionResetError("the client left before its address was read")
    return int(name[1])


def make_app(
    hub: Hub,
    access: Access,
    live_wait_seconds: float,
    faults: ScriptedFaults | None = None,
    page_token: str | None = None,
) -> web.Application:
    """Return the application over ``hub``; GetMedia ends after ``live_wait_seconds`` without a fragment.

    ``page_token`` is what the page sends where ``access`` has keys.
    """
    app = web.Application(client_max_size=4 * 1024 * 1024)
    answering = _Application(hub, access, live_wait_seconds, faults or ScriptedFaults(), page_token)
    app.router.add_route("*", "/{path:.*}", answering.handle)
    return app
