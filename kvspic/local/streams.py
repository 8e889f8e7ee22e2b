"""The control plane's model: streams, their versions, tags, retention and ARNs. Pure.

Every change returns an answer and leaves the changed stream in ``Streams.changed`` or its id in ``Streams.deleted``,
so that the owner can store it; nothing here reads a clock. A stream is CREATING,
UPDATING and DELETING for a while each.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any

from kvspic.local import fields
from kvspic.local.errors import ServiceError, StoreError
from kvspic.local.fields import Request
from kvspic.local.settings import Settings
from kvspic.units import HNS_PER_HOUR, HNS_PER_MS, HNS_PER_S

__all__ = ["StreamRecord", "Streams"]

_RETENTION_HOURS_MAX = 87_600
_TAGS_MAX = 50
_LIST_PAGE = 100


@dataclass
class StreamRecord:
    """One stream. Fragments refer to it by ``stream_id``, which is never used twice in one data directory."""

    stream_id: int
    name: str
    arn: str
    created_hns: int
    active_at_hns: int
    retention_hours: int = 0
    version: str = ""
    version_count: int = 0
    device_name: str | None = None
    media_type: str | None = None
    kms_key_id: str = ""
    tags: dict[str, str] = field(default_factory=dict)
    storage_tier: str = "HOT"
    configurations: dict[str, Any] = field(default_factory=dict)
    """By the name of their member in the service's requests; see ``configurations.py``."""
    updating_until_hns: int = 0
    deleting_until_hns: int = 0
    """When the stream is gone; 0 for one that was not deleted. Such a stream is not stored any more."""
    fragment_count: int = 0
    """Fragment numbers handed out; each holds this counter, so that numbers grow."""

    def to_dict(self) -> dict[str, Any]:
        """Return what the store keeps."""
        return asdict(self)

    def status(self, now_hns: int) -> str:
        """Return the word that DescribeStream gives."""
        if self.deleting_until_hns:
            return "DELETING"
        if now_hns < self.active_at_hns:
            return "CREATING"
        return "UPDATING" if now_hns < self.updating_until_hns else "ACTIVE"

    def kept_hns(self, settings: Settings) -> int:
        """Return how long a fragment stays readable."""
        return self.retention_hours * HNS_PER_HOUR or settings.host_buffer_hns

    def info(self, now_hns: int) -> dict[str, Any]:
        """Return StreamInfo."""
        return {
            "DeviceName": self.device_name,
            "StreamName": self.name,
            "StreamARN": self.arn,
            "MediaType": self.media_type,
            "KmsKeyId": self.kms_key_id,
            "Version": self.version,
            "Status": self.status(now_hns),
            "CreationTime": self.created_hns / HNS_PER_S,
            "DataRetentionInHours": self.retention_hours,
        }


