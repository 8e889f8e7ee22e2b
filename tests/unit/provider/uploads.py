"""An upload against a scripted server: pieces in, ACK bytes and the outcome out."""

import asyncio
from collections import deque
from dataclasses import dataclass, field

from kvspic.provider.credentials import StaticCredentials
from kvspic.provider.putmedia import PutMediaHead
from kvspic.provider.session import PutMediaSession, PutMediaTarget, SessionTimeouts

__all__ = ["HEAD", "KEYS", "QUICK", "Upload", "make_upload"]

HEAD = PutMediaHead("front-door", 1_511_852_108_005)
KEYS = StaticCredentials("AKIDEXAMPLE", "wJalrXUtnFEMI-SECRET")
QUICK = SessionTimeouts(head_s=0.2, refusal_s=0.2)


@dataclass
class Upload:
    """A session whose body comes from :meth:`put`; ``acks`` holds what came back so far."""

    pieces: deque = field(default_factory=deque)
    acks: bytearray = field(default_factory=bytearray)
    connected_count: int = 0
    session: PutMediaSession | None = None
    acks_changed: asyncio.Event = field(default_factory=asyncio.Event)

    def put(self, *pieces):
        """bytes, or None for the end of the body."""
        self.pieces.extend(pieces)
        self.session.more()

    def next_body(self):
        piece = self.pieces.popleft() if self.pieces else b""
        return memoryview(piece) if piece else piece

    def on_ack_bytes(self, data):
        self.acks += data
        self.acks_changed.set()

    async def wait_for_ack(self, text):
        while text not in self.acks:
            self.acks_changed.clear()
            await self.acks_changed.wait()

    def on_connected(self):
        self.connected_count += 1


def make_upload(url, *, tls=None, credentials=KEYS, timeouts=QUICK, linger_s=0.3):
    upload = Upload()
    upload.session = PutMediaSession(
        target=PutMediaTarget(url, "us-east-1", credentials, ssl_context=tls, timeouts=timeouts),
        head=HEAD,
        next_body=upload.next_body,
        on_ack_bytes=upload.on_ack_bytes,
        on_connected=upload.on_connected,
        linger_s=linger_s,
    )
    return upload
