"""Small servers on loopback whose every byte a test decides, and a run that cannot hang.

A server here reads and writes raw HTTP: it shares no code with the provider, so a mistake there shows.
"""

import asyncio
import contextlib
import json
import ssl

__all__ = ["ACCEPTED", "LAST_CHUNK", "Peer", "ack", "chunk", "json_answer", "loopback_server", "run_watched"]

ACCEPTED = b"HTTP/1.1 200 OK\r\nx-amzn-RequestId: r-1\r\nTransfer-Encoding: chunked\r\n\r\n"
LAST_CHUNK = b"0\r\n\r\n"


def run_watched(coroutine, seconds=10):
    """Run to the end; a hang fails the test instead of stopping the suite."""

    async def watched():
        return await asyncio.wait_for(coroutine, seconds)

    return asyncio.run(watched())


def chunk(data):
    return b"%x\r\n%s\r\n" % (len(data), data)


def ack(event_type, timecode=0):
    return json.dumps({"EventType": event_type, "FragmentTimecode": timecode, "FragmentNumber": "91"}).encode() + b"\n"


def json_answer(status, body, *headers):
    text = body if isinstance(body, bytes) else json.dumps(body).encode()
    lines = [f"HTTP/1.1 {status} Status", f"Content-Length: {len(text)}", "Content-Type: application/json", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + text


class Peer:
    """The server's side of one connection."""

    def __init__(self, reader, writer):
        self.reader = reader
        self.writer = writer
        self.headers = {}
        self.request_line = ""

    async def read_head(self):
        raw = (await self.reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        self.request_line = raw[0]
        self.headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in raw[1:] if line)}
        return self.headers

    async def read_body(self):
        """The whole body of a call that has a length."""
        return await self.reader.readexactly(int(self.headers["content-length"]))

    async def read_chunk(self):
        size = int(await self.reader.readuntil(b"\r\n"), 16)
        data = await self.reader.readexactly(size)
        assert await self.reader.readexactly(2) == b"\r\n"
        return data

    async def read_chunks(self):
        """The body up to its end."""
        whole = bytearray()
        while piece := await self.read_chunk():
            whole += piece
        return bytes(whole)

    async def say(self, data):
        self.writer.write(data)
        await self.writer.drain()

    def reset(self):
        """Close at once with a TCP reset."""
        self.writer.transport.abort()


@contextlib.asynccontextmanager
async def loopback_server(script, tls=None):
    """``await script(peer)`` runs for each connection; gives the URL. An error of a script fails the test."""
    failures, tasks = [], set()

    async def serve(reader, writer):
        tasks.add(asyncio.current_task())
        try:
            await script(Peer(reader, writer))
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError, ssl.SSLError):
            pass  # the client went away or the test is over, which each script may meet
        except Exception as error:
            failures.append(error)
        finally:
            writer.close()
            # asyncio's TLS waits half a minute for the other side's goodbye, which a cut connection never says.
            with contextlib.suppress(Exception, asyncio.CancelledError):
                await asyncio.wait_for(writer.wait_closed(), 0.2)
            writer.transport.abort()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=tls)
    port = server.sockets[0].getsockname()[1]
    try:
        yield f"{'https' if tls else 'http'}://127.0.0.1:{port}"
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.sleep(0)  # aborted transports close their sockets in the loop's next round
    assert not failures, failures[0]
