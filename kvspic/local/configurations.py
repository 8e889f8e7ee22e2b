"""What the service keeps beside a stream's media: configurations of streams, edge configurations, signaling channels.

Configurations are kept with their stream, validated, and described again; only the writer of images acts on one.
Signaling channels are records without media, and are forgotten when the endpoint ends. Pure.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from kvspic.local import fields, shapes
from kvspic.local.errors import ServiceError
from kvspic.local.fields import Request
from kvspic.local.settings import Settings
from kvspic.local.streams import StreamRecord, Streams
from kvspic.units import HNS_PER_MS, HNS_PER_S

__all__ = ["IMAGES", "Configurations"]

IMAGES = "ImageGenerationConfiguration"
_NOTIFICATIONS, _EDGE = "NotificationConfiguration", "EdgeConfig"
_INTERVAL_MIN_MS, _INTERVAL_MAX_MS = 200, 20_000
_TAGS_MAX, _PAGE = 50, 100


@dataclass
class _Channel:
    name: str
    arn: str
    kind: str
    created_hns: int
    ttl_s: int
    version: str
    version_count: int = 1
    tags: dict[str, str] = field(default_factory=dict)
    storage: dict[str, Any] = field(default_factory=lambda: {"Status": "DISABLED"})

    def info(self) -> dict[str, Any]:
        return {
            "ChannelName": self.name,
            "ChannelARN": self.arn,
            "ChannelType": self.kind,
            "ChannelStatus": "ACTIVE",
            "CreationTime": self.created_hns / HNS_PER_S,
            "SingleMasterConfiguration": {"MessageTtlSeconds": self.ttl_s},
            "Version": self.version,
        }


class Configurations:
    """The operations; each is checked against the published model before anything changes."""

    def __init__(self, streams: Streams, settings: Settings) -> None:
        self._streams = streams
        self._settings = settings
        self._channels: dict[str, _Channel] = {}
        own: dict[str, Callable[[Request, int], dict[str, Any]]] = {
            "DescribeImageGenerationConfiguration": lambda r, now: self._described(r, now, IMAGES),
            "UpdateImageGenerationConfiguration": self._update_images,
            "DescribeNotificationConfiguration": lambda r, now: self._described(r, now, _NOTIFICATIONS),
            "UpdateNotificationConfiguration": lambda r, now: self._set(r, now, _NOTIFICATIONS),
            "DescribeStreamStorageConfiguration": self._describe_storage,
            "UpdateStreamStorageConfiguration": self._update_storage,
            "DescribeMappedResourceConfiguration": self._describe_mapped,
            "DescribeEdgeConfiguration": self._describe_edge,
            "StartEdgeConfigurationUpdate": self._start_edge,
            "DeleteEdgeConfiguration": self._delete_edge,
            "ListEdgeAgentConfigurations": self._list_edge,
            "CreateSignalingChannel": self._create_channel,
            "DescribeSignalingChannel": lambda r, _: {"ChannelInfo": self._channel(r).info()},
            "ListSignalingChannels": self._list_channels,
            "UpdateSignalingChannel": self._update_channel,
            "DeleteSignalingChannel": self._delete_channel,
            "DescribeMediaStorageConfiguration": lambda r, _: {"MediaStorageConfiguration": self._channel(r).storage},
            "UpdateMediaStorageConfiguration": self._update_media_storage,
        }
        self.operations = {name: _checked(name, run) for name, run in own.items()}

    # Streams.

    def _described(self, request: Request, now_hns: int, name: str) -> dict[str, Any]:
        kept = self._streams.find(request, now_hns).configurations.get(name)
        return {} if kept is None else {name: kept}

    def _set(self, request: Request, now_hns: int, name: str) -> dict[str, Any]:
        stream = self._streams.find(request, now_hns)
        if stream.status(now_hns) != "ACTIVE":
            raise ServiceError("ResourceInUseException", f"The stream {stream.name} is not ACTIVE.")
        if stream.retention_hours == 0:
            raise ServiceError("NoDataRetentionException", f"{stream.name} keeps no data: its retention is 0 hours.")
        if request.get(name) is None:
            stream.configurations.pop(name, None)
        else:
            stream.configurations[name] = dict(request[name])
        self._streams.touch(stream)
        return {}

    def _update_images(self, request: Request, now_hns: int) -> dict[str, Any]:
        wanted = request.get(IMAGES)
        if wanted is not None and not _INTERVAL_MIN_MS <= wanted["SamplingInterval"] <= _INTERVAL_MAX_MS:
            raise fields.invalid(f"SamplingInterval must be {_INTERVAL_MIN_MS} to {_INTERVAL_MAX_MS} milliseconds.")
        return self._set(request, now_hns, IMAGES)

    def _describe_storage(self, request: Request, now_hns: int) -> dict[str, Any]:
        stream = self._streams.find(request, now_hns)
        tier = {"DefaultStorageTier": stream.storage_tier}
        return {"StreamName": stream.name, "StreamARN": stream.arn, "StreamStorageConfiguration": tier}

    def _update_storage(self, request: Request, now_hns: int) -> dict[str, Any]:
        stream = self._streams.for_update(request, now_hns)
        stream.storage_tier = fields.storage_tier(request)
        self._streams.updated(stream, now_hns)
        return {}

    def _describe_mapped(self, request: Request, now_hns: int) -> dict[str, Any]:
        arn = self._streams.find(request, now_hns).arn
        mapped = [one for one in self._channels.values() if one.storage.get("StreamARN") == arn]
        return {"MappedResourceConfigurationList": [{"Type": "SIGNALING_CHANNEL", "ARN": one.arn} for one in mapped]}

    # Edge agents: none ever reports, so a configuration stays SYNCING.

    def _describe_edge(self, request: Request, now_hns: int) -> dict[str, Any]:
        stream = self._streams.find(request, now_hns)
        return _edge_answer(stream, self._edge_of(stream))

    def _edge_of(self, stream: StreamRecord) -> dict[str, Any]:
        kept: dict[str, Any] | None = stream.configurations.get(_EDGE)
        if kept is None:
            text = f"The stream {stream.name} has no edge configuration."
            raise ServiceError("StreamEdgeConfigurationNotFoundException", text)
        return kept

    def _start_edge(self, request: Request, now_hns: int) -> dict[str, Any]:
        stream = self._streams.find(request, now_hns)
        if stream.retention_hours == 0:
            raise ServiceError("NoDataRetentionException", f"{stream.name} keeps no data: its retention is 0 hours.")
        created = stream.configurations.get(_EDGE, {}).get("CreationTime", now_hns / HNS_PER_S)
        kept = {"CreationTime": created, "LastUpdatedTime": now_hns / HNS_PER_S, _EDGE: dict(request[_EDGE])}
        stream.configurations[_EDGE] = kept
        self._streams.touch(stream)
        return _edge_answer(stream, kept)

    def _delete_edge(self, request: Request, now_hns: int) -> dict[str, Any]:
        stream = self._streams.find(request, now_hns)
        self._edge_of(stream)
        del stream.configurations[_EDGE]
        self._streams.touch(stream)
        return {}

    def _list_edge(self, request: Request, _: int) -> dict[str, Any]:
        kept = [(stream, stream.configurations.get(_EDGE)) for stream in self._streams.all()]
        hub = request["HubDeviceArn"]
        return {"EdgeConfigs": [_edge_answer(s, one) for s, one in kept if one and one[_EDGE]["HubDeviceArn"] == hub]}

    # Signaling channels.

    def _create_channel(self, request: Request, now_hns: int) -> dict[str, Any]:
        name = request["ChannelName"]
        if name in self._channels:
            raise ServiceError("ResourceInUseException", f"The channel {name} already exists.")
        tags = {tag["Key"]: tag["Value"] for tag in request.get("Tags") or ()}
        scope = f"{self._settings.region}:{self._settings.account}"
        arn = f"arn:aws:kinesisvideo:{scope}:channel/{name}/{now_hns // HNS_PER_MS}"
        kind = request.get("ChannelType") or "SINGLE_MASTER"
        ttl_s = (request.get("SingleMasterConfiguration") or {}).get("MessageTtlSeconds", 60)
        self._channels[name] = _Channel(name, arn, kind, now_hns, ttl_s, _version(arn, 1), tags=tags)
        return {"ChannelARN": arn}

    def _channel(self, request: Request) -> _Channel:
        name, arn = request.get("ChannelName"), request.get("ChannelARN")
        if (name is None) == (arn is None):
            raise fields.invalid("Exactly one of ChannelName and ChannelARN must be given.")
        channel = self._channels.get(name if name is not None else str(arn).split("/")[1])
        if channel is None or (arn is not None and channel.arn != arn):
            raise ServiceError("ResourceNotFoundException", "The requested channel is not found or not active.")
        return channel

    def _list_channels(self, request: Request, _: int) -> dict[str, Any]:
        prefix = (request.get("ChannelNameCondition") or {}).get("ComparisonValue", "")
        page, after = request.get("MaxResults") or _PAGE, _place(request.get("NextToken"))
        names = [name for name in sorted(self._channels) if name.startswith(prefix) and name > after]
        answer: dict[str, Any] = {"ChannelInfoList": [self._channels[name].info() for name in names[:page]]}
        if len(names) > page:
            answer["NextToken"] = base64.b64encode(names[page - 1].encode()).decode()
        return answer

    def _update_channel(self, request: Request, _: int) -> dict[str, Any]:
        channel = self._channel(request)
        _check_version(channel, request["CurrentVersion"])
        wanted = request.get("SingleMasterConfiguration") or {}
        channel.ttl_s = wanted.get("MessageTtlSeconds", channel.ttl_s)
        channel.version_count += 1
        channel.version = _version(channel.arn, channel.version_count)
        return {}

    def _delete_channel(self, request: Request, _: int) -> dict[str, Any]:
        channel = self._channel(request)
        if request.get("CurrentVersion") is not None:
            _check_version(channel, request["CurrentVersion"])
        del self._channels[channel.name]
        return {}

    def signaling_endpoint(self, request: Request, base_url: str) -> dict[str, Any]:
        """Answer GetSignalingChannelEndpoint: an address for each protocol asked for, where nothing answers yet."""
        shapes.check("GetSignalingChannelEndpoint", request)
        self._channel(request)
        wanted = (request.get("SingleMasterChannelEndpointConfiguration") or {}).get("Protocols") or ["HTTPS", "WSS"]
        secure = "wss://" if base_url.startswith("https:") else "ws://"
        urls = {"HTTPS": base_url, "WEBRTC": base_url, "WSS": secure + base_url.split("://", 1)[1]}
        return {"ResourceEndpointList": [{"Protocol": one, "ResourceEndpoint": urls[one]} for one in wanted]}

    def _update_media_storage(self, request: Request, now_hns: int) -> dict[str, Any]:
        channel, wanted = self._channel(request), dict(request["MediaStorageConfiguration"])
        if wanted["Status"] == "ENABLED":
            if wanted.get("StreamARN") is None:
                raise fields.invalid("StreamARN is required to enable the storage of media.")
            stream = self._streams.find({"StreamARN": wanted["StreamARN"]}, now_hns)
            if stream.retention_hours == 0:
                raise ServiceError("NoDataRetentionException", f"{stream.name} keeps no data.")
        channel.storage = wanted
        return {}


def _checked(name: str, run: Callable[[Request, int], dict[str, Any]]) -> Callable[[Request, int], dict[str, Any]]:
    def call(request: Request, now_hns: int) -> dict[str, Any]:
        shapes.check(name, request)
        return run(request, now_hns)

    return call


def _edge_answer(stream: StreamRecord, kept: dict[str, Any]) -> dict[str, Any]:
    return {"StreamName": stream.name, "StreamARN": stream.arn, "SyncStatus": "SYNCING", **kept}


def _version(arn: str, count: int) -> str:
    return hashlib.sha256(f"{arn}:{count}".encode()).hexdigest()[:20]


def _check_version(channel: _Channel, version: str) -> None:
    if version != channel.version:
        raise ServiceError("VersionMismatchException", "CurrentVersion is stale; describe the channel again.")


def _place(token: str | None) -> str:
    try:
        return base64.b64decode(token or "", validate=True).decode()
    except ValueError:
        raise fields.invalid("NextToken was not given by this service.") from None
