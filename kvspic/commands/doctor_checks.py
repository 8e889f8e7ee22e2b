"""The checks of ``kvspic doctor``: what is installed, whose keys, which way to the service, its clock, a stream there.

Everything goes the way that an upload goes: the same chain of keys, proxies and certificates, the same calls.
"""

from __future__ import annotations

import asyncio
import functools
import importlib.metadata
import os
import platform
import ssl
import sys
import time
from dataclasses import dataclass

import h11

import kvspic
from kvspic.commands.doctor_findings import Report, cause_and_remedy
from kvspic.commands.exits import ExitCode
from kvspic.provider.clock import ServiceClock, date_of
from kvspic.provider.control import ControlPlane, StreamDescription
from kvspic.provider.credentials import Credentials, NoCredentialsError
from kvspic.provider.results import ServiceError, ServiceResult, is_credential_problem, is_throttling, safe_url
from kvspic.provider.route import ProxyError, Route, UntrustedCertificate, find_way, open_put_media
from kvspic.provider.transport import ConnectTimeout, Transport, endpoint_parts, look_up
from kvspic.provider.trust import ca_bundle
from kvspic.threads import in_thread

__all__ = ["Service", "check_data_endpoint", "check_installation", "check_service", "check_stream", "hide_proxies"]

REQUIRED = ("boto3", "botocore", "requests", "h11", "cffi")
EXTRAS = {
    "media": ("av", "numpy"),
    "cli": ("click", "rich"),
    "local": ("aiohttp", "PyYAML"),
    "metrics": ("prometheus_client",),
    "tls": ("cryptography",),
    "bench": ("grpcio", "protobuf", "psutil"),
    "fleet": ("SQLAlchemy",),
}
METHODS = {
    "env": "the environment variables",
    "shared-credentials-file": "the shared credentials file",
    "config-file": "the configuration file",
    "assume-role": "an assumed role of the profile",
    "assume-role-with-web-identity": "a role by web identity",
    "sso": "an SSO login",
    "login": "a login",
    "custom-process": "the credential_process of the profile",
    "container-role": "the agent of the container",
    "iam-role": "the instance profile",
}
LOOK_UP_S = CONNECT_S = ANSWER_S = 10.0
SKEW_S, SKEW_MAX_S = 30.0, 300.0  # AWS refuses signatures that are five minutes off
EXPIRES_SOON_S = 300.0
PROBE_STREAM = "kvspic-doctor"  # asked for where the user names none: no one has to have it
ENDPOINT_VARIABLES = ("AWS_ENDPOINT_URL_KINESIS_VIDEO", "AWS_ENDPOINT_URL")
REMEDY_OF_DUMMIES = "this endpoint wants keys of its own: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, both"
ASK_ALLOW = "let a policy allow kinesisvideo:{} on the stream"


@dataclass
class Service:
    """What the checks share. ``stream`` is empty and ``region`` None where the user names none."""

    plane: ControlPlane
    stream: str = ""
    region: str | None = None


def hide_proxies(report: Report) -> None:
    """Keep the proxies of the environment that have a password out of the report."""
    for name, value in os.environ.items():
        if name.lower().endswith("_proxy"):
            report.redactor.hide_proxy(value)


# ---- what is installed


def check_installation(report: Report) -> None:
    """Versions of the package, its core, Python and what they use."""
    core, package = kvspic.__version__, _version("kvspic")
    if package and package != core:
        text = f"the package is {package}, but its compiled core is {core}"
        report.fail("kvspic", text, "install it again (pip install --force-reinstall kvspic)", ExitCode.INTERNAL)
    else:
        report.ok("kvspic", f"{core}, package and core")
    bits = "64 bit" if sys.maxsize > 1 << 32 else "32 bit"
    libc = " ".join(part for part in platform.libc_ver() if part)
    gil = "" if getattr(sys, "_is_gil_enabled", lambda: True)() else ", without a GIL"
    system = f"{platform.system()} {platform.release()} {platform.machine()}"
    text = f"{platform.python_implementation()} {platform.python_version()}, {bits}{gil}, {system}"
    report.ok("python", f"{text}, {libc}" if libc else text)
    versions = {name: _version(name) for name in REQUIRED}
    missing = [name for name, version in versions.items() if not version]
    shown = ", ".join(f"{name} {version}" for name, version in versions.items() if version)
    if missing:
        remedy = f"pip install {' '.join(missing)}"
        report.fail("packages", f"{', '.join(missing)} are not installed", remedy, ExitCode.USAGE)
    else:
        report.ok("packages", shown)
    _check_extras(report)


