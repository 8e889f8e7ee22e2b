"""Data endpoints by stream and API, kept for a while so that a reconnect costs no GetDataEndpoint call.

Pure: time is an argument. An entry is fresh for ``fresh_hns`` after it was asked for. Doubt it when no answer came from
there, or a 403, a 404 or InvalidEndpoint: the service is asked again then, and only where it does not say is the old
address tried once more.
"""

from __future__ import annotations

import re
from urllib.parse import urlsplit

from kvspic.provider.results import ServiceError, ServiceResult, safe_url
from kvspic.units import HNS_PER_S

__all__ = ["FRESH_HNS", "EndpointCache", "checked_endpoint"]

HOST = re.compile(r"[A-Za-z0-9._:%-]{1,255}")
FRESH_HNS = 40 * 60 * HNS_PER_S  # 40 min, the period that the field uses


class EndpointCache:
    """Endpoint URLs by stream name and API name; bounded, the oldest entry leaves first."""

    def __init__(self, fresh_hns: int = FRESH_HNS, count_max: int = 10_000) -> None:
        if fresh_hns < 0 or count_max < 1:
            raise ValueError("an endpoint cache needs a period of 0 or more and room for one entry")
        self._fresh_hns = fresh_hns
        self._count_max = count_max
        self._entries: dict[tuple[str, str], tuple[str, int]] = {}

    def get(self, stream_name: str, now_hns: int, api_name: str = "PUT_MEDIA") -> str | None:
        """The endpoint, or None when there is none or it is no longer fresh."""
        entry = self._entries.get((stream_name, api_name))
        if entry is None:
            return None
        url, asked_hns = entry
        if now_hns < asked_hns + self._fresh_hns:
            return url
        return None

    def last(self, stream_name: str, api_name: str = "PUT_MEDIA") -> str | None:
        """The endpoint that was known last, fresh or not."""
        entry = self._entries.get((stream_name, api_name))
        return None if entry is None else entry[0]

    def put(self, stream_name: str, url: str, now_hns: int, api_name: str = "PUT_MEDIA") -> None:
        """Keep ``url``; ``now_hns`` is when it was asked for."""
        self._entries.pop((stream_name, api_name), None)
        while len(self._entries) >= self._count_max:
            del self._entries[next(iter(self._entries))]
        self._entries[stream_name, api_name] = (url, now_hns)

    def doubt(self, stream_name: str, api_name: str = "PUT_MEDIA") -> None:
        """The endpoint may be a wrong one: it is no longer fresh; unknown names are fine."""
        entry = self._entries.get((stream_name, api_name))
        if entry is not None:
            self._entries[stream_name, api_name] = (entry[0], -self._fresh_hns)


def checked_endpoint(url: str, control_url: str | None) -> str:
    """Return the data endpoint that the service named, if an upload may go there.

    Args:
        control_url: of the control plane that named it; None for AWS, which is reached over https.

    Raises:
        ServiceError: it is not the URL of a host, or it is http although the control plane is https: keys and media
            would leave in clear.
    """
    problem = ""
    try:
        parts = urlsplit(url)
        is_url = parts.scheme in ("http", "https") and HOST.fullmatch(parts.hostname or "") and parts.port != 0
    except ValueError:
        is_url = None
    if not is_url:
        problem = f"the service named {safe_url(url)[:80]!r} as data endpoint: no http or https URL of a host"
    elif url.lower().startswith("http:") and not (control_url or "").lower().startswith("http:"):
        problem = (
            f"the service named {safe_url(url)} as data endpoint, which is not encrypted although the control plane "
            "is; nothing was sent there"
        )
    if problem:
        raise ServiceError("GetDataEndpoint", ServiceResult.UNKNOWN, http_status=200, detail=problem)
    return url
