"""boto3's core, botocore, for the Kinesis Video planes, blocking; runs in threads only.

One client per process, plane, region and endpoint, made without botocore's own signing: a hook signs each request as it
leaves, with the keys and the clock of the call that made it. botocore retries nothing: the core decides what to repeat.

The control plane has four calls, all of them JSON by POST, and each stream makes some of them when it opens. They are
sent by botocore's HTTP session with the URL and the headers that botocore would use, but without botocore's events,
serializer and parser, which were two thirds of the cost of a call; over a connection that is open also without
urllib3, which was half of the rest (``exchange.py``). botocore's parser reads the answers that are errors.
"""

from __future__ import annotations

import contextlib
import functools
import io
import json
import logging
import os
import select
import socket
import ssl
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from kvspic.loopback import is_loopback_url
from kvspic.provider.clock import ServiceClock, date_of, server_time, wait_asked_s
from kvspic.provider.credentials import CredentialFetchError, Credentials, NoCredentialsError
from kvspic.provider.exchange import idle_pool, over_idle
from kvspic.provider.results import (
    NO_TLS,
    NOT_AWS,
    SETTING_REMEDIES,
    UNTRUSTED,
    ServiceError,
    ServiceResult,
    classify,
    classify_transport,
    is_without_tls,
    safe_text,
    safe_url,
)
from kvspic.provider.trust import ca_bundle, untrusted
from kvspic.threads import shared_executor

if TYPE_CHECKING:
    from kvspic.provider.signing import ServiceSigner

    SignerNow = Callable[[], ServiceSigner]

__all__ = ["Plane", "call", "configured_region", "end_reading", "endpoint_of", "read_piece", "translate"]

AWS = "AWS in "
CLIENTS_MAX = 32  # endpoints of the reading side change now and then
PIECE_SIZE = 1024 * 1024
READ_SIZE = 64 * 1024  # where a read waits for all of it
ENDPOINT_PREFIXES = ("kinesisvideo",)  # of all planes
CONTROL = "kinesisvideo"
NO_SENSE = (AttributeError, KeyError, RecursionError, TypeError, ValueError)  # botocore's parser, of odd answers
SERVICES = (CONTROL, "kinesis-video-media", "kinesis-video-archived-media")

_lock = threading.Lock()
_clients: dict[tuple[object, ...], _Client] = {}
_current = threading.local()  # .sign: the signature of the call that runs in this thread


@dataclass(frozen=True)
class Plane:
    """One client: a service of botocore at an endpoint; no endpoint means AWS's own for the region."""

    service: str
    region: str
    endpoint_url: str | None = None
    user_agent_extra: str = ""

    @property
    def place(self) -> str:
        return safe_url(self.endpoint_url) if self.endpoint_url else f"{AWS}{self.region}"


@dataclass(frozen=True)
class _Client:
    """A client of botocore. ``url``, ``headers`` and ``idle`` are of the control plane: where its calls go, without
    their paths, the headers that all have, and the open connections. Without ``url`` botocore makes the calls whole."""

    made: Any
    url: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    idle: Any = None

    def close(self) -> None:
        """Its idle connections; a call under way keeps its own."""
        self.made.close()


def call(plane: Plane, operation: str, params: Mapping[str, Any], keys: Credentials, clock: ServiceClock) -> Any:
    """One request, e.g. ``call(plane, "DescribeStream", {...}, keys, clock)``; the parsed answer.

    Raises:
        ServiceError: anything that went wrong. ``clock`` has learned the service's time from the answer.
    """
    import botocore.exceptions

    from kvspic.provider.signing import ServiceSigner

    try:
        client = _client(plane)
        make = _control if client.url else _by_botocore
        answer, date = make(client, operation, params, lambda: ServiceSigner(keys, plane.region, clock.now()))
    except botocore.exceptions.ClientError as error:
        raise _refused(operation, error, clock) from None  # botocore's text may quote the request
    except (botocore.exceptions.BotoCoreError, OSError) as error:
        raise translate(operation, plane.place, error) from None
    clock.learn(date_of(date))
    return answer