def _check_extras(report: Report) -> None:
    found = {extra: [(name, _version(name)) for name in names] for extra, names in EXTRAS.items()}
    there = {extra: pairs for extra, pairs in found.items() if all(version for _, version in pairs)}
    shown = [f"{extra} ({', '.join(f'{name} {version}' for name, version in there[extra])})" for extra in there]
    without = ", ".join(extra for extra in EXTRAS if extra not in there)
    report.ok("extras", ", ".join(shown) + (f"; not installed: {without}" if without else ""))
    if "media" in there:
        _check_media(report)


def _check_media(report: Report) -> None:
    from kvspic.sources import MissingDependencyError, NumpyEncoder, SourceError

    try:
        encoder = NumpyEncoder(64, 64, fps=25)
    except (MissingDependencyError, SourceError) as error:
        report.warn("media", *cause_and_remedy(error))
    else:
        report.ok("media", f"PyAV encodes {encoder.track.content_type}")


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return ""


# ---- the way to the service, and its clock


async def check_service(report: Report, service: Service) -> bool:
    """Keys, the way to the control plane, the clock, and whether it takes the keys; whether the stream can be asked."""
    keys = await _check_keys(report, service.plane)
    try:
        url = await service.plane.control_endpoint()
    except ServiceError as error:
        report.fail("endpoint", *cause_and_remedy(error), ExitCode.USAGE)
        return False
    origin = next((name for name in ENDPOINT_VARIABLES if os.environ.get(name) == url), "")
    report.ok(
        "endpoint", f"{safe_url(url)}{f', from {origin}' if origin else ''}, region {await service.plane.region()}"
    )
    if not await _reach(report, "connection", url, service.plane.clock):
        return False
    if keys is None:
        report.skip("signature", "there are no keys")
    return keys is not None


async def _check_keys(report: Report, plane: ControlPlane) -> Credentials | None:
    source = plane.credentials
    try:
        keys = await source.get()
    except Exception as error:  # a source may raise anything
        _fail_keys(report, error)
        return None
    for secret, name in ((keys.access_key, "access key"), (keys.secret_key, "secret"), (keys.session_token, "token")):
        report.redactor.hide(secret, name)
    method = str(getattr(source, "method", "its own"))
    where = f"{'temporary' if keys.session_token else 'permanent'} keys of {METHODS.get(method, method)}"
    if not method:
        where = "dummy keys, which an endpoint on this machine takes"
    profile = os.environ.get("AWS_PROFILE") or os.environ.get("AWS_DEFAULT_PROFILE")
    if profile and method not in ("env", "iam-role", "container-role", ""):
        where += f", profile {profile}"
    left_s = None if keys.expiry_s is None else keys.expiry_s - plane.clock.now()
    if left_s is None:
        report.ok("credentials", where)
    elif left_s > EXPIRES_SOON_S:
        report.ok("credentials", f"{where}, which end in {left_s / 60:.0f} min")
    else:
        text = (
            f"{where}, which {'end' if left_s > 0 else 'ended'} {_span(left_s)} {'from now' if left_s > 0 else 'ago'}"
        )
        report.warn("credentials", text, "renew them, or take a source that renews itself (docs/credentials.md)")
    return keys


def _fail_keys(report: Report, error: Exception) -> None:
    from botocore.exceptions import BotoCoreError

    if isinstance(error, RuntimeError) and "expired" in str(error):  # botocore's word for fixed keys with an expiry
        text, remedy = "the keys have expired", "renew them: log in again, or export new ones"
    elif isinstance(error, NoCredentialsError):
        text, remedy = cause_and_remedy(error)
    elif isinstance(error, BotoCoreError):
        text, remedy = " ".join(str(error).split()), "correct the profile or log in again (docs/credentials.md)"
    else:
        text, remedy = f"the source failed with {type(error).__name__}", "see docs/credentials.md"
    report.fail("credentials", text, remedy, ExitCode.REFUSED)


