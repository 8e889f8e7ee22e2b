"""An upload against a scripted server: pieces in, ACK bytes and the outcome out."""

import asyncio
from collections import deque
from dataclasses import dataclass, field

from kvspic.provider.credentials import StaticCredentials
from kvspic.provider.putmedia import PutMediaHead, chunk_of
from kvspic.provider.session import PutMediaSession, PutMediaTarget
from kvspic.provider.upload import ReadState, SessionTimeouts

__all__ = ["HEAD", "KEYS", "QUICK", "Upload", "make_upload"]

HEAD = PutMediaHead("front-door", 1_511_852_108_005)
KEYS = StaticCredentials("AKIDEXAMPLE", "wJalrXUtnFEMI-SECRET")
QUICK = SessionTimeouts(head_s=0.2, refusal_s=0.2)


@dataclass
class Upload:
    """The owner of a session whose body comes from :meth:`put`; ``acks`` holds what came back so far."""

    pieces: deque = field(default_factory=deque)
    acks: bytearray = field(default_factory=bytearray)
    connected_count: int = 0
    accepted_count: int = 0
    is_careful: bool = False
    busy_messages: list = field(default_factory=list)
    endless: bytes = b""  # comes again and again when there is nothing else
    session: PutMediaSession | None = None
    acks_changed: asyncio.Event = field(default_factory=asyncio.Event)

    def put(self, *pieces):
        """bytes, or None for the end of the body."""
        self.pieces.extend(pieces)
        self.session.more()

    def read(self, size_max):
        if not self.pieces:
            piece = self.endless[:size_max]
            return chunk_of(piece), len(piece), ReadState.MORE if self.endless else ReadState.WAIT
        piece = self.pieces.popleft()
        if piece is None:
            return b"", 0, ReadState.END
        if len(piece) > size_max:
            self.pieces.appendleft(piece[size_max:])
        piece = memoryview(piece)[:size_max]
        return chunk_of(piece), len(piece), ReadState.MORE

    def take(self, acks):
        self.acks += acks
        self.acks_changed.set()

    async def wait_for_ack(self, text):
        while text not in self.acks:
            self.acks_changed.clear()
            await self.acks_changed.wait()

    def connected(self):
        self.connected_count += 1

    def accepted(self):
        self.accepted_count += 1

    def busy(self, message):
        self.busy_messages.append(message)
        return 0.0

    def pace(self):
        return 0.0


def make_upload(url, *, tls=None, credentials=KEYS, timeouts=QUICK, linger_s=0.3, **target):
    upload = Upload()
    upload.session = PutMediaSession(
        target=PutMediaTarget(url, "us-east-1", credentials, ssl_context=tls, timeouts=timeouts, **target),
        head=HEAD,
        owner=upload,
        linger_s=linger_s,
    )
    return upload
