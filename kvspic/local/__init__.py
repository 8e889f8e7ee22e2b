"""The local endpoint: a service that speaks the Kinesis Video Streams API over loopback.

It is strict where the service is strict, keeps fragments on disk, and shares no code with the packager: a shared
mistake would agree with itself. Import what is needed from its modules; this package imports nothing by itself.
"""

__all__: list[str] = []