async def _reach(report: Report, check: str, url: str, clock: ServiceClock | None = None) -> bool:
    """Connect as an upload does; each step that fails is a finding of its own name. With ``clock`` a request is made
    too, for the time in its answer."""
    try:
        route, context = await in_thread(functools.partial(find_way, url))
    except ValueError:  # its text may quote a password
        text = "HTTPS_PROXY or HTTP_PROXY is no URL of a proxy"
        report.fail("proxy", text, "write it as http://HOST:PORT", ExitCode.USAGE)
        return False
    except OSError as error:
        report.fail("certificate", *cause_and_remedy(error), ExitCode.USAGE)
        return False
    report.redactor.hide_proxy(route.proxy_url)
    if not await _look_up(report, route.proxy_url or url, is_proxy=bool(route.proxy_url)):
        return False
    begin_s = time.monotonic()
    transport = await _connect(report, check, url, route, context)
    if transport is None:
        return False
    connect_ms = (time.monotonic() - begin_s) * 1000
    trust = ""
    if context is not None:
        trust = f", certificate trusted by {ca_bundle() or 'the authorities of the system and of botocore'}"
    way = f"through the proxy {safe_url(route.proxy_url)}" if route.proxy_url else "directly"
    try:
        date_s = None if clock is None else await asyncio.wait_for(_ask_time(transport, url), ANSWER_S)
    except (OSError, asyncio.TimeoutError, h11.RemoteProtocolError):
        text = f"{safe_url(url)} takes connections {way}, and gives no answer of HTTP"
        remedy = "check the endpoint, http or https, and what is between it and this machine"
        report.fail(check, text, remedy, ExitCode.UNREACHABLE)
        return False
    finally:
        transport.close()
    report.ok(check, f"{way} in {connect_ms:.0f} ms{trust}")
    if clock is not None:
        _check_clock(report, clock, date_s)
    return True


async def _look_up(report: Report, url: str, *, is_proxy: bool) -> bool:
    try:
        _, host, port = endpoint_parts(url)
    except ValueError:
        kind = "the proxy" if is_proxy else "the endpoint"
        remedy = "name one of http or https, such as http://HOST:PORT"
        report.fail("name lookup", f"{kind} is no URL of a host that can be used", remedy, ExitCode.USAGE)
        return False
    try:
        addresses = await asyncio.wait_for(look_up(host, port), LOOK_UP_S)
    except (OSError, asyncio.TimeoutError) as error:
        why = getattr(error, "strerror", None) or str(error) or f"no answer within {LOOK_UP_S:g} s"
        what = "HTTPS_PROXY and the name server" if is_proxy else "the region, the endpoint and the network"
        report.fail("name lookup", f"{host} has no address ({why})", f"check {what}", ExitCode.UNREACHABLE)
        return False
    report.ok("name lookup", f"{host} has {len(addresses)} address{'es' * (len(addresses) != 1)}")
    return True


async def _connect(
    report: Report, check: str, url: str, route: Route, context: ssl.SSLContext | None
) -> Transport | None:
    try:
        return await open_put_media(url, ssl_context=context, route=route, connect_timeout_s=CONNECT_S)
    except UntrustedCertificate as error:
        report.fail("certificate", *cause_and_remedy(error), ExitCode.REFUSED)
    except ProxyError as error:
        report.fail("proxy", *cause_and_remedy(error), ExitCode.UNREACHABLE)
    except ssl.SSLError as error:
        text = f"{safe_url(url)} gives no answer of TLS ({error.reason or error})"
        remedy = "write http if the endpoint has no TLS, and check what is between it and this machine"
        report.fail(check, text, remedy, ExitCode.UNREACHABLE)
    except (ConnectTimeout, OSError) as error:
        why = os.strerror(error.errno) if error.errno else str(error)  # asyncio's own words name the address only
        text = f"{safe_url(url)} is not reached ({why})"
        remedy = "check the endpoint, the firewall, and whether a proxy is needed (HTTPS_PROXY)"
        report.fail(check, text, remedy, ExitCode.UNREACHABLE)
    return None


async def _ask_time(transport: Transport, url: str) -> float | None:
    """Ask for anything, unsigned: a refusal has a Date too. Return it, in seconds since 1970."""
    _, host, port = endpoint_parts(url)
    http = h11.Connection(h11.CLIENT)
    authority = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    head = http.send(h11.Request(method="GET", target="/ping", headers=[("Host", authority), ("Connection", "close")]))
    await transport.send(head or b"")
    http.send(h11.EndOfMessage())
    while (event := http.next_event()) is h11.NEED_DATA:
        http.receive_data(await transport.receive())
    if not isinstance(event, h11.Response):
        raise ConnectionError("no answer")
    date = next((value.decode("latin-1") for name, value in event.headers if name == b"date"), "")
    return date_of(date)


def _check_clock(report: Report, clock: ServiceClock, service_s: float | None) -> None:
    if service_s is None:
        report.warn("clock", "the answer has no Date", "compare the time of this machine with another clock")
        return
    off_s = clock.wall() - service_s
    clock.learn(service_s)
    if abs(off_s) < SKEW_S:
        report.ok("clock", f"within {max(1, round(abs(off_s)))} s of the service's")
        return
    text = f"{_span(off_s)} {'ahead of' if off_s > 0 else 'behind'} the service's; kvspic signs with the right time"
    remedy = "switch on NTP: times of frames and of other programs are wrong"
    if abs(off_s) < SKEW_MAX_S:
        report.warn("clock", text, remedy)
    else:
        report.fail("clock", text, remedy, ExitCode.REFUSED)


