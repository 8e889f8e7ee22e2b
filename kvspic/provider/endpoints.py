"""Data endpoints by stream and API, kept for a while so that a reconnect costs no GetDataEndpoint call.

Pure: time is an argument. An entry is fresh for ``fresh_hns`` after it was asked for; drop it when the endpoint
answers 403, 404 or InvalidEndpoint or its name does not resolve, or a moved stream fails until the entry ages out.
"""

from __future__ import annotations

__all__ = ["FRESH_HNS", "EndpointCache"]

FRESH_HNS = 40 * 60 * 10_000_000  # 40 min, the period that the field uses


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
        del self._entries[stream_name, api_name]
        return None

    def put(self, stream_name: str, url: str, now_hns: int, api_name: str = "PUT_MEDIA") -> None:
        """Keep ``url``; ``now_hns`` is when it was asked for."""
        self._entries.pop((stream_name, api_name), None)
        while len(self._entries) >= self._count_max:
            del self._entries[next(iter(self._entries))]
        self._entries[stream_name, api_name] = (url, now_hns)

    def drop(self, stream_name: str) -> None:
        """Forget the stream's endpoints; unknown names are fine."""
        for key in [key for key in self._entries if key[0] == stream_name]:
            del self._entries[key]
