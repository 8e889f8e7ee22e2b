"""Store and forward: the frames of a stream also live in files until the service has them.

``records`` says what the bytes are, ``progress`` which frames are settled, ``files`` touches the disk, ``journal``
keeps the segments of one stream, and ``spool`` stands between the callers that put frames and the core.
"""

__all__: list[str] = []