def _span(seconds: float) -> str:
    seconds = abs(seconds)
    for size, unit in ((86_400, "d"), (3600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"


# ---- a stream


async def check_stream(report: Report, service: Service) -> StreamDescription | None:
    """DescribeStream: whether the keys are taken, and what the stream is; None where it cannot be used."""
    name = service.stream or PROBE_STREAM
    try:
        found = await service.plane.describe_stream(name)
    except ServiceError as error:
        _explain_refusal(report, service, error)
        return None
    report.ok("signature", "the service takes the keys")
    if not service.stream:
        report.skip("stream", "none is named; --stream NAME does")
        return None
    kept = f"keeps media for {found.retention_hours} h" if found.retention_hours else "keeps no media (retention 0)"
    text = f"{name} is {found.status} and {kept}"
    if found.status not in ("ACTIVE", "UPDATING"):
        remedy = "wait until it is ACTIVE, or name another stream"
        report.fail("stream", text, remedy, ExitCode.REFUSED)
        return None
    if found.retention_hours:
        report.ok("stream", text)
    else:
        report.warn("stream", text, "give it a retention if its media is to be watched later than now")
    return found


def _explain_refusal(report: Report, service: Service, error: ServiceError) -> None:
    text, remedy = cause_and_remedy(error)
    if is_credential_problem(error.http_status, error.error_name) and error.http_status:
        is_dummy = getattr(service.plane.credentials, "method", None) == ""
        remedy = REMEDY_OF_DUMMIES if is_dummy else _remedy_of_keys(error.error_name)
        report.fail("signature", text, remedy, ExitCode.REFUSED)
    elif not error.http_status:
        code = ExitCode.UNREACHABLE if error.is_unreachable else ExitCode.REFUSED
        report.fail("signature", text, remedy, code)
    elif is_throttling(error.http_status, error.error_name):
        remedy = "make fewer calls from this account, or ask for a higher quota"
        report.warn("signature", f"the service takes the keys, and no more calls of this account now ({text})", remedy)
    else:
        _explain_stream(report, service, error)
        return
    report.skip("stream", "the service did not answer the call about it")


def _explain_stream(report: Report, service: Service, error: ServiceError) -> None:
    """The keys are taken; the call is not allowed, or the stream is not there."""
    text, remedy = cause_and_remedy(error)
    is_404 = error.result is ServiceResult.NOT_FOUND
    is_missing = is_404 and error.error_name.startswith("ResourceNotFound")
    if is_missing or error.is_denied:
        report.ok("signature", "the service takes the keys")
    if not service.stream and (is_missing or error.is_denied):
        report.skip("stream", "none is named; --stream NAME does")
    elif is_missing:
        remedy = f"create {service.stream} (kvspic put does, if it is allowed to), or check the name and the region"
        report.fail("stream", text, remedy, ExitCode.REFUSED)
    elif error.is_denied:
        report.fail("stream", text, ASK_ALLOW.format("DescribeStream"), ExitCode.REFUSED)
    elif is_404:
        remedy = "check the endpoint and its path: what answers there is not Kinesis Video Streams"
        report.fail("stream", text, remedy, ExitCode.REFUSED)
    else:
        report.fail("stream", text, remedy, ExitCode.REFUSED)


def _remedy_of_keys(error_name: str) -> str:
    name = error_name.lower()
    if "expired" in name:
        return "renew the keys: log in again (aws sso login), or export new ones with their session token"
    if "clienttoken" in name or "unrecognizedclient" in name:
        return "these keys do not exist (any more): take others, and check the region and the session token"
    if "signature" in name:
        return "the secret does not belong to the access key, or the region is wrong: copy both again"
    return "check the keys"


async def check_data_endpoint(report: Report, service: Service) -> bool:
    """GetDataEndpoint for PutMedia, and the way there."""
    try:
        url = await service.plane.get_data_endpoint(service.stream)
    except ServiceError as error:
        text, remedy = cause_and_remedy(error)
        if error.is_denied:
            remedy = ASK_ALLOW.format("GetDataEndpoint")
        code = ExitCode.UNREACHABLE if error.is_unreachable else ExitCode.REFUSED
        report.fail("data endpoint", text, remedy, code)
        return False
    return await _reach(report, "data endpoint", url)