class Streams:
    """All streams of the endpoint, by name, and the operations on them."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._by_name: dict[str, StreamRecord] = {}
        self._next_id = 1
        self.changed: dict[int, StreamRecord] = {}
        self.deleted: list[int] = []
        self.operations: dict[str, Callable[[Request, int], dict[str, Any]]] = {
            "CreateStream": self.create,
            "DescribeStream": self._describe,
            "ListStreams": self._list,
            "UpdateStream": self._update,
            "UpdateDataRetention": self._update_retention,
            "DeleteStream": self._delete,
            "TagStream": self._tag_stream,
            "UntagStream": self._untag_stream,
            "ListTagsForStream": self._list_stream_tags,
            "TagResource": self._tag_resource,
            "UntagResource": self._untag_resource,
            "ListTagsForResource": self._list_resource_tags,
        }

    def restore(self, records: list[dict[str, Any]], next_id: int) -> None:
        """Take back what the store kept; ``next_id`` is above every id ever used.

        Raises:
            StoreError: a record has a member more or less than a stream has.
        """
        for record in records:
            try:
                stream = StreamRecord(**record)
            except TypeError as error:
                text = f"The index holds a stream whose record cannot be read ({error}): put back a copy of the index."
                raise StoreError(text) from error
            self._by_name[stream.name] = stream
        self._next_id = max([next_id, *(stream.stream_id + 1 for stream in self._by_name.values())])

    def all(self) -> list[StreamRecord]:
        """Return all streams."""
        return list(self._by_name.values())

    def find(self, request: Request, now_hns: int) -> StreamRecord:
        """Return the stream that ``StreamName`` or ``StreamARN`` names; exactly one must be given."""
        name, arn = fields.text_or_none(request, "StreamName"), fields.text_or_none(request, "StreamARN")
        if (name is None) == (arn is None):
            raise fields.invalid("Exactly one of StreamName and StreamARN must be given.")
        return self._by_arn(arn, now_hns) if arn is not None else self._named(name or "", now_hns)

    def find_active(self, request: Request, now_hns: int) -> StreamRecord:
        """Return the stream if it is there for media: the data plane knows none that is CREATING or DELETING."""
        stream = self.find(request, now_hns)
        if stream.status(now_hns) not in ("ACTIVE", "UPDATING"):
            raise _not_found()
        return stream

    def has(self, stream: StreamRecord) -> bool:
        """Say whether ``stream`` still exists; one of the same name made later is another."""
        return self._by_name.get(stream.name) is stream and not stream.deleting_until_hns

    def take_back(self, stream_id: int, kept: dict[str, Any] | None) -> None:
        """Undo a change that could not be stored; ``kept`` is what the store has, None for a stream that is new."""
        stream = next((one for one in self._by_name.values() if one.stream_id == stream_id), None)
        if kept is None:
            if stream is not None:
                del self._by_name[stream.name]
            return
        if stream is None:
            stream = StreamRecord(**kept)
            self._by_name[stream.name] = stream
        for name, value in kept.items():
            if name != "fragment_count":  # numbers that were given out stay given out
                setattr(stream, name, value)

    def touch(self, stream: StreamRecord) -> None:
        """Note that ``stream`` differs from what the store has."""
        self.changed[stream.stream_id] = stream

    def id_in(self, request: Request) -> int:
        """Return the id of the stream that a request is about, 0 for none, without judging the request."""
        arn = request.get("StreamARN") or request.get("ResourceARN")
        name = request.get("StreamName") or (arn.split("/")[1] if isinstance(arn, str) and "/" in arn else None)
        stream = self._by_name.get(name) if isinstance(name, str) else None
        return 0 if stream is None else stream.stream_id

    def _named(self, name: str, now_hns: int) -> StreamRecord:
        stream = self._by_name.get(name)
        if stream is None or (stream.deleting_until_hns and self._is_gone(stream, now_hns)):
            raise _not_found()
        return stream

    def _by_arn(self, arn: str, now_hns: int) -> StreamRecord:
        stream = self._named(arn.split("/")[1], now_hns)
        if stream.arn != arn:
            raise _not_found()
        return stream

    def _is_gone(self, stream: StreamRecord, now_hns: int) -> bool:
        """Whether a deletion is over; then the stream's name is free."""
        if now_hns < stream.deleting_until_hns:
            return False
        del self._by_name[stream.name]
        return True

    def create(self, request: Request, now_hns: int, region: str | None = None) -> dict[str, Any]:
        """Answer CreateStream; ``region`` goes into the ARN, None is the one of the settings."""
        name = fields.text(request, "StreamName")
        retention = fields.integer(request, "DataRetentionInHours", 0, 0, _RETENTION_HOURS_MAX)
        device, media_type = fields.text_or_none(request, "DeviceName"), fields.text_or_none(request, "MediaType")
        key, tags = fields.text_or_none(request, "KmsKeyId"), fields.tag_map(request, is_required=False)
        tier = fields.storage_tier(request)
        present = self._by_name.get(name)
        if present is not None and not (present.deleting_until_hns and self._is_gone(present, now_hns)):
            raise ServiceError("ResourceInUseException", f"The stream {name} already exists.")
        most = self._settings.quotas.streams_max
        if most and len(self._by_name) >= most:
            text = f"There are {most} streams already; delete one."
            raise ServiceError("AccountStreamLimitExceededException", text)
        scope = f"{region or self._settings.region}:{self._settings.account}"
        stream = StreamRecord(
            stream_id=self._next_id,
            name=name,
            arn=f"arn:aws:kinesisvideo:{scope}:stream/{name}/{now_hns // HNS_PER_MS}",
            created_hns=now_hns,
            active_at_hns=now_hns + self._settings.creating_hns,
            retention_hours=retention,
            device_name=device,
            media_type=media_type,
            kms_key_id=key or f"arn:aws:kms:{scope}:alias/aws/kinesisvideo",
            storage_tier=tier,
            tags=tags,
        )
        self._next_id += 1
        self._by_name[name] = stream
        self._new_version(stream)
        return {"StreamARN": stream.arn}

    def _describe(self, request: Request, now_hns: int) -> dict[str, Any]:
        return {"StreamInfo": self.find(request, now_hns).info(now_hns)}

    def _list(self, request: Request, now_hns: int) -> dict[str, Any]:
        page = fields.integer(request, "MaxResults", _LIST_PAGE, 1, 10_000)
        prefix, after = "", _decode_token(fields.text_or_none(request, "NextToken"))
        condition = request.get("StreamNameCondition")
        if condition is not None:
            if not isinstance(condition, dict):
                raise fields.invalid("StreamNameCondition must be an object.")
            fields.one_of(condition, "ComparisonOperator", ("BEGINS_WITH",))
            prefix = fields.text(condition, "ComparisonValue")
        for stream in list(self._by_name.values()):
            if stream.deleting_until_hns:
                self._is_gone(stream, now_hns)
        names = [name for name in sorted(self._by_name) if name.startswith(prefix) and name > after]
        answer: dict[str, Any] = {"StreamInfoList": [self._by_name[name].info(now_hns) for name in names[:page]]}
        if len(names) > page:
            answer["NextToken"] = base64.b64encode(names[page - 1].encode()).decode()
        return answer

    def _update(self, request: Request, now_hns: int) -> dict[str, Any]:
        device, media_type = fields.text_or_none(request, "DeviceName"), fields.text_or_none(request, "MediaType")
        stream = self.for_update(request, now_hns)
        stream.device_name = device if device is not None else stream.device_name
        stream.media_type = media_type if media_type is not None else stream.media_type
        self.updated(stream, now_hns)
        return {}

    def _update_retention(self, request: Request, now_hns: int) -> dict[str, Any]:
        words = ("INCREASE_DATA_RETENTION", "DECREASE_DATA_RETENTION")
        operation = fields.one_of(request, "Operation", words)
        change = fields.integer(request, "DataRetentionChangeInHours", None, 1, _RETENTION_HOURS_MAX)
        stream = self.for_update(request, now_hns)
        hours = stream.retention_hours + (change if operation == words[0] else -change)
        if not 0 <= hours <= _RETENTION_HOURS_MAX:
            raise fields.invalid(f"The retention would be {hours} hours; it must be 0 to {_RETENTION_HOURS_MAX}.")
        stream.retention_hours = hours
        self.updated(stream, now_hns)
        return {}

    def for_update(self, request: Request, now_hns: int) -> StreamRecord:
        """Return the stream that a change with ``CurrentVersion`` is about, if it is ACTIVE and of that version."""
        version = fields.text(request, "CurrentVersion")
        stream = self.find(request, now_hns)
        if stream.status(now_hns) != "ACTIVE":
            raise ServiceError("ResourceInUseException", f"The stream {stream.name} is not ACTIVE.")
        _check_version(stream, version)
        return stream

    def _delete(self, request: Request, now_hns: int) -> dict[str, Any]:
        version = fields.text_or_none(request, "CurrentVersion")
        stream = self._by_arn(fields.text(request, "StreamARN"), now_hns)
        if stream.deleting_until_hns:
            raise ServiceError("ResourceInUseException", f"The stream {stream.name} is being deleted.")
        if version is not None:
            _check_version(stream, version)
        stream.deleting_until_hns = now_hns + self._settings.deleting_hns
        self._is_gone(stream, now_hns)
        self.changed.pop(stream.stream_id, None)
        self.deleted.append(stream.stream_id)
        return {}

    def _tag_stream(self, request: Request, now_hns: int) -> dict[str, Any]:
        return self._add_tags(self.find(request, now_hns), fields.tag_map(request, is_required=True))

    def _untag_stream(self, request: Request, now_hns: int) -> dict[str, Any]:
        return self._remove_tags(self.find(request, now_hns), fields.tag_keys(request))

    def _list_stream_tags(self, request: Request, now_hns: int) -> dict[str, Any]:
        return {"Tags": dict(self.find(request, now_hns).tags)}

    def _tag_resource(self, request: Request, now_hns: int) -> dict[str, Any]:
        return self._add_tags(self._by_arn(fields.text(request, "ResourceARN"), now_hns), fields.tag_list(request))

    def _untag_resource(self, request: Request, now_hns: int) -> dict[str, Any]:
        return self._remove_tags(self._by_arn(fields.text(request, "ResourceARN"), now_hns), fields.tag_keys(request))

    def _list_resource_tags(self, request: Request, now_hns: int) -> dict[str, Any]:
        return {"Tags": dict(self._by_arn(fields.text(request, "ResourceARN"), now_hns).tags)}

    def _add_tags(self, stream: StreamRecord, tags: dict[str, str]) -> dict[str, Any]:
        merged = {**stream.tags, **tags}
        if len(merged) > _TAGS_MAX:
            raise ServiceError("TagsPerResourceExceededLimitException", f"A stream can have {_TAGS_MAX} tags.")
        stream.tags = merged
        self.touch(stream)
        return {}

    def _remove_tags(self, stream: StreamRecord, keys: list[str]) -> dict[str, Any]:
        stream.tags = {key: value for key, value in stream.tags.items() if key not in keys}
        self.touch(stream)
        return {}

    def updated(self, stream: StreamRecord, now_hns: int) -> None:
        """Give a changed stream its next version; it is UPDATING for a while."""
        stream.updating_until_hns = now_hns + self._settings.updating_hns
        self._new_version(stream)

    def _new_version(self, stream: StreamRecord) -> None:
        """Versions look random to a client and still replay: a digest of the ARN and a counter."""
        stream.version_count += 1
        stream.version = hashlib.sha256(f"{stream.arn}:{stream.version_count}".encode()).hexdigest()[:20]
        self.touch(stream)


def _not_found() -> ServiceError:
    return ServiceError("ResourceNotFoundException", "The requested stream is not found or not active.")


def _check_version(stream: StreamRecord, version: str) -> None:
    if version != stream.version:
        raise ServiceError("VersionMismatchException", "CurrentVersion is stale; describe the stream again.")


def _decode_token(token: str | None) -> str:
    if not token:
        return ""
    try:
        return base64.b64decode(token, validate=True).decode()
    except ValueError:
        raise fields.invalid("NextToken was not given by this service.") from None
