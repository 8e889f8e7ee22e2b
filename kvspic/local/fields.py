"""Checks of request members: types, lengths and patterns as the service has them. Pure.

Each function returns the checked value or raises ``InvalidArgumentException`` with a sentence that names the member.
botocore checks neither length nor pattern of a stream name, so a client learns of a bad name only here.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from kvspic.local.errors import ServiceError

__all__ = [
    "Request",
    "integer",
    "invalid",
    "number",
    "one_of",
    "storage_tier",
    "tag_keys",
    "tag_list",
    "tag_map",
    "text",
    "text_or_none",
]

Request = Mapping[str, Any]

_LIMITS: dict[str, tuple[int, int, str]] = {
    "StreamName": (1, 256, r"[a-zA-Z0-9_.-]+"),
    "StreamARN": (1, 1024, r"arn:[a-z\d-]+:kinesisvideo:[a-z0-9-]+:[0-9]+:[a-z]+/[a-zA-Z0-9_.-]+/[0-9]+"),
    "ResourceARN": (1, 1024, r"arn:[a-z\d-]+:kinesisvideo:[a-z0-9-]+:[0-9]+:[a-z]+/[a-zA-Z0-9_.-]+/[0-9]+"),
    "DeviceName": (1, 128, r"[a-zA-Z0-9_.-]+"),
    "MediaType": (1, 128, r"[\w\-.+]+/[\w\-.+]+(,[\w\-.+]+/[\w\-.+]+)*"),
    "KmsKeyId": (1, 2048, r".+"),
    "CurrentVersion": (1, 64, r"[a-zA-Z0-9]+"),
    "NextToken": (0, 4096, r"[a-zA-Z0-9+/=]*"),
    "ComparisonValue": (1, 256, r"[a-zA-Z0-9_.-]+"),
    "AfterFragmentNumber": (1, 128, r"[0-9]+"),
    "ContinuationToken": (1, 128, r"[a-zA-Z0-9_.\-]+"),
    "FragmentNumber": (1, 128, r"[0-9]+"),
}
_YEAR_10000 = 253_402_300_800  # in seconds since 1970: the first that no calendar of a client can show
_TAG_TEXT = re.compile(r"[\w \u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000.:/=+\-@]*")


def invalid(message: str) -> ServiceError:
    """Make the error that a bad value earns."""
    return ServiceError("InvalidArgumentException", message)


def text_or_none(request: Request, name: str) -> str | None:
    """Return a string member checked by its published limits, or None when absent or null."""
    value = request.get(name)
    if value is None:
        return None
    if not isinstance(value, str):
        raise invalid(f"{name} must be a string.")
    low, high, pattern = _LIMITS[name]
    if not low <= len(value) <= high:
        raise invalid(f"{name} has {len(value)} characters; it must have {low} to {high}.")
    if re.fullmatch(pattern, value) is None:
        raise invalid(f"{name} must match the pattern {pattern}.")
    return value


def text(request: Request, name: str) -> str:
    """Return a string member that is required."""
    value = text_or_none(request, name)
    if value is None:
        raise invalid(f"{name} is required.")
    return value


def integer(request: Request, name: str, default: int | None, low: int, high: int) -> int:
    """Return an integer member within ``low`` to ``high``; it is required when ``default`` is None."""
    value = request.get(name)
    if value is None:
        value = default
    if value is None:
        raise invalid(f"{name} is required.")
    if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
        raise invalid(f"{name} must be an integer from {low} to {high}.")
    return value


def number(request: Request, name: str) -> float:
    """Return a required time in seconds since 1970."""
    value = request.get(name)
    if not isinstance(value, (int, float)) or isinstance(value, bool) or not 0 <= value < _YEAR_10000:
        raise invalid(f"{name} must be a number of seconds since 1970.")
    return float(value)


def one_of(request: Request, name: str, words: tuple[str, ...]) -> str:
    """Return a required member that is one of ``words``."""
    value = request.get(name)
    if not isinstance(value, str) or value not in words:
        raise invalid(f"{name} must be one of {', '.join(words)}.")
    return value


def storage_tier(request: Request) -> str:
    """Return ``StreamStorageConfiguration.DefaultStorageTier``; HOT where it is absent."""
    storage = request.get("StreamStorageConfiguration")
    if storage is None:
        return "HOT"
    if not isinstance(storage, Mapping):
        raise invalid("StreamStorageConfiguration must be an object.")
    return one_of(storage, "DefaultStorageTier", ("HOT", "WARM"))


def _tag(key: Any, value: Any) -> tuple[str, str]:
    if not isinstance(key, str) or not 1 <= len(key) <= 128 or _TAG_TEXT.fullmatch(key) is None:
        raise invalid("A tag key must have 1 to 128 letters, digits, blanks or _.:/=+-@ characters.")
    if key.lower().startswith("aws:"):
        raise invalid(f"The tag key {key!r} begins with aws:, which the service keeps for its own tags.")
    if not isinstance(value, str) or len(value) > 256 or _TAG_TEXT.fullmatch(value) is None:
        raise invalid("A tag value must have 0 to 256 letters, digits, blanks or _.:/=+-@ characters.")
    return key, value


def tag_map(request: Request, *, is_required: bool) -> dict[str, str]:
    """Return ``Tags`` given as an object."""
    tags = request.get("Tags")
    if tags is None and not is_required:
        return {}
    if not isinstance(tags, Mapping) or not 1 <= len(tags) <= 50:
        raise invalid("Tags must be an object with 1 to 50 members.")
    return dict(_tag(key, value) for key, value in tags.items())


def tag_list(request: Request) -> dict[str, str]:
    """Return ``Tags`` given as a list of Key and Value."""
    tags = request.get("Tags")
    if not isinstance(tags, list) or not 1 <= len(tags) <= 50 or not all(isinstance(tag, Mapping) for tag in tags):
        raise invalid("Tags must be a list of 1 to 50 objects with Key and Value.")
    return dict(_tag(tag.get("Key"), tag.get("Value")) for tag in tags)


def tag_keys(request: Request) -> list[str]:
    """Return ``TagKeyList``."""
    keys = request.get("TagKeyList")
    if not isinstance(keys, list) or not 1 <= len(keys) <= 50:
        raise invalid("TagKeyList must be a list of 1 to 50 keys.")
    return [_tag(key, "")[0] for key in keys]
