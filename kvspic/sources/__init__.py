"""Sources: files, pipes, pictures and a test pattern as frames that can be put. PyAV is loaded at first use."""

from kvspic.sources.base import (
    MissingDependencyError,
    Source,
    SourceData,
    SourceError,
    SourceFrame,
    SourceOptionError,
    SourceTrack,
    UnsupportedCodecError,
)
from kvspic.sources.encode import NumpyEncoder, TestPattern, encode_frames
from kvspic.sources.live import LiveSettings, LiveSource
from kvspic.sources.opening import open_file, open_source

__all__ = [
    "LiveSettings",
    "LiveSource",
    "MissingDependencyError",
    "NumpyEncoder",
    "Source",
    "SourceData",
    "SourceError",
    "SourceFrame",
    "SourceOptionError",
    "SourceTrack",
    "TestPattern",
    "UnsupportedCodecError",
    "encode_frames",
    "open_file",
    "open_source",
]
