"""The service without its socket: streams, fragment numbers, PutMedia sessions. Pure; time comes as an argument.

The owner (the HTTP application, or a simulation) calls it, stores ``streams.changed`` and carries out the effects that
sessions return. Every decision of the service is made here or in ``streams.py`` and ``put_session.py``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from decimal import Decimal
from typing import Any

from kvspic.local import fields
from kvspic.local.acks import AckError
from kvspic.local.configurations import Configurations
from kvspic.local.fields import Request
from kvspic.local.put_session import Phase, PutSession, SessionStart
from kvspic.local.quotas import Meter
from kvspic.local.settings import Settings
from kvspic.local.streams import StreamRecord, Streams
from kvspic.units import HNS_PER_MS, HNS_PER_S

__all__ = ["Service", "fragment_counter"]

_API_NAMES = (
    "PUT_MEDIA",
    "GET_MEDIA",
    "LIST_FRAGMENTS",
    "GET_MEDIA_FOR_FRAGMENT_LIST",
    "GET_HLS_STREAMING_SESSION_URL",
    "GET_DASH_STREAMING_SESSION_URL",
    "GET_CLIP",
    "GET_IMAGES",
)
_MASK_64 = 2**64 - 1


def fragment_counter(number: str) -> int:
    """Return the stream's counter inside one of our fragment numbers."""
    return int(number) >> 92 & _MASK_64


def _fragment_number(stream: StreamRecord, now_hns: int) -> str:
    """A number of the shape seen from the service: 47 digits, growing, with the server time inside."""
    mixed = (stream.fragment_count * 0x9E3779B97F4A7C15 ^ stream.created_hns) & _MASK_64
    mixed = (mixed ^ mixed >> 30) * 0xBF58476D1CE4E5B9 & _MASK_64
    low = (mixed ^ mixed >> 27) & (2**28 - 1)
    server_ms = now_hns // HNS_PER_MS & _MASK_64
    return str(1 << 156 | stream.fragment_count << 92 | server_ms << 28 | low)


class Service:
    """The model of the service; see the top of the file.

    ``key_trouble`` says what is wrong with the KMS key of the stream with a name, None for nothing; the owner may
    replace it.
    """

    def __init__(self, settings: Settings | None = None) -> None:
        self.settings = settings or Settings()
        self.streams = Streams(self.settings)
        self.configurations = Configurations(self.streams, self.settings)
        self.operations = {**self.streams.operations, **self.configurations.operations}
        self.meter = Meter(self.settings.quotas)
        self.key_trouble: Callable[[str], AckError | None] = lambda name: None
        self._sessions: dict[int, list[PutSession]] = {}

    def call(self, operation: str, request: Request, now_hns: int, region: str | None = None) -> dict[str, Any]:
        """Answer a control-plane operation, or raise :class:`ServiceError`.

        ``region`` is what the request was signed for; None is the one of the settings.
        """
        self.meter.call(operation, self.streams.id_in(request), now_hns)
        if operation == "CreateStream":
            answer = self.streams.create(request, now_hns, region)
        else:
            answer = self.operations[operation](request, now_hns)
        for stream_id in self.streams.deleted:
            self.meter.forget(stream_id)
            self._sessions.pop(stream_id, None)  # they end by themselves, see SessionStart.is_stream_gone
        return answer

    def get_data_endpoint(self, request: Request, base_url: str, now_hns: int) -> dict[str, Any]:
        """Answer GetDataEndpoint: all APIs are where the caller already is."""
        self.meter.call("GetDataEndpoint", self.streams.id_in(request), now_hns)
        fields.one_of(request, "APIName", _API_NAMES)
        self.streams.find(request, now_hns)
        return {"DataEndpoint": base_url}

    def read_call(self, operation: str, request: Request, now_hns: int) -> StreamRecord:
        """Count a call that reads media or its list; return its stream."""
        stream = self.streams.find_active(request, now_hns)
        self.meter.call(operation, stream.stream_id, now_hns)
        return stream

    @contextmanager
    def reading(self, operation: str, stream: StreamRecord) -> Iterator[None]:
        """Hold one of the stream's connections that read, for the length of a ``with``."""
        self.meter.connect(operation, stream.stream_id)
        try:
            yield
        finally:
            self.meter.disconnect(operation, stream.stream_id)

    def open_put(self, headers: Mapping[str, str], now_hns: int) -> PutSession:
        """Check the head of a PutMedia request (names in lower case) and open the session it asks for."""
        request = {
            "StreamName": headers.get("x-amzn-stream-name"),
            "StreamARN": headers.get("x-amzn-stream-arn"),
        }
        timecode_type = fields.one_of(
            {"x-amzn-fragment-timecode-type": headers.get("x-amzn-fragment-timecode-type")},
            "x-amzn-fragment-timecode-type",
            ("ABSOLUTE", "RELATIVE"),
        )
        start_hns = _start_timestamp(headers.get("x-amzn-producer-start-timestamp"))
        stream = self.streams.find_active(request, now_hns)
        self.meter.call("PutMedia", stream.stream_id, now_hns)
        sessions = [one for one in self._sessions.get(stream.stream_id, []) if one.phase is not Phase.CLOSED]
        most = self.settings.quotas.sessions_max
        if most and len(sessions) >= most:
            raise self.meter.too_many("PutMedia", most)
        start = SessionStart(
            stream=stream,
            is_absolute=timecode_type == "ABSOLUTE",
            start_hns=start_hns,
            next_number=lambda server_hns: self._next_number(stream, server_hns),
            is_stream_gone=lambda: not self.streams.has(stream),
            key_trouble=lambda: self.key_trouble(stream.name),
            early_hns=lambda now_hns: self.meter.fragment_hns(stream.stream_id, now_hns),
        )
        session = PutSession(start, self.settings, now_hns)
        self._sessions[stream.stream_id] = [*sessions, session]
        return session

    def _next_number(self, stream: StreamRecord, server_hns: int) -> str:
        stream.fragment_count += 1
        return _fragment_number(stream, server_hns)


def _start_timestamp(value: str | None) -> int:
    """Seconds since 1970 as a decimal number; forms with and without a fraction are in use."""
    if value is None or re.fullmatch(r"\d{1,12}(\.\d{1,9})?", value) is None:
        raise fields.invalid("x-amzn-producer-start-timestamp must be seconds since 1970, such as 1511852108.513.")
    return int(Decimal(value) * HNS_PER_S)