def _by_botocore(client: _Client, operation: str, params: Mapping[str, Any], signer: SignerNow) -> tuple[Any, str]:
    """The parsed answer of a call, and its Date."""
    import botocore
    import botocore.exceptions

    from kvspic.provider.signing import sign_prepared

    _current.sign = lambda request: sign_prepared(request, signer())
    try:
        answer = getattr(client.made, botocore.xform_name(operation))(**params)
    except (botocore.exceptions.BotoCoreError, OSError):  # some are ValueErrors too
        raise
    except NO_SENSE:
        raise _makes_no_sense(operation) from None
    finally:
        del _current.sign
    return answer, str(answer["ResponseMetadata"]["HTTPHeaders"].get("date", ""))


def _control(client: _Client, operation: str, params: Mapping[str, Any], signer: SignerNow) -> tuple[Any, str]:
    """The same for the control plane, whose answers have nothing that needs a model."""
    from botocore.awsrequest import AWSPreparedRequest
    from botocore.validate import validate_parameters

    from kvspic.provider.signing import sign_call

    model = client.made.meta.service_model.operation_model(operation)
    validate_parameters(params, model.input_shape)
    url, body = client.url + model.http["requestUri"], json.dumps(params).encode()
    headers = {**client.headers, "Content-Length": str(len(body))}
    signed: Any = sign_call(url, headers, body, signer())  # botocore's stubs ask for a class of its own
    answer = None if client.idle is None else over_idle(client.idle, url, signed, body)
    if answer is None:
        request = AWSPreparedRequest("POST", url, signed, body, stream_output=False)
        answer = client.made._endpoint.http_session.send(request)
    if answer.status_code >= 300:
        raise _error_of(answer, model)
    try:
        found = json.loads(answer.content or b"{}")  # of TagStream
    except NO_SENSE:
        found = None
    if not isinstance(found, dict):
        raise _makes_no_sense(operation, answer.status_code)
    return found, str(answer.headers.get("date", ""))


def _error_of(answer: Any, model: Any) -> Exception:
    """The error that an answer is, as botocore reads it; by its status alone where botocore cannot."""
    from botocore.endpoint import convert_to_response_dict
    from botocore.exceptions import ClientError
    from botocore.parsers import create_parser

    found: Any
    try:
        found = create_parser("rest-json").parse(convert_to_response_dict(answer, model), model.output_shape)
    except NO_SENSE:
        meta = {"HTTPStatusCode": answer.status_code, "HTTPHeaders": answer.headers}
        found = {"Error": {}, "ResponseMetadata": meta}
    return ClientError(found, model.name)


def _makes_no_sense(operation: str, http_status: int = 0) -> ServiceError:
    detail = "the answer makes no sense: it is not the JSON object that the service sends"
    return ServiceError(operation, ServiceResult.UNKNOWN, http_status=http_status, detail=detail)


def _form(client: Any) -> tuple[str, dict[str, str]]:
    """Where botocore would send the calls of a client, without their paths, and with which headers: the endpoint by all
    settings and rules, the User-Agent. It makes a call for this that a hook keeps from leaving. Nothing at all where
    this botocore is not of the form that :func:`_control` relies on."""
    from botocore.awsrequest import AWSResponse
    from urllib3 import HTTPResponse

    from kvspic.provider.signing import text

    seen = []

    def stop(request: Any, **_: object) -> Any:
        seen.append(request)
        headers: Any = {}
        return AWSResponse(request.url, 200, headers, HTTPResponse(io.BytesIO(b"{}"), preload_content=False))

    client.meta.events.register_first("before-send", stop)  # before an answer by a hook of the user's
    client.describe_stream(StreamName="any")
    client.meta.events.unregister("before-send", stop)
    path = client.meta.service_model.operation_model("DescribeStream").http["requestUri"]
    kept = ("content-type", "user-agent")  # not the number of the call
    headers = {name: text(value) for name, value in seen[0].headers.items() if name.lower() in kept}
    session = getattr(getattr(client, "_endpoint", None), "http_session", None)
    if not hasattr(session, "send") or headers.get("Content-Type") != "application/json":
        return "", {}
    return seen[0].url.removesuffix(path), headers


