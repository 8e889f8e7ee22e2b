"""The control plane and the reading side of the service, awaited; botocore does the calls in threads.

Each call is made once. The one exception: when the service refuses the keys or the time of a signature, the keys are
refreshed, the clock is corrected and the call is repeated once; a refused call has changed nothing. botocore ignores
GetDataEndpoint, so its answer is given to the reading clients as their endpoint.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import datetime
import functools
import importlib.metadata
import os
import platform
import time
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from kvspic.loopback import is_loopback_url
from kvspic.provider import clients
from kvspic.provider.clients import Plane
from kvspic.provider.clock import SERVICE_CLOCK
from kvspic.provider.credentials import BotocoreCredentials, Credentials, CredentialSource, loopback_credentials
from kvspic.provider.endpoints import EndpointCache, checked_endpoint
from kvspic.provider.results import ServiceError, ServiceResult, is_credential_problem
from kvspic.provider.route import find_way
from kvspic.provider.session import PutMediaTarget
from kvspic.threads import in_thread
from kvspic.units import HNS_PER_HOUR

__all__ = ["ControlPlane", "FragmentInfo", "StreamDescription", "user_agent"]

FRAGMENTS_PER_CALL = 1000  # both ListFragments and GetMediaForFragmentList
RETENTION_HOURS_MAX = 1_000_000  # ten times what the service keeps
PAGES_MAX = 100_000  # a service that repeats its token for ever must not hold us
LOOPBACK_REGION = "us-east-1"
EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.timezone.utc)
MEDIA = "kinesis-video-media"
ARCHIVED_MEDIA = "kinesis-video-archived-media"
_API_NAMES = {
    "GetClip": "GET_CLIP",
    "GetHLSStreamingSessionURL": "GET_HLS_STREAMING_SESSION_URL",
    "GetImages": "GET_IMAGES",
    "GetMedia": "GET_MEDIA",
    "GetMediaForFragmentList": "GET_MEDIA_FOR_FRAGMENT_LIST",
    "ListFragments": "LIST_FRAGMENTS",
}


@dataclass(frozen=True)
class StreamDescription:
    """What DescribeStream says. ``status`` is CREATING, ACTIVE, UPDATING or DELETING; an unknown word counts as the
    last. ``creation_time`` is in seconds since 1970."""

    name: str
    arn: str
    status: str
    retention_hours: int
    media_type: str | None = None
    kms_key_id: str | None = None
    version: str | None = None
    creation_time: float | None = None
    device_name: str | None = None

    @property
    def retention_hns(self) -> int:
        return self.retention_hours * HNS_PER_HOUR


@dataclass(frozen=True)
class FragmentInfo:
    """One stored fragment. ``number`` orders as an integer; times are in 100 ns since 1970."""

    number: str
    size: int
    producer_time_hns: int
    server_time_hns: int
    duration_hns: int


class ControlPlane:
    """The calls around an upload. Safe for any number of tasks of one loop; needs no closing.

    Args:
        region: default: the user's configuration; us-east-1 for a loopback endpoint.
        endpoint_url: of the control plane, default AWS_ENDPOINT_URL_KINESIS_VIDEO or AWS itself.
        credentials: default: botocore's chain; see ``loopback_credentials`` for a loopback http endpoint.
        user_agent_extra: names the user's program in the User-Agent.
        executor: where botocore runs, default eight threads shared by the process.
    """

    def __init__(
        self,
        *,
        region: str | None = None,
        endpoint_url: str | None = None,
        credentials: CredentialSource | None = None,
        user_agent_extra: str = "",
        executor: concurrent.futures.Executor | None = None,
    ) -> None:
        self.endpoint_url = endpoint_url or _configured_endpoint()
        is_local = is_loopback_url(self.endpoint_url)
        self.credentials = credentials or (loopback_credentials() if is_local else BotocoreCredentials())
        self.clock = SERVICE_CLOCK
        self.user_agent = user_agent(user_agent_extra)
        self._region = region or (LOOPBACK_REGION if is_local else None)
        self._executor = executor
        self._reading_endpoints = EndpointCache()

    async def describe_stream(self, name: str) -> StreamDescription:
        """Raises ServiceError; with NOT_FOUND when there is no such stream."""
        answer = await self._control("DescribeStream", {"StreamName": name})
        info = answer.get("StreamInfo")
        if not isinstance(info, dict):
            raise _incomplete("DescribeStream", "StreamInfo")
        try:
            return _description(name, info)
        except (TypeError, ValueError, OverflowError):
            raise _incomplete("DescribeStream", "StreamInfo that makes sense") from None

    async def create_stream(
        self,
        name: str,
        *,
        retention_hours: int,
        media_type: str,
        kms_key_id: str | None = None,
        device_name: str | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> str:
        """Create the stream and return its ARN; it is usable once DescribeStream says ACTIVE."""
        wanted: dict[str, Any] = {
            "StreamName": name,
            "DataRetentionInHours": retention_hours,
            "MediaType": media_type,
            "KmsKeyId": kms_key_id,
            "DeviceName": device_name,
            "Tags": dict(tags or {}),
        }
        optional = ("MediaType", "KmsKeyId", "DeviceName", "Tags")
        params = {key: value for key, value in wanted.items() if value or key not in optional}
        arn = (await self._control("CreateStream", params)).get("StreamARN")
        if not arn:
            raise _incomplete("CreateStream", "StreamARN")
        return str(arn)

    async def tag_stream(self, arn_or_name: str, tags: Mapping[str, str]) -> None:
        """Add tags to a stream, replacing those of the same key."""
        which = "StreamARN" if arn_or_name.startswith("arn:") else "StreamName"
        await self._control("TagStream", {which: arn_or_name, "Tags": dict(tags)})

    async def get_data_endpoint(self, name: str, api_name: str = "PUT_MEDIA") -> str:
        """The URL that the stream's data calls go to, asked of the service each time. ServiceError where it names a
        place that nothing may be sent to, see ``checked_endpoint``."""
        answer = await self._control("GetDataEndpoint", {"StreamName": name, "APIName": api_name})
        url = answer.get("DataEndpoint")
        if not url:
            raise _incomplete("GetDataEndpoint", "DataEndpoint")
        return checked_endpoint(str(url), self.endpoint_url)

    async def put_media_target(self, endpoint_url: str) -> PutMediaTarget:
        """Where, as whom and by which way to upload to a data endpoint: this object's region, keys and clock, and the
        proxy and the certificates of the environment. Raises ServiceError where these cannot be used, or no region is
        configured."""
        way = functools.partial(find_way, endpoint_url)
        try:
            route, context = await in_thread(way, self._executor)
        except ValueError:  # its text may quote a password
            detail = "HTTPS_PROXY or HTTP_PROXY is no URL of a proxy: correct it"
            raise ServiceError("Finding the way to the data endpoint", ServiceResult.UNKNOWN, detail=detail) from None
        except OSError as error:  # such as a bundle of certificates that is being replaced
            detail = str(error)
            raise ServiceError("Finding the way to the data endpoint", ServiceResult.UNKNOWN, detail=detail) from None
        return PutMediaTarget(
            endpoint_url, await self.region(), self.credentials, ssl_context=context, clock=self.clock, route=route
        )

    async def region(self) -> str:
        """The region that signatures name. Raises ServiceError INVALID_ARG when none is configured."""
        if self._region is None:
            self._region = await in_thread(clients.configured_region, self._executor)
        if self._region is None:
            raise ServiceError(
                "Finding the AWS region",
                ServiceResult.INVALID_ARG,
                error_name="NoRegion",
                detail="none is configured",
            )
        return self._region

    async def control_endpoint(self) -> str:
        """The URL that these calls go to. Raises ServiceError when no region is configured, or the region or the
        profile is none."""
        plane = Plane("kinesisvideo", await self.region(), self.endpoint_url, self.user_agent)
        return await in_thread(functools.partial(clients.endpoint_of, plane), self._executor)

    async def list_fragments(self, name: str, produced_hns: tuple[int, int] | None = None) -> list[FragmentInfo]:
        """Every stored fragment, all pages, in the order of their numbers (as integers); ``produced_hns``: only those
        with a producer time in this range."""
        until = datetime.datetime.fromtimestamp(self.clock.now(), datetime.timezone.utc) + datetime.timedelta(days=1)
        first, last = (EPOCH, until) if produced_hns is None else (_moment(produced_hns[0]), _moment(produced_hns[1]))
        span = {"StartTimestamp": first, "EndTimestamp": last}
        kind = "SERVER_TIMESTAMP" if produced_hns is None else "PRODUCER_TIMESTAMP"
        selector = {"FragmentSelectorType": kind, "TimestampRange": span}
        params: dict[str, Any] = {"FragmentSelector": selector}
        found: list[FragmentInfo] = []
        for _ in range(PAGES_MAX):
            params["MaxResults"] = FRAGMENTS_PER_CALL
            page = await self._reading(ARCHIVED_MEDIA, "ListFragments", name, params)
            found += [_fragment(entry) for entry in page.get("Fragments") or []]
            token = page.get("NextToken")
            if not token:
                return sorted(found, key=lambda fragment: int(fragment.number))
            params = {"NextToken": token}
        raise ServiceError("ListFragments", ServiceResult.UNKNOWN, http_status=200, detail="the list has no end")

    async def get_media_for_fragment_list(self, name: str, numbers: Sequence[str]) -> AsyncIterator[bytes]:
        """The fragments' media in the order asked, as it arrives; one EBML document per fragment."""
        for start in range(0, len(numbers), FRAGMENTS_PER_CALL):
            batch = list(numbers[start : start + FRAGMENTS_PER_CALL])
            operation = "GetMediaForFragmentList"
            answer = await self._reading(ARCHIVED_MEDIA, operation, name, {"Fragments": batch})
            async with contextlib.aclosing(self._pieces(operation, answer["Payload"])) as pieces:
                async for piece in pieces:
                    yield piece

    async def get_clip(self, name: str, produced_hns: tuple[int, int]) -> AsyncIterator[bytes]:
        """One MP4 file of the fragments that begin in the range, first and last tick of the producer's time, as it
        arrives. The service takes 200 fragments and 100 MB."""
        answer = await self._reading(ARCHIVED_MEDIA, "GetClip", name, {"ClipFragmentSelector": _selector(produced_hns)})
        async with contextlib.aclosing(self._pieces("GetClip", answer["Payload"])) as pieces:
            async for piece in pieces:
                yield piece

    async def get_hls_url(
        self, name: str, produced_hns: tuple[int, int] | None = None, *, is_smooth: bool = False
    ) -> str:
        """The URL of a streaming session that players open: live, or of what was produced in the range.

        ``is_smooth``: a player starts again only where fragments do not follow each other, not at each fragment.
        """
        params: dict[str, Any] = {"PlaybackMode": "LIVE"}
        if produced_hns is not None:
            params = {"PlaybackMode": "ON_DEMAND", "HLSFragmentSelector": _selector(produced_hns)}
        if is_smooth:
            params["DiscontinuityMode"] = "ON_DISCONTINUITY"
        operation = "GetHLSStreamingSessionURL"
        answer = await self._reading(ARCHIVED_MEDIA, operation, name, params)
        return str(answer["HLSStreamingSessionURL"])

    async def get_picture(self, name: str, produced_hns: tuple[int, int], width: int) -> str | None:
        """The newest JPEG of what was produced in the range, in base64, ``width`` pixels wide; None if there is none.

        Ten pictures of the range are looked at.
        """
        first, last = map(_moment, produced_hns)
        params = {
            "ImageSelectorType": "PRODUCER_TIMESTAMP", "StartTimestamp": first, "EndTimestamp": last,
            "SamplingInterval": max(200, (produced_hns[1] - produced_hns[0]) // 100_000), "Format": "JPEG",
            "WidthPixels": width, "MaxResults": 10,
        }  # fmt: skip
        answer = await self._reading(ARCHIVED_MEDIA, "GetImages", name, params)
        found = [str(one["ImageContent"]) for one in answer["Images"] if one.get("ImageContent")]
        return found[-1] if found else None

    async def get_media(self, name: str, start_selector: Mapping[str, Any]) -> AsyncIterator[bytes]:
        """Media from ``start_selector`` on (``{"StartSelectorType": "NOW"}``), as it arrives, until the service ends
        it; a long watch repeats the call with the last continuation token."""
        answer = await self._reading(MEDIA, "GetMedia", name, {"StartSelector": dict(start_selector)})
        async with contextlib.aclosing(self._pieces("GetMedia", answer["Payload"])) as pieces:
            async for piece in pieces:
                yield piece

    # ---- how a call is made

    async def _control(self, operation: str, params: Mapping[str, Any]) -> dict[str, Any]:
        return await self._call("kinesisvideo", self.endpoint_url, operation, params)

    async def _reading(self, service: str, operation: str, name: str, params: Mapping[str, Any]) -> dict[str, Any]:
        url = await self._reading_endpoint(name, _api_name(operation))
        try:
            return await self._call(service, url, operation, {"StreamName": name, **params})
        except ServiceError:
            self._reading_endpoints.doubt(name, _api_name(operation))  # whatever it was: the next call asks again
            raise

    async def _reading_endpoint(self, name: str, api_name: str) -> str:
        now_hns = time.monotonic_ns() // 100
        url = self._reading_endpoints.get(name, now_hns, api_name)
        if url is None:
            url = await self.get_data_endpoint(name, api_name)
            self._reading_endpoints.put(name, url, now_hns, api_name)
        return url

    async def _call(
        self, service: str, endpoint_url: str | None, operation: str, params: Mapping[str, Any]
    ) -> dict[str, Any]:
        plane = Plane(service, await self.region(), endpoint_url, self.user_agent)
        try:
            return await self._once(plane, operation, params, await self._keys(operation, refresh=False))
        except ServiceError as error:
            if not is_credential_problem(error.http_status, error.error_name):
                raise
        return await self._once(plane, operation, params, await self._keys(operation, refresh=True))

    async def _once(self, plane: Plane, operation: str, params: Mapping[str, Any], keys: Credentials) -> dict[str, Any]:
        work = functools.partial(clients.call, plane, operation, params, keys, self.clock)
        answer: dict[str, Any] = await in_thread(work, self._executor)
        return answer

    async def _keys(self, operation: str, *, refresh: bool) -> Credentials:
        try:
            return await self.credentials.get(refresh=refresh)
        except Exception as error:  # a source of the user's may raise anything
            raise clients.translate(operation, "the credential source", error) from None

    async def _pieces(self, operation: str, payload: Any) -> AsyncGenerator[bytes, None]:
        """What an answer streams; while its caller works on a piece, the next one is read."""

        def read() -> asyncio.Task[bytes]:
            task = asyncio.create_task(in_thread(functools.partial(clients.read_piece, payload), self._executor))
            task.add_done_callback(lambda done: done.cancelled() or done.exception())  # a caller may leave before
            return task

        reading = read()
        try:
            while piece := await reading:
                reading = read()
                yield piece
        except Exception as error:
            raise clients.translate(operation, "the data endpoint", error) from None
        finally:
            reading.cancel()
            clients.end_reading(payload)


def user_agent(extra: str = "") -> str:
    """``kvspic/<version> Python/<version> <system>/<release> <machine> [extra]``, at most 256 characters."""
    try:
        version = importlib.metadata.version("kvspic")
    except importlib.metadata.PackageNotFoundError:
        version = "0"
    system = f"{platform.system()}/{platform.release()} {platform.machine()}"
    text = f"kvspic/{version} Python/{platform.python_version()} {system} {extra}".strip()
    return "".join(char if char.isascii() and char.isprintable() else "_" for char in text)[:256]


def _configured_endpoint() -> str | None:
    """The endpoint variables, read here because a loopback endpoint also decides about keys and region."""
    if os.environ.get("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", "").lower() == "true":
        return None
    return os.environ.get("AWS_ENDPOINT_URL_KINESIS_VIDEO") or os.environ.get("AWS_ENDPOINT_URL") or None


def _api_name(operation: str) -> str:
    """The name by which GetDataEndpoint knows an operation."""
    return _API_NAMES[operation]


def _incomplete(operation: str, member: str) -> ServiceError:
    return ServiceError(operation, ServiceResult.UNKNOWN, http_status=200, detail=f"the answer has no {member}")


def _description(name: str, info: Mapping[str, Any]) -> StreamDescription:
    created = info.get("CreationTime")
    if isinstance(created, datetime.datetime):  # by botocore's parser
        created = created.timestamp()
    status = str(info.get("Status") or "")
    hours = int(info.get("DataRetentionInHours") or 0)
    if not 0 <= hours <= RETENTION_HOURS_MAX:
        raise ValueError("no stream is kept so long")
    return StreamDescription(
        name=str(info.get("StreamName") or name),
        arn=str(info.get("StreamARN") or ""),
        status=status if status in ("CREATING", "ACTIVE", "UPDATING", "DELETING") else "DELETING",
        retention_hours=hours,
        media_type=info.get("MediaType"),
        kms_key_id=info.get("KmsKeyId"),
        version=info.get("Version"),
        creation_time=created if isinstance(created, (int, float)) else None,
        device_name=info.get("DeviceName"),
    )


def _fragment(entry: Mapping[str, Any]) -> FragmentInfo:
    return FragmentInfo(
        number=str(entry["FragmentNumber"]),
        size=int(entry.get("FragmentSizeInBytes") or 0),
        producer_time_hns=_hns(entry.get("ProducerTimestamp")),
        server_time_hns=_hns(entry.get("ServerTimestamp")),
        duration_hns=int(entry.get("FragmentLengthInMilliseconds") or 0) * 10_000,
    )


def _selector(produced_hns: tuple[int, int]) -> dict[str, Any]:
    first, last = map(_moment, produced_hns)
    span = {"StartTimestamp": first, "EndTimestamp": last}
    return {"FragmentSelectorType": "PRODUCER_TIMESTAMP", "TimestampRange": span}


def _moment(time_hns: int) -> datetime.datetime:
    return EPOCH + datetime.timedelta(microseconds=time_hns // 10)


def _hns(moment: datetime.datetime | None) -> int:
    return 0 if moment is None else (moment - EPOCH) // datetime.timedelta(microseconds=1) * 10
