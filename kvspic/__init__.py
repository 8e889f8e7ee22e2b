"""kvspic: the Amazon Kinesis Video Streams producer for Python. The public names, nothing else.

Each name loads its module at first use, so that ``import kvspic`` is quick and loads none of boto3, asyncio and PyAV.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kvspic.actions import (
        AckReceived,
        AckType,
        CredentialsRotated,
        ErrorAck,
        Event,
        EventsLost,
        FragmentEnded,
        FragmentPersisted,
        FragmentSplit,
        FramesDropped,
        FrameTooLarge,
        LateErrorAck,
        NoKeyFrame,
        Paused,
        Pressure,
        PressureKind,
        Recovered,
        Resumed,
        RetentionDiffers,
        RoomAvailable,
        SpoolDamaged,
        SpoolDropped,
        SpoolFailed,
        Spooling,
        SpoolRecovered,
        Stalled,
        StateChanged,
        StreamClosed,
        StreamFailed,
        StreamReady,
        TagsSkipped,
        TimesAnchored,
        TimesJumped,
        TimesRepeated,
        TimesShifted,
        TrackSilent,
        Triggered,
    )
    from kvspic.errors import (
        InternalError,
        KvsError,
        MediaError,
        ResourceError,
        ServiceError,
        StateError,
        StoreFullError,
        StreamStoppedError,
        TimedOutError,
        UnknownTrackError,
        UsageError,
    )
    from kvspic.producer import AsyncProducer, Producer
    from kvspic.provider.credentials import (
        BotocoreCredentials,
        CallableCredentials,
        CredentialFetchError,
        Credentials,
        StaticCredentials,
    )
    from kvspic.provider.credentials_file import FileCredentials
    from kvspic.provider.credentials_iot import IotCredentials, IotRole
    from kvspic.retry import (
        DefaultRetryPolicy,
        GiveUp,
        Keep,
        ResetConnection,
        RetryPolicy,
        RetryStream,
        Situation,
    )
    from kvspic.stream import AsyncStream, Stream
    from kvspic.types import (
        AacTrack,
        BackwardPolicy,
        ClientMetrics,
        ClockPolicy,
        DropReason,
        FullPolicy,
        H264Track,
        H265Track,
        Health,
        LongGop,
        MjpegTrack,
        Order,
        PcmTrack,
        StreamMetrics,
        StreamOptions,
        StreamReport,
        StreamState,
        Track,
        TrackType,
    )

__all__ = [
    "AacTrack", "AckReceived", "AckType", "AsyncProducer", "AsyncStream", "BackwardPolicy",
    "BotocoreCredentials", "CallableCredentials", "ClientMetrics", "ClockPolicy", "CredentialFetchError",
    "Credentials", "CredentialsRotated", "DefaultRetryPolicy", "DropReason", "ErrorAck", "Event", "EventsLost",
    "FileCredentials", "FragmentEnded", "FragmentPersisted", "FragmentSplit", "FrameTooLarge", "FramesDropped",
    "FullPolicy", "GiveUp", "H264Track", "H265Track", "Health", "InternalError", "IotCredentials", "IotRole",
    "Keep", "KvsError", "LateErrorAck", "LongGop", "MediaError", "MjpegTrack", "NoKeyFrame", "Order", "Paused",
    "PcmTrack", "Pressure", "PressureKind", "Producer", "Recovered", "ResetConnection", "ResourceError",
    "Resumed", "RetentionDiffers", "RetryPolicy", "RetryStream", "RoomAvailable", "ServiceError", "Situation",
    "SpoolDamaged", "SpoolDropped", "SpoolFailed", "SpoolRecovered", "Spooling", "Stalled", "StateChanged",
    "StateError", "StaticCredentials", "StoreFullError", "Stream", "StreamClosed", "StreamFailed",
    "StreamMetrics", "StreamOptions", "StreamReady", "StreamReport", "StreamState", "StreamStoppedError",
    "TagsSkipped", "TimedOutError", "TimesAnchored", "TimesJumped", "TimesRepeated", "TimesShifted", "Track",
    "TrackSilent", "TrackType", "Triggered", "UnknownTrackError", "UsageError", "__version__",
]

__version__ = "0.1.0.dev0"

HOMES = {
    "kvspic.actions": (
        "AckReceived", "AckType", "CredentialsRotated", "ErrorAck", "Event", "EventsLost", "FragmentEnded",
        "FragmentPersisted", "FragmentSplit", "FrameTooLarge", "FramesDropped", "LateErrorAck", "NoKeyFrame",
        "Paused", "Pressure", "PressureKind", "Recovered", "Resumed", "RetentionDiffers", "RoomAvailable",
        "SpoolDamaged", "SpoolDropped", "SpoolFailed", "SpoolRecovered", "Spooling", "Stalled", "StateChanged",
        "StreamClosed", "StreamFailed", "StreamReady", "TagsSkipped", "TimesAnchored", "TimesJumped",
        "TimesRepeated", "TimesShifted", "TrackSilent", "Triggered",
    ),
    "kvspic.errors": (
        "InternalError", "KvsError", "MediaError", "ResourceError", "ServiceError", "StateError",
        "StoreFullError", "StreamStoppedError", "TimedOutError", "UnknownTrackError", "UsageError",
    ),
    "kvspic.producer": ("AsyncProducer", "Producer"),
    "kvspic.provider.credentials": (
        "BotocoreCredentials", "CallableCredentials", "CredentialFetchError", "Credentials", "StaticCredentials",
    ),
    "kvspic.provider.credentials_file": ("FileCredentials",),
    "kvspic.provider.credentials_iot": ("IotCredentials", "IotRole"),
    "kvspic.stream": ("AsyncStream", "Stream"),
    "kvspic.retry": (
        "DefaultRetryPolicy", "GiveUp", "Keep", "ResetConnection", "RetryPolicy", "RetryStream", "Situation",
    ),
    "kvspic.types": (
        "AacTrack", "BackwardPolicy", "ClientMetrics", "ClockPolicy", "DropReason", "FullPolicy", "H264Track",
        "H265Track", "Health", "LongGop", "MjpegTrack", "Order", "PcmTrack", "StreamMetrics", "StreamOptions",
        "StreamReport", "StreamState", "Track", "TrackType",
    ),
}
HOME_OF = {name: module for module, names in HOMES.items() for name in names}


def __getattr__(name: str) -> Any:
    module = HOME_OF.get(name)
    if module is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    value = getattr(importlib.import_module(module), name)
    globals()[name] = value  # the next use is a plain lookup
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