def endpoint_of(plane: Plane) -> str:
    """The URL that calls of a plane go to, by the settings and the profile of the user; blocks.

    Raises:
        ServiceError: the region or the profile is none.
    """
    import botocore.exceptions

    try:
        return str(_client(plane).made.meta.endpoint_url)
    except (botocore.exceptions.BotoCoreError, botocore.exceptions.ClientError, OSError) as error:
        raise translate("Finding the endpoint", plane.place, error) from None


def translate(operation: str, place: str, error: Exception) -> ServiceError:
    """The error of a call that got no answer. An unknown kind may quote keys: then only its name is shown."""
    import botocore.exceptions

    quotable = (botocore.exceptions.BotoCoreError, OSError, NoCredentialsError, CredentialFetchError)
    known = isinstance(error, quotable)
    name = type(error).__name__
    text = " ".join(str(error).split()) if known else name
    result, cause = classify_transport(error), untrusted(error, place)
    if cause:
        return ServiceError(operation, result, error_name=UNTRUSTED, detail=cause)
    if is_without_tls(error):
        name = NOT_AWS if place.startswith(AWS) else NO_TLS
        return ServiceError(operation, result, error_name=name, detail=f"{place} does not speak TLS")
    setting = name if name in SETTING_REMEDIES else ""
    return ServiceError(operation, result, error_name=setting, detail=f"{safe_text(text)} (at {place})")


def read_piece(payload: Any) -> bytes:
    """The next bytes of a streaming answer as soon as there are any, with all that has arrived by then, up to about
    ``PIECE_SIZE``; b"" at its end; blocks. One piece is one change of threads, which costs as much as reading 64 KB."""
    raw = getattr(payload, "_raw_stream", None)
    read1: Callable[[int], bytes] | None = getattr(raw, "read1", None)
    if read1 is None:
        return bytes(payload.read(READ_SIZE))  # which waits until so much is there
    pieces = [read1(PIECE_SIZE)]
    size = len(pieces[0])
    while pieces[-1] and size < PIECE_SIZE and _has_arrived(raw):
        pieces.append(read1(PIECE_SIZE - size))
        size += len(pieces[-1])
    return b"".join(pieces)


def end_reading(payload: Any) -> None:
    """Close a streaming answer; never waits. A read of it that another thread is in ends at once, where its socket can
    be seen, else when its time is over."""
    _, sock = _file_of(getattr(payload, "_raw_stream", None))
    if sock is None:  # a close may wait for that read
        shared_executor().submit(payload.close)
        return
    with contextlib.suppress(OSError):
        socket.socket.shutdown(sock, socket.SHUT_RDWR)
    with contextlib.suppress(Exception):  # the thread that read may be closing it too
        payload.close()


def _file_of(raw: Any) -> tuple[Any, socket.socket | None]:
    """Return the file of an HTTP answer that is not at its end, and its socket; None where that cannot be seen."""
    file: Any = getattr(getattr(raw, "_fp", None), "fp", None)
    sock = getattr(getattr(file, "raw", None), "_sock", None)
    return file, sock if isinstance(sock, socket.socket) and sock.fileno() >= 0 else None


def _has_arrived(raw: Any) -> bool:
    """Whether a read of an HTTP answer would find bytes at once; False where its socket cannot be seen."""
    file, sock = _file_of(raw)
    if sock is None:
        return False
    if isinstance(sock, ssl.SSLSocket) and sock.pending():
        return True
    if _is_readable(sock):
        return True
    timeout = sock.gettimeout()
    sock.settimeout(0)
    try:  # what http.client has read ahead: up to 8 KB, from Python 3.15 on 128 KB
        return len(file.peek(1)) > len("\r\n")  # which ends a chunk that has been read
    except ssl.SSLWantReadError:
        return False
    finally:
        sock.settimeout(timeout)


def _is_readable(sock: socket.socket) -> bool:
    if not hasattr(select, "poll"):
        return bool(select.select([sock], [], [], 0)[0])
    poll = select.poll()
    poll.register(sock, select.POLLIN)
    return bool(poll.poll(0))


def configured_region() -> str | None:
    """The user's region: AWS_REGION, else what botocore finds (AWS_DEFAULT_REGION, the profile); blocks."""
    import botocore.exceptions
    import botocore.session

    if os.environ.get("AWS_REGION"):
        return os.environ["AWS_REGION"]
    try:
        region = botocore.session.Session(include_builtin_handlers=False).get_config_variable("region")
    except botocore.exceptions.BotoCoreError:
        return None
    return str(region) if region else None


def _client(plane: Plane) -> _Client:
    key = (os.getpid(), plane)
    with _lock:
        if key not in _clients:
            while len(_clients) >= CLIENTS_MAX:
                _clients.pop(next(iter(_clients))).close()
            _clients[key] = _make_client(plane)
        return _clients[key]


def _make_client(plane: Plane) -> _Client:
    import botocore
    from botocore.config import Config

    config = Config(
        signature_version=botocore.UNSIGNED,
        connect_timeout=5,
        read_timeout=10,
        retries={"total_max_attempts": 1},
        user_agent_extra=plane.user_agent_extra,
        proxies={} if is_loopback_url(plane.endpoint_url) else None,
    )
    client = _session().create_client(
        plane.service, region_name=plane.region, endpoint_url=plane.endpoint_url, config=config, verify=ca_bundle()
    )
    logging.getLogger("botocore.parsers").addFilter(_hide_token)  # the same filter again changes nothing
    url, headers = _form(client) if plane.service == CONTROL else ("", {})
    client.meta.events.register("before-send", _sign)
    idle = idle_pool(client._endpoint.http_session, url) if url else None
    return _Client(client, url, headers, idle)


@functools.cache
def _session() -> Any:
    """One for the process: the models that it reads are the same for all clients. Under the lock of its callers.

    botocore's own, because boto3's resources and transfers, 3 MB, are of no use here; nor are the endpoints of four
    hundred other services, 6 MB.
    """
    import botocore.loaders
    import botocore.session

    class OurEndpoints(botocore.loaders.JSONFileLoader):
        def load_file(self, file_path: str) -> Any:
            found = super().load_file(file_path)
            if os.path.basename(file_path) == "endpoints" and found:
                for partition in found["partitions"]:
                    services = partition["services"]
                    partition["services"] = {name: services[name] for name in services if name in ENDPOINT_PREFIXES}
            return found

    session = botocore.session.Session()
    loader = session.get_component("data_loader")
    loader.file_loader = OurEndpoints()
    loader.list_available_services = lambda type_name: list(SERVICES)  # else it looks at a thousand files
    return session


def _hide_token(record: logging.LogRecord) -> bool:
    """A refused signature is answered with our canonical request, session token included, and botocore's debug log
    shows every answer: that one line is replaced."""
    if "x-amz-security-token" in record.getMessage().lower():
        record.msg, record.args = "Response body: withheld, it quotes a session token", ()
    return True


def _sign(request: Any, **_: object) -> None:
    _current.sign(request)


def _refused(operation: str, error: Any, clock: ServiceClock) -> ServiceError:
    about = error.response.get("Error", {})
    meta = error.response.get("ResponseMetadata", {})
    headers = meta.get("HTTPHeaders", {})
    status = int(meta.get("HTTPStatusCode") or 0)
    name = str(about.get("Code") or "")
    name = "" if name.isdigit() else name  # botocore puts the status where the service gave no name
    message = str(about.get("Message") or about.get("message") or "")
    date = str(headers.get("date", ""))
    clock.learn(server_time(date, message))
    result = classify(status, name)
    return ServiceError(
        operation,
        ServiceResult.UNKNOWN if result is ServiceResult.OK else result,
        error_name=name,
        http_status=status,
        retry_after_s=wait_asked_s(str(headers.get("retry-after", "")), date),
        detail=message,
    )
